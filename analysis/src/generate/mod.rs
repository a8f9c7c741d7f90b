//! Made-up timelines and fills, with effects that are known: for tests, the tutorial and the coverage study.
//!
//! Nothing here is shared with the estimator: outcomes are non-linear in volatility and urgency, their
//! noise is Student's t and autocorrelated, effects differ from order to order. In the order of use:
//! 1. [`market`] has volatility and toxicity of each day, second by second.
//! 2. [`orders`] are parents and their children.
//! 3. [`transport`] is what the path of each gateway does: a latent for each mechanism, and the features and
//!    regime states that show it.
//! 4. [`outcomes`] are prices, fills and markouts, with the effects planted; what was planted is the [`Truth`].
//! 5. [`rows`] turns it all into the tables that `outcome` reads.

mod market;
mod orders;
mod outcomes;
mod rows;
mod transport;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::kpi::Kpi;

pub use rows::{Timeline, civil_date, file_names};

/// ns in a second.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// What makes the transport path and the outcomes move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Confounder {
    /// Volatility, which is recorded.
    Volatility,
    /// The urgency of the orders under way.
    Urgency,
    /// Toxic flow, which nothing records.
    Unobserved,
}

/// What goes wrong with the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Timeline rows are lost where the wire is bursty.
    LostInBursts,
    /// The clock of the first gateway is 2 ms ahead.
    ClockSkew,
}

/// What is generated.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Everything follows from it and the rest of the parameters.
    pub seed: u64,
    /// Rows of `packets`; a quarter are child orders, at most [`CHILDREN_MAX`].
    pub rows: u64,
    /// Planted costs, bps.
    pub effects: BTreeMap<Kpi, f64>,
    /// A confounder.
    pub confounder: Option<Confounder>,
    /// A fault.
    pub fault: Option<Fault>,
    /// Gateways.
    pub gateways: usize,
    /// Trading days.
    pub days: usize,
}

/// Child orders of the largest data set.
pub const CHILDREN_MAX: u64 = 700_000;

impl Parameters {
    /// Eight gateways over eight days, 40,000 rows, no effect.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rows: 40_000,
            effects: BTreeMap::new(),
            confounder: None,
            fault: None,
            gateways: 8,
            days: 8,
        }
    }

    fn effect(&self, kpi: Kpi) -> f64 {
        self.effects.get(&kpi).copied().unwrap_or(0.0)
    }

    fn children(&self) -> usize {
        (self.rows / 4).clamp(1, CHILDREN_MAX) as usize
    }
}

/// What was planted of a KPI.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Planted {
    /// As asked for.
    pub asked_bps: f64,
    /// The mean cost over the units that were treated, what other effects do to it included.
    pub cost_bps: f64,
    /// Units that were treated.
    pub treated: usize,
}

/// What an estimator should find.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// The seed.
    pub seed: u64,
    /// The confounder.
    pub confounder: Option<Confounder>,
    /// The fault.
    pub fault: Option<Fault>,
    /// For each KPI.
    pub kpis: BTreeMap<&'static str, Planted>,
}

/// A made-up firm: orders, fills and the timelines of its gateways.
pub struct World {
    parameters: Parameters,
    paths: Vec<transport::Path>,
    parents: Vec<orders::Parent>,
    children: Vec<orders::Child>,
    results: Vec<outcomes::Result>,
    /// What was planted.
    pub truth: Truth,
}

/// Generates.
pub fn generate(parameters: &Parameters) -> World {
    let random = |stream: u64| Pcg64::seed_from_u64(model_mix(parameters.seed, stream));
    let markets: Vec<_> =
        (0..parameters.days).map(|day| market::Day::new(&mut random(1_000 + day as u64))).collect();
    let (parents, children) = orders::schedule(parameters, &mut random(1));
    let paths = transport::paths(parameters, &markets, &parents, |path| random(2_000 + path));
    let mut children = children;
    orders::expose(&mut children, &parents, &paths, parameters);
    let (results, kpis) =
        outcomes::outcomes(parameters, &markets, &parents, &children, &mut random(2));
    let truth = Truth {
        seed: parameters.seed,
        confounder: parameters.confounder,
        fault: parameters.fault,
        kpis,
    };
    World { parameters: parameters.clone(), paths, parents, children, results, truth }
}

/// A seed for each stream, so that one draws nothing of another.
const fn model_mix(seed: u64, stream: u64) -> u64 {
    model::draw::mix(seed.wrapping_mul(0x9e37_79b9).wrapping_add(stream))
}
