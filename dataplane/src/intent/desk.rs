//! All that a lane does about intent, in the order of a turn: [`Desk::poll`] once, [`Desk::open`] for
//! the burst before it is classified, [`Desk::end_of`] and [`Desk::apply`] for each packet after its
//! metadata has been written from the rules, [`Desk::forget`] when the flow table ages.
//!
//! Lanes whose ingress port takes no intent have none; there the classifier ends a frame with a shim
//! as `intent_refused`.

use ::intent::{FlowTuple, Record};
use model::drop_reason::DropReason;
use model::frame::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, Parsed};
use model::meta::PacketMeta;
use model::time::Nanos;

use super::apply::{ApplyCounters, Terms, Transport};
use super::groups::{Founder, GroupCounters, Groups, Queues};
use super::inlet::Inlet;
use super::side_table::{SideCounters, SideTable, SideTableSpec};
use super::strip::{ShimPolicy, StripCounters, Stripper};
use crate::batch::{BATCH_PACKETS_MAX, Batch};

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;

/// What a desk is made of.
pub struct DeskParts {
    /// What becomes of shims.
    pub shim: ShimPolicy,
    /// Who may say what.
    pub terms: Terms,
    /// Ordering groups.
    pub groups: Groups,
    /// Flows below this one are shared by many 5-tuples, and in no group.
    pub first_own_flow: u32,
    /// Out-of-band records: where they come in and where they wait.
    pub side: Option<(Inlet, SideTable)>,
}

/// What a desk has done, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskCounters {
    /// Shims.
    pub shims: StripCounters,
    /// Records on packets.
    pub records: ApplyCounters,
    /// Ordering groups.
    pub groups: GroupCounters,
    /// Out-of-band records.
    pub side: SideCounters,
}

/// See the module.
pub struct Desk {
    stripper: Stripper,
    terms: Terms,
    groups: Groups,
    first_own_flow: u32,
    side: Option<(Inlet, SideTable)>,
    applied: ApplyCounters,
    /// By position in the burst.
    opened: Box<[Result<Option<Record>, DropReason>]>,
}

impl Desk {
    /// A desk that has seen nothing.
    pub fn new(parts: DeskParts) -> Self {
        let DeskParts { shim, terms, groups, first_own_flow, side } = parts;
        Self {
            stripper: Stripper::new(shim),
            terms,
            groups,
            first_own_flow,
            side,
            applied: ApplyCounters::default(),
            opened: vec![Ok(None); BATCH_PACKETS_MAX].into(),
        }
    }

    /// Takes records out of band from now on.
    pub fn set_inlet(&mut self, inlet: Inlet) {
        self.side = Some((inlet, SideTable::new(&SideTableSpec::default())));
    }

    /// Takes in what senders have said out of band. Once for each turn, when the burst has been
    /// received: a record that was sent before its bytes is then there before they are looked at.
    #[inline]
    pub fn poll(&mut self, now: Nanos) {
        if let Some((inlet, table)) = &mut self.side {
            inlet.poll(now, table);
        }
    }

    /// Takes the shims out of a burst that has just been received.
    pub fn open(&mut self, burst: &mut Batch) {
        self.groups.begin_burst();
        for (opened, packet) in self.opened.iter_mut().zip(burst.iter_mut()) {
            *opened = self.stripper.strip(packet);
        }
    }

    /// The end of packet `i` of the burst, if its shim is one.
    #[inline]
    pub fn end_of(&self, i: usize) -> Option<DropReason> {
        self.opened.get(i).and_then(|opened| opened.err())
    }

    /// Bytes that were taken out of packet `i`.
    #[inline]
    pub fn stripped_bytes(&self, i: usize) -> u32 {
        let stripped = matches!(self.opened.get(i), Some(Ok(Some(_))));
        if stripped { ::intent::shim::SHIM_BYTES as u32 } else { 0 }
    }

    /// Applies what was meant with packet `i` to `meta` and `venue`, which say what the rules have
    /// found, and gives the flow that it queues in. `own` is the flow of its 5-tuple. For every IP
    /// packet of the burst, in its order. A shim goes before a record that came out of band.
    pub fn apply(
        &mut self,
        i: usize,
        parsed: &Parsed,
        own: u32,
        queues: &mut impl Queues,
        meta: &mut PacketMeta,
        venue: &mut u8,
    ) -> u32 {
        let in_band = self.opened.get(i).and_then(|opened| opened.ok().flatten());
        // Asked for in any case: what is said of this packet must not wait for the next one.
        let out_of_band = self.take(parsed);
        let record = in_band.or(out_of_band);
        if let Some(record) = &record {
            let is_tcp = parsed.key.protocol == PROTOCOL_TCP && !parsed.is_fragment;
            let is_control = is_tcp && parsed.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST) != 0;
            let transport = Transport { is_control };
            self.terms.apply(record, transport, meta, venue, &mut self.applied);
        }
        if own < self.first_own_flow {
            return own;
        }
        let wanted = record.and_then(|record| record.group);
        let founder = Founder { id: 0, class: meta.class, venue: *venue, label: meta.label };
        self.groups.place(&parsed.key, own, wanted, founder, queues)
    }

    /// See [`Groups::flow_of`].
    pub fn flow_of(&self, own: u32) -> u32 {
        self.groups.flow_of(own)
    }

    /// Whether the flow table may forget the 5-tuple whose flow is `own`.
    pub fn forget(&mut self, own: u32, queues: &impl Queues) -> bool {
        self.groups.forget(own, queues)
    }

    /// Where records out of band come in, to read counters.
    pub fn inlet(&self) -> Option<&Inlet> {
        self.side.as_ref().map(|(inlet, _)| inlet)
    }

    /// See [`Groups::give_back`].
    pub fn give_back(&mut self, take: impl FnOnce(u32) -> bool) {
        self.groups.give_back(take);
    }

    /// See [`DeskCounters`].
    pub fn counters(&self) -> DeskCounters {
        DeskCounters {
            shims: self.stripper.counters(),
            records: self.applied,
            groups: self.groups.counters(),
            side: self.side.as_ref().map(|(_, table)| table.counters()).unwrap_or_default(),
        }
    }

    /// What was said of this packet out of band.
    #[inline]
    fn take(&mut self, parsed: &Parsed) -> Option<Record> {
        let (_, table) = self.side.as_mut()?;
        if parsed.is_fragment {
            return None;
        }
        match parsed.key.protocol {
            PROTOCOL_TCP => {
                if parsed.tcp_flags & TCP_SYN != 0 {
                    table.on_syn(&tuple(&parsed.key), parsed.tcp_seq);
                }
                if parsed.payload_len == 0 || table.is_empty() {
                    return None;
                }
                let end = parsed.tcp_seq.wrapping_add(parsed.payload_len);
                table.take_tcp(&tuple(&parsed.key), parsed.tcp_seq, end)
            }
            PROTOCOL_UDP if !table.is_empty() => {
                table.take_udp(&tuple(&parsed.key), parsed.payload_len)
            }
            _ => None,
        }
    }
}

/// A 5-tuple as a socket knows it.
const fn tuple(key: &FlowKey) -> FlowTuple {
    FlowTuple {
        src: key.src,
        dst: key.dst,
        src_port: key.src_port,
        dst_port: key.dst_port,
        ip_version: key.ip_version,
    }
}
