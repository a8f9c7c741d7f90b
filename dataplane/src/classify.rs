//! Which flow, class and label does a packet belong to?
//!
//! Exact match first: a burst of keys is looked up in the flow table at once. Only the first packet
//! of a flow meets the rules; its verdict is remembered. Everything here is allocated at
//! construction.

use model::config::{Class, Config};
use model::drop_reason::DropReason;
use model::frame::{Frame, Parsed, parse};
use model::kind::{Kind, Side};
use model::meta::{IntentSource, PacketMeta, StampSource, flags};
use model::pacer::NO_VENUE;
use model::rules::Rules;
use model::time::Nanos;

use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::flow_hash::{FlowHash, FlowHashKey, LOOKUP_KEYS_MAX};

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const PROTOCOL_TCP: u8 = 6;
/// DSCP field of the key that stands for "this 5-tuple, whatever its DSCP".
const ANY_DSCP: u8 = u8::MAX;

/// Where an accepted packet goes.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Its flow in the pacer.
    pub flow: u32,
    /// Index of its venue, or [`NO_VENUE`].
    pub venue: u8,
}

/// What the table remembers of a flow.
#[derive(Clone, Copy)]
struct Entry {
    flow: u32,
    label: u16,
    class: u8,
    urgency: u8,
    venue: u8,
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
#[derive(Clone, Copy, Default)]
struct Above {
    /// Its place in the burst.
    position: u16,
    tcp_flags: u8,
    is_tcp: bool,
    is_fragment: bool,
    tcp_seq: u32,
    payload_len: u32,
}

impl Above {
    #[inline]
    const fn of(position: usize, parsed: &Parsed) -> Self {
        Self {
            position: position as u16,
            tcp_flags: parsed.tcp_flags,
            is_tcp: parsed.key.protocol == PROTOCOL_TCP && !parsed.is_fragment,
            is_fragment: parsed.is_fragment,
            tcp_seq: parsed.tcp_seq,
            payload_len: parsed.payload_len,
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
    from: Side,
    rules: Rules,
    read_dscp: bool,
    forward_fragments: bool,
    frame_bytes_max: u32,
    /// Label -> (venue, urgency).
    labels: Box<[(u8, u8)]>,
    classes: Box<[ClassFacts]>,
    table: FlowHash,
    entries: Vec<Entry>,
    /// The flow of each class that packets use when the table is full.
    shared_flows: Box<[u32]>,
    non_ip: Entry,
    keys: Box<[FlowHashKey]>,
    above: Box<[Above]>,
    found: Box<[Option<u32>]>,
    verdicts: Box<[Result<Accepted, DropReason>]>,
    counters: Counters,
}

impl Classifier {
    /// Flows that a pacer must have for a lane of this config: those of the table, one for each
    /// class that overflows it, and one for what is not IP.
    pub fn flows_needed(config: &Config) -> u32 {
        config.gateway.flows_max + config.classes.len() as u32 + 1
    }

    /// Keys that the table must have room for: a group has a key of its own where rules read DSCP.
    pub fn keys_needed(config: &Config) -> u32 {
        config.gateway.flows_max * if config.rules.read_dscp() { 2 } else { 1 }
    }

    /// The classifier of the lane that receives on port `rx_port` and may send frames of up to
    /// `frame_bytes_max`. `table` has room for the lane's flows; `new_flow` gives out the pacer's
    /// flows.
    ///
    /// Takes one flow for each class and one for packets that are not IP.
    pub fn new(
        config: &Config,
        rx_port: usize,
        frame_bytes_max: u32,
        table: FlowHash,
        mut new_flow: impl FnMut() -> Option<u32>,
    ) -> Option<Self> {
        let from = config.ports[rx_port].side;
        let shared_flows = config.classes.iter().map(|_| new_flow()).collect::<Option<_>>()?;
        let read_dscp = config.rules.read_dscp();
        Some(Self {
            from,
            rules: config.rules.clone(),
            read_dscp,
            forward_fragments: config.ports[rx_port].forward_fragments || from == Side::Venue,
            frame_bytes_max,
            labels: config
                .labels
                .iter()
                .map(|label| (label.venue.unwrap_or(NO_VENUE), label.urgency))
                .collect(),
            classes: config.classes.iter().map(ClassFacts::of).collect(),
            table,
            entries: Vec::with_capacity(Self::keys_needed(config) as usize),
            shared_flows,
            non_ip: Entry {
                flow: new_flow()?,
                label: 0,
                class: config.rules.non_ip_class[from as usize],
                urgency: 0,
                venue: NO_VENUE,
            },
            keys: vec![FlowHashKey::default(); BATCH_PACKETS_MAX].into_boxed_slice(),
            above: vec![Above::default(); BATCH_PACKETS_MAX].into_boxed_slice(),
            found: vec![None; BATCH_PACKETS_MAX].into_boxed_slice(),
            verdicts: vec![Err(DropReason::Runt); BATCH_PACKETS_MAX].into_boxed_slice(),
            counters: Counters::default(),
        })
    }

    /// Writes the metadata of every packet of the burst and gives a verdict for each, in order.
    /// `stamp` gives a packet's arrival and where it comes from. Bounded by the burst.
    pub fn classify(
        &mut self,
        burst: &mut Batch,
        mut stamp: impl FnMut(Option<u64>) -> (Nanos, StampSource),
        mut new_flow: impl FnMut() -> Option<u32>,
    ) -> &[Result<Accepted, DropReason>] {
        let ip_count = self.parse(burst);
        let keys = self.keys[..ip_count].chunks(LOOKUP_KEYS_MAX);
        for (keys, found) in keys.zip(self.found.chunks_mut(LOOKUP_KEYS_MAX)) {
            self.table.lookup_bulk(keys, &mut found[..keys.len()]);
        }
        let mut k = 0;
        for (i, packet) in burst.iter_mut().enumerate() {
            let (arrival, source) = stamp(packet.rx_stamp());
            let mut meta = PacketMeta {
                arrival,
                due: arrival,
                decision_lag_ns: u32::MAX,
                len: packet.len().min(u32::from(u16::MAX)) as u16,
                ..PacketMeta::default()
            };
            meta.set_sources(source, IntentSource::Implicit);
            if k < ip_count && usize::from(self.above[k].position) == i {
                let entry = match self.found[k] {
                    Some(index) => self.entries[index as usize],
                    None => self.meet(k, &mut new_flow),
                };
                self.describe(&mut meta, self.above[k], entry);
                self.verdicts[i] = Ok(Accepted { flow: entry.flow, venue: entry.venue });
                k += 1;
            } else if self.verdicts[i].is_ok() {
                meta.flags = flags::EXEMPT;
                meta.class = self.non_ip.class;
            }
            // Once and whole: what is written in pieces and read as a whole stalls.
            *packet.meta_mut() = meta;
        }
        &self.verdicts[..burst.len()]
    }

    /// Reads the headers of the burst: keys of the IP packets, verdicts of the others. Returns how
    /// many IP packets there are.
    #[inline]
    fn parse(&mut self, burst: &Batch) -> usize {
        let mut ip_count = 0;
        for (i, packet) in burst.iter().enumerate() {
            let len = packet.len();
            self.verdicts[i] = if len > self.frame_bytes_max || packet.segment_count() > 1 {
                Err(DropReason::TxOversize)
            } else {
                match parse(packet.data(), len) {
                    Frame::Malformed(reason) => Err(reason),
                    Frame::Ip(p) if p.is_fragment && !self.forward_fragments => {
                        Err(DropReason::IpFragment)
                    }
                    Frame::Ip(p) => {
                        let dscp = if self.read_dscp { p.dscp } else { ANY_DSCP };
                        self.keys[ip_count] = FlowHashKey::new(p.key, dscp);
                        self.above[ip_count] = Above::of(i, &p);
                        ip_count += 1;
                        continue;
                    }
                    Frame::NonIp { .. } => Ok(Accepted { flow: self.non_ip.flow, venue: NO_VENUE }),
                }
            };
        }
        ip_count
    }

    /// See [`Counters`].
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Flows in the table.
    pub fn flows(&self) -> usize {
        self.entries.len()
    }

    fn lookup(&self, key: &FlowHashKey) -> Option<u32> {
        let mut found = [None];
        self.table.lookup_bulk(std::slice::from_ref(key), &mut found);
        found[0]
    }

    #[inline]
    fn describe(&self, meta: &mut PacketMeta, above: Above, entry: Entry) {
        let class = self.classes[usize::from(entry.class)];
        let has_payload = above.payload_len > 0;
        meta.class = entry.class;
        meta.label = entry.label;
        meta.urgency = entry.urgency;
        meta.kind = class.kind as u8;
        let mut bits = 0;
        if has_payload {
            bits |= flags::PAYLOAD;
            meta.messages =
                if above.is_tcp { class.segment_messages } else { class.datagram_messages };
        }
        if class.kind.is_exempt() {
            bits |= flags::EXEMPT;
        }
        if above.is_tcp {
            bits |= flags::TCP;
            meta.tcp_end_seq = above.tcp_seq.wrapping_add(above.payload_len);
            if above.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST) != 0 {
                bits |= flags::EXEMPT;
            } else if !has_payload && !class.kind.is_exempt() {
                bits |= flags::EXEMPT | flags::BARE;
            }
        }
        meta.flags = bits;
    }

    /// The entry of IP packet `k` of the burst, whose key was not in the table.
    #[cold]
    fn meet(&mut self, k: usize, new_flow: &mut impl FnMut() -> Option<u32>) -> Entry {
        let key = self.keys[k];
        // It may have become known through an earlier packet of this burst.
        if let Some(index) = self.lookup(&key) {
            return self.entries[index as usize];
        }
        let above = self.above[k];
        let parsed = Parsed {
            key: *key.flow(),
            // Where no rule reads the DSCP, none is asked for it.
            dscp: key.dscp(),
            tcp_flags: above.tcp_flags,
            is_fragment: above.is_fragment,
            tcp_seq: above.tcp_seq,
            payload_len: above.payload_len,
        };
        self.learn(&parsed, key, new_flow)
    }

    /// The first packet of a flow: asks the rules and remembers the answer.
    fn learn(
        &mut self,
        parsed: &Parsed,
        key: FlowHashKey,
        new_flow: &mut impl FnMut() -> Option<u32>,
    ) -> Entry {
        let verdict = self.rules.classify(self.from, parsed);
        let (venue, urgency) =
            self.labels.get(usize::from(verdict.label)).copied().unwrap_or((NO_VENUE, 0));
        let mut entry = Entry {
            flow: self.shared_flows[usize::from(verdict.class)],
            label: verdict.label,
            class: verdict.class,
            urgency,
            venue,
        };
        // All DSCPs of a 5-tuple are one ordering group: they share the flow of the first.
        let group = FlowHashKey::new(parsed.key, ANY_DSCP);
        let known = if self.read_dscp { self.lookup(&group) } else { None };
        let flow = known.map(|i| self.entries[i as usize].flow).or_else(|| {
            let keys = if self.read_dscp { 2 } else { 1 };
            let room = self.entries.capacity() - self.entries.len() >= keys;
            if room { new_flow() } else { None }
        });
        let Some(flow) = flow else {
            self.counters.flow_table_full += 1;
            return entry;
        };
        entry.flow = flow;
        let mut remember = |key: &FlowHashKey| {
            if self.entries.len() < self.entries.capacity()
                && self.table.insert(key, self.entries.len() as u32).is_ok()
            {
                self.entries.push(entry);
            } else {
                self.counters.flow_table_full += 1;
            }
        };
        if self.read_dscp && known.is_none() {
            remember(&group);
        }
        remember(&key);
        entry
    }
}
