//! The short way is the long way, shorter: a pacer that admits directly what it may and one that
//! queues everything do the same at the same times, whatever the port refuses.

mod support;

use model::meta::PacketMeta;
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::pacer::{Next, Pacer};
use model::profile::{Bucket, Caps};
use model::sample::Release;
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};
use proptest::prelude::*;
use support::queue::Queue;
use support::world::{Action, Setup};
use support::{cases, limited, scenario};

/// A departure with everything that is visible of it.
type Row = (Nanos, u32, Release, Nanos, bool, PacketMeta);

struct Side {
    pacer: Pacer<Queue>,
    direct: bool,
    admitted: u64,
    staged: Vec<(u32, Release, Nanos, bool, PacketMeta)>,
    rows: Vec<Row>,
    drops: Vec<PacketMeta>,
}

impl Side {
    fn new(setup: &Setup, direct: bool) -> Self {
        let pacer = setup.pacer(64);
        Self { pacer, direct, admitted: 0, staged: vec![], rows: vec![], drops: vec![] }
    }

    fn act(&mut self, now: Nanos, id: u64, action: &Action) {
        let drops = &mut self.drops;
        match action {
            Action::Packet { flow, venue, packet } => {
                let mut packet = PacketMeta {
                    arrival: now,
                    due: now + packet.due,
                    correlation_id: id,
                    ..*packet
                };
                if self.direct && self.pacer.admit(now, *flow, *venue, &mut packet, u64::MAX) {
                    self.admitted += 1;
                    self.staged.push((*flow, Release::Governed, now, false, packet));
                } else if let Err((packet, _)) = self.pacer.enqueue(now, *flow, *venue, packet) {
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

    /// Offers what is due; the port takes the first `accepted`.
    fn turn(&mut self, now: Nanos, accepted: usize) {
        self.pacer.poll(now);
        while self.staged.len() < 32 {
            match self.pacer.next(now, u64::MAX) {
                Next::Packet(r) => {
                    self.staged.push((r.flow, r.release, r.eligible, r.bucket_held, r.packet));
                }
                Next::Ended(packet, _) => self.drops.push(packet),
                Next::NoRoom | Next::Nothing => break,
            }
        }
        let accepted = accepted.min(self.staged.len());
        for (.., packet) in self.staged.drain(accepted..).rev() {
            self.pacer.undo(now, packet);
        }
        self.pacer.commit(accepted);
        self.rows.extend(self.staged.drain(..).map(|(f, r, e, b, p)| (now, f, r, e, b, p)));
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn admitting_directly_changes_nothing(
        setup in scenario::setup(),
        script in scenario::script(60),
        taken in taken(),
    ) {
        both_ways(&setup, &script, &taken);
    }

    /// The same with everything that shapes a class.
    #[test]
    fn admitting_directly_changes_nothing_in_shaped_classes(
        setup in scenario::shaped_setup(true),
        script in scenario::shaped_script(60, true),
        taken in taken(),
    ) {
        both_ways(&setup, &script, &taken);
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// The same under venue limits, with TCP connections followed.
    #[test]
    fn admitting_directly_changes_nothing_under_venue_limits(
        setup in limited::limited_setup(scenario::setup()),
        script in limited::with_segments(scenario::script(60)),
        taken in taken(),
    ) {
        both_ways(&setup, &script, &taken);
    }

    /// Everything at once.
    #[test]
    fn admitting_directly_changes_nothing_in_shaped_classes_under_venue_limits(
        setup in limited::limited_setup(scenario::shaped_setup(true)),
        script in limited::with_segments(scenario::shaped_script(60, true)),
        taken in taken(),
    ) {
        both_ways(&setup, &script, &taken);
    }
}

fn taken() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => Just(64usize), 1 => 0..3usize], 1..20)
}

fn both_ways(setup: &Setup, script: &[(Nanos, Action)], taken: &[usize]) {
    let mut sides = [Side::new(setup, false), Side::new(setup, true)];
    let mut script = script.iter().enumerate().peekable();
    let mut now = Nanos::ZERO;
    for turn in 0..5_000usize {
        let event = |side: &Side| {
            if side.pacer.is_due() { Some(now + Nanos(700)) } else { side.pacer.next_event(now) }
        };
        // A timer that finds nothing may differ; what it would do may not.
        let events = sides.iter().filter_map(event).min();
        let action = script.peek().map(|(_, (at, _))| *at);
        let Some(at) = events.into_iter().chain(action).min() else { break };
        now = now.max(at);
        // One action for each turn: packets of one burst may meet the port in another order.
        if let Some((id, (_, action))) = script.next_if(|(_, (at, _))| *at <= now) {
            sides.iter_mut().for_each(|side| {
                side.pacer.poll(now);
                side.act(now, id as u64 + 1, action);
            });
        }
        let accepted = taken[turn % taken.len()];
        sides.iter_mut().for_each(|side| side.turn(now, accepted));
        // A look that was set for a packet which has left comes early and is set anew, behind those of
        // other flows: what ends in one turn has no order.
        let [long, short] = sides.each_mut().map(|side| {
            side.drops.sort_by_key(|packet| packet.correlation_id);
            std::mem::take(&mut side.drops)
        });
        assert_eq!(long, short, "ended at {now}");
        let [long, short] = &sides;
        assert_eq!(&long.rows, &short.rows, "at {}", now);
        assert_eq!(long.pacer.counters(), short.pacer.counters());
        assert_eq!(long.pacer.queued_bytes(), short.pacer.queued_bytes());
        assert_eq!(long.pacer.guard_counters(), short.pacer.guard_counters(), "at {now}");
        assert!(long.pacer.limit_figures().eq(short.pacer.limit_figures()), "at {now}");
    }
    let [long, short] = &sides;
    // A port that takes nothing may keep some for ever.
    assert_eq!(long.pacer.queued_packets(), short.pacer.queued_packets());
}

/// Two flows whose packets reach their `max_hold` in one slot of the wheel, waiting for a limit. The long way
/// has left a look behind for a packet of the first, which has left.
#[test]
fn what_ends_in_one_turn_ends_both_ways() {
    let pace = Bucket::new(2_000, 1);
    let participant =
        VenueLimit { bucket: pace, ..limited::limit(LimitScope::Participant, 2, 2_000, 0) };
    let mut setup = Setup::new(&[(Caps::default(), Caps::default())]);
    setup.profile.classes[0].max_hold = Nanos(11_754);
    setup.limits = LimitsSpec {
        limits: vec![participant],
        classes: vec![ClassLimits { participant: Some(0), session: None }],
        start_full: false,
    };
    let order = |at, flow| (Nanos(at), support::world::arrives(flow, limited::order(0, 1)));
    let script = [order(11_777, 4), order(11_799, 4), order(11_799, 1)];
    both_ways(&setup, &script, &[64]);
}

#[test]
fn the_short_way_is_taken_and_only_where_nothing_waits() {
    use support::world::{bits, packet};
    // 10 Mbit/s, two packets of 124 wire bytes at once.
    let caps = bits(10_000_000, 248);
    let setup = Setup::new(&[(caps, caps)]);
    let mut side = Side::new(&setup, true);
    let arrives = |flow| support::world::arrives(flow, packet(0, 100));
    for (id, flow) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        side.act(Nanos(1_000), id, &arrives(flow));
    }
    assert_eq!(side.admitted, 2, "then the buckets of flow 0 and of the class are empty");
    side.turn(Nanos(1_000), 64);
    assert_eq!(side.rows.len(), 2);
    assert_eq!(side.pacer.queued_packets(), 2);
}
