//! Turns a record into changes of a packet's metadata, as far as its sender is believed.
//!
//! Called behind the rules: `meta` says already what the gateway knows by itself, and a record can
//! change that only within these bounds. Each refusal is counted, and none ends a packet: what is
//! refused is as if it had not been stated.
//!
//! - **Class**: only one whose class says `intent = true`. Never out of order entry. On TCP only one
//!   that rules let TCP into as well, so that what `check` has found of it holds, and never from a
//!   class that a halt blocks to one that it does not: nothing can be cut out of a stream.
//! - **Kind**: only in a class with `intent = true`, and never across the line between order entry
//!   and the rest.
//! - **Label**: only one of the table. Its venue counts where the rules name none; otherwise the
//!   rules' venue stays, because its limits and its stop word hold.
//! - **Messages**: at most one for 8 bytes of the frame; in an order-entry datagram at least one. At
//!   most what the smallest message burst of its class and port lets go at once: one packet is then
//!   never more than an envelope has room for. Where a venue limit counts the class the number stands:
//!   the venue counts what is there, and a count too low could have it cut the session off.
//! - **Times**: see [`TimeBounds`]. A dispatch time beyond them means that the sender's clock is off,
//!   and then none of its times is used.

use ::intent::Record;
use model::config::{Class, Config, HaltMixed};
use model::kind::{Kind, Side};
use model::meta::{IntentSource, PacketMeta, flags};
use model::pacer::NO_VENUE;
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};

/// Shortest message that is counted as one, bytes of the frame. Shorter than those of any venue on
/// average, so it binds only senders that make numbers up.
const MESSAGE_BYTES_MIN: u16 = 8;

/// What a record needs to know of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassTerms {
    /// A sender may name it.
    pub by_intent: bool,
    /// Its packets come from the inside.
    pub from_inside: bool,
    /// Declared kind.
    pub kind: Kind,
    /// Some rule lets TCP into it.
    pub may_carry_tcp: bool,
    /// A halt stops whatever has payload in it.
    pub halt_blocks: bool,
    /// Messages in a datagram with payload when the record states none.
    pub datagram_messages: u16,
    /// Messages in a TCP segment with payload when the record states none.
    pub segment_messages: u16,
    /// Messages that a record may state.
    pub messages_max: u16,
}

impl ClassTerms {
    /// The terms of class `index` of a config.
    pub fn of(config: &Config, index: usize) -> Self {
        let class = &config.classes[index];
        let is_order_entry = class.kind.is_order_entry();
        Self {
            by_intent: class.intent,
            from_inside: class.from == Side::Inside,
            kind: class.kind,
            may_carry_tcp: class.may_carry_tcp,
            halt_blocks: class.halt_mixed != Some(HaltMixed::Pass)
                && matches!(class.kind, Kind::Mixed | Kind::Order | Kind::Replace),
            datagram_messages: class.messages_per_segment.unwrap_or(u16::from(is_order_entry)),
            segment_messages: class.messages_per_segment.unwrap_or(0),
            messages_max: messages_max(config, class, index),
        }
    }
}

/// Whether some venue limit may count the messages of a class. Which rules name a venue is not asked:
/// a limit of a venue may count any class.
fn is_limited(config: &Config, class: &Class) -> bool {
    let of_venue = |limit: &VenueLimit| matches!(limit.scope, LimitScope::Venue(_));
    class.participant_limit.is_some()
        || class.session_limit.is_some()
        || config.venue_limits.iter().any(of_venue)
}

/// The smallest message burst that a packet of a class meets in any profile; no bound where there is
/// none, or where a venue limit counts the class.
fn messages_max(config: &Config, class: &Class, index: usize) -> u16 {
    if is_limited(config, class) {
        return u16::MAX;
    }
    config.messages_claimed_max(index)
}

/// What a tag's label stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelTerms {
    /// Index into the gateway's label table.
    pub label: u16,
    /// Index of its venue, or [`NO_VENUE`].
    pub venue: u8,
    /// 0 to 255.
    pub urgency: u8,
}

/// How far a stated time may be from the packet's arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBounds {
    /// A decision, dispatch or due time may be so much earlier. At most 4.2 s: a lag is 32 bits.
    pub past: Nanos,
    /// A dispatch time may be later by the sender's own clock error, and never by more than this; it
    /// then reads as the arrival.
    pub clock_error: Nanos,
    /// A due time may be so much later; what is beyond is moved here, and the class's horizon decides.
    pub due_ahead: Nanos,
}

impl Default for TimeBounds {
    /// 4 s, 1 ms, 60 s.
    fn default() -> Self {
        Self {
            past: Nanos::from_secs(4),
            clock_error: Nanos::from_millis(1),
            due_ahead: Nanos::from_secs(60),
        }
    }
}

/// What was believed and what was not, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyCounters {
    /// Records looked at.
    pub records: u64,
    /// Class stated and not the sender's to name: the rules' class stays.
    pub class_refused: u64,
    /// Kind stated and not the sender's to name.
    pub kind_refused: u64,
    /// Label that is not in the table.
    pub label_unknown: u64,
    /// The label's venue differs from the rules': the rules' venue stays.
    pub venue_refused: u64,
    /// Number of messages moved to what the packet can hold.
    pub messages_bounded: u64,
    /// Number of messages moved to the class's smallest message burst.
    pub messages_clamped: u64,
    /// Dispatch time later than the arrival, within the clock error.
    pub clock_ahead: u64,
    /// Records none of whose times was used: the clock of the sender is off.
    pub clock_off: u64,
    /// A decision or due time that was not used.
    pub time_refused: u64,
    /// Due time moved to the bound.
    pub due_capped: u64,
    /// The deadline had passed at arrival. The packet goes on all the same.
    pub deadline_passed: u64,
}

/// What else a packet is, beside its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// TCP with SYN, FIN or RST: exempt whatever it carries.
    pub is_control: bool,
}

/// The whitelist, the label table and the bounds of one gateway.
#[derive(Clone, Debug)]
pub struct Terms {
    classes: Box<[ClassTerms]>,
    /// By the id of the tag.
    labels: Box<[Option<LabelTerms>]>,
    bounds: TimeBounds,
}

impl Terms {
    /// Terms of a gateway with these classes, in the order of the config, and labels with the ids
    /// that tags name them by.
    pub fn new(classes: &[ClassTerms], labels: &[(u16, LabelTerms)], bounds: TimeBounds) -> Self {
        let ids = labels.iter().map(|(id, _)| usize::from(*id) + 1).max().unwrap_or(0);
        let mut table = vec![None; ids];
        for (id, terms) in labels {
            table[usize::from(*id)] = Some(*terms);
        }
        // A lag is a u32 whose last value means "not known".
        let past = bounds.past.min(Nanos(u64::from(u32::MAX - 1)));
        Self {
            classes: classes.into(),
            labels: table.into_boxed_slice(),
            bounds: TimeBounds { past, ..bounds },
        }
    }

    /// Applies `record` to what the rules have written into `meta` and `venue`. The pacer's own
    /// fields are left alone; the ordering group is for [`super::groups`].
    pub fn apply(
        &self,
        record: &Record,
        transport: Transport,
        meta: &mut PacketMeta,
        venue: &mut u8,
        counters: &mut ApplyCounters,
    ) {
        counters.records += 1;
        self.apply_class(record, meta, counters);
        self.apply_label(record, meta, venue, counters);
        set_exemption(transport, meta);
        self.apply_messages(record, meta, counters);
        self.apply_times(record, meta, counters);
        meta.correlation_id = record.correlation_id.unwrap_or(meta.correlation_id);
    }

    /// The terms of a config.
    pub fn of(config: &Config) -> Self {
        let classes: Vec<_> =
            (0..config.classes.len()).map(|index| ClassTerms::of(config, index)).collect();
        let labels = config.intent.labels.iter().map(|row| {
            let label = config.labels.get(usize::from(row.label));
            let terms = LabelTerms {
                label: row.label,
                venue: label.and_then(|label| label.venue).unwrap_or(NO_VENUE),
                urgency: label.map_or(0, |label| label.urgency),
            };
            (row.id, terms)
        });
        Self::new(&classes, &labels.collect::<Vec<_>>(), TimeBounds::default())
    }

    fn class(&self, index: u8) -> Option<&ClassTerms> {
        self.classes.get(usize::from(index))
    }

    fn apply_class(&self, record: &Record, meta: &mut PacketMeta, counters: &mut ApplyCounters) {
        let is_tcp = meta.has(flags::TCP);
        let Some(ruled) = self.class(meta.class) else { return };
        let mut own = ruled;
        if let Some(index) = record.class {
            match self.class(index) {
                Some(named) if index == meta.class || may_move(ruled, named, is_tcp) => {
                    if index != meta.class {
                        meta.class = index;
                        meta.kind = named.kind as u8;
                        meta.messages = match (meta.has(flags::PAYLOAD), is_tcp) {
                            (false, _) => 0,
                            (true, true) => named.segment_messages,
                            (true, false) => named.datagram_messages,
                        };
                        own = named;
                    }
                }
                _ => counters.class_refused += 1,
            }
        }
        let Some(kind) = record.kind.and_then(|kind| Kind::from_u8(kind as u8)) else { return };
        if kind == own.kind {
            return;
        }
        if own.by_intent && kind.is_order_entry() == own.kind.is_order_entry() {
            meta.kind = kind as u8;
        } else {
            counters.kind_refused += 1;
        }
    }

    fn apply_label(
        &self,
        record: &Record,
        meta: &mut PacketMeta,
        venue: &mut u8,
        counters: &mut ApplyCounters,
    ) {
        if let Some(id) = record.label {
            match self.labels.get(usize::from(id)).copied().flatten() {
                Some(label) => {
                    meta.label = label.label;
                    meta.urgency = label.urgency;
                    if *venue == NO_VENUE {
                        *venue = label.venue;
                    } else if label.venue != NO_VENUE && label.venue != *venue {
                        counters.venue_refused += 1;
                    }
                }
                None => counters.label_unknown += 1,
            }
        }
        meta.urgency = record.urgency.unwrap_or(meta.urgency);
    }

    fn apply_messages(&self, record: &Record, meta: &mut PacketMeta, counters: &mut ApplyCounters) {
        let (Some(stated), true) = (record.messages, meta.has(flags::PAYLOAD)) else { return };
        // A segment may hold the middle of a message; an order-entry datagram holds one at least.
        let least = u16::from(!meta.has(flags::TCP) && meta.kind().is_order_entry());
        let bounded = stated.clamp(least, (meta.len / MESSAGE_BYTES_MIN).max(1));
        counters.messages_bounded += u64::from(bounded != stated);
        let most = self.class(meta.class).map_or(u16::MAX, |class| class.messages_max).max(1);
        counters.messages_clamped += u64::from(bounded > most);
        meta.messages = bounded.min(most);
    }

    fn apply_times(&self, record: &Record, meta: &mut PacketMeta, counters: &mut ApplyCounters) {
        let (arrival, bounds) = (meta.arrival, &self.bounds);
        let earliest = arrival.saturating_sub(bounds.past);
        let is_past = |t: Nanos| (earliest..=arrival).contains(&t);
        if record.deadline.is_some_and(|t| Nanos(t) < arrival) {
            counters.deadline_passed += 1;
        }
        if let Some(dispatch) = record.t_dispatch.map(Nanos) {
            let error = Nanos(u64::from(record.clock_error_ns.unwrap_or(0)));
            let latest = arrival.saturating_add(error.min(bounds.clock_error));
            if is_past(dispatch) {
                meta.dispatch_lag_ns = lag(arrival, dispatch);
            } else if dispatch > arrival && dispatch <= latest {
                counters.clock_ahead += 1;
                meta.dispatch_lag_ns = 0;
            } else {
                counters.clock_off += 1;
                return;
            }
        }
        if let Some(decision) = record.t_decision.map(Nanos) {
            let dispatch = arrival.saturating_sub(Nanos(u64::from(meta.dispatch_lag_ns)));
            if is_past(decision) && decision <= dispatch {
                meta.decision_lag_ns = lag(arrival, decision);
            } else {
                counters.time_refused += 1;
            }
        }
        if let Some(due) = record.t_due.map(Nanos) {
            let latest = arrival.saturating_add(bounds.due_ahead);
            if due < earliest {
                counters.time_refused += 1;
            } else {
                counters.due_capped += u64::from(due > latest);
                meta.due = due.min(latest);
                meta.set_sources(meta.stamp_source(), IntentSource::Tag);
            }
        }
    }
}

/// Whether a tag may move a packet between two classes.
fn may_move(from: &ClassTerms, to: &ClassTerms, is_tcp: bool) -> bool {
    to.by_intent
        && to.from_inside
        && (to.kind.is_order_entry() || !from.kind.is_order_entry())
        && (!is_tcp || to.may_carry_tcp && (to.halt_blocks || !from.halt_blocks))
}

/// What is exempt follows from the kind, as it does without a record.
fn set_exemption(transport: Transport, meta: &mut PacketMeta) {
    meta.flags &= !(flags::EXEMPT | flags::BARE);
    if meta.kind().is_exempt() || (meta.has(flags::TCP) && transport.is_control) {
        meta.flags |= flags::EXEMPT;
    } else if meta.has(flags::TCP) && !meta.has(flags::PAYLOAD) {
        meta.flags |= flags::EXEMPT | flags::BARE;
    }
}

/// `arrival - t`, which the caller has found to be within the bounds.
fn lag(arrival: Nanos, t: Nanos) -> u32 {
    u32::try_from(arrival.saturating_sub(t).0).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests;
