//! The reserve of the pool: classes that may lose packets stop before those that may not.

use dataplane::channel::Event;
use model::config::Config;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;

use crate::common::Bench;
use crate::frames::{CANCELS, Frame, LOGS, order, udp};
use crate::world::{Rings, World, config, ms, us};

const MBUFS: u32 = 511;
const RESERVE: u32 = 100;
/// The pool is looked at once for each burst, when the burst has its buffers.
const BURST: u64 = 32;

fn reserved(may_drop: bool) -> Config {
    let logs = "name = \"logs\"\nrate = \"1M\"\nburst = \"1 packet\"";
    let with = format!("{logs}\nallow_drop = true\nallow_drop_reason = \"they are kept on disk\"");
    let mut config = config(&[(logs, if may_drop { &with } else { logs })]);
    config.dpdk.pool_reserve = RESERVE;
    config
}

fn world(config: &Config) -> World {
    let bench = Bench::with_pool(MBUFS, 2_304);
    World::with(config, CompletionSource::Synchronous, &Rings::default(), bench)
}

fn logs(n: u32) -> impl Iterator<Item = Frame> {
    (0..n).map(|k| udp((k % 50) as u8, LOGS))
}

#[test]
fn a_low_pool_ends_what_may_be_lost_and_orders_do_not_notice() {
    let mut w = world(&reserved(true));
    w.wire.borrow_mut().takes = 0;
    w.send_all(logs(600));
    w.run_for(us(100));
    let held = u64::from(w.worker().held());
    let kept = u64::from(MBUFS - RESERVE);
    assert!((kept - BURST..kept).contains(&held), "{held} held");
    // Orders and cancels come in as if nothing was.
    let orders = w.send_all((0..20).map(order));
    let cancels = w.send_all((0..20).map(|host| udp(host, CANCELS)));
    w.run_for(us(100));
    assert_eq!(u64::from(w.worker().held()), held + 40);
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_for(ms(30));
    let out = w.out();
    assert!(orders.iter().chain(&cancels).all(|number| out.contains(number)));
    // What was kept leaves at its rate; then there is room again.
    w.run_dry();
    let later = w.send_all(logs(50));
    w.run_dry();
    assert!(w.out().ends_with(&later[49..]));
    let books = w.books();
    let low = books.dropped(DropReason::PoolLow);
    assert_eq!((low, books.totals.dropped()), (600 - held, low));
    let told = books.events.iter().filter_map(|event| match event {
        Event::PoolLow { packets, .. } => Some(u64::from(*packets)),
        _ => None,
    });
    let told: Vec<u64> = told.collect();
    assert_eq!(
        (told.len(), told.iter().sum::<u64>()),
        (2, low),
        "one alarm for a ms, and the rest"
    );
}

/// Orders that may not be dropped wait without end and fill the pool: cancels still find buffers to
/// arrive in, and leave.
#[test]
fn a_pool_full_of_held_orders_keeps_room_for_cancels() {
    let mut w = world(&reserved(false));
    w.wire.borrow_mut().takes = 0;
    w.send_all(logs(600));
    w.run_for(us(100));
    let held = u64::from(w.worker().held());
    let kept = u64::from(MBUFS - RESERVE / 2);
    assert!((kept - BURST..kept).contains(&held), "{held} held");
    // However often more of them come, each cancel does too.
    let mut cancels = Vec::new();
    for host in 0..20 {
        w.send_all(logs(100));
        cancels.extend(w.send_all([udp(host, CANCELS)]));
        w.run_for(us(100));
    }
    // A burst of less than 32 takes less at once: a few more fit.
    let orders = u64::from(w.worker().held()) - 20;
    assert!((held..kept).contains(&orders), "{orders} held");
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_for(ms(1));
    let out = w.out();
    assert!(cancels.iter().all(|number| out.contains(number)));
    w.run_dry();
    // The rest is told with the next burst.
    w.send_all([order(1)]);
    w.run_dry();
    let books = w.books();
    assert_eq!(books.dropped(DropReason::PoolLow), 0);
    let ended = books.dropped(DropReason::PoolEmpty);
    assert_eq!(ended, 600 + 20 * 100 - orders);
    let told = books.events.iter().map(|event| match event {
        Event::PoolAlarm { packets, .. } => u64::from(*packets),
        _ => 0,
    });
    assert_eq!(told.sum::<u64>(), ended, "no end without an alarm");
    let touched = books.events.iter().filter(|e| matches!(e, Event::PoolReserve { .. })).count();
    assert!((1..=5).contains(&touched), "{touched} alarms in some ms");
}

#[test]
fn a_reserve_that_is_touched_is_told_before_anything_ends() {
    let mut w = world(&reserved(false));
    w.wire.borrow_mut().takes = 0;
    w.send_all(logs(MBUFS - RESERVE + 1));
    w.run_for(us(100));
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_dry();
    let books = w.books();
    assert_eq!(books.totals.dropped(), 0);
    assert!(books.events.iter().any(|event| matches!(event, Event::PoolReserve { .. })));
}
