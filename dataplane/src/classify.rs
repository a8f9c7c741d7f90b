//! Which flow, class and label does a packet belong to?
//!
//! Exact match first, a burst at a time and in stages, so that what one stage will read is fetched
//! while the one before still works: headers, then the line of the flow cache, then (for what the
//! cache does not know) the flow table, and what the pacer and the KPIs know of the flow. Only the
//! first packet of a flow meets the rules; its verdict is remembered. Everything here is allocated
//! at construction.

use std::ops::Add;

use model::config::{Class, Config};
use model::drop_reason::DropReason;
use model::frame::{FlowKey, Frame, Parsed, Quick, parse, quick};
use model::kind::{Kind, Side};
use model::meta::{IntentSource, PacketMeta, StampSource, flags};
use model::pacer::{NO_VENUE, Seat};
use model::rules::Verdict;
use model::time::Nanos;

use crate::acl::Acl;
use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::flow_cache::ShortKey;
use crate::flow_hash::{FlowHash, FlowHashKey};
use crate::flow_table::{Entry, FlowTable};
use crate::mbuf::{Mbuf, prefetch};

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const PROTOCOL_TCP: u8 = 6;
/// DSCP field of the key that stands for "this 5-tuple, whatever its DSCP".
const ANY_DSCP: u8 = u8::MAX;
/// Headers are fetched so many packets ahead: about as far as memory is away.
const FETCH_AHEAD: usize = 4;

/// Place of a packet that belongs to no flow of the table.
const NO_FLOW: u32 = u32::MAX;
/// Place of a packet whose key is not a short one.
const LONG_KEY: u32 = u32::MAX - 1;

/// A packet that is none.
const NOTHING: Parsed = Parsed {
    key: FlowKey {
        src: [0; 16],
        dst: [0; 16],
        src_port: 0,
        dst_port: 0,
        vlan: 0,
        protocol: 0,
        ip_version: 0,
    },
    dscp: 0,
    tcp_flags: 0,
    is_fragment: false,
    tcp_seq: 0,
    payload_len: 0,
};

/// Where flows come from, and who else will look at them.
pub trait Flows {
    /// A new flow for the group of `seat`, or `None` when all are taken.
    fn new_flow(&mut self, seat: Seat) -> Option<u32>;
    /// A packet of `flow` is about to be handled: its records may be fetched.
    fn soon(&self, flow: u32);
}

/// How a lane learns where what it has received belongs.
pub trait Classify {
    /// Looks at the burst.
    fn classify(&mut self, burst: &Batch, flows: &mut impl Flows);
    /// Where `packet`, the one at `i` in the burst, belongs, or the name of its end.
    fn verdict(&self, i: usize, packet: &Mbuf) -> Result<Entry, DropReason>;
    /// The class of the packet at `i` in the burst, where it is easily told: a hint of what will be
    /// needed.
    fn class_soon(&self, _: usize) -> Option<u8> {
        None
    }
    /// Writes the metadata of `packet`, the one at `i` in the burst, which belongs to `entry` and
    /// arrived at `arrival`. Returns the arrival that stands there.
    fn describe(
        &self,
        i: usize,
        entry: &Entry,
        arrival: (Nanos, StampSource),
        packet: &mut Mbuf,
    ) -> Nanos;
    /// What the headers of the packet at `i` in the burst say, where they were read here and it is IP.
    fn parsed(&self, i: usize) -> Option<Parsed>;
    /// Looks at the next `flows` flows and forgets those that `give_back` gives back; nothing where
    /// flows are numbered elsewhere.
    fn age(&mut self, flows: u32, give_back: impl FnMut(u32) -> bool);
    /// One of the 5-tuples of a flow, where it is known here.
    fn key_of(&self, _flow: u32) -> Option<FlowKey> {
        None
    }
    /// What it counts of flows.
    fn figures(&self) -> FlowFigures;
}

/// What a classifier counts of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFigures {
    /// Keys of flows in the table now.
    pub flows: u64,
    /// Flows that found the table full, since the start.
    pub table_full: u64,
    /// Flows forgotten because they were idle, since the start.
    pub aged: u64,
}

impl Add for FlowFigures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flows: self.flows + other.flows,
            table_full: self.table_full + other.table_full,
            aged: self.aged + other.aged,
        }
    }
}

impl Classify for Classifier {
    #[inline(always)]
    fn classify(&mut self, burst: &Batch, flows: &mut impl Flows) {
        Self::classify(self, burst, flows);
    }

    #[inline(always)]
    fn verdict(&self, i: usize, _: &Mbuf) -> Result<Entry, DropReason> {
        Self::verdict(self, i)
    }

    #[inline(always)]
    fn describe(
        &self,
        i: usize,
        entry: &Entry,
        arrival: (Nanos, StampSource),
        packet: &mut Mbuf,
    ) -> Nanos {
        let len = packet.len();
        Self::describe(self, i, entry, len, arrival, packet.meta_mut());
        arrival.0
    }

    #[inline(always)]
    fn class_soon(&self, i: usize) -> Option<u8> {
        // Behind the end of the burst stands what the last one was.
        self.seen.get(i)?.verdict.as_ref().ok().map(|entry| entry.class)
    }

    #[inline]
    fn parsed(&self, i: usize) -> Option<Parsed> {
        Self::parsed(self, i)
    }

    fn key_of(&self, flow: u32) -> Option<FlowKey> {
        self.table.key_of(flow).copied()
    }

    fn age(&mut self, flows: u32, give_back: impl FnMut(u32) -> bool) {
        Self::age(self, flows, give_back);
    }

    fn figures(&self) -> FlowFigures {
        FlowFigures {
            flows: self.flows() as u64,
            table_full: self.counters.flow_table_full,
            aged: self.flows_aged(),
        }
    }
}

/// Packets that another core has classified: their metadata is written, their flow is their note.
pub struct Classified;

impl Classify for Classified {
    #[inline(always)]
    fn classify(&mut self, burst: &Batch, flows: &mut impl Flows) {
        for packet in burst {
            prefetch(packet.meta());
            flows.soon(packet.note());
        }
    }

    #[inline(always)]
    fn verdict(&self, _: usize, packet: &Mbuf) -> Result<Entry, DropReason> {
        let meta = packet.meta();
        let (class, venue) = (meta.class, meta.venue);
        Ok(Entry { flow: packet.note(), class, venue, ..Entry::default() })
    }

    #[inline(always)]
    fn describe(&self, _: usize, _: &Entry, _: (Nanos, StampSource), packet: &mut Mbuf) -> Nanos {
        packet.meta().arrival
    }

    fn parsed(&self, _: usize) -> Option<Parsed> {
        None
    }

    // The core that receives numbers the flows and keeps them: one that were given back here would
    // be handed out again while that core still uses it.
    fn age(&mut self, _: u32, _: impl FnMut(u32) -> bool) {}

    // Counted where packets are classified, and told through the ring.
    fn figures(&self) -> FlowFigures {
        FlowFigures::default()
    }
}

/// What a class says of its packets.
#[derive(Clone, Copy)]
struct ClassFacts {
    kind: Kind,
    /// Messages in a datagram with payload.
    datagram_messages: u16,
    /// Messages in a TCP segment with payload, 0 = not known.
    segment_messages: u16,
}

impl ClassFacts {
    fn of(class: &Class) -> Self {
        Self {
            kind: class.kind,
            datagram_messages: class
                .messages_per_segment
                .unwrap_or(u16::from(class.kind.is_order_entry())),
            segment_messages: class.messages_per_segment.unwrap_or(0),
        }
    }
}

/// What is kept of an IP packet beside its key until its flow is known.
#[derive(Clone, Copy)]
struct Above {
    tcp_flags: u8,
    is_tcp: bool,
    is_fragment: bool,
    tcp_seq: u32,
    payload_len: u32,
}

impl Above {
    const NOTHING: Self =
        Self { tcp_flags: 0, is_tcp: false, is_fragment: false, tcp_seq: 0, payload_len: 0 };

    #[inline(always)]
    const fn quick(packet: &Quick) -> Self {
        Self {
            tcp_flags: packet.tcp_flags,
            is_tcp: packet.protocol == PROTOCOL_TCP,
            is_fragment: false,
            tcp_seq: packet.tcp_seq,
            payload_len: packet.payload_len,
        }
    }

    #[inline]
    const fn of(parsed: &Parsed) -> Self {
        Self {
            tcp_flags: parsed.tcp_flags,
            is_tcp: parsed.key.protocol == PROTOCOL_TCP && !parsed.is_fragment,
            is_fragment: parsed.is_fragment,
            tcp_seq: parsed.tcp_seq,
            payload_len: parsed.payload_len,
        }
    }
}

/// What is known of a packet of the burst: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Seen {
    /// Where it belongs, or the name of its end.
    verdict: Result<Entry, DropReason>,
    key: ShortKey,
    /// Where its key is in the cache, [`LONG_KEY`], or [`NO_FLOW`].
    place: u32,
    above: Above,
}

impl Seen {
    const NOTHING: Self = Self {
        verdict: Err(DropReason::Runt),
        key: ShortKey::NONE,
        place: NO_FLOW,
        above: Above::NOTHING,
    };

    #[inline(always)]
    fn set_short(&mut self, table: &FlowTable, key: ShortKey, above: Above) {
        self.place = table.locate(key);
        prefetch(table.line(self.place));
        (self.key, self.above) = (key, above);
    }
}

const _: () = assert!(size_of::<Seen>() == 64);

/// What happened besides verdicts, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Flows that found the table full: forwarded, on a flow that they share with others of their
    /// class.
    pub flow_table_full: u64,
}

/// The classifier of one lane.
pub struct Classifier {
    rules: Acl,
    read_dscp: bool,
    forward_fragments: bool,
    frame_bytes_max: u32,
    /// Frames above the maximum are classified as well: a later stage cuts them.
    super_frames: bool,
    /// Label -> (venue, urgency).
    labels: Box<[(u8, u8)]>,
    classes: Box<[ClassFacts]>,
    table: FlowTable,
    /// The flow of each class that packets use when the table is full.
    shared_flows: Box<[u32]>,
    non_ip: Entry,
    // By position in the burst.
    seen: Box<[Seen; BATCH_PACKETS_MAX]>,
    long_keys: Box<[FlowHashKey]>,
    // What the cache does not know, in the order of the burst.
    missing: Box<[FlowHashKey]>,
    missing_at: Box<[u16]>,
    found: Box<[Option<u32>]>,
    // What the table does not know either, in the same order.
    unknown: Box<[Parsed]>,
    unknown_at: Box<[u16]>,
    ruled: Box<[Verdict]>,
    counters: Counters,
}

impl Classifier {
    /// Flows that a pacer must have for a lane of this config: those of the table, one for each
    /// class that overflows it, and one for what is not IP.
    pub fn flows_needed(config: &Config) -> u32 {
        config.gateway.flows_max + Self::shared_flows(config)
    }

    /// Flows at the beginning of a pacer's that many 5-tuples share.
    pub fn shared_flows(config: &Config) -> u32 {
        config.classes.len() as u32 + 1
    }

    /// Keys that the table must have room for: a group has a key of its own where rules read DSCP.
    pub fn keys_needed(config: &Config) -> u32 {
        config.gateway.flows_max * if config.rules.read_dscp() { 2 } else { 1 }
    }

    /// The classifier of the lane that receives on port `rx_port` and may send frames of up to
    /// `frame_bytes_max`. `table` has room for the lane's flows, `rules` are
    /// those of its side; `new_flow` gives out the pacer's
    /// flows.
    ///
    /// Takes one flow for each class and one for packets that are not IP.
    pub fn new(
        config: &Config,
        rx_port: usize,
        (frame_bytes_max, super_frames): (u32, bool),
        table: FlowHash,
        rules: Acl,
        mut new_flow: impl FnMut() -> Option<u32>,
    ) -> Option<Self> {
        let from = config.ports[rx_port].side;
        let shared_flows = config.classes.iter().map(|_| new_flow()).collect::<Option<_>>()?;
        let read_dscp = config.rules.read_dscp();
        Some(Self {
            rules,
            read_dscp,
            forward_fragments: config.ports[rx_port].forward_fragments || from == Side::Venue,
            frame_bytes_max,
            super_frames,
            labels: config
                .labels
                .iter()
                .map(|label| (label.venue.unwrap_or(NO_VENUE), label.urgency))
                .collect(),
            classes: config.classes.iter().map(ClassFacts::of).collect(),
            table: FlowTable::new(table, Self::flows_needed(config)),
            shared_flows,
            non_ip: Entry {
                flow: new_flow()?,
                class: config.rules.non_ip_class[from as usize],
                venue: NO_VENUE,
                is_exempt: true,
                ..Entry::default()
            },
            seen: Box::new([Seen::NOTHING; BATCH_PACKETS_MAX]),
            long_keys: vec![FlowHashKey::default(); BATCH_PACKETS_MAX].into(),
            missing: vec![FlowHashKey::default(); BATCH_PACKETS_MAX].into(),
            missing_at: vec![0; BATCH_PACKETS_MAX].into(),
            found: vec![None; BATCH_PACKETS_MAX].into(),
            unknown: vec![NOTHING; BATCH_PACKETS_MAX].into(),
            unknown_at: vec![0; BATCH_PACKETS_MAX].into(),
            ruled: vec![Verdict { class: 0, label: 0 }; BATCH_PACKETS_MAX].into(),
            counters: Counters::default(),
        })
    }

    /// Finds the flow of every packet of the burst; [`Classifier::verdict`] and
    /// [`Classifier::describe`] tell of each. Bounded by the burst.
    pub fn classify(&mut self, burst: &Batch, flows: &mut impl Flows) {
        self.parse(burst);
        let mut missing = 0;
        for (i, seen) in self.seen.iter_mut().take(burst.len()).enumerate() {
            if seen.place == NO_FLOW {
                continue;
            }
            self.missing[missing] = if seen.place == LONG_KEY {
                self.long_keys[i]
            } else if let Some(entry) = self.table.cached(seen.place, seen.key) {
                flows.soon(entry.flow);
                seen.verdict = Ok(entry);
                continue;
            } else {
                FlowHashKey::new(seen.key.flow_key(), seen.key.dscp())
            };
            self.missing_at[missing] = i as u16;
            missing += 1;
        }
        if missing > 0 {
            self.look_up(missing, flows);
        }
    }

    /// Where packet `i` of the burst belongs, or the name of its end.
    #[inline(always)]
    pub fn verdict(&self, i: usize) -> Result<Entry, DropReason> {
        self.seen[i].verdict
    }

    /// What the headers of packet `i` of the burst say; `None` when it is not IP.
    pub fn parsed(&self, i: usize) -> Option<Parsed> {
        let Seen { key, place, above, .. } = self.seen[i];
        let (key, dscp) = match place {
            NO_FLOW => return None,
            LONG_KEY => (*self.long_keys[i].flow(), self.long_keys[i].dscp()),
            _ => (key.flow_key(), key.dscp()),
        };
        Some(Parsed {
            key,
            dscp,
            tcp_flags: above.tcp_flags,
            is_fragment: above.is_fragment,
            tcp_seq: above.tcp_seq,
            payload_len: above.payload_len,
        })
    }

    /// Writes the metadata of packet `i` of the burst, `len` bytes long, which belongs to `entry`.
    // In place and each field once: what is put together elsewhere and then copied waits for the pieces.
    #[inline(always)]
    pub fn describe(
        &self,
        i: usize,
        entry: &Entry,
        len: u32,
        (arrival, source): (Nanos, StampSource),
        meta: &mut PacketMeta,
    ) {
        let Seen { place, above, .. } = &self.seen[i];
        let is_ip = *place != NO_FLOW;
        let is_tcp = is_ip && above.is_tcp;
        let has_payload = is_ip && above.payload_len > 0;
        let mut flags = if entry.is_exempt { flags::EXEMPT } else { 0 };
        let mut messages = 0;
        if has_payload {
            flags |= flags::PAYLOAD;
            messages = if above.is_fragment {
                self.classes[usize::from(entry.class)].datagram_messages
            } else {
                entry.messages
            };
        }
        if is_tcp {
            flags |= flags::TCP;
            if above.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST) != 0 {
                flags |= flags::EXEMPT;
            } else if !has_payload && !entry.is_exempt {
                flags |= flags::EXEMPT | flags::BARE;
            }
        }
        *meta = PacketMeta {
            arrival,
            due: arrival,
            sched: Nanos::ZERO,
            correlation_id: 0,
            decision_lag_ns: u32::MAX,
            dispatch_lag_ns: 0,
            normal_lag_ns: 0,
            jitter_ns: 0,
            tcp_end_seq: 0,
            label: entry.label,
            len: len.min(u32::from(u16::MAX)) as u16,
            messages,
            class: entry.class,
            kind: entry.kind,
            urgency: entry.urgency,
            flags,
            sources: PacketMeta::sources_of(source, IntentSource::Implicit),
            venue: 0,
        };
        if is_tcp {
            meta.tcp_end_seq = above.tcp_seq.wrapping_add(above.payload_len);
            if entry.is_alone && above.tcp_flags & TCP_SYN != 0 {
                meta.set_begins_connection();
            } else if entry.is_alone {
                meta.set_segment_bytes(above.payload_len);
            }
        }
    }

    /// Reads the headers of the burst: keys of the IP packets, verdicts of the others.
    #[inline]
    fn parse(&mut self, burst: &Batch) {
        let packets = burst.as_slice();
        for packet in packets.iter().take(FETCH_AHEAD) {
            packet.prefetch_data();
        }
        for (i, packet) in packets.iter().enumerate() {
            if let Some(ahead) = packets.get(i + FETCH_AHEAD) {
                ahead.prefetch_data();
            }
            let len = packet.len();
            if len <= self.frame_bytes_max
                && packet.segment_count() == 1
                && let Some(p) = quick(packet.data(), len)
            {
                let dscp = if self.read_dscp { p.dscp } else { ANY_DSCP };
                let key = ShortKey::quick(&p, dscp);
                self.seen[i].set_short(&self.table, key, Above::quick(&p));
            } else {
                self.parse_in_full(i, packet);
            }
        }
    }

    /// Whatever is not of the usual kind.
    #[inline(never)]
    fn parse_in_full(&mut self, i: usize, packet: &Mbuf) {
        let seen = &mut self.seen[i];
        seen.place = NO_FLOW;
        let len = packet.len();
        let is_fit = len <= self.frame_bytes_max && packet.segment_count() == 1;
        seen.verdict = if !is_fit && !self.super_frames {
            Err(DropReason::TxOversize)
        } else {
            match parse(packet.data(), len) {
                Frame::Malformed(reason) => Err(reason),
                Frame::Ip(p) if p.is_fragment && !self.forward_fragments => {
                    Err(DropReason::IpFragment)
                }
                Frame::Ip(p) => {
                    let dscp = if self.read_dscp { p.dscp } else { ANY_DSCP };
                    if let Some(key) = ShortKey::of(&p.key, dscp) {
                        seen.set_short(&self.table, key, Above::of(&p));
                    } else {
                        self.long_keys[i] = FlowHashKey::new(p.key, dscp);
                        (seen.place, seen.above) = (LONG_KEY, Above::of(&p));
                    }
                    return;
                }
                // Where shims are taken they have been taken out by now.
                Frame::NonIp { ether_type: intent::shim::ETHER_TYPE } => {
                    Err(DropReason::IntentRefused)
                }
                Frame::NonIp { .. } => Ok(self.non_ip),
            }
        };
    }

    /// Asks the flow table for the `missing` keys that the cache did not know.
    #[inline(never)]
    fn look_up(&mut self, missing: usize, flows: &mut impl Flows) {
        let (seen, at) = (&mut self.seen, &self.missing_at);
        let mut unknown = 0;
        let found = &mut self.found[..missing];
        self.table.find_bulk(&self.missing[..missing], found, |k, entry| {
            let i = at[k];
            if let Some(entry) = entry {
                flows.soon(entry.flow);
                seen[usize::from(i)].verdict = Ok(entry);
            } else {
                let (key, above) = (&self.missing[k], seen[usize::from(i)].above);
                self.unknown[unknown] = Parsed {
                    key: *key.flow(),
                    // Where no rule reads the DSCP, none is asked for it.
                    dscp: key.dscp(),
                    tcp_flags: above.tcp_flags,
                    is_fragment: above.is_fragment,
                    tcp_seq: above.tcp_seq,
                    payload_len: above.payload_len,
                };
                self.unknown_at[unknown] = i;
                unknown += 1;
            }
        });
        if unknown > 0 {
            self.meet(unknown, flows);
        }
    }

    /// The first packets of flows: the rules are asked for all of them at once.
    #[inline(never)]
    fn meet(&mut self, unknown: usize, flows: &mut impl Flows) {
        self.rules.classify(&self.unknown[..unknown], &mut self.ruled[..unknown]);
        for k in 0..unknown {
            let parsed = self.unknown[k];
            let key = FlowHashKey::new(parsed.key, parsed.dscp);
            // It may have become known through an earlier packet of this burst.
            let known = self.table.find(&key);
            let entry = known.unwrap_or_else(|| self.learn(&parsed, key, self.ruled[k], flows));
            self.seen[usize::from(self.unknown_at[k])].verdict = Ok(entry);
        }
    }

    /// See [`Counters`].
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Keys of flows in the table.
    pub const fn flows(&self) -> usize {
        self.table.len()
    }

    /// Flows forgotten because they were idle.
    pub const fn flows_aged(&self) -> u64 {
        self.table.aged()
    }

    /// Looks at the next `flows` flows of the table and forgets those that `give_back` gives back.
    pub fn age(&mut self, flows: u32, give_back: impl FnMut(u32) -> bool) {
        self.table.sweep(flows, give_back);
    }

    /// Remembers what the rules said of the first packet of a flow.
    fn learn(
        &mut self,
        parsed: &Parsed,
        key: FlowHashKey,
        verdict: Verdict,
        flows: &mut impl Flows,
    ) -> Entry {
        let (venue, urgency) =
            self.labels.get(usize::from(verdict.label)).copied().unwrap_or((NO_VENUE, 0));
        let class = self.classes[usize::from(verdict.class)];
        let mut entry = Entry {
            flow: self.shared_flows[usize::from(verdict.class)],
            label: verdict.label,
            messages: if parsed.key.protocol == PROTOCOL_TCP {
                class.segment_messages
            } else {
                class.datagram_messages
            },
            class: verdict.class,
            urgency,
            venue,
            kind: class.kind as u8,
            is_exempt: class.kind.is_exempt(),
            is_alone: false,
        };
        // All DSCPs of a 5-tuple are one ordering group: they share the flow of the first.
        let group = FlowHashKey::new(parsed.key, ANY_DSCP);
        let known = if self.read_dscp { self.table.find(&group) } else { None };
        let flow = known.map(|group| group.flow).or_else(|| {
            let room = self.table.has_room(if self.read_dscp { 2 } else { 1 });
            let (class, label) = (verdict.class, verdict.label);
            let seat = Seat { id: group.id(), class, venue, label };
            if room { flows.new_flow(seat) } else { None }
        });
        let Some(flow) = flow else {
            self.counters.flow_table_full += 1;
            return entry;
        };
        entry.flow = flow;
        entry.is_alone = true;
        let mut remember = |key| {
            self.counters.flow_table_full += u64::from(self.table.insert(key, entry).is_err());
        };
        if self.read_dscp && known.is_none() {
            remember(&group);
        }
        remember(&key);
        entry
    }
}
