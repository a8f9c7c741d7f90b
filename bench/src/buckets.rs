//! What the buckets cost: ask and take at flow, class and port for each packet, as the product does
//! it, beside the same rule with a division for each length that differs from the one before.

use std::hint::black_box;
use std::time::Duration;

use model::pacer::gcra::{Level, LevelParams};
use model::profile::{Bucket, Caps};
use model::time::Nanos;
use rustix::time::{ClockId, clock_gettime};

use crate::draw::Draw;

/// Flows whose levels are charged in turn.
const FLOWS: usize = 1024;

/// The packets of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Packets {
    /// All of 84 wire bytes.
    Alike,
    /// 84 to 1,538 wire bytes, drawn.
    Mixed,
}

/// A bucket that remembers the cost of the last length and divides for another one.
struct Memo {
    rate: u64,
    burst_ns: i64,
    units: u32,
    cost: (i64, u64),
}

impl Memo {
    fn new(bucket: Bucket) -> Self {
        let burst_ns =
            (u128::from(bucket.burst) * 8_000_000_000 / u128::from(bucket.rate_per_s)) as i64;
        Self { rate: bucket.rate_per_s, burst_ns, units: 0, cost: (0, 0) }
    }

    #[inline]
    fn after(&mut self, from: (i64, u64), units: u32) -> (i64, u64) {
        if units != self.units {
            let total = u64::from(units) * 8_000_000_000;
            self.units = units;
            self.cost = ((total / self.rate) as i64, total % self.rate);
        }
        let rem = from.1 + self.cost.1;
        let carry = rem >= self.rate;
        (from.0 + self.cost.0 + i64::from(carry), if carry { rem - self.rate } else { rem })
    }

    #[inline]
    fn step(&mut self, state: &mut (i64, u64), now: i64, units: u32) -> i64 {
        let asked = self.after(*state, units);
        let full = self.after((now - self.burst_ns, 0), units);
        *state = asked.max(full);
        asked.0 + i64::from(asked.1 != 0)
    }
}

fn caps(rates: [u64; 3]) -> [Bucket; 3] {
    rates.map(|rate_per_s| Bucket::new(rate_per_s, 3_000))
}

fn lengths(packets: Packets) -> Vec<u32> {
    let mut draw = Draw::new(7);
    let mixed = |draw: &mut Draw| 84 + draw.below(1_455) as u32;
    (0..4096).map(|_| if packets == Packets::Alike { 84 } else { mixed(&mut draw) }).collect()
}

fn timed(packets: u64, mut step: impl FnMut(u64)) -> f64 {
    let read = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = read();
    for n in 0..packets {
        step(n);
    }
    (read() - start).as_nanos() as f64 / packets as f64
}

/// ns for each packet, three levels asked and taken, by the product. `rates` of flow, class, port.
pub fn product(rates: [u64; 3], packets: Packets, count: u64) -> f64 {
    let [flow, class, port] = caps(rates)
        .map(|bits| black_box(LevelParams::from(Caps { bits: Some(bits), messages: None })));
    let mut flows = vec![Level::default(); FLOWS];
    let (mut class_level, mut port_level) = (Level::default(), Level::default());
    let lengths = lengths(packets);
    timed(count, |n| {
        let (f, now) = (&mut flows[n as usize % FLOWS], Nanos(1_000_000 + 50 * n));
        let len = lengths[n as usize % 4096];
        let of_flow = f.ask(&flow, len, 1);
        let of_class = class_level.ask(&class, len, 1);
        let of_port = port_level.ask(&port, len, 1);
        black_box(of_flow.at.max(of_class.at).max(of_port.at));
        f.take(&flow, &of_flow, now);
        class_level.take(&class, &of_class, now);
        port_level.take(&port, &of_port, now);
    })
}

/// The same by the rule with a memo and a division.
pub fn with_memo(rates: [u64; 3], packets: Packets, count: u64) -> f64 {
    let [mut flow, mut class, mut port] = caps(rates).map(Memo::new);
    let mut flows = vec![(i64::MIN / 4, 0u64); FLOWS];
    let (mut class_state, mut port_state) = ((i64::MIN / 4, 0), (i64::MIN / 4, 0));
    let lengths = lengths(packets);
    timed(count, |n| {
        let (f, now) = (&mut flows[n as usize % FLOWS], (1_000_000 + 50 * n) as i64);
        let len = lengths[n as usize % 4096];
        let at = flow.step(f, now, len);
        let at = at.max(class.step(&mut class_state, now, len));
        black_box(at.max(port.step(&mut port_state, now, len)));
    })
}
