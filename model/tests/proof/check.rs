//! The checker: what a pacer must do, from what crosses its interface alone. It holds exact buckets,
//! the list of what each group holds, and the rules of docs and architecture restated; it shares no
//! code with the pacer and panics at the first breach.

mod lateness;
mod priority;

use self::priority::Ready;
use super::bucket::Level;
use super::tally::{Tally, least};
use super::windows::{Releases, VenueCounts};
use model::config::{Class, HaltMixed};
use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::limits::LimitsSpec;
use model::pacer::{NO_VENUE, Released};
use model::profile::{Caps, ClassParams, Lateness, Profile};
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use std::collections::{BTreeSet, VecDeque};

/// A rest of a nanosecond may not be expressible under a new rate; the pacer rounds it up, once for
/// each change that a debt outlives.
const ROUNDING: u64 = 4;

/// A packet that is held.
pub struct Held {
    pub meta: PacketMeta,
    sched: u64,
    /// Class and number of its release window.
    window: Option<(usize, usize)>,
    /// It went to the port without having been queued, charged to this class.
    at_once: Option<usize>,
    /// When it was offered, something exempt stood behind it; what ends later in the same flush does
    /// not change why it left.
    forwards: bool,
}

/// A group.
pub struct Flow {
    pub queue: VecDeque<Held>,
    class: usize,
    level: Level,
    sched: Level,
    head_since: u64,
    /// Since when it is of its class.
    class_since: u64,
    /// Exempt packets in it that everything ahead goes forward for: id, since when.
    forward: VecDeque<(u64, u64)>,
    /// Where it stands in `Checker::express`.
    express_at: Option<u64>,
    /// Where it stands in `Checker::ready`.
    ready: Option<(usize, u64)>,
}

struct Node {
    level: Level,
    sched: Level,
    reserved: Level,
    windows: Releases,
    /// When a packet of it last departed, ended, or left with its group.
    served: u64,
    packets: u32,
    bytes: u64,
}

pub struct Checker {
    slot: u64,
    kinds: Vec<Class>,
    pub profile: Profile,
    pub words: StopWords,
    pub draining: bool,
    pub flows: Vec<Flow>,
    classes: Vec<Node>,
    port: Level,
    pub limits: VenueCounts,
    /// Groups whose head waits for nobody, by when it may go.
    express: BTreeSet<(u64, u32)>,
    ready: Ready,
    /// Since when the port takes what it is offered.
    pub open_since: u64,
    changed: u64,
    /// The pacer has not carried the last change to every group yet.
    pub sweeping: bool,
    /// How exact times are, ns: 0 until some rate has changed.
    rounding: u64,
    pub tally: Tally,
}

fn reserved(params: &ClassParams) -> Caps {
    Caps { bits: params.shaping.reserved, messages: None }
}

pub fn full_exempt(p: &PacketMeta) -> bool {
    p.is_exempt() && !p.has(flags::BARE)
}

impl Checker {
    pub fn new(
        slot: u64,
        flows: u32,
        kinds: &[Class],
        profile: &Profile,
        limits: &LimitsSpec,
    ) -> Self {
        let first = Level::new(profile.classes[0].flow);
        let node = |c: &ClassParams| Node {
            level: Level::new(c.class),
            sched: Level::new(c.class),
            reserved: Level::new(reserved(c)),
            windows: Releases::new(c.shaping.hold_frames, c.shaping.hold_time.0),
            served: 0,
            packets: 0,
            bytes: 0,
        };
        Self {
            slot,
            kinds: kinds.to_vec(),
            profile: profile.clone(),
            words: StopWords::default(),
            draining: false,
            flows: (0..flows)
                .map(|_| Flow {
                    queue: VecDeque::new(),
                    class: 0,
                    level: first,
                    sched: first,
                    head_since: 0,
                    class_since: 0,
                    forward: VecDeque::new(),
                    express_at: None,
                    ready: None,
                })
                .collect(),
            classes: profile.classes.iter().map(node).collect(),
            port: Level::new(profile.egress[0].port),
            limits: VenueCounts::new(limits),
            express: BTreeSet::new(),
            ready: Ready::new(profile.classes.len()),
            open_since: 0,
            changed: 0,
            sweeping: false,
            rounding: 0,
            tally: Tally::default(),
        }
    }

    pub fn class_of(&self, flow: u32) -> usize {
        self.flows[flow as usize].class
    }

    fn params(&self, class: usize) -> &ClassParams {
        &self.profile.classes[class]
    }

    fn word(&self, p: &PacketMeta, class: u8) -> StopWord {
        self.words.of(class, (p.venue != NO_VENUE).then_some(p.venue))
    }

    /// The halt rule restated: on TCP and in sessions that are not told apart the class decides.
    fn halts(&self, p: &PacketMeta) -> bool {
        let class = &self.kinds[usize::from(p.class)];
        self.word(p, p.class) == StopWord::Halt
            && if p.has(flags::TCP) || p.kind() == Kind::Mixed {
                matches!(class.kind, Kind::Order | Kind::Replace | Kind::Mixed)
                    && class.halt_mixed != Some(HaltMixed::Pass)
                    && p.has(flags::PAYLOAD)
            } else {
                matches!(p.kind(), Kind::Order | Kind::Replace)
            }
    }

    fn max_hold_at(&self, p: &PacketMeta) -> u64 {
        p.wanted().saturating_add(self.params(p.class.into()).max_hold).0
    }

    fn late_from(&self, held: &Held) -> u64 {
        let own = &self.params(held.meta.class.into()).shaping;
        held.sched.saturating_add(own.late_after.0)
    }

    fn set_class(&mut self, now: u64, flow: u32, class: usize) {
        let caps = self.params(class).flow;
        self.rounding = ROUNDING;
        let f = &mut self.flows[flow as usize];
        // Class and port may have kept their turn for it.
        self.classes[f.class].served = now;
        (f.class, f.class_since) = (class, now);
        f.level.change(now, caps);
        f.sched.change(now, caps);
        for held in &mut f.queue {
            // What is queued did not come in a window of this class.
            if let Some((of, number)) = held.window.take() {
                self.classes[of].windows.leave(now, number);
            }
        }
    }

    /// `p` was offered, and taken in as `kept`, or it ended.
    pub fn arrive(
        &mut self,
        now: u64,
        flow: u32,
        p: &PacketMeta,
        kept: Result<PacketMeta, DropReason>,
        at_once: bool,
    ) {
        self.tally.arrived += 1;
        let class = usize::from(p.class);
        let (params, node) = (*self.params(class), &self.classes[class]);
        let over = node.packets >= params.queue_packets
            || node.bytes + u64::from(p.wire_len()) > params.queue_bytes;
        let horizon = now.saturating_add(params.shaping.horizon.0);
        let governed = !p.is_exempt();
        let ends = if self.halts(p) {
            Some(DropReason::Halted)
        } else if params.closed && governed {
            Some(DropReason::ProfileClosed)
        } else if p.due.0 > horizon && params.shaping.horizon_drops && governed {
            Some(DropReason::Horizon)
        } else if over && params.drops_when_full && governed {
            Some(DropReason::QueueFull)
        } else {
            None
        };
        let kept = match (kept, ends) {
            (Ok(kept), None) => kept,
            (Err(got @ (DropReason::DuplicateHeld | DropReason::Stale)), None) => {
                self.tally.ends[got as usize] += 1;
                return;
            }
            (Err(got), Some(reason)) if got == reason => {
                self.tally.ends[got as usize] += 1;
                return;
            }
            (got, expected) => panic!("arrival at {now} of {p:?}: {got:?}, not {expected:?}"),
        };
        assert_eq!(kept.due.0, p.due.0.min(horizon.max(p.due.0.min(horizon))), "horizon");
        let jitters = governed && p.kind() != Kind::Mixed;
        let most = if jitters { params.shaping.jitter_max.0 } else { 0 };
        assert!(u64::from(kept.jitter_ns) <= most, "jitter {} of {most}", kept.jitter_ns);
        self.tally.jittered += u64::from(kept.jitter_ns > 0);
        if !at_once {
            // What goes at once is in no queue unless it comes back.
            self.count(&kept);
        }

        let f = &self.flows[flow as usize];
        if f.queue.iter().all(|h| h.at_once.is_some()) {
            if f.class != class {
                self.set_class(now, flow, class);
            }
        } else if f.class != class && params.priority < self.params(f.class).priority {
            self.tally.lifted += 1;
            self.set_class(now, flow, class);
        }
        let of = self.flows[flow as usize].class;
        let windows = self.params(of).shaping.hold_frames > 1;
        let window = (windows && governed).then(|| (of, self.classes[of].windows.join(now)));
        let f = &mut self.flows[flow as usize];
        let (bytes, messages) = (u64::from(kept.wire_len()), u64::from(kept.messages));
        let node = &mut self.classes[of];
        let sched = if governed {
            let levels = f.sched.fits_at(bytes, messages).max(node.sched.fits_at(bytes, messages));
            kept.not_before().0.max(levels)
        } else {
            kept.wanted().0
        };
        assert!(
            kept.sched.0.abs_diff(sched) <= 4 * self.rounding,
            "t_sched {} and not {sched} at {now}: {kept:?}",
            kept.sched.0
        );
        f.sched.put(sched, bytes, messages);
        node.sched.put(sched, bytes, messages);
        if f.queue.is_empty() {
            f.head_since = now;
        }
        if full_exempt(&kept) {
            f.forward.push_back((kept.correlation_id, now));
        }
        f.queue.push_back(Held {
            meta: kept,
            sched,
            window,
            at_once: at_once.then_some(of),
            forwards: false,
        });
        self.note_express(flow);
        self.note_ready(flow);
    }

    /// Keeps `express` true for a group whose head or tail has changed.
    fn note_express(&mut self, flow: u32) {
        let f = &self.flows[flow as usize];
        let at = f.queue.front().and_then(|head| {
            let forward = f.forward.front().map(|&(_, since)| since);
            let since = if head.meta.is_exempt() { Some(0) } else { forward };
            since.map(|since| head.meta.wanted().0.max(f.head_since).max(since))
        });
        let limited = at.is_some() && self.limits.ask(flow, &f.queue[0].meta).counts > 0;
        let at = at.filter(|_| !limited);
        let f = &mut self.flows[flow as usize];
        if f.express_at != at {
            if let Some(old) = f.express_at {
                self.express.remove(&(old, flow));
            }
            if let Some(new) = at {
                self.express.insert((new, flow));
            }
            f.express_at = at;
        }
    }

    fn take_out(&mut self, now: u64, flow: u32, position: usize) -> Held {
        let f = &mut self.flows[flow as usize];
        let held = f.queue.remove(position).expect("in the queue");
        if position == 0 {
            f.head_since = now;
        }
        f.forward.retain(|&(id, _)| id != held.meta.correlation_id);
        if let Some((of, number)) = held.window {
            self.classes[of].windows.leave(now, number);
        }
        if held.at_once.is_none() {
            let own = &mut self.classes[usize::from(held.meta.class)];
            own.packets -= 1;
            own.bytes -= u64::from(held.meta.wire_len());
        }
        self.note_express(flow);
        self.note_ready(flow);
        held
    }

    /// `released` was taken by the port at `now`; the core meant to look at `wake`.
    pub fn depart(&mut self, now: u64, wake: u64, released: &Released<PacketMeta>) {
        let flow = released.flow;
        let f = &self.flows[flow as usize];
        let at_once = f.queue.front().and_then(|head| head.at_once);
        let class = at_once.unwrap_or(f.class);
        let at_once = at_once.is_some();
        self.classes[class].windows.pass(now);
        let f = &self.flows[flow as usize];
        let head = f.queue.front().expect("a departure from an empty group");
        let p = head.meta;
        assert_eq!(released.packet.correlation_id, p.correlation_id, "order in group {flow}");
        assert!(!self.halts(&p), "halted, yet it left: {p:?}");
        if !at_once {
            self.check_label(now, flow, released);
        }

        let (bytes, messages) = (u64::from(p.wire_len()), u64::from(p.messages));
        // A release window moves it.
        let sched = released.packet.sched.0;
        assert!(
            self.params(class).shaping.hold_frames > 1
                || sched.abs_diff(head.sched) <= 4 * self.rounding,
            "t_sched {sched} and not {} at {now}: {p:?}",
            head.sched
        );
        let (late_from, window) = (self.late_from(head), head.window);
        let governed = released.release == Release::Governed;
        let venue = self.limits.ask(flow, &p);
        let f = &self.flows[flow as usize];
        let mut eligible = venue.opens;
        if governed {
            let levels = f.level.fits_at(bytes, messages);
            let levels = levels.max(self.classes[class].level.fits_at(bytes, messages));
            let levels = levels.max(self.port.fits_at(bytes, messages));
            // A profile may have taken the windows away, and with them when they opened.
            let windows = self.params(class).shaping.hold_frames > 1;
            let opened = window.filter(|_| windows).map_or(0, |(of, number)| {
                self.classes[of].windows.opened(number).expect("left a closed release window")
            });
            eligible = eligible.max(p.not_before().0).max(levels).max(opened);
        } else {
            eligible = eligible.max(p.wanted().0);
        }
        let f = &self.flows[flow as usize];
        let asked = [&f.level, &self.classes[class].level, &self.port];
        let levels = asked.map(|level| level.fits_at(bytes, messages));
        assert!(
            eligible <= now,
            "{} ns early at {now}, {levels:?} {venue:?} once {at_once}: {:?} {:?} {p:?}",
            eligible - now,
            released.release,
            released.eligible
        );
        // The pacer remembers one opening for all packets of a group that came before the window of
        // its newest: what it states for them may be the opening of a later one.
        let coarse = governed
            && self.params(class).shaping.hold_frames > 1
            && (eligible..=now).contains(&released.eligible.0);
        // A limit's window forgets, by an undo, how long ago a message fell out that it had overwritten.
        let coarse = coarse || (venue.counts > 0 && released.eligible.0 < eligible);
        // Sessions that found no window of their own share one, which opens when the others let it.
        let coarse = coarse || (venue.shares && (eligible..=now).contains(&released.eligible.0));
        self.tally.coarse += u64::from(coarse && released.eligible.0 != eligible);
        assert!(
            coarse || released.eligible.0.abs_diff(eligible) <= self.rounding,
            "eligible {} and not {eligible} at {now}: {p:?}",
            released.eligible
        );
        let marks =
            governed && now - p.wanted().0 > self.params(p.class.into()).shaping.ecn_threshold.0;
        // Whose threshold a packet of a lifted group answers to is not said.
        assert!(released.mark_ce == marks || class != usize::from(p.class), "mark of {p:?}");
        self.check_lateness(wake, flow, released.release, eligible, &venue);
        if !at_once && released.release != Release::Exempt && released.release != Release::Forward {
            self.check_nobody_express(wake.saturating_sub(self.slot), flow);
        }
        if governed {
            self.check_priority(now, wake, class, bytes);
        }
        self.charge(now, flow, class, governed, bytes, messages);
        self.limits.depart(now, flow, &p);
        self.classes[class].served = now;
        if governed {
            self.classes[class].reserved.put(now, bytes, 0);
            let own = self.params(p.class.into()).shaping;
            assert!(own.lateness != Lateness::Drop || now <= late_from, "late, yet it left: {p:?}");
            if own.lateness == Lateness::ReAnchor && now > late_from {
                let (f, node) = (&mut self.flows[flow as usize], &mut self.classes[class]);
                for level in [&mut f.level, &mut f.sched, &mut node.level, &mut node.sched] {
                    level.forget_savings(now);
                }
            }
        }
        self.tally.across_classes += u64::from(class != usize::from(p.class));
        self.tally.releases[released.release as usize] += 1;
        self.take_out(now, flow, 0);
    }

    /// A packet is offered to the port.
    pub fn offered(&mut self, flow: u32, id: u64) {
        let f = &mut self.flows[flow as usize];
        let forwards = f.forward.iter().any(|&(exempt, _)| exempt > id);
        let held = f.queue.iter_mut().find(|h| h.meta.correlation_id == id).expect("held");
        held.forwards = forwards;
    }

    /// The port refused what had gone to it at once.
    pub fn refused(&mut self, flow: u32, id: u64) {
        let queue = &mut self.flows[flow as usize].queue;
        let held = queue.iter_mut().find(|h| h.meta.correlation_id == id).expect("held");
        if held.at_once.take().is_some() {
            let p = held.meta;
            self.count(&p);
            self.note_ready(flow);
        }
    }

    fn count(&mut self, p: &PacketMeta) {
        let own = &mut self.classes[usize::from(p.class)];
        own.packets += 1;
        own.bytes += u64::from(p.wire_len());
    }

    fn charge(
        &mut self,
        now: u64,
        flow: u32,
        class: usize,
        governed: bool,
        bytes: u64,
        messages: u64,
    ) {
        let f = &mut self.flows[flow as usize];
        let node = &mut self.classes[class];
        let levels = [&mut f.level, &mut node.level, &mut self.port];
        for ((i, level), name) in levels.into_iter().enumerate().zip(["flow", "class", "port"]) {
            let room = level.put(now, bytes, messages);
            if governed {
                let fits = room.iter().flatten().all(|&room| room >= 0);
                assert!(fits, "envelope of the {name} of group {flow} at {now}: {room:?}");
                for (worst, room) in self.tally.slack[i].iter_mut().zip(room) {
                    *worst = least(*worst, room);
                }
            }
        }
    }

    /// A held packet ended.
    pub fn end(&mut self, now: u64, flow: u32, id: u64, reason: DropReason) {
        let f = &self.flows[flow as usize];
        let position = f.queue.iter().position(|h| h.meta.correlation_id == id).expect("held");
        let head = &f.queue[position];
        let p = &head.meta;
        let own = &self.params(p.class.into()).shaping;
        let right = match reason {
            DropReason::Halted => self.halts(p),
            DropReason::Late => own.lateness == Lateness::Drop && now > self.late_from(head),
            DropReason::Stale => !p.is_exempt() && now >= self.max_hold_at(p),
            DropReason::Stopped => true,
            _ => false,
        };
        assert!(right, "{reason:?} at {now} of {p:?}");
        self.tally.ends[reason as usize] += 1;
        // The port may have kept its turn for it.
        let class = self.flows[flow as usize].class;
        self.classes[class].served = now;
        self.take_out(now, flow, position);
    }

    pub fn set_profile(&mut self, now: u64, profile: &Profile) {
        self.profile = profile.clone();
        self.tally.switches += 1;
        (self.changed, self.rounding) = (now, ROUNDING);
        for (node, params) in self.classes.iter_mut().zip(&profile.classes) {
            node.level.change(now, params.class);
            node.sched.change(now, params.class);
            node.reserved.change(now, reserved(params));
            node.windows.resize(now, params.shaping.hold_frames, params.shaping.hold_time.0);
        }
        self.port.change(now, profile.egress[0].port);
        for f in &mut self.flows {
            let caps = profile.classes[f.class].flow;
            f.level.change(now, caps);
            f.sched.change(now, caps);
        }
        (0..self.flows.len() as u32).for_each(|flow| self.note_ready(flow));
    }

    pub fn set_words(&mut self, now: u64, words: &StopWords) {
        (self.words, self.changed) = (*words, now);
    }

    pub fn begin_drain(&mut self, now: u64) {
        (self.draining, self.changed) = (true, now);
    }

    pub fn finish(mut self) -> Tally {
        for &(used, of) in &self.limits.fullest.clone() {
            self.tally.note_window(used, of);
        }
        self.tally
    }
}
