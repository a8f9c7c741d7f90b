//! Captures: pcap and pcapng in, pcap and pcapng out.
//!
//! Read with [`CaptureReader`]: open, then `next` until it answers `None`. It reads pcap (micro-
//! and nanosecond) and pcapng, in either byte order, plain or in gzip, and tells them apart by
//! their first bytes, never by their name. It holds one record at a time and never more than
//! [`BLOCK_BYTES_MAX`] of the file, whatever lengths the file claims.
//!
//! Write with [`PcapngWriter`] (what a replay puts out), [`PcapWriter`] (generated captures, and
//! [`to_plain_pcap`] for readers that know only the oldest format), or with [`CaptureWriter`],
//! which chooses by file name. What they write depends on their input alone: no wall clock, no
//! host name.
//!
//! Why a reader of our own: of the crate `pcap-file`, release 2.0 takes every pcapng stamp for
//! nanoseconds whatever `if_tsresol` says, and the release candidate of 3.0 answers a record cut
//! off and a block larger than its buffer with the same end-of-file error, without the place in
//! the file, which is what a person with a broken capture needs.

mod byte_order;
mod error;
mod pcap;
mod pcapng;
mod plain;
mod reader;
mod source;
mod write;
mod write_pcap;
mod write_pcapng;

pub use error::{CaptureError, CaptureFault, ConvertError, WriteError};
pub use plain::{PlainCapture, to_plain_pcap};
pub use reader::{CaptureReader, Record};
pub use write::CaptureWriter;
pub use write_pcap::{PcapWriter, Resolution};
pub use write_pcapng::PcapngWriter;

/// Longest packet record that is believed, bytes: the largest snap length that libpcap accepts.
pub const RECORD_BYTES_MAX: u32 = 262_144;
/// Longest pcapng block that is believed, bytes: libpcap's own bound.
pub const BLOCK_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Link type of Ethernet, the only one that is read and written.
const LINK_TYPE_ETHERNET: u16 = 1;

/// Names of the link types that people meet, as libpcap calls them.
fn link_type_name(number: u16) -> &'static str {
    match number {
        0 => "NULL",
        LINK_TYPE_ETHERNET => "ETHERNET",
        9 => "PPP",
        101 => "RAW",
        105 => "IEEE802_11",
        108 => "LOOP",
        113 => "LINUX_SLL",
        127 => "IEEE802_11_RADIOTAP",
        228 => "IPV4",
        229 => "IPV6",
        276 => "LINUX_SLL2",
        _ => "not known by name",
    }
}
