//! `[gateway]`, `[dpdk]`, `[control]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::calendar;
use super::error::Findings;
use super::raw::{RawControl, RawDpdk, RawGateway};
use super::{Access, ClockKind, Control, Dpdk, Gateway, Hugepages, SocketMode};
use crate::advice::VALIDITY;
use crate::stop::StopWord;
use crate::time::Nanos;

/// Head-room that DPDK keeps in front of each frame (`RTE_PKTMBUF_HEADROOM`, 22.11).
pub(super) const HEADROOM_BYTES: u64 = 128;

pub(super) fn gateway(raw: &RawGateway) -> Gateway {
    let clock = raw.clock.or(ClockKind::Tsc);
    // Live, the strictest word is the safe default; a replay that halts shows nothing.
    let start = if clock == ClockKind::Virtual { StopWord::Running } else { StopWord::Halt };
    Gateway {
        name: raw.name.or(String::new()),
        clock,
        seed: raw.seed.or(1),
        start_state: raw.start_state.or(start),
        state_dir: raw.state_dir.value.clone(),
        slot: raw.slot.or(Nanos(1024)),
        drain_max: raw.drain_max.or(Nanos::from_millis(50)),
        core_stall: raw.core_stall.or(Nanos::from_millis(500)),
        stall_threshold: raw.stall_threshold.or(Nanos::from_micros(250)),
        control_cpu: raw.control_cpu.value,
        flows_max: raw.flows_max.or(65_536),
        flow_idle: raw.flow_idle.or(Nanos::from_secs(60)),
    }
}

pub(super) fn dpdk(findings: &Findings, raw: &RawDpdk) -> Dpdk {
    let mbufs = raw.mbufs.or(32_768);
    let dpdk = Dpdk {
        memory_bytes: raw.memory.or(256 << 20),
        hugepages: raw.hugepages.or(Hugepages::Auto),
        mbufs,
        mbuf_bytes: u16::try_from(raw.mbuf_size.or(2304)).unwrap_or(u16::MAX),
        pool_reserve: share_of(mbufs, raw.pool_reserve.or(POOL_RESERVE_PPM)),
        telemetry: raw.telemetry.or(false),
    };
    refuse_pool_beyond_memory(findings, raw, &dpdk);
    dpdk
}

/// Share of the buffers kept free where the file says none, parts per million.
const POOL_RESERVE_PPM: u32 = 50_000;

/// `ppm` parts per million of `count`, rounded up.
fn share_of(count: u32, ppm: u32) -> u32 {
    let exact = (u64::from(count) * u64::from(ppm)).div_ceil(1_000_000);
    u32::try_from(exact).unwrap_or(u32::MAX)
}

/// Bytes of a pool element beyond its data room: mempool header 64, `rte_mbuf` 128, private area
/// 64 (DPDK 22.11 on x86-64).
const MBUF_OVERHEAD_BYTES: u64 = 64 + 128 + 64;

fn refuse_pool_beyond_memory(findings: &Findings, raw: &RawDpdk, dpdk: &Dpdk) {
    let each = u64::from(dpdk.mbuf_bytes) + MBUF_OVERHEAD_BYTES;
    let pool = u64::from(dpdk.mbufs) * each;
    if pool > dpdk.memory_bytes {
        let problem = format!(
            "the pool takes {} x {each} = {pool} bytes, memory is {} bytes",
            dpdk.mbufs, dpdk.memory_bytes
        );
        let at = raw.mbufs.at(raw.memory.at(raw.at));
        findings.error(at, problem, "fewer `mbufs`, a smaller `mbuf_size` or more `memory`");
    }
}

pub(super) fn control(findings: &Findings, raw: &RawControl) -> Control {
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9477);
    let control = Control {
        http: raw.http.or(Some(default)),
        lease: raw.lease.or(Nanos::from_secs(5)),
        tick: raw.tick.or(Nanos::from_millis(100)),
        sample_one_in: raw.sample_one_in.or(1024),
        sample_ring: raw.sample_ring.or(65_536),
        advice_shm: raw.advice_shm.value.clone(),
        sessions: calendar::sessions(findings, &raw.sessions),
        access: Access {
            mode: raw.mode.or(SocketMode::default()),
            owner: raw.owner.value.clone(),
            group: raw.group.value.clone(),
            write_group: raw.write_group.value.clone(),
        },
    };
    refuse_access_of_nobody(findings, raw, &control.access);
    refuse_lease_within_two_ticks(findings, raw, &control);
    refuse_advice_that_gets_old(findings, raw, &control);
    control
}

/// A group that the socket's mode keeps out would have its rights in name only.
fn refuse_access_of_nobody(findings: &Findings, raw: &RawControl, access: &Access) {
    let of_groups = [("group", &raw.group), ("write_group", &raw.write_group)];
    for (key, field) in of_groups.into_iter().filter(|(_, field)| field.value.is_some()) {
        if access.mode == SocketMode::Owner {
            let problem = format!("a {key}, and mode = \"0600\" lets only the owner connect");
            findings.error(field.at(raw.at), problem, "mode = \"0660\", or no group");
        }
    }
    if access.mode == SocketMode::Group && access.group.is_none() && access.write_group.is_some() {
        let problem = "a write_group and no group: its members could not connect";
        findings.error(raw.write_group.at(raw.at), problem, "`group`, which may be the same");
    }
}

/// Advice is written once in a tick, and is neutral when it is old: it would come and go.
fn refuse_advice_that_gets_old(findings: &Findings, raw: &RawControl, control: &Control) {
    if control.advice_shm.is_some() && control.tick.0 > VALIDITY.0 / 2 {
        let problem = format!("advice that is written every {}", control.tick);
        let allowed = "a tick of at most 500ms: advice older than 1s reads as neutral";
        findings.error(raw.tick.at(raw.advice_shm.at(raw.at)), problem, allowed);
    }
}

/// A lease that is not renewed in time lapses under a healthy control thread.
fn refuse_lease_within_two_ticks(findings: &Findings, raw: &RawControl, control: &Control) {
    if control.lease.0 < 2 * control.tick.0 {
        let problem = format!("a lease of {} with a tick of {}", control.lease, control.tick);
        let allowed = "a lease of at least two ticks: control renews it once in a tick";
        findings.error(raw.lease.at(raw.tick.at(raw.at)), problem, allowed);
    }
}
