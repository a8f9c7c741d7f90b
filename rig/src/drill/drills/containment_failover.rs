//! The first path releases in slots until the machine contains: flows move to the second path, which is
//! faster, by the rules of moving, and return when all is well again and their dwell is over.

use std::collections::BTreeMap;

use model::time::Nanos;

use crate::drill::model::destination_port;
use crate::drill::model::slots::Slots;
use crate::drill::outlet::{OutletSpec, Span};
use crate::drill::peer::Peer;
use crate::drill::traffic::{PORT_FIRST, Plan, Receiver, Sender, Way};
use crate::drill::wire::Wire;
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const MACHINE: &str = "segmentation";
const SCOPE: &str = "class:orders";
const END: Nanos = ms(22_000);
const FAULT: Span = (ms(1_000), ms(15_000));
/// Longer than `max_hold`, so that not everything leaves in time.
const SLOT: Nanos = Nanos::from_millis(30);
/// How long a frame is under way by either path.
const LATENCY: [Nanos; 2] = [Nanos::from_millis(6), Nanos::from_millis(1)];
/// Four flows of orders, and a session.
const FLOWS: u16 = 4;
const EVERY: Nanos = Nanos::from_millis(4);
/// The `dwell` of the second path.
const DWELL_MS: f64 = 4_000.0;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "containment-failover",
    playbook: "001",
    injects: "the first path takes packets every 30 ms only, for 14 s; the second is 5 ms faster",
    must_show: "WIRE_CLEAN -> DEPHASED -> SAFE_TX_CONTAIN; then flows of orders move to the second path, \
        nothing is lost, and at the receiver each flow is in order; the mixed session stays; flows \
        return after their dwell",
    config: include_str!("../../../../configs/drills/containment-failover.toml"),
    usual: &[
        (SCOPE, "wire_serialization_ns.p95", 20_000.0),
        ("class:sessions", "wire_serialization_ns.p95", 20_000.0),
    ],
    watches: &[
        Watch { name: "release error p95, ns", scope: SCOPE, input: "release_error_ns[late].p95" },
        Watch {
            name: "wire serialization p95, ns",
            scope: SCOPE,
            input: "wire_serialization_ns.p95",
        },
        Watch { name: "completion ratio", scope: SCOPE, input: "completion_ratio.ratio" },
    ],
    arms: &["slots"],
    scene,
    expect,
    expect_of_twin,
};

/// Where a flow has been.
#[derive(Default)]
struct Seen {
    by_second: Option<Nanos>,
    back: Option<Nanos>,
}

/// A receiver behind both paths.
#[derive(Default)]
struct Venue {
    receiver: Receiver,
    flows: BTreeMap<u16, Seen>,
}

impl Peer for Venue {
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    fn act(&mut self, _: Nanos, _: &Wire) {}

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        if let Some(port) = destination_port(frame) {
            let seen = self.flows.entry(port).or_default();
            if seen.by_second.is_some() {
                seen.back.get_or_insert(at);
            }
        }
        self.receiver.receive(at, frame);
    }

    fn receive_by_second(&mut self, at: Nanos, frame: &[u8]) {
        if let Some(port) = destination_port(frame) {
            self.flows.entry(port).or_default().by_second.get_or_insert(at);
        }
        self.receiver.receive(at, frame);
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        let is_session = |port: u16| port == PORT_FIRST + FLOWS;
        let moved = |session: bool| {
            let of = self.flows.iter().filter(move |(port, _)| is_session(**port) == session);
            of.filter(|(_, seen)| seen.by_second.is_some()).count() as f64
        };
        let stays = self.flows.values().filter_map(|seen| {
            let back = seen.back?.saturating_sub(LATENCY[0]);
            let there = seen.by_second?.saturating_sub(LATENCY[1]);
            Some(back.saturating_sub(there).0 as f64 / 1e6)
        });
        let mut facts = self.receiver.facts();
        facts.extend([("order_flows_moved", moved(false)), ("sessions_moved", moved(true))]);
        facts.extend(stays.reduce(f64::min).map(|shortest| ("shortest_stay_ms", shortest)));
        facts
    }
}

fn scene(arm: &'static str, _: u64) -> Scene {
    let is_faulty = arm != TWIN;
    let plan = (0..=FLOWS).fold(Plan::new(0), |plan, flow| {
        let from = START.saturating_add(Nanos::from_millis(u64::from(flow % FLOWS)));
        plan.steady((from, END), EVERY, flow, 200)
    });
    let slots = if is_faulty { vec![(FAULT, Slots { slot: SLOT })] } else { Vec::new() };
    let mark = Mark { what: "slots".to_owned(), from: FAULT.0, to: FAULT.1 };
    Scene {
        marks: if is_faulty { vec![mark] } else { Vec::new() },
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Venue::default()),
        to_venue: OutletSpec { slots, latency: LATENCY[0], ..OutletSpec::default() },
        second: OutletSpec { latency: LATENCY[1], ..OutletSpec::default() },
        ..Scene::until(END)
    }
}

fn carried(arm: &'static str) -> Vec<Expectation> {
    let figure = |name, is| Expectation::Figure { arm, figure: Figure::Fact(name), is };
    vec![
        figure("received_out_of_order", Is::Exactly(0.0)),
        figure("received_missing", Is::Exactly(0.0)),
        figure("dropped", Is::Exactly(0.0)),
        figure("sessions_moved", Is::Exactly(0.0)),
    ]
}

fn expect() -> Vec<Expectation> {
    let arm = "slots";
    let machine = |expect| Expectation::Machine { arm, machine: MACHINE, scope: SCOPE, expect };
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    let mut all = vec![
        machine(Expect::Order(&["DEPHASED", "SAFE_TX_CONTAIN", "DEPHASED"])),
        machine(Expect::Enters("SAFE_TX_CONTAIN", ms(11_000), ms(13_000))),
        figure(Figure::Fact("order_flows_moved"), Is::Exactly(f64::from(FLOWS))),
        figure(Figure::Fact("path_moved"), Is::Exactly(f64::from(FLOWS))),
        // Beside the path: the slots go on, and nobody waits for them.
        figure(Figure::Highest("release error p95, ns", ms(14_000), FAULT.1), Is::Below(1e6)),
        figure(Figure::Fact("path_returned"), Is::Exactly(f64::from(FLOWS))),
        figure(Figure::Fact("shortest_stay_ms"), Is::AtLeast(DWELL_MS)),
        machine(Expect::Returns(ms(21_000))),
    ];
    all.extend(carried(arm));
    all
}

fn expect_of_twin() -> Vec<Expectation> {
    let moved = Figure::Fact("path_moved");
    let mut all = vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        Expectation::Figure { arm: TWIN, figure: moved, is: Is::Exactly(0.0) },
    ];
    all.extend(carried(TWIN));
    all
}
