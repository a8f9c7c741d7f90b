//! The regime engine: from KPIs to states, and from states to profiles. Pure: time is an argument.
//!
//! In the order of use:
//! 1. [`Machine`]s are tables (`machines.toml`, or the config's `[[regime.machine]]`); a [`Term`] is
//!    the smallest part of their conditions.
//! 2. [`Engine`] has one instance of each machine for each scope. Each tick it reads [`Figures`]
//!    and says what it decides, with the values that made it ([`Decision`]).
//! 3. [`Baselines`] are learned, frozen and loaded; [`Fed`] takes KPIs from outside.
//! 4. [`compose()`] turns what the instances ask for into one class table, field by field; a [`Request`]
//!    is what a state asks of strategies, by [`Advice`](crate::advice::Advice).
//! 5. [`ModeControl`] says how much of it is in force; [`gates`] and [`canary`] are what it goes by.
//!
//! [`path`] decides whether traffic may move to a second path, [`Guardrail`] what a backlog past its
//! budget means.

mod advice;
mod arms;
mod baseline;
pub mod canary;
mod compose;
mod decision;
mod engine;
mod fed;
pub mod gates;
mod guardrail;
mod instance;
mod logistic;
mod mode;
mod offered;
mod parted;
mod patch;
pub mod path;
mod projection;
mod reading;
mod table;
mod term;
mod verdict;

pub use advice::Request;
pub use arms::ArmTotals;
pub use baseline::{Baseline, BaselineRecord, Baselines, VALUES_MIN};
pub use compose::{
    COMPOSED_INDEX, COMPOSED_NAME, ClassFacts, Composed, Reason, Target, Want, compose,
};
pub use decision::{Cause, Decision, Stays};
pub use engine::{
    Asked, Engine, EngineSettings, LEARN_EVERY, Leave, ScopeInfo, Standing, WordError, watched,
};
pub use fed::{FED_MAX, Fed, FedError, FedValue};
pub use guardrail::{Backlog, Guardrail};
pub use instance::{FLAP_MAX, FLAP_SPAN};
pub use logistic::Logistic;
pub use mode::{Changed, Facts, Mode, ModeControl, Refused, Required, Trial};
pub use parted::{Parted, compose_apart, unpartable};
pub use patch::{FIELDS, Largest, Patches, selectable};
pub use projection::{Projection, Unprojected};
pub use reading::{Figures, Missing, Reading, Scope, WINDOW_LONGEST_S, WINDOWS_S};
pub use table::{
    Condition, Exit, Machine, Posture, ScopeKind, Severity, State, StateId, TableError, Timing,
};
pub use term::{
    Bound, Comparison, Input, Measure, OBSERVATIONS, P_COMPRESSED_DRAIN, TERM_FORMS, Term,
    TermError, WINDOW_MAX,
};
pub use verdict::Evidence;

/// The machines as they are unless a config says otherwise.
pub const DEFAULT_MACHINES: &str = include_str!("machines.toml");
