//! A line on the terminal while something is recorded: how long, how much, and what was lost.

use std::time::{Duration, Instant};

use rtrace_lang::hir::{MapValue, Owner};
use rtrace_lang::types::Type;

use crate::cells;

use super::Session;
use super::progress::{filled, write};

/// How often the line is drawn anew; less often where a look at all stacks takes more than a hundredth of that.
const STEP: Duration = Duration::from_millis(500);
/// Characters of the bar.
const WIDTH: usize = 24;

/// What is counted of a recording, and for how long it is to last.
pub(super) struct RecordingLine {
    unit: String,
    duration: Option<Duration>,
    started: Instant,
    drawn: Option<Instant>,
    step: Duration,
}

impl RecordingLine {
    pub(super) fn new(unit: String, duration: Option<Duration>) -> RecordingLine {
        RecordingLine { unit, duration, started: Instant::now(), drawn: None, step: STEP }
    }

    fn is_due(&self) -> bool {
        self.drawn.is_none_or(|drawn| drawn.elapsed() >= self.step)
    }

    fn draw(&mut self, recorded: i128, stacks: usize, lost: u64) {
        self.drawn = Some(Instant::now());
        let text = line(self.started.elapsed(), self.duration, recorded, stacks, &self.unit, lost);
        write(&format!("\r{text}\x1b[K"));
    }

    /// Leaves the terminal to others, until it is drawn again.
    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            write("\r\x1b[K");
        }
    }
}

impl Drop for RecordingLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Session<'_> {
    /// Draws the line anew where it is time to.
    pub(super) fn draw_recording(&mut self) {
        let Some(mut line) = self.recording.take_if(|line| line.is_due()) else { return };
        let start = Instant::now();
        let (recorded, stacks) = self.recorded();
        line.step = STEP.max(start.elapsed() * 100);
        line.draw(recorded, stacks, self.lost());
        self.recording = Some(line);
    }

    /// Before others write to the terminal.
    pub(super) fn clear_recording(&mut self) {
        if let Some(line) = &mut self.recording {
            line.clear();
        }
    }

    /// What all stacks weigh by now, and how many there are. No key is looked at.
    fn recorded(&self) -> (i128, usize) {
        let (mut recorded, mut stacks) = (0, 0);
        for (map, live) in self.hir.maps.iter().zip(&self.maps) {
            let MapValue::Aggregation(aggregation) = &map.value else { continue };
            let has_stack = map.key.iter().any(|part| matches!(part, Type::Stack { .. }));
            if map.owner != Owner::Script || !has_stack {
                continue;
            }
            // What cannot be read now is read at the end.
            let _ = live.for_each(self.cpus, &mut |_, value| {
                if let Some(slots) = cells::merge(aggregation, value) {
                    recorded += cells::weight(&cells::cell(aggregation, &slots, 1));
                    stacks += 1;
                }
            });
        }
        (recorded, stacks)
    }

    /// How often something was lost, or could not be taken or kept.
    fn lost(&self) -> u64 {
        let layout = &self.object.manifest.globals;
        let records = (0..self.hir.records.len()).map(|number| layout.lost + number as u32 * 8);
        records.chain(layout.errors.iter().map(|(_, offset)| *offset)).map(|offset| self.globals.get(offset)).sum()
    }
}

fn line(elapsed: Duration, duration: Option<Duration>, recorded: i128, stacks: usize, unit: &str, lost: u64) -> String {
    let seconds = elapsed.as_secs();
    let time = match duration {
        Some(duration) => {
            let share = (elapsed.as_secs_f64() / duration.as_secs_f64().max(0.001)).min(1.0);
            let bar = filled((WIDTH as f64 * share) as usize, WIDTH);
            format!("{bar} {seconds} of {} s", duration.as_secs_f64())
        }
        None => format!("{seconds} s, Ctrl-C ends it"),
    };
    // Some is put together at the end.
    let recorded = if recorded > 0 { format!(": {recorded} {unit}, {stacks} stacks") } else { String::new() };
    format!("{time}{recorded}, {lost} lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let (five, twenty) = (Duration::from_millis(5400), Some(Duration::from_secs(20)));
        let bar = format!("[{}{}]", "#".repeat(6), " ".repeat(18));
        assert_eq!(
            line(five, twenty, 535, 17, "samples", 0),
            format!("{bar} 5 of 20 s: 535 samples, 17 stacks, 0 lost")
        );
        assert_eq!(line(five, None, 0, 0, "bytes", 2), "5 s, Ctrl-C ends it, 2 lost");
        assert_eq!(line(five * 9, twenty, 1, 1, "samples", 0).matches('#').count(), WIDTH);
    }
}
