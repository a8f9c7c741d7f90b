//! What is tried out away from live traffic: drills, comparisons, captures that are made up.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::file_to_write;

/// `wirepace drill`.
#[derive(Debug, Args)]
pub struct Drills {
    /// `list` or `run`.
    #[command(subcommand)]
    pub verb: DrillVerb,
}

/// What to do with drills.
#[derive(Debug, Subcommand)]
pub enum DrillVerb {
    /// Every drill, with what it injects.
    List {
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Runs drills, each with its twin. Exit code 3 when one does not hold.
    Run(DrillRun),
}

/// `wirepace drill run`.
#[derive(Debug, Args)]
pub struct DrillRun {
    /// Their names, or `all`.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Write a page for each drill, an index and drills.json here.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// One seed, instead of three.
    #[arg(long)]
    pub quick: bool,
    /// The same seed gives the same JSON, byte for byte.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A config whose bounds machines have instead of their own, such as one that `wirepace-analysis calibrate`
    /// has written. How quickly machines move, and all else, stays the drill's.
    #[arg(long, value_name = "CONFIG")]
    pub thresholds: Option<PathBuf>,
    /// Leaves out an action of a profile (`smooth.segment`) or of advice (`advice.urgency`): the drill that
    /// needs it must fail.
    #[arg(long, value_name = "PROFILE.FIELD", hide = true)]
    pub without: Vec<String>,
    /// Lets machines see what our own profiles add: the drill of self-excitation must fail.
    #[arg(long, hide = true)]
    pub unprotected: bool,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace ab`.
#[derive(Debug, Args)]
pub struct Ab {
    /// The config.
    #[arg(long)]
    pub config: PathBuf,
    /// Write the report and everything that was recorded here.
    #[arg(long)]
    pub out: PathBuf,
    /// At most a minute: steady-orders alone, in short blocks.
    #[arg(long)]
    pub quick: bool,
    /// Draw from this seed instead of the config's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only these two arms, the first compared with the last; the same twice is a comparison of nothing.
    #[arg(long, value_names = ["ARM", "ARM"], num_args = 2, hide = true)]
    pub only: Option<Vec<String>>,
    /// Plants a fault into the last arm: what the comparison must find.
    #[arg(long, requires = "only", value_parser = fault, hide = true)]
    pub fault: Option<rig::ab::fault::Fault>,
    /// Set for the process inside of the namespaces.
    #[arg(long, hide = true)]
    pub inside: bool,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What kind of traffic to write.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TrafficKind {
    /// Order entry: bursts of orders, cancels, TCP sessions.
    Orders,
    /// Market data: multicast feeds in bursts.
    MarketData,
    /// Both.
    Mixed,
}

/// `wirepace generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Kind of traffic.
    #[arg(long)]
    pub kind: TrafficKind,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds of traffic.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Market data at about so many frames per second, up to a million, in bursts of five on each line;
    /// default: some 3,000 in bursts of up to 40.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub feed_rate: Option<u32>,
    /// Capture to write.
    #[arg(long, value_parser = file_to_write)]
    pub out: PathBuf,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

fn fault(text: &str) -> Result<rig::ab::fault::Fault, String> {
    let all = rig::ab::fault::Fault::ALL;
    all.into_iter().find(|fault| fault.name() == text).ok_or_else(|| {
        let names = all.map(rig::ab::fault::Fault::name);
        format!("there are {}", names.join(", "))
    })
}
