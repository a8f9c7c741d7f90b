//! One number, one value, whoever is asked: the control socket, `/v1/status`, `/metrics`, DPDK's telemetry and
//! the summary. A gateway takes a capture to its end, so that what it has counted stands still.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod gateway;
mod telemetry;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gateway::Gateway;
use intent::advice::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use rustix::time::{DynamicClockId, clock_gettime_dynamic};
use serde_json::{Value, json};
use telemetry::Client;

/// Counters that go on while nothing moves, some of them because others take the CPU away.
const MOVING: [&str; 6] = [
    "control_ticks",
    "core_busy_cycles",
    "core_cycles",
    "core_stalls",
    "core_still",
    "regime_ticks",
];

/// Gauges that stand still while nothing moves and nobody says anything.
const STATES: [&str; 3] = ["stop_held_by", "stop_state", "stop_word"];

/// Name and labels, written `a=b,c=d` in the order in which they are given, to the value.
type Points = BTreeMap<(String, String), Value>;

/// The counters and [`STATES`] of `/metrics`, without their prefix and suffix.
fn of_metrics(text: &str) -> Points {
    let counters: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut points = Points::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let counter = name.strip_suffix("_total").filter(|stem| counters.contains(stem));
        let name = counter.unwrap_or(name).strip_prefix("wirepace_").unwrap();
        if counter.is_none() && !STATES.contains(&name) {
            continue;
        }
        // No label of this gateway holds a quote or a comma.
        let labels = labels.trim_end_matches('}').replace('"', "");
        let key = (name.to_owned(), labels);
        assert!(points.insert(key, json!(value.parse::<u64>().unwrap())).is_none(), "{line}");
    }
    points
}

/// The same of the `counters` of a status.
fn of_status(status: &Value, names: &BTreeSet<String>) -> Points {
    let mut points = Points::new();
    for name in names {
        let of_name = &status["counters"][name];
        let rows = of_name.as_array().cloned().unwrap_or_else(|| vec![json!({"value": of_name})]);
        for row in rows {
            let mut row = row.as_object().unwrap().clone();
            let value = row.remove("value").unwrap();
            points.insert((name.clone(), sorted(&row)), value);
        }
    }
    points
}

fn sorted(labels: &serde_json::Map<String, Value>) -> String {
    let mut labels: Vec<String> =
        labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
    labels.sort();
    labels.join(",")
}

/// Labels in the order of their names: a JSON object does not keep another.
fn by_name(points: Points) -> Points {
    let order = |labels: &str| {
        let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
        labels.sort_unstable();
        labels.join(",")
    };
    points.into_iter().map(|((name, labels), value)| ((name, order(&labels)), value)).collect()
}

/// The same from DPDK's telemetry.
fn of_telemetry(client: &mut Client, names: &BTreeSet<String>) -> Points {
    let mut points = Points::new();
    for name in names {
        let mut from = 0;
        loop {
            let reply = client.ask(&format!("/wirepace/kpis,{name},{from}"));
            let answer = &reply["/wirepace/kpis"];
            let list = |key: &str| answer[key].as_array().cloned();
            let lists = list("labels").zip(list("values"));
            let (labels, values) = lists.unwrap_or_else(|| panic!("{name} from {from}: {reply}"));
            assert_eq!(labels.len(), values.len(), "{reply}");
            for (labels, value) in labels.into_iter().zip(values) {
                points.insert((name.clone(), labels.as_str().unwrap().to_owned()), value);
            }
            let next = answer.get("next");
            match next {
                Some(next) => from = next.as_u64().unwrap(),
                None => break,
            }
        }
    }
    points
}

fn without_moving(points: &Points) -> Points {
    let stays = |(name, _): &&(String, String)| !MOVING.contains(&name.as_str());
    points.iter().filter(|(key, _)| stays(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Panics with what differs.
#[track_caller]
fn assert_same(found: &Points, expected: &Points, surface: &str) {
    let (found, expected) = (without_moving(found), without_moving(expected));
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ = keys.into_iter().filter(|key| found.get(key) != expected.get(key));
    let differ: Vec<_> = differ.map(|key| (key, found.get(key), expected.get(key))).collect();
    assert!(differ.is_empty(), "{surface}: {differ:?}");
}

fn sum(points: &Points, name: &str, label: &str) -> u64 {
    let of = |(key, _): &(&(String, String), &Value)| key.0 == name && key.1.contains(label);
    points.iter().filter(of).map(|(_, value)| value.as_u64().unwrap()).sum()
}

#[test]
fn every_counter_is_the_same_number_on_every_surface() {
    let mut gateway = Gateway::start("surfaces");
    gateway.wait_until_still();
    gateway.halt("class:orders");
    let metrics = by_name(of_metrics(&gateway.get("/metrics")));
    let names: BTreeSet<String> = metrics.keys().map(|(name, _)| name.clone()).collect();
    let socket = of_status(&gateway.status(), &names);
    let http: Value = serde_json::from_str(&gateway.get("/v1/status")).unwrap();
    let http = of_status(&http, &names);
    let mut client = gateway.telemetry();
    let telemetry = by_name(of_telemetry(&mut client, &names));
    let again = by_name(of_metrics(&gateway.get("/metrics")));

    let expected = without_moving(&metrics);
    assert_same(&again, &metrics, "not still: this says nothing");
    assert!(expected.len() > 50, "{}", expected.len());
    assert_same(&socket, &metrics, "control socket");
    assert_same(&http, &metrics, "/v1/status");
    assert_same(&telemetry, &metrics, "DPDK telemetry");
    for (key, first) in metrics.iter().filter(|((name, _), _)| MOVING.contains(&name.as_str())) {
        let values = [first, &socket[key], &http[key], &telemetry[key], &again[key]];
        assert!(values.is_sorted_by_key(|value| value.as_u64().unwrap()), "{key:?}: {values:?}");
    }

    // Of the stop words every surface says what each scope says, what holds for it and who holds it.
    let is_one = |name: &str, labels: &str| assert_eq!(expected[&(name.into(), labels.into())], 1);
    is_one("stop_word", "scope=class:orders,word=halt");
    is_one("stop_word", "scope=all,word=running");
    is_one("stop_state", "scope=all,state=running");
    is_one("stop_state", "scope=class:orders,state=halt");
    is_one("stop_held_by", "by=class:orders,scope=venue:XCME,word=halt");

    // The commands that are no list of points say the same.
    let status = client.ask("/wirepace/status")["/wirepace/status"].clone();
    assert_eq!(status["stop_words"], "class:orders=halt");
    for name in ["packets_in", "packets_out", "drops", "early", "samples_lost"] {
        assert_eq!(status[name], sum(&expected, name, ""), "{name}");
    }
    assert_eq!(status["name"], gateway.name);
    let drops = client.ask("/wirepace/drops")["/wirepace/drops"].clone();
    let by_reason = |reason: &str| sum(&expected, "drops", &format!("reason={reason}"));
    assert!(drops["runt"].as_u64().unwrap() > 0, "{drops}");
    for (reason, packets) in drops.as_object().unwrap() {
        assert_eq!(*packets, by_reason(reason), "{reason}");
    }

    let summary = gateway.finish();
    for name in ["packets_in", "packets_out", "bytes_in", "bytes_out", "early"] {
        assert_eq!(summary[name], sum(&expected, name, ""), "{name}");
    }
    assert_eq!(summary["drops"], drops);
    for (name, count) in summary["counters"].as_object().unwrap() {
        assert_eq!(*count, sum(&expected, name, ""), "{name}");
    }

    // The timeline: every order and cancel, and one in 16 of the others, which weigh as much as all.
    assert_eq!(summary["timeline"]["packets"], sum(&expected, "samples", ""));
    assert_eq!(summary["timeline"]["lost"], 0);
    let files = gateway.timeline();
    assert_eq!(files.len(), 3, "{files:?}");
    let packets = files.iter().find(|file| file.to_str().unwrap().contains(".packets.")).unwrap();
    let reader = SerializedFileReader::new(File::open(packets).unwrap()).unwrap();
    let rows: Vec<Value> =
        reader.get_row_iter(None).unwrap().map(|row| cells(&row.unwrap())).collect();
    let of = |class: &str| rows.iter().filter(|row| row["class"] == class).count();
    assert_eq!((of("orders"), of("cancels")), (100, 40));
    assert!((3..=4).contains(&of("other")), "{} of 60", of("other"));
    let weight = |row: &Value| row["weight"].as_u64().unwrap();
    assert!(rows.iter().all(|row| weight(row) == if row["class"] == "other" { 16 } else { 1 }));
    let digests: BTreeSet<_> = rows.iter().map(|row| row["env_digest"].to_string()).collect();
    assert!(digests.len() == 1 && digests.first().unwrap().len() == 66, "{digests:?}");
    assert!(rows.iter().all(|row| !row["host"].as_str().unwrap().is_empty()));
}

/// The points that `/metrics` and DPDK's telemetry have of a value of a series of `status`, by the rule of
/// docs/operations.md: name, and the labels that they must have.
fn point_of(kpi: &str, series: &Value, value: &str) -> (String, Vec<(String, String)>) {
    let (of, normal) = match kpi.strip_suffix("_at_normal") {
        Some(of) => (of, "_at_normal"),
        None => (kpi, ""),
    };
    let unit = ["_ns", "_us", "_bytes"].into_iter().find(|unit| of.ends_with(unit)).unwrap_or("");
    let stem = format!("{}{normal}", of.strip_suffix(unit).unwrap());
    let label = |name: &str| Some((name.to_owned(), series[name].as_str()?.to_owned()));
    let names = ["port", "class", "kind", "part", "limit", "arm", "basis"];
    let mut labels: Vec<(String, String)> = names.into_iter().filter_map(label).collect();
    let quantile = |q: &str| ("quantile".to_owned(), q.to_owned());
    match value {
        "p50" => labels.push(quantile("0.5")),
        "p95" => labels.push(quantile("0.95")),
        "p99" => labels.push(quantile("0.99")),
        "p999" => labels.push(quantile("0.999")),
        "max" | "min" | "mean" => labels.push(("stat".to_owned(), value.to_owned())),
        _ if value == "value" || of.ends_with(value) => {}
        _ => return (format!("{stem}_{value}"), labels),
    }
    (format!("{stem}{unit}"), labels)
}

/// Every KPI of a gateway that works is one number in `status`, `/metrics` and DPDK's telemetry. They are of
/// the last second, so they are asked for again until nothing has changed meanwhile.
#[test]
fn every_kpi_is_the_same_number_on_every_surface() {
    let names = ["dispatch_to_wire_ns", "burstiness_index_windows"].map(str::to_owned);
    let names = BTreeSet::from(names);
    let gateway = Gateway::start("kpis");
    let mut client = gateway.telemetry();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (kpis, metrics, telemetry) = loop {
        assert!(Instant::now() < deadline, "figures never stand still");
        let before = gateway.status()["kpis"].clone();
        let delays = before["dispatch_to_wire_ns"]["series"].as_array();
        if !delays.is_some_and(|all| all.iter().any(|series| series["p50"].is_number())) {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let metrics = gateway.get("/metrics");
        let telemetry = of_telemetry(&mut client, &names);
        if gateway.status()["kpis"] == before {
            break (before, metrics, telemetry);
        }
    };
    // Counters since the start, which the other test holds against each other.
    let counted = ["drops", "venue_limit_waits", "retransmits_while_held"];
    let entries = kpis.as_object().unwrap().iter().chain(kpis["host"].as_object().unwrap());
    let (mut seen, mut in_telemetry) = (BTreeSet::new(), 0);
    for (kpi, entry) in
        entries.filter(|(kpi, _)| *kpi != "host" && !counted.contains(&kpi.as_str()))
    {
        for series in entry["series"].as_array().unwrap() {
            let numbers = series.as_object().unwrap().iter().filter(|(key, _)| *key != "n");
            for (value, number) in numbers.filter_map(|(key, v)| Some((key, v.as_f64()?))) {
                let (name, labels) = point_of(kpi, series, value);
                let has =
                    |text: &str| labels.iter().all(|(k, v)| text.contains(&format!("{k}=\"{v}\"")));
                let line = metrics.lines().find(|line| {
                    line.starts_with(&format!("wirepace_{name}{{"))
                        && has(line)
                        && (series["part"].is_string() || !line.contains("part="))
                });
                let line = line.unwrap_or_else(|| panic!("{name} {labels:?} is not in /metrics"));
                let found: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
                assert!((found - number).abs() <= number.abs() * 1e-9, "{line}: {number}");
                seen.insert(kpi.clone());
                if names.contains(&name) {
                    let is_it = |((of, said), _): &(&(String, String), &Value)| {
                        *of == name
                            && labels.iter().all(|(k, v)| said.contains(&format!("{k}={v}")))
                    };
                    let (_, said) = telemetry.iter().find(is_it).unwrap();
                    // What is no whole number is said as text.
                    let said = said.as_f64().or(said.as_str().and_then(|s| s.parse().ok()));
                    assert_eq!(said, Some(number), "{name} {labels:?}");
                    in_telemetry += 1;
                }
            }
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    assert!(in_telemetry > 2, "{telemetry:?}");
}

#[test]
fn telemetry_speaks_the_protocol_and_keeps_to_its_limits() {
    let mut gateway = Gateway::start("protocol");
    gateway.wait_until_still();
    let mut client = gateway.telemetry();
    assert_eq!(client.greeting["pid"], gateway.pid());
    let commands = client.ask("/")["/"].clone();
    let ours = ["/wirepace/drops", "/wirepace/kpis", "/wirepace/lcore/usage", "/wirepace/status"];
    for command in ours {
        assert!(commands.as_array().unwrap().contains(&json!(command)), "{commands}");
        let help = client.ask(&format!("/help,{command}"));
        assert!(help.to_string().contains("arameters"), "{help}");
    }
    let usage = client.ask("/wirepace/lcore/usage")["/wirepace/lcore/usage"].clone();
    assert_eq!(usage["lcore_ids"], json!([gateway.cpu]));
    let cycles = |name: &str| usage[name][0].as_u64().unwrap();
    assert!(cycles("busy_cycles") > 0 && cycles("total_cycles") > cycles("busy_cycles"), "{usage}");
    assert_eq!(usage.as_object().unwrap().len(), 3);

    // All names, however many answers they take, and each of them with points.
    let (mut names, mut from) = (Vec::new(), String::new());
    loop {
        let reply = client.ask(&format!("/wirepace/kpis{from}"))["/wirepace/kpis"].clone();
        let mut page: Vec<String> = serde_json::from_value(reply).unwrap();
        let next = page.last().filter(|last| last.starts_with(',')).cloned();
        page.truncate(page.len() - usize::from(next.is_some()));
        names.append(&mut page);
        let Some(next) = next else { break };
        from = format!(",{next}");
    }
    let status = gateway.status();
    let expected: Vec<&String> = status["counters"].as_object().unwrap().keys().collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), expected);
    for name in &names {
        let reply = client.ask(&format!("/wirepace/kpis,{name}"));
        let points = reply["/wirepace/kpis"]["values"].as_array().map_or(0, Vec::len);
        assert!(points > 0, "{name}: {reply}");
    }
    for wrong in
        ["/wirepace/kpis,no_such_name", "/wirepace/kpis,drops,x", "/wirepace/kpis,drops,-1"]
    {
        assert!(client.ask(wrong)["/wirepace/kpis"].is_null(), "{wrong}");
    }
    // Ten clients at a time are DPDK's limit; one that leaves makes room.
    let others: Vec<Client> = (0..8).map(|_| gateway.telemetry()).collect();
    drop(others);
    assert!(client.ask("/wirepace/drops").is_object());
    gateway.finish();
}

/// DPDK's own client, where it is installed.
#[test]
fn the_client_of_dpdk_shows_our_commands() {
    let found = Command::new("dpdk-telemetry.py").arg("--help").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no dpdk-telemetry.py");
        return;
    }
    let mut gateway = Gateway::start("client");
    gateway.wait_until_still();
    let said = gateway.ask_with_dpdk(&["/", "/wirepace/drops"]);
    assert!(said.contains("/wirepace/lcore/usage"), "{said}");
    let drops = gateway.telemetry().ask("/wirepace/drops")["/wirepace/drops"].clone();
    let runts = drops["runt"].as_u64().unwrap();
    let said: String = said.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(said.contains(&format!("\"runt\":{runts}")), "{said}");
    gateway.finish();
}

#[test]
fn without_the_key_there_is_no_socket() {
    let mut gateway = Gateway::start_without_telemetry("silent");
    assert!(!gateway.telemetry_path().exists());
    gateway.finish();
}

fn cells(row: &Row) -> Value {
    let value = |field: &Field| match field {
        Field::Str(text) => json!(text),
        Field::UInt(number) => json!(number),
        _ => Value::Null,
    };
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// A queue past its budget: strategies are asked for less by every way, and no longer once the gateway
/// is gone.
#[test]
fn advice_is_the_same_by_every_way_and_ends_with_the_gateway() {
    let mut gateway = Gateway::start_flooded("flood");
    let orders = |said: &Value| {
        let scopes = said["advice"].as_array().unwrap();
        scopes.iter().find(|scope| scope["scope"] == "class:orders").unwrap().clone()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let asked = loop {
        let said = orders(&gateway.advice());
        if said["backpressure"] == true {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(10));
    };
    // Others may take the CPU so long that it is off for a while: looked for again until it is on.
    let mut event = orders(&gateway.advice_event());
    while event["backpressure"] != true {
        assert!(Instant::now() < deadline, "{event}");
        event = orders(&gateway.advice_event());
    }
    assert!(event["sequence"].as_u64().unwrap() >= asked["sequence"].as_u64().unwrap());
    let in_memory = loop {
        let words = gateway.advice_page();
        let page = Page::attach(&words).unwrap();
        // A file is copied, not mapped: the copy may hold half of a record, which is never odd for long.
        if let Some(place) = page.find("class:orders") {
            let advice = page.read(place, tai_ns());
            if advice.backpressure {
                break advice;
            }
        }
        assert!(Instant::now() < deadline, "the page does not ask for less");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(in_memory.sequence >= event["sequence"].as_u64().unwrap());
    assert!(in_memory.urgency == 1.0 && in_memory.regime().is_empty());

    gateway.kill();
    let words = gateway.advice_page();
    let page = Page::attach(&words).unwrap();
    let place = page.find("class:orders").unwrap();
    let later = tai_ns() + 1_000_000_000;
    assert!(!page.read(place, later).backpressure, "advice of one that is gone");
}

fn tai_ns() -> u64 {
    let now = clock_gettime_dynamic(DynamicClockId::Tai).unwrap();
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
