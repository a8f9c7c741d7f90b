//! Drills: a fault is injected, and what the gateway does about it is held against what was said
//! beforehand. Call [`Bench::open`], then [`Bench::run`] for each of [`all`].
//!
//! A drill is one file in [`drills`]: a config, a scene for each of its arms and for its twin, and
//! typed expectations. The twin is the same without the fault; what the fault brings about must not
//! happen there, so a drill that could not fail does not hold. Everything is in virtual time
//! ([`crate::world`]): the same seed gives the same result, byte for byte.

mod bench;
pub mod drills;
mod expect;
pub mod model;
pub mod outlet;
pub mod page;
pub mod peer;
mod scene;
pub mod tcp;
mod thresholds;
mod trace;
pub mod traffic;
pub mod wire;
mod words;

use ::model::regime::{Posture, Request};

pub use bench::{Bench, DrillError, Shown, posture};
pub use expect::{Expect, Expectation, Figure, Finding, Is};
pub use scene::{Adaptive, Mark, Order, Pin, START, Says, Scene, Watch, ms};
pub use thresholds::Thresholds;
pub use trace::{Trace, Transition, since_start_ms};

/// The arm without the fault.
pub const TWIN: &str = "twin";

/// A frozen baseline: scope, input, and its value in the unit of the KPI.
pub type Usual = (&'static str, &'static str, f64);

/// A drill.
pub struct Drill {
    /// Its name.
    pub name: &'static str,
    /// The playbooks that ask for it.
    pub playbook: &'static str,
    /// What it injects.
    pub injects: &'static str,
    /// What must show.
    pub must_show: &'static str,
    /// The gateway's config.
    pub config: &'static str,
    /// What is usual there, as a gateway would have learned it before.
    pub usual: &'static [Usual],
    /// What is watched.
    pub watches: &'static [Watch],
    /// Its runs beside the twin; the first is the one that plots show first.
    pub arms: &'static [&'static str],
    /// What is around the gateway in an arm, or in [`TWIN`].
    pub scene: fn(arm: &'static str, seed: u64) -> Scene,
    /// What must come true, of arms and twin together where figures are compared.
    pub expect: fn() -> Vec<Expectation>,
    /// What must come true of the twin alone.
    pub expect_of_twin: fn() -> Vec<Expectation>,
}

/// Every drill, in the order of the playbooks.
pub fn all() -> Vec<&'static Drill> {
    drills::ALL.to_vec()
}

/// What is taken away to see a drill fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Actions of profiles: the profile, and the field that stays as confirmed.
    pub actions: Vec<(Posture, String)>,
    /// What no state asks of strategies.
    pub advice: Vec<Request>,
    /// What keeps the loop from exciting itself.
    pub protection: bool,
}
