//! The stop page: the stop words in a file that outlives the process.
//!
//! The gateway opens it with [`StopPage::create_or_open`] and holds it for as long as it runs. Each
//! data core has a [`PageReader`], which calls [`StopPage::snapshot`] once for each poll: sixteen
//! loads of two cache lines, no lock, no syscall, nothing that the control thread takes part in. Only when
//! a word has changed it calls [`StopPage::decode`].
//!
//! Commands come in through [`StopPage::set`] and [`StopPage::resume`], in the process or, with
//! `--direct`, from any other through [`StopPage::open_existing`], which needs neither a config nor
//! a living gateway.
//!
//! A name keeps its byte in the page for as long as the config knows it, however classes and venues
//! are moved about in the file; a scope is found by its name, never by its index. At a start every
//! scope that was halted is halted, and `start_state` decides for all others. What cannot be read
//! for certain refuses the start.

mod error;
mod mapped;
mod reader;
mod scope;

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::profile::{CLASSES_MAX, VENUES_MAX};
use model::stop::{StopWord, StopWords};

pub use error::StopPageError;
pub use mapped::RawWords;
pub use reader::PageReader;
pub use scope::{BadScope, Scope};

use crate::state_dir::make_private_dir;
use mapped::{MAGIC, Mapped, NAME_BYTES_MAX, NameCell, PAGE_BYTES, Page, VERSION};

/// Byte of scope `all`.
const ALL: usize = 0;
/// Byte of the first venue.
const FIRST_VENUE: usize = 1;
/// Byte of the first class.
const FIRST_CLASS: usize = FIRST_VENUE + VENUES_MAX;
/// Tries, 1 ms apart, to get at the names while another process holds them. A start holds them for
/// microseconds.
const NAMES_TRIES: u32 = 1_000;

/// The stop page of one instance, mapped into this process.
pub struct StopPage {
    mapped: Mapped,
    file: File,
    path: PathBuf,
    instance: String,
    /// Byte of each venue of the config.
    venue_bytes: Vec<u8>,
    /// Byte of each class of the config.
    class_bytes: Vec<u8>,
    /// Held by the process that runs the instance: nobody else moves the names meanwhile.
    owner: Option<File>,
}

/// What a command did to the word of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The scope.
    pub scope: Scope,
    /// Its word before.
    pub before: StopWord,
    /// Its word now. After `passthrough` on a halted scope it is still halt.
    pub after: StopWord,
}

/// The reply to a resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What happened to the scope itself.
    pub change: Change,
    /// Every other scope whose word still holds packets of this one, with the word.
    pub still_held: Vec<(Scope, StopWord)>,
}

/// All that is in a page, for status and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name of the instance.
    pub instance: String,
    /// The file.
    pub path: PathBuf,
    /// Every scope with its own word: `all`, the venues, the classes.
    pub words: Vec<(Scope, StopWord)>,
}

impl StopPage {
    /// Opens the page of `instance` for the process that runs it, creates it if there is none, and
    /// puts the words into the state of a start.
    ///
    /// An existing page is used in place, so that a `--direct` command that has it mapped still
    /// reaches us. Scopes that were halted stay halted; `start_state` becomes the word of scope
    /// `all` unless that is halted, and every other word is cleared. Equal names share a word.
    ///
    /// `path` is [`crate::state_dir::InstanceDir::stop_page`]; its directory must belong to this
    /// user. Class names in the order of the config: an index in [`StopWords`] is an index here.
    ///
    /// # Errors
    /// See [`StopPageError`]: another process runs the instance, the page is not sound or not ours,
    /// or a halted name is not in the config any more.
    pub fn create_or_open(
        path: &Path,
        instance: &str,
        venues: &[impl AsRef<str>],
        classes: &[impl AsRef<str>],
        start_state: StopWord,
    ) -> Result<Self, StopPageError> {
        let venues = Names::new("venues", venues, VENUES_MAX)?;
        let classes = Names::new("classes", classes, CLASSES_MAX)?;
        check_name(instance)?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        make_private_dir(dir, 0o700)?;
        let owner = lock_instance(dir, instance, path)?;

        let file = match open_file(path) {
            Err(StopPageError::Missing(_)) => {
                create(path, instance)?;
                open_file(path)?
            }
            found => found?,
        };
        let mut this = Self::map(file, path)?;
        if this.instance != instance {
            let (path, found) = (path.to_owned(), this.instance);
            return Err(StopPageError::Foreign { path, found, wanted: instance.to_owned() });
        }
        let page = this.mapped.page();
        (this.venue_bytes, this.class_bytes) = with_names(&this.file, path, true, || {
            check_names(page, path)?;
            let gone = halted_elsewhere(page, &venues, &classes);
            if !gone.is_empty() {
                return Err(StopPageError::HaltedNameGone { path: path.to_owned(), scopes: gone });
            }
            let venue_bytes = venues.place(&page.venues, page, FIRST_VENUE);
            Ok((venue_bytes, classes.place(&page.classes, page, FIRST_CLASS)))
        })??;
        begin(page, start_state);
        this.owner = Some(owner);
        Ok(this)
    }

    /// Opens a page that is there, for `--direct` and for looking at it. In [`StopPage::decode`] an
    /// index is then a place in the page, not in a config.
    ///
    /// # Errors
    /// See [`StopPageError`].
    pub fn open_existing(path: &Path) -> Result<Self, StopPageError> {
        Self::map(open_file(path)?, path)
    }

    fn map(file: File, path: &Path) -> Result<Self, StopPageError> {
        let mapped = Mapped::new(&file).map_err(|e| io_error(path, e))?;
        let instance = check_header(mapped.page(), path)?;
        let bytes = |first, count| (first..first + count).map(|byte| byte as u8).collect();
        Ok(Self {
            mapped,
            file,
            path: path.to_owned(),
            instance,
            venue_bytes: bytes(FIRST_VENUE, VENUES_MAX),
            class_bytes: bytes(FIRST_CLASS, CLASSES_MAX),
            owner: None,
        })
    }

    /// Takes a snapshot into `last` and says whether any word differs from what stood there.
    ///
    /// For data cores, once for each poll: sixteen loads and as many compares.
    #[inline]
    pub fn snapshot(&self, last: &mut RawWords) -> bool {
        let now = self.mapped.page().words();
        let changed = now != *last;
        *last = now;
        changed
    }

    /// Whether any word differs from what stands in `last`. As cheap.
    #[inline]
    pub fn differs(&self, last: &RawWords) -> bool {
        self.mapped.page().words() != *last
    }

    /// The words of a snapshot, by the indices of the config.
    pub fn decode(&self, raw: &RawWords) -> StopWords {
        let mut words = StopWords { all: mapped::word_in(raw, ALL), ..StopWords::default() };
        for (word, byte) in words.venues.iter_mut().zip(&self.venue_bytes) {
            *word = mapped::word_in(raw, usize::from(*byte));
        }
        for (word, byte) in words.classes.iter_mut().zip(&self.class_bytes) {
            *word = mapped::word_in(raw, usize::from(*byte));
        }
        words
    }

    /// Halts a scope or puts it into passthrough; [`StopWord::Running`] is [`StopPage::resume`]
    /// without its reply. Passthrough does not lower a halt.
    ///
    /// # Errors
    /// [`StopPageError::UnknownScope`]; [`StopPageError::Busy`] from another process while a
    /// gateway starts, never for scope `all`.
    pub fn set(&self, scope: &Scope, word: StopWord) -> Result<Change, StopPageError> {
        let page = self.mapped.page();
        let update = || {
            let byte = self.byte_of(scope)?;
            let (before, after) = page.update(byte, |before| match word {
                StopWord::Passthrough => before.max(word),
                StopWord::Running | StopWord::Halt => word,
            });
            Ok(Change { scope: scope.clone(), before, after })
        };
        // The names stand still while we run the instance, and `all` has no name.
        if self.owner.is_some() || *scope == Scope::All {
            update()
        } else {
            with_names(&self.file, &self.path, false, update)?
        }
    }

    /// Clears the word of `scope`, and of `scope` only; says what still holds its packets.
    ///
    /// # Errors
    /// As [`StopPage::set`].
    pub fn resume(&self, scope: &Scope) -> Result<Resumed, StopPageError> {
        let change = self.set(scope, StopWord::Running)?;
        Ok(Resumed { change, still_held: self.other_holds(scope) })
    }

    /// Every other scope that does not run and that shares packets with `scope`, with its word.
    pub fn other_holds(&self, scope: &Scope) -> Vec<(Scope, StopWord)> {
        scope.others_that_hold(&self.describe().words)
    }

    /// SIGUSR2: scope `all` into passthrough, unless it is halted. Async-signal-safe: one
    /// compare-and-swap on mapped memory.
    pub fn passthrough_all(&self) {
        self.mapped.page().update(ALL, |before| before.max(StopWord::Passthrough));
    }

    /// Everything in the page.
    pub fn describe(&self) -> Description {
        let page = self.mapped.page();
        let words = scopes(page).map(|(scope, byte)| (scope, page.word(byte))).collect();
        Description { instance: self.instance.clone(), path: self.path.clone(), words }
    }

    /// Name of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn byte_of(&self, scope: &Scope) -> Result<usize, StopPageError> {
        let page = self.mapped.page();
        scopes(page).find(|(known, _)| known == scope).map(|(_, byte)| byte).ok_or_else(|| {
            StopPageError::UnknownScope {
                given: scope.clone(),
                known: scopes(page).map(|(known, _)| known).collect(),
            }
        })
    }
}

impl std::fmt::Debug for StopPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopPage").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The names of a config, checked.
struct Names<'a>(Vec<&'a str>);

impl<'a> Names<'a> {
    fn new(
        what: &'static str,
        names: &'a [impl AsRef<str>],
        max: usize,
    ) -> Result<Self, StopPageError> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        names.iter().try_for_each(|name| check_name(name))?;
        if names.len() > max {
            return Err(StopPageError::TooMany { what, count: names.len(), max });
        }
        Ok(Self(names))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Gives every name a cell: the one that it has, else a free one. Names that are not ours lose
    /// theirs first. Returns the byte of the word of each name.
    ///
    /// In an order that leaves a sound page whenever the process dies.
    fn place(&self, cells: &[NameCell], page: &Page, first_byte: usize) -> Vec<u8> {
        let mut owners: Vec<Option<String>> = cells
            .iter()
            .map(|cell| {
                let name = cell.read().ok().flatten().filter(|name| self.has(name));
                if name.is_none() {
                    cell.clear();
                }
                name
            })
            .collect();
        let mut byte_of = |name: &str| {
            let is_its = |owner: &Option<String>| owner.as_deref() == Some(name);
            if let Some(k) = owners.iter().position(is_its) {
                return k;
            }
            // There is one: at most as many names as cells, and every other cell is free.
            let k = owners.iter().position(Option::is_none).unwrap_or_default();
            page.update(first_byte + k, |_| StopWord::Running);
            cells[k].write(name);
            owners[k] = Some(name.to_owned());
            k
        };
        self.0.iter().map(|name| (first_byte + byte_of(name)) as u8).collect()
    }
}

/// Every scope of the page with its byte: `all`, the venues, the classes.
fn scopes(page: &Page) -> impl Iterator<Item = (Scope, usize)> {
    let name = |cell: &NameCell| cell.read().ok().flatten();
    let venues = (FIRST_VENUE..)
        .zip(&page.venues)
        .filter_map(move |(byte, cell)| Some((Scope::Venue(name(cell)?), byte)));
    let classes = (FIRST_CLASS..)
        .zip(&page.classes)
        .filter_map(move |(byte, cell)| Some((Scope::Class(name(cell)?), byte)));
    std::iter::once((Scope::All, ALL)).chain(venues).chain(classes)
}

/// The state of a start: what was halted stays halted.
fn begin(page: &Page, start_state: StopWord) {
    let keep_halt = |before: StopWord, other| {
        if before == StopWord::Halt { before } else { other }
    };
    page.update(ALL, |before| keep_halt(before, start_state));
    for (_, byte) in scopes(page).skip(1) {
        page.update(byte, |before| keep_halt(before, StopWord::Running));
    }
}

/// The scopes that are halted and that a config with these names does not have.
fn halted_elsewhere(page: &Page, venues: &Names<'_>, classes: &Names<'_>) -> Vec<Scope> {
    let is_gone = |scope: &Scope| match scope {
        Scope::All => false,
        Scope::Venue(name) => !venues.has(name),
        Scope::Class(name) => !classes.has(name),
    };
    scopes(page)
        .filter(|(scope, byte)| is_gone(scope) && page.word(*byte) == StopWord::Halt)
        .map(|(scope, _)| scope)
        .collect()
}

/// Whether `page` is one of ours; returns the name of its instance.
fn check_header(page: &Page, path: &Path) -> Result<String, StopPageError> {
    let corrupt = |why: String| StopPageError::Corrupt { path: path.to_owned(), why };
    let (magic, found) = page.header();
    if magic != MAGIC {
        return Err(corrupt("it does not begin with the mark of one".to_owned()));
    }
    if found != VERSION {
        return Err(StopPageError::Version { path: path.to_owned(), found, known: VERSION });
    }
    let instance = page.instance.read().map_err(corrupt)?;
    instance.ok_or_else(|| corrupt("it names no instance".to_owned()))
}

/// Whether every cell can be read and names one scope: else a halted one could be overlooked. Only
/// a start asks; a command still reaches every scope that can be read.
fn check_names(page: &Page, path: &Path) -> Result<(), StopPageError> {
    let corrupt = |why: String| StopPageError::Corrupt { path: path.to_owned(), why };
    for (kind, cells) in [("venue", &page.venues[..]), ("class", &page.classes[..])] {
        let mut seen: Vec<String> = Vec::new();
        for cell in cells {
            let Some(name) = cell.read().map_err(corrupt)? else { continue };
            if seen.contains(&name) {
                return Err(corrupt(format!("{kind}:{name} stands in it twice")));
            }
            seen.push(name);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), StopPageError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        Ok(())
    } else {
        Err(StopPageError::Name(name.to_owned()))
    }
}

/// Opens an existing page: a regular file of the right length that nobody else may write to.
fn open_file(path: &Path) -> Result<File, StopPageError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    let file = options.open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => StopPageError::Missing(path.to_owned()),
        _ => io_error(path, e),
    })?;
    let found = file.metadata().map_err(|e| io_error(path, e))?;
    let unsafe_page = |why| StopPageError::Unsafe { path: path.to_owned(), why };
    let uid = rustix::process::geteuid().as_raw();
    // Root may use the page of a gateway that runs as another user.
    if uid != 0 && found.uid() != uid {
        return Err(unsafe_page(format!("it belongs to uid {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(unsafe_page(format!("mode {:o} lets others write", found.mode() & 0o7777)));
    }
    if let Some(found) = other_layout(&file) {
        return Err(StopPageError::Version { path: path.to_owned(), found, known: VERSION });
    }
    if !found.is_file() || found.len() != PAGE_BYTES as u64 {
        let why = format!("{} bytes where a page has {PAGE_BYTES}", found.len());
        return Err(StopPageError::Corrupt { path: path.to_owned(), why });
    }
    Ok(file)
}

/// The layout of a page of another one, whose length may be another, too.
fn other_layout(file: &File) -> Option<u64> {
    let mut header = [0; 16];
    file.read_exact_at(&mut header, 0).ok()?;
    let (magic, version) = header.split_at(8);
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    let version = number(version)?;
    (number(magic)? == MAGIC && version != VERSION).then_some(version)
}

/// Creates a page without names. It is made aside and renamed: a page is sound from the first
/// moment that it has its name.
fn create(path: &Path, instance: &str) -> Result<(), StopPageError> {
    let aside = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&aside, e)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    let mut file = options.open(&aside).map_err(|e| io_error(&aside, e))?;
    // The bytes and not only the length: a full file system must say so now, not by SIGBUS at the
    // first halt.
    file.write_all(&[0; PAGE_BYTES]).map_err(|e| io_error(&aside, e))?;
    Mapped::new(&file).map_err(|e| io_error(&aside, e))?.page().initialise(instance);
    fs::rename(&aside, path).map_err(|e| io_error(path, e))
}

/// Takes the lock of the process that runs `instance`; it ends with the process, however that ends.
fn lock_instance(dir: &Path, instance: &str, page: &Path) -> Result<File, StopPageError> {
    let path = dir.join("owner.lock");
    let io = |e| io_error(&path, e);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(e)) => return Err(io(e)),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            let (instance, path) = (instance.to_owned(), page.to_owned());
            return Err(StopPageError::InUse { instance, pid, path });
        }
    }
    file.set_len(0).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

/// Runs `f` while the names of the page stand still (shared), or while nobody reads them
/// (`exclusive`).
fn with_names<T>(
    file: &File,
    path: &Path,
    exclusive: bool,
    f: impl FnOnce() -> T,
) -> Result<T, StopPageError> {
    let mut tries_left = NAMES_TRIES;
    loop {
        match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(io_error(path, e)),
            Err(TryLockError::WouldBlock) if tries_left == 0 => {
                return Err(StopPageError::Busy(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => {
                tries_left -= 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let result = f();
    file.unlock().map_err(|e| io_error(path, e))?;
    Ok(result)
}

fn io_error(path: &Path, source: io::Error) -> StopPageError {
    StopPageError::Io { path: path.to_owned(), source }
}
