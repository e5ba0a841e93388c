//! A map of stacks as a page for a browser: the flame graph, a field that searches it, and a table of its functions. The page is one
//! file that loads nothing, which its own policy forbids as well.

use std::io;

use super::flame_graph::{self, Style};
use super::stacks::StackMap;
use crate::recordings::report::{self, functions, share};

/// Functions of the table; the heaviest ones.
const MOST_FUNCTIONS: usize = 500;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

const LOOKS: &str = "body { font: 14px sans-serif; margin: 1em; } \
    table { border-collapse: collapse; margin-top: 1em; } \
    th { text-align: left; cursor: pointer; position: sticky; top: 0; background: white; } \
    td, th { padding: 1px 12px 1px 0; } \
    td { font-family: monospace; white-space: pre; } \
    .number { text-align: right; } \
    .hidden { display: none; } \
    svg { max-width: 100%; }";

/// What the page does beside the graph's own script. Columns are sorted by their `data-of`, or by name.
const SCRIPT: &str = r##"
document.addEventListener("DOMContentLoaded", function () {
    init();
    var sought = document.getElementById("sought");
    var body = document.querySelector("#functions tbody");
    var all = Array.prototype.slice.call(body.rows);
    function seek() {
        var text = sought.value;
        all.forEach(function (row) {
            row.classList.toggle("hidden", row.cells[4].textContent.indexOf(text) < 0);
        });
        if (searching) search_prompt();
        if (text) search(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    }
    sought.addEventListener("input", seek);
    document.getElementById("clear").addEventListener("click", function () { sought.value = ""; seek(); });
    body.addEventListener("click", function (event) {
        var row = event.target.closest("tr");
        if (row) { sought.value = row.cells[4].textContent; seek(); }
    });
    document.querySelectorAll("#functions th").forEach(function (head) {
        head.addEventListener("click", function () {
            var column = Number(head.dataset.column);
            all.sort(function (one, other) {
                var a = one.cells[column].textContent, b = other.cells[column].textContent;
                return column === 4 ? (a < b ? -1 : a > b ? 1 : 0) : parseFloat(b) - parseFloat(a);
            });
            all.forEach(function (row) { body.appendChild(row); });
        });
    });
});
"##;

/// The page as the bytes of its file.
pub fn page(map: &StackMap, style: &Style) -> io::Result<Vec<u8>> {
    let whole = report::weight(&map.stacks);
    let mut functions = functions(map);
    functions.sort_by_key(|function| (-function.own, -function.total));
    let cell = |weight: i64| (format!("{:.2} %", share(weight, whole)), weight);
    let rows: Vec<Row> = functions
        .into_iter()
        .map(|function| Row { own: cell(function.own), total: cell(function.total), name: function.name })
        .collect();
    page_of(&flame_graph::graph(map, style)?, whole, &rows, "", style)
}

/// A function of the table: what is said of it in itself and of all that it called, and what each weighs.
pub(super) struct Row {
    pub own: (String, i64),
    pub total: (String, i64),
    pub name: String,
}

/// A graph with a table of the rows, those that matter first; what the figures are stands behind `own` and `total`.
pub(super) fn page_of(graph: &[u8], whole: i64, rows: &[Row], figures: &str, style: &Style) -> io::Result<Vec<u8>> {
    let graph = String::from_utf8_lossy(graph);
    let (title, unit) = (escaped(&style.title), escaped(&style.unit));
    Ok(format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n<title>{title}</title>\n\
         <style>{LOOKS}</style>\n</head>\n<body>\n\
         <p>{whole} {unit}. Search: <input id=\"sought\" size=\"40\" autofocus=\"autofocus\"/> <button id=\"clear\">clear</button></p>\n\
         {graph}\n{table}<script>//<![CDATA[{SCRIPT}//]]></script>\n</body>\n</html>\n",
        graph = inlined(&graph)?,
        table = table(rows, figures, &unit),
    )
    .into_bytes())
}

/// What of a file with a graph may stand in a page.
fn inlined(graph: &str) -> io::Result<String> {
    let missing = |what: &str| io::Error::other(format!("the graph has no {what}"));
    let start = graph.find("<svg").ok_or_else(|| missing("beginning"))?;
    let graph = graph[start..].trim_end();
    // The page calls it when all of the page is there.
    const CALL: &str = " onload=\"init(evt)\"";
    // In a page `fg:x` is the whole name of an attribute.
    const BY_SPACE: &str = "'[*|x=\"'";
    for what in [CALL, BY_SPACE] {
        if !graph.contains(what) {
            return Err(missing(what));
        }
    }
    Ok(graph.replacen(CALL, "", 1).replacen(BY_SPACE, "'[fg\\\\:x=\"'", 1))
}

fn table(rows: &[Row], figures: &str, unit: &str) -> String {
    let [own, total] = ["own", "total"].map(|head| format!("{head} {figures}").trim_end().to_string());
    let mut text = format!(
        "<table id=\"functions\">\n<thead><tr><th data-column=\"0\">{own}</th><th data-column=\"1\">{unit}</th>\
         <th data-column=\"2\">{total}</th><th data-column=\"3\">{unit}</th><th data-column=\"4\">function</th></tr></thead>\n<tbody>\n"
    );
    for row in rows.iter().take(MOST_FUNCTIONS) {
        text.push_str("<tr>");
        for (figure, weight) in [&row.own, &row.total] {
            text.push_str(&format!("<td class=\"number\">{figure}</td><td class=\"number\">{weight}</td>"));
        }
        text.push_str(&format!("<td>{}</td></tr>\n", escaped(&row.name)));
    }
    text.push_str("</tbody>\n</table>\n");
    if rows.len() > MOST_FUNCTIONS {
        text.push_str(&format!("<p>{} functions further down are left out.</p>\n", rows.len() - MOST_FUNCTIONS));
    }
    text
}

/// Text that stays text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // No file of XML may have others.
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
