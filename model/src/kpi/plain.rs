//! Packets that left in the turn in which they came, held by nothing: most of them.
//!
//! What is measured of such a packet is a few short times, and it is counted with as few cache lines as
//! that allows: [`PlainRows`] has a row of cells for each length of time, so that the packets of a burst,
//! which leave at nearly the same time, count side by side, whatever class they are of. What tells of all
//! packets at once (counts, sums, extents) stands in [`Plains`] until the block is handed over.

use super::block::Cell;
use super::histogram::{Extent, Histogram, SUB_BITS, index};
use super::leaving::{Leaving, Sums};

/// `t_wire - arrival`: the same value of `dispatch_to_wire`, `rest` and `release_late`, with a `hold`
/// of 0.
const DELAY: usize = 0;
/// `t_tx - t_eligible`.
const PACER_ERROR: usize = 1;
/// `abs(gap at the wire - gap of due times)` in a flow.
const GAP_ERROR: usize = 2;
/// What is measured.
const TIMES: usize = 3;
/// Times from here on, 4.3 s, are counted elsewhere.
pub(super) const BEYOND: u64 = u32::MAX as u64;
/// Rows of every time: one for each of its cells, and one for a time that is not known.
const ROWS: usize = index(BEYOND - 1) + 2;
const UNKNOWN: u32 = ROWS as u32 - 1;
/// One write to each page makes it present.
const PAGE_BYTES: usize = 4096;
/// What a count of one byte overflows at.
const CARRY: u64 = 1 << u8::BITS;
/// So many packets leave room in every cell for a turn of any length.
pub(super) const SETTLE_AT: u64 = 1 << 31;

/// What is counted: for each time, for each row of it, the classes on ports of a block.
///
/// Times scatter over rows, so what is counted in is kept small: a byte for each count, which the first
/// cache stands for longer, and beside it how often that has overflowed.
#[derive(Debug)]
pub struct PlainRows {
    counts: Box<[u8]>,
    carries: Box<[u32]>,
    /// Classes on ports.
    cells: u32,
}

/// A time, and the place of the first count of its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    time: u32,
    place: u32,
}

/// What the core keeps of a class on a port, and every packet looks at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Plains {
    extents: [Extent; TIMES],
    /// Later than `max_hold`.
    pub late: u64,
    /// Urgency and sources of the latest packets; [`Plains::NO_TRAITS`] = none since the block was handed
    /// over.
    traits: u32,
    /// So is the urgency of the latest packets.
    is_urgent: bool,
}

/// The sums of packets that left as they came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlainTotals {
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
    /// Bit `n`: one had the sources byte `n`.
    pub sources: u64,
    /// Urgent ones among the first `traits_from`.
    pub urgent: u64,
    /// The packets from this one on have [`Plains::traits`].
    traits_from: u64,
}

/// The extents of a cell's times, in the block.
pub(super) type Extents = [Extent; TIMES];

/// The row of `time`: its [`index`], read off a floating-point number, which has the same shape.
#[inline(always)]
const fn row(time: u32) -> u32 {
    /// Bits of the fraction below the cells of an octave.
    const BELOW: u32 = f64::MANTISSA_DIGITS - 1 - SUB_BITS;
    /// What the exponent has more than the octave.
    const BIAS: u64 = (f64::MAX_EXP as u64 - 1 + SUB_BITS as u64 - 1) << SUB_BITS;
    let of_octave = ((time as f64).to_bits() >> BELOW).wrapping_sub(BIAS) as u32;
    if time < 1 << SUB_BITS { time } else { of_octave }
}

impl Clone for PlainRows {
    /// Blocks that control keeps have nothing counted, as [`super::Block::merge`] puts it into histograms:
    /// their memory does not become present.
    fn clone(&self) -> Self {
        Self {
            counts: where_counted(&self.counts),
            carries: where_counted(&self.carries),
            cells: self.cells,
        }
    }
}

/// The same, in memory that becomes present only where something is counted.
fn where_counted<C: Copy + Default + PartialEq>(counts: &[C]) -> Box<[C]> {
    let mut copy: Box<[C]> = vec![C::default(); counts.len()].into();
    let counted = copy.iter_mut().zip(counts).filter(|(_, count)| **count != C::default());
    counted.for_each(|(mine, count)| *mine = *count);
    copy
}

/// So many counts of nothing, in memory that is present: as in `Histogram::new`.
fn present<C: Copy + Default>(counts: usize) -> Box<[C]> {
    let mut counts: Box<[C]> = vec![C::default(); counts].into();
    for count in std::hint::black_box(&mut counts).iter_mut().step_by(PAGE_BYTES / size_of::<C>()) {
        *count = C::default();
    }
    counts
}

impl PlainRows {
    /// For so many cells: nothing, with all of its memory present.
    pub(super) fn new(cells: usize) -> Self {
        let counts = cells * ROWS * TIMES;
        Self { counts: present(counts), carries: present(counts), cells: cells as u32 }
    }

    /// Place of the first count of `row`, of the time with number `time`.
    #[inline(always)]
    const fn place(&self, row: u32, time: usize) -> u32 {
        (time as u32 * ROWS as u32 + row) * self.cells
    }

    #[inline(always)]
    const fn counted(&self, time: u32, number: usize) -> Counted {
        Counted { time, place: self.place(row(time), number) }
    }

    /// `t_tx - t_eligible` in ns, below [`BEYOND`] where it is to be counted.
    #[inline(always)]
    pub(super) const fn pacer_error(&self, time: u32) -> Counted {
        self.counted(time, PACER_ERROR)
    }

    /// Counts the times of a packet of `cell`, each below [`BEYOND`].
    #[inline(always)]
    pub(super) fn measure(
        &mut self,
        plains: &mut Plains,
        cell: usize,
        delay: u32,
        pacer_error: &Counted,
        gap_error: u64,
    ) {
        let delay = self.counted(delay, DELAY);
        let [of_delay, of_pacer, of_gap] = &mut plains.extents;
        of_delay.include(delay.time);
        of_pacer.include(pacer_error.time);
        let gap_row = if gap_error < BEYOND {
            of_gap.include(gap_error as u32);
            row(gap_error as u32)
        } else {
            std::hint::cold_path();
            UNKNOWN
        };
        let gap_place = self.place(gap_row, GAP_ERROR);
        for place in [delay.place, pacer_error.place, gap_place] {
            let count = &mut self.counts[place as usize + cell];
            *count = count.wrapping_add(1);
            if *count == 0 {
                std::hint::cold_path();
                self.carries[place as usize + cell] += 1;
            }
        }
    }

    /// Count and row of each time with number `time` that lies within `extent`, of a cell.
    pub(super) fn of(
        &self,
        cell: usize,
        time: usize,
        extent: &Extent,
    ) -> impl Iterator<Item = (usize, u64)> {
        extent.cells().map(move |row| {
            let place = self.place(row as u32, time) as usize + cell;
            (row, u64::from(self.counts[place]) + CARRY * u64::from(self.carries[place]))
        })
    }

    /// Forgets what `extents` say of a cell.
    pub(super) fn clear(&mut self, cell: usize, extents: &mut Extents) {
        for (time, extent) in extents.iter_mut().enumerate() {
            let rows = extent.cells().chain([UNKNOWN as usize]);
            for row in rows {
                let place = self.place(row as u32, time) as usize + cell;
                (self.counts[place], self.carries[place]) = (0, 0);
            }
            *extent = Extent::EMPTY;
        }
    }
}

impl Plains {
    const NO_TRAITS: u32 = u32::MAX;

    /// Notes urgency and sources of `packet`, which comes after all that `totals` and `fresh` have counted.
    #[inline(always)]
    pub fn note_traits(
        &mut self,
        packet: &Leaving,
        fresh: &Sums,
        totals: &mut PlainTotals,
        urgent: u8,
    ) {
        if self.traits != u32::from(packet.traits()) {
            self.change_traits(packet, fresh[0], totals, urgent);
        }
    }

    #[cold]
    fn change_traits(
        &mut self,
        packet: &Leaving,
        fresh_packets: u32,
        totals: &mut PlainTotals,
        urgent: u8,
    ) {
        totals.end_traits(self.is_urgent, fresh_packets);
        self.traits = packet.traits().into();
        self.is_urgent = packet.urgency() >= urgent;
        totals.sources |= 1 << (packet.sources() & 63);
    }

    /// Hands over what belongs to the block, and begins anew. Returns how many were late, and the sums,
    /// which have counted all packets.
    pub fn settle(
        &mut self,
        extents: &mut Extents,
        totals: &mut PlainTotals,
    ) -> (u64, PlainTotals) {
        for (theirs, mine) in extents.iter_mut().zip(&self.extents) {
            theirs.merge(mine);
        }
        totals.end_traits(self.is_urgent, 0);
        let late = std::mem::take(self).late;
        (late, std::mem::take(totals))
    }
}

impl PlainTotals {
    /// What was urgent, or was not, up to the packets that are counted and `fresh` ones, is counted as
    /// such.
    fn end_traits(&mut self, are_urgent: bool, fresh_packets: u32) {
        let until = self.packets + u64::from(fresh_packets);
        if are_urgent {
            self.urgent += until - self.traits_from;
        }
        self.traits_from = until;
    }
}

impl Default for Plains {
    fn default() -> Self {
        let extents = [Extent::EMPTY; TIMES];
        Self { extents, late: 0, traits: Self::NO_TRAITS, is_urgent: false }
    }
}

impl Cell {
    /// Adds what `rows` and `extents` of some block say of this class on this port, which has the number
    /// `cell` there, to the histograms that they stand for.
    pub(super) fn add_plain(&mut self, rows: &PlainRows, cell: usize, extents: &Extents) {
        let counts = |time: usize| rows.of(cell, time, &extents[time]);
        let packets = counts(DELAY).map(|(_, count)| count).sum();
        if packets > 0 {
            self.hold.record_n(0, packets);
        }
        let add = |histogram: &mut Histogram, time| histogram.add(&extents[time], counts(time));
        add(&mut self.dispatch_to_wire, DELAY);
        add(&mut self.rest, DELAY);
        add(&mut self.release_late, DELAY);
        add(&mut self.pacer_error, PACER_ERROR);
        add(&mut self.gap_error, GAP_ERROR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_time_is_its_cell() {
        let powers = (0..32).map(|bit| 1_u32 << bit);
        let near = powers.flat_map(|power| (power.saturating_sub(300)..).take(600));
        let spread = (0..u32::MAX - 50_000).step_by(49_999);
        for time in near.chain(spread).chain([u32::MAX - 1]) {
            assert_eq!(row(time) as usize, index(time.into()), "{time}");
        }
    }

    #[test]
    fn a_count_goes_on_beyond_its_byte() {
        let mut rows = PlainRows::new(2);
        let mut plains = Plains::default();
        let pacer_error = rows.pacer_error(7);
        for _ in 0..1_000 {
            rows.measure(&mut plains, 1, 300, &pacer_error, 5);
        }
        let copy = rows.clone();
        let extents = plains.extents;
        rows.clear(1, &mut plains.extents);
        for (time, value) in [(DELAY, 300), (PACER_ERROR, 7), (GAP_ERROR, 5)] {
            let found: Vec<_> = copy.of(1, time, &extents[time]).collect();
            assert_eq!(found, [(index(value), 1_000)], "{time}");
            assert!(rows.of(1, time, &extents[time]).all(|(_, count)| count == 0), "{time}");
            assert!(copy.of(0, time, &extents[time]).all(|(_, count)| count == 0), "{time}");
        }
    }
}
