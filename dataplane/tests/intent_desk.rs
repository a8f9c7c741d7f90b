//! What is said of a packet reaches it: over the side channel by its end in the TCP stream or as the
//! next datagram, and in its own shim.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::UdpSocket;

use common::{Bench, eal, wait_for};
use dataplane::batch::Batch;
use dataplane::flow_hash::FlowHash;
use dataplane::intent::apply::{ClassTerms, Terms, TimeBounds};
use dataplane::intent::desk::{Desk, DeskParts};
use dataplane::intent::groups::{Groups, Queues};
use dataplane::intent::inlet::Inlet;
use dataplane::intent::side_table::{SideTable, SideTableSpec};
use dataplane::intent::strip::ShimPolicy;
use dataplane::intent::udp::UdpChannel;
use intent::{FlowRecord, FlowTuple, Position, Record, shim};
use model::frame::{Frame, Parsed, parse};
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::{NO_VENUE, Seat};
use model::time::Nanos;

const NOW: Nanos = Nanos::from_secs(1_000);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const RULED: u8 = 0;
const NAMED: u8 = 1;

/// A pacer that holds nothing.
struct Idle;

impl Queues for Idle {
    fn is_empty(&self, _: u32) -> bool {
        true
    }

    fn new_group(&mut self, _: Seat) -> Option<u32> {
        Some(50)
    }

    fn joins(&mut self, _: u32) {}
}

fn terms() -> Terms {
    let class = |by_intent| ClassTerms {
        by_intent,
        from_inside: true,
        kind: Kind::Order,
        may_carry_tcp: true,
        messages_max: u16::MAX,
        halt_blocks: true,
        datagram_messages: 1,
        segment_messages: 1,
    };
    Terms::new(&[class(false), class(true)], &[], TimeBounds::default())
}

struct World {
    desk: Desk,
    channel: UdpChannel,
    sender: UdpSocket,
    sent: u64,
    bench: Bench,
}

impl World {
    fn new(name: &str) -> Self {
        let bench = Bench::new();
        let (channel, mut queues) =
            UdpChannel::start("127.0.0.1:0".parse().unwrap(), 1, 64).unwrap();
        let groups = Groups::new(FlowHash::create(&eal(), name, 8).unwrap(), 64);
        let desk = Desk::new(DeskParts {
            shim: ShimPolicy::Strip,
            terms: terms(),
            groups,
            first_own_flow: 3,
            side: Some((Inlet::new(None, queues.pop()), SideTable::new(&SideTableSpec::default()))),
        });
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { desk, channel, sender, sent: 0, bench }
    }

    /// A record goes to the desk, and is there.
    fn say(&mut self, protocol: u8, position: Position, record: Record) {
        let Frame::Ip(parsed) = parse(&frame(protocol, 0, 0, 0), 60) else { panic!() };
        let key = parsed.key;
        let flow = FlowTuple {
            src: key.src,
            dst: key.dst,
            src_port: key.src_port,
            dst_port: key.dst_port,
            ip_version: 4,
        };
        let bytes = FlowRecord { flow, position, record }.to_bytes();
        self.sender.send_to(&bytes, self.channel.address()).unwrap();
        self.sent += 1;
        let (desk, sent) = (&mut self.desk, self.sent);
        wait_for("the record", || {
            desk.poll(NOW);
            let side = desk.counters().side;
            side.inserted + side.no_base + side.out_of_order == sent
        });
    }

    /// A frame passes the desk: its metadata, and its flow.
    fn pass(&mut self, bytes: &[u8], own: u32) -> (PacketMeta, u32) {
        let mut burst = Batch::new();
        burst.push(self.bench.pool.alloc_from(bytes).unwrap()).unwrap();
        self.desk.open(&mut burst);
        assert_eq!(self.desk.end_of(0), None);
        let packet = burst.iter_mut().next().unwrap();
        let Frame::Ip(parsed) = parse(packet.data(), packet.len()) else { panic!() };
        let mut meta = ruled(&parsed, packet.len());
        let flow = self.desk.apply(0, &parsed, own, &mut Idle, &mut meta, &mut { NO_VENUE });
        (meta, flow)
    }
}

/// What the rules say of a packet.
fn ruled(parsed: &Parsed, len: u32) -> PacketMeta {
    let is_tcp = parsed.key.protocol == 6;
    PacketMeta {
        arrival: NOW,
        due: NOW,
        decision_lag_ns: u32::MAX,
        len: len as u16,
        class: RULED,
        kind: Kind::Order as u8,
        messages: 1,
        flags: if is_tcp { flags::TCP } else { 0 }
            | if parsed.payload_len > 0 { flags::PAYLOAD } else { 0 },
        ..PacketMeta::default()
    }
}

fn frame(protocol: u8, tcp_flags: u8, seq: u32, payload: u16) -> Vec<u8> {
    let mut above = [40_000_u16.to_be_bytes(), 9_001_u16.to_be_bytes()].concat();
    if protocol == 6 {
        above.extend(seq.to_be_bytes());
        above.extend([0; 4]);
        above.extend([5 << 4, tcp_flags, 0, 0, 0, 0, 0, 0]);
    } else {
        above.extend((8 + payload).to_be_bytes());
        above.extend([0, 0]);
    }
    above.extend(vec![7; usize::from(payload)]);
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    bytes.extend((20 + above.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 1, 0, 7, 10, 9, 0, 1]);
    bytes.extend(above);
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

fn named(number: u64) -> Record {
    let (class, correlation_id) = (Some(NAMED), Some(number));
    Record { class, correlation_id, messages: Some(1), ..Record::default() }
}

#[test]
fn records_find_the_segments_with_their_last_byte() {
    let mut world = World::new("desk-tcp");
    let isn = u32::MAX - 20;
    let first = isn.wrapping_add(1);
    world.say(6, Position::StreamOffset(30), named(1));
    world.pass(&frame(6, SYN, isn, 0), 5);
    for (offset, number) in [(30, 1), (60, 2), (100, 3)] {
        world.say(6, Position::StreamOffset(offset), named(number));
    }
    // The first half of a message, its other half with all of the next, and the third.
    let mut segment = |from: u32, bytes: u16| {
        let (meta, flow) = world.pass(&frame(6, ACK, first.wrapping_add(from), bytes), 5);
        assert_eq!(flow, 5);
        (meta.class, meta.correlation_id, meta.messages)
    };
    assert_eq!(segment(0, 20), (RULED, 0, 1));
    assert_eq!(segment(20, 40), (NAMED, 2, 2));
    // Sent again: its record has been used.
    assert_eq!(segment(20, 40), (RULED, 0, 1));
    assert_eq!(segment(60, 40), (NAMED, 3, 1));
    let counters = world.desk.counters();
    assert_eq!((counters.side.no_base, counters.side.matched), (1, 3));
    assert_eq!(counters.records.records, 2);
}

#[test]
fn a_shim_goes_before_a_record_and_uses_it_up() {
    let mut world = World::new("desk-udp");
    let next = Position::NextDatagram { payload_bytes: 0 };
    world.say(17, next, named(1));
    world.say(17, next, named(2));
    let datagram = frame(17, 0, 0, 40);
    let mut tagged = vec![0; datagram.len() + shim::SHIM_BYTES];
    let record = Record { group: Some(4), ..named(9) };
    shim::tag_frame(&datagram, &record, &mut tagged).unwrap();
    let (meta, flow) = world.pass(&tagged, 5);
    assert_eq!((meta.correlation_id, flow), (9, 50));
    assert_eq!(u32::from(meta.len), datagram.len() as u32);
    let (meta, flow) = world.pass(&datagram, 5);
    assert_eq!((meta.correlation_id, flow), (2, 50));
    let (meta, flow) = world.pass(&datagram, 5);
    assert_eq!((meta.correlation_id, meta.class, flow), (0, RULED, 50));
    // A flow that many 5-tuples share is in no group.
    assert_eq!(world.pass(&tagged, 2).1, 2);
    assert_eq!(world.desk.counters().shims.stripped, 2);
}
