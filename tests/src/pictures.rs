//! Flame graphs in a browser, as a file of their own and in a page: the mouse tells what a frame is, a click makes it wide, reset
//! shows all again, a search marks what it finds and tells its share; nothing is loaded, and hostile names stay text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::browser::Browser;
use crate::directory::Directory;
use crate::environment::Programs;

type Check = fn(&Programs) -> Result<()>;

pub const ALL: &[(&str, Check)] = &[("graph", check_graph), ("page", check_page)];

const HOSTILE: &str = "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>\"'&";

/// Three quarters are in `heavy`.
fn graph(programs: &Programs, directory: &Directory, name: &str) -> Result<PathBuf> {
    let (folded, picture) = (directory.path.join("a.folded"), directory.path.join(name));
    fs::write(&folded, format!("main;heavy;inner 60\nmain;heavy 15\nmain;light 20\nmain;{HOSTILE} 5\n"))?;
    let paths = [&folded, &picture].map(|path| path.display().to_string());
    let output = std::process::Command::new(&programs.rtrace)
        .args(["flame", "on-cpu", "--from", &paths[0], "-o", &paths[1]])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(picture)
}

/// The frame of a function, as an expression.
fn frame(function: &str) -> String {
    format!(
        "[...document.querySelectorAll('#frames g')].find(g => g.querySelector('title').textContent.startsWith({function:?} + ' ('))\
         .querySelector('rect')"
    )
}

/// Opens it, and gives the width of all frames.
fn open(browser: &mut Browser, path: &Path) -> Result<f64> {
    browser.open(path)?;
    let [_, _, whole, _] = browser.place(&frame("all"))?;
    let [_, _, heavy, _] = browser.place(&frame("heavy"))?;
    ensure!((heavy / whole - 0.75).abs() < 0.01, "{heavy} of {whole} points are not three quarters");
    Ok(whole)
}

/// The mouse over a frame: what it is can be read, and is seen.
fn check_hover(browser: &mut Browser) -> Result<()> {
    let before = browser.picture()?;
    browser.hover(&frame("heavy"))?;
    let details = browser.text("document.getElementById('details').textContent")?;
    ensure!(details.contains("heavy (75 ") && details.contains("75.00%"), "over a frame: {details:?}");
    let place = browser.place("document.getElementById('details')")?;
    ensure!(browser.picture()?.differences(&before, place)? > 50, "what is told of a frame is not seen");
    browser.hover(&frame(HOSTILE))?;
    let details = browser.text("document.getElementById('details').textContent")?;
    ensure!(details.contains(&format!("{HOSTILE} (5 ")), "over a hostile name: {details:?}");
    Ok(())
}

/// A click makes a frame as wide as all, and what is beside it goes; reset brings it back.
fn check_zoom(browser: &mut Browser, whole: f64) -> Result<()> {
    let [left, top, _, height] = browser.place(&frame("heavy"))?;
    // Near the right end, where `light` is.
    let (column, row) = (left + whole * 0.94, top + height * 0.2);
    let before = browser.picture()?;
    browser.click(&frame("heavy"))?;
    let [_, _, heavy, _] = browser.place(&frame("heavy"))?;
    ensure!((heavy - whole).abs() < 2.0, "after a click a frame has {heavy} of {whole} points");
    let light = browser.evaluate(&format!("getComputedStyle(({}).parentNode).display", frame("light")))?;
    ensure!(light == "none", "what is beside the frame is still shown: {light}");
    let zoomed = browser.picture()?;
    let near_left = zoomed.at(left + 5.0, row)?;
    ensure!(zoomed.at(column, row)? == near_left, "the frame does not reach over the picture");
    browser.click("document.getElementById('unzoom')")?;
    let [_, _, heavy, _] = browser.place(&frame("heavy"))?;
    ensure!((heavy / whole - 0.75).abs() < 0.01, "after a reset a frame has {heavy} of {whole} points");
    let again = browser.picture()?;
    ensure!(again.at(column, row)? == before.at(column, row)?, "a reset does not bring back what was there");
    Ok(())
}

/// What a search has marked, in the colour of matches; the share is told.
fn check_found(browser: &mut Browser, share: &str) -> Result<()> {
    let matched = browser.text("document.getElementById('matched').textContent")?;
    ensure!(matched.contains(share), "{share} should be matched: {matched:?}");
    let picture = browser.picture()?;
    for (function, is_marked) in [("heavy", true), ("light", false)] {
        let [left, top, _, height] = browser.place(&frame(function))?;
        let colour = picture.at(left + 2.0, top + height * 0.2)?;
        ensure!((colour == [230, 0, 230]) == is_marked, "{function} is {colour:?} after the search");
    }
    Ok(())
}

/// Nothing but the file itself was asked for, and no name has become an element.
fn check_quiet(browser: &mut Browser, path: &Path) -> Result<()> {
    let own = format!("file://{}", path.display());
    let others: Vec<&String> = browser.requests.iter().filter(|address| **address != own).collect();
    ensure!(!browser.requests.is_empty() && others.is_empty(), "more was loaded: {others:?}");
    ensure!(browser.evaluate("document.querySelectorAll('img').length")? == 0, "a name has become an element");
    Ok(())
}

/// A graph as a file of its own.
fn check_graph(programs: &Programs) -> Result<()> {
    let directory = Directory::create("graph-seen")?;
    let path = graph(programs, &directory, "a.svg")?;
    let mut browser = Browser::start(&directory)?;
    let whole = open(&mut browser, &path)?;
    check_hover(&mut browser)?;
    check_zoom(&mut browser, whole)?;
    browser.reply = Some("^heavy \\(".to_string());
    browser.click("document.getElementById('search')")?;
    check_found(&mut browser, "75")?;
    check_quiet(&mut browser, &path)
}

/// A graph in a page, which has a field for the search, and a table.
fn check_page(programs: &Programs) -> Result<()> {
    let directory = Directory::create("page-seen")?;
    let path = graph(programs, &directory, "a.html")?;
    let mut browser = Browser::start(&directory)?;
    let whole = open(&mut browser, &path)?;
    check_hover(&mut browser)?;
    check_zoom(&mut browser, whole)?;
    browser.click("document.getElementById('sought')")?;
    browser.keys("heavy")?;
    check_found(&mut browser, "75")?;
    let rows = "[...document.querySelectorAll('#functions tbody tr')].filter(row => row.offsetHeight > 0).map(row => row.cells[4].textContent).join()";
    ensure!(browser.text(rows)? == "heavy", "the table shows {}", browser.text(rows)?);
    browser.click("document.getElementById('clear')")?;
    let all = browser.text(rows)?;
    ensure!(all.starts_with("inner,") && all.contains(HOSTILE), "after the search is cleared the table shows {all}");
    browser.click("document.querySelectorAll('#functions th')[4]")?;
    let first = browser.text(rows)?.split(',').next().map(str::to_string).context("no rows")?;
    ensure!(first == HOSTILE, "sorted by name, the table begins with {first}");
    check_quiet(&mut browser, &path)
}
