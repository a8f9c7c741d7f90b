//! From readings to lines: who notices drift, steps and wraps.

use std::collections::VecDeque;

use super::Reading;
use super::line::{NicModel, POINT};
use crate::time::Cycles;

/// Readings that a line is made of: at one each 100 ms the rate is good to well below 1 ppm, and a
/// change of temperature is followed within two seconds.
const READINGS: usize = 16;
/// Readings that must agree before there is a model. Two always lie on a line; the third is the
/// first that can disagree.
const READINGS_MIN: usize = 3;
/// A bracket wider than this says too little: somebody took the CPU away in the middle of it.
const BRACKET_MAX_US: u64 = 100;
/// How long a model is good after its last reading.
const GOOD_MS: u64 = 2_000;
/// Two crystals differ by 100 ppm at most, and a clock that is being steered by 200 ppm more for
/// seconds at a time: further off between two readings is a step.
const DRIFT_PPM_MAX: u64 = 300;
/// A rate changes by so much at least before the line knows.
const DRIFT_PPB_MIN: u64 = 1_000;
/// Narrowest counter whose wrap is looked for.
const BITS_MIN: u32 = 32;

/// What a reading did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It agrees; more are needed before there is a model.
    Learning,
    /// It agrees, and the model follows it.
    Tracking,
    /// It lies outside its bound: the device's clock was stepped. There is no model until the next
    /// readings agree.
    Stepped,
    /// Its bracket is too wide, or no time has passed since the last one: not used.
    Refused,
}

/// How good the model is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Ticks of the device's clock in a second of the TSC.
    pub ticks_per_s: f64,
    /// Rate now against the first that was learnt since the start or the last step, ppb; positive =
    /// faster now.
    pub drift_ppb: f64,
    /// Bound of the error at the latest reading, cycles.
    pub error: Cycles,
    /// Width of the counter in bits.
    pub bits: u32,
}

/// A reading with its place on the unwrapped counter.
#[derive(Clone, Copy, Debug)]
struct Point {
    raw: u64,
    ticks: u128,
    tsc: u64,
    error: u64,
}

/// A line through two points.
#[derive(Clone, Copy, Debug)]
struct Line {
    anchor: Point,
    rate: u64,
    spread_ppb: u64,
}

impl Line {
    /// Cycles of one tick, rounded up: what a whole counter cannot tell.
    const fn tick(rate: u64) -> u64 {
        (rate >> POINT) + 1
    }

    fn at(&self, ticks: u128) -> i128 {
        let ticks = ticks.cast_signed() - self.anchor.ticks.cast_signed();
        i128::from(self.anchor.tsc) + ((ticks * i128::from(self.rate)) >> POINT)
    }
}

/// Learns the clock of one device. See the module.
#[derive(Clone, Debug)]
pub struct NicClock {
    tsc_hz: u64,
    /// Width of the counter, where it is known.
    bits: Option<u32>,
    points: VecDeque<Point>,
    /// Outlives a step: the device's unit stays the same.
    rate: Option<u64>,
    first_rate: Option<u64>,
    drift_ppb: u64,
    model: Option<NicModel>,
    steps: u64,
    wraps: u64,
    refused: u64,
}

impl NicClock {
    /// Nothing is known yet. `tsc_hz`: the TSC of the readings; `bits`: width of the device's
    /// counter, 32 to 64, `None` = to be learnt.
    pub fn new(tsc_hz: u64, bits: Option<u32>) -> Self {
        Self {
            tsc_hz,
            bits: bits.map(|bits| bits.clamp(BITS_MIN, 64)),
            points: VecDeque::with_capacity(READINGS),
            rate: None,
            first_rate: None,
            drift_ppb: DRIFT_PPB_MIN,
            model: None,
            steps: 0,
            wraps: 0,
            refused: 0,
        }
    }

    /// Takes a reading. Readings come in the order in which they were made.
    pub fn add(&mut self, reading: Reading) -> Outcome {
        let bracket_max = self.tsc_hz / 1_000_000 * BRACKET_MAX_US;
        let late = self.points.back().is_some_and(|last| reading.tsc.0 <= last.tsc);
        if late || reading.error.0 > bracket_max {
            self.refused += 1;
            return Outcome::Refused;
        }
        let Some(&last) = self.points.back() else {
            self.restart(reading);
            return Outcome::Learning;
        };
        match self.unwrap(last, reading) {
            Some(point) if self.agrees(last, &point) => {
                if point.raw < last.raw {
                    self.wraps += 1;
                }
                if self.points.len() == READINGS {
                    self.points.pop_front();
                }
                self.points.push_back(point);
                self.fit();
                if self.model.is_some() { Outcome::Tracking } else { Outcome::Learning }
            }
            _ => {
                self.steps += 1;
                self.restart(reading);
                Outcome::Stepped
            }
        }
    }

    /// The device does not answer any more: there is no model until it does again.
    pub fn lost(&mut self) {
        self.model = None;
        self.points.clear();
    }

    /// The line, where there is one. Whether it is still good says [`NicModel::is_good_at`].
    pub const fn model(&self) -> Option<NicModel> {
        self.model
    }

    /// How good the model is; `None` while there is none.
    pub fn quality(&self) -> Option<Quality> {
        let model = self.model?;
        let first = self.first_rate.unwrap_or(model.rate) as f64;
        let latest = self.points.back().map_or(model.tsc, |point| point.tsc);
        Some(Quality {
            ticks_per_s: model.ticks_per_s(self.tsc_hz),
            // More cycles in a tick is a slower device.
            drift_ppb: (first / model.rate as f64 - 1.0) * 1e9,
            error: model.error_at(Cycles(latest)),
            bits: model.bits,
        })
    }

    /// Steps seen so far.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Wraps of the counter seen so far.
    pub const fn wraps(&self) -> u64 {
        self.wraps
    }

    /// Readings that were not used.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn restart(&mut self, reading: Reading) {
        self.model = None;
        self.first_rate = None;
        self.drift_ppb = DRIFT_PPB_MIN;
        self.points.clear();
        self.points.push_back(Point {
            raw: reading.raw,
            ticks: 0,
            tsc: reading.tsc.0,
            error: reading.error.0,
        });
    }

    /// The reading on the unwrapped counter; `None` when no width makes sense of it.
    fn unwrap(&mut self, last: Point, reading: Reading) -> Option<Point> {
        let point = |ticks: u128| Point {
            raw: reading.raw,
            ticks: last.ticks + ticks,
            tsc: reading.tsc.0,
            error: reading.error.0,
        };
        let expected = self
            .rate
            .map(|rate| (u128::from(reading.tsc.0 - last.tsc) << POINT) / u128::from(rate));
        let Some(bits) = self.bits else {
            if reading.raw >= last.raw {
                return Some(point(u128::from(reading.raw - last.raw)));
            }
            // It went back: a wrap of the width that agrees best, or nothing.
            let expected = expected?;
            let widths = (BITS_MIN..=64).filter(|&b| b == 64 || last.raw >> b == 0);
            let bits =
                widths.min_by_key(|&b| ticks(last.raw, reading.raw, b).abs_diff(expected))?;
            let unwrapped = point(ticks(last.raw, reading.raw, bits));
            if self.agrees(last, &unwrapped) {
                self.bits = Some(bits);
                return Some(unwrapped);
            }
            return None;
        };
        let least = ticks(last.raw, reading.raw, bits);
        // After a long silence the counter may have gone round more than once.
        let period = 1_u128 << bits;
        let rounds = expected.map_or(0, |e| (e.saturating_sub(least) + period / 2) / period);
        Some(point(least + rounds * period))
    }

    /// Whether a reading lies where the line has it, within what both of them do not know.
    fn agrees(&self, last: Point, point: &Point) -> bool {
        let Some(rate) = self.rate else { return point.ticks > last.ticks };
        let gap = point.tsc - last.tsc;
        let (expected, known) = match self.line() {
            Some(line) => {
                let away = point.tsc.abs_diff(line.anchor.tsc);
                (line.at(point.ticks), line.anchor.error + share(away, line.spread_ppb))
            }
            // The rate is that of before a step.
            None => {
                let line = Line { anchor: last, rate, spread_ppb: 0 };
                (line.at(point.ticks), last.error)
            }
        };
        let allowed =
            known + point.error + 2 * Line::tick(rate) + share(gap, DRIFT_PPM_MAX * 1_000);
        expected.abs_diff(i128::from(point.tsc)) <= u128::from(allowed)
    }

    /// Through the tightest reading of the older half and the tightest of the newer half.
    fn line(&self) -> Option<Line> {
        let half = self.points.len() / 2;
        let older = self.points.range(..half).min_by_key(|p| p.error)?;
        let newer = self.points.range(half..).rev().min_by_key(|p| p.error)?;
        let cycles = u128::from(newer.tsc - older.tsc);
        let rate = (cycles << POINT).checked_div(newer.ticks.checked_sub(older.ticks)?)?;
        let rate = u64::try_from(rate).ok().filter(|&rate| rate > 0)?;
        let unknown = u128::from(older.error + newer.error + 2 * Line::tick(rate));
        let spread = u64::try_from((unknown * 1_000_000_000).div_ceil(cycles)).unwrap_or(u64::MAX);
        Some(Line { anchor: *newer, rate, spread_ppb: spread.saturating_add(self.drift_ppb) })
    }

    fn fit(&mut self) {
        let Some(line) = self.line() else { return };
        if let Some(before) = self.rate.filter(|_| self.points.len() > READINGS / 2) {
            let change = u128::from(line.rate.abs_diff(before)) * 1_000_000_000;
            let change = u64::try_from(change / u128::from(line.rate)).unwrap_or(u64::MAX);
            self.drift_ppb = change.saturating_mul(2).max(DRIFT_PPB_MIN);
        }
        self.rate = Some(line.rate);
        let Some(latest) = self.points.back() else { return };
        if self.points.len() < READINGS_MIN {
            return;
        }
        if self.points.len() == READINGS {
            self.first_rate.get_or_insert(line.rate);
        }
        // What bends the readings away from a line bends what comes next too.
        let tick = Line::tick(line.rate);
        let off = |p: &Point| {
            let off = line.at(p.ticks).abs_diff(i128::from(p.tsc));
            u64::try_from(off).unwrap_or(u64::MAX).saturating_sub(p.error + tick)
        };
        let bend = self.points.iter().map(off).max().unwrap_or(0);
        self.model = Some(NicModel {
            raw: line.anchor.raw,
            tsc: line.anchor.tsc,
            rate: line.rate,
            bits: self.bits.unwrap_or(64),
            error: (line.anchor.error + tick).saturating_add(bend),
            spread_ppb: line.spread_ppb,
            good_until: latest.tsc.saturating_add(self.tsc_hz / 1_000 * GOOD_MS),
        });
    }
}

/// Ticks from one value of a counter of `bits` to another, less than a whole round.
const fn ticks(from: u64, to: u64, bits: u32) -> u128 {
    let ticks = to.wrapping_sub(from);
    (if bits == 64 { ticks } else { ticks & ((1 << bits) - 1) }) as u128
}

fn share(cycles: u64, ppb: u64) -> u64 {
    let part = (u128::from(cycles) * u128::from(ppb)).div_ceil(1_000_000_000);
    u64::try_from(part).unwrap_or(u64::MAX / 8).min(u64::MAX / 8)
}
