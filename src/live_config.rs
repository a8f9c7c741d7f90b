//! `wirepace config`.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use control::client::{self, ClientError};
use control::live_config::change_json;
use control::request::{ConfigText, Request};
use model::config::live::{KeyChange, Sourced};
use serde_json::{Value, json};

use crate::cli::{Asked, ConfigArgs, ConfigFile, ConfigVerb, Target};
use crate::figures::counted;
use crate::start_here;
use crate::table::Table;

/// Runs it.
pub fn main(args: &ConfigArgs) -> u8 {
    match &args.verb {
        ConfigVerb::Check(file) => check(file),
        ConfigVerb::Diff(file) => diff(file),
        ConfigVerb::Apply { config, confirm, json } => apply(config, *confirm, *json),
        ConfigVerb::Confirm(asked) => ask(&asked.target, &Request::ConfigConfirm {}, asked.json),
        ConfigVerb::Rollback { revision, target, json } => {
            ask(target, &Request::ConfigRollback { revision: *revision }, *json)
        }
        ConfigVerb::History(asked) => history(asked),
    }
}

/// The gateway that runs by the name in the config; `None` = none does.
///
/// # Errors
/// The exit code, after the reason was printed.
fn running(new: &Sourced, path: &Path) -> Result<Option<Sourced>, u8> {
    let target = Target { config: Some(path.to_owned()), instance: None };
    let dir = crate::instance::find(&target)?;
    let answer = match client::request(&dir.control_socket(), &Request::ConfigGet {}) {
        Ok(answer) => answer,
        Err(ClientError::NotRunning(_)) => return Ok(None),
        Err(error) => return Err(crate::failed(error)),
    };
    let (file, text) = (answer["file"].as_str(), answer["text"].as_str());
    let (Some(file), Some(text)) = (file, text) else {
        return Err(crate::failed("the gateway does not say by which config it runs"));
    };
    let Ok(running) = Sourced::read(file, text) else {
        let file = &new.file;
        return Err(crate::failed(format_args!(
            "{file} runs by a config that this version does not read"
        )));
    };
    let windows = serde_json::from_value::<Vec<u32>>(answer["window_messages"].clone());
    Ok(Some(match windows {
        Ok(windows) => running.in_windows(&windows),
        Err(_) => running,
    }))
}

/// What would change, where a gateway runs.
fn planned(args: &ConfigFile) -> Result<(Sourced, Option<Vec<KeyChange>>), u8> {
    let new = match crate::config::source(&args.config) {
        Ok(new) => new,
        Err(unusable) => {
            unusable.print();
            return Err(crate::EXIT_USAGE);
        }
    };
    let running = running(&new, &args.config)?;
    let changes = running.map(|old| old.change_to(&new));
    Ok((new, changes))
}

fn check(args: &ConfigFile) -> u8 {
    let (new, changes) = match planned(args) {
        Ok(planned) => planned,
        Err(code) => return code,
    };
    let obstacles = start_here::obstacles(&new.config);
    let live = changes.as_ref().map(|changes| changes.iter().all(|change| change.is_live));
    if args.json {
        let changes = changes.as_ref().map(|c| c.iter().map(change_json).collect::<Vec<_>>());
        crate::print_json(&json!({
            "config_digest": new.config.digest, "live": live, "changes": changes,
            "warnings": new.config.warnings, "start_fails_here": obstacles,
        }));
    } else {
        new.config.warnings.iter().for_each(|warning| out!("warning: {warning}"));
        out!("{}: the config is good", new.file);
        start_here::print(&obstacles);
        match &changes {
            None => out!("no gateway runs by its name"),
            Some(changes) => show_changes(changes.iter().map(change_json)),
        }
    }
    if live == Some(false) { crate::refused("it needs a restart") } else { crate::EXIT_DONE }
}

fn diff(args: &ConfigFile) -> u8 {
    let (new, changes) = match planned(args) {
        Ok((new, Some(changes))) => (new, changes),
        Ok((new, None)) => {
            return crate::failed(format_args!(
                "no gateway runs by the name {}",
                new.config.gateway.name
            ));
        }
        Err(code) => return code,
    };
    let changes = changes.iter().map(change_json);
    if args.json {
        crate::print_json(&json!({
            "config_digest": new.config.digest, "changes": changes.collect::<Vec<_>>(),
        }));
    } else {
        show_changes(changes);
    }
    crate::EXIT_DONE
}

fn apply(path: &Path, confirm: Option<Duration>, json: bool) -> u8 {
    let text = match crate::config::text(path) {
        Ok(text) => text,
        Err(unusable) => {
            unusable.print();
            return crate::EXIT_USAGE;
        }
    };
    let target = Target { config: Some(path.to_owned()), instance: None };
    ask(&target, &request(path, text, confirm), json)
}

/// To put a text in force.
pub fn request(path: &Path, text: String, confirm: Option<Duration>) -> Request {
    Request::ConfigApply {
        file: path.display().to_string(),
        text: ConfigText(text),
        confirm_ns: confirm.map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
    }
}

/// Asks for a change and says what came of it.
fn ask(target: &Target, request: &Request, json: bool) -> u8 {
    let dir = match crate::instance::find(target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    match client::request(&dir.control_socket(), request) {
        Ok(answer) if json => crate::print_json(&answer),
        Ok(answer) => show(&answer),
        Err(error) => return refuse(&error, json),
    }
    crate::EXIT_DONE
}

fn refuse(error: &ClientError, json: bool) -> u8 {
    if let ClientError::Refused { reply, .. } = error {
        if json {
            crate::print_json(reply);
        } else if let Some(changes) = reply["changes"].as_array() {
            show_changes(changes.iter().cloned());
        }
    }
    if error.is_bad_usage() { crate::refused(error) } else { crate::failed(error) }
}

fn show(answer: &Value) {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    show_changes(changes.iter().cloned());
    let cores = counted(answer["cores"].as_array().map_or(0, |cores| cores.len() as u64), "core");
    if answer["reverted"] == true {
        out!("back in force on {cores}: the confirmed config");
    } else if answer["confirmed"] == false {
        let within =
            Duration::try_from_secs_f64(answer["confirm_within_s"].as_f64().unwrap_or(0.0));
        out!(
            "in force on {cores}; it goes back in {} unless `wirepace config confirm` follows",
            humantime::format_duration(within.unwrap_or_default())
        );
    } else {
        out!("confirmed: revision {}", answer["revision"]);
    }
}

/// One row for each key.
fn show_changes(changes: impl Iterator<Item = Value>) {
    let mut table = Table::new(["takes", "key", "was", "is", "where"]);
    for change in changes {
        let text = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
        let takes = if change["live"] == true { "live" } else { "restart" };
        let place = format!("{}:{}", text("file"), change["line"]);
        table.row([takes.to_owned(), text("key"), text("was"), text("is"), place]);
    }
    if table.is_empty() {
        out!("no value changes");
    } else {
        out!("{table}");
    }
}

fn history(asked: &Asked) -> u8 {
    let dir = match crate::instance::find(&asked.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let answer = match client::request(&dir.control_socket(), &Request::ConfigHistory {}) {
        Ok(answer) => answer,
        Err(error) => return crate::failed(error),
    };
    if asked.json {
        crate::print_json(&answer);
        return crate::EXIT_DONE;
    }
    let mut table = Table::new(["revision", "confirmed at (UTC)", "digest", "bytes", ""]);
    for row in answer["revisions"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let mark = if row["confirmed"] == true { "confirmed" } else { "" };
        table.row([
            row["revision"].to_string(),
            time(row["confirmed_at_unix_s"].as_u64().unwrap_or(0)),
            row["digest"].as_str().unwrap_or("-").to_owned(),
            row["bytes"].to_string(),
            mark.to_owned(),
        ]);
    }
    out!("{table}");
    if let Some(digest) = answer["unconfirmed"].as_str() {
        out!("in force and not confirmed: {}", digest.get(..16).unwrap_or(digest));
    }
    crate::EXIT_DONE
}

/// 2026-01-31T12:00:00Z.
fn time(unix_s: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s)).to_string()
}
