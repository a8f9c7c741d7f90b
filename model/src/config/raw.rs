//! The tables of the file with their values read and nothing else decided: no default, no cross
//! reference. Key names and the ranges of single values stand here, and only here.

use std::net::SocketAddr;

use super::error::At;
use super::network::{
    absolute_path, device, loopback, port_range, power_of_two_slot, prefix, protocol,
};
use super::reader::{Field, Reader};
use super::units::Burst;
use super::values::{
    BURST_MAX, bit_rate, boolean, burst, duration, integer, label, limit, message_rate, name,
    one_of, size, text,
};
use super::{ClockKind, Completion, Device, HaltMixed, Hugepages, Prefix};
use crate::kind::{Kind, Side};
use crate::stop::StopWord;
use crate::time::Nanos;

/// The whole file.
pub(super) struct RawConfig {
    pub gateway: RawGateway,
    pub dpdk: RawDpdk,
    pub control: RawControl,
    pub ports: Vec<RawPort>,
    pub pairs: Vec<RawPair>,
    pub default_class: RawDefaultClass,
    pub classes: Vec<RawClass>,
    pub rules: Vec<RawRule>,
    pub profiles: Vec<RawProfile>,
}

impl RawConfig {
    pub fn read(mut root: Reader<'_, '_>) -> Self {
        let raw = Self {
            gateway: RawGateway::read(&mut root),
            dpdk: RawDpdk::read(root.table("dpdk", "[dpdk]")),
            control: RawControl::read(root.table("control", "[control]")),
            ports: root.tables("port", "[[port]]").into_iter().map(RawPort::read).collect(),
            pairs: root.tables("pair", "[[pair]]").into_iter().map(RawPair::read).collect(),
            default_class: RawDefaultClass::read(&mut root),
            classes: root.tables("class", "[[class]]").into_iter().map(RawClass::read).collect(),
            rules: root.tables("rule", "[[rule]]").into_iter().map(RawRule::read).collect(),
            profiles: root
                .tables("profile", "[[profile]]")
                .into_iter()
                .map(RawProfile::read)
                .collect(),
        };
        root.finish();
        raw
    }
}

/// `[gateway]`.
pub(super) struct RawGateway {
    pub at: At,
    pub name: Field<String>,
    pub clock: Field<ClockKind>,
    pub seed: Field<u64>,
    pub start_state: Field<StopWord>,
    pub state_dir: Field<String>,
    pub slot: Field<Nanos>,
    pub drain_max: Field<Nanos>,
    pub core_stall: Field<Nanos>,
    pub control_cpu: Field<usize>,
    pub flows_max: Field<u32>,
}

const CPU_MAX: usize = 1023;
const SECOND: Nanos = Nanos::from_secs(1);

impl RawGateway {
    fn read(root: &mut Reader<'_, '_>) -> Self {
        let mut t = root.required_table("gateway", "[gateway]");
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            clock: t.optional("clock", one_of),
            seed: t.optional("seed", integer(0..=u64::MAX)),
            start_state: t.optional("start_state", one_of),
            state_dir: t.optional("state_dir", absolute_path),
            slot: t.optional("slot", power_of_two_slot),
            drain_max: t.optional("drain_max", duration(Nanos::ZERO..=Nanos::from_secs(10))),
            core_stall: t
                .optional("core_stall", duration(Nanos::from_millis(1)..=Nanos::from_secs(60))),
            control_cpu: t.optional("control_cpu", integer(0..=CPU_MAX)),
            flows_max: t.optional("flows_max", integer(1..=1_048_576)),
        };
        t.finish();
        raw
    }
}

/// `[dpdk]`.
pub(super) struct RawDpdk {
    pub at: At,
    pub memory: Field<u64>,
    pub hugepages: Field<Hugepages>,
    pub mbufs: Field<u32>,
    pub mbuf_size: Field<u64>,
}

impl RawDpdk {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            memory: t.optional("memory", size(32 << 20..=1 << 40)),
            hugepages: t.optional("hugepages", one_of),
            mbufs: t.optional("mbufs", integer(1024..=16_777_216)),
            mbuf_size: t.optional("mbuf_size", size(256..=16_384)),
        };
        t.finish();
        raw
    }
}

/// `[control]`.
pub(super) struct RawControl {
    pub at: At,
    pub http: Field<Option<SocketAddr>>,
    pub lease: Field<Nanos>,
    pub tick: Field<Nanos>,
    pub sample_one_in: Field<u32>,
    pub sample_ring: Field<usize>,
}

impl RawControl {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            http: t.optional("http", loopback),
            lease: t.optional("lease", duration(Nanos::from_millis(10)..=Nanos::from_secs(3600))),
            tick: t.optional("tick", duration(Nanos::from_millis(1)..=Nanos::from_secs(10))),
            sample_one_in: t.optional("sample_one_in", integer(1..=u32::MAX)),
            sample_ring: t.optional("sample_ring", integer(64..=16_777_216)),
        };
        t.finish();
        raw
    }
}

/// The caps of one node, as they are written.
pub(super) struct RawCaps {
    pub rate: Field<Option<u64>>,
    pub burst: Field<Burst>,
    pub messages: Field<Option<u64>>,
    pub message_burst: Field<u64>,
    /// The names of the four keys, for errors.
    pub keys: [&'static str; 4],
}

impl RawCaps {
    const NODE: [&'static str; 4] = ["rate", "burst", "messages", "message_burst"];
    const FLOW: [&'static str; 4] =
        ["flow_rate", "flow_burst", "flow_messages", "flow_message_burst"];

    fn read(t: &mut Reader<'_, '_>, keys: [&'static str; 4]) -> Self {
        Self {
            rate: t.optional(keys[0], limit(bit_rate)),
            burst: t.optional(keys[1], burst),
            messages: t.optional(keys[2], limit(message_rate)),
            message_burst: t.optional(keys[3], integer(1..=BURST_MAX)),
            keys,
        }
    }

    /// The keys that are there, with their places.
    pub fn present(&self) -> impl Iterator<Item = (&'static str, At)> {
        let none = At::default();
        let places = [
            self.rate.is_present().then(|| self.rate.at(none)),
            self.burst.is_present().then(|| self.burst.at(none)),
            self.messages.is_present().then(|| self.messages.at(none)),
            self.message_burst.is_present().then(|| self.message_burst.at(none)),
        ];
        self.keys.into_iter().zip(places).filter_map(|(key, at)| Some((key, at?)))
    }
}

/// One `[[port]]`.
pub(super) struct RawPort {
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
    pub bench: Option<RawBench>,
}

/// Largest in-flight limit that makes sense: more than any ring holds.
const INFLIGHT_MAX: u64 = 1 << 30;

impl RawPort {
    fn read(mut t: Reader<'_, '_>) -> Self {
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
            bench: t.optional_table("bench", "[port.bench]").map(RawBench::read),
        };
        t.finish();
        raw
    }
}

/// `[port.bench]`.
pub(super) struct RawBench {
    pub at: At,
    pub flows: Field<u32>,
    pub frame: Field<u64>,
    pub kpis: Field<bool>,
}

impl RawBench {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            flows: t.required("flows", integer(1..=1_048_576)),
            frame: t.required("frame", size(60..=1_514)),
            kpis: t.optional("kpis", boolean),
        };
        t.finish();
        raw
    }
}

/// One `[[pair]]`.
pub(super) struct RawPair {
    pub at: At,
    pub inside: Field<String>,
    pub venue: Field<String>,
    pub core: Field<usize>,
    pub link_follow: Field<bool>,
}

impl RawPair {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            inside: t.required("inside", name),
            venue: t.required("venue", name),
            core: t.optional("core", integer(0..=CPU_MAX)),
            link_follow: t.optional("link_follow", boolean),
        };
        t.finish();
        raw
    }
}

/// `[default_class]`.
pub(super) struct RawDefaultClass {
    pub inside: Field<String>,
    pub venue: Field<String>,
}

impl RawDefaultClass {
    fn read(root: &mut Reader<'_, '_>) -> Self {
        let mut t = root.required_table("default_class", "[default_class]");
        let raw = Self { inside: t.required("inside", name), venue: t.required("venue", name) };
        t.finish();
        raw
    }
}

/// What a class does with a packet that its budget has no room for.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnOverflow {
    Backpressure,
    Drop,
}

/// The keys of a class that a profile may change.
pub(super) struct RawShape {
    pub class: RawCaps,
    pub flow: RawCaps,
    pub max_hold: Field<Nanos>,
    pub queue_packets: Field<u32>,
    pub queue_bytes: Field<u64>,
}

impl RawShape {
    fn read(t: &mut Reader<'_, '_>) -> Self {
        let day = Nanos::from_secs(86_400);
        Self {
            class: RawCaps::read(t, RawCaps::NODE),
            flow: RawCaps::read(t, RawCaps::FLOW),
            max_hold: t.optional("max_hold", move |value| {
                let span = limit(duration(Nanos(64)..=day))(value)?;
                Ok(span.unwrap_or(Nanos::MAX))
            }),
            queue_packets: t.optional("queue_packets", integer(1..=1_048_576)),
            queue_bytes: t.optional("queue_bytes", size(84..=1 << 32)),
        }
    }
}

/// One `[[class]]`.
pub(super) struct RawClass {
    pub at: At,
    pub name: Field<String>,
    pub from: Field<Side>,
    pub kind: Field<Kind>,
    pub priority: Field<u8>,
    pub shape: RawShape,
    pub messages_per_segment: Field<u16>,
    pub on_overflow: Field<OnOverflow>,
    pub allow_drop: Field<bool>,
    pub allow_drop_reason: Field<String>,
    pub halt_mixed: Field<HaltMixed>,
    pub cancel_on_disconnect: Field<bool>,
    pub cadence: Field<Nanos>,
    pub latency_budget: Field<Nanos>,
}

impl RawClass {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            from: t.optional("from", one_of),
            kind: t.optional("kind", one_of),
            priority: t.optional("priority", integer(0..=255)),
            shape: RawShape::read(&mut t),
            messages_per_segment: t.optional("messages_per_segment", integer(1..=u16::MAX)),
            on_overflow: t.optional("on_overflow", one_of),
            allow_drop: t.optional("allow_drop", boolean),
            allow_drop_reason: t.optional("allow_drop_reason", text),
            halt_mixed: t.optional("halt_mixed", one_of),
            cancel_on_disconnect: t.optional("cancel_on_disconnect", boolean),
            cadence: t.optional("cadence", duration(Nanos(1)..=Nanos::from_secs(3600))),
            latency_budget: t.optional("latency_budget", duration(Nanos(1)..=SECOND)),
        };
        t.finish();
        raw
    }
}

/// One `[[rule]]`.
pub(super) struct RawRule {
    pub at: At,
    pub class: Field<String>,
    pub from: Field<Side>,
    pub vlan: Field<u16>,
    pub src: Field<Prefix>,
    pub dst: Field<Prefix>,
    pub src_port: Field<(u16, u16)>,
    pub dst_port: Field<(u16, u16)>,
    pub protocol: Field<u8>,
    pub dscp: Field<u8>,
    pub symbol: Field<String>,
    pub venue: Field<String>,
    pub tactic: Field<String>,
    pub urgency: Field<u8>,
}

impl RawRule {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            class: t.required("class", name),
            from: t.optional("from", one_of),
            vlan: t.optional("vlan", integer(0..=4094)),
            src: t.optional("src", prefix),
            dst: t.optional("dst", prefix),
            src_port: t.optional("src_port", port_range),
            dst_port: t.optional("dst_port", port_range),
            protocol: t.optional("protocol", protocol),
            dscp: t.optional("dscp", integer(0..=63)),
            symbol: t.optional("symbol", label),
            venue: t.optional("venue", label),
            tactic: t.optional("tactic", label),
            urgency: t.optional("urgency", integer(0..=255)),
        };
        t.finish();
        raw
    }
}

/// One `[[profile]]`.
pub(super) struct RawProfile {
    pub name: Field<String>,
    pub classes: Vec<RawProfileClass>,
    pub ports: Vec<RawProfilePort>,
}

impl RawProfile {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let classes = t.tables("class", "[[profile.class]]");
        let ports = t.tables("port", "[[profile.port]]");
        let raw = Self {
            name: t.required("name", name),
            classes: classes.into_iter().map(RawProfileClass::read).collect(),
            ports: ports.into_iter().map(RawProfilePort::read).collect(),
        };
        t.finish();
        raw
    }
}

/// One `[[profile.class]]`.
pub(super) struct RawProfileClass {
    pub at: At,
    pub name: Field<String>,
    pub shape: RawShape,
    pub closed: Field<bool>,
}

impl RawProfileClass {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            shape: RawShape::read(&mut t),
            closed: t.optional("closed", boolean),
        };
        t.finish();
        raw
    }
}

/// One `[[profile.port]]`.
pub(super) struct RawProfilePort {
    pub at: At,
    pub name: Field<String>,
    pub caps: RawCaps,
    pub inflight_limit: Field<Option<u64>>,
}

impl RawProfilePort {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            caps: RawCaps::read(&mut t, RawCaps::NODE),
            inflight_limit: t.optional("inflight_limit", limit(size(1..=INFLIGHT_MAX))),
        };
        t.finish();
        raw
    }
}
