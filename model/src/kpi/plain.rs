//! Packets that left in the turn in which they came, held by nothing: most of them.
//!
//! What is measured of such a packet is a few short times, and it is counted with as few cache lines as
//! that allows. The cells of its three histograms lie side by side in [`PlainRows`]; what tells of all
//! packets at once (counts, sums, extents) stands in [`Plains`] until the block is handed over.

use super::block::Cell;
use super::histogram::{Extent, Histogram, index};

/// `t_wire - arrival`: the same value of `dispatch_to_wire`, `rest` and `release_late`, with a `hold`
/// of 0.
const DELAY: usize = 0;
/// `t_tx - t_eligible`.
const PACER_ERROR: usize = 1;
/// `abs(gap at the wire - gap of due times)` in a flow.
const GAP_ERROR: usize = 2;
/// What is measured.
const TIMES: usize = 3;
/// One more: a row is a quarter of a cache line.
const COLUMNS: usize = 4;
/// Times from here on, 4.3 s, are counted elsewhere.
pub(super) const BEYOND: u64 = u32::MAX as u64;
/// Rows of a class on a port: a cell for each time, and one for a time that is not known.
const ROWS: usize = index(BEYOND - 1) + 2;
const UNKNOWN: u32 = ROWS as u32 - 1;
/// u32 rows per page: one write to each makes the page present.
const ROWS_PER_PAGE: usize = 4096 / (COLUMNS * size_of::<u32>());
/// So many packets leave room in every cell for a turn of any length.
pub(super) const SETTLE_AT: u64 = 1 << 31;

/// The cells that are counted, of every class on every port of a block.
#[derive(Debug)]
pub struct PlainRows(Box<[[u32; COLUMNS]]>);

/// Where the times of one packet are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places([u32; TIMES]);

/// A time, and the row of a cell in which it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    time: u32,
    row: u32,
}

impl Counted {
    /// `time` in ns, below [`BEYOND`] where it is to be counted.
    #[inline(always)]
    pub(super) const fn new(time: u32) -> Self {
        Self { time, row: index(time as u64) as u32 }
    }
}

/// What the core keeps of a class on a port.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Plains {
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
    /// Bit `n`: one had the sources byte `n`.
    pub sources: u64,
    extents: [Extent; TIMES],
    pub urgent: u64,
    /// Later than `max_hold`.
    pub late: u64,
}

/// The extents of a cell's times, in the block.
pub(super) type Extents = [Extent; TIMES];

impl Clone for PlainRows {
    /// The same cells, in memory that becomes present only where something is counted: blocks that
    /// control keeps have none, as [`super::Block::merge`] puts them into histograms.
    fn clone(&self) -> Self {
        let mut rows: Box<[[u32; COLUMNS]]> = vec![[0; COLUMNS]; self.0.len()].into();
        let counted = rows.iter_mut().zip(&self.0).filter(|(_, row)| **row != [0; COLUMNS]);
        counted.for_each(|(mine, row)| *mine = *row);
        Self(rows)
    }
}

impl PlainRows {
    /// For so many cells: nothing, with all of its memory present.
    pub(super) fn new(cells: usize) -> Self {
        let mut rows: Box<[[u32; COLUMNS]]> = vec![[0; COLUMNS]; cells * ROWS].into();
        // As in `Histogram::new`.
        for row in std::hint::black_box(&mut rows).iter_mut().step_by(ROWS_PER_PAGE) {
            *row = [0; COLUMNS];
        }
        Self(rows)
    }

    /// Counts a packet whose times belong to `places`.
    #[inline(always)]
    pub(super) fn count(&mut self, Places([delay, pacer_error, gap_error]): Places) {
        self.0[delay as usize][DELAY] += 1;
        self.0[pacer_error as usize][PACER_ERROR] += 1;
        self.0[gap_error as usize][GAP_ERROR] += 1;
    }

    /// The rows of a cell.
    pub(super) fn of(&self, cell: usize) -> &[[u32; COLUMNS]] {
        &self.0[cell * ROWS..][..ROWS]
    }

    /// Forgets what `extents` say of a cell.
    pub(super) fn clear(&mut self, cell: usize, extents: &mut Extents) {
        let rows = &mut self.0[cell * ROWS..][..ROWS];
        for (time, extent) in extents.iter_mut().enumerate() {
            rows[extent.cells()].iter_mut().for_each(|row| row[time] = 0);
            *extent = Extent::EMPTY;
        }
        rows[UNKNOWN as usize] = [0; COLUMNS];
    }
}

impl Plains {
    /// Notes the times of one packet of `cell`, each below [`BEYOND`]. Where they are counted is for
    /// [`PlainRows::count`].
    #[inline(always)]
    pub fn measure(
        &mut self,
        cell: usize,
        delay: Counted,
        pacer_error: &Counted,
        gap_error: Option<Counted>,
    ) -> Places {
        let first = (cell * ROWS) as u32;
        let [of_delay, of_pacer, of_gap] = &mut self.extents;
        of_delay.include(delay.time);
        of_pacer.include(pacer_error.time);
        let gap_row = match gap_error {
            Some(gap_error) => {
                of_gap.include(gap_error.time);
                gap_error.row
            }
            None => UNKNOWN,
        };
        Places([first + delay.row, first + pacer_error.row, first + gap_row])
    }

    /// Hands over what belongs to the block, and begins anew.
    pub fn settle(&mut self, extents: &mut Extents) -> Self {
        for (theirs, mine) in extents.iter_mut().zip(&self.extents) {
            theirs.merge(mine);
        }
        std::mem::take(self)
    }
}

impl Default for Plains {
    fn default() -> Self {
        let extents = [Extent::EMPTY; TIMES];
        Self { packets: 0, bytes: 0, sources: 0, extents, urgent: 0, late: 0 }
    }
}

impl Cell {
    /// Adds what `rows` and `extents` of some block say of this class on this port to the histograms that
    /// they stand for.
    pub(super) fn add_plain(&mut self, rows: &[[u32; COLUMNS]], extents: &Extents) {
        let counts = |time: usize| {
            extents[time].cells().map(move |cell| (cell, u64::from(rows[cell][time])))
        };
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
