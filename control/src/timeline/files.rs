//! Where the files of a timeline are, what they are called, and which of them go.
//!
//! A set is one file for each table. In a directory a set has a number, and its files have `.part` behind
//! their names until they are complete: whoever takes what has no `.part` takes whole files.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::time::Nanos;

/// Ends the name of a file that is being written.
const PART: &str = ".part";
/// Ends the name of every file.
const SUFFIX: &str = ".parquet";

/// The tables, in the order in which a set holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// One row for each sampled packet.
    Packets,
    /// One row for each value of a KPI and window.
    Features,
    /// One row for each decision of a regime machine.
    RegimeLog,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Packets, Self::Features, Self::RegimeLog];

    /// The name in file names, in the files, and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Features => "features",
            Self::RegimeLog => "regime_log",
        }
    }
}

/// Where the files go.
#[derive(Clone, Debug)]
pub enum Place {
    /// One set: `T.parquet`, and beside it `T.features.parquet` and `T.regime_log.parquet`.
    File(PathBuf),
    /// Numbered sets: `NAME-00000001.packets.parquet` and so on.
    Directory {
        /// The directory; it is made where it is missing.
        path: PathBuf,
        /// What names begin with.
        name: String,
        /// A set ends when its largest file has so many bytes ...
        rotate_bytes: u64,
        /// ... or after so long.
        rotate_time: Nanos,
        /// Sets that stay, the one that is being written included.
        keep: u32,
    },
}

/// A file and what it is called while it is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub part: PathBuf,
    pub whole: PathBuf,
}

impl Place {
    /// The paths of the one set beside `packets`, in the order of [`Table::ALL`].
    pub fn beside(packets: &Path) -> [PathBuf; 3] {
        let name = packets.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.strip_suffix(SUFFIX).unwrap_or(&name).to_owned();
        let beside =
            |table: Table| packets.with_file_name(format!("{stem}.{}{SUFFIX}", table.name()));
        [packets.to_owned(), beside(Table::Features), beside(Table::RegimeLog)]
    }

    /// Makes the directory, does away with what an earlier run could not complete, and gives the
    /// number of the first set.
    pub(super) fn prepare(&self) -> io::Result<u64> {
        let Self::Directory { path, name, .. } = self else { return Ok(1) };
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut last = 0;
        for (number, file) in numbered(path, name)? {
            last = last.max(number);
            if file.to_string_lossy().ends_with(PART) {
                tracing::warn!("{}: not complete and not readable: removed", file.display());
                fs::remove_file(&file)?;
            }
        }
        Ok(last + 1)
    }

    /// The files of set `number`.
    pub(super) fn names(&self, number: u64) -> [Name; 3] {
        match self {
            Self::File(path) => {
                Self::beside(path).map(|path| Name { part: path.clone(), whole: path })
            }
            Self::Directory { path, name, .. } => Table::ALL.map(|table| {
                let whole = format!("{name}-{number:08}.{}{SUFFIX}", table.name());
                Name { part: path.join(format!("{whole}{PART}")), whole: path.join(whole) }
            }),
        }
    }

    /// Removes the sets that are too many beside set `newest`.
    pub(super) fn remove_old(&self, newest: u64) -> io::Result<()> {
        let Self::Directory { path, name, keep, .. } = self else { return Ok(()) };
        let too_many = |number: &u64| number.saturating_add(u64::from(*keep)) <= newest;
        for (_, file) in numbered(path, name)?.into_iter().filter(|(number, _)| too_many(number)) {
            fs::remove_file(file)?;
        }
        Ok(())
    }

    /// Whether a set that was opened at `opened` and has files of `bytes` ends now.
    pub(super) fn is_full(&self, bytes: u64, opened: Nanos, now: Nanos) -> bool {
        match self {
            Self::File(_) => false,
            Self::Directory { rotate_bytes, rotate_time, .. } => {
                bytes >= *rotate_bytes || now.saturating_sub(opened) >= *rotate_time
            }
        }
    }
}

/// The files of timelines called `name` in `directory`, with the numbers of their sets. No others: what
/// else is there is not ours.
fn numbered(directory: &Path, name: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|file| number_of(file.to_str()?, name));
        found.extend(number.map(|number| (number, path)));
    }
    Ok(found)
}

fn number_of(file: &str, name: &str) -> Option<u64> {
    let file = file.strip_suffix(PART).unwrap_or(file).strip_suffix(SUFFIX)?;
    let (number, table) = file.strip_prefix(name)?.strip_prefix('-')?.split_once('.')?;
    let known = Table::ALL.iter().any(|known| known.name() == table);
    let digits = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    if known && digits { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &Path, keep: u32) -> Place {
        Place::Directory {
            path: path.to_owned(),
            name: "gw1".into(),
            rotate_bytes: 100,
            rotate_time: Nanos(50),
            keep,
        }
    }

    #[test]
    fn the_files_of_a_replay_stand_beside_each_other() {
        let [packets, features, log] = Place::beside(Path::new("/d/T.parquet"));
        assert_eq!(packets, Path::new("/d/T.parquet"));
        assert_eq!(features, Path::new("/d/T.features.parquet"));
        assert_eq!(log, Path::new("/d/T.regime_log.parquet"));
        let [packets, features, _] = Place::beside(Path::new("T"));
        assert_eq!(
            (packets.as_path(), features.as_path()),
            (Path::new("T"), Path::new("T.features.parquet"))
        );
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_only_our_own_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let place = directory(dir.path(), 2);
        assert_eq!(place.prepare().unwrap(), 1);
        let foreign = [
            "gw1-00000001-00000001.packets.parquet",
            "gw10-00000001.packets.parquet",
            "gw1-00000001.parquet",
            "gw1-1.packets.parquet",
            "gw1-00000001.packets.csv",
        ];
        foreign.iter().for_each(|name| fs::write(dir.path().join(name), "theirs").unwrap());
        for number in 1..=4 {
            place.names(number).iter().for_each(|name| fs::write(&name.whole, "rows").unwrap());
        }
        fs::write(&place.names(5)[0].part, "half").unwrap();
        assert_eq!(place.prepare().unwrap(), 6);
        assert!(!place.names(5)[0].part.exists());
        place.remove_old(4).unwrap();
        let there = |number| place.names(number).iter().filter(|name| name.whole.exists()).count();
        assert_eq!([1, 2, 3, 4].map(there), [0, 0, 3, 3]);
        assert!(foreign.iter().all(|name| dir.path().join(name).exists()));
    }

    #[test]
    fn a_set_ends_by_size_or_time() {
        let place = directory(Path::new("/none"), 2);
        assert!(!place.is_full(99, Nanos(1_000), Nanos(1_049)));
        assert!(place.is_full(100, Nanos(1_000), Nanos(1_000)));
        assert!(place.is_full(0, Nanos(1_000), Nanos(1_050)));
        assert!(!Place::File("T".into()).is_full(u64::MAX, Nanos(0), Nanos::MAX));
    }
}
