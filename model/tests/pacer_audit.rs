//! Everything at once: random setups and scripts, audited event by event by the oracle.
//!
//! Every run checks, for every packet: conservation by class, order inside its flow, the label and
//! `eligible` of its release against exact arithmetic, never early, every window of every node,
//! strict priority, that nothing that could leave is left when the pacer says `Nothing`, and that
//! everything has left when time has gone on.

mod support;

use proptest::prelude::*;
use support::world::World;
use support::{cases, scenario};

proptest! {
    #![proptest_config(cases(800))]

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
