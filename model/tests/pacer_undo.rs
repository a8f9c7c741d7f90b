//! What a port refuses was never offered: a pacer whose offers are taken back goes on exactly like
//! its twin to which they were not made.
//!
//! `PROPTEST_CASES` runs more cases than the few of a normal run.

mod support;

use model::config::HaltMixed;
use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::{NO_VENUE, Next, Pacer, Released};
use model::profile::Caps;
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use proptest::prelude::*;
use support::queue::Queue;
use support::world::{Action, Setup, bits, cancel, class, packet};
use support::{cases, limited, scenario};

/// A refused packet is offered again so much later: inside of a slot and beyond it.
const RETRY: Nanos = Nanos(700);

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

    /// Asks for up to `most` packets, beyond the first `offered` without room for any; the first
    /// `accepted` leave, the rest comes back.
    fn turn(&mut self, now: Nanos, most: usize, offered: usize, accepted: usize) -> usize {
        let mut offers = Vec::new();
        while offers.len() < most {
            let room = if offers.len() < offered { u64::MAX } else { 0 };
            match self.pacer.next(now, room) {
                Next::Packet(released) => offers.push(released),
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
    fn a_refused_suffix_was_never_offered_under_venue_limits(
        setup in limited::limited_setup(scenario::setup()),
        script in limited::with_segments(scenario::script(80)),
        turns in turns(),
    ) {
        twins(&setup, &script, turns);
    }

    /// Both at once.
    #[test]
    fn a_refused_suffix_was_never_offered_in_shaped_classes_under_venue_limits(
        setup in limited::limited_setup(scenario::shaped_setup(false)),
        script in limited::with_segments(scenario::shaped_script(80, false)),
        turns in turns(),
    ) {
        twins(&setup, &script, turns);
    }
}

fn turns() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    prop::collection::vec((1usize..40, 0usize..6, any::<bool>()), 1..20)
}

fn twins(setup: &Setup, script: &[(Nanos, Action)], mut turns: Vec<(usize, usize, bool)>) {
    // At times everything is taken, or nothing would come to an end.
    turns.push((40, 40, true));
    let (mut refused, mut twin) = (Side::new(setup), Side::new(setup));
    let mut script = script.iter().enumerate().peekable();
    let mut now = Nanos::ZERO;
    for turn in 0.. {
        let event =
            if refused.pacer.is_due() { Some(now + RETRY) } else { refused.pacer.next_event(now) };
        let action = script.peek().map(|(_, (at, _))| *at);
        let Some(at) = event.into_iter().chain(action).min() else { break };
        now = now.max(at);
        while let Some((id, (_, action))) = script.next_if(|(_, (at, _))| *at <= now) {
            refused.act(now, id as u64, action);
            twin.act(now, id as u64, action);
        }
        refused.pacer.poll(now);
        twin.pacer.poll(now);
        let (most, accepted, open) = turns[turn % turns.len()];
        let accepted = if open { most } else { accepted };
        let took = refused.turn(now, most, most, accepted);
        let twin_took = twin.turn(now, most, took, took);
        refused.look(now);
        twin.look(now);
        assert_eq!(twin_took, took);
        compare(&refused, &twin, now);
        assert!(turn < 200_000);
    }
    assert_eq!(refused.pacer.queued_packets(), 0);
}

/// The packets that a pacer gives at `now`, nothing of it committed.
fn offers(pacer: &mut Pacer<Queue>, now: Nanos) -> Vec<Released<PacketMeta>> {
    std::iter::from_fn(|| match pacer.next(now, u64::MAX) {
        Next::Packet(released) => Some(released),
        _ => None,
    })
    .collect()
}

/// An order goes forward for the cancel behind it, which a halt ends while the order is at the port.
/// When the port refuses it, nothing is left that it goes forward for.
#[test]
fn what_comes_back_goes_forward_only_for_what_is_still_behind_it() {
    let mut setup = Setup::new(&[(Caps::default(), Caps::default()); 2]);
    // More flows than the first slice of a walk visits.
    setup.flows = 300;
    setup.classes = vec![class(Kind::Order, None), class(Kind::Mixed, Some(HaltMixed::Block))];
    let mut pacer = setup.pacer(8);
    let segment = |packet: PacketMeta| PacketMeta { flags: packet.flags | flags::TCP, ..packet };
    let order = PacketMeta { kind: Kind::Order as u8, ..segment(packet(0, 100)) };
    let now = Nanos(6_400);
    pacer.poll(now);
    for held in [order, segment(cancel(1, 100))] {
        let held = PacketMeta { arrival: now, due: now, ..held };
        assert!(pacer.enqueue(now, 299, NO_VENUE, held).is_ok());
    }
    let mut words = StopWords::default();
    words.classes[1] = StopWord::Halt;
    pacer.set_words(now, &words, |packet, _| panic!("the walk has come to {packet:?}"));
    let Next::Packet(offer) = pacer.next(now, u64::MAX) else { panic!("it may go") };
    assert_eq!(offer.release, Release::Forward);
    assert!(matches!(pacer.next(now, u64::MAX), Next::Ended(_, DropReason::Halted)));
    pacer.undo(now, offer.packet);
    pacer.commit(0);
    let offer = offers(&mut pacer, now).pop().expect("it may still go");
    assert_eq!(offer.release, Release::Governed);
}

/// A packet goes the short way, one of another class joins its flow, and the port refuses the first:
/// the flow is of the class, and its buckets hold what, they would be if both had been queued.
#[test]
fn a_flow_that_changed_its_class_meanwhile_changes_it_back() {
    for (first, second) in [(0, 0), (0, 1), (1, 0)] {
        let caps = |rate_per_s| bits(rate_per_s, 1_538);
        let mut setup =
            Setup::new(&[(caps(9_999_991), Caps::default()), (caps(3_000_017), Caps::default())]);
        setup.profile.classes[0].priority = first;
        setup.profile.classes[1].priority = second;
        let now = Nanos(6_400);
        let meta = |class, id| PacketMeta {
            arrival: now,
            due: now,
            correlation_id: id,
            ..packet(class, 1_000)
        };
        let stories = [true, false].map(|direct| {
            let mut pacer = setup.pacer(8);
            pacer.poll(now);
            let mut a = meta(0, 1);
            if direct {
                assert!(pacer.admit(now, 3, NO_VENUE, &mut a, u64::MAX));
            } else {
                assert!(pacer.enqueue(now, 3, NO_VENUE, a).is_ok());
            }
            for id in 2..6 {
                assert!(pacer.enqueue(now, 3, NO_VENUE, meta(1, id)).is_ok());
            }
            if direct {
                pacer.undo(now, a);
                pacer.commit(0);
            }
            let mut story = Vec::new();
            let mut at = now;
            loop {
                pacer.poll(at);
                let left = offers(&mut pacer, at);
                pacer.commit(left.len());
                story.extend(left.iter().map(|r| (at, r.packet.correlation_id, r.eligible)));
                let Some(next) = pacer.next_event(at) else { break };
                at = next;
            }
            assert_eq!(story.len(), 5);
            (story, pacer.counters().flow_lifted)
        });
        assert_eq!(stories[0], stories[1], "priorities {first} and {second}");
    }
}
