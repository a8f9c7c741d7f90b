//! Completions withheld for rising times: nothing up to the threshold, an alarm beyond it, containment
//! when it happens again and again, and the way back.

use model::time::Nanos;

use crate::drill::outlet::{Completions, OutletSpec, Span};
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const MACHINE: &str = "byte_queue";
const SCOPE: &str = "tx_queue:venue-a";
const END: Nanos = ms(23_000);
/// Below the threshold of 5 ms ...
const SHORT: Span = (ms(2_000), ms(2_004));
/// ... beyond it, once ...
const FIRST: Span = (ms(4_000), ms(4_008));
/// ... and again and again, the last time under containment.
const REPEATED: [Span; 3] =
    [(ms(5_500), ms(5_510)), (ms(6_500), ms(6_515)), (ms(8_500), ms(8_530))];

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "stall-threshold",
    playbook: "002",
    injects: "completions withheld for 4, 8, 10, 15 and 30 ms; a stall begins at 5 ms",
    must_show: "no stall below the threshold; BQL_STALLING at the first, BQL_SAFE_CONTAIN when stalls \
        repeat, with a quarter of the in-flight limit; BQL_STABLE again after 10 s without one",
    config: include_str!("../../../../configs/drills/stall-threshold.toml"),
    usual: &[(SCOPE, "wire_cadence_variability_ns.p95", 50_000.0)],
    watches: &[
        Watch { name: "stalls/s", scope: SCOPE, input: "tx_stall_rate.rate" },
        Watch { name: "bytes in flight", scope: SCOPE, input: "tx_queue_occupancy[bytes].max" },
        Watch {
            name: "cadence variability p95, ns",
            scope: SCOPE,
            input: "wire_cadence_variability_ns.p95",
        },
        Watch {
            name: "in-flight oscillation",
            scope: SCOPE,
            input: "limit_oscillation_score[in_flight].inflight_oscillation",
        },
    ],
    arms: &["withheld"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let withheld: Vec<Span> = match arm {
        TWIN => Vec::new(),
        _ => [SHORT, FIRST].into_iter().chain(REPEATED).collect(),
    };
    let mark = |(from, to): &Span| Mark { what: "withheld".to_owned(), from: *from, to: *to };
    let plan = Plan::new(0).bursts((START, END), Nanos::from_millis(1), 4, 0, 200);
    Scene {
        marks: withheld.iter().map(mark).collect(),
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        to_venue: OutletSpec {
            link_bits_per_s: Some(1_000_000_000),
            completions: Some(Completions { batch: 1, after: Nanos::ZERO }),
            withheld,
            ..OutletSpec::default()
        },
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let arm = "withheld";
    let machine = |expect| Expectation::Machine { arm, machine: MACHINE, scope: SCOPE, expect };
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    vec![
        figure(Figure::Highest("stalls/s", START, FIRST.0), Is::Exactly(0.0)),
        machine(Expect::Enters("BQL_STALLING", FIRST.0, ms(4_400))),
        machine(Expect::Order(&["BQL_STALLING", "BQL_SAFE_CONTAIN", "BQL_STALLING", "BQL_SWING"])),
        machine(Expect::Enters("BQL_SAFE_CONTAIN", REPEATED[1].0, ms(6_900))),
        // A quarter of the in-flight limit.
        figure(Figure::Highest("bytes in flight", REPEATED[2].0, ms(8_600)), Is::AtMost(16_384.0)),
        // The last stall, 10 s without one, and two steps more.
        machine(Expect::Returns(ms(22_000))),
        figure(Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
        figure(Figure::Fact("received_missing"), Is::Exactly(0.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    vec![Expectation::Machines { arm: TWIN, expect: Expect::Stays }]
}
