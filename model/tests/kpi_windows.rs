//! Burst windows against a count of each window in a map.

use std::collections::{BTreeMap, BTreeSet};

use model::kpi::{BurstTotals, BurstWindows, Shape, burst_window};
use model::time::Nanos;
use proptest::prelude::*;

/// Of each packet on the wire.
const BYTES: u32 = 100;

/// A packet: gap to the departure before it, how long before its departure it was due.
#[derive(Clone, Copy, Debug)]
struct Packet {
    gap_ns: u64,
    lag_ns: u64,
}

fn packets(lag_ns_max: u64) -> impl Strategy<Value = Vec<Packet>> {
    let gap = prop_oneof![0_u64..2_000, 0_u64..400_000, 0_u64..2_000_000_000];
    let lag = prop_oneof![Just(0_u64), 0_u64..600_000, 0..lag_ns_max];
    let packet = (gap, lag).prop_map(|(gap_ns, lag_ns)| Packet { gap_ns, lag_ns });
    prop::collection::vec(packet, 1..600)
}

/// The straightforward way: every window in a map.
fn expected(packets: &[Packet], width: u64, start: u64) -> BurstTotals {
    let (mut wire_counts, mut due_counts) = (BTreeMap::new(), BTreeMap::new());
    let mut eligible = BTreeSet::new();
    let mut wire = start;
    for packet in packets {
        wire += packet.gap_ns;
        let due = wire - packet.lag_ns;
        *wire_counts.entry(wire / width).or_insert(0) += 1;
        *due_counts.entry(due / width).or_insert(0) += 1;
        eligible.extend(due / width..=wire / width);
    }
    let n = packets.len() as u64;
    BurstTotals {
        wire_max: wire_counts.values().copied().max().unwrap_or(0),
        wire_packets: n,
        active_windows: wire_counts.len() as u64,
        eligible_windows: eligible.len() as u64,
        due_max: due_counts.values().copied().max().unwrap_or(0),
        due_packets: n,
        late_packets: 0,
    }
}

/// Each packet arrives when it is due. `tick` = how many departures between two ticks.
fn counted(packets: &[Packet], width: u64, start: u64, tick: usize) -> BurstTotals {
    let mut windows = BurstWindows::new(Nanos(width));
    let mut events = Vec::new();
    let mut wire = start;
    for packet in packets {
        wire += packet.gap_ns;
        // Arrivals before departures of the same instant.
        events.push((wire - packet.lag_ns, 0, None));
        events.push((wire, 1, Some(wire - packet.lag_ns)));
    }
    events.sort_by_key(|&(at, order, _)| (at, order));
    let (mut total, mut block) = (Shape::default(), Shape::default());
    let (mut waiting, mut departed) = (0, 0);
    for (at, _, departs_due) in events {
        let Some(due) = departs_due else {
            if waiting == 0 {
                windows.begin_waiting(Nanos(at));
            }
            waiting += 1;
            continue;
        };
        windows.depart(Nanos(due), Nanos(at), BYTES, &mut block);
        waiting -= 1;
        departed += 1;
        if departed % tick == 0 {
            windows.fold_before(Nanos(at), &mut block);
            total.merge(&std::mem::take(&mut block));
        }
    }
    windows.fold_all(&mut block);
    total.merge(&block);
    // Packets of one size: bytes have the shape of packets.
    let bytes = u64::from(BYTES);
    assert_eq!(total.wire_bytes, total.bursts.wire_packets * bytes);
    assert_eq!(total.wire_bytes_max, total.bursts.wire_max * bytes);
    assert_eq!(total.due_bytes_max, total.bursts.due_max * bytes);
    total.bursts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Due times out of order within a second find their window, whenever control takes a block.
    #[test]
    fn every_window_is_counted_exactly(
        packets in packets(999_000_000),
        cadence_us in prop_oneof![Just(0_u64), 1_u64..600],
        start in prop_oneof![Just(1_000_000_000_u64), Just(1_700_000_000_123_456_789)],
        tick in 1_usize..700,
    ) {
        let width = burst_window(Some(Nanos::from_micros(cadence_us))).0;
        let totals = counted(&packets, width, start, tick);
        prop_assert_eq!(totals, expected(&packets, width, start));
        if packets.len() >= 30 {
            let figures = totals.burstiness();
            let (wire_max, due_max) = (totals.wire_max as f64, totals.due_max as f64);
            prop_assert_eq!(figures.bi, Some(wire_max / packets.len() as f64));
            let excess = figures.excess.unwrap();
            prop_assert!((excess - wire_max / due_max).abs() < 1e-12);
        }
    }

    /// A due time that is too old is counted apart; what is late does not depend on ticks.
    #[test]
    fn what_is_late_does_not_depend_on_ticks(packets in packets(3_000_000_000), tick in 1_usize..50) {
        let start = 5_000_000_000;
        let often = counted(&packets, 250_000, start, tick);
        let never = counted(&packets, 250_000, start, usize::MAX);
        prop_assert_eq!(often, never);
        prop_assert_eq!(often.due_packets + often.late_packets, packets.len() as u64);
        let late = packets.iter().scan(start, |wire, packet| {
            *wire += packet.gap_ns;
            Some(*wire / 250_000 - (*wire - packet.lag_ns) / 250_000)
        });
        // 4,096 windows of 250 us span a little more than a second.
        prop_assert_eq!(often.late_packets, late.filter(|&windows| windows >= 4_096).count() as u64);
    }
}

/// 30 packets, due one per 100 us from 0 on; they leave in windows 1, 3, 5, 7 and 9, six at a time.
///
/// w = 300 us. Due: 3 in each of 10 windows, so BI(due) = 3 / 30. Wire: 6 in each of 5 windows, so
/// BI = 6 / 30 = 0.2 and excess = 2. Somebody waits or leaves in each of the 10 windows, so the
/// mean is 3 and peak_to_mean 2.
#[test]
fn a_worked_example() {
    let us = Nanos::from_micros;
    let width = burst_window(Some(us(100)));
    assert_eq!(width, us(300));
    let mut windows = BurstWindows::new(width);
    let mut totals = Shape::default();
    for group in 0..5 {
        let first_due = group * 600;
        windows.begin_waiting(us(first_due));
        for packet in 0..6 {
            let due = us(first_due + packet * 100);
            windows.depart(due, us(first_due + 599), BYTES, &mut totals);
        }
    }
    windows.fold_all(&mut totals);
    let figures = totals.bursts.burstiness();
    assert_eq!((figures.n, figures.windows, figures.absent), (30, 10, None));
    assert_eq!(figures.bi, Some(0.2));
    assert_eq!(figures.excess, Some(2.0));
    assert_eq!(figures.peak_to_mean, Some(2.0));
}

#[test]
fn twenty_nine_packets_have_no_index() {
    let mut windows = BurstWindows::new(Nanos::from_micros(250));
    let mut totals = Shape::default();
    windows.begin_waiting(Nanos(0));
    (0..29).for_each(|n| windows.depart(Nanos(n), Nanos(n), BYTES, &mut totals));
    windows.fold_all(&mut totals);
    let figures = totals.bursts.burstiness();
    assert_eq!((figures.bi, figures.excess, figures.peak_to_mean), (None, None, None));
    assert_eq!((figures.n, figures.absent), (29, Some("n_too_small")));
}

/// One of 1,000 due times may miss its window; the second takes `excess` away, not the index.
#[test]
fn excess_is_absent_when_more_than_a_thousandth_is_late() {
    let second = Nanos::from_secs(2);
    let mut windows = BurstWindows::new(Nanos::from_micros(250));
    let mut totals = Shape::default();
    windows.begin_waiting(Nanos(0));
    (0..999).for_each(|_| windows.depart(second, second, BYTES, &mut totals));
    windows.depart(Nanos(0), second, BYTES, &mut totals);
    let mut folded = totals.clone();
    windows.clone().fold_all(&mut folded);
    let folded = folded.bursts;
    assert_eq!((folded.late_packets, folded.wire_packets, folded.due_packets), (1, 1_000, 999));
    assert_eq!(folded.burstiness().excess, Some(1.0));

    windows.depart(Nanos(0), second, BYTES, &mut totals);
    windows.fold_all(&mut totals);
    let figures = totals.bursts.burstiness();
    assert_eq!((figures.bi, figures.excess, figures.absent), (Some(1.0), None, Some("late_due")));
}

/// A packet let through ahead of its time is due in a window of the future; one that is due
/// further ahead than the ring spans is counted apart instead of blocking a place of the ring.
#[test]
fn due_times_ahead_of_the_departure() {
    let at = Nanos::from_secs(10);
    let mut windows = BurstWindows::new(Nanos::from_micros(250));
    let mut totals = Shape::default();
    windows.begin_waiting(at);
    windows.depart(Nanos::from_millis(10_500), at, BYTES, &mut totals);
    windows.depart(Nanos::from_secs(4_000), at, BYTES, &mut totals);
    windows.depart(Nanos::MAX, at, BYTES, &mut totals);
    windows.fold_all(&mut totals);
    let totals = totals.bursts;
    assert_eq!((totals.wire_packets, totals.due_packets, totals.late_packets), (3, 1, 2));
}
