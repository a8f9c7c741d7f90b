//! A set of captures that are wrong in one way each: files no reader should trust and frames no
//! parser should. Everything is fixed; there is no seed.
//!
//! Call [`hostile`] with a directory; it writes one file per case and answers with what must come
//! out. The counts are those of `model::frame::parse`, given the captured length: they hold for
//! any path that ends in it.

mod files;
mod frames;

use std::fs;
use std::path::Path;

use model::drop_reason::DropReason;

use crate::capture::WriteError;

/// One hostile capture and what must become of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostileCase {
    /// Name of the file in the directory.
    pub file: &'static str,
    /// Packet records that a reader delivers, before the error if there is one.
    pub records: u64,
    /// Frames that are IP and well formed, fragments and oversized ones included.
    pub ip: u64,
    /// Of these, fragments: the drop reason is `ip_fragment` where a port does not forward them.
    pub fragments: u64,
    /// Of `ip`, frames above 1,514 bytes: `tx_oversize` where a port's `frame_max` is the default.
    pub oversize: u64,
    /// Well-formed frames of other protocols.
    pub non_ip: u64,
    /// Malformed frames by reason.
    pub malformed: Vec<(DropReason, u64)>,
    /// Part of the error's text; `None` where the file reads to its end.
    pub error: Option<&'static str>,
    /// The error is one that a caller may show as a warning: the file is cut off.
    pub is_truncated: bool,
    /// The error comes when the file is opened, before any record.
    pub is_refused: bool,
}

/// A file of the set.
struct HostileFile {
    bytes: Vec<u8>,
    case: HostileCase,
}

/// Writes the set into `directory`, which is made if it is missing, and answers what to expect, in
/// a fixed order.
///
/// # Errors
/// When a file cannot be written.
pub fn hostile(directory: &Path) -> Result<Vec<HostileCase>, WriteError> {
    fs::create_dir_all(directory).map_err(WriteError::at(directory))?;
    let mut cases = Vec::new();
    for HostileFile { bytes, case } in frames::all().into_iter().chain(files::all()) {
        let path = directory.join(case.file);
        fs::write(&path, bytes).map_err(WriteError::at(&path))?;
        cases.push(case);
    }
    Ok(cases)
}
