//! Blocks made by hand, for tests of what is made of them.

use model::frame::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, Parsed, VLAN_NONE};
use model::kind::Side;
use model::time::Nanos;

use super::contract::{ORDER_PORT, frame_len};
use super::observer::Captured;
use super::result::Contract;
use super::schedule::{Schedule, Transport};
use super::sender::Log;
use crate::observe::seen::{Place, Seen};

/// When blocks begin.
pub const WALL: Nanos = Nanos(1_800_000_000_000_000_000);
/// What their arms promise.
pub const CONTRACT: Contract = Contract {
    rate_bits_per_s: 22_624_000,
    messages_per_s: 10_100,
    burst_bytes: 560,
    max_delay_ns: 20_000_000,
    latency_budget_ns: 100_000,
    link_bits_per_s: 10_000_000_000,
    gap_error_p99_ns: None,
};
const TCP_PSH_ACK: u8 = 0x18;
const TCP_SYN: u8 = 0x02;

/// The log of a sender that was never late.
pub fn log_of(schedule: &Schedule) -> Log {
    let messages = &schedule.messages;
    let mut end = 0;
    let mut ends = Vec::new();
    for message in messages {
        end += u64::from(message.bytes);
        ends.push((message.transport == Transport::Tcp).then_some(end));
    }
    let handed = messages.iter().map(|m| m.after.is_none().then(|| WALL.saturating_add(m.handed)));
    let handed: Vec<_> = handed.collect();
    Log {
        began: WALL,
        dispatched: handed.clone(),
        wanted: handed,
        delivered: vec![None; messages.len()],
        ends,
        errors: 0,
    }
}

fn key(protocol: u8) -> FlowKey {
    let mut key = FlowKey {
        src_port: 40_000,
        dst_port: ORDER_PORT,
        vlan: VLAN_NONE,
        protocol,
        ip_version: 4,
        ..FlowKey::default()
    };
    key.src[..4].copy_from_slice(&[10, 9, 0, 1]);
    key.dst[..4].copy_from_slice(&[10, 9, 0, 2]);
    key
}

fn seen(parsed: Parsed, transport: Transport, at: Nanos) -> Seen {
    Seen {
        at,
        place: Place::EgressOut,
        parsed,
        len: frame_len(transport, parsed.payload_len),
        header_bytes: frame_len(transport, 0),
        segment_bytes: None,
        ack: None,
        digest: 0,
    }
}

/// The datagram with an order of 214 bytes, as the observer sees it.
pub fn udp_frame(number: u64, at: Nanos) -> Captured {
    let parsed = Parsed {
        key: key(PROTOCOL_UDP),
        dscp: 0,
        tcp_flags: 0,
        is_fragment: false,
        tcp_seq: 0,
        payload_len: 214,
    };
    Captured { seen: seen(parsed, Transport::Udp, at), number: Some(number) }
}

/// A segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpFrame {
    /// Of its first byte.
    pub seq: u32,
    /// Payload.
    pub bytes: u32,
    /// When it passed.
    pub at: Nanos,
    /// It begins a connection.
    pub is_syn: bool,
}

/// A segment of the flow of orders, as the observer sees it.
pub fn tcp_frame(frame: &TcpFrame) -> Captured {
    let parsed = Parsed {
        key: key(PROTOCOL_TCP),
        dscp: 0,
        tcp_flags: if frame.is_syn { TCP_SYN } else { TCP_PSH_ACK },
        is_fragment: false,
        // As a frame is read: the number of its first payload byte.
        tcp_seq: frame.seq.wrapping_add(u32::from(frame.is_syn)),
        payload_len: frame.bytes,
    };
    Captured { seen: seen(parsed, Transport::Tcp, frame.at), number: None }
}

/// Times of the orders of `schedule` on the wire: each when it is due, `late` after.
pub fn when_due(schedule: &Schedule, late: Nanos) -> Vec<(u64, Nanos)> {
    let inside = (0..).zip(&schedule.messages).filter(|(_, m)| m.from == Side::Inside);
    inside.map(|(n, m)| (n, WALL.saturating_add(m.due).saturating_add(late))).collect()
}
