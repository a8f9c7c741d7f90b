//! What the gateway answers, for people.

use serde_json::Value;

use crate::figures::{age, by_label, counted, drops, grouped, sum};
use crate::table::Table;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Since `since_ns`, as seen at `at_ns`.
fn since(row: &Value, key: &str, at_ns: u64) -> String {
    row[key].as_u64().map_or("-".to_owned(), |since| age(at_ns.saturating_sub(since) as f64 / 1e9))
}

/// `profile get` and `profile set`.
pub fn profile(answer: &Value) -> String {
    if answer["ok"] == true {
        let mut said = format!("{} is in force", text(answer, "profile"));
        if answer["pinned"] == true {
            said.push_str(", pinned");
        }
        if let Some(delay) = answer["switch_delay_us"].as_f64() {
            said.push_str(&format!(
                "; the switch made no packet wait for longer than {delay:.1} us"
            ));
        }
        return said;
    }
    let mut lines = vec![format!("in force   {}", list(&answer["in_force"]).join(", "))];
    match answer["pinned"].as_str() {
        Some(name) => lines.push(format!("pinned     {name}")),
        None => lines.push("pinned     nothing".to_owned()),
    }
    lines.push(format!("confirmed  {}", text(answer, "confirmed")));
    lines.push(format!("known      {}", list(&answer["known"]).join(", ")));
    lines.join("\n")
}

/// `mode`.
pub fn mode(answer: &Value) -> String {
    let mut lines = vec![format!("mode {}", text(answer, "mode"))];
    if let Some(required) = answer["required"].as_object() {
        let needs: Vec<_> =
            required.iter().map(|(name, value)| format!("{name} {value}")).collect();
        lines.push(format!("active needs: {}", needs.join(", ")));
    }
    for change in array(&answer["changes"]) {
        lines.push(format!(
            "{} -> {}: {}",
            text(change, "from"),
            text(change, "to"),
            text(change, "why")
        ));
    }
    lines.join("\n")
}

/// `feed`.
pub fn feed(answer: &Value) -> String {
    format!("{} taken", counted(answer["taken"].as_u64().unwrap_or(0), "value"))
}

/// `regime`, and what is said to it.
pub fn regime(answer: &Value) -> String {
    if let Some(length) = answer["length_ns"].as_u64() {
        return format!(
            "{} of {} stays {} for {}, or until it is released",
            text(answer, "machine"),
            text(answer, "scope"),
            text(answer, "state"),
            age(length as f64 / 1e9)
        );
    }
    if answer["machines"].is_null() {
        return words(answer);
    }
    let at_ns = answer["at_ns"].as_u64().unwrap_or(0);
    let mut said = format!("mode {}\n{}", text(answer, "mode"), machines(answer, at_ns));
    let decisions = array(&answer["decisions"]);
    if !decisions.is_empty() {
        let mut table = Table::new(["ago", "machine", "scope", "from", "to", "cause"]);
        for decision in decisions.iter().rev().take(10) {
            table.row([
                since(decision, "at_ns", at_ns),
                text(decision, "machine").to_owned(),
                text(decision, "scope").to_owned(),
                text(decision, "from").to_owned(),
                text(decision, "to").to_owned(),
                text(decision, "cause").to_owned(),
            ]);
        }
        said.push_str(&format!("\n\nlast decisions\n{table}"));
    }
    said
}

/// Where each machine is.
fn machines(regime: &Value, at_ns: u64) -> Table {
    let mut table = Table::new(["machine", "scope", "state", "severity", "for", "asks for", ""]);
    for machine in array(&regime["machines"]) {
        let mut marks = Vec::new();
        if let Some(until) = machine["pinned_until_ns"].as_u64() {
            let left = age(until.saturating_sub(at_ns) as f64 / 1e9);
            marks.push(format!("pinned, {left} left"));
        }
        for mark in ["frozen", "held_off"] {
            if machine[mark] == true {
                marks.push(mark.to_owned());
            }
        }
        table.row([
            text(machine, "machine").to_owned(),
            text(machine, "scope").to_owned(),
            text(machine, "state").to_owned(),
            machine["severity"].to_string(),
            since(machine, "since_ns", at_ns),
            text(machine, "profile").to_owned(),
            marks.join(", "),
        ]);
    }
    table
}

/// Each field on a line; what is nested as JSON.
pub fn words(answer: &Value) -> String {
    let fields = answer.as_object().into_iter().flatten();
    let line = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}  {text}"),
        other => format!("{key}  {other}"),
    };
    fields.map(line).collect::<Vec<_>>().join("\n")
}

/// `status`.
pub fn status(status: &Value) -> String {
    let at_ns = status["at_ns"].as_u64().unwrap_or(0);
    let uptime = age(status["uptime_s"].as_f64().unwrap_or(0.0));
    let mut lines = vec![
        format!("{} {}, up {uptime}", text(status, "name"), text(status, "version")),
        format!("config   {}", config(status)),
        format!("profile  {}", list(&status["profile"]["in_force"]).join(", ")),
        format!("mode     {}", text(&status["regime"], "mode")),
        format!("words    {}", stop_words(&status["stop_words"])),
    ];
    lines.extend(links(status).map(|said| format!("links    {said}")));
    for name in ["packets_in", "packets_out", "held", "early"] {
        lines.push(format!("{name:<12} {}", grouped(sum(status, name))));
    }
    let free = sum(status, "pool_free");
    lines.push(format!(
        "pool_free    {} of {}",
        grouped(free),
        grouped(sum(status, "pool_buffers"))
    ));
    let mut cores = Table::new(["core", "CPU", "phase", "profile"]);
    for core in array(&status["cores"]) {
        cores.row([
            core["core"].to_string(),
            core["cpu"].to_string(),
            text(core, "phase").to_owned(),
            text(core, "profile").to_owned(),
        ]);
    }
    lines.push(format!("\n{cores}"));
    let (came, left) =
        (by_label(status, "packets_in", "class"), by_label(status, "packets_out", "class"));
    let held = by_label(status, "held", "class");
    let mut classes = Table::new(["class", "packets in", "packets out", "held"]);
    for (class, packets) in &came {
        let of =
            |sums: &std::collections::BTreeMap<&str, u64>| sums.get(class).copied().unwrap_or(0);
        classes.row([
            (*class).to_owned(),
            grouped(*packets),
            grouped(of(&left)),
            grouped(of(&held)),
        ]);
    }
    lines.push(format!("\n{classes}"));
    let mut reasons = std::collections::BTreeMap::<String, u64>::new();
    drops(status)
        .into_iter()
        .for_each(|((reason, ..), n)| *reasons.entry(reason).or_default() += n);
    let mut ended = Table::new(["dropped", "packets"]);
    reasons.into_iter().for_each(|(reason, packets)| ended.row([reason, grouped(packets)]));
    if !ended.is_empty() {
        lines.push(format!("\n{ended}"));
    }
    let machines = machines(&status["regime"], at_ns);
    if !machines.is_empty() {
        lines.push(format!("\n{machines}"));
    }
    lines.join("\n")
}

/// Which config is in force.
pub fn config(status: &Value) -> String {
    let config = &status["config"];
    let digest = text(status, "config_digest");
    let short = digest.get(..12).unwrap_or(digest);
    match config["confirm_left_s"].as_f64() {
        Some(left) => format!("{short}, not confirmed: it goes back in {}", age(left)),
        None => match config["revision"].as_u64() {
            Some(revision) => format!("{short}, revision {revision}"),
            None => short.to_owned(),
        },
    }
}

/// The ports whose link is not up.
pub fn links(status: &Value) -> Option<String> {
    let ports = array(&status["ports"]).iter();
    let lost = ports.filter(|port| matches!(text(port, "link"), "down" | "removed"));
    let said = |port: &Value| format!("{} {}", text(port, "name"), text(port, "link"));
    lost.map(said).reduce(|all, one| format!("{all}, {one}"))
}

/// The scopes that do not run as usual.
pub fn stop_words(words: &Value) -> String {
    let scopes = words.as_object().into_iter().flatten();
    let said = scopes.filter_map(|(scope, word)| {
        let word = word.as_str().or_else(|| word["word"].as_str())?;
        (word != "running").then(|| format!("{scope} {word}"))
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() { "all running".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_a_table_and_no_json() {
        let shown = status(&json!({
            "name": "gw1", "version": "0.1.0", "uptime_s": 120.0, "at_ns": 10_000_000_000_u64,
            "config_digest": "0123456789abcdef", "config": {"confirm_left_s": 60.0},
            "profile": {"in_force": ["normal"]}, "stop_words": {"all": "halt"},
            "cores": [{"core": 0, "cpu": 3, "phase": "running", "profile": "normal"}],
            "regime": {"mode": "observe", "machines": [{
                "machine": "pacing", "scope": "class:orders", "state": "CLEAN_FLOW", "severity": 0,
                "since_ns": 5_000_000_000_u64, "profile": "normal", "pinned_until_ns": null,
                "frozen": false, "held_off": false,
            }]},
            "counters": {
                "packets_in": [{"class": "orders", "port": "out", "value": 1_500}],
                "packets_out": [{"class": "orders", "port": "out", "value": 1_400}],
                "drops": [{"reason": "halted", "class": "orders", "value": 100}],
            },
        }));
        for line in [
            "gw1 0.1.0, up 2min",
            "config   0123456789ab, not confirmed: it goes back in 60s",
            "words    all halt",
            "orders       1,500        1,400     0",
            "halted       100",
            "pacing   class:orders  CLEAN_FLOW         0   5s  normal",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "no {line:?} in\n{shown}");
        }
        assert!(!shown.contains('{') && !shown.contains('"'), "{shown}");
    }

    #[test]
    fn a_pin_says_how_long_it_lasts() {
        let pinned = json!({
            "ok": true, "machine": "pacing", "scope": "class:orders", "state": "CONTAINED",
            "length_ns": 1_800_000_000_000_u64, "until_ns": 1_900_000_000_000_000_000_u64,
        });
        let wanted = "pacing of class:orders stays CONTAINED for 30min, or until it is released";
        assert_eq!(regime(&pinned), wanted);
        let shown = regime(&json!({"mode": "active", "at_ns": 60_000_000_000_u64, "machines": [{
            "machine": "pacing", "scope": "class:orders", "state": "CONTAINED", "severity": 2,
            "since_ns": 55_000_000_000_u64, "profile": "contain",
            "pinned_until_ns": 180_000_000_000_u64, "frozen": true,
        }]}));
        assert!(shown.contains("  pinned, 2min left, frozen"), "{shown}");
    }

    #[test]
    fn a_switch_says_what_it_cost() {
        let answer =
            json!({"ok": true, "profile": "smooth", "pinned": true, "switch_delay_us": 1.25});
        let wanted =
            "smooth is in force, pinned; the switch made no packet wait for longer than 1.2 us";
        assert_eq!(profile(&answer), wanted);
        let get = json!({"in_force": ["smooth"], "pinned": null, "confirmed": "normal", "known": ["normal"]});
        assert_eq!(profile(&get).lines().count(), 4);
    }
}
