//! The tables of the file with their values read and nothing else decided: no default, no cross
//! reference. Key names and the ranges of single values stand here, and only here.

mod calendar;
mod class;
mod limits;
mod observe;
mod port;
mod profile;
mod regime;
mod rule;
mod timeline;

pub(super) use calendar::RawSession;
pub(super) use class::{OnHorizon, OnOverflow, RawCaps, RawClass, RawShape, RawShaping};
pub(super) use limits::{RawIntent, RawLabel, RawVenueLimit};
pub(super) use observe::RawObserve;
pub(super) use port::{RawFaults, RawPair, RawPort, RawQueue, RawSecondPath};
pub(super) use profile::{RawProfile, RawProfileClass, RawProfilePort};
pub(super) use regime::{RawDrainModel, RawMachine, RawRegime, RawState};
pub(super) use rule::{RawDefaultClass, RawRule};
pub(super) use timeline::RawTimeline;

use std::net::SocketAddr;

use super::error::At;
use super::network::{absolute_path, loopback, power_of_two_slot};
use super::reader::{Field, Reader};
use super::values::{account, boolean, duration, integer, limit, name, one_of, share, size};
use super::{ClockKind, Hugepages, SocketMode};
use crate::stop::StopWord;
use crate::time::Nanos;

/// The whole file.
pub(super) struct RawConfig {
    pub gateway: RawGateway,
    pub dpdk: RawDpdk,
    pub control: RawControl,
    pub timeline: Option<RawTimeline>,
    pub observe: Option<RawObserve>,
    pub ports: Vec<RawPort>,
    pub pairs: Vec<RawPair>,
    pub default_class: RawDefaultClass,
    pub classes: Vec<RawClass>,
    pub rules: Vec<RawRule>,
    pub venue_limits: Vec<RawVenueLimit>,
    pub intent: RawIntent,
    pub labels: Vec<RawLabel>,
    pub profiles: Vec<RawProfile>,
    pub regime: RawRegime,
}

impl RawConfig {
    pub fn read(mut root: Reader<'_, '_>) -> Self {
        let raw = Self {
            gateway: RawGateway::read(&mut root),
            dpdk: RawDpdk::read(root.table("dpdk", "[dpdk]")),
            control: RawControl::read(root.table("control", "[control]")),
            timeline: root.optional_table("timeline", "[timeline]").map(RawTimeline::read),
            observe: root.optional_table("observe", "[observe]").map(RawObserve::read),
            ports: root.tables("port", "[[port]]").into_iter().map(RawPort::read).collect(),
            pairs: root.tables("pair", "[[pair]]").into_iter().map(RawPair::read).collect(),
            default_class: RawDefaultClass::read(&mut root),
            classes: root.tables("class", "[[class]]").into_iter().map(RawClass::read).collect(),
            rules: root.tables("rule", "[[rule]]").into_iter().map(RawRule::read).collect(),
            venue_limits: root
                .tables("venue_limit", "[[venue_limit]]")
                .into_iter()
                .map(RawVenueLimit::read)
                .collect(),
            intent: RawIntent::read(root.table("intent", "[intent]")),
            labels: root.tables("label", "[[label]]").into_iter().map(RawLabel::read).collect(),
            profiles: root
                .tables("profile", "[[profile]]")
                .into_iter()
                .map(RawProfile::read)
                .collect(),
            regime: RawRegime::read(root.table("regime", "[regime]")),
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
    pub stall_threshold: Field<Nanos>,
    pub control_cpu: Field<usize>,
    pub flows_max: Field<u32>,
    pub flow_idle: Field<Nanos>,
}

pub(super) const CPU_MAX: usize = 1023;
pub(super) const SECOND: Nanos = Nanos::from_secs(1);
pub(super) const HOUR: Nanos = Nanos::from_secs(3600);

/// A span of time in `range`, or `unlimited` as [`Nanos::MAX`].
fn span_or_unlimited(
    range: std::ops::RangeInclusive<Nanos>,
) -> impl Fn(&toml::de::DeValue<'_>) -> Result<Nanos, super::values::Refused> {
    let read = limit(duration(range));
    move |value| Ok(read(value)?.unwrap_or(Nanos::MAX))
}

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
            stall_threshold: t
                .optional("stall_threshold", duration(Nanos::from_micros(1)..=SECOND)),
            control_cpu: t.optional("control_cpu", integer(0..=CPU_MAX)),
            flows_max: t.optional("flows_max", integer(1..=1_048_576)),
            flow_idle: t.optional("flow_idle", span_or_unlimited(Nanos::from_millis(1)..=HOUR)),
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
    pub pool_reserve: Field<u32>,
    pub telemetry: Field<bool>,
}

impl RawDpdk {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            memory: t.optional("memory", size(32 << 20..=1 << 40)),
            hugepages: t.optional("hugepages", one_of),
            mbufs: t.optional("mbufs", integer(1024..=16_777_216)),
            mbuf_size: t.optional("mbuf_size", size(256..=16_384)),
            pool_reserve: t.optional("pool_reserve", share("0", "0.5")),
            telemetry: t.optional("telemetry", boolean),
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
    pub advice_shm: Field<String>,
    pub mode: Field<SocketMode>,
    pub owner: Field<String>,
    pub group: Field<String>,
    pub write_group: Field<String>,
    pub sessions: Vec<RawSession>,
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
            advice_shm: t.optional("advice_shm", absolute_path),
            mode: t.optional("mode", one_of),
            owner: t.optional("owner", account),
            group: t.optional("group", account),
            write_group: t.optional("write_group", account),
            sessions: t
                .tables("session", "[[control.session]]")
                .into_iter()
                .map(RawSession::read)
                .collect(),
        };
        t.finish();
        raw
    }
}
