//! Super-frames that the device cuts on the wire, and the same that are cut here and paced segment by
//! segment.

use model::time::Nanos;

use crate::drill::outlet::OutletSpec;
use crate::drill::tcp::{Stream, Tap};
use crate::drill::{Drill, Expectation, Figure, Is, Mark, Pin, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
/// The posture is in force from the first tick on, before anything is sent.
const FROM: Nanos = ms(500);
const END: Nanos = ms(3_500);
/// A super-frame every 4 ms, of so many segments.
const EVERY: Nanos = Nanos::from_millis(4);
const SEGMENTS: u16 = 4;
/// Of the link, bits per second.
const LINK: u64 = 1_000_000_000;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "offload-ab",
    playbook: "001",
    injects: "TCP super-frames of four segments, cut by the device (posture hardware) and cut by the gateway \
        under `smooth` (posture software)",
    must_show: "SBF, and WST95 on a tap at the venue, are lower where the gateway cuts and paces; frames that need no cutting differ \
        in nothing",
    config: include_str!("../../../../configs/drills/offload-ab.toml"),
    usual: &[],
    watches: &[
        Watch { name: "SBF", scope: ORDERS, input: "segmentation_burst_factor.factor" },
        Watch { name: "WST p95, ns", scope: ORDERS, input: "wire_serialization_ns.p95" },
        Watch { name: "burst p95, bytes", scope: ORDERS, input: "burst_bytes.p95" },
    ],
    arms: &["hardware", "software", "single, software"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    // The same bytes, in frames that need no cutting.
    let whole = [TWIN, "single, software"].contains(&arm);
    let (every, segments) =
        if whole { (Nanos(EVERY.0 / u64::from(SEGMENTS)), 1) } else { (EVERY, SEGMENTS) };
    let (machine, state) = ("segmentation", "BURSTING");
    let pin = Pin { from: START, length: END - START, machine, scope: ORDERS, state };
    let mark = Mark { what: "super-frames".to_owned(), from: FROM, to: END };
    Scene {
        inside: Box::new(Stream::new((FROM, END), every, segments)),
        venue: Box::new(Tap::new(LINK)),
        to_venue: OutletSpec { cuts_frames: true, ..OutletSpec::default() },
        pins: if arm.ends_with("software") { vec![pin] } else { Vec::new() },
        marks: (!whole).then_some(mark).into_iter().collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let (wst, window) = (Figure::Fact("tap_wst_p95_ns"), Figure::Fact("tap_window_bytes_max"));
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let ratio =
        |figure, is| Expectation::Ratio { of: ("software", figure), to: ("hardware", figure), is };
    let segments = Figure::Fact("tap_segments");
    vec![
        ratio(segments, Is::Exactly(1.0)),
        // Three segments ahead of the fourth, each of 1,538 wire bytes.
        figure("hardware", wst, Is::Exactly(36_912.0)),
        figure("software", wst, Is::Exactly(0.0)),
        // Due is a super-frame in a window; on the wire it is a segment.
        ratio(window, Is::AtMost(0.26)),
        figure("software", Figure::Whole("SBF"), Is::AtMost(0.5)),
        figure("hardware", Figure::Whole("SBF"), Is::Exactly(1.0)),
        ratio(Figure::Whole("burst p95, bytes"), Is::AtMost(0.3)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let same = |figure| Expectation::Ratio {
        of: (TWIN, figure),
        to: ("single, software", figure),
        is: Is::Exactly(1.0),
    };
    vec![
        same(Figure::Fact("tap_window_bytes_max")),
        same(Figure::Whole("burst p95, bytes")),
        Expectation::Figure {
            arm: TWIN,
            figure: Figure::Fact("tap_wst_p95_ns"),
            is: Is::Exactly(0.0),
        },
    ]
}
