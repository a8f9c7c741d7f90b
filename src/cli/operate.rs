//! What an operator says to a running gateway, beside words, profiles and modes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

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
        /// It goes back by itself unless `wirepace config confirm` follows within so long.
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
        /// Its number; default: the one before.
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
