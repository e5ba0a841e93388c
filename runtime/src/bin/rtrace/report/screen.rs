//! A recording on a terminal: draws what the browser shows, and hands keys to it. Whatever ends it, the terminal is left as it was.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use ratatui::{DefaultTerminal, Frame};

use rtrace_runtime::output::stacks::FrameKind;
use rtrace_runtime::recordings::browser::{Browser, KEYS, Key, Name, Row, View};
use rtrace_runtime::signals::{SignalWaiter, wait_for_hangup};

/// How long a signal may wait to be seen.
const PATIENCE: Duration = Duration::from_millis(100);

/// The columns of numbers in front of a name.
const NUMBERS: &str = "  total      own  ";

pub fn walk(mut browser: Browser) -> io::Result<()> {
    // They would end the tool and leave the terminal as it is now.
    let signals = SignalWaiter::new(&[libc::SIGTERM, libc::SIGHUP, libc::SIGINT])?;
    leave_with_terminal();
    // It also restores the terminal where the tool panics.
    let mut terminal = ratatui::try_init()?;
    let ended = until_left(&mut terminal, &mut browser, &signals);
    ratatui::try_restore()?;
    ended
}

/// Ends the tool when the terminal is closed: crossterm would go on reading keys from it for good, and never come back here.
fn leave_with_terminal() {
    // As crossterm does, whose keys come from the terminal also where standard input is the recording.
    let keys = if io::stdin().is_terminal() { None } else { File::open("/dev/tty").ok() };
    std::thread::spawn(move || {
        let keys = keys.as_ref().map_or_else(|| io::stdin().as_raw_fd(), AsRawFd::as_raw_fd);
        wait_for_hangup(&[keys, io::stdout().as_raw_fd()]);
        std::process::exit(0);
    });
}

fn until_left(terminal: &mut DefaultTerminal, browser: &mut Browser, signals: &SignalWaiter) -> io::Result<()> {
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut is_changed = true;
    loop {
        if is_changed {
            terminal.draw(|frame| draw(frame, browser, has_colours))?;
        }
        is_changed = event::poll(PATIENCE)?;
        if signals.take() {
            return Ok(());
        }
        if !is_changed {
            continue;
        }
        let Event::Key(pressed) = event::read()? else { continue };
        if pressed.kind == KeyEventKind::Release {
            continue;
        }
        if pressed.code == KeyCode::Char('c') && pressed.modifiers.contains(KeyModifiers::CONTROL) {
            return Ok(());
        }
        let height = lines_of(terminal.size()?.height);
        if let Some(key) = key(pressed)
            && !browser.press(key, height)
        {
            return Ok(());
        }
    }
}

/// None for keys without a meaning.
fn key(pressed: KeyEvent) -> Option<Key> {
    match pressed.code {
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Left => Some(Key::Left),
        KeyCode::Right => Some(Key::Right),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Home => Some(Key::Home),
        KeyCode::End => Some(Key::End),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Tab => Some(Key::Tab),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Char(character) if !pressed.modifiers.contains(KeyModifiers::CONTROL) => {
            Some(Key::Character(character))
        }
        _ => None,
    }
}

/// All but the title, the heads of the columns and the last line.
fn lines_of(height: u16) -> usize {
    usize::from(height.saturating_sub(3))
}

fn draw(frame: &mut Frame<'_>, browser: &mut Browser, has_colours: bool) {
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [title, heads, body, status] = Layout::vertical(rows).areas(frame.area());
    let turned = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(browser.title()).style(turned), title);
    let (heads_text, lines) = match browser.view() {
        View::Tree(_) => (format!("{NUMBERS}  function"), tree(browser, body, has_colours)),
        View::Flame => (String::new(), flame(browser, body, has_colours)),
    };
    frame.render_widget(Paragraph::new(heads_text), heads);
    frame.render_widget(Paragraph::new(lines), body);
    let hint = "? keys";
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(hint.len() as u16 + 1)]).areas(status);
    frame.render_widget(Paragraph::new(browser.status()), left);
    frame.render_widget(Paragraph::new(hint).right_aligned(), right);
    if browser.shows_keys() {
        keys(frame);
    }
}

fn tree(browser: &mut Browser, area: Rect, has_colours: bool) -> Vec<Line<'static>> {
    let rows = browser.rows(usize::from(area.height));
    let width = usize::from(area.width).saturating_sub(NUMBERS.len());
    // What is nested deeply is moved to the left, so that the chosen name has half of the width.
    let chosen = rows.iter().find(|row| row.is_chosen).map_or(0, |row| row.depth);
    let hidden = (chosen * 2).saturating_sub(width / 2);
    let line = |row: &Row<'_>| {
        let numbers = format!("{:>6.2} % {:>6.2} % ", row.total, row.own);
        let nested = format!("{}{} ", "  ".repeat(row.depth), row.mark);
        let nested: String = nested.chars().skip(hidden).collect();
        let cut = hidden.saturating_sub(row.depth * 2 + 2);
        let name: String = row.name.text.chars().skip(cut).collect();
        let style = if has_colours { Style::new().fg(colour(row.name)) } else { Style::new() };
        let style = if row.is_match { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
        let line = Line::from(vec![Span::raw(numbers), Span::raw(nested), Span::styled(name, style)]);
        if row.is_chosen { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
    };
    rows.iter().map(line).collect()
}

fn flame(browser: &mut Browser, area: Rect, has_colours: bool) -> Vec<Line<'static>> {
    let rows = browser.pieces(usize::from(area.width), usize::from(area.height));
    let mut lines = Vec::new();
    for row in rows {
        let mut spans = Vec::new();
        let mut x = 0;
        for piece in row {
            spans.push(Span::raw(" ".repeat(piece.x.saturating_sub(x))));
            x = piece.x + piece.width;
            let named = browser.piece_name(&piece);
            let text = named.map_or("all", |(name, _)| &name.text);
            let mut style = Style::new();
            if let (true, Some((name, _))) = (has_colours, named) {
                style = style.fg(Color::Black).bg(colour(name));
            }
            if piece.is_chosen {
                style = style.add_modifier(Modifier::REVERSED);
            }
            if named.is_some_and(|(_, is_match)| is_match) {
                style = style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
            }
            spans.push(Span::styled(fitted(text, piece.width), style));
        }
        lines.push(Line::from(spans));
    }
    lines
}

/// A bar, then as much of a name as there is room for.
fn fitted(text: &str, width: usize) -> String {
    let mut fitted = "|".to_string();
    let mut used = 1;
    for character in text.chars() {
        let wide = Span::raw(character.to_string()).width();
        if used + wide > width {
            break;
        }
        used += wide;
        fitted.push(character);
    }
    fitted.push_str(&" ".repeat(width.saturating_sub(used)));
    fitted
}

/// As in a flame graph.
fn colour(name: &Name) -> Color {
    match name.kind {
        None => Color::Gray,
        Some(FrameKind::Kernel) => Color::Yellow,
        Some(FrameKind::Inlined) => Color::Cyan,
        Some(FrameKind::Jit) => Color::Green,
        Some(FrameKind::User) => Color::Red,
    }
}

fn keys(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = KEYS.iter().map(|(key, what)| Line::from(format!(" {key:<28} {what}"))).collect();
    let [area] = Layout::vertical([Constraint::Length(lines.len() as u16 + 2)]).areas(frame.area());
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("keys")), area);
}
