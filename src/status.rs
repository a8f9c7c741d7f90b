//! `wirepace status`.

use std::collections::BTreeMap;

use control::client;
use control::request::Request;
use serde_json::Value;

use crate::cli::Status;

/// Runs it.
pub fn main(args: &Status) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    match client::request(&dir.control_socket(), &Request::Status {}) {
        Ok(status) if args.json => crate::print_json(&status),
        Ok(status) => print_status(&status),
        Err(error) => return crate::failed(error),
    }
    crate::EXIT_DONE
}

fn print_status(status: &Value) {
    for key in [
        "name",
        "version",
        "uptime_s",
        "clock",
        "profile",
        "stop_words",
        "regime",
        "ports",
        "cores",
    ] {
        if let Some(value) = status.get(key) {
            out!("{key:<12} {value}");
        }
    }
    let counters = &status["counters"];
    for name in ["packets_in", "packets_out", "held", "drops", "early", "pool_free"] {
        if !counters[name].is_null() {
            out!("{name:<12} {}", sum(&counters[name]));
        }
    }
    for (reason, packets) in drops(&counters["drops"]) {
        out!("  {reason:<20} {packets}");
    }
}

/// Over all rows of a number; one without labels is its own sum.
fn sum(number: &Value) -> u64 {
    match number.as_array() {
        Some(rows) => rows.iter().filter_map(|row| row["value"].as_u64()).sum(),
        None => number.as_u64().unwrap_or(0),
    }
}

/// Ended packets by reason, over all ports and classes.
fn drops(rows: &Value) -> BTreeMap<&str, u64> {
    let mut reasons = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let (reason, packets) = (row["reason"].as_str(), row["value"].as_u64().unwrap_or(0));
        if let Some(reason) = reason.filter(|_| packets > 0) {
            *reasons.entry(reason).or_default() += packets;
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drops_are_summed_by_reason() {
        let rows = json!([
            {"reason": "runt", "port": "a", "value": 2},
            {"reason": "halted", "port": "a", "value": 5},
            {"reason": "runt", "port": "b", "value": 3},
            {"reason": "stale", "port": "b", "value": 0},
        ]);
        assert_eq!(drops(&rows), BTreeMap::from([("halted", 5), ("runt", 5)]));
        assert_eq!((sum(&rows), sum(&json!(7)), sum(&Value::Null)), (10, 7, 0));
    }
}
