//! The loop must not excite itself: with every profile in force at once and a load that is clean but for
//! one burst, every machine comes back, and nothing stays behind.

use model::time::Nanos;

use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{
    Drill, Expect, Expectation, Figure, Is, Mark, Pin, START, Scene, TWIN, Watch, ms,
};

const ORDERS: &str = "class:orders";
const QUEUE: &str = "tx_queue:venue-a";
/// Everybody is in the worst of states ...
const PINNED: Nanos = ms(2_000);
/// ... for so long ...
const LENGTH: Nanos = Nanos::from_secs(2);
/// ... and in the middle of it comes a burst.
const BURST: Nanos = ms(3_000);
/// Three steps down of a release and a dwell, the 10 s that the queue looks back, and the windows.
const BACK: Nanos = ms(19_000);
const END: Nanos = ms(20_000);
/// 8,929 orders/s of 224 wire bytes are 16 Mbit/s: 80 % of the cap.
const EVERY: Nanos = Nanos::from_micros(112);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "self-excitation",
    playbook: "000 001 002 003",
    injects: "every machine in its worst state, so that all profiles are in force at once, and a burst of 60 \
        orders on a constant load of 80 % of the cap",
    must_show: "every machine back in its first state within release and dwell, and no backlog that lasts; \
        when machines see what profiles add (`--unprotected`) they do not come back",
    config: include_str!("../../../../configs/drills/self-excitation.toml"),
    usual: &[
        (ORDERS, "dispatch_to_wire_ns[rest].p95", 10_000.0),
        (ORDERS, "dispatch_to_wire_ns[rest].p99", 10_000.0),
        (ORDERS, "wire_cadence_variability_ns.p95", 10_000.0),
        (ORDERS, "wire_serialization_ns.p95", 1_000.0),
        (ORDERS, "not_sent_bytes.p95", 300.0),
        (ORDERS, "child_join_delay_ns.value", 10_000.0),
        (QUEUE, "wire_cadence_variability_ns.p95", 10_000.0),
    ],
    watches: &[
        Watch { name: "BI excess", scope: ORDERS, input: "burstiness_index.excess" },
        Watch {
            name: "BI excess at normal",
            scope: ORDERS,
            input: "burstiness_index_at_normal.excess",
        },
        Watch {
            name: "dispatch to wire p99, ns",
            scope: ORDERS,
            input: "dispatch_to_wire_ns[total].p99",
        },
        Watch { name: "rest p99, ns", scope: ORDERS, input: "dispatch_to_wire_ns[rest].p99" },
        Watch { name: "not sent p95, bytes", scope: ORDERS, input: "not_sent_bytes.p95" },
    ],
    arms: &["all profiles"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let steady = Plan::new(0).steady((START, END), EVERY, 0, 200);
    let pin = |machine, scope, state| Pin { from: PINNED, length: LENGTH, machine, scope, state };
    let (plan, pins) = match arm {
        TWIN => (steady, Vec::new()),
        _ => (
            steady.burst(BURST, 60, 0, 200),
            vec![
                pin("pacing", ORDERS, "BURST_RELEASED"),
                pin("segmentation", ORDERS, "SAFE_TX_CONTAIN"),
                pin("byte_queue", QUEUE, "BQL_SAFE_CONTAIN"),
                pin("drain", ORDERS, "CONTAINMENT"),
            ],
        ),
    };
    let mark = |what: &str, from, to| Mark { what: what.to_owned(), from, to };
    let marks = match arm {
        TWIN => Vec::new(),
        _ => vec![
            mark("all profiles", PINNED, PINNED.saturating_add(LENGTH)),
            mark("burst", BURST, BURST.saturating_add(Nanos::from_millis(1))),
        ],
    };
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        pins,
        marks,
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let arm = "all profiles";
    let machine = |machine, scope, state| {
        let expect = Expect::Enters(state, PINNED, PINNED.saturating_add(Nanos::from_millis(200)));
        Expectation::Machine { arm, machine, scope, expect }
    };
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    vec![
        machine("pacing", ORDERS, "BURST_RELEASED"),
        machine("segmentation", ORDERS, "SAFE_TX_CONTAIN"),
        machine("byte_queue", QUEUE, "BQL_SAFE_CONTAIN"),
        machine("drain", ORDERS, "CONTAINMENT"),
        // The profiles are felt ...
        figure(
            Figure::Median("dispatch to wire p99, ns", ms(2_500), ms(3_000)),
            Is::Above(20_000.0),
        ),
        Expectation::Machines { arm, expect: Expect::Returns(BACK) },
        // ... and nothing of them stays.
        figure(Figure::Highest("not sent p95, bytes", BACK, END), Is::AtMost(300.0)),
        figure(Figure::Highest("dispatch to wire p99, ns", BACK, END), Is::AtMost(10_000.0)),
        figure(Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
        figure(Figure::Fact("received_missing"), Is::Exactly(0.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    vec![Expectation::Machines { arm: TWIN, expect: Expect::Stays }]
}
