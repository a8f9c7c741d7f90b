//! Chooses a format by the name of the file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use model::time::Nanos;

use super::{PcapWriter, PcapngWriter, Resolution, WriteError};

/// A writer of one interface: pcapng where the name says so, else nanosecond pcap; in gzip where
/// the name ends in `.gz`. Call [`CaptureWriter::finish`] in the end.
pub struct CaptureWriter {
    path: PathBuf,
    format: Format,
}

enum Format {
    Pcap(PcapWriter<Output>),
    /// The interface has number 0.
    Pcapng(PcapngWriter<Output>),
}

/// Where the bytes go.
enum Output {
    /// As they are.
    Plain(BufWriter<File>),
    /// Through gzip, which writes no name and no time into its header.
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
        }
    }
}

impl CaptureWriter {
    /// Creates or empties a file. `interface` is the name that pcapng gives to the one interface.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: &Path, interface: &str) -> Result<Self, WriteError> {
        let file = BufWriter::new(File::create(path).map_err(WriteError::at(path))?);
        let name = path.to_string_lossy();
        let (name, out) = match name.strip_suffix(".gz") {
            Some(name) => (name, Output::Gzip(Box::new(GzEncoder::new(file, Compression::best())))),
            None => (&*name, Output::Plain(file)),
        };
        let format = if name.ends_with(".pcapng") {
            let mut writer = PcapngWriter::new(out, path)?;
            writer.add_interface(interface)?;
            Format::Pcapng(writer)
        } else {
            Format::Pcap(PcapWriter::new(out, path, Resolution::Nanos)?)
        };
        Ok(Self { path: path.to_owned(), format })
    }

    /// Writes one packet in full.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write_packet(&mut self, t: Nanos, data: &[u8]) -> Result<(), WriteError> {
        let len = data.len() as u32;
        match &mut self.format {
            Format::Pcap(writer) => writer.write_packet(t, data, len),
            Format::Pcapng(writer) => writer.write_packet(0, t, &[data], len),
        }
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(self) -> Result<(), WriteError> {
        let out = match self.format {
            Format::Pcap(writer) => writer.finish()?,
            Format::Pcapng(writer) => writer.finish()?,
        };
        match out {
            Output::Plain(_) => Ok(()),
            Output::Gzip(out) => {
                out.finish().and_then(|mut file| file.flush()).map_err(WriteError::at(&self.path))
            }
        }
    }
}
