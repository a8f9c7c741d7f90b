//! What shapes a class beside its caps: reserved share, lateness, jitter, windows, horizon.
//!
//! [`stated`] turns the keys of a `[[class]]` or `[[profile.class]]` into [`Shaping`] and refuses
//! what cannot be kept; [`refuse_looser`] holds a profile against `normal`.

use super::bursts::{self, Scale};
use super::error::{At, Findings};
use super::raw::{OnHorizon, RawShape, RawShaping};
use super::reader::Field;
use super::units::{format_bit_rate, format_size};
use super::values::BURST_MAX;
use crate::kind::{Kind, Side};
use crate::profile::{Caps, Lateness, Segment, Shaping};
use crate::time::Nanos;

/// Floor of each flow where the file says none: a heartbeat of 100 bytes each 100 ms.
const FLOW_FLOOR_BITS_PER_S: u64 = 8_000;
/// Horizon where the file says none.
const HORIZON: Nanos = Nanos::from_secs(10);

/// What the rules have to know of a class.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub from: Side,
    pub allow_drop: bool,
    pub legs: bool,
    /// Slot and largest frame.
    pub scale: Scale,
    /// Caps in force beside it.
    pub flow: Caps,
    pub class: Caps,
    pub max_hold: Nanos,
}

/// What a class is shaped by where the file says nothing. From the venue nothing is shaped.
pub(super) fn default(from: Side) -> Shaping {
    match from {
        Side::Venue => Shaping::default(),
        Side::Inside => Shaping {
            flow_floor_bits_per_s: FLOW_FLOOR_BITS_PER_S,
            horizon: HORIZON,
            ..Shaping::default()
        },
    }
}

/// `base` with what `raw` states over it.
pub(super) fn stated(
    findings: &Findings,
    raw: &RawShape,
    at: At,
    of: &Of<'_>,
    base: Shaping,
) -> Shaping {
    let keys = &raw.shaping;
    let lateness = keys.lateness.or(base.lateness);
    let late_after = match lateness {
        Lateness::CatchUp => Nanos::MAX,
        _ if keys.late_after.is_present() => keys.late_after.or(Nanos::MAX),
        // The pacer rounds up to a slot: by so much a packet is late without anybody's doing.
        Lateness::ReAnchor if base.late_after == Nanos::MAX => of.scale.slot,
        _ => base.late_after,
    };
    let shaping = Shaping {
        reserved: reserved(findings, keys, of, base),
        weight: keys.weight.or(base.weight),
        flow_floor_bits_per_s: keys
            .flow_floor
            .value
            .map_or(base.flow_floor_bits_per_s, |floor| floor.unwrap_or(0)),
        lateness,
        late_after,
        jitter_max: keys.jitter.or(base.jitter_max),
        hold_frames: keys.hold_frames.or(base.hold_frames),
        hold_time: keys.hold_time.or(base.hold_time),
        fan_out: keys.fan_out.or(base.fan_out),
        horizon: keys.horizon.or(base.horizon),
        horizon_drops: keys.on_horizon.value.map_or(base.horizon_drops, |on| on == OnHorizon::Drop),
        ecn_threshold: keys.ecn_threshold.or(base.ecn_threshold),
        segment_most: base.segment_most,
        rx_hold_off: base.rx_hold_off,
        rows_in_full: base.rows_in_full,
    };
    if of.from == Side::Inside {
        refuse_by_kind(findings, keys, of);
        warn_exempt(findings, keys, of);
        check_drops(findings, keys, of, &shaping);
        check_lateness(findings, keys, of, &shaping);
        check_window(findings, raw, at, of, &shaping);
        check_floor(findings, keys, of, &shaping);
    }
    shaping
}

fn reserved(
    findings: &Findings,
    keys: &RawShaping,
    of: &Of<'_>,
    base: Shaping,
) -> Option<crate::profile::Bucket> {
    let Some((rate, at)) = keys.reserved.get() else { return base.reserved };
    let rate = (*rate)?;
    if let Some(cap) = of.class.bits
        && rate > cap.rate_per_s
    {
        let most = format_bit_rate(cap.rate_per_s);
        let problem = format!("reserved: {} is above the rate of the class", format_bit_rate(rate));
        findings.error(
            at,
            problem,
            format!("at most {most}, which is all that the class may send"),
        );
    }
    match bursts::bits(rate, None, of.scale) {
        Ok(derived) => Some(derived.bucket),
        Err(bytes) => {
            let problem = format!("reserved: the effective burst is {bytes} bytes");
            findings.error(at, problem, format!("up to {}", format_size(BURST_MAX)));
            None
        }
    }
}

/// Jitter, windows and fan-out hold packets back: what may not wait has none of them.
fn refuse_by_kind(findings: &Findings, keys: &RawShaping, of: &Of<'_>) {
    fn holds<T: PartialEq>(field: &Field<T>, nothing: &T) -> Option<At> {
        field.get().filter(|(value, _)| *value != nothing).map(|(_, at)| at)
    }
    let jitter = holds(&keys.jitter, &Nanos::ZERO);
    let window = [
        ("hold_frames", holds(&keys.hold_frames, &1)),
        ("hold_time", holds(&keys.hold_time, &Nanos::ZERO)),
    ];
    let fan_out = ("fan_out", keys.fan_out.get().map(|(_, at)| at));
    if of.kind.is_exempt() || of.kind == Kind::Mixed {
        for (key, at) in [("jitter", jitter)].into_iter().chain(window).chain([fan_out]) {
            let Some(at) = at else { continue };
            let problem = format!("`{key}` on class {:?} of kind {}", of.name, of.kind.name());
            findings.error(at, problem, "kinds order, replace, other and market_data only");
        }
    } else if of.legs
        && let Some(at) = jitter
    {
        let problem = format!("`jitter` on class {:?}, whose legs leave together", of.name);
        findings.error(at, problem, "`jitter` without `legs = true`");
    }
}

fn warn_exempt(findings: &Findings, keys: &RawShaping, of: &Of<'_>) {
    if !of.kind.is_exempt() {
        return;
    }
    for (key, at) in keys.present() {
        if ["reserved", "lateness", "late_after", "flow_floor"].contains(&key) {
            let kind = of.kind.name();
            let text =
                format!("class {:?}: kind {kind} never waits: `{key}` has no effect", of.name);
            findings.warn(at, text);
        }
    }
}

fn check_drops(findings: &Findings, keys: &RawShaping, of: &Of<'_>, shaping: &Shaping) {
    if of.allow_drop {
        return;
    }
    let drops = [
        ("lateness", keys.lateness.get().map(|(_, at)| at), shaping.lateness == Lateness::Drop),
        ("on_horizon", keys.on_horizon.get().map(|(_, at)| at), shaping.horizon_drops),
    ];
    for (key, at, drops) in drops {
        if let (Some(at), true) = (at, drops) {
            let problem =
                format!("{key} = \"drop\" in class {:?}, which does not allow drops", of.name);
            findings.error(at, problem, "allow_drop = true with an allow_drop_reason beside it");
        }
    }
}

fn check_lateness(findings: &Findings, keys: &RawShaping, of: &Of<'_>, shaping: &Shaping) {
    if shaping.lateness == Lateness::CatchUp {
        if let Some((_, at)) = keys.late_after.get() {
            let problem = "`late_after` without a `lateness` that asks for it";
            findings.error(at, problem, "\"re-anchor\", \"drop\" or \"send-now\" beside it");
        }
        return;
    }
    let unreadable = keys.late_after.is_present() && keys.late_after.value.is_none();
    if shaping.late_after == Nanos::MAX
        && !unreadable
        && let Some((_, at)) = keys.lateness.get()
    {
        let problem = format!("lateness = {:?} without `late_after`", shaping.lateness.name());
        findings.error(at, problem, "`late_after`: so long beyond its deadline a packet is late");
    }
    if let Some((after, at)) = keys.late_after.get()
        && *after < of.scale.slot
    {
        let problem = format!("late_after: {after} is shorter than the slot");
        findings.error(at, problem, format!("at least {}", of.scale.slot));
    }
}

fn check_window(findings: &Findings, raw: &RawShape, at: At, of: &Of<'_>, shaping: &Shaping) {
    let keys = &raw.shaping;
    let at = keys.hold_time.at(keys.hold_frames.at(keys.jitter.at(raw.max_hold.at(at))));
    let window = keys.hold_frames.is_present() || keys.hold_time.is_present();
    let unreadable = keys.hold_frames.is_present() && keys.hold_frames.value.is_none()
        || keys.hold_time.is_present() && keys.hold_time.value.is_none();
    if window && !unreadable && (shaping.hold_frames > 1) != (shaping.hold_time > Nanos::ZERO) {
        let (found, missing) = if shaping.hold_frames > 1 {
            ("hold_frames", "a `hold_time` above 0us: a window has to end")
        } else {
            ("hold_time", "`hold_frames` above 1, or no `hold_time`")
        };
        findings.error(at, format!("`{found}` alone makes no release window"), missing);
    }
    // Beyond max_hold a packet leaves whatever holds it, so more than that is never waited.
    let waits = shaping.hold_time.saturating_add(shaping.jitter_max);
    let touched = window || keys.jitter.is_present() || raw.max_hold.is_present();
    if touched && waits > Nanos::ZERO && waits >= of.max_hold {
        let problem = format!(
            "hold_time {} and jitter {} are not below max_hold {}",
            shaping.hold_time, shaping.jitter_max, of.max_hold
        );
        findings.error(at, problem, "hold_time + jitter < max_hold");
    }
}

fn check_floor(findings: &Findings, keys: &RawShaping, of: &Of<'_>, shaping: &Shaping) {
    let (Some((Some(floor), at)), Some(cap)) = (keys.flow_floor.get(), of.flow.bits) else {
        return;
    };
    if shaping.flow_floor_bits_per_s > cap.rate_per_s {
        let problem = format!(
            "flow_floor: {} is above flow_rate {}",
            format_bit_rate(*floor),
            format_bit_rate(cap.rate_per_s)
        );
        findings.error(at, problem, "at most `flow_rate`: caps hold for the floor as well");
    }
}

/// How tight a lateness policy is: the looser one sends more, or sooner.
fn tightness(lateness: Lateness) -> u8 {
    match lateness {
        Lateness::SendNow => 0,
        Lateness::CatchUp => 1,
        Lateness::ReAnchor => 2,
        Lateness::Drop => 3,
    }
}

/// A profile may only tighten. Tighter is: a smaller reserved share, weight, fan-out, horizon and
/// ECN threshold; a higher floor; longer jitter and windows; a lateness that makes up less.
pub(super) fn refuse_looser(
    findings: &Findings,
    keys: &RawShaping,
    at: At,
    normal: &Shaping,
    profile: &Shaping,
) {
    let refuse = |looser: bool, at: At, key: &str, found: String, bound: String| {
        if looser {
            let problem = format!("{key}: {found} is looser than normal");
            findings.error(at, problem, format!("{bound}, as in normal"));
        }
    };
    let rate = |shaping: &Shaping| shaping.reserved.map_or(0, |bucket| bucket.rate_per_s);
    let reserved = |rate| if rate == 0 { "off".to_owned() } else { format_bit_rate(rate) };
    refuse(
        rate(profile) > rate(normal),
        keys.reserved.at(at),
        "reserved",
        reserved(rate(profile)),
        format!("at most {}", reserved(rate(normal))),
    );
    refuse(
        profile.weight > normal.weight,
        keys.weight.at(at),
        "weight",
        profile.weight.to_string(),
        format!("at most {}", normal.weight),
    );
    refuse(
        profile.flow_floor_bits_per_s < normal.flow_floor_bits_per_s,
        keys.flow_floor.at(at),
        "flow_floor",
        reserved(profile.flow_floor_bits_per_s),
        format!("at least {}", format_bit_rate(normal.flow_floor_bits_per_s)),
    );
    refuse_looser_lateness(findings, keys, at, normal, profile);
    for (key, at, found, least) in [
        ("jitter", keys.jitter.at(at), profile.jitter_max, normal.jitter_max),
        ("hold_time", keys.hold_time.at(at), profile.hold_time, normal.hold_time),
    ] {
        refuse(found < least, at, key, found.to_string(), format!("at least {least}"));
    }
    refuse(
        profile.hold_frames < normal.hold_frames,
        keys.hold_frames.at(at),
        "hold_frames",
        profile.hold_frames.to_string(),
        format!("at least {}", normal.hold_frames),
    );
    refuse(
        profile.fan_out > normal.fan_out,
        keys.fan_out.at(at),
        "fan_out",
        profile.fan_out.to_string(),
        format!("at most {}", normal.fan_out),
    );
    let or = |word: &str, span: Nanos| {
        if span == Nanos::MAX { word.to_owned() } else { span.to_string() }
    };
    for (key, at, found, most, word) in [
        ("horizon", keys.horizon.at(at), profile.horizon, normal.horizon, "unlimited"),
        (
            "ecn_threshold",
            keys.ecn_threshold.at(at),
            profile.ecn_threshold,
            normal.ecn_threshold,
            "never",
        ),
    ] {
        refuse(found > most, at, key, or(word, found), format!("at most {}", or(word, most)));
    }
    refuse(
        normal.horizon_drops && !profile.horizon_drops,
        keys.on_horizon.at(at),
        "on_horizon",
        "\"cap\"".to_owned(),
        "\"drop\"".to_owned(),
    );
}

fn refuse_looser_lateness(
    findings: &Findings,
    keys: &RawShaping,
    at: At,
    normal: &Shaping,
    profile: &Shaping,
) {
    if tightness(profile.lateness) < tightness(normal.lateness) {
        let problem = "lateness: it makes up more than in normal";
        let allowed = match normal.lateness {
            Lateness::Drop => "\"drop\", as in normal",
            Lateness::ReAnchor => "\"re-anchor\", as in normal, or \"drop\"",
            _ => "\"catch-up\", as in normal, \"re-anchor\" or \"drop\"",
        };
        findings.error(keys.lateness.at(at), problem, allowed);
        return;
    }
    // Late sooner is tighter, but for send-now, which lifts the caps from then on.
    let (looser, bound) = match profile.lateness {
        Lateness::SendNow => (profile.late_after < normal.late_after, "at least"),
        _ => (profile.late_after > normal.late_after, "at most"),
    };
    if profile.lateness == normal.lateness && looser {
        let problem = format!("late_after: {} is looser than normal", profile.late_after);
        let allowed = format!("{bound} {}, as in normal", normal.late_after);
        findings.error(keys.late_after.at(at), problem, allowed);
    }
}

/// What a profile lets be done with frames that are too long: no more than class and ports state.
pub(super) fn tighten_segment(
    findings: &Findings,
    keys: &RawShaping,
    most_stated: Segment,
    shaping: &mut Shaping,
) {
    let Some((segment, at)) = keys.segment.get() else { return };
    if *segment > most_stated {
        let problem = format!("segment: {} is looser than normal", segment.name());
        findings.error(at, problem, format!("at most {:?}, as in normal", most_stated.name()));
    }
    shaping.segment_most = *segment;
}
