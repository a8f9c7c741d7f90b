//! The ring in shared memory: a file that the gateway makes and a sender maps.
//!
//! [`ShmRing::create`] makes the file, mode 0660 (the group of the directory decides who may send),
//! or takes over one of the same size, so that a sender that has it mapped stays connected over a
//! restart. [`ShmRing::poll`] is for the data core: one load when nothing is there, no call into the
//! kernel. Layout and rules of the ring: [`intent::ring`].
//!
//! Who may write to the file may also cut it short, and a page that is not there any more is a
//! SIGBUS for its reader. This is the one fault that the layout cannot rule out, so the process takes
//! it: an empty page of our own moves into the hole, and the ring is silent from then on
//! ([`ShmRing::is_cut`]). Faults anywhere else go where they went before.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::{mem, ptr, slice};

use ::intent::ring::{self, Lost, Reader};
use ::intent::{DecodeError, FlowRecord};
use memmap2::{MmapOptions, MmapRaw};

use crate::shared_file::{SharedFileError, open_or_create};

/// Mode of the file: the gateway's user and a group of senders.
const MODE: u32 = 0o660;
/// Rings of one process.
const RINGS_MAX: usize = 16;

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    /// Too small, too large or no power of two.
    #[error("an intent ring of {0} records: a power of two from 16 to 65536 is allowed")]
    Capacity(usize),
    /// More rings than a process may have.
    #[error("more than 16 intent rings in one process")]
    TooMany,
    /// Something else is there, or the system refused.
    #[error("intent shm = \"{}\": {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why there is no file.
        source: SharedFileError,
    },
}

/// The gateway's end of a ring in shared memory.
pub struct ShmRing {
    // In this order: the region is given back while its memory is still mapped.
    region: Region,
    mapped: Mapped,
    reader: Reader,
    path: PathBuf,
}

impl ShmRing {
    /// Makes a ring for `capacity` records (a power of two, 16 to 65536) at `path`, whose directory
    /// is there and belongs to this user. Records that a run before did not read are gone.
    ///
    /// # Errors
    /// See [`ShmError`].
    pub fn create(path: &Path, capacity: usize) -> Result<Self, ShmError> {
        if !ring::is_capacity(capacity) {
            return Err(ShmError::Capacity(capacity));
        }
        let failed = |source| ShmError::File { path: path.to_owned(), source };
        let bytes = ring::ring_bytes(capacity);
        let file = open_or_create(path, ring::MAGIC, bytes, MODE).map_err(failed)?;
        let mapped = Mapped::new(&file, bytes).map_err(SharedFileError::Io).map_err(failed)?;
        let region = Region::guard(&mapped)
            .map_err(SharedFileError::Io)
            .map_err(failed)?
            .ok_or(ShmError::TooMany)?;
        let reader =
            Reader::initialise(mapped.words(), capacity).ok_or(ShmError::Capacity(capacity))?;
        Ok(Self { region, mapped, reader, path: path.to_owned() })
    }

    /// The next record. One load when there is none.
    #[inline]
    pub fn poll(&mut self) -> Option<Result<FlowRecord, DecodeError>> {
        self.reader.poll(self.mapped.words())
    }

    /// Records that the sender has lost by its own fault.
    pub const fn lost(&self) -> Lost {
        self.reader.lost()
    }

    /// Whether the file was cut short: no record comes any more until the gateway starts again.
    pub fn is_cut(&self) -> bool {
        GUARDED[self.region.0].cut.load(Ordering::Relaxed)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A ring file in memory.
struct Mapped(MmapRaw);

impl Mapped {
    fn new(file: &File, bytes: usize) -> io::Result<Self> {
        MmapOptions::new().len(bytes).populate().map_raw(file).map(Self)
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is readable and writable, aligned to a memory page, and lives as long
        // as `self`. It is looked at only as AtomicU64s, for which every bit pattern is valid and
        // which other processes may change at any time. Should the file be cut short, the handler
        // below puts a page in the place of each that is missing.
        unsafe {
            slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / size_of::<AtomicU64>())
        }
    }
}

/// What the handler knows of a ring. `start` = 0: free.
struct Guarded {
    start: AtomicUsize,
    end: AtomicUsize,
    cut: AtomicBool,
}

static GUARDED: [Guarded; RINGS_MAX] = [const {
    Guarded { start: AtomicUsize::new(0), end: AtomicUsize::new(0), cut: AtomicBool::new(false) }
}; RINGS_MAX];
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// Who had SIGBUS before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A place in [`GUARDED`].
struct Region(usize);

impl Region {
    /// Guards a mapping; `None` when all places are taken.
    fn guard(mapped: &Mapped) -> io::Result<Option<Self>> {
        install()?;
        let words = mapped.words();
        let start = words.as_ptr().addr();
        for (index, place) in GUARDED.iter().enumerate() {
            let taken =
                place.start.compare_exchange(0, start, Ordering::SeqCst, Ordering::SeqCst).is_err();
            if !taken {
                place.cut.store(false, Ordering::SeqCst);
                place.end.store(start + size_of_val(words), Ordering::SeqCst);
                return Ok(Some(Self(index)));
            }
        }
        Ok(None)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        GUARDED[self.0].end.store(0, Ordering::SeqCst);
        GUARDED[self.0].start.store(0, Ordering::SeqCst);
    }
}

/// Takes SIGBUS over, once for the process.
fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: sysconf has no precondition; a zeroed sigaction is a valid value, completed below, and
    // both pointers are to live ones. The handler only does what a signal handler may.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE);
        PAGE_BYTES.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
        let mut before: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        if BEFORE.set(before).is_err() {
            // Another thread is doing it.
            return Ok(());
        }
        let mut ours: libc::sigaction = mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
        ours.sa_sigaction = handler as libc::sighandler_t;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Puts an empty page where a page of a ring is missing.
extern "C" fn on_sigbus(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid siginfo, and SIGBUS has an address.
    let address = unsafe { (*info).si_addr() }.addr();
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    for place in &GUARDED {
        let range = place.start.load(Ordering::SeqCst)..place.end.load(Ordering::SeqCst);
        if range.start == 0 || !range.contains(&address) {
            continue;
        }
        let page = address & !(page_bytes - 1);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping that a living ShmRing owns and that is only read as
        // atomics; what replaces it is memory of the same kind. mmap is a plain system call, and on
        // success leaves errno alone.
        let placed = unsafe {
            let page = ptr::with_exposed_provenance_mut(page);
            libc::mmap(page, page_bytes, protection, flags, -1, 0)
        };
        if placed != libc::MAP_FAILED {
            place.cut.store(true, Ordering::Relaxed);
            return;
        }
    }
    if let Some(before) = BEFORE.get() {
        // SAFETY: it is what sigaction gave us. The access is made again and goes there.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::MetadataExt;

    use ::intent::ring::Writer;
    use ::intent::{FlowTuple, Position, Record};

    use super::*;

    fn record(number: u64) -> FlowRecord {
        let flow =
            FlowTuple { src: [1; 16], dst: [2; 16], src_port: 3, dst_port: 4, ip_version: 6 };
        let record = Record { correlation_id: Some(number), ..Record::default() };
        FlowRecord { flow, position: Position::StreamOffset(number), record }
    }

    /// The file as a sender maps it.
    fn sender(path: &Path) -> Mapped {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len() as usize;
        Mapped::new(&file, bytes).unwrap()
    }

    fn next(ring: &mut ShmRing) -> Option<u64> {
        ring.poll().map(|record| record.unwrap().record.correlation_id.unwrap())
    }

    #[test]
    fn a_sender_stays_connected_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw-intent");
        let mut ring = ShmRing::create(&path, 32).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let mapped = sender(&path);
        let mut writer = Writer::attach(mapped.words()).unwrap();
        for number in 0..100 {
            writer.push(&record(number)).unwrap();
            assert_eq!(next(&mut ring), Some(number));
        }
        writer.push(&record(100)).unwrap();
        drop(ring);
        let mut ring = ShmRing::create(&path, 32).unwrap();
        assert_eq!(next(&mut ring), None);
        writer.push(&record(101)).unwrap();
        assert_eq!(next(&mut ring), Some(101));
        assert_eq!((ring.lost(), ring.is_cut()), (Lost::default(), false));
        drop(ring);
        // Another size is another file.
        let mut ring = ShmRing::create(&path, 64).unwrap();
        writer.push(&record(102)).unwrap();
        assert_eq!(next(&mut ring), None);
    }

    #[test]
    fn a_file_cut_short_is_silence_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw-intent");
        let mut ring = ShmRing::create(&path, 1024).unwrap();
        let other = dir.path().join("other");
        let mut other_ring = ShmRing::create(&other, 16).unwrap();
        {
            let mapped = sender(&path);
            Writer::attach(mapped.words()).unwrap().push(&record(7)).unwrap();
        }
        assert_eq!(next(&mut ring), Some(7));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        for _ in 0..10 {
            assert_eq!(next(&mut ring), None);
        }
        assert!(ring.is_cut());
        // The neighbour does not notice, and a new start heals it.
        let mapped = sender(&other);
        Writer::attach(mapped.words()).unwrap().push(&record(8)).unwrap();
        assert_eq!(next(&mut other_ring), Some(8));
        assert!(!other_ring.is_cut());
        drop(ring);
        let mut ring = ShmRing::create(&path, 1024).unwrap();
        let mapped = sender(&path);
        Writer::attach(mapped.words()).unwrap().push(&record(9)).unwrap();
        assert_eq!(next(&mut ring), Some(9));
        assert!(!ring.is_cut());
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let create = |name: &str, capacity| ShmRing::create(&at(name), capacity).map(|_| ());
        assert!(matches!(create("a", 17), Err(ShmError::Capacity(17))));
        fs::write(at("real"), vec![0; ring::ring_bytes(16)]).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        assert!(matches!(
            create("link", 16),
            Err(ShmError::File { source: SharedFileError::Foreign(_), .. })
        ));
        fs::create_dir(at("directory")).unwrap();
        assert!(matches!(
            create("directory", 16),
            Err(ShmError::File { source: SharedFileError::Foreign(_), .. })
        ));
        assert!(matches!(
            create("no/such/place", 16),
            Err(ShmError::File { source: SharedFileError::Io(_), .. })
        ));
    }
}
