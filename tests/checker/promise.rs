//! Is the envelope that `check` prints the one that the config allows? A wider one would make every
//! later proof worthless.

use super::config::{Burst, Config, Side, StatedCaps};
use super::envelope::{Envelope, Envelopes, Level, Limits};
use super::{Report, What};

const BITS_NS_PER_BYTE_S: u128 = 8_000_000_000;
const NS_PER_S: u128 = 1_000_000_000;

/// Compares every node's envelope with its stated caps.
///
/// The rate must be the stated one. The effective burst may be the stated one or, where that is
/// smaller, what one largest frame and one slot need, or one jitter where that is longer: a smaller
/// bucket could not be served by a pacer that rounds departures up to its slot, or moves them. Bytes may
/// be rounded up, messages may not: two for one is a burst.
pub fn check(config: &Config, envelopes: &Envelopes, report: &mut Report) {
    let frame_max = config.ports.iter().map(|port| wire_len(port.frame_max)).max().unwrap_or(0);
    let messages_max = config.classes.iter().map(|c| c.messages(false)).max().unwrap_or(1).max(1);
    let mut known = Vec::new();
    let inside = || config.classes.iter().filter(|class| class.from == Side::Inside);
    for class in inside() {
        let (name, messages) = (class.name.as_str(), class.messages(false).max(1));
        let span = config.slot.max(class.jitter_bound);
        known.push((Level::Class, name, &class.caps, messages, span));
        known.push((Level::Flow, name, &class.flow_caps, messages, span));
    }
    let longest = inside().map(|class| class.jitter_bound).max().unwrap_or(0).max(config.slot);
    for port in &config.ports {
        known.push((Level::Port, port.name.as_str(), &port.caps, messages_max, longest));
    }
    for (level, name, stated, messages, span) in &known {
        let printed = envelopes.of(*level, name);
        for complaint in complaints(stated, printed, *span, frame_max, *messages) {
            report.add(What::Promise, format!("{level:?} {name}: {complaint}"));
        }
    }
    for (level, name, limits) in envelopes.rows() {
        let stated = known.iter().any(|(l, n, ..)| (*l, *n) == (level, name));
        if !stated && limits != Limits::default() {
            report.add(What::Promise, format!("{level:?} {name}: the config states no such cap"));
        }
    }
}

fn complaints(
    stated: &StatedCaps,
    printed: Limits,
    span: u64,
    frame_max: u64,
    messages_max: u64,
) -> Vec<String> {
    let given = |rate: u64| u128::from(rate) * u128::from(span);
    let stated_bytes = |rate: u64| match stated.burst {
        None => 0,
        Some(Burst::Bytes(bytes)) => u128::from(bytes),
        Some(Burst::Packets(packets)) => u128::from(packets) * u128::from(frame_max),
        Some(Burst::Time(ns)) => (u128::from(rate) * u128::from(ns)).div_ceil(BITS_NS_PER_BYTE_S),
    };
    let bits = stated.rate.map(|rate| {
        let least = u128::from(frame_max) + given(rate).div_ceil(BITS_NS_PER_BYTE_S);
        (rate, stated_bytes(rate).max(least) * 8 * NS_PER_S)
    });
    let messages = stated.messages.map(|rate| {
        let least = u128::from(messages_max) * NS_PER_S + given(rate);
        (rate, stated.message_burst.unwrap_or(0).max(least))
    });
    [one("bits", bits, printed.bits), one("messages", messages, printed.messages)]
        .into_iter()
        .flatten()
        .collect()
}

/// `allowed`: the rate, and the burst in units x ns/s.
fn one(unit: &str, allowed: Option<(u64, u128)>, printed: Option<Envelope>) -> Option<String> {
    match (allowed, printed) {
        (None, None) => None,
        (Some((rate, _)), None) => Some(format!("{rate} {unit}/s stated, no envelope printed")),
        (None, Some(p)) => Some(format!("{} {unit}/s printed, none stated", p.rate)),
        (Some((rate, _)), Some(p)) if p.rate != rate => {
            Some(format!("{rate} {unit}/s stated, {} printed", p.rate))
        }
        (Some((_, burst)), Some(p)) if p.room().unsigned_abs() > burst => {
            let [printed, most] = [p.room().unsigned_abs(), burst].map(|room| room as f64 / 1e9);
            Some(format!("a burst of {printed} {unit} printed, at most {most} follow"))
        }
        _ => None,
    }
}

/// Bytes that a frame takes on the wire: never less than 60, and preamble, FCS and gap.
pub fn wire_len(frame: u64) -> u64 {
    frame.max(60) + 24
}
