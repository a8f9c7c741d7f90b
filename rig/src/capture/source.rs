//! The bytes of a capture, decompressed, with the place in them.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::CaptureFault;

/// First bytes of gzip data (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Read in pieces of this size, bytes: few system calls, and small beside any cache.
const BUFFER_BYTES: usize = 256 * 1024;

/// A stream of bytes and how far it was read.
pub(super) struct Source {
    inner: Box<dyn Read>,
    is_gzip: bool,
    /// Bytes delivered so far.
    pub(super) offset: u64,
    /// The last body that was read; its capacity is kept.
    pub(super) body: Vec<u8>,
}

/// How much of a header there was.
pub(super) enum Filled {
    /// All of it.
    Whole,
    /// Nothing: the regular end of a file.
    Nothing,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureFault> {
        let mut file = File::open(path).map_err(CaptureFault::Io)?;
        let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
        (&mut file)
            .take(GZIP_MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(CaptureFault::Io)?;
        let is_gzip = magic == GZIP_MAGIC;
        let whole = Cursor::new(magic).chain(file);
        let inner: Box<dyn Read> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
        } else {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, whole))
        };
        Ok(Self { inner, is_gzip, offset: 0, body: Vec::new() })
    }

    /// Fills `header`. Ending in the middle of it is [`CaptureFault::Truncated`].
    pub(super) fn read_header(&mut self, header: &mut [u8]) -> Result<Filled, CaptureFault> {
        match self.read_some(header)? {
            0 => Ok(Filled::Nothing),
            n if n == header.len() => Ok(Filled::Whole),
            _ => Err(CaptureFault::Truncated),
        }
    }

    /// Reads until `header` is full or the file ends; answers how much there was.
    pub(super) fn read_some(&mut self, header: &mut [u8]) -> Result<usize, CaptureFault> {
        let mut filled = 0;
        while filled < header.len() {
            match self.inner.read(&mut header[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    /// Puts `start` and the next `len` bytes into `body`.
    ///
    /// The buffer grows with what the file holds, not with what it claims.
    pub(super) fn read_body(&mut self, start: &[u8], len: u32) -> Result<(), CaptureFault> {
        self.body.clear();
        self.body.extend_from_slice(start);
        let read = (&mut self.inner).take(u64::from(len)).read_to_end(&mut self.body);
        let held = read.map_err(|error| self.fault(error))?;
        self.offset += held as u64;
        if held < len as usize { Err(CaptureFault::Truncated) } else { Ok(()) }
    }

    fn fault(&self, error: io::Error) -> CaptureFault {
        match error.kind() {
            _ if !self.is_gzip => CaptureFault::Io(error),
            io::ErrorKind::UnexpectedEof => CaptureFault::Truncated,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => CaptureFault::Gzip(error),
            _ => CaptureFault::Io(error),
        }
    }
}
