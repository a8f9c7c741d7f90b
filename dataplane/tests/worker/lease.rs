//! Control is dead: the lease ends, nothing is taken, and forwarding goes on.

use dataplane::channel::Event;
use model::inflight::CompletionSource;
use model::time::Nanos;

use crate::common::Bench;
use crate::frames::{CANCELS, order, udp};
use crate::world::{Rings, World, config, ms, us};

#[test]
fn a_profile_that_nobody_renews_ends_and_the_core_paces_as_before() {
    let config = config(&[(
        "max_hold = \"10ms\"\n[[class]]\nname = \"replaces\"",
        "max_hold = \"1s\"\n[[class]]\nname = \"replaces\"",
    )]);
    let mut w = World::new(&config);
    let contain = Box::new(config.profiles[1].clone());
    w.control.set_profile(contain, ms(50)).unwrap();
    w.poll();
    assert_eq!(w.control.profile_in_force(), 1);
    // Control dies here. 40 orders at 200 per second until 50 ms, at 1,000 per second from then on.
    w.send_all((0..40).map(|_| order(1)));
    w.run_until(ms(49));
    assert_eq!(w.out().len(), 11);
    w.run_until(ms(50));
    w.run_until(ms(51));
    assert_eq!(w.control.profile_in_force(), 0, "the core went back by itself");
    w.run_until(ms(90));
    let story = w.story();
    assert_eq!(story.len(), 40);
    let gaps: Vec<Nanos> = story.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps[1..10].iter().all(|gap| *gap >= ms(5) - us(5)), "{gaps:?}");
    assert!(gaps[13..].iter().all(|gap| *gap <= ms(1) + us(5)), "{gaps:?}");
    let expired = |e: &Event| matches!(e, Event::LeaseExpired { profile: 1, at } if *at == ms(50));
    let events = w.books().events;
    assert_eq!(events.iter().filter(|e| expired(e)).count(), 1, "{events:?}");
}

#[test]
fn forwarding_goes_on_when_control_takes_nothing_and_what_is_lost_is_counted() {
    let rings = Rings { samples: 8, alarms: 4 };
    let source = CompletionSource::Synchronous;
    let mut w = World::with(&config(&[]), source, &rings, Bench::new());
    for k in 0..200 {
        // Two link events and some packets each time.
        w.wire.borrow_mut().up = k % 2 == 0;
        w.send_all((0..50).map(|host| udp(host, CANCELS)));
        w.run_for(us(20));
    }
    w.wire.borrow_mut().up = true;
    w.run_dry();
    let out = w.out();
    assert_eq!(out.len(), 10_000, "every packet has left");
    assert!(w.control.samples_lost() >= 10_000 - 8);
    assert!(w.control.events_lost() > 100);
    // The aggregates are complete all the same.
    assert_eq!(w.books().totals.packets_out, 10_000);
}
