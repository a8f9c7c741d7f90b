//! The report of a run: `report.json` for programs, `report.html` for people.
//!
//! [`figures`] works out every figure of every arm once; [`json`] and [`page`] show the same, and [`better`] is
//! the part of the page that speaks for the other arms; [`words`] says the verdict in sentences, for the page and for a
//! terminal.

mod better;
mod figures;
mod json;
mod page;
mod plots;
pub mod words;

use std::fs;
use std::io;
use std::path::Path;

use super::result::RunResult;
use super::verdict::Verdict;
use figures::Figures;

/// Judges `run` and writes both files into `directory`.
///
/// # Errors
/// A file cannot be written.
pub fn write(run: &RunResult, directory: &Path) -> io::Result<Verdict> {
    let verdict = Verdict::of(run);
    let figures = figures::of_run(run);
    let json = json::report(run, &verdict, &figures);
    fs::write(directory.join("report.json"), format!("{json:#}\n"))?;
    fs::write(directory.join("report.html"), page::page(run, &verdict, &figures))?;
    Ok(verdict)
}

/// The figures of a workload, by question and workload.
type OfRun = Vec<Vec<Figures>>;
