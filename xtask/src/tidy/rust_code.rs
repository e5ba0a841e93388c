//! Rust source with comments and the contents of literals blanked out, so that rules look at code only.
//! It is a scanner, not a parser: it must never need more than tokens and braces.

/// The code of a file, line by line: comments and literals are spaces, everything else stands where it stood.
pub fn code_lines(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut position = 0;
    while position < characters.len() {
        let end = literal_end(&characters, position).unwrap_or(position);
        if end > position {
            let blanked = characters[position..end].iter();
            code.extend(blanked.map(|character| if *character == '\n' { '\n' } else { ' ' }));
            position = end;
        } else {
            code.push(characters[position]);
            position += 1;
        }
    }
    code.lines().map(str::to_string).collect()
}

/// For each line of code, whether it belongs to an item under `#[cfg(test)]`.
pub fn test_lines(code: &[String]) -> Vec<bool> {
    let mut in_test = vec![false; code.len()];
    let mut line = 0;
    while line < code.len() {
        if !code[line].trim_start().starts_with("#[cfg(test)]") {
            line += 1;
            continue;
        }
        let end = item_end(code, line);
        in_test[line..=end].fill(true);
        line = end + 1;
    }
    in_test
}

/// Whether `word` occurs in a line of code as a whole identifier.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(start, _)| !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part))
}

/// The last line of the item that starts on a line: where its braces close, or its semicolon.
fn item_end(code: &[String], start: usize) -> usize {
    let mut depth = 0_i32;
    for (line, text) in code.iter().enumerate().skip(start) {
        for character in text.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (character == '}' || character == ';') {
                return line;
            }
        }
    }
    code.len().saturating_sub(1)
}

/// Where the comment or literal that starts at a position ends, if one does.
fn literal_end(characters: &[char], start: usize) -> Option<usize> {
    let at = |offset: usize| characters.get(start + offset).copied();
    let after_identifier = start > 0 && (characters[start - 1].is_alphanumeric() || characters[start - 1] == '_');
    match (at(0)?, at(1)) {
        ('/', Some('/')) => Some(find(characters, start, |character| character == '\n')),
        ('/', Some('*')) => Some(block_comment_end(characters, start)),
        ('"', _) => Some(string_end(characters, start)),
        ('r', Some('"' | '#')) if !after_identifier => raw_string_end(characters, start),
        ('b', Some('r')) if !after_identifier => raw_string_end(characters, start + 1),
        // A lifetime has no closing quote.
        ('\'', Some('\\')) => Some(find(characters, start + 3, |character| character == '\'') + 1),
        ('\'', Some(_)) if at(2) == Some('\'') => Some(start + 3),
        _ => None,
    }
}

fn find(characters: &[char], start: usize, wanted: impl Fn(char) -> bool) -> usize {
    (start..characters.len()).find(|position| wanted(characters[*position])).unwrap_or(characters.len())
}

fn string_end(characters: &[char], start: usize) -> usize {
    let mut position = start + 1;
    while position < characters.len() {
        match characters[position] {
            '\\' => position += 2,
            '"' => return position + 1,
            _ => position += 1,
        }
    }
    characters.len()
}

/// A raw string from its `r`; none if this is an identifier such as `r#type`.
fn raw_string_end(characters: &[char], start: usize) -> Option<usize> {
    let quote = find(characters, start + 1, |character| character != '#');
    if characters.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - start - 1;
    let closes = |position: &usize| {
        characters[*position] == '"'
            && characters[position + 1..].iter().take_while(|character| **character == '#').count() >= hashes
    };
    let end = (quote + 1..characters.len()).find(closes).map_or(characters.len(), |position| position + 1 + hashes);
    Some(end)
}

fn block_comment_end(characters: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut position = start;
    while position + 1 < characters.len() {
        match (characters[position], characters[position + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                position += 1;
                continue;
            }
        }
        position += 2;
        if depth == 0 {
            return position;
        }
    }
    characters.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let text = "a /* b /* c */ d */ e // f\n\"g\\\"h\" i r#\"j\"k\"# l 'm' '\\'' n<'o> br\"p\" q";
        let words: Vec<String> =
            code_lines(text).iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words, ["a e", "i l n<'o> q"]);
    }

    #[test]
    fn lines_keep_their_numbers() {
        let code = code_lines("x\n\"a\nb\"\ny\n");
        assert_eq!(code.len(), 4);
        assert_eq!(code[3], "y");
    }

    #[test]
    fn test_modules_end_with_their_braces() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        assert_eq!(test_lines(&code_lines(text)), [false, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use rtrace_lang::x;", "rtrace_lang"));
        assert!(!has_word("use rtrace_language::x;", "rtrace_lang"));
        assert!(!has_word("is_unsafe", "unsafe"));
    }
}
