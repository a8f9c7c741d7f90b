//! A core that counts packets which a test makes up, and a controller over it.

use std::sync::Arc;

use control::controller::{Answer, Controller, Core, Settings};
use control::kpis::PacketKpis;
use control::regimes::{RegimeSettings, Regimes};
use control::request::Request;
use dataplane::channel::{WorkerLink, link};
use model::drop_reason::DropReason;
use model::kind::Side;
use model::kpi::{Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan, PortPlan};
use model::meta::PacketMeta;
use model::pacer::Roster;
use model::regime::{FedValue, Mode};
use model::sample::{DepartureSource, Release};
use model::time::Nanos;
use serde_json::Value;

use crate::common::{Hand, MS, START, Words};
use crate::gateway;

pub const CLASS: &str = r#"
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
pub struct World {
    pub control: Controller<PacketKpis>,
    pub core: CoreAggregates,
    pub link: WorkerLink<Block>,
    pub clock: Hand,
    pub now: Nanos,
    pub flow: FlowKpi,
    pub polls: u64,
}

impl World {
    pub fn new(regime: &str) -> Self {
        Self::with_groups(regime, None)
    }

    pub fn with_groups(regime: &str, groups: Option<Arc<Roster>>) -> Self {
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
    pub fn step(&mut self, packets: u64, bunch: u64, delay: Nanos) {
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

    pub fn departs(&mut self, meta: &PacketMeta, out: Nanos) {
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
    pub fn tick(&mut self) {
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
    pub fn step_by_arms(&mut self, delay: Nanos, more: Nanos, lost: Option<u64>) {
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

    pub fn run(&mut self, ticks: u64, packets: u64, bunch: u64, delay: Nanos) {
        (0..ticks).for_each(|_| self.step(packets, bunch, delay));
    }

    pub fn ask(&mut self, request: &Request) -> Value {
        match self.control.handle(request, self.now) {
            Answer::Now(value) => value,
            later => panic!("{later:?}"),
        }
    }

    pub fn state(&mut self, machine: &str) -> String {
        let all = self.ask(&Request::RegimeGet {});
        let machines = all["machines"].as_array().unwrap();
        let one = machines.iter().find(|m| m["machine"] == machine).unwrap();
        one["state"].as_str().unwrap().to_owned()
    }

    pub fn ticks(&mut self, ticks: u64, mut tick: impl FnMut(&mut Self)) {
        (0..ticks).for_each(|_| tick(self));
    }

    pub fn mode(&mut self, mode: Mode, confirm: bool) -> Value {
        self.ask(&Request::ModeSet { mode, confirm })
    }

    pub fn in_force(&self) -> &str {
        &self.link.profile().name
    }
}

pub const US: fn(u64) -> Nanos = Nanos::from_micros;

/// The node of the twin of `orders`, behind two classes of the file and two for what is not IP.
pub const TWIN: u8 = 4;

/// Learned and frozen baselines of 1,000 packets/s that leave after 10 us.
pub fn calm(regime: &str) -> World {
    calm_with(World::new(regime))
}

pub fn calm_with(mut world: World) -> World {
    world.run(650, 100, 1, US(10));
    let frozen = world.ask(&Request::RegimeFreeze {});
    assert_eq!(frozen["ok"], true, "{frozen}");
    let usual = &frozen["baselines"]["values"]["class:orders"]["dispatch_to_wire_ns[rest].p95"];
    assert!((usual["median"].as_f64().unwrap() - 10_000.0).abs() < 100.0, "{usual}");
    world
}

pub fn feed(kpi: &str, value: &str, number: f64) -> FedValue {
    let (kpi, value) = (kpi.to_owned(), value.to_owned());
    FedValue { kpi, scope: None, value, number, n: 1, expires_s: 3_600.0 }
}

/// Everything that promotions want to be told.
pub fn everything() -> Vec<FedValue> {
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
pub fn beside_the_arms() -> Vec<FedValue> {
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
