//! A change on its way up: offline replay, shadow, canary, active. The good one passes every gate; the bad
//! one is stopped by what shadow projects, and rolled back where somebody lets it into a canary all the same.

use model::config::StartMode;
use model::regime::Mode;
use model::time::Nanos;

use super::trial::{
    BAD, GOOD, OUTCOMES, PROMISING, REPLAY_PASSED, USUAL, WATCHES, scene as orders,
};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Order, Says, Scene, TWIN, ms};

/// A replay in virtual time of some seconds, under the profile and as confirmed.
const REPLAYED: Nanos = ms(5_000);
const SHADOW: Nanos = ms(1_000);
/// Two spans of 8 s have been projected.
const CANARY: Nanos = ms(19_000);
/// Too early: no window of the canary is over.
const EARLY: Nanos = ms(20_000);
const ACTIVE: Nanos = ms(38_000);
const END: Nanos = ms(42_000);
const BAD_END: Nanos = ms(26_000);

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "promotion",
    playbook: "000, 003, 004",
    injects: "a change that shortens bursts, and one that holds packets for up to 60 ms, each replayed \
        offline and then asked for in shadow, canary and active",
    must_show: "the good change passes every gate, and none before it has been seen; shadow's projection \
        refuses the bad one, and a canary that it was talked into takes it back",
    config: include_str!("../../../../configs/drills/promotion.toml"),
    usual: USUAL,
    watches: WATCHES,
    arms: &["good", "bad", "replay", "replay-good", "replay-bad"],
    scene,
    expect,
    expect_of_twin,
};

fn scene(arm: &'static str, seed: u64) -> Scene {
    let order = |at, says| Order { at, says };
    let replay =
        |profile| Scene { profile, ..orders(seed, REPLAYED, StartMode::Observe, None, Vec::new()) };
    let up = vec![
        order(ms(900), REPLAY_PASSED),
        order(SHADOW, Says::Mode(Mode::Shadow)),
        order(CANARY, Says::Mode(Mode::Canary)),
        order(EARLY, OUTCOMES),
        order(EARLY, Says::Mode(Mode::Active)),
        order(ACTIVE, Says::Mode(Mode::Active)),
    ];
    let talked_into = vec![
        order(ms(900), REPLAY_PASSED),
        order(SHADOW, Says::Mode(Mode::Shadow)),
        order(CANARY, Says::Mode(Mode::Canary)),
        order(EARLY, PROMISING),
        order(EARLY, Says::Mode(Mode::Canary)),
    ];
    match arm {
        "good" => orders(seed, END, StartMode::Observe, Some(GOOD), up),
        "bad" => orders(seed, BAD_END, StartMode::Observe, Some(BAD), talked_into),
        "replay" => replay(None),
        "replay-good" => replay(Some("smooth")),
        "replay-bad" => replay(Some("anti_burst")),
        _ => orders(seed, BAD_END, StartMode::Observe, None, up),
    }
}

fn expect() -> Vec<Expectation> {
    let figure = |arm, figure, is| Expectation::Figure { arm, figure, is };
    let fact = |arm, name, is| figure(arm, Figure::Fact(name), is);
    let ratio = |of, to, is| Expectation::Ratio { of, to, is };
    let whole = |arm, watch| (arm, Figure::Whole(watch));
    let (excess, p99) = ("excess, others", "p99, others, ns");
    vec![
        ratio(whole("replay-good", excess), whole("replay", excess), Is::Below(0.8)),
        ratio(whole("replay-good", p99), whole("replay", p99), Is::Below(1.5)),
        ratio(whole("replay-bad", p99), whole("replay", p99), Is::Above(1.5)),
        fact("good", "shadow_refused", Is::Absent),
        fact("good", "canary_refused", Is::Absent),
        fact("good", "active_refused", Is::Exactly(1.0)),
        fact("good", "rolled_back", Is::Exactly(0.0)),
        fact("good", "mode_at_end", Is::Exactly(3.0)),
        ratio(
            ("good", Figure::Median(excess, ms(40_000), END)),
            ("good", Figure::Median(excess, ms(20_000), ACTIVE)),
            Is::Below(0.8),
        ),
        fact("bad", "shadow_refused", Is::Absent),
        fact("bad", "canary_refused", Is::Exactly(1.0)),
        fact("bad", "rolled_back", Is::Exactly(1.0)),
        fact("bad", "mode_at_end", Is::Exactly(1.0)),
    ]
}

fn expect_of_twin() -> Vec<Expectation> {
    let fact = |name, is| Expectation::Figure { arm: TWIN, figure: Figure::Fact(name), is };
    vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        // Nothing is asked for, so nothing was judged and nothing is promoted.
        fact("canary_refused", Is::Exactly(1.0)),
        fact("active_refused", Is::Exactly(1.0)),
        fact("mode_at_end", Is::Exactly(1.0)),
        fact("rolled_back", Is::Exactly(0.0)),
    ]
}
