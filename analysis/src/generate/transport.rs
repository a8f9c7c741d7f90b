//! What the path of a gateway does to its orders, window by window.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::market::{Day, SESSION_S, autoregression};
use super::orders::Parent;
use super::places::Place;
use super::{Confounder, Parameters, SECOND};

/// Ways in which a path distorts: one latent for each.
pub const MECHANISMS: usize = 5;
/// Latents from which on a machine is in its second and in its third state.
const BOUNDS: [[f64; 2]; MECHANISMS] = [[0.6, 1.5], [0.6, 1.5], [0.6, 1.6], [0.3, 0.8], [0.6, 1.5]];
/// Memory of a distortion.
const MEMORY_S: f64 = 8.0;
/// A confounder moves a latent by so many standard deviations for one of its own.
const PULL: f64 = 0.8;
/// Seconds by which unsent bytes lead a compressed drain.
const LEAD_S: usize = 2;

/// One KPI window, as the features and the regimes show it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// ns of the session at which it ended.
    pub end: i64,
    /// `dispatch_to_wire_ns[total].p95`.
    pub dispatch_to_wire: f64,
    /// `burstiness_index.excess`.
    pub burstiness: f64,
    /// `burst_delivery_concentration.excess`.
    pub delivery: f64,
    /// Severity of each machine, 0 to 2, in the order of the latents.
    pub severity: [usize; MECHANISMS],
    /// The latents, in the order of the machines: pacing, segmentation, byte queue, drain, delivery.
    pub latent: [f64; MECHANISMS],
    /// The latent of `drain` a little later: what accumulates now is flushed then.
    pub drain_to_come: f64,
}

/// What one gateway did on one day, window by window.
pub struct Path {
    pub windows: Vec<Window>,
}

impl Window {
    /// Severity of `segmentation`.
    pub const fn segmentation(&self) -> usize {
        self.severity[1]
    }
}

impl Path {
    /// The last window that ended at or before `time`, ns of the session.
    pub fn before(&self, time: i64) -> Window {
        let after = self.windows.partition_point(|window| window.end <= time);
        self.windows[after.saturating_sub(1)]
    }
}

/// Draws the paths of all places.
pub fn paths(
    parameters: &Parameters,
    markets: &[Day],
    places: &[Place],
    parents: &[Parent],
    random: impl Fn(u64) -> Pcg64,
) -> Vec<Path> {
    let loads = loads(places.len(), parents);
    let of = |(index, place): (usize, &Place)| {
        path(parameters, &markets[place.day], &loads[index], &mut random(index as u64))
    };
    places.iter().enumerate().map(of).collect()
}

/// The largest urgency under way on each path in each second, standardised; 0 where there is none.
fn loads(places: usize, parents: &[Parent]) -> Vec<Vec<f64>> {
    let mut loads = vec![vec![0.0; SESSION_S]; places];
    for parent in parents {
        let load = &mut loads[parent.place];
        // Mean and deviation of the draw of urgencies.
        let urgency = (f64::from(parent.urgency) / 255.0 - 0.4) / 0.22;
        let seconds = (parent.start / SECOND) as usize..=(parent.end / SECOND) as usize;
        for second in seconds.filter(|second| *second < SESSION_S) {
            load[second] = if load[second] == 0.0 { urgency } else { urgency.max(load[second]) };
        }
    }
    loads
}

fn path(parameters: &Parameters, market: &Day, load: &[f64], random: &mut Pcg64) -> Path {
    let mut latents: Vec<Vec<f64>> =
        (0..MECHANISMS).map(|_| autoregression(random, MEMORY_S, SESSION_S + LEAD_S)).collect();
    if let Some(confounder) = parameters.confounder {
        for latent in &mut latents {
            for (second, value) in latent.iter_mut().enumerate() {
                let second = second.min(SESSION_S - 1);
                let pull = match confounder {
                    Confounder::Volatility => market.common(second),
                    Confounder::Urgency => load[second],
                    Confounder::Unobserved => market.toxic(second) * 2.0 - 0.5,
                };
                *value = (*value + PULL * pull) / PULL.hypot(1.0);
            }
        }
    }
    // A gateway's windows begin when it did.
    let offset = random.random_range(0..SECOND);
    let mut noise = || -> f64 { StandardNormal.sample(random) };
    let window = |second: usize| {
        let latent: [f64; MECHANISMS] = std::array::from_fn(|m| latents[m][second]);
        let above = |value: f64, bounds: [f64; 2]| bounds.iter().filter(|b| value > **b).count();
        Window {
            end: offset + second as i64 * SECOND,
            dispatch_to_wire: 8_000.0 * (0.5 * latent[0] + 0.1 * noise()).exp(),
            burstiness: 1.0 + (0.6 * latent[0] + 0.2 * noise() - 0.5).exp(),
            delivery: 1.0 + (0.6 * latent[4] + 0.1 * noise() - 0.5).exp(),
            severity: std::array::from_fn(|m| above(latent[m], BOUNDS[m])),
            latent,
            drain_to_come: latents[3][second + LEAD_S],
        }
    };
    Path { windows: (0..SESSION_S).map(window).collect() }
}
