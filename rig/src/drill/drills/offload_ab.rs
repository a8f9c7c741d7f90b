//! Super-frames that the device cuts on the wire, and the same that are cut here and paced segment by
//! segment.

use model::time::Nanos;

use crate::drill::outlet::OutletSpec;
use crate::drill::tcp::Stream;
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const ORDERS: &str = "class:orders";
const END: Nanos = ms(3_000);
/// A super-frame every 4 ms, of so many segments.
const EVERY: Nanos = Nanos::from_millis(4);
const SEGMENTS: u16 = 4;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "offload-ab",
    playbook: "001",
    injects: "TCP super-frames of four segments, cut by the device (posture hardware) and cut by the gateway \
        (posture software)",
    must_show: "SBF and WST95 are lower where the gateway cuts and paces; frames that need no cutting differ \
        in nothing",
    config: include_str!("../../../../configs/drills/offload-ab.toml"),
    usual: &[],
    watches: &[
        Watch { name: "SBF", scope: ORDERS, input: "segmentation_burst_factor.factor" },
        Watch { name: "WST p95, ns", scope: ORDERS, input: "wire_serialization_ns.p95" },
        Watch { name: "burst p95, bytes", scope: ORDERS, input: "burst_bytes.p95" },
    ],
    arms: &["hardware", "software", "whole, software"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    let whole = [TWIN, "whole, software"].contains(&arm);
    let mark = Mark { what: "super-frames".to_owned(), from: START, to: END };
    let (inside, venue): (Box<dyn crate::drill::peer::Peer>, Box<dyn crate::drill::peer::Peer>) =
        if whole {
            let plan = Plan::new(0).steady((START, END), Nanos::from_millis(1), 0, 1_000);
            (Box::new(Sender::new(Way::ToVenue, plan)), Box::new(Receiver::default()))
        } else {
            let stream = Stream::new((START, END), EVERY, SEGMENTS);
            (Box::new(stream), Box::new(Receiver::default()))
        };
    Scene {
        inside,
        venue,
        to_venue: OutletSpec { cuts_frames: true, ..OutletSpec::default() },
        profile: arm.ends_with("software").then_some("software"),
        marks: (!whole).then_some(mark).into_iter().collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let ratio = |figure, is| Expectation::Ratio {
        of: ("software", Figure::Whole(figure)),
        to: ("hardware", Figure::Whole(figure)),
        is,
    };
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    vec![
        figure("hardware", Figure::Whole("WST p95, ns"), Is::AtLeast(20_000.0)),
        ratio("SBF", Is::AtMost(0.6)),
        ratio("WST p95, ns", Is::AtMost(0.1)),
        ratio("burst p95, bytes", Is::AtMost(0.3)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let same = |figure| Expectation::Ratio {
        of: (TWIN, Figure::Whole(figure)),
        to: ("whole, software", Figure::Whole(figure)),
        is: Is::Exactly(1.0),
    };
    vec![same("SBF"), same("burst p95, bytes")]
}
