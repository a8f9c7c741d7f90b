//! What `[[port]]` asks of its device beyond packets: stamps, launch times, a shim's room, faults.

use super::error::Findings;
use super::raw::{RawFaults, RawPort};
use super::sections::HEADROOM_BYTES;
use super::{Class, ClockKind, Device, Dpdk, Faults, Gateway, LaunchTime, Port, PortIntent};
use crate::kind::Side;
use crate::time::Nanos;

/// Largest intent shim, bytes: what a frame from inside may be longer by.
pub const SHIM_BYTES_MAX: u32 = 64;

/// Refuses what no device, or not this side, can do.
pub(super) fn check(
    findings: &Findings,
    raw: &RawPort,
    port: &Port,
    gateway: &Gateway,
    dpdk: &Dpdk,
) {
    check_queues(findings, raw, port);
    check_launch_time(findings, raw, port, gateway.clock);
    check_timesync(findings, raw, port, gateway.clock);
    check_shim(findings, raw, port, dpdk);
}

fn check_queues(findings: &Findings, raw: &RawPort, port: &Port) {
    if port.device != Device::Capture || raw.device.value.is_none() {
        return;
    }
    // What a venue sends is steered to its queues as a NIC does it.
    let steered = port.side == Side::Venue;
    for (key, count, field, allowed_more) in [
        ("rx_queues", port.rx_queues, &raw.rx_queues, steered),
        ("tx_queues", port.tx_queues, &raw.tx_queues, false),
    ] {
        if count > 1 && !allowed_more {
            let problem = format!("{key}: {count} queues of a capture");
            findings.error(field.at(raw.at), problem, "1: a capture has one order");
        }
    }
}

fn check_launch_time(findings: &Findings, raw: &RawPort, port: &Port, clock: ClockKind) {
    let asked = port.launch_time != LaunchTime::Off;
    if raw.launch_lead.is_present() && !asked {
        let problem = "`launch_lead` without `launch_time`";
        let allowed = "launch_time = \"prefer\" or \"require\" beside it";
        findings.error(raw.launch_lead.at(raw.at), problem, allowed);
    }
    if !asked {
        return;
    }
    let at = raw.launch_time.at(raw.at);
    if port.side == Side::Inside {
        let problem = "`launch_time` on a port of the inside";
        findings.error(
            at,
            problem,
            "`launch_time` on venue ports: what goes inside leaves at once",
        );
    } else if clock == ClockKind::Virtual {
        let problem = "`launch_time` in virtual time";
        findings.error(at, problem, "\"off\": no NIC follows a virtual clock");
    } else if port.launch_time == LaunchTime::Require
        && let Device::Vdev(device) = &port.device
    {
        let text = format!(
            "port {}: {device} is a vdev, and none of DPDK 22.11 takes launch times: with \
             launch_time = \"require\" the start is refused",
            port.name
        );
        findings.warn(at, text);
    }
}

fn check_timesync(findings: &Findings, raw: &RawPort, port: &Port, clock: ClockKind) {
    if port.timesync && clock == ClockKind::Virtual {
        let problem = "`timesync` in virtual time";
        findings.error(raw.timesync.at(raw.at), problem, "false: the link model stamps departures");
    }
}

/// A shim makes a frame from inside longer than the wire will see it: its buffer has to hold both.
fn check_shim(findings: &Findings, raw: &RawPort, port: &Port, dpdk: &Dpdk) {
    if port.intent == PortIntent::Off {
        return;
    }
    let at = raw.intent.at(raw.at);
    if port.side == Side::Venue {
        let problem = "intent = \"shim\" on a venue port";
        findings.error(
            at,
            problem,
            "\"off\": nothing that a venue sends is believed to be an intent",
        );
        return;
    }
    let room = u64::from(dpdk.mbuf_bytes).saturating_sub(HEADROOM_BYTES);
    let needed = u64::from(port.frame_bytes_max) + u64::from(SHIM_BYTES_MAX);
    if needed > room {
        let problem = format!(
            "frame_max {} and a shim of up to {SHIM_BYTES_MAX} bytes do not fit a buffer of {} with \
             {HEADROOM_BYTES} bytes of head-room",
            port.frame_bytes_max, dpdk.mbuf_bytes
        );
        let most = room.saturating_sub(u64::from(SHIM_BYTES_MAX));
        let allowed = format!("a `frame_max` of up to {most}B, or a larger `mbuf_size`");
        findings.error(at, problem, allowed);
    }
}

/// The faults of a port; what is left out never happens.
pub(super) fn faults(findings: &Findings, raw: &RawFaults, gateway: &Gateway) -> Faults {
    let step = (raw.clock_step.is_present(), raw.clock_step_every.is_present());
    if step.0 != step.1 {
        let at = raw.clock_step.at(raw.clock_step_every.at(raw.at));
        let problem = "`clock_step` and `clock_step_every` say something only together";
        findings.error(at, problem, "both, or neither");
    }
    Faults {
        seed: raw.seed.or(gateway.seed),
        drop_ppm: raw.drop.or(0),
        reorder_ppm: raw.reorder.or(0),
        duplicate_ppm: raw.duplicate.or(0),
        refuse_ppm: raw.refuse.or(0),
        withhold_completions_ppm: raw.withhold_completions.or(0),
        clock_step: raw.clock_step.or(Nanos::ZERO),
        clock_step_every: raw.clock_step_every.or(Nanos::ZERO),
    }
}

/// Faults are for drills: never between real orders and a venue.
pub(super) fn refuse_live_faults(
    findings: &Findings,
    raw: &[RawPort],
    ports: &[Port],
    gateway: &Gateway,
    classes: &[Class],
) {
    let live = |class: &&Class| class.from == Side::Inside && class.kind.is_order_entry();
    let Some(class) = classes.iter().find(live) else { return };
    if gateway.clock == ClockKind::Virtual {
        return;
    }
    for (raw, port) in raw.iter().zip(ports) {
        let Some(faults) = &raw.faults else { continue };
        let drill = port.device.is_vdev_of("net_ring") || port.device.is_vdev_of("net_null");
        if !drill {
            let problem = format!(
                "[port.faults] on {}, and class {:?} is order entry",
                port.device, class.name
            );
            let allowed = "faults on net_ring, on net_null, or with clock = \"virtual\"";
            findings.error(faults.at, problem, allowed);
        }
    }
}
