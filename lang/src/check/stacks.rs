//! Calls of `kstack`, `ustack` and `dw_ustack`: which stack, how it prints, and how many frames.

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::hir::Expr;
use crate::limits::DEFAULT_STACK_FRAMES;
use crate::span::Span;
use crate::types::{StackMode, Type};

use super::body::Body;
use super::names::StackKind;

/// As bpftrace has it.
const MOST_FRAMES: i64 = 1024;

/// The word that asks `ustack` to go by tables.
const BY_TABLES: &str = "dwarf";

impl Body<'_, '_, '_> {
    pub fn stack_call(&mut self, mut kind: StackKind, arguments: &[ast::Argument], span: Span) -> Expr {
        let (mut frames, mut mode) = (None, None);
        for argument in arguments {
            match &argument.value.kind {
                ast::ExprKind::Ident(name) if name == BY_TABLES && kind != StackKind::Kernel => {
                    kind = StackKind::UserByTables;
                }
                ast::ExprKind::Ident(name) => match StackMode::named(name) {
                    Some(known) => mode = Some(known),
                    None => {
                        let mut names: Vec<&str> = StackMode::ALL.iter().map(|(known, _)| *known).collect();
                        names.extend((kind != StackKind::Kernel).then_some(BY_TABLES));
                        let of_user = (name == BY_TABLES).then(|| format!("`{name}` is a mode of `ustack`"));
                        let near = did_you_mean(&near_misses(name, names.iter().copied()));
                        return self.fail(
                            Diagnostic::error(
                                Code::BadValue,
                                argument.value.span,
                                format!("there is no stack mode `{name}`"),
                            )
                            .label("not a mode")
                            .help(of_user.or(near).unwrap_or_else(|| format!("modes: {}", names.join(", ")))),
                        );
                    }
                },
                _ => {
                    let value = self.expr(&argument.value);
                    match value.constant() {
                        // The kernel gives no more, unless kernel.perf_event_max_stack was raised.
                        Some(n) if (1..=MOST_FRAMES).contains(&n) => frames = Some(DEFAULT_STACK_FRAMES.min(n as u32)),
                        Some(n) => {
                            return self.fail(
                                Diagnostic::error(
                                    Code::BadValue,
                                    value.span,
                                    format!("a stack cannot have {n} frames"),
                                )
                                .label("out of range")
                                .help("a stack has 1 to 127 frames; larger numbers, up to 1024, mean 127"),
                            );
                        }
                        None if value.ty == Type::Unknown => return value,
                        None => {
                            return self.fail(
                                Diagnostic::error(
                                    Code::NotConstant,
                                    value.span,
                                    "the number of frames must be a constant",
                                )
                                .label("known only when the probe fires")
                                .help("a number, or one from the command line: `$1`"),
                            );
                        }
                    }
                }
            }
        }
        self.stack(kind, frames, mode, span)
    }
}
