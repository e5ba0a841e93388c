//! What a script holds beside its clauses: settings, declarations of maps, functions. Decides nothing about statements.

use std::collections::HashMap;

use crate::ast::{Block, Expr, ExprKind, Inner, Item, Member, Name, Parameter, Script, TypeName};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::settings::{self, BYGONE, IDLE, RENAMED, SETTINGS, Settings};
use crate::span::Span;

use super::CheckOptions;

/// The items of a script that its clauses refer to.
pub struct Items<'a> {
    pub settings: Settings,
    pub maps: HashMap<&'a str, DeclaredMap>,
    pub functions: HashMap<&'a str, DeclaredFunction<'a>>,
    /// Names of macros, which are expanded where they are known.
    pub macros: Vec<&'a str>,
}

/// `let @m = kind(entries);`
pub struct DeclaredMap {
    pub entries: u64,
    /// A full map gives up the entry that was used least recently.
    pub evicts: bool,
    pub span: Span,
}

/// `fn name($a: T): T { ... }`
pub struct DeclaredFunction<'a> {
    pub name: &'a Name,
    pub parameters: &'a [Parameter],
    pub result: Option<&'a TypeName>,
    pub body: &'a Block,
}

/// Kinds of maps that a declaration names, and whether they give up old entries. Whether values are kept for each
/// processor follows from what is assigned to them.
const MAP_KINDS: &[(&str, bool)] =
    &[("hash", false), ("lruhash", true), ("percpuhash", false), ("percpulruhash", true)];

pub fn items<'a>(ast: &'a Script, options: &CheckOptions, diagnostics: &mut Vec<Diagnostic>) -> Items<'a> {
    let mut found = Items {
        settings: options.settings.clone(),
        maps: HashMap::new(),
        functions: HashMap::new(),
        macros: Vec::new(),
    };
    let mut enumerators = HashMap::new();
    let mut config: Option<Span> = None;
    for item in &ast.items {
        match item {
            // Types come from the kernel itself, so headers have nothing to add; definitions are expanded, and imports
            // are read before.
            Item::Clause(_) | Item::Directive { .. } | Item::Import { .. } => {}
            Item::Macro { name, .. } => found.macros.push(&name.text),
            Item::Struct { members, .. } | Item::Typedef { members, .. } => {
                different_members(members, &mut enumerators, diagnostics)
            }
            Item::Enum { members, .. } => {
                for (member, _) in members {
                    different("the enumerator `", member, &mut enumerators, diagnostics);
                }
            }
            Item::Function { name, parameters, result, body, .. } => {
                let mut known = HashMap::new();
                for parameter in parameters {
                    different("the parameter `$", &parameter.name, &mut known, diagnostics);
                }
                let function = DeclaredFunction { name, parameters, result: result.as_ref(), body };
                if let Some(first) = found.functions.insert(&name.text, function) {
                    diagnostics.push(twice(&format!("the function `{}`", name.text), name.span, first.name.span));
                }
            }
            Item::MapDeclaration { map, kind, arguments, span } => {
                if let Some(declared) = map_declaration(kind, arguments, *span, diagnostics)
                    && let Some(first) = found.maps.insert(&map.text, declared)
                {
                    diagnostics.push(twice(&format!("@{}", map.text), *span, first.span));
                }
            }
            Item::Config { settings, span } => {
                if let Some(first) = config {
                    diagnostics.push(
                        Diagnostic::error(Code::DeclaredTwice, *span, "a script has one config block")
                            .label("the second one")
                            .other(first, "the first one")
                            .help("put all settings into one block, separated by `;`"),
                    );
                }
                config.get_or_insert(*span);
                for (name, value) in settings {
                    setting(name, value, &mut found.settings, diagnostics);
                }
            }
        }
    }
    options.overrides.iter().for_each(|forced| forced.apply(&mut found.settings));
    found
}

/// Members of one struct have different names.
fn different_members<'a>(
    members: &'a [Member],
    enumerators: &mut HashMap<&'a str, Span>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut known = HashMap::new();
    for member in members {
        if let Some(name) = &member.name {
            different("the member `", name, &mut known, diagnostics);
        }
        match &member.inner {
            Some(Inner::Members(members, _)) => different_members(members, enumerators, diagnostics),
            Some(Inner::Enumerators(members)) => {
                for (member, _) in members {
                    different("the enumerator `", member, enumerators, diagnostics);
                }
            }
            None => {}
        }
    }
}

/// Tells a name that is there already. `what` is what stands before it in the message.
fn different<'a>(what: &str, name: &'a Name, known: &mut HashMap<&'a str, Span>, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(first) = known.insert(&name.text, name.span) {
        diagnostics.push(twice(&format!("{what}{}`", name.text), name.span, first));
    }
}

fn twice(what: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error(Code::DeclaredTwice, span, format!("{what} is declared twice"))
        .label("the second time")
        .other(first, "declared here")
        .help("give one of them another name")
}

fn map_declaration(
    kind: &Name,
    arguments: &[Expr],
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<DeclaredMap> {
    let Some((_, evicts)) = MAP_KINDS.iter().find(|(name, _)| *name == kind.text) else {
        let names = MAP_KINDS.iter().map(|(name, _)| *name);
        let help = match did_you_mean(&near_misses(&kind.text, names)) {
            Some(help) => help,
            None => format!("kinds: {}", MAP_KINDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
        };
        diagnostics.push(
            Diagnostic::error(Code::UnknownName, kind.span, format!("there is no kind of map `{}`", kind.text))
                .label("not a kind of map")
                .help(help),
        );
        return None;
    };
    match arguments {
        [Expr { kind: ExprKind::Int(entries), .. }] if (1..=u64::from(u32::MAX)).contains(entries) => {
            Some(DeclaredMap { entries: *entries, evicts: *evicts, span })
        }
        _ => {
            diagnostics.push(
                Diagnostic::error(Code::BadValue, span, format!("`{}` takes the number of entries", kind.text))
                    .label("one number from 1 to 4294967295")
                    .help(format!("let @m = {}(10000);", kind.text)),
            );
            None
        }
    }
}

fn setting(name: &Name, value: &Expr, settings: &mut Settings, diagnostics: &mut Vec<Diagnostic>) {
    let lower = name.text.to_ascii_lowercase();
    let lower = lower.strip_prefix("bpftrace_").unwrap_or(&lower);
    if let Some(known) = SETTINGS.iter().find(|known| known.name == lower) {
        if !(known.set)(settings, &value.kind) {
            let message = format!("`{lower}` takes {}", known.takes);
            let usual = (known.written)(&Settings::default());
            diagnostics.push(
                Diagnostic::error(Code::BadValue, value.span, message)
                    .label("this value")
                    .help(format!("without it, it is `{lower} = {usual}`")),
            );
        }
    } else if let Some(idle) = IDLE.iter().find(|idle| idle.name == lower) {
        if !(idle.fits)(&value.kind) {
            let message = format!("`{lower}` takes {}", idle.takes);
            let help = format!("take it out, it changes nothing: {}", idle.why);
            diagnostics.push(Diagnostic::error(Code::BadValue, value.span, message).label("this value").help(help));
        }
    } else if BYGONE.contains(&lower) {
        let message = format!("`{lower}` decides nothing any more");
        diagnostics
            .push(Diagnostic::warning(Code::Config, name.span, message).label("no setting now").help("take it out"));
    } else if let Some((_, now)) = RENAMED.iter().find(|(old, _)| *old == lower) {
        let message = format!("`{lower}` has another name now");
        let help = format!("it is `{now}`");
        diagnostics.push(Diagnostic::error(Code::Config, name.span, message).label("its old name").help(help));
    } else {
        let message = format!("there is no setting `{}`", name.text);
        let mut diagnostic = Diagnostic::error(Code::Config, name.span, message).label("not a setting");
        diagnostic = diagnostic.help(match did_you_mean(&near_misses(lower, settings::names())) {
            Some(help) => help,
            None => format!("the settings: {}", settings::names().collect::<Vec<_>>().join(", ")),
        });
        diagnostics.push(diagnostic);
    }
}
