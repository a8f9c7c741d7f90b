//! What comes in: flows of datagrams and TCP connections, most of them quiet and some hot.

use super::case::{Case, MESSAGES_MAX, VENUES};
use super::rng::Rng;
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::NO_VENUE;
use model::time::Nanos;

/// Segments that a sender may send once more.
const RECENT: usize = 6;

#[derive(Clone, Default)]
struct Connection {
    /// Sequence number that comes next, not wrapped.
    next: u64,
    recent: [(u64, u32); RECENT],
    sent: usize,
}

pub struct Traffic {
    rng: Rng,
    connections: Vec<Connection>,
    pub left: u64,
    pub next_at: u64,
    ids: u64,
}

impl Traffic {
    pub fn new(case: &Case) -> Self {
        let mut rng = Rng::new(case.seed ^ 0x5eed);
        // Some of them wrap soon.
        let mut connection = || Connection { next: rng.below(1 << 33), ..Default::default() };
        let connections = (0..case.row.flows).map(|_| connection()).collect();
        Self { rng, connections, left: case.packets, next_at: 0, ids: 0 }
    }

    pub const fn class_of(flow: u32, classes: usize) -> u8 {
        (flow % 7919 % classes as u32) as u8
    }

    const fn is_tcp(flow: u32) -> bool {
        flow % 4 == 1
    }

    pub const fn flow_of(id: u64) -> u32 {
        (id >> 36) as u32
    }

    /// The packet of now: flow, venue, itself.
    pub fn next(&mut self, case: &Case) -> (u32, u8, PacketMeta) {
        let arrival = self.next_at;
        self.left -= 1;
        let r = &mut self.rng;
        // Trains and gaps, and at times an idle span in which every bucket fills.
        self.next_at += match r.below(100) {
            0..40 => 0,
            40..99 => r.below(case.gap * 3),
            _ => r.below(case.gap * 100),
        };
        let flows = u64::from(case.row.flows);
        let flow = if r.percent(50) { r.below(flows.min(8)) } else { r.below(flows) } as u32;
        let mut class = Traffic::class_of(flow, case.classes.len());
        if r.percent(3) {
            class = r.below(case.classes.len() as u64) as u8;
        }
        let tcp = Traffic::is_tcp(flow);
        let declared = case.classes[usize::from(class)].kind;
        let exempt = r.percent(case.exempt);
        let kind = match declared {
            _ if exempt => r.of(&[Kind::Cancel, Kind::MassCancel, Kind::Exit, Kind::Session]),
            Kind::Cancel => r.of(&[Kind::Other, Kind::Replace]),
            Kind::Other => r.of(&[Kind::Other, Kind::MarketData, Kind::Order]),
            kind => kind,
        };
        let mut p = PacketMeta {
            arrival: Nanos(arrival),
            due: Nanos(arrival),
            kind: kind as u8,
            class,
            len: if r.percent(40) { 60 } else { r.between(60, 1514) as u16 },
            messages: r.of(&[0, 1, 1, 1, MESSAGES_MAX]),
            flags: flags::PAYLOAD | if exempt { flags::EXEMPT } else { 0 },
            correlation_id: u64::from(flow) << 36 | self.ids,
            ..PacketMeta::default()
        };
        self.ids += 1;
        if r.percent(10) {
            p.due = Nanos(arrival + r.below(80_000));
        } else if r.percent(5) {
            p.due = Nanos(arrival.saturating_sub(r.below(80_000)));
        }
        if tcp {
            self.segment(case, flow, &mut p);
        }
        let venue = if flow % 5 == 4 { NO_VENUE } else { (flow % u32::from(VENUES)) as u8 };
        (flow, venue, p)
    }

    fn segment(&mut self, case: &Case, flow: u32, p: &mut PacketMeta) {
        let r = &mut self.rng;
        p.flags |= flags::TCP;
        let c = &mut self.connections[flow as usize];
        if r.percent(8) {
            p.flags = flags::TCP | flags::EXEMPT | flags::BARE;
            (p.len, p.messages, p.tcp_end_seq) = (60, 0, c.next as u32);
            return;
        }
        let mut bytes = u32::from(p.len).max(60) - 54;
        let mut end = c.next + u64::from(bytes);
        if c.sent >= RECENT && r.percent(6) {
            (end, bytes) = c.recent[r.below(RECENT as u64) as usize];
            p.len = (bytes + 54) as u16;
        } else {
            c.next = end;
            c.recent[c.sent % RECENT] = (end, bytes);
            c.sent += 1;
        }
        p.tcp_end_seq = end as u32;
        if case.follows_tcp {
            p.set_segment_bytes(bytes);
        }
    }
}
