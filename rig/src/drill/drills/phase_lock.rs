//! Flows whose emission falls together with their refill beat in step; seeded jitter takes them apart, later
//! and never earlier, and never beyond the envelope.

use model::time::Nanos;

use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expectation, Figure, Is, Mark, Pin, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
/// The jitter is in force, and windows of a second are of it alone.
const SETTLED: Nanos = ms(2_500);
const END: Nanos = ms(3_500);
const FLOWS: u16 = 40;
const PERIOD: Nanos = Nanos::from_millis(1);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "phase-lock",
    playbook: "000 004",
    injects: "forty flows that emit at the moment at which their buckets have refilled; the same under \
        `anti_burst` with a jitter of 700 us",
    must_show: "BI falls by the jitter, the envelope holds, and the same seed gives the same departures; in \
        the twin the flows are out of step, and there is nothing to take apart",
    config: include_str!("../../../../configs/drills/phase-lock.toml"),
    usual: &[],
    watches: &[
        Watch { name: "BI", scope: ORDERS, input: "burstiness_index.bi" },
        Watch { name: "peak to mean", scope: ORDERS, input: "burstiness_index.peak_to_mean" },
        Watch { name: "BI excess", scope: ORDERS, input: "burstiness_index.excess" },
        Watch { name: "envelope", scope: ORDERS, input: "segmentation_burst_factor.envelope" },
    ],
    arms: &["in step", "jitter", "jitter again"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let apart = if arm == TWIN { PERIOD.0 / u64::from(FLOWS) } else { 0 };
    let plan = (0..FLOWS).fold(Plan::new(0), |plan, flow| {
        let from = START.saturating_add(Nanos(apart * u64::from(flow)));
        plan.steady((from, END), PERIOD, flow, 200)
    });
    let (machine, state) = ("pacing", "BURST_RELEASED");
    let pin = Pin { from: START, length: END - START, machine, scope: ORDERS, state };
    let mark = Mark { what: "in step".to_owned(), from: START, to: END };
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::default()),
        pins: if arm.starts_with("jitter") { vec![pin] } else { Vec::new() },
        marks: (arm != TWIN).then_some(mark).into_iter().collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let ratio = |of, to, is| Expectation::Ratio { of, to, is };
    let bi = Figure::Median("BI", SETTLED, END);
    let digest = Figure::Fact("received_digest");
    vec![
        ratio(("jitter", bi), ("in step", bi), Is::AtMost(0.8)),
        figure("in step", Figure::Whole("BI excess"), Is::Exactly(1.0)),
        figure("jitter", Figure::Whole("envelope"), Is::AtMost(1.0)),
        figure("in step", Figure::Whole("envelope"), Is::AtMost(1.0)),
        figure("jitter", Figure::Fact("received_out_of_order"), Is::Exactly(0.0)),
        ratio(("jitter", digest), ("jitter again", digest), Is::Exactly(1.0)),
        // Which one is that of somebody else's departures.
        ratio(("in step", digest), ("jitter", digest), Is::Not(1.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let figure = |figure, is| Expectation::Figure { arm: TWIN, figure, is };
    let bi = Figure::Whole("BI");
    vec![
        figure(Figure::Whole("BI excess"), Is::Exactly(1.0)),
        Expectation::Ratio { of: (TWIN, bi), to: ("in step", bi), is: Is::AtMost(0.5) },
    ]
}
