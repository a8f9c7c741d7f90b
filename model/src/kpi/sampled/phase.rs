//! Where on the circle of one cadence packets leave, seen from their due times.

use std::f64::consts::TAU;

use super::spread::Spread;
use crate::time::Nanos;

/// Shortest mean arrow that still points somewhere. Below it the phases have no common direction.
const COHERENCE_MIN: f64 = 1e-6;

/// Distances and directions on a circle of length `cadence`.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    distance: Spread,
    /// Weighted sums of the unit arrows.
    cosine: f64,
    sine: f64,
    weight: u64,
}

impl Phase {
    /// A packet that was due at `due` left at `wire`. A cadence of 0 has no circle.
    pub fn record(&mut self, cadence: Nanos, due: Nanos, wire: Nanos, weight: u64) {
        if cadence.0 == 0 {
            return;
        }
        let late = (i128::from(wire.0) - i128::from(due.0)).rem_euclid(i128::from(cadence.0));
        let late = late as u64;
        self.distance.record(late.min(cadence.0 - late), weight);
        let (sine, cosine) = (TAU * late as f64 / cadence.0 as f64).sin_cos();
        self.cosine += cosine * weight as f64;
        self.sine += sine * weight as f64;
        self.weight += weight;
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.distance.merge(&other.distance);
        self.cosine += other.cosine;
        self.sine += other.sine;
        self.weight += other.weight;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.distance.clear();
        (self.cosine, self.sine, self.weight) = (0.0, 0.0, 0);
    }

    /// Circular distances, ns.
    pub const fn distance(&self) -> &Spread {
        &self.distance
    }

    /// Circular mean of `t_wire - t_due`, as a share of the cadence: above -0.5, at most 0.5, positive =
    /// late. `None` without a common direction. Rounded, so that it does not tell one libm from another.
    pub fn drift(&self) -> Option<f64> {
        let coherent = self.coherence().is_some_and(|coherence| coherence >= COHERENCE_MIN);
        coherent.then(|| rounded(self.sine.atan2(self.cosine) / TAU))
    }

    /// Length of the mean arrow: 1 = all at one phase, 0 = at every phase alike.
    pub fn coherence(&self) -> Option<f64> {
        let length = self.cosine.hypot(self.sine);
        (self.weight > 0).then(|| rounded(length / self.weight as f64))
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Nanos = Nanos(1_000);

    /// Late by 100, 900 and 2,050 of 1,000: at 100, 900 and 50 on the circle, distances 100, 100, 50.
    #[test]
    fn whole_periods_read_zero_and_the_far_side_is_near() {
        let mut phase = Phase::default();
        for late in [100, 900, 2_050] {
            phase.record(CADENCE, Nanos(10_000), Nanos(10_000 + late), 1);
        }
        let histogram = phase.distance().histogram().unwrap();
        assert_eq!((histogram.min(), histogram.max(), histogram.sum()), (Some(50), Some(100), 250));
    }

    /// A quarter early and a quarter late point nowhere; both a tenth late point there.
    #[test]
    fn drift_is_a_mean_on_the_circle() {
        let mut phase = Phase::default();
        assert_eq!((phase.drift(), phase.coherence()), (None, None));
        phase.record(CADENCE, Nanos(10_000), Nanos(10_500), 1);
        phase.record(CADENCE, Nanos(10_000), Nanos(10_000), 1);
        assert_eq!((phase.drift(), phase.coherence()), (None, Some(0.0)));
        phase.clear();
        // 950 late is 50 early: the mean of -0.05 and +0.15 is 0.05, not 0.55.
        phase.record(CADENCE, Nanos(10_000), Nanos(10_950), 1);
        phase.record(CADENCE, Nanos(10_000), Nanos(10_150), 1);
        assert_eq!(phase.drift(), Some(0.05));
        phase.record(Nanos(0), Nanos(1), Nanos(2), 1);
        assert_eq!(phase.distance().rows(), 2, "no circle, no distance");
    }
}
