//! Urgent orders under one static cap for all tactics, and under a cap of each tactic.

use model::time::Nanos;

use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Drill, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const SPIKE: Nanos = ms(2_000);
const OVER: Nanos = ms(4_000);
const END: Nanos = ms(6_000);
/// Passive flows: with so many an urgent one that sends 6 Mbit/s has more than its fair share of 20.
const PASSIVE: u16 = 8;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "tactic-caps",
    playbook: "000",
    injects: "eight passive flows at 16 Mbit/s and, for two seconds, an urgent one at 6 instead of 1: under one cap of \
        20 Mbit/s, then under 12 for the passive and 8 for the urgent",
    must_show: "under the static cap urgent orders wait and the class has no headroom; under caps by tactic \
        their p99 and headroom recover",
    config: include_str!("../../../../configs/drills/tactic-caps.toml"),
    usual: &[],
    watches: &[
        Watch {
            name: "headroom, static",
            scope: "class:all-tactics",
            input: "pacing_headroom.of_class",
        },
        Watch {
            name: "headroom, urgent",
            scope: "class:urgent",
            input: "pacing_headroom.of_class",
        },
        Watch {
            name: "held, static",
            scope: "class:all-tactics",
            input: "dispatch_to_wire_ns[hold].p99",
        },
        Watch {
            name: "held, urgent",
            scope: "class:urgent",
            input: "dispatch_to_wire_ns[hold].p99",
        },
    ],
    arms: &["static cap", "cap by tactic"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, _: u64) -> Scene {
    // Which class a flow is of goes by its port.
    let first = if arm == "cap by tactic" { 10 } else { 0 };
    let urgent = first + PASSIVE;
    // 224 wire bytes: 2 Mbit/s are one in 896 us, 1 one in 1,792 us, 6 one in 299 us.
    let (quiet, spike) = (Nanos(1_792_000), Nanos(if arm == TWIN { 1_792_000 } else { 298_667 }));
    let passive = (0..PASSIVE).fold(Plan::new(0), |plan, n| {
        let from = START.saturating_add(Nanos::from_micros(112 * u64::from(n)));
        plan.steady((from, END), Nanos::from_micros(896), first + n, 200)
    });
    let plan = passive
        .steady((START, SPIKE), quiet, urgent, 200)
        .steady((SPIKE, OVER), spike, urgent, 200)
        .steady((OVER, END), quiet, urgent, 200);
    let mark = Mark { what: "urgency".to_owned(), from: SPIKE, to: OVER };
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, plan)),
        venue: Box::new(Receiver::of_flow(urgent)),
        marks: (arm != TWIN).then_some(mark).into_iter().collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let during = ms(3_000);
    let p99 = Figure::Fact("latency_p99_us");
    vec![
        figure("static cap", p99, Is::AtLeast(50_000.0)),
        figure("static cap", Figure::Highest("headroom, static", during, OVER), Is::AtMost(0.05)),
        figure("cap by tactic", p99, Is::AtMost(1_000.0)),
        figure(
            "cap by tactic",
            Figure::Lowest("headroom, urgent", during, OVER),
            Is::AtLeast(0.15),
        ),
        Expectation::Ratio {
            of: ("static cap", p99),
            to: ("cap by tactic", p99),
            is: Is::AtLeast(50.0),
        },
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let figure = |figure, is| Expectation::Figure { arm: TWIN, figure, is };
    vec![
        figure(Figure::Fact("latency_p99_us"), Is::AtMost(1_000.0)),
        figure(Figure::Lowest("headroom, static", ms(3_000), OVER), Is::AtLeast(0.1)),
    ]
}
