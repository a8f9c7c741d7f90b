//! A change of the pacing policy for a tenth of the flows: held against as many that are left as they are,
//! and taken back when it does harm.

use model::config::StartMode;
use model::regime::Mode;
use model::time::Nanos;

use super::trial::{
    BAD, GOOD, MACHINE, OUTCOMES, PROMISING, REPLAY_PASSED, SCOPE, USUAL, WATCHES,
    scene as trial_of,
};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Order, Says, Scene, TWIN, ms};

const END: Nanos = ms(15_000);
const CANARY: Nanos = ms(2_000);
/// From here on windows of a second are of the canary alone.
const SEEN: Nanos = ms(4_000);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "pacing-canary",
    playbook: "002, 000",
    injects: "a pacing policy change on 2 of 20 flows: bursts as short as can be, or release windows of \
        60 ms; the port takes nothing for 20 of every 100 ms",
    must_show: "two flows under the change beside two without it, of the same port and time; the good \
        change lowers excess and stays, the bad one is rolled back within a second and a half of ticks",
    config: include_str!("../../../../configs/drills/pacing-canary.toml"),
    usual: USUAL,
    watches: WATCHES,
    arms: &["good", "bad"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, seed: u64) -> Scene {
    let orders = vec![
        Order { at: ms(1_000), says: REPLAY_PASSED },
        Order { at: ms(1_900), says: PROMISING },
        Order { at: ms(1_900), says: OUTCOMES },
        Order { at: CANARY, says: Says::Mode(Mode::Canary) },
    ];
    let state = match arm {
        "good" => Some(GOOD),
        "bad" => Some(BAD),
        _ => None,
    };
    trial_of(seed, END, StartMode::Shadow, state, orders)
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let fact = |arm, name, is| figure(arm, Figure::Fact(name), is);
    let median = |watch| Figure::Median(watch, SEEN, END);
    vec![
        Expectation::Machine {
            arm: "good",
            machine: MACHINE,
            scope: SCOPE,
            expect: Expect::Order(&[GOOD]),
        },
        fact("good", "canary_refused", Is::Absent),
        fact("good", "mode_at_end", Is::Exactly(2.0)),
        fact("good", "rolled_back", Is::Exactly(0.0)),
        Expectation::Ratio {
            of: ("good", median("excess, canary")),
            to: ("good", median("excess, control")),
            is: Is::Below(0.8),
        },
        // Whole groups: two of twenty, each with 125 packets a second.
        figure("good", median("packets, canary"), Is::AtLeast(240.0)),
        figure("good", median("packets, canary"), Is::AtMost(280.0)),
        fact("bad", "canary_refused", Is::Absent),
        fact("bad", "rolled_back", Is::Exactly(1.0)),
        fact("bad", "mode_at_end", Is::Exactly(1.0)),
        // Back at once: nothing is in an arm any more.
        figure("bad", Figure::Highest("packets, canary", ms(7_000), END), Is::Absent),
        fact("good", "received_out_of_order", Is::Exactly(0.0)),
        fact("bad", "received_out_of_order", Is::Exactly(0.0)),
        fact("bad", "received_missing", Is::Exactly(0.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let median = |watch| Figure::Median(watch, SEEN, END);
    let fact = |name, is| Expectation::Figure { arm: TWIN, figure: Figure::Fact(name), is };
    let ratio = |is| Expectation::Ratio {
        of: (TWIN, median("excess, canary")),
        to: (TWIN, median("excess, control")),
        is,
    };
    vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        // The same policy in both arms: no difference, and no reason to go back.
        ratio(Is::AtLeast(0.8)),
        ratio(Is::AtMost(1.25)),
        fact("rolled_back", Is::Exactly(0.0)),
        fact("mode_at_end", Is::Exactly(2.0)),
    ]
}
