//! Writes pcapng, little-endian, one section, nanoseconds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use model::time::Nanos;

use super::pcapng::{BYTE_ORDER_MAGIC, ENHANCED_PACKET, INTERFACE, OPTION_TSRESOL, SECTION_HEADER};
use super::{LINK_TYPE_ETHERNET, RECORD_BYTES_MAX, WriteError};

const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
const NO_BYTES: &[u8] = &[];
/// Longest option, bytes: its length is a `u16`, and padding must not wrap it.
const OPTION_BYTES_MAX: usize = 65_532;

/// Writes packets of Ethernet with the interface they left on.
///
/// Add the interfaces first, in a fixed order, then write. The bytes depend on nothing but the
/// calls. Call [`PcapngWriter::finish`] in the end: what is still buffered when the writer is
/// dropped may be lost without a word.
pub struct PcapngWriter<W: Write> {
    path: PathBuf,
    out: W,
    interfaces: u32,
}

impl PcapngWriter<BufWriter<File>> {
    /// Creates or empties a file and writes its section header.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let file = File::create(path).map_err(WriteError::at(path))?;
        Self::new(BufWriter::with_capacity(256 * 1024, file), path)
    }
}

impl<W: Write> PcapngWriter<W> {
    /// Writes the section header to `out`; `path` is named in errors.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, path: &Path) -> Result<Self, WriteError> {
        let mut writer = Self { path: path.to_owned(), out, interfaces: 0 };
        let mut body = Vec::new();
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        // Length of the section: not known while it is written.
        body.extend(u64::MAX.to_le_bytes());
        writer.write_block(SECTION_HEADER, &[&body])?;
        Ok(writer)
    }

    /// Adds an interface and answers its number, counted from 0. A name beyond 65,532 bytes is cut.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn add_interface(&mut self, name: &str) -> Result<u32, WriteError> {
        let mut body = Vec::new();
        body.extend(LINK_TYPE_ETHERNET.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(RECORD_BYTES_MAX.to_le_bytes());
        push_option(&mut body, OPTION_NAME, name.as_bytes());
        push_option(&mut body, OPTION_TSRESOL, &[9]);
        push_option(&mut body, 0, NO_BYTES);
        self.write_block(INTERFACE, &[&body])?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes one packet; its bytes are `data_parts` one after another. `orig_len` is its length on
    /// the wire.
    ///
    /// # Errors
    /// When the interface was not added, the packet is longer than
    /// [`RECORD_BYTES_MAX`], or the output cannot be written.
    pub fn write_packet(
        &mut self,
        interface: u32,
        t: Nanos,
        data_parts: &[&[u8]],
        orig_len: u32,
    ) -> Result<(), WriteError> {
        self.write(interface, t, data_parts, orig_len, NO_BYTES)
    }

    /// As [`PcapngWriter::write_packet`], with a comment that packet viewers show. A comment beyond
    /// 65,532 bytes is cut.
    ///
    /// # Errors
    /// As [`PcapngWriter::write_packet`].
    pub fn write_packet_with_comment(
        &mut self,
        interface: u32,
        t: Nanos,
        data_parts: &[&[u8]],
        orig_len: u32,
        comment: &str,
    ) -> Result<(), WriteError> {
        let mut options = Vec::with_capacity(comment.len() + 12);
        push_option(&mut options, OPTION_COMMENT, comment.as_bytes());
        push_option(&mut options, 0, NO_BYTES);
        self.write(interface, t, data_parts, orig_len, &options)
    }

    fn write(
        &mut self,
        interface: u32,
        t: Nanos,
        data_parts: &[&[u8]],
        orig_len: u32,
        options: &[u8],
    ) -> Result<(), WriteError> {
        let held: usize = data_parts.iter().map(|part| part.len()).sum();
        if interface >= self.interfaces {
            return Err(self.refused("a packet of an interface that was not added"));
        }
        if held > RECORD_BYTES_MAX as usize {
            return Err(self.refused("a packet longer than the format's readers accept"));
        }
        let mut fields = [0; 20];
        let values = [interface, (t.0 >> 32) as u32, t.0 as u32, held as u32, orig_len];
        for (place, value) in fields.chunks_exact_mut(4).zip(values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        let padding = &[0; 3][..held.next_multiple_of(4) - held];
        let body_len = fields.len() + held + padding.len() + options.len();
        self.begin_block(ENHANCED_PACKET, body_len)?;
        self.put(&fields)?;
        for part in data_parts {
            self.put(part)?;
        }
        self.put(padding)?;
        self.put(options)?;
        self.end_block(body_len)
    }

    /// Hands on what is buffered: what was written so far is a whole file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.out.flush().map_err(WriteError::at(&self.path))
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush().map_err(WriteError::at(&self.path))?;
        Ok(self.out)
    }

    fn write_block(&mut self, block_type: u32, body: &[&[u8]]) -> Result<(), WriteError> {
        let body_len = body.iter().map(|part| part.len()).sum();
        self.begin_block(block_type, body_len)?;
        for part in body {
            self.put(part)?;
        }
        self.end_block(body_len)
    }

    fn begin_block(&mut self, block_type: u32, body_len: usize) -> Result<(), WriteError> {
        self.put(&block_type.to_le_bytes())?;
        self.end_block(body_len)
    }

    /// The block's length, which stands before and after its body.
    fn end_block(&mut self, body_len: usize) -> Result<(), WriteError> {
        self.put(&(body_len as u32 + 12).to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes).map_err(WriteError::at(&self.path))
    }

    fn refused(&self, why: &'static str) -> WriteError {
        WriteError::at(&self.path)(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// Appends an option, padded to 4 bytes.
fn push_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(OPTION_BYTES_MAX)];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
