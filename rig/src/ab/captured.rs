//! A capture as a workload: what a strategy host once sent is handed over again, message by message.
//!
//! Every frame of the capture is one from inside. Each TCP or UDP payload in it is a message that is handed
//! over at its stamp. The flow with the most messages is that of the orders; the others come in the order in
//! which they began. When messages were wanted out no capture says: they are due as evenly as their mean rate
//! allows, none before it was handed over.

use std::collections::HashMap;
use std::path::Path;

use model::frame::{Frame, PROTOCOL_TCP, PROTOCOL_UDP, parse};
use model::kind::{Kind, Side};
use model::time::Nanos;

use super::contract::ORDER_FLOW;
use super::schedule::{
    BYTES_MAX, BYTES_MIN, DATAGRAM_MAX, FLOWS_MAX, Message, Schedule, Transport,
};
use crate::capture::{CaptureError, CaptureReader};

/// Why a capture is no workload.
#[derive(Debug, thiserror::Error)]
pub enum CapturedError {
    /// The file.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// More connections than a comparison has sockets for.
    #[error("more than {FLOWS_MAX} flows: cut some out of the capture")]
    Flows,
}

/// What the first `length` of the capture at `path` hands over, as the workload `name`.
///
/// # Errors
/// The file is no capture, or has too many flows.
pub fn schedule(path: &Path, name: &str, length: Nanos) -> Result<Schedule, CapturedError> {
    let mut reader = CaptureReader::open(path)?;
    let mut flows = HashMap::new();
    let mut messages: Vec<Message> = Vec::new();
    let mut first = None;
    while let Some(record) = reader.next()? {
        let Frame::Ip(headers) = parse(record.data, record.orig_len) else { continue };
        let (transport, most) = match headers.key.protocol {
            PROTOCOL_TCP => (Transport::Tcp, BYTES_MAX),
            PROTOCOL_UDP => (Transport::Udp, DATAGRAM_MAX),
            _ => continue,
        };
        if headers.payload_len == 0 || headers.is_fragment {
            continue;
        }
        let began = *first.get_or_insert(record.t);
        // Stamps may go backwards; what is handed over does not.
        let latest = messages.last().map_or(Nanos::ZERO, |message| message.handed);
        let handed = record.t.saturating_sub(began).max(latest);
        if handed >= length {
            break;
        }
        let next = flows.len();
        let flow = *flows.entry(headers.key).or_insert(next);
        if flow >= usize::from(FLOWS_MAX) {
            return Err(CapturedError::Flows);
        }
        messages.push(Message {
            handed,
            due: handed,
            from: Side::Inside,
            transport,
            flow: flow as u16,
            bytes: headers.payload_len.clamp(BYTES_MIN, most),
            kind: Kind::Order,
            after: None,
        });
    }
    orders_first(&mut messages, flows.len());
    smooth(&mut messages);
    Ok(Schedule { workload: name.to_owned(), seed: 0, messages })
}

/// Gives the flow with the most messages the number of orders, and what travels otherwise its kind.
fn orders_first(messages: &mut [Message], flows: usize) {
    let mut counts = vec![0_usize; flows];
    messages.iter().for_each(|message| counts[usize::from(message.flow)] += 1);
    // Of flows with as many the first.
    let orders = (0..flows).rev().max_by_key(|flow| counts[*flow]).unwrap_or_default() as u16;
    for message in messages {
        if message.flow == orders {
            message.flow = ORDER_FLOW;
        } else {
            message.flow += u16::from(message.flow < orders);
            message.kind = Kind::Other;
        }
    }
}

/// Orders are due one after the other, each as long after the one before as its bytes take at the mean rate.
fn smooth(messages: &mut [Message]) {
    let orders = || messages.iter().filter(|message| message.flow == ORDER_FLOW);
    let bytes: u64 = orders().map(|message| u64::from(message.bytes)).sum();
    let last = orders().next_back().map_or(Nanos::ZERO, |message| message.handed);
    let mut free = Nanos::ZERO;
    for message in messages.iter_mut().filter(|message| message.flow == ORDER_FLOW) {
        message.due = message.handed.max(free);
        let takes = u128::from(last.0) * u128::from(message.bytes) / u128::from(bytes.max(1));
        free = message.due.saturating_add(Nanos(takes as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(handed: u64, flow: u16, bytes: u32) -> Message {
        Message {
            handed: Nanos(handed),
            due: Nanos(handed),
            from: Side::Inside,
            transport: Transport::Udp,
            flow,
            bytes,
            kind: Kind::Order,
            after: None,
        }
    }

    #[test]
    fn the_flow_with_the_most_messages_is_that_of_the_orders() {
        let flows = [0, 1, 2, 2, 1, 2, 3];
        let mut messages: Vec<_> =
            (0..).zip(flows).map(|(at, flow)| message(at, flow, 100)).collect();
        orders_first(&mut messages, 4);
        let after: Vec<_> = messages.iter().map(|message| message.flow).collect();
        assert_eq!(after, [1, 2, 0, 0, 2, 0, 3]);
        let is_order = |message: &Message| message.kind == Kind::Order;
        assert!(messages.iter().all(|message| is_order(message) == (message.flow == ORDER_FLOW)));
        orders_first(&mut [], 0);
    }

    /// Four of 100 bytes, three of them at once, over 900 ns: each takes 225 ns.
    #[test]
    fn a_burst_is_due_at_the_mean_rate_and_nothing_before_it_was_handed_over() {
        let mut messages: Vec<_> = [0, 0, 0, 900].map(|at| message(at, 0, 100)).into();
        messages.insert(2, message(0, 1, 5_000));
        smooth(&mut messages);
        let due: Vec<_> = messages.iter().map(|message| message.due.0).collect();
        assert_eq!(due, [0, 225, 0, 450, 900]);
    }
}
