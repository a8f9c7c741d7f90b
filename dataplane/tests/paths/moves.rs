//! When flows move.

use crate::frames::{
    ACK, CANCEL_DSCP, FIX, Frame, MIXED_UDP, ORDERS, SYN, TCP_ORDERS, order, tcp, udp,
};
use crate::world::{World, ms, us};

/// Of the same 5-tuple as `order(host)` in the class of cancels.
fn cancel(host: u8) -> Frame {
    Frame::Udp { host, port: ORDERS, dscp: CANCEL_DSCP }
}

/// From the venue: everything before `ack` has come.
fn acknowledgement(host: u8, port: u16, ack: u32) -> Vec<u8> {
    let mut bytes = tcp(host, port, ACK, 0).bytes(1);
    // 10.9.0.1:port to 10.1.0.host:40000.
    bytes[26..34].copy_from_slice(&[10, 9, 0, 1, 10, 1, 0, host]);
    bytes[34..36].copy_from_slice(&port.to_be_bytes());
    bytes[36..38].copy_from_slice(&40_000u16.to_be_bytes());
    bytes[42..46].copy_from_slice(&ack.to_be_bytes());
    bytes
}

#[test]
fn a_group_moves_when_what_it_sent_has_had_time_to_arrive_and_returns_after_its_dwell() {
    let mut w = World::new(&[]);
    // One order each 200 us: never a pause of `path_drain`.
    let numbers = w.send_each(us(200), 200, &order(1));
    w.run_for(ms(2));
    w.profile(1);
    w.run_for(ms(3));
    let asked = us(1_000) + ms(2);
    let (before, after) = (w.out(0), w.out(1));
    let (left_first, moved_first) = (before.last().unwrap().0, after[0].0);
    assert!(moved_first >= left_first + us(500), "{left_first} {moved_first}");
    assert!(moved_first < asked + us(900), "one hold was enough: {moved_first}");
    // Nothing waited beyond its hold.
    for (at, number) in &after {
        assert!(*at <= w.sent_at[number] + us(700), "{number}");
    }
    w.normal();
    w.run_for(ms(10));
    assert_eq!(w.out(0).len(), before.len(), "its dwell of 20 ms is not over");
    w.run_for(ms(40));
    let back = w.out(0)[before.len()].0;
    assert!(back >= moved_first + ms(20), "{back}");
    let mut all = w.numbers(0);
    all.extend(w.numbers(1));
    all.sort_unstable();
    assert_eq!(all, numbers);
    // The second path is faster by less than `path_drain`.
    w.assert_in_order_at_the_receiver([us(499), us(0)]);
    let books = w.books();
    assert_eq!((books.paths.moved, books.paths.returned), (1, 1));
    assert_eq!(books.totals.dropped(), 0);
}

#[test]
fn a_class_that_may_not_wait_so_long_moves_in_a_pause_only() {
    let mut w = World::new(&[]);
    w.send_now(&udp(1, MIXED_UDP));
    w.run_for(us(20));
    w.profile(1);
    // Quotes wait at most 100 us, and a path drains in 500.
    w.send_each(us(200), 100, &udp(1, MIXED_UDP));
    w.run_for(ms(20));
    assert_eq!(w.out(1).len(), 0);
    w.run_for(ms(2));
    w.send_now(&udp(1, MIXED_UDP));
    w.run_for(us(50));
    assert_eq!(w.out(1).len(), 1, "it had paused");
    let at = w.out(1)[0];
    assert_eq!(at.0, w.sent_at[&at.1], "and nothing waited");
    w.assert_in_order_at_the_receiver([us(499), us(0)]);
    w.books();
}

#[test]
fn a_cancel_waits_for_no_move() {
    let mut w = World::new(&[]);
    w.send_now(&cancel(1));
    w.send_now(&order(2));
    w.run_for(us(20));
    w.profile(1);
    w.run_for(us(150));
    // Both flows may be held by now; the order of host 2 is, the cancel is not.
    let c = w.send_now(&cancel(1));
    let o = w.send_now(&order(2));
    let sent = w.now;
    w.run_for(us(20));
    assert!(w.out(0).contains(&(sent, c)), "at once, by the path where it was: {:?}", w.out(0));
    w.run_for(ms(2));
    let (at, _) = w.out(1).into_iter().find(|(_, number)| *number == o).unwrap();
    assert!(at > sent + us(100), "an order of a group that moves waited: {at}");
    w.books();
}

#[test]
fn a_connection_moves_when_every_byte_is_acknowledged() {
    let mut w = World::new(&[]);
    // The number of a frame is its sequence number.
    let n = w.send_now(&tcp(1, TCP_ORDERS, ACK, 100));
    w.run_for(us(20));
    w.profile(1);
    w.run_for(ms(30));
    w.answer(0, acknowledgement(1, TCP_ORDERS, n + 99));
    w.run_for(ms(1));
    let n2 = w.send_now(&tcp(1, TCP_ORDERS, ACK, 100));
    w.run_for(ms(1));
    assert_eq!(w.numbers(0), [n, n2], "a byte is missing");
    // Acknowledged by the other path, as it may be.
    w.answer(1, acknowledgement(1, TCP_ORDERS, n2 + 100));
    w.run_for(ms(1));
    let n3 = w.send_now(&tcp(1, TCP_ORDERS, ACK, 100));
    w.run_for(ms(1));
    assert_eq!((w.numbers(0), w.numbers(1)), (vec![n, n2], vec![n3]));
    assert_eq!(w.books().paths.moved, 1);
}

#[test]
fn a_new_connection_begins_on_the_second_path_and_a_session_stays() {
    let mut w = World::new(&[]);
    let old = w.send_now(&tcp(1, FIX, ACK, 100));
    w.run_for(us(20));
    w.profile(1);
    w.run_for(ms(1));
    // Unacknowledged, but it begins anew.
    let lost = w.send_now(&tcp(2, TCP_ORDERS, ACK, 100));
    w.run_for(us(20));
    let syn = w.send_now(&tcp(2, TCP_ORDERS, SYN, 0));
    w.answer(0, acknowledgement(1, FIX, old + 100));
    w.run_for(ms(5));
    let session = w.send_now(&tcp(1, FIX, ACK, 100));
    let begins = w.send_now(&tcp(3, FIX, SYN, 0));
    w.run_for(ms(1));
    let second = w.numbers(1);
    assert!(second.contains(&syn), "{second:?} {lost}");
    assert!(!second.contains(&session) && !second.contains(&begins), "{second:?}");
    w.books();

    let mut w = World::new(&[("#PATH", "allow_session_move = true")]);
    w.profile(1);
    w.run_for(ms(1));
    let begins = w.send_now(&tcp(3, FIX, SYN, 0));
    w.run_for(ms(1));
    assert_eq!(w.numbers(1), [begins]);
    w.books();
}

#[test]
fn a_path_without_a_live_probe_is_never_chosen_and_one_that_dies_is_left() {
    let mut w = World::new(&[]);
    w.far[1].alive = false;
    // The last answer is a second old.
    w.run_for(ms(1_200));
    w.profile(1);
    w.send_each(ms(1), 100, &order(1));
    w.run_for(ms(100));
    assert!(w.out(1).is_empty());
    w.far[1].alive = true;
    w.send_each(ms(1), 200, &order(1));
    w.run_for(ms(200));
    assert!(w.out(1).len() > 50, "{}", w.out(1).len());
    w.far[1].alive = false;
    w.send_each(ms(1), 2_000, &order(1));
    w.run_for(ms(2_000));
    let last = w.out(1).last().unwrap().0;
    assert!(w.now - last >= ms(900) && w.now - last <= ms(1_100), "{} {last}", w.now);
    w.assert_in_order_at_the_receiver([us(499), us(0)]);
    let books = w.books();
    assert_eq!((books.totals.dropped(), books.paths.returned), (0, 1));
    assert!(books.paths.probes_sent[1] > 30);
}
