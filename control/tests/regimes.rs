//! The regime engine in a controller, in virtual time: from packets on a core to a table on it.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;

use common::{Hand, MS, START, Words};
use control::controller::{Answer, Controller, Core, Settings};
use control::kpis::PacketKpis;
use control::regimes::{RegimeSettings, Regimes};
use control::request::{Request, Word};
use control::server::{Hooks, Server};
use dataplane::channel::{WorkerLink, link};
use intent::advice::Page;
use model::config::Config;
use model::kind::Side;
use model::kpi::{
    AckShare, AckShares, Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan,
    PortPlan,
};
use model::meta::PacketMeta;
use model::regime::{COMPOSED_NAME, FedValue, Mode};
use model::sample::{DepartureSource, Release};
use model::time::Nanos;
use serde_json::{Value, json};

const CONFIG: &str = r#"
[gateway]
name = "gw"
clock = "virtual"
[[port]]
name = "in"
side = "inside"
device = "capture"
[[port]]
name = "out"
side = "venue"
device = "capture"
rate = "1G"
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "orders"
venue = "back"
[[class]]
name = "orders"
kind = "order"
halt_mixed = "block"
rate = "100M"
burst = "16 packets"
latency_budget = "1ms"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
protocol = "udp"
"#;

/// A core that counts packets which the test makes up.
struct World {
    control: Controller<PacketKpis>,
    core: CoreAggregates,
    link: WorkerLink<Block>,
    clock: Hand,
    now: Nanos,
    flow: FlowKpi,
    polls: u64,
}

impl World {
    fn new(regime: &str) -> Self {
        let config = Config::from_toml("t.toml", &format!("{CONFIG}\n{regime}"));
        let config = config.unwrap_or_else(|errors| panic!("{errors:#?}"));
        let port = PortPlan {
            index: 1,
            name: "out".into(),
            side: Side::Venue,
            departure: DepartureSource::Virtual,
            completion: CompletionFigures::Absent,
            tx_descriptors: 64,
            link_bits_per_s: None,
        };
        let plan = KpiPlan::new(&config, vec![port]);
        let settings = Settings { tick: MS(100), ..Settings::new(&config, "1") };
        let normal = Box::new(config.profiles[0].clone());
        let (worker, control) = link(64, 16, normal, Box::new(Block::new(&plan)));
        worker.start();
        let clock = Hand::new();
        let kpis = PacketKpis::new(vec![plan.clone()], config.profiles.clone())
            .sliding(config.regime.tick);
        let cores = vec![Core::new(control, None, &settings).sends_to(vec![1])];
        let regimes = Regimes::new(RegimeSettings::new(&config, "env".into()).unwrap(), START);
        let (words, hand) = (Box::new(Words::default()), Box::new(clock.clone()));
        let control = Controller::new(settings, cores, kpis, words, hand).with_regimes(regimes);
        Self {
            control,
            core: CoreAggregates::new(&plan),
            link: worker,
            clock,
            now: START,
            flow: FlowKpi::default(),
            polls: 0,
        }
    }

    /// `packets` in the next 100 ms, each leaving `delay` after it came: evenly, or in bunches of
    /// `bunch`. Then a tick.
    fn step(&mut self, packets: u64, bunch: u64, delay: Nanos) {
        let step = MS(100).0 / packets.max(1);
        for n in 0..packets {
            let due = self.now + Nanos(n * step);
            // The whole bunch leaves with its last packet.
            let last = (n / bunch + 1) * bunch - 1;
            let out = self.now + Nanos(last.min(packets - 1) * step) + delay;
            let meta = PacketMeta { arrival: due, due, sched: due, len: 100, ..Default::default() };
            self.core.on_arrival(1, Some(0), 100, due);
            let departure = Departure {
                meta: &meta,
                port: 1,
                t_eligible: due,
                t_tx: out,
                t_wire: out,
                release: Release::Governed,
                bucket_held: false,
                link_wait: Nanos::ZERO,
            };
            self.core.on_departure(&departure, &mut self.flow);
        }
        self.now = self.now + MS(100);
        self.clock.set(self.now);
        // Twice, so that control gets what is there and not what was there at the last tick.
        for _ in 0..2 {
            self.link.turn(self.now);
            if let Some(empty) = self.link.empty_block() {
                let full = self.core.swap(self.now, empty);
                self.link.send_block(full);
            }
            self.polls += 1;
            self.link.progress(self.polls);
        }
        self.control.tick(self.now).unwrap();
        self.link.turn(self.now);
    }

    fn run(&mut self, ticks: u64, packets: u64, bunch: u64, delay: Nanos) {
        (0..ticks).for_each(|_| self.step(packets, bunch, delay));
    }

    fn ask(&mut self, request: &Request) -> Value {
        match self.control.handle(request, self.now) {
            Answer::Now(value) => value,
            later => panic!("{later:?}"),
        }
    }

    fn state(&mut self, machine: &str) -> String {
        let all = self.ask(&Request::RegimeGet {});
        let machines = all["machines"].as_array().unwrap();
        let one = machines.iter().find(|m| m["machine"] == machine).unwrap();
        one["state"].as_str().unwrap().to_owned()
    }

    fn mode(&mut self, mode: Mode, confirm: bool) -> Value {
        self.ask(&Request::ModeSet { mode, confirm })
    }

    fn in_force(&self) -> &str {
        &self.link.profile().name
    }
}

const US: fn(u64) -> Nanos = Nanos::from_micros;

/// Learned and frozen baselines of 1,000 packets/s that leave after 10 us.
fn calm(regime: &str) -> World {
    let mut world = World::new(regime);
    world.run(650, 100, 1, US(10));
    let frozen = world.ask(&Request::RegimeFreeze {});
    assert_eq!(frozen["ok"], true, "{frozen}");
    let usual = &frozen["baselines"]["values"]["class:orders"]["dispatch_to_wire_ns[rest].p95"];
    assert!((usual["median"].as_f64().unwrap() - 10_000.0).abs() < 100.0, "{usual}");
    world
}

fn feed(kpi: &str, value: &str, number: f64) -> FedValue {
    let (kpi, value) = (kpi.to_owned(), value.to_owned());
    FedValue { kpi, scope: None, value, number, n: 1, expires_s: 3_600.0 }
}

/// Everything that promotions want to be told.
fn everything() -> Vec<FedValue> {
    let arm = |arm: &'static str, excess| {
        [
            feed(arm, "excess", excess),
            feed(arm, "exempt_hold_ns", 0.0),
            feed(arm, "dispatch_to_wire_p50_ns", 10_000.0),
            feed(arm, "dispatch_to_wire_p99_ns", 10_000.0),
            feed(arm, "goodput", 1e6),
        ]
    };
    let mut all = vec![
        feed("replay", "passed", 1.0),
        feed("fill_completion", "bound", 0.0),
        feed("slippage_q95", "delta", 0.0),
        feed("slippage_q99", "delta", 0.0),
        feed("rejects", "delta", 0.0),
        feed("retries", "delta", 0.0),
        feed("trial", "sessions", 5.0),
        feed("trial", "parents", 500.0),
        feed("trial", "days", 1.0),
    ];
    all.extend(arm("changed", 1.0));
    all.extend(arm("control", 3.0));
    all
}

#[test]
fn observe_learns_and_decides_nothing() {
    let mut world = calm("");
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "CLEAN_FLOW");
    assert!(world.control.regimes().unwrap().transitions().is_empty());
    let status = world.ask(&Request::Status {});
    assert_eq!(status["regime"]["mode"], "observe");
    assert_eq!(status["regime"]["composed"]["profile"], "normal");
    let advice = &status["regime"]["advice"]["class:orders"];
    assert_eq!((&advice["urgency"], &advice["sequence"]), (&json!(1.0), &json!(0)), "neutral");
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn shadow_decides_and_logs_and_leaves_the_core_alone() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    let refused = world.mode(Mode::Shadow, false);
    assert!(refused["error"].as_str().unwrap().contains("replay"), "{refused}");
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    let transitions = world.control.regimes().unwrap().transitions().to_vec();
    // A flow that leaves in bunches is a compressed drain too.
    let of = |machine: &str| transitions.iter().filter(|t| t["machine"] == machine).count();
    assert_eq!((of("pacing"), of("drain"), transitions.len()), (1, 1, 2), "{transitions:#?}");
    let transitions: Vec<_> = transitions.iter().filter(|t| t["machine"] == "pacing").collect();
    assert_eq!(transitions[0]["scope"], "class:orders");
    assert_eq!(transitions[0]["to"], "BURST_RELEASED");
    let values = transitions[0]["values"].as_array().unwrap();
    assert!(values.iter().all(|v| v["value"].as_f64().unwrap() >= v["limit"].as_f64().unwrap()));
    // It says what it would do, and does not.
    let status = world.ask(&Request::Status {});
    let composed = &status["regime"]["composed"];
    assert_eq!(
        (&composed["profile"], &composed["in_force"]),
        (&json!(COMPOSED_NAME), &json!(false))
    );
    assert_eq!(composed["reasons"][0]["set_by"], "pacing");
    assert_eq!(world.in_force(), "normal");
    assert_eq!(status["regime"]["advice"]["class:orders"]["tactics"], "completion_critical");
    // Strategies read the same where they read all advice.
    let asked = world.ask(&Request::Advice {});
    let records = asked["advice"].as_array().unwrap();
    let said_of = |scope: &str| records.iter().find(|record| record["scope"] == scope).unwrap();
    assert_eq!(said_of("class:orders")["tactics"], "completion_critical");
    assert_eq!(
        said_of("class:orders")["regime"],
        status["regime"]["advice"]["class:orders"]["regime"]
    );
    assert_eq!(said_of("tx_queue:out")["regime"], json!([]));
}

#[test]
fn active_in_virtual_time_governs_the_allowed_class_and_gives_it_back() {
    let mut world = calm("[regime]\nallow = [\"orders\"]\nlatch = false");
    world.ask(&Request::Feed { values: everything() });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    let canary = world.mode(Mode::Canary, false);
    assert!(canary["error"].as_str().unwrap().contains("switchback"), "{canary}");
    assert_eq!(world.mode(Mode::Switchback, false)["ok"], true);
    let unconfirmed = world.mode(Mode::Active, false);
    assert!(unconfirmed["error"].as_str().unwrap().contains("--confirm"), "{unconfirmed}");
    assert_eq!(world.mode(Mode::Active, true)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.in_force(), COMPOSED_NAME);
    assert!(world.link.profile().classes[0].shaping.fan_out < u16::MAX);
    let status = world.ask(&Request::Status {});
    assert_eq!(status["profile"]["in_force"][0], COMPOSED_NAME);
    // Longer than a lease: it is renewed.
    world.run(80, 100, 50, US(900));
    assert_eq!(world.in_force(), COMPOSED_NAME);

    // The operator's pin goes before it.
    let refused = world.ask(&Request::RegimePin {
        machine: "pacing".into(),
        scope: "orders".into(),
        state: "NO_SUCH".into(),
        length_ns: None,
    });
    assert!(refused["error"].as_str().unwrap().contains("BURST_RELEASED"), "{refused}");
    assert_eq!(world.mode(Mode::Observe, false)["ok"], true);
    world.link.turn(world.now);
    assert_eq!(world.in_force(), "normal", "observe reverts every field at once");
}

#[test]
fn a_class_that_is_not_allowed_is_never_touched() {
    let mut world = calm("[regime]\nlatch = false");
    world.ask(&Request::Feed { values: everything() });
    world.mode(Mode::Shadow, false);
    let refused = world.mode(Mode::Switchback, false);
    assert!(refused["error"].as_str().unwrap().contains("allow"), "{refused}");
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn delay_beyond_the_budget_rolls_an_active_mode_back_to_shadow() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    world.ask(&Request::Feed { values: everything() });
    for (mode, confirm) in [(Mode::Shadow, false), (Mode::Switchback, false), (Mode::Active, true)]
    {
        assert_eq!(world.mode(mode, confirm)["ok"], true);
    }
    // The usual 10 us and the budget of 1 ms are passed at p99; 250 packets in each tick.
    world.run(20, 250, 1, US(1_500));
    let mode = world.ask(&Request::ModeGet {});
    assert_eq!(mode["mode"], "shadow", "{mode}");
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert!(last["why"].as_str().unwrap().contains("bad ticks"), "{last}");
    assert_eq!(world.in_force(), "normal");
}

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
    let config = Config::from_toml("t.toml", &format!("{CONFIG}\n{regime}")).unwrap();
    let Err(error) = RegimeSettings::new(&config, "env".into()) else { panic!("it is read") };
    assert!(error.to_string().contains("baselines.json"), "{error}");
}

#[test]
fn a_few_packets_a_second_get_a_longer_window() {
    let mut world = calm("");
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    world.mode(Mode::Shadow, false);
    // 300 packets/s: p99 needs 1,000.
    world.run(100, 30, 1, US(10));
    let all = world.ask(&Request::RegimeGet {});
    let pacing = all["machines"].as_array().unwrap().iter().find(|m| m["machine"] == "pacing");
    assert_eq!(pacing.unwrap()["window_s"], 4, "1, 2, 4: then there are enough");
    let details = all["details"].as_array().unwrap();
    let inputs = details[0]["inputs"].as_array().unwrap();
    let p99 = inputs.iter().find(|i| i["term"].as_str().unwrap().contains("p99 >=")).unwrap();
    let n = p99["n"].as_u64().unwrap();
    assert!((1_200..=1_500).contains(&n), "4 s to 5 s of 300 packets: {n}");
}

/// A gateway that has seen acknowledgements, and nothing else, has something to freeze; the next one that
/// starts with the file measures in it.
#[test]
fn a_freeze_takes_acknowledgements_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.json");
    let text = format!("{CONFIG}\n[regime]\nbaselines = {kept:?}");
    let config = Config::from_toml("t.toml", &text).unwrap();
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
    let text = world.control.snapshot().registry.to_openmetrics();
    assert!(text.contains("wirepace_regime_severity{machine=\"pacing\",scope=\"class:orders\"} 2"));
}

#[test]
fn a_pinned_profile_ends_by_itself_and_says_so() {
    let profile = "[[profile]]\nname = \"tight\"\n[regime]\npin = \"10s\"";
    let mut world = World::new(profile);
    let set = Request::ProfileSet { name: "tight".into() };
    let Answer::Later(_) = world.control.handle(&set, world.now) else { panic!("it is later") };
    world.run(95, 0, 1, US(1));
    assert_eq!(world.in_force(), "tight");
    world.run(10, 0, 1, US(1));
    assert_eq!(world.in_force(), "normal");
    let status = world.ask(&Request::Status {});
    assert_eq!(status["counters"]["alarm_pin_expired"], 1);
    assert_eq!(status["profile"]["pinned"], Value::Null);
    // Stop words go on as ever.
    let halt = Request::StopWord { word: Word::Halt, scope: "all".into() };
    assert_eq!(world.ask(&halt)["ok"], true);
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
    let server =
        Server::bind(Some("127.0.0.1:0".parse().unwrap()), &dir.path().join("gw.sock")).unwrap();
    let http = server.http_addr().unwrap();
    let hooks = Hooks { on_start: Box::new(|| ()), on_fatal: Box::new(|fatal| panic!("{fatal}")) };
    let handle = server.spawn(world.control, hooks).unwrap();
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "GET /v1/advice HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let event = BufReader::new(stream)
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("data: ").map(str::to_owned))
        .unwrap();
    assert_eq!(of_orders(&serde_json::from_str(&event).unwrap()), asked);
    handle.stop().unwrap();
}
