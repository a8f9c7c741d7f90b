//! Advice to strategies in shared memory: a file that the gateway makes and writes, and strategies map
//! for reading. Layout and rules: [`intent::advice`].
//!
//! The file has mode 0640: the group of the directory may read it, and nobody but its owner can cut it
//! short. It is taken over as it is by the next run, so that readers stay connected; the advice in it
//! reads as neutral until then, as it gets old.
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::AtomicU64;

use ::intent::advice::{Advice, MAGIC, SLOTS_MAX, Writer, page_bytes};
use memmap2::{MmapOptions, MmapRaw};

use crate::shared_file::{SharedFileError, open_or_create};

/// Mode of the file: the gateway's user, and a group of strategies.
const MODE: u32 = 0o640;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum AdvicePageError {
    /// More scopes than a page has slots.
    #[error("advice for {0} scopes: a page holds {SLOTS_MAX}")]
    Scopes(usize),
    /// Something else is there, or the system refused.
    #[error("advice_shm = \"{}\": {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why there is no file.
        source: SharedFileError,
    },
}

/// The page of a running gateway.
pub struct AdvicePage {
    mapped: MmapRaw,
    writer: Writer,
}

impl AdvicePage {
    /// Makes the file at `path` for `scopes` scopes, at least 1, or takes over one of the same size. Its
    /// directory is there and belongs to this user. Nobody is advised anything yet.
    ///
    /// # Errors
    /// See [`AdvicePageError`].
    pub fn create(path: &Path, scopes: usize) -> Result<Self, AdvicePageError> {
        if !(1..=SLOTS_MAX).contains(&scopes) {
            return Err(AdvicePageError::Scopes(scopes));
        }
        let failed = |source| AdvicePageError::File { path: path.to_owned(), source };
        let bytes = page_bytes(scopes);
        let file = open_or_create(path, MAGIC, bytes, MODE).map_err(failed)?;
        let mapped = MmapOptions::new()
            .len(bytes)
            .populate()
            .map_raw(&file)
            .map_err(SharedFileError::Io)
            .map_err(failed)?;
        let writer = Writer::initialise(words(&mapped), scopes);
        let writer = writer.ok_or(AdvicePageError::Scopes(scopes))?;
        Ok(Self { mapped, writer })
    }

    /// Writes what `scope` is advised; each scope has a slot of its own. `false`: no such slot, or a name
    /// that is too long.
    pub fn write(&self, slot: usize, scope: &str, advice: &Advice) -> bool {
        self.writer.write(words(&self.mapped), slot, scope, advice)
    }
}

/// The mapping as atomics.
fn words(mapped: &MmapRaw) -> &[AtomicU64] {
    // SAFETY: the mapping is readable and writable, aligned to a memory page, and lives as long as what
    // is borrowed. It is looked at only as AtomicU64s, for which every bit pattern is valid and which
    // other processes may read at any time. The file is not cut short by any wirepace program, and
    // its mode lets no other user do so.
    unsafe { slice::from_raw_parts(mapped.as_ptr().cast(), mapped.len() / size_of::<AtomicU64>()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::MetadataExt;

    use ::intent::advice::Page;

    use super::*;

    fn reader(path: &Path) -> MmapRaw {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len() as usize;
        MmapOptions::new().len(bytes).map_raw(&file).unwrap()
    }

    #[test]
    fn a_reader_stays_connected_over_a_restart_and_reads_neutral_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw-advice");
        let page = AdvicePage::create(&path, 2).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let advice = Advice { at_ns: 5, backpressure: true, ..Advice::default() };
        assert!(page.write(1, "class:orders", &advice) && !page.write(2, "class:x", &advice));
        let mapped = reader(&path);
        let read = Page::attach(words(&mapped)).unwrap();
        let orders = read.find("class:orders").unwrap();
        assert_eq!(read.read(orders, 5), advice);
        drop(page);
        assert_eq!(read.read(orders, 2_000_000_000), Advice { at_ns: 5, ..Advice::default() });
        let page = AdvicePage::create(&path, 2).unwrap();
        assert_eq!(read.read(orders, 5), Advice::default());
        page.write(1, "class:orders", &advice);
        assert_eq!(read.read(orders, 5), advice);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let create = |name: &str, scopes| AdvicePage::create(&at(name), scopes).map(|_| ());
        assert!(matches!(create("a", 0), Err(AdvicePageError::Scopes(0))));
        assert!(matches!(create("a", SLOTS_MAX + 1), Err(AdvicePageError::Scopes(_))));
        fs::write(at("real"), vec![0; page_bytes(1)]).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        assert!(matches!(
            create("link", 1),
            Err(AdvicePageError::File { source: SharedFileError::Foreign(_), .. })
        ));
        fs::create_dir(at("directory")).unwrap();
        assert!(matches!(
            create("directory", 1),
            Err(AdvicePageError::File { source: SharedFileError::Foreign(_), .. })
        ));
        assert!(matches!(
            create("no/such/place", 1),
            Err(AdvicePageError::File { source: SharedFileError::Io(_), .. })
        ));
    }
}
