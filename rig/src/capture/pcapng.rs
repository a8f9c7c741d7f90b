//! The pcapng format: blocks, each with a type and its length at both ends; sections with their
//! own byte order; interfaces with their own unit of time.

use model::time::Nanos;

use super::byte_order::ByteOrder;
use super::reader::Packet;
use super::source::{Filled, Source};
use super::{BLOCK_BYTES_MAX, CaptureFault, LINK_TYPE_ETHERNET, RECORD_BYTES_MAX};

/// Section header: reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description.
pub(super) const INTERFACE: u32 = 1;
/// The packet block of old files.
const OBSOLETE_PACKET: u32 = 2;
/// A packet without time and interface.
const SIMPLE_PACKET: u32 = 3;
/// The packet block of today.
pub(super) const ENHANCED_PACKET: u32 = 6;
/// First word of a section header's body.
pub(super) const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// End of a list of options.
const OPTION_END: u16 = 0;
/// Unit of time of an interface.
pub(super) const OPTION_TSRESOL: u16 = 9;
/// Seconds that are added to every stamp of an interface.
const OPTION_TSOFFSET: u16 = 14;

/// Block type, length, and the first four bytes of the body, which every block has: in an empty
/// one they are the length that stands at the end.
const BLOCK_START_BYTES: usize = 12;
/// Block type and both lengths.
const BLOCK_FRAME_BYTES: u32 = 12;

/// Byte order and interfaces of the section that is being read.
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Stamp of the packet before, for packets without one.
    last: Nanos,
}

#[derive(Clone, Copy)]
struct Interface {
    link_type: u16,
    /// 0 = no limit.
    snap_len: u32,
    unit: Unit,
    offset_seconds: i64,
}

/// A unit of time: 10 or 2 to the power of `-exponent` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    is_binary: bool,
    exponent: u8,
}

impl Unit {
    /// Where no option says otherwise.
    const MICROS: Self = Self { is_binary: false, exponent: 6 };

    fn from_option(value: u8) -> Self {
        Self { is_binary: value & 0x80 != 0, exponent: value & 0x7f }
    }

    /// `ticks` in nanoseconds, rounded down.
    fn nanos(self, ticks: u64) -> u128 {
        let ticks = u128::from(ticks);
        let exponent = u32::from(self.exponent);
        if self.is_binary {
            // Below 2^64 x 10^9 < 2^94, shifted by at most 127.
            return (ticks * 1_000_000_000) >> exponent;
        }
        match exponent {
            0..=9 => ticks * 10u128.pow(9 - exponent),
            // 10^20 exceeds every u64, so a finer unit leaves nothing of it.
            10..=29 => ticks / 10u128.pow(exponent - 9),
            _ => 0,
        }
    }
}

impl Interface {
    fn time(&self, high: u32, low: u32) -> Nanos {
        let ticks = u64::from(high) << 32 | u64::from(low);
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        // Below 2^94 by `Unit::nanos`, so neither the conversion nor the sum overflows.
        let nanos = self.unit.nanos(ticks) as i128 + offset;
        Nanos(nanos.clamp(0, i128::from(u64::MAX)) as u64)
    }
}

/// What a block was.
enum Block {
    Packet(Packet),
    Other,
    End,
}

impl Pcapng {
    /// Whether the first four bytes of a file begin a section.
    pub(super) fn is_magic(bytes: [u8; 4]) -> bool {
        u32::from_le_bytes(bytes) == SECTION_HEADER
    }

    /// Reads the rest of the first section header.
    pub(super) fn open(source: &mut Source, magic: [u8; 4]) -> Result<Self, CaptureFault> {
        let order = ByteOrder::Little;
        let mut pcapng = Self { order, interfaces: Vec::new(), last: Nanos::ZERO };
        let mut start = [0; BLOCK_START_BYTES];
        start[..4].copy_from_slice(&magic);
        let Filled::Whole = source.read_header(&mut start[4..])? else {
            return Err(CaptureFault::Truncated);
        };
        pcapng.block(source, start)?;
        Ok(pcapng)
    }

    /// The next packet. `offset` is set to the start of the block that was read last.
    pub(super) fn next(
        &mut self,
        source: &mut Source,
        offset: &mut u64,
    ) -> Result<Option<Packet>, CaptureFault> {
        loop {
            *offset = source.offset;
            match self.next_block(source)? {
                Block::Packet(packet) => {
                    self.last = packet.t;
                    return Ok(Some(packet));
                }
                Block::Other => {}
                Block::End => return Ok(None),
            }
        }
    }

    fn next_block(&mut self, source: &mut Source) -> Result<Block, CaptureFault> {
        let mut start = [0; BLOCK_START_BYTES];
        match source.read_header(&mut start)? {
            Filled::Nothing => Ok(Block::End),
            Filled::Whole => self.block(source, start),
        }
    }

    fn block(
        &mut self,
        source: &mut Source,
        start: [u8; BLOCK_START_BYTES],
    ) -> Result<Block, CaptureFault> {
        let (head, first_word) = (&start[..8], &start[8..]);
        if ByteOrder::Little.u32(head, 0) == Some(SECTION_HEADER) {
            self.order = section_order(first_word)?;
            self.interfaces.clear();
        }
        let number = |at| self.order.u32(head, at).ok_or(CaptureFault::Truncated);
        let (block_type, len) = (number(0)?, number(4)?);
        if len > BLOCK_BYTES_MAX {
            return Err(CaptureFault::BlockLength(len));
        }
        if len < BLOCK_FRAME_BYTES || !len.is_multiple_of(4) {
            return Err(CaptureFault::Malformed("a block length below 12 or not a multiple of 4"));
        }
        source.read_body(first_word, len - BLOCK_FRAME_BYTES)?;
        let body_len = (len - BLOCK_FRAME_BYTES) as usize;
        if self.order.u32(&source.body, body_len) != Some(len) {
            return Err(CaptureFault::Malformed("the two lengths of a block differ"));
        }
        let body = &source.body[..body_len];
        match block_type {
            SECTION_HEADER => self.section(body).map(|()| Block::Other),
            INTERFACE => {
                let interface = self.interface(body)?;
                self.interfaces.push(interface);
                Ok(Block::Other)
            }
            ENHANCED_PACKET => self.enhanced_packet(body).map(Block::Packet),
            OBSOLETE_PACKET => self.obsolete_packet(body).map(Block::Packet),
            SIMPLE_PACKET => self.simple_packet(body).map(Block::Packet),
            _ => Ok(Block::Other),
        }
    }

    fn u16(&self, body: &[u8], at: usize) -> Result<u16, CaptureFault> {
        self.order.u16(body, at).ok_or(CaptureFault::Malformed("a block shorter than its fields"))
    }

    fn u32(&self, body: &[u8], at: usize) -> Result<u32, CaptureFault> {
        self.order.u32(body, at).ok_or(CaptureFault::Malformed("a block shorter than its fields"))
    }

    fn section(&self, body: &[u8]) -> Result<(), CaptureFault> {
        let (major, minor) = (self.u16(body, 4)?, self.u16(body, 6)?);
        if major == 1 { Ok(()) } else { Err(CaptureFault::Version { major, minor }) }
    }

    fn interface(&self, body: &[u8]) -> Result<Interface, CaptureFault> {
        let mut interface = Interface {
            link_type: self.u16(body, 0)?,
            snap_len: self.u32(body, 4)?,
            unit: Unit::MICROS,
            offset_seconds: 0,
        };
        let mut options = &body[8..];
        while let Some(code) = self.order.u16(options, 0) {
            let len = usize::from(self.u16(options, 2)?);
            let value = options
                .get(4..4 + len)
                .ok_or(CaptureFault::Malformed("an option longer than its block"))?;
            match code {
                OPTION_END => break,
                OPTION_TSRESOL => {
                    let value = value.first().ok_or(CaptureFault::Malformed("empty if_tsresol"))?;
                    interface.unit = Unit::from_option(*value);
                }
                OPTION_TSOFFSET => {
                    interface.offset_seconds = self
                        .order
                        .i64(value, 0)
                        .ok_or(CaptureFault::Malformed("if_tsoffset shorter than 8 bytes"))?;
                }
                _ => {}
            }
            // Values are padded to 4 bytes; the last one of a block need not be followed by any.
            options = options.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(interface)
    }

    /// The interface of a packet. Another link type is refused here and not where it is declared:
    /// captures of several interfaces declare those that saw no packet, too.
    fn ethernet(&self, index: u32) -> Result<Interface, CaptureFault> {
        let interface = self
            .interfaces
            .get(index as usize)
            .ok_or(CaptureFault::Malformed("a packet of an interface that is not described"))?;
        match interface.link_type {
            LINK_TYPE_ETHERNET => Ok(*interface),
            other => Err(CaptureFault::LinkType(other)),
        }
    }

    fn enhanced_packet(&self, body: &[u8]) -> Result<Packet, CaptureFault> {
        let interface = self.ethernet(self.u32(body, 0)?)?;
        self.stamped_packet(body, interface)
    }

    /// The same fields as an enhanced packet, but for a short interface number and a drop count.
    fn obsolete_packet(&self, body: &[u8]) -> Result<Packet, CaptureFault> {
        let interface = self.ethernet(u32::from(self.u16(body, 0)?))?;
        self.stamped_packet(body, interface)
    }

    fn stamped_packet(&self, body: &[u8], interface: Interface) -> Result<Packet, CaptureFault> {
        let t = interface.time(self.u32(body, 4)?, self.u32(body, 8)?);
        packet(body, t, 20, self.u32(body, 12)?, self.u32(body, 16)?)
    }

    fn simple_packet(&self, body: &[u8]) -> Result<Packet, CaptureFault> {
        let interface = self.ethernet(0)?;
        let orig_len = self.u32(body, 0)?;
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        packet(body, self.last, 4, orig_len.min(snap_len), orig_len)
    }
}

/// A packet of `held` bytes that begins at `at` of a block's body.
fn packet(
    body: &[u8],
    t: Nanos,
    at: usize,
    held: u32,
    orig_len: u32,
) -> Result<Packet, CaptureFault> {
    if held > RECORD_BYTES_MAX {
        return Err(CaptureFault::RecordLength(held));
    }
    let data = at..at + held as usize;
    if data.end > body.len() {
        return Err(CaptureFault::Malformed("a packet longer than its block"));
    }
    Ok(Packet { t, orig_len: orig_len.max(held), data })
}

fn section_order(magic: &[u8]) -> Result<ByteOrder, CaptureFault> {
    [ByteOrder::Little, ByteOrder::Big]
        .into_iter()
        .find(|order| order.u32(magic, 0) == Some(BYTE_ORDER_MAGIC))
        .ok_or(CaptureFault::Malformed("a section without its byte-order mark"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_time() {
        let decimal = |exponent| Unit { is_binary: false, exponent };
        let binary = |exponent| Unit { is_binary: true, exponent };
        for (unit, ticks, nanos) in [
            (decimal(0), 3, 3_000_000_000),
            (decimal(3), 3, 3_000_000),
            (decimal(6), 3, 3_000),
            (decimal(9), 3, 3),
            (decimal(12), 3_999, 3),
            (decimal(29), u64::MAX, 0),
            (decimal(30), u64::MAX, 0),
            (decimal(127), u64::MAX, 0),
            (decimal(0), u64::MAX, u128::from(u64::MAX) * 1_000_000_000),
            (binary(0), 3, 3_000_000_000),
            (binary(1), 3, 1_500_000_000),
            (binary(10), 1, 976_562),
            (binary(30), 1 << 30, 1_000_000_000),
            (binary(32), 1 << 31, 500_000_000),
            (binary(127), u64::MAX, 0),
        ] {
            assert_eq!(unit.nanos(ticks), nanos, "{unit:?} {ticks}");
        }
        assert_eq!(Unit::from_option(9), decimal(9));
        assert_eq!(Unit::from_option(0x80 | 32), binary(32));
    }

    #[test]
    fn stamps_stay_in_range() {
        let mut interface =
            Interface { link_type: 1, snap_len: 0, unit: Unit::MICROS, offset_seconds: 0 };
        assert_eq!(interface.time(1, 2), Nanos(((1 << 32) + 2) * 1_000));
        assert_eq!(interface.time(u32::MAX, u32::MAX), Nanos::MAX);
        interface.offset_seconds = -2;
        assert_eq!(interface.time(0, 5_000_000), Nanos::from_secs(3));
        assert_eq!(interface.time(0, 1_999_999), Nanos::ZERO);
        interface.offset_seconds = i64::MIN;
        assert_eq!(interface.time(u32::MAX, u32::MAX), Nanos::ZERO);
        interface.offset_seconds = i64::MAX;
        assert_eq!(interface.time(0, 0), Nanos::MAX);
        interface.unit = Unit { is_binary: true, exponent: 0 };
        assert_eq!(interface.time(u32::MAX, u32::MAX), Nanos::MAX);
    }
}
