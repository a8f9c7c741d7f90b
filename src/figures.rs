//! Numbers out of `status`, and how they are written for people.

use std::collections::BTreeMap;

use serde_json::Value;

/// The rows of a counter or gauge; one without labels is a row of its own.
pub fn rows<'a>(status: &'a Value, name: &str) -> Vec<&'a Value> {
    match &status["counters"][name] {
        Value::Array(rows) => rows.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn number(row: &Value) -> u64 {
    row.get("value").unwrap_or(row).as_u64().unwrap_or(0)
}

/// The sum of a counter over all its rows.
pub fn sum(status: &Value, name: &str) -> u64 {
    rows(status, name).into_iter().map(number).sum()
}

/// The sums of a counter by a label.
pub fn by_label<'a>(status: &'a Value, name: &str, label: &str) -> BTreeMap<&'a str, u64> {
    let mut sums = BTreeMap::new();
    for row in rows(status, name) {
        if let Some(of) = row[label].as_str() {
            *sums.entry(of).or_default() += number(row);
        }
    }
    sums
}

/// Ended packets by reason, port and class; a frame that has no class has an empty one.
pub fn drops(status: &Value) -> BTreeMap<(String, String, String), u64> {
    let mut drops = BTreeMap::new();
    for row in rows(status, "drops") {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        *drops.entry((text("reason"), text("port"), text("class"))).or_default() += number(row);
    }
    drops.retain(|_, packets| *packets > 0);
    drops
}

/// A value of a KPI's series with these labels.
pub fn kpi(status: &Value, name: &str, labels: &[(&str, &str)], value: &str) -> Option<f64> {
    let all = [&status["kpis"][name], &status["kpis"]["host"][name]];
    let series = all.into_iter().filter_map(|kpi| kpi["series"].as_array()).flatten();
    let mut of = series.filter(|row| labels.iter().all(|(key, of)| row[*key] == *of));
    of.find_map(|row| row[value].as_f64())
}

/// 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 1 core, 2 cores.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// 1.2k, 34M: three digits and a unit.
pub fn short(number: f64) -> String {
    let (mut scaled, mut unit) = (number, "");
    for next in ["k", "M", "G"] {
        if scaled.abs() < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1e3, next);
    }
    let digits = match scaled.abs() {
        small if small >= 99.95 || (unit.is_empty() && small.fract() == 0.0) => 0,
        small if small >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

/// 870ns, 1.2us, 3.4ms.
pub fn span(ns: f64) -> String {
    match ns.abs() {
        small if small < 1e3 => format!("{ns:.0}ns"),
        small if small < 1e6 => format!("{:.1}us", ns / 1e3),
        small if small < 1e9 => format!("{:.1}ms", ns / 1e6),
        _ => format!("{:.1}s", ns / 1e9),
    }
}

/// 45s, 12min, 3.5h: how long something has been so.
pub fn age(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0}s"),
        s if s < 5_400.0 => format!("{:.0}min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1}h", s / 3_600.0),
        s => format!("{:.1}d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drops_are_summed_by_reason_port_and_class() {
        let status = json!({"counters": {"early": 7, "drops": [
            {"reason": "runt", "port": "a", "value": 2},
            {"reason": "halted", "port": "a", "class": "orders", "kind": "order", "value": 5},
            {"reason": "halted", "port": "a", "class": "orders", "arm": "canary", "value": 1},
            {"reason": "stale", "port": "b", "class": "orders", "value": 0},
        ]}});
        let key = |reason: &str, class: &str| (reason.to_owned(), "a".to_owned(), class.to_owned());
        let wanted = BTreeMap::from([(key("halted", "orders"), 6), (key("runt", ""), 2)]);
        assert_eq!(drops(&status), wanted);
        assert_eq!((sum(&status, "drops"), sum(&status, "early"), sum(&status, "none")), (8, 7, 0));
        assert_eq!(
            by_label(&status, "drops", "reason"),
            BTreeMap::from([("halted", 6), ("runt", 2), ("stale", 0)])
        );
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "core")), ["0 cores", "1 core", "2 cores"]);
    }

    #[test]
    fn a_kpi_is_found_by_its_labels_on_either_shelf() {
        let status = json!({"kpis": {
            "release_error_ns": {"series": [{"class": "a", "p99": 1.0}, {"class": "b", "p99": null}]},
            "host": {"cycles_per_packet": {"series": [{"value": 250.0}]}},
        }});
        assert_eq!(kpi(&status, "release_error_ns", &[("class", "a")], "p99"), Some(1.0));
        assert_eq!(kpi(&status, "release_error_ns", &[("class", "b")], "p99"), None);
        assert_eq!(kpi(&status, "cycles_per_packet", &[], "value"), Some(250.0));
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 7.0, 999.0, 1_234.0, 45_600.0, 1e6, 2.5e9].map(short),
            ["0", "7", "999", "1.23k", "45.6k", "1.00M", "2.50G"]
        );
        assert_eq!([870.0, 1_230.0, 3.4e6, 2e9].map(span), ["870ns", "1.2us", "3.4ms", "2.0s"]);
        assert_eq!([45.0, 720.0, 12_600.0, 259_200.0].map(age), ["45s", "12min", "3.5h", "3.0d"]);
    }
}
