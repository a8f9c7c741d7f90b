//! Conservation and buffers, whatever happens. `World` checks the law and the pool after every turn.

use dataplane::channel::Event;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kpi::Tally;
use model::stop::StopWord;
use proptest::prelude::*;

use crate::common::Bench;
use crate::frames::{
    ACK, CANCELS, FIN, FIX, Frame, LOGS, REPLACES, cancel_in_flow, order, tcp, udp,
};
use crate::world::{Rings, World, config, ms, us};

#[derive(Clone, Debug)]
enum Step {
    Send(Frame),
    Answer(Frame),
    Wait(u64),
    Takes(usize),
    Link(bool),
    Keeps(bool),
    Word(&'static str, StopWord),
    Resume(&'static str),
    Profile,
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0u8..5;
    let frame = prop_oneof![
        host.clone().prop_map(order),
        host.clone().prop_map(cancel_in_flow),
        host.clone().prop_map(|h| udp(h, REPLACES)),
        host.clone().prop_map(|h| udp(h, CANCELS)),
        host.clone().prop_map(|h| udp(h, LOGS)),
        host.clone().prop_map(|h| tcp(h, FIX, ACK, 200)),
        host.clone().prop_map(|h| tcp(h, FIX, ACK | FIN, 0)),
        host.clone().prop_map(|h| tcp(h, FIX, ACK, 0)),
        host.prop_map(|host| Frame::Fragment { host }),
        Just(Frame::Arp),
        prop::collection::vec(any::<u8>(), 1..200).prop_map(|mut bytes| {
            // Never ARP or another protocol that would leave: cut-off IPv4.
            bytes.resize(bytes.len().max(14), 0);
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes.truncate(30);
            Frame::Raw(bytes)
        }),
    ];
    let scope =
        prop::sample::select(vec!["all", "venue:XCME", "class:orders", "class:fix", "class:logs"]);
    let word = prop::sample::select(vec![StopWord::Halt, StopWord::Passthrough]);
    prop_oneof![
        12 => frame.clone().prop_map(Step::Send),
        2 => frame.prop_map(Step::Answer),
        6 => (1u64..3_000_000).prop_map(Step::Wait),
        2 => prop::sample::select(vec![0, 1, 5, usize::MAX]).prop_map(Step::Takes),
        1 => any::<bool>().prop_map(Step::Link),
        1 => any::<bool>().prop_map(Step::Keeps),
        1 => (scope.clone(), word).prop_map(|(scope, word)| Step::Word(scope, word)),
        1 => scope.prop_map(Step::Resume),
        1 => Just(Step::Profile),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any mix of traffic, stop words, profiles, refusals, link changes and missing completions, then
    /// SIGTERM: every packet has one end and every buffer is back.
    #[test]
    fn every_packet_has_one_end_and_every_buffer_comes_back(
        steps in prop::collection::vec(step(), 1..200),
        counted in any::<bool>(),
    ) {
        let mut config = config(&[]);
        config.ports[1].inflight_limit_bytes = counted.then_some(4_096);
        config.profiles[0].egress[1].inflight_limit_bytes = counted.then_some(4_096);
        let source =
            if counted { CompletionSource::RingCount } else { CompletionSource::Synchronous };
        let mut w = World::with(&config, source, &Rings::default(), Bench::new());
        for step in &steps {
            let now = w.now;
            match step {
                Step::Send(frame) => { w.send(now, frame); }
                Step::Answer(frame) => { w.answer(now, frame); }
                Step::Wait(ns) => w.run_for(model::time::Nanos(*ns)),
                Step::Takes(n) => w.wire.borrow_mut().takes = *n,
                Step::Link(up) => w.wire.borrow_mut().up = *up,
                Step::Keeps(keeps) => {
                    w.wire.borrow_mut().keeps = *keeps;
                    if !keeps {
                        w.wire.borrow_mut().complete();
                    }
                }
                Step::Word(scope, word) => w.word(scope, *word),
                Step::Resume(scope) => w.resume(scope),
                Step::Profile => {
                    let contain = Box::new(config.profiles[1].clone());
                    // Refused when too many are on their way: control would try again.
                    let _ = w.control.set_profile(contain, now + ms(5));
                }
            }
        }
        w.run_for(ms(1));
        w.stop();
        prop_assert_eq!(w.held(), 0);
        w.books();
    }
}

#[test]
fn bad_frames_end_under_their_names_and_disturb_nobody() {
    let mut w = World::new(&config(&[]));
    let cut = |frame: Frame, len: usize| {
        let mut bytes = frame.bytes(0);
        bytes.truncate(len);
        Frame::Raw(bytes)
    };
    let mut bad_ihl = order(1).bytes(0);
    bad_ihl[14] = 0x44;
    let mut bad_offset = tcp(1, FIX, ACK, 20).bytes(0);
    bad_offset[46] = 4 << 4;
    let mut bad_udp = order(1).bytes(0);
    bad_udp[38..40].copy_from_slice(&[0, 7]);
    let mut first = w.send_all([order(1)]);
    w.send_all([
        cut(Frame::Arp, 13),
        cut(order(1), 40),
        Frame::Raw(bad_ihl),
        Frame::Raw(bad_offset),
        Frame::Raw(bad_udp),
        Frame::Raw(vec![0; 1_515]),
        Frame::Fragment { host: 1 },
    ]);
    first.extend(w.send_all([udp(2, CANCELS)]));
    w.poll();
    let mut out = w.out();
    out.sort_unstable();
    assert_eq!(out, first);
    let books = w.books();
    for reason in [
        DropReason::Runt,
        DropReason::Ipv4LengthMalformed,
        DropReason::Ipv4HeaderMalformed,
        DropReason::TcpMalformed,
        DropReason::UdpMalformed,
        DropReason::TxOversize,
        DropReason::IpFragment,
    ] {
        assert_eq!(books.dropped(reason), 1, "{}", reason.name());
    }
    assert_eq!(books.totals.dropped(), 7);
}

#[test]
fn an_empty_pool_is_a_named_end_with_an_alarm_and_it_recovers() {
    let bench = Bench::with_pool(511, 2_304);
    let source = CompletionSource::Synchronous;
    let mut config = config(&[]);
    config.dpdk.pool_reserve = 0;
    let mut w = World::with(&config, source, &Rings::default(), bench);
    w.wire.borrow_mut().takes = 0;
    // What has no max_hold and no drop policy fills the pool behind a port that takes nothing.
    w.send_all((0..600).map(|k| udp((k % 50) as u8, LOGS)));
    w.run_for(ms(1));
    assert!(w.held() >= 400);
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_for(ms(1));
    let cancel = w.send_all([udp(1, CANCELS)]);
    w.run_for(us(10));
    assert_eq!(w.out().last(), cancel.last());
    let held = u64::from(w.held());
    let books = w.books();
    let empty = books.dropped(DropReason::PoolEmpty);
    assert!(empty > 0);
    assert_eq!(books.totals.packets_in, 601);
    assert_eq!(books.totals.packets_out + held + empty, 601);
    let told: u64 = books
        .events
        .iter()
        .map(|event| match event {
            Event::PoolAlarm { packets, .. } => u64::from(*packets),
            _ => 0,
        })
        .sum();
    assert_eq!(told, empty);
}

#[test]
fn a_class_past_its_budget_keeps_its_packets_and_raises_an_alarm() {
    let mut w = World::new(&config(&[(
        "kind = \"order\"\nmessages = \"1000/s\"",
        "kind = \"order\"\nqueue_packets = 4\nmessages = \"1000/s\"",
    )]));
    let sent = w.send_all((0..9).map(|_| order(1)));
    w.run_dry();
    assert_eq!(w.out(), sent);
    let books = w.books();
    assert_eq!(books.totals.dropped(), 0);
    let told = |e: &&Event| matches!(e, Event::Backpressure { class: 0, .. });
    assert_eq!(books.events.iter().filter(told).count(), 1);
}

#[test]
fn more_flows_than_the_table_holds_share_one_and_are_forwarded() {
    let mut w = World::new(&config(&[("flows_max = 64", "flows_max = 2")]));
    let sent = w.send_all((0..10).map(|host| udp(host, CANCELS)));
    w.poll();
    let mut out = w.out();
    out.sort_unstable();
    assert_eq!(out, sent);
    let full = w.flow_table_full();
    assert!(full >= 8);
    let books = w.books();
    assert_eq!(books.totals.dropped(), 0);
    assert_eq!(books.block.ports[0].tallies[Tally::FlowTableFull], full);
}
