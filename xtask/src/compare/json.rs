//! A line of JSON without the white space between its words, which means nothing there.

/// The line; white space within strings stays.
pub fn squeezed(line: &str) -> String {
    let (mut out, mut is_string, mut is_escaped) = (String::new(), false, false);
    for c in line.chars() {
        if is_string || c != ' ' {
            out.push(c);
        }
        match c {
            '"' if !is_escaped => is_string = !is_string,
            _ => {}
        }
        is_escaped = is_string && c == '\\' && !is_escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_spaces() {
        assert_eq!(squeezed(r#"{"a b": 1, "c\" d": [1, 2]}"#), r#"{"a b":1,"c\" d":[1,2]}"#);
        assert_eq!(squeezed(r#"{"a\\": 1}"#), r#"{"a\\":1}"#);
    }
}
