//! Models behind a calibration. Each is judged on days that it has not seen ([`estimate::walk`]).
//!
//! | module | |
//! |---|---|
//! | [`history`] | windows in order, with features and states |
//! | [`chains`] | transitions between states, what each state costs, E\[C\] |
//! | [`branches`] | which parents were TIMELY, BURST-SYNC or LATE-RECOVERY, by a stated rule |
//! | [`compression`] | P(COMPRESSED_DRAIN in the windows to come) |
//! | [`cork`] | the corking tax as a line in what is not sent and how it is flushed |
//! | [`overlay`] | what the path adds to a market model, at the mean and at q95 |

pub mod branches;
pub mod chains;
pub mod compression;
pub mod cork;
pub mod history;
pub mod market;
pub mod overlay;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::join::Units;
use crate::outcome::Settings;
use history::History;

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Models {
    /// By machine; a machine that never decided has none.
    pub chains: BTreeMap<&'static str, chains::ChainModel>,
    /// Parents.
    pub branches: branches::Branches,
    /// Absent without windows of both kinds on two days.
    pub compression: Option<compression::Compression>,
    /// Absent without the features.
    pub cork: Option<cork::Cork>,
    /// Absent without the features.
    pub overlay: Option<overlay::Overlay>,
}

/// Fits all models.
pub fn models(history: &History, units: &Units, settings: &Settings) -> Models {
    let compression = compression::fit(history);
    Models {
        chains: chains::chains(history, units, settings),
        branches: branches::branches(units),
        cork: cork::fit(units),
        overlay: compression.as_ref().and_then(|model| overlay::fit(units, model)),
        compression,
    }
}
