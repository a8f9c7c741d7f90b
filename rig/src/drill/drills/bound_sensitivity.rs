//! The bounds of a limit that moves by itself, from one frame to two batches, and a bound that is changed
//! for a while and put back.

use model::time::Nanos;

use super::bursts::{BATCH, FRAME, device, traffic};
use crate::drill::model::adaptive_limit::{AdaptiveLimit, Bounds};
use crate::drill::traffic::{Receiver, Sender, Way};
use crate::drill::{
    Adaptive, Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms,
};

const QUEUE: &str = "tx_queue:venue-a";
/// The bound is changed ...
const CHANGED: Nanos = ms(3_000);
/// ... and put back.
const RESTORED: Nanos = ms(6_000);
const END: Nanos = ms(9_000);
/// An arm with bounds that stay.
const ARM_END: Nanos = ms(4_000);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "bound-sensitivity",
    playbook: "002",
    injects: "limit_min of an adaptive limit at 1, 4, 8 and 16 frames under bursts, where the device tells of \
        8 frames at once; then a limit_min of 8 that is 1 for three seconds",
    must_show: "stalls and a broken cadence below 8 frames and none from there on; with the old bound \
        restored both are as before",
    config: include_str!("../../../../configs/drills/bound-sensitivity.toml"),
    usual: &[(QUEUE, "wire_cadence_variability_ns.p95", 20_000.0)],
    watches: &[
        Watch { name: "stalls/s", scope: QUEUE, input: "tx_stall_rate.rate" },
        Watch { name: "starvations/s", scope: QUEUE, input: "tx_stall_rate.starvation_rate" },
        Watch {
            name: "cadence variability p99, ns",
            scope: "class:orders",
            input: "wire_cadence_variability_ns.p99",
        },
    ],
    arms: &["restored", "min 1", "min 4", "min 8", "min 16"],
    scene,
    expect,
    expect_of_twin,
};

fn bounds(frames: u64) -> Bounds {
    Bounds { min_bytes: frames * FRAME, max_bytes: 16 * FRAME, hold: Nanos::from_millis(100) }
}

fn scene(arm: &'static str, _: u64) -> Scene {
    let safe = u64::from(BATCH);
    let (frames, changes) = match arm {
        "min 1" => (1, Vec::new()),
        "min 4" => (4, Vec::new()),
        "min 16" => (16, Vec::new()),
        "restored" => (safe, vec![(CHANGED, bounds(1)), (RESTORED, bounds(safe))]),
        _ => (safe, Vec::new()),
    };
    let until = if arm == "restored" { END } else { ARM_END };
    let mark = Mark { what: "limit_min of 1".to_owned(), from: CHANGED, to: RESTORED };
    let limit = AdaptiveLimit::new(bounds(frames), FRAME, START);
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, traffic(START, until))),
        venue: Box::new(Receiver::default()),
        to_venue: device(),
        limit: Some(Adaptive { limit, changes }),
        marks: (arm == "restored").then_some(mark).into_iter().collect(),
        ..Scene::until(until)
    }
}

fn expect() -> Vec<Expectation> {
    const CADENCE: &str = "cadence variability p99, ns";
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let ratio = |of, to, is| Expectation::Ratio { of, to, is };
    let arm = "restored";
    // A second of the window, and the time in which the limit falls.
    let settled = |at: Nanos| at.saturating_add(Nanos::from_millis(1_500));
    vec![
        figure("min 1", Figure::Whole("stalls/s"), Is::Above(0.0)),
        figure("min 4", Figure::Whole("stalls/s"), Is::Above(0.0)),
        ratio(
            ("min 1", Figure::Whole("stalls/s")),
            ("min 4", Figure::Whole("stalls/s")),
            Is::Above(1.0),
        ),
        figure("min 8", Figure::Whole("stalls/s"), Is::Exactly(0.0)),
        figure("min 16", Figure::Whole("stalls/s"), Is::Exactly(0.0)),
        ratio(
            ("min 1", Figure::Whole("starvations/s")),
            ("min 16", Figure::Whole("starvations/s")),
            Is::Above(1.0),
        ),
        figure("min 1", Figure::Whole(CADENCE), Is::AtLeast(100_000.0)),
        figure("min 8", Figure::Whole(CADENCE), Is::AtMost(20_000.0)),
        figure(arm, Figure::Highest("stalls/s", START, CHANGED), Is::Exactly(0.0)),
        figure(arm, Figure::Lowest("stalls/s", settled(CHANGED), RESTORED), Is::Above(0.0)),
        figure(arm, Figure::Highest("stalls/s", settled(RESTORED), END), Is::Exactly(0.0)),
        figure(arm, Figure::Lowest(CADENCE, settled(CHANGED), RESTORED), Is::AtLeast(100_000.0)),
        figure(arm, Figure::Highest(CADENCE, settled(RESTORED), END), Is::AtMost(20_000.0)),
        Expectation::Machine {
            arm,
            machine: "byte_queue",
            scope: QUEUE,
            expect: Expect::Enters("BQL_SAFE_CONTAIN", CHANGED, RESTORED),
        },
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let expect = Expect::Stays;
    vec![
        Expectation::Machine { arm: TWIN, machine: "byte_queue", scope: QUEUE, expect },
        Expectation::Figure { arm: TWIN, figure: Figure::Whole("stalls/s"), is: Is::Exactly(0.0) },
    ]
}
