//! An exempt packet never waits behind a bucket that orders emptied.

use model::inflight::CompletionSource;
use model::profile::{Bucket, Caps};
use model::sample::{End, Release};
use model::time::Nanos;
use proptest::prelude::*;

use crate::common::Bench;
use crate::frames::{
    ACK, CANCEL_SESSION, CANCELS, FIN, FIX, Frame, LOGS, REPLACES, RST, SYN, TCP_ORDERS,
    cancel_in_flow, order, tcp, udp,
};
use crate::world::{Rings, World, config, ms, us};

fn governed() -> impl Strategy<Value = Frame> {
    let host = 0u8..4;
    prop_oneof![
        4 => host.clone().prop_map(order),
        1 => host.clone().prop_map(|h| udp(h, REPLACES)),
        2 => host.clone().prop_map(|h| tcp(h, FIX, ACK, 100)),
        1 => host.clone().prop_map(|h| tcp(h, TCP_ORDERS, ACK, 1_000)),
        1 => host.prop_map(|h| udp(h, LOGS)),
    ]
}

/// Exempt frames that release their own flow forward.
fn exempt() -> impl Strategy<Value = Frame> {
    let host = 0u8..4;
    prop_oneof![
        2 => host.clone().prop_map(cancel_in_flow),
        1 => host.clone().prop_map(|h| udp(h, CANCELS)),
        1 => host.clone().prop_map(|h| tcp(h, CANCEL_SESSION, ACK, 60)),
        1 => host.clone().prop_map(|h| tcp(h, FIX, ACK | FIN, 0)),
        1 => host.clone().prop_map(|h| tcp(h, FIX, RST, 0)),
        1 => host.prop_map(|h| tcp(h, TCP_ORDERS, SYN, 0)),
    ]
}

fn cap() -> impl Strategy<Value = Caps> {
    let bits = (1_000u64..1_000_000_000, 1_538u64..20_000)
        .prop_map(|(rate_per_s, burst)| Bucket::new(rate_per_s, burst));
    let messages =
        (1u64..10_000, 1u64..10).prop_map(|(rate_per_s, burst)| Bucket::new(rate_per_s, burst));
    (prop::option::of(bits), prop::option::of(messages))
        .prop_map(|(bits, messages)| Caps { bits, messages })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// Through the whole lane: whatever arrived before, whatever caps hold at flow, class and port, an
    /// exempt packet leaves at the instant at which it arrived, and its flow keeps its order.
    #[test]
    fn an_exempt_packet_never_waits_behind_a_bucket_that_orders_emptied(
        caps in prop::collection::vec((cap(), cap()), 10),
        port in cap(),
        script in prop::collection::vec(
            (0u64..400_000, prop_oneof![4 => governed(), 1 => exempt()]), 1..250),
    ) {
        let mut config = config(&[]);
        for profile in &mut config.profiles {
            for (class, (flow_cap, class_cap)) in profile.classes.iter_mut().zip(&caps).take(9) {
                (class.flow, class.class) = (*flow_cap, *class_cap);
            }
            profile.egress[1].port = port;
        }
        let mut w = World::new(&config);
        let mut at = Nanos::ZERO;
        let mut exempts = Vec::new();
        let mut flows = std::collections::BTreeMap::<String, Vec<u32>>::new();
        for (gap, frame) in &script {
            at = at + Nanos(*gap);
            let number = w.send(at, frame);
            let group = match frame {
                Frame::Udp { host, port, .. } => format!("udp {host} {port}"),
                Frame::Tcp { host, port, .. } => format!("tcp {host} {port}"),
                _ => unreachable!(),
            };
            flows.entry(group).or_default().push(number);
            let is_exempt = match frame {
                Frame::Udp { port, dscp, .. } => *dscp > 0 || *port == CANCELS,
                Frame::Tcp { port, flags, .. } => *port == CANCEL_SESSION || *flags != ACK,
                _ => false,
            };
            if is_exempt {
                exempts.push((at, number));
            }
        }
        w.run_until(at);
        let story = w.story();
        for exempt in &exempts {
            prop_assert!(story.contains(exempt), "{exempt:?} did not leave at once");
        }
        for numbers in flows.values() {
            let out: Vec<u32> = story.iter().map(|s| s.1).filter(|n| numbers.contains(n)).collect();
            prop_assert_eq!(&numbers[..out.len()], &out, "order in a flow");
        }
        w.books();
    }
}

#[test]
fn a_flood_of_exempt_packets_starves_orders_for_max_hold_at_most() {
    // Cancels pay the port's bucket, which goes into debt for minutes; orders must go all the same.
    let config = config(&[("#PORT", "rate = \"10M\"\nburst = \"2 packets\"")]);
    let rings = Rings { samples: 1 << 15, alarms: 64 };
    let mut w = World::with(&config, CompletionSource::Synchronous, &rings, Bench::new());
    let mut arrived = Vec::new();
    for k in 0..30_000u64 {
        let at = us(10 * k);
        w.send(at, &udp(1, CANCELS));
        if k % 100 == 0 {
            let number = w.send(at, &order(2));
            arrived.push((number, at));
        }
    }
    w.run_dry();
    let story: std::collections::HashMap<u32, Nanos> =
        w.story().into_iter().map(|(at, number)| (number, at)).collect();
    let waits: Vec<Nanos> = arrived.iter().map(|(n, at)| story[n].saturating_sub(*at)).collect();
    let longest = waits.iter().copied().max().unwrap();
    assert!(longest >= ms(9), "the flood did not starve them: {longest}");
    assert!(longest <= ms(10) + us(2), "{longest}");
    let books = w.books();
    assert!(books.releases(Release::MaxHold) > 250);
    assert_eq!(books.totals.dropped(), 0);
}

#[test]
fn a_full_port_gives_its_room_to_cancels_before_what_max_hold_flushes() {
    let mut w = World::new(&config(&[("stall_time = \"5ms\"", "stall_time = \"100ms\"")]));
    w.wire.borrow_mut().takes = 0;
    let orders = w.send_all((0..60).map(|k| order(k % 6)));
    w.run_for(ms(15));
    // All orders have reached their max_hold by now and wait for the port, and so does this.
    let cancel = w.send_all([udp(9, CANCELS)]);
    w.wire.borrow_mut().takes = 1;
    w.poll();
    assert_eq!(w.out(), cancel);
    w.run_for(ms(1));
    assert_eq!(w.out().len(), 1 + orders.len());
    let books = w.books();
    let held = |row: &&model::sample::Sample| row.end == End::Sent(Release::MaxHold);
    assert_eq!(books.samples.iter().filter(held).count(), orders.len());
}
