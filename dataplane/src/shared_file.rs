//! Files of ours that other processes map: made once, taken over by later runs, never in the place of
//! something else.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SharedFileError {
    /// Something is there that is not a file of this user, or of another kind.
    #[error("{0}; remove it")]
    Foreign(&'static str),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file of `bytes` at `path` with `mode`, whatever the umask says, that belongs to this user: one that is
/// there, begins with `magic` (as it lies in memory) and has that size, else a new one of zeros. Whoever
/// has one of another size mapped keeps that one.
///
/// # Errors
/// See [`SharedFileError`].
pub(crate) fn open_or_create(
    path: &Path,
    magic: u64,
    bytes: usize,
    mode: u32,
) -> Result<File, SharedFileError> {
    let file = open_as_it_is_or_create(path, magic, bytes, mode)?;
    // The mode of `open` is cut by the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

fn open_as_it_is_or_create(
    path: &Path,
    magic: u64,
    bytes: usize,
    mode: u32,
) -> Result<File, SharedFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(mode).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(SharedFileError::Foreign("it is not a plain file"));
        }
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            return Err(SharedFileError::Foreign("it belongs to another user"));
        }
        Ok(_) if !is_ours(path, magic)? => {
            return Err(SharedFileError::Foreign("it is not empty and holds something else"));
        }
        Ok(found) if found.len() == bytes as u64 => return Ok(options.open(path)?),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut file = options.create_new(true).open(path)?;
    // The bytes and not only the length: a full file system must say so now.
    file.write_all(&vec![0; bytes])?;
    Ok(file)
}

/// Whether the file at `path` begins with `magic` (as it lies in memory), is empty, or begins with zeros:
/// one that a start did not get to write.
///
/// # Errors
/// It cannot be read.
fn is_ours(path: &Path, magic: u64) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(size_of::<u64>() as u64).read_to_end(&mut start)?;
    Ok(start.iter().all(|&byte| byte == 0) || start == magic.to_le_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn only_what_is_empty_zero_or_begins_with_the_magic_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let magic = u64::from_le_bytes(*b"wpintent");
        for (bytes, ours) in [
            (&b""[..], true),
            (&[0; 100], true),
            (b"wpintent and more", true),
            (b"wpinten", false),
            (b"#!/usr/bin/env python3", false),
            (b"\0\0\0\0\0\0\0\x01", false),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(is_ours(&path, magic).unwrap(), ours, "{bytes:?}");
        }
    }
}
