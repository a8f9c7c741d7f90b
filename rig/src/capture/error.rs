//! What can go wrong with a capture, in words that name the file and the place in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use model::time::Nanos;

use super::{BLOCK_BYTES_MAX, RECORD_BYTES_MAX, link_type_name};

/// A capture could not be read on.
#[derive(Debug, thiserror::Error)]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// Packet record that was being read, from 1; 0 in the file header.
    pub record: u64,
    /// Where its header begins, bytes from the start of the file, counted after decompression.
    pub offset: u64,
    /// What is wrong.
    #[source]
    pub fault: CaptureFault,
}

impl CaptureError {
    /// Whether the file merely ends too early: the packets before are good, and a caller may go on
    /// with them and show this as a warning (`capture_truncated`).
    pub fn is_truncated(&self) -> bool {
        matches!(self.fault, CaptureFault::Truncated)
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, record, offset, fault } = self;
        match (record, offset) {
            (0, 0) => write!(f, "{}: {fault}", path.display()),
            (0, _) => write!(f, "{}: at byte {offset}: {fault}", path.display()),
            _ => write!(f, "{}: record {record} at byte {offset}: {fault}", path.display()),
        }
    }
}

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureFault {
    /// The operating system refused.
    #[error("{0}")]
    Io(io::Error),
    /// Not a single byte.
    #[error("the file is empty")]
    Empty,
    /// Neither of the known magic numbers.
    #[error("not a capture: begins with {}, expected pcap or pcapng, plain or in gzip", hex(.0))]
    NotACapture(Vec<u8>),
    /// The gzip data is damaged.
    #[error("the gzip data is damaged: {0}")]
    Gzip(io::Error),
    /// A format version that did not exist when this was written.
    #[error("format version {major}.{minor} is not known")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// Packets of another link layer.
    #[error("link type {0} ({name}): only Ethernet (1) is read", name = link_type_name(*.0))]
    LinkType(u16),
    /// The file ends in the middle of a header or record.
    #[error("the file is cut off here")]
    Truncated,
    /// A record says that it is longer than any packet is.
    #[error("a record of {0} bytes: more than {RECORD_BYTES_MAX}, the file is damaged")]
    RecordLength(u32),
    /// A time stamp that no packet has.
    #[error("a time stamp of {} s since 1970: after the year 2116, the file is damaged", .0.0 / 1_000_000_000)]
    Stamp(Nanos),
    /// A block says that it is longer than any block is.
    #[error("a block of {0} bytes: more than {BLOCK_BYTES_MAX}, the file is damaged")]
    BlockLength(u32),
    /// Anything else that the format forbids.
    #[error("{0}")]
    Malformed(&'static str),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// A capture could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write: {source}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl WriteError {
    /// For use in `map_err`.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// A capture could not be turned into another.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The input.
    #[error(transparent)]
    Read(#[from] CaptureError),
    /// The output.
    #[error(transparent)]
    Write(#[from] WriteError),
}
