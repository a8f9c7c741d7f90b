//! The conformance checker: was a capture paced as its config promises?
//!
//! It takes what a user has, the input capture, the output capture (time stamps = acceptance by the
//! egress port), the config and the JSON of `wirepace check` and `wirepace replay`, and works
//! everything out again with exact arithmetic. It shares no code with the product: it has its own
//! capture reader, frame reader, config reader and buckets, so that a mistake of the product has no
//! twin here. Call [`check`], then [`Report::assert_clean`] and, where a capture was made to be
//! delayed, [`Report::assert_delayed_at_least`].
//!
//! What it assumes: frames come in through the inside port of the only pair, unless the capture's
//! interfaces are named after ports; a capture whose time runs backwards arrives at the latest time
//! seen so far; one profile is in force throughout; no stop word is set.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod capture;
pub mod config;
pub mod envelope;
pub mod exact;
pub mod frame;
pub mod limits;
mod matching;
mod pacing;
mod promise;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use config::Config;
use envelope::Envelopes;

/// What a run left behind.
pub struct Evidence<'a> {
    /// The capture that went in.
    pub input: &'a [capture::Record],
    /// The capture that came out.
    pub output: &'a [capture::Record],
    /// The config, as TOML text.
    pub config: &'a str,
    /// The profile in force throughout, `normal` unless the run was told otherwise.
    pub profile: &'a str,
    /// `wirepace check --json`.
    pub check_json: &'a Value,
    /// `wirepace replay --json`; `None` = nothing may have been dropped.
    pub run_json: Option<&'a Value>,
}

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A departure before its eligible time.
    Early,
    /// A departure later than a slot after its eligible time, with nothing that explains it.
    Late,
    /// Two packets of a flow left in another order than they came.
    Reordered,
    /// More frames are missing than the counters say were dropped, or fewer.
    Lost,
    /// A frame left more often than it came.
    Duplicate,
    /// A frame left that never came.
    Invented,
    /// A frame that should have ended under a name left.
    MalformedLeft,
    /// A packet ended that must not be dropped.
    DropForbidden,
    /// Departures of a port whose time runs backwards.
    TimeBackwards,
    /// A window that carries more than the envelope.
    Window,
    /// A window of a venue limit that holds too many messages.
    VenueLimit,
    /// `check` printed another envelope than the config allows.
    Promise,
    /// The counters of the run contradict each other or the captures.
    Counters,
}

/// One thing that does not hold.
#[derive(Clone, Debug)]
pub struct Breach {
    /// What.
    pub what: What,
    /// The details, with frame numbers that count from 1 as capture tools do.
    pub details: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.what, self.details)
    }
}

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Frames of the input.
    pub frames_in: usize,
    /// Frames of the output.
    pub frames_out: usize,
    /// Departures that the envelopes govern.
    pub governed: usize,
    /// Departures of exempt packets.
    pub exempt: usize,
    /// Departures ahead of an exempt packet of their own flow.
    pub forward: usize,
    /// Departures because `max_hold` was reached.
    pub max_hold: usize,
    /// Departures from the venue side.
    pub from_venue: usize,
    /// Departures later than a slot after arrival.
    pub delayed: usize,
    /// Departures later than a slot because the port served others meanwhile.
    pub waited_arbitration: usize,
    /// Departures later than a slot because the modelled link was busy.
    pub waited_link: usize,
    /// Departures that cannot be told apart from dropped twins: their lateness is not judged.
    pub ambiguous: usize,
    /// Malformed frames of the input, by the name of their end.
    pub malformed: BTreeMap<&'static str, usize>,
    /// Departures by class.
    pub by_class: BTreeMap<String, usize>,
    /// What does not hold, in the order of finding.
    pub breaches: Vec<Breach>,
}

impl Report {
    fn add(&mut self, what: What, details: impl Into<String>) {
        self.breaches.push(Breach { what, details: details.into() });
    }

    /// How many breaches of one sort there are.
    pub fn count(&self, what: What) -> usize {
        self.breaches.iter().filter(|breach| breach.what == what).count()
    }

    /// Panics with the first breaches, if there are any.
    pub fn assert_clean(&self) {
        let shown: Vec<_> = self.breaches.iter().take(12).map(Breach::to_string).collect();
        assert!(
            self.breaches.is_empty(),
            "{} breaches, the first of them:\n  {}",
            self.breaches.len(),
            shown.join("\n  ")
        );
    }

    /// Panics when fewer than `share` of the departures were delayed: a run that delays nothing
    /// shows nothing about pacing.
    pub fn assert_delayed_at_least(&self, share: f64) {
        let delayed = self.delayed as f64 / self.frames_out.max(1) as f64;
        assert!(
            delayed >= share,
            "{} of {} departures were delayed, {:.1} %; at least {:.1} % are needed",
            self.delayed,
            self.frames_out,
            delayed * 100.0,
            share * 100.0
        );
    }
}

/// Checks a run.
///
/// # Errors
/// Evidence that cannot be judged: a config that is not understood, an output without a known port.
pub fn check(evidence: &Evidence<'_>) -> Result<Report, String> {
    let config = Config::parse_under(evidence.config, evidence.profile)?;
    let envelopes = Envelopes::from_check_json(evidence.check_json, evidence.profile)?;
    let mut report = Report {
        frames_in: evidence.input.len(),
        frames_out: evidence.output.len(),
        ..Report::default()
    };
    promise::check(&config, &envelopes, &mut report);
    let packets = matching::read_packets(&config, evidence.input, &mut report)?;
    let departures = matching::departures(&config, &packets, evidence, &mut report)?;
    pacing::check(&config, &envelopes, &packets, &departures, &mut report);
    limits::check(&config, &packets, &departures, &mut report);
    Ok(report)
}

/// [`check`] on files, of a run under the profile `normal`.
///
/// # Errors
/// As [`check`], and captures that cannot be read.
pub fn check_files(
    input: &Path,
    output: &Path,
    config: &str,
    check_json: &Value,
    run_json: Option<&Value>,
) -> Result<Report, String> {
    let (input, output) = (capture::read_file(input)?, capture::read_file(output)?);
    let (input, output) = (&input, &output);
    check(&Evidence { input, output, config, profile: "normal", check_json, run_json })
}
