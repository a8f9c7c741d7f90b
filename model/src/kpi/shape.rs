//! The shape of a class in its windows: how many packets and bytes leave, and were due, in each.

use super::absent;
use super::histogram::{Histogram, Quantile};
use super::minimum;
use super::windows::BurstTotals;

/// The top 1 %.
const TOP_ONE_IN: u64 = 100;

/// What is folded of the windows of one class on one egress port. Unless made by [`Shape::with_memory`],
/// the histograms are made when the first window is folded.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Counts of packets.
    pub bursts: BurstTotals,
    /// Most wire bytes that left in one window.
    pub wire_bytes_max: u64,
    /// Most wire bytes that were due in one window.
    pub due_bytes_max: u64,
    /// Wire bytes that left.
    pub wire_bytes: u64,
    /// Packets of each window in which one left.
    packets: Option<Histogram>,
    /// Wire bytes of each window in which a packet left.
    bytes: Option<Histogram>,
}

impl Shape {
    /// Nothing yet, with all of its memory present, for a core that must not allocate.
    pub fn with_memory() -> Self {
        let (packets, bytes) = (Some(Histogram::new()), Some(Histogram::new()));
        Self { packets, bytes, ..Self::default() }
    }

    /// One window: packets and wire bytes that left in it, and that were due in it.
    pub fn fold(&mut self, (wire, wire_bytes): (u64, u64), (due, due_bytes): (u64, u64)) {
        let bursts = &mut self.bursts;
        bursts.wire_max = bursts.wire_max.max(wire);
        bursts.wire_packets += wire;
        bursts.due_max = bursts.due_max.max(due);
        bursts.due_packets += due;
        self.wire_bytes_max = self.wire_bytes_max.max(wire_bytes);
        self.due_bytes_max = self.due_bytes_max.max(due_bytes);
        self.wire_bytes += wire_bytes;
        if wire > 0 {
            bursts.active_windows += 1;
            self.packets.get_or_insert_default().record(wire);
            self.bytes.get_or_insert_default().record(wire_bytes);
        }
    }

    /// Adds what `other` holds; its windows are others than these.
    pub fn merge(&mut self, other: &Self) {
        self.bursts.merge(&other.bursts);
        self.wire_bytes_max = self.wire_bytes_max.max(other.wire_bytes_max);
        self.due_bytes_max = self.due_bytes_max.max(other.due_bytes_max);
        self.wire_bytes += other.wire_bytes;
        let pairs = [(&mut self.packets, &other.packets), (&mut self.bytes, &other.bytes)];
        for (mine, theirs) in pairs {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().merge(theirs);
            }
        }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bursts = BurstTotals::default();
        (self.wire_bytes_max, self.due_bytes_max, self.wire_bytes) = (0, 0, 0);
        for histogram in [&mut self.packets, &mut self.bytes].into_iter().flatten() {
            histogram.clear();
        }
    }

    /// `flush_compression_index`: p95 over packets of the count in their window over the median of the
    /// counts of all eligible windows, at least 1.
    ///
    /// # Errors
    /// The reason of an absent value.
    pub fn flush_compression(&self) -> Result<f64, &'static str> {
        let (n, windows) = (self.bursts.wire_packets, self.bursts.eligible_windows);
        let Some(packets) = &self.packets else { return Err(none_or_few(n)) };
        let few = n < minimum::OF_P95 || windows < Quantile::P50.n_min();
        if few {
            return Err(none_or_few(n));
        }
        let of_packets: u64 = packets.cells().map(|(value, count)| value * count).sum();
        let rank = Quantile::P95.rank(of_packets);
        let mut below = 0;
        let p95 = packets.cells().find_map(|(value, count)| {
            below += value * count;
            (below >= rank).then_some(value)
        });
        // Eligible windows in which nothing left count as 0: quantiles over the others hide a freeze.
        let empty = windows.saturating_sub(self.bursts.active_windows);
        let rank = Quantile::P50.rank(windows);
        let p50 = if rank <= empty { Some(0) } else { packets.value_at(rank - empty) };
        match (p95, p50) {
            (Some(p95), Some(p50)) => Ok(p95 as f64 / p50.max(1) as f64),
            _ => Err(absent::BEYOND_RANGE),
        }
    }

    /// `burst_drain_ratio`: wire bytes in the top 1 % of eligible windows, at least one, over all. Read
    /// from cells that are 0.8 % wide.
    ///
    /// # Errors
    /// The reason of an absent value.
    pub fn burst_drain(&self) -> Result<f64, &'static str> {
        let windows = self.bursts.eligible_windows;
        let Some(bytes) = &self.bytes else { return Err(none_or_few(windows)) };
        if windows < minimum::DRAIN_WINDOWS || self.wire_bytes == 0 {
            return Err(none_or_few(windows));
        }
        let mut left = (windows / TOP_ONE_IN).max(1);
        let cells: Vec<_> = bytes.cells().collect();
        let mut top = 0;
        for (value, count) in cells.into_iter().rev() {
            let taken = count.min(left);
            top += value * taken;
            left -= taken;
        }
        // The middle of a cell may be more than what was in it.
        Ok((top as f64 / self.wire_bytes as f64).min(1.0))
    }

    /// `segmentation_burst_factor`: most wire bytes that left in a window over the most that were due in
    /// one.
    ///
    /// # Errors
    /// The reason of an absent value.
    pub fn segmentation_burst(&self) -> Result<f64, &'static str> {
        if self.bursts.wire_packets < minimum::ROW {
            return Err(none_or_few(self.bursts.wire_packets));
        }
        if self.bursts.due_is_late() || self.due_bytes_max == 0 {
            return Err(absent::LATE_DUE);
        }
        Ok(self.wire_bytes_max as f64 / self.due_bytes_max as f64)
    }
}

const fn none_or_few(n: u64) -> &'static str {
    if n == 0 { absent::NO_PACKETS } else { absent::N_TOO_SMALL }
}
