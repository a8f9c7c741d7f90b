//! `wirepace-analysis validate`: the offline replay of a promotion.

use std::path::Path;

use analysis::error::Error;
use analysis::join::join;
use analysis::offline::{Recorded, Side, validation};
use analysis::outcome::Settings;
use analysis::tables::Source;
use model::config::Config;

use super::{EXIT_DONE, EXIT_GATE, limits};
use crate::cli::Validate;
use crate::output::out;

/// Runs it.
pub async fn run(args: &Validate) -> Result<u8, Error> {
    let (old, new) = (config(&args.old)?, config(&args.new)?);
    let source = Source::open(&args.input, limits(args.resources)).await?;
    let units = join(&source).await?;
    let recorded = Recorded::read(&source).await?;
    let changed: Vec<String> = new
        .regime
        .machines
        .iter()
        .filter(|machine| !old.regime.machines.contains(machine))
        .map(|machine| machine.name.clone())
        .collect();
    let validation = validation(
        &units,
        &recorded.decide(&old),
        &recorded.decide(&new),
        &changed,
        &Settings::default(),
    );
    if args.json {
        let text = serde_json::to_string_pretty(&validation)
            .map_err(|error| Error::Empty(error.to_string()))?;
        out(format_args!("{text}"));
    } else {
        for (machine, [old, new]) in &validation.machines {
            out(format_args!("{machine}: {} -> {}", told(old), told(new)));
        }
        for gate in &validation.gates {
            out(format_args!(
                "{}: {}",
                gate.name,
                if gate.holds { "holds" } else { "does not hold" }
            ));
        }
    }
    Ok(if validation.holds { EXIT_DONE } else { EXIT_GATE })
}

fn config(path: &Path) -> Result<Config, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    Config::from_toml(&path.display().to_string(), &text).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Error::Usage(lines.join("\n"))
    })
}

fn told(side: &Side) -> String {
    let cost = match (side.cost_bps, side.interval) {
        (Some(cost), Some(interval)) => {
            format!("{cost:.2} bps ({:.2} .. {:.2})", interval.low, interval.high)
        }
        _ => "no cost known".to_owned(),
    };
    format!(
        "{:.1} % of children distorted, {} transitions, {cost}",
        100.0 * side.distorted_share,
        side.transitions
    )
}
