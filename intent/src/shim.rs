//! The in-band shim: 64 bytes between the VLAN tags of a frame and its EtherType.
//!
//! ```text
//! without  | destination 6 | source 6 | tags 0, 4, 8 |            | EtherType 2 | packet |
//! with     | destination 6 | source 6 | tags 0, 4, 8 | shim 64    | EtherType 2 | packet |
//!
//! offset bytes field
//!      0     2 EtherType 0x88b5 (IEEE 802, local experimental 1)
//!      2     2 magic 0x7770
//!      4     1 version, 1
//!      5     1 length of the shim, 64
//!      6     2 flags: which fields are stated
//!      8    56 fields, as in the table of docs/intent.md
//! ```
//!
//! What is added is a multiple of a cache line, so that the headers behind it keep their alignment.
//! Checksums of IP and above do not cover it and stay right.

use crate::VERSION;
use crate::error::{DecodeError, NoRoom};
use crate::fields::{self, FIELDS_BYTES, be16};
use crate::record::Record;

/// The EtherType that announces the shim.
pub const ETHER_TYPE: u16 = 0x88b5;
/// Bytes that a shim adds to a frame.
pub const SHIM_BYTES: usize = 64;
/// Most bytes of a frame in front of its shim: addresses and two VLAN tags.
pub const PREFIX_BYTES_MAX: usize = ADDRESSES_BYTES + 2 * TAG_BYTES;

const MAGIC: u16 = 0x7770;
const ADDRESSES_BYTES: usize = 12;
const TAG_BYTES: usize = 4;
const TAGS_MAX: usize = 2;
const ETHER_TYPE_VLAN: u16 = 0x8100;
const ETHER_TYPE_SERVICE_VLAN: u16 = 0x88a8;

/// Writes a shim.
pub fn encode(record: &Record, to: &mut [u8; SHIM_BYTES]) {
    let (head, fields) = to.split_at_mut(SHIM_BYTES - FIELDS_BYTES);
    let Ok(fields) = fields.try_into() else { return };
    let flags = fields::encode(record, fields);
    head[0..2].copy_from_slice(&ETHER_TYPE.to_be_bytes());
    head[2..4].copy_from_slice(&MAGIC.to_be_bytes());
    head[4] = VERSION;
    head[5] = SHIM_BYTES as u8;
    head[6..8].copy_from_slice(&flags.to_be_bytes());
}

/// Reads the shim at the start of `from`; what follows it is not looked at.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(from: &[u8]) -> Result<Record, DecodeError> {
    let Some(shim) = from.first_chunk::<SHIM_BYTES>() else {
        return Err(DecodeError::Truncated { have: from.len(), need: SHIM_BYTES });
    };
    match (be16(shim, 0), be16(shim, 2), shim[4], shim[5]) {
        (ETHER_TYPE, MAGIC, VERSION, length) if usize::from(length) == SHIM_BYTES => {}
        (ETHER_TYPE, MAGIC, VERSION, length) => return Err(DecodeError::Length(length)),
        (ETHER_TYPE, MAGIC, version, _) => return Err(DecodeError::Version(version)),
        (ETHER_TYPE, magic, ..) => return Err(DecodeError::Magic(magic)),
        (ether_type, ..) => return Err(DecodeError::EtherType(ether_type)),
    }
    let Some(fields) = shim[SHIM_BYTES - FIELDS_BYTES..].first_chunk() else {
        return Err(DecodeError::Truncated { have: from.len(), need: SHIM_BYTES });
    };
    fields::decode(be16(shim, 6), fields)
}

/// Where the EtherType of a frame stands, behind at most two VLAN tags; `None` where the frame is
/// too short for one, or has more tags.
#[inline]
pub fn ether_type_at(frame: &[u8]) -> Option<usize> {
    let mut at = ADDRESSES_BYTES;
    for _ in 0..=TAGS_MAX {
        let bytes = frame.get(at..)?.first_chunk::<2>()?;
        match be16(bytes, 0) {
            ETHER_TYPE_VLAN | ETHER_TYPE_SERVICE_VLAN => at += TAG_BYTES,
            _ => return Some(at),
        }
    }
    None
}

/// Where the shim of a frame begins, if it has one.
#[inline]
pub fn find(frame: &[u8]) -> Option<usize> {
    ether_type_at(frame).filter(|&at| frame[at..at + 2] == ETHER_TYPE.to_be_bytes())
}

/// Copies `frame` into `to` with a shim in it. Returns its length there: [`SHIM_BYTES`] more.
///
/// # Errors
/// [`TagError`]: the frame has no EtherType to put it in front of, has a shim already, or `to` is
/// too short.
pub fn tag_frame(frame: &[u8], record: &Record, to: &mut [u8]) -> Result<usize, TagError> {
    let at = ether_type_at(frame).ok_or(TagError::NoEtherType)?;
    if find(frame).is_some() {
        return Err(TagError::TaggedAlready);
    }
    let need = frame.len() + SHIM_BYTES;
    let to = to.get_mut(..need).ok_or(TagError::NoRoom(NoRoom { need }))?;
    let mut shim = [0; SHIM_BYTES];
    encode(record, &mut shim);
    to[..at].copy_from_slice(&frame[..at]);
    to[at..at + SHIM_BYTES].copy_from_slice(&shim);
    to[at + SHIM_BYTES..].copy_from_slice(&frame[at..]);
    Ok(need)
}

/// Why a frame cannot be given a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagError {
    /// It is too short to have an EtherType, or has more than two VLAN tags.
    NoEtherType,
    /// It has a shim, or uses its EtherType.
    TaggedAlready,
    /// The buffer is too short.
    NoRoom(NoRoom),
}

impl std::fmt::Display for TagError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEtherType => f.write_str("the frame has no EtherType behind at most two tags"),
            Self::TaggedAlready => f.write_str("the frame has EtherType 0x88b5 already"),
            Self::NoRoom(no_room) => no_room.fmt(f),
        }
    }
}

impl std::error::Error for TagError {}
