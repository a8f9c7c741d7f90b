//! Opens a capture of any kind and hands out its packets.

use std::ops::Range;
use std::path::{Path, PathBuf};

use model::time::Nanos;

use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::source::Source;
use super::{CaptureError, CaptureFault};

/// The latest time stamp that is believed: 2^62 ns after 1970, in the year 2116. Seconds of pcap end
/// in 2106; what pcapng can say beyond would overflow arithmetic on times.
const STAMP_MAX: Nanos = Nanos(1 << 62);

/// A packet of a capture. Its bytes are valid until the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its own time stamp since 1970, as it stands in the file: it may go backwards. A stamp before
    /// 1970 is 0. A pcapng simple packet has none and takes the stamp of the packet before it.
    pub t: Nanos,
    /// Length on the wire, bytes; never below the length of `data`.
    pub orig_len: u32,
    /// What was captured, from the destination address on. Shorter than `orig_len` where a snap
    /// length cut it; may be empty.
    pub data: &'a [u8],
}

/// Where in the body of a block or record a packet lies.
pub(super) struct Packet {
    pub(super) t: Nanos,
    pub(super) orig_len: u32,
    pub(super) data: Range<usize>,
}

/// Reads the packets of a capture, one at a time.
pub struct CaptureReader {
    path: PathBuf,
    source: Source,
    format: Format,
    records: u64,
    is_over: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl CaptureReader {
    /// Opens a capture and reads its file header.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, is no capture, is of an unknown version, ends in
    /// its header, or (pcap) is not of Ethernet.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        Self::try_open(path).map_err(|(offset, fault)| CaptureError {
            path: path.to_owned(),
            record: 0,
            offset,
            fault,
        })
    }

    fn try_open(path: &Path) -> Result<Self, (u64, CaptureFault)> {
        let mut source = Source::open(path).map_err(|fault| (0, fault))?;
        let mut magic = [0; 4];
        let held = source.read_some(&mut magic).map_err(|fault| (0, fault))?;
        if held == 0 {
            return Err((0, CaptureFault::Empty));
        }
        let format = if Pcapng::is_magic(magic) {
            Pcapng::open(&mut source, magic).map(Format::Pcapng)
        } else if held == magic.len() {
            Pcap::open(&mut source, magic).map(Format::Pcap)
        } else {
            Err(CaptureFault::NotACapture(magic[..held].to_vec()))
        };
        let format = format.map_err(|fault| (0, fault))?;
        Ok(Self { path: path.to_owned(), source, format, records: 0, is_over: false })
    }

    /// The next packet, `None` at the end.
    ///
    /// # Errors
    /// What is wrong with the file, once; after that the answer is `None`. Packets before the error
    /// have been delivered, see [`CaptureError::is_truncated`].
    #[allow(clippy::should_implement_trait, reason = "a record borrows the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        if self.is_over {
            return Ok(None);
        }
        let mut offset = self.source.offset;
        let packet = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.source),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.source, &mut offset),
        };
        let packet = match packet {
            Ok(Some(Packet { t, .. })) if t > STAMP_MAX => Err(CaptureFault::Stamp(t)),
            packet => packet,
        };
        match packet {
            Ok(Some(Packet { t, orig_len, data })) => {
                self.records += 1;
                Ok(Some(Record { t, orig_len, data: &self.source.body[data] }))
            }
            Ok(None) => {
                self.is_over = true;
                Ok(None)
            }
            Err(fault) => {
                self.is_over = true;
                let (path, record) = (self.path.clone(), self.records + 1);
                Err(CaptureError { path, record, offset, fault })
            }
        }
    }

    /// Packets delivered so far.
    pub fn records(&self) -> u64 {
        self.records
    }
}
