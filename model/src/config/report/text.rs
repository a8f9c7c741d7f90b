//! The report as text.

use std::fmt;

use super::{BucketReport, ClassInProfile, NodeReport, PortInProfile, ProfileReport, Report};
use crate::config::units::{format_bit_rate, format_message_rate, format_size};

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
        self.guarantees(f)?;
        writeln!(f, "\nbuffers: {}", self.buffer_budget.arithmetic)?;
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
        }
        for pair in &self.pairs {
            let core = pair.core.map_or("the one thread".to_owned(), |core| format!("core {core}"));
            writeln!(f, "  {} <-> {}, polled by {core}", pair.inside, pair.venue)?;
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
    )
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
        bucket.effective_burst, bucket.arithmetic
    )?;
    if let Some(paced) = bucket.paced_before_flush {
        writeln!(f, "      paces up to {paced} {unit} that come at once (B + R x max_hold)")?;
    }
    Ok(())
}
