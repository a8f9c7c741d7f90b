//! Senders and receivers of drills: numbered UDP datagrams by a plan, and a sink that reads the numbers.

use std::collections::{BTreeMap, VecDeque};

use intent::Record;
use intent::shim::{SHIM_BYTES, tag_frame};
use model::time::Nanos;

use super::model::destination_port;
use super::peer::Peer;
use super::wire::Wire;
use crate::generate::{Draw, PacketPath, host_mac, udp};

/// Destination port of flow 0 of a [`Sender`]; flow `n` has the n-th after it.
pub const PORT_FIRST: u16 = 7_000;
/// Bytes of Ethernet, IPv4 and UDP ahead of the payload.
const HEADER_BYTES: usize = 42;
/// Its number, then when it was sent.
const NUMBER_BYTES: usize = 8;
/// Bytes of the number and of the time of sending in front of a payload.
const STAMP_BYTES: usize = 16;

/// Who talks to whom.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// From a host of the inside to a venue.
    ToVenue,
    /// A feed from the venue.
    FromVenue,
}

impl Way {
    fn path(self, flow: u16) -> PacketPath {
        let (src, dst) = ([10, 1, 0, 1 + flow as u8], [10, 9, 0, 1]);
        let (src, dst) = match self {
            Self::ToVenue => (src, dst),
            Self::FromVenue => (dst, src),
        };
        PacketPath {
            src_mac: host_mac(1),
            dst_mac: host_mac(2),
            vlan: None,
            src,
            dst,
            dscp: 0,
            ttl: 64,
        }
    }
}

/// What is sent when: frames by time, each of a flow and of a length.
pub struct Plan {
    frames: Vec<(Nanos, u16, u16)>,
    draw: Draw,
}

impl Plan {
    /// Nothing yet. What is drawn depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { frames: Vec::new(), draw: Draw::new(seed, 1) }
    }

    /// A frame of `flow` every so often, of `bytes` without FCS.
    #[must_use]
    pub fn steady(
        mut self,
        (from, to): (Nanos, Nanos),
        every: Nanos,
        flow: u16,
        bytes: u16,
    ) -> Self {
        let mut at = from;
        while at < to {
            self.frames.push((at, flow, bytes));
            at = at.saturating_add(every);
        }
        self
    }

    /// The same, each frame later by up to `jitter`.
    #[must_use]
    pub fn jittered(
        mut self,
        (from, to): (Nanos, Nanos),
        every: Nanos,
        jitter: Nanos,
        flow: u16,
        bytes: u16,
    ) -> Self {
        let mut at = from;
        while at < to {
            // A jitter is far below 4 s.
            let later = Nanos(u64::from(self.draw.below(jitter.0 as u32)));
            self.frames.push((at.saturating_add(later), flow, bytes));
            at = at.saturating_add(every);
        }
        self
    }

    /// `count` frames at one moment, so far apart on average; gaps are heavy over 1 to 100, so most are
    /// shorter and a few far longer.
    #[must_use]
    pub fn uneven(
        mut self,
        (from, to): (Nanos, Nanos),
        mean: Nanos,
        count: u16,
        flow: u16,
        bytes: u16,
    ) -> Self {
        // The mean of such a draw is 1 + ln 100 = 5.605 times its least value.
        let least = mean.0 * 1_000 / 5_605;
        let mut at = from;
        while at < to {
            self = self.burst(at, count, flow, bytes);
            at = at.saturating_add(Nanos(self.draw.heavy(least, 100 * least)));
        }
        self
    }

    /// `count` frames at one moment.
    #[must_use]
    pub fn burst(mut self, at: Nanos, count: u16, flow: u16, bytes: u16) -> Self {
        self.frames.extend((0..count).map(|_| (at, flow, bytes)));
        self
    }

    /// `count` frames at one moment, every so often.
    #[must_use]
    pub fn bursts(
        mut self,
        (from, to): (Nanos, Nanos),
        every: Nanos,
        count: u16,
        flow: u16,
        bytes: u16,
    ) -> Self {
        let mut at = from;
        while at < to {
            self = self.burst(at, count, flow, bytes);
            at = at.saturating_add(every);
        }
        self
    }
}

/// Sends the frames of a plan as UDP datagrams, each numbered in its flow.
pub struct Sender {
    way: Way,
    tags: bool,
    frames: VecDeque<(Nanos, u16, u16)>,
    numbers: BTreeMap<u16, u64>,
}

impl Sender {
    /// Sends `plan`, whatever the order in which it was made.
    pub fn new(way: Way, plan: Plan) -> Self {
        let mut frames = plan.frames;
        frames.sort_by_key(|(at, ..)| *at);
        Self { way, tags: false, frames: frames.into(), numbers: BTreeMap::new() }
    }

    /// Says with each frame, in a shim, that it was decided on and handed over when it was sent.
    #[must_use]
    pub const fn tagged(mut self) -> Self {
        self.tags = true;
        self
    }
}

impl Peer for Sender {
    fn next_event(&self) -> Option<Nanos> {
        self.frames.front().map(|(at, ..)| *at)
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        while let Some((at, flow, bytes)) = self.frames.pop_front_if(|(at, ..)| *at <= now) {
            let number = self.numbers.entry(flow).or_default();
            let mut payload = number.to_be_bytes().to_vec();
            *number += 1;
            payload.extend(at.0.to_be_bytes());
            payload.resize(usize::from(bytes).saturating_sub(HEADER_BYTES).max(STAMP_BYTES), 0);
            let ports = (30_000 + flow, PORT_FIRST + flow);
            let mut frame = udp(&self.way.path(flow), *number as u16, ports, &payload);
            if self.tags {
                frame = tagged(&frame, at);
            }
            to_gateway.send(at, frame);
        }
    }
}

/// Destination port and number of a datagram of a [`Sender`].
pub fn datagram(frame: &[u8]) -> Option<(u16, u64)> {
    Some((destination_port(frame)?, number(frame, HEADER_BYTES)?))
}

/// `frame` with a shim that says when it was decided on.
fn tagged(frame: &[u8], at: Nanos) -> Vec<u8> {
    let record = Record { t_decision: Some(at.0), t_dispatch: Some(at.0), ..Record::default() };
    let mut tagged = vec![0; frame.len() + SHIM_BYTES];
    match tag_frame(frame, &record, &mut tagged) {
        Ok(_) => tagged,
        // What is built here has an EtherType and no shim.
        Err(_) => frame.to_vec(),
    }
}

/// Takes what a [`Sender`] sent, and sees what is missing, what is out of order, and how long it took.
#[derive(Default)]
pub struct Receiver {
    next: BTreeMap<u16, u64>,
    received: u64,
    out_of_order: u64,
    missing: u64,
    /// Of one flow, or of all: its destination port.
    of_port: Option<u16>,
    latencies_ns: Vec<u64>,
    digest: u64,
}

impl Receiver {
    /// Latencies are of `flow` alone.
    pub fn of_flow(flow: u16) -> Self {
        Self { of_port: Some(PORT_FIRST + flow), ..Self::default() }
    }

    /// FNV-1a over times and bytes: the same digest, the same departures.
    fn digest(&mut self, at: Nanos, frame: &[u8]) {
        let mut digest = self.digest;
        for byte in at.0.to_be_bytes().iter().chain(frame) {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.digest = digest;
    }

    fn latency_us(&self, share: f64) -> Option<f64> {
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).map(|ns| *ns as f64 / 1e3)
    }
}

/// The number that begins at `from`.
fn number(frame: &[u8], from: usize) -> Option<u64> {
    let bytes = frame.get(from..from + NUMBER_BYTES)?;
    Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

impl Peer for Receiver {
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    fn act(&mut self, _: Nanos, _: &Wire) {}

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        let sent = number(frame, HEADER_BYTES + NUMBER_BYTES);
        let (Some((port, number)), Some(sent)) = (datagram(frame), sent) else { return };
        self.digest(at, frame);
        if self.of_port.is_none_or(|of| of == port) {
            self.latencies_ns.push(at.0.saturating_sub(sent));
        }
        let next = self.next.entry(port).or_default();
        self.received += 1;
        if number < *next {
            self.out_of_order += 1;
        } else {
            self.missing += number - *next;
            *next = number + 1;
        }
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        let latencies = [("latency_p50_us", 0.5), ("latency_p99_us", 0.99)];
        let latencies = latencies.into_iter().filter_map(|(n, q)| Some((n, self.latency_us(q)?)));
        let counts = [
            ("received", self.received as f64),
            ("received_out_of_order", self.out_of_order as f64),
            ("received_missing", self.missing as f64),
            // As much of it as a number of JSON holds.
            ("received_digest", (self.digest >> 11) as f64),
        ];
        counts.into_iter().chain(latencies).collect()
    }
}
