//! Where an instance keeps what others must find: its stop page and its control socket.
//!
//! [`locate`] names the directory, [`InstanceDir::prepare`] makes the instance's place in it and
//! [`InstanceDir::at`] only names it (for a client). Everything below is private to one user, but for the
//! way to the control socket where [`Admits`] opens it: a directory that somebody else could write to is
//! refused, because who can write there can resume a halted gateway.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Where gateways of root have theirs.
pub const STATE_DIR_OF_ROOT: &str = "/run/wirepace";
/// Longest name of an instance, bytes: it is written into the stop page.
pub const INSTANCE_BYTES_MAX: usize = 63;
/// Longest path of a Unix socket, bytes (`sun_path` without its final NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why there is no state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// `state_dir` would mean something else in each working directory.
    #[error("state_dir = \"{}\" must be an absolute path", .0.display())]
    NotAbsolute(PathBuf),
    /// A name that cannot be a directory of its own.
    #[error(
        "instance name \"{0}\": 1 to 63 of the characters a-z, A-Z, 0-9, '-', '_' and '.', and no \
         '.' in front"
    )]
    Name(String),
    /// The kernel has no room for it.
    #[error(
        "{}: a socket path has at most 107 bytes; choose a shorter gateway name or state_dir",
        .0.display()
    )]
    SocketPath(PathBuf),
    /// Another user could change what is in it.
    #[error("{}: {why}; a state directory must belong to this user alone", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Who is to reach the control socket cannot pass.
    #[error(
        "{}: mode {mode:o} lets nobody through to the control socket, which [control] opens to others: \
         `chmod o+x {}`",
        path.display(), path.display()
    )]
    Closed {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The state directory of a user: `configured`, else `/run/wirepace` for root, else
/// `$XDG_RUNTIME_DIR/wirepace`, else `/tmp/wirepace-<uid>`. Creates nothing.
///
/// The first two live in memory on most hosts: a reboot forgets what was halted, and `start_state`
/// holds again. Name a directory on a disk in `state_dir` to keep it.
///
/// # Errors
/// [`StateDirError::NotAbsolute`].
pub fn locate(configured: Option<&str>, uid: u32) -> Result<PathBuf, StateDirError> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    locate_with(configured, uid, runtime_dir)
}

fn locate_with(
    configured: Option<&str>,
    uid: u32,
    runtime_dir: Option<PathBuf>,
) -> Result<PathBuf, StateDirError> {
    if let Some(dir) = configured.map(PathBuf::from) {
        return if dir.is_absolute() { Ok(dir) } else { Err(StateDirError::NotAbsolute(dir)) };
    }
    if uid == 0 {
        return Ok(PathBuf::from(STATE_DIR_OF_ROOT));
    }
    Ok(match runtime_dir.filter(|dir| dir.is_absolute()) {
        Some(dir) => dir.join("wirepace"),
        None => PathBuf::from(format!("/tmp/wirepace-{uid}")),
    })
}

/// [`locate`] for the user that runs this process.
///
/// # Errors
/// As [`locate`].
pub fn of_this_user(configured: Option<&str>) -> Result<PathBuf, StateDirError> {
    locate(configured, rustix::process::geteuid().as_raw())
}

/// Who may come as far as the control socket; the socket itself says who may open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// The user that runs the gateway.
    Owner,
    /// The members of a group, too.
    Group(u32),
    /// Every user of the host.
    All,
}

impl Admits {
    /// Mode of the instance's directory: who may pass cannot list it.
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group(_) => 0o710,
            Self::All => 0o711,
        }
    }

    const fn group(self) -> Option<u32> {
        match self {
            Self::Group(group) => Some(group),
            Self::Owner | Self::All => None,
        }
    }
}

/// The directory of one instance: `<state_dir>/<instance>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDir {
    path: PathBuf,
}

impl InstanceDir {
    /// Names the directory of `instance`; touches nothing.
    ///
    /// # Errors
    /// [`StateDirError::Name`], [`StateDirError::SocketPath`].
    pub fn at(state_dir: &Path, instance: &str) -> Result<Self, StateDirError> {
        if !is_instance_name(instance) {
            return Err(StateDirError::Name(instance.to_owned()));
        }
        let dir = Self { path: state_dir.join(instance) };
        let socket = dir.control_socket();
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(StateDirError::SocketPath(socket));
        }
        Ok(dir)
    }

    /// Creates it and what is missing above it: 0755 for `/run/wirepace` of root and where others are
    /// admitted, 0700 for all else. An existing one must belong to this user or root and be writable by
    /// its owner only. Whoever was admitted before and is no longer is kept out from here on.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn prepare(
        state_dir: &Path,
        instance: &str,
        admits: Admits,
    ) -> Result<Self, StateDirError> {
        let dir = Self::at(state_dir, instance)?;
        let is_open = admits != Admits::Owner || state_dir == Path::new(STATE_DIR_OF_ROOT);
        make_private_dir(state_dir, if is_open { 0o755 } else { 0o700 })?;
        refuse_closed(state_dir, admits)?;
        make_private_dir(&dir.path, 0o700)?;
        let open = || {
            if admits.group().is_some() {
                chown(&dir.path, None, admits.group())?;
            }
            fs::set_permissions(&dir.path, Permissions::from_mode(admits.mode()))
        };
        open().map_err(|source| StateDirError::Io { path: dir.path.clone(), source })?;
        Ok(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stop page of the instance.
    pub fn stop_page(&self) -> PathBuf {
        self.path.join("stop")
    }

    /// The configs of the instance that were confirmed.
    pub fn revisions(&self) -> PathBuf {
        self.path.join("config")
    }

    /// The control socket of the instance.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }
}

/// The instances that have a directory in `state_dir`, by name: what a command without `--config`
/// may choose from. Empty when there is no such directory.
///
/// # Errors
/// [`StateDirError::Io`].
pub fn instances(state_dir: &Path) -> Result<Vec<String>, StateDirError> {
    let io = |source| StateDirError::Io { path: state_dir.to_owned(), source };
    let entries = match fs::read_dir(state_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(io)?.file_name().into_string() else { continue };
        if is_instance_name(&name) && state_dir.join(&name).join("stop").is_file() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_instance_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty()
        && name.len() <= INSTANCE_BYTES_MAX
        && !name.starts_with('.')
        && name.chars().all(good)
}

/// Creates `path` with `mode` unless it is there, then sees that nobody else can write to it.
///
/// # Errors
/// [`StateDirError::Io`], [`StateDirError::Unsafe`].
pub fn make_private_dir(path: &Path, mode: u32) -> Result<(), StateDirError> {
    let io = |source| StateDirError::Io { path: path.to_owned(), source };
    if let Err(e) = DirBuilder::new().recursive(false).mode(mode).create(path) {
        match e.kind() {
            io::ErrorKind::AlreadyExists => {}
            io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io)?;
            }
            _ => return Err(io(e)),
        }
    }
    refuse_unsafe(path)
}

/// Sees that nobody but this user (and root) can write to the directory `path`.
///
/// # Errors
/// [`StateDirError::Io`], [`StateDirError::Unsafe`].
pub fn refuse_unsafe(path: &Path) -> Result<(), StateDirError> {
    // Not `metadata`: in /tmp anybody may have put a link there.
    let found = fs::symlink_metadata(path)
        .map_err(|source| StateDirError::Io { path: path.to_owned(), source })?;
    match distrust(&found, rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(why) => Err(StateDirError::Unsafe { path: path.to_owned(), why }),
    }
}

/// A directory that was made before others were admitted may be closed to them.
fn refuse_closed(path: &Path, admits: Admits) -> Result<(), StateDirError> {
    let found =
        fs::metadata(path).map_err(|source| StateDirError::Io { path: path.to_owned(), source })?;
    let mode = found.mode() & 0o7777;
    let passes = match admits {
        Admits::Owner => true,
        Admits::Group(group) if found.gid() == group => mode & 0o010 != 0,
        Admits::Group(_) | Admits::All => mode & 0o001 != 0,
    };
    if passes { Ok(()) } else { Err(StateDirError::Closed { path: path.to_owned(), mode }) }
}

/// Why a directory must not be trusted by `uid`.
fn distrust(found: &Metadata, uid: u32) -> Option<String> {
    if !found.is_dir() {
        Some("not a directory".to_owned())
    } else if found.uid() != uid && found.uid() != 0 {
        Some(format!("belongs to uid {}, this process runs as uid {uid}", found.uid()))
    } else if found.mode() & 0o022 != 0 {
        Some(format!("mode {:o} lets others write to it", found.mode() & 0o7777))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_comes_first_then_the_kind_of_user() {
        let runtime = || Some(PathBuf::from("/run/user/7"));
        let dir = |configured, uid, env| locate_with(configured, uid, env).unwrap();
        assert_eq!(dir(Some("/var/lib/w"), 0, None), Path::new("/var/lib/w"));
        assert_eq!(dir(None, 0, runtime()), Path::new("/run/wirepace"));
        assert_eq!(dir(None, 7, runtime()), Path::new("/run/user/7/wirepace"));
        assert_eq!(dir(None, 7, None), Path::new("/tmp/wirepace-7"));
        // Relative values of the variable are to be ignored (XDG base directory specification).
        assert_eq!(dir(None, 7, Some("run".into())), Path::new("/tmp/wirepace-7"));
        let refused = locate_with(Some("state"), 0, None).unwrap_err();
        assert!(refused.to_string().contains("absolute"), "{refused}");
    }

    #[test]
    fn a_place_is_made_and_found_again() {
        let base = tempfile::tempdir().unwrap();
        let state_dir = base.path().join("a/b");
        assert_eq!(instances(&state_dir).unwrap(), Vec::<String>::new());
        let dir = InstanceDir::prepare(&state_dir, "gw1", Admits::Owner).unwrap();
        assert_eq!(InstanceDir::prepare(&state_dir, "gw1", Admits::Owner).unwrap(), dir);
        assert_eq!(dir.stop_page(), state_dir.join("gw1/stop"));
        assert_eq!(dir.control_socket(), state_dir.join("gw1/control.sock"));
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(instances(&state_dir).unwrap(), Vec::<String>::new());
        fs::write(dir.stop_page(), "").unwrap();
        assert_eq!(instances(&state_dir).unwrap(), ["gw1"]);
    }

    #[test]
    fn others_pass_to_the_socket_while_they_are_admitted_and_only_then() {
        let base = tempfile::tempdir().unwrap();
        let state_dir = base.path().join("state");
        let prepare = |admits| InstanceDir::prepare(&state_dir, "gw1", admits);
        let own = rustix::process::getegid().as_raw();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        for (admits, expected) in
            [(Admits::All, 0o711), (Admits::Group(own), 0o710), (Admits::Owner, 0o700)]
        {
            let dir = prepare(admits).unwrap();
            assert_eq!(mode(dir.path()), expected, "{admits:?}");
            assert_eq!(fs::metadata(dir.path()).unwrap().gid(), own);
            assert_eq!(mode(&state_dir), 0o755, "made when all were admitted");
        }
        // One that the operator closed is not opened behind the operator's back.
        fs::set_permissions(&state_dir, Permissions::from_mode(0o700)).unwrap();
        prepare(Admits::Owner).unwrap();
        for admits in [Admits::All, Admits::Group(own)] {
            let refused = prepare(admits).unwrap_err().to_string();
            assert!(refused.contains("chmod o+x"), "{refused}");
        }
        fs::set_permissions(&state_dir, Permissions::from_mode(0o710)).unwrap();
        prepare(Admits::Group(own)).unwrap();
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "a/b", ".hidden", "gw 1", &"x".repeat(64)] {
            let refused = InstanceDir::at(Path::new("/run/wirepace"), name).unwrap_err();
            assert!(matches!(refused, StateDirError::Name(_)), "{name:?}");
        }
        let deep = PathBuf::from("/").join("d".repeat(60));
        let refused = InstanceDir::at(&deep, &"x".repeat(63)).unwrap_err();
        assert!(matches!(refused, StateDirError::SocketPath(_)));
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let open = base.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let refused = InstanceDir::prepare(&open, "gw1", Admits::Owner).unwrap_err();
        assert!(refused.to_string().contains("mode 777"), "{refused}");

        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).unwrap();
        let refused = InstanceDir::prepare(&link, "gw1", Admits::Owner).unwrap_err();
        assert!(refused.to_string().contains("not a directory"), "{refused}");

        let found = fs::metadata(base.path()).unwrap();
        if found.uid() != 0 {
            assert!(distrust(&found, found.uid() + 1).unwrap().contains("belongs to uid"));
        }
    }
}
