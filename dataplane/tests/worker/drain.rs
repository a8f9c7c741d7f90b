//! SIGTERM.

use model::drop_reason::DropReason;
use model::sample::Release;
use model::stop::StopWord;

use crate::frames::{CANCELS, LOGS, cancel_in_flow, order, udp};
use crate::world::{World, config, ms, us};

#[test]
fn a_drain_lets_what_is_young_out_at_once_and_ends() {
    let mut w = World::new(&config(&[]));
    let sent = w.send_all((0..9).map(|_| order(1)));
    w.run_for(us(100));
    w.stop();
    assert_eq!(w.out(), sent);
    assert!(w.ended() && w.now < ms(1));
    assert_eq!(w.books().releases(Release::Drain), 7);
}

#[test]
fn a_drain_begins_with_groups_that_hold_an_exempt_packet_and_each_keeps_its_order() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().takes = 0;
    let plain = w.send_all([order(1), order(1), order(2)]);
    let with_cancel = w.send_all([order(3), cancel_in_flow(3)]);
    let cancel = w.send_all([udp(4, CANCELS)]);
    w.run_for(us(50));
    w.ask_to_stop();
    // One packet each poll.
    w.poll();
    w.wire.borrow_mut().takes = 1;
    w.stop();
    let out = w.out();
    let mut first = out[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, [with_cancel, cancel].concat());
    let mut rest = out[3..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, plain);
    assert!(out.iter().position(|n| *n == 1) < out.iter().position(|n| *n == 2));
    w.books();
}

#[test]
fn a_drain_releases_nothing_older_than_max_hold() {
    let mut w = World::new(&config(&[("stall_time = \"5ms\"", "stall_time = \"200ms\"")]));
    w.wire.borrow_mut().takes = 0;
    w.send_all([order(1), order(2)]);
    w.run_for(ms(8));
    let young = w.send_all([order(1)]);
    // The first two are 10 ms old while the port still refuses, the third is not.
    w.run_for(ms(1));
    w.ask_to_stop();
    for _ in 0..3_000 {
        w.now = w.now + us(1);
        w.poll();
    }
    assert_eq!((w.ended(), w.held()), (false, 1));
    w.wire.borrow_mut().takes = usize::MAX;
    w.stop();
    assert_eq!(w.out(), young);
    assert_eq!(w.books().dropped(DropReason::Stale), 2);
}

#[test]
fn a_port_that_refuses_everything_holds_the_drain_for_drain_max_and_no_longer() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().takes = 0;
    w.send_all((0..5).map(|_| order(1)));
    w.send_all((0..5).map(|_| udp(1, LOGS)));
    w.run_for(us(100));
    let began = w.now;
    w.stop();
    let took = w.now - began;
    assert!(took >= ms(50) && took < ms(51), "{took}");
    assert!(w.out().is_empty());
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Stale), books.dropped(DropReason::Stopped)), (5, 5));
}

#[test]
fn a_link_that_is_down_at_the_end_stops_it_too() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().up = false;
    w.send_all([order(1), udp(1, CANCELS), udp(1, LOGS)]);
    w.run_for(us(100));
    w.stop();
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Stale), books.dropped(DropReason::Stopped)), (1, 2));
}

#[test]
fn a_halt_during_a_drain_still_ends_orders() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().takes = 0;
    w.send_all((0..5).map(|_| order(1)));
    let cancel = w.send_all([cancel_in_flow(1)]);
    w.run_for(us(100));
    w.ask_to_stop();
    w.poll();
    w.word("all", StopWord::Halt);
    w.wire.borrow_mut().takes = usize::MAX;
    w.stop();
    assert_eq!(w.out(), cancel);
    assert_eq!(w.books().dropped(DropReason::Halted), 5);
}

#[test]
fn what_arrives_after_the_stop_is_not_taken_and_not_lost_in_the_books() {
    let mut w = World::new(&config(&[]));
    w.ask_to_stop();
    w.poll();
    w.send_all([order(1)]);
    w.stop();
    assert_eq!(w.inside.borrow().arrivals.len(), 1, "it stays with the device");
    assert_eq!(w.books().totals.packets_in, 0);
}
