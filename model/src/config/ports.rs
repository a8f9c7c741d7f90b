//! `[[port]]`: what it is made of, its frames and its completions.

use super::error::{At, Findings};
use super::raw::RawPort;
use super::sections::HEADROOM_BYTES;
use super::units::format_size;
use super::{
    BenchFlows, ClockKind, Completion, Device, Dpdk, Gateway, LaunchTime, LinkModel, Port,
    PortIntent,
};
use super::{names, nic, queues};
use crate::kind::Side;
use crate::meta::wire_len;
use crate::profile::Segment;
use crate::time::Nanos;

/// Ports of one process (`RTE_MAX_ETHPORTS`, DPDK 22.11).
const PORTS_MAX: usize = 32;

pub(super) fn ports(
    findings: &Findings,
    raw: &[RawPort],
    gateway: &Gateway,
    dpdk: &Dpdk,
) -> Vec<Port> {
    names::collect(findings, "port", raw.iter().map(|port| &port.name));
    if let Some(port) = raw.get(PORTS_MAX) {
        findings.error(port.at, format!("{} ports", raw.len()), format!("up to {PORTS_MAX}"));
    }
    refuse_shared_devices(findings, raw);
    raw.iter()
        .map(|raw| {
            let port = port(findings, raw, gateway);
            refuse_device_of_other_clock(findings, raw, gateway.clock);
            refuse_caps_inside(findings, raw);
            refuse_frame_beyond_mbuf(findings, raw, &port, dpdk);
            check_completion(findings, raw, &port, gateway.clock);
            nic::check(findings, raw, &port, gateway, dpdk);
            check_inflight_limit(findings, &port, raw.inflight_limit.get());
            if port.forward_fragments && port.side == Side::Inside {
                let text = "fragments from inside are classified without their ports";
                findings.warn(raw.forward_fragments.at(raw.at), text);
            }
            port
        })
        .collect()
}

fn port(findings: &Findings, raw: &RawPort, gateway: &Gateway) -> Port {
    let bench = raw.bench.as_ref().map(|bench| {
        if raw.device.value.as_ref().is_some_and(|device| !device.is_vdev_of("net_null")) {
            let problem = "[port.bench] on a device that receives frames of its own";
            findings.error(bench.at, problem, "[port.bench] on net_null only");
        }
        BenchFlows {
            flows: bench.flows.or(1),
            frame_bytes: narrow(bench.frame.or(60)),
            kpis: bench.kpis.or(true),
            kpis_in_turn: bench.kpis_in_turn.or(false),
            stages: bench.stages.or(false),
        }
    });
    let link = raw.link.value.map(|rate_bps| LinkModel {
        rate_bps,
        completion_batch: raw.completion_batch.or(32),
        completion_delay: raw.completion_delay.or(Nanos::from_micros(5)),
    });
    Port {
        name: raw.name.or(String::new()),
        side: raw.side.or(Side::Inside),
        device: raw.device.or(Device::Capture),
        frame_bytes_max: narrow(raw.frame_max.or(1514)),
        rx_burst: raw.rx_burst.or(32),
        rx_descriptors: raw.rx_descriptors.or(1024),
        tx_descriptors: raw.tx_descriptors.or(1024),
        completion: raw.completion.or(Completion::Auto),
        link,
        inflight_limit_bytes: raw.inflight_limit.or(None),
        stall_time: raw.stall_time.or(Nanos::from_millis(5)),
        // From inside a fragment could slip past its class; from the venue nothing hangs on it.
        forward_fragments: raw.forward_fragments.or(raw.side.value == Some(Side::Venue)),
        segment: raw.segment.or(Segment::Refuse),
        intent: raw.intent.or(PortIntent::Off),
        launch_time: raw.launch_time.or(LaunchTime::Off),
        launch_lead: raw.launch_lead.or(Nanos::from_micros(5)),
        timesync: raw.timesync.or(false),
        rx_queues: raw.rx_queues.or(1),
        tx_queues: raw.tx_queues.or(1),
        queues: queues::defaults(raw.rx_queues.or(1), raw.rx_burst.or(32)),
        faults: raw.faults.as_ref().map(|faults| nic::faults(findings, faults, gateway)),
        bench,
    }
}

/// A frame size, which its reader keeps far below 64 KiB.
fn narrow(bytes: u64) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// A second driver on an interface removes the first one's program (`net_af_xdp`) or doubles every
/// frame (`net_af_packet`).
fn refuse_shared_devices(findings: &Findings, raw: &[RawPort]) {
    let mut seen: Vec<String> = Vec::new();
    for port in raw {
        let Some((Device::Vdev(text) | Device::Pci(text), at)) = port.device.get() else {
            continue;
        };
        let (stem, devargs) = text.split_once(',').unwrap_or((text, ""));
        let iface = devargs.split(',').find(|arg| arg.starts_with("iface="));
        for key in [Some(stem), iface].into_iter().flatten() {
            let key = key.to_ascii_lowercase();
            if seen.contains(&key) {
                findings.error(at, format!("{key} is used by two ports"), "a device for each port");
            }
            seen.push(key);
        }
    }
}

fn refuse_device_of_other_clock(findings: &Findings, raw: &RawPort, clock: ClockKind) {
    let Some((device, at)) = raw.device.get() else { return };
    let steps = *device == Device::Capture
        || device.is_vdev_of("net_ring")
        || device.is_vdev_of("net_pcap");
    if clock == ClockKind::Virtual && !steps {
        let problem = format!("{device} cannot be stepped by clock = \"virtual\"");
        findings.error(at, problem, "\"capture\", net_ring or net_pcap with a virtual clock");
    }
    if clock == ClockKind::Tsc && *device == Device::Capture {
        let problem = "device = \"capture\" with clock = \"tsc\"";
        findings.error(at, problem, "a vdev or PCI address, or clock = \"virtual\"");
    }
}

fn refuse_caps_inside(findings: &Findings, raw: &RawPort) {
    if raw.side.value == Some(Side::Inside) {
        for (key, at) in raw.caps.present() {
            let problem = format!("`{key}` on a port of the inside");
            findings.error(at, problem, "caps on venue ports: what goes inside leaves at once");
        }
    }
}

/// A fragment is classified without its ports: one of an order would pass a halt in another class.
pub(super) fn refuse_fragments_of_orders(
    findings: &Findings,
    raw: &[RawPort],
    classes: &[super::Class],
) {
    let orders =
        classes.iter().find(|class| class.from == Side::Inside && class.kind.is_order_entry());
    let Some(orders) = orders else { return };
    for port in raw.iter().filter(|port| port.side.value == Some(Side::Inside)) {
        if let Some((true, at)) = port.forward_fragments.get() {
            let problem = format!(
                "fragments from inside hide their ports, and class {:?} is order entry: a halt would not see them",
                orders.name
            );
            findings.error(at, problem, "forward_fragments = false");
        }
    }
}

fn refuse_frame_beyond_mbuf(findings: &Findings, raw: &RawPort, port: &Port, dpdk: &Dpdk) {
    let room = u64::from(dpdk.mbuf_bytes).saturating_sub(HEADROOM_BYTES);
    if u64::from(port.frame_bytes_max) > room {
        let problem = format!(
            "frame_max {} does not fit a buffer of {} with {HEADROOM_BYTES} bytes of head-room",
            port.frame_bytes_max, dpdk.mbuf_bytes
        );
        let allowed = format!("up to {room}B, or a larger `mbuf_size`");
        findings.error(raw.frame_max.at(raw.at), problem, allowed);
    }
}

fn check_completion(findings: &Findings, raw: &RawPort, port: &Port, clock: ClockKind) {
    for (key, present, at) in [
        ("completion_batch", raw.completion_batch.is_present(), raw.completion_batch.at(raw.at)),
        ("completion_delay", raw.completion_delay.is_present(), raw.completion_delay.at(raw.at)),
    ] {
        if present && !raw.link.is_present() {
            let problem = format!("`{key}` without `link`");
            findings.error(at, problem, format!("`{key}` beside a modelled `link`"));
        }
    }
    if port.completion == Completion::RingCount && !port.device.is_vdev_of("net_ring") {
        let problem = format!("completion = \"ring_count\" on {}", port.device);
        findings.error(raw.completion.at(raw.at), problem, "\"ring_count\" on net_ring only");
    }
    let Some((Some(_), at)) = raw.inflight_limit.get() else { return };
    // In a drill a ring stands for a device that tells what has left.
    let completes = port.link.is_some() || port.completion == Completion::RingCount;
    if clock == ClockKind::Virtual && !completes {
        let problem = "`inflight_limit` in virtual time without a modelled link";
        findings.error(at, problem, "`inflight_limit` beside `link`: nothing else completes there");
    } else if port.link.is_none() && completes_at_once(port) {
        findings.warn(
            at,
            format!(
                "port {}: {} is done with a packet when it takes it: inflight_limit never binds",
                port.name, port.device
            ),
        );
    }
}

/// Whether nothing is ever in flight: these drivers free inside `tx_burst` (DPDK 22.11).
fn completes_at_once(port: &Port) -> bool {
    const AT_ONCE: [&str; 5] = ["net_null", "net_pcap", "net_tap", "net_af_packet", "net_memif"];
    port.completion == Completion::Synchronous
        || port.completion == Completion::Auto
            && AT_ONCE.iter().any(|driver| port.device.is_vdev_of(driver))
}

/// The least in-flight limit that lets a port send at all, wire bytes.
///
/// A packet needs its own bytes. Behind a link model bytes come back a batch at a time, so a limit
/// below one batch of largest frames would wait for a completion that cannot come.
pub(super) fn inflight_floor_bytes(port: &Port) -> u64 {
    let frame = u64::from(wire_len(u32::from(port.frame_bytes_max)));
    frame * port.link.map_or(1, |link| u64::from(link.completion_batch))
}

/// Refuses an in-flight limit below the floor; also for profiles.
pub(super) fn check_inflight_limit(
    findings: &Findings,
    port: &Port,
    limit: Option<(&Option<u64>, At)>,
) {
    let Some((Some(limit), at)) = limit else { return };
    let floor = inflight_floor_bytes(port);
    if *limit < floor {
        let frame = wire_len(u32::from(port.frame_bytes_max));
        let arithmetic = match port.link {
            Some(link) => {
                format!("completion_batch {} x {frame} wire bytes", link.completion_batch)
            }
            None => format!("one frame of {frame} wire bytes"),
        };
        let problem = format!(
            "inflight_limit: {} is below the floor of {floor} bytes ({arithmetic})",
            format_size(*limit)
        );
        findings.error(at, problem, format!("at least {floor}B"));
    }
}
