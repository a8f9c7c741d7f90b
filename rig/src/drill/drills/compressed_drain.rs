//! Small writes that freeze and are flushed together.
//!
//! In one arm the port takes packets at longer and longer intervals, and the machine climbs. In the other
//! the port keeps small writes back to send them together, and the release windows of `anti_burst`, which
//! hand it batches, leave it nothing to keep back.

use model::time::Nanos;

use crate::drill::model::slots::Slots;
use crate::drill::outlet::{Cork, OutletSpec, Span};
use crate::drill::traffic::{Plan, Receiver, Sender, Way};
use crate::drill::{
    Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Usual, Watch, ms,
};

const MACHINE: &str = "drain";
const SCOPE: &str = "class:orders";
/// The arm in which nothing of the gateway's helps.
const FROZEN: &str = "frozen";
/// The arm that release windows cure.
const CORKED: &str = "corked";

/// Packets leave once in a ms: more waits, but a little leaves in many windows ...
const ACCUMULATES: Span = (ms(1_500), ms(4_000));
/// ... and once in 10 ms: everything leaves in a few windows.
const FREEZES: Span = (ms(4_000), ms(11_000));
const FROZEN_END: Nanos = ms(22_000);

const CORK: Span = (ms(1_000), ms(5_100));
const CORKED_END: Nanos = ms(11_500);
/// Figures of windows come a second late, and over a second. Until here the worst is seen of the cork ...
const WORST: Nanos = ms(3_000);
/// ... and here nothing but batches.
const CURED: Span = (ms(4_300), ms(5_100));
/// Windows of the twin are whole from here on.
const STEADY: Nanos = ms(2_500);

const FCI: &str = "flush compression";
const BDR: &str = "burst drain ratio";

const USUAL: &[Usual] = &[
    (SCOPE, "not_sent_bytes.p95", 100.0),
    (SCOPE, "wire_cadence_variability_ns.p95", 20_000.0),
    (SCOPE, "child_join_delay_ns.value", 100_000.0),
];

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "compressed-drain",
    playbook: "003",
    injects: "a port that takes packets once in 1 ms, then once in 10 ms; a port that keeps a small write \
        back for 10 ms and flushes",
    must_show: "SMOOTH_DRAIN, ACCUMULATION_RISK, COMPRESSED_DRAIN, CONTAINMENT in this order, and the way \
        back; micro-batch windows lower FCI and BDR to a fifth",
    config: include_str!("../../../../configs/drills/compressed-drain.toml"),
    usual: USUAL,
    watches: &[
        Watch { name: FCI, scope: SCOPE, input: "flush_compression_index.index" },
        Watch { name: BDR, scope: SCOPE, input: "burst_drain_ratio.ratio" },
        Watch {
            name: "FCI at normal",
            scope: SCOPE,
            input: "flush_compression_index_at_normal.index",
        },
        Watch { name: "BDR at normal", scope: SCOPE, input: "burst_drain_ratio_at_normal.ratio" },
        Watch { name: "CJD at normal", scope: SCOPE, input: "child_join_delay_ns_at_normal.value" },
        Watch { name: "not sent p95, bytes", scope: SCOPE, input: "not_sent_bytes.p95" },
        Watch { name: "child join delay, ns", scope: SCOPE, input: "child_join_delay_ns.value" },
        Watch {
            name: "cadence variability p95, ns",
            scope: SCOPE,
            input: "wire_cadence_variability_ns.p95",
        },
    ],
    arms: &[FROZEN, CORKED],
    scene,
    expect,
    expect_of_twin,
};

/// Four writes 20 us apart in each ms: one parent's children.
fn writes(end: Nanos) -> Plan {
    [300, 320, 340, 360].into_iter().fold(Plan::new(0), |plan, us| {
        let from = START.saturating_add(Nanos::from_micros(us));
        plan.steady((from, end), Nanos::from_millis(1), 0, 200)
    })
}

fn scene(arm: &'static str, _: u64) -> Scene {
    let slots = |span, slot| (span, Slots { slot: Nanos::from_millis(slot) });
    let mark = |what: &str, (from, to): Span| Mark { what: what.to_owned(), from, to };
    let (end, to_venue, marks) = match arm {
        FROZEN => {
            let slots = vec![slots(ACCUMULATES, 1), slots(FREEZES, 10)];
            let marks = vec![mark("once in 1 ms", ACCUMULATES), mark("once in 10 ms", FREEZES)];
            (FROZEN_END, OutletSpec { slots, ..OutletSpec::default() }, marks)
        }
        CORKED => {
            let cork = Cork { frames: 4, time: Nanos::from_millis(10) };
            let corked = vec![(CORK, cork)];
            let spec = OutletSpec { corked, ..OutletSpec::default() };
            (CORKED_END, spec, vec![mark("corked", CORK)])
        }
        _ => (CORKED_END, OutletSpec::default(), Vec::new()),
    };
    Scene {
        inside: Box::new(Sender::new(Way::ToVenue, writes(end)).tagged()),
        venue: Box::new(Receiver::default()),
        to_venue,
        marks,
        ..Scene::until(end)
    }
}

fn expect() -> Vec<Expectation> {
    let machine =
        |arm, expect| Expectation::Machine { arm, machine: MACHINE, scope: SCOPE, expect };
    let all_arrive = |arm| {
        ["received_out_of_order", "received_missing"].map(|fact| Expectation::Figure {
            arm,
            figure: Figure::Fact(fact),
            is: Is::Exactly(0.0),
        })
    };
    // Where windows do not cure, the fault is seen at its worst in both stretches.
    let cured = |figure| Expectation::Ratio {
        of: (CORKED, Figure::Median(figure, CURED.0, CURED.1)),
        to: (CORKED, Figure::Highest(figure, CORK.0, WORST)),
        is: Is::AtMost(0.2),
    };
    let mut all = vec![
        machine(FROZEN, Expect::Enters("ACCUMULATION_RISK", ACCUMULATES.0, ms(3_500))),
        machine(FROZEN, Expect::Enters("COMPRESSED_DRAIN", FREEZES.0, ms(6_500))),
        // Five seconds of the delay that it is entered for.
        machine(FROZEN, Expect::Enters("CONTAINMENT", ms(9_000), ms(10_500))),
        machine(FROZEN, Expect::Order(&["ACCUMULATION_RISK", "COMPRESSED_DRAIN", "CONTAINMENT"])),
        machine(FROZEN, Expect::TransitionsAtMost(6)),
        machine(FROZEN, Expect::Returns(ms(21_000))),
        machine(CORKED, Expect::Enters("COMPRESSED_DRAIN", CORK.0, WORST)),
        cured(FCI),
        cured(BDR),
        machine(CORKED, Expect::Never("CONTAINMENT")),
        machine(CORKED, Expect::Returns(ms(10_500))),
    ];
    all.extend(all_arrive(FROZEN).into_iter().chain(all_arrive(CORKED)));
    all
}

fn expect_of_twin() -> Vec<Expectation> {
    let at_most = |figure, most| Expectation::Figure {
        arm: TWIN,
        figure: Figure::Highest(figure, STEADY, CORKED_END),
        is: Is::AtMost(most),
    };
    vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        at_most(FCI, 1.0),
        at_most(BDR, 0.05),
    ]
}
