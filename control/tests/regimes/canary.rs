//! A canary: who is in it, what opens its gates, what ends it.

use std::collections::VecDeque;
use std::sync::Arc;

use control::request::Request;
use model::meta::PacketMeta;
use model::pacer::limits::LimitsSpec;
use model::pacer::{HaltRule, Pacer, PacerSpec, Roster, Seat};
use model::profile::ClassParams;
use model::regime::{COMPOSED_NAME, FedValue, Mode};
use model::time::Nanos;
use serde_json::json;

use crate::common::{MS, START};
use crate::gateway;
use crate::world::{CLASS, US, World, beside_the_arms, calm_with, everything};

/// Groups 1 to `count` of `orders`.
fn groups(count: u64) -> Arc<Roster> {
    let config = gateway::config("orders", &format!("{CLASS}[regime]\nallow = [\"orders\"]"));
    let spec = PacerSpec {
        two_paths: false,
        slot: Nanos(64),
        start: START,
        flows_max: 64,
        wire_len_max: 1_538,
        burst_max: 8,
        halt: config.classes.iter().map(HaltRule::of).collect(),
        twins: config.canaried(),
        port: 1,
        seed: 0,
        limits: LimitsSpec::default(),
        follows_tcp: false,
    };
    let mut pacer: Pacer<VecDeque<PacketMeta>> = Pacer::new(&spec, &config.profiles[0]);
    for id in 1..=count {
        pacer.new_group(Seat { id, class: 0, venue: 255, label: 0 }).unwrap();
    }
    Arc::clone(pacer.roster())
}

/// In mode canary over 20 groups, among them two that are governed, with burst releases under way. What
/// was fed of the arms holds no more.
fn in_canary() -> World {
    let regime = "[regime]\nallow = [\"orders\"]\nlatch = false";
    let mut world = calm_with(World::with_groups(regime, Some(groups(20))));
    let brief = everything().into_iter().map(|value| FedValue { expires_s: 3.5, ..value });
    world.ask(&Request::Feed { values: brief.collect() });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.ticks(30, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    let canary = world.mode(Mode::Canary, false);
    assert_eq!(canary["ok"], true, "{canary}");
    world.ask(&Request::Feed { values: beside_the_arms() });
    world
}

#[test]
fn a_canary_governs_a_tenth_of_the_groups_and_its_arms_open_the_gates() {
    let mut world = in_canary();
    world.ticks(10, |world| world.step_by_arms(US(10), US(100), None));
    assert_eq!(world.in_force(), COMPOSED_NAME);
    let profile = world.link.profile().clone();
    let [canary, control] = &profile.canary.as_ref().unwrap().0;
    assert_eq!((canary.groups.len(), control.groups.len()), (2, 2));
    let turns = [&profile.classes[0], &canary.classes[0], &control.classes[0]];
    assert_eq!(turns.map(|params| params.shaping.weight), [8, 1, 1], "shares of what were 10");
    assert_eq!(control.classes[0].shaping.fan_out, u16::MAX, "as they are");
    assert!(canary.classes[0].shaping.fan_out < u16::MAX, "the change");
    assert_eq!(profile.classes[0].shaping.fan_out, u16::MAX, "the others are left as they are");
    let rate = |params: &ClassParams| params.class.bits.unwrap().rate_per_s;
    assert_eq!((rate(&profile.classes[0]), rate(&canary.classes[0])), (80_000_000, 10_000_000));
    // Nothing has been seen for a whole window yet.
    let early = world.mode(Mode::Active, true);
    assert!(early["error"].as_str().unwrap().contains("no transport gate"), "{early}");
    world.ticks(300, |world| world.step_by_arms(US(10), US(100), None));
    let status = world.ask(&Request::Status {});
    let shown = &status["regime"]["canary"];
    assert_eq!((&shown["groups"], &shown["canary"]), (&json!(20), &json!(2)), "{shown}");
    let arms = &status["regime"]["arms"]["class:orders"];
    assert!(arms["changed"]["excess"].as_f64() < arms["control"]["excess"].as_f64(), "{arms}");
    assert_eq!(
        (&arms["changed"]["goodput"], &arms["control"]["goodput"]),
        (&json!(1.0), &json!(1.0))
    );
    // The governed 110 us; the others up to 24.5 ms: within the budget of 1 ms.
    let p99 = arms["changed"]["dispatch_to_wire_p99_ns"].as_f64().unwrap();
    assert!((109_000.0..112_000.0).contains(&p99), "{arms}");
    assert_eq!(world.mode(Mode::Active, true)["ok"], true);
    world.ticks(2, |world| world.step_by_arms(US(10), US(100), None));
    assert_eq!(world.link.profile().canary, None, "one table for all again");
}

#[test]
fn the_same_seed_governs_the_same_groups_after_a_restart() {
    let governed = || {
        let mut world = in_canary();
        world.ticks(2, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
        world.link.profile().canary.clone().unwrap().0[0].groups.clone()
    };
    assert_eq!(governed(), governed());
}

#[test]
fn a_canary_that_does_worse_is_rolled_back() {
    let mut world = in_canary();
    // The others wait up to 24.5 ms: 20 ms and the budget more than their median of 12 ms is too much.
    world.ticks(30, |world| world.step_by_arms(US(10), MS(40), None));
    let mode = world.ask(&Request::ModeGet {});
    assert_eq!(mode["mode"], "shadow", "{mode}");
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["from"], &last["why"]), (&json!("canary"), &json!("3 bad ticks in a row")));
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn one_lost_order_of_the_canary_is_enough() {
    let mut world = in_canary();
    world.ticks(3, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert_eq!(world.ask(&Request::ModeGet {})["mode"], "canary");
    world.ticks(2, |world| world.step_by_arms(US(10), Nanos::ZERO, Some(1)));
    let mode = world.ask(&Request::ModeGet {});
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert_eq!((&mode["mode"], &last["why"]), (&json!("shadow"), &json!("a packet was dropped")));
}

#[test]
fn observe_ends_a_canary_at_once() {
    let mut world = in_canary();
    world.ticks(3, |world| world.step_by_arms(US(10), Nanos::ZERO, None));
    assert!(world.link.profile().canary.is_some());
    assert_eq!(world.mode(Mode::Observe, false)["ok"], true);
    world.link.turn(world.now);
    assert_eq!((world.in_force(), &world.link.profile().canary), ("normal", &None));
}

#[test]
fn nine_groups_are_no_canary() {
    let regime = "[regime]\nallow = [\"orders\"]";
    let mut world = calm_with(World::with_groups(regime, Some(groups(9))));
    world.ask(&Request::Feed { values: everything() });
    world.mode(Mode::Shadow, false);
    let refused = world.mode(Mode::Canary, false);
    let missing = refused["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{refused}");
    assert!(missing[0].as_str().unwrap().starts_with("9 ordering groups"), "{refused}");
}
