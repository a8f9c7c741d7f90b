//! The statistics of outcome analysis. Pure: rows in, figures out, seeded where something is drawn.
//!
//! In the order of use:
//! 1. [`Cohorts`] are units (child or parent orders) with an outcome, an arm, covariates and a cluster.
//! 2. [`matching`] compares like with like: coarsened exact matching, then control weights that
//!    balance what is left within the cells ([`calibration`] of [`columns`]); [`compared`] has both.
//! 3. [`effect`] is the effect on the treated, at the mean ([`adjusted`]) and at quantiles, with
//!    intervals of a bootstrap by cluster ([`bootstrap`]); [`placebo`] says whether it can be believed.
//! 4. [`linear`] (ridge, variance inflation), [`logistic`], [`chain`] (transitions, expected cost) and
//!    [`walk`] (walk-forward) are the models behind a calibration.

pub mod adjusted;
pub mod bootstrap;
pub mod calibration;
pub mod chain;
pub mod cohorts;
pub mod columns;
pub mod compared;
pub mod effect;
pub mod linear;
pub mod logistic;
pub mod matching;
pub mod placebo;
pub mod quantile;
pub mod walk;

pub use cohorts::{Cohorts, Covariate, Factor, Role};
pub use compared::Compared;
pub use effect::{Effect, Interval, Settings, effect};
