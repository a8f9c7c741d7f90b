//! `[timeline]`: what is written of each packet, and how many rows a core has to have room for.
//!
//! A core hands its rows over by a ring that control empties. While control stands still, as long as
//! `control_stall`, every row of an order class has to find room. A core makes at most as many as its
//! budget lets, and no more than the smallest frames at line rate.

use std::fmt;

use super::error::Findings;
use super::raw::RawTimeline;
use super::units::{format_bit_rate, format_size};
use super::{ClockKind, Config, Gateway};
use crate::meta::{MIN_FRAME_BYTES, WIRE_OVERHEAD_BYTES};
use crate::sample::Sample;
use crate::time::Nanos;

/// Bits of the shortest frame on the wire.
const FRAME_BITS_MIN: u64 = 8 * (MIN_FRAME_BYTES + WIRE_OVERHEAD_BYTES) as u64;
/// The budget of full rows may be spent ahead by so much: what a burst of orders takes.
const BURST: Nanos = Nanos::from_millis(100);

/// `[timeline]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Timeline {
    /// Where `run` writes its files; a replay is told by its command line.
    pub directory: Option<String>,
    /// A set of files ends when its largest has so many bytes.
    pub rotate_bytes: u64,
    /// A set of files ends after so long.
    pub rotate_time: Nanos,
    /// Sets of files that stay.
    pub keep: u32,
    /// Rows of order-entry kinds that a core may make in a second without drawing lots, 0 = none.
    pub rows_per_s: u32,
    /// Longest stall of the control thread in which no such row is lost.
    pub control_stall: Nanos,
    /// Rows that may wait for the writer.
    pub queue_rows: u32,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            directory: None,
            rotate_bytes: 256 << 20,
            rotate_time: Nanos::from_secs(300),
            keep: 48,
            rows_per_s: 100_000,
            control_stall: Nanos::from_secs(1),
            queue_rows: 262_144,
        }
    }
}

impl Timeline {
    /// Rows beyond its rate that the budget of a core lets through at once; at least 1 where there is
    /// a budget.
    pub fn burst_rows(&self) -> u32 {
        let exact = u64::from(self.rows_per_s) * BURST.0 / 1_000_000_000;
        u32::try_from(exact).unwrap_or(u32::MAX).max(u32::from(self.rows_per_s > 0))
    }
}

pub(super) fn timeline(
    findings: &Findings,
    raw: Option<&RawTimeline>,
    gateway: &Gateway,
) -> Option<Timeline> {
    let raw = raw?;
    if gateway.clock == ClockKind::Tsc && !raw.directory.is_present() {
        let problem = "[timeline] has no `directory`";
        findings.error(raw.at, problem, "`directory` is required with clock = \"tsc\"");
    }
    let default = Timeline::default();
    Some(Timeline {
        directory: raw.directory.value.clone(),
        rotate_bytes: raw.rotate_size.or(default.rotate_bytes),
        rotate_time: raw.rotate_time.or(default.rotate_time),
        keep: raw.keep.or(default.keep),
        rows_per_s: raw.rows_per_s.or(default.rows_per_s),
        control_stall: raw.control_stall.or(default.control_stall),
        queue_rows: raw.queue_rows.or(default.queue_rows),
    })
}

/// The ring between a core and control, and why it is so long.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SampleRing {
    /// Rows that it holds.
    pub rows: usize,
    /// Bytes that they take.
    pub bytes: u64,
    /// `sample_ring`: what the drawn rows of all other packets have.
    pub drawn_rows: usize,
    /// Bits per second that order classes can bring to a core; `None` = not limited.
    pub line_bps: Option<u64>,
    /// Rows of order classes in a second: the budget, or the line rate in smallest frames.
    pub full_rows_per_s: u64,
    /// Rows that the budget lets through at once.
    pub burst_rows: u32,
    /// `control_stall`; 0 without a timeline.
    pub control_stall_ns: Nanos,
}

impl SampleRing {
    /// The ring of every core of `config` with the timeline `timeline`.
    pub fn of(config: &Config, timeline: Option<&Timeline>) -> Self {
        let drawn_rows = config.control.sample_ring;
        let line_bps = line_bps(config);
        let (mut full_rows_per_s, mut burst_rows, mut stall) = (0, 0, Nanos::ZERO);
        if let Some(timeline) = timeline {
            let line = line_bps.map_or(u64::MAX, |bps| bps.div_ceil(FRAME_BITS_MIN));
            full_rows_per_s = u64::from(timeline.rows_per_s).min(line);
            (burst_rows, stall) = (timeline.burst_rows(), timeline.control_stall);
        }
        let in_stall = super::bursts::given(full_rows_per_s, stall, 1);
        let in_stall = usize::try_from(in_stall).unwrap_or(usize::MAX);
        let rows = drawn_rows.saturating_add(in_stall).saturating_add(burst_rows as usize);
        Self {
            rows,
            bytes: (rows as u64).saturating_mul(size_of::<Sample>() as u64),
            drawn_rows,
            line_bps,
            full_rows_per_s,
            burst_rows,
            control_stall_ns: stall,
        }
    }
}

/// The most that the order classes of one core can bring: what their egress ports carry, or what the
/// links before them do, whichever is stated; the largest of all pairs.
fn line_bps(config: &Config) -> Option<u64> {
    let of_port = |port: usize| {
        let cap = config.profiles[0].egress[port].port.bits.map(|bucket| bucket.rate_per_s);
        let link = config.ports[port].link.map(|link| link.rate_bps);
        [cap, link].into_iter().flatten().min()
    };
    let carries_orders = |port: usize| {
        let side = config.ports[port].side.peer();
        config.classes.iter().any(|class| class.from == side && class.kind.is_order_entry())
    };
    let of_pair = |pair: &super::Pair| {
        [pair.inside, pair.venue]
            .into_iter()
            .filter(|&port| carries_orders(port))
            .try_fold(0_u64, |sum, port| Some(sum.saturating_add(of_port(port)?)))
    };
    config.pairs.iter().map(of_pair).try_fold(0, |most: u64, bps| Some(most.max(bps?)))
}

impl fmt::Display for SampleRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line_bps.map_or("not limited".to_owned(), |bps| {
            format!("{}, {} smallest frames/s", format_bit_rate(bps), bps.div_ceil(FRAME_BITS_MIN))
        });
        write!(
            f,
            "{} rows for each core, {}: {} drawn + {} rows/s of order classes (line rate {line}) x \
             control_stall {} + {} at once",
            self.rows,
            format_size(self.bytes),
            self.drawn_rows,
            self.full_rows_per_s,
            self.control_stall_ns,
            self.burst_rows
        )
    }
}
