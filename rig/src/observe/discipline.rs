//! What the queueing discipline does to the writes of a socket of our own: how long each waits in it, and
//! how bursty they leave it beside how bursty they came.
//!
//! Give it the stamps of [`crate::kernel::own_socket`] in any order; a write counts once both its ends
//! are known.

use std::collections::HashMap;

use model::kpi::{BurstWindows, Burstiness, Histogram, Shape, burst_window};
use model::time::Nanos;

use crate::kernel::own_socket::{Point, Stamp};

/// The writes of a socket.
#[derive(Debug, Default)]
pub struct Discipline {
    /// When one end of a write was stamped, whose other end is not known yet.
    half: HashMap<(Point, u32), Nanos>,
    /// In and out.
    through: Vec<(Nanos, Nanos)>,
}

/// What they come to.
#[derive(Debug)]
pub struct Through {
    /// `excess` = burstiness at SND / burstiness at SCHED: below 1 the discipline smooths, above 1 it
    /// bunches. `bi` is that at SND.
    pub burstiness: Burstiness,
    /// SND - SCHED, ns. With fq the delay of pacing is part of it; without, TCP has paced before.
    pub delay: Histogram,
}

impl Discipline {
    /// One more stamp. Acknowledgements are none of the discipline's.
    pub fn add(&mut self, stamp: Stamp) {
        let at = Nanos(stamp.at_ns);
        let other = match stamp.point {
            Point::Sched => Point::Snd,
            Point::Snd => Point::Sched,
            Point::Ack => return,
        };
        match self.half.remove(&(other, stamp.id)) {
            Some(end) if other == Point::Snd => self.through.push((at, end)),
            Some(start) => self.through.push((start, at)),
            None => {
                self.half.insert((stamp.point, stamp.id), at);
            }
        }
    }

    /// What the writes that went through come to, in windows for a class of `cadence`.
    pub fn through(mut self, cadence: Option<Nanos>) -> Through {
        self.through.sort_by_key(|(_, out)| *out);
        let (mut windows, mut shape) =
            (BurstWindows::new(burst_window(cadence)), Shape::with_memory());
        let mut delay = Histogram::new();
        for (entered, left) in self.through {
            // Bytes have no part in what is asked for.
            windows.depart(entered, left, 0, &mut shape);
            delay.record(left.saturating_sub(entered).0);
        }
        windows.fold_all(&mut shape);
        Through { burstiness: shape.bursts.burstiness(), delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 writes at once, let out one each ms: all in one window in, one in each out.
    #[test]
    fn a_discipline_that_smooths() {
        let mut discipline = Discipline::default();
        let stamp =
            |point, n: u32, ns: u64| Stamp { point, id: 214 * n, at_ns: 1_000_000_000 + ns };
        for n in 0..40_u32 {
            discipline.add(stamp(Point::Snd, n, 1_000_000 * u64::from(n)));
            discipline.add(stamp(Point::Ack, n, 1));
        }
        (0..40).for_each(|n| discipline.add(stamp(Point::Sched, n, 0)));
        discipline.add(stamp(Point::Sched, 99, 0));
        let through = discipline.through(None);
        assert_eq!(through.burstiness.n, 40, "one is still on its way");
        assert_eq!(through.burstiness.bi, Some(1.0 / 40.0));
        assert_eq!(through.burstiness.excess, Some(1.0 / 40.0));
        assert_eq!((through.delay.min(), through.delay.max()), (Some(0), Some(39_000_000)));
    }
}
