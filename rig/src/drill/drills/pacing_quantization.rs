//! A releaser below the pacer that knows slots of time only, as a timer of the kernel does: what slots of
//! each length add, and the way into and out of BURST_RELEASED while they get longer.

use model::time::Nanos;

use crate::drill::model::slots::Slots;
use crate::drill::outlet::OutletSpec;
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
const SHORT: Nanos = ms(2_000);
const LONG: Nanos = ms(5_000);
const OVER: Nanos = ms(8_000);
const END: Nanos = ms(13_000);
const ARM_END: Nanos = ms(3_000);
/// What a flow is told that is short of rate; nothing is taken from it.
const BACKPRESSURE: &str = "advised to send less";

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "pacing-quantization",
    playbook: "000",
    injects: "a load just beyond its cap, released in slots of 10 us, 100 us and 1 ms; then slots that grow \
        from 100 us to 1 ms and go away",
    must_show: "release error and BI grow with the slot, and without slots both are those of the pacer; \
        CLEAN_FLOW, PACING_LIMITED, BURST_RELEASED and back; while it is limited the flow is advised to send less",
    config: include_str!("../../../../configs/drills/pacing-quantization.toml"),
    usual: &[
        (ORDERS, "dispatch_to_wire_ns[rest].p95", 10_000.0),
        (ORDERS, "dispatch_to_wire_ns[rest].p99", 10_000.0),
    ],
    watches: &[
        Watch { name: "BI excess", scope: ORDERS, input: "burstiness_index_at_normal.excess" },
        Watch { name: "rest p99, ns", scope: ORDERS, input: "dispatch_to_wire_ns[rest].p99" },
        Watch { name: "share held by a cap", scope: ORDERS, input: "cap_hit_ratio.ratio" },
        Watch { name: BACKPRESSURE, scope: ORDERS, input: "advice.backpressure" },
        Watch { name: "pacer error p99, ns", scope: ORDERS, input: "pacer_error_ns.p99" },
    ],
    arms: &["growing", "10 us", "100 us", "1 ms"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let slots = |us| Slots { slot: Nanos::from_micros(us) };
    let until = if ["growing", TWIN].contains(&arm) { END } else { ARM_END };
    let (load, slots) = match arm {
        "growing" => {
            ((SHORT, OVER), vec![((SHORT, LONG), slots(100)), ((LONG, OVER), slots(1_000))])
        }
        TWIN => ((SHORT, OVER), Vec::new()),
        "10 us" => ((START, until), vec![((START, until), slots(10))]),
        "100 us" => ((START, until), vec![((START, until), slots(100))]),
        _ => ((START, until), vec![((START, until), slots(1_000))]),
    };
    // 4,000 orders/s are a little more than the cap, 2,000 far less.
    let (light, heavy) = (Nanos::from_micros(500), Nanos::from_micros(250));
    let plan = Plan::new(0)
        .steady((START, load.0), light, 0, 200)
        .steady(load, heavy, 0, 200)
        .steady((load.1, until), light, 0, 200);
    let mark = |((from, to), slots): &((Nanos, Nanos), Slots)| Mark {
        what: format!("slots of {}", slots.slot),
        from: *from,
        to: *to,
    };
    Scene {
        marks: slots.iter().map(mark).collect(),
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        to_venue: OutletSpec { slots, ..OutletSpec::default() },
        ..Scene::until(until)
    }
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let machine =
        |expect| Expectation::Machine { arm: "growing", machine: "pacing", scope: ORDERS, expect };
    let whole = |arm, watch, is| figure(arm, Figure::Whole(watch), is);
    vec![
        whole("10 us", "rest p99, ns", Is::AtMost(10_100.0)),
        whole("100 us", "rest p99, ns", Is::AtLeast(90_000.0)),
        whole("1 ms", "rest p99, ns", Is::AtLeast(900_000.0)),
        whole("10 us", "BI excess", Is::Below(1.5)),
        whole("1 ms", "BI excess", Is::AtLeast(3.0)),
        machine(Expect::Enters("PACING_LIMITED", SHORT, LONG)),
        machine(Expect::Enters("BURST_RELEASED", LONG, OVER)),
        machine(Expect::Order(&[
            "PACING_LIMITED",
            "BURST_RELEASED",
            "PACING_LIMITED",
            "CLEAN_FLOW",
        ])),
        machine(Expect::Returns(ms(12_000))),
        figure("growing", Figure::Highest(BACKPRESSURE, START, SHORT), Is::Exactly(0.0)),
        figure("growing", Figure::Highest(BACKPRESSURE, SHORT, LONG), Is::Exactly(1.0)),
        figure("growing", Figure::Highest(BACKPRESSURE, ms(12_000), END), Is::Exactly(0.0)),
        figure("growing", Figure::Fact("received_missing"), Is::Exactly(0.0)),
        figure("growing", Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let figure = |watch, is| Expectation::Figure { arm: TWIN, figure: Figure::Whole(watch), is };
    vec![
        Expectation::Machine { arm: TWIN, machine: "pacing", scope: ORDERS, expect: Expect::Stays },
        // The wheel rounds up to a slot of its own, and no further.
        figure("rest p99, ns", Is::AtMost(1_024.0)),
        figure("BI excess", Is::Below(1.5)),
    ]
}
