//! The readers of captures, frames and configs.

use std::net::IpAddr;

use crate::checker::capture;
use crate::checker::config::{Burst, Config, Side};
use crate::checker::frame::{self, Frame, Packet};
use crate::support::captures::{Pcap, gzip, pcap, pcapng};
use crate::support::frames::{ACK, FIN, SYN, ethernet, ipv4, ipv6, tagged, tcp, udp};

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 9, 0, 7];

fn ip(bytes: &[u8]) -> Packet {
    match frame::read(bytes) {
        Frame::Ip(packet) => packet,
        other => panic!("{other:?} is not IP"),
    }
}

#[test]
fn every_pcap_flavour_reads_the_same() {
    let frames = [
        (1_500_000_000_123_456_000, udp(A, 1, B, 2, b"x")),
        (1_500_000_001_000_000_000, vec![0; 61]),
    ];
    for (big, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let file = pcap(Pcap { big, nanoseconds }, &frames);
        for file in [gzip(&file), file] {
            let records = capture::read(&file).unwrap();
            let read: Vec<_> = records.into_iter().map(|r| (r.t, r.bytes)).collect();
            assert_eq!(read, frames);
        }
    }
}

#[test]
fn pcapng_resolutions_byte_orders_and_names() {
    // 2^-10 s: 1024 ticks are a second, one tick 976,562.5 ns.
    for (resolution, ticks, ns) in [
        (9, 1_700_000_000_000_000_001, 1_700_000_000_000_000_001),
        (6, 7, 7_000),
        (0x8a, 1_025, 1_000_976_562),
    ] {
        for big in [false, true] {
            let file = pcapng(
                big,
                resolution,
                &["inside", "venue-a"],
                &[(ticks, 1, vec![1_u8, 2, 3, 4, 5])],
            );
            let records = capture::read(&file).unwrap();
            assert_eq!(records.len(), 1);
            assert_eq!(records[0].t, ns);
            assert_eq!(records[0].bytes, [1, 2, 3, 4, 5]);
            assert_eq!(records[0].interface.as_deref(), Some("venue-a"));
        }
    }
}

#[test]
fn every_cut_of_a_capture_is_an_error_or_fewer_frames() {
    let frames = [(5, udp(A, 1, B, 2, b"abc")), (9, udp(A, 1, B, 2, b"abcd"))];
    let classic = pcap(Pcap { big: false, nanoseconds: true }, &frames);
    let numbered: Vec<_> = frames.iter().map(|(t, f)| (*t, 0, f.clone())).collect();
    let blocks = pcapng(true, 9, &["if"], &numbered);
    for file in [classic, blocks] {
        let whole = capture::read(&file).unwrap();
        assert_eq!(whole.len(), 2);
        for cut in 0..file.len() {
            if let Ok(records) = capture::read(&file[..cut]) {
                assert!(records.len() < 2, "cut at {cut}");
                assert_eq!(records, whole[..records.len()], "cut at {cut}");
            }
        }
    }
    assert!(capture::read(b"").is_err());
    assert!(capture::read(b"not a capture").is_err());
}

#[test]
fn frames_by_hand() {
    let order = ip(&udp(A, 4_000, B, 7_001, b"order"));
    assert_eq!(order.flow.dst, IpAddr::from(B));
    assert_eq!((order.flow.src_port, order.flow.dst_port, order.flow.protocol), (4_000, 7_001, 17));
    assert_eq!((order.payload, order.flow.vlan), (5, None));

    let ack = ip(&tcp(A, 1, B, 2, 9, ACK, b""));
    assert_eq!((ack.payload, ack.tcp_control), (0, false), "padding is no payload");
    for flag in [SYN, FIN] {
        assert!(ip(&tcp(A, 1, B, 2, 9, flag | ACK, b"")).tcp_control);
    }

    let inner = tagged(0x8100, 7, &udp(A, 1, B, 2, b""));
    let outer = tagged(0x88a8, 100 | 0xe000, &inner);
    assert_eq!(ip(&outer).flow.vlan, Some(100), "the outer tag names the VLAN");
    assert_eq!(frame::read(&tagged(0x8100, 1, &outer)), Frame::Malformed("vlan_malformed"));

    let mut datagram = vec![0, 1, 0, 2, 0, 12, 0, 0];
    datagram.extend(b"abcd");
    let mut chain = vec![60, 0, 0, 0, 0, 0, 0, 0];
    chain.extend([17, 1, 0, 0, 0, 0, 0, 0].iter().chain(&[0; 8]));
    chain.extend(&datagram);
    let six = ip(&ethernet(0x86dd, &ipv6(0, [1; 16], [2; 16], &chain)));
    assert_eq!((six.flow.src_port, six.flow.dst_port, six.payload), (1, 2, 4));
    assert_eq!(frame::read(&ethernet(0x0806, &[0; 28])), Frame::NonIp);
    assert_eq!(frame::read(&ethernet(46, &[0; 46])), Frame::NonIp);
}

#[test]
fn broken_frames_have_names() {
    let good = udp(A, 1, B, 2, b"abcd");
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame::read(&frame)
    };
    assert_eq!(frame::read(&good[..13]), Frame::Malformed("runt"));
    assert_eq!(frame::read(&good[..30]), Frame::Malformed("ipv4_header_malformed"));
    assert_eq!(with(14, 0x44), Frame::Malformed("ipv4_header_malformed"), "IHL 4");
    assert_eq!(with(14, 0x65), Frame::Malformed("ipv4_header_malformed"), "version 6");
    assert_eq!(with(17, 200), Frame::Malformed("ipv4_length_malformed"));
    assert_eq!(with(17, 19), Frame::Malformed("ipv4_length_malformed"));
    assert_eq!(with(39, 7), Frame::Malformed("udp_malformed"));
    assert_eq!(with(39, 13), Frame::Malformed("udp_malformed"));
    assert!(matches!(with(20, 0x20), Frame::Ip(Packet { fragment: true, .. })), "more fragments");
    assert!(matches!(with(21, 1), Frame::Ip(Packet { fragment: true, .. })), "a later fragment");
    assert!(matches!(with(20, 0x40), Frame::Ip(Packet { fragment: false, .. })), "do not fragment");
    let mut segment = vec![0; 20];
    segment[12] = 4 << 4;
    let short = ethernet(0x0800, &ipv4(6, A, B, &segment));
    assert_eq!(frame::read(&short), Frame::Malformed("tcp_malformed"));
    let cut = ethernet(0x86dd, &ipv6(0, [1; 16], [2; 16], &[17, 9, 0, 0, 0, 0, 0, 0]));
    assert_eq!(frame::read(&cut), Frame::Malformed("ipv6_extension_malformed"));
    let mut long = ethernet(0x86dd, &ipv6(17, [1; 16], [2; 16], &[0; 8]));
    long[19] = 9;
    assert_eq!(frame::read(&long), Frame::Malformed("ipv6_length_malformed"));
}

const RULES: &str = r#"
[gateway]
slot = "2048ns"
[[port]]
name = "in"
side = "inside"
[[port]]
name = "out"
side = "venue"
frame_max = "1600B"
rate = "1G"
burst = "12 packets"
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "rest"
venue = "back"
[[class]]
name = "orders"
kind = "order"
rate = "50M"
burst = "100us"
flow_rate = "2M"
flow_burst = "16KiB"
[[class]]
name = "rest"
max_hold = "2ms"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
protocol = "udp"
dst = "10.9.0.0/24"
dst_port = "7000-7009"
[[rule]]
class = "orders"
src = "fd00::/8"
dscp = 46
[[rule]]
class = "orders"
vlan = 5
src_port = 9
protocol = 6
"#;

#[test]
fn config_values_and_units() {
    let config = Config::parse(RULES).unwrap();
    assert_eq!(config.slot, 2_048);
    assert_eq!(config.pairs, [(0, 1)]);
    assert_eq!(config.ports[1].frame_max, 1_600);
    assert_eq!(config.ports[1].caps.rate, Some(1_000_000_000));
    assert_eq!(config.ports[1].caps.burst, Some(Burst::Packets(12)));
    let orders = &config.classes[0];
    assert_eq!(orders.caps.burst, Some(Burst::Time(100_000)));
    assert_eq!(orders.flow_caps.burst, Some(Burst::Bytes(16_384)));
    assert_eq!(orders.max_hold, Some(1_000_000), "orders are held for a millisecond by default");
    assert_eq!(config.classes[1].max_hold, Some(2_000_000));
    assert_eq!(config.classes[2].max_hold, None);
    assert!(Config::parse(&RULES.replace("2048ns", "2048")).is_err(), "a time needs a unit");
    assert!(Config::parse(&RULES.replace("\"rest\"", "\"other\"")).is_ok());
    assert!(Config::parse(&RULES.replace("inside = \"rest\"", "inside = \"gone\"")).is_err());
}

#[test]
fn a_profile_is_written_over_the_tables_it_names() {
    let text = format!(
        "{RULES}\n[[profile]]\nname = \"smooth\"\n[[profile.class]]\nname = \"orders\"\n\
         burst = \"1 packet\"\nmax_hold = \"3ms\"\n[[profile.port]]\nname = \"out\"\nrate = \"2M\"\n"
    );
    let smooth = Config::parse_under(&text, "smooth").unwrap();
    assert_eq!(smooth.classes[0].caps.rate, Some(50_000_000), "what it does not name stays");
    assert_eq!(smooth.classes[0].caps.burst, Some(Burst::Packets(1)));
    assert_eq!(smooth.classes[0].max_hold, Some(3_000_000));
    assert_eq!(smooth.ports[1].caps.rate, Some(2_000_000));
    assert_eq!(Config::parse(&text).unwrap().classes[0].caps.burst, Some(Burst::Time(100_000)));
    assert!(Config::parse_under(&text, "gone").is_err());
}

#[test]
fn every_shipped_config_is_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            // What only looks on paces nothing, and what compares paths is no gateway's config.
            if text.contains("\n[observe]") || path.ends_with("ab.toml") {
                continue;
            }
            let config = Config::parse(&text);
            let config = config.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(config.slot.is_power_of_two() && !config.pairs.is_empty());
            read += 1;
        }
    }
    assert!(read > 0, "{folder} holds configs");
}

#[test]
fn first_matching_rule_classifies() {
    let config = Config::parse(RULES).unwrap();
    let class =
        |packet: &Packet| config.classes[config.classify(Side::Inside, packet)].name.clone();
    assert_eq!(class(&ip(&udp(A, 1, B, 7_009, b""))), "orders");
    assert_eq!(class(&ip(&udp(A, 1, B, 7_010, b""))), "rest", "past the range");
    assert_eq!(class(&ip(&udp(A, 1, [10, 9, 1, 7], 7_000, b""))), "rest", "past the prefix");
    assert_eq!(class(&ip(&tcp(A, 1, B, 7_000, 0, ACK, b""))), "rest", "TCP is not UDP");
    assert_eq!(class(&ip(&tagged(0x8100, 5, &tcp(A, 9, B, 1, 0, ACK, b"")))), "orders");
    assert_eq!(class(&ip(&tagged(0x8100, 6, &tcp(A, 9, B, 1, 0, ACK, b"")))), "rest");
    let mut six = ipv6(59, [0xfd; 16], [2; 16], b"");
    assert_eq!(class(&ip(&ethernet(0x86dd, &six))), "rest", "DSCP 0");
    six[0] |= 46 >> 2;
    six[1] |= (46 & 0b11) << 6;
    assert_eq!(class(&ip(&ethernet(0x86dd, &six))), "orders");
    let back = config.classify(Side::Venue, &ip(&udp(A, 1, B, 7_000, b"")));
    assert_eq!(config.classes[back].name, "back", "rules of one side do not see the other");
}
