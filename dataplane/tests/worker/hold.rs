//! `max_hold`, links that go and come, ports that refuse or stop to complete.

use dataplane::channel::Event;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::sample::Release;
use model::time::Nanos;

use crate::common::Bench;
use crate::frames::{ACK, CANCELS, FIX, Frame, LOGS, RST, cancel_in_flow, order, tcp, udp};
use crate::world::{Books, Rings, World, config, ms, us};

fn links(books: &Books) -> Vec<bool> {
    let link = |event: &Event| match event {
        Event::Link { port: 1, up, .. } => Some(*up),
        _ => None,
    };
    books.events.iter().filter_map(link).collect()
}

fn stalls(books: &Books) -> usize {
    books.events.iter().filter(|e| matches!(e, Event::TxStall { port: 1, .. })).count()
}

#[test]
fn an_order_waits_for_its_cap_for_max_hold_and_goes() {
    let mut w = World::new(&config(&[]));
    w.send_all((0..20).map(|_| order(1)));
    w.run_dry();
    let story = w.story();
    assert_eq!(story.len(), 20);
    assert!(story.windows(2).all(|pair| pair[0].1 < pair[1].1), "in order");
    let last = story[19].0;
    assert!(last >= ms(10) && last <= ms(10) + us(2), "{last}");
    let books = w.books();
    assert_eq!((books.releases(Release::Governed), books.releases(Release::MaxHold)), (11, 9));
}

#[test]
fn a_link_that_is_down_gets_nothing_and_finds_nothing_old_when_it_is_back() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().up = false;
    w.send_all([order(1), order(2), tcp(1, FIX, ACK, 20)]);
    let kept = w.send_all([udp(3, LOGS), tcp(1, FIX, RST, 0), udp(3, CANCELS)]);
    w.run_for(ms(9));
    let young = w.send_all([order(1), order(1), cancel_in_flow(1)]);
    w.run_for(ms(2));
    assert_eq!(w.wire.borrow().offers, 0, "nothing is offered to a link that is down");
    w.wire.borrow_mut().up = true;
    w.poll();
    w.run_for(us(1));
    // 11 ms on: the first orders are too old, a cancel and a reset are never.
    let mut out = w.out();
    let of_flow_1: Vec<u32> = out.iter().copied().filter(|n| young.contains(n)).collect();
    assert_eq!(of_flow_1, young, "in order");
    out.sort_unstable();
    assert_eq!(out, [kept, young].concat());
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Stale), links(&books)), (3, vec![false, true]));
}

#[test]
fn a_link_that_stays_down_does_not_fill_the_pool_with_orders() {
    // 100,000 orders in ten seconds, and room for 2,047 frames.
    let bench = Bench::with_pool(2_047, 2_304);
    let source = CompletionSource::Synchronous;
    let mut w = World::with(&config(&[]), source, &Rings::default(), bench);
    w.wire.borrow_mut().up = false;
    for k in 0..100_000u64 {
        w.send(us(100 * k), &order((k % 8) as u8));
    }
    let mut most = 0;
    for step in 1..=1_000 {
        w.run_until(ms(10 * step));
        most = most.max(w.held());
        // The other way is alive.
        let now = w.now;
        w.answer(now, &Frame::Arp);
        w.poll();
        assert_eq!(w.back.borrow().sent.len() as u64, step);
    }
    assert!(most <= 110, "{most} are held, and 10 ms bring 100");
    let books = w.books();
    assert_eq!(books.dropped(DropReason::PoolEmpty), 0);
    assert!(books.dropped(DropReason::Stale) >= 99_890);
}

#[test]
fn a_port_that_takes_nothing_for_long_finds_nothing_old_when_it_takes_again() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().takes = 0;
    w.send_all((0..5).map(|_| order(1)));
    w.run_for(ms(15));
    assert_eq!(w.held(), 0, "they ended, and wait no longer for a dead port");
    let young = w.send_all([order(1)]);
    w.run_for(ms(2));
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_for(ms(1));
    assert_eq!(w.out(), young);
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Stale), stalls(&books)), (5, 1));
    assert_eq!(books.totals.dropped(), 5);
}

#[test]
fn a_port_that_is_merely_slow_loses_nothing() {
    let mut w = World::new(&config(&[]));
    w.wire.borrow_mut().takes = 1;
    w.word_passthrough();
    let sent = w.send_all((0..500).map(|k| order((k % 7) as u8)));
    w.run_dry();
    assert_eq!(w.out().len(), sent.len());
    let books = w.books();
    assert_eq!((books.totals.dropped(), stalls(&books)), (0, 0));
}

fn completing(limit: u64) -> World {
    // In virtual time a config has completions from a modelled link only; here the test gives them.
    let mut config = config(&[]);
    config.ports[1].inflight_limit_bytes = Some(limit);
    config.profiles[0].egress[1].inflight_limit_bytes = Some(limit);
    World::with(&config, CompletionSource::RingCount, &Rings::default(), Bench::new())
}

#[test]
fn when_completions_stop_orders_are_held_for_max_hold_and_then_end() {
    let mut w = completing(2_048);
    w.wire.borrow_mut().keeps = true;
    w.word_passthrough();
    // 98 wire bytes each: 20 fit, the rest waits for completions that do not come.
    w.send_all((0..40).map(|_| order(1)));
    w.run_for(us(10));
    assert_eq!((w.out().len(), w.held()), (20, 20));
    w.run_for(ms(4));
    assert_eq!(w.held(), 20);
    w.run_for(ms(11));
    assert_eq!(w.held(), 0);
    let young = w.send_all([order(1), udp(1, CANCELS)]);
    w.run_for(ms(1));
    w.wire.borrow_mut().keeps = false;
    w.wire.borrow_mut().complete();
    w.run_for(ms(1));
    let mut late = w.out()[20..].to_vec();
    late.sort_unstable();
    assert_eq!(late, young);
    let books = w.books();
    assert_eq!((books.dropped(DropReason::Stale), stalls(&books)), (20, 1), "{:?}", books.events);
}

#[test]
fn a_limit_that_starves_the_wire_is_an_alarm_and_not_a_raise() {
    let mut w = completing(2_048);
    w.word_passthrough();
    w.wire.borrow_mut().keeps = true;
    for _ in 0..20 {
        // The device is empty again and again while packets wait for its limit.
        w.send_all((0..60).map(|_| udp(1, LOGS)));
        w.run_for(us(100));
        w.wire.borrow_mut().complete();
        w.run_for(us(100));
    }
    w.wire.borrow_mut().keeps = false;
    w.wire.borrow_mut().complete();
    w.run_dry();
    let books = w.books();
    let starved = |e: &&Event| matches!(e, Event::Starvation { port: 1, .. });
    assert!(books.events.iter().filter(starved).count() >= 1, "{:?}", books.events);
    assert_eq!((books.totals.dropped(), books.totals.packets_out), (0, 1_200));
}

#[test]
fn on_a_modelled_link_the_limit_is_kept_and_nothing_is_lost() {
    let port = "link = \"100M\"\ncompletion_batch = 2\ncompletion_delay = \"5us\"\ninflight_limit = \"4KiB\"";
    let mut w = World::new(&config(&[("#PORT", port)]));
    w.word_passthrough();
    w.send_all((0..300).map(|k| udp((k % 9) as u8, LOGS)));
    let mut most = 0;
    while w.held() > 0 || w.now == Nanos::ZERO {
        w.run_for(us(5));
        most = most.max(w.in_flight_bytes());
    }
    assert!(most > 2_048 && most <= 4_096, "{most}");
    assert_eq!(w.books().totals.packets_out, 300);
}
