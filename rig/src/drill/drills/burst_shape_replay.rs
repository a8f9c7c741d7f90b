//! Frames that reach the wire together, as one super-frame of growing size, because the device takes nothing
//! for a while: first four of a train, then the whole train. What has piled up leaves at once, or as far apart
//! as its rate asks.

use model::config::StartMode;
use model::time::Nanos;

use crate::drill::outlet::{OutletSpec, repeated};
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
    injects: "trains of 16 frames, 125 us apart, to a device that takes nothing for half of each millisecond, then \
        for half of each 4 ms: on the wire they are bursts of 4, then of 16",
    must_show: "with the table as confirmed WIRE_CLEAN, BURSTING, DEPHASED in this order, and back; under `smooth`, \
        which BURSTING asks for, bursts on the wire are half as long, and DEPHASED is never reached",
    config: include_str!("../../../../configs/drills/burst-shape-replay.toml"),
    usual: &[(ORDERS, "wire_serialization_ns.p95", 5_000.0)],
    watches: &[
        Watch { name: "SBF", scope: ORDERS, input: "segmentation_burst_factor.factor" },
        Watch {
            name: "SBF at normal",
            scope: ORDERS,
            input: "segmentation_burst_factor_at_normal.factor",
        },
        Watch { name: "WST p95, ns", scope: ORDERS, input: "wire_serialization_ns.p95" },
        Watch {
            name: "WST p95 at normal, ns",
            scope: ORDERS,
            input: "wire_serialization_ns_at_normal.p95",
        },
        Watch { name: "CPE", scope: ORDERS, input: "cadence_phase_error_at_normal.p95" },
        Watch {
            name: "release error p95, ns",
            scope: ORDERS,
            input: "release_error_ns_at_normal[late].p95",
        },
    ],
    arms: &["as confirmed", "smooth"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let closed = |span, every_us, length_us| {
        repeated(span, Nanos::from_micros(every_us), Nanos::from_micros(length_us))
    };
    let fault = arm != TWIN;
    let closed = match fault {
        true => [closed((SMALL, LARGE), 1_000, 500), closed((LARGE, OVER), 4_000, 2_000)].concat(),
        false => Vec::new(),
    };
    let train = Nanos::from_millis(4);
    let plan = (0..16).fold(Plan::new(0), |plan, n| {
        let from = START.saturating_add(Nanos(1_000 + n * 125_000));
        plan.steady((from, END), train, 0, 1_000)
    });
    let mark = |what: &str, from, to| Mark { what: what.to_owned(), from, to };
    let marks = vec![mark("bursts of 4", SMALL, LARGE), mark("bursts of 16", LARGE, OVER)];
    Scene {
        marks: if fault { marks } else { Vec::new() },
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        to_venue: OutletSpec { closed, ..OutletSpec::default() },
        mode: if arm == "as confirmed" { StartMode::Shadow } else { StartMode::Active },
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let machine =
        |arm, expect| Expectation::Machine { arm, machine: "segmentation", scope: ORDERS, expect };
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    // A second of the window after the change.
    let (small, large) = ((ms(3_500), LARGE), (ms(6_500), OVER));
    let median = |watch, (from, to)| Figure::Median(watch, from, to);
    let ratio = |of, to, is| Expectation::Ratio { of, to, is };
    let mut all = vec![
        figure("as confirmed", median("SBF", small), Is::AtLeast(2.0)),
        ratio(
            ("as confirmed", median("WST p95, ns", large)),
            ("as confirmed", median("WST p95, ns", small)),
            Is::AtLeast(2.0),
        ),
        ratio(
            ("smooth", median("SBF", large)),
            ("as confirmed", median("SBF", large)),
            Is::AtMost(0.5),
        ),
        ratio(
            ("smooth", median("WST p95, ns", large)),
            ("as confirmed", median("WST p95, ns", large)),
            Is::AtMost(0.5),
        ),
    ];
    all.extend([
        machine("as confirmed", Expect::Enters("DEPHASED", LARGE, OVER)),
        machine("as confirmed", Expect::Order(&["BURSTING", "DEPHASED", "BURSTING", "WIRE_CLEAN"])),
        // Bursts that are taken apart do not come to that.
        machine("smooth", Expect::Never("DEPHASED")),
    ]);
    for arm in ["smooth", "as confirmed"] {
        all.extend([
            machine(arm, Expect::Enters("BURSTING", SMALL, LARGE)),
            machine(arm, Expect::Returns(ms(12_000))),
            figure(arm, Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
            figure(arm, Figure::Fact("received_missing"), Is::Exactly(0.0)),
        ]);
    }
    all
}

fn expect_of_twin() -> Vec<Expectation> {
    let expect = Expect::Stays;
    vec![Expectation::Machine { arm: TWIN, machine: "segmentation", scope: ORDERS, expect }]
}
