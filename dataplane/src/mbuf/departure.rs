//! What a packet tells the NIC about its departure: when to send it, and to say when it has.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Mbuf, RX_STAMP_OFFSET};

/// Set in a packet whose timestamp field is a launch time. Written while EAL starts, as the fields
/// in [`super`].
static LAUNCH_FLAG: AtomicU64 = AtomicU64::new(0);
const DEPARTURE_STAMP_FLAG: u64 = dpdk_sys::WP_MBUF_F_TX_IEEE1588_TMST;

/// Registers the launch time, which shares its field with the arrival stamp.
pub(super) fn register() -> Result<(), i32> {
    let mut offset = 0;
    let mut flag = 0;
    // SAFETY: EAL is up; both pointers are to live variables of the right type.
    if unsafe { dpdk_sys::rte_mbuf_dyn_tx_timestamp_register(&mut offset, &mut flag) } != 0 {
        // SAFETY: no precondition.
        return Err(unsafe { dpdk_sys::wp_errno() });
    }
    LAUNCH_FLAG.store(flag, Ordering::Relaxed);
    Ok(())
}

impl Mbuf {
    /// Lets the NIC send it at `raw` of its own clock. The field is that of the arrival stamp, which
    /// is gone then: copy it before.
    #[inline]
    pub fn set_launch_time(&mut self, raw: u64) {
        let offset = RX_STAMP_OFFSET.load(Ordering::Relaxed);
        // SAFETY: the field was registered at this offset as an aligned u64 (one field for both
        // directions), and the packet is owned.
        unsafe { self.raw.byte_add(offset).cast::<u64>().write(raw) };
        self.clear_rx_stamp_flag();
        self.header_mut().ol_flags |= LAUNCH_FLAG.load(Ordering::Relaxed);
    }

    /// The launch time, in the clock of the port that it was made for.
    pub fn launch_time(&self) -> Option<u64> {
        if self.header().ol_flags & LAUNCH_FLAG.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let offset = RX_STAMP_OFFSET.load(Ordering::Relaxed);
        // SAFETY: as in `set_launch_time`.
        Some(unsafe { self.raw.byte_add(offset).cast::<u64>().read() })
    }

    /// Asks the NIC to note when it has left.
    #[inline]
    pub fn mark_departure_stamp(&mut self) {
        self.header_mut().ol_flags |= DEPARTURE_STAMP_FLAG;
    }

    /// Whether the NIC was asked.
    pub fn wants_departure_stamp(&self) -> bool {
        self.header().ol_flags & DEPARTURE_STAMP_FLAG != 0
    }

    /// Takes back what the NIC was asked: of a packet that it did not take.
    #[inline]
    pub fn clear_departure_marks(&mut self) {
        let marks = LAUNCH_FLAG.load(Ordering::Relaxed) | DEPARTURE_STAMP_FLAG;
        self.header_mut().ol_flags &= !marks;
    }
}
