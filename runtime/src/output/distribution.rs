//! Pictures of histograms as D draws them: a bar is the part that a bucket has of the total.

use crate::event::Bucket;

use super::Bars;

/// Characters of a bar that is the whole.
const BAR: u128 = 40;

pub fn picture(rows: &[Bucket], divisor: u64, bars: Bars) -> String {
    let total: u128 = rows.iter().map(|row| u128::from(row.count.unsigned_abs())).sum();
    let (above, below) = (rows.iter().any(|row| row.count > 0), rows.iter().any(|row| row.count < 0));
    let label = rows.iter().map(|row| row.label.len()).max().unwrap_or(0).max(16);
    let mut out = format!("{:>label$} {:>41} {:<9}\n", "value", "------------- Distribution -------------", "count");
    for row in rows {
        // Where counts of both signs are, the bars go both ways from the middle.
        let width = if above && below { BAR / 2 } else { BAR };
        let size = u128::from(row.count.unsigned_abs());
        let length = (2 * size * width + total).checked_div(2 * total).unwrap_or(0) as usize;
        let width = width as usize;
        let bar = match bars {
            Bars::Blocks if row.count > 0 => {
                bars.draw(row.count.unsigned_abs(), u64::try_from(total).unwrap_or(u64::MAX), width as u64)
            }
            // Which end at the right: there are no blocks that do.
            Bars::Blocks => "█".repeat(length),
            Bars::Ascii => "@".repeat(length),
        };
        let picture = match (above, below) {
            (_, false) => format!("|{bar:<width$}"),
            (false, true) => format!("{bar:>width$}|"),
            (true, true) if row.count > 0 => format!("{:width$}|{bar:<width$}", ""),
            (true, true) => format!("{bar:>width$}|{:width$}", ""),
        };
        let count = i128::from(row.count) / i128::from(divisor.max(1));
        out.push_str(&format!("{:>label$} {picture} {count:<9}\n", row.label));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(counts: &[i64], divisor: u64) -> Vec<String> {
        let row = |count: &i64| Bucket { label: "7".to_string(), from: None, to: None, count: *count };
        let rows: Vec<Bucket> = counts.iter().map(row).collect();
        picture(&rows, divisor, Bars::Ascii).lines().skip(1).map(|line| line[16..].to_string()).collect()
    }

    #[test]
    fn parts_of_the_whole() {
        let spaces = |n: usize| " ".repeat(n);
        assert_eq!(
            bars(&[0, 1, 3], 1),
            [
                format!(" |{} 0        ", spaces(40)),
                format!(" |{}{} 1        ", "@".repeat(10), spaces(30)),
                format!(" |{}{} 3        ", "@".repeat(30), spaces(10)),
            ]
        );
        assert_eq!(bars(&[1500], 1000), [format!(" |{} 1        ", "@".repeat(40))]);
        assert_eq!(bars(&[0], 1), [format!(" |{} 0        ", spaces(40))]);
    }

    #[test]
    fn negative_weights() {
        let spaces = |n: usize| " ".repeat(n);
        assert_eq!(bars(&[-4], 1), [format!(" {}| -4       ", "@".repeat(40))]);
        assert_eq!(
            bars(&[-1, 1], 1),
            [
                format!(" {}{}|{} -1       ", spaces(10), "@".repeat(10), spaces(20)),
                format!(" {}|{}{} 1        ", spaces(20), "@".repeat(10), spaces(10)),
            ]
        );
    }
}
