//! The timeline: one row for each sampled packet in Parquet files, beside it the KPIs of each window
//! and the decisions of the regime machines. docs/timeline.md has the schema.
//!
//! [`Timeline::start`] opens the files and starts the thread that writes them; whoever has rows holds a
//! [`Recorder`]. [`Recorded`] records what passes through the KPIs. A live run never waits for a disk:
//! what finds the queue full is counted as lost. A replay waits, so that the same replay writes the
//! same bytes.

mod files;
mod packets;
mod recorded;
mod table;
mod tables;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::patience::Patience;
use model::config::Config;
use model::kpi::Entry;
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;

pub use files::{Place, Table};
pub use recorded::Recorded;
pub use writer::TimelineError;

use crate::registry::Registry;
use packets::{Names, Origin};
use table::owned;
use writer::{Batch, Counts, Writer};

/// Version of the schema: another one means that a column has changed or gone.
pub const SCHEMA_VERSION: u32 = 1;
/// Rows that are handed over at once.
const BATCH_ROWS: usize = 1_024;

/// What becomes of rows that find the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They are lost, and counted.
    Lose,
    /// Whoever has them waits: only where nothing else waits for it.
    Wait,
}

/// What a timeline is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files go.
    pub place: Place,
    /// What becomes of rows that find the queue full.
    pub when_full: WhenFull,
    /// Rows that may wait for the writer.
    pub queue_rows: u32,
    /// Name of the host; `None` in virtual time, where it has no say.
    pub host: Option<String>,
    /// Digest of the environment; `None` in virtual time.
    pub env_digest: Option<String>,
}

/// A running writer.
pub struct Timeline {
    recorder: Recorder,
    thread: JoinHandle<Result<(), TimelineError>>,
}

impl Timeline {
    /// Opens the first files and starts the thread that writes.
    ///
    /// # Errors
    /// The directory or the files cannot be made.
    pub fn start(config: &Config, options: Options) -> Result<Self, TimelineError> {
        let counts = Arc::new(Counts::default());
        let text = |text: &Option<String>| text.as_deref().map(owned);
        let mut writer = Writer::start(
            options.place,
            Names::of(config),
            Origin { host: text(&options.host), env_digest: text(&options.env_digest) },
            concat!("wirepace ", env!("CARGO_PKG_VERSION")).to_owned(),
            vec![
                ("wirepace.schema_version", SCHEMA_VERSION.to_string()),
                ("wirepace.gateway", config.gateway.name.clone()),
                ("wirepace.config_digest", config.digest.clone()),
            ],
            Arc::clone(&counts),
        )?;
        let batches = (options.queue_rows as usize / BATCH_ROWS).max(1);
        let (sender, batches) = sync_channel(batches);
        let thread = std::thread::Builder::new()
            .name("wp-timeline".to_owned())
            .spawn(move || {
                while batches.recv().is_ok_and(|batch| writer.take(batch)) {}
                writer.finish()
            })
            .map_err(|error| TimelineError { path: "thread".into(), source: error.into() })?;
        let when_full = options.when_full;
        let recorder = Recorder { sender, counts, when_full, pending: Vec::new() };
        Ok(Self { recorder, thread })
    }

    /// One more way in.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Completes the files: everything that was recorded before is in them.
    ///
    /// # Errors
    /// What went wrong last with the files.
    pub fn finish(self) -> Result<Written, TimelineError> {
        // An error: the writer is gone, and what is not in the files is counted.
        let _ = self.recorder.sender.send(Batch::End);
        self.join()
    }

    /// The same, for `wait` at most; what went wrong stands in what it has come to.
    pub fn finish_within(self, wait: Duration) -> Written {
        let counts = Arc::clone(&self.recorder.counts);
        let failed = match self.join_within(wait) {
            Some(Ok(written)) => return written,
            Some(Err(error)) => error.to_string(),
            None => "the disk did not take all of it in time".to_owned(),
        };
        Written { failed: Some(failed), ..Written::so_far(&counts) }
    }

    /// `None`: it took longer.
    fn join_within(self, wait: Duration) -> Option<Result<Written, TimelineError>> {
        let mut patience = Patience::new(wait);
        let mut end = Batch::End;
        // A queue that is full empties as fast as the disk is.
        while let Err(TrySendError::Full(again)) = self.recorder.sender.try_send(end) {
            end = again;
            if !patience.wait() {
                return None;
            }
        }
        while !self.thread.is_finished() {
            if !patience.wait() {
                return None;
            }
        }
        Some(self.join())
    }

    fn join(self) -> Result<Written, TimelineError> {
        let counts = Arc::clone(&self.recorder.counts);
        self.thread.join().unwrap_or_else(|_| {
            let source = parquet::errors::ParquetError::General("the writer panicked".to_owned());
            Err(TimelineError { path: "thread".into(), source })
        })?;
        Ok(Written::so_far(&counts))
    }
}

/// What a timeline has come to, by table in the order of [`Table::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows in files.
    pub rows: [u64; 3],
    /// Rows that are in no file.
    pub lost: [u64; 3],
    /// Why its files are not complete; what its writer held then is in neither sum.
    pub failed: Option<String>,
}

impl Written {
    fn so_far(counts: &Counts) -> Self {
        let all = |of: &[AtomicU64; 3]| Table::ALL.map(|t| of[t as usize].load(Ordering::Relaxed));
        Self { rows: all(&counts.rows), lost: all(&counts.lost), failed: None }
    }
}

/// A way into a timeline. A clone has rows of its own under way.
#[derive(Clone)]
pub struct Recorder {
    sender: SyncSender<Batch>,
    counts: Arc<Counts>,
    when_full: WhenFull,
    pending: Vec<(u16, Sample)>,
}

impl Recorder {
    /// The row of a packet of core `core`.
    pub fn packet(&mut self, core: usize, row: &Sample) {
        self.pending.push((u16::try_from(core).unwrap_or(u16::MAX), *row));
        if self.pending.len() >= BATCH_ROWS {
            self.flush();
        }
    }

    /// What was measured from `from` to `to`.
    pub fn features(&mut self, from: Nanos, to: Nanos, entries: Vec<Entry>) {
        let rows = writer::feature_rows(&entries);
        self.send(Batch::Features { from, to, entries }, Table::Features, rows);
    }

    /// A decision of a regime machine.
    pub fn decision(&mut self, row: RegimeLogRow) {
        self.send(Batch::Decision(Box::new(row)), Table::RegimeLog, 1);
    }

    /// It is `now`, and what was recorded before may be written: call it once per tick.
    pub fn turn(&mut self, now: Nanos) {
        self.flush();
        // The next tick tells the time again.
        self.send(Batch::Time(now), Table::Packets, 0);
    }

    /// Puts its numbers on the list.
    pub fn publish(&self, registry: &mut Registry) {
        for table in Table::ALL {
            let labels = [("table", table.name())];
            let count = |of: &[AtomicU64; 3]| of[table as usize].load(Ordering::Relaxed);
            let help = "Rows in files of the timeline.";
            registry.counter("timeline_rows", help, &labels, count(&self.counts.rows));
            let help = "Rows that the timeline had no room for; forwarding did not wait.";
            registry.counter("timeline_rows_lost", help, &labels, count(&self.counts.lost));
        }
        let help = "Files of the timeline that are complete.";
        registry.counter("timeline_files", help, &[], self.counts.files.load(Ordering::Relaxed));
        let help = "Times that files of the timeline could not be written or removed.";
        registry.counter("timeline_errors", help, &[], self.counts.errors.load(Ordering::Relaxed));
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let rows = std::mem::replace(&mut self.pending, Vec::with_capacity(BATCH_ROWS));
            let count = rows.len() as u64;
            self.send(Batch::Packets(rows), Table::Packets, count);
        }
    }

    fn send(&mut self, batch: Batch, table: Table, rows: u64) {
        let taken = match self.when_full {
            WhenFull::Lose => self.sender.try_send(batch).is_ok(),
            // An error: the writer is gone.
            WhenFull::Wait => self.sender.send(batch).is_ok(),
        };
        if !taken {
            self.counts.lose(table, rows);
        }
    }
}
