//! Venue limits: may this packet leave, as far as the venues' own counts go? Outermost, lifted by
//! nothing: no stop word, profile, lease, drain or age gets a message past them.
//!
//! An *instance* is one count: the only one of a venue's or participant's limit, or one of the many of
//! a limit that each session has to itself. A packet answers to all limits of its venue, to that of
//! its class's participant and to that of its session. Of each it needs room in every sliding window
//! ([`Window`]), and, unless it is exempt, a pace ([`VenueLimit::bucket`]) that keeps the window from
//! being spent in one burst.
//!
//! Exempt packets wait for the window only and may fill it up; others leave
//! [`VenueLimit::cancel_reserve`] of it free at every departure, so that cancels find room behind any
//! amount of orders. They are counted together. Where `counts_cancels` is false, exempt packets
//! neither wait nor count.
//!
//! Call [`Limits::ask`], then [`Limits::charge`] for what is offered to the port, then, last first,
//! [`Limits::undo`] for what it refused, and [`Limits::commit`]. Only what was accepted is counted.
//! Everything is allocated at construction.
//!
//! **Other numbers.** [`Limits::set`] takes them at once: windows keep what has left, and so does each
//! pace when it is next asked. A window can grow to what it was made for ([`window_messages`]).
//!
//! **Start.** What a process before this one sent within the last `per` is not known. A gateway on
//! live ports therefore starts with all that orders may use taken ([`LimitsSpec::start_full`]): the
//! first order leaves one `per` later, cancels have their reserve at once. Holding cancels too would
//! keep resting orders in the market; the price is that over a restart a window may hold up to
//! `messages_max + cancel_reserve`, so `margin` should be worth at least the reserve.

mod sessions;
mod window;

pub use window::Window;

use self::sessions::{NO_LIMIT, Sessions};
use super::flow::NO_VENUE;
use super::gcra::{Gcra, GcraParams};
use crate::profile::{Bucket, VENUES_MAX};
use crate::time::Nanos;
use crate::venue_limit::{LimitScope, VenueLimit};

/// Memory that the windows of one session limit may take together, bytes.
const SESSION_WINDOWS_BYTES: u64 = 64 << 20;

/// Messages that the windows of a limit are made for which starts at `messages_max`: it may be raised so
/// far while they are in use.
pub const fn window_messages(messages_max: u32) -> u32 {
    messages_max.saturating_mul(2)
}

/// Which limits a class answers to beside those of the venue; indices into the list of limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassLimits {
    /// Of its participant.
    pub participant: Option<u8>,
    /// Of each of its sessions (flows).
    pub session: Option<u8>,
}

/// What [`Limits`] is built from. The default limits nothing.
#[derive(Clone, Debug, Default)]
pub struct LimitsSpec {
    /// All limits that apply to the egress port.
    pub limits: Vec<VenueLimit>,
    /// One for each class; classes beyond the end answer to their venue only.
    pub classes: Vec<ClassLimits>,
    /// Start as if all that orders may use had just left. Set on live ports.
    pub start_full: bool,
}

impl LimitsSpec {
    /// The same for nodes of which each stands for a class: a twin answers to what its class does.
    pub(super) fn of_nodes(&self, classes: &[usize]) -> Self {
        let of = |class: &usize| self.classes.get(*class).copied().unwrap_or_default();
        Self { classes: classes.iter().map(of).collect(), ..self.clone() }
    }
}

/// A packet, as far as limits go.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its venue, or [`NO_VENUE`].
    pub venue: u8,
    /// Its class.
    pub class: u8,
    /// Its flow.
    pub flow: u32,
    /// Its messages; none are never held.
    pub messages: u32,
    /// Whether it is exempt.
    pub exempt: bool,
}

/// When a packet may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// First ns at which every instance allows it; [`Nanos::ZERO`] where none counts it,
    /// [`Nanos::MAX`] where one never will: it has more messages than the limit.
    pub at: Nanos,
    /// The instance that opens last.
    pub instance: Option<u32>,
}

/// What a charge was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// How many charges it takes to undo it.
    pub charges: u8,
    /// First ns at which every instance allowed it.
    pub opened_at: Nanos,
}

/// What became of one limit since construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LimitFigures {
    /// Least room left in any window of any instance since it has its numbers, messages.
    pub least_room: u32,
    /// Departures that had to wait for it.
    pub waits: u64,
    /// Messages counted.
    pub messages: u64,
    /// Sessions that found no window of their own and share one.
    pub sessions_shared: u64,
}

struct Rule {
    messages_max: u32,
    orders_max: u32,
    counts_cancels: bool,
    bucket: Bucket,
    pace: GcraParams,
    /// So often it was given another pace, the last time at `changed_at`; the one before.
    changes: u32,
    changed_at: Nanos,
    pace_before: GcraParams,
}

impl Rule {
    fn new(limit: &VenueLimit) -> Self {
        let pace = GcraParams::messages(limit.bucket);
        Self {
            messages_max: limit.messages_max,
            orders_max: orders_max(limit),
            counts_cancels: limit.counts_cancels,
            bucket: limit.bucket,
            pace,
            changes: 0,
            changed_at: Nanos::ZERO,
            pace_before: pace,
        }
    }

    /// Takes the numbers of `limit` at `now`; `false` where it has them.
    fn change(&mut self, now: Nanos, limit: &VenueLimit) -> bool {
        let new = (limit.messages_max, orders_max(limit));
        if (self.messages_max, self.orders_max, self.bucket) == (new.0, new.1, limit.bucket) {
            return false;
        }
        (self.messages_max, self.orders_max) = new;
        if self.bucket != limit.bucket {
            let pace = GcraParams::messages(limit.bucket);
            self.pace_before = std::mem::replace(&mut self.pace, pace);
            (self.bucket, self.changed_at) = (limit.bucket, now);
            self.changes = self.changes.wrapping_add(1);
        }
        true
    }
}

struct Instance {
    limit: u8,
    window: Window,
    pace: Gcra,
    /// [`Rule::changes`] that its pace knows.
    changes: u32,
}

impl Instance {
    fn new(limit: usize, of: &VenueLimit, full_at: Option<Nanos>) -> Self {
        let mut window = Window::new(window_messages(of.messages_max), of.per);
        if let Some(at) = full_at {
            window.charge(at, orders_max(of));
        }
        Self { limit: limit as u8, window, pace: Gcra::default(), changes: 0 }
    }

    /// Its rule has another pace, which keeps the TAT. Of two changes that it has missed only the last
    /// is known, so it begins again with nothing saved.
    #[cold]
    fn carry(&mut self, rule: &Rule) {
        self.pace = if rule.changes.wrapping_sub(self.changes) == 1 {
            self.pace.rescaled(&rule.pace_before, &rule.pace, rule.changed_at)
        } else {
            Gcra::spent(&rule.pace, rule.changed_at)
        };
        self.changes = rule.changes;
    }
}

/// What of a window packets that are not exempt may use.
fn orders_max(limit: &VenueLimit) -> u32 {
    limit.messages_max.saturating_sub(limit.cancel_reserve)
}

/// One charge that may still be taken back.
#[derive(Clone, Copy)]
struct Charge {
    instance: u32,
    messages: u32,
    room: u32,
    waited: bool,
    pace_before: Gcra,
}

/// Where in `Limits::members` the instances of a venue and class stand, and the session limit.
#[derive(Clone, Copy)]
struct Group {
    first: u16,
    count: u8,
    session: u8,
}

/// See the module.
pub struct Limits {
    rules: Box<[Rule]>,
    instances: Box<[Instance]>,
    figures: Box<[LimitFigures]>,
    /// By venue ([`VENUES_MAX`] stands for none), then class.
    groups: Box<[Group]>,
    members: Box<[u8]>,
    classes: usize,
    sessions: Sessions,
    /// The longest window of any session limit.
    session_per: Nanos,
    journal: Vec<Charge>,
}

impl Limits {
    /// Limits for a pacer of `classes` classes and `flows_max` flows that offers at most `burst_max`
    /// packets between two commits, from `start` on.
    pub fn new(
        spec: &LimitsSpec,
        classes: usize,
        flows_max: u32,
        burst_max: usize,
        start: Nanos,
    ) -> Self {
        let full_at = spec.start_full.then_some(start);
        let mut instances: Vec<Instance> =
            spec.limits.iter().enumerate().map(|(i, l)| Instance::new(i, l, full_at)).collect();
        let mut sessions = Sessions::new(&spec.limits, flows_max);
        for (i, limit) in spec.limits.iter().enumerate() {
            if limit.scope == LimitScope::Session {
                // The limit's first instance is the one that sessions share when all are taken.
                let messages = window_messages(limit.messages_max.max(1));
                let affordable = SESSION_WINDOWS_BYTES / Window::bytes(messages);
                for _ in 0..affordable.clamp(1, u64::from(flows_max.max(1))) {
                    sessions.add_window(i, instances.len() as u32);
                    instances.push(Instance::new(i, limit, full_at));
                }
            }
        }
        let (groups, members) = groups(spec, classes);
        Self {
            rules: spec.limits.iter().map(Rule::new).collect(),
            figures: spec
                .limits
                .iter()
                .map(|l| LimitFigures {
                    least_room: l.messages_max,
                    waits: 0,
                    messages: 0,
                    sessions_shared: 0,
                })
                .collect(),
            // A packet answers to each limit at most once.
            journal: Vec::with_capacity(burst_max * spec.limits.len()),
            instances: instances.into_boxed_slice(),
            groups,
            members,
            classes,
            sessions,
            session_per: spec
                .limits
                .iter()
                .filter(|l| l.scope == LimitScope::Session)
                .map(|l| l.per)
                .max()
                .unwrap_or_default(),
        }
    }

    /// Other numbers for the same limits, in their order, from `now` on; nothing may be charged and not
    /// committed. Scope, window and what is counted stay. Says whether anything is different.
    pub fn set(&mut self, now: Nanos, limits: &[VenueLimit]) -> bool {
        let mut is_changed = false;
        for ((rule, figures), limit) in self.rules.iter_mut().zip(&mut self.figures).zip(limits) {
            if rule.change(now, limit) {
                figures.least_room = limit.messages_max;
                is_changed = true;
            }
        }
        is_changed
    }

    /// Instances, and so lists and timers that whoever waits for them needs.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// Limits, each of which a packet answers to at most once.
    pub fn limits(&self) -> usize {
        self.rules.len()
    }

    /// The limit that an instance counts for, index into the list of limits.
    pub fn limit_of(&self, instance: u32) -> u8 {
        self.instances[instance as usize].limit
    }

    /// What became of limit `limit`.
    pub fn figures(&self, limit: usize) -> LimitFigures {
        LimitFigures { sessions_shared: self.sessions.shared(limit), ..self.figures[limit] }
    }

    /// Of every limit, in the order of the config.
    pub fn all_figures(&self) -> impl Iterator<Item = LimitFigures> {
        (0..self.figures.len()).map(|limit| self.figures(limit))
    }

    /// Whether a packet of this venue and class answers to any limit.
    #[inline]
    pub fn bind(&self, venue: u8, class: u8) -> bool {
        !self.instances.is_empty() && {
            let group = self.group(venue, class);
            group.count > 0 || group.session != NO_LIMIT
        }
    }

    fn group(&self, venue: u8, class: u8) -> Group {
        let venue = if venue == NO_VENUE { VENUES_MAX } else { usize::from(venue) % VENUES_MAX };
        self.groups[venue * self.classes + usize::from(class)]
    }

    /// When the packet may leave. One look for each limit that it answers to.
    pub fn ask(&mut self, claim: &Claim) -> Opening {
        let mut opening = Opening { at: Nanos::ZERO, instance: None };
        self.each(claim, |rule, instance, id| {
            let at = instance_opens(rule, instance, claim.messages, claim.exempt);
            if opening.instance.is_none() || at > opening.at {
                opening = Opening { at, instance: Some(id) };
            }
        });
        opening
    }

    /// Calls `f` with every instance that counts the packet.
    pub fn each_instance(&mut self, claim: &Claim, mut f: impl FnMut(u32)) {
        self.each(claim, |_, _, id| f(id));
    }

    /// When instance `instance` allows `messages` more.
    pub fn instance_opens_at(&mut self, instance: u32, messages: u32, exempt: bool) -> Nanos {
        let (rule, instance) = at(&self.rules, &mut self.instances, instance);
        if counts(rule, messages, exempt) {
            instance_opens(rule, instance, messages, exempt)
        } else {
            Nanos::ZERO
        }
    }

    /// The packet, whose wish was `wanted`, is offered to the port at `now`, which [`Limits::ask`]
    /// allowed.
    pub fn charge(&mut self, now: Nanos, wanted: Nanos, claim: &Claim) -> Charged {
        let before = self.journal.len();
        let mut opened_at = Nanos::ZERO;
        let mut journal = std::mem::take(&mut self.journal);
        self.each(claim, |rule, instance, id| {
            let at = instance_opens(rule, instance, claim.messages, claim.exempt);
            opened_at = opened_at.max(at);
            let waited = at > wanted;
            let pace_before = instance.pace;
            instance.pace.charge(&rule.pace, now, claim.messages);
            let inside = instance.window.charge(now, claim.messages);
            // More are inside than may be where the limit was tightened meanwhile.
            let room = rule.messages_max.saturating_sub(inside);
            let messages = claim.messages;
            journal.push(Charge { instance: id, messages, room, waited, pace_before });
        });
        self.journal = journal;
        let charges = self.journal.len() - before;
        if charges > 0 {
            self.sessions.touch(now, claim.flow);
        }
        Charged { charges: charges as u8, opened_at }
    }

    /// Takes the last `charges` charges back; calls `f` with the instance of each.
    pub fn undo(&mut self, charges: u8, mut f: impl FnMut(u32)) {
        for _ in 0..charges {
            let Some(charge) = self.journal.pop() else { return };
            let instance = &mut self.instances[charge.instance as usize];
            instance.window.undo(charge.messages);
            instance.pace = charge.pace_before;
            f(charge.instance);
        }
    }

    /// What was charged and not taken back has left.
    #[inline]
    pub fn commit(&mut self) {
        for charge in self.journal.drain(..) {
            let limit = usize::from(self.instances[charge.instance as usize].limit);
            let figures = &mut self.figures[limit];
            figures.least_room = figures.least_room.min(charge.room);
            figures.waits += u64::from(charge.waited);
            figures.messages += u64::from(charge.messages);
        }
    }

    /// Gives the session window of `flow` back, if it has one and nothing of it is in a window any
    /// more: whoever gets the flow's 5-tuple next must not find a count that was forgotten.
    pub fn free_session(&mut self, now: Nanos, flow: u32) -> bool {
        let Some((instance, last)) = self.sessions.of(flow) else { return true };
        let (rule, of) = at(&self.rules, &mut self.instances, instance);
        let burst = u32::try_from(rule.bucket.burst).unwrap_or(u32::MAX);
        let pace_is_full = of.pace.conforms_at(&rule.pace, burst) <= now;
        if now < last.saturating_add(self.session_per) || !pace_is_full {
            return false;
        }
        self.sessions.free(flow);
        true
    }

    /// Calls `f` for every instance that counts the packet.
    fn each(&mut self, claim: &Claim, mut f: impl FnMut(&Rule, &mut Instance, u32)) {
        if self.instances.is_empty() || claim.messages == 0 {
            return;
        }
        let group = self.group(claim.venue, claim.class);
        let session = (group.session != NO_LIMIT)
            .then(|| self.sessions.window(claim.flow, group.session, group.session.into()));
        let first = usize::from(group.first);
        let members = &self.members[first..first + usize::from(group.count)];
        for id in members.iter().map(|&id| u32::from(id)).chain(session) {
            let (rule, instance) = at(&self.rules, &mut self.instances, id);
            if counts(rule, claim.messages, claim.exempt) {
                f(rule, instance, id);
            }
        }
    }
}

/// An instance, which its rule holds as it is now.
fn at<'a>(
    rules: &'a [Rule],
    instances: &'a mut [Instance],
    id: u32,
) -> (&'a Rule, &'a mut Instance) {
    let instance = &mut instances[id as usize];
    let rule = &rules[usize::from(instance.limit)];
    if instance.changes != rule.changes {
        instance.carry(rule);
    }
    (rule, instance)
}

fn counts(rule: &Rule, messages: u32, exempt: bool) -> bool {
    messages > 0 && (rule.counts_cancels || !exempt)
}

fn instance_opens(rule: &Rule, instance: &Instance, messages: u32, exempt: bool) -> Nanos {
    if exempt {
        return instance.window.open_at(messages, rule.messages_max);
    }
    let window = instance.window.open_at(messages, rule.orders_max);
    window.max(instance.pace.conforms_at(&rule.pace, messages))
}

fn groups(spec: &LimitsSpec, classes: usize) -> (Box<[Group]>, Box<[u8]>) {
    let (mut groups, mut members) = (Vec::new(), Vec::new());
    for venue in 0..=VENUES_MAX {
        for class in 0..classes {
            let own = spec.classes.get(class).copied().unwrap_or_default();
            let first = members.len() as u16;
            members.extend(
                (0..spec.limits.len())
                    .filter(|&i| match spec.limits[i].scope {
                        LimitScope::Venue(v) => usize::from(v) == venue,
                        LimitScope::Participant => own.participant == Some(i as u8),
                        LimitScope::Session => false,
                    })
                    .map(|i| i as u8),
            );
            let count = members.len() as u16 - first;
            let session = own.session.filter(|&i| {
                spec.limits.get(usize::from(i)).is_some_and(|l| l.scope == LimitScope::Session)
            });
            groups.push(Group { first, count: count as u8, session: session.unwrap_or(NO_LIMIT) });
        }
    }
    (groups.into_boxed_slice(), members.into_boxed_slice())
}

#[cfg(test)]
mod tests;
