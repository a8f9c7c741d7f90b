//! Stop words: halt and resume.

use std::rc::Rc;

use dataplane::stop_page::Scope;
use model::drop_reason::DropReason;
use model::sample::Release;
use model::stop::StopWord;
use model::time::Nanos;

use crate::frames::{
    ACK, CANCEL_SESSION, CANCELS, FIN, FIX, FIX_PASS, Frame, LOGS, MIXED_UDP, ORDERS, ORDERS_EUR,
    REPLACES, RST, SYN, TCP_ORDERS, cancel_in_flow, order, tcp, udp,
};
use crate::world::{World, config, ms, us};

fn world() -> World {
    World::new(&config(&[]))
}

/// The port takes nothing until `open`: whatever comes meanwhile is queued.
fn closed() -> World {
    let world = world();
    world.wire.borrow_mut().takes = 0;
    world
}

fn open(world: &World) {
    world.wire.borrow_mut().takes = usize::MAX;
}

#[test]
fn halt_ends_what_is_queued_and_what_arrives_at_the_very_next_poll() {
    let mut w = world();
    w.send_all((0..5).map(|_| order(1)));
    w.send_all((0..5).map(|_| udp(2, REPLACES)));
    w.run_for(us(1500));
    // A burst of two and one message per ms and class: three of each have left.
    assert_eq!((w.out().len(), w.held()), (6, 4));

    w.word("all", StopWord::Halt);
    w.send_all([order(1), order(3), udp(2, REPLACES)]);
    w.poll();
    assert_eq!((w.out().len(), w.held()), (6, 0), "one poll is all it takes");
    w.run_for(ms(100));
    w.send_all([order(1)]);
    w.run_for(ms(100));
    assert_eq!(w.out().len(), 6);
    assert_eq!(w.books().dropped(DropReason::Halted), 4 + 3 + 1);
}

/// The core may be kept from its CPU for long in the middle of a turn.
#[test]
fn a_halt_that_is_written_during_a_turn_ends_what_that_turn_would_have_sent() {
    let mut w = world();
    let sent = w.send_all([order(1), udp(2, REPLACES), udp(3, CANCELS)]);
    let page = Rc::clone(&w.page);
    w.inside.borrow_mut().meanwhile = Some(Box::new(move || {
        page.set(&Scope::All, StopWord::Halt).unwrap();
    }));
    w.poll();
    // A core that only paces has not begun its turn by then, and has obeyed already.
    assert!(w.out().iter().all(|number| sent[2..].contains(number)), "{:?} left", w.out());
    w.poll();
    assert_eq!((w.out(), w.held()), (sent[2..].to_vec(), 0), "the cancel leaves");
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Halted), books.totals.dropped()), (2, 2));
}

#[test]
fn no_cancel_of_a_datagram_flow_is_lost_and_those_behind_orders_pass_in_order() {
    let mut w = closed();
    let mut cancels = Vec::new();
    // Cancels in the flows of their orders, cancels in flows of their own, exempt TCP.
    for round in 0..40u8 {
        let host = round % 4;
        w.send_all([order(host), udp(host, REPLACES)]);
        cancels.extend(w.send_all([
            cancel_in_flow(host),
            udp(host, CANCELS),
            tcp(host, CANCEL_SESSION, ACK, 30),
        ]));
        w.send_all([order(host)]);
    }
    w.run_for(ms(1));
    assert_eq!(w.held(), 40 * 6);
    w.word("all", StopWord::Halt);
    w.poll();
    assert_eq!(w.held(), 40 * 3, "orders and replaces have ended");
    open(&w);
    w.run_for(us(10));
    let mut out = w.out();
    let per_flow = |numbers: &[u32], flow: u32| -> Vec<u32> {
        numbers.iter().copied().filter(|n| (n - 1) % 24 == flow).collect()
    };
    for flow in 0..24 {
        assert_eq!(per_flow(&out, flow), per_flow(&cancels, flow), "order in flow {flow}");
    }
    out.sort_unstable();
    assert_eq!(out, cancels);
    // And while it is halted.
    let during = w.send_all([cancel_in_flow(1), udp(9, CANCELS), tcp(1, CANCEL_SESSION, ACK, 30)]);
    w.poll();
    assert_eq!(w.out()[cancels.len()..], during);
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Halted), books.totals.dropped()), (120, 120));
}

#[test]
fn a_halt_that_is_written_while_the_port_refuses_lets_nothing_through_later() {
    let mut w = closed();
    w.send_all((0..40).map(|_| order(1)));
    w.run_for(us(50));
    assert!(w.wire.borrow().offers > 10, "they were offered and came back each time");
    w.word("class:orders", StopWord::Halt);
    open(&w);
    w.run_for(ms(50));
    assert!(w.out().is_empty());
    assert_eq!(w.books().dropped(DropReason::Halted), 40);
}

#[test]
fn nothing_is_cut_out_of_a_tcp_session_that_blocks() {
    let mut w = closed();
    let payload = |port| tcp(1, port, ACK, 40);
    w.send_all([payload(FIX), payload(TCP_ORDERS)]);
    let mut pass = w.send_all([tcp(2, FIX, SYN, 0)]);
    w.run_for(us(100));
    w.word("all", StopWord::Halt);
    w.poll();
    // With payload everything ends, whatever it is: cancels of the session too, a FIN with data, a
    // SYN with data.
    w.send_all([payload(FIX), payload(TCP_ORDERS)]);
    w.send_all([tcp(1, FIX, ACK | FIN, 9), tcp(1, TCP_ORDERS, SYN, 9), udp(1, MIXED_UDP)]);
    for port in [FIX, TCP_ORDERS] {
        pass.extend(w.send_all([ACK, ACK | FIN, RST, SYN].map(|flags| tcp(1, port, flags, 0))));
    }
    open(&w);
    w.poll();
    assert_eq!(w.out(), pass, "the session can be closed");
    assert_eq!(w.books().dropped(DropReason::Halted), 7);
}

#[test]
fn a_session_that_passes_is_not_touched_and_still_paced() {
    let mut w = world();
    w.word("all", StopWord::Halt);
    let sent = w.send_all((0..4).map(|_| tcp(1, FIX_PASS, ACK, 40)));
    w.run_for(ms(20));
    assert_eq!(w.out(), sent);
    let story = w.story();
    assert!(story[3].0 >= ms(2), "{story:?}");
    assert_eq!(w.books().totals.dropped(), 0);
}

#[test]
fn the_word_of_a_scope_stops_that_scope_alone() {
    for (scope, stopped) in [
        ("venue:XCME", &[ORDERS, REPLACES][..]),
        ("venue:XEUR", &[ORDERS_EUR]),
        ("class:orders", &[ORDERS, ORDERS_EUR]),
        ("class:replaces", &[REPLACES]),
        ("class:cancels", &[]),
        ("all", &[ORDERS, ORDERS_EUR, REPLACES]),
    ] {
        let mut w = closed();
        let ports = [ORDERS, ORDERS_EUR, REPLACES, CANCELS, LOGS];
        let mut queued = w.send_all(ports.map(|port| udp(1, port)));
        w.run_for(us(10));
        w.word(scope, StopWord::Halt);
        queued.extend(w.send_all(ports.map(|port| udp(2, port))));
        w.poll();
        open(&w);
        w.run_for(ms(20));
        let mut out = w.out();
        out.sort_unstable();
        let passes = |n: &u32| !stopped.contains(&ports[(*n as usize - 1) % ports.len()]);
        let expected: Vec<u32> = queued.into_iter().filter(passes).collect();
        assert_eq!(out, expected, "{scope}");
    }
}

#[test]
fn the_strictest_word_holds_and_a_resume_clears_its_scope_only() {
    let mut w = world();
    let arrives = |w: &mut World| -> bool {
        let before = w.out().len();
        w.send_all([order(1)]);
        w.run_for(ms(20));
        w.out().len() > before
    };
    assert!(arrives(&mut w));
    w.word("all", StopWord::Passthrough);
    w.word("venue:XCME", StopWord::Halt);
    w.word("class:orders", StopWord::Halt);
    assert!(!arrives(&mut w), "halt is stricter than passthrough");
    w.resume("venue:XCME");
    assert!(!arrives(&mut w), "the class is halted");
    w.resume("all");
    assert!(!arrives(&mut w));
    w.word("class:orders", StopWord::Passthrough);
    assert!(!arrives(&mut w), "passthrough never lowers a halt");
    w.resume("class:orders");
    assert!(arrives(&mut w));
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Halted), books.releases(Release::Passthrough)), (4, 0));
}

#[test]
fn nothing_older_than_max_hold_leaves_after_a_resume() {
    let mut w = world();
    w.word("all", StopWord::Halt);
    w.poll();
    // Halted packets have ended: a resume finds none of them.
    w.send_all((0..20).map(|_| order(1)));
    w.run_for(ms(30));
    w.resume("all");
    let fresh = w.send_all([order(1)]);
    w.run_for(ms(30));
    assert_eq!(w.out(), fresh);

    // A word on and off again within one poll of a port that refuses: what stayed queued is not let
    // out late either.
    w.wire.borrow_mut().takes = 0;
    w.send_all((0..3).map(|_| order(1)));
    w.run_for(us(10));
    w.word("class:cancels", StopWord::Halt);
    w.run_for(ms(30));
    w.resume("class:cancels");
    open(&w);
    let last = w.send_all([order(1)]);
    w.run_for(ms(30));
    assert_eq!(w.out(), [fresh, last].concat());
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Halted), books.dropped(DropReason::Stale)), (20, 3));
}

#[test]
fn what_comes_from_the_venue_is_never_halted() {
    let mut w = world();
    w.word("all", StopWord::Halt);
    w.word("class:back", StopWord::Halt);
    let now = w.now;
    let answers: Vec<u32> = [udp(1, ORDERS), tcp(1, FIX, ACK, 200), Frame::Arp]
        .iter()
        .map(|frame| w.answer(now, frame))
        .collect();
    w.poll();
    let mut back = w.back.borrow().numbers();
    back.sort_unstable();
    assert_eq!(back, answers);
    assert_eq!(w.books().totals.dropped(), 0);
}

#[test]
fn frames_of_no_rule_pass_a_halt_and_fragments_do_not_pass_at_all() {
    let mut w = world();
    w.word("all", StopWord::Halt);
    let pass = w.send_all([udp(1, 8_888), Frame::Arp, tcp(1, 80, ACK, 20)]);
    w.send_all([Frame::Fragment { host: 1 }]);
    w.poll();
    let mut out = w.out();
    out.sort_unstable();
    assert_eq!(out, pass);
    assert_eq!(w.books().dropped(DropReason::IpFragment), 1);
}

#[test]
fn packets_of_two_venues_in_one_flow_are_told_apart() {
    // With room for one flow only, all others of a class share one.
    let mut w = World::new(&config(&[("flows_max = 64", "flows_max = 1")]));
    w.wire.borrow_mut().takes = 0;
    w.send_all([udp(9, LOGS)]);
    let sent = w.send_all([udp(1, ORDERS), udp(2, ORDERS_EUR), udp(3, ORDERS), udp(4, ORDERS_EUR)]);
    w.run_for(us(10));
    w.word("venue:XEUR", StopWord::Halt);
    w.poll();
    open(&w);
    w.run_for(ms(20));
    let mut out = w.out();
    out.retain(|n| *n > 1);
    assert_eq!(out, [sent[0], sent[2]]);
    assert_eq!(w.flow_table_full(), 4);
    w.books();
}

#[test]
fn a_worker_that_starts_under_a_halt_lets_not_one_order_out() {
    let mut w = world();
    w.word("all", StopWord::Halt);
    w.send(Nanos::ZERO, &order(1));
    w.poll();
    assert!(w.out().is_empty());
    assert_eq!(w.books().dropped(DropReason::Halted), 1);
}
