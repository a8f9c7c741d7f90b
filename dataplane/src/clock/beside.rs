//! Another clock, read between two reads of the TSC.

use model::nic_clock::Reading;
use model::time::Cycles;
use rustix::time::{ClockId, clock_gettime};

use super::tsc;

/// Bracketed reads for one reading; the narrowest counts. A read over PCIe takes about a
/// microsecond, and an interrupt in the middle of some of them does no harm.
const TRIES: u32 = 16;

/// The narrowest of some reads of another clock between two reads of the TSC; `None` when the clock
/// does not answer. For control threads: takes some microseconds.
pub fn read_beside(mut read: impl FnMut() -> Option<u64>) -> Option<Reading> {
    let mut best: Option<(u64, u64, u64)> = None;
    for _ in 0..TRIES {
        let before = tsc::read_ordered().0;
        let raw = read()?;
        let width = tsc::read_ordered().0.saturating_sub(before);
        if best.is_none_or(|(narrowest, ..)| width < narrowest) {
            best = Some((width, before, raw));
        }
    }
    best.map(|(width, before, raw)| Reading {
        raw,
        tsc: Cycles(before + width / 2),
        error: Cycles(width.div_ceil(2)),
    })
}

/// The kernel's wall clock (CLOCK_REALTIME) in whole microseconds: the clock in which libpcap stamps
/// what arrives on an interface.
pub fn wall_clock_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let s = u64::try_from(now.tv_sec).unwrap_or(0);
    s.saturating_mul(1_000_000).saturating_add(now.tv_nsec.cast_unsigned() / 1_000)
}

#[cfg(test)]
mod tests {
    use model::nic_clock::{NicClock, Outcome};

    use super::*;

    #[test]
    fn a_clock_that_does_not_answer_gives_no_reading() {
        assert_eq!(read_beside(|| None), None);
        let mut left = 3;
        let falls_silent = || {
            left -= 1;
            (left > 0).then_some(1)
        };
        assert_eq!(read_beside(falls_silent), None);
    }

    /// The kernel's wall clock as a device: its unit is learnt, and its stamps come out right.
    #[test]
    fn the_wall_clock_is_learnt_like_any_device() {
        let hz = super::super::Calibrator::start(super::super::BASELINE_MIN).unwrap().1.tsc_hz();
        let mut clock = NicClock::new(hz, None);
        let mut outcomes = Vec::new();
        for _ in 0..6 {
            if let Some(reading) = read_beside(|| Some(wall_clock_us())) {
                outcomes.push(clock.add(reading));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // A host that steps its clock just now, or that takes the CPU away in every bracket, gives
        // no model, and says so; with one, the stated error holds.
        let Some(model) = clock.model() else {
            assert!(outcomes.iter().any(|o| matches!(o, Outcome::Stepped | Outcome::Refused)));
            return;
        };
        let Some(check) = read_beside(|| Some(wall_clock_us())) else { return };
        let off = model.cycles_at(check.raw).0.abs_diff(check.tsc.0);
        let tick = hz / 1_000_000 + 1;
        let bound = model.error_at(check.tsc).0 + check.error.0 + tick;
        assert!(off <= bound, "{off} cycles off, stated {bound}");
    }
}
