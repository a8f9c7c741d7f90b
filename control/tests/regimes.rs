//! The regime engine in a controller, in virtual time: from packets on a core to a table on it.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../model/tests/regime/gateway.rs"]
mod gateway;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{Hand, MS, START, Words};
use control::controller::{Answer, Controller, Core, Settings};
use control::kpis::PacketKpis;
use control::regimes::{RegimeSettings, Regimes};
use control::request::{Request, Word};
use control::server::{Hooks, Server};
use dataplane::channel::{WorkerLink, link};
use intent::advice::Page;
use model::drop_reason::DropReason;
use model::kind::Side;
use model::kpi::{
    AckShare, AckShares, Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan,
    PortPlan,
};
use model::meta::PacketMeta;
use model::pacer::limits::LimitsSpec;
use model::pacer::{HaltRule, Pacer, PacerSpec, Roster, Seat};
use model::profile::ClassParams;
use model::regime::{COMPOSED_NAME, FedValue, Mode};
use model::sample::{DepartureSource, Release};
use model::time::Nanos;
use serde_json::{Value, json};

const CLASS: &str = r#"
[[class]]
name = "orders"
kind = "order"
halt_mixed = "block"
rate = "100M"
burst = "16 packets"
latency_budget = "1ms"
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
        Self::with_groups(regime, None)
    }

    fn with_groups(regime: &str, groups: Option<Arc<Roster>>) -> Self {
        let config = gateway::config("orders", &format!("{CLASS}{regime}"));
        let port = PortPlan {
            index: 1,
            name: "out".into(),
            side: Side::Venue,
            departure: DepartureSource::Virtual,
            completion: CompletionFigures::Absent,
            stall_time: Nanos::from_millis(5),
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
        let regimes = regimes.with_groups(groups);
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
            self.departs(&meta, out);
        }
        self.tick();
    }

    fn departs(&mut self, meta: &PacketMeta, out: Nanos) {
        let departure = Departure {
            meta,
            port: 1,
            t_eligible: meta.due,
            t_tx: out,
            t_wire: out,
            release: Release::Governed,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        };
        self.core.on_departure(&departure, &mut self.flow);
    }

    /// 100 ms are over.
    fn tick(&mut self) {
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

    /// 200 packets in the next 100 ms, of 20 groups in turn, each leaving `delay` after it came; those
    /// of governed groups `more` later, and of them every `lost`th not at all.
    fn step_by_arms(&mut self, delay: Nanos, more: Nanos, lost: Option<u64>) {
        let canary = self.link.profile().canary.clone();
        let step = MS(100).0 / 200;
        for n in 0..200 {
            let governed = canary.as_ref().is_some_and(|c| c.0[0].groups.contains(&(n % 20 + 1)));
            let compared = canary.as_ref().is_some_and(|c| c.0[1].groups.contains(&(n % 20 + 1)));
            let (class, late) = match (governed, compared) {
                (true, _) => (TWIN, more),
                (_, true) => (TWIN + 1, Nanos::ZERO),
                _ => (0, Nanos::ZERO),
            };
            let due = self.now + Nanos(n * step);
            self.core.on_arrival(1, Some(class), 100, due);
            if governed && lost.is_some_and(|every| n % every == 0) {
                self.core.on_drop(1, Some(class), 100, DropReason::QueueFull, due);
                continue;
            }
            // Others leave in bunches of 50.
            let last = if governed { n } else { n / 50 * 50 + 49 };
            let out = self.now + Nanos(last * step) + delay + late;
            let meta =
                PacketMeta { arrival: due, due, sched: due, class, len: 100, ..Default::default() };
            self.departs(&meta, out);
        }
        self.tick();
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

    fn ticks(&mut self, ticks: u64, mut tick: impl FnMut(&mut Self)) {
        (0..ticks).for_each(|_| tick(self));
    }

    fn mode(&mut self, mode: Mode, confirm: bool) -> Value {
        self.ask(&Request::ModeSet { mode, confirm })
    }

    fn in_force(&self) -> &str {
        &self.link.profile().name
    }
}

const US: fn(u64) -> Nanos = Nanos::from_micros;

/// The node of the twin of `orders`, behind two classes of the file and two for what is not IP.
const TWIN: u8 = 4;

/// Groups 1 to `count` of `orders`.
fn groups(count: u64) -> Arc<Roster> {
    let config = gateway::config("orders", &format!("{CLASS}[regime]\nallow = [\"orders\"]"));
    let spec = PacerSpec {
        two_paths: false,
        slot: Nanos(64),
        start: START,
        flows_max: 64,
        wire_len_max: 1_538,
        burst_max: 8,
        halt: config.classes.iter().map(HaltRule::of).collect(),
        twins: config.canaried(),
        port: 1,
        seed: 0,
        limits: LimitsSpec::default(),
        follows_tcp: false,
    };
    let mut pacer: Pacer<VecDeque<PacketMeta>> = Pacer::new(&spec, &config.profiles[0]);
    for id in 1..=count {
        pacer.new_group(Seat { id, class: 0, venue: 255, label: 0 }).unwrap();
    }
    Arc::clone(pacer.roster())
}

/// Learned and frozen baselines of 1,000 packets/s that leave after 10 us.
fn calm(regime: &str) -> World {
    calm_with(World::new(regime))
}

fn calm_with(mut world: World) -> World {
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
    let mut all = beside_the_arms();
    all.extend(arm("changed", 1.0));
    all.extend(arm("control", 3.0));
    all
}

/// The same without figures of the arms.
fn beside_the_arms() -> Vec<FedValue> {
    vec![
        feed("replay", "passed", 1.0),
        feed("fill_completion", "bound", 0.0),
        feed("slippage_q95", "delta", 0.0),
        feed("slippage_q99", "delta", 0.0),
        feed("rejects", "delta", 0.0),
        feed("retries", "delta", 0.0),
        feed("trial", "sessions", 5.0),
        feed("trial", "parents", 500.0),
        feed("trial", "days", 1.0),
    ]
}

/// In mode canary over 20 groups, among them two that are governed, with burst releases under way. What
/// was fed of the arms holds no more.
fn in_canary() -> World {
    let regime = "[regime]\nallow = [\"orders\"]\nlatch = false";
    let mut world = calm_with(World::with_groups(regime, Some(groups(20))));
    let brief = everything().into_iter().map(|value| FedValue { expires_s: 3.5, ..value });
    world.ask(&Request::Feed { values: brief.collect() });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.ticks(30, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    let canary = world.mode(Mode::Canary, false);
    assert_eq!(canary["ok"], true, "{canary}");
    world.ask(&Request::Feed { values: beside_the_arms() });
    world
}

#[test]
fn a_canary_governs_a_tenth_of_the_groups_and_its_arms_open_the_gates() {
    let mut world = in_canary();
    world.ticks(10, |world| world.step_by_arms(US(10), US(100), None));
    assert_eq!(world.in_force(), COMPOSED_NAME);
    let profile = world.link.profile().clone();
    let [canary, control] = &profile.canary.as_ref().unwrap().0;
    assert_eq!((canary.groups.len(), control.groups.len()), (2, 2));
    let turns = [&profile.classes[0], &canary.classes[0], &control.classes[0]];
    assert_eq!(turns.map(|params| params.shaping.weight), [8, 1, 1], "shares of what were 10");
    assert_eq!(control.classes[0].shaping.fan_out, u16::MAX, "as they are");
    assert!(canary.classes[0].shaping.fan_out < u16::MAX, "the change");
    assert_eq!(profile.classes[0].shaping.fan_out, u16::MAX, "the others are left as they are");
    let rate = |params: &ClassParams| params.class.bits.unwrap().rate_per_s;
    assert_eq!((rate(&profile.classes[0]), rate(&canary.classes[0])), (80_000_000, 10_000_000));
    // Nothing has been seen for a whole window yet.
    let early = world.mode(Mode::Active, true);
    assert!(early["error"].as_str().unwrap().contains("no transport gate"), "{early}");
    world.ticks(300, |world| world.step_by_arms(US(10), US(100), None));
    let status = world.ask(&Request::Status {});
    let shown = &status["regime"]["canary"];
    assert_eq!((&shown["groups"], &shown["canary"]), (&json!(20), &json!(2)), "{shown}");
    let arms = &status["regime"]["arms"]["class:orders"];
    assert!(arms["changed"]["excess"].as_f64() < arms["control"]["excess"].as_f64(), "{arms}");
    assert_eq!(
        (&arms["changed"]["goodput"], &arms["control"]["goodput"]),
        (&json!(1.0), &json!(1.0))
    );
    // The governed 110 us; the others up to 24.5 ms: within the budget of 1 ms.
    let p99 = arms["changed"]["dispatch_to_wire_p99_ns"].as_f64().unwrap();
    assert!((109_000.0..112_000.0).contains(&p99), "{arms}");
    assert_eq!(world.mode(Mode::Active, true)["ok"], true);
    world.ticks(2, |world| world.step_by_arms(US(10), US(100), None));
    assert_eq!(world.link.profile().canary, None, "one table for all again");
}

#[test]
fn the_same_seed_governs_the_same_groups_after_a_restart() {
    let governed = || {
        let mut world = in_canary();
        world.ticks(2, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
        world.link.profile().canary.clone().unwrap().0[0].groups.clone()
    };
    assert_eq!(governed(), governed());
}

#[test]
fn a_canary_that_does_worse_is_rolled_back() {
    let mut world = in_canary();
    // The others wait up to 24.5 ms: 20 ms and the budget more than their median of 12 ms is too much.
    world.ticks(30, |world| world.step_by_arms(US(10), MS(40), None));
    let mode = world.ask(&Request::ModeGet {});
    assert_eq!(mode["mode"], "shadow", "{mode}");
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["from"], &last["why"]), (&json!("canary"), &json!("3 bad ticks in a row")));
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn one_lost_order_of_the_canary_is_enough() {
    let mut world = in_canary();
    world.ticks(3, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert_eq!(world.ask(&Request::ModeGet {})["mode"], "canary");
    world.ticks(2, |world| world.step_by_arms(US(10), Nanos::ZERO, Some(1)));
    let mode = world.ask(&Request::ModeGet {});
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert_eq!((&mode["mode"], &last["why"]), (&json!("shadow"), &json!("a packet was dropped")));
}

#[test]
fn observe_ends_a_canary_at_once() {
    let mut world = in_canary();
    world.ticks(3, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert!(world.link.profile().canary.is_some());
    assert_eq!(world.mode(Mode::Observe, false)["ok"], true);
    world.link.turn(world.now);
    assert_eq!((world.in_force(), &world.link.profile().canary), ("normal", &None));
}

#[test]
fn nine_groups_are_no_canary() {
    let regime = "[regime]\nallow = [\"orders\"]";
    let mut world = calm_with(World::with_groups(regime, Some(groups(9))));
    world.ask(&Request::Feed { values: everything() });
    world.mode(Mode::Shadow, false);
    let refused = world.mode(Mode::Canary, false);
    let missing = refused["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{refused}");
    assert!(missing[0].as_str().unwrap().starts_with("9 ordering groups"), "{refused}");
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
    let config = gateway::config("orders", &format!("{CLASS}{regime}"));
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
    write!(stream, "GET /v1/advice HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let event = BufReader::new(stream)
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("data: ").map(str::to_owned))
        .unwrap();
    assert_eq!(of_orders(&serde_json::from_str(&event).unwrap()), asked);
    handle.stop().unwrap();
}
