//! Where a workload comes from: it is made here, or read from a file.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use model::time::Nanos;

use super::captured::{self, CapturedError};
use super::schedule::{self, Schedule, ScheduleError};
use super::workload::Workload;

/// One of those of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made here.
    Made(Workload),
    /// A schedule, or a capture.
    File(PathBuf),
}

/// Why a file is no workload.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a schedule and something in it is wrong.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// It is no schedule and no capture either.
    #[error(transparent)]
    Capture(#[from] CapturedError),
    /// There is no order in it that could be handed over in a block.
    #[error("no message from inside in the first {0}")]
    Empty(Nanos),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(workload) => f.write_str(workload.name()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Source {
    /// A name of a workload, or a path: what has a dot or a slash in it.
    pub fn named(name: &str) -> Option<Self> {
        let made = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        let file = || name.contains(['.', '/']).then(|| Self::File(PathBuf::from(name)));
        made.map(Self::Made).or_else(file)
    }

    /// Its messages for a block of `length`, which is cut short where a file has no more.
    ///
    /// # Errors
    /// A file is no workload.
    pub fn schedule(&self, seed: u64, length: Nanos) -> Result<(Schedule, Nanos), SourceError> {
        match self {
            Self::Made(workload) => Ok((workload.schedule(seed, length), length)),
            Self::File(path) => {
                let schedule = read(path, length)?.first(length);
                let last = schedule.last().filter(|_| schedule.orders().next().is_some());
                let last = last.ok_or(SourceError::Empty(length))?;
                // As far as it goes, and not as far as it could; a rate needs some time.
                Ok((schedule, length.min(last.saturating_add(Nanos(1)).max(Nanos::from_millis(1)))))
            }
        }
    }

    /// How long the strategy host keeps what it receives, to take it in bunches; `None`: not at all.
    pub const fn receive_hold(&self) -> Option<Nanos> {
        match self {
            Self::Made(workload) => workload.receive_hold(),
            Self::File(_) => None,
        }
    }
}

fn read(path: &Path, length: Nanos) -> Result<Schedule, SourceError> {
    let mut begin = Vec::new();
    fs::File::open(path)?.take(schedule::HEADER.len() as u64).read_to_end(&mut begin)?;
    if begin == schedule::HEADER.as_bytes() {
        return Ok(fs::read_to_string(path)?.parse()?);
    }
    Ok(captured::schedule(path, &name_of(path), length)?)
}

/// The name of the workload that a capture is.
fn name_of(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "+-_".contains(c) { c } else { '_' };
    stem.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::contract::ORDER_FLOW;
    use crate::generate::{Kind, Parameters, generate};

    #[test]
    fn a_path_is_told_from_a_name() {
        assert_eq!(Source::named("steady-orders"), Some(Source::Made(Workload::SteadyOrders)));
        let file = |path: &str| Some(Source::File(PathBuf::from(path)));
        assert_eq!(Source::named("day.pcapng"), file("day.pcapng"));
        assert_eq!(Source::named("./steady-orders"), file("./steady-orders"));
        assert_eq!(Source::named("steady"), None);
        assert_eq!(name_of(Path::new("a/day 1.pcap.gz")), "day_1");
    }

    #[test]
    fn a_schedule_is_read_as_far_as_a_block_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("any.schedule");
        let made = Workload::MarketDataFanIn.schedule(3, Nanos::from_millis(40));
        fs::write(&path, made.to_string()).expect("room");
        let of = |length| Source::File(path.clone()).schedule(0, length);
        let (all, length) = of(Nanos::from_secs(1)).expect("its own text");
        assert_eq!(all, made);
        assert!(length < Nanos::from_millis(41), "{length}");
        let (half, length) = of(Nanos::from_millis(20)).expect("its own text");
        assert!(half.messages.len() > 10 && length <= Nanos::from_millis(20));
        assert_eq!(half.messages[..], made.messages[..half.messages.len()]);
        assert!(matches!(of(Nanos::ZERO), Err(SourceError::Empty(_))));
        fs::write(&path, "wirepace-schedule 1\nworkload w\n").expect("room");
        assert!(matches!(of(Nanos::from_secs(1)), Err(SourceError::Schedule(_))));
    }

    #[test]
    fn a_capture_is_handed_over_as_it_was_sent() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("orders.pcapng");
        let length = Nanos::from_secs(1);
        generate(Kind::Orders, &Parameters::new(1, length), &path).expect("a capture");
        let source = Source::File(path.clone());
        let (schedule, length) = source.schedule(0, length).expect("a capture");
        assert_eq!(schedule.workload, "orders");
        assert!(schedule.messages.len() > 100, "{}", schedule.messages.len());
        assert!(schedule.messages.iter().all(|m| m.handed < length && m.due >= m.handed));
        assert!(schedule.messages.iter().any(|message| message.flow == ORDER_FLOW));
        // It can be edited: what is written is read.
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
        fs::write(&path, "no capture").expect("room");
        assert!(matches!(source.schedule(0, length), Err(SourceError::Capture(_))));
        fs::remove_file(&path).expect("it is there");
        assert!(matches!(source.schedule(0, length), Err(SourceError::Io(_))));
    }
}
