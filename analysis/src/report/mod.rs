//! The report: one page, and the same figures as JSON.
//!
//! [`Figures`] are all of them; [`html`] shows them and computes nothing.

mod advice;
mod cells;
mod html;
mod pictures;

use serde::Serialize;

use crate::join::Units;
use crate::models::Models;
use crate::models::history::History;
use crate::outcome::Report;

pub use advice::Change;
pub use cells::{Cell, Tail};
pub use html::html;

/// What the page is about.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// First and last day.
    pub days: Option<[String; 2]>,
    /// Gateways.
    pub gateways: usize,
    /// Child orders.
    pub children: usize,
    /// KPI windows.
    pub windows: usize,
    /// Of this program.
    pub version: &'static str,
}

/// All figures of the page.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What it is about.
    pub provenance: Provenance,
    /// Outcome KPIs, joins, bad rows.
    pub outcome: Report,
    /// Burst tax by symbol and venue: mean shortfall of distorted less clean orders, bps, nothing matched.
    pub cells: Vec<Cell>,
    /// Quantiles of the shortfall in each arm of the burst tax.
    pub tails: Vec<Tail>,
    /// Chains, branches, scores.
    pub models: Models,
    /// What to change, the dearest first.
    pub changes: Vec<Change>,
}

/// Computes them.
pub fn figures(units: &Units, history: &History, outcome: Report, models: Models) -> Figures {
    let days = history.days();
    let date = |day: Option<&i64>| day.map(|day| crate::generate::civil_date(*day));
    let provenance = Provenance {
        days: date(days.first()).zip(date(days.last())).map(|(first, last)| [first, last]),
        gateways: units.gateway.names.len(),
        children: units.len(),
        windows: history.runs.iter().map(|run| run.windows.len()).sum(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let changes = advice::changes(&outcome.kpis);
    Figures {
        provenance,
        cells: cells::cells(units),
        tails: cells::tails(units),
        changes,
        outcome,
        models,
    }
}
