//! What a port refuses was never offered: a pacer whose offers are taken back goes on exactly like
//! its twin to which they were not made.

mod support;

use model::drop_reason::DropReason;
use model::meta::PacketMeta;
use model::pacer::{Next, Pacer};
use model::sample::Release;
use model::time::Nanos;
use proptest::prelude::*;
use support::queue::Queue;
use support::world::{Action, Setup};
use support::{cases, limited, scenario};

/// A departure with everything that is visible of it.
type Row = (Nanos, u32, Release, Nanos, bool, PacketMeta);

/// One pacer and what has left it.
struct Side {
    pacer: Pacer<Queue>,
    rows: Vec<Row>,
    drops: Vec<PacketMeta>,
}

impl Side {
    fn new(setup: &Setup) -> Self {
        Self { pacer: setup.pacer(64), rows: Vec::new(), drops: Vec::new() }
    }

    fn act(&mut self, now: Nanos, id: u64, action: &Action) {
        let drops = &mut self.drops;
        match action {
            Action::Packet { flow, venue, packet } => {
                let packet = PacketMeta {
                    arrival: now,
                    due: now + packet.due,
                    correlation_id: id,
                    ..*packet
                };
                if let Err((packet, _)) = self.pacer.enqueue(now, *flow, *venue, packet) {
                    drops.push(packet);
                }
            }
            Action::Profile(profile) => self.pacer.set_profile(now, profile),
            Action::Words(words) => self.pacer.set_words(now, words, |p, _| drops.push(p)),
            Action::EndStale => self.pacer.end_stale(now, |p, _| drops.push(p)),
            Action::Drain => self.pacer.begin_drain(now),
            Action::Stop => self.pacer.stop(|p, _| drops.push(p)),
        }
    }

    /// Asks for up to `most` packets; the first `accepted` leave, the rest comes back.
    fn turn(&mut self, now: Nanos, room: u64, most: usize, accepted: usize) -> usize {
        let mut offers = Vec::new();
        let mut left = room;
        while offers.len() < most {
            match self.pacer.next(now, left) {
                Next::Packet(released) => {
                    left -= u64::from(released.packet.wire_len());
                    offers.push(released);
                }
                Next::Ended(packet, reason) => {
                    assert_eq!(reason, DropReason::Stale, "{packet:?}");
                    self.drops.push(packet);
                }
                Next::NoRoom | Next::Nothing => break,
            }
        }
        let refused = offers.split_off(accepted.min(offers.len()));
        refused.iter().rev().for_each(|r| self.pacer.undo(now, r.packet));
        self.pacer.commit(offers.len());
        self.rows.extend(
            offers.iter().map(|r| (now, r.flow, r.release, r.eligible, r.bucket_held, r.packet)),
        );
        offers.len()
    }

    /// Without room for anything the pacer still looks at what is due.
    fn look(&mut self, now: Nanos) {
        loop {
            match self.pacer.next(now, 0) {
                Next::Packet(_) => panic!("there is no room"),
                Next::Ended(packet, _) => self.drops.push(packet),
                Next::NoRoom | Next::Nothing => break,
            }
        }
    }
}

/// Everything that both sides show.
fn compare(a: &Side, b: &Side, now: Nanos) {
    let differs = a.rows.iter().zip(&b.rows).find(|(a, b)| a != b);
    assert_eq!(differs, None, "at {now}");
    assert_eq!(a.rows.len(), b.rows.len(), "at {now}");
    assert_eq!(a.drops, b.drops);
    assert_eq!(a.pacer.counters(), b.pacer.counters());
    assert_eq!(a.pacer.queued_packets(), b.pacer.queued_packets());
    assert_eq!(a.pacer.queued_bytes(), b.pacer.queued_bytes());
    for class in 0..scenario::CLASSES as u8 {
        assert_eq!(a.pacer.class_queued_packets(class), b.pacer.class_queued_packets(class));
        assert_eq!(a.pacer.class_queued_bytes(class), b.pacer.class_queued_bytes(class));
    }
    assert_eq!(a.pacer.guard_counters(), b.pacer.guard_counters(), "at {now}");
    assert!(a.pacer.limit_figures().eq(b.pacer.limit_figures()), "at {now}");
    assert_eq!(a.pacer.is_due(), b.pacer.is_due(), "at {now}");
}

proptest! {
    #![proptest_config(cases(12_000))]

    /// Turns fall on slot boundaries: inside a slot, a class that was asked too early waits for the
    /// end of the slot, and the twin was not asked.
    #[test]
    fn a_refused_suffix_was_never_offered(
        setup in scenario::setup(),
        script in scenario::script(80),
        turns in turns(),
    ) {
        twins(&setup, &script, turns);
    }

    /// The same with everything that shapes a class, but for what ends: a head behind a packet that
    /// was offered is looked at, and the twin's is not.
    #[test]
    fn a_refused_suffix_was_never_offered_in_shaped_classes(
        setup in scenario::shaped_setup(false),
        script in scenario::shaped_script(80, false),
        turns in turns(),
    ) {
        twins(&setup, &script, turns);
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// The same under venue limits, with TCP connections followed: what is taken back is counted by
    /// no limit, and whoever an offer sent to wait does not wait.
    #[test]
    #[ignore = "open: 4 failures in 70,000 cases, cause not known; most differ in a yes or no"]
    fn a_refused_suffix_was_never_offered_under_venue_limits(
        setup in limited::limited_setup(scenario::setup()),
        script in limited::with_segments(scenario::script(80)),
        turns in turns(),
    ) {
        twins(&setup, &script, turns);
    }
}

fn turns() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    prop::collection::vec((1usize..40, 0usize..6, any::<bool>()), 1..20)
}

/// Whether the first difference is which of two flows went first at the same time, under venue
/// limits: their timers fire in the order in which they were set, and an undo sets them again, so a
/// flow may join the turns of its class before or behind another. When it may leave, what it is
/// charged and who is counted must be the same up to there.
fn ties(a: &Side, b: &Side) -> bool {
    let differs = a.rows.iter().zip(&b.rows).find(|(a, b)| a != b);
    a.pacer.limit_figures().count() > 0 && differs.is_some_and(|(a, b)| a.0 == b.0 && a.1 != b.1)
}

fn twins(setup: &Setup, script: &[(Nanos, Action)], mut turns: Vec<(usize, usize, bool)>) {
    // At times everything is taken, or nothing would come to an end.
    turns.push((40, 40, true));
    let slot = setup.slot.0;
    let (mut refused, mut twin) = (Side::new(setup), Side::new(setup));
    let mut script = script.iter().enumerate().peekable();
    let mut now = Nanos::ZERO;
    for turn in 0.. {
        let event = if refused.pacer.is_due() {
            Some(now + Nanos(slot))
        } else {
            refused.pacer.next_event(now)
        };
        let action = script.peek().map(|(_, (at, _))| Nanos(at.0.div_ceil(slot) * slot));
        let Some(at) = event.into_iter().chain(action).min() else { break };
        now = now.max(at);
        assert_eq!(now.0 % slot, 0);
        while let Some((id, (_, action))) = script.next_if(|(_, (at, _))| *at <= now) {
            refused.act(now, id as u64, action);
            twin.act(now, id as u64, action);
        }
        refused.pacer.poll(now);
        twin.pacer.poll(now);
        let (most, accepted, open) = turns[turn % turns.len()];
        let accepted = if open { most } else { accepted };
        let took = refused.turn(now, u64::MAX, most, accepted);
        let twin_took = twin.turn(now, u64::MAX, took, took);
        refused.look(now);
        twin.look(now);
        if ties(&refused, &twin) {
            return;
        }
        assert_eq!(twin_took, took);
        compare(&refused, &twin, now);
        assert!(turn < 200_000);
    }
    assert_eq!(refused.pacer.queued_packets(), 0);
}
