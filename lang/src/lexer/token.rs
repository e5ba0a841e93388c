//! The words of the language. Holds the table and nothing else.

use logos::Logos;

use crate::ast::Layout;
use crate::probe::ProbeSpec;

#[derive(Logos, Clone, PartialEq, Debug)]
#[logos(skip r"[ \t\r\n\f]+")]
pub enum Token {
    // Made by the lexer's knowledge of place, never by a pattern.
    Probe(ProbeSpec),
    Directive(String),
    PredicateOpen,
    PredicateClose,
    AngleOpen,
    AngleClose,
    /// The name of a named argument, before its colon.
    ArgumentName(String),
    /// `__attribute__((packed))`, `__attribute__((aligned(8)))`
    Layout(Layout),
    /// The parenthesis that opens a cast.
    CastOpen,
    /// The parenthesis of `sizeof(` and its kin before a type.
    TypeOpen,
    Int(u64),
    Duration(u64),
    Str(Vec<u8>),
    Error,

    #[token("\"")]
    QuoteStart,
    #[token("'")]
    CharStart,
    #[regex(r"[0-9][0-9a-zA-Z_]*")]
    NumberText,

    #[regex(r"[a-zA-Z_][a-zA-Z0-9_]*", |lex| lex.slice().to_string())]
    Ident(String),
    #[regex(r"\$[a-zA-Z_][a-zA-Z0-9_]*", |lex| lex.slice()[1..].to_string())]
    Variable(String),
    #[regex(r"@[a-zA-Z_]?[a-zA-Z0-9_]*", |lex| lex.slice()[1..].to_string())]
    Map(String),
    #[regex(r"\$[0-9]+", |lex| lex.slice()[1..].parse::<u32>().unwrap_or(u32::MAX))]
    Positional(u32),
    #[regex(r"\$\$[0-9]+", |lex| lex.slice()[2..].parse::<u32>().unwrap_or(u32::MAX))]
    PositionalText(u32),
    #[token("$#")]
    PositionalCount,

    #[token("break")]
    Break,
    #[token("catch")]
    Catch,
    #[token("comptime")]
    Comptime,
    #[token("config")]
    Config,
    #[token("continue")]
    Continue,
    #[token("else")]
    Else,
    #[token("enum")]
    Enum,
    #[token("false")]
    False,
    #[token("fn")]
    Fn,
    #[token("for")]
    For,
    #[token("if")]
    If,
    #[token("import")]
    Import,
    #[token("let")]
    Let,
    #[token("macro")]
    Macro,
    #[token("offsetof")]
    OffsetOf,
    #[token("return")]
    Return,
    #[token("sizeof")]
    SizeOf,
    #[token("struct")]
    Struct,
    #[token("true")]
    True,
    #[token("try")]
    Try,
    #[token("typedef")]
    Typedef,
    #[token("typeinfo")]
    TypeInfo,
    #[token("typeof")]
    TypeOf,
    #[token("union")]
    Union,
    #[token("unroll")]
    Unroll,
    #[token("while")]
    While,
    #[token("_", priority = 3)]
    Underscore,

    #[token("{")]
    LBrace,
    #[token("}")]
    RBrace,
    #[token("(")]
    LParen,
    #[token(")")]
    RParen,
    #[token("[")]
    LBracket,
    #[token("]")]
    RBracket,
    #[token(",")]
    Comma,
    #[token(";")]
    Semi,
    #[token(":")]
    Colon,
    #[token(".")]
    Dot,
    #[token("..")]
    DotDot,
    #[token("->")]
    Arrow,
    #[token("?")]
    Question,
    #[token("?:")]
    Elvis,
    #[token("=")]
    Assign,
    #[token("+=")]
    AddAssign,
    #[token("-=")]
    SubtractAssign,
    #[token("*=")]
    MultiplyAssign,
    #[token("/=")]
    DivideAssign,
    #[token("%=")]
    RemainderAssign,
    #[token("&=")]
    AndAssign,
    #[token("|=")]
    OrAssign,
    #[token("^=")]
    XorAssign,
    #[token("<<=")]
    ShiftLeftAssign,
    #[token(">>=")]
    ShiftRightAssign,
    #[token("++")]
    PlusPlus,
    #[token("--")]
    MinusMinus,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("%")]
    Percent,
    #[token("&")]
    Ampersand,
    #[token("|")]
    Pipe,
    #[token("^^")]
    CaretCaret,
    #[token("^")]
    Caret,
    #[token("~")]
    Tilde,
    #[token("!")]
    Bang,
    #[token("&&")]
    AndAnd,
    #[token("||")]
    OrOr,
    #[token("==")]
    EqualEqual,
    #[token("!=")]
    NotEqual,
    #[token("=~")]
    MatchGlob,
    #[token("!~")]
    NotMatchGlob,
    #[token("<")]
    Less,
    #[token("<=")]
    LessEqual,
    #[token(">")]
    Greater,
    #[token(">=")]
    GreaterEqual,
    #[token("<<")]
    ShiftLeft,
    #[token(">>")]
    ShiftRight,
}

impl Token {
    /// `=`, and `+=` and its kin.
    pub fn is_assignment(&self) -> bool {
        matches!(
            self,
            Token::Assign
                | Token::AddAssign
                | Token::SubtractAssign
                | Token::MultiplyAssign
                | Token::DivideAssign
                | Token::RemainderAssign
                | Token::AndAssign
                | Token::OrAssign
                | Token::XorAssign
                | Token::ShiftLeftAssign
                | Token::ShiftRightAssign
        )
    }
}
