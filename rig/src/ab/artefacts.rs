//! What is written of one block of each arm, beside the report: its capture, one row for each message, and its
//! KPIs, in the formats that every other part of wirepace has.

use std::path::{Path, PathBuf};

use control::timeline::{Options, Place, Recorder, Timeline, TimelineError, WhenFull};
use model::config::Config as GatewayConfig;

use super::observer::RawFrame;
use super::result::Arm;
use crate::capture::{PcapngWriter, WriteError};

/// Rows that wait for the disk: writing is waited for, so few are enough.
const QUEUE_ROWS: u32 = 16 << 10;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// The capture.
    #[error(transparent)]
    Capture(#[from] WriteError),
    /// The timeline.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
}

/// Where the files of a block go: `DIR/WORKLOAD-ARM`, and what they end in.
#[derive(Clone, Debug)]
pub struct Artefacts(PathBuf);

impl Artefacts {
    /// Those of an arm.
    pub fn of(directory: &Path, workload: &str, arm: &Arm) -> Self {
        Self(directory.join(format!("{workload}-{}", arm.name)))
    }

    fn ending(&self, ending: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// What passed the observer, cut off where the capture cut it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn capture(&self, frames: &[RawFrame]) -> Result<(), WriteError> {
        let path = self.ending(".pcapng");
        let mut writer = PcapngWriter::create(&path)?;
        let interface = writer.add_interface("venue")?;
        for frame in frames {
            writer.write_packet(interface, frame.at, &[&frame.bytes], frame.len)?;
        }
        writer.finish().map(drop)
    }

    /// A timeline of the messages, counted by `classes`: `.parquet`, and `.features.parquet` beside it.
    ///
    /// # Errors
    /// Its files cannot be made, or not be completed.
    pub fn timeline(
        &self,
        classes: &GatewayConfig,
        record: impl FnOnce(&mut Recorder),
    ) -> Result<(), TimelineError> {
        let options = Options {
            place: Place::File(self.ending(".parquet")),
            when_full: WhenFull::Wait,
            queue_rows: QUEUE_ROWS,
            host: None,
            env_digest: None,
        };
        let timeline = Timeline::start(classes, options)?;
        record(&mut timeline.recorder());
        timeline.finish().map(drop)
    }
}
