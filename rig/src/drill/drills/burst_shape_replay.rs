//! Frames that reach the wire together, as one super-frame of growing size: first four of a train, then the
//! whole train.

use model::time::Nanos;

use crate::drill::model::slots::Slots;
use crate::drill::outlet::OutletSpec;
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
const SMALL: Nanos = ms(2_000);
const LARGE: Nanos = ms(5_000);
const OVER: Nanos = ms(8_000);
const END: Nanos = ms(13_000);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "burst-shape-replay",
    playbook: "001",
    injects: "trains of 16 frames, 125 us apart, that the device puts on the wire four at a time, then all at \
        once",
    must_show: "WIRE_CLEAN, BURSTING, DEPHASED in this order, and back",
    config: include_str!("../../../../configs/drills/burst-shape-replay.toml"),
    usual: &[(ORDERS, "wire_serialization_ns.p95", 5_000.0)],
    watches: &[
        Watch { name: "SBF", scope: ORDERS, input: "segmentation_burst_factor_at_normal.factor" },
        Watch { name: "WST p95, ns", scope: ORDERS, input: "wire_serialization_ns_at_normal.p95" },
        Watch { name: "CPE", scope: ORDERS, input: "cadence_phase_error_at_normal.p95" },
        Watch {
            name: "release error p95, ns",
            scope: ORDERS,
            input: "release_error_ns_at_normal[late].p95",
        },
    ],
    arms: &["growing bursts"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let slots = |us| Slots { slot: Nanos::from_micros(us) };
    let slots = match arm {
        TWIN => Vec::new(),
        _ => vec![((SMALL, LARGE), slots(500)), ((LARGE, OVER), slots(2_000))],
    };
    let train = Nanos::from_millis(4);
    let plan = (0..16).fold(Plan::new(0), |plan, n| {
        let from = START.saturating_add(Nanos(1_000 + n * 125_000));
        plan.steady((from, END), train, 0, 1_000)
    });
    let names = ["bursts of 4", "bursts of 16"].into_iter();
    let marks = names.zip(&slots).map(|(what, ((from, to), _))| Mark {
        what: what.to_owned(),
        from: *from,
        to: *to,
    });
    Scene {
        marks: marks.collect(),
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        to_venue: OutletSpec { slots, ..OutletSpec::default() },
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let arm = "growing bursts";
    let machine =
        |expect| Expectation::Machine { arm, machine: "segmentation", scope: ORDERS, expect };
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    vec![
        machine(Expect::Enters("BURSTING", SMALL, LARGE)),
        machine(Expect::Enters("DEPHASED", LARGE, OVER)),
        machine(Expect::Order(&["BURSTING", "DEPHASED", "BURSTING", "WIRE_CLEAN"])),
        machine(Expect::Returns(ms(12_000))),
        figure(Figure::Median("SBF", ms(3_500), LARGE), Is::AtLeast(2.0)),
        Expectation::Ratio {
            of: (arm, Figure::Median("WST p95, ns", ms(6_500), OVER)),
            to: (arm, Figure::Median("WST p95, ns", ms(3_500), LARGE)),
            is: Is::AtLeast(2.0),
        },
        figure(Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let expect = Expect::Stays;
    vec![Expectation::Machine { arm: TWIN, machine: "segmentation", scope: ORDERS, expect }]
}
