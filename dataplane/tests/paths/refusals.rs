//! A path that takes nothing.

use dataplane::channel::Event;
use model::drop_reason::DropReason;

use crate::frames::order;
use crate::world::{World, ms, us};

/// Host 1 on the first path, host 2 on the second.
fn one_on_each() -> World {
    let mut w = World::new(&[]);
    w.profile(1);
    w.send_each(us(100), 20, &order(2));
    w.run_for(ms(2));
    w.normal();
    w.run_for(us(100));
    w.send_now(&order(1));
    w.send_now(&order(2));
    w.run_for(us(100));
    assert_eq!((w.out(0).last().unwrap().1, w.out(1).last().unwrap().1), (21, 22));
    w
}

#[test]
fn a_path_that_is_down_keeps_only_its_own_flows_waiting_and_they_end_by_age() {
    for (down, up) in [(0, 1), (1, 0)] {
        let mut w = one_on_each();
        w.far[down].wire.borrow_mut().up = false;
        let hosts = [1, 2];
        let stuck = w.send_now(&order(hosts[down]));
        let passes = w.send_now(&order(hosts[up]));
        w.run_for(us(200));
        assert_eq!(w.out(up).last().unwrap().1, passes, "path {down} is down");
        assert!(!w.numbers(down).contains(&stuck));
        w.run_for(us(500));
        w.far[down].wire.borrow_mut().up = true;
        w.run_for(us(100));
        assert_eq!(w.out(down).last().unwrap().1, stuck, "it was not too old");

        w.far[down].wire.borrow_mut().up = false;
        let old = w.send_now(&order(hosts[down]));
        w.run_for(ms(3));
        w.far[down].wire.borrow_mut().up = true;
        let young = w.send_now(&order(hosts[down]));
        w.run_for(us(200));
        let left = w.numbers(down);
        assert!(!left.contains(&old) && left.contains(&young), "{left:?}");
        let books = w.books();
        assert_eq!(books.totals.drops[DropReason::Stale as usize].packets, 1);
        assert_eq!(books.totals.dropped(), 1);
        let port = [1, 2][down];
        let told = |event: &Event| matches!(event, Event::TxStall { port: p, .. } if *p == port);
        assert!(books.events.iter().any(told), "{:?}", books.events);
    }
}

#[test]
fn a_refused_burst_keeps_its_order_on_both_paths() {
    let mut w = one_on_each();
    for takes in [0, 1, 3] {
        for path in 0..2 {
            w.far[path].wire.borrow_mut().takes = takes;
            w.far[1 - path].wire.borrow_mut().takes = usize::MAX;
            for k in 0..20 {
                w.send_now(&order(1 + k % 2));
            }
            w.run_for(us(60));
        }
    }
    for far in &w.far {
        far.wire.borrow_mut().takes = usize::MAX;
    }
    w.run_for(ms(1));
    let (first, second) = (w.out(0).len(), w.out(1).len());
    w.assert_in_order_at_the_receiver([us(0), us(0)]);
    assert_eq!(first + second, 22 + 120, "{first} {second}");
    assert_eq!(w.books().totals.dropped(), 0);
}
