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
        // A SYN has been counted already.
        stream.first.get_or_insert(seen.parsed.tcp_seq);
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
        } else if let Some(stream) = stream.as_mut().filter(|_| payload > 0) {
            let end_seq = seen.parsed.tcp_seq.wrapping_add(sent);
            let first = stream.first.unwrap_or(end_seq);
            let end = u64::from(end_seq.wrapping_sub(first));
            while let Some((last, number)) = stream.awaited.pop_front_if(|(last, _)| *last <= end) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::testing::{CONTRACT, TcpFrame, WALL, log_of, tcp_frame, udp_frame};
    use crate::ab::workload::Workload;

    #[test]
    fn datagrams_are_found_by_their_number_and_the_link_is_modelled() {
        let schedule = Workload::SteadyOrders.schedule(1, Nanos::from_millis(1));
        let log = log_of(&schedule);
        // All at once, the last one lost, the first one twice.
        let at = WALL.saturating_add(Nanos(500));
        let mut frames: Vec<_> = (0..9).map(|n| udp_frame(n, at)).collect();
        frames.push(udp_frame(0, at));
        let seen = Observation { frames, ..Observation::default() };
        let found = passages(&schedule, &log, &seen, &CONTRACT);
        assert_eq!(found.messages.len(), 10);
        for (n, passage) in (0..).zip(&found.messages[..9]) {
            // 280 bytes at 10 Gbit/s.
            let departure = at.saturating_add(Nanos(224 * n));
            let wire = passage.wire.expect("it passed");
            assert_eq!((wire.stamp, wire.departure), (at, departure), "{n}");
            assert_eq!(passage.due, WALL.saturating_add(Nanos(100_000 * n)));
        }
        assert_eq!(found.messages[9].wire, None);
        assert_eq!((found.frames.len(), found.expanded), (10, 0));
    }

    /// Three messages of 214 bytes: one segment with one and a half, one with the rest, a super-frame.
    #[test]
    fn a_message_of_a_stream_leaves_with_its_last_byte() {
        let schedule = Workload::TcpSmallWrites.schedule(1, Nanos(600_000));
        let log = log_of(&schedule);
        let isn = u32::MAX - 100;
        let at = |us: u64| WALL.saturating_add(Nanos(1_000 * us));
        let data = |first: u32, bytes: u32, us| {
            let seq = isn.wrapping_add(1).wrapping_add(first);
            tcp_frame(&TcpFrame { seq, bytes, at: at(us), ..TcpFrame::default() })
        };
        let syn = TcpFrame { seq: isn, at: at(0), is_syn: true, ..TcpFrame::default() };
        let bare = TcpFrame { seq: isn.wrapping_add(1), at: at(1), ..TcpFrame::default() };
        let mut last = data(428, 4 * 214, 30);
        last.seen.segment_bytes = Some(428);
        let frames =
            vec![tcp_frame(&syn), tcp_frame(&bare), data(0, 321, 10), data(321, 107, 20), last];
        let seen = Observation { frames, ..Observation::default() };
        let found = passages(&schedule, &log, &seen, &CONTRACT);
        let stamps: Vec<_> = found.messages.iter().map(|p| p.wire.map(|wire| wire.stamp)).collect();
        let expected = [10, 20, 30, 30, 30, 30].map(|us| Some(at(us)));
        assert_eq!(stamps, expected);
        // The super-frame is two frames on the wire, the second behind the first.
        let departures: Vec<_> =
            found.messages[2..].iter().filter_map(|p| Some(p.wire?.departure)).collect();
        assert!(departures[0] == departures[1] && departures[2] == departures[3]);
        // 428 + 66 + 24 bytes at 10 Gbit/s, rounded up.
        assert_eq!(departures[2].saturating_sub(departures[1]), Nanos(415));
        assert_eq!(found.expanded, 2);
    }

    #[test]
    fn a_reaction_is_due_after_its_delivery() {
        let schedule = Workload::MarketDataFanIn.schedule(1, Nanos::from_millis(20));
        let mut log = log_of(&schedule);
        let answers = (0..).zip(&schedule.messages).filter_map(|(n, m)| Some((n, m.after?)));
        let (number, of) = answers.clone().next().expect("some are answered");
        let delivered = WALL.saturating_add(Nanos(777_777));
        log.delivered[of as usize] = Some(delivered);
        log.dispatched[number as usize] = Some(delivered);
        let found = passages(&schedule, &log, &Observation::default(), &CONTRACT);
        let passage =
            found.messages.iter().find(|p| p.number == number).expect("it was handed over");
        assert_eq!(passage.due, delivered.saturating_add(passage.message.due));
        // Reactions to what was never delivered were not handed over.
        let handed = found.messages.iter().filter(|p| p.message.after.is_some()).count();
        assert_eq!(handed, 1);
    }
}
