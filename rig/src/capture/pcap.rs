//! The classic pcap format: a file header of 24 bytes, then records with a header of 16.

use model::time::Nanos;

use super::byte_order::ByteOrder;
use super::reader::Packet;
use super::source::{Filled, Source};
use super::{CaptureFault, LINK_TYPE_ETHERNET, RECORD_BYTES_MAX};

/// Magic number of a capture with microseconds.
pub(super) const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Magic number of a capture with nanoseconds.
pub(super) const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Length of the file header, bytes.
pub(super) const FILE_HEADER_BYTES: usize = 24;
/// Length of a record header, bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 16;

/// What the file header says.
pub(super) struct Pcap {
    order: ByteOrder,
    nanos_per_tick: u64,
}

impl Pcap {
    /// Reads the rest of the file header. A trailing FCS that it may announce is left in the
    /// packets, where it counts as Ethernet padding.
    pub(super) fn open(source: &mut Source, magic: [u8; 4]) -> Result<Self, CaptureFault> {
        let (order, nanos_per_tick) = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (MAGIC_MICROS, _) => (ByteOrder::Little, 1_000),
            (MAGIC_NANOS, _) => (ByteOrder::Little, 1),
            (_, MAGIC_MICROS) => (ByteOrder::Big, 1_000),
            (_, MAGIC_NANOS) => (ByteOrder::Big, 1),
            _ => return Err(CaptureFault::NotACapture(magic.to_vec())),
        };
        let mut rest = [0; FILE_HEADER_BYTES - 4];
        let Filled::Whole = source.read_header(&mut rest)? else {
            return Err(CaptureFault::Truncated);
        };
        let number = |at| order.u16(&rest, at).ok_or(CaptureFault::Truncated);
        let (major, minor) = (number(0)?, number(2)?);
        if major != 2 {
            return Err(CaptureFault::Version { major, minor });
        }
        // The upper half of the word says whether an FCS is kept.
        let word = order.u32(&rest, 16).ok_or(CaptureFault::Truncated)?;
        let link_type = (word & 0xffff) as u16;
        if link_type != LINK_TYPE_ETHERNET {
            return Err(CaptureFault::LinkType(link_type));
        }
        Ok(Self { order, nanos_per_tick })
    }

    pub(super) fn next(&self, source: &mut Source) -> Result<Option<Packet>, CaptureFault> {
        let mut header = [0; RECORD_HEADER_BYTES];
        let Filled::Whole = source.read_header(&mut header)? else { return Ok(None) };
        let number = |at| self.order.u32(&header, at).ok_or(CaptureFault::Truncated);
        let (seconds, ticks, held, orig_len) = (number(0)?, number(4)?, number(8)?, number(12)?);
        if held > RECORD_BYTES_MAX {
            return Err(CaptureFault::RecordLength(held));
        }
        source.read_body(&[], held)?;
        // u32 seconds and u32 ticks of at most 1 us stay far below 2^64 ns.
        let t = Nanos(u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * self.nanos_per_tick);
        Ok(Some(Packet { t, orig_len: orig_len.max(held), data: 0..held as usize }))
    }
}
