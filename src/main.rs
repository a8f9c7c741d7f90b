//! `wirepace`: wiring only. Each subcommand is a file; what it does lives in the crates below.

// First: what follows prints with its `out!`.
#[macro_use]
mod output;

mod ab;
mod advice;
mod bugreport;
mod capture;
mod check;
mod cli;
mod config;
mod doctor;
mod drill;
mod drops;
mod environment;
mod feed;
mod figures;
mod filter;
mod flows;
mod generate;
mod host;
mod human;
mod instance;
mod interrupt;
mod kpis;
mod live_config;
mod log;
mod manual;
mod mode;
mod observe;
mod profile;
mod regime;
mod replay;
mod run;
mod stalls;
mod start_here;
mod status;
mod stop;
mod summary;
mod table;
mod timeline;
mod top;
mod watch;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use output::object as print_json;

use cli::{Cli, Command};

/// Done.
const EXIT_DONE: u8 = 0;
/// Failed at run time.
const EXIT_FAILED: u8 = 1;
/// Bad usage or config.
const EXIT_USAGE: u8 = 2;
/// A gate or drill did not hold, or something is wrong with the host.
const EXIT_NOT_SHOWN: u8 = 3;

fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|mut given| {
        if wants_json(&given) {
            output::want_json();
        }
        Cli::from_arg_matches_mut(&mut given)
    });
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return bad_usage(&error),
    };
    let log = log::start(level(&cli.command));
    let code = match cli.command {
        Command::Run(args) => run::main(&args, log),
        Command::Replay(args) => replay::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Kpis(args) => kpis::main(&args),
        Command::Profile(args) => profile::main(&args),
        Command::Halt(args) => stop::main(control::request::Word::Halt, &args),
        Command::Passthrough(args) => stop::main(control::request::Word::Passthrough, &args),
        Command::Resume(args) => stop::main(control::request::Word::Resume, &args),
        Command::Status(args) => status::main(&args),
        Command::Advice(args) => advice::main(&args),
        Command::Regime(args) => regime::main(&args),
        Command::Feed(args) => feed::main(&args),
        Command::Mode(args) => mode::main(&args),
        Command::Drops(args) => drops::main(&args),
        Command::Flows(args) => flows::main(&args),
        Command::Stalls(args) => stalls::main(&args),
        Command::Top(args) => top::main(&args),
        Command::Bugreport(args) => bugreport::main(&args),
        Command::Capture(args) => capture::main(&args),
        Command::Config(args) => live_config::main(&args),
        Command::Doctor(args) => doctor::main(&args),
        Command::Drill(args) => drill::main(&args),
        Command::Ab(args) => ab::main(&args),
        Command::Observe(args) => observe::main(&args),
        Command::Manual(args) => manual::main(&args),
        Command::Generate(args) => generate::main(&args),
    };
    ExitCode::from(output::finish(code))
}

/// What is worth a line on stderr. What machines decide in a drill stands in its result.
const fn level(command: &Command) -> tracing::Level {
    match command {
        Command::Drill(_) => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    }
}

/// Whether the command, or the verb of a command, has a `--json` and it was given.
fn wants_json(given: &ArgMatches) -> bool {
    match given.subcommand() {
        Some((_, verb)) => wants_json(verb),
        None => given.try_get_one("json").ok().flatten().is_some_and(|json| *json),
    }
}

/// What is no command line, and help, which is no failure.
fn bad_usage(error: &clap::Error) -> ExitCode {
    // Nobody is told when that fails: there is no other place.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::from(output::finish(EXIT_DONE));
    }
    // There are no matches to ask.
    if std::env::args_os().any(|argument| argument == "--json") {
        output::want_json();
    }
    let said = error.to_string();
    // Behind the first paragraph stands how to use it.
    let why = said.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let why = why.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    output::keep_refusal(serde_json::json!({ "error": why }));
    ExitCode::from(output::finish(EXIT_USAGE))
}

/// Says why and gives the exit code of a failure at run time.
fn failed(why: impl std::fmt::Display) -> u8 {
    say_why(why);
    EXIT_FAILED
}

/// Says why and gives the exit code of bad usage.
fn refused(why: impl std::fmt::Display) -> u8 {
    say_why(why);
    EXIT_USAGE
}

/// On stderr, and in the object of who wants JSON.
fn say_why(why: impl std::fmt::Display) {
    let why = why.to_string();
    say!("wirepace: {why}");
    output::keep_refusal(serde_json::json!({ "error": why }));
}
