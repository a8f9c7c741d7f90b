//! After an undo everything is as it was before the offer: all of the state, with everything on.

#[path = "../../../../tests/support/mod.rs"]
mod support;

use super::super::{Next, Pacer};
use super::state;
use crate::meta::PacketMeta;
use crate::time::Nanos;
use proptest::prelude::*;
use std::collections::VecDeque;
use support::world::{Action, Setup};
use support::{cases, limited, scenario};

/// What a port has no room for comes again so much later: inside of a slot and beyond it.
const RETRY: Nanos = Nanos(700);

fn act(pacer: &mut Pacer<VecDeque<PacketMeta>>, now: Nanos, id: u64, action: &Action) {
    match action {
        Action::Packet { flow, venue, packet } => {
            let due = now + packet.due;
            let packet = PacketMeta { arrival: now, due, correlation_id: id, ..*packet };
            // What ends at arrival is in no state.
            let _ends = pacer.enqueue(now, *flow, *venue, packet).is_err();
        }
        Action::Profile(profile) => pacer.set_profile(now, profile),
        Action::Words(words) => pacer.set_words(now, words, |_, _| {}),
        Action::EndStale => pacer.end_stale(now, |_, _| {}),
        Action::Drain => pacer.begin_drain(now),
        Action::Stop => pacer.stop(|_, _| {}),
    }
}

/// Looks at what is due without room for it, so that what time has changed is seen.
fn look(pacer: &mut Pacer<VecDeque<PacketMeta>>, now: Nanos) {
    while let Next::Ended(..) = pacer.next(now, 0) {}
}

/// Up to `most` offers, all of which come back. `false`: something ended meanwhile, for good.
fn offer_in_vain(pacer: &mut Pacer<VecDeque<PacketMeta>>, now: Nanos, most: usize) -> bool {
    let (mut offers, mut ended) = (Vec::new(), false);
    while offers.len() < most {
        match pacer.next(now, u64::MAX) {
            Next::Packet(released) => offers.push(released.packet),
            Next::Ended(..) => ended = true,
            Next::NoRoom | Next::Nothing => break,
        }
    }
    offers.into_iter().rev().for_each(|packet| pacer.undo(now, packet));
    pacer.commit(0);
    !ended
}

/// How many states were compared.
fn run(setup: &Setup, script: &[(Nanos, Action)], turns: &[(usize, usize)]) -> u32 {
    let mut pacer = setup.pacer(64);
    let mut script = script.iter().zip(1..).peekable();
    let (mut now, mut compared) = (Nanos::ZERO, 0);
    for turn in 0..100_000 {
        let event = if pacer.is_due() { Some(now + RETRY) } else { pacer.next_event(now) };
        let action = script.peek().map(|((at, _), _)| *at);
        let Some(at) = event.into_iter().chain(action).min() else { return compared };
        now = now.max(at);
        while let Some(((_, action), id)) = script.next_if(|((at, _), _)| *at <= now) {
            act(&mut pacer, now, id, action);
        }
        pacer.poll(now);
        look(&mut pacer, now);
        let (offered, accepted) = turns[turn % turns.len()];
        let before = state::of(&mut pacer, now);
        let comparable = offer_in_vain(&mut pacer, now, offered);
        look(&mut pacer, now);
        if comparable {
            let after = state::of(&mut pacer, now);
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before, after, "{offered} offers at {now}");
            }
            assert_eq!(before.len(), after.len(), "{before:#?} {after:#?}");
            compared += 1;
        }
        let mut left = 0;
        while left < accepted {
            match pacer.next(now, u64::MAX) {
                Next::Packet(_) => left += 1,
                Next::Ended(..) => {}
                Next::NoRoom | Next::Nothing => break,
            }
        }
        pacer.commit(left);
    }
    panic!("never at rest");
}

fn turns() -> impl Strategy<Value = Vec<(usize, usize)>> {
    // At times everything is taken, or nothing would come to an end.
    prop::collection::vec((1usize..40, 0usize..6), 1..20).prop_map(|mut turns| {
        turns.push((40, 40));
        turns
    })
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn all_is_as_it_was(
        setup in scenario::shaped_setup(true),
        script in scenario::shaped_script(60, true),
        turns in turns(),
    ) {
        prop_assert!(run(&setup, &script, &turns) > 0);
    }

    #[test]
    fn all_is_as_it_was_under_venue_limits(
        setup in limited::limited_setup(scenario::shaped_setup(true)),
        script in limited::with_segments(scenario::shaped_script(60, true)),
        turns in turns(),
    ) {
        prop_assert!(run(&setup, &script, &turns) > 0);
    }
}
