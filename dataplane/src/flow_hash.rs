//! Which flow a packet belongs to: a bounded exact-match table over `rte_hash`.
//!
//! One per data core, made at start. Lookup and insertion take no lock and allocate nothing, and
//! both are bounded whatever the keys are: a key has two buckets of eight places. There are 1.25
//! key slots and at least 1.25 bucket places for each flow that may be stored, because a table
//! filled to the brim would refuse keys early.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys::rte_hash;
use model::draw::mix;
use model::frame::FlowKey;

use crate::eal::{Eal, Errno};

/// Keys that one lookup takes at most.
pub const LOOKUP_KEYS_MAX: usize = dpdk_sys::WP_HASH_LOOKUP_BULK_MAX as usize;

/// What flows are told apart by. 48 bytes: a length that `rte_hash` compares in three 16-byte
/// steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowHashKey {
    flow: FlowKey,
    dscp: u8,
    zero: [u8; 7],
}

const _: () = assert!(size_of::<FlowHashKey>() == dpdk_sys::WP_HASH_KEY_BYTES as usize);

impl FlowHashKey {
    /// The key of `flow` with a DSCP of 0 to 63.
    pub const fn new(flow: FlowKey, dscp: u8) -> Self {
        Self { flow, dscp, zero: [0; 7] }
    }

    /// The flow.
    pub const fn flow(&self) -> &FlowKey {
        &self.flow
    }

    /// The DSCP.
    pub const fn dscp(&self) -> u8 {
        self.dscp
    }

    /// A number that tells it from others, the same after a restart; never 0.
    pub fn id(&self) -> u64 {
        let FlowKey { src, dst, src_port, dst_port, vlan, protocol, ip_version } = self.flow;
        let ports = u64::from(src_port) << 48 | u64::from(dst_port) << 32 | u64::from(vlan) << 16;
        let rest = u64::from(protocol) << 8 | u64::from(ip_version) | u64::from(self.dscp) << 56;
        let halves = [u128::from_be_bytes(src), u128::from_be_bytes(dst)];
        let halves = halves.into_iter().flat_map(|half| [(half >> 64) as u64, half as u64]);
        halves.chain([ports, rest]).fold(0, |id, word| mix(id ^ word)).max(1)
    }
}

/// There is no place for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no place for another flow")]
pub struct Full;

/// Why a table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FlowHashError {
    /// The name has a NUL byte or more than 20 bytes, or is taken.
    #[error("flow table name {0:?}: 1 to 20 bytes without NUL are allowed, each name once")]
    Name(String),
    /// Out of range.
    #[error("a flow table for {0} flows: 1 to 67108864 are allowed")]
    Size(u32),
    /// EAL's memory does not hold it.
    #[error(
        "a flow table for {flows} flows needs about {bytes} bytes of DPDK memory, and so much is \
         not there ({source}): raise [dpdk] memory or lower flows_max"
    )]
    Memory {
        /// Flows asked for.
        flows: u32,
        /// What they take.
        bytes: u64,
        /// What DPDK said.
        source: Errno,
    },
}

/// The table: key to a number that the caller chooses.
pub struct FlowHash {
    raw: NonNull<rte_hash>,
    len: u32,
    flows_max: u32,
    _eal: Arc<Eal>,
}

// SAFETY: the table is memory that any thread may use, one at a time (it is not `Sync`).
unsafe impl Send for FlowHash {}

impl FlowHash {
    /// Makes an empty table for up to `flows_max` flows (1 to 2^26).
    ///
    /// # Errors
    /// See [`FlowHashError`].
    pub fn create(eal: &Arc<Eal>, name: &str, flows_max: u32) -> Result<Self, FlowHashError> {
        let c_name = CString::new(name)
            .ok()
            .filter(|n| (1..=20).contains(&n.as_bytes().len()))
            .ok_or_else(|| FlowHashError::Name(name.to_owned()))?;
        if !(1..=1 << 26).contains(&flows_max) {
            return Err(FlowHashError::Size(flows_max));
        }
        let parameters = dpdk_sys::rte_hash_parameters {
            name: c_name.as_ptr(),
            entries: slots(flows_max),
            key_len: size_of::<FlowHashKey>() as u32,
            hash_func: Some(dpdk_sys::wp_hash_crc),
            socket_id: dpdk_sys::WP_SOCKET_ID_ANY,
            ..Default::default()
        };
        // SAFETY: EAL is up; the parameters and the name live through the call, which copies them.
        let raw = unsafe { dpdk_sys::rte_hash_create(&parameters) };
        let Some(raw) = NonNull::new(raw) else {
            let source = Errno::of_thread();
            return Err(if source.0 == libc::EEXIST {
                FlowHashError::Name(name.to_owned())
            } else {
                let bytes = Self::memory_bytes(flows_max);
                FlowHashError::Memory { flows: flows_max, bytes, source }
            });
        };
        Ok(Self { raw, len: 0, flows_max, _eal: Arc::clone(eal) })
    }

    /// DPDK memory that a table for `flows_max` flows takes, bytes: a 64-byte slot for each key, a
    /// 64-byte bucket for every eight places, and the ring of free slots.
    pub const fn memory_bytes(flows_max: u32) -> u64 {
        let slots = slots(flows_max) as u64 + 1;
        let buckets = slots.next_power_of_two() / 8;
        slots * 64 + buckets * 64 + slots.next_power_of_two() * 4
    }

    /// Flows in it.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flows that it may hold.
    pub const fn flows_max(&self) -> u32 {
        self.flows_max
    }

    /// Looks up keys; `values[i]` becomes the number stored for `keys[i]`, or `None`. Looks at as
    /// many as the shorter of the two slices has, in bulks of [`LOOKUP_KEYS_MAX`].
    #[inline]
    pub fn lookup_bulk(&self, keys: &[FlowHashKey], values: &mut [Option<u32>]) {
        for (keys, values) in keys.chunks(LOOKUP_KEYS_MAX).zip(values.chunks_mut(LOOKUP_KEYS_MAX)) {
            let n = keys.len().min(values.len());
            let mut pointers = [ptr::null::<c_void>(); LOOKUP_KEYS_MAX];
            for (pointer, key) in pointers.iter_mut().zip(&keys[..n]) {
                *pointer = ptr::from_ref(key).cast();
            }
            let mut hits = 0_u64;
            let mut data = [ptr::null_mut::<c_void>(); LOOKUP_KEYS_MAX];
            // SAFETY: `n` is 1 to 64 (chunks are not empty), the first `n` pointers are to keys of
            // the table's length, `data` has room for 64 answers, and the table was made with the
            // hash function that this call stands for.
            let found = unsafe {
                dpdk_sys::wp_hash_lookup_bulk_data(
                    self.raw.as_ptr(),
                    pointers.as_mut_ptr(),
                    n as u32,
                    &mut hits,
                    data.as_mut_ptr(),
                )
            };
            let hits = if found < 0 { 0 } else { hits };
            for (index, value) in values[..n].iter_mut().enumerate() {
                // What was stored is a u32 in the place of a pointer.
                *value = (hits >> index & 1 == 1).then(|| data[index].addr() as u32);
            }
        }
    }

    /// Stores `value` for a key, or replaces what was stored.
    ///
    /// # Errors
    /// [`Full`]: `flows_max` is reached, or both buckets of the key are full and cannot be
    /// rearranged.
    #[inline]
    pub fn insert(&mut self, key: &FlowHashKey, value: u32) -> Result<(), Full> {
        let mut old = [None];
        self.lookup_bulk(std::slice::from_ref(key), &mut old);
        let is_new = old[0].is_none();
        if is_new && self.len == self.flows_max {
            return Err(Full);
        }
        // SAFETY: the key has the table's length and is copied; the value is stored as a number in
        // the place of a pointer and never followed.
        let added = unsafe {
            dpdk_sys::rte_hash_add_key_data(
                self.raw.as_ptr(),
                ptr::from_ref(key).cast(),
                ptr::without_provenance_mut(value as usize),
            )
        };
        if added < 0 {
            return Err(Full);
        }
        self.len += u32::from(is_new);
        Ok(())
    }

    /// Forgets a key. Returns whether it was there.
    #[inline]
    pub fn remove(&mut self, key: &FlowHashKey) -> bool {
        // SAFETY: the key has the table's length.
        let position =
            unsafe { dpdk_sys::rte_hash_del_key(self.raw.as_ptr(), ptr::from_ref(key).cast()) };
        self.len -= u32::from(position >= 0);
        position >= 0
    }
}

/// Key slots of a table: a quarter more than flows, and the eight of a bucket at least.
const fn slots(flows_max: u32) -> u32 {
    let slots = flows_max + flows_max.div_ceil(4);
    if slots < 8 { 8 } else { slots }
}

impl std::fmt::Debug for FlowHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowHash")
            .field("len", &self.len)
            .field("flows_max", &self.flows_max)
            .finish_non_exhaustive()
    }
}

impl Drop for FlowHash {
    fn drop(&mut self) {
        // SAFETY: the table is live and has no other owner.
        unsafe { dpdk_sys::rte_hash_free(self.raw.as_ptr()) }
    }
}
