//! What the drills of trials have in common: twenty flows of orders through a port that takes nothing for a
//! while every tenth of a second, and a change of their policy by the operator's word.

use model::config::StartMode;
use model::time::Nanos;

use crate::drill::outlet::{OutletSpec, repeated};
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{Mark, Order, Pin, START, Says, Scene, Usual, Watch, ms};

pub const SCOPE: &str = "class:orders";
pub const MACHINE: &str = "change";
/// The states of the config: the change that does good, and the one that does harm.
pub const GOOD: &str = "SHORT_BURSTS";
pub const BAD: &str = "LONG_WINDOWS";

/// Ordering groups, each with a packet every so often.
const FLOWS: u16 = 20;
const EVERY: Nanos = Nanos::from_millis(8);
const FRAME_BYTES: u16 = 1_000;
/// The port takes nothing for the first 20 of every 100 ms.
const CLOSED_EVERY: Nanos = Nanos::from_millis(100);
const CLOSED: Nanos = Nanos::from_millis(20);

pub const USUAL: &[Usual] = &[(SCOPE, "dispatch_to_wire_ns[rest].p95", 20_000_000.0)];

pub const WATCHES: &[Watch] = &[
    Watch { name: "excess, canary", scope: "canary:orders", input: "burstiness_index.excess" },
    Watch { name: "excess, control", scope: "control:orders", input: "burstiness_index.excess" },
    Watch { name: "excess, others", scope: SCOPE, input: "burstiness_index.excess" },
    Watch {
        name: "p50, canary, ns",
        scope: "canary:orders",
        input: "dispatch_to_wire_ns[total].p50",
    },
    Watch {
        name: "p50, control, ns",
        scope: "control:orders",
        input: "dispatch_to_wire_ns[total].p50",
    },
    Watch { name: "p99, others, ns", scope: SCOPE, input: "dispatch_to_wire_ns[total].p99" },
    Watch {
        name: "packets, canary",
        scope: "canary:orders",
        input: "dispatch_to_wire_ns[total].n",
    },
];

/// Figures of arms that look good whatever they are of, as from a capture that shows too little.
pub const PROMISING: Says = Says::Feed(
    &[
        ("changed", "excess", 1.0),
        ("changed", "exempt_hold_ns", 0.0),
        ("changed", "dispatch_to_wire_p50_ns", 10_000.0),
        ("changed", "dispatch_to_wire_p99_ns", 10_000.0),
        ("changed", "goodput", 1.0),
        ("control", "excess", 3.0),
        ("control", "exempt_hold_ns", 0.0),
        ("control", "dispatch_to_wire_p50_ns", 10_000.0),
        ("control", "dispatch_to_wire_p99_ns", 10_000.0),
        ("control", "goodput", 1.0),
    ],
    1.0,
);

/// What somebody outside says of outcomes and of the trial's length.
pub const OUTCOMES: Says = Says::Feed(
    &[
        ("fill_completion", "bound", 0.0),
        ("slippage_q95", "delta", 0.0),
        ("slippage_q99", "delta", 0.0),
        ("rejects", "delta", 0.0),
        ("retries", "delta", 0.0),
        ("trial", "sessions", 5.0),
        ("trial", "parents", 500.0),
        ("trial", "days", 1.0),
    ],
    600.0,
);

/// The offline replay has passed.
pub const REPLAY_PASSED: Says = Says::Feed(&[("replay", "passed", 1.0)], 600.0);

/// Orders until `end`, from `mode` on, with `orders` on the way and the machine pinned to `state` from 500 ms
/// on.
pub fn scene(
    seed: u64,
    end: Nanos,
    mode: StartMode,
    state: Option<&'static str>,
    orders: Vec<Order>,
) -> Scene {
    let plan = |plan: Plan, flow| plan.jittered((START, end), EVERY, EVERY, flow, FRAME_BYTES);
    let closed = repeated((START, end), CLOSED_EVERY, CLOSED);
    let from = ms(500);
    let pin = |state| Pin { from, length: end - from, machine: MACHINE, scope: SCOPE, state };
    let mark = |state: &str| Mark { what: state.to_owned(), from, to: end };
    Scene {
        marks: state.into_iter().map(mark).collect(),
        inside: Box::new(Sender::new(Way::ToVenue, (0..FLOWS).fold(Plan::new(seed), plan))),
        venue: Box::new(Receiver::default()),
        to_venue: OutletSpec { closed, ..OutletSpec::default() },
        pins: state.into_iter().map(pin).collect(),
        mode,
        orders,
        ..Scene::until(end)
    }
}
