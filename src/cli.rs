//! The command line: one definition, from which help, completions and man pages are made.

mod operate;
mod trials;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use operate::{
    Asked, BugReport, Capture, Commands, ConfigArgs, ConfigFile, ConfigVerb, Doctor, Flows, Stalls,
    Top, Watched,
};
pub use trials::{Ab, DrillRun, DrillVerb, Drills, Generate, TrafficKind};

/// Version, commit, and the DPDK that it was built against.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("WIREPACE_COMMIT"),
    ", DPDK ",
    env!("WIREPACE_DPDK"),
    ")"
);

/// Kernel-bypass gateway data plane: deterministic pacing on DPDK.
///
/// Exit codes: 0 done, 1 failed at run time, 2 bad usage or config, 3 a gate or drill did not hold.
#[derive(Debug, Parser)]
#[command(name = "wirepace", version = VERSION, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The gateway: forwards between its ports until SIGTERM, then drains and prints a summary.
    Run(Run),
    /// Sends a capture through the gateway in virtual time and writes the paced capture.
    Replay(Replay),
    /// Checks a config: every error with file, line and column; else what it amounts to.
    Check(Check),
    /// The catalogue of KPIs.
    Kpis(Json),
    /// Shows or sets the shaping profile of a running gateway.
    Profile(Profile),
    /// Stops orders and replaces of a scope; exempt kinds pass.
    Halt(StopWord),
    /// Lets a scope pass unpaced.
    Passthrough(StopWord),
    /// Clears the word of a scope, and of that scope only.
    Resume(StopWord),
    /// Shows what a running gateway does.
    Status(Watched),
    /// The running gateway on a screen of its own.
    Top(Top),
    /// Packets that ended, by reason, port and class.
    Drops(Watched),
    /// The flows as they stand, those that hold most first.
    Flows(Flows),
    /// Turns of the data cores that took too long, with what happened around them.
    Stalls(Stalls),
    /// Puts all that is known of a gateway and its host into one archive, for somebody who was not there.
    Bugreport(BugReport),
    /// Copies packets of a running gateway into a pcapng, without slowing it.
    Capture(Capture),
    /// Shows what a running gateway advises strategies to do.
    Advice(Advice),
    /// Shows, pins or releases the regime machines of a running gateway, or freezes its baselines.
    Regime(Regime),
    /// Gives a running gateway KPIs from outside: cost, rejects, fills, each with an expiry.
    Feed(Feed),
    /// Shows or sets how much of what the regime machines decide is in force.
    Mode(ModeArgs),
    /// Checks, shows and changes the config of a running gateway.
    Config(ConfigArgs),
    /// What of this host stands in the way of a gateway, why, and what mends it. Exit code 3 when
    /// something does.
    Doctor(Doctor),
    /// Injects faults in virtual time and holds what the gateway does against what must show.
    Drill(Drills),
    /// Compares the kernel's path with wirepace: one workload through both, measured alike.
    Ab(Ab),
    /// KPIs of the kernel's path of a host, live: what Linux does between senders and the wire.
    Observe(Observe),
    /// Writes man pages and shell completions, made of this command line.
    Manual(Manual),
    /// Writes a seeded capture to try things on.
    Generate(Generate),
}

/// `wirepace run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The config.
    #[arg(long)]
    pub config: PathBuf,
    /// Stop by itself after so long ("10s", "500ms").
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The config; its clock must be "virtual".
    #[arg(long)]
    pub config: PathBuf,
    /// Capture of what comes from the inside: pcap or pcapng, plain or gzip.
    #[arg(long = "in", required_unless_present = "from_venue")]
    pub input: Option<PathBuf>,
    /// Capture of what comes from the venue: both directions are replayed.
    #[arg(long)]
    pub from_venue: Option<PathBuf>,
    /// Capture to write: pcapng with nanoseconds; a packet's time is its acceptance by the port.
    #[arg(long, value_parser = file_to_write)]
    pub out: PathBuf,
    /// Capture to write of what was delivered to the inside.
    #[arg(long, requires = "from_venue", value_parser = file_to_write)]
    pub delivered: Option<PathBuf>,
    /// A modelled strategy on the inside: the share of delivered market-data packets that it answers
    /// with an order, 0 to 1, drawn by the seed.
    #[arg(long, requires = "from_venue", value_parser = share_ppm)]
    pub react: Option<u32>,
    /// How long after the delivery it sends.
    #[arg(long, requires = "react", default_value = "20us", value_parser = duration)]
    pub think: Duration,
    /// Write the KPIs here too.
    #[arg(long, value_parser = file_to_write)]
    pub kpis: Option<PathBuf>,
    /// Write one row for each packet here (Parquet); other tables stand beside it: docs/timeline.md.
    #[arg(long, value_parser = file_to_write)]
    pub timeline: Option<PathBuf>,
    /// Read through DPDK's net_pcap instead of our reader (microseconds; same counters).
    #[arg(long, conflicts_with = "from_venue")]
    pub via_pmd: bool,
    /// Seed instead of the config's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Profile in force from the start, instead of `normal`.
    #[arg(long)]
    pub profile: Option<String>,
    /// At the end, freeze what baselines have learned and keep it where `[regime] baselines` says.
    #[arg(long)]
    pub freeze: bool,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace observe`.
#[derive(Debug, Args)]
pub struct Observe {
    /// The config; it has an [observe].
    #[arg(long)]
    pub config: PathBuf,
    /// Stop by itself after so long ("10s", "500ms"), whatever the config says.
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The config.
    #[arg(long)]
    pub config: PathBuf,
    /// Exit code 3 when a start on this host would fail: an interface or a CPU that is not there, a group that
    /// nobody made. Without it that is only said, since a config may be checked elsewhere.
    #[arg(long)]
    pub this_host: bool,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Output switch alone.
#[derive(Debug, Args)]
pub struct Json {
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Which running gateway is meant.
#[derive(Debug, Args)]
pub struct Target {
    /// The gateway that runs this config.
    #[arg(long, conflicts_with = "instance")]
    pub config: Option<PathBuf>,
    /// The gateway of this name. Without either: the only one there is.
    #[arg(long)]
    pub instance: Option<String>,
}

/// `wirepace profile`.
#[derive(Debug, Args)]
pub struct Profile {
    /// `set NAME` or `get`.
    #[command(subcommand)]
    pub verb: ProfileVerb,
}

/// What to do with the profile.
#[derive(Debug, Subcommand)]
pub enum ProfileVerb {
    /// Pins a profile; any but `normal` ends with its lease when control dies.
    Set {
        /// Its name in the config.
        name: String,
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Shows the profile in force.
    Get {
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// `wirepace halt | passthrough | resume`.
#[derive(Debug, Args)]
pub struct StopWord {
    /// `all`, `venue:NAME` or `class:NAME`.
    #[arg(long, default_value = "all")]
    pub scope: String,
    /// Write the shared page itself, without the control thread.
    #[arg(long)]
    pub direct: bool,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace advice`.
#[derive(Debug, Args)]
pub struct Advice {
    /// Go on, and show every change.
    #[arg(long)]
    pub watch: bool,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// One JSON object; with --watch one for each change, each on a line.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace regime`.
#[derive(Debug, Args)]
pub struct Regime {
    /// What to do; nothing = show.
    #[command(subcommand)]
    pub verb: Option<RegimeVerb>,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What to do with the machines.
#[derive(Debug, Subcommand)]
pub enum RegimeVerb {
    /// Pins a machine over a scope to a state; the pin expires.
    Pin {
        /// Name of the machine, such as `drain`.
        machine: String,
        /// `class:NAME`, `tx_queue:NAME` or `feed:NAME`.
        scope: String,
        /// Name of the state.
        state: String,
        /// For so long ("10s", "5min"); default and most: `[regime] pin`.
        #[arg(long = "for", value_parser = duration)]
        length: Option<Duration>,
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Ends a pin, a freeze or a hold-off; else steps down once, a latch notwithstanding.
    Release {
        /// Name of the machine.
        machine: String,
        /// `class:NAME`, `tx_queue:NAME` or `feed:NAME`.
        scope: String,
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Freezes what baselines have learned and keeps it where `[regime] baselines` says.
    Freeze {
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// `wirepace feed`.
#[derive(Debug, Args)]
pub struct Feed {
    /// JSON: an array of {"kpi", "value", "number", "expires_s"} with "scope" and "n" where known.
    #[arg(long)]
    pub file: PathBuf,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace mode`.
#[derive(Debug, Args)]
pub struct ModeArgs {
    /// The mode to take; nothing = show.
    #[arg(value_enum)]
    pub mode: Option<ModeName>,
    /// `active` has to be confirmed.
    #[arg(long)]
    pub confirm: bool,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A mode on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeName {
    /// KPIs and baselines only; reverts every field at once.
    Observe,
    /// Decides and logs; nothing is in force.
    Shadow,
    /// A few ordering groups are governed.
    Canary,
    /// Scopes are governed in turns.
    Switchback,
    /// Every allowed class is governed.
    Active,
}

/// `wirepace manual`.
#[derive(Debug, Args)]
pub struct Manual {
    /// The directory that gets `man1`, `bash`, `zsh` and `fish`.
    #[arg(long)]
    pub out: PathBuf,
}

/// A share in parts per million.
fn share_ppm(text: &str) -> Result<u32, String> {
    let share: f64 = text.parse().map_err(|_| "a number from 0 to 1".to_owned())?;
    if !(0.0..=1.0).contains(&share) {
        return Err("a number from 0 to 1".to_owned());
    }
    Ok((share * 1e6).round() as u32)
}

/// `-` would be a file of that name, and who writes it means stdout, where the summary goes.
fn file_to_write(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("name a file: stdout is for the summary (`./-` is a file called -)".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    model::config::units::parse_duration(text)
        .map(|span| Duration::from_nanos(span.0))
        .map_err(|error| error.to_string())
}
