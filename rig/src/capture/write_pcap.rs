//! Writes the classic pcap format, little-endian.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use model::time::Nanos;

use super::pcap::{FILE_HEADER_BYTES, MAGIC_MICROS, MAGIC_NANOS, RECORD_HEADER_BYTES};
use super::{LINK_TYPE_ETHERNET, RECORD_BYTES_MAX, WriteError};

/// Unit of the stamps in a pcap file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Microseconds, rounded down.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// Writes packets of Ethernet. Call [`PcapWriter::finish`] in the end: what is still buffered when
/// the writer is dropped may be lost without a word.
pub struct PcapWriter<W: Write> {
    path: PathBuf,
    out: W,
    resolution: Resolution,
}

impl PcapWriter<BufWriter<File>> {
    /// Creates or empties a file and writes its header.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: &Path, resolution: Resolution) -> Result<Self, WriteError> {
        let file = File::create(path).map_err(WriteError::at(path))?;
        Self::new(BufWriter::new(file), path, resolution)
    }
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header to `out`; `path` is named in errors.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W, path: &Path, resolution: Resolution) -> Result<Self, WriteError> {
        let magic = match resolution {
            Resolution::Micros => MAGIC_MICROS,
            Resolution::Nanos => MAGIC_NANOS,
        };
        let mut header = [0; FILE_HEADER_BYTES];
        header[..4].copy_from_slice(&magic.to_le_bytes());
        header[4..6].copy_from_slice(&2u16.to_le_bytes());
        header[6..8].copy_from_slice(&4u16.to_le_bytes());
        header[16..20].copy_from_slice(&RECORD_BYTES_MAX.to_le_bytes());
        header[20..24].copy_from_slice(&u32::from(LINK_TYPE_ETHERNET).to_le_bytes());
        out.write_all(&header).map_err(WriteError::at(path))?;
        Ok(Self { path: path.to_owned(), out, resolution })
    }

    /// Writes one packet. The format holds seconds up to the year 2106; a later stamp is written as
    /// the last second that it holds.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write_packet(&mut self, t: Nanos, data: &[u8], orig_len: u32) -> Result<(), WriteError> {
        let seconds = u32::try_from(t.0 / 1_000_000_000).unwrap_or(u32::MAX);
        let nanos = (t.0 % 1_000_000_000) as u32;
        let ticks = match self.resolution {
            Resolution::Micros => nanos / 1_000,
            Resolution::Nanos => nanos,
        };
        let mut header = [0; RECORD_HEADER_BYTES];
        let fields = [seconds, ticks, data.len() as u32, orig_len];
        for (place, field) in header.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.out
            .write_all(&header)
            .and_then(|()| self.out.write_all(data))
            .map_err(WriteError::at(&self.path))
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush().map_err(WriteError::at(&self.path))?;
        Ok(self.out)
    }
}
