//! What a sender says of its packets, through the whole lane.

use dataplane::classify::Classifier;
use dataplane::flow_hash::FlowHash;
use dataplane::intent::apply::Terms;
use dataplane::intent::desk::{Desk, DeskCounters, DeskParts};
use dataplane::intent::groups::Groups;
use dataplane::intent::inlet::Inlet;
use dataplane::intent::side_table::{SideTable, SideTableSpec};
use dataplane::intent::strip::ShimPolicy;
use intent::{FlowRecord, FlowTuple, Kind, Position, Record, shim};
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kind;
use model::meta::IntentSource;
use model::stop::StopWord;
use model::time::Nanos;

use crate::common::{Bench, eal};
use crate::frames::{ACK, FIX, Frame, LOGS, ORDERS, REPLACES, TCP_ORDERS, order, tcp, udp};
use crate::world::{Rings, World, config, ms, us};

/// Classes of the config by their place in it.
const ORDERS_CLASS: u8 = 0;
const REPLACES_CLASS: u8 = 1;
const CANCELS_CLASS: u8 = 2;
const TCP_ORDERS_CLASS: u8 = 6;

/// A world whose senders may name orders, replaces and cancels. With records that were said before
/// its side table holds them; else the lane is as the config makes it.
fn world(said: &[FlowRecord]) -> World {
    let (orders, replaces, cancels) =
        ("name = \"orders\"\nkind", "name = \"replaces\"\nkind", "name = \"cancels\"\nkind");
    let named = |class: &str| class.replace("kind", "intent = true\nkind");
    let config = config(&[
        ("side = \"inside\"", "side = \"inside\"\nintent = \"shim\""),
        ("[default_class]", "[[label]]\nid = 5\nurgency = 9\n[default_class]"),
        (orders, &named(orders)),
        (replaces, &named(replaces)),
        (cancels, &named(cancels)),
    ]);
    let bench = Bench::new();
    let desk = (!said.is_empty()).then(|| {
        let mut table = SideTable::new(&SideTableSpec::default());
        for record in said {
            table.insert(Nanos::ZERO, record);
        }
        let groups = FlowHash::create(&eal(), "groups-side", 8).unwrap();
        Desk::new(DeskParts {
            shim: ShimPolicy::Strip,
            terms: Terms::of(&config),
            groups: Groups::new(groups, Classifier::flows_needed(&config)),
            first_own_flow: Classifier::shared_flows(&config),
            side: Some((Inlet::default(), table)),
        })
    });
    World::with_intent(&config, CompletionSource::Synchronous, &Rings::default(), bench, desk)
}

/// A frame with what is meant by it; it carries `number`.
fn tagged(frame: &Frame, number: u32, record: &Record) -> Frame {
    let bytes = frame.bytes(number);
    let mut with = vec![0; bytes.len() + shim::SHIM_BYTES];
    shim::tag_frame(&bytes, record, &mut with).unwrap();
    Frame::Raw(with)
}

fn counters(world: &World) -> DeskCounters {
    world.worker().lanes()[0].intent().unwrap().counters()
}

const START: Nanos = Nanos::from_secs(10);

fn started(said: &[FlowRecord]) -> World {
    let mut world = world(said);
    world.now = START;
    world
}

#[test]
fn a_tagged_order_leaves_when_it_is_due_as_if_it_had_never_been_tagged() {
    let mut world = started(&[]);
    let due = START + ms(3);
    let record = Record {
        class: Some(REPLACES_CLASS),
        label: Some(5),
        correlation_id: Some(77),
        t_decision: Some(START.0 - 30_000),
        t_dispatch: Some(START.0 - 20_000),
        t_due: Some(due.0),
        ..Record::default()
    };
    world.send(START, &tagged(&order(1), 500, &record));
    world.run_until(due - Nanos(1));
    assert!(world.out().is_empty());
    world.run_dry();
    let (at, number) = world.story()[0];
    assert_eq!((at >= due, number), (true, 500));
    assert_eq!(world.wire.borrow().frames, [order(1).bytes(500)]);
    assert_eq!(counters(&world).shims.bytes_stripped(), 64);
    let books = world.books();
    let row = &books.samples[0];
    assert_eq!((row.class, row.correlation_id, row.urgency), (REPLACES_CLASS, Some(77), 9));
    assert_eq!((row.intent, row.t_due), (IntentSource::Tag, due));
    assert_eq!(row.t_decision, Some(START - us(30)));
    assert_eq!(row.t_dispatch, START - us(20));
}

#[test]
fn a_tag_can_make_a_datagram_a_cancel_but_not_leave_order_entry() {
    let mut world = started(&[]);
    // Two orders empty the bucket of messages; the cancel of another flow does not wait for it.
    let numbers = world.send_all([order(1), order(1), order(1)]);
    let cancel = Record { kind: Some(Kind::Cancel), ..Record::default() };
    world.send(START, &tagged(&order(2), 600, &cancel));
    // `other` may not be named, and nothing leads out of order entry.
    let escape = Record { class: Some(8), ..Record::default() };
    world.send(START, &tagged(&order(3), 700, &escape));
    world.run_until(START);
    assert!(world.out().contains(&600) && !world.out().contains(&numbers[2]));
    world.run_dry();
    assert_eq!(counters(&world).records.class_refused, 1);
    let books = world.books();
    let kinds: Vec<_> = books.samples.iter().map(|row| row.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == kind::Kind::Cancel).count(), 1);
    assert!(books.samples.iter().all(|row| row.class == ORDERS_CLASS));
}

#[test]
fn shims_that_are_not_taken_end_under_their_names() {
    let mut world = started(&[]);
    let record = Record::default();
    let with = |number| tagged(&order(1), number, &record);
    let Frame::Raw(mut unreadable) = with(1) else { unreachable!() };
    unreadable[16] = 2;
    let Frame::Raw(mut twice) = with(2) else { unreachable!() };
    let mut second = [0; shim::SHIM_BYTES];
    shim::encode(&record, &mut second);
    twice.splice(12..12, second);
    world.send(START, &Frame::Raw(unreadable));
    world.send(START, &Frame::Raw(twice));
    world.send(START, &with(3));
    // From the venue none is taken.
    world.answer(START, &with(4));
    world.run_dry();
    assert_eq!(world.out(), [3]);
    assert!(world.back.borrow().sent.is_empty());
    let books = world.books();
    assert_eq!(books.dropped(DropReason::IntentMalformed), 1);
    assert_eq!(books.dropped(DropReason::IntentRefused), 2);
    assert_eq!(books.totals.dropped(), 3);
}

#[test]
fn packets_of_a_group_keep_their_order_over_flows_and_classes() {
    let departures = |group: Option<u32>| {
        let mut world = started(&[]);
        let record = Record { group, ..Record::default() };
        // Orders and replaces of one host wait for buckets of their own; cancels for nothing.
        let frames = [ORDERS, ORDERS, ORDERS, ORDERS, REPLACES, REPLACES, REPLACES, REPLACES];
        for (k, port) in frames.into_iter().enumerate() {
            world.send(START, &tagged(&udp(1, port), 100 + k as u32, &record));
        }
        world.run_dry();
        let out = world.out();
        assert_eq!(world.books().totals.packets_out, 8);
        out
    };
    let in_order: Vec<u32> = (100..108).collect();
    assert_ne!(departures(None), in_order, "without a group the flows pass each other");
    assert_eq!(departures(Some(1)), in_order);
}

#[test]
fn connections_of_a_group_do_not_mix_their_sequence_numbers() {
    let departures = |group: Option<u32>| {
        let mut world = started(&[]);
        world.wire.borrow_mut().takes = 0;
        let record = Record { group, ..Record::default() };
        for port in [FIX, TCP_ORDERS, FIX] {
            world.send(START, &tagged(&tcp(1, port, ACK, 100), 900, &record));
        }
        world.run_for(us(10));
        world.wire.borrow_mut().takes = usize::MAX;
        world.run_dry();
        let out = world.out();
        (out, world.books().dropped(DropReason::DuplicateHeld))
    };
    // The third is the first again; in a group nobody can tell.
    assert_eq!(departures(None), (vec![900; 2], 1));
    assert_eq!(departures(Some(1)), (vec![900; 3], 0));
}

#[test]
fn a_stream_is_not_led_into_a_class_that_no_rule_lets_tcp_into() {
    let mut world = started(&[]);
    let record = Record { class: Some(REPLACES_CLASS), ..Record::default() };
    world.send(START, &tagged(&tcp(1, TCP_ORDERS, ACK, 100), 900, &record));
    world.send(START, &tagged(&order(1), 901, &record));
    world.run_dry();
    assert_eq!(counters(&world).records.class_refused, 1);
    let samples = world.books().samples;
    let class_of = |tcp: bool| samples.iter().find(|row| row.tcp_end_seq.is_some() == tcp);
    assert_eq!(class_of(true).map(|row| row.class), Some(TCP_ORDERS_CLASS));
    assert_eq!(class_of(false).map(|row| row.class), Some(REPLACES_CLASS));
}

#[test]
fn a_halt_stops_a_stream_whatever_its_tags_say() {
    let mut world = started(&[]);
    world.word("all", StopWord::Halt);
    let record =
        Record { class: Some(CANCELS_CLASS), kind: Some(Kind::Cancel), ..Record::default() };
    world.send(START, &tagged(&tcp(1, FIX, ACK, 100), 900, &record));
    world.send(START, &tagged(&tcp(1, TCP_ORDERS, ACK, 100), 901, &record));
    world.run_dry();
    assert!(world.out().is_empty());
    assert_eq!(counters(&world).records.class_refused, 2);
    assert_eq!(world.books().dropped(DropReason::Halted), 2);
}

#[test]
fn a_record_beside_the_stream_finds_its_segment() {
    let mut tuple = FlowTuple {
        src: [0; 16],
        dst: [0; 16],
        src_port: 40_000,
        dst_port: TCP_ORDERS,
        ip_version: 4,
    };
    tuple.src[..4].copy_from_slice(&[10, 1, 0, 1]);
    tuple.dst[..4].copy_from_slice(&[10, 9, 0, 1]);
    let said = |end: u32, id: u64| FlowRecord {
        flow: tuple,
        position: Position::Sequence(end),
        record: Record {
            correlation_id: Some(id),
            messages: Some(3),
            t_due: Some(ms(52).0),
            ..Record::default()
        },
    };
    let mut world = world(&[said(150, 1), said(200, 2)]);
    // Said at zero, and a record lives for 100 ms.
    world.now = ms(50);
    let bytes = tcp(1, TCP_ORDERS, ACK, 100).bytes(100);
    world.send(ms(50), &Frame::Raw(bytes));
    world.send(ms(50), &udp(1, LOGS));
    world.run_dry();
    let books = world.books();
    let row = books.samples.iter().find(|row| row.tcp_end_seq == Some(200)).unwrap();
    assert_eq!((row.correlation_id, row.messages), (Some(2), 6));
    assert_eq!((row.t_due, row.intent), (ms(52), IntentSource::Tag));
    assert!(row.t_tx.unwrap() >= ms(52));
}
