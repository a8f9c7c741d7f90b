//! Everything at once: random setups and scripts, audited event by event by the oracle.
//!
//! Every run checks, for every packet: conservation by class, order inside its flow, the label and
//! `eligible` of its release against exact arithmetic, never early, every window of every node,
//! strict priority, that nothing that could leave is left when the pacer says `Nothing`, and that
//! everything has left when time has gone on.

mod support;

use model::drop_reason::DropReason;
use model::pacer::Counters;
use model::profile::Profile;
use model::sample::Release;
use model::time::Nanos;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::world::{Action, World};
use support::{cases, scenario};

proptest! {
    #![proptest_config(cases(5_000))]

    /// The port takes everything, the core is never late.
    #[test]
    fn an_open_port_and_a_punctual_core(
        setup in scenario::setup(),
        script in scenario::script(120),
    ) {
        World::new(&setup).run(&script);
    }

    /// The core is late by up to many slots: no level may be caught out by it.
    #[test]
    fn a_late_core(
        setup in scenario::setup(),
        script in scenario::script(120),
        late in prop::collection::vec(prop_oneof![Just(0u64), 0u64..500, 0u64..50_000], 1..8),
    ) {
        let mut world = World::new(&setup);
        world.late = late;
        world.run(&script);
    }

    /// The port has little room and refuses suffixes.
    #[test]
    fn a_port_that_refuses(
        setup in scenario::setup(),
        script in scenario::script(120),
        rations in scenario::rations(),
        late in prop::collection::vec(0u64..300, 0..3),
    ) {
        let mut world = World::new(&setup);
        world.rations = rations;
        world.late = late;
        world.run(&script);
    }

}

proptest! {
    #![proptest_config(cases(40))]

    /// Every level of the wheel and what lies beyond it: rates of one packet in minutes, wishes up to
    /// two hours ahead (a wheel of 64 ns slots ends after 4.3 s).
    #[test]
    fn slow_rates_and_far_wishes(
        mut setup in scenario::setup(),
        mut script in scenario::script(40),
        wishes in prop::collection::vec(prop_oneof![Just(0u64), 0u64..7_200_000_000_000], 40),
        slow in prop::collection::vec(any::<bool>(), 16),
    ) {
        let slow_down = |profile: &mut Profile| {
            let caps = profile.classes.iter_mut().flat_map(|c| [&mut c.flow, &mut c.class]);
            let caps = caps.chain(profile.egress.iter_mut().map(|e| &mut e.port));
            for (caps, slow) in caps.zip(&slow) {
                for bucket in [&mut caps.bits, &mut caps.messages].into_iter().flatten() {
                    if *slow {
                        bucket.rate_per_s = bucket.rate_per_s / 1_000_000 + 1;
                    }
                }
            }
        };
        slow_down(&mut setup.profile);
        for ((_, action), wish) in script.iter_mut().zip(wishes) {
            match action {
                Action::Packet { packet, .. } => packet.due = Nanos(wish),
                Action::Profile(profile) => slow_down(profile),
                _ => {}
            }
        }
        World::new(&setup).run(&script);
    }
}

/// The random scripts are worth something: they reach every label and every end that the pacer
/// knows, lifts, alarms and waits at buckets.
#[test]
fn the_scripts_reach_everything() {
    // The same scripts every time: what is rare among them must not fail at random.
    let mut runner = TestRunner::deterministic();
    let mut releases = [0u32; Release::ALL.len()];
    let mut drops = [0u32; DropReason::COUNT];
    let mut counters = Counters::default();
    for _ in 0..400 {
        let setup = scenario::setup().new_tree(&mut runner).unwrap().current();
        let script = scenario::script(120).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(&setup);
        world.run(&script);
        world.departures.iter().for_each(|d| releases[d.release as usize] += 1);
        world.drops.iter().for_each(|(_, reason)| drops[*reason as usize] += 1);
        counters.flow_lifted += world.pacer.counters().flow_lifted;
        counters.over_budget += world.pacer.counters().over_budget;
        counters.bucket_held += world.pacer.counters().bucket_held;
    }
    use DropReason::{Halted, ProfileClosed, QueueFull, Stale, Stopped};
    let ends = [Halted, ProfileClosed, QueueFull, Stale, Stopped].map(|r| drops[r as usize]);
    // No class of these scripts has a lateness policy.
    let releases = &releases[..Release::Late as usize];
    assert!(releases.iter().chain(&ends).all(|&n| n > 5), "{releases:?} {ends:?}");
    assert!(
        counters.flow_lifted > 20 && counters.over_budget > 20 && counters.bucket_held > 1_000,
        "{counters:?}"
    );
}
