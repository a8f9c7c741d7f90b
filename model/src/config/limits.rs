//! `[[venue_limit]]`: from what a venue allows to the window and the pace that the pacer keeps.
//!
//! The window is exact: at most `messages x share x (1 - margin)` messages in every span of `per`,
//! split among the cores that send them.
//! The bucket keeps the pace inside it, so that what may go does not go all at once:
//! `burst + rate x per <= messages_max - cancel_reserve`.

use super::error::{At, Findings};
use super::names;
use super::raw::{RawClass, RawVenueLimit};
use super::reader::Field;
use super::{Class, LimitDerivation};
use crate::kind::{Kind, Side};
use crate::profile::Bucket;
use crate::rules::{Label, Rules};
use crate::time::Nanos;
use crate::venue_limit::{LimitScope, VENUE_LIMITS_MAX, VenueLimit};

/// Messages kept free for exempt packets where the file says none.
const CANCEL_RESERVE: u32 = 10;
/// Share of a window left unused where the file says none, parts per million.
const MARGIN_PPM: u32 = 20_000;
const MILLION: u32 = 1_000_000;

/// What the limits are held against.
pub(super) struct Base<'a> {
    pub findings: &'a Findings,
    pub raw_classes: &'a [RawClass],
    pub rules: &'a Rules,
    pub labels: &'a [Label],
    pub venues: &'a [String],
    /// Pairs: each is paced by a core of its own, and cores share no counters.
    pub pairs: u32,
}

/// Whether a limit names the class itself, or its participant: then its messages are counted.
pub(super) fn counts_messages_of(limits: &[RawVenueLimit], class: &RawClass) -> bool {
    let named = |limit: &RawVenueLimit| {
        limit.session_of.value.is_some() && limit.session_of.value == class.name.value
    };
    class.participant.is_present() || limits.iter().any(named)
}

/// The limits, and how they came to be; writes into `classes` which of them hold there.
pub(super) fn venue_limits(
    base: &Base<'_>,
    raw: &[RawVenueLimit],
    classes: &mut [Class],
) -> (Vec<VenueLimit>, Vec<LimitDerivation>) {
    let findings = base.findings;
    let limit_names = names::collect(findings, "venue_limit", raw.iter().map(|limit| &limit.name));
    if let Some(limit) = raw.get(VENUE_LIMITS_MAX) {
        let problem = format!("{} venue limits", raw.len());
        findings.error(limit.at, problem, format!("up to {VENUE_LIMITS_MAX}"));
    }
    let mut limits = Vec::new();
    let mut derivations = Vec::new();
    let mut subjects = Vec::new();
    for (raw, name) in raw.iter().zip(limit_names) {
        let Some(subject) = subject(base, raw, classes) else { continue };
        if subjects.contains(&(subject.scope, subject.in_words.clone())) {
            let problem = format!("a second limit of {}", subject.in_words);
            findings.error(subject.at, problem, "one limit for each venue, participant and class");
        }
        subjects.push((subject.scope, subject.in_words.clone()));
        let index = u8::try_from(limits.len()).ok();
        for class in &subject.classes {
            match subject.scope {
                LimitScope::Venue(_) => {}
                LimitScope::Participant => classes[*class].participant_limit = index,
                LimitScope::Session => classes[*class].session_limit = index,
            }
        }
        let counted: Vec<&Class> = subject.classes.iter().map(|class| &classes[*class]).collect();
        // A session is a flow and so has one core. What several cores count is split among them.
        let cores = if subject.scope == LimitScope::Session { 1 } else { base.pairs.max(1) };
        let limit = derive(findings, raw, &name, subject.scope, cores, &counted);
        if cores > 1 {
            let text = format!(
                "{cores} pairs: each keeps {} of the messages of {} in every {}, since no two cores \
                 count together",
                limit.messages_max, subject.in_words, limit.per
            );
            findings.warn(subject.at, text);
        }
        refuse_uncounted(findings, &subject, &limit, classes);
        warn_shared_group(findings, &subject, &limit, classes);
        derivations.push(LimitDerivation {
            messages: raw.messages.or(1),
            share_ppm: raw.share.or(MILLION),
            margin_ppm: raw.margin.or(MARGIN_PPM),
            stated_burst: raw.burst.value,
            cores,
            scope: subject.in_words,
            classes: subject.classes,
        });
        limits.push(limit);
    }
    refuse_unlimited_participants(base, raw);
    (limits, derivations)
}

/// Whose messages a limit counts.
struct Subject {
    scope: LimitScope,
    at: At,
    in_words: String,
    classes: Vec<usize>,
}

fn subject(base: &Base<'_>, raw: &RawVenueLimit, classes: &[Class]) -> Option<Subject> {
    let findings = base.findings;
    let keys = [&raw.venue, &raw.participant, &raw.session_of];
    let stated: Vec<_> = keys.into_iter().filter(|field| field.is_present()).collect();
    if stated.len() != 1 {
        let at = stated.get(1).map_or(raw.at, |field| field.at(raw.at));
        let problem = format!("a venue limit names {} of its subjects", stated.len());
        findings.error(at, problem, "one of `venue`, `participant` and `session_of`");
        return None;
    }
    if raw.venue.is_present() {
        let (index, at) = names::look_up(findings, "venue", &raw.venue, base.venues)?;
        let venue = u8::try_from(index).unwrap_or(u8::MAX);
        let in_words = format!("venue {}", base.venues[index]);
        let led = |class: &usize| leads_to(base, *class, venue) && counts(&classes[*class]);
        let classes = (0..base.raw_classes.len()).filter(led).collect();
        return Some(Subject { scope: LimitScope::Venue(venue), at, in_words, classes });
    }
    if let Some((participant, at)) = raw.participant.get() {
        let named = |(index, class): (usize, &RawClass)| {
            (class.participant.value.as_ref() == Some(participant)).then_some(index)
        };
        let classes: Vec<usize> = base.raw_classes.iter().enumerate().filter_map(named).collect();
        if classes.is_empty() {
            let problem = format!("no class has participant = {participant:?}");
            findings.error(at, problem, "a participant that a [[class]] names");
        }
        let in_words = format!("participant {participant}");
        return Some(Subject { scope: LimitScope::Participant, at, in_words, classes });
    }
    let class_names: Vec<String> =
        classes[..base.raw_classes.len()].iter().map(|class| class.name.clone()).collect();
    let (index, at) = names::look_up(findings, "class", &raw.session_of, &class_names)?;
    if classes[index].from == Side::Venue {
        let problem = format!("class {:?} is from the venue", classes[index].name);
        findings.error(at, problem, "a class with from = \"inside\"");
        return None;
    }
    let in_words = format!("each session of class {}", classes[index].name);
    Some(Subject { scope: LimitScope::Session, at, in_words, classes: vec![index] })
}

/// Whether some rule leads packets of `class` to `venue`.
fn leads_to(base: &Base<'_>, class: usize, venue: u8) -> bool {
    base.rules.rules.iter().any(|rule| {
        usize::from(rule.class) == class
            && base.labels.get(usize::from(rule.label)).is_some_and(|l| l.venue == Some(venue))
    })
}

/// Whether a limit of a venue finds messages in a class.
fn counts(class: &Class) -> bool {
    class.from == Side::Inside
        && (class.kind.is_order_entry() || class.messages_per_segment.is_some())
}

/// The limit that `raw` comes to. Where it comes to none the error is said and a limit of one
/// message stands in its place, so that other errors are found as well.
fn derive(
    findings: &Findings,
    raw: &RawVenueLimit,
    name: &str,
    scope: LimitScope,
    cores: u32,
    counted: &[&Class],
) -> VenueLimit {
    let Some(messages_max) = messages_max(raw, cores) else { return nothing(name, scope) };
    let cancel_reserve = raw.cancel_reserve.or(CANCEL_RESERVE.min(messages_max.saturating_sub(1)));
    let per = raw.per.or(Nanos::from_secs(1));
    let usable = messages_max.saturating_sub(cancel_reserve);
    if messages_max == 0 {
        let at = raw.messages.at(raw.at);
        let problem = "messages x share x (1 - margin) leaves not one message";
        findings.error(at, problem, "more `messages`, a larger `share` or a smaller `margin`");
    } else if usable == 0 {
        let at = raw.cancel_reserve.at(raw.messages.at(raw.at));
        let problem = format!("cancel_reserve: {cancel_reserve} leave nothing for orders");
        let allowed = format!("below the {messages_max} that may be sent in a window");
        findings.error(at, problem, allowed);
    }
    let bucket = (usable > 0)
        .then(|| fullest_packet(findings, raw, counted, messages_max, usable))
        .and_then(|largest| bucket(findings, raw, per, usable, largest));
    let Some(bucket) = bucket else { return nothing(name, scope) };
    VenueLimit {
        name: name.to_owned(),
        scope,
        messages_max,
        per,
        counts_cancels: raw.counts_cancels.or(true),
        cancel_reserve,
        bucket,
    }
}

/// Messages of the fullest packet that is not exempt; each has to fit into a window.
fn fullest_packet(
    findings: &Findings,
    raw: &RawVenueLimit,
    counted: &[&Class],
    messages_max: u32,
    usable: u32,
) -> u32 {
    let mut fullest = 1;
    for class in counted {
        let Some(messages) = class.messages_per_segment.map(u32::from) else { continue };
        let room = if class.kind.is_exempt() { messages_max } else { usable };
        if messages > room {
            let problem = format!(
                "a packet of class {:?} carries {messages} messages, a window takes {room}",
                class.name
            );
            let allowed = "room for one packet at least, or fewer messages in it";
            findings.error(raw.messages.at(raw.at), problem, allowed);
        } else if !class.kind.is_exempt() {
            fullest = fullest.max(messages);
        }
    }
    fullest
}

/// The pace inside the window: `burst + rate x per <= usable`, in whole messages per second.
fn bucket(
    findings: &Findings,
    raw: &RawVenueLimit,
    per: Nanos,
    usable: u32,
    largest: u32,
) -> Option<Bucket> {
    let burst = raw.burst.or((usable / 2).max(largest));
    if burst < largest || burst > usable {
        let problem = format!("burst: {burst} messages in a window that lets {usable} go");
        findings.error(raw.burst.at(raw.at), problem, format!("{largest} to {usable}"));
        return None;
    }
    let left = usable - burst;
    // Rounded down, so that burst and rate together stay below.
    let rate = u128::from(left) * 1_000_000_000 / u128::from(per.0.max(1));
    if rate == 0 {
        let at = raw.burst.at(raw.per.at(raw.at));
        let problem = format!(
            "a burst of {burst} leaves {left} messages for {per}: less than one per second"
        );
        findings.error(at, problem, "a smaller `burst`, more `messages` or a shorter `per`");
        return None;
    }
    Some(Bucket::new(u64::try_from(rate).unwrap_or(u64::MAX), u64::from(burst)))
}

/// What stands in the place of a limit with an error.
fn nothing(name: &str, scope: LimitScope) -> VenueLimit {
    VenueLimit {
        name: name.to_owned(),
        scope,
        messages_max: 1,
        per: Nanos::from_secs(1),
        counts_cancels: true,
        cancel_reserve: 0,
        bucket: Bucket::new(1, 1),
    }
}

/// `messages x share x (1 - margin) / cores` in integers, rounded down. `None` where one of them
/// could not be read, which is an error already.
fn messages_max(raw: &RawVenueLimit, cores: u32) -> Option<u32> {
    let unreadable = |field: &Field<u32>| field.is_present() && field.value.is_none();
    if [&raw.messages, &raw.share, &raw.margin].into_iter().any(unreadable) {
        return None;
    }
    let (share, margin) = (raw.share.or(MILLION), raw.margin.or(MARGIN_PPM));
    let exact = u128::from(raw.messages.value?)
        * u128::from(share)
        * u128::from(MILLION.saturating_sub(margin));
    u32::try_from(exact / (u128::from(MILLION) * u128::from(MILLION) * u128::from(cores))).ok()
}

/// A limit on what nobody counts is none.
fn refuse_uncounted(findings: &Findings, subject: &Subject, limit: &VenueLimit, classes: &[Class]) {
    let uncounted: Vec<&str> = subject
        .classes
        .iter()
        .map(|class| &classes[*class])
        .filter(|class| class.messages_per_segment.is_none())
        .filter(|class| limit.counts_cancels || !class.kind.is_exempt())
        .map(|class| class.name.as_str())
        .collect();
    if !uncounted.is_empty() {
        let problem = format!(
            "the limit of {}, but nothing counts the messages of {}",
            subject.in_words,
            uncounted.join(", ")
        );
        findings.error(
            subject.at,
            problem,
            "`messages_per_segment` on every class of it that may carry TCP",
        );
    }
}

/// What a limit holds in a mixed session holds the cancels behind it.
fn warn_shared_group(
    findings: &Findings,
    subject: &Subject,
    limit: &VenueLimit,
    classes: &[Class],
) {
    for class in subject.classes.iter().map(|class| &classes[*class]) {
        if class.kind == Kind::Mixed {
            let text = format!(
                "class {:?}: orders and cancels share a flow; an order that venue limit {:?} holds \
                 (burst {}, then {}/s) holds the cancels behind it",
                class.name, limit.name, limit.bucket.burst, limit.bucket.rate_per_s
            );
            findings.warn(subject.at, text);
        }
    }
}

fn refuse_unlimited_participants(base: &Base<'_>, raw: &[RawVenueLimit]) {
    for class in base.raw_classes {
        let Some((participant, at)) = class.participant.get() else { continue };
        if class.from.value == Some(Side::Venue) {
            let problem = "`participant` in a class from the venue";
            base.findings.error(at, problem, "a class with from = \"inside\"");
        } else if !raw.iter().any(|limit| limit.participant.value.as_ref() == Some(participant)) {
            let problem = format!("no venue limit has participant = {participant:?}");
            base.findings.error(at, problem, "a participant that a [[venue_limit]] names");
        }
    }
}
