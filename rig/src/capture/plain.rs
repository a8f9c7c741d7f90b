//! Turns any capture into the plainest one, for readers that know nothing else.

use std::path::Path;

use super::{CaptureError, CaptureReader, ConvertError, PcapWriter, Resolution};

/// What [`to_plain_pcap`] wrote.
#[derive(Debug)]
pub struct PlainCapture {
    /// Packets.
    pub records: u64,
    /// Captured bytes of the longest packet.
    pub longest: u32,
    /// The input ended too early; everything before is in the output.
    pub truncated: Option<CaptureError>,
}

/// Writes the packets of `input` to `output` as uncompressed little-endian pcap with microseconds.
///
/// This is what libpcap, and so DPDK's net_pcap, reads without loss: it stamps packets in
/// microseconds and knows only the captured length. Zero-length records are kept.
///
/// # Errors
/// When the input is no capture or is damaged beyond a missing end, or the output cannot be
/// written.
pub fn to_plain_pcap(input: &Path, output: &Path) -> Result<PlainCapture, ConvertError> {
    let mut reader = CaptureReader::open(input)?;
    let mut writer = PcapWriter::create(output, Resolution::Micros)?;
    let mut longest = 0;
    let truncated = loop {
        match reader.next() {
            Ok(Some(record)) => {
                // A record is far shorter than 2^32 bytes.
                longest = longest.max(record.data.len() as u32);
                writer.write_packet(record.t, record.data, record.orig_len)?;
            }
            Ok(None) => break None,
            Err(error) if error.is_truncated() => break Some(error),
            Err(error) => return Err(error.into()),
        }
    };
    writer.finish()?;
    Ok(PlainCapture { records: reader.records(), longest, truncated })
}
