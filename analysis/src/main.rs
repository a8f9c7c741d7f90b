//! `wirepace-analysis`: wiring only. Each subcommand is a file; what it does lives in the library.

mod cli;
mod command;
mod output;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(format_args!("wirepace-analysis: {error}"));
            return ExitCode::from(1);
        }
    };
    let done = match cli.command {
        Command::Generate(args) => runtime.block_on(command::generate::run(&args)),
        Command::Calibrate(args) => runtime.block_on(command::calibrate::run(&args)),
        Command::Validate(args) => runtime.block_on(command::validate::run(&args)),
        Command::Report(args) => runtime.block_on(command::report::run(&args)),
        Command::Outcome(args) => runtime.block_on(command::outcome::run(&args)),
    };
    let code = match done {
        Ok(code) => code,
        Err(error) => {
            output::say(format_args!("wirepace-analysis: {error}"));
            error.exit_code()
        }
    };
    ExitCode::from(output::exit_code(code))
}
