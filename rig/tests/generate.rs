//! What is in a generated capture.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use model::frame::{Frame, Parsed, VLAN_NONE, parse};
use model::meta::wire_len;
use model::time::Nanos;
use rig::capture::CaptureReader;
use rig::generate::{Generated, Kind, Parameters, START, generate};

struct Seen {
    t: Nanos,
    bytes: Vec<u8>,
    frame: Frame,
}

impl Seen {
    fn ip(&self) -> Option<&Parsed> {
        match &self.frame {
            Frame::Ip(parsed) => Some(parsed),
            _ => None,
        }
    }

    /// An order over UDP, as the rules of the example config see it.
    fn is_order(&self) -> bool {
        self.ip().is_some_and(|p| {
            p.key.protocol == 17
                && p.key.dst[..3] == [10, 9, 0]
                && (7_000..=7_009).contains(&p.key.dst_port)
        })
    }
}

fn capture(path: &Path) -> Vec<Seen> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        assert_eq!(record.data.len(), record.orig_len as usize);
        frames.push(Seen {
            t: record.t,
            bytes: record.data.to_vec(),
            frame: parse(record.data, record.orig_len),
        });
    }
    frames
}

fn make(kind: Kind, seed: u64, millis: u64) -> (Vec<Seen>, Generated) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcap");
    let parameters = Parameters::new(seed, Nanos::from_millis(millis));
    let generated = generate(kind, &parameters, &path).unwrap();
    (capture(&path), generated)
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_gives_others() {
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let bytes = |seed, name: &str| {
            let path = directory.path().join(name);
            generate(kind, &Parameters::new(seed, Nanos::from_millis(60)), &path).unwrap();
            std::fs::read(path).unwrap()
        };
        assert_eq!(bytes(7, "a.pcap"), bytes(7, "b.pcap"), "{}", kind.name());
        assert_ne!(bytes(7, "a.pcap"), bytes(8, "b.pcap"), "{}", kind.name());
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_name("bogus"), None);
}

#[test]
fn every_frame_is_well_formed_and_its_checksums_hold() {
    for (kind, seed) in [(Kind::Orders, 1), (Kind::MarketData, 2), (Kind::Mixed, 3)] {
        let (frames, generated) = make(kind, seed, 400);
        assert_eq!(generated.frames, frames.len() as u64);
        assert_eq!(generated.bytes, frames.iter().map(|f| f.bytes.len() as u64).sum::<u64>());
        assert_eq!(generated.last, frames.last().unwrap().t);
        for seen in &frames {
            assert!(!matches!(seen.frame, Frame::Malformed(_)), "{:02x?}", seen.bytes);
            assert!((60..=1_514 + 4).contains(&seen.bytes.len()));
            check_sums(&seen.bytes);
        }
    }
}

fn check_sums(bytes: &[u8]) {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    match &packet.transport {
        Some(TransportSlice::Udp(udp)) => {
            let expected = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), expected);
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let expected = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
            assert_eq!(tcp.checksum(), expected);
        }
        other => panic!("no transport: {other:?}"),
    }
}

#[test]
fn frames_follow_each_other_as_on_a_wire() {
    for kind in Kind::ALL {
        let (frames, _) = make(kind, 5, 300);
        assert!(frames[0].t > START);
        for pair in frames.windows(2) {
            // 10 Gbit/s: 0.8 ns per byte, preamble, FCS and gap included.
            let busy = u64::from(wire_len(pair[0].bytes.len() as u32)) * 4 / 5;
            assert!(pair[1].t.0 >= pair[0].t.0 + busy, "{:?} {:?}", pair[0].t, pair[1].t);
        }
    }
}

#[test]
fn orders_hold_what_the_example_rules_look_for() {
    let (frames, _) = make(Kind::Orders, 1, 1_000);
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for seen in &frames {
        let name = match &seen.frame {
            Frame::NonIp { ether_type: 0x0806 } => "arp",
            Frame::NonIp { ether_type: 0x88cc } => "lldp",
            Frame::Ip(p) => {
                assert_eq!(p.key.src[..3], [10, 1, 0]);
                assert_eq!(p.key.dst[..3], [10, 9, 0]);
                *count
                    .entry(if p.key.vlan == VLAN_NONE { "untagged" } else { "tagged" })
                    .or_default() += 1;
                match (p.key.protocol, p.key.dst_port) {
                    (17, 7_000..=7_009) => "order",
                    (17, 7_010) => "cancel",
                    (6, 9_001) if p.tcp_flags & 2 != 0 => "syn",
                    (6, 9_001) if p.tcp_flags & 1 != 0 => "fin",
                    (6, 9_001) if p.payload_len == 0 => "ack",
                    (6, 9_001) => "data",
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        };
        *count.entry(name).or_default() += 1;
    }
    for name in
        ["arp", "lldp", "order", "cancel", "syn", "fin", "ack", "data", "tagged", "untagged"]
    {
        assert!(count.get(name).is_some_and(|n| *n > 0), "{name}: {count:?}");
    }
    // Sessions: three, the first of them twice.
    assert_eq!((count["syn"], count["fin"]), (4, 4), "{count:?}");
    assert!(count["order"] as usize * 2 > frames.len(), "{count:?}");
}

#[test]
fn tcp_sequence_numbers_go_on_without_gaps() {
    let (frames, _) = make(Kind::Orders, 1, 2_000);
    // (next sequence number, acknowledgement, start of the last segment with data) of a flow.
    let mut flows: HashMap<_, (u32, u32, u32)> = HashMap::new();
    let (mut repeats, mut closed) = (0, 0);
    for seen in &frames {
        let Some(p) = seen.ip().filter(|p| p.key.protocol == 6) else { continue };
        let l2 = if p.key.vlan == VLAN_NONE { 14 } else { 18 };
        let ack = u32::from_be_bytes(*seen.bytes[l2 + 28..].first_chunk().unwrap());
        if p.tcp_flags & 2 != 0 {
            assert!(!flows.contains_key(&p.key), "a port is used twice");
            flows.insert(p.key, (p.tcp_seq, 0, 0));
            continue;
        }
        let (next, acked, last_data) = flows.get_mut(&p.key).expect("a SYN came first");
        let is_repeat = p.payload_len > 0 && p.tcp_seq != *next && p.tcp_seq == *last_data;
        if is_repeat {
            repeats += 1;
        } else {
            assert_eq!(p.tcp_seq, *next);
            if p.payload_len > 0 {
                *last_data = p.tcp_seq;
            }
            let fin = u32::from(p.tcp_flags & 1);
            closed += fin;
            *next = p.tcp_seq.wrapping_add(p.payload_len + fin);
        }
        if *acked != 0 {
            assert!(ack.wrapping_sub(*acked) < 1 << 20, "an acknowledgement went back");
        }
        *acked = ack;
    }
    assert_eq!(flows.len(), 4);
    assert_eq!(closed, 4);
    assert!(repeats > 0, "no segment was sent twice");
}

#[test]
fn bursts_are_short_and_caps_delay_a_fifth_of_the_frames() {
    for seed in 1..=5 {
        let (frames, _) = make(Kind::Orders, seed, 1_000);
        let orders: Vec<&Seen> = frames.iter().filter(|seen| seen.is_order()).collect();
        // Orders within 100 us of each other are one burst.
        let mut bursts = vec![1u32];
        for pair in orders.windows(2) {
            if pair[1].t.0 - pair[0].t.0 < 100_000 {
                *bursts.last_mut().unwrap() += 1;
            } else {
                bursts.push(1);
            }
        }
        assert!(*bursts.iter().max().unwrap() >= 30, "seed {seed}: {bursts:?}");
        assert!(bursts.len() > 20, "seed {seed}: {} bursts", bursts.len());
        // A cap of 50 Mbit/s with a burst of four frames, and one of 3000 messages/s with 8.
        let share = |late: usize| late * 100 / frames.len();
        let bytes_cap =
            share(late(&orders, 6_000, |seen| u64::from(wire_len(seen.bytes.len() as u32)) * 160));
        let message_cap = share(late(&orders, 8 * 333_333, |_| 333_333));
        assert!(bytes_cap >= 20, "seed {seed}: {bytes_cap} % late by bytes");
        assert!(message_cap >= 20, "seed {seed}: {message_cap} % late by messages");
    }
}

/// How many of these frames a queue serves late: each takes `cost` ns, and it may run `credit_ns`
/// ahead (counted in bytes of a burst of four small frames, or in messages).
fn late(orders: &[&Seen], credit_ns: u64, cost: impl Fn(&Seen) -> u64) -> usize {
    let mut busy_until = 0u64;
    let mut late = 0;
    for seen in orders {
        late += usize::from(busy_until > seen.t.0 + credit_ns);
        busy_until = busy_until.max(seen.t.0) + cost(seen);
    }
    late
}

#[test]
fn the_feed_is_two_lines_with_the_same_packets() {
    let (frames, _) = make(Kind::MarketData, 4, 300);
    let mut lines: BTreeMap<(u16, u8), Vec<Vec<u8>>> = BTreeMap::new();
    for seen in &frames {
        let p = seen.ip().unwrap();
        assert_eq!(p.key.dst[0], 233);
        assert_eq!(seen.bytes[..3], [0x01, 0x00, 0x5e]);
        let payload = seen.bytes[seen.bytes.len() - p.payload_len as usize..].to_vec();
        lines.entry((p.key.vlan, p.key.dst[3])).or_default().push(payload);
    }
    let mut lines: Vec<Vec<Vec<u8>>> = lines.into_values().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].len() > 100);
    for line in &mut lines {
        line.sort();
    }
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn a_mixed_capture_holds_both() {
    let (mixed, _) = make(Kind::Mixed, 9, 200);
    let feed = |seen: &&Seen| seen.ip().is_some_and(|p| p.key.dst[0] == 233);
    let (orders, _) = make(Kind::Orders, 9, 200);
    let (market_data, _) = make(Kind::MarketData, 9, 200);
    assert_eq!(mixed.len(), orders.len() + market_data.len());
    assert_eq!(mixed.iter().filter(feed).count(), market_data.len());
    // Each part is the same as alone: the seed gives each its own stream.
    let mut alone: Vec<&[u8]> = orders.iter().map(|seen| &seen.bytes[..]).collect();
    let mut together: Vec<&[u8]> =
        mixed.iter().filter(|seen| !feed(seen)).map(|seen| &seen.bytes[..]).collect();
    alone.sort_unstable();
    together.sort_unstable();
    assert_eq!(alone, together);
}

#[test]
fn shapes_out_of_range_still_give_a_capture() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcap");
    let mut parameters = Parameters::new(1, Nanos::from_millis(20));
    parameters.orders.udp_sessions = 255;
    parameters.orders.tcp_sessions = 255;
    parameters.orders.payload_bytes_min = 90_000;
    parameters.orders.payload_bytes_max = 90_000;
    parameters.orders.burst_span = Nanos::ZERO;
    parameters.market_data.payload_bytes_min = 90_000;
    parameters.market_data.payload_bytes_max = 90_000;
    generate(Kind::Mixed, &parameters, &path).unwrap();
    let frames = capture(&path);
    assert!(frames.iter().all(|seen| !matches!(seen.frame, Frame::Malformed(_))));
    assert!(frames.iter().any(|seen| seen.bytes.len() > 1_400));
    // No gap, no sessions: an end all the same.
    parameters.duration = Nanos::from_micros(1_200);
    (parameters.orders.udp_sessions, parameters.orders.tcp_sessions) = (0, 0);
    (parameters.orders.gap_min, parameters.orders.gap_max) = (Nanos::ZERO, Nanos::ZERO);
    (parameters.market_data.gap_min, parameters.market_data.gap_max) = (Nanos::ZERO, Nanos::ZERO);
    generate(Kind::Mixed, &parameters, &path).unwrap();
}
