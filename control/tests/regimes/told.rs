//! What the engine is told and what it tells: feeds, baselines, numbers, bundles, advice.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;

use control::controller::{Answer, Controller, Settings};
use control::regimes::{RegimeSettings, Regimes};
use control::request::Request;
use control::server::{Hooks, Server};
use intent::advice::Page;
use model::kpi::{AckShare, AckShares};
use model::regime::{FedValue, Mode};
use serde_json::{Value, json};

use crate::common::{Hand, START, Words};
use crate::world::{CLASS, US, World, calm, everything, feed};
use crate::{common, gateway};

#[test]
fn feeds_are_taken_whole_or_not_at_all() {
    let mut world = World::new("");
    let wrong = FedValue { scope: Some("orderz".into()), ..feed("cost", "breach", 1.0) };
    let values = vec![feed("cost", "breach", 0.0), wrong];
    let refused = world.ask(&Request::Feed { values });
    assert!(refused["error"].as_str().unwrap().contains("orderz"), "{refused}");
    assert_eq!(world.ask(&Request::RegimeGet {})["fed"], json!([]));
    let taken = world.ask(&Request::Feed { values: vec![feed("cost", "breach", 1.0)] });
    assert_eq!(taken["taken"], 1);
    assert_eq!(world.ask(&Request::RegimeGet {})["fed"][0]["number"], 1.0);
}

#[test]
fn baselines_are_kept_in_a_file_and_read_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baselines.json");
    let regime = format!("[regime]\nbaselines = {:?}", path.display().to_string());
    let world = calm(&regime);
    let kept = world.control.regimes().unwrap().baselines().cloned();
    let again = World::new(&regime);
    assert_eq!(again.control.regimes().unwrap().baselines().cloned(), kept);
    assert!(kept.is_some());
    std::fs::write(&path, "{").unwrap();
    let config = gateway::config("orders", &format!("{CLASS}{regime}"));
    let Err(error) = RegimeSettings::new(&config, "env".into()) else { panic!("it is read") };
    assert!(error.to_string().contains("baselines.json"), "{error}");
}

/// A gateway that has seen acknowledgements, and nothing else, has something to freeze; the next one that
/// starts with the file measures in it.
#[test]
fn a_freeze_takes_acknowledgements_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.json");
    let config = gateway::config("orders", &format!("{CLASS}[regime]\nbaselines = {kept:?}"));
    let start = |shares: AckShares| {
        let settings = Settings::new(&config, "1");
        let kpis = common::Counting { shares, ..common::Counting::default() };
        let (words, hand) = (Box::new(Words::default()), Box::new(Hand::new()));
        let regimes = Regimes::new(RegimeSettings::new(&config, "env".into()).unwrap(), START);
        Controller::new(settings, Vec::new(), kpis, words, hand).with_regimes(regimes)
    };
    let freeze = |control: &mut Controller<common::Counting>| {
        let Answer::Now(reply) = control.handle(&Request::RegimeFreeze {}, START) else {
            panic!("it is answered at once");
        };
        reply
    };
    let mut first = start(AckShares::new());
    assert!(freeze(&mut first)["error"].as_str().unwrap().contains("60 values"));
    let share = AckShare { share: 0.25, pairs: 400 };
    let shares = AckShares::from([("orders".to_owned(), share)]);
    let mut second = start(shares.clone());
    assert!(second.kpis().usual.is_empty());
    let reply = freeze(&mut second);
    let expected = json!({"orders": {"share": 0.25, "pairs": 400}});
    assert_eq!((&reply["ok"], &reply["baselines"]["ack_shares"]), (&json!(true), &expected));
    assert_eq!(second.kpis().usual, shares);
    assert_eq!(start(AckShares::new()).kpis().usual, shares, "from the file");
}

#[test]
fn every_number_of_the_engine_is_on_every_surface() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    world.ask(&Request::Feed { values: everything() });
    world.mode(Mode::Shadow, false);
    world.run(30, 100, 50, US(900));
    let status = world.ask(&Request::Status {});
    let counters = &status["counters"];
    let of = |name: &str, key: &str, value: &str| {
        let rows = counters[name].as_array().unwrap_or_else(|| panic!("no {name}"));
        let row = rows.iter().find(|row| row["machine"] == "pacing" && row[key] == value);
        row.unwrap_or_else(|| panic!("no {value} in {name}"))["value"].clone()
    };
    assert_eq!(of("regime_severity", "scope", "class:orders"), 2);
    assert_eq!(of("regime_transitions", "to", "BURST_RELEASED"), 1);
    assert_eq!(of("alarm_regime", "cause", "frozen"), 0);
    assert!(of("regime_time_in_state_seconds", "state", "BURST_RELEASED").as_f64().unwrap() > 1.0);
    assert_eq!(counters["control_mode"][0]["mode"], "shadow");
    let text = world.control.snapshot().metrics();
    assert!(text.contains("wirepace_regime_severity{machine=\"pacing\",scope=\"class:orders\"} 2"));
}

#[test]
fn what_is_known_is_kept_when_a_scope_comes_to_be_contained_in_mode_active() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("bundles");
    let contain = |world: &mut World| {
        let pin = Request::RegimePin {
            machine: "drain".into(),
            scope: "class:orders".into(),
            state: "CONTAINMENT".into(),
            length_ns: None,
        };
        assert_eq!(world.ask(&pin)["ok"], true);
        world.run(2, 100, 1, US(10));
    };
    let mut world = calm("[regime]\nallow = [\"orders\"]\nlatch = false");
    world.control.keep_bundles(dir.clone(), Vec::new());
    world.ask(&Request::Feed { values: everything() });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    contain(&mut world);
    assert!(!dir.exists(), "in shadow nothing is contained");
    world.ask(&Request::RegimeRelease { machine: "drain".into(), scope: "class:orders".into() });
    world.run(1, 100, 1, US(10));
    // Released from a pin, it stays where it is until the operator lets it down.
    while world.state("drain") != "SMOOTH_DRAIN" {
        let (machine, scope) = ("drain".into(), "class:orders".into());
        world.ask(&Request::RegimeRelease { machine, scope });
    }
    for (mode, confirm) in [(Mode::Switchback, false), (Mode::Active, true)] {
        assert_eq!(world.mode(mode, confirm)["ok"], true);
    }
    contain(&mut world);
    let at = world.now;
    // The writer is waited for.
    drop(world);
    let bundle = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    assert!(bundle.to_str().unwrap().ends_with("-drain-class-orders"), "{bundle:?}");
    let read = |file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(bundle.join(file)).unwrap()).unwrap()
    };
    assert_eq!(read("decision.json")["to"], "CONTAINMENT");
    assert_eq!(read("regime.json")["mode"], "active");
    assert!(read("status.json")["at_ns"].as_u64().unwrap() <= at.0);
    assert!(read("kpis.json").is_object());
    assert!(read("samples.json").is_array());
    assert!(read("stalls.json").is_array());
    assert_eq!(read("manifest.json")["files"].as_array().unwrap().len(), 6);
}

/// What a machine asks for, and not only what a full queue does, is read by every way.
#[test]
fn advice_of_a_machine_is_an_event_and_stands_in_the_shared_page() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("advice");
    world.control.advise_in_memory(&page).unwrap();
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    let asked = world.ask(&Request::Advice {});
    let of_orders = |said: &Value| {
        let scopes = said["advice"].as_array().unwrap();
        scopes.iter().find(|scope| scope["scope"] == "class:orders").unwrap().clone()
    };
    let asked = of_orders(&asked);
    assert_eq!(asked["completion_priority"], true, "{asked}");

    let bytes = std::fs::read(&page).unwrap();
    let words: Vec<AtomicU64> =
        bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word).into()).collect();
    let page = Page::attach(&words).unwrap();
    let record = page.read(page.find("class:orders").unwrap(), world.now.0);
    assert!(record.completion_priority && !record.backpressure);
    assert_eq!(record.sequence, asked["sequence"].as_u64().unwrap());

    // In virtual time nothing passes while the server runs: the advice stays as it is.
    let (http, socket) = (Some("127.0.0.1:0".parse().unwrap()), dir.path().join("gw.sock"));
    let server = Server::bind(http, &socket, common::access()).unwrap();
    let http = server.http_addr().unwrap();
    let hooks =
        Hooks { on_fatal: Box::new(|fatal| panic!("{fatal}")), on_progress: Box::new(|| ()) };
    let handle = server.spawn(world.control, hooks).unwrap();
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "GET /v1/advice HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let event = BufReader::new(stream)
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("data: ").map(str::to_owned))
        .unwrap();
    assert_eq!(of_orders(&serde_json::from_str(&event).unwrap()), asked);
    handle.stop().unwrap();
}
