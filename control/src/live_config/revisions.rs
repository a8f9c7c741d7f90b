//! Confirmed configs on disk. The one with the highest number is the confirmed one.
//!
//! Each is a file of its own, `NNNNNN-DIGEST.toml`, that is written under another name, synced, and
//! moved: whoever dies in between leaves the old state or the new one, whole. `unconfirmed` beside them
//! has a line for each config that was applied and never confirmed: its digest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dataplane::state_dir::{StateDirError, make_private_dir, refuse_unsafe};
use model::config::live::Sourced;

/// Revisions that stay; the oldest go, but for those of the confirmed config.
const KEPT: usize = 50;
/// Characters of a digest in a file's name.
const DIGEST_CHARS: usize = 16;
/// Configs that are remembered as never confirmed; the oldest are forgotten.
const UNCONFIRMED_KEPT: usize = 50;
const UNCONFIRMED: &str = "unconfirmed";

/// What is kept cannot be had, or not be believed.
#[derive(Debug, thiserror::Error)]
pub enum RevisionsError {
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could have written what stands there.
    #[error(transparent)]
    Dir(#[from] StateDirError),
}

/// A confirmed config on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts up.
    pub number: u64,
    /// The first characters of its digest.
    pub digest: String,
    /// Where it is.
    pub path: PathBuf,
    /// When it was confirmed.
    pub confirmed_at_unix_s: i64,
    /// Its length.
    pub bytes: u64,
}

impl Revision {
    /// Whether it is this config.
    pub fn is_of(&self, config: &Sourced) -> bool {
        self.digest == short(&config.config.digest)
    }
}

/// The directory of them. Nothing is read from one that others may write to.
#[derive(Clone, Debug)]
pub struct Revisions {
    dir: PathBuf,
}

impl Revisions {
    /// In `dir`, which is private to this user.
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be read, or others may write to it. One that is not there has none.
    pub fn list(&self) -> Result<Vec<Revision>, RevisionsError> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        let failed = |source| RevisionsError::Io { path: self.dir.clone(), source };
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What has another name is the rest of a write, or not ours.
            let Some((number, digest)) = entry.file_name().to_str().and_then(parse) else {
                continue;
            };
            let found = entry.metadata().map_err(failed)?;
            all.push(Revision {
                number,
                digest,
                path: entry.path(),
                confirmed_at_unix_s: found.mtime(),
                bytes: found.len(),
            });
        }
        all.sort_unstable_by_key(|revision| revision.number);
        Ok(all)
    }

    /// The confirmed one.
    ///
    /// # Errors
    /// As [`Revisions::list`].
    pub fn latest(&self) -> Result<Option<Revision>, RevisionsError> {
        Ok(self.list()?.pop())
    }

    /// What it says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, revision: &Revision) -> Result<String, RevisionsError> {
        fs::read_to_string(&revision.path)
            .map_err(|source| RevisionsError::Io { path: revision.path.clone(), source })
    }

    /// Makes `config` the confirmed one, unless it is. Gives its number. The oldest may go.
    ///
    /// # Errors
    /// The disk failed: the confirmed one is what it was.
    pub fn keep(&self, config: &Sourced) -> Result<u64, RevisionsError> {
        let all = self.list()?;
        if let Some(latest) = all.last() {
            let is_same = latest.is_of(config) && self.text(latest)? == config.text;
            if is_same {
                return Ok(latest.number);
            }
        }
        let number = all.last().map_or(1, |latest| latest.number + 1);
        let digest = short(&config.config.digest);
        self.write(&format!("{number:06}-{digest}.toml"), config.text.as_bytes())?;
        let too_many = all.iter().take((all.len() + 1).saturating_sub(KEPT));
        // Where this config was first confirmed a rollback goes on from.
        for old in too_many.filter(|old| !old.is_of(config)) {
            // One too many does no harm.
            let _ = fs::remove_file(&old.path);
        }
        Ok(number)
    }

    /// The digests of the configs that were applied and never confirmed, the oldest first.
    ///
    /// # Errors
    /// As [`Revisions::list`].
    pub fn unconfirmed(&self) -> Result<Vec<String>, RevisionsError> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        let path = self.dir.join(UNCONFIRMED);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(RevisionsError::Io { path, source }),
        }
    }

    /// Remembers that `digest` is applied and not confirmed. The oldest may be forgotten.
    ///
    /// # Errors
    /// The disk failed.
    pub fn mark_unconfirmed(&self, digest: &str) -> Result<(), RevisionsError> {
        let mut marks = self.unconfirmed()?;
        marks.retain(|mark| mark != digest);
        marks.push(digest.to_owned());
        let forgotten = marks.len().saturating_sub(UNCONFIRMED_KEPT);
        self.write(UNCONFIRMED, marks[forgotten..].join("\n").as_bytes())
    }

    /// Forgets the mark of `digest`, which is confirmed, and of no other.
    ///
    /// # Errors
    /// The disk failed.
    pub fn unmark(&self, digest: &str) -> Result<(), RevisionsError> {
        let mut marks = self.unconfirmed()?;
        if !marks.iter().any(|mark| mark == digest) {
            return Ok(());
        }
        marks.retain(|mark| mark != digest);
        self.write(UNCONFIRMED, marks.join("\n").as_bytes())
    }

    /// Whether there is anything to read, of which nobody else has written a word.
    fn is_there(&self) -> Result<bool, RevisionsError> {
        match refuse_unsafe(&self.dir) {
            Ok(()) => Ok(true),
            Err(StateDirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file so that it is there whole or not at all, after a loss of power too.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RevisionsError> {
        make_private_dir(&self.dir, 0o700)?;
        let path = self.dir.join(name);
        let write = || {
            let new = self.dir.join(format!(".{name}.new"));
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_dir(&self.dir)
        };
        write().map_err(|source| RevisionsError::Io { path: path.clone(), source })
    }
}

/// The name of a file is kept by its directory.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A digest as it stands in a file's name.
fn short(digest: &str) -> &str {
    digest.get(..DIGEST_CHARS).unwrap_or(digest)
}

fn parse(name: &str) -> Option<(u64, String)> {
    let (number, digest) = name.strip_suffix(".toml")?.split_once('-')?;
    Some((number.parse().ok()?, digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TEXT: &str = include_str!("../../../configs/gateway.toml");

    fn config(rate: u32) -> Sourced {
        let text = TEXT.replacen("rate = \"50M\"", &format!("rate = \"{rate}k\""), 1);
        Sourced::read("gw.toml", &text).unwrap()
    }

    #[test]
    fn the_last_one_kept_is_the_confirmed_one_and_the_same_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::new(dir.path().join("config"));
        assert_eq!(revisions.latest().unwrap(), None);
        assert_eq!(revisions.keep(&config(40_000)).unwrap(), 1);
        assert_eq!(revisions.keep(&config(40_000)).unwrap(), 1);
        assert_eq!(revisions.keep(&config(30_000)).unwrap(), 2);
        let latest = revisions.latest().unwrap().unwrap();
        assert_eq!(revisions.text(&latest).unwrap(), config(30_000).text);
        assert!(config(30_000).config.digest.starts_with(&latest.digest));
        assert_eq!(latest.bytes, config(30_000).text.len() as u64);
    }

    #[test]
    fn what_a_killed_write_leaves_is_not_seen_and_the_next_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::new(dir.path().to_owned());
        revisions.keep(&config(40_000)).unwrap();
        for rest in [".000002-0123456789abcdef.toml.new", "notes", "x-y.toml"] {
            fs::write(dir.path().join(rest), "half a con").unwrap();
        }
        assert_eq!(revisions.list().unwrap().len(), 1);
        assert_eq!(revisions.keep(&config(30_000)).unwrap(), 2);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::new(dir.path().join("config"));
        revisions.keep(&config(40_000)).unwrap();
        for open in [0o720, 0o702, 0o777] {
            let open = Permissions::from_mode(open);
            fs::set_permissions(dir.path().join("config"), open.clone()).unwrap();
            let refused = [
                revisions.list().unwrap_err(),
                revisions.unconfirmed().unwrap_err(),
                revisions.keep(&config(30_000)).unwrap_err(),
                revisions.mark_unconfirmed("a").unwrap_err(),
            ];
            for error in refused.map(|error| error.to_string()) {
                assert!(error.contains("lets others write to it"), "{open:?}: {error}");
            }
        }
    }

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::new(dir.path().to_owned());
        for n in 0..KEPT as u32 + 3 {
            revisions.keep(&config(10_000 + n)).unwrap();
        }
        let all = revisions.list().unwrap();
        assert_eq!((all.len(), all[0].number), (KEPT, 4));
    }

    #[test]
    fn a_mark_goes_with_its_own_digest_or_as_the_oldest_of_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::new(dir.path().to_owned());
        revisions.unmark("a").unwrap();
        for digest in ["a", "b", "a", "c"] {
            revisions.mark_unconfirmed(digest).unwrap();
        }
        assert_eq!(revisions.unconfirmed().unwrap(), ["b", "a", "c"]);
        revisions.unmark("a").unwrap();
        assert_eq!(revisions.unconfirmed().unwrap(), ["b", "c"]);
        for n in 0..UNCONFIRMED_KEPT - 1 {
            revisions.mark_unconfirmed(&n.to_string()).unwrap();
        }
        let marks = revisions.unconfirmed().unwrap();
        assert_eq!(
            (marks.len(), marks[0].as_str(), marks[1].as_str()),
            (UNCONFIRMED_KEPT, "c", "0")
        );
    }
}
