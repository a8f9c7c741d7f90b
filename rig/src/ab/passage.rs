//! What became of each message of a block: its schedule, the sender's log and the capture put together.
//!
//! A datagram carries its number. A TCP message is found by its bytes: it is on the wire with the segment
//! that carries its last one for the first time. Super-frames are cut into the frames that they are on the
//! wire, and a modelled serializer says when each of them departs, in every arm alike.

use std::collections::HashMap;

use model::frame::PROTOCOL_TCP;
use model::inflight::Serializer;
use model::kind::Side;
use model::meta::wire_len;
use model::sample::TcpSeen;
use model::time::Nanos;

use super::contract::ORDER_PORT;
use super::observer::{Captured, Observation};
use super::result::Contract;
use super::schedule::{Message, Schedule, Transport};
use super::sender::Log;
use crate::observe::seen::Place;

const SYN: u8 = 0x02;

/// A message that was handed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub message: Message,
    /// Its sender handed it over.
    pub dispatch: Nanos,
    /// Its sender wanted it out.
    pub due: Nanos,
    /// It passed the observer.
    pub wire: Option<Wire>,
    /// The strategy had it, where it came from the venue.
    pub delivery: Option<Nanos>,
}

/// How a message passed the observer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// Stamp of the capture.
    pub stamp: Nanos,
    /// Departure by the modelled serializer; of a message from the venue, the stamp.
    pub departure: Nanos,
    /// Of TCP: its connection and bytes.
    pub tcp: Option<(TcpSeen, u32)>,
}

/// An acknowledgement from the venue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Acknowledged {
    /// Stamp of the capture.
    pub at: Nanos,
    /// Its frame.
    pub len: u32,
    /// Its connection and what it acknowledges.
    pub tcp: TcpSeen,
}

/// Everything that passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passages {
    /// Messages that were handed over, by number.
    pub messages: Vec<Passage>,
    /// In the order in which they came.
    pub acknowledged: Vec<Acknowledged>,
    /// Frames that came as a part of a super-frame.
    pub expanded: u64,
    /// Departures of all frames towards the venue, in order.
    pub frames: Vec<Nanos>,
}

/// The stream of one flow: where it begins, and which messages are still awaited.
#[derive(Default)]
struct Stream {
    first: Option<u32>,
    /// Last byte and number of each, in order.
    awaited: std::collections::VecDeque<(u64, u32)>,
}

/// Puts them together.
pub fn passages(
    schedule: &Schedule,
    log: &Log,
    seen: &Observation,
    contract: &Contract,
) -> Passages {
    let mut found = Passages::default();
    let mut wires: Vec<Option<Wire>> = vec![None; schedule.messages.len()];
    let mut streams = streams(schedule, log);
    let mut link = Serializer::new(contract.link_bits_per_s);
    for captured in &seen.frames {
        if captured.seen.place == Place::EgressOut {
            towards_venue(captured, &mut link, &mut streams, &mut wires, &mut found);
        } else {
            from_venue(captured, &mut wires, &mut found);
        }
    }
    let passage = |(number, message): (u32, &Message)| {
        let at = number as usize;
        // What a reaction answers was delivered, or it was not handed over.
        let from = message.after.map_or(Some(log.began), |of| log.delivered[of as usize]);
        Some(Passage {
            number,
            message: *message,
            dispatch: log.dispatched[at]?,
            due: from?.saturating_add(message.due),
            wire: wires[at],
            delivery: log.delivered[at],
        })
    };
    found.messages = (0..).zip(&schedule.messages).filter_map(passage).collect();
    found
}

fn streams(schedule: &Schedule, log: &Log) -> HashMap<u16, Stream> {
    let mut streams: HashMap<u16, Stream> = HashMap::new();
    for (number, message) in (0..).zip(&schedule.messages) {
        if let (Transport::Tcp, Some(end)) = (message.transport, log.ends[number as usize]) {
            streams.entry(message.flow).or_default().awaited.push_back((end, number));
        }
    }
    for stream in streams.values_mut() {
        stream.awaited.make_contiguous().sort_unstable();
    }
    streams
}

fn towards_venue(
    captured: &Captured,
    link: &mut Serializer,
    streams: &mut HashMap<u16, Stream>,
    wires: &mut [Option<Wire>],
    found: &mut Passages,
) {
    let seen = &captured.seen;
    let key = seen.parsed.key;
    let is_tcp = key.protocol == PROTOCOL_TCP;
    let flow = key.dst_port.checked_sub(ORDER_PORT);
    let mut stream = flow.filter(|_| is_tcp).and_then(|flow| streams.get_mut(&flow));
    if let Some(stream) = &mut stream {
        let begins = seen.parsed.tcp_flags & SYN != 0;
        let first = seen.parsed.tcp_seq.wrapping_add(u32::from(begins));
        stream.first.get_or_insert(first);
    }
    let count = seen.segments().count() as u64;
    found.expanded += if count > 1 { count } else { 0 };
    let mut sent = 0;
    for payload in seen.segments() {
        let departure = link.send(seen.at, wire_len(seen.header_bytes + payload)).start;
        found.frames.push(departure);
        sent += payload;
        if !is_tcp {
            let number = captured.number.and_then(|number| usize::try_from(number).ok());
            if let Some(wire) = number.and_then(|number| wires.get_mut(number)) {
                wire.get_or_insert(Wire { stamp: seen.at, departure, tcp: None });
            }
        } else if let Some(stream) = &mut stream {
            let end_seq = seen.parsed.tcp_seq.wrapping_add(sent);
            let end = u64::from(end_seq.wrapping_sub(stream.first.unwrap_or(end_seq)));
            while let Some((last, number)) =
                stream.awaited.front().copied().filter(|(l, _)| *l <= end)
            {
                stream.awaited.pop_front();
                let first = stream.first.unwrap_or_default();
                let tcp = TcpSeen { connection: key.connection(), ack: seen.ack, payload_bytes: 0 };
                // Streams of a block are far below 2^32 bytes.
                let tcp = Some((tcp, first.wrapping_add(last as u32)));
                wires[number as usize] = Some(Wire { stamp: seen.at, departure, tcp });
            }
        }
    }
}

fn from_venue(captured: &Captured, wires: &mut [Option<Wire>], found: &mut Passages) {
    let seen = &captured.seen;
    if seen.parsed.key.protocol == PROTOCOL_TCP {
        let connection = seen.parsed.key.connection();
        let payload_bytes = u16::try_from(seen.parsed.payload_len).unwrap_or(u16::MAX);
        let tcp = TcpSeen { connection, ack: seen.ack, payload_bytes };
        found.acknowledged.push(Acknowledged { at: seen.at, len: seen.len, tcp });
        return;
    }
    let number = captured.number.and_then(|number| usize::try_from(number).ok());
    if let Some(wire) = number.and_then(|number| wires.get_mut(number)) {
        wire.get_or_insert(Wire { stamp: seen.at, departure: seen.at, tcp: None });
    }
}

impl Passages {
    /// Those of one side and flow, by number.
    pub fn of(&self, from: Side, flow: u16) -> impl Iterator<Item = &Passage> {
        self.messages.iter().filter(move |p| p.message.from == from && p.message.flow == flow)
    }
}
