//! A burst of packets that owns them.
//!
//! RX writes into the free tail, TX takes from the front, what TX did not take moves up and stays
//! owned. The array is inline: no allocation per burst, and dropping a batch frees its packets with
//! one call.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;

use dpdk_sys::{rte_mbuf, rte_pktmbuf_free_bulk};

use crate::mbuf::Mbuf;

/// Packets that a batch can hold: the largest burst that a config may ask for.
pub const BATCH_PACKETS_MAX: usize = 256;

/// Up to [`BATCH_PACKETS_MAX`] packets in order.
pub struct Batch {
    packets: [MaybeUninit<*mut rte_mbuf>; BATCH_PACKETS_MAX],
    len: usize,
}

// SAFETY: a batch owns its packets, and each of them may move to another thread.
unsafe impl Send for Batch {}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { packets: [MaybeUninit::uninit(); BATCH_PACKETS_MAX], len: 0 }
    }

    /// Packets in it.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Packets that it can still take.
    #[inline]
    pub const fn room(&self) -> usize {
        BATCH_PACKETS_MAX - self.len
    }

    /// The packets in order.
    #[inline]
    pub const fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` entries are packets that this batch owns, and an `Mbuf` is
        // exactly such a pointer (`repr(transparent)`).
        unsafe { slice::from_raw_parts(self.packets.as_ptr().cast::<Mbuf>(), self.len) }
    }

    /// The packets in order, to change.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.packets.as_mut_ptr().cast::<Mbuf>(), self.len) }
    }

    /// The packet at `index` from the front.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Mbuf> {
        self.as_slice().get(index)
    }

    /// The packet at `index` from the front, to change.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Mbuf> {
        self.as_mut_slice().get_mut(index)
    }

    /// The packets in order.
    #[inline]
    pub fn iter(&self) -> slice::Iter<'_, Mbuf> {
        self.as_slice().iter()
    }

    /// The packets in order, to change.
    #[inline]
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, Mbuf> {
        self.as_mut_slice().iter_mut()
    }

    /// Adds at the tail.
    ///
    /// # Errors
    /// Gives the packet back when the batch is full.
    #[inline]
    pub const fn push(&mut self, packet: Mbuf) -> Result<(), Mbuf> {
        if self.len == BATCH_PACKETS_MAX {
            return Err(packet);
        }
        self.packets[self.len] = MaybeUninit::new(packet.into_raw().as_ptr());
        self.len += 1;
        Ok(())
    }

    /// Takes from the tail.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the entry was part of the batch a moment ago and no longer is.
        Some(unsafe { self.packets[self.len].as_ptr().cast::<Mbuf>().read() })
    }

    /// Takes all packets, in order. Those that are not asked for are freed with the iterator.
    #[inline]
    pub const fn drain(&mut self) -> Drain<'_> {
        self.take_front(self.len)
    }

    /// Takes the first `n` packets (or all), in order; the rest moves up. Those that are not asked
    /// for are freed with the iterator.
    #[inline]
    pub const fn take_front(&mut self, n: usize) -> Drain<'_> {
        let len = self.len;
        let end = if n < len { n } else { len };
        // Should the iterator be leaked, its packets and the rest leak with it; nothing is freed
        // twice.
        self.len = 0;
        Drain { batch: self, next: 0, end, len }
    }

    /// Moves up to `n` packets from the front to the tail of `to`, in order; as many as `to` has
    /// room for. Returns how many.
    #[inline]
    pub fn move_front(&mut self, n: usize, to: &mut Self) -> usize {
        let n = n.min(self.len).min(to.room());
        // SAFETY: `n` entries from the front are packets, `to` has room for them and is another
        // batch; `forget_front` ends the ownership here.
        unsafe {
            ptr::copy_nonoverlapping(self.packets.as_ptr(), to.packets.as_mut_ptr().add(to.len), n);
            self.forget_front(n);
        }
        to.len += n;
        n
    }

    /// Frees all packets.
    #[inline]
    pub fn clear(&mut self) {
        let len = std::mem::take(&mut self.len);
        if len > 0 {
            // SAFETY: `len` packets stood here and are no longer part of the batch. `len` is at
            // most 256.
            unsafe { rte_pktmbuf_free_bulk(self.packets.as_mut_ptr().cast(), len as u32) }
        }
    }

    /// The free tail: `room()` entries for RX to write.
    pub(crate) const fn tail_ptr(&mut self) -> *mut *mut rte_mbuf {
        // SAFETY: `len <= BATCH_PACKETS_MAX`, so this is inside the array or one past its end.
        unsafe { self.packets.as_mut_ptr().add(self.len).cast() }
    }

    /// Takes over `n` packets that were written at [`Batch::tail_ptr`].
    ///
    /// # Safety
    /// `n <= room()`, and the first `n` entries of the tail are packets that the caller gives up.
    pub(crate) const unsafe fn grow(&mut self, n: usize) {
        self.len += n;
    }

    /// The packets as the array that TX takes.
    pub(crate) const fn front_ptr(&mut self) -> *mut *mut rte_mbuf {
        self.packets.as_mut_ptr().cast()
    }

    /// Ends the ownership of the first `n` packets and moves the rest up.
    ///
    /// # Safety
    /// `n <= len()`, and the first `n` packets have a new owner.
    pub(crate) const unsafe fn forget_front(&mut self, n: usize) {
        self.len -= n;
        // SAFETY: `n + len` entries were packets, so the move stays inside the array.
        unsafe {
            let front = self.packets.as_mut_ptr();
            ptr::copy(front.add(n), front, self.len);
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Mbuf;
    type IntoIter = slice::Iter<'a, Mbuf>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Batch {
    type Item = &'a mut Mbuf;
    type IntoIter = slice::IterMut<'a, Mbuf>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// Iterator over packets that leave a batch: [`Batch::drain`], [`Batch::take_front`].
pub struct Drain<'a> {
    batch: &'a mut Batch,
    next: usize,
    end: usize,
    /// Packets in the batch before the drain began.
    len: usize,
}

impl Drain<'_> {
    /// The packets that have not been given out yet.
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: entries `next..end` are packets that this iterator owns, and an `Mbuf` is exactly
        // such a pointer (`repr(transparent)`).
        unsafe {
            let first = self.batch.packets.as_ptr().add(self.next);
            slice::from_raw_parts(first.cast::<Mbuf>(), self.end - self.next)
        }
    }
}

impl Drain<'_> {
    /// The same, to change.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
        unsafe {
            let first = self.batch.packets.as_mut_ptr().add(self.next);
            slice::from_raw_parts_mut(first.cast::<Mbuf>(), self.end - self.next)
        }
    }

    /// Moves up to `n` of them from the front to the tail of `to`, in order; as many as `to` has room for.
    /// Returns how many.
    #[inline]
    pub fn move_front(&mut self, n: usize, to: &mut Batch) -> usize {
        let n = n.min(self.end - self.next).min(to.room());
        // SAFETY: `n` entries from `next` on are packets that this iterator owns, `to` has room for them
        // and is another batch; with `next` moved on they are no longer given out here.
        unsafe {
            let first = self.batch.packets.as_ptr().add(self.next);
            ptr::copy_nonoverlapping(first, to.packets.as_mut_ptr().add(to.len), n);
        }
        self.next += n;
        to.len += n;
        n
    }
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: entries `next..len` are packets that nobody else owns now; each is given out
        // once.
        let raw = unsafe { self.batch.packets[self.next].assume_init() };
        self.next += 1;
        // SAFETY: as above; the array never holds a null pointer.
        Some(unsafe { Mbuf::from_raw(NonNull::new_unchecked(raw)) })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        while self.next().is_some() {}
        self.batch.len = self.len;
        // SAFETY: the first `end` packets were given out, `end <= len`.
        unsafe { self.batch.forget_front(self.end) }
    }
}
