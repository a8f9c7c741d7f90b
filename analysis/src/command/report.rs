//! `wirepace-analysis report`.

use analysis::error::Error;
use analysis::join::join;
use analysis::models::history::History;
use analysis::models::models;
use analysis::outcome::{Settings, report};
use analysis::report::{figures, html};
use analysis::tables::Source;

use super::{EXIT_DONE, limits, write_json};
use crate::cli::Report;
use crate::output::out;

/// Runs it.
pub async fn run(args: &Report) -> Result<u8, Error> {
    let source = Source::open(&args.input, limits(args.resources)).await?;
    let units = join(&source).await?;
    let history = History::read(&source).await?;
    let settings = Settings::default();
    let outcome = report(&units, &source.bad, &settings);
    let figures = figures(&units, &history, outcome, models(&history, &units, &settings));
    std::fs::write(&args.out, html(&figures)).map_err(Error::file(&args.out))?;
    let text = write_json(&args.out.with_extension("json"), &figures)?;
    if args.json {
        out(format_args!("{text}"));
    } else {
        out(format_args!("{}: {} child orders", args.out.display(), units.len()));
    }
    Ok(EXIT_DONE)
}
