//! Blocks of a TPACKET_V3 ring, pure over their bytes.
//!
//! A block is what the kernel hands over at once: a header, then frames, each with a header of its own
//! that says where the next one begins.

use super::bytes::{ReadError, at_least, u16_at, u32_at};

/// `tpacket_block_desc` up to the stamps.
const BLOCK_BYTES: usize = 48;
/// `tpacket3_hdr`; `sockaddr_ll` stands behind it.
const FRAME_BYTES: usize = 48;
const ADDRESS_BYTES: usize = 20;
/// `virtio_net_hdr`, in front of the frame.
const OFFLOAD_BYTES: usize = 10;
const STATUS_VLAN: u32 = 1 << 4;
const PACKET_OUTGOING: u8 = 4;

/// Where the status of a block stands, which says whose it is.
pub const STATUS_AT: usize = 8;
/// Bit of the status: the block is ours to read.
pub const STATUS_USER: u32 = 1;

/// A captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Wall clock, ns since 1970.
    pub at_ns: u64,
    /// Its bytes from the destination address on, as many as were kept.
    pub bytes: &'a [u8],
    /// How many it has.
    pub len: u32,
    /// It leaves by the interface.
    pub is_outgoing: bool,
    /// VLAN tag that the kernel took out.
    pub vlan: Option<u16>,
    /// Payload bytes of a segment, of a super-frame that the device has to cut or GRO has put together.
    pub segment_bytes: Option<u16>,
}

/// The frames of a block. Ends after the first error.
pub fn frames(block: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, ReadError>> {
    const WHAT: &str = "tpacket block";
    let header = at_least(WHAT, block, BLOCK_BYTES);
    let field = |at| header.as_ref().ok().and_then(|b| u32_at(b, at)).unwrap_or_default();
    let (mut left, mut at) = (field(12), field(16) as usize);
    let mut failed = header.err();
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            left = 0;
            return Some(Err(error));
        }
        left = left.checked_sub(1)?;
        let frame = block.get(at..).unwrap_or_default();
        match read(frame) {
            Ok((found, next)) => {
                // The last one says 0, and so may one that would never end.
                if next < FRAME_BYTES && left > 0 {
                    failed = Some(ReadError::Length { what: WHAT, len: next, room: frame.len() });
                }
                at = at.saturating_add(next);
                Some(Ok(found))
            }
            Err(error) => {
                left = 0;
                Some(Err(error))
            }
        }
    })
}

/// The frame at the start of `b`, and how far the next one is.
fn read(b: &[u8]) -> Result<(Frame<'_>, usize), ReadError> {
    const WHAT: &str = "tpacket3_hdr";
    let b = at_least(WHAT, b, FRAME_BYTES + ADDRESS_BYTES)?;
    let number = |at| u32_at(b, at).unwrap_or_default();
    let (kept, begins) = (number(12) as usize, usize::from(u16_at(b, 24).unwrap_or_default()));
    let wrong =
        || ReadError::Length { what: WHAT, len: begins.saturating_add(kept), room: b.len() };
    let bytes = b.get(begins..begins.saturating_add(kept)).ok_or_else(wrong)?;
    let offload = begins.checked_sub(OFFLOAD_BYTES).and_then(|at| b.get(at..begins));
    let offload = offload.ok_or_else(wrong)?;
    let is_super_frame = offload[1] != 0;
    let frame = Frame {
        at_ns: u64::from(number(4)) * 1_000_000_000 + u64::from(number(8)),
        bytes,
        len: number(16),
        is_outgoing: b[FRAME_BYTES + 10] == PACKET_OUTGOING,
        vlan: (number(20) & STATUS_VLAN != 0).then(|| number(32) as u16 & 0xfff),
        segment_bytes: u16_at(offload, 4).filter(|bytes| is_super_frame && *bytes > 0),
    };
    Ok((frame, number(0) as usize))
}
