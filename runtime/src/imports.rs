//! `import "x";` and `#include "x"`: the files that a script imports, read and put in its place. Knows the file system; what
//! the items mean is for the checker.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rtrace_lang::ast::rewrite::{Rewrite, walk_statement};
use rtrace_lang::ast::{Clause, Item, Script, Stmt, StmtKind};
use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::parse::parse_import;
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;

/// Endings of files that hold scripts; a directory's other files are passed over.
const SCRIPTS: &[&str] = &["rt", "bt", "h"];

/// Endings of files of programs in C, which takes a compiler.
const C_PROGRAMS: &[&str] = &["c", "o"];

/// Puts what the script imports into it, each file once. Relative paths start where the importing file is.
pub fn resolve(mut script: Script, source: &mut Source, diagnostics: &mut Vec<Diagnostic>) -> Script {
    let imports = |item: &mut Item| match item {
        Item::Import { .. } => true,
        Item::Directive { text, .. } => included(text).is_some(),
        other => !Statements::of(other).is_empty(),
    };
    if !script.items.iter_mut().any(imports) {
        return script;
    }
    let below = source.below().to_path_buf();
    let name = PathBuf::from(source.name());
    let read = below.join(&name).canonicalize().into_iter().collect();
    let mut reader = Reader { source, below, diagnostics, read, items: Vec::new() };
    let directory = directory_of(&name);
    reader.items_of(script, &directory);
    Script { items: reader.items }
}

/// The header of one's own that a line of the preprocessor includes. Those in `< >` are the system's, whose types come from
/// the kernel.
fn included(directive: &str) -> Option<&str> {
    let path = directive.trim_start_matches('#').trim_start().strip_prefix("include")?.trim_start();
    path.strip_prefix('"')?.split_once('"').map(|(path, _)| path)
}

/// The imports that stand among the statements of an item, which are the same as any before it.
struct Statements(Vec<(String, Span)>);

impl Statements {
    fn of(item: &mut Item) -> Vec<(String, Span)> {
        let mut found = Statements(Vec::new());
        match item {
            Item::Clause(Clause { body, .. }) | Item::Function { body, .. } | Item::Macro { body, .. } => {
                found.block(body)
            }
            Item::Struct { .. }
            | Item::Typedef { .. }
            | Item::Enum { .. }
            | Item::Config { .. }
            | Item::Import { .. }
            | Item::MapDeclaration { .. }
            | Item::Directive { .. } => {}
        }
        found.0
    }
}

impl Rewrite for Statements {
    fn statement(&mut self, statement: &mut Stmt) {
        if let StmtKind::Import(path) = &statement.kind {
            self.0.push((path.clone(), statement.span));
        }
        walk_statement(self, statement);
    }
}

struct Reader<'a> {
    source: &'a mut Source,
    /// Where paths start.
    below: PathBuf,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Files that are in already.
    read: HashSet<PathBuf>,
    items: Vec<Item>,
}

impl Reader<'_> {
    /// Takes in the items of a file of that directory.
    fn items_of(&mut self, script: Script, directory: &Path) {
        for mut item in script.items {
            for (path, span) in Statements::of(&mut item) {
                self.import(&directory.join(path), span);
            }
            match &item {
                Item::Import { path, span } => self.import(&directory.join(path), *span),
                Item::Directive { text, span } => match included(text) {
                    Some(path) => self.include(&directory.join(path), *span),
                    None => self.items.push(item),
                },
                Item::Clause(_)
                | Item::Function { .. }
                | Item::Macro { .. }
                | Item::Struct { .. }
                | Item::Typedef { .. }
                | Item::Enum { .. }
                | Item::Config { .. }
                | Item::MapDeclaration { .. } => self.items.push(item),
            }
        }
    }

    /// A script that somebody else has written may come without its headers, which often hold what is known anyway.
    fn include(&mut self, path: &Path, span: Span) {
        match self.below.join(path).metadata() {
            Ok(_) => self.import(path, span),
            Err(error) => self.diagnostics.push(
                Diagnostic::warning(Code::Import, span, format!("cannot read {}: {error}", path.display()))
                    .label("passed over")
                    .help(RELATIVE)
                    .help("types and constants of the kernel are known without a header"),
            ),
        }
    }

    fn import(&mut self, path: &Path, span: Span) {
        let metadata = match self.below.join(path).metadata() {
            Ok(metadata) => metadata,
            Err(error) => return self.fail(span, format!("cannot read {}: {error}", path.display()), RELATIVE),
        };
        // Whoever may write there may have anything traced by whoever runs the script.
        if metadata.mode() & 0o002 != 0 {
            let message = format!("{} may be written by everyone", path.display());
            return self.fail(span, message, "take the right away: chmod o-w");
        }
        if !metadata.is_dir() {
            return self.file(path, span);
        }
        let entries = match self.below.join(path).read_dir() {
            Ok(entries) => entries,
            Err(error) => return self.fail(span, format!("cannot read {}: {error}", path.display()), RELATIVE),
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| path.join(entry.file_name()))
            .collect();
        files.retain(|file| SCRIPTS.iter().any(|ending| has_ending(file, ending)));
        files.sort();
        files.iter().for_each(|file| self.file(file, span));
    }

    fn file(&mut self, path: &Path, span: Span) {
        if C_PROGRAMS.iter().any(|ending| has_ending(path, ending)) {
            let message = format!("{} is a program in C", path.display());
            return self.fail(
                span,
                message,
                "rtrace has no C compiler; write it as `fn name($x: int64): int64 { ... }`",
            );
        }
        let full = self.below.join(path);
        if !self.read.insert(full.canonicalize().unwrap_or_else(|_| full.clone())) {
            return;
        }
        let text = match std::fs::read(&full).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return self.fail(span, format!("{} is not UTF-8 text", path.display()), RELATIVE),
            Err(error) => return self.fail(span, format!("cannot read {}: {error}", path.display()), RELATIVE),
        };
        let start = self.source.import(path.display().to_string(), &text);
        let parsed = parse_import(&text, start);
        self.diagnostics.extend(parsed.diagnostics);
        if let Some(Item::Config { span, .. }) =
            parsed.ast.items.iter().find(|item| matches!(item, Item::Config { .. }))
        {
            self.diagnostics.push(
                Diagnostic::error(Code::Import, *span, "an imported file has no config block")
                    .label("settings of a file that is imported")
                    .help("settings belong to the script that imports"),
            );
        }
        self.items_of(parsed.ast, &directory_of(path));
    }

    fn fail(&mut self, span: Span, message: String, help: &str) {
        self.diagnostics.push(Diagnostic::error(Code::Import, span, message).label("imported here").help(help));
    }
}

const RELATIVE: &str = "a relative path starts in the directory of the file that names it";

fn directory_of(path: &Path) -> PathBuf {
    path.parent().map_or(PathBuf::new(), Path::to_path_buf)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}
