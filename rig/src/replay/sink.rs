//! Where a replay's packets go: a nanosecond pcapng whose times are acceptance times (`t_tx`).

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use dataplane::batch::Batch;
use dataplane::port::Tx;
use model::config::Port;
use model::time::Nanos;

use crate::capture::{PcapngWriter, WriteError};

/// An egress port that is a capture file, or takes packets and keeps nothing.
pub struct CaptureTx {
    /// With the number of its interface.
    writer: Option<(PcapngWriter<BufWriter<File>>, u32)>,
    frame_bytes_max: u32,
    fault: Option<WriteError>,
}

impl CaptureTx {
    /// Writes to the new file `path`, where there is to be one, as port `port`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: Option<&Path>, port: &Port) -> Result<Self, WriteError> {
        let open = |path| {
            let mut writer = PcapngWriter::create(path)?;
            let interface = writer.add_interface(&port.name)?;
            Ok::<_, WriteError>((writer, interface))
        };
        let frame_bytes_max = u32::from(port.frame_bytes_max);
        Ok(Self { writer: path.map(open).transpose()?, frame_bytes_max, fault: None })
    }

    /// Closes the file.
    ///
    /// # Errors
    /// The first thing that went wrong with it.
    pub fn finish(self) -> Result<(), WriteError> {
        self.fault.map_or(Ok(()), Err)?;
        self.writer.map_or(Ok(()), |(writer, _)| writer.finish().map(|_| ()))
    }
}

impl Tx for CaptureTx {
    /// Takes everything. A file that can no longer be written is reported at the end; until then
    /// packets go on, so that they are accounted for.
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let taken = from.len();
        for packet in from.drain() {
            if let (Some((writer, interface)), None) = (&mut self.writer, &self.fault) {
                let parts: Vec<&[u8]> = packet.segments().collect();
                let written = writer.write_packet(*interface, now, &parts, packet.len());
                self.fault = written.err();
            }
        }
        taken
    }

    fn frame_bytes_max(&self) -> u32 {
        self.frame_bytes_max
    }

    fn multi_segs(&self) -> bool {
        true
    }
}
