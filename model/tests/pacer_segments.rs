//! TCP in the whole pacer: what is sent again while it is held, and what is sent again after it left.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::profile::{Bucket, Caps};
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};
use proptest::prelude::*;
use support::cases;
use support::limited::{Limited, tcp_order};
use support::world::{Action, Ration, Setup, arrives, class};

const FREE: Caps = Caps { bits: None, messages: None };

/// One packet in 10 us and class, TCP followed; no flow holds what others do.
fn paced() -> Setup {
    let slow = Caps { bits: None, messages: Some(Bucket::new(100_000, 1)) };
    let mut setup = Setup::new(&[(FREE, slow)]);
    setup.classes = vec![class(Kind::Order, None)];
    setup.limits.classes = vec![ClassLimits::default()];
    setup.follows_tcp = true;
    setup
}

/// An order of `bytes` payload bytes from sequence number `start` on.
fn segment(start: u32, bytes: u32) -> PacketMeta {
    let mut meta = PacketMeta { tcp_end_seq: start.wrapping_add(bytes), ..tcp_order(0, 1) };
    meta.set_segment_bytes(bytes);
    meta
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

#[test]
fn what_is_held_ends_as_a_duplicate_and_what_left_passes_without_its_messages() {
    let start = u32::MAX - 149;
    let second = start.wrapping_add(100);
    let mut world = Limited::new(&paced());
    world.run(&[
        at(0, arrives(0, segment(start, 100))),
        at(10, arrives(0, segment(second, 100))),
        at(20, arrives(0, segment(second, 100))),
        at(30, arrives(0, segment(start, 200))),
        at(50_000, arrives(0, segment(start, 200))),
        at(60_000, arrives(1, segment(start, 200))),
    ]);
    // 3 is held; of 4 the first half has left, so it passes, and its messages count; 5 has left.
    assert_eq!(world.ended(), [(3, DropReason::DuplicateHeld)]);
    let sent: Vec<_> =
        world.left.iter().map(|l| (l.packet.correlation_id, l.packet.messages)).collect();
    assert_eq!(sent, [(1, 1), (2, 1), (4, 1), (5, 0), (6, 1)]);
    let counters = world.pacer.guard_counters();
    assert_eq!((counters.segments, counters.retransmissions, counters.duplicates_held), (6, 1, 1));
}

#[test]
fn what_a_halt_ended_was_never_sent() {
    let halt = StopWords { all: StopWord::Halt, ..StopWords::default() };
    let mut setup = paced();
    setup.classes = vec![class(Kind::Order, Some(model::config::HaltMixed::Block))];
    let mut world = Limited::new(&setup);
    world.run(&[
        at(0, arrives(0, segment(0, 100))),
        at(10, arrives(0, segment(100, 100))),
        at(20, arrives(0, segment(200, 100))),
        at(100, Action::Words(halt)),
        at(200, Action::Words(StopWords::default())),
        at(300, arrives(0, segment(100, 100))),
        at(400, arrives(0, segment(0, 100))),
    ]);
    assert_eq!(world.ended(), [(2, DropReason::Halted), (3, DropReason::Halted)]);
    let sent: Vec<_> =
        world.left.iter().map(|l| (l.packet.correlation_id, l.packet.messages)).collect();
    assert_eq!(sent, [(1, 1), (4, 1), (5, 0)]);
}

#[test]
fn a_syn_begins_a_new_connection() {
    let mut syn = PacketMeta { flags: flags::TCP | flags::EXEMPT, messages: 0, ..tcp_order(0, 0) };
    syn.set_begins_connection();
    let mut world = Limited::new(&paced());
    world.run(&[
        at(0, arrives(0, segment(0, 1_000))),
        at(20_000, arrives(0, syn)),
        at(40_000, arrives(0, segment(500, 100))),
    ]);
    assert_eq!(world.left[2].packet.messages, 1);
}

#[test]
fn a_retransmission_takes_no_place_of_a_venue_limit() {
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.follows_tcp = true;
    setup.limits = LimitsSpec {
        limits: vec![VenueLimit {
            name: "of a test".into(),
            scope: LimitScope::Session,
            messages_max: 2,
            per: Nanos(50_000),
            counts_cancels: true,
            cancel_reserve: 0,
            bucket: Bucket::new(1_000_000_000, 2),
        }],
        classes: vec![ClassLimits { participant: None, session: Some(0) }],
        start_full: false,
    };
    let mut world = Limited::new(&setup);
    world.run(&[
        at(0, arrives(0, segment(0, 100))),
        at(100, arrives(0, segment(0, 100))),
        at(200, arrives(0, segment(100, 100))),
        at(300, arrives(0, segment(200, 100))),
        at(400, arrives(0, segment(100, 100))),
    ]);
    let story = world.story();
    // The fifth was sent before, but it does not pass the fourth of its own flow.
    assert_eq!(story, [(0, 1), (100, 2), (200, 3), (50_048, 4), (50_048, 5)]);
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// A sender in order that repeats whatever it likes, whatever the port refuses: what leaves with
    /// its messages are exactly the bytes that leave for the first time, each once.
    #[test]
    fn messages_of_each_byte_leave_once(
        steps in prop::collection::vec((0u64..30_000, 0u32..3, any::<bool>()), 1..80),
        rations in prop::collection::vec(0usize..3, 1..6),
        direct in 0usize..3,
    ) {
        // Segments of 100 bytes: a new one, or one of the last three again.
        let mut now = 0;
        let mut next = 0u32;
        let mut script = Vec::new();
        for (gap, back, again) in steps {
            now += gap;
            let n = if again && next > back { next - 1 - back } else { next };
            next = next.max(n + 1);
            script.push(at(now, arrives(0, segment(n.wrapping_mul(100).wrapping_sub(1_000), 100))));
        }
        let mut world = Limited::new(&paced());
        world.direct = direct;
        world.rations = rations
            .iter()
            .map(|&accepted| Ration { room: u64::MAX, accepted })
            .chain([Ration { room: u64::MAX, accepted: usize::MAX }])
            .collect();
        world.run(&script);
        let mut counted: Vec<u32> = world
            .left
            .iter()
            .filter(|l| l.packet.messages > 0)
            .map(|l| l.packet.tcp_end_seq)
            .collect();
        let sent = counted.len();
        counted.sort_unstable();
        counted.dedup();
        prop_assert_eq!(counted.len(), sent, "counted twice");
        prop_assert_eq!(sent as u32, next);
        prop_assert!(world.ends.iter().all(|(.., why)| *why == DropReason::DuplicateHeld));
    }
}
