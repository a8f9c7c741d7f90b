#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn tuple(host: u8) -> FlowTuple {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&[10, 1, 0, host]);
    FlowTuple { src, dst: [9; 16], src_port: 40_000, dst_port: 9_001, ip_version: 4 }
}

fn numbered(number: u64) -> Record {
    Record { correlation_id: Some(number), messages: Some(1), ..Record::default() }
}

fn at(host: u8, position: Position, number: u64) -> FlowRecord {
    FlowRecord { flow: tuple(host), position, record: numbered(number) }
}

fn number(record: Option<Record>) -> Option<(u64, u16)> {
    record.map(|record| (record.correlation_id.unwrap(), record.messages.unwrap()))
}

fn table(records_max: u32, flows_max: u32) -> SideTable {
    let expiry = Nanos::from_millis(100);
    SideTable::new(&SideTableSpec { records_max, flows_max, expiry })
}

const NOW: Nanos = Nanos::from_secs(1);

#[test]
fn offsets_count_from_the_syn_and_wrap_with_the_sequence() {
    let mut table = table(16, 4);
    let base = u32::MAX - 9;
    table.insert(NOW, &at(1, Position::StreamOffset(5), 1));
    assert_eq!(table.counters().no_base, 1);
    table.on_syn(&tuple(1), base);
    table.insert(NOW, &at(1, Position::StreamOffset(8), 1));
    table.insert(NOW, &at(1, Position::StreamOffset(20), 2));
    table.insert(NOW, &at(1, Position::StreamOffset((1 << 32) + 30), 3));
    let end = |offset: u32| base.wrapping_add(offset);
    assert_eq!(number(table.take_tcp(&tuple(1), base, end(8))), Some((1, 1)));
    assert_eq!(number(table.take_tcp(&tuple(1), end(8), end(20))), Some((2, 1)));
    assert_eq!(number(table.take_tcp(&tuple(1), end(20), end(30))), Some((3, 1)));
    assert!(table.is_empty());
    assert_eq!(table.counters().matched, 3);
}

#[test]
fn coalesced_segments_get_the_latest_record_and_all_messages() {
    let mut table = table(16, 4);
    table.on_syn(&tuple(1), 1_000);
    for (end, n) in [(10, 1), (20, 2), (30, 3), (40, 4)] {
        table.insert(NOW, &at(1, Position::StreamOffset(end), n));
    }
    // Three messages and half of the fourth; then its other half; then the first again.
    assert_eq!(number(table.take_tcp(&tuple(1), 1_000, 1_035)), Some((3, 3)));
    assert_eq!(number(table.take_tcp(&tuple(1), 1_000, 1_035)), None);
    assert_eq!(number(table.take_tcp(&tuple(1), 1_035, 1_040)), Some((4, 1)));
}

#[test]
fn the_last_segment_of_a_split_message_gets_its_record() {
    let mut table = table(16, 4);
    table.insert(NOW, &at(1, Position::Sequence(5_000), 1));
    assert_eq!(number(table.take_tcp(&tuple(1), 2_000, 3_448)), None);
    assert_eq!(number(table.take_tcp(&tuple(1), 3_448, 4_896)), None);
    assert_eq!(number(table.take_tcp(&tuple(1), 4_896, 5_000)), Some((1, 1)));
}

#[test]
fn kinds_that_meet_in_one_segment_are_mixed_unless_all_are_exempt() {
    let meet = |kinds: &[Option<Kind>]| {
        let mut table = table(16, 4);
        table.on_syn(&tuple(1), 0);
        for (k, kind) in kinds.iter().enumerate() {
            let record = Record { kind: *kind, ..Record::default() };
            let position = Position::StreamOffset(k as u64 + 1);
            table.insert(NOW, &FlowRecord { flow: tuple(1), position, record });
        }
        table.take_tcp(&tuple(1), 0, 100).unwrap().kind
    };
    let (order, cancel, exit) = (Some(Kind::Order), Some(Kind::Cancel), Some(Kind::Exit));
    assert_eq!(meet(&[order, order, order]), order);
    assert_eq!(meet(&[cancel, exit]), exit);
    assert_eq!(meet(&[None, None]), None);
    assert_eq!(meet(&[order, cancel]), Some(Kind::Mixed));
    assert_eq!(meet(&[None, cancel]), Some(Kind::Mixed));
    assert_eq!(meet(&[order, cancel, cancel]), Some(Kind::Mixed));
}

#[test]
fn records_whose_bytes_have_passed_are_late_and_ends_must_rise() {
    let mut table = table(16, 4);
    table.on_syn(&tuple(1), 0);
    table.insert(NOW, &at(1, Position::StreamOffset(10), 1));
    table.insert(NOW, &at(1, Position::StreamOffset(10), 2));
    table.insert(NOW, &at(1, Position::StreamOffset(9), 3));
    assert_eq!(table.counters().out_of_order, 2);
    table.insert(NOW, &at(1, Position::StreamOffset(20), 4));
    assert_eq!(number(table.take_tcp(&tuple(1), 10, 20)), Some((4, 1)));
    assert_eq!((table.counters().too_late, table.counters().matched), (1, 1));
}

#[test]
fn datagrams_take_the_oldest_record_of_their_length() {
    let mut table = table(16, 4);
    let next = |payload_bytes| Position::NextDatagram { payload_bytes };
    table.insert(NOW, &at(1, next(0), 1));
    table.insert(NOW, &at(2, next(50), 2));
    table.insert(NOW, &at(1, next(40), 3));
    table.insert(NOW, &at(1, next(40), 4));
    assert_eq!(number(table.take_udp(&tuple(1), 99)), Some((1, 1)));
    assert_eq!(number(table.take_udp(&tuple(1), 39)), None);
    assert_eq!(number(table.take_udp(&tuple(1), 40)), Some((4, 1)));
    assert_eq!(number(table.take_udp(&tuple(1), 40)), None);
    assert_eq!(number(table.take_udp(&tuple(2), 50)), Some((2, 1)));
    assert_eq!(number(table.take_tcp(&tuple(1), 0, 50)), None);
    assert_eq!((table.counters().length_differs, table.counters().matched), (1, 3));
}

#[test]
fn old_records_expire_and_the_oldest_makes_room() {
    let mut table = table(4, 4);
    let sequence = |n: u64| Position::Sequence(n as u32 * 10);
    for n in 1..=6 {
        table.insert(Nanos(n), &at(1 + (n % 2) as u8, sequence(n), n));
    }
    assert_eq!((table.len(), table.counters().dropped_oldest), (4, 2));
    let lived = Nanos::from_millis(100);
    table.expire(Nanos(2) + lived);
    assert_eq!(table.len(), 4);
    table.expire(Nanos(4) + lived);
    assert_eq!((table.len(), table.counters().expired), (2, 2));
    assert_eq!(number(table.take_tcp(&tuple(2), 0, 50)), Some((5, 1)));
    assert_eq!(number(table.take_tcp(&tuple(1), 0, 60)), Some((6, 1)));
}

#[test]
fn the_flow_not_used_for_longest_makes_room() {
    let mut table = table(16, 2);
    table.on_syn(&tuple(1), 100);
    table.on_syn(&tuple(2), 200);
    table.insert(NOW, &at(2, Position::StreamOffset(5), 2));
    table.insert(NOW, &at(1, Position::StreamOffset(5), 1));
    table.on_syn(&tuple(3), 300);
    assert_eq!((table.counters().flows_dropped, table.counters().dropped_with_flow), (1, 1));
    assert_eq!(number(table.take_tcp(&tuple(2), 200, 205)), None);
    assert_eq!(number(table.take_tcp(&tuple(1), 100, 105)), Some((1, 1)));
    table.insert(NOW, &at(2, Position::StreamOffset(9), 2));
    assert_eq!(table.counters().no_base, 1);
}

#[test]
fn a_syn_sent_again_changes_nothing_and_a_new_one_begins_anew() {
    let mut table = table(16, 2);
    table.on_syn(&tuple(1), 100);
    table.insert(NOW, &at(1, Position::StreamOffset(5), 1));
    table.on_syn(&tuple(1), 100);
    assert_eq!(table.len(), 1);
    table.on_syn(&tuple(1), 7_000);
    assert_eq!((table.len(), table.counters().dropped_with_flow), (0, 1));
    table.insert(NOW, &at(1, Position::StreamOffset(5), 2));
    assert_eq!(number(table.take_tcp(&tuple(1), 7_000, 7_005)), Some((2, 1)));
}

/// The rules again, with a list.
#[derive(Default)]
struct Plain {
    /// Flow, end, number; oldest first.
    waiting: VecDeque<(u8, u32, u64)>,
}

impl Plain {
    fn insert(&mut self, max: usize, host: u8, end: u32, number: u64) {
        let last = self.waiting.iter().rev().find(|w| w.0 == host);
        if last.is_some_and(|last| end.wrapping_sub(last.1).cast_signed() <= 0) {
            return;
        }
        if self.waiting.len() == max {
            self.waiting.pop_front();
        }
        self.waiting.push_back((host, end, number));
    }

    fn take(&mut self, host: u8, start: u32, end: u32) -> Option<(u64, u16)> {
        let mut answer = None;
        while let Some(k) = self.waiting.iter().position(|w| w.0 == host) {
            let (_, at, number) = self.waiting[k];
            if at.wrapping_sub(end).cast_signed() > 0 {
                break;
            }
            self.waiting.remove(k);
            if at.wrapping_sub(start).cast_signed() > 0 {
                answer = Some((number, answer.map_or(1, |(_, messages): (u64, u16)| messages + 1)));
            }
        }
        answer
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { host: u8, end: u32 },
    Take { host: u8, start: u32, bytes: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    // Near the wrap of the sequence.
    let place = (0..400u32).prop_map(|n| n.wrapping_sub(200));
    prop_oneof![
        (0..6u8, place.clone()).prop_map(|(host, end)| Step::Insert { host, end }),
        (0..6u8, place, 0..60u32).prop_map(|(host, start, bytes)| Step::Take {
            host,
            start,
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn it_is_the_list_of_the_rules(steps in proptest::collection::vec(step(), 0..400)) {
        let (mut table, mut plain) = (table(8, 8), Plain::default());
        for (k, step) in steps.iter().enumerate() {
            let n = k as u64 + 1;
            match *step {
                Step::Insert { host, end } => {
                    table.insert(NOW, &at(host, Position::Sequence(end), n));
                    plain.insert(8, host, end, n);
                }
                Step::Take { host, start, bytes } => {
                    let end = start.wrapping_add(bytes);
                    let found = number(table.take_tcp(&tuple(host), start, end));
                    prop_assert_eq!(found, plain.take(host, start, end));
                }
            }
            prop_assert_eq!(table.len() as usize, plain.waiting.len());
        }
        let c = table.counters();
        prop_assert_eq!(
            c.inserted,
            c.matched + c.too_late + c.dropped_oldest + u64::from(table.len())
        );
    }

    /// Many more flows than there is room for: every record is accounted for, and what is still
    /// known is found.
    #[test]
    fn a_flood_of_flows_loses_only_what_it_counts(
        hosts in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        let mut table = table(64, 16);
        for (k, host) in hosts.iter().enumerate() {
            table.insert(NOW, &at(*host, Position::Sequence(k as u32 + 1), k as u64));
        }
        let last = hosts.len() - 1;
        let taken = table.take_tcp(&tuple(hosts[last]), last as u32, last as u32 + 1);
        prop_assert_eq!(number(taken), Some((last as u64, 1)));
        let c = table.counters();
        prop_assert_eq!(
            c.inserted,
            c.matched + c.too_late + c.dropped_oldest + c.dropped_with_flow
                + u64::from(table.len())
        );
        table.expire(Nanos::MAX);
        table.expire(Nanos::MAX);
        prop_assert!(table.is_empty());
    }
}
