//! `wirepace ab`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rig::ab::config::Config;
use rig::ab::report;
use rig::ab::result::{Header, RunResult};
use rig::ab::run::{RunError, Setup, not_comparable, run};
use rig::ab::sandbox::{self, SandboxError};
use rig::ab::verdict::Verdict;
use sha2::{Digest, Sha256};

use crate::cli::Ab;

/// What was recorded.
const RESULT: &str = "result.json";

/// Runs it: this process starts the one that does it all, in namespaces of its own, and waits.
pub fn main(args: &Ab) -> u8 {
    let began = Instant::now();
    let (text, config) = match load(args) {
        Ok(loaded) => loaded,
        Err(why) => return crate::refused(why),
    };
    if sandbox::hides(&args.out) {
        let out = args.out.display();
        return crate::refused(format_args!("{out}: it cannot lie below /run, /proc or /sys"));
    }
    if let Err(error) = fs::create_dir_all(&args.out) {
        return crate::failed(format_args!("{}: {error}", args.out.display()));
    }
    let stop = match crate::interrupt::flag() {
        Ok(stop) => stop,
        Err(error) => return crate::failed(error),
    };
    let header = header(args, &text);
    let only = args.only.as_ref().and_then(|names| Some((&**names.first()?, &**names.get(1)?)));
    let setup = Setup {
        config: &config,
        quick: args.quick,
        only,
        fault: args.fault,
        out: &args.out,
        stop: &stop,
        header: &header,
        began,
    };
    if args.inside {
        if let Err(error) = sandbox::enter() {
            return crate::failed(format_args!("the place of the comparison: {error}"));
        }
        return match run(&setup) {
            Ok(result) => conclude(args, &result),
            Err(
                error @ (RunError::Arm { .. } | RunError::Workload { .. } | RunError::Twice(_)),
            ) => crate::refused(error),
            Err(error) => crate::failed(error),
        };
    }
    match again().map(|inside| sandbox::run(inside, &stop)) {
        Ok(Ok(code)) => code,
        Ok(Err(error @ SandboxError::NoNamespaces(_))) => {
            conclude(args, &not_comparable(&setup, error.to_string()))
        }
        Ok(Err(error)) => crate::failed(error),
        Err(error) => crate::failed(error),
    }
}

fn load(args: &Ab) -> Result<(String, Config), String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", args.config.display());
    let text = fs::read_to_string(&args.config).map_err(|error| named(&error))?;
    let mut config = Config::from_toml(&text).map_err(|error| named(&error))?;
    config.seed = args.seed.unwrap_or(config.seed);
    Ok((text, config))
}

/// This command once more, for the process inside.
fn again() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--inside");
    Ok(command)
}

fn header(args: &Ab, text: &str) -> Header {
    let digest = Sha256::digest(text.as_bytes());
    let words = std::env::args().filter(|word| word != "--inside");
    Header {
        quick: args.quick,
        command: std::iter::once("wirepace".to_owned())
            .chain(words.skip(1))
            .collect::<Vec<_>>()
            .join(" "),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: env!("WIREPACE_COMMIT").to_owned(),
        config_digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ..Header::default()
    }
}

/// Writes what was recorded and what it comes to.
fn conclude(args: &Ab, result: &RunResult) -> u8 {
    let written = write(&args.out.join(RESULT), result);
    let verdict = match written.and_then(|()| report::write(result, &args.out)) {
        Ok(verdict) => verdict,
        Err(error) => return crate::failed(format_args!("{}: {error}", args.out.display())),
    };
    if args.json {
        crate::print_json(&summary(args, result, &verdict));
    } else {
        verdict.lines().iter().for_each(|line| out!("{line}"));
        out!("report    {}", args.out.join("report.html").display());
    }
    if verdict.holds() { crate::EXIT_DONE } else { crate::EXIT_NOT_SHOWN }
}

/// The verdict and where everything is.
fn summary(args: &Ab, result: &RunResult, verdict: &Verdict) -> serde_json::Value {
    serde_json::json!({
        "verdict": verdict.outcome.name(),
        "lines": verdict.lines(),
        "seed": result.header.seed,
        "quick": result.header.quick,
        "interrupted": result.header.interrupted,
        "duration_s": result.header.duration_ns as f64 / 1e9,
        "out": args.out.display().to_string(),
    })
}

fn write(path: &Path, result: &RunResult) -> std::io::Result<()> {
    let file = std::io::BufWriter::new(fs::File::create(path)?);
    serde_json::to_writer(file, result).map_err(std::io::Error::from)
}
