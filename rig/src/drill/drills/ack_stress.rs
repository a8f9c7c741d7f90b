//! Acknowledgements that come in clumps, then late and for several segments at once, in quick turns, while the
//! device takes nothing for half of the time: one state for as long as it lasts, no to and fro, and what has
//! piled up leaves damped.

use model::time::Nanos;

use crate::drill::model::acks::{AckPeer, Acks};
use crate::drill::outlet::{OutletSpec, Span, repeated};
use crate::drill::tcp::Stream;
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
const FROZEN: Nanos = ms(2_500);
const STRESS: Nanos = ms(3_000);
/// Windows of a second are of BURSTING alone.
const DAMPED: Nanos = ms(6_000);
const OVER: Nanos = ms(8_000);
const END: Nanos = ms(12_000);
/// Compressed and delayed take turns so often.
const TURN_MS: u64 = 500;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "ack-stress",
    playbook: "001",
    injects: "acknowledgements compressed by eights and delayed by fours, in turns of 500 ms, behind a device \
        that takes nothing for half of each 4 ms",
    must_show: "ACR rises and BURSTING is entered once; it lasts as long as the bursts do, with two \
        transitions in all, and the bursts are damped by `smooth`; with prompt acknowledgements the same bursts \
        enter nothing",
    config: include_str!("../../../../configs/drills/ack-stress.toml"),
    // Bursts of eight segments are usual there: they alone are no reason.
    usual: &[(ORDERS, "wire_serialization_ns.p95", 100_000.0)],
    watches: &[
        Watch { name: "ACR", scope: ORDERS, input: "ack_compression_ratio.ratio" },
        Watch { name: "SBF", scope: ORDERS, input: "segmentation_burst_factor.factor" },
        Watch {
            name: "SBF at normal",
            scope: ORDERS,
            input: "segmentation_burst_factor_at_normal.factor",
        },
        Watch { name: "wire to ack p95, ns", scope: ORDERS, input: "wire_to_ack_ns.p95" },
    ],
    arms: &["stressed"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let turns = (OVER - STRESS).0 / (TURN_MS * 1_000_000);
    let turn = |n: u64| -> (Span, Acks) {
        let from = STRESS.saturating_add(Nanos::from_millis(n * TURN_MS));
        let acks = if n.is_multiple_of(2) { Acks::Compressed(8) } else { Acks::Delayed(4) };
        ((from, from.saturating_add(Nanos::from_millis(TURN_MS))), acks)
    };
    let phases: Vec<_> = match arm {
        TWIN => Vec::new(),
        _ => (0..turns).map(turn).collect(),
    };
    let mark = |((from, to), acks): &(Span, Acks)| Mark {
        what: match acks {
            Acks::Compressed(_) => "compressed".to_owned(),
            Acks::Delayed(_) => "delayed".to_owned(),
        },
        from: *from,
        to: *to,
    };
    Scene {
        marks: phases.iter().map(mark).collect(),
        inside: Box::new(Stream::new((START, END), Nanos::from_micros(250), 1)),
        venue: Box::new(AckPeer::new(phases)),
        to_venue: OutletSpec {
            link_bits_per_s: Some(1_000_000_000),
            closed: repeated((STRESS, OVER), Nanos::from_millis(4), Nanos::from_millis(2)),
            ..OutletSpec::default()
        },
        freeze_acks: Some(FROZEN),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let arm = "stressed";
    let machine =
        |expect| Expectation::Machine { arm, machine: "segmentation", scope: ORDERS, expect };
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    vec![
        figure(Figure::Highest("ACR", FROZEN, STRESS), Is::Below(2.0)),
        figure(Figure::Lowest("ACR", ms(4_100), OVER), Is::AtLeast(2.0)),
        machine(Expect::Enters("BURSTING", STRESS, ms(5_000))),
        machine(Expect::TransitionsAtMost(2)),
        machine(Expect::Returns(ms(11_000))),
        Expectation::Ratio {
            of: (arm, Figure::Median("SBF", DAMPED, OVER)),
            to: (TWIN, Figure::Median("SBF", DAMPED, OVER)),
            is: Is::AtMost(0.5),
        },
        Expectation::Ratio {
            of: (arm, Figure::Highest("ACR", ms(4_100), OVER)),
            to: (TWIN, Figure::Highest("ACR", ms(4_100), OVER)),
            is: Is::AtLeast(2.0),
        },
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let expect = Expect::Stays;
    vec![
        Expectation::Machine { arm: TWIN, machine: "segmentation", scope: ORDERS, expect },
        // The bursts are there, too.
        Expectation::Figure {
            arm: TWIN,
            figure: Figure::Highest("SBF", STRESS, OVER),
            is: Is::AtLeast(2.0),
        },
    ]
}
