//! The way from a core that receives to the core that paces: a ring of packets with one producer and
//! one consumer, and the account of what ended before the ring.
//!
//! [`hand_over`] makes both ends. [`RingIn`] goes to the receiving core, [`RingOut`] to the pacing
//! one. Each end may move to another thread and has one owner. The pacing core keeps the books of
//! its egress port alone, so what ends on a receiving core is only noted here ([`RingIn::end`]) and
//! taken into the books there ([`RingOut::take_ended`]). The other way goes one word, from the profile
//! that the pacing core runs by: whether RX holds may hold back ([`RingIn::may_hold`]). Whoever drops
//! the last end frees the ring and the packets in it.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dpdk_sys::rte_ring;
use model::drop_reason::DropReason;
use model::kpi::Count;
use model::profile::CLASSES_MAX;
use model::time::Nanos;

use crate::batch::Batch;
use crate::classify::FlowFigures;
use crate::eal::{Eal, Errno};
use crate::mbuf::Mbuf;
use crate::port::Rx;

/// Why a ring cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("a ring of {size} packets between two cores: {source}")]
pub struct RingError {
    /// Packets asked for.
    pub size: u32,
    /// What DPDK said.
    pub source: Errno,
}

/// Where a packet ended that had not reached the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has no class: it is malformed, or no buffer was left for it.
    Unclassified(DropReason),
    /// A packet of this class found the ring full.
    RingFull(u8),
}

impl Ended {
    const COUNT: usize = DropReason::COUNT + CLASSES_MAX;

    fn place(self) -> usize {
        match self {
            Self::Unclassified(reason) => reason as usize,
            Self::RingFull(class) => DropReason::COUNT + usize::from(class).min(CLASSES_MAX - 1),
        }
    }

    fn at(place: usize) -> Self {
        match DropReason::ALL.get(place) {
            Some(&reason) => Self::Unclassified(reason),
            None => Self::RingFull((place - DropReason::COUNT) as u8),
        }
    }
}

/// Sums since the start, written by the receiving core alone.
#[derive(Default)]
struct Sum {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// Two cache lines of its own, so that neighbours do not pull it away.
#[repr(align(128))]
struct Account {
    /// Moves after each change of `sums`.
    changes: AtomicU64,
    /// The receiving core will put nothing more in.
    closed: AtomicBool,
    sums: Box<[Sum]>,
    // What the classifier in front of the ring counts of flows.
    flows: AtomicU64,
    table_full: AtomicU64,
    aged: AtomicU64,
}

/// Written by the pacing core alone, on a change of profile: lines that the receiving core only reads.
#[repr(align(128))]
struct Orders {
    may_hold: AtomicBool,
}

struct Shared {
    raw: NonNull<rte_ring>,
    account: Account,
    orders: Orders,
    _eal: Arc<Eal>,
}

// SAFETY: the ring is used through `RingIn` by one thread and through `RingOut` by another, which is
// what its flags ask for; the rest is atomics.
unsafe impl Send for Shared {}
// SAFETY: as above: shared are the ring, whose two sides DPDK keeps apart, and atomics.
unsafe impl Sync for Shared {}

impl Shared {
    fn take(&self, into: &mut Batch, most: usize) -> usize {
        let n = into.room().min(most) as u32;
        if n == 0 {
            return 0;
        }
        // SAFETY: called by the one consumer (`RingOut`, or the last owner); the tail has room for
        // `n` packets, and those written there left the ring, which owned them.
        unsafe {
            let got = dpdk_sys::wp_ring_sc_dequeue_burst(self.raw.as_ptr(), into.tail_ptr(), n);
            into.grow(got as usize);
            got as usize
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut left = Batch::new();
        while self.take(&mut left, usize::MAX) > 0 {
            left.clear();
        }
        // SAFETY: made by `rte_ring_create`, empty, and no end of it is left.
        unsafe { dpdk_sys::rte_ring_free(self.raw.as_ptr()) }
    }
}

/// Makes a ring for `size` packets of which up to `burst` are taken out at once; `name` names it in
/// DPDK, each name once.
///
/// # Errors
/// [`RingError`]: no memory, a name that is taken or too long, or a size that is no power of two.
pub fn hand_over(
    eal: &Arc<Eal>,
    name: &str,
    size: u32,
    burst: usize,
) -> Result<(RingIn, RingOut), RingError> {
    let failed = |source| RingError { size, source };
    let name = CString::new(name).map_err(|_| failed(Errno(libc::EINVAL)))?;
    if !size.is_power_of_two() {
        return Err(failed(Errno(libc::EINVAL)));
    }
    let flags =
        dpdk_sys::WP_RING_F_SP_ENQ | dpdk_sys::WP_RING_F_SC_DEQ | dpdk_sys::WP_RING_F_EXACT_SZ;
    // SAFETY: EAL is up; the name lives through the call, which copies it.
    let raw = unsafe {
        dpdk_sys::rte_ring_create(name.as_ptr(), size, dpdk_sys::WP_SOCKET_ID_ANY, flags)
    };
    let raw = NonNull::new(raw).ok_or_else(|| failed(Errno::of_thread()))?;
    let account = Account {
        changes: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        sums: (0..Ended::COUNT).map(|_| Sum::default()).collect(),
        flows: AtomicU64::new(0),
        table_full: AtomicU64::new(0),
        aged: AtomicU64::new(0),
    };
    let orders = Orders { may_hold: AtomicBool::new(true) };
    let shared = Arc::new(Shared { raw, account, orders, _eal: Arc::clone(eal) });
    let seen = vec![Count::default(); Ended::COUNT].into();
    Ok((RingIn { shared: Arc::clone(&shared) }, RingOut { shared, burst, changes_seen: 0, seen }))
}

/// The receiving core's end. Dropping it says that nothing more will come.
pub struct RingIn {
    shared: Arc<Shared>,
}

impl RingIn {
    /// Takes from the front of `from`, in order, what the ring has room for; the rest stays. Returns
    /// how many.
    #[inline]
    pub fn push(&mut self, from: &mut Batch) -> usize {
        let n = from.len() as u32;
        if n == 0 {
            return 0;
        }
        // SAFETY: this is the one producer; the batch owns `n` packets, and the ring owns those
        // that it took.
        unsafe {
            let taken =
                dpdk_sys::wp_ring_sp_enqueue_burst(self.shared.raw.as_ptr(), from.front_ptr(), n);
            from.forget_front(taken as usize);
            taken as usize
        }
    }

    /// Whether what is received may be held back, as the pacing core last said. One relaxed load.
    #[inline]
    pub fn may_hold(&self) -> bool {
        self.shared.orders.may_hold.load(Ordering::Relaxed)
    }

    /// A frame of `len` bytes ended before the ring.
    #[inline]
    pub fn end(&mut self, how: Ended, len: u32) {
        let account = &self.shared.account;
        let sum = &account.sums[how.place()];
        add(&sum.packets, 1);
        add(&sum.bytes, u64::from(len));
        let changes = account.changes.load(Ordering::Relaxed);
        account.changes.store(changes + 1, Ordering::Release);
    }

    /// What the classifier in front of the ring has counted of flows until now.
    pub fn tell_flows(&mut self, figures: FlowFigures) {
        let account = &self.shared.account;
        account.flows.store(figures.flows, Ordering::Relaxed);
        account.table_full.store(figures.table_full, Ordering::Relaxed);
        account.aged.store(figures.aged, Ordering::Relaxed);
    }

    /// Frees `packet`, which ended before the ring.
    #[inline]
    pub fn drop_packet(&mut self, how: Ended, packet: Mbuf) {
        self.end(how, packet.len());
        drop(packet);
    }
}

/// One writer: a load and a store are enough.
fn add(sum: &AtomicU64, n: u64) {
    sum.store(sum.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl Drop for RingIn {
    fn drop(&mut self) {
        // Everything that was put in before is seen by whoever sees this.
        self.shared.account.closed.store(true, Ordering::Release);
    }
}

/// The pacing core's end.
pub struct RingOut {
    shared: Arc<Shared>,
    burst: usize,
    changes_seen: u64,
    /// Sums that were given out.
    seen: Box<[Count]>,
}

impl RingOut {
    /// Packets in it; some may have come since.
    #[inline]
    pub fn len(&self) -> u32 {
        // SAFETY: the ring lives as long as its ends.
        unsafe { dpdk_sys::wp_ring_count(self.shared.raw.as_ptr()) }
    }

    /// Whether there was none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cold]
    fn tell(&mut self, mut tell: impl FnMut(Ended, Count)) {
        let account = &self.shared.account;
        // Read before the sums: what comes later moves it again. A sum whose bytes are a packet
        // behind is completed by the next call.
        self.changes_seen = account.changes.load(Ordering::Acquire);
        for (place, (sum, seen)) in account.sums.iter().zip(&mut self.seen).enumerate() {
            let now = Count {
                packets: sum.packets.load(Ordering::Relaxed),
                bytes: sum.bytes.load(Ordering::Relaxed),
            };
            let more = Count { packets: now.packets - seen.packets, bytes: now.bytes - seen.bytes };
            if more.packets > 0 || more.bytes > 0 {
                tell(Ended::at(place), more);
                *seen = now;
            }
        }
    }
}

impl Rx for RingOut {
    #[inline]
    fn rx_burst(&mut self, _now: Nanos, into: &mut Batch) -> usize {
        self.shared.take(into, self.burst)
    }

    fn waiting(&self) -> u32 {
        self.len()
    }

    /// A word to the receiving core, which obeys with its next turn.
    fn hold_back(&mut self, may: bool) {
        self.shared.orders.may_hold.store(may, Ordering::Relaxed);
    }

    /// Once the receiving core has ended and the ring is empty.
    fn is_dry(&self) -> bool {
        self.shared.account.closed.load(Ordering::Acquire) && self.is_empty()
    }

    #[inline]
    fn take_ended(&mut self, tell: impl FnMut(Ended, Count)) {
        if self.shared.account.changes.load(Ordering::Relaxed) != self.changes_seen {
            self.tell(tell);
        }
    }

    fn flows_elsewhere(&self) -> FlowFigures {
        let account = &self.shared.account;
        FlowFigures {
            flows: account.flows.load(Ordering::Relaxed),
            table_full: account.table_full.load(Ordering::Relaxed),
            aged: account.aged.load(Ordering::Relaxed),
        }
    }
}
