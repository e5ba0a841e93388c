//! What a word is where the same word is several things: operators before and between operands, stars of types, colons,
//! braces of members. Also which brackets belong together. Changes no text.

use crate::lexer::Token;

use super::elements::Element;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Plain,
    /// An operator before its operand.
    Prefix,
    /// `++` and `--` behind their operand.
    Postfix,
    /// An operator between two operands, or an assignment.
    Infix,
    /// The star of a type.
    Pointer,
    /// The colon behind a name that a type or a value follows.
    Annotation,
    /// The parenthesis that closes a cast.
    CastEnd,
    /// The brace that opens the members of a struct or union.
    Members,
    /// The brace that opens the names of an enum among them.
    Enumerators,
}

/// What stands between two brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Expression,
    Type,
    Parameters,
    Members,
}

/// Gives each element its role, and each bracket its partner.
pub fn assign(elements: &mut [Element]) {
    let mut open: Vec<(usize, Inside)> = Vec::new();
    // The number of brackets around a type that follows a colon.
    let mut type_depth = None;
    // Between `fn` and its block.
    let mut in_function_head = false;
    // A typedef is written as a member is.
    let mut in_typedef = false;
    for at in 0..elements.len() {
        if open.is_empty() {
            let goes_on = in_typedef && !elements[at - 1].has_semicolon;
            in_typedef = goes_on || elements[at].token == Token::Typedef;
        }
        let outside = if in_typedef { Inside::Members } else { Inside::Expression };
        let inside = open.last().map_or(outside, |(_, inside)| *inside);
        let depth = open.len();
        let token = elements[at].token.clone();
        let ends_type =
            matches!(token, Token::Assign | Token::Comma | Token::LBrace) || at > 0 && elements[at - 1].has_semicolon;
        if type_depth.is_some_and(|of_type| of_type > depth || of_type == depth && ends_type) {
            type_depth = None;
        }
        let in_type = inside == Inside::Type || inside == Inside::Members || type_depth == Some(depth);
        let follows_value = at > 0 && ends_value(elements, at - 1);

        if token == Token::Colon {
            let is_annotation = match inside {
                Inside::Members => false,
                Inside::Parameters => true,
                Inside::Expression | Inside::Type => {
                    in_function_head
                        || matches!(elements[at - 1].token, Token::ArgumentName(_))
                        || at > 1 && elements[at - 2].token == Token::Let && !is_field(elements, at - 2)
                }
            };
            elements[at].role = if is_annotation { Role::Annotation } else { Role::Infix };
            let names_argument = matches!(elements[at - 1].token, Token::ArgumentName(_));
            if is_annotation && !(names_argument && inside == Inside::Expression) {
                type_depth = Some(depth);
            }
        } else if token == Token::Star && in_type {
            elements[at].role = Role::Pointer;
        } else if matches!(token, Token::PlusPlus | Token::MinusMinus) {
            elements[at].role = if follows_value { Role::Postfix } else { Role::Prefix };
        } else if matches!(token, Token::Bang | Token::Tilde) {
            elements[at].role = Role::Prefix;
        } else if matches!(token, Token::Minus | Token::Star | Token::Ampersand) {
            elements[at].role = if follows_value { Role::Infix } else { Role::Prefix };
        } else if is_infix(&token) {
            elements[at].role = Role::Infix;
        } else if token == Token::Fn && open.is_empty() {
            in_function_head = true;
        } else if token == Token::Comma && inside == Inside::Type {
            // `offsetof(struct x, field)`
            if let Some(last) = open.last_mut() {
                last.1 = Inside::Expression;
            }
        }

        if opens(&token) {
            let inside = match token {
                Token::CastOpen | Token::TypeOpen => Inside::Type,
                Token::LParen if at > 1 && elements[at - 2].token == Token::Fn && depth == 0 => Inside::Parameters,
                // A pointer to a function, and what that takes.
                Token::LParen if inside == Inside::Members => {
                    let is_behind = elements[at - 1].token == Token::RParen;
                    elements[at].role = if is_behind { Role::Postfix } else { Role::Pointer };
                    Inside::Members
                }
                Token::LBrace if inside == Inside::Members && follows(elements, at, &[Token::Enum]) => {
                    elements[at].role = Role::Enumerators;
                    Inside::Expression
                }
                Token::LBrace
                    if inside == Inside::Members
                        || !in_function_head && follows(elements, at, &[Token::Struct, Token::Union]) =>
                {
                    elements[at].role = Role::Members;
                    Inside::Members
                }
                _ => Inside::Expression,
            };
            if token == Token::LBrace && depth == 0 {
                in_function_head = false;
            }
            open.push((at, inside));
        } else if closes(&token)
            && let Some((opening, _)) = open.pop()
        {
            if elements[opening].token == Token::CastOpen {
                elements[at].role = Role::CastEnd;
            }
            elements[opening].partner = at;
            elements[at].partner = opening;
        }
    }
}

pub fn opens(token: &Token) -> bool {
    matches!(
        token,
        Token::LParen
            | Token::LBracket
            | Token::LBrace
            | Token::CastOpen
            | Token::TypeOpen
            | Token::AngleOpen
            | Token::PredicateOpen
    )
}

pub fn closes(token: &Token) -> bool {
    matches!(token, Token::RParen | Token::RBracket | Token::RBrace | Token::AngleClose | Token::PredicateClose)
}

/// Operators that stand between operands wherever they stand.
fn is_infix(token: &Token) -> bool {
    let joins = matches!(
        token,
        Token::Plus
            | Token::Slash
            | Token::Percent
            | Token::Pipe
            | Token::Caret
            | Token::AndAnd
            | Token::OrOr
            | Token::EqualEqual
            | Token::NotEqual
            | Token::MatchGlob
            | Token::NotMatchGlob
            | Token::Less
            | Token::LessEqual
            | Token::Greater
            | Token::GreaterEqual
            | Token::ShiftLeft
            | Token::ShiftRight
            | Token::Question
            | Token::Elvis
    );
    joins || token.is_assignment()
}

/// The name of a field, which may be a word of the language.
fn is_field(elements: &[Element], at: usize) -> bool {
    at > 0 && matches!(elements[at - 1].token, Token::Dot | Token::Arrow)
}

/// True if a value ends here, so that an operator that follows stands between operands.
fn ends_value(elements: &[Element], at: usize) -> bool {
    let element = &elements[at];
    if element.has_semicolon {
        return false;
    }
    let ends = match element.token {
        Token::RParen => element.role != Role::CastEnd,
        Token::PlusPlus | Token::MinusMinus => element.role == Role::Postfix,
        Token::Ident(_)
        | Token::Variable(_)
        | Token::Map(_)
        | Token::Positional(_)
        | Token::PositionalCount
        | Token::Int(_)
        | Token::Duration(_)
        | Token::Str(_)
        | Token::True
        | Token::False
        | Token::RBracket => true,
        _ => false,
    };
    ends || is_field(elements, at)
}

/// True for a brace behind one of these words, a name and attributes.
fn follows(elements: &[Element], brace: usize, words: &[Token]) -> bool {
    let before = elements[..brace].iter().rev();
    before
        .map(|element| &element.token)
        .find(|token| !matches!(token, Token::Ident(_) | Token::Layout(_)))
        .is_some_and(|token| words.contains(token))
}
