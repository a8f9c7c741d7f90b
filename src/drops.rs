//! `wirepace drops`.

use std::collections::BTreeMap;

use control::request::Request;
use serde_json::{Value, json};

use crate::cli::Watched;
use crate::figures::{drops, grouped, short};
use crate::table::Table;

/// Runs it: packets that ended, by reason, port and class, and since the look before how many a second.
pub fn main(args: &Watched) -> u8 {
    let mut before: Option<(u64, BTreeMap<_, u64>)> = None;
    let seen = |status: Value| {
        let (at, now) = (status["at_ns"].as_u64().unwrap_or(0), drops(&status));
        let rate = |key: &(String, String, String), packets: u64| {
            let (since, then) = before.as_ref()?;
            let seconds = at.saturating_sub(*since) as f64 / 1e9;
            let added = packets.saturating_sub(then.get(key).copied().unwrap_or(0));
            (seconds > 0.0).then(|| added as f64 / seconds)
        };
        let rows: Vec<_> = now
            .iter()
            .map(|(key @ (reason, port, class), packets)| {
                let class = (!class.is_empty()).then_some(class);
                json!({
                    "reason": reason, "port": port, "class": class, "packets": packets,
                    "per_s": rate(key, *packets),
                })
            })
            .collect();
        let total: u64 = now.values().sum();
        before = Some((at, now));
        json!({ "at_ns": at, "drops": rows, "total": total })
    };
    crate::watch::show(args, &Request::Status {}, seen, in_words)
}

fn in_words(shown: &Value) -> String {
    let mut table = Table::new(["reason", "port", "class", "packets", "per s"]);
    for row in shown["drops"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        table.row([
            text("reason"),
            text("port"),
            text("class"),
            grouped(row["packets"].as_u64().unwrap_or(0)),
            row["per_s"].as_f64().map_or("-".to_owned(), short),
        ]);
    }
    if table.is_empty() { "nothing was dropped".to_owned() } else { table.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_without_a_class_and_without_a_look_before_has_dashes() {
        let shown = json!({"drops": [
            {"reason": "halted", "port": "out", "class": "orders", "packets": 1_200, "per_s": 34.5},
            {"reason": "runt", "port": "out", "class": null, "packets": 2, "per_s": null},
        ]});
        let lines = [
            "reason  port  class   packets  per s",
            "halted  out   orders    1,200   34.5",
            "runt    out   -             2      -",
        ];
        assert_eq!(in_words(&shown), lines.join("\n"));
        assert_eq!(in_words(&json!({"drops": []})), "nothing was dropped");
    }
}
