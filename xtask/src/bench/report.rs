//! The table that the benchmarks print: a row for each thing that is measured. Computes ratios, and nothing else.

/// The middle of the figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn head(unit: &str) {
    println!("{:<34} {:>14} {:>14} {:>10}", format!("[{unit}]"), "rtrace", "bpftrace", "ratio");
}

/// A row; without a peer there is no ratio.
pub fn row(name: &str, ours: f64, theirs: Option<f64>) {
    match theirs {
        Some(theirs) => println!("{name:<34} {ours:>14.3} {theirs:>14.3} {:>10.4}", ours / theirs),
        None => println!("{name:<34} {ours:>14.3} {:>14} {:>10}", "-", "-"),
    }
}

/// The mean of ratios, each of which counts alike.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!((geometric_mean(&[0.5, 2.0]) - 1.0).abs() < 1e-9);
    }
}
