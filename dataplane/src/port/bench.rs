//! A wrapper that writes a seeded flow mix into each received frame, so that the whole pipeline can
//! be priced on net_null: its pool gives out the same few buffers again and again, so buffers that
//! were filled once would test as many flows as there are buffers.

use model::config::BenchFlows;
use model::time::{Cycles, Nanos};

use super::Rx;
use crate::batch::Batch;
use crate::clock::Clock;

/// Untagged Ethernet, IPv4, UDP.
const HEADERS: usize = 14 + 20 + 8;
/// Flow `i` is 10.1.h.l -> 10.9.0.1, port 10000 + i % 50000 -> 7000 + i % 64.
const TEMPLATE: [u8; HEADERS] = [
    0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00, // Ethernet
    0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 0, 10, 9, 0, 1, // IPv4
    0, 0, 0, 0, 0, 0, 0, 0, // UDP
];

/// A port whose frames carry a flow mix.
pub struct BenchRx<R> {
    inner: R,
    /// What all frames have in common.
    headers: [u8; HEADERS],
    flows: u32,
    frame_bytes: u16,
    clock: Clock,
    state: u64,
    spent: Cycles,
    packets: u64,
}

impl<R: Rx> BenchRx<R> {
    /// Wraps `inner`. The order of flows is drawn from `seed`; every flow is equally likely, and the
    /// first pass goes through all of them.
    pub fn new(inner: R, mix: BenchFlows, seed: u64, clock: Clock) -> Self {
        let frame_bytes = mix.frame_bytes.max(HEADERS as u16);
        Self {
            inner,
            headers: headers(frame_bytes),
            flows: mix.flows,
            frame_bytes,
            clock,
            state: seed | 1,
            spent: Cycles(0),
            packets: 0,
        }
    }

    /// What the writing has cost so far, and for how many packets.
    pub const fn cost(&self) -> (Cycles, u64) {
        (self.spent, self.packets)
    }

    /// Flows in its mix.
    pub const fn flows(&self) -> u32 {
        self.flows
    }

    #[inline]
    fn draw(&mut self) -> u32 {
        let flows = u64::from(self.flows);
        let n = self.packets;
        self.packets += 1;
        if n < flows {
            return n as u32;
        }
        // Weyl sequence through a 64-bit mixer (splitmix64).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(flows)) >> 64) as u32
    }
}

impl<R: Rx> Rx for BenchRx<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let from = into.len();
        let received = self.inner.rx_burst(now, into);
        if received > 0 {
            let before = self.clock.cycles();
            for i in from..from + received {
                let flow = self.draw();
                if let Some(packet) = into.get_mut(i) {
                    packet.resize(self.frame_bytes);
                    if let Some(frame) = packet.data_mut().first_chunk_mut() {
                        *frame = self.headers;
                        address(frame, flow);
                    }
                }
            }
            self.spent.0 += self.clock.cycles().0 - before.0;
        }
        received
    }

    fn next_event(&self) -> Option<Nanos> {
        self.inner.next_event()
    }
}

fn headers(frame_bytes: u16) -> [u8; HEADERS] {
    let mut f = TEMPLATE;
    let ip_len = frame_bytes - 14;
    f[16..18].copy_from_slice(&ip_len.to_be_bytes());
    f[38..40].copy_from_slice(&(ip_len - 20).to_be_bytes());
    f
}

/// Worked out, not looked up: a table of all flows would push the pipeline's own data out of the
/// cache.
#[inline]
fn address(f: &mut [u8; HEADERS], flow: u32) {
    f[28..30].copy_from_slice(&((flow / 50_000) as u16).to_be_bytes());
    f[34..36].copy_from_slice(&(10_000 + (flow % 50_000) as u16).to_be_bytes());
    f[36..38].copy_from_slice(&(7_000 + (flow % 64) as u16).to_be_bytes());
}
