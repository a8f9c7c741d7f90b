//! `[[port]]` and `[[pair]]` as they are written.

use std::net::Ipv4Addr;

use super::{CPU_MAX, HOUR, RawCaps, SECOND};
use crate::config::error::At;
use crate::config::network::{core_choice, device, ipv4, mac};
use crate::config::reader::{Field, Reader};
use crate::config::values::{
    bit_rate, boolean, duration, integer, limit, list, name, one_of, power_of_two, share, size,
};
use crate::config::{Arrangement, Completion, CoreChoice, Device, LaunchTime, PortIntent};
use crate::kind::Side;
use crate::profile::Segment;
use crate::time::Nanos;

/// One `[[port]]`.
pub(in crate::config) struct RawPort {
    pub at: At,
    pub name: Field<String>,
    pub side: Field<Side>,
    pub device: Field<Device>,
    pub frame_max: Field<u64>,
    pub rx_burst: Field<u16>,
    pub rx_descriptors: Field<u16>,
    pub tx_descriptors: Field<u16>,
    pub forward_fragments: Field<bool>,
    pub caps: RawCaps,
    pub completion: Field<Completion>,
    pub inflight_limit: Field<Option<u64>>,
    pub stall_time: Field<Nanos>,
    pub link: Field<u64>,
    pub completion_batch: Field<u32>,
    pub completion_delay: Field<Nanos>,
    pub segment: Field<Segment>,
    pub intent: Field<PortIntent>,
    pub launch_time: Field<LaunchTime>,
    pub launch_lead: Field<Nanos>,
    pub timesync: Field<bool>,
    pub rx_queues: Field<u16>,
    pub tx_queues: Field<u16>,
    pub queues: Vec<RawQueue>,
    pub faults: Option<RawFaults>,
    pub bench: Option<RawBench>,
}

/// Largest in-flight limit that makes sense: more than any ring holds.
pub(super) const INFLIGHT_MAX: u64 = 1 << 30;

impl RawPort {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            side: t.required("side", one_of),
            device: t.required("device", device),
            frame_max: t.optional("frame_max", size(60..=9_600)),
            rx_burst: t.optional("rx_burst", integer(1..=256)),
            rx_descriptors: t.optional("rx_descriptors", integer(32..=32_768)),
            tx_descriptors: t.optional("tx_descriptors", integer(32..=32_768)),
            forward_fragments: t.optional("forward_fragments", boolean),
            caps: RawCaps::read(&mut t, RawCaps::NODE),
            completion: t.optional("completion", one_of),
            inflight_limit: t.optional("inflight_limit", limit(size(1..=INFLIGHT_MAX))),
            stall_time: t.optional("stall_time", duration(Nanos::from_micros(1)..=SECOND)),
            link: t.optional("link", bit_rate),
            completion_batch: t.optional("completion_batch", integer(1..=4096)),
            completion_delay: t.optional("completion_delay", duration(Nanos::ZERO..=SECOND)),
            segment: t.optional("segment", one_of),
            intent: t.optional("intent", one_of),
            launch_time: t.optional("launch_time", one_of),
            launch_lead: t.optional("launch_lead", duration(Nanos::ZERO..=Nanos::from_millis(1))),
            timesync: t.optional("timesync", boolean),
            rx_queues: t.optional("rx_queues", integer(1..=QUEUES_MAX)),
            tx_queues: t.optional("tx_queues", integer(1..=QUEUES_MAX)),
            queues: t.tables("queue", "[[port.queue]]").into_iter().map(RawQueue::read).collect(),
            faults: t.optional_table("faults", "[port.faults]").map(RawFaults::read),
            bench: t.optional_table("bench", "[port.bench]").map(RawBench::read),
        };
        t.finish();
        raw
    }
}

/// Most queues of a port, in either direction.
const QUEUES_MAX: u16 = 64;

/// One `[[port.queue]]`.
pub(in crate::config) struct RawQueue {
    pub at: At,
    pub index: Field<u16>,
    pub burst: Field<u16>,
    pub hold_frames: Field<u16>,
    pub hold_time: Field<Nanos>,
    pub classes: Field<Vec<String>>,
}

impl RawQueue {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            index: t.required("index", integer(0..=QUEUES_MAX - 1)),
            burst: t.optional("burst", integer(1..=256)),
            hold_frames: t.optional("hold_frames", integer(1..=256)),
            hold_time: t.optional("hold_time", duration(Nanos::ZERO..=Nanos::from_millis(10))),
            classes: t.optional("classes", list(name)),
        };
        t.finish();
        raw
    }
}

/// `[port.faults]`.
pub(in crate::config) struct RawFaults {
    pub at: At,
    pub seed: Field<u64>,
    pub drop: Field<u32>,
    pub reorder: Field<u32>,
    pub duplicate: Field<u32>,
    pub refuse: Field<u32>,
    pub withhold_completions: Field<u32>,
    pub clock_step: Field<Nanos>,
    pub clock_step_every: Field<Nanos>,
}

impl RawFaults {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            seed: t.optional("seed", integer(0..=u64::MAX)),
            drop: t.optional("drop", share("0", "1")),
            reorder: t.optional("reorder", share("0", "1")),
            duplicate: t.optional("duplicate", share("0", "1")),
            refuse: t.optional("refuse", share("0", "1")),
            withhold_completions: t.optional("withhold_completions", share("0", "1")),
            clock_step: t.optional("clock_step", duration(Nanos(1)..=SECOND)),
            clock_step_every: t
                .optional("clock_step_every", duration(Nanos::from_micros(1)..=HOUR)),
        };
        t.finish();
        raw
    }
}

/// `[port.bench]`.
pub(in crate::config) struct RawBench {
    pub at: At,
    pub flows: Field<u32>,
    pub frame: Field<u64>,
    pub kpis: Field<bool>,
    pub kpis_in_turn: Field<bool>,
    pub stages: Field<bool>,
}

impl RawBench {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            flows: t.required("flows", integer(1..=1_048_576)),
            frame: t.required("frame", size(60..=1_514)),
            kpis: t.optional("kpis", boolean),
            kpis_in_turn: t.optional("kpis_in_turn", boolean),
            stages: t.optional("stages", boolean),
        };
        t.finish();
        raw
    }
}

/// One `[[pair]]`.
pub(in crate::config) struct RawPair {
    pub at: At,
    pub inside: Field<String>,
    pub venue: Field<String>,
    pub core: Field<CoreChoice>,
    pub arrangement: Field<Arrangement>,
    pub rx_cores: Field<Vec<usize>>,
    pub ring: Field<u32>,
    pub link_follow: Field<bool>,
    pub second_path: Option<RawSecondPath>,
}

impl RawPair {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            inside: t.required("inside", name),
            venue: t.required("venue", name),
            core: t.optional("core", core_choice),
            arrangement: t.optional("arrangement", one_of),
            rx_cores: t.optional("rx_cores", list(integer(0..=CPU_MAX))),
            ring: t.optional("ring", power_of_two(64..=65_536)),
            link_follow: t.optional("link_follow", boolean),
            second_path: t
                .optional_table("second_path", "[pair.second_path]")
                .map(RawSecondPath::read),
        };
        t.finish();
        raw
    }
}

/// `[pair.second_path]`.
pub(in crate::config) struct RawSecondPath {
    pub at: At,
    pub venue: Field<String>,
    pub path_drain: Field<Nanos>,
    pub allow_session_move: Field<bool>,
    pub dwell: Field<Nanos>,
    pub probe_to: Field<Ipv4Addr>,
    pub probe_from: Field<Ipv4Addr>,
    pub probe_mac: Field<[u8; 6]>,
}

impl RawSecondPath {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            venue: t.required("venue", name),
            path_drain: t.required("path_drain", duration(Nanos::from_micros(1)..=SECOND)),
            allow_session_move: t.optional("allow_session_move", boolean),
            dwell: t.optional("dwell", duration(Nanos::from_millis(1)..=HOUR)),
            probe_to: t.required("probe_to", ipv4),
            probe_from: t.required("probe_from", ipv4),
            probe_mac: t.required("probe_mac", mac),
        };
        t.finish();
        raw
    }
}
