//! Reads Prometheus' text exposition format 0.0.4, strictly: what is not in it is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

/// Values by the name and the labels of their series, as they are written.
pub type Samples = BTreeMap<String, f64>;

struct Family {
    name: String,
    kind: String,
}

pub fn read(text: &str) -> Result<Samples> {
    if !text.is_empty() && !text.ends_with('\n') {
        bail!("the last line has no end");
    }
    let (mut samples, mut names) = (Samples::new(), BTreeSet::new());
    let mut family: Option<Family> = None;
    let mut help: Option<String> = None;
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for line in text.lines() {
        let context = || format!("the line {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').with_context(context)?;
            help = Some(name.to_string());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').with_context(context)?;
            if !is_name(name, true) || !["counter", "gauge", "histogram", "summary"].contains(&kind) {
                bail!("a wrong type: {line}");
            }
            if help.as_deref() != Some(name) || !names.insert(name.to_string()) {
                bail!("{name} has no help before it, or two types");
            }
            family = Some(Family { name: name.to_string(), kind: kind.to_string() });
        } else {
            let family = family.as_ref().with_context(context)?;
            sample(line, family, &mut samples, &mut buckets).with_context(context)?;
        }
    }
    for (series, buckets) in buckets {
        let is_ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let (last, all) = *buckets.last().context("no bucket")?;
        if !is_ascending || last != f64::INFINITY || samples.get(&series) != Some(&all) {
            bail!("the buckets of {series} are not cumulative up to its count: {buckets:?}");
        }
    }
    Ok(samples)
}

fn sample(
    line: &str,
    family: &Family,
    samples: &mut Samples,
    buckets: &mut BTreeMap<String, Vec<(f64, f64)>>,
) -> Result<()> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(end);
    let suffix = name.strip_prefix(&family.name).context("the name is of another family")?;
    let allowed: &[&str] = match family.kind.as_str() {
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["", "_sum", "_count"],
        _ => &[""],
    };
    if !is_name(name, true) || !allowed.contains(&suffix) {
        bail!("the name {name} is none of a {}", family.kind);
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"").context("a label without a value")?;
            let (value, behind) = unescaped(behind)?;
            if !is_name(label, false) || label.starts_with("__") || labels.iter().any(|(other, _)| other == label) {
                bail!("the label {label}");
            }
            labels.push((label.to_string(), value));
            rest = match behind.strip_prefix(',') {
                Some(behind) => behind,
                None if behind.starts_with('}') => behind,
                None => bail!("something behind a label"),
            };
        }
        rest = &rest[1..];
    }
    let value = number(rest.strip_prefix(' ').context("no space before the value")?)?;
    if family.kind == "counter" && !family.name.ends_with("_total") {
        bail!("a counter's name ends in _total");
    }
    if suffix == "_bucket" {
        let le = labels.iter().position(|(label, _)| label == "le").context("a bucket without le")?;
        let (_, le) = labels.remove(le);
        let le = number(&le)?;
        buckets.entry(series(&format!("{}_count", family.name), &labels)).or_default().push((le, value));
        labels.push(("le".to_string(), le.to_string()));
    }
    if samples.insert(series(name, &labels), value).is_some() {
        bail!("the series is there twice");
    }
    Ok(())
}

fn series(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    [&[name.to_string()][..], &labels].concat().join(" ")
}

/// A value up to its quote, and what is behind it.
fn unescaped(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                _ => bail!("an escape that there is not"),
            },
            c => value.push(c),
        }
    }
    bail!("a value has no end")
}

fn number(text: &str) -> Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        text => text.parse().with_context(|| format!("the number {text}")),
    }
}

fn is_name(name: &str, with_colon: bool) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (with_colon && c == ':');
    name.starts_with(|c: char| is_part(c) && !c.is_ascii_digit()) && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn mistakes_are_found() {
        let head = "# HELP a_total x\n# TYPE a_total counter\n";
        assert_eq!(read(&format!("{head}a_total{{k=\"v\\\"\"}} 1\n")).expect("well formed")["a_total k=v\""], 1.0);
        for wrong in
            ["a_total", "b_total 1", "a_total{k=v} 1", "a_total{1k=\"v\"} 1", "a_total{k=\"\\x\"} 1", "a_total x"]
        {
            assert!(read(&format!("{head}{wrong}\n")).is_err(), "{wrong}");
        }
        assert!(read(&format!("{head}a_total 1\na_total 1\n")).is_err());
        let head = "# HELP h x\n# TYPE h histogram\n";
        assert!(read(&format!("{head}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_count 2\n")).is_ok());
        for wrong in [
            "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n",
            "h_bucket{le=\"1\"} 1\nh_count 1\n",
            "h_bucket{le=\"+Inf\"} 2\nh_count 1\n",
        ] {
            assert!(read(&format!("{head}{wrong}")).is_err(), "{wrong}");
        }
    }
}
