//! Where a replay's packets go: a nanosecond pcapng whose times are acceptance times (`t_tx`).

use std::fs::File;
use std::io::BufWriter;

use dataplane::batch::Batch;
use dataplane::port::Tx;
use model::time::Nanos;

use crate::capture::{PcapngWriter, WriteError};

/// An egress port that is a capture file.
pub struct CaptureTx {
    writer: PcapngWriter<BufWriter<File>>,
    interface: u32,
    frame_bytes_max: u32,
    fault: Option<WriteError>,
}

impl CaptureTx {
    /// Writes to `writer` under the name `port`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(
        mut writer: PcapngWriter<BufWriter<File>>,
        port: &str,
        frame_bytes_max: u32,
    ) -> Result<Self, WriteError> {
        let interface = writer.add_interface(port)?;
        Ok(Self { writer, interface, frame_bytes_max, fault: None })
    }

    /// Closes the file.
    ///
    /// # Errors
    /// The first thing that went wrong with it.
    pub fn finish(self) -> Result<(), WriteError> {
        self.fault.map_or(Ok(()), Err)?;
        self.writer.finish().map(|_| ())
    }
}

impl Tx for CaptureTx {
    /// Takes everything. A file that can no longer be written is reported at the end; until then
    /// packets go on, so that they are accounted for.
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let taken = from.len();
        for packet in from.drain() {
            if self.fault.is_none() {
                let parts: Vec<&[u8]> = packet.segments().collect();
                let written = self.writer.write_packet(self.interface, now, &parts, packet.len());
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
