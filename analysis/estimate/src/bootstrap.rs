//! Intervals by cluster: whole clusters are drawn, so that whatever depends on each other inside of one
//! stays together.
//!
//! From 20 clusters on pairs are drawn with replacement, and the standard error of the draws is taken
//! with a t quantile of clusters - 1 degrees. From 8 to 19 that is too optimistic: the wild bootstrap-t
//! with Webb's six weights (Webb, 2023) is used, for means. Below 8 there is no interval.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::adjusted::Influenced;
use crate::effect::{Difference, Interval, Settings};

/// Clusters from which pairs are drawn.
pub const PAIRS_MIN: usize = 20;
/// Clusters below which there is no interval.
pub const CLUSTERS_MIN: usize = 8;

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Clusters drawn with replacement.
    ClusterBootstrap,
    /// Signs of clusters drawn.
    WildClusterBootstrap,
    /// Too few clusters.
    Absent,
}

/// The clusters of some units.
pub struct Clusters {
    /// The cluster of each unit, 0 to `count` - 1.
    of_unit: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Numbers the clusters that are there.
    pub fn of(labels: &[u32]) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |label: &u32| {
            let next = numbers.len();
            *numbers.entry(*label).or_insert(next)
        };
        let of_unit: Vec<usize> = labels.iter().map(&mut number).collect();
        Self { of_unit, count: numbers.len() }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The cluster of a unit.
    pub fn index(&self, unit: usize) -> usize {
        self.of_unit[unit]
    }

    /// What these clusters are enough for.
    pub const fn method(&self) -> Method {
        match self.count {
            0..CLUSTERS_MIN => Method::Absent,
            CLUSTERS_MIN..PAIRS_MIN => Method::WildClusterBootstrap,
            _ => Method::ClusterBootstrap,
        }
    }

    /// The units of each.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        self.of_unit.iter().enumerate().for_each(|(unit, &cluster)| members[cluster].push(unit));
        members
    }

    /// The difference of weighted means, treated less controls. `None` where an arm has no weight.
    pub fn difference_of_means(
        &self,
        values: &[f64],
        weights: &[f64],
        treated: &[bool],
    ) -> Option<Influenced> {
        let (mut sums, mut totals) = ([0.0; 2], [0.0; 2]);
        for (i, &treated) in treated.iter().enumerate() {
            sums[usize::from(treated)] += weights[i] * values[i];
            totals[usize::from(treated)] += weights[i];
        }
        if totals.contains(&0.0) {
            return None;
        }
        let means = [sums[0] / totals[0], sums[1] / totals[1]];
        let mut influences = vec![0.0; self.count];
        for (i, &treated) in treated.iter().enumerate() {
            let arm = usize::from(treated);
            let share = weights[i] * (values[i] - means[arm]) / totals[arm];
            influences[self.of_unit[i]] += if treated { share } else { -share };
        }
        Some(Influenced { estimate: means[1] - means[0], influences })
    }

    /// An estimate with the interval that the influences of these clusters give it.
    pub fn interval(&self, of: &Influenced, settings: &Settings) -> Difference {
        let Influenced { estimate, ref influences } = *of;
        match self.method() {
            Method::ClusterBootstrap => {
                let drawn = |times: &[f64]| {
                    let moved: f64 = times.iter().zip(influences).map(|(t, i)| (t - 1.0) * i).sum();
                    Some(estimate + moved)
                };
                self.bootstrap(settings, drawn)
            }
            Method::WildClusterBootstrap => Some(wild(estimate, influences, settings)),
            Method::Absent => None,
        }
        .unwrap_or(Difference { estimate, interval: None, standard_error: None })
    }

    /// `statistic` of how many times each cluster is there, with the interval of draws of clusters; without
    /// one below [`PAIRS_MIN`]. `None` where the whole has no value.
    pub fn bootstrap(
        &self,
        settings: &Settings,
        statistic: impl Fn(&[f64]) -> Option<f64>,
    ) -> Option<Difference> {
        let estimate = statistic(&vec![1.0; self.count])?;
        if self.method() != Method::ClusterBootstrap {
            return Some(Difference { estimate, interval: None, standard_error: None });
        }
        let mut random = Pcg64::seed_from_u64(settings.seed);
        let mut draws = Vec::with_capacity(settings.draws);
        let mut times = vec![0.0; self.count];
        for _ in 0..settings.draws {
            times.fill(0.0);
            (0..self.count).for_each(|_| times[random.random_range(0..self.count)] += 1.0);
            draws.extend(statistic(&times));
        }
        // Draws know the mean of the clusters, and so vary less than clusters do.
        let g = self.count as f64;
        let error = deviation(&draws)? * (g / (g - 1.0)).sqrt();
        Some(symmetric(estimate, error, self.count, settings.level))
    }
}

/// An interval by the standard error and Student's t.
fn symmetric(estimate: f64, error: f64, clusters: usize, level: f64) -> Difference {
    let interval = critical(clusters, level)
        .map(|t| Interval { low: estimate - t * error, high: estimate + t * error });
    Difference { estimate, interval, standard_error: Some(error) }
}

/// The t quantile for a two-sided interval over so many clusters.
pub fn critical(clusters: usize, level: f64) -> Option<f64> {
    let student = StudentsT::new(0.0, 1.0, clusters.checked_sub(1)? as f64).ok()?;
    Some(student.inverse_cdf(f64::midpoint(1.0, level)))
}

/// Standard deviation; `None` of fewer than two.
fn deviation(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt())
}

/// Webb's weights: mean 0, variance 1, six values, so that even 8 clusters have many different draws.
fn webb(random: &mut Pcg64) -> f64 {
    const SQUARES: [f64; 3] = [0.5, 1.0, 1.5];
    let size = SQUARES[random.random_range(0..3)].sqrt();
    if random.random_bool(0.5) { size } else { -size }
}

/// The wild bootstrap-t of a sum of influences.
fn wild(estimate: f64, influences: &[f64], settings: &Settings) -> Difference {
    let g = influences.len() as f64;
    let error_of = |terms: &[f64]| {
        let mean = terms.iter().sum::<f64>() / g;
        (terms.iter().map(|t| (t - mean).powi(2)).sum::<f64>() * g / (g - 1.0)).sqrt()
    };
    let error = error_of(influences);
    let mut random = Pcg64::seed_from_u64(settings.seed);
    let mut ratios: Vec<f64> = (0..settings.draws)
        .filter_map(|_| {
            let terms: Vec<f64> = influences.iter().map(|i| i * webb(&mut random)).collect();
            let error = error_of(&terms);
            (error > 0.0).then(|| terms.iter().sum::<f64>().abs() / error)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let rank = (settings.level * ratios.len() as f64).ceil() as usize;
    let interval = ratios
        .get(rank.saturating_sub(1))
        .map(|t| Interval { low: estimate - t * error, high: estimate + t * error });
    Difference { estimate, interval, standard_error: Some(error) }
}
