//! The 56 bytes that both formats share, and the flags that say which of them count.
//!
//! ```text
//! offset bytes field            flag
//!      0     1 class            bit 0
//!      1     1 kind             bit 2
//!      2     1 urgency          bit 3
//!      3     1 unused, 0
//!      4     2 label            bit 1
//!      6     2 messages         bit 4
//!      8     8 correlation id   bit 6
//!     16     8 t_decision       bit 7
//!     24     8 t_dispatch       bit 8
//!     32     8 t_due            bit 9
//!     40     8 deadline         bit 10
//!     48     4 ordering group   bit 5
//!     52     4 clock error      bit 11
//! ```
//!
//! A writer puts 0 where a field is not stated; a reader does not look there.

use crate::error::DecodeError;
use crate::record::{Kind, Record};

/// Bytes of the shared part.
pub(crate) const FIELDS_BYTES: usize = 56;

const CLASS: u16 = 1;
const LABEL: u16 = 1 << 1;
const KIND: u16 = 1 << 2;
const URGENCY: u16 = 1 << 3;
const MESSAGES: u16 = 1 << 4;
const GROUP: u16 = 1 << 5;
const CORRELATION: u16 = 1 << 6;
const DECISION: u16 = 1 << 7;
const DISPATCH: u16 = 1 << 8;
const DUE: u16 = 1 << 9;
const DEADLINE: u16 = 1 << 10;
const CLOCK_ERROR: u16 = 1 << 11;
/// Bits above are not defined in version 1.
const KNOWN: u16 = (1 << 12) - 1;

/// Writes the fields and gives the flags.
pub(crate) fn encode(record: &Record, to: &mut [u8; FIELDS_BYTES]) -> u16 {
    let mut flags = 0;
    let mut stated = |bit: u16, is_stated: bool| flags |= if is_stated { bit } else { 0 };
    stated(CLASS, record.class.is_some());
    stated(LABEL, record.label.is_some());
    stated(KIND, record.kind.is_some());
    stated(URGENCY, record.urgency.is_some());
    stated(MESSAGES, record.messages.is_some());
    stated(GROUP, record.group.is_some());
    stated(CORRELATION, record.correlation_id.is_some());
    stated(DECISION, record.t_decision.is_some());
    stated(DISPATCH, record.t_dispatch.is_some());
    stated(DUE, record.t_due.is_some());
    stated(DEADLINE, record.deadline.is_some());
    stated(CLOCK_ERROR, record.clock_error_ns.is_some());

    to[0] = record.class.unwrap_or(0);
    to[1] = record.kind.map_or(0, |kind| kind as u8);
    to[2] = record.urgency.unwrap_or(0);
    to[3] = 0;
    to[4..6].copy_from_slice(&record.label.unwrap_or(0).to_be_bytes());
    to[6..8].copy_from_slice(&record.messages.unwrap_or(0).to_be_bytes());
    to[8..16].copy_from_slice(&record.correlation_id.unwrap_or(0).to_be_bytes());
    to[16..24].copy_from_slice(&record.t_decision.unwrap_or(0).to_be_bytes());
    to[24..32].copy_from_slice(&record.t_dispatch.unwrap_or(0).to_be_bytes());
    to[32..40].copy_from_slice(&record.t_due.unwrap_or(0).to_be_bytes());
    to[40..48].copy_from_slice(&record.deadline.unwrap_or(0).to_be_bytes());
    to[48..52].copy_from_slice(&record.group.unwrap_or(0).to_be_bytes());
    to[52..56].copy_from_slice(&record.clock_error_ns.unwrap_or(0).to_be_bytes());
    flags
}

/// Reads what the flags say is there.
pub(crate) fn decode(flags: u16, from: &[u8; FIELDS_BYTES]) -> Result<Record, DecodeError> {
    if flags & !KNOWN != 0 {
        return Err(DecodeError::Flags(flags & !KNOWN));
    }
    let has = |bit: u16| flags & bit != 0;
    let kind = if has(KIND) {
        Some(Kind::from_u8(from[1]).ok_or(DecodeError::Kind(from[1]))?)
    } else {
        None
    };
    Ok(Record {
        class: has(CLASS).then_some(from[0]),
        label: has(LABEL).then(|| be16(from, 4)),
        kind,
        urgency: has(URGENCY).then_some(from[2]),
        messages: has(MESSAGES).then(|| be16(from, 6)),
        group: has(GROUP).then(|| be32(from, 48)),
        correlation_id: has(CORRELATION).then(|| be64(from, 8)),
        t_decision: has(DECISION).then(|| be64(from, 16)),
        t_dispatch: has(DISPATCH).then(|| be64(from, 24)),
        t_due: has(DUE).then(|| be64(from, 32)),
        deadline: has(DEADLINE).then(|| be64(from, 40)),
        clock_error_ns: has(CLOCK_ERROR).then(|| be32(from, 52)),
    })
}

/// Two bytes in network order. The arrays are of fixed size, so a constant `at` costs no check.
#[inline(always)]
pub(crate) fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes, as [`be16`].
#[inline(always)]
pub(crate) fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Eight bytes, as [`be16`].
#[inline(always)]
pub(crate) fn be64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
