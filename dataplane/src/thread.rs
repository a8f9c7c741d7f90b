//! A data core: one pinned OS thread that DPDK knows.
//!
//! [`DataCore::enter`] first thing on the thread, before any packet is touched; drop it last, on
//! the same thread. A thread that DPDK does not know works too, only without a buffer cache.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::eal::Errno;
use crate::pool::Pool;

/// Why a thread could not become a data core.
#[derive(Debug, thiserror::Error)]
pub enum DataCoreError {
    /// The CPU does not exist, or this process may not use it.
    #[error("this process cannot run on CPU {cpu}: it may use {allowed}")]
    Pin {
        /// CPU asked for.
        cpu: usize,
        /// CPUs in the mask of the thread.
        allowed: String,
    },
    /// DPDK has no lcore id left, or was not started.
    #[error("DPDK could not register the thread: {0}")]
    Register(Errno),
}

/// The calling thread as a data core. Stays on its thread (`!Send`); dropping it gives the buffers
/// in the thread's caches back and signs off.
#[derive(Debug)]
pub struct DataCore {
    pools: Vec<Pool>,
    /// False on the thread that started EAL: it was registered before and stays so.
    registered_here: bool,
    this_thread: PhantomData<*const ()>,
}

impl DataCore {
    /// Pins the calling thread to `cpu` (`None` = as it is) and registers it with DPDK. `pools` are
    /// those whose caches the thread fills.
    ///
    /// # Errors
    /// See [`DataCoreError`].
    pub fn enter(cpu: Option<usize>, pools: &[Pool]) -> Result<Self, DataCoreError> {
        if let Some(cpu) = cpu {
            pin(cpu)?;
        }
        // SAFETY: no precondition.
        let known = unsafe { dpdk_sys::wp_lcore_id() } != dpdk_sys::WP_LCORE_ID_ANY;
        if !known {
            // SAFETY: DPDK refuses by itself when EAL is not up; the thread is not registered.
            if unsafe { dpdk_sys::rte_thread_register() } != 0 {
                return Err(DataCoreError::Register(Errno::of_thread()));
            }
        }
        Ok(Self { pools: pools.to_vec(), registered_here: !known, this_thread: PhantomData })
    }

    /// DPDK's number of this thread; not a CPU number.
    pub fn lcore_id(&self) -> u32 {
        // SAFETY: no precondition.
        unsafe { dpdk_sys::wp_lcore_id() }
    }
}

impl Drop for DataCore {
    fn drop(&mut self) {
        for pool in &self.pools {
            pool.flush_cache();
        }
        if self.registered_here {
            // SAFETY: this thread was registered in `enter`, and the value never left it.
            unsafe { dpdk_sys::rte_thread_unregister() }
        }
    }
}

fn pin(cpu: usize) -> Result<(), DataCoreError> {
    let allowed = rustix::thread::sched_getaffinity(None).ok();
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let on_it = rustix::thread::sched_getaffinity(None)
        .is_ok_and(|mask| mask.count() == 1 && mask.is_set(cpu));
    if pinned && on_it {
        return Ok(());
    }
    let allowed = allowed.map_or_else(
        || "an unknown set".to_owned(),
        |mask| {
            let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU)
                .filter(|&c| mask.is_set(c))
                .map(|c| c.to_string())
                .collect();
            format!("CPU {}", cpus.join(", "))
        },
    );
    Err(DataCoreError::Pin { cpu, allowed })
}
