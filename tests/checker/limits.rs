//! Venue limits: what the config says, and the proof that no window of any of them holds too much.

use std::collections::HashMap;

use toml::{Table, Value};

use super::config::{Config, array, duration, flag_or, optional, required, text, whole};
use super::frame::Flow;
use super::matching::{Departure, Packet};
use super::{Report, What};

/// Whose messages a limit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Packets whose rule names the venue.
    Venue(String),
    /// Packets of these classes.
    Participant(Vec<usize>),
    /// Each flow of this class apart.
    Session(usize),
}

/// One `[[venue_limit]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueLimit {
    /// Its name.
    pub name: String,
    /// Whose messages it counts.
    pub subject: Subject,
    /// Most messages in every `(t - per, t]`.
    pub messages_max: u64,
    /// The window, ns.
    pub per: u64,
    /// Exempt packets are counted.
    pub counts_cancels: bool,
    /// Of `messages_max`, for exempt packets only.
    pub cancel_reserve: u64,
}

/// Reads `[[venue_limit]]`; `classes` are the names of the classes.
///
/// # Errors
/// The key that is missing or not understood.
pub fn read(root: &Table, classes: &[&str]) -> Result<Vec<VenueLimit>, String> {
    if !root.contains_key("venue_limit") {
        return Ok(Vec::new());
    }
    let in_class = |participant: &str| {
        let named = |(index, class): (usize, &Value)| {
            (text(class, "participant") == Some(participant)).then_some(index)
        };
        Ok::<_, String>(array(root, "class")?.enumerate().filter_map(named).collect())
    };
    let one = |limit: &Value| {
        let keys = ["venue", "participant", "session_of"].map(|key| text(limit, key));
        let subject = match keys {
            [Some(venue), None, None] => Subject::Venue(venue.to_owned()),
            [None, Some(participant), None] => Subject::Participant(in_class(participant)?),
            [None, None, Some(class)] => {
                let found = classes.iter().position(|name| *name == class);
                Subject::Session(found.ok_or_else(|| format!("no class `{class}`"))?)
            }
            _ => return Err(format!("one subject is needed: {limit:?}")),
        };
        let share = optional(limit, "share", millionths)?.unwrap_or(1_000_000);
        let margin = optional(limit, "margin", millionths)?.unwrap_or(20_000);
        let messages = optional(limit, "messages", whole)?.ok_or("no `messages`")?;
        let exact = u128::from(messages) * u128::from(share) * u128::from(1_000_000 - margin);
        // Every pair has a core of its own, and a flow has one core.
        let cores = match subject {
            Subject::Session(_) => 1,
            _ => array(root, "pair")?.count() as u128,
        };
        let messages_max = (exact / (1_000_000_000_000 * cores)) as u64;
        let reserve = optional(limit, "cancel_reserve", whole)?;
        Ok(VenueLimit {
            name: required(limit, "name")?.to_owned(),
            subject,
            messages_max,
            per: optional(limit, "per", duration)?.ok_or("no `per`")?,
            counts_cancels: flag_or(limit, "counts_cancels", true),
            cancel_reserve: reserve.unwrap_or(10.min(messages_max.saturating_sub(1))),
        })
    };
    array(root, "venue_limit")?.map(one).collect()
}

/// A share in parts per million. A config writes at most six decimals, so rounding finds them.
fn millionths(value: &Value) -> Result<u64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    let number = number.filter(|n| (0.0..=1.0).contains(n));
    number.map(|n| (n * 1e6).round() as u64).ok_or_else(|| format!("{value:?} is no share"))
}

/// What a limit saw leave: time, messages, whether they were exempt.
pub type Sent = (u64, u64, bool);

/// The start and the end of the first window that holds too much: more than `messages_max`, or of
/// packets that are not exempt more than what is not reserved.
pub fn first_breach(limit: &VenueLimit, sent: &[Sent]) -> Option<(u64, u64)> {
    let governed_max = limit.messages_max - limit.cancel_reserve;
    let (mut first, mut all, mut governed) = (0, 0, 0);
    for &(t, messages, exempt) in sent {
        all += messages;
        governed += if exempt { 0 } else { messages };
        // The window is open at its start: what left exactly `per` ago is out of it.
        while sent[first].0 + limit.per <= t {
            let (_, messages, exempt) = sent[first];
            all -= messages;
            governed -= if exempt { 0 } else { messages };
            first += 1;
        }
        if all > limit.messages_max || governed > governed_max {
            return Some((sent[first].0, t));
        }
    }
    None
}

/// Holds every limit against the departures, which are in wire order.
pub fn check(config: &Config, packets: &[Packet], departures: &[Departure], report: &mut Report) {
    for limit in &config.venue_limits {
        // By core, which an egress port stands for, and by flow where each counts apart.
        let mut windows: HashMap<(usize, Option<Flow>), Vec<Sent>> = HashMap::new();
        for departure in departures {
            let packet = &packets[departure.packet];
            let flow = match &limit.subject {
                Subject::Venue(venue) if packet.venue.as_ref() == Some(venue) => None,
                Subject::Participant(classes)
                    if packet.class.is_some_and(|class| classes.contains(&class)) =>
                {
                    None
                }
                Subject::Session(class) if packet.class == Some(*class) => packet.flow,
                _ => continue,
            };
            if packet.messages > 0 && (limit.counts_cancels || !packet.exempt) {
                let sent = (departure.t, packet.messages, packet.exempt);
                windows.entry((packet.egress, flow)).or_default().push(sent);
            }
        }
        for sent in windows.values() {
            if let Some((from, to)) = first_breach(limit, sent) {
                let details = format!("{}: too many messages from {from} to {to}", limit.name);
                report.add(What::VenueLimit, details);
            }
        }
    }
}
