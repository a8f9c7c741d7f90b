//! Made-up timelines and fills, with effects that are known: for tests, the tutorial and the coverage study.
//!
//! Nothing here is shared with the estimator: outcomes are non-linear in volatility and urgency, their
//! noise is Student's t and autocorrelated, effects differ from order to order. In the order of use:
//! 1. [`places`] are gateways on days; [`market`] has volatility and toxicity of each day, second by second.
//! 2. [`orders`] are parents and their children; [`trial`] says which of them were governed.
//! 3. [`transport`] is what the path of each gateway does: a latent for each mechanism, and the features and
//!    regime states that show it. In its place may stand what gateways have written ([`recorded`]).
//! 4. [`outcomes`] are prices, fills and markouts, with the effects planted; what was planted is the [`Truth`].
//! 5. [`rows`] and [`timelines`] turn it all into the tables that `outcome` reads, by [`columns`].

mod columns;
mod market;
mod orders;
mod outcomes;
mod places;
mod recorded;
mod rows;
mod timelines;
mod transport;
mod trial;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::error::Error;
use crate::kpi::Kpi;
use crate::outcome::Design;

pub use places::civil_date;
pub use recorded::Recorded;
pub use timelines::{Timeline, file_names};

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
    /// How it comes about that some orders are governed; without one nobody is.
    pub design: Option<Design>,
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
            design: None,
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
    /// Who was governed, if anybody.
    pub design: Option<Design>,
    /// For each KPI.
    pub kpis: BTreeMap<&'static str, Planted>,
}

/// A made-up firm: orders, fills and the timelines of its gateways.
pub struct World {
    parameters: Parameters,
    places: Vec<places::Place>,
    /// The timelines were written by gateways.
    is_recorded: bool,
    paths: Vec<transport::Path>,
    parents: Vec<orders::Parent>,
    children: Vec<orders::Child>,
    results: Vec<outcomes::Result>,
    /// What was planted.
    pub truth: Truth,
}

/// Generates.
pub fn generate(parameters: &Parameters) -> World {
    let places = places::places(parameters);
    let markets = markets(parameters, &places);
    let mut random = stream(parameters, 1);
    let (parents, children) =
        orders::schedule(parameters, &places, market::SESSION_S as f64, &mut random);
    let paths = transport::paths(parameters, &markets, &places, &parents, |path| {
        stream(parameters, 2_000 + path)
    });
    let set = Set { places, paths, parents, children, is_recorded: false };
    set.played(parameters, &markets)
}

/// Generates orders and fills on timelines that gateways have written. Of the parameters gateways, days, confounder,
/// fault and design are those of the timelines, and are not looked at.
///
/// # Errors
/// There is no order among them that could be followed.
pub fn follow(parameters: &Parameters, recorded: Recorded) -> Result<World, Error> {
    let parameters =
        Parameters { confounder: None, fault: None, design: None, ..parameters.clone() };
    let Recorded { places, paths, orders, session_s } = recorded;
    let mut random = stream(&parameters, 1);
    let (parents, children) = orders::schedule(&parameters, &places, session_s, &mut random);
    let (parents, children) = orders::follow(parents, children, &orders);
    if children.is_empty() {
        return Err(Error::Empty("no order of the timelines can be followed".to_owned()));
    }
    let markets = markets(&parameters, &places);
    let set = Set { places, paths, parents, children, is_recorded: true };
    Ok(set.played(&parameters, &markets))
}

/// A world before anything has become of its orders.
struct Set {
    places: Vec<places::Place>,
    paths: Vec<transport::Path>,
    parents: Vec<orders::Parent>,
    children: Vec<orders::Child>,
    is_recorded: bool,
}

impl Set {
    fn played(self, parameters: &Parameters, markets: &[market::Day]) -> World {
        let Self { places, paths, parents, mut children, is_recorded } = self;
        orders::expose(&mut children, &parents, &paths);
        trial::draw(parameters, &parents, &mut children);
        let mut random = stream(parameters, 2);
        let (results, kpis) =
            outcomes::outcomes(parameters, markets, &parents, &children, &mut random);
        let Parameters { seed, confounder, fault, design, .. } = *parameters;
        let truth = Truth { seed, confounder, fault, design, kpis };
        let parameters = parameters.clone();
        World { parameters, places, is_recorded, paths, parents, children, results, truth }
    }
}

/// A market for each day.
fn markets(parameters: &Parameters, places: &[places::Place]) -> Vec<market::Day> {
    let days = places.iter().map(|place| place.day + 1).max().unwrap_or_default();
    (0..days as u64).map(|day| market::Day::new(&mut stream(parameters, 1_000 + day))).collect()
}

/// The numbers of a stream, of which no other draws.
fn stream(parameters: &Parameters, stream: u64) -> Pcg64 {
    Pcg64::seed_from_u64(model_mix(parameters.seed, stream))
}

/// A seed for each stream, so that one draws nothing of another.
const fn model_mix(seed: u64, stream: u64) -> u64 {
    model::draw::mix(seed.wrapping_mul(0x9e37_79b9).wrapping_add(stream))
}
