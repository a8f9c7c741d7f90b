//! A log-linear histogram of nanoseconds, bytes or parts per million.
//!
//! 128 cells per octave, so a cell is at most 1/128 of its values wide and a quantile, read at the
//! middle of its cell, is off by at most 0.4 %. Values below 256 have a cell each. All memory is
//! taken and touched once, in [`Histogram::new`]; recording is branch-free apart from a bounds
//! check that never fails. Clearing and merging touch only the cells between the least and the
//! greatest value, so an idle histogram costs nothing per tick.

/// log2 of the cells per octave.
pub(super) const SUB_BITS: u32 = 7;
/// First value that has no cell of its own: 2^42 ns is 73 minutes.
pub const OVERFLOW: u64 = 1 << 42;
/// The cell of everything from [`OVERFLOW`] on: the last one.
const OVERFLOW_CELL: usize = index(OVERFLOW);
/// All cells.
const CELLS: usize = OVERFLOW_CELL + 1;
/// u64 cells per page: one write to each makes the page present.
const CELLS_PER_PAGE: usize = 4096 / size_of::<u64>();

/// A quantile as an exact fraction, so that its rank is exact too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile {
    /// The quantile in parts per thousand, 1 to 999.
    permille: u16,
    /// Its name in JSON and in labels.
    name: &'static str,
}

impl Quantile {
    /// The lower median.
    pub const P50: Self = Self { permille: 500, name: "p50" };
    /// 95 %.
    pub const P95: Self = Self { permille: 950, name: "p95" };
    /// 99 %.
    pub const P99: Self = Self { permille: 990, name: "p99" };
    /// 99.9 %.
    pub const P999: Self = Self { permille: 999, name: "p999" };

    /// Its name in JSON and in labels.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Position of the quantile among `total` sorted values, from 1: `ceil(q x total)`.
    pub const fn rank(self, total: u64) -> u64 {
        // u128: total may be a sum of weights.
        (self.permille as u128 * total as u128).div_ceil(1000) as u64
    }

    /// Fewest values that may carry it: `10 / (1 - q)`.
    pub const fn n_min(self) -> u64 {
        10_000_u64.div_ceil(1000 - self.permille as u64)
    }
}

/// The histogram. Two of them can be merged; the result is what recording all would have given.
#[derive(Debug, PartialEq, Eq)]
pub struct Histogram {
    count: u64,
    sum: u128,
    /// Least value; `u64::MAX` when empty.
    min: u64,
    /// Greatest value less the least; 0 when empty. So one comparison tells that a value widens
    /// the range.
    span: u64,
    cells: Box<[u64; CELLS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Which values something holds, of values below 2^32: the least, the greatest and their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// `u32::MAX` when there are none.
    min: u32,
    /// Greatest value less the least; 0 when there are none. So one comparison tells that a value
    /// widens the range.
    span: u32,
    sum: u64,
}

impl Extent {
    pub const EMPTY: Self = Self { min: u32::MAX, span: 0, sum: 0 };

    /// One more value.
    #[inline(always)]
    pub fn include(&mut self, value: u32) {
        if value.wrapping_sub(self.min) > self.span {
            self.widen(value, value);
        }
        self.sum = self.sum.wrapping_add(u64::from(value));
    }

    #[cold]
    fn widen(&mut self, least: u32, greatest: u32) {
        let max = if self.is_empty() { greatest } else { greatest.max(self.min + self.span) };
        self.min = self.min.min(least);
        self.span = max - self.min;
    }

    /// The values of `other` too.
    pub fn merge(&mut self, other: &Self) {
        if !other.is_empty() {
            self.widen(other.min, other.min + other.span);
            self.sum = self.sum.wrapping_add(other.sum);
        }
    }

    const fn is_empty(&self) -> bool {
        self.min == u32::MAX
    }

    /// The cells that the values lie in.
    pub const fn cells(&self) -> std::ops::Range<usize> {
        if self.is_empty() {
            return 0..0;
        }
        index(self.min as u64)..index((self.min + self.span) as u64) + 1
    }
}

impl Clone for Histogram {
    /// Holds the same, in memory that becomes present as far as it is used: a copy that control keeps
    /// of a second that is over costs little.
    fn clone(&self) -> Self {
        let mut cells = zeroed();
        if let Some(touched) = self.touched() {
            cells[touched.clone()].copy_from_slice(&self.cells[touched]);
        }
        Self { count: self.count, sum: self.sum, min: self.min, span: self.span, cells }
    }
}

/// Cells of zeroed memory, as it comes.
fn zeroed() -> Box<[u64; CELLS]> {
    let cells: Box<[u64]> = vec![0; CELLS].into();
    let Ok(cells) = cells.try_into() else { unreachable!("{CELLS} cells were made") };
    cells
}

/// The cell of `value`.
#[inline(always)]
pub(super) const fn index(value: u64) -> usize {
    let value = if value > OVERFLOW { OVERFLOW } else { value };
    let octave = 63 - (value | 1 << SUB_BITS).leading_zeros();
    let shift = octave - SUB_BITS;
    ((shift as usize) << SUB_BITS) + (value >> shift) as usize
}

/// The middle of a cell; exact where the cell holds one value.
const fn middle(cell: usize) -> u64 {
    let shift = (cell >> SUB_BITS).saturating_sub(1);
    let least = ((cell - (shift << SUB_BITS)) as u64) << shift;
    least + ((1_u64 << shift) - 1) / 2
}

impl Histogram {
    /// An empty histogram with all of its memory present.
    pub fn new() -> Self {
        let mut cells = zeroed();
        // Zeroed memory comes from the kernel page by page at the first write: that first write
        // must not happen on a data core.
        for cell in std::hint::black_box(&mut cells).iter_mut().step_by(CELLS_PER_PAGE) {
            *cell = 0;
        }
        Self { count: 0, sum: 0, min: u64::MAX, span: 0, cells }
    }

    /// Counts `value` once.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `value` `n` times.
    #[inline]
    pub fn record_n(&mut self, value: u64, n: u64) {
        if value.wrapping_sub(self.min) > self.span {
            self.widen(value, value);
        }
        self.cells[index(value)] += n;
        self.count += n;
        self.sum += u128::from(value) * u128::from(n);
    }

    /// A few times per histogram and tick: a new least or greatest value.
    #[cold]
    fn widen(&mut self, least: u64, greatest: u64) {
        let max = self.max().map_or(greatest, |max| max.max(greatest));
        self.min = self.min.min(least);
        self.span = max - self.min;
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Some(touched) = other.touched() else { return };
        for (mine, theirs) in self.cells[touched.clone()].iter_mut().zip(&other.cells[touched]) {
            *mine += theirs;
        }
        self.widen(other.min, other.min + other.span);
        self.count += other.count;
        self.sum += other.sum;
    }

    /// Adds values that others have counted, by cell.
    pub(super) fn add(&mut self, extent: &Extent, counts: impl Iterator<Item = (usize, u64)>) {
        if extent.is_empty() {
            return;
        }
        self.widen(extent.min.into(), (extent.min + extent.span).into());
        for (cell, count) in counts {
            self.cells[cell] += count;
            self.count += count;
        }
        self.sum += u128::from(extent.sum);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        let Some(touched) = self.touched() else { return };
        self.cells[touched].fill(0);
        (self.count, self.sum, self.min, self.span) = (0, 0, u64::MAX, 0);
    }

    /// The cells that hold something lie in here.
    fn touched(&self) -> Option<std::ops::RangeInclusive<usize>> {
        (self.count > 0).then(|| index(self.min)..=index(self.min + self.span))
    }

    /// How many values it holds (their weights, where [`Self::record_n`] was used).
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Exact sum.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// Exact least value, `None` when empty.
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// Exact greatest value, `None` when empty.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then(|| self.min + self.span)
    }

    /// Exact mean, `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Values at or above [`OVERFLOW`].
    pub fn overflow(&self) -> u64 {
        self.cells[OVERFLOW_CELL]
    }

    /// The quantile, off by at most 0.4 %. `None` when there are fewer than
    /// `max(10 / (1 - q), n_min)` values, or when it lies at or above [`OVERFLOW`].
    pub fn quantile(&self, q: Quantile, n_min: u64) -> Option<u64> {
        self.quantile_of(q, self.count, n_min)
    }

    /// The same for weighted values: the rank is taken over the weights, but `n`, the number of
    /// observations behind them, must be large enough.
    pub fn quantile_of(&self, q: Quantile, n: u64, n_min: u64) -> Option<u64> {
        if self.count == 0 || n < q.n_min().max(n_min) {
            return None;
        }
        self.value_at(q.rank(self.count))
    }

    /// The value at position `rank` of the sorted values, from 1; off by at most 0.4 %. `None` when there
    /// are fewer, or when it lies at or above [`OVERFLOW`].
    pub fn value_at(&self, rank: u64) -> Option<u64> {
        let mut below = 0;
        self.cells().find_map(|(value, count)| {
            below += count;
            (below >= rank).then_some(value)
        })
    }

    /// Value and count of each cell below [`OVERFLOW`] that holds something, in order. The value is the
    /// middle of the cell, but within what was recorded.
    pub fn cells(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let touched = self
            .touched()
            .map_or(0..0, |touched| *touched.start()..(*touched.end() + 1).min(OVERFLOW_CELL));
        touched
            .filter(|&cell| self.cells[cell] > 0)
            .map(|cell| (middle(cell).clamp(self.min, self.min + self.span), self.cells[cell]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_contiguous_and_at_most_one_128th_wide() {
        assert_eq!(index(0), 0);
        assert_eq!(index(255), 255);
        // From 256 on two values share a cell.
        assert_eq!((index(256), index(257), index(258)), (256, 256, 257));
        assert_eq!(index(OVERFLOW - 1) + 1, index(OVERFLOW));
        assert_eq!(index(u64::MAX), OVERFLOW_CELL);
        for exponent in 0..42 {
            let value = 1_u64 << exponent;
            let error = middle(index(value)).abs_diff(value);
            assert!(error * 256 <= value, "{value} is read as {}", middle(index(value)));
        }
    }

    #[test]
    fn a_copy_holds_the_same_and_nothing_of_what_comes_later() {
        let mut h = Histogram::new();
        h.record_n(1_000, 3);
        h.record(70);
        let copy = h.clone();
        assert_eq!(copy, h);
        h.clear();
        assert_eq!((copy.count(), copy.min(), copy.max()), (4, Some(70), Some(1_000)));
        assert_eq!(Histogram::new().clone(), Histogram::new());
    }

    #[test]
    fn ranks_are_exact() {
        assert_eq!(Quantile::P50.rank(4), 2, "lower median");
        assert_eq!(Quantile::P50.rank(5), 3);
        assert_eq!(Quantile::P99.rank(1000), 990);
        assert_eq!(Quantile::P999.rank(10_001), 9_991, "ceil(9990.999)");
        assert_eq!(Quantile::P95.rank(u64::MAX), 17_524_406_870_024_074_035);
        let fewest = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P999];
        assert_eq!(fewest.map(Quantile::n_min), [20, 200, 1_000, 10_000]);
    }

    #[test]
    fn an_overflow_is_counted_and_never_read_as_a_value() {
        let mut h = Histogram::new();
        h.record_n(7, 10);
        h.record_n(u64::MAX, 30);
        assert_eq!((h.overflow(), h.max(), h.min()), (30, Some(u64::MAX), Some(7)));
        assert_eq!(h.quantile(Quantile::P50, 0), None);
        h.clear();
        assert_eq!((h.overflow(), h.max(), h.count(), h.sum()), (0, None, 0, 0));
    }
}
