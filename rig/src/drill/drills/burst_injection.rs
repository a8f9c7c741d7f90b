//! Bursts against a limit that moves by itself: in quiet it shrinks to what little is needed, and the next
//! burst finds room for less than the device tells of at once. A fixed limit of the same size is not moved.

use model::time::Nanos;

use super::bursts::{BURST_EVERY, FRAME, device, traffic};
use crate::drill::model::adaptive_limit::{AdaptiveLimit, Bounds};
use crate::drill::traffic::{Receiver, Sender, Way};
use crate::drill::{
    Adaptive, Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms,
};

const QUEUE: &str = "tx_queue:venue-a";
const BURSTS_FROM: Nanos = ms(1_000);
const END: Nanos = ms(13_000);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "burst-injection",
    playbook: "002",
    injects: "64 large frames at once every 200 ms, against a limit that adapts between 1 frame and 32 KiB, \
        and against one that is fixed at 32 KiB; the device tells of 8 frames at once or after 4 ms",
    must_show: "with the adaptive limit LOS and TSR see it and BQL_SAFE_CONTAIN is reached; with the fixed \
        one LOS stays 0 and nothing stalls",
    config: include_str!("../../../../configs/drills/burst-injection.toml"),
    usual: &[(QUEUE, "wire_cadence_variability_ns.p95", 20_000.0)],
    watches: &[
        Watch { name: "LOS", scope: QUEUE, input: "limit_oscillation_score[limit].score" },
        Watch { name: "stalls/s", scope: QUEUE, input: "tx_stall_rate.rate" },
        Watch { name: "bytes in flight", scope: QUEUE, input: "tx_queue_occupancy[bytes].max" },
    ],
    arms: &["adaptive", "fixed"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let bounds = Bounds { min_bytes: FRAME, max_bytes: 32_768, hold: Nanos::from_millis(100) };
    let adaptive =
        || Adaptive { limit: AdaptiveLimit::new(bounds, FRAME, START), changes: Vec::new() };
    let bursts_from = if arm == TWIN { END } else { BURSTS_FROM };
    let mark = Mark { what: "bursts".to_owned(), from: BURSTS_FROM, to: END };
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, traffic(bursts_from, END))),
        venue: Box::new(Receiver::default()),
        to_venue: device(),
        limit: (arm != "fixed").then(adaptive),
        marks: (arm != TWIN).then_some(mark).into_iter().collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let machine =
        |arm, expect| Expectation::Machine { arm, machine: "byte_queue", scope: QUEUE, expect };
    let first = BURSTS_FROM.saturating_add(BURST_EVERY);
    vec![
        figure("adaptive", Figure::Whole("LOS"), Is::AtLeast(0.4)),
        figure(
            "adaptive",
            Figure::Lowest("stalls/s", first.saturating_add(BURST_EVERY), END),
            Is::Above(0.0),
        ),
        machine("adaptive", Expect::Enters("BQL_SAFE_CONTAIN", BURSTS_FROM, ms(2_000))),
        figure("fixed", Figure::Whole("LOS"), Is::Exactly(0.0)),
        figure("fixed", Figure::Whole("stalls/s"), Is::Exactly(0.0)),
        machine("fixed", Expect::Stays),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let expect = Expect::Stays;
    vec![
        Expectation::Machine { arm: TWIN, machine: "byte_queue", scope: QUEUE, expect },
        Expectation::Figure { arm: TWIN, figure: Figure::Whole("stalls/s"), is: Is::Exactly(0.0) },
        Expectation::Figure { arm: TWIN, figure: Figure::Whole("LOS"), is: Is::Below(0.4) },
    ]
}
