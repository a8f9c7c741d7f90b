//! Another confirmed table while packets wait.

use dataplane::channel::Event;
use model::config::Config;
use model::profile::Profile;
use model::sample::Release;
use model::time::Nanos;

use crate::frames::order;
use crate::world::{World, config, ms, us};

/// How long orders may wait, in the config of the world.
const HOLD: &str = "max_hold = \"10ms\"\n[[class]]\nname = \"replaces\"";

fn max_hold(of_orders: &str) -> String {
    HOLD.replace("10ms", of_orders)
}

/// Makes the table of `config` the confirmed one; the core has it.
fn confirm(w: &mut World, config: &Config) {
    w.control.set_confirmed(Box::new(config.profiles[0].clone())).unwrap();
    w.poll();
}

#[test]
fn a_rate_that_is_confirmed_live_holds_for_what_is_queued_and_nothing_is_lost() {
    let longer = max_hold("1s");
    let longer = (HOLD, longer.as_str());
    let before = config(&[longer]);
    let orders = "kind = \"order\"\nmessages = \"1000/s\"";
    let after = config(&[longer, (orders, &orders.replace("1000", "200"))]);
    let mut w = World::new(&before);
    w.send_all((0..20).map(|_| order(1)));
    w.run_until(ms(5));
    let left = w.out().len();
    let table = after.profiles[0].clone();
    let fingerprint = table.fingerprint();
    w.control.set_confirmed(Box::new(table)).unwrap();
    w.poll();
    let told = std::iter::from_fn(|| w.control.take_event())
        .find(|event| matches!(event, Event::Confirmed { .. }));
    let Some(Event::Confirmed { fingerprint: held, at, .. }) = told else { panic!("{told:?}") };
    assert_eq!((held, at), (fingerprint, ms(5)));
    w.run_dry();
    let story = w.story();
    assert_eq!(story.len(), 20);
    let gaps: Vec<Nanos> = story[left + 1..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| *gap >= ms(5) - us(5)), "{gaps:?}");
    assert_eq!(w.books().totals.dropped(), 0);
}

#[test]
fn a_shorter_max_hold_lets_go_at_once_and_is_what_figures_go_by() {
    let mut w = World::new(&config(&[(HOLD, &max_hold("1s"))]));
    w.send_all((0..20).map(|_| order(1)));
    w.run_until(ms(5));
    let left = w.out().len();
    assert!(left < 8, "two at once, then one a millisecond: {left}");
    confirm(&mut w, &config(&[(HOLD, &max_hold("2ms"))]));
    w.run_until(ms(5) + us(5));
    assert_eq!(w.out().len(), 20);
    w.run_dry();
    let books = w.books();
    assert_eq!(books.releases(Release::MaxHold), 20 - left);
    let departed = books.block.cells.iter().filter(|cell| cell.departed.packets > 0);
    let [orders] = departed.collect::<Vec<_>>()[..] else { panic!("one class") };
    assert_eq!((orders.departed.packets, orders.in_time), (20, left as u64), "by what held then");
}

/// So many messages of all orders in 10 ms, all but one at once.
fn limited(messages: u32) -> Config {
    let limit = format!(
        "[[venue_limit]]\nname = \"xcme\"\nvenue = \"XCME\"\nmessages = {messages}\nper = \"10ms\"\n\
         margin = 0.0\ncancel_reserve = 0\nburst = {}\n[[class]]\nname = \"orders\"\nkind = \"order\"\n",
        messages - 1,
    );
    let session = "name = \"cancel-session\"\n";
    config(&[
        (
            "[[class]]\nname = \"orders\"\nkind = \"order\"\nmessages = \"1000/s\"\nmessage_burst = 2\n",
            &limit,
        ),
        (session, &format!("{session}messages_per_segment = 1\n")),
        (HOLD, &max_hold("1s")),
    ])
}

#[test]
fn a_venue_limit_is_tightened_and_raised_under_whatever_profile() {
    for pinned in [false, true] {
        let before = limited(9);
        let mut w = World::new(&before);
        if pinned {
            let as_it_is = Profile { index: 1, ..before.profiles[0].clone() };
            w.control.set_profile(Box::new(as_it_is), Nanos::MAX).unwrap();
            w.poll();
        }
        let send = |w: &mut World, flows: std::ops::Range<u8>| {
            w.send_all(flows.map(order));
            w.run_for(us(100));
        };
        send(&mut w, 1..5);
        assert_eq!(w.out().len(), 4);
        confirm(&mut w, &limited(5));
        send(&mut w, 5..9);
        w.run_until(ms(9));
        assert_eq!(w.out().len(), 4, "what may go at once has gone already");
        confirm(&mut w, &limited(8));
        w.run_until(ms(9) + us(100));
        assert_eq!(w.out().len(), 7, "three more, who waited");
        w.run_dry();
        assert_eq!(w.books().totals.dropped(), 0);
    }
}
