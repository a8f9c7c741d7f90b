//! The report as text.

use std::fmt;

use super::{
    BucketReport, ClassInProfile, NodeReport, PortInProfile, PortReport, ProfileReport, Report,
};
use crate::config::units::{format_bit_rate, format_message_rate, format_size};
use crate::config::{Arrangement, ClockKind, LaunchTime, PortIntent};
use crate::profile::Segment;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gateway {}: the config is good", self.gateway)?;
        writeln!(f, "digest {}", self.config_digest)?;
        let clock = format!("{:?}", self.clock).to_lowercase();
        writeln!(f, "clock {clock}, slot {}, seed {}", self.slot_ns, self.seed)?;
        writeln!(
            f,
            "start state {}; a scope that was halted at the last exit starts halted",
            self.start_state.name()
        )?;
        writeln!(f, "accounting: {}", self.accounting_unit)?;
        self.ports(f)?;
        for profile in &self.profiles {
            let normal = &self.profiles[0];
            profile_text(f, profile, (profile.name != normal.name).then_some(normal))?;
        }
        self.venue_limits(f)?;
        self.guarantees(f)?;
        writeln!(f, "\nbuffers: {}", self.buffer_budget.arithmetic)?;
        if let Some(ring) = &self.sample_ring {
            writeln!(f, "sample ring: {ring}")?;
        }
        for warning in self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn ports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nports")?;
        for port in &self.ports {
            writeln!(
                f,
                "  {} ({}): {}, frames up to {} bytes, {} on the wire",
                port.name,
                port.side.name(),
                port.device,
                port.frame_bytes_max,
                port.frame_wire_bytes_max
            )?;
            if let Some(link) = port.link {
                writeln!(
                    f,
                    "    modelled link {} (simulated), completions of {} packets or after {}",
                    format_bit_rate(link.rate_bps),
                    link.completion_batch,
                    link.completion_delay
                )?;
            }
            let limit = port.inflight_limit_bytes.map_or("unlimited".to_owned(), format_size);
            writeln!(
                f,
                "    in flight: {limit}, floor {} bytes ({})",
                port.inflight_floor_bytes, port.inflight_floor
            )?;
            let fragments =
                if port.forward_fragments { "are forwarded" } else { "end as ip_fragment" };
            writeln!(f, "    fragments from here {fragments}")?;
            device_text(f, port)?;
        }
        for pair in &self.pairs {
            let core = match (pair.core, self.clock) {
                (Some(core), _) => format!("core {core}"),
                (None, ClockKind::Virtual) => "the one thread".to_owned(),
                (None, ClockKind::Tsc) => "a core chosen at start".to_owned(),
            };
            write!(f, "  {} <-> {}, polled by {core}", pair.inside, pair.venue)?;
            if pair.arrangement == Arrangement::Pipeline {
                let ring = pair.ring.unwrap_or_default();
                write!(f, ", received by cores {:?} over rings of {ring}", pair.rx_cores)?;
            }
            writeln!(f)?;
            if let Some(second) = &pair.second_path {
                let sessions =
                    if second.allow_session_move { "may move" } else { "stay where they are" };
                writeln!(
                    f,
                    "    second path {}: where {} answers on it; a group moves {} after its last packet, \
                     and stays {} at least; mixed sessions {sessions}",
                    second.venue, second.probe_to, second.path_drain_ns, second.dwell_ns
                )?;
                if !second.moves_in_a_pause.is_empty() {
                    let classes = second.moves_in_a_pause.join(", ");
                    writeln!(f, "    of these no packet waits for a move: {classes}")?;
                }
            }
        }
        Ok(())
    }

    fn venue_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.venue_limits.is_empty() {
            writeln!(f, "\nvenue limits, lifted by nothing")?;
        }
        for limit in &self.venue_limits {
            let exempt = if limit.counts_cancels { "counted" } else { "not counted" };
            writeln!(
                f,
                "  {}: {} messages in every {} = {}",
                limit.name, limit.messages_max, limit.per_ns, limit.arithmetic
            )?;
            writeln!(
                f,
                "    of {} ({}); exempt kinds are {exempt}",
                limit.counts,
                limit.classes.join(", ")
            )?;
            writeln!(f, "    pace: {}", limit.pace_arithmetic)?;
        }
        Ok(())
    }

    fn guarantees(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nwhat holds (+) and what cannot (-)")?;
        for class in &self.classes {
            let kind = class.kind.name();
            writeln!(f, "  {} ({kind}, from {})", class.name, class.from.name())?;
            for guarantee in &class.guarantees {
                let mark = if guarantee.holds { '+' } else { '-' };
                writeln!(f, "    {mark} {}", guarantee.text)?;
            }
        }
        Ok(())
    }
}

/// What a port asks of its device beyond packets, where it asks.
fn device_text(f: &mut fmt::Formatter<'_>, port: &PortReport<'_>) -> fmt::Result {
    if port.intent == PortIntent::Shim {
        writeln!(f, "    intent shims are read and stripped: its MTU needs 64 bytes more")?;
    }
    let lead = port.launch_lead_ns;
    match port.launch_time {
        LaunchTime::Off => {}
        LaunchTime::Prefer => {
            writeln!(f, "    launch time where the NIC has it, handed over {lead} before")?;
        }
        LaunchTime::Require => {
            writeln!(f, "    launch time or no start, handed over {lead} before")?;
        }
    }
    if port.timesync {
        writeln!(f, "    departures are stamped by the NIC where it can")?;
    }
    for (index, queue) in port.rx_queues.iter().enumerate() {
        // One queue that delivers at once goes without saying.
        if port.rx_queues.len() == 1 && queue.hold_frames == 1 {
            continue;
        }
        let classes =
            if queue.classes.is_empty() { "the rest".to_owned() } else { queue.classes.join(", ") };
        let delivery = match queue.hold_frames {
            1 => "at once".to_owned(),
            frames => format!("by {frames} packets or after {}", queue.hold_time_ns),
        };
        writeln!(f, "    RX queue {index}: {classes}; bursts of {}, {delivery}", queue.burst)?;
    }
    if let Some(faults) = port.faults {
        writeln!(
            f,
            "    faults of a drill, parts per million: drop {}, reorder {}, duplicate {}, refuse {}, \
             withhold completions {}; clock step {} every {}",
            faults.drop_ppm,
            faults.reorder_ppm,
            faults.duplicate_ppm,
            faults.refuse_ppm,
            faults.withhold_completions_ppm,
            faults.clock_step,
            faults.clock_step_every
        )?;
    }
    Ok(())
}

/// A profile; beside `normal` only what differs from it.
fn profile_text(
    f: &mut fmt::Formatter<'_>,
    profile: &ProfileReport<'_>,
    normal: Option<&ProfileReport<'_>>,
) -> fmt::Result {
    match profile.lease_ns {
        None => writeln!(f, "\nprofile {}: the table, needs no lease", profile.name)?,
        Some(lease) => {
            writeln!(f, "\nprofile {}: lease {lease}; as normal, but for", profile.name)?;
        }
    }
    for (index, class) in profile.classes.iter().enumerate() {
        if normal.is_none_or(|normal| normal.classes[index] != *class) {
            class_text(f, class)?;
        }
    }
    for (index, port) in profile.ports.iter().enumerate() {
        if normal.is_none_or(|normal| normal.ports[index] != *port) {
            port_text(f, port)?;
        }
    }
    Ok(())
}

fn class_text(f: &mut fmt::Formatter<'_>, class: &ClassInProfile<'_>) -> fmt::Result {
    let closed = if class.closed { ", closed" } else { "" };
    writeln!(f, "  class {}, priority {}{closed}", class.name, class.priority)?;
    node_text(f, "class", &class.class)?;
    node_text(f, "each flow", &class.flow)?;
    let hold = class.max_hold_ns.map_or("unlimited".to_owned(), |hold| hold.to_string());
    writeln!(
        f,
        "    max_hold {hold}; queue {} packets, {}, then {}",
        class.queue_packets,
        format_size(class.queue_bytes),
        class.on_overflow
    )?;
    let words = class.shaping.in_words();
    if !words.is_empty() {
        writeln!(f, "    {}", words.join("; "))?;
    }
    for (port, segment) in class.segment.iter().filter(|(_, segment)| *segment != Segment::Refuse) {
        writeln!(f, "    frames too long for {port}: {}", segment.name())?;
    }
    Ok(())
}

fn port_text(f: &mut fmt::Formatter<'_>, port: &PortInProfile<'_>) -> fmt::Result {
    let limit = port.inflight_limit_bytes.map_or("unlimited".to_owned(), format_size);
    writeln!(f, "  port {}, in flight {limit}", port.name)?;
    node_text(f, "port", &port.caps)
}

fn node_text(f: &mut fmt::Formatter<'_>, who: &str, node: &NodeReport) -> fmt::Result {
    if let Some(bits) = &node.bits {
        bucket_text(f, who, &format_bit_rate(bits.rate_per_s), bits, "wire bytes")?;
    }
    if let Some(messages) = &node.messages {
        bucket_text(f, who, &format_message_rate(messages.rate_per_s), messages, "messages")?;
    }
    Ok(())
}

fn bucket_text(
    f: &mut fmt::Formatter<'_>,
    who: &str,
    rate: &str,
    bucket: &BucketReport,
    unit: &str,
) -> fmt::Result {
    let stated = bucket.stated_burst.as_deref().unwrap_or("not stated");
    writeln!(
        f,
        "    {who}: {rate}, burst {stated} -> {} {unit} = {}",
        bucket.bucket.burst_in_decimals(),
        bucket.arithmetic
    )?;
    if let Some(paced) = bucket.paced_before_flush {
        writeln!(f, "      paces up to {paced} {unit} that come at once (B + R x max_hold)")?;
    }
    Ok(())
}
