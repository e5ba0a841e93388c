//! The operators, from those that bind most closely to those that bind least: what the documentation says of the
//! grammar, which decides. A test holds both together.

/// How operators of one level group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grouping {
    /// Behind what they work on.
    Behind,
    /// In front of it.
    Before,
    /// `a - b - c` is `(a - b) - c`.
    Left,
    /// `a ? b : c ? d : e` is `a ? b : (c ? d : e)`.
    Right,
    /// Stands alone, as a statement.
    Alone,
}

#[derive(Debug)]
pub struct Level {
    pub grouping: Grouping,
    /// Each as it is written, with what it gives.
    pub operators: &'static [(&'static str, &'static str)],
}

const fn level(grouping: Grouping, operators: &'static [(&'static str, &'static str)]) -> Level {
    Level { grouping, operators }
}

pub static LEVELS: &[Level] = &[
    level(
        Grouping::Behind,
        &[
            ("f(a, b)", "a call of a function, a builtin or a macro"),
            ("a[b]", "the element of an array, a string or a pointer; the entry of a map"),
            ("a.b", "the member of a struct or of a pointer to one; the part of a tuple (`a.0`) or a record"),
            ("a->b", "the same"),
            ("a++", "adds 1 to a variable or a map; the value is the one before"),
            ("a--", "takes 1 off; the value is the one before"),
        ],
    ),
    level(
        Grouping::Before,
        &[
            ("-", "the negative number"),
            ("!", "true where the operand is zero"),
            ("~", "all bits turned over"),
            ("*", "what a pointer points to"),
            ("&", "the address of a variable, a map's value or a member"),
            ("++a", "adds 1 to a variable or a map; the value is the new one"),
            ("--a", "takes 1 off; the value is the new one"),
            ("(T) a", "the value as the type T"),
        ],
    ),
    level(
        Grouping::Left,
        &[
            ("*", "the product"),
            ("/", "the quotient, toward zero; 0 where the divisor is zero"),
            ("%", "the remainder, with the sign of the dividend; 0 where the divisor is zero"),
        ],
    ),
    level(
        Grouping::Left,
        &[
            ("+", "the sum; of two strings one behind the other; of a pointer an element further on"),
            ("-", "the difference; of a pointer an element further back"),
        ],
    ),
    level(
        Grouping::Left,
        &[
            ("<<", "bits moved up; 0 for 64 places and more"),
            (">>", "bits moved down, with the sign of a signed number"),
        ],
    ),
    level(
        Grouping::Left,
        &[
            ("<", "true where the left side is less: of numbers, pointers and strings"),
            ("<=", "less or equal"),
            (">", "greater"),
            (">=", "greater or equal"),
        ],
    ),
    level(
        Grouping::Left,
        &[
            (
                "==",
                "true where both sides are equal: of numbers, strings, pointers, tuples, records, structs and arrays",
            ),
            ("!=", "true where they differ"),
            ("=~", "true where a string matches a pattern of `*` and `?`"),
            ("!~", "true where it does not"),
        ],
    ),
    level(Grouping::Left, &[("&", "the bits that both sides have")]),
    level(Grouping::Left, &[("^", "the bits that one side alone has")]),
    level(Grouping::Left, &[("|", "the bits that either side has")]),
    level(
        Grouping::Left,
        &[("&&", "true where both sides are; the right one is looked at only if the left one is true")],
    ),
    level(Grouping::Left, &[("^^", "true where one side alone is")]),
    level(
        Grouping::Left,
        &[("||", "true where one side is; the right one is looked at only if the left one is false")],
    ),
    level(
        Grouping::Right,
        &[
            ("a ? b : c", "`b` where `a` is true, else `c`; only that one is evaluated"),
            ("a ?: b", "`a` where it is true, else `b`"),
        ],
    ),
    level(
        Grouping::Alone,
        &[
            ("=", "gives a variable or a map a value"),
            ("+= -= *= /= %= &= |= ^= <<= >>=", "combines the old value with another one"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{BinaryOp, Expr, ExprKind, Item, StmtKind, UnaryOp};
    use crate::parse::parse;

    /// The level of a binary operator.
    fn binding(op: BinaryOp) -> usize {
        let has = |level: &Level| {
            level.grouping == Grouping::Left && level.operators.iter().any(|(written, _)| *written == op.symbol())
        };
        let found: Vec<usize> = (0..LEVELS.len()).filter(|at| has(&LEVELS[*at])).collect();
        assert_eq!(found.len(), 1, "{} stands on one level", op.symbol());
        found[0]
    }

    fn parsed(text: &str) -> ExprKind {
        let mut parse = parse(&format!("END {{ _ = {text}; }}"));
        assert!(parse.diagnostics.is_empty(), "{text}: {:?}", parse.diagnostics);
        let Some(Item::Clause(mut clause)) = parse.ast.items.pop() else { panic!("{text} is no clause") };
        match clause.body.statements.pop().map(|statement| statement.kind) {
            Some(StmtKind::Discard(e)) => e.kind,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn operator(e: &ExprKind) -> Option<BinaryOp> {
        match e {
            ExprKind::Binary { op, .. } => Some(*op),
            _ => None,
        }
    }

    fn sides(e: &ExprKind) -> (&Expr, &Expr) {
        match e {
            ExprKind::Binary { left, right, .. } => (left, right),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_two_operators_group_as_the_table_says() {
        for first in BinaryOp::ALL {
            for second in BinaryOp::ALL {
                let text = format!("$a {} $b {} $c", first.symbol(), second.symbol());
                let e = parsed(&text);
                let (left, right) = sides(&e);
                if binding(first) <= binding(second) {
                    assert_eq!((operator(&e), operator(&left.kind)), (Some(second), Some(first)), "{text}");
                } else {
                    assert_eq!((operator(&e), operator(&right.kind)), (Some(first), Some(second)), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_table_has_every_operator_once() {
        let written = |grouping: Grouping| {
            let levels = LEVELS.iter().filter(move |level| level.grouping == grouping);
            levels.flat_map(|level| level.operators).map(|(written, _)| *written)
        };
        assert_eq!(written(Grouping::Left).count(), BinaryOp::ALL.len());
        for op in UnaryOp::ALL {
            assert_eq!(
                written(Grouping::Before).filter(|written| *written == op.symbol()).count(),
                1,
                "{}",
                op.symbol()
            );
        }
    }

    #[test]
    fn what_stands_in_front_binds_more_closely_than_what_stands_between() {
        for op in BinaryOp::ALL {
            for before in ["-", "!", "~", "*", "&", "++", "--", "(uint8)"] {
                let text = format!("{before}$a {} $b", op.symbol());
                assert_eq!(operator(&parsed(&text)), Some(op), "{text}");
            }
        }
    }

    #[test]
    fn what_stands_behind_binds_most_closely() {
        for behind in ["[1]", ".x", "->x", "++", "--"] {
            let text = format!("-$a{behind}");
            assert!(matches!(parsed(&text), ExprKind::Unary { op: UnaryOp::Negate, .. }), "{text}");
        }
    }

    #[test]
    fn choices_bind_least_and_group_to_the_right() {
        for op in BinaryOp::ALL {
            for choice in ["? $c : $d", "?: $d"] {
                let text = format!("$a {} $b {choice}", op.symbol());
                assert!(matches!(parsed(&text), ExprKind::Ternary { .. }), "{text}");
            }
        }
        for text in ["$a ? $b : $c ? $d : $e", "$a ?: $b ?: $c"] {
            let ExprKind::Ternary { otherwise, .. } = parsed(text) else { panic!("{text}") };
            assert!(matches!(otherwise.kind, ExprKind::Ternary { .. }), "{text}");
        }
    }
}
