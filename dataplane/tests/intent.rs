//! Shims in packets, groups over the flow table, and records on their way to the side table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use common::{Bench, bytes_of, eal};
use dataplane::flow_hash::FlowHash;
use dataplane::intent::groups::{Groups, Queues};
use dataplane::intent::strip::{ShimPolicy, StripCounters, Stripper};
use intent::{Record, shim};
use model::drop_reason::DropReason;
use model::frame::FlowKey;
use model::pacer::{NO_VENUE, Seat};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A frame of `body` behind `tags` VLAN tags.
fn frame(tags: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for tag in 0..tags {
        bytes.extend([if tag == 0 { 0x88 } else { 0x81 }, if tag == 0 { 0xa8 } else { 0 }]);
        bytes.extend([0x20, 7 + tag as u8]);
    }
    bytes.extend([0x08, 0x00]);
    bytes.extend(body);
    bytes
}

fn record(number: u64) -> Record {
    Record { correlation_id: Some(number), class: Some(3), ..Record::default() }
}

fn tagged(frame: &[u8], record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; frame.len() + shim::SHIM_BYTES];
    assert_eq!(shim::tag_frame(frame, record, &mut bytes), Ok(bytes.len()));
    bytes
}

#[test]
fn a_frame_comes_out_as_it_would_have_been_without_its_shim() {
    let bench = Bench::new();
    let stripper = RefCell::new(Stripper::new(ShimPolicy::Strip));
    let mut runner = TestRunner::new(Config::default());
    let values = (0..3usize, proptest::collection::vec(any::<u8>(), 0..1400), any::<u64>());
    runner
        .run(&values, |(tags, body, number)| {
            let without = frame(tags, &body);
            let mut packet = bench.pool.alloc_from(&tagged(&without, &record(number))).unwrap();
            prop_assert_eq!(stripper.borrow_mut().strip(&mut packet), Ok(Some(record(number))));
            prop_assert_eq!(bytes_of(&packet), &without[..]);
            prop_assert_eq!(packet.len() as usize, without.len());
            // It is not looked for again.
            prop_assert_eq!(stripper.borrow_mut().strip(&mut packet), Ok(None));
            Ok(())
        })
        .unwrap();
    let counters = stripper.borrow().counters();
    assert_eq!((counters.malformed, counters.refused), (0, 0));
    assert_eq!(counters.bytes_stripped(), 64 * counters.stripped);
    assert!(counters.stripped >= 256);
}

#[test]
fn shims_are_refused_where_none_are_taken() {
    let bench = Bench::new();
    let mut stripper = Stripper::new(ShimPolicy::Refuse);
    for tags in 0..3 {
        let with = tagged(&frame(tags, &[1; 60]), &record(1));
        let mut packet = bench.pool.alloc_from(&with).unwrap();
        assert_eq!(stripper.strip(&mut packet), Err(DropReason::IntentRefused));
        assert_eq!(bytes_of(&packet), with);
        let mut packet = bench.pool.alloc_from(&frame(tags, &[1; 60])).unwrap();
        assert_eq!(stripper.strip(&mut packet), Ok(None));
    }
    assert_eq!(stripper.counters(), StripCounters { refused: 3, ..StripCounters::default() });
}

#[test]
fn a_second_shim_behind_the_first_is_refused() {
    let bench = Bench::new();
    let mut stripper = Stripper::new(ShimPolicy::Strip);
    let mut with = tagged(&frame(1, &[1; 60]), &record(1));
    let mut second = [0; shim::SHIM_BYTES];
    shim::encode(&record(2), &mut second);
    with.splice(16..16, second);
    let mut packet = bench.pool.alloc_from(&with).unwrap();
    assert_eq!(stripper.strip(&mut packet), Err(DropReason::IntentRefused));
    assert_eq!(bytes_of(&packet), with);
}

#[test]
fn what_cannot_be_read_is_malformed_and_left_as_it_was() {
    let bench = Bench::new();
    let mut stripper = Stripper::new(ShimPolicy::Strip);
    let with = tagged(&frame(0, &[1; 60]), &record(1));
    // Cut anywhere between the EtherType of the shim and the one behind it.
    for length in 14..with.len() {
        let mut packet = bench.pool.alloc_from(&with[..length]).unwrap();
        let whole = length >= 12 + shim::SHIM_BYTES + 2;
        let found = stripper.strip(&mut packet);
        assert_eq!(found.is_ok(), whole, "{length} bytes");
        if !whole {
            assert_eq!(found, Err(DropReason::IntentMalformed));
            assert_eq!(bytes_of(&packet), &with[..length]);
        }
    }
    for (at, byte) in [(14, 0), (16, 9), (17, 60), (18, 0xff)] {
        let mut bytes = with.clone();
        bytes[at] = byte;
        let mut packet = bench.pool.alloc_from(&bytes).unwrap();
        assert_eq!(stripper.strip(&mut packet), Err(DropReason::IntentMalformed), "byte {at}");
    }
}

#[test]
fn any_bytes_behind_the_ether_type_have_an_answer() {
    let bench = Bench::new();
    let mut runner = TestRunner::new(Config::default());
    let values = (0..3usize, proptest::collection::vec(any::<u8>(), 0..200), any::<bool>());
    runner
        .run(&values, |(tags, body, magic)| {
            let mut bytes = frame(tags, &body);
            let at = 12 + 4 * tags;
            bytes[at..at + 2].copy_from_slice(&[0x88, 0xb5]);
            if magic && body.len() >= 6 {
                bytes[at + 2..at + 8].copy_from_slice(&[0x77, 0x70, 1, 64, 0, 0]);
            }
            let mut packet = bench.pool.alloc_from(&bytes).unwrap();
            let found = Stripper::new(ShimPolicy::Strip).strip(&mut packet);
            match found {
                Ok(Some(_)) => prop_assert_eq!(packet.len() as usize, bytes.len() - 64),
                Ok(None) => prop_assert!(false, "the shim was not seen"),
                Err(_) => prop_assert_eq!(bytes_of(&packet), bytes),
            }
            Ok(())
        })
        .unwrap();
}

/// The 5-tuple of a sender's socket.
fn socket(host: u8, port: u16) -> FlowKey {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&[10, 1, 0, host]);
    FlowKey { src, src_port: port, protocol: 17, ip_version: 4, ..FlowKey::default() }
}

/// A pacer whose flows are numbers: those that are in `busy` hold packets.
struct Numbers {
    next_flow: u32,
    given_back: Vec<u32>,
    busy: BTreeSet<u32>,
    /// Flows whose 5-tuples queue elsewhere.
    joined: Vec<u32>,
}

impl Queues for Numbers {
    fn is_empty(&self, flow: u32) -> bool {
        !self.busy.contains(&flow)
    }

    fn joins(&mut self, flow: u32) {
        self.joined.push(flow);
    }

    fn new_group(&mut self, seat: Seat) -> Option<u32> {
        assert_ne!(seat.id, 0);
        if let Some(flow) = self.given_back.pop() {
            return Some(flow);
        }
        self.next_flow += 1;
        (self.next_flow <= 64).then(|| self.next_flow - 1)
    }
}

/// Groups over such a pacer.
struct Desk {
    groups: Groups,
    flows: Numbers,
}

impl Desk {
    fn new(name: &str, groups_max: u32) -> Self {
        let table = FlowHash::create(&eal(), name, groups_max).unwrap();
        // Flows below 40 are those of 5-tuples.
        let (busy, joined) = (BTreeSet::new(), vec![]);
        let flows = Numbers { next_flow: 40, given_back: vec![], busy, joined };
        Self { groups: Groups::new(table, 64), flows }
    }

    /// A packet of a 5-tuple whose own flow is `own`.
    fn place(&mut self, key: FlowKey, own: u32, wanted: Option<u32>) -> u32 {
        let founder = Seat { id: 0, class: 0, venue: NO_VENUE, label: 0 };
        self.groups.place(&key, own, wanted, founder, &mut self.flows)
    }

    fn forget(&mut self, own: u32) -> bool {
        self.groups.forget(own, &self.flows)
    }

    /// The pacer takes a spare flow back unless it `owes`.
    fn give_back(&mut self, owes: Option<u32>) {
        let given_back = &mut self.flows.given_back;
        self.groups.give_back(|flow| {
            let takes = owes != Some(flow);
            given_back.extend(takes.then_some(flow));
            takes
        });
    }
}

#[test]
fn a_group_joins_the_flows_of_one_sender() {
    let _bench = Bench::new();
    let mut desk = Desk::new("groups-join", 8);
    desk.groups.begin_burst();
    let first = desk.place(socket(1, 1), 1, Some(9));
    assert_eq!(desk.flows.joined, [1], "the flow of its own is no group any more");
    assert_eq!(first, 40);
    assert_eq!(desk.place(socket(1, 2), 2, Some(9)), first);
    // The same number from another address is another group.
    assert_eq!(desk.place(socket(2, 1), 3, Some(9)), 41);
    // Without a record the packet follows its 5-tuple.
    assert_eq!(desk.place(socket(1, 1), 1, None), first);
    assert_eq!(desk.place(socket(1, 3), 4, None), 4);
    assert_eq!(desk.groups.len(), 2);
}

#[test]
fn a_5_tuple_changes_group_only_when_nothing_of_it_waits() {
    let _bench = Bench::new();
    let mut desk = Desk::new("groups-change", 8);
    desk.groups.begin_burst();
    let first = desk.place(socket(1, 1), 1, Some(9));
    // A packet of this burst is not with the pacer yet, and counts all the same.
    assert_eq!(desk.place(socket(1, 1), 1, Some(10)), first);
    desk.groups.begin_burst();
    desk.flows.busy.insert(first);
    assert_eq!(desk.place(socket(1, 1), 1, Some(10)), first);
    assert_eq!(desk.groups.counters().changes_waiting, 2);
    desk.groups.begin_burst();
    desk.flows.busy.clear();
    let second = desk.place(socket(1, 1), 1, Some(10));
    assert_ne!(second, first);
    assert_eq!(desk.place(socket(1, 1), 1, None), second);
    // Nobody is in the first group any more: once its flow owes nothing, the next one may get it.
    assert_eq!(desk.groups.len(), 1);
    desk.give_back(Some(first));
    assert_eq!(desk.place(socket(4, 1), 7, Some(1)), 42);
    desk.give_back(None);
    assert_eq!(desk.place(socket(3, 1), 5, Some(1)), first);
    // The first packet of a 5-tuple, without a group, waits in its own flow.
    assert_eq!(desk.place(socket(3, 2), 6, None), 6);
    assert_eq!(desk.place(socket(3, 2), 6, Some(1)), 6);
}

#[test]
fn a_group_lives_as_long_as_one_5_tuple_is_in_it() {
    let _bench = Bench::new();
    let mut desk = Desk::new("groups-leave", 2);
    desk.groups.begin_burst();
    let flow = desk.place(socket(1, 1), 1, Some(9));
    assert_eq!(desk.place(socket(1, 2), 2, Some(9)), flow);
    desk.place(socket(1, 3), 3, Some(10));
    // The table is full: the 5-tuple keeps its own flow.
    assert_eq!(desk.place(socket(1, 4), 4, Some(11)), 4);
    assert_eq!(desk.groups.counters().full, 1);
    // While the group holds packets its members are remembered.
    desk.flows.busy.insert(flow);
    assert!(!desk.forget(1) && desk.forget(4));
    desk.flows.busy.clear();
    assert!(desk.forget(1));
    assert_eq!(desk.groups.len(), 2);
    assert!(desk.forget(2) && desk.forget(2));
    assert_eq!(desk.groups.len(), 1);
    desk.groups.begin_burst();
    // No more flows than groups: the one that is left comes back first.
    assert_eq!(desk.place(socket(1, 4), 4, Some(11)), 4);
    desk.give_back(None);
    desk.groups.begin_burst();
    assert_eq!(desk.place(socket(1, 4), 4, Some(11)), flow);
    // A flow beyond the pacer's is nobody's.
    assert_eq!(desk.place(socket(1, 5), 1_000, Some(11)), 1_000);
    assert!(desk.forget(1_000));
}

/// Whatever groups are named and whichever flows hold packets, the packets of a 5-tuple and of a group
/// leave in the order in which they came: a pacer of plain queues shows it.
#[test]
fn no_packet_of_a_5_tuple_can_pass_another() {
    let _bench = Bench::new();
    let mut runner = TestRunner::new(Config::default());
    // A packet of a socket with a group, or the end of a burst and the flows that are drained.
    let step = prop_oneof![
        4 => (1..6u32, proptest::option::of(0..4u32)).prop_map(Ok),
        1 => any::<u64>().prop_map(Err),
    ];
    let number = Cell::new(0_u32);
    runner
        .run(&proptest::collection::vec(step, 0..200), |steps| {
            number.set(number.get() + 1);
            let mut desk = Desk::new(&format!("order-{}", number.get()), 3);
            let mut queues = vec![Vec::new(); 64];
            let (mut burst, mut sent) = (Vec::new(), Vec::new());
            desk.groups.begin_burst();
            for (k, step) in steps.into_iter().chain([Err(u64::MAX)]).enumerate() {
                match step {
                    Ok((own, group)) => {
                        let flow = desk.place(socket(1, own as u16), own, group);
                        burst.push((flow, own, k));
                    }
                    Err(drained) => {
                        for (flow, own, k) in burst.drain(..) {
                            queues[flow as usize].push((own, k));
                        }
                        for (flow, queue) in queues.iter_mut().enumerate() {
                            if drained >> flow & 1 == 1 {
                                sent.append(queue);
                            }
                        }
                        let holds = |flow: &u32| !queues[*flow as usize].is_empty();
                        desk.flows.busy = (0..64).filter(holds).collect();
                        desk.groups.begin_burst();
                        desk.give_back(None);
                    }
                }
            }
            for own in 1..6 {
                let order: Vec<_> = sent.iter().filter(|packet| packet.0 == own).collect();
                prop_assert!(order.is_sorted(), "{order:?}");
            }
            prop_assert!(desk.groups.len() <= 3);
            Ok(())
        })
        .unwrap();
}
