//! From what the instances ask for to one class table: field by field the strictest value wins, and
//! each field says which machine set it.
//!
//! Whatever is asked for: no rate falls below the floor of its class, nothing is closed, and a window
//! and a jitter stay within `max_hold`.

use super::patch::{Patches, forgiven};
use super::table::Posture;
use crate::kind::Kind;
use crate::profile::{Bucket, Caps, ClassParams, EgressParams, Lateness, Profile, Shaping};
use crate::time::Nanos;

/// Index of a composed profile: beyond those of any config, and not 0, so that it has a lease.
pub const COMPOSED_INDEX: u16 = 1_000;
/// Its name.
pub const COMPOSED_NAME: &str = "composed";

/// A profile that is wanted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Name of the machine that wants it.
    pub machine: String,
    /// Which profile.
    pub posture: Posture,
    /// Indices of the classes that it acts on.
    pub classes: Vec<usize>,
    /// Indices of the egress ports that it acts on.
    pub ports: Vec<usize>,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A class, by its index.
    Class(usize),
    /// An egress port, by its index.
    Port(usize),
}

/// Why a field is not as confirmed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// Where.
    pub target: Target,
    /// Which field.
    pub field: &'static str,
    /// The machine that set it; `rate_floor`, `max_hold` or `burst` where a rule held it back.
    pub set_by: String,
    /// The profile that the machine asked for.
    pub profile: &'static str,
}

/// A composed table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The table; the confirmed one where nothing is asked for.
    pub profile: Profile,
    /// Every field that differs.
    pub reasons: Vec<Reason>,
}

/// What a class is, as far as a table has to respect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassFacts {
    /// Its kind.
    pub kind: Kind,
    /// The rate that it keeps, bits per second; `None` = nothing is known, so nothing is taken.
    pub rate_floor: Option<u64>,
}

/// Composes what `wants` ask for over `normal`. `facts` has one for each class.
pub fn compose(
    normal: &Profile,
    patches: &Patches,
    wants: &[Want],
    facts: &[ClassFacts],
) -> Composed {
    let mut profile = normal.clone();
    let mut reasons: Vec<Reason> = Vec::new();
    for want in wants {
        let Some(patch) = patches.table(want.posture) else { continue };
        let mut set = |target, field| {
            reasons.retain(|old| (old.target, old.field) != (target, field));
            let (set_by, profile) = (want.machine.clone(), want.posture.name());
            reasons.push(Reason { target, field, set_by, profile });
        };
        for &class in &want.classes {
            let exempt = facts.get(class).is_some_and(|facts| facts.kind.is_exempt());
            if let (Some(mine), Some(theirs)) =
                (profile.classes.get_mut(class), patch.classes.get(class))
            {
                tighten(mine, theirs, exempt, |field| set(Target::Class(class), field));
            }
        }
        for &port in &want.ports {
            if let (Some(mine), Some(theirs)) =
                (profile.egress.get_mut(port), patch.egress.get(port))
            {
                tighten_port(mine, theirs, |field| set(Target::Port(port), field));
            }
        }
    }
    for (class, params) in profile.classes.iter_mut().enumerate() {
        let confirmed = &normal.classes[class];
        if params == confirmed {
            continue;
        }
        let floor = facts.get(class).and_then(|facts| facts.rate_floor);
        let largest = patches.largest.get(class).copied().unwrap_or_default();
        let mut held = |field, by: &str| {
            reasons.retain(|old| (old.target, old.field) != (Target::Class(class), field));
            let (target, set_by) = (Target::Class(class), by.to_owned());
            reasons.push(Reason { target, field, set_by, profile: Posture::Normal.name() });
        };
        let churn =
            patches.caps_churn && facts.get(class).is_some_and(|facts| facts.kind == Kind::Replace);
        keep_rates(params, confirmed, floor, churn, &mut held);
        keep_within_max_hold(params, &mut held);
        keep_bursts_large_enough(params, confirmed, largest.bytes, patches.slot, &mut held);
    }
    if profile == *normal {
        return Composed { profile, reasons: Vec::new() };
    }
    COMPOSED_NAME.clone_into(&mut profile.name);
    profile.index = COMPOSED_INDEX;
    reasons.sort_by_key(|reason| (reason.target, reason.field));
    Composed { profile, reasons }
}

/// Takes `theirs` where `is_tighter` says so, and tells `set`.
fn take<T: Copy + PartialEq>(
    mine: &mut T,
    theirs: T,
    is_tighter: bool,
    field: &'static str,
    set: &mut impl FnMut(&'static str),
) {
    if is_tighter && *mine != theirs {
        *mine = theirs;
        set(field);
    }
}

fn tighten(
    mine: &mut ClassParams,
    theirs: &ClassParams,
    exempt: bool,
    mut set: impl FnMut(&'static str),
) {
    let set = &mut set;
    tighten_caps(&mut mine.flow, &theirs.flow, ["flow_rate", "flow_burst"], set);
    tighten_caps(&mut mine.class, &theirs.class, ["rate", "burst"], set);
    let m = mine.max_hold;
    take(&mut mine.max_hold, theirs.max_hold, theirs.max_hold < m, "max_hold", set);
    let m = mine.queue_packets;
    let less = theirs.queue_packets < m;
    take(&mut mine.queue_packets, theirs.queue_packets, less, "queue_packets", set);
    let less = theirs.queue_bytes < mine.queue_bytes;
    take(&mut mine.queue_bytes, theirs.queue_bytes, less, "queue_bytes", set);
    take(&mut mine.second_path, true, theirs.second_path, "second_path", set);
    tighten_shaping(&mut mine.shaping, &theirs.shaping, exempt, set);
}

fn tighten_shaping(
    mine: &mut Shaping,
    theirs: &Shaping,
    exempt: bool,
    set: &mut impl FnMut(&'static str),
) {
    // A share of its own makes others wait: more of it is tighter for what is exempt only.
    let rate = |bucket: Option<Bucket>| bucket.map_or(0, |bucket| bucket.rate_per_s);
    let (a, b) = (rate(theirs.reserved), rate(mine.reserved));
    take(&mut mine.reserved, theirs.reserved, if exempt { a > b } else { a < b }, "reserved", set);
    let less = theirs.weight < mine.weight;
    take(&mut mine.weight, theirs.weight, less, "weight", set);
    let more = theirs.flow_floor_bits_per_s > mine.flow_floor_bits_per_s;
    let floor = theirs.flow_floor_bits_per_s;
    take(&mut mine.flow_floor_bits_per_s, floor, more, "flow_floor", set);
    let more = tightness(theirs.lateness) > tightness(mine.lateness);
    take(&mut mine.lateness, theirs.lateness, more, "lateness", set);
    let less = theirs.late_after < mine.late_after;
    take(&mut mine.late_after, theirs.late_after, less, "late_after", set);
    let more = theirs.jitter_max > mine.jitter_max;
    take(&mut mine.jitter_max, theirs.jitter_max, more, "jitter", set);
    let more = theirs.hold_frames > mine.hold_frames;
    take(&mut mine.hold_frames, theirs.hold_frames, more, "hold_frames", set);
    let more = theirs.hold_time > mine.hold_time;
    take(&mut mine.hold_time, theirs.hold_time, more, "hold_time", set);
    let less = theirs.fan_out < mine.fan_out;
    take(&mut mine.fan_out, theirs.fan_out, less, "fan_out", set);
    let less = theirs.horizon < mine.horizon;
    take(&mut mine.horizon, theirs.horizon, less, "horizon", set);
    take(&mut mine.horizon_drops, true, theirs.horizon_drops, "on_horizon", set);
    let less = theirs.ecn_threshold < mine.ecn_threshold;
    take(&mut mine.ecn_threshold, theirs.ecn_threshold, less, "ecn_threshold", set);
    let less = theirs.segment_most < mine.segment_most;
    take(&mut mine.segment_most, theirs.segment_most, less, "segment", set);
    take(&mut mine.rx_hold_off, true, theirs.rx_hold_off, "rx_hold", set);
    take(&mut mine.rows_in_full, true, theirs.rows_in_full, "telemetry", set);
}

/// As in the config's own rule: the looser one sends more, or sooner.
const fn tightness(lateness: Lateness) -> u8 {
    match lateness {
        Lateness::SendNow => 0,
        Lateness::CatchUp => 1,
        Lateness::ReAnchor => 2,
        Lateness::Drop => 3,
    }
}

fn tighten_caps(
    mine: &mut Caps,
    theirs: &Caps,
    names: [&'static str; 2],
    set: &mut impl FnMut(&'static str),
) {
    for (mine, theirs) in [(&mut mine.bits, theirs.bits), (&mut mine.messages, theirs.messages)] {
        match (mine.as_mut(), theirs) {
            (_, None) => {}
            (None, Some(_)) => {
                *mine = theirs;
                names.into_iter().for_each(&mut *set);
            }
            (Some(mine), Some(theirs)) => {
                let less = theirs.rate_per_s < mine.rate_per_s;
                take(&mut mine.rate_per_s, theirs.rate_per_s, less, names[0], set);
                if theirs.depth() < mine.depth() {
                    mine.deepen_to(&theirs);
                    set(names[1]);
                }
            }
        }
    }
}

fn tighten_port(mine: &mut EgressParams, theirs: &EgressParams, mut set: impl FnMut(&'static str)) {
    // The caps of a port are those of all its classes, so they are no profile's to take.
    let less = match (mine.inflight_limit_bytes, theirs.inflight_limit_bytes) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(mine), Some(theirs)) => theirs < mine,
    };
    let limit = theirs.inflight_limit_bytes;
    take(&mut mine.inflight_limit_bytes, limit, less, "inflight_limit", &mut set);
}

/// A class keeps its floor. What is not measured apart, the rates of single flows and of messages,
/// stays as confirmed.
fn keep_rates(
    params: &mut ClassParams,
    confirmed: &ClassParams,
    floor: Option<u64>,
    churn: bool,
    held: &mut impl FnMut(&'static str, &str),
) {
    let least = |confirmed: Bucket| match floor {
        Some(floor) => confirmed.rate_per_s.min(floor),
        None => confirmed.rate_per_s,
    };
    // A cap where there was none is a rate taken too, if it is below the floor.
    if let Some(bits) = &mut params.class.bits {
        let least = match confirmed.class.bits {
            Some(confirmed) => Some(least(confirmed)),
            None => floor,
        };
        match least {
            Some(least) if bits.rate_per_s < least => {
                bits.rate_per_s = least;
                held("rate", "rate_floor");
            }
            Some(_) => {}
            None => {
                params.class.bits = None;
                held("rate", "rate_floor");
            }
        }
    }
    let pairs = [
        (&mut params.class.messages, confirmed.class.messages, "rate"),
        (&mut params.flow.bits, confirmed.flow.bits, "flow_rate"),
        (&mut params.flow.messages, confirmed.flow.messages, "flow_rate"),
    ];
    // The operator has said how many replaces are left, which is the first of them.
    for (mine, confirmed, field) in pairs.into_iter().skip(usize::from(churn)) {
        match (mine.as_mut(), confirmed) {
            (Some(mine), Some(confirmed)) if mine.rate_per_s < confirmed.rate_per_s => {
                mine.rate_per_s = confirmed.rate_per_s;
                held(field, "rate_floor");
            }
            (Some(_), None) => {
                *mine = None;
                held(field, "rate_floor");
            }
            _ => {}
        }
    }
}

/// Beyond `max_hold` a packet leaves whatever holds it: so much is never asked of it.
fn keep_within_max_hold(params: &mut ClassParams, held: &mut impl FnMut(&'static str, &str)) {
    let (max_hold, shaping) = (params.max_hold, &mut params.shaping);
    if shaping.hold_time.saturating_add(shaping.jitter_max) < max_hold {
        return;
    }
    let most = max_hold.saturating_sub(Nanos(1));
    if shaping.jitter_max > most {
        shaping.jitter_max = most;
        held("jitter", "max_hold");
    }
    let left = most.saturating_sub(shaping.jitter_max);
    if shaping.hold_time > left {
        shaping.hold_time = left;
        held("hold_time", "max_hold");
    }
    if shaping.hold_time == Nanos::ZERO && shaping.hold_frames > 1 {
        // A window has to end.
        shaping.hold_frames = 1;
        held("hold_frames", "max_hold");
    }
}

/// A bucket holds one largest packet and what its rate gives in a slot, and in the jitter beside it:
/// else the profile would cost rate. Never more than is confirmed; the jitter yields then.
fn keep_bursts_large_enough(
    params: &mut ClassParams,
    confirmed: &ClassParams,
    largest_bytes: u64,
    slot: Nanos,
    held: &mut impl FnMut(&'static str, &str),
) {
    let span = slot.max(params.shaping.jitter_max);
    let pairs = [
        (&mut params.flow.bits, confirmed.flow.bits, "flow_burst"),
        (&mut params.class.bits, confirmed.class.bits, "burst"),
    ];
    for (mine, confirmed, field) in pairs {
        let Some(mine) = mine else { continue };
        let given = u128::from(mine.rate_per_s) * u128::from(span.0);
        let given = u64::try_from(given.div_ceil(8_000_000_000)).unwrap_or(u64::MAX);
        let wanted = largest_bytes.saturating_add(given);
        let wanted = confirmed.map_or(wanted, |confirmed| wanted.min(confirmed.burst));
        if mine.burst < wanted {
            mine.burst = wanted;
            held(field, "burst");
        }
    }
    let most = forgiven(&params.flow, &params.class, largest_bytes);
    if params.shaping.jitter_max > most.max(confirmed.shaping.jitter_max) {
        params.shaping.jitter_max = most.max(confirmed.shaping.jitter_max);
        held("jitter", "burst");
    }
}
