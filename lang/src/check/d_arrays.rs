//! D's arrays that are no maps: `uregs[R_RIP]`, and what is said of `fds` where it stands without a member, since with one it
//! has been replaced before.

use crate::ast;
use crate::calls;
use crate::diagnostic::{Code, Diagnostic};
use crate::dtrace;
use crate::hir::{Expr, ExprKind};
use crate::span::Span;
use crate::target::{Feature, ProgramKind};
use crate::types::{StructKind, Type};

use super::body::Body;

/// Registers in `struct pt_regs`, each of 8 bytes (arch/x86/include/asm/ptrace.h). D's names number them in that order.
const REGISTERS: i64 = 21;

impl Body<'_, '_, '_> {
    /// `fds` or `fds[n]`.
    pub fn open_files_alone(&mut self, span: Span) -> Expr {
        let members: Vec<&str> = dtrace::OPEN_FILE.all().map(|(name, _)| name).collect();
        self.fail(
            Diagnostic::error(Code::TypeMismatch, span, "an open file is used by its members")
                .label("no value of its own")
                .help(format!("`fds[1].fi_pathname` is the path of one; there are {}", members.join(", "))),
        )
    }

    /// `uregs` without an index.
    pub fn user_registers_alone(&mut self, span: Span) -> Expr {
        self.fail(
            Diagnostic::error(Code::TypeMismatch, span, "`uregs` is the registers by their names")
                .label("which one?")
                .help("`uregs[R_RIP]` is the instruction pointer, `uregs[R_RSP]` the stack pointer"),
        )
    }

    /// `uregs[index]`
    pub fn user_register(&mut self, index: &ast::Expr, span: Span) -> Expr {
        let number = self.expr(index);
        if number.ty == Type::Unknown {
            return number;
        }
        let Some(n) = number.constant().filter(|_| number.ty.is_integer()) else {
            return self.fail(
                Diagnostic::error(Code::NotConstant, index.span, "a register is a constant")
                    .label("known only when the probe fires")
                    .help("name it: `uregs[R_RIP]`, `uregs[R_RSP]`, `uregs[R_RAX]`"),
            );
        };
        if !(0..REGISTERS).contains(&n) {
            return self.fail(
                Diagnostic::error(Code::BadValue, index.span, format!("there is no register {n}"))
                    .label("not a register")
                    .help(format!("R_R15 is 0, R_SS is {}; names such as R_RIP are clearer", REGISTERS - 1)),
            );
        }
        self.kept_register(n as u32 * 8, "uregs in the kernel", span)
    }

    /// A register with which the process came into the kernel, by its place among them.
    pub fn kept_register(&mut self, offset: u32, what: &str, span: Span) -> Expr {
        if matches!(self.group.kind, ProgramKind::Kprobe { user: true, .. }) {
            return self.register_at(offset, "uregs", span);
        }
        let target = self.checker.target;
        if target.has(Feature::Helper(calls::TASK_PT_REGS)) {
            return Expr { kind: ExprKind::TaskRegister { offset }, ty: Type::U64, span };
        }
        if target.struct_named(StructKind::Struct, "irq_stack").is_none() {
            self.need_helper(what, calls::TASK_PT_REGS, span);
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        // Without the helper: they are at the end of the task's stack, which is as long as a stack for interrupts
        // (arch/x86/include/asm/page_64_types.h). Kernels that keep room behind them all have the helper.
        let text = format!(
            "*(uint64 *)((uint64)curtask.stack + sizeof(struct irq_stack) - {})",
            REGISTERS * 8 - i64::from(offset)
        );
        self.expr(&dtrace::expression(&text, span))
    }
}
