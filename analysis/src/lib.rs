//! Outcome analysis: what transport distortion costs, from wire timelines and fills, and the thresholds
//! that follow.
//!
//! | module | what it is |
//! |---|---|
//! | [`kpi`] | the outcome KPIs: contrast, outcome, formula |
//! | [`inputs`] | features that are read of a window |
//! | [`tables`] | tables that come in, Parquet or CSV; bad rows; [`tables::Source`] is what queries run on |
//! | [`join`] | SQL from tables to one row per child order ([`join::Units`]): match, window, regime, prices |
//! | [`outcome`] | KPIs from units: arms, covariates, placebos, verdict; the statistics are in the crate `estimate` |
//! | [`models`] | chains of states, P(compressed drain), corking tax, overlay: what a calibration rests on |
//! | [`calibrate`] | thresholds and coefficients, and the config that holds them |
//! | [`offline`] | history through the gateway's regime engine, under old and new tables |
//! | [`report`] | the page, and its figures as JSON |
//! | [`generate`] | made-up worlds with planted effects |
//! | [`error`] | what can go wrong, by name, with exit codes |

pub mod calibrate;
pub mod error;
pub mod generate;
pub mod inputs;
pub mod join;
pub mod kpi;
pub mod models;
pub mod offline;
pub mod outcome;
pub mod report;
pub mod tables;
