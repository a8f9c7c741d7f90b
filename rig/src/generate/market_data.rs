//! Market-data-like traffic: a multicast feed on two lines, in bursts.

use model::time::Nanos;

use super::draw::Draw;
use super::packet::{PAYLOAD_BYTES_MAX, Path, host_mac, udp};
use super::timeline::{Timeline, Traffic};

/// UDP port of the feed.
const PORT: u16 = 26_400;
/// VLAN of the second line.
const LINE_B_VLAN: u16 = 200;

/// Shape of the feed. Values out of their range are taken as its nearest end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketDataShape {
    /// Shortest gap between the starts of two bursts, from 1 us.
    pub gap_min: Nanos,
    /// Longest gap.
    pub gap_max: Nanos,
    /// Fewest packets of a burst, on each line.
    pub burst_packets_min: u32,
    /// Most packets of a burst.
    pub burst_packets_max: u32,
    /// Shortest payload, bytes.
    pub payload_bytes_min: u32,
    /// Longest payload, bytes, up to 1,400.
    pub payload_bytes_max: u32,
}

impl Default for MarketDataShape {
    fn default() -> Self {
        Self {
            gap_min: Nanos::from_micros(500),
            gap_max: Nanos::from_millis(50),
            burst_packets_min: 1,
            burst_packets_max: 40,
            payload_bytes_min: 64,
            payload_bytes_max: 1_400,
        }
    }
}

impl MarketDataShape {
    /// Bursts of five packets on each line, with gaps between them that bring about `frames_per_s` on both
    /// lines together, 1 to a million.
    pub fn at_rate(frames_per_s: u32) -> Self {
        const BURST_PACKETS: u32 = 5;
        // The mean of a draw that is heavy over 1 to 100, in thousandths: 1 + ln 100.
        const GAP_MILLI: u64 = 5_605;
        let frames = u64::from(2 * BURST_PACKETS);
        let mean_ns = frames * 1_000_000_000 / u64::from(frames_per_s.clamp(1, 1_000_000));
        let gap_min = mean_ns * 1_000 / GAP_MILLI;
        Self {
            gap_min: Nanos(gap_min),
            gap_max: Nanos(gap_min * 100),
            burst_packets_min: BURST_PACKETS,
            burst_packets_max: BURST_PACKETS,
            ..Self::default()
        }
    }
}

/// The feed.
pub(super) struct Feed {
    shape: MarketDataShape,
    draw: Draw,
    next: Nanos,
    end: Nanos,
    sequence: u64,
}

impl Feed {
    pub(super) fn new(shape: MarketDataShape, mut draw: Draw, start: Nanos, end: Nanos) -> Self {
        let shape = MarketDataShape {
            gap_min: shape.gap_min.max(Nanos::from_micros(1)),
            payload_bytes_max: shape.payload_bytes_max.min(PAYLOAD_BYTES_MAX),
            ..shape
        };
        let next = start + Nanos(draw.heavy(shape.gap_min.0, shape.gap_max.0));
        Self { shape, draw, next, end, sequence: 0 }
    }

    fn payload(&mut self, t: Nanos) -> Vec<u8> {
        let len = self.draw.tailed(self.shape.payload_bytes_min, self.shape.payload_bytes_max);
        let mut payload = vec![0; len as usize];
        self.draw.fill(&mut payload);
        self.sequence += 1;
        for (place, byte) in
            payload.iter_mut().zip([self.sequence.to_be_bytes(), t.0.to_be_bytes()].concat())
        {
            *place = byte;
        }
        payload
    }
}

/// Line A (0) or B (1): the same packets from another host to another group.
fn line(n: u8) -> Path {
    let group = [233, 54, 12, 1 + n];
    Path {
        src_mac: host_mac(200 + n),
        // RFC 1112: the low 23 bits of the group.
        dst_mac: [0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]],
        vlan: (n == 1).then_some(LINE_B_VLAN),
        src: [10, 200, 0, 1 + n],
        dst: group,
        dscp: 0,
        ttl: 16,
    }
}

impl Traffic for Feed {
    fn next_event(&self) -> Option<Nanos> {
        (self.next < self.end).then_some(self.next)
    }

    fn emit(&mut self, timeline: &mut Timeline) {
        let packets = self.draw.heavy(
            u64::from(self.shape.burst_packets_min),
            u64::from(self.shape.burst_packets_max),
        );
        let mut t = self.next;
        for _ in 0..packets {
            let payload = self.payload(t);
            let id = self.sequence as u16;
            timeline.push(t, udp(&line(0), id, (PORT, PORT), &payload));
            let lag = Nanos(u64::from(self.draw.between(1_500, 6_000)));
            timeline.push(t + lag, udp(&line(1), id, (PORT, PORT), &payload));
            t = t + Nanos(self.draw.heavy(800, 12_000));
        }
        self.next = self.next + Nanos(self.draw.heavy(self.shape.gap_min.0, self.shape.gap_max.0));
    }
}
