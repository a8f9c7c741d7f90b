//! Device locks: one process at a time on a PCI device, interface, socket or output file.
//!
//! Taken before DPDK touches the device and held until it is closed. A lock is an exclusive
//! `flock` on a file, so it ends with the process however that ends; the file names its holder.
//! Namespaces and output files do not come back, so whoever opens the directory removes the locks that
//! nobody holds. Processes of different users lock in different directories and do not see each other's
//! files: a lock that every user may take could be taken by one who has no business with the device. For an
//! interface of the kernel there is an [`InterfaceClaim`] beside it, which every user sees.

use std::env;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::interface_claim::{InterfaceClaim, NotTaken};
use crate::port::device::Claim;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{claim} is in use by {holder}: one process at a time may use it ({})", file.display())]
    Held {
        /// What was asked for.
        claim: String,
        /// Instance and pid as the holder wrote them.
        holder: String,
        /// The lock file.
        file: PathBuf,
    },
    /// A process of another user, or one that keeps its locks elsewhere, holds it.
    #[error(
        "{claim} is in use by another gateway, of user {uid}: one process at a time may use it"
    )]
    HeldByUser {
        /// What was asked for.
        claim: String,
        /// The user's number.
        uid: u32,
    },
    /// The lock directory belongs to somebody else or others may write into it.
    #[error("{} is not safe to keep locks in: {why}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Where this user's locks lie.
#[derive(Clone, Debug)]
pub struct LockDir {
    dir: PathBuf,
}

impl LockDir {
    /// `/run/wirepace/locks` for root, `$XDG_RUNTIME_DIR/wirepace/locks` for others, and
    /// `/tmp/wirepace-<uid>/locks` where that is not set. Made with mode 0700.
    ///
    /// # Errors
    /// [`LockError::Directory`] when the directory is a link, belongs to another user or may be
    /// written by others; [`LockError::Io`].
    pub fn of_this_user() -> Result<Self, LockError> {
        let uid = rustix::process::geteuid();
        let base = if uid.is_root() {
            PathBuf::from("/run/wirepace")
        } else {
            match env::var_os("XDG_RUNTIME_DIR") {
                Some(dir) if Path::new(&dir).is_dir() => Path::new(&dir).join("wirepace"),
                _ => PathBuf::from(format!("/tmp/wirepace-{}", uid.as_raw())),
            }
        };
        Self::at(&base)
    }

    /// `<base>/locks`, both made and checked as in [`LockDir::of_this_user`].
    ///
    /// # Errors
    /// As for [`LockDir::of_this_user`].
    pub fn at(base: &Path) -> Result<Self, LockError> {
        let dir = base.join("locks");
        for dir in [base, &dir] {
            let io = |source| LockError::Io { path: dir.to_owned(), source };
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io(e)),
                _ => {}
            }
            let found = dir.symlink_metadata().map_err(io)?;
            let why = if !found.is_dir() {
                "it is not a directory".to_owned()
            } else if found.uid() != rustix::process::geteuid().as_raw() {
                format!("it belongs to user {}", found.uid())
            } else if found.mode() & 0o022 != 0 {
                format!("others may write into it (mode {:o})", found.mode() & 0o7777)
            } else {
                continue;
            };
            return Err(LockError::Directory { dir: dir.to_owned(), why });
        }
        let locks = Self { dir };
        locks.remove_unheld();
        Ok(locks)
    }

    /// Removes the locks that nobody holds. One that cannot be removed does no harm.
    fn remove_unheld(&self) {
        for entry in self.dir.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            // Removed while we hold it: who has opened it meanwhile sees that it is not there any more.
            if let Ok(file) = open(&path, false)
                && file.try_lock().is_ok()
            {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// Takes the lock of `claim` for `instance`, or says who has it. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] and [`LockError::HeldByUser`] name the holder; [`LockError::Io`].
    pub fn take(&self, claim: &Claim, instance: &str) -> Result<DeviceLock, LockError> {
        let path = self.dir.join(file_name(&key(claim)?));
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file = loop {
            let file = open(&path, true).map_err(io)?;
            match file.try_lock() {
                Ok(()) if is_still(&file, &path) => break file,
                // Removed between the two: another one has its name now.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // A holder that has not written yet leaves the name open.
                    let _ = file.take(256).read_to_string(&mut holder);
                    let holder = match holder.trim() {
                        "" => "another process".to_owned(),
                        holder => holder.to_owned(),
                    };
                    return Err(LockError::Held { claim: claim.to_string(), holder, file: path });
                }
                Err(TryLockError::Error(e)) => return Err(io(e)),
            }
        };
        file.set_len(0).map_err(io)?;
        writeln!(file, "instance {instance:?}, pid {}", std::process::id()).map_err(io)?;
        let for_all_users = match claim {
            Claim::Interface(name) => InterfaceClaim::take(name).map_err(|why| match why {
                NotTaken::Held { uid } => LockError::HeldByUser { claim: claim.to_string(), uid },
                NotTaken::Io(source) => LockError::Io { path: name.into(), source },
            })?,
            Claim::Pci(_) | Claim::Path(_) | Claim::Memif { .. } => None,
        };
        Ok(DeviceLock { _file: file, _for_all_users: for_all_users })
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Whether `file` is what lies at `path`.
fn is_still(file: &File, path: &Path) -> bool {
    let there = path.symlink_metadata();
    there.is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()))
}

/// A lock that is held. Dropping it lets go.
#[derive(Debug)]
pub struct DeviceLock {
    _file: File,
    _for_all_users: Option<InterfaceClaim>,
}

/// The name of a claim that does not depend on how it was written.
fn key(claim: &Claim) -> Result<String, LockError> {
    match claim {
        Claim::Pci(address) => Ok(format!("pci-{address}")),
        Claim::Interface(name) => {
            // An interface name is unique in its network namespace only. The namespace of the
            // thread that opens the device counts.
            let path = Path::new("/proc/thread-self/ns/net");
            let found =
                path.metadata().map_err(|source| LockError::Io { path: path.into(), source })?;
            Ok(format!("netns-{}-{name}", found.ino()))
        }
        Claim::Memif { socket, end } => Ok(format!("memif-{socket}-{end}")),
        Claim::Path(path) => Ok(format!("path-{}", canonical(path)?.display())),
    }
}

/// The path without links; the last component need not exist yet.
fn canonical(path: &Path) -> Result<PathBuf, LockError> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent
        .canonicalize()
        .map_err(|source| LockError::Io { path: parent.to_owned(), source })?;
    Ok(path.file_name().map_or(parent.clone(), |name| parent.join(name)))
}

/// A file name for `key`: `/` and what else a name should not have is written as `%xx`. A long one
/// ends with a hash of the whole, since names end at 255 bytes.
fn file_name(key: &str) -> String {
    const PLAIN_BYTES_MAX: usize = 200;
    let mut name = String::with_capacity(key.len() + 8);
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    if name.len() > PLAIN_BYTES_MAX {
        // FNV-1a, 64 bit.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        name.truncate(PLAIN_BYTES_MAX);
        name.push_str(&format!("-{hash:016x}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn dir() -> (tempfile::TempDir, LockDir) {
        let base = tempfile::tempdir().unwrap();
        let locks = LockDir::at(&base.path().join("wirepace")).unwrap();
        (base, locks)
    }

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let (_base, locks) = dir();
        let claim = Claim::Interface("veth7".to_owned());
        let first = locks.take(&claim, "gw1").unwrap();
        let said = locks.take(&claim, "gw2").unwrap_err().to_string();
        assert!(said.contains("interface veth7 is in use by instance \"gw1\""), "{said}");
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
        drop(first);
        let second = locks.take(&claim, "gw2").unwrap();
        let said = locks.take(&claim, "gw3").unwrap_err().to_string();
        assert!(said.contains("\"gw2\"") && !said.contains("gw1"), "{said}");
        drop(second);
    }

    #[test]
    fn one_file_is_one_lock_however_its_path_is_written() {
        let (base, locks) = dir();
        let real = base.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, base.path().join("link")).unwrap();
        let _held = locks.take(&Claim::Path(real.join("out.pcap")), "gw1").unwrap();
        for other in ["link/out.pcap", "real/../real/out.pcap"] {
            let claim = Claim::Path(base.path().join(other));
            assert!(matches!(locks.take(&claim, "gw2"), Err(LockError::Held { .. })), "{other}");
        }
        locks.take(&Claim::Path(real.join("other.pcap")), "gw2").unwrap();
    }

    #[test]
    fn a_path_whose_directory_is_absent_is_an_error() {
        let (base, locks) = dir();
        let claim = Claim::Path(base.path().join("absent/out.pcap"));
        assert!(matches!(locks.take(&claim, "gw1"), Err(LockError::Io { .. })));
    }

    #[test]
    fn locks_that_nobody_holds_go_and_the_others_stay() {
        let (base, locks) = dir();
        let held = [Claim::Interface("veth1".to_owned()), Claim::Path(base.path().join("a.pcap"))];
        let _held = held.each_ref().map(|claim| locks.take(claim, "gw1").unwrap());
        drop(locks.take(&Claim::Interface("veth2".to_owned()), "gw1").unwrap());
        drop(locks.take(&Claim::Path(base.path().join("b.pcap")), "gw1").unwrap());
        // As a gateway leaves it that was killed.
        fs::write(locks.dir.join("netns-1-veth9"), "instance \"old\", pid 1\n").unwrap();
        let names = |locks: &LockDir| {
            let entries = fs::read_dir(&locks.dir).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut kinds: Vec<_> = names.collect();
            kinds.sort();
            kinds
        };
        assert_eq!(names(&locks).len(), 5);
        let again = LockDir::at(&base.path().join("wirepace")).unwrap();
        assert_eq!(names(&again).len(), 2, "{:?}", names(&again));
        for claim in &held {
            assert!(matches!(again.take(claim, "gw2"), Err(LockError::Held { .. })), "{claim}");
        }
    }

    /// A lock that is removed between the open and the lock would be one that two hold.
    #[test]
    fn a_lock_that_was_removed_meanwhile_is_made_again() {
        let (_base, locks) = dir();
        let claim = Claim::Interface("veth1".to_owned());
        let first = locks.take(&claim, "gw1").unwrap();
        let path = fs::read_dir(&locks.dir).unwrap().next().unwrap().unwrap().path();
        let opened = open(&path, true).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&opened, &path));
        drop(first);
        let second = locks.take(&claim, "gw2").unwrap();
        assert!(is_still(&second._file, &path));
    }

    #[test]
    fn long_paths_that_begin_alike_are_told_apart() {
        let a = file_name(&format!("path-/{}/a", "x".repeat(400)));
        let b = file_name(&format!("path-/{}/b", "x".repeat(400)));
        assert_ne!(a, b);
        assert!(a.len() < 255 && !a.contains('/'), "{a}");
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let open = base.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let said = LockDir::at(&open).unwrap_err().to_string();
        assert!(said.contains("others may write"), "{said}");
        let linked = base.path().join("linked");
        symlink(base.path(), &linked).unwrap();
        let said = LockDir::at(&linked).unwrap_err().to_string();
        assert!(said.contains("not a directory"), "{said}");
    }

    #[test]
    fn directories_are_made_for_this_user_only() {
        let (base, _locks) = dir();
        for dir in ["wirepace", "wirepace/locks"] {
            let mode = base.path().join(dir).metadata().unwrap().mode();
            assert_eq!(mode & 0o777, 0o700, "{dir}");
        }
    }
}
