//! A bar on the terminal while many probes are attached. Nothing is shown of what is done at once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What takes no longer shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the bar is drawn anew.
const STEP: Duration = Duration::from_millis(100);
/// Fewer probes are not worth a thread that draws.
const LEAST: usize = 16;
/// Characters of the bar.
const WIDTH: usize = 40;

/// A bar that goes away with this value.
pub struct Progress {
    shared: Arc<Shared>,
    drawer: Option<JoinHandle<()>>,
}

struct Shared {
    done: AtomicUsize,
    all: usize,
    is_over: AtomicBool,
}

impl Progress {
    /// Begins to count; `is_shown` where there is a terminal to show it.
    pub fn new(all: usize, is_shown: bool) -> Progress {
        let shared = Arc::new(Shared { done: AtomicUsize::new(0), all, is_over: AtomicBool::new(false) });
        let of_drawer = shared.clone();
        // A thread of its own, since one call of the kernel may attach thousands.
        let drawer = (is_shown && all >= LEAST).then(|| std::thread::spawn(move || draw(&of_drawer)));
        Progress { shared, drawer }
    }

    pub fn advance(&self, count: usize) {
        self.shared.done.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(drawer) = self.drawer.take() {
            drawer.thread().unpark();
            // A bar that could not be drawn is no reason to fail.
            let _ = drawer.join();
        }
    }
}

fn draw(shared: &Shared) {
    std::thread::park_timeout(PATIENCE);
    let mut is_drawn = false;
    while !shared.is_over.load(Ordering::Relaxed) {
        write(&format!("\r{}", bar(shared.done.load(Ordering::Relaxed), shared.all)));
        is_drawn = true;
        std::thread::park_timeout(STEP);
    }
    if is_drawn {
        write("\r\x1b[K");
    }
}

fn bar(done: usize, all: usize) -> String {
    format!("Attaching {} {done}/{all}", filled(WIDTH * done.min(all) / all.max(1), WIDTH))
}

/// A bar of that width, filled so far.
pub(super) fn filled(part: usize, width: usize) -> String {
    format!("[{}{}]", "#".repeat(part), " ".repeat(width - part))
}

/// On the terminal's line.
pub(super) fn write(text: &str) {
    let mut errors = std::io::stderr().lock();
    // A line that could not be drawn is no reason to fail.
    let _ = errors.write_all(text.as_bytes()).and_then(|()| errors.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(1, 4), format!("Attaching [{}{}] 1/4", "#".repeat(10), " ".repeat(30)));
        assert_eq!(bar(4, 4), format!("Attaching [{}] 4/4", "#".repeat(40)));
    }
}
