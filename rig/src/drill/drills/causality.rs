//! Acknowledgements of orders that are held back behind market data which came after them: a strategy
//! sees the market move before it learns what it has done itself.

use model::time::Nanos;

use crate::drill::model::reactive::{Reaction, Reactor, Strategy, Trigger};
use crate::drill::model::rx_hold::{Coalescing, Hold};
use crate::drill::traffic::{PORT_FIRST, Plan, Sender, Way};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const MACHINE: &str = "delivery";
const SCOPE: &str = "feed:feed";
const ARM: &str = "held back";
/// UDP port of the acknowledgements.
const ACKS: u16 = PORT_FIRST + 1;
const HELD: (Nanos, Nanos) = (ms(2_000), ms(5_000));
/// A minute without drift, and three states down.
const RETURNS: Nanos = ms(70_000);
const END: Nanos = ms(72_000);

const DRIFT: &str = "causality drift";
const SIGNAL_WEIGHT: &str = "signal weight";

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "causality",
    playbook: "004",
    injects: "acknowledgements from the venue held back for 800 us, behind market data that came later",
    must_show: "DCCD over its bound, SAFE_PACING, and half the weight for signals in the advice until a \
        minute has passed without drift",
    config: include_str!("../../../../configs/drills/causality.toml"),
    usual: &[],
    watches: &[
        Watch { name: DRIFT, scope: "tx_queue:strategies", input: "causality_drift.drift" },
        Watch { name: SIGNAL_WEIGHT, scope: SCOPE, input: "advice.signal_weight" },
        Watch {
            name: "decision burst coupling",
            scope: SCOPE,
            input: "decision_burst_coupling.excess",
        },
    ],
    arms: &[ARM],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, seed: u64) -> Scene {
    let holds = [
        Hold { from: HELD.0, frames: 64, time: Nanos::from_micros(800) },
        Hold { from: HELD.1, frames: 1, time: Nanos::ZERO },
    ];
    let fault = arm != TWIN;
    // Updates, two at a time, 2 ms apart on average; acknowledgements about each 5 ms.
    let every = Nanos::from_millis(5);
    let plan = Plan::new(seed).uneven((START, END), Nanos::from_millis(2), 2, 0, 200).jittered(
        (START, END),
        every,
        every,
        1,
        120,
    );
    let venue = Sender::new(Way::FromVenue, plan);
    let think = Nanos::from_micros(20);
    let strategy = Strategy::new(Reaction { trigger: Trigger::Every(10), think }, seed);
    Scene {
        inside: Box::new(Reactor::new(strategy, PORT_FIRST)),
        venue: Box::new(Coalescing::new(venue, ACKS, if fault { holds.into() } else { vec![] })),
        marks: if fault {
            vec![Mark { what: "held back".to_owned(), from: HELD.0, to: HELD.1 }]
        } else {
            Vec::new()
        },
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let machine =
        |expect| Expectation::Machine { arm: ARM, machine: MACHINE, scope: SCOPE, expect };
    let figure = |figure, is| Expectation::Figure { arm: ARM, figure, is };
    vec![
        figure(Figure::Highest(DRIFT, HELD.0, HELD.1), Is::AtLeast(0.05)),
        machine(Expect::Enters("SAFE_PACING", HELD.0, ms(4_500))),
        figure(Figure::Lowest(SIGNAL_WEIGHT, START, HELD.0), Is::Exactly(1.0)),
        figure(Figure::Highest(SIGNAL_WEIGHT, HELD.1, ms(60_000)), Is::Exactly(0.5)),
        machine(Expect::Returns(RETURNS)),
        figure(Figure::Lowest(SIGNAL_WEIGHT, RETURNS, END), Is::Exactly(1.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let figure = |figure, is| Expectation::Figure { arm: TWIN, figure, is };
    vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        figure(Figure::Highest(DRIFT, START, END), Is::Exactly(0.0)),
        figure(Figure::Lowest(SIGNAL_WEIGHT, START, END), Is::Exactly(1.0)),
    ]
}
