//! The picture of a time series: a line for each interval, time from top to bottom, values from left to right.

use crate::clock;
use crate::event::Point;

/// Characters between the time and the value, the frame included.
const WIDTH: usize = 53;

/// Characters that the smallest value takes above and below the picture; the largest one takes the rest.
const LEFT: usize = 21;

/// The parts of a second that an interval needs: their name, digits, and the format of a time.
const UNITS: [(u64, &str, usize, &str); 4] = [
    (1_000_000_000, "", 0, "%H:%M:%S"),
    (1_000_000, ".ms", 4, "%H:%M:%S.%l"),
    (1000, ".us", 7, "%H:%M:%S.%f"),
    (1, ".ns", 10, "%H:%M:%S.%k"),
];

pub fn picture(interval: u64, points: &[Point], signed: bool) -> String {
    let number = |value: i64| if signed { i128::from(value) } else { i128::from(value as u64) };
    let values = || points.iter().filter_map(|point| point.value.map(number));
    let (Some(mut min), Some(mut max)) = (values().min(), values().max()) else { return "<no data>\n".to_string() };
    if min == max {
        // A point in the middle; the ends of the numbers stay where they are.
        let (least, most) = if signed { (i64::MIN.into(), i64::MAX.into()) } else { (0, u64::MAX.into()) };
        (min, max) = ((min - 1).max(least), (max + 1).min(most));
    }
    // bpftrace shows one interval by itself in nanoseconds.
    let unit = UNITS.iter().find(|(unit, ..)| points.len() > 1 && interval.is_multiple_of(*unit));
    let (_, name, digits, format) = unit.copied().unwrap_or(UNITS[3]);
    let indent = "hh:mm:ss".len() + digits + 1;
    let ends = format!("{:indent$}{:<LEFT$}{:>right$}\n", "", min, max, right = WIDTH - LEFT);
    let column = |value: i128, last: usize| ((value - min) * last as i128 / (max - min)) as usize;
    let zero = (min < 0 && max > 0).then(|| column(0, WIDTH).min(WIDTH - 1));
    let mut out = ends.clone();
    out.push_str(&format!("{:<indent$}|{}|\n", format!("hh:mm:ss{name}"), "_".repeat(WIDTH - 2)));
    for point in points {
        let mut line = vec![b' '; WIDTH];
        (line[0], line[WIDTH - 1]) = (b'|', b'|');
        if let Some(zero) = zero {
            line[zero] = b'.';
        }
        let text = match point.value.map(number) {
            Some(value) => {
                line[column(value, WIDTH - 1)] = b'*';
                value.to_string()
            }
            None => "-".to_string(),
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        out.push_str(&format!("{} {line} {text}\n", clock::format(format, point.start)));
    }
    out.push_str(&format!("{:indent$}v{}v\n", "", "_".repeat(WIDTH - 2)));
    out.push_str(&ends);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(interval: u64, values: &[Option<i64>]) -> Vec<String> {
        let point = |(number, value): (usize, &Option<i64>)| Point {
            start: 1_000_000_000 + number as i64 * interval as i64,
            value: *value,
        };
        let points: Vec<Point> = values.iter().enumerate().map(point).collect();
        picture(interval, &points, true).lines().map(str::to_string).collect()
    }

    #[test]
    fn from_the_smallest_to_the_largest() {
        let lines = lines(500_000_000, &[Some(0), None, Some(52), Some(26)]);
        let indent = " ".repeat(13);
        assert_eq!(lines[0], format!("{indent}0{}52", " ".repeat(50)));
        assert_eq!(lines[1], format!("hh:mm:ss.ms  |{}|", "_".repeat(51)));
        // The hour is that of the machine's time zone.
        assert_eq!(lines[2][5..], format!(":01.000 *{}| 0", " ".repeat(51)));
        assert_eq!(lines[3][5..], format!(":01.500 |{}| -", " ".repeat(51)));
        assert_eq!(lines[4][5..], format!(":02.000 |{}* 52", " ".repeat(51)));
        assert_eq!(lines[5][5..], format!(":02.500 |{}*{}| 26", " ".repeat(25), " ".repeat(25)));
        assert_eq!(lines[6], format!("{indent}v{}v", "_".repeat(51)));
        assert_eq!(lines[7], lines[0]);
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn an_axis_where_both_signs_are() {
        let lines = lines(1_000_000_000, &[Some(-10), Some(10), Some(1)]);
        assert_eq!(lines[1][..10], "hh:mm:ss |"[..]);
        assert!(lines[2][5..].starts_with(":01 *"), "{}", lines[2]);
        assert_eq!(lines[2].find('.'), Some(9 + 26));
    }

    #[test]
    fn one_value_and_none() {
        assert_eq!(lines(1, &[None]), ["<no data>"]);
        let lines = lines(1, &[Some(7)]);
        assert!(lines[0].contains(" 6 ") && lines[0].ends_with('8'), "{}", lines[0]);
        assert_eq!(lines[2].find('*'), Some(8 + 10 + 1 + 26));
    }
}
