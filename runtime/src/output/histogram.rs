//! Pictures of histograms as bpftrace draws them: a row for each bucket from the first to the last that is not empty.

use rtrace_lang::aggregations::power_range;

use super::Bars;

/// Characters of a full bar.
const BAR: u64 = 52;

/// Characters of a bucket's name and of its count, where none of them is longer.
const LABEL: usize = 16;
const COUNT: usize = 8;

/// The picture of a histogram by powers of two, each split into 2^bits buckets.
pub fn powers(buckets: &[u64], bits: u32, divisor: u64, bars: Bars) -> String {
    rows(buckets, divisor, bars, |bucket| {
        let Some(bucket) = bucket.checked_sub(1) else { return "(..., 0)".to_string() };
        let (from, to) = power_range(bucket as u32, bits);
        if from == to {
            return format!("[{from}]");
        }
        format!("[{}, {})", power_label(from.into(), bits), power_label(u128::from(to) + 1, bits))
    })
}

/// The end of a bucket, in K, M and so on from the size on at which buckets are that wide: all ends are whole then.
fn power_label(value: u128, bits: u32) -> String {
    const LETTERS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let tens = (value.checked_ilog2().unwrap_or(0).saturating_sub(bits) / 10).min(6);
    format!("{}{}", value >> (tens * 10), LETTERS[tens as usize])
}

/// The picture of a histogram with steps of equal size.
pub fn linear(buckets: &[u64], (min, max, step): (i64, i64, i64), divisor: u64, bars: Bars) -> String {
    let last = buckets.len() - 1;
    rows(buckets, divisor, bars, |bucket| match bucket {
        0 => format!("(..., {})", linear_label(min, step)),
        n if n == last => format!("[{}, ...)", linear_label(max, step)),
        n => {
            let from = min + (n as i64 - 1) * step;
            if step == 1 {
                format!("[{}]", linear_label(from, step))
            } else {
                format!("[{}, {})", linear_label(from, step), linear_label(from + step, step))
            }
        }
    })
}

/// Numbers in K and M where the steps are.
fn linear_label(value: i64, step: i64) -> String {
    const K: i64 = 1024;
    if step % K != 0 || value == 0 || value % K != 0 {
        return value.to_string();
    }
    if value % (K * K) == 0 { format!("{}M", value / (K * K)) } else { format!("{}K", value / K) }
}

/// Counts and bars are shown divided; which rows there are is decided before.
fn rows(buckets: &[u64], divisor: u64, bars: Bars, label: impl Fn(usize) -> String) -> String {
    let Some(first) = buckets.iter().position(|count| *count > 0) else { return String::new() };
    let last = buckets.iter().rposition(|count| *count > 0).unwrap_or(first);
    let shown: Vec<u64> = buckets.iter().map(|count| count / divisor.max(1)).collect();
    let most = shown.iter().copied().max().unwrap_or(1).max(1);
    let labels: Vec<String> = (first..=last).map(label).collect();
    // A space stays between the two where both are long.
    let label_width = labels.iter().map(|label| label.len() + 1).max().unwrap_or(0).max(LABEL);
    let count_width = most.to_string().len().max(COUNT);
    let mut out = String::new();
    for (label, count) in labels.iter().zip(&shown[first..]) {
        let bar = bars.draw(*count, most, BAR);
        out.push_str(&format!("{label:<label_width$}{count:>count_width$} |{bar:<52}|\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::aggregations::power_bucket;

    #[test]
    fn labels() {
        let mut buckets = vec![0; 66];
        buckets[0] = 1;
        buckets[4] = 2;
        buckets[13] = 1;
        let picture = powers(&buckets, 0, 1, Bars::Ascii);
        assert!(
            picture.starts_with("(..., 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |\n")
        );
        assert!(picture.contains("[4, 8)                 2 |@@@@@@@@"));
        assert!(picture.contains("[2K, 4K) "));
        assert_eq!(picture.lines().count(), 14);
    }

    #[test]
    fn labels_of_parts_of_powers() {
        let label = |value: u64| {
            let mut buckets = vec![0; 600];
            buckets[1 + power_bucket(value, 3) as usize] = 1;
            powers(&buckets, 3, 1, Bars::Ascii).split("  ").next().unwrap_or("").to_string()
        };
        assert_eq!(
            [0, 15, 17, 896, 1024, 8191].map(label),
            ["[0]", "[15]", "[16, 18)", "[896, 960)", "[1024, 1152)", "[7680, 8K)"]
        );
        assert_eq!([8192, 9300, u64::MAX].map(label), ["[8K, 9K)", "[9K, 10K)", "[15E, 16E)"]);
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let wide = 1_000_000_000_000_000_001;
        let picture = linear(&[0, 1, 123_456_789_012, 0], (0, 2 * wide, wide), 1, Bars::Ascii);
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines[0].starts_with("[0, 1000000000000000001)                              1 |"), "{picture}");
        assert!(lines[1].starts_with("[1000000000000000001, 2000000000000000002) 123456789012 |@"), "{picture}");
    }

    #[test]
    fn steps() {
        let picture = linear(&[1, 2, 0, 4], (0, 20, 10), 1, Bars::Ascii);
        assert_eq!(
            picture
                .lines()
                .map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>(),
            ["(..., 0) 1", "[0, 10) 2", "[10, 20) 0", "[20, ...) 4"]
        );
    }
}
