//! DPDK's hierarchical scheduler, one pipe for each flow.
//!
//! It is no deadline queue, so it has a loop of its own in place of
//! [`DeadlineQueue`](super::DeadlineQueue): every flow has one packet in it, packets leave in bursts
//! of [`BURST`] and go back into the pipes they came from. See [`DOES`] for what that leaves out.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dataplane::eal::{Eal, EalOptions, LogLevel};
use dpdk_sys::{
    rte_mbuf, rte_mempool, rte_sched_pipe_params, rte_sched_port, rte_sched_port_params,
    rte_sched_subport_params, rte_sched_subport_profile_params,
};
use model::config::Hugepages;

use crate::workload::{Block, Timer};

/// What a row of it says and does not say.
pub const DOES: &str = "one packet of 64 bytes in each pipe, in and out in bursts of 32; token \
    buckets in bytes for subport, pipe and class that do not bind, the next pipe found by going \
    round a bitmap of queues: no departure times, nothing to be early or late for, and packets are \
    touched, which the others do not have";

/// Packets that are enqueued and dequeued together.
pub const BURST: usize = 32;
/// DPDK memory of the process. What needs more is not run.
const MEMORY_BYTES: u64 = 512 << 20;
/// Left for what EAL itself takes and for what does not fit between other pieces.
const SPARE_BYTES: u64 = 64 << 20;
/// 100 Gbit/s in bytes for each second; no pipe has less, and packets on a core are slower.
const RATE: u64 = 12_500_000_000;
/// Without the FCS.
const PACKET_BYTES: u16 = 60;
/// A buffer with its headers in the pool and its share of what is left free in a page.
const BUFFER_BYTES: u64 = 4096 / 9;
/// Places in each queue of a pipe. It has four queues for its one class, of which one is used.
const QUEUE_PACKETS: u16 = 2;
/// The class without strict priority.
const BEST_EFFORT: usize = dpdk_sys::WP_SCHED_CLASS_BEST_EFFORT as usize;

/// DPDK for this process, for all schedulers that it makes.
pub struct Dpdk(Arc<Eal>);

impl Dpdk {
    /// Starts DPDK without hugepages, its own threads on another CPU than `cpu`. Not from a real-time
    /// thread: its naps while it waits for its helper thread are too short to let that one run.
    ///
    /// # Errors
    /// What DPDK says.
    pub fn start(cpu: usize) -> Result<Self, String> {
        let options = EalOptions {
            memory_bytes: MEMORY_BYTES,
            hugepages: Hugepages::Never,
            control_cpu: Some(usize::from(cpu == 0)),
            file_prefix: format!("wirepace-bench-queue-{}", std::process::id()),
            log_level: LogLevel::Warning,
            pci: false,
            telemetry: false,
        };
        Eal::init(&options).map(Self).map_err(|error| error.to_string())
    }
}

/// A scheduler that is never empty outside a burst.
pub struct RteSched {
    port: NonNull<rte_sched_port>,
    pool: NonNull<rte_mempool>,
    burst: [*mut rte_mbuf; BURST],
    nodes: u32,
    bytes_per_pipe: f64,
    _eal: Arc<Eal>,
}

impl RteSched {
    /// One with a packet in each of `nodes` pipes, at least a [`BURST`].
    ///
    /// # Errors
    /// Why this size cannot be run: the memory it takes, or what DPDK refused.
    pub fn new(dpdk: &Dpdk, nodes: u32) -> Result<Self, String> {
        // DPDK asks for powers of two. Pipes without packets are not visited.
        let pipes = nodes.max(BURST as u32).next_power_of_two();
        let mut profile = rte_sched_pipe_params {
            tb_rate: RATE,
            tb_size: 1_000_000,
            tc_period: 10,
            tc_ov_weight: 1,
            wrr_weights: [1; 4],
            ..Default::default()
        };
        profile.tc_rate[BEST_EFFORT] = RATE;
        let mut subport = rte_sched_subport_params {
            n_pipes_per_subport_enabled: pipes,
            pipe_profiles: &raw mut profile,
            n_pipe_profiles: 1,
            n_max_pipe_profiles: 1,
            ..Default::default()
        };
        subport.qsize[BEST_EFFORT] = QUEUE_PACKETS;
        let mut all = rte_sched_subport_profile_params {
            tb_rate: RATE,
            tb_size: 1_000_000,
            tc_period: 10,
            ..Default::default()
        };
        all.tc_rate.fill(RATE);
        let mut params = rte_sched_port_params {
            name: c"bench".as_ptr(),
            rate: RATE,
            mtu: 1522,
            frame_overhead: 24,
            n_subports_per_port: 1,
            subport_profiles: &raw mut all,
            n_subport_profiles: 1,
            n_max_subport_profiles: 1,
            n_pipes_per_subport: pipes,
            ..Default::default()
        };
        let mut subports = [&raw mut subport];
        // SAFETY: the structures are complete, and as many subports as `params` says lie behind the
        // second pointer.
        let footprint = u64::from(unsafe {
            dpdk_sys::rte_sched_port_get_memory_footprint(&raw mut params, subports.as_mut_ptr())
        });
        if footprint == 0 {
            return Err(format!("DPDK refuses {pipes} pipes in a subport"));
        }
        let buffers = u64::from(nodes) * BUFFER_BYTES;
        if footprint + buffers + SPARE_BYTES > MEMORY_BYTES {
            return Err(format!(
                "{pipes} pipes take {} MiB and their packets {} MiB, and this bench has {} MiB",
                footprint >> 20,
                buffers >> 20,
                MEMORY_BYTES >> 20
            ));
        }
        let pool = pool(nodes)?;
        // SAFETY: as above; DPDK is up.
        let Some(port) = NonNull::new(unsafe { dpdk_sys::rte_sched_port_config(&raw mut params) })
        else {
            // SAFETY: nobody else has the pool, and all its buffers are in it.
            unsafe { dpdk_sys::rte_mempool_free(pool.as_ptr()) };
            return Err("DPDK refuses the port".to_owned());
        };
        let mut made = Self {
            port,
            pool,
            burst: [ptr::null_mut(); BURST],
            nodes,
            bytes_per_pipe: footprint as f64 / f64::from(pipes),
            _eal: Arc::clone(&dpdk.0),
        };
        // SAFETY: the port is live, the parameters are complete and outlive the call.
        let status =
            unsafe { dpdk_sys::rte_sched_subport_config(port.as_ptr(), 0, &raw mut subport, 0) };
        if status != 0 {
            made.forget_port();
            return Err(format!("DPDK refuses the subport ({status})"));
        }
        for pipe in 0..nodes {
            // SAFETY: the port is live; subport 0 has this pipe and profile 0.
            let status = unsafe { dpdk_sys::rte_sched_pipe_config(port.as_ptr(), 0, pipe, 0) };
            if status != 0 {
                made.forget_port();
                return Err(format!("DPDK refuses pipe {pipe} ({status})"));
            }
        }
        made.fill()?;
        Ok(made)
    }

    /// DPDK memory for each pipe, without its packet.
    pub const fn bytes_per_pipe(&self) -> f64 {
        self.bytes_per_pipe
    }

    /// One block of at least `pairs` packets that leave and go back.
    ///
    /// # Panics
    /// When the scheduler withholds or drops packets: then credits or queues bind, and the figure
    /// would not be what it is called.
    #[inline(never)]
    pub fn steady(&mut self, pairs: u64) -> Block {
        let mut timer = Timer::start();
        while timer.pairs < pairs {
            let got = self.dequeue();
            assert!(got > 0, "rte_sched withholds packets");
            assert_eq!(self.enqueue(got), got, "rte_sched drops packets");
            timer.pairs += got as u64;
            timer.look();
        }
        timer.end()
    }

    /// Once round.
    pub fn warm_up(&mut self) {
        self.steady(u64::from(self.nodes));
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut in_burst = 0;
        for pipe in 0..self.nodes {
            // SAFETY: the pool is live.
            let packet = unsafe { dpdk_sys::wp_pktmbuf_alloc(self.pool.as_ptr()) };
            if packet.is_null() {
                return Err("the pool has too few buffers".to_owned());
            }
            // SAFETY: the mbuf is ours, a single segment whose room holds this length.
            unsafe { set_len(packet) };
            // SAFETY: the port is live and has this pipe; class and queue of best effort exist.
            unsafe {
                dpdk_sys::rte_sched_port_pkt_write(
                    self.port.as_ptr(),
                    packet,
                    0,
                    pipe,
                    BEST_EFFORT as u32,
                    0,
                    dpdk_sys::rte_color_RTE_COLOR_GREEN,
                );
            }
            self.burst[in_burst] = packet;
            in_burst += 1;
            if in_burst == BURST || pipe + 1 == self.nodes {
                if self.enqueue(in_burst) != in_burst {
                    return Err("rte_sched drops packets".to_owned());
                }
                in_burst = 0;
            }
        }
        Ok(())
    }

    #[inline]
    fn dequeue(&mut self) -> usize {
        // SAFETY: the port is live, and the array holds a burst.
        let got = unsafe {
            dpdk_sys::rte_sched_port_dequeue(
                self.port.as_ptr(),
                self.burst.as_mut_ptr(),
                BURST as u32,
            )
        };
        usize::try_from(got).unwrap_or(0)
    }

    /// Gives the first `n` packets of the burst back. How many were taken; others are freed.
    #[inline]
    fn enqueue(&mut self, n: usize) -> usize {
        // SAFETY: the port is live; the first `n` pointers are packets that we own and that carry
        // their place in the tree. The scheduler owns them from here on.
        let taken: c_int = unsafe {
            dpdk_sys::rte_sched_port_enqueue(self.port.as_ptr(), self.burst.as_mut_ptr(), n as u32)
        };
        usize::try_from(taken).unwrap_or(0)
    }

    /// Configuring a subport or a pipe frees the whole port when it fails: once is enough.
    fn forget_port(self) {
        // SAFETY: the port is gone, no packet was taken out of the pool, and drop does not run.
        unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
        std::mem::forget(self);
    }
}

impl Drop for RteSched {
    fn drop(&mut self) {
        // SAFETY: the port is live and nobody uses it after this; it frees the packets it holds.
        unsafe { dpdk_sys::rte_sched_port_free(self.port.as_ptr()) };
        // SAFETY: all packets were in the port, so all are back.
        unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
    }
}

/// Buffers without a cache: only a scheduler that is filled or freed asks for any.
fn pool(nodes: u32) -> Result<NonNull<rte_mempool>, String> {
    let room = u16::try_from(dpdk_sys::WP_PKTMBUF_HEADROOM).unwrap_or(128) + 64;
    // SAFETY: DPDK is up; the name is terminated.
    let pool = unsafe {
        dpdk_sys::rte_pktmbuf_pool_create(
            c"bench-sched".as_ptr(),
            nodes,
            0,
            0,
            room,
            dpdk_sys::WP_SOCKET_ID_ANY,
        )
    };
    NonNull::new(pool).ok_or_else(|| format!("DPDK has no room for {nodes} buffers"))
}

/// Makes `packet` as long as all are.
///
/// # Safety
/// `packet` is a single segment that the caller owns and whose room holds it.
unsafe fn set_len(packet: *mut rte_mbuf) {
    // SAFETY: the caller's; both are plain fields of a live mbuf.
    unsafe {
        (*packet).pkt_len = u32::from(PACKET_BYTES);
        (*packet).data_len = PACKET_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_round_and_none_is_lost() {
        let dpdk = Dpdk::start(1).unwrap();
        let mut sched = RteSched::new(&dpdk, 100).unwrap();
        assert!(sched.steady(10_000).pairs >= 10_000);
        // SAFETY: the pool is live.
        let out = unsafe { dpdk_sys::rte_mempool_in_use_count(sched.pool.as_ptr()) };
        assert_eq!(out, 100);
        // Taken out without going back: each comes once.
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 100 {
            let got = sched.dequeue();
            assert!(got > 0, "only {} of 100 pipes came up", seen.len());
            assert!(sched.burst[..got].iter().all(|&packet| seen.insert(packet)));
        }
        assert_eq!(sched.dequeue(), 0);
        for packet in seen {
            // SAFETY: the scheduler gave it to us, once.
            unsafe { dpdk_sys::wp_pktmbuf_free(packet) };
        }
        drop(sched);
        // The name and the memory of the pool are free again.
        drop(RteSched::new(&dpdk, 64).unwrap());
        let why = RteSched::new(&dpdk, 1_000_000).err().unwrap();
        assert!(why.contains("1048576 pipes take"), "{why}");
    }
}
