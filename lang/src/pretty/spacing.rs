//! What stands between two neighbouring words of an expression, a type or a head: nothing, a space, or the line break that
//! was there. Looks at the two words only.

use logos::Logos;

use crate::lexer::Token;

use super::elements::Element;
use super::roles::Role;

/// White space before an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    Nothing,
    Space,
    Break,
}

/// The white space between two neighbours on one line.
pub fn gap(left: &Element, right: &Element) -> Gap {
    if is_apart(left, right) || merge(left, right) { Gap::Space } else { Gap::Nothing }
}

/// True where a line break of the user's between the two stays.
pub fn may_break(left: &Element, right: &Element) -> bool {
    matches!(left.token, Token::LParen | Token::LBracket | Token::Comma)
        || matches!(right.token, Token::RParen | Token::RBracket)
        || left.role == Role::Infix
        || right.role == Role::Infix
}

fn is_apart(left: &Element, right: &Element) -> bool {
    let is_call =
        matches!(left.token, Token::Ident(_) | Token::SizeOf | Token::OffsetOf | Token::TypeOf | Token::TypeInfo)
            && matches!(right.token, Token::LParen | Token::TypeOpen)
            && right.role != Role::Pointer;
    let opened = matches!(
        left.token,
        Token::LParen | Token::LBracket | Token::CastOpen | Token::TypeOpen | Token::PredicateOpen
    );
    let closed = matches!(right.token, Token::RParen | Token::RBracket | Token::PredicateClose);
    let is_joint = |token: &Token| matches!(token, Token::Dot | Token::Arrow | Token::DotDot);
    let names = matches!(right.token, Token::Ident(_) | Token::ArgumentName(_) | Token::LBracket);
    let ends_pointer = left.role == Role::Pointer && (names || right.role == Role::Pointer);
    !(is_call
        || opened
        || closed
        || is_joint(&left.token)
        || is_joint(&right.token)
        || ends_pointer
        || matches!(right.token, Token::Comma | Token::LBracket)
        || matches!(left.role, Role::Prefix | Role::CastEnd)
        || matches!(right.role, Role::Postfix | Role::Annotation))
}

/// True if the two words, written together, would be read as other words: `- -$x`, `! ~$x`, `/ *$x`.
fn merge(left: &Element, right: &Element) -> bool {
    if matches!(left.token, Token::Str(_) | Token::Layout(_)) || left.text.starts_with('\'') {
        return false;
    }
    let joined = format!("{}{}", left.text, right.text);
    let seam = &joined[left.text.len() - 1..];
    let mut words = Token::lexer(&joined);
    let _ = words.next();
    seam.starts_with("//") || seam.starts_with("/*") || words.span().end != left.text.len()
}
