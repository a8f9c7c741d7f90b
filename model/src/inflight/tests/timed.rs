//! Launch times: what waits below the queue for its time, apart from what may leave.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{alerts, device, gigabit, modelled};
use crate::inflight::{Alert, CompletionSource, InFlight};
use crate::time::Nanos;

fn probe(limit_bytes: Option<u64>) -> InFlight {
    device(CompletionSource::RefcountProbe, limit_bytes)
}

fn send(q: &mut InFlight, now: u64, wire_len: u32, launch: u64) {
    q.on_accepted_for(Nanos(now), wire_len, Some(Nanos(launch)));
}

#[test]
fn what_waits_for_its_time_leaves_the_limit_alone() {
    let mut q = probe(Some(1_000));
    send(&mut q, 0, 800, 5_000);
    send(&mut q, 0, 800, 6_000);
    assert_eq!((q.bytes(), q.queued_bytes(), q.eligible_bytes()), (1_600, 1_600, 0));
    assert_eq!((q.room(), q.room_for_time()), (1_000, u64::MAX));
    q.poll(Nanos(4_999));
    assert_eq!(q.eligible_bytes(), 0);
    q.poll(Nanos(5_000));
    assert_eq!((q.queued_bytes(), q.eligible_bytes(), q.room()), (800, 800, 200));
    // The first has not left when the time of the second comes: over the limit, and counted.
    q.poll(Nanos(6_000));
    assert_eq!((q.eligible_bytes(), q.room(), q.room_for_time()), (1_600, 0, 0));
    q.on_completed(Nanos(6_500), 2);
    let figures = q.figures(Nanos(6_500)).unwrap();
    assert_eq!((figures.bytes, figures.ripened_over_limit, figures.overruns), (0, 1, 0));
    assert_eq!((figures.peak_queued_bytes, figures.peak_eligible_bytes), (1_600, 1_600));
    assert_eq!(figures.peak_utilisation(), Some(1.6));
}

#[test]
fn the_queue_for_time_has_a_limit_of_its_own() {
    let mut q = probe(Some(1_000));
    q.set_queued_limit(Some(300));
    send(&mut q, 0, 200, 5_000);
    assert_eq!((q.room(), q.room_for_time()), (1_000, 100));
    send(&mut q, 0, 200, 5_000);
    assert_eq!(q.figures(Nanos(0)).unwrap().overruns, 1);
    assert_eq!(q.room_for_time(), 0);
    q.poll(Nanos(5_000));
    assert_eq!((q.room(), q.room_for_time()), (600, 300));
    q.set_queued_limit(None);
    assert_eq!(q.room_for_time(), u64::MAX);
}

#[test]
fn a_wire_that_is_behind_takes_nothing_more_for_later() {
    let mut q = probe(Some(500));
    q.on_accepted(Nanos(0), 500);
    assert_eq!((q.room(), q.room_for_time()), (0, 0));
    q.on_completed(Nanos(10), 1);
    assert_eq!((q.room(), q.room_for_time()), (500, u64::MAX));
}

#[test]
fn what_comes_behind_waits_too() {
    let mut q = probe(None);
    send(&mut q, 0, 100, 5_000);
    // At once, but the queue is first in, first out.
    q.on_accepted(Nanos(1), 100);
    send(&mut q, 2, 100, 3_000);
    assert_eq!(q.queued_bytes(), 300);
    q.poll(Nanos(4_999));
    assert_eq!(q.queued_bytes(), 300);
    q.poll(Nanos(5_000));
    assert_eq!(q.queued_bytes(), 0);
    // What has no time of its own counts against the in-flight limit all the while.
    let mut limited = probe(Some(1_000));
    send(&mut limited, 0, 100, 5_000);
    limited.on_accepted(Nanos(1), 900);
    assert_eq!((limited.room(), limited.queued_bytes()), (100, 1_000));
    // A time that has passed is no waiting.
    send(&mut q, 6_000, 100, 5_500);
    assert_eq!(q.queued_bytes(), 0);
}

#[test]
fn what_stands_behind_leaves_no_room_for_more_that_waits() {
    let mut q = probe(Some(6_000));
    q.set_queued_limit(Some(3_000));
    send(&mut q, 0, 1_500, 1_000);
    send(&mut q, 0, 1_500, 9_000);
    for _ in 0..4 {
        q.on_accepted(Nanos(0), 1_500);
    }
    // 1,500 may leave, 1,500 wait for their time, and 6,000 stand behind those: both limits are in use.
    q.poll(Nanos(1_000));
    assert_eq!((q.eligible_bytes(), q.bytes()), (1_500, 9_000));
    assert_eq!((q.room(), q.room_for_time()), (0, 0));
}

#[test]
fn waiting_for_its_time_is_no_stall() {
    let mut q = probe(None);
    // stall_time is 50 us.
    send(&mut q, 0, 100, 200_000);
    q.poll(Nanos(150_000));
    assert_eq!(alerts(&mut q), []);
    q.poll(Nanos(249_999));
    assert_eq!(alerts(&mut q), []);
    q.poll(Nanos(250_000));
    assert_eq!(alerts(&mut q), [Alert::Stalled { since: Nanos(200_000) }]);
}

#[test]
fn a_nic_whose_clock_is_ahead_completes_early() {
    let mut q = probe(Some(1_000));
    send(&mut q, 0, 100, 5_000);
    send(&mut q, 0, 100, 6_000);
    let done = q.on_completed(Nanos(4_990), 1).unwrap();
    assert_eq!((done.bytes, q.queued_bytes(), q.bytes()), (100, 100, 100));
    q.on_completed(Nanos(6_100), 1);
    assert_eq!((q.queued_bytes(), q.bytes()), (0, 0));
}

#[test]
fn a_modelled_link_sends_at_the_launch_time() {
    let mut q = modelled(None, 8, gigabit(1, Nanos::ZERO));
    let wire = q.on_accepted_for(Nanos(0), 100, Some(Nanos(5_000)));
    assert_eq!(wire, Some(Nanos(5_000)));
    assert_eq!(q.next_event(), Some(Nanos(5_800)));
    assert!(q.poll(Nanos(5_799)).is_none());
    assert_eq!(q.queued_bytes(), 0);
    assert_eq!(q.poll(Nanos(5_800)).map(|c| c.at), Some(Nanos(5_800)));
}

proptest! {
    /// Against a naive account: a list of (bytes, time from which it may leave).
    #[test]
    fn both_resources_are_counted_exactly(
        steps in prop::collection::vec((0u32..4, 84u32..=1_538, 0u64..3_000), 1..300),
    ) {
        let mut q = probe(Some(6_000));
        q.set_queued_limit(Some(3_000));
        let mut below: VecDeque<(u64, u64)> = VecDeque::new();
        let mut now = 0;
        for (what, wire_len, value) in steps {
            now += value / 4;
            q.poll(Nanos(now));
            match what {
                0 => {
                    let n = (value % 3).min(below.len() as u64);
                    q.on_completed(Nanos(now), n as u32);
                    below.drain(..n as usize);
                }
                _ => {
                    let launch = (what > 1).then_some(now + value);
                    let waits = launch.is_some_and(|at| at > now);
                    let room = if waits { q.room_for_time() } else { q.room() };
                    if room >= u64::from(wire_len) && below.len() < 8 {
                        q.on_accepted_for(Nanos(now), wire_len, launch.map(Nanos));
                        let ahead = below.iter().map(|b| b.1).max().unwrap_or(0);
                        let from = launch.unwrap_or(now).max(now).max(ahead);
                        below.push_back((u64::from(wire_len), from));
                    }
                }
            }
            let sum = |f: &dyn Fn(u64) -> bool| {
                below.iter().filter(|b| f(b.1)).map(|b| b.0).sum::<u64>()
            };
            prop_assert_eq!(q.queued_bytes(), sum(&|from| from > now));
            prop_assert_eq!(q.eligible_bytes(), sum(&|from| from <= now));
            let figures = q.figures(Nanos(now)).unwrap();
            prop_assert_eq!(figures.queued_packets as usize,
                below.iter().filter(|b| b.1 > now).count());
            // Both limits together are never passed by what keeps to the rules.
            prop_assert!(figures.bytes <= 6_000 + 3_000);
            prop_assert_eq!(figures.overruns, 0);
        }
    }
}
