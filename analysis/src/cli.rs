//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use analysis::generate::{Confounder, Fault};
use analysis::kpi::Kpi;
use analysis::outcome::Design;

/// What transport distortion costs, from wire timelines and fills, and the thresholds that follow.
#[derive(Parser)]
#[command(name = "wirepace-analysis", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make up timelines and fills with known effects
    Generate(Generate),
    /// Estimate the outcome KPIs
    Outcome(Outcome),
    /// Write a config with calibrated bounds and coefficients
    Calibrate(Calibrate),
    /// Run history through the regime engine under old and new tables. Exit code 3 when a gate does not hold
    Validate(Validate),
    /// Write a page with all of it, and the figures beside it as JSON
    Report(Report),
}

#[derive(Args)]
pub struct Generate {
    /// Directory for the tables and truth.json; made if it is not there
    #[arg(long)]
    pub out: PathBuf,
    /// Everything follows from it
    #[arg(long)]
    pub seed: u64,
    /// Rows of packets; a quarter of it are child orders
    #[arg(long, default_value_t = 40_000)]
    pub rows: u64,
    /// Planted cost of a KPI, such as BTU=3; may be given several times
    #[arg(long = "effect", value_name = "KPI=BPS", value_parser = effect)]
    pub effects: Vec<(Kpi, f64)>,
    /// What makes the path and the outcomes move together
    #[arg(long)]
    pub confounder: Option<Confounder>,
    /// What goes wrong with the recording
    #[arg(long)]
    pub fault: Option<Fault>,
    /// Who is governed by a profile, so that designs have something to compare; nobody unless told otherwise
    #[arg(long)]
    pub design: Option<Design>,
    /// Orders and fills for the orders of timelines that gateways have written: a directory with
    /// gateway=NAME/date=DATE below it. It is copied to OUT
    #[arg(long, conflicts_with_all = ["confounder", "fault", "design", "gateways", "days"])]
    pub timelines: Option<PathBuf>,
    /// Gateways
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub gateways: u64,
    /// Trading days
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=250))]
    pub days: u64,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// What queries may use.
#[derive(Args, Clone, Copy)]
pub struct Resources {
    /// Memory for queries, MiB; what needs more spills to disk
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    pub memory_mib: u64,
    /// Parallel parts of a query
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub threads: u64,
}

#[derive(Args)]
pub struct Outcome {
    /// Directory with the tables
    #[arg(long = "in")]
    pub input: PathBuf,
    /// Directory for outcome.json; made if it is not there
    #[arg(long)]
    pub out: PathBuf,
    /// Only this design; otherwise the strongest that has the units
    #[arg(long)]
    pub design: Option<Design>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Draws of the bootstrap
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    pub draws: u64,
    #[command(flatten)]
    pub resources: Resources,
    /// Print outcome.json
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Calibrate {
    /// Directory with the tables
    #[arg(long = "in")]
    pub input: PathBuf,
    /// Config to write; what it rests on stands beside it as JSON
    #[arg(long)]
    pub out: PathBuf,
    /// Config in use; without it the one that comes with the gateway for replays
    #[arg(long)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub resources: Resources,
    /// Print what it rests on
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Validate {
    /// Directory with the tables
    #[arg(long = "in")]
    pub input: PathBuf,
    /// Config in use
    #[arg(long)]
    pub old: PathBuf,
    /// Config that is to follow it
    #[arg(long)]
    pub new: PathBuf,
    #[command(flatten)]
    pub resources: Resources,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Report {
    /// Directory with the tables
    #[arg(long = "in")]
    pub input: PathBuf,
    /// Page to write
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub resources: Resources,
    /// Print the figures
    #[arg(long)]
    pub json: bool,
}

/// `KPI=BPS`.
fn effect(text: &str) -> Result<(Kpi, f64), String> {
    let (kpi, bps) = text.split_once('=').ok_or("KPI=BPS, such as BTU=3")?;
    let bps: f64 = bps.parse().map_err(|_| format!("{bps:?} is no number of basis points"))?;
    if !(0.0..=1_000.0).contains(&bps) {
        return Err("0 to 1000 basis points: costs".to_owned());
    }
    Ok((kpi.parse()?, bps))
}
