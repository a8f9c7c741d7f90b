//! The classifier of one lane, and how a burst goes through it.

use model::config::{Class, Config};
use model::drop_reason::DropReason;
use model::frame::{FlowKey, Frame, Parsed, parse, quick};
use model::kind::{Kind, Side};
use model::meta::{AtRx, FlowMeta, IntentSource, PacketMeta, StampSource, flags};
use model::pacer::{NO_VENUE, Seat};
use model::rules::Verdict;
use model::time::Nanos;

use super::seen::{Above, LONG_KEY, NO_FLOW, PROTOCOL_TCP, Seen};
use super::{Classify, FlowFigures, Flows};
use crate::acl::Acl;
use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::flow_cache::ShortKey;
use crate::flow_hash::{FlowHash, FlowHashKey};
use crate::flow_table::{Entry, FlowTable};
use crate::mbuf::Mbuf;

/// DSCP field of the key that stands for "this 5-tuple, whatever its DSCP".
const ANY_DSCP: u8 = u8::MAX;
/// Headers are fetched so many packets ahead: about as far as memory is away.
const FETCH_AHEAD: usize = 4;

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
                meta: FlowMeta {
                    class: config.rules.non_ip_class[from as usize],
                    flags: flags::EXEMPT,
                    venue: NO_VENUE,
                    ..FlowMeta::default()
                },
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
            tcp_seq: above.tcp_seq(),
            payload_len: above.payload_len,
        })
    }

    /// Writes the metadata of `packet`, the one at `i` in the burst, which belongs to `entry`.
    #[inline(always)]
    pub fn describe(
        &self,
        i: usize,
        entry: &Entry,
        (arrival, source): (Nanos, StampSource),
        packet: &mut Mbuf,
    ) {
        let seen = &self.seen[i];
        let above = if seen.place == NO_FLOW { &Above::NOTHING } else { &seen.above };
        let (mut of_flow, mut own_flags) = (entry.meta, above.flags);
        if of_flow.flags & flags::EXEMPT != 0 {
            own_flags &= !flags::BARE;
        }
        if above.is_fragment {
            std::hint::cold_path();
            of_flow.messages = self.classes[usize::from(of_flow.class)].datagram_messages;
        }
        let at_rx = AtRx {
            arrival,
            segment: above.segment(entry.is_alone),
            tcp_end_seq: above.tcp_end_seq,
            len: packet.len().min(u32::from(u16::MAX)) as u16,
            flags: own_flags,
            sources: PacketMeta::sources_of(source, IntentSource::Implicit),
        };
        packet.set_meta_words(PacketMeta::words(entry.label, of_flow, &at_rx));
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
                    tcp_seq: above.tcp_seq(),
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
        let is_tcp = parsed.key.protocol == PROTOCOL_TCP;
        let mut entry = Entry {
            flow: self.shared_flows[usize::from(verdict.class)],
            label: verdict.label,
            is_alone: false,
            meta: FlowMeta {
                messages: if is_tcp { class.segment_messages } else { class.datagram_messages },
                class: verdict.class,
                kind: class.kind as u8,
                urgency,
                flags: if class.kind.is_exempt() { flags::EXEMPT } else { 0 },
                sources: 0,
                venue,
            },
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
        Self::describe(self, i, entry, arrival, packet);
        arrival.0
    }

    #[inline(always)]
    fn class_soon(&self, i: usize) -> Option<u8> {
        // Behind the end of the burst stands what the last one was.
        self.seen.get(i)?.verdict.as_ref().ok().map(|entry| entry.meta.class)
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
