//! Frames become the rows and counts that a gateway's core would have made of them.

use control::controller::{CoreFacts, Kpis};
use control::kpis::PacketKpis;
use etherparse::PacketBuilder;
use model::config::Config;
use model::frame::VLAN_NONE;
use model::kpi::Report;
use model::time::Nanos;

use super::matching::Matcher;
use super::plan_of;
use super::rows::Rows;
use super::seen::{NotSeen, Place, Seen};
use crate::kernel::ring::Frame;

const MS: u64 = 1_000_000;

fn config(observe: &str) -> Config {
    let text = format!(
        r#"
[gateway]
name = "host1"
[observe]
{observe}
[default_class]
inside = "orders"
venue = "back"
[[class]]
name = "orders"
from = "inside"
[[class]]
name = "back"
from = "venue"
"#
    );
    Config::from_toml("test", &text).expect("a good config")
}

/// A TCP frame: sequence number, what it acknowledges, payload.
fn tcp(to_venue: bool, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let (here, there) = (([10, 9, 0, 1], 40_000), ([10, 9, 0, 2], 7_000));
    let ((src, from), (dst, to)) = if to_venue { (here, there) } else { (there, here) };
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64);
    let mut bytes = Vec::new();
    builder
        .tcp(from, to, seq, 1_000)
        .ack(ack)
        .write(&mut bytes, payload)
        .expect("a vector takes it");
    bytes
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64);
    let mut bytes = Vec::new();
    builder.udp(40_000, 7_000).write(&mut bytes, payload).expect("a vector takes it");
    bytes
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        at_ns: 0,
        bytes,
        len: bytes.len() as u32,
        is_outgoing: true,
        vlan: None,
        segment_bytes: None,
    }
}

fn seen(bytes: &[u8], at: u64, place: Place) -> Seen {
    Seen::read(&frame(bytes), Nanos(at), place).expect("IP")
}

/// Everything that a list of frames comes to.
fn counted(observe: &str, frames: &[Seen]) -> (Report, PacketKpis, u64) {
    let config = config(observe);
    let observe = config.observe.clone().expect("it is there");
    let plan = plan_of(&config, &observe);
    let mut kpis = PacketKpis::new(vec![plan.clone()], config.profiles.clone());
    let mut rows = Rows::new(&config, &observe, &plan);
    kpis.roll(Nanos(1), &[CoreFacts { profile: 0, samples_lost: 0 }]);
    for seen in frames {
        rows.add(seen, &mut kpis, &mut None);
    }
    let end = Nanos::from_secs(10);
    rows.settle(end, true, &mut kpis);
    let report = kpis.run_report(end);
    (report, kpis, rows.unmatched())
}

#[test]
fn a_super_frame_is_so_many_frames_on_the_wire() {
    let bytes = tcp(true, 100, 1, &[7; 3_000]);
    let cut = Frame { segment_bytes: Some(1_448), bytes: &bytes[..192], ..frame(&bytes) };
    let read = Seen::read(&cut, Nanos(MS), Place::EgressOut).expect("headers are enough");
    assert_eq!((read.len, read.header_bytes), (3_054, 54));
    assert_eq!(read.segments().collect::<Vec<_>>(), [1_448, 1_448, 104]);
    let (report, kpis, _) = counted("egress = \"e\"\nlink = \"1G\"", &[read]);
    let totals = kpis.totals();
    assert_eq!((totals.packets_in, totals.packets_out, totals.segments_added), (1, 3, 2));
    assert_eq!(totals.bytes_out, 3_000 + 3 * 54);
    let entry = report.of("segments_per_superframe").find(|e| e.n > 0).expect("one frame");
    assert_eq!(entry.value("max"), Some(3.0));
    // Two frames of 1,526 bytes on the wire stand in front of the third: 24,416 ns at 1 Gbit/s.
    assert_eq!(kpis.unplanned(), 0);
}

#[test]
fn a_burst_is_serialized_at_the_rate_of_the_link() {
    let bytes = tcp(true, 100, 1, &[7; 1_448 * 2]);
    let super_frame = |at: u64| {
        let cut = Frame { segment_bytes: Some(1_448), ..frame(&bytes) };
        Seen::read(&cut, Nanos(at), Place::EgressOut).expect("IP")
    };
    // 40 super-frames, 1 ms apart: each a burst of two frames.
    let frames: Vec<_> = (1..=40).map(|n| super_frame(n * MS)).collect();
    let (report, ..) = counted("egress = \"e\"\nlink = \"1G\"", &frames);
    let of = |name: &str, value| report.of(name).find(|e| e.n > 0).and_then(|e| e.value(value));
    assert_eq!(of("burst_bytes", "max"), Some(2.0 * 1_526.0));
    // 1,526 bytes at 1 Gbit/s.
    assert_eq!(of("wire_serialization_ns", "max"), Some(12_208.0));
    let (report, ..) = counted("egress = \"e\"", &frames);
    let absent = report.of("burst_bytes").next().expect("it is there").absent;
    assert_eq!(absent, Some("no_link_rate"));
}

#[test]
fn acknowledgements_find_their_segments() {
    let mut frames = Vec::new();
    for n in 0..300_u32 {
        let at = u64::from(n) * MS + MS;
        frames.push(seen(&tcp(true, 100 * n, 1, &[7; 100]), at, Place::EgressOut));
        frames.push(seen(&tcp(false, 1, 100 * n + 100, &[]), at + 50_000, Place::EgressIn));
    }
    let (report, ..) = counted("egress = \"e\"", &frames);
    let delay = report.of("wire_to_ack_ns").find(|e| e.n > 0).expect("acknowledged");
    assert_eq!((delay.n, delay.value("max")), (300, Some(50_000.0)));
    let gaps = report.of("ingest_gap_ns").find(|e| e.n > 0).expect("from the venue");
    assert_eq!(gaps.value("max"), Some(MS as f64));
}

#[test]
fn a_host_that_forwards_knows_the_hand_over() {
    let mut frames = Vec::new();
    for n in 0..100_u32 {
        let (bytes, at) = (tcp(true, 100 * n, 1, &[7; 100]), u64::from(n) * MS + MS);
        frames.push(seen(&bytes, at, Place::IngressIn));
        frames.push(seen(&bytes, at + 20_000, Place::EgressOut));
        let back = tcp(false, 1, 100 * n + 100, &[]);
        frames.push(seen(&back, at + 30_000, Place::EgressIn));
        frames.push(seen(&back, at + 37_000, Place::IngressOut));
    }
    // The host's own, which nobody handed over.
    frames.push(seen(&udp(&[1]), 200 * MS, Place::EgressOut));
    let (report, kpis, unmatched) = counted("egress = \"e\"\ningress = \"i\"", &frames);
    assert_eq!((kpis.totals().packets_out, unmatched), (200, 1));
    let of = |class: &str| {
        let total = |e: &&model::kpi::Entry| {
            e.labels.class.as_deref() == Some(class) && e.labels.part == Some("total")
        };
        let found = report.of("dispatch_to_wire_ns").find(total).expect("a class");
        (found.n, found.value("max"))
    };
    assert_eq!((of("orders"), of("back")), ((100, Some(20_000.0)), (100, Some(7_000.0))));
}

#[test]
fn segments_are_matched_by_their_bytes_whatever_they_come_in() {
    let mut matcher = Matcher::default();
    let arrived = |m: &mut Matcher, bytes: &[u8], at| m.arrived(&seen(bytes, at, Place::IngressIn));
    let left =
        |m: &mut Matcher, bytes: &[u8], at| m.left(&seen(bytes, at, Place::EgressOut)).map(|t| t.0);
    // Put together on the way in, cut on the way out.
    arrived(&mut matcher, &tcp(true, 1_000, 1, &[7; 300]), 10);
    assert_eq!(left(&mut matcher, &tcp(true, 1_000, 1, &[7; 100]), 20), Some(10));
    assert_eq!(left(&mut matcher, &tcp(true, 1_100, 1, &[7; 200]), 30), Some(10));
    assert_eq!(left(&mut matcher, &tcp(true, 1_100, 1, &[7; 200]), 40), None, "used up");
    assert_eq!(left(&mut matcher, &tcp(true, 999, 1, &[7; 1]), 40), None);
    // Sequence numbers go round.
    arrived(&mut matcher, &tcp(true, u32::MAX - 9, 1, &[7; 30]), 50);
    assert_eq!(left(&mut matcher, &tcp(true, 5, 1, &[7; 15]), 60), Some(50));
    // An acknowledgement by what it acknowledges, a datagram by its payload.
    arrived(&mut matcher, &tcp(true, 2_000, 77, &[]), 70);
    assert_eq!(left(&mut matcher, &tcp(true, 2_000, 78, &[]), 80), None);
    assert_eq!(left(&mut matcher, &tcp(true, 2_000, 77, &[]), 80), Some(70));
    arrived(&mut matcher, &udp(b"one"), 90);
    arrived(&mut matcher, &udp(b"two"), 91);
    assert_eq!(left(&mut matcher, &udp(b"two"), 99), Some(91));
    assert_eq!(left(&mut matcher, &udp(b"six"), 99), None);
    // What is older than a second is forgotten.
    arrived(&mut matcher, &udp(b"old"), 100);
    assert_eq!(left(&mut matcher, &udp(b"old"), 100 + 1_000_000_001), None);
}

#[test]
fn padding_is_no_payload_and_a_tag_stands_beside_the_frame() {
    let mut padded = udp(b"tick");
    let plain = seen(&padded, 1, Place::IngressIn);
    padded.resize(60, 0);
    let read = seen(&padded, 1, Place::EgressOut);
    assert_eq!((read.len, read.header_bytes, read.digest), (60, 42, plain.digest));
    assert_eq!(read.parsed.key.vlan, VLAN_NONE);
    let tagged = Frame { vlan: Some(5), ..frame(&padded) };
    let read = Seen::read(&tagged, Nanos(1), Place::EgressIn).expect("IP");
    assert_eq!((read.parsed.key.vlan, read.len, read.header_bytes), (5, 64, 46));
}

#[test]
fn what_is_not_ip_or_cannot_be_read_is_told() {
    let arp = [&[0xff; 12][..], &[0x08, 0x06], &[0; 46]].concat();
    assert_eq!(Seen::read(&frame(&arp), Nanos(1), Place::EgressIn), Err(NotSeen::NotIp));
    let cut = &udp(b"tick")[..20];
    assert_eq!(Seen::read(&frame(cut), Nanos(1), Place::EgressIn), Err(NotSeen::Malformed));
}
