//! `wirepace stalls`: turns of the data cores that took too long, and what happened around them.

use control::request::Request;
use serde_json::Value;

use crate::cli::Stalls;
use crate::figures::{age, grouped, span};
use crate::table::Table;

/// Runs it.
pub fn main(args: &Stalls) -> u8 {
    let request = Request::Stalls { max: Some(args.max) };
    let around = args.around;
    crate::watch::show(&args.watched, &request, |stalls| stalls, |stalls| in_words(stalls, around))
}

fn in_words(shown: &Value, around: bool) -> String {
    let mut said = vec![cores(shown)];
    let stalls = rows(&shown["stalls"]);
    if stalls.is_empty() {
        said.push("none is kept".to_owned());
    } else if around {
        said.extend(stalls.iter().map(|stall| turns(shown, stall)));
    } else {
        let mut table = Table::new(HEAD);
        stalls.iter().for_each(|stall| table.row(row(shown, stall)));
        said.push(table.to_string());
    }
    said.join("\n\n")
}

/// How many there were on each core.
fn cores(shown: &Value) -> String {
    let threshold = span(shown["threshold_ns"].as_f64().unwrap_or(0.0));
    let mut table = Table::new(["core", "cpu", "stalls", "not kept", "longest"]);
    for core in rows(&shown["cores"]) {
        let number = |key: &str| core[key].as_u64().map_or("-".to_owned(), grouped);
        table.row([
            number("core"),
            number("cpu"),
            number("stalls"),
            number("not_kept"),
            time(&core["longest_ns"]),
        ]);
    }
    format!("turns longer than {threshold} (stall_threshold)\n{table}")
}

const HEAD: [&str; 11] = [
    "no",
    "ago",
    "core",
    "length",
    "packets",
    "held",
    "steal",
    "waited",
    "switches",
    "pool free",
    "likely",
];

fn row(shown: &Value, stall: &Value) -> [String; 11] {
    let number = |value: &Value| value.as_u64().map_or("-".to_owned(), grouped);
    let host = &stall["host"];
    [
        number(&stall["number"]),
        ago(shown, stall),
        number(&stall["core"]),
        time(&stall["length_ns"]),
        number(&stall["packets"]),
        number(&stall["held"]),
        time(&host["steal_ns"]),
        time(&host["waited_ns"]),
        number(&host["switches"]),
        number(&stall["pool_free"]),
        stall["likely"].as_str().unwrap_or("-").to_owned(),
    ]
}

/// A stall with the turns around it, by how long they ended before or after it.
fn turns(shown: &Value, stall: &Value) -> String {
    let mut head = Table::new(HEAD);
    head.row(row(shown, stall));
    let mut table = Table::new(["turn", "ended at", "length", "packets", "held"]);
    let at = stall["at_ns"].as_i64().unwrap_or(0);
    let of = |name: &str, turn: &Value| {
        let beside = turn["at_ns"].as_i64().unwrap_or(0) - at;
        let sign = if beside < 0 { "-" } else { "+" };
        let number = |key: &str| turn[key].as_u64().map_or("-".to_owned(), grouped);
        let beside = format!("{sign}{}", span(beside.unsigned_abs() as f64));
        [name.to_owned(), beside, time(&turn["length_ns"]), number("packets"), number("held")]
    };
    rows(&stall["before"]).iter().for_each(|turn| table.row(of("before", turn)));
    table.row(of("stall", stall));
    rows(&stall["after"]).iter().for_each(|turn| table.row(of("after", turn)));
    format!("{head}\n{table}")
}

fn ago(shown: &Value, stall: &Value) -> String {
    let at = |value: &Value| value["at_ns"].as_u64().unwrap_or(0);
    age(at(shown).saturating_sub(at(stall)) as f64 / 1e9)
}

fn time(ns: &Value) -> String {
    ns.as_f64().map_or("-".to_owned(), span)
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown() -> Value {
        json!({
            "at_ns": 12_000_000_000_u64, "threshold_ns": 250_000,
            "cores": [{"core": 0, "cpu": 1, "stalls": 1_234, "not_kept": 1_200, "longest_ns": 5_000_000}],
            "stalls": [{
                "number": 34, "core": 0, "cpu": 1, "at_ns": 9_000_000_000_u64, "length_ns": 5_000_000,
                "packets": 32, "held": 7, "likely": "other_thread", "pool_free": 4_000,
                "host": {"over_ns": 1, "steal_ns": 0, "waited_ns": 4_900_000, "switches": 1},
                "before": [{"at_ns": 8_995_000_000_u64, "length_ns": 90, "packets": 0, "held": null}],
                "after": [{"at_ns": 9_000_000_150_u64, "length_ns": 150, "packets": 64, "held": 3}],
            }],
        })
    }

    #[test]
    fn a_stall_has_a_row_that_says_why() {
        let said = in_words(&shown(), false);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "turns longer than 250.0us (stall_threshold)");
        assert_eq!(lines[2], "   0    1   1,234     1,200    5.0ms");
        assert_eq!(
            lines[5],
            "34   3s     0   5.0ms       32     7    0ns   4.9ms         1      4,000  other_thread"
        );
        let none = json!({"threshold_ns": 1_000, "cores": [], "stalls": []});
        assert!(in_words(&none, false).ends_with("none is kept"));
    }

    #[test]
    fn around_it_stand_the_turns_before_and_after() {
        let said = in_words(&shown(), true);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[6..],
            [
                "turn    ended at  length  packets  held",
                "before  -5.0ms      90ns        0     -",
                "stall   +0ns       5.0ms       32     7",
                "after   +150ns     150ns       64     3",
            ]
        );
    }
}
