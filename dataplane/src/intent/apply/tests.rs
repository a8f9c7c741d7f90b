#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::option::of;
use proptest::prelude::*;

use super::*;

/// Classes of the tests: a mixed session that a halt blocks, orders, cancels, another mixed session
/// that a halt passes, logs; those with an odd index may be named.
const FIX: u8 = 0;
const ORDERS: u8 = 1;
const LOCKED_ORDERS: u8 = 2;
const CANCELS: u8 = 3;
const LOGS: u8 = 4;
const BULK: u8 = 5;
const FROM_VENUE: u8 = 7;
const NEW_SESSION: u8 = 9;
/// Orders that no rule lets TCP into.
const DATAGRAMS: u8 = 11;

fn terms() -> Terms {
    let class = |kind: Kind, by_intent: bool, halt_blocks: bool| ClassTerms {
        by_intent,
        from_inside: true,
        kind,
        may_carry_tcp: true,
        halt_blocks,
        datagram_messages: u16::from(kind.is_order_entry()),
        segment_messages: if kind == Kind::Mixed { 2 } else { 0 },
        messages_max: if kind == Kind::Order { 20 } else { u16::MAX },
    };
    let mut classes = vec![
        class(Kind::Mixed, false, true),
        class(Kind::Order, true, true),
        class(Kind::Order, false, true),
        class(Kind::Cancel, true, false),
        class(Kind::Other, false, false),
        class(Kind::Other, true, false),
        class(Kind::Other, false, false),
        class(Kind::Order, true, false),
        class(Kind::Other, false, false),
        class(Kind::Mixed, true, true),
        class(Kind::Other, false, false),
        class(Kind::Order, true, true),
    ];
    classes[usize::from(FROM_VENUE)].from_inside = false;
    classes[usize::from(DATAGRAMS)].may_carry_tcp = false;
    let labels = [
        (1, LabelTerms { label: 11, venue: 0, urgency: 5 }),
        (300, LabelTerms { label: 12, venue: NO_VENUE, urgency: 6 }),
    ];
    Terms::new(&classes, &labels, TimeBounds::default())
}

const ARRIVAL: Nanos = Nanos::from_secs(1_000);

fn datagram(class: u8, kind: Kind) -> PacketMeta {
    PacketMeta {
        arrival: ARRIVAL,
        due: ARRIVAL,
        decision_lag_ns: u32::MAX,
        len: 200,
        messages: u16::from(kind.is_order_entry()),
        class,
        kind: kind as u8,
        flags: flags::PAYLOAD | if kind.is_exempt() { flags::EXEMPT } else { 0 },
        ..PacketMeta::default()
    }
}

fn segment(class: u8, kind: Kind) -> PacketMeta {
    let mut meta = datagram(class, kind);
    meta.flags |= flags::TCP;
    meta
}

fn applied(record: Record, mut meta: PacketMeta) -> (PacketMeta, ApplyCounters) {
    let mut counters = ApplyCounters::default();
    terms().apply(&record, Transport::default(), &mut meta, &mut 3, &mut counters);
    assert_eq!(counters.records, 1);
    (meta, counters)
}

fn named(class: u8) -> Record {
    Record { class: Some(class), ..Record::default() }
}

#[test]
fn a_record_that_states_nothing_changes_nothing() {
    for meta in
        [datagram(ORDERS, Kind::Order), segment(FIX, Kind::Mixed), segment(LOGS, Kind::Other)]
    {
        let (after, counters) = applied(Record::default(), meta);
        assert_eq!(after, meta);
        assert_eq!(counters, ApplyCounters { records: 1, ..ApplyCounters::default() });
    }
}

#[test]
fn only_classes_that_may_be_named_are_taken() {
    let to = |meta, class| applied(named(class), meta);
    let (meta, counters) = to(datagram(LOGS, Kind::Other), ORDERS);
    assert_eq!((meta.class, meta.kind(), meta.messages), (ORDERS, Kind::Order, 1));
    assert_eq!(counters.class_refused, 0);
    // Not named in the config, from the venue, not there, out of order entry.
    for class in [LOCKED_ORDERS, FROM_VENUE, 99, BULK] {
        let before = datagram(ORDERS, Kind::Order);
        let (meta, counters) = to(before, class);
        assert_eq!((meta, counters.class_refused), (before, 1), "class {class}");
    }
    // Its own class is no change, named or not.
    let (meta, counters) = to(datagram(LOGS, Kind::Other), LOGS);
    assert_eq!((meta.class, counters.class_refused), (LOGS, 0));
}

#[test]
fn a_stream_that_a_halt_blocks_stays_in_classes_that_it_blocks() {
    let (meta, counters) = applied(named(CANCELS), segment(FIX, Kind::Mixed));
    assert_eq!((meta.class, counters.class_refused), (FIX, 1));
    let (meta, counters) = applied(named(NEW_SESSION), segment(FIX, Kind::Mixed));
    assert_eq!((meta.class, meta.messages, counters.class_refused), (NEW_SESSION, 2, 0));
    // A datagram stands alone: a halt asks for its own kind.
    let (meta, _) = applied(named(CANCELS), datagram(LOCKED_ORDERS, Kind::Order));
    assert_eq!((meta.class, meta.kind()), (CANCELS, Kind::Cancel));
    assert!(meta.has(flags::EXEMPT) && !meta.has(flags::BARE));
}

#[test]
fn a_stream_is_led_only_where_rules_let_tcp_in() {
    for ruled in [FIX, ORDERS, LOGS] {
        let before = segment(ruled, terms().classes[usize::from(ruled)].kind);
        let (meta, counters) = applied(named(DATAGRAMS), before);
        assert_eq!((meta, counters.class_refused), (before, 1), "from class {ruled}");
    }
    let (meta, _) = applied(named(DATAGRAMS), datagram(ORDERS, Kind::Order));
    assert_eq!(meta.class, DATAGRAMS);
}

#[test]
fn kinds_are_the_senders_only_where_the_class_is() {
    let kind = |kind| Record { kind: Some(kind), ..Record::default() };
    let (meta, counters) = applied(kind(::intent::Kind::Cancel), datagram(ORDERS, Kind::Order));
    assert_eq!((meta.kind(), meta.is_exempt(), counters.kind_refused), (Kind::Cancel, true, 0));
    let (meta, counters) = applied(kind(::intent::Kind::Order), datagram(CANCELS, Kind::Cancel));
    assert_eq!((meta.kind(), meta.is_exempt(), counters.kind_refused), (Kind::Order, false, 0));
    for (record, meta) in [
        (::intent::Kind::Cancel, datagram(LOCKED_ORDERS, Kind::Order)),
        (::intent::Kind::Cancel, segment(FIX, Kind::Mixed)),
        (::intent::Kind::Session, datagram(BULK, Kind::Other)),
        (::intent::Kind::MarketData, datagram(ORDERS, Kind::Order)),
    ] {
        let (after, counters) = applied(kind(record), meta);
        assert_eq!((after, counters.kind_refused), (meta, 1), "{record:?}");
    }
}

#[test]
fn segments_stay_exempt_for_what_they_are() {
    let record = Record { kind: Some(::intent::Kind::Order), messages: Some(3), ..named(ORDERS) };
    let mut bare = segment(ORDERS, Kind::Order);
    bare.flags = flags::TCP | flags::EXEMPT | flags::BARE;
    bare.messages = 0;
    let (meta, _) = applied(record, bare);
    assert_eq!((meta.flags, meta.messages), (bare.flags, 0));

    let mut counters = ApplyCounters::default();
    let mut fin = segment(ORDERS, Kind::Order);
    let transport = Transport { is_control: true };
    terms().apply(&record, transport, &mut fin, &mut 3, &mut counters);
    assert!(fin.has(flags::EXEMPT) && !fin.has(flags::BARE));
}

#[test]
fn messages_are_bounded_by_what_a_packet_can_hold() {
    let stated = |n, meta| {
        let (meta, counters) = applied(Record { messages: Some(n), ..Record::default() }, meta);
        (meta.messages, counters.messages_bounded)
    };
    let order = datagram(ORDERS, Kind::Order);
    assert_eq!(stated(3, order), (3, 0));
    assert_eq!(stated(0, order), (1, 1));
    assert_eq!(stated(u16::MAX, datagram(CANCELS, Kind::Cancel)), (25, 1));
    assert_eq!(stated(u16::MAX, order), (20, 1));
    assert_eq!(stated(0, segment(ORDERS, Kind::Order)), (0, 0));
    assert_eq!(stated(0, datagram(LOGS, Kind::Other)), (0, 0));
    assert_eq!(stated(1, PacketMeta { len: 3, ..order }), (1, 0));
}

#[test]
fn messages_stay_within_one_burst_of_the_class() {
    let stated = |n, record: Record| {
        let record = Record { messages: Some(n), ..record };
        let (meta, counters) = applied(record, datagram(CANCELS, Kind::Cancel));
        (meta.messages, counters.messages_bounded, counters.messages_clamped)
    };
    assert_eq!(stated(21, Record::default()), (21, 0, 0));
    // The class that the packet ends up in counts.
    assert_eq!(stated(20, named(ORDERS)), (20, 0, 0));
    assert_eq!(stated(21, named(ORDERS)), (20, 0, 1));
    assert_eq!(stated(500, named(ORDERS)), (20, 1, 1));
}

#[test]
fn the_smallest_burst_of_any_profile_bounds_messages_and_a_venue_limit_lets_them_stand() {
    let text = |limit: &str| {
        format!(
            r#"
[gateway]
name = "bursts"
clock = "virtual"
[[port]]
name = "in"
side = "inside"
device = "capture"
[[port]]
name = "out"
side = "venue"
device = "capture"
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "orders"
venue = "back"
[[class]]
name = "orders"
kind = "order"
messages = "1000/s"
message_burst = 40
flow_messages = "1000/s"
flow_message_burst = 30
messages_per_segment = 1
halt_mixed = "block"
cancel_on_disconnect = true
[[class]]
name = "free"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
venue = "XCME"
[[rule]]
class = "free"
protocol = "udp"
dst_port = 514
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
message_burst = 12
{limit}
"#
        )
    };
    let most = |limit: &str| {
        let config = Config::from_toml("bursts.toml", &text(limit)).unwrap();
        [0, 1].map(|class| ClassTerms::of(&config, class).messages_max)
    };
    let of_venue =
        "[[venue_limit]]\nname = \"v\"\nvenue = \"XCME\"\nmessages = 500\nper = \"1s\"\n";
    assert_eq!(most(""), [12, u16::MAX]);
    assert_eq!(most(of_venue), [u16::MAX; 2]);
}

#[test]
fn a_label_gives_a_venue_only_where_the_rules_gave_none() {
    let label = |id, mut venue: u8| {
        let (mut meta, mut counters) = (datagram(ORDERS, Kind::Order), ApplyCounters::default());
        meta.label = 2;
        let record = Record { label: Some(id), ..Record::default() };
        terms().apply(&record, Transport::default(), &mut meta, &mut venue, &mut counters);
        (meta.label, meta.urgency, venue, counters.label_unknown, counters.venue_refused)
    };
    assert_eq!(label(1, NO_VENUE), (11, 5, 0, 0, 0));
    assert_eq!(label(1, 0), (11, 5, 0, 0, 0));
    assert_eq!(label(1, 4), (11, 5, 4, 0, 1));
    assert_eq!(label(300, 4), (12, 6, 4, 0, 0));
    assert_eq!(label(2, 4), (2, 0, 4, 1, 0));
    assert_eq!(label(u16::MAX, 4), (2, 0, 4, 1, 0));
    let record = Record { label: Some(1), urgency: Some(200), ..Record::default() };
    assert_eq!(applied(record, datagram(ORDERS, Kind::Order)).0.urgency, 200);
}

const US: u64 = 1_000;

#[test]
fn times_within_the_bounds_become_lags() {
    let record = Record {
        t_decision: Some(ARRIVAL.0 - 30 * US),
        t_dispatch: Some(ARRIVAL.0 - 10 * US),
        t_due: Some(ARRIVAL.0 + 50 * US),
        correlation_id: Some(77),
        ..Record::default()
    };
    let (meta, counters) = applied(record, datagram(ORDERS, Kind::Order));
    assert_eq!((meta.decision_lag_ns, meta.dispatch_lag_ns), (30_000, 10_000));
    assert_eq!((meta.due, meta.correlation_id), (ARRIVAL + Nanos(50 * US), 77));
    assert_eq!(meta.intent_source(), IntentSource::Tag);
    assert_eq!(counters, ApplyCounters { records: 1, ..ApplyCounters::default() });
}

#[test]
fn a_clock_that_is_off_takes_all_times_with_it() {
    let with = |dispatch: u64, error: Option<u32>| {
        let record = Record {
            t_dispatch: Some(dispatch),
            clock_error_ns: error,
            t_decision: Some(ARRIVAL.0 - 5 * US),
            t_due: Some(ARRIVAL.0 + US),
            ..Record::default()
        };
        let (meta, c) = applied(record, datagram(ORDERS, Kind::Order));
        (meta.due == ARRIVAL + Nanos(US), meta.decision_lag_ns, c.clock_ahead, c.clock_off)
    };
    assert_eq!(with(ARRIVAL.0 + 300, Some(500)), (true, 5_000, 1, 0));
    assert_eq!(with(ARRIVAL.0 + 300, Some(299)), (false, u32::MAX, 0, 1));
    assert_eq!(with(ARRIVAL.0 + 300, None), (false, u32::MAX, 0, 1));
    assert_eq!(with(ARRIVAL.0 + 1_000_001, Some(u32::MAX)), (false, u32::MAX, 0, 1));
    assert_eq!(with(ARRIVAL.0 - 4_000_000_001, None), (false, u32::MAX, 0, 1));
    assert_eq!(with(0, None), (false, u32::MAX, 0, 1));
    assert_eq!(with(u64::MAX, Some(u32::MAX)), (false, u32::MAX, 0, 1));
}

#[test]
fn due_times_are_used_within_their_bounds() {
    let due = |t: u64| {
        let record = Record { t_due: Some(t), ..Record::default() };
        let (meta, c) = applied(record, datagram(ORDERS, Kind::Order));
        (meta.due, meta.intent_source(), c.due_capped, c.time_refused)
    };
    let (tag, implicit) = (IntentSource::Tag, IntentSource::Implicit);
    let latest = ARRIVAL + Nanos::from_secs(60);
    assert_eq!(due(ARRIVAL.0 - 1), (ARRIVAL - Nanos(1), tag, 0, 0));
    assert_eq!(due(ARRIVAL.0 - 4_000_000_001), (ARRIVAL, implicit, 0, 1));
    assert_eq!(due(latest.0), (latest, tag, 0, 0));
    assert_eq!(due(latest.0 + 1), (latest, tag, 1, 0));
    assert_eq!(due(u64::MAX), (latest, tag, 1, 0));
}

#[test]
fn a_decision_behind_the_dispatch_is_not_used() {
    let record = Record {
        t_decision: Some(ARRIVAL.0 - US),
        t_dispatch: Some(ARRIVAL.0 - 2 * US),
        deadline: Some(ARRIVAL.0 - 1),
        ..Record::default()
    };
    let (meta, counters) = applied(record, datagram(ORDERS, Kind::Order));
    assert_eq!((meta.decision_lag_ns, meta.dispatch_lag_ns), (u32::MAX, 2_000));
    assert_eq!((counters.time_refused, counters.deadline_passed), (1, 1));
}

#[test]
fn kinds_have_the_same_numbers_on_both_sides() {
    for kind in ::intent::Kind::ALL {
        let ours = Kind::from_u8(kind as u8).unwrap();
        assert_eq!(format!("{kind:?}"), format!("{ours:?}"));
    }
    assert_eq!(::intent::Kind::ALL.len(), Kind::ALL.len());
}

proptest! {
    /// Whatever is stated, a packet stays within what its sender may do.
    #[test]
    fn nobody_gets_beyond_the_bounds(
        class in of(any::<u8>()), label in of(any::<u16>()), kind in of(0..9u8),
        messages in of(any::<u16>()), error in of(any::<u32>()),
        times in (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()), of(any::<u64>())),
        near in of(-5_000_000_000..70_000_000_000i64),
        ruled in 0..6u8, is_tcp in any::<bool>(),
    ) {
        let terms = terms();
        let before = terms.classes[usize::from(ruled)];
        let meta = datagram(ruled, before.kind);
        let mut after = if is_tcp { segment(ruled, before.kind) } else { meta };
        let near = near.map(|offset| ARRIVAL.0.saturating_add_signed(offset));
        let record = Record {
            class, label, messages,
            kind: kind.and_then(::intent::Kind::from_u8),
            clock_error_ns: error,
            t_decision: times.0, t_dispatch: times.1.or(near),
            t_due: near.or(times.2), deadline: times.3,
            ..Record::default()
        };
        let mut venue = 3;
        let mut counters = ApplyCounters::default();
        terms.apply(&record, Transport::default(), &mut after, &mut venue, &mut counters);

        let now = terms.classes[usize::from(after.class)];
        prop_assert!(after.class == ruled || (now.by_intent && now.from_inside));
        prop_assert!(now.kind.is_order_entry() || !before.kind.is_order_entry());
        prop_assert!(!is_tcp || now.halt_blocks || !before.halt_blocks);
        prop_assert!(after.kind() == now.kind || now.by_intent);
        prop_assert_eq!(after.kind().is_order_entry(), now.kind.is_order_entry());
        prop_assert_eq!(after.is_exempt(), after.kind().is_exempt());
        prop_assert_eq!(venue, 3);
        prop_assert!(after.messages <= after.len / 8);
        prop_assert!(messages.is_none() || after.messages <= now.messages_max);
        prop_assert!(!is_tcp || after.class == ruled || now.may_carry_tcp);
        prop_assert!(after.due >= ARRIVAL - Nanos::from_secs(4));
        prop_assert!(after.due <= ARRIVAL + Nanos::from_secs(60));
        prop_assert!(after.dispatch_lag_ns <= 4_000_000_000);
        prop_assert!(
            after.decision_lag_ns == u32::MAX || after.decision_lag_ns >= after.dispatch_lag_ns
        );
        prop_assert_eq!((after.arrival, after.len), (meta.arrival, meta.len));
    }
}
