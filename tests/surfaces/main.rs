//! One number, one value, whoever is asked: the control socket, `/v1/status`, `/metrics`, DPDK's telemetry,
//! `top`, the page and the summary. A gateway takes a capture to its end, so that what it has counted stands
//! still.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod browser;
mod gateway;
mod points;
mod telemetry;
mod terminal;
mod top;
mod web;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gateway::Gateway;
use intent::advice::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use points::sum;
use rustix::time::{DynamicClockId, clock_gettime_dynamic};
use serde_json::{Value, json};
use telemetry::Client;

/// Looks that figures may come and go in.
const LOOKS_MAX: usize = 40;

/// What is counted is held against `/metrics`, point by point; a figure that changes between two looks at
/// `/metrics` has to lie between them where it only grows, and is looked at again where it does not.
#[test]
fn every_number_is_the_same_on_every_surface() {
    let mut gateway = Gateway::start("surfaces");
    gateway.wait_until_still();
    gateway.halt("class:orders");
    let mut client = gateway.telemetry();
    let mut top = top::Counters::start(&gateway);
    let mut page = web::Counters::start(&gateway);
    let began = Instant::now();
    let mut metrics = points::of_metrics(&gateway.get("/metrics"));
    let mut differ: Option<BTreeSet<_>> = None;
    for _ in 0..LOOKS_MAX {
        let ticks = sum(&metrics.points, "control_ticks", "");
        let http: Value = serde_json::from_str(&gateway.get("/v1/status")).unwrap();
        let names = client.names();
        let mut shown = vec![
            ("control socket", points::of_status(&gateway.status())),
            ("/v1/status", points::of_status(&http)),
            ("DPDK telemetry", points::of_telemetry(&mut client, &names)),
            ("top", top.points(ticks)),
        ];
        shown.extend(page.as_mut().map(|page| ("page", page.points(ticks))));
        let after = points::of_metrics(&gateway.get("/metrics"));
        let found = shown.iter().flat_map(|(surface, shown)| {
            let differ = points::differences(&metrics, shown, &after, began.elapsed());
            differ.into_iter().map(move |point| (*surface, point))
        });
        let found: BTreeSet<_> = found.collect();
        let both = differ.take().map_or_else(|| found.clone(), |known| &known & &found);
        metrics = after;
        differ = Some(both);
        if differ.as_ref().is_some_and(BTreeSet::is_empty) {
            break;
        }
    }
    assert_eq!(differ, Some(BTreeSet::new()));
    assert!(metrics.counters.len() > 50, "{:?}", metrics.counters);
    let expected = metrics.points;

    let status = gateway.status();
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
        let telemetry = points::of_telemetry(&mut client, &names);
        if gateway.status()["kpis"] == before {
            break (before, metrics, telemetry);
        }
    };
    let uname = rustix::system::uname();
    let placed = format!("host={:?},session=\"event\"", uname.nodename().to_str().unwrap());
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
                assert!(line.contains(&placed), "{line}");
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
    // Who may open it is for its directory to say.
    let directory = std::fs::metadata(gateway.telemetry_path().parent().unwrap()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o077, 0);
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

    // All names, and each of them with points. A figure whose window passes in between is asked for once more.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (names, status) = (client.names(), gateway.status());
        let expected = status["counters"].as_object().unwrap();
        let all_have_points = names.iter().all(|name| !client.points(name).is_empty());
        if names.iter().eq(expected.keys()) && all_have_points {
            break;
        }
        assert!(Instant::now() < deadline, "{names:?} {expected:?}");
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
