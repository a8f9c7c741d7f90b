//! Is a file that lies where one of ours shall be one of ours? What is not is never replaced.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Whether the file at `path` begins with `magic` (as it lies in memory), is empty, or begins with zeros:
/// one that a start did not get to write.
///
/// # Errors
/// It cannot be read.
pub(crate) fn is_ours(path: &Path, magic: u64) -> io::Result<bool> {
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
