//! The outcome KPIs of joined units.
//!
//! [`arms`] says who is compared with whom, [`covariates`] what has to be alike, [`placebos`] what must not
//! differ; [`headline`] puts them together into a figure and a verdict, [`Report`] is all of them.

mod arms;
mod covariates;
mod headline;
mod placebos;
mod report;

pub use arms::{Design, arms, thirds};
pub use headline::{
    Head, Headline, MATCHED_SHARE_MIN, Settings, ShareEffect, Shares, compared, headline,
};
pub use report::{MatchCounts, Report, report};
