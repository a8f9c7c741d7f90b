//! Owned packet buffers, and a FIFO of them that needs no memory of its own.
//!
//! An [`Mbuf`] is the only owner of its packet; dropping it gives the buffer back to its pool.
//! Buffers come from [`crate::pool::Pool`] or from a port's RX queue. Each carries a
//! [`PacketMeta`] in the private area behind the `rte_mbuf` header: [`Mbuf::meta`].
//!
//! Hot fields are read straight from the header; only allocation and freeing call into DPDK.
#![allow(unsafe_code)]

mod departure;

use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dpdk_sys::{rte_mbuf, wp_mbuf_refcnt_read, wp_pktmbuf_free, wp_pktmbuf_refcnt_update};
use model::meta::{MetaWords, PacketMeta};
use model::pacer::Fifo;

/// Bytes of the private area of each mbuf: one [`PacketMeta`].
pub(crate) const PRIVATE_BYTES: u16 = size_of::<PacketMeta>() as u16;

// Numbers stand in a word as `PacketMeta` has them in memory, and it may be written in words.
const _: () = assert!(
    cfg!(target_endian = "little")
        && size_of::<MetaWords>() == size_of::<PacketMeta>()
        && align_of::<MetaWords>() <= align_of::<PacketMeta>()
);

/// Where the dynamic fields lie. Written once by [`register`] while EAL starts, before any pool and
/// so before any mbuf exists; read relaxed, which is an ordinary load.
static RX_STAMP_OFFSET: AtomicUsize = AtomicUsize::new(0);
static RX_STAMP_FLAG: AtomicU64 = AtomicU64::new(0);
static FIFO_LINK_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// Registers the shared RX timestamp and the FIFO link. Called by `Eal::init` only.
///
/// # Errors
/// The `errno` of DPDK: no room is left among the nine words that all features share.
pub(crate) fn register() -> Result<(), i32> {
    let mut offset = 0;
    let mut flag = 0;
    // SAFETY: EAL is up; both pointers are to live variables of the right type.
    if unsafe { dpdk_sys::rte_mbuf_dyn_rx_timestamp_register(&mut offset, &mut flag) } != 0 {
        // SAFETY: no precondition.
        return Err(unsafe { dpdk_sys::wp_errno() });
    }
    let mut link = dpdk_sys::rte_mbuf_dynfield {
        size: size_of::<*mut rte_mbuf>(),
        align: align_of::<*mut rte_mbuf>(),
        ..Default::default()
    };
    for (to, from) in link.name.iter_mut().zip(b"wirepace FIFO link\0") {
        *to = from.cast_signed();
    }
    // SAFETY: EAL is up; `link` is a complete description with a terminated name.
    let link_offset = unsafe { dpdk_sys::rte_mbuf_dynfield_register(&link) };
    let Ok(link_offset) = usize::try_from(link_offset) else {
        // SAFETY: no precondition.
        return Err(unsafe { dpdk_sys::wp_errno() });
    };
    RX_STAMP_OFFSET.store(usize::try_from(offset).unwrap_or_default(), Ordering::Relaxed);
    RX_STAMP_FLAG.store(flag, Ordering::Relaxed);
    FIFO_LINK_OFFSET.store(link_offset, Ordering::Relaxed);
    departure::register()
}

/// Fetches the cache line at the beginning of `what`, for a read or write that comes soon.
#[inline(always)]
pub(crate) fn prefetch<T>(what: &T) {
    prefetch_at(ptr::from_ref(what).cast());
}

/// The same for its first `lines` cache lines.
#[inline(always)]
pub(crate) fn prefetch_lines<T>(what: &T, lines: usize) {
    for line in 0..lines {
        prefetch_at(ptr::from_ref(what).cast::<u8>().wrapping_add(64 * line));
    }
}

#[inline(always)]
pub(crate) fn prefetch_at(at: *const u8) {
    // SAFETY: SSE, which the instruction belongs to, is part of x86-64; it reads nothing that the
    // program can see and does not fault, whatever the address is.
    unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast()) }
}

/// One packet, owned.
///
/// Not `Clone`, not `Sync`: there is one owner, and it may move to another thread.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<rte_mbuf>,
}

// SAFETY: the owner of a packet may hand it to another thread: nothing in an mbuf is bound to a
// thread, and the pools that it goes back to take frees from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over a packet.
    ///
    /// # Safety
    /// `raw` points to a packet of a [`crate::pool::Pool`] whose ownership the caller gives up.
    pub(crate) const unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self { raw }
    }

    /// Gives the packet up without freeing it.
    pub(crate) const fn into_raw(self) -> NonNull<rte_mbuf> {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }

    const fn header(&self) -> &rte_mbuf {
        // SAFETY: `raw` is a live mbuf that only this value owns.
        unsafe { self.raw.as_ref() }
    }

    const fn header_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: as in `header`, and `self` is borrowed mutably.
        unsafe { self.raw.as_mut() }
    }

    /// Bytes of the whole packet, all segments, without FCS.
    #[inline]
    pub const fn len(&self) -> u32 {
        self.header().pkt_len
    }

    /// Whether there is no byte in it.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Segments of the packet, 1 unless it is a chain.
    #[inline]
    pub const fn segment_count(&self) -> u16 {
        self.header().nb_segs
    }

    /// The bytes of the first segment: all of them unless [`Mbuf::segment_count`] says otherwise.
    #[inline]
    pub const fn data(&self) -> &[u8] {
        // SAFETY: `self.raw` is live.
        unsafe { segment_bytes(self.raw.as_ptr()) }
    }

    /// The bytes of the first segment, to change.
    #[inline]
    pub const fn data_mut(&mut self) -> &mut [u8] {
        let header = self.header_mut();
        // SAFETY: DPDK keeps `data_off + data_len <= buf_len`, the buffer belongs to this packet,
        // and all of it has been mapped memory since the pool was made.
        unsafe {
            let start = header.buf_addr.cast::<u8>().add(header.data_off as usize);
            slice::from_raw_parts_mut(start, header.data_len as usize)
        }
    }

    /// Fetches the first line of the packet's bytes.
    #[inline(always)]
    pub fn prefetch_data(&self) {
        let header = self.header();
        prefetch_at(header.buf_addr.cast::<u8>().wrapping_add(header.data_off as usize));
    }

    /// The bytes of each segment in turn.
    pub const fn segments(&self) -> Segments<'_> {
        Segments { next: self.raw.as_ptr(), packet: PhantomData }
    }

    /// What travels with the packet: what was written last into this buffer, for another packet
    /// perhaps, until it is written at RX.
    #[inline]
    pub const fn meta(&self) -> &PacketMeta {
        // SAFETY: every pool has a private area of `PRIVATE_BYTES` behind the header, zeroed at
        // creation and aligned to 64; any bytes are a valid `PacketMeta`.
        unsafe { self.raw.add(1).cast::<PacketMeta>().as_ref() }
    }

    /// What travels with the packet, to change.
    #[inline]
    pub const fn meta_mut(&mut self) -> &mut PacketMeta {
        // SAFETY: as in `meta`, and `self` is borrowed mutably.
        unsafe { self.raw.add(1).cast::<PacketMeta>().as_mut() }
    }

    /// Writes all of what travels with the packet.
    #[inline(always)]
    pub const fn set_meta_words(&mut self, words: MetaWords) {
        // SAFETY: as in `meta_mut`; a `PacketMeta` is plain numbers, as long as `MetaWords` and aligned
        // to words.
        unsafe { self.raw.add(1).cast::<MetaWords>().write(words) };
    }

    /// The stamp that the driver gave this packet on arrival, in the driver's own unit and epoch
    /// (net_pcap: microseconds of wall clock). `None` when it gave none.
    ///
    /// What counts is the packet's own flag: net_pcap stamps without advertising the offload.
    #[inline]
    pub fn rx_stamp(&self) -> Option<u64> {
        if self.header().ol_flags & RX_STAMP_FLAG.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let offset = RX_STAMP_OFFSET.load(Ordering::Relaxed);
        // SAFETY: the field was registered at this offset as an aligned u64.
        Some(unsafe { self.raw.byte_add(offset).cast::<u64>().read() })
    }

    /// Gives the packet an arrival stamp, as a driver would: a virtual port's own time.
    #[inline]
    pub fn set_rx_stamp(&mut self, stamp: u64) {
        let offset = RX_STAMP_OFFSET.load(Ordering::Relaxed);
        // SAFETY: the field was registered at this offset as an aligned u64, and the packet is
        // owned.
        unsafe { self.raw.byte_add(offset).cast::<u64>().write(stamp) };
        self.header_mut().ol_flags |= RX_STAMP_FLAG.load(Ordering::Relaxed);
    }

    /// A number of the application's own, in the field that DPDK leaves to it. Stays with the packet
    /// until a port or the pool takes it.
    #[inline]
    pub fn note(&self) -> u32 {
        // SAFETY: every member of the union is plain numbers: any bytes are a valid u32.
        unsafe { self.header().__bindgen_anon_2.hash.usr }
    }

    /// Sets [`Mbuf::note`].
    #[inline]
    pub const fn set_note(&mut self, note: u32) {
        self.header_mut().__bindgen_anon_2.hash.usr = note;
    }

    /// Makes a packet of one segment `bytes` long; what is new in it is whatever the buffer held.
    /// Longer than the buffer: as long as the buffer.
    #[inline]
    pub fn resize(&mut self, bytes: u16) {
        let header = self.header_mut();
        let bytes = bytes.min(header.buf_len.saturating_sub(header.data_off));
        header.data_len = bytes;
        header.pkt_len = u32::from(bytes);
    }

    /// Forgets the arrival stamp.
    ///
    /// net_ring hands the same object back with its flags as they were: without this a packet's old
    /// stamp is read as a new one.
    #[inline]
    pub fn clear_rx_stamp_flag(&mut self) {
        self.header_mut().ol_flags &= !RX_STAMP_FLAG.load(Ordering::Relaxed);
    }

    /// Writes `bytes` behind the packet's last byte.
    ///
    /// # Errors
    /// [`NoRoom`] when the last segment's buffer cannot take all of them; nothing is written then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let total = bytes.len();
        let mut last = self.raw.as_ptr();
        // SAFETY: the segments of a live packet are live and end with a null `next`; the room
        // behind `data_off + data_len` up to `buf_len` belongs to the segment.
        unsafe {
            while !(*last).next.is_null() {
                last = (*last).next;
            }
            let used = usize::from((*last).data_off) + usize::from((*last).data_len);
            if usize::from((*last).buf_len).saturating_sub(used) < total {
                return Err(NoRoom);
            }
            let to = (*last).buf_addr.cast::<u8>().add(used);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, total);
            // `total` fits: it is at most `buf_len`, a u16.
            (*last).data_len += total as u16;
        }
        self.header_mut().pkt_len += total as u32;
        Ok(())
    }

    /// Takes `bytes` away from the front of the packet. They become head room.
    ///
    /// # Errors
    /// [`TooShort`] when the first segment does not have so many; nothing has changed then.
    #[inline]
    pub fn trim_front(&mut self, bytes: u16) -> Result<(), TooShort> {
        let header = self.header_mut();
        if bytes > header.data_len {
            return Err(TooShort);
        }
        // DPDK keeps data_off + data_len <= buf_len, a u16, and pkt_len >= data_len.
        header.data_off += bytes;
        header.data_len -= bytes;
        header.pkt_len -= u32::from(bytes);
        Ok(())
    }

    /// Hangs `tail` behind the packet's last segment.
    ///
    /// # Errors
    /// Gives `tail` back when the chain would have more than 65,535 segments.
    pub fn chain(&mut self, tail: Self) -> Result<(), Self> {
        let Some(segments) = self.segment_count().checked_add(tail.segment_count()) else {
            return Err(tail);
        };
        let bytes = tail.len();
        let tail = tail.into_raw();
        let mut last = self.raw.as_ptr();
        // SAFETY: both packets are live and owned; `tail` becomes part of `self`, which owns it
        // from here on.
        unsafe {
            while !(*last).next.is_null() {
                last = (*last).next;
            }
            (*last).next = tail.as_ptr();
        }
        let header = self.header_mut();
        header.nb_segs = segments;
        header.pkt_len += bytes;
        Ok(())
    }

    /// Starts to watch for the moment at which a device lets go of this packet.
    pub fn refcount_probe(&self) -> ProbeRef {
        // SAFETY: the packet is live; the extra reference on every segment is given back when the
        // probe is dropped, by the same free that a second owner would use.
        unsafe { wp_pktmbuf_refcnt_update(self.raw.as_ptr(), 1) };
        ProbeRef { raw: self.raw }
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: this value is the owner of the packet and goes away.
        unsafe { wp_pktmbuf_free(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mbuf")
            .field("len", &self.len())
            .field("segments", &self.segment_count())
            .finish()
    }
}

/// There is no room behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room behind the last byte of the packet")]
pub struct NoRoom;

/// There are not so many bytes in the first segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the first segment of the packet is shorter")]
pub struct TooShort;

/// The bytes of one segment.
///
/// # Safety
/// `segment` is live and stays so, unchanged, for `'a`.
const unsafe fn segment_bytes<'a>(segment: *const rte_mbuf) -> &'a [u8] {
    // SAFETY: DPDK keeps `data_off + data_len <= buf_len`; the buffer is mapped memory that belongs
    // to the segment.
    unsafe {
        let start = (*segment).buf_addr.cast::<u8>().add((*segment).data_off as usize);
        slice::from_raw_parts(start, (*segment).data_len as usize)
    }
}

/// Iterator over the segments of a packet: [`Mbuf::segments`].
pub struct Segments<'a> {
    next: *const rte_mbuf,
    packet: PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next.is_null() {
            return None;
        }
        let segment = self.next;
        // SAFETY: the packet is borrowed for `'a`, so its segments are live and unchanged.
        unsafe {
            self.next = (*segment).next;
            Some(segment_bytes(segment))
        }
    }
}

/// An extra reference on a packet that was handed to a device: [`Mbuf::refcount_probe`].
///
/// Take it before `tx_burst`; when the device has freed its reference, [`ProbeRef::is_done`]. Works
/// with net_af_xdp only where every port shares one pool (it copies otherwise and frees at once).
/// The buffer goes back to its pool when both the device and the probe have let go, so probes must
/// be dropped to keep the pool alive. Never look at the packet's bytes through it.
pub struct ProbeRef {
    raw: NonNull<rte_mbuf>,
}

// SAFETY: as for `Mbuf`; the reference count is atomic.
unsafe impl Send for ProbeRef {}

impl ProbeRef {
    /// Whether the device has let go of the packet.
    #[inline]
    pub fn is_done(&self) -> bool {
        // SAFETY: the extra reference keeps the packet live.
        unsafe { wp_mbuf_refcnt_read(self.raw.as_ptr()) == 1 }
    }
}

impl Drop for ProbeRef {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference per segment that `refcount_probe` took.
        unsafe { wp_pktmbuf_free(self.raw.as_ptr()) }
    }
}

/// A first-in, first-out queue of packets, linked through the packets themselves.
///
/// Two words, however long it is; no operation allocates. Dropping it frees what it holds.
#[derive(Default)]
pub struct MbufFifo {
    head: Option<NonNull<rte_mbuf>>,
    /// Meaningful while `head` is set.
    tail: Option<NonNull<rte_mbuf>>,
}

// SAFETY: it owns its packets, which may move between threads.
unsafe impl Send for MbufFifo {}

/// The packet behind `raw` in its FIFO.
///
/// # Safety
/// `raw` is a live packet.
unsafe fn link(raw: NonNull<rte_mbuf>) -> NonNull<Option<NonNull<rte_mbuf>>> {
    // SAFETY: the field was registered at this offset with the size and alignment of a pointer.
    unsafe { raw.byte_add(FIFO_LINK_OFFSET.load(Ordering::Relaxed)).cast() }
}

impl Fifo for MbufFifo {
    type Packet = Mbuf;

    #[inline]
    fn meta(packet: &Mbuf) -> &PacketMeta {
        packet.meta()
    }

    #[inline]
    fn meta_mut(packet: &mut Mbuf) -> &mut PacketMeta {
        packet.meta_mut()
    }

    #[inline]
    fn push_back(&mut self, packet: Mbuf) {
        let raw = packet.into_raw();
        // SAFETY: `raw` and the tail are live packets that this FIFO owns.
        unsafe {
            link(raw).write(None);
            match (self.head, self.tail) {
                (Some(_), Some(tail)) => link(tail).write(Some(raw)),
                _ => self.head = Some(raw),
            }
        }
        self.tail = Some(raw);
    }

    #[inline]
    fn push_front(&mut self, packet: Mbuf) {
        let raw = packet.into_raw();
        // SAFETY: `raw` is a live packet that this FIFO owns now.
        unsafe { link(raw).write(self.head) };
        if self.head.is_none() {
            self.tail = Some(raw);
        }
        self.head = Some(raw);
    }

    #[inline]
    fn pop_front(&mut self) -> Option<Mbuf> {
        let raw = self.head?;
        // SAFETY: the head is a live packet of this FIFO; its link was written when it came in and
        // nobody else could write it since. Ownership moves to the caller.
        unsafe {
            self.head = link(raw).read();
            Some(Mbuf::from_raw(raw))
        }
    }

    #[inline]
    fn front(&self) -> Option<&PacketMeta> {
        // SAFETY: the head is live while this FIFO, borrowed here, owns it; see `Mbuf::meta`.
        self.head.map(|raw| unsafe { raw.add(1).cast::<PacketMeta>().as_ref() })
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

impl Drop for MbufFifo {
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}
