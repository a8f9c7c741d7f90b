//! Why a stop page cannot be used. Each message says what a person can do about it.

use std::io;
use std::path::PathBuf;

use super::scope::Scope;
use crate::state_dir::StateDirError;

/// Why a stop page cannot be used, or a word cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StopPageError {
    /// The directory of the page.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The file system refused.
    #[error("stop page {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `--direct` without a page.
    #[error(
        "stop page {}: there is none; was the gateway ever started by this user, with this state_dir?",
        .0.display()
    )]
    Missing(PathBuf),
    /// Another process runs this instance.
    #[error(
        "instance \"{instance}\" runs already{}; its stop page is {}",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        path.display()
    )]
    InUse {
        /// Its name.
        instance: String,
        /// The process, where it could be read.
        pid: Option<u32>,
        /// The page.
        path: PathBuf,
    },
    /// Not what a wirepace program leaves behind.
    #[error(
        "{} is not a sound stop page: {why}. Which scopes it held cannot be known, so nothing \
         starts. Look at it with `od -A d -c {}`; once nothing must stay halted, remove it: \
         start_state then decides",
        path.display(),
        path.display()
    )]
    Corrupt {
        /// The page.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A layout this program does not know.
    #[error(
        "stop page {}: layout {found}, this program knows {known}; use the wirepace that wrote it, \
         or remove it once nothing must stay halted",
        path.display()
    )]
    Version {
        /// The page.
        path: PathBuf,
        /// Its layout.
        found: u64,
        /// The layout of this program.
        known: u64,
    },
    /// The page of another instance.
    #[error(
        "stop page {} belongs to instance \"{found}\", not to \"{wanted}\"; a page is not copied or \
         renamed between instances",
        path.display()
    )]
    Foreign {
        /// The page.
        path: PathBuf,
        /// The instance in it.
        found: String,
        /// The instance that wanted it.
        wanted: String,
    },
    /// Somebody else could have written to it.
    #[error("stop page {}: {why}; it must belong to this user alone (mode 600)", path.display())]
    Unsafe {
        /// The page.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Halted names that the config does not know any more.
    #[error(
        "stop page {}: {} halted, but not in the config; put the name back, or resume it first: {}",
        path.display(),
        list(scopes),
        scopes.iter().map(|s| format!("`wirepace resume --scope {s} --direct`"))
            .collect::<Vec<_>>().join(", ")
    )]
    HaltedNameGone {
        /// The page.
        path: PathBuf,
        /// The halted scopes.
        scopes: Vec<Scope>,
    },
    /// More names than the page has room for.
    #[error("{count} {what}: a stop page has room for {max}")]
    TooMany {
        /// `venues` or `classes`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name that does not go into a cell.
    #[error("name \"{0}\": 1 to 63 bytes of text without control characters")]
    Name(String),
    /// A scope that the page does not have.
    #[error("no scope {given}; there are: {}", list(known))]
    UnknownScope {
        /// What was asked for.
        given: Scope,
        /// All scopes of the page.
        known: Vec<Scope>,
    },
    /// A starting gateway rearranges the names, and does not come to an end.
    #[error(
        "stop page {}: a starting gateway holds it; try again, or use --scope all, which needs no \
         name",
        .0.display()
    )]
    Busy(PathBuf),
}

fn list(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
