//! The thread that writes: it alone touches the files.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::kpi::Entry;
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::files::{Name, Place, Table as Kind};
use super::packets::{self, Names, Origin};
use super::table::{self, Column, Table};
use super::tables;

/// Rows of a row group: what is in memory before it is in a file.
const GROUP_ROWS: usize = 65_536;
/// After a failure a new set is tried so much later.
const RETRY: Nanos = Nanos::from_secs(10);

/// What the writer is given.
pub(super) enum Batch {
    /// Rows of packets with their cores.
    Packets(Vec<(u16, Sample)>),
    /// What was measured in a window.
    Features { from: Nanos, to: Nanos, entries: Vec<Entry> },
    /// A decision.
    Decision(Box<RegimeLogRow>),
    /// The time.
    Time(Nanos),
    /// No more will come from anybody.
    End,
}

/// Sums since the start, by table.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub rows: [AtomicU64; 3],
    pub lost: [AtomicU64; 3],
    pub files: AtomicU64,
    pub errors: AtomicU64,
}

impl Counts {
    pub fn lose(&self, table: Kind, rows: u64) {
        self.lost[table as usize].fetch_add(rows, Ordering::Relaxed);
    }

    fn keep(&self, table: Kind, rows: u64) {
        self.rows[table as usize].fetch_add(rows, Ordering::Relaxed);
    }
}

/// Why files cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("timeline: {}: {}", path.display(), in_words(source))]
pub struct TimelineError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system or the format said.
    pub source: ParquetError,
}

/// Parquet's own words for an error of the system are "External: ..." with the cause behind it.
fn in_words(error: &ParquetError) -> String {
    match error {
        ParquetError::External(cause) => format!("cannot write: {cause}"),
        other => other.to_string(),
    }
}

struct Output {
    name: Name,
    file: SerializedFileWriter<BufWriter<File>>,
}

struct Set {
    files: [Output; 3],
    opened: Nanos,
}

/// See the module.
pub(super) struct Writer {
    pub place: Place,
    pub names: Names,
    pub origin: Origin,
    /// `wirepace VERSION`.
    pub made_by: String,
    /// What the footer of each file says.
    pub facts: Vec<(&'static str, String)>,
    pub counts: Arc<Counts>,
    tables: [Table; 3],
    set: Option<Set>,
    number: u64,
    now: Nanos,
    failed_at: Option<Nanos>,
    failure: Option<TimelineError>,
}

const COLUMNS: [&[Column]; 3] = [packets::COLUMNS, tables::FEATURES, tables::REGIME_LOG];

impl Writer {
    /// A writer whose first set is open.
    ///
    /// # Errors
    /// The files cannot be made.
    pub fn start(
        place: Place,
        names: Names,
        origin: Origin,
        made_by: String,
        facts: Vec<(&'static str, String)>,
        counts: Arc<Counts>,
    ) -> Result<Self, TimelineError> {
        let number = place.prepare().map_err(|error| {
            let path = match &place {
                Place::File(path) | Place::Directory { path, .. } => path.clone(),
            };
            TimelineError { path, source: error.into() }
        })?;
        let mut writer = Self {
            place,
            names,
            origin,
            made_by,
            facts,
            counts,
            tables: COLUMNS.map(Table::new),
            set: None,
            number,
            now: Nanos::ZERO,
            failed_at: None,
            failure: None,
        };
        writer.set = Some(writer.open()?);
        Ok(writer)
    }

    /// Takes one batch. `false`: it was the last.
    pub fn take(&mut self, batch: Batch) -> bool {
        match batch {
            Batch::Packets(rows) => {
                let count = rows.len() as u64;
                self.fill(Kind::Packets, count, |table, names, origin| {
                    for (core, row) in &rows {
                        packets::add(table, names, origin, *core, row);
                    }
                });
            }
            Batch::Features { from, to, entries } => {
                let count = feature_rows(&entries);
                self.fill(Kind::Features, count, |table, _, _| {
                    entries.iter().for_each(|entry| tables::add_feature(table, from, to, entry));
                });
            }
            Batch::Decision(row) => {
                self.fill(Kind::RegimeLog, 1, |table, _, _| tables::add_decision(table, &row));
            }
            Batch::Time(now) => self.pass(now),
            Batch::End => return false,
        }
        true
    }

    /// Completes the set that is open.
    ///
    /// # Errors
    /// What went wrong last; the rows that were lost by it are counted.
    pub fn finish(mut self) -> Result<(), TimelineError> {
        self.end_set();
        self.failure.map_or(Ok(()), Err)
    }

    fn fill(&mut self, kind: Kind, rows: u64, add: impl FnOnce(&mut Table, &Names, &Origin)) {
        if self.set.is_none() {
            self.counts.lose(kind, rows);
            return;
        }
        let table = &mut self.tables[kind as usize];
        add(table, &self.names, &self.origin);
        if table.rows() >= GROUP_ROWS {
            self.flush(kind);
            self.rotate_when_full();
        }
    }

    fn pass(&mut self, now: Nanos) {
        self.now = now;
        if let Some(set) = &mut self.set {
            // The first time that is told: before it nothing knew what time it is.
            set.opened = if set.opened == Nanos::ZERO { now } else { set.opened };
            self.rotate_when_full();
        } else if self.failed_at.is_some_and(|at| now.saturating_sub(at) >= RETRY) {
            self.begin_set();
        }
    }

    fn rotate_when_full(&mut self) {
        let Some(set) = &self.set else { return };
        let bytes = set.files.iter().map(|output| output.file.bytes_written() as u64).max();
        if self.place.is_full(bytes.unwrap_or(0), set.opened, self.now) {
            self.end_set();
            self.begin_set();
        }
    }

    fn begin_set(&mut self) {
        match self.open() {
            Ok(set) => (self.set, self.failed_at) = (Some(set), None),
            Err(error) => self.fail(error),
        }
    }

    fn open(&mut self) -> Result<Set, TimelineError> {
        let number = self.number;
        self.number += 1;
        let [packets, features, log] = self.place.names(number);
        let files = [
            self.create(Kind::Packets, packets)?,
            self.create(Kind::Features, features)?,
            self.create(Kind::RegimeLog, log)?,
        ];
        if let Err(error) = self.place.remove_old(number) {
            // What stays takes room and does no other harm; the next set tries again.
            tracing::warn!("timeline: old files stay: {error}");
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Set { files, opened: self.now })
    }

    fn create(&self, kind: Kind, name: Name) -> Result<Output, TimelineError> {
        let make = || {
            let columns = COLUMNS[kind as usize];
            let facts = std::iter::once(("wirepace.table", kind.name().to_owned()))
                .chain(self.facts.iter().map(|(key, value)| (*key, value.clone())))
                .map(|(key, value)| KeyValue::new(key.to_owned(), value))
                .collect();
            SerializedFileWriter::new(
                BufWriter::new(File::create(&name.part)?),
                table::schema(kind.name(), columns)?,
                table::properties(columns, &self.made_by, facts),
            )
        };
        match make() {
            Ok(file) => Ok(Output { file, name }),
            Err(source) => Err(TimelineError { path: name.part, source }),
        }
    }

    fn flush(&mut self, kind: Kind) {
        let Some(set) = &mut self.set else { return };
        let (table, output) = (&mut self.tables[kind as usize], &mut set.files[kind as usize]);
        let rows = table.rows() as u64;
        match table.flush(&mut output.file) {
            Ok(()) => self.counts.keep(kind, rows),
            Err(source) => {
                self.counts.lose(kind, rows);
                let path = output.name.part.clone();
                self.abandon(TimelineError { path, source });
            }
        }
    }

    /// Gives the open set up: its files have no end, so nobody could read them.
    fn abandon(&mut self, error: TimelineError) {
        for (kind, table) in Kind::ALL.into_iter().zip(&mut self.tables) {
            self.counts.lose(kind, table.rows() as u64);
            *table = Table::new(COLUMNS[kind as usize]);
        }
        self.set = None;
        self.fail(error);
    }

    fn fail(&mut self, error: TimelineError) {
        tracing::error!("{error}; rows are lost until the next try");
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        self.failed_at = Some(self.now);
        self.failure = Some(error);
    }

    fn end_set(&mut self) {
        Kind::ALL.into_iter().for_each(|kind| self.flush(kind));
        let Some(set) = self.set.take() else { return };
        for (kind, mut output) in Kind::ALL.into_iter().zip(set.files) {
            let lost = self.counts.lost[kind as usize].load(Ordering::Relaxed);
            output.file.append_key_value_metadata(KeyValue::new(
                "wirepace.rows_lost".to_owned(),
                lost.to_string(),
            ));
            let Name { part, whole } = output.name;
            let closed = output.file.into_inner().and_then(|file| {
                file.into_inner().map_err(|error| error.into_error())?;
                if part != whole {
                    std::fs::rename(&part, &whole)?;
                }
                Ok(())
            });
            match closed {
                Ok(()) => _ = self.counts.files.fetch_add(1, Ordering::Relaxed),
                Err(source) => self.fail(TimelineError { path: part, source }),
            }
        }
    }
}

/// Rows that entries become: one for each value.
pub(super) fn feature_rows(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.values.len() as u64).sum()
}
