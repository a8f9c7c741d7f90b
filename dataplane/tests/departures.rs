//! Departure stamps, with a port that gives them as a NIC with timesync does: one marked packet at a
//! time, some time later, in its own clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::VecDeque;

use common::{Bench, frame};
use dataplane::batch::Batch;
use dataplane::clock::{PortClocks, StampClock, TscModel};
use dataplane::port::Tx;
use dataplane::port::departures::{DepartureStamps, PATIENCE};
use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::meta::{IntentSource, StampSource};
use model::nic_clock::{NicClock, Reading};
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::time::{Cycles, Nanos};

const HZ: u64 = 2_500_000_000;
/// The device's clock when gateway time is 0, ns.
const EPOCH: u64 = 1_000_000_000_000;
/// From acceptance to the wire.
const WIRE_DELAY: Nanos = Nanos(5_700);

/// A port with timesync.
#[derive(Default)]
struct Nic {
    /// The register: when the stamp can be read, and the stamp.
    pending: VecDeque<(Nanos, u64)>,
    now: Nanos,
    looks: u64,
    loses: bool,
    marked: u64,
}

impl Tx for Nic {
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let n = from.len();
        for packet in from.drain().filter(|packet| packet.wants_departure_stamp()) {
            drop(packet);
            self.marked += 1;
            let wire = now + WIRE_DELAY;
            if !self.loses {
                self.pending.push_back((wire + Nanos(1_000), EPOCH + wire.0));
            }
        }
        n
    }

    fn frame_bytes_max(&self) -> u32 {
        1514
    }

    fn multi_segs(&self) -> bool {
        false
    }

    fn stamps_departures(&self) -> bool {
        true
    }

    fn departure_stamp(&mut self) -> Option<u64> {
        self.looks += 1;
        self.pending.pop_front_if(|(at, _)| *at <= self.now).map(|(_, stamp)| stamp)
    }
}

fn clock() -> StampClock {
    let mut nic = NicClock::new(HZ, Some(64));
    for k in 0..16 {
        let raw = EPOCH + k * 100_000_000;
        nic.add(Reading { raw, tsc: Cycles(k * HZ / 10), error: Cycles(100) });
    }
    let mut clock = StampClock::new(TscModel::new(Cycles(0), Nanos(0), HZ));
    clock.set_clocks(PortClocks { departure: nic.model(), ..PortClocks::default() });
    clock
}

fn row(t_tx: Nanos, from: Side) -> Sample {
    Sample {
        packet_id: 1,
        correlation_id: None,
        flow: 0,
        tcp_end_seq: None,
        tcp: None,
        class: 0,
        label: 0,
        kind: Kind::Other,
        urgency: 0,
        len: 60,
        messages: 0,
        t_decision: None,
        t_dispatch: t_tx,
        t_due: t_tx,
        t_sched: Some(t_tx),
        t_normal: None,
        t_eligible: Some(t_tx),
        t_tx: Some(t_tx),
        t_wire: Some(t_tx),
        t_ingress: t_tx,
        t_carried: None,
        t_delivery: (from == Side::Venue).then_some(t_tx),
        clock_error_ns: None,
        intent: IntentSource::Implicit,
        ingress_source: StampSource::Tsc,
        departure_source: DepartureSource::Tsc,
        simulated_link: false,
        from,
        port: 0,
        queue: 0,
        backlog_bytes: 0,
        end: End::Sent(Release::Governed),
        regime: None,
        profile: 0,
        mode: Mode::Observe,
        canary: None,
        weight: 1,
    }
}

/// Sends one marked packet at `t_tx`.
fn send(bench: &Bench, nic: &mut Nic, stamps: &mut DepartureStamps, t_tx: Nanos, from: Side) {
    assert!(stamps.is_free());
    let mut batch = bench.batch([frame(1, 60).as_slice()]);
    batch.get_mut(0).unwrap().mark_departure_stamp();
    assert_eq!(nic.tx_burst(t_tx, &mut batch), 1);
    stamps.wait_for(row(t_tx, from), t_tx);
}

/// Turns of 100 ns from `from` on until a row comes.
fn until_row(
    nic: &mut Nic,
    stamps: &mut DepartureStamps,
    clock: &mut StampClock,
    from: Nanos,
) -> (Nanos, Sample) {
    let mut now = from;
    loop {
        nic.now = now;
        if let Some(row) = stamps.take(now, nic, clock) {
            return (now, row);
        }
        now = now + Nanos(100);
        assert!(now < from + Nanos::from_secs(1), "no row");
    }
}

#[test]
fn a_row_waits_for_the_nics_stamp_and_is_labelled() {
    let (bench, mut nic, mut stamps, mut clock) =
        (Bench::new(), Nic::default(), DepartureStamps::default(), clock());
    let t_tx = Nanos::from_millis(1_600);
    send(&bench, &mut nic, &mut stamps, t_tx, Side::Venue);
    assert!(!stamps.is_free());
    let (at, row) = until_row(&mut nic, &mut stamps, &mut clock, t_tx);
    let wire = row.t_wire.unwrap();
    assert!(wire.0.abs_diff((t_tx + WIRE_DELAY).0) <= 2, "{wire}");
    assert_eq!((row.departure_source, row.t_tx), (DepartureSource::Nic, Some(t_tx)));
    assert_eq!(row.t_delivery, Some(wire));
    assert!(at < t_tx + Nanos::from_micros(10));
    // A look costs a microsecond on a device: not at every turn.
    assert!(nic.looks <= 5, "{} looks", nic.looks);
    assert_eq!((stamps.stamped(), stamps.missed(), stamps.is_free()), (1, 0, true));
}

#[test]
fn a_stamp_that_never_comes_is_given_up_and_the_row_says_tsc() {
    let (bench, mut stamps, mut clock) = (Bench::new(), DepartureStamps::default(), clock());
    let mut nic = Nic { loses: true, ..Nic::default() };
    let t_tx = Nanos::from_millis(1_600);
    send(&bench, &mut nic, &mut stamps, t_tx, Side::Inside);
    let (at, row) = until_row(&mut nic, &mut stamps, &mut clock, t_tx);
    assert!((t_tx + PATIENCE..t_tx + PATIENCE + Nanos(2_100)).contains(&at), "{at}");
    assert_eq!((row.departure_source, row.t_wire), (DepartureSource::Tsc, Some(t_tx)));
    assert_eq!((stamps.stamped(), stamps.missed()), (0, 1));
}

/// The stamp of a packet that was given up is not taken for the next one's.
#[test]
fn a_stamp_that_comes_too_late_belongs_to_nobody() {
    let (bench, mut nic, mut stamps, mut clock) =
        (Bench::new(), Nic::default(), DepartureStamps::default(), clock());
    let first = Nanos::from_millis(1_600);
    send(&bench, &mut nic, &mut stamps, first, Side::Inside);
    nic.pending[0].0 = first + Nanos::from_millis(3);
    until_row(&mut nic, &mut stamps, &mut clock, first);
    let second = first + Nanos::from_millis(4);
    send(&bench, &mut nic, &mut stamps, second, Side::Inside);
    let (_, row) = until_row(&mut nic, &mut stamps, &mut clock, second);
    assert_eq!(row.departure_source, DepartureSource::Nic);
    assert!(row.t_wire.unwrap().0.abs_diff((second + WIRE_DELAY).0) <= 2);
    assert_eq!((stamps.stamped(), stamps.missed(), clock.implausible()), (1, 1, 1));
}

#[test]
fn without_a_clock_model_the_stamp_is_not_used() {
    let (bench, mut nic, mut stamps, mut clock) =
        (Bench::new(), Nic::default(), DepartureStamps::default(), clock());
    clock.set_clocks(PortClocks::default());
    let t_tx = Nanos::from_millis(1_600);
    send(&bench, &mut nic, &mut stamps, t_tx, Side::Inside);
    let (_, row) = until_row(&mut nic, &mut stamps, &mut clock, t_tx);
    assert_eq!(row.departure_source, DepartureSource::Tsc);
}

#[test]
fn a_lane_that_ends_gets_its_row_back() {
    let mut stamps = DepartureStamps::default();
    assert_eq!(stamps.give_up(), None);
    let t_tx = Nanos(5);
    let ended = Sample { end: End::Dropped(DropReason::Stopped), ..row(t_tx, Side::Inside) };
    stamps.wait_for(ended, t_tx);
    assert_eq!(stamps.give_up(), Some(ended));
    assert!(stamps.is_free());
}
