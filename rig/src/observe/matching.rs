//! On a host that forwards: when a packet came in that goes out now.
//!
//! TCP is matched by the bytes that it carries, because a host may put segments together on one side
//! and cut them on the other; a segment without payload by what it acknowledges; anything else by its
//! payload. A host that rewrites addresses matches nothing.

use std::collections::{HashMap, VecDeque};

use model::frame::{FlowKey, VLAN_NONE};
use model::time::Nanos;

use super::seen::Seen;

/// What came in so long ago and did not leave is forgotten.
const AGE_MAX: Nanos = Nanos::from_secs(1);
/// Flows that are waited for.
const FLOWS_MAX: usize = 1 << 16;
/// Packets of a flow that are waited for.
const WAITING_MAX: usize = 1 << 12;

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Nanos,
    /// TCP with payload: first byte and bytes. Else the tag tells it apart.
    first: u32,
    bytes: u32,
    tag: u64,
}

/// Packets that came in and have not left.
#[derive(Debug, Default)]
pub struct Matcher {
    flows: HashMap<FlowKey, VecDeque<Arrival>>,
}

/// A tag may differ between the two sides.
const fn key_of(seen: &Seen) -> FlowKey {
    let mut key = seen.parsed.key;
    key.vlan = VLAN_NONE;
    key
}

fn tag_of(seen: &Seen) -> u64 {
    if seen.is_tcp() {
        return u64::from(seen.parsed.tcp_seq) << 32 | u64::from(seen.ack.unwrap_or_default());
    }
    seen.digest ^ u64::from(seen.parsed.payload_len)
}

impl Matcher {
    /// A packet came in.
    pub fn arrived(&mut self, seen: &Seen) {
        if self.flows.len() >= FLOWS_MAX && !self.flows.contains_key(&key_of(seen)) {
            let old = |last: &Arrival| seen.at.saturating_sub(last.at) > AGE_MAX;
            self.flows.retain(|_, waiting| waiting.back().is_some_and(|last| !old(last)));
            if self.flows.len() >= FLOWS_MAX {
                return;
            }
        }
        let waiting = self.flows.entry(key_of(seen)).or_default();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        let is_stream = seen.is_tcp() && seen.parsed.payload_len > 0;
        waiting.push_back(Arrival {
            at: seen.at,
            first: seen.parsed.tcp_seq,
            bytes: if is_stream { seen.parsed.payload_len } else { 0 },
            tag: tag_of(seen),
        });
    }

    /// When the packet came in that goes out now; `None`: it did not come in here.
    pub fn left(&mut self, seen: &Seen) -> Option<Nanos> {
        let waiting = self.flows.get_mut(&key_of(seen))?;
        while waiting.front().is_some_and(|a| seen.at.saturating_sub(a.at) > AGE_MAX) {
            waiting.pop_front();
        }
        let is_stream = seen.is_tcp() && seen.parsed.payload_len > 0;
        let tag = tag_of(seen);
        let found = waiting.iter().position(|arrival| {
            if is_stream {
                seen.parsed.tcp_seq.wrapping_sub(arrival.first) < arrival.bytes
            } else {
                arrival.bytes == 0 && arrival.tag == tag
            }
        })?;
        let arrival = waiting[found];
        let last = seen.parsed.tcp_seq.wrapping_add(seen.parsed.payload_len);
        let is_used_up = !is_stream || last == arrival.first.wrapping_add(arrival.bytes);
        if is_used_up {
            waiting.remove(found);
        }
        Some(arrival.at)
    }
}
