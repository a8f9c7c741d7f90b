//! The pool of packet buffers that all ports share.
//!
//! One pool for the whole gateway: net_af_xdp then sends without a copy and its completions can be
//! seen by reference count. Each buffer has a private area for [`model::meta::PacketMeta`].
//! A thread that is registered with DPDK has a cache of buffers in front of the pool; it gives them
//! back with [`Pool::flush_cache`] (a [`crate::thread::DataCore`] does so at its end).
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys::rte_mempool;

use crate::batch::Batch;
use crate::eal::{Eal, Errno, Memory};
use crate::mbuf::{Mbuf, PRIVATE_BYTES};

/// Bytes in front of the packet in each buffer: part of the data room.
pub const HEADROOM_BYTES: u16 = dpdk_sys::WP_PKTMBUF_HEADROOM as u16;
/// The largest cache in front of a pool, buffers.
pub const CACHE_MAX: u32 = dpdk_sys::WP_MEMPOOL_CACHE_MAX_SIZE;

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The name has a NUL byte or more than 25 bytes, or is taken.
    #[error("pool name {0:?}: 1 to 25 bytes without NUL are allowed, each name once")]
    Name(String),
    /// The cache is larger than DPDK allows.
    #[error("a cache of {cache} buffers: at most {CACHE_MAX} and 2/3 of the pool's {mbufs}")]
    Cache {
        /// Buffers asked for in the cache.
        cache: u32,
        /// Buffers in the pool.
        mbufs: u32,
    },
    /// The data room does not hold the head-room and one byte.
    #[error("a data room of {0} bytes: more than the {HEADROOM_BYTES} of its head-room are needed")]
    DataRoom(u16),
    /// EAL's memory does not hold the pool.
    #[error(
        "{mbufs} buffers of {data_room_bytes} bytes need about {bytes} bytes of DPDK memory, and so \
         much is not there in one piece ({source}): raise [dpdk] memory or lower mbufs"
    )]
    Memory {
        /// Buffers asked for.
        mbufs: u32,
        /// Data room asked for.
        data_room_bytes: u16,
        /// What they take together.
        bytes: u64,
        /// What DPDK said.
        source: Errno,
    },
}

/// A pool; clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    raw: NonNull<rte_mempool>,
    mbufs: u32,
    data_room_bytes: u16,
    orphaned: AtomicU32,
    eal: Arc<Eal>,
}

// SAFETY: a DPDK pool takes and gives buffers on any thread at once: its ring is multi-producer,
// multi-consumer, and its caches belong to one registered thread each.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// Bytes of DPDK memory that one buffer takes: header, [`model::meta::PacketMeta`], data room, and
/// the pool's own 64-byte object header, rounded up to cache lines.
pub const fn buffer_bytes(data_room_bytes: u16) -> u64 {
    let object = 128 + PRIVATE_BYTES as u64 + data_room_bytes as u64;
    64 + object.next_multiple_of(64)
}

impl Pool {
    /// Makes a pool of `mbufs` buffers.
    ///
    /// `data_room_bytes` counts the [`HEADROOM_BYTES`]; `cache` buffers are kept by each registered
    /// thread (0 to [`CACHE_MAX`], at most 2/3 of `mbufs`). 2^n - 1 buffers use memory best.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn create(
        eal: &Arc<Eal>,
        name: &str,
        mbufs: u32,
        data_room_bytes: u16,
        cache: u32,
    ) -> Result<Self, PoolError> {
        let c_name = CString::new(name)
            .ok()
            .filter(|n| (1..=25).contains(&n.as_bytes().len()))
            .ok_or_else(|| PoolError::Name(name.to_owned()))?;
        if data_room_bytes <= HEADROOM_BYTES {
            return Err(PoolError::DataRoom(data_room_bytes));
        }
        // DPDK's rule: the flush threshold, 1.5 x cache, is at most the size of the pool.
        if cache > CACHE_MAX || u64::from(cache) * 3 > u64::from(mbufs) * 2 {
            return Err(PoolError::Cache { cache, mbufs });
        }
        // By default no buffer crosses from one page to the next, for devices that reach memory by
        // physical addresses. On ordinary pages there are none, and a buffer in each page of 4 KiB puts
        // the headers of all of them into the same few sets of the caches: every look at one is a miss.
        let flags = match eal.memory() {
            Memory::Hugepages => 0,
            Memory::Ordinary => dpdk_sys::WP_MEMPOOL_F_NO_IOVA_CONTIG,
        };
        // SAFETY: EAL is up (we hold it); the name is terminated and copied by DPDK.
        let raw = unsafe {
            dpdk_sys::wp_pktmbuf_pool_create(
                c_name.as_ptr(),
                mbufs,
                cache,
                PRIVATE_BYTES,
                data_room_bytes,
                dpdk_sys::WP_SOCKET_ID_ANY,
                flags,
            )
        };
        let Some(raw) = NonNull::new(raw) else {
            let source = Errno::of_thread();
            return Err(if source.0 == libc::EEXIST {
                PoolError::Name(name.to_owned())
            } else {
                let bytes = u64::from(mbufs) * buffer_bytes(data_room_bytes);
                PoolError::Memory { mbufs, data_room_bytes, bytes, source }
            });
        };
        let orphaned = AtomicU32::new(0);
        let eal = Arc::clone(eal);
        Ok(Self { inner: Arc::new(Inner { raw, mbufs, data_room_bytes, orphaned, eal }) })
    }

    /// Buffers in the pool.
    pub fn mbufs(&self) -> u32 {
        self.inner.mbufs
    }

    /// Bytes that one buffer holds behind its head-room.
    pub fn segment_bytes_max(&self) -> u16 {
        self.inner.data_room_bytes - HEADROOM_BYTES
    }

    /// Buffers that are out: not in the pool, in nobody's cache, and not [orphaned](Self::orphaned).
    /// Exact when no other thread takes or gives meanwhile. Not for data-core code: it looks at
    /// every thread's cache.
    pub fn in_use(&self) -> u32 {
        self.inner.out().saturating_sub(self.orphaned())
    }

    /// Buffers that nobody uses: in the pool or in somebody's cache. Not for data-core code, as
    /// [`Pool::in_use`].
    pub fn free(&self) -> u32 {
        self.mbufs().saturating_sub(self.inner.out())
    }

    /// Buffers that the calling thread can take: those that no thread has in its cache, and those in
    /// its own. What other threads cache is not there for it. A few loads.
    #[inline]
    pub fn free_here(&self) -> u32 {
        // SAFETY: the pool is live; the shim reads the count of its ring and this thread's cache.
        unsafe { dpdk_sys::wp_mempool_free_here(self.raw()) }
    }

    /// Buffers that drivers kept when their devices were closed: net_af_xdp of 22.11 forgets the
    /// 2,048 of its fill queue. They are lost to this pool and not part of [`Pool::in_use`].
    pub fn orphaned(&self) -> u32 {
        self.inner.orphaned.load(Ordering::Relaxed)
    }

    /// Notes that a closed device kept `n` buffers.
    pub(crate) fn note_orphans(&self, n: u32) {
        self.inner.orphaned.fetch_add(n, Ordering::Relaxed);
    }

    /// Gives the buffers in this thread's cache back; nothing on a thread without a cache.
    pub fn flush_cache(&self) {
        // SAFETY: the pool is live; the shim touches this thread's cache only.
        unsafe { dpdk_sys::wp_mempool_cache_flush(self.raw()) }
    }

    /// An empty packet; `None` when the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is live; a packet that comes out of it has no other owner.
        unsafe { NonNull::new(dpdk_sys::wp_pktmbuf_alloc(self.raw())).map(|m| Mbuf::from_raw(m)) }
    }

    /// Adds `n` empty packets to `into`, all or none. `false` when the pool has not so many or the
    /// batch no room.
    #[inline]
    pub fn alloc_bulk(&self, n: usize, into: &mut Batch) -> bool {
        if n > into.room() {
            return false;
        }
        // SAFETY: the tail has room for `n` entries, all written when the call returns 0. `n` is at
        // most 256.
        unsafe {
            if dpdk_sys::wp_pktmbuf_alloc_bulk(self.raw(), into.tail_ptr(), n as u32) != 0 {
                return false;
            }
            into.grow(n);
        }
        true
    }

    /// A packet with these bytes, in as many segments as they need (as net_pcap does with a jumbo
    /// frame); `None` when the pool has not enough buffers, or for more than 65,535 segments.
    pub fn alloc_from(&self, bytes: &[u8]) -> Option<Mbuf> {
        let mut parts = bytes.chunks(usize::from(self.segment_bytes_max()));
        let mut packet = self.alloc()?;
        packet.append(parts.next().unwrap_or_default()).ok()?;
        for part in parts {
            let mut segment = self.alloc()?;
            segment.append(part).ok()?;
            packet.chain(segment).ok()?;
        }
        Some(packet)
    }

    /// A packet with the bytes and the arrival stamp of `packet`; `None` when the pool has not enough
    /// buffers.
    pub fn copy_of(&self, packet: &Mbuf) -> Option<Mbuf> {
        let mut copy = self.alloc()?;
        for part in packet.segments().flat_map(|s| s.chunks(usize::from(self.segment_bytes_max())))
        {
            if copy.append(part).is_err() {
                let mut segment = self.alloc()?;
                segment.append(part).ok()?;
                copy.chain(segment).ok()?;
            }
        }
        if let Some(stamp) = packet.rx_stamp() {
            copy.set_rx_stamp(stamp);
        }
        Some(copy)
    }

    /// The pool as DPDK knows it, for the setup of RX queues.
    pub(crate) fn raw(&self) -> *mut rte_mempool {
        self.inner.raw.as_ptr()
    }

    /// The EAL it lives in.
    pub fn eal(&self) -> &Arc<Eal> {
        &self.inner.eal
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("mbufs", &self.inner.mbufs).finish_non_exhaustive()
    }
}

impl Inner {
    fn out(&self) -> u32 {
        // SAFETY: the pool is live.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A packet that is still out points into this memory: then it stays, and EAL with it.
        if self.out() == *self.orphaned.get_mut() {
            // SAFETY: the pool is live, and no handle and no packet of it is left.
            unsafe { dpdk_sys::rte_mempool_free(self.raw.as_ptr()) }
        } else {
            std::mem::forget(Arc::clone(&self.eal));
        }
    }
}
