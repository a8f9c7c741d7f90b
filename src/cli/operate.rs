//! What an operator says to a running gateway, beside words, profiles and modes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{Target, duration};

/// `wirepace config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// What to do with the config of a running gateway.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Checks a config, and whether the gateway that runs by its name could take it while it runs.
    Check(ConfigFile),
    /// Shows what a config would change of the one in force, key by key.
    Diff(ConfigFile),
    /// Puts a config in force, whole or not at all.
    Apply {
        /// The config; its name says which gateway.
        #[arg(long)]
        config: PathBuf,
        /// It goes back by itself unless `wirepace config confirm` follows within so long, 1 s to 24 h.
        #[arg(long, value_parser = duration, num_args = 0..=1, default_missing_value = "120s")]
        confirm: Option<Duration>,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Confirms the config in force.
    Confirm(Asked),
    /// Takes an unconfirmed config back, else goes to a revision.
    Rollback {
        /// Its number; default: one config further back.
        revision: Option<u64>,
        /// Which gateway.
        #[command(flatten)]
        target: Target,
        /// The last thing on stdout is one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Lists the configs that were confirmed.
    History(Asked),
}

/// A config, and how to answer.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The config; its name says which gateway.
    #[arg(long)]
    pub config: PathBuf,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A gateway, and how to answer.
#[derive(Debug, Args)]
pub struct Asked {
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A gateway, how to answer, and whether to go on.
#[derive(Debug, Args)]
pub struct Watched {
    /// Go on: a new look every so long ("1s"); default 1s.
    #[arg(long, value_parser = duration, num_args = 0..=1, default_missing_value = "1s")]
    pub watch: Option<Duration>,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// One JSON object; with --watch one for each look, each on a line.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace flows`.
#[derive(Debug, Args)]
pub struct Flows {
    /// Of this class only.
    #[arg(long)]
    pub class: Option<String>,
    /// Those that hold packets only.
    #[arg(long)]
    pub holding: bool,
    /// At most so many, those that hold most first.
    #[arg(long, default_value_t = 40)]
    pub max: usize,
    /// How.
    #[command(flatten)]
    pub watched: Watched,
}

/// `wirepace stalls`.
#[derive(Debug, Args)]
pub struct Stalls {
    /// With the turns before and after each.
    #[arg(long)]
    pub around: bool,
    /// The last so many.
    #[arg(long, default_value_t = 20)]
    pub max: usize,
    /// How.
    #[command(flatten)]
    pub watched: Watched,
}

/// `wirepace bugreport`.
#[derive(Debug, Args)]
pub struct BugReport {
    /// The archive to write; default: wirepace-bugreport-SECONDS.tar.gz here.
    #[arg(long, value_parser = super::file_to_write)]
    pub out: Option<PathBuf>,
    /// Which gateway; a report is written without one too.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `wirepace doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Look at what this config needs; without one at what any gateway does.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Print only what mends what is bad, for a shell: `scripts/host-setup` runs it.
    #[arg(long, value_enum, conflicts_with = "json")]
    pub commands: Option<Commands>,
    /// The directory below which /proc and /sys lie.
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What is mended when.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Commands {
    /// Commands that take effect at once.
    Now,
    /// Parameters of the kernel for the next boot.
    Boot,
}

/// `wirepace top`.
#[derive(Debug, Args)]
pub struct Top {
    /// A new look every so long.
    #[arg(long, value_parser = duration, default_value = "1s")]
    pub every: Duration,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
}

/// `wirepace capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// The pcapng to write; stamps are nanoseconds of gateway time (TAI).
    #[arg(long, value_parser = super::file_to_write)]
    pub out: PathBuf,
    /// At this port only.
    #[arg(long)]
    pub port: Option<String>,
    /// What ports receive. Without --received, --sent and --dropped: all three.
    #[arg(long)]
    pub received: bool,
    /// What ports accept.
    #[arg(long)]
    pub sent: bool,
    /// What ends on its way to a port, with the reason as a comment.
    #[arg(long)]
    pub dropped: bool,
    /// Of this class only.
    #[arg(long)]
    pub class: Option<String>,
    /// Of this flow, in either direction: 10.1.0.2:4000-10.9.0.1:7000/udp.
    #[arg(long)]
    pub flow: Option<String>,
    /// Of what this filter takes, in the words of tcpdump: 'udp port 7000 and host 10.1.0.2'.
    #[arg(long)]
    pub filter: Option<String>,
    /// Packets in all.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub count: u64,
    /// Bytes that are kept of a packet.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(14..=9_216))]
    pub snaplen: u16,
    /// Ends by itself after so long.
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub duration: Duration,
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// The last thing on stdout is one JSON object.
    #[arg(long)]
    pub json: bool,
}
