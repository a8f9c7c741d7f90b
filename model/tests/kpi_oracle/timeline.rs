//! A seeded day of a small gateway: orders with a cadence and tags, a session without, a feed in
//! clumps, answers that acknowledge. Idle gaps, runts, retransmissions and drops among them.

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::kpi::{CoreAggregates, Departure, FlowKpi};
use model::meta::{IntentSource, PacketMeta, StampSource, flags};
use model::sample::{End, Release, Sample, TcpSeen};
use model::time::Nanos;

use crate::rows::{ANSWERS, CANCELS, FEED, ORDERS, SESSION, STRATEGIES, VENUE, row};

/// All that became of a packet, ns.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub class: u8,
    pub kind: Kind,
    pub flow: u32,
    pub len: u16,
    pub urgency: u8,
    pub weight: u32,
    pub decision: Option<u64>,
    pub dispatch: u64,
    pub arrival: u64,
    pub due: u64,
    pub sched: u64,
    pub normal: u64,
    pub eligible: u64,
    pub tx: u64,
    pub wire: u64,
    pub dropped: bool,
    pub bucket_held: bool,
    pub max_hold: bool,
    pub tagged: bool,
    /// Bytes of the class that waited when it came.
    pub backlog: u64,
    /// Connection, end of payload, acknowledgement, payload bytes.
    pub tcp: Option<(u64, u32, u32, u16)>,
}

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
pub const START: u64 = 1_700_000_000_000_000_000;

fn packet(class: u8, kind: Kind, at: u64) -> Packet {
    Packet {
        class,
        kind,
        flow: u32::from(class) * 8,
        len: 100,
        urgency: 0,
        weight: 1,
        decision: None,
        dispatch: at,
        arrival: at,
        due: at,
        sched: at,
        normal: at,
        eligible: at,
        tx: at,
        wire: at,
        dropped: false,
        bucket_held: false,
        max_hold: false,
        tagged: false,
        backlog: 0,
        tcp: None,
    }
}

/// Packets in the order in which they ended.
pub fn timeline(seed: u64) -> Vec<Packet> {
    let mut rng = Rng(seed | 1);
    let mut all = Vec::new();
    orders(&mut rng, &mut all);
    session(&mut rng, &mut all);
    cancels(&mut rng, &mut all);
    feed(&mut rng, &mut all);
    answers(&mut rng, &mut all);
    all.sort_by_key(|packet| packet.tx);
    backlogs(&mut all);
    all
}

/// Tagged, one each 100 us, with silences of 20 ms; now and then the port stands still for a while.
fn orders(rng: &mut Rng, all: &mut Vec<Packet>) {
    let (mut due, mut tx, mut stall) = (START, 0, 0);
    for n in 0..6_000 {
        due += if n % 700 == 699 { 20 * MS } else { 100 * US };
        let arrival = due - rng.below(80 * US);
        let dispatch = arrival - rng.below(5 * US);
        let hold = if rng.one_in(3) { rng.below(200 * US) } else { 0 };
        let sched = arrival.max(due) + hold;
        let ours = if rng.one_in(2) { rng.below(hold + 1) } else { 0 };
        if rng.one_in(300) {
            stall = sched + rng.below(4 * MS);
        }
        tx = (sched + rng.below(3 * US)).max(tx + 84).max(stall);
        let mut packet = packet(ORDERS, Kind::Order, arrival);
        packet.flow += (n % 3) as u32;
        packet.len = [40, 60, 90, 500, 1_400][rng.below(5) as usize];
        packet.urgency = [0, 50, 200, 255][rng.below(4) as usize];
        packet.decision = (!rng.one_in(4)).then(|| dispatch - rng.below(30 * US));
        (packet.dispatch, packet.due, packet.tagged) = (dispatch, due, true);
        (packet.sched, packet.normal, packet.eligible) = (sched, sched - ours, sched);
        (packet.tx, packet.wire) = (tx, tx + rng.below(2) * 40);
        packet.bucket_held = hold > 0;
        packet.max_hold = rng.one_in(50);
        packet.dropped = rng.one_in(200);
        all.push(packet);
    }
}

/// Untagged: orders, cancels and replaces on TCP, in clumps; some segments are sent again.
fn session(rng: &mut Rng, all: &mut Vec<Packet>) {
    let (mut at, mut tx) = (START, 0);
    let mut ends = [1_000_u32, 5_000, u32::MAX - 40_000];
    for _ in 0..3_000 {
        at += if rng.one_in(8) { rng.below(3 * MS) } else { rng.below(30 * US) };
        tx = (at + rng.below(20 * US)).max(tx + 84);
        let kind = [Kind::Order, Kind::Cancel, Kind::Replace][rng.below(3) as usize];
        let mut packet = packet(SESSION, kind, at);
        let connection = rng.below(3) as usize;
        packet.flow += connection as u32;
        packet.len = 154;
        packet.urgency = 10;
        (packet.sched, packet.normal, packet.eligible) = (tx, tx, tx);
        (packet.tx, packet.wire) = (tx, tx);
        let again = rng.one_in(40);
        if !again {
            ends[connection] = ends[connection].wrapping_add(100);
        }
        packet.tcp = Some((connection as u64 + 1, ends[connection], 1, 100));
        all.push(packet);
    }
}

fn cancels(rng: &mut Rng, all: &mut Vec<Packet>) {
    let mut at = START;
    for n in 0..400 {
        at += rng.below(3 * MS);
        let mut packet = packet(CANCELS, Kind::Cancel, at);
        packet.len = 60;
        packet.wire = at + rng.below(2 * US);
        packet.tx = packet.wire;
        packet.urgency = 255;
        packet.flow += n % 2;
        all.push(packet);
    }
}

/// 20 k frames/s in bursts; what comes within 300 us is delivered together.
fn feed(rng: &mut Rng, all: &mut Vec<Packet>) {
    let (mut at, mut until) = (START, 0);
    for _ in 0..8_000 {
        at += if rng.one_in(20) { rng.below(2 * MS) } else { rng.below(20 * US) };
        if at > until {
            until = at + rng.below(300) * US;
        }
        let mut packet = packet(FEED, Kind::MarketData, at);
        (packet.tx, packet.wire, packet.len) = (until, until, 200);
        all.push(packet);
    }
}

/// Each acknowledges the newest bytes of a connection, later or much later, delivered at once or after
/// a while. Never held by the pacer.
fn answers(rng: &mut Rng, all: &mut Vec<Packet>) {
    let segments: Vec<_> = all
        .iter()
        .filter(|packet| packet.class == SESSION)
        .map(|packet| (packet.wire, packet.tcp))
        .collect();
    let mut clock = [0; 4];
    for (sent, tcp) in segments {
        let Some((connection, end, _, _)) = tcp else { continue };
        if rng.one_in(3) {
            continue;
        }
        let of = connection as usize;
        let at = (sent + 100 * US + rng.below(200 * US)).max(clock[of] + 1);
        clock[of] = at;
        let mut packet = packet(ANSWERS, Kind::Other, at);
        packet.flow += of as u32;
        packet.len = 60;
        packet.wire = at + if rng.one_in(10) { rng.below(500 * US) } else { 200 };
        packet.tx = packet.wire;
        packet.tcp = Some((connection, 1, end, 0));
        all.push(packet);
    }
}

/// Wire bytes of the class that are in front of each packet when it arrives.
fn backlogs(all: &mut [Packet]) {
    let snapshot = all.to_vec();
    for packet in all.iter_mut().filter(|packet| packet.class == ORDERS) {
        let waits = |other: &&Packet| {
            other.class == packet.class
                && other.arrival < packet.arrival
                && other.tx > packet.arrival
        };
        packet.backlog =
            snapshot.iter().filter(waits).map(|other| u64::from(other.len.max(60)) + 24).sum();
    }
}

impl Packet {
    pub fn is_from_venue(&self) -> bool {
        self.class == FEED || self.class == ANSWERS
    }

    pub fn sample(&self) -> Sample {
        let plain = row(self.class, Nanos(self.arrival));
        let end = if self.dropped {
            End::Dropped(DropReason::Stale)
        } else if self.max_hold {
            End::Sent(Release::MaxHold)
        } else {
            End::Sent(Release::Governed)
        };
        let left = |at: u64| (!self.dropped).then_some(Nanos(at));
        Sample {
            kind: self.kind,
            flow: self.flow,
            len: self.len,
            urgency: self.urgency,
            weight: self.weight,
            t_decision: self.decision.map(Nanos),
            t_dispatch: Nanos(self.dispatch),
            t_due: Nanos(self.due),
            t_sched: (!self.is_from_venue()).then_some(Nanos(self.sched)),
            t_normal: (!self.is_from_venue()).then_some(Nanos(self.normal)),
            t_eligible: left(self.eligible),
            t_tx: left(self.tx),
            t_wire: left(self.wire),
            t_delivery: left(self.wire).filter(|_| self.is_from_venue()),
            intent: if self.tagged { IntentSource::Tag } else { IntentSource::Implicit },
            backlog_bytes: self.backlog,
            end,
            tcp_end_seq: self.tcp.map(|(_, end, _, _)| end),
            tcp: self.tcp.map(|(connection, _, ack, payload_bytes)| TcpSeen {
                connection,
                ack: Some(ack),
                payload_bytes,
            }),
            ..plain
        }
    }

    fn meta(&self) -> PacketMeta {
        let mut meta = PacketMeta {
            arrival: Nanos(self.arrival),
            due: Nanos(self.due),
            sched: Nanos(self.sched),
            dispatch_lag_ns: (self.arrival - self.dispatch) as u32,
            len: self.len,
            messages: 1,
            class: self.class,
            kind: self.kind as u8,
            urgency: self.urgency,
            flags: if self.class == CANCELS { flags::EXEMPT } else { 0 },
            ..PacketMeta::default()
        };
        let intent = if self.tagged { IntentSource::Tag } else { IntentSource::Implicit };
        meta.set_sources(StampSource::Virtual, intent);
        meta
    }
}

/// Tells the aggregates of a core what became of `packets`, in the order of time.
pub fn count(core: &mut CoreAggregates, packets: &[Packet]) {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        events.push((packet.arrival, false, n));
        events.push((packet.tx, true, n));
    }
    // What arrives comes before what leaves at the same time; departures in their own order.
    events.sort_by_key(|(at, leaves, n)| (*at, *leaves, *n));
    let mut flows = vec![FlowKpi::default(); 64];
    for (at, leaves, n) in events {
        let packet = &packets[n];
        let port = if packet.is_from_venue() { STRATEGIES } else { VENUE };
        if !leaves {
            core.on_arrival(port, Some(packet.class), u32::from(packet.len), Nanos(at));
            continue;
        }
        if packet.dropped {
            let len = u32::from(packet.len);
            core.on_drop(port, Some(packet.class), len, DropReason::Stale, Nanos(at));
            continue;
        }
        let meta = packet.meta();
        let release = match (packet.class, packet.max_hold) {
            (CANCELS, _) => Release::Exempt,
            (_, true) => Release::MaxHold,
            _ => Release::Governed,
        };
        let departure = Departure {
            meta: &meta,
            port,
            t_eligible: Nanos(packet.eligible),
            t_tx: Nanos(packet.tx),
            t_wire: Nanos(packet.wire),
            release,
            bucket_held: packet.bucket_held,
            link_wait: Nanos::ZERO,
        };
        core.on_departure(&departure, &mut flows[packet.flow as usize]);
    }
}
