//! `wirepace-analysis calibrate`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use analysis::calibrate::{calibrated, thresholds};
use analysis::error::Error;
use analysis::join::join;
use analysis::models::history::History;
use analysis::models::models;
use analysis::outcome::Settings;
use analysis::tables::Source;
use model::config::Config;
use serde_json::json;

use super::{EXIT_DONE, limits, write_json};
use crate::cli::Calibrate;
use crate::output::out;

/// What is calibrated when nothing else is given: the table that comes with the gateway for replays.
const DEFAULT_CONFIG: &str = include_str!("../../../configs/replay.toml");

/// Runs it.
pub async fn run(args: &Calibrate) -> Result<u8, Error> {
    let (name, config) = match &args.config {
        Some(path) => {
            (path.display().to_string(), std::fs::read_to_string(path).map_err(Error::file(path))?)
        }
        None => ("the built-in config".to_owned(), DEFAULT_CONFIG.to_owned()),
    };
    let refused = |name: &str, errors: Vec<model::config::ConfigError>| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Error::Usage(format!("{name}: {}", lines.join("\n")))
    };
    Config::from_toml(&name, &config).map_err(|errors| refused(&name, errors))?;
    let source = Source::open(&args.input, limits(args.resources)).await?;
    let units = join(&source).await?;
    let history = History::read(&source).await?;
    let settings = Settings::default();
    let models = models(&history, &units, &settings);
    let found = thresholds(&units, &settings);
    // Coefficients that tell less than the state itself would make the gateway worse.
    let useful = models.compression.as_ref().filter(|m| m.model.brier < m.persists_as_often.brier);
    let (text, changes) = calibrated(&config, &found, useful)
        .map_err(|error| Error::Usage(format!("{name}: {error}")))?;
    let days = history.days();
    let provenance = json!({
        "data": args.input.display().to_string(),
        "first_day": days.first().map(|day| date(*day)),
        "last_day": days.last().map(|day| date(*day)),
        "files": source.files.len(),
        "children": units.len(),
        "windows": history.runs.iter().map(|run| run.windows.len()).sum::<usize>(),
        "config": name,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("WIREPACE_COMMIT"),
    });
    let text = format!("{}\n{text}", comments(&provenance, &changes, &found, useful.is_some()));
    let out_name = args.out.display().to_string();
    // By the reader of `wirepace check`: what it would refuse is not written.
    Config::from_toml(&out_name, &text).map_err(|errors| refused(&out_name, errors))?;
    std::fs::write(&args.out, &text).map_err(Error::file(&args.out))?;
    let value = json!({
        "provenance": provenance, "changes": changes, "thresholds": found, "models": models,
    });
    let text = write_json(&beside(&args.out), &value)?;
    if args.json {
        out(format_args!("{text}"));
    } else {
        for change in &changes {
            out(format_args!(
                "{} {}: {} -> {}",
                change.state, change.condition, change.old, change.new
            ));
        }
        out(format_args!("{out_name}: {} bounds changed", changes.len()));
    }
    Ok(EXIT_DONE)
}

/// `T.toml` -> `T.json`.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("json")
}

fn comments(
    provenance: &serde_json::Value,
    changes: &[analysis::calibrate::Change],
    found: &[analysis::calibrate::Threshold],
    has_model: bool,
) -> String {
    let mut text = String::from("# Calibrated by wirepace-analysis.\n");
    for (key, value) in provenance.as_object().into_iter().flatten() {
        let _ = writeln!(text, "# {key}: {value}");
    }
    for change in changes {
        let _ = writeln!(
            text,
            "# {}.{} {}: {} (was {})",
            change.machine, change.state, change.condition, change.new, change.old
        );
    }
    for threshold in found.iter().filter(|threshold| threshold.value.is_none()) {
        let _ = writeln!(
            text,
            "# {}: as it was, no value of it was seen to cost more",
            threshold.input
        );
    }
    if !has_model {
        text.push_str(
            "# p_compressed_drain: as it was, nothing tells more than the state itself\n",
        );
    }
    text
}

/// The date of a day since 1970.
fn date(day: i64) -> String {
    analysis::generate::civil_date(day)
}
