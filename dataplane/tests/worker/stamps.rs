//! A NIC with a clock: arrivals stamped by it, packets that it sends at their time, departures that
//! it notes. Its clock is 1.7e18 ns ahead of gateway time.

use dataplane::assemble::TimeBase;
use dataplane::clock::PortClocks;
use model::meta::StampSource;
use model::nic_clock::{NicClock, Reading};
use model::sample::{DepartureSource, End, Sample};
use model::time::{Cycles, Nanos};

use crate::common::Bench;
use crate::frames::{CANCELS, order, udp};
use crate::ports::Wire;
use crate::world::{Books, World, config, ms, us};

const EPOCH: u64 = 1_700_000_000_000_000_000;
const LEAD: Nanos = us(5);

/// What is learnt of the NIC's clock in the second before gateway time `now`; a TSC of 1 GHz began
/// with gateway time.
fn clocks(now: Nanos) -> PortClocks {
    let mut nic = NicClock::new(1_000_000_000, Some(64));
    for k in 0..10 {
        let tsc = now.0 - 900_000_000 + k * 100_000_000;
        nic.add(Reading { raw: EPOCH + tsc, tsc: Cycles(tsc), error: Cycles(50) });
    }
    let (packet, departure) = (nic.model(), nic.model());
    assert!(packet.is_some());
    PortClocks { packet, packet_source: StampSource::Nic, departure }
}

/// A world in its second second, with a NIC on both ports.
fn world(wire: Wire) -> World {
    let mut config = config(&[]);
    config.ports[1].launch_lead = LEAD;
    let mut w = World::on(TimeBase::Tsc, wire, &config, Bench::new());
    w.now = Nanos::from_secs(1);
    w.poll();
    for port in [0, 1] {
        w.control.set_port_clocks(port, clocks(w.now)).unwrap();
        w.poll();
    }
    w
}

fn sent(books: &Books) -> Vec<&Sample> {
    books.samples.iter().filter(|row| matches!(row.end, End::Sent(_))).collect()
}

#[test]
fn an_arrival_is_the_nics_where_its_clock_is_known() {
    let mut w = world(Wire::default());
    w.inside.borrow_mut().stamps_from = Some(EPOCH);
    let came = w.now;
    w.send(came, &udp(1, CANCELS));
    // The core looks 3 us later.
    w.now = came + us(3);
    w.poll();
    // The clock is lost: the next one is the core's own.
    w.control.set_port_clocks(0, PortClocks::default()).unwrap();
    w.poll();
    w.send(w.now, &udp(2, CANCELS));
    w.now = w.now + us(3);
    w.poll();
    let later = w.now;
    let books = w.books();
    let rows = sent(&books);
    assert_eq!((rows[0].ingress_source, rows[0].t_ingress), (StampSource::Nic, came));
    assert_eq!((rows[1].ingress_source, rows[1].t_ingress), (StampSource::Tsc, later));
    assert_eq!(rows[0].t_carried, Some(EPOCH + came.0));
}

#[test]
fn packets_go_to_the_nic_ahead_of_their_time_and_exempt_ones_without_one() {
    let mut w = world(Wire { launches: true, ..Wire::default() });
    let start = w.now;
    let sent_orders = w.send_all((0..4).map(|_| order(1)));
    w.run_for(us(100));
    let cancel = w.send_all([udp(9, CANCELS)]);
    w.run_for(ms(5));
    let wire: Vec<_> = w.wire.borrow().sent.clone();
    let mut orders = wire.iter().filter(|s| sent_orders.contains(&s.number));
    // The burst of two leaves at once, and nothing tells the NIC to wait.
    for _ in 0..2 {
        let first = orders.next().unwrap();
        assert_eq!((first.at, first.launch), (start, None));
    }
    // One message per ms from here on, each at the NIC shortly before.
    for _ in 0..2 {
        let next = orders.next().unwrap();
        let launch = Nanos(next.launch.expect("a launch time") - EPOCH);
        assert!(next.at < launch && launch <= next.at + LEAD, "{} for {launch}", next.at);
    }
    let cancel = wire.iter().find(|s| s.number == cancel[0]).unwrap();
    assert_eq!(cancel.launch, None);
    let books = w.books();
    // No packet is early: what the NIC keeps until its time leaves then.
    assert_eq!(books.totals.early, 0);
    for row in sent(&books) {
        assert!(row.t_tx >= row.t_eligible, "{row:?}");
    }
}

#[test]
fn without_the_nics_clock_launch_is_off_and_packets_wait_here() {
    let mut w = world(Wire { launches: true, ..Wire::default() });
    w.control.set_port_clocks(1, PortClocks::default()).unwrap();
    w.poll();
    let start = w.now;
    w.send_all((0..4).map(|_| order(1)));
    w.run_for(ms(5));
    let wire = w.wire.borrow().sent.clone();
    assert_eq!(wire.len(), 4);
    assert!(wire.iter().all(|s| s.launch.is_none()), "{wire:?}");
    assert!(wire[3].at >= start + us(900), "{wire:?}");
    assert_eq!(w.books().totals.early, 0);
}

#[test]
fn what_the_nic_refuses_is_asked_of_it_again() {
    let mut w = world(Wire {
        launches: true,
        timesync: Some((EPOCH, Nanos(500))),
        takes: 0,
        ..Wire::default()
    });
    w.inside.borrow_mut().stamps_from = Some(EPOCH);
    let came = w.now;
    w.send_all((0..3).map(|_| order(1)));
    w.run_for(us(10));
    assert!(w.out().is_empty());
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_for(ms(4));
    assert_eq!(w.out().len(), 3);
    let books = w.books();
    let rows = sent(&books);
    assert!(rows.iter().all(|row| row.t_carried == Some(EPOCH + came.0)), "{rows:?}");
    assert!(rows.iter().any(|row| row.departure_source == DepartureSource::Nic), "{rows:?}");
}

#[test]
fn one_sample_at_a_time_has_the_nics_departure() {
    // A NIC may have sent before its driver has come back with the answer.
    let before = Nanos(300);
    let mut w = world(Wire { timesync: Some((EPOCH - before.0, Nanos(0))), ..Wire::default() });
    for _ in 0..20 {
        w.send_all((0..3).map(|host| udp(host, CANCELS)));
        w.poll();
        w.run_for(us(50));
    }
    let books = w.books();
    let rows = sent(&books);
    assert_eq!(rows.len(), 60);
    let nic: Vec<_> =
        rows.iter().filter(|row| row.departure_source == DepartureSource::Nic).collect();
    // The first of each burst of three.
    assert_eq!(nic.len(), 20);
    for row in nic {
        let (wire, tx) = (row.t_wire.unwrap(), row.t_tx.unwrap());
        assert_eq!(wire + before, tx);
    }
}
