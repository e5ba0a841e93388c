//! A script as it was written: nothing resolved, nothing typed. Holds no logic.

mod dump;
pub mod rewrite;

pub use dump::dump;

use crate::probe::ProbeSpec;
use crate::span::Span;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Script {
    pub items: Vec<Item>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    Clause(Clause),
    Function {
        name: Name,
        parameters: Vec<Parameter>,
        result: Option<TypeName>,
        body: Block,
        span: Span,
    },
    Macro {
        name: Name,
        parameters: Vec<Expr>,
        body: Block,
        span: Span,
    },
    Struct {
        is_union: bool,
        name: Name,
        members: Vec<Member>,
        layout: Layout,
        span: Span,
    },
    Enum {
        name: Option<Name>,
        members: Vec<(Name, Option<Expr>)>,
        span: Span,
    },
    /// `typedef unsigned int word, *place;`: each name as a member of that type.
    Typedef {
        members: Vec<Member>,
        span: Span,
    },
    Config {
        settings: Vec<(Name, Expr)>,
        span: Span,
    },
    Import {
        path: String,
        span: Span,
    },
    MapDeclaration {
        map: Name,
        kind: Name,
        arguments: Vec<Expr>,
        span: Span,
    },
    /// A line that begins with `#`.
    Directive {
        text: String,
        span: Span,
    },
}

impl Item {
    pub fn span(&self) -> Span {
        match self {
            Item::Clause(clause) => clause.span,
            Item::Function { span, .. }
            | Item::Macro { span, .. }
            | Item::Struct { span, .. }
            | Item::Enum { span, .. }
            | Item::Typedef { span, .. }
            | Item::Config { span, .. }
            | Item::Import { span, .. }
            | Item::MapDeclaration { span, .. }
            | Item::Directive { span, .. } => *span,
        }
    }
}

/// Probes, a predicate, and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Clause {
    pub probes: Vec<ProbeSpec>,
    pub predicate: Option<Expr>,
    pub body: Block,
    pub span: Span,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name {
    /// Without `$` or `@`.
    pub text: String,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    pub name: Name,
    pub ty: Option<TypeName>,
}

/// A member of a struct that the script defines.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    pub ty: TypeName,
    pub name: Option<Name>,
    pub bits: Option<Expr>,
    pub layout: Layout,
    /// What a struct, union or enum that is written in place has.
    pub inner: Option<Inner>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Inner {
    Members(Vec<Member>, Layout),
    Enumerators(Vec<(Name, Option<Expr>)>),
}

/// What C's attributes say of the place of a member, or of those of a struct.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// Without gaps.
    pub is_packed: bool,
    /// Bytes that the address is a multiple of at least; 0 where none are given.
    pub aligned: u32,
}

impl Layout {
    /// What several attributes say together.
    pub fn and(self, other: Layout) -> Layout {
        Layout { is_packed: self.is_packed || other.is_packed, aligned: self.aligned.max(other.aligned) }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct TypeName {
    pub base: TypeBase,
    /// Pointers and arrays, read left to right.
    pub suffixes: Vec<TypeSuffix>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TypeBase {
    Struct(String),
    Union(String),
    Enum(String),
    /// `uint64`, `string`, `size_t`, `unsigned long`.
    Named(String),
    TypeOf(Box<Expr>),
}

#[derive(Clone, PartialEq, Debug)]
pub enum TypeSuffix {
    Pointer,
    /// Without a length it takes the one of its value.
    Array(Option<u64>),
    /// An array whose length has a name.
    Named(String),
    /// An array whose length is computed.
    Computed(Box<Expr>),
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Block {
    pub statements: Vec<Stmt>,
    /// A last expression without a semicolon: the block's value.
    pub value: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    Expr(Expr),
    /// `_ = e`
    Discard(Expr),
    /// `op` is the operator of a compound assignment.
    Assign {
        target: Expr,
        op: Option<BinaryOp>,
        value: Expr,
    },
    Let {
        name: Name,
        ty: Option<TypeName>,
        value: Option<Expr>,
    },
    If(If),
    While {
        condition: Expr,
        body: Block,
    },
    /// `for $a : from..to`
    ForRange {
        variable: Name,
        from: Expr,
        to: Expr,
        body: Block,
    },
    /// `for $kv : @m`, or `for ($k, $v) : @m`
    ForMap {
        variables: Vec<Name>,
        map: Expr,
        body: Block,
    },
    Unroll {
        count: Expr,
        body: Block,
    },
    Break,
    Continue,
    Return(Option<Expr>),
    Block(Block),
    Import(String),
    Try {
        body: Block,
        catch: Block,
    },
    /// Text that was skipped after a syntax error.
    Error,
}

#[derive(Clone, PartialEq, Debug)]
pub struct If {
    pub condition: Box<Expr>,
    pub then: Block,
    pub otherwise: Option<Block>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    Int(u64),
    /// A duration: nanoseconds.
    Duration(u64),
    Bool(bool),
    Str(Vec<u8>),
    Ident(String),
    Variable(String),
    /// `@`, `@x`, `@x[k1, k2]`; keys of several brackets follow one another.
    Map {
        name: String,
        keys: Vec<Expr>,
    },
    Positional(u32),
    /// `$$1`: the parameter as a string, whatever it looks like.
    PositionalText(u32),
    PositionalCount,
    Call {
        name: Name,
        arguments: Vec<Argument>,
    },
    Field {
        base: Box<Expr>,
        name: Name,
    },
    TupleField {
        base: Box<Expr>,
        index: u32,
    },
    Index {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    Step {
        step: Step,
        prefix: bool,
        target: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Without `then` it is `a ?: b`.
    Ternary {
        condition: Box<Expr>,
        then: Option<Box<Expr>>,
        otherwise: Box<Expr>,
    },
    Cast {
        ty: TypeName,
        operand: Box<Expr>,
    },
    SizeOfType(TypeName),
    SizeOf(Box<Expr>),
    OffsetOfType {
        ty: TypeName,
        path: Vec<Name>,
    },
    OffsetOf {
        of: Box<Expr>,
        path: Vec<Name>,
    },
    TypeInfoType(TypeName),
    TypeInfo(Box<Expr>),
    Tuple(Vec<Expr>),
    Record(Vec<(Name, Expr)>),
    Block(Block),
    If(If),
    Comptime(Box<Expr>),
    /// A type where a macro takes one: `typeof(T)`.
    TypeArgument(TypeName),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    Negate,
    Not,
    Complement,
    Dereference,
    AddressOf,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    Increment,
    Decrement,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    Or,
    Xor,
    And,
    BitOr,
    BitXor,
    BitAnd,
    Equal,
    NotEqual,
    Match,
    NotMatch,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl BinaryOp {
    pub const ALL: [BinaryOp; BinaryOp::Remainder as usize + 1] = [
        BinaryOp::Or,
        BinaryOp::Xor,
        BinaryOp::And,
        BinaryOp::BitOr,
        BinaryOp::BitXor,
        BinaryOp::BitAnd,
        BinaryOp::Equal,
        BinaryOp::NotEqual,
        BinaryOp::Match,
        BinaryOp::NotMatch,
        BinaryOp::Less,
        BinaryOp::LessEqual,
        BinaryOp::Greater,
        BinaryOp::GreaterEqual,
        BinaryOp::ShiftLeft,
        BinaryOp::ShiftRight,
        BinaryOp::Add,
        BinaryOp::Subtract,
        BinaryOp::Multiply,
        BinaryOp::Divide,
        BinaryOp::Remainder,
    ];

    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::Xor => "^^",
            BinaryOp::And => "&&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::BitAnd => "&",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Match => "=~",
            BinaryOp::NotMatch => "!~",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        }
    }
}

impl UnaryOp {
    pub const ALL: [UnaryOp; UnaryOp::AddressOf as usize + 1] =
        [UnaryOp::Negate, UnaryOp::Not, UnaryOp::Complement, UnaryOp::Dereference, UnaryOp::AddressOf];

    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Negate => "-",
            UnaryOp::Not => "!",
            UnaryOp::Complement => "~",
            UnaryOp::Dereference => "*",
            UnaryOp::AddressOf => "&",
        }
    }
}
