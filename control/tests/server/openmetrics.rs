//! A small strict reader of OpenMetrics text 1.0.0, as far as this exporter uses it.

use std::collections::BTreeSet;

#[derive(Debug)]
pub struct Sample {
    pub family: String,
    pub unit: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

pub fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind, mut unit) = (String::new(), String::new(), String::new());
    let (mut helped, mut sampled) = (false, true);
    let mut samples = Vec::new();
    for line in body.split_terminator('\n') {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
            else {
                return Err(format!("cut off: {line}"));
            };
            if name != family {
                if !sampled {
                    return Err(format!("{family} has no sample"));
                }
                if !families.insert(name.to_owned()) {
                    return Err(format!("{name} stands in two places"));
                }
                family = name.to_owned();
                (kind, unit, helped, sampled) = (String::new(), String::new(), false, false);
            }
            match what {
                "HELP" if !helped && !rest.is_empty() => helped = true,
                "TYPE" if kind.is_empty() && ["counter", "gauge", "info"].contains(&rest) => {
                    kind = rest.to_owned();
                }
                "UNIT" if unit.is_empty() && name.ends_with(&format!("_{rest}")) => {
                    unit = rest.to_owned();
                }
                _ => return Err(format!("not allowed here: {line}")),
            }
            continue;
        }
        if !helped || kind.is_empty() {
            return Err(format!("no HELP or TYPE before {line}"));
        }
        let end = line.find(['{', ' ']).ok_or_else(|| format!("no value: {line}"))?;
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        if line[..end] != format!("{family}{suffix}") || !family.starts_with("wirepace_") {
            return Err(format!("not a sample of the {kind} {family}: {line}"));
        }
        let (labels, rest) = match line[end..].strip_prefix('{') {
            Some(rest) => read_labels(rest).ok_or_else(|| format!("labels: {line}"))?,
            None => (vec![], &line[end..]),
        };
        let text = rest.strip_prefix(' ').ok_or_else(|| format!("no space: {line}"))?;
        let value: f64 = text.parse().map_err(|_| format!("no number: {line}"))?;
        if !value.is_finite() || (kind != "gauge" && value < 0.0) {
            return Err(format!("not a value of a {kind}: {line}"));
        }
        if !series.insert(line[..line.len() - text.len()].to_owned()) {
            return Err(format!("twice: {line}"));
        }
        sampled = true;
        let (family, unit) = (family.clone(), unit.clone());
        samples.push(Sample { family, unit, labels, value });
    }
    Ok(samples)
}

/// `a="b",c="d"}rest`
fn read_labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels: Vec<(String, String)> = vec![];
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) || labels.iter().any(|(n, _)| n == name) {
            return None;
        }
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    _ => return None,
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &after[end + 1..];
        match rest.as_bytes().first()? {
            b'}' => return Some((labels, &rest[1..])),
            b',' => rest = &rest[1..],
            _ => return None,
        }
    }
}

#[test]
fn validator_refuses_what_the_standard_forbids() {
    let good = "# HELP wirepace_a_ns A.\n# TYPE wirepace_a_ns gauge\n# UNIT wirepace_a_ns ns\n\
                wirepace_a_ns{x=\"\\\"\"} 1.5\n# EOF\n";
    assert_eq!(parse(good).unwrap()[0].label("x"), Some("\""));
    for (from, to) in [
        ("# EOF\n", ""),
        ("# HELP wirepace_a_ns A.\n", ""),
        ("gauge", "counter"),
        ("gauge", "summary"),
        ("# UNIT wirepace_a_ns ns", "# UNIT wirepace_a_ns us"),
        ("1.5", "many"),
        ("1.5", "NaN"),
        ("x=\"", "x\""),
        ("{x=", "{x=\"\",x="),
        (" 1.5\n", " 1.5\nwirepace_a_ns{x=\"\\\"\"} 2\n"),
        (" 1.5\n", " 1.5\nwirepace_b 2\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(parse(&bad).is_err(), "{bad}");
    }
}
