//! What a pacer must do, from what crossed its interface alone: arrivals, departures in wire order,
//! profiles, stop words. No wheel, no lists, no journal: every answer is a scan of all flows.

use super::exact::ExactLevel;
use model::config::{Class, HaltMixed};
use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::meta::{PacketMeta, flags};
use model::pacer::{Counters, NO_VENUE, Pacer, Released};
use model::profile::Profile;
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use std::collections::VecDeque;

struct Flow {
    queue: VecDeque<PacketMeta>,
    class: usize,
    venue: u8,
    level: ExactLevel,
    sched: ExactLevel,
    /// When its head became its head.
    head_since: Nanos,
}

struct ClassNode {
    level: ExactLevel,
    sched: ExactLevel,
    packets: u32,
    bytes: u64,
}

pub struct Oracle {
    slot: u64,
    classes_of_config: Vec<Class>,
    profile: Profile,
    port_index: usize,
    words: StopWords,
    draining: bool,
    flows: Vec<Flow>,
    classes: Vec<ClassNode>,
    port: ExactLevel,
    counters: Counters,
}

/// A dropped packet's id and reason.
pub type Drops = Vec<(u64, DropReason)>;

impl Oracle {
    pub fn new(slot: Nanos, flows: u32, classes: &[Class], profile: &Profile, port: usize) -> Self {
        Self {
            slot: slot.0,
            classes_of_config: classes.to_vec(),
            profile: profile.clone(),
            port_index: port,
            words: StopWords::default(),
            draining: false,
            flows: (0..flows)
                .map(|_| Flow {
                    queue: VecDeque::new(),
                    class: 0,
                    venue: NO_VENUE,
                    level: ExactLevel::new(profile.classes[0].flow),
                    sched: ExactLevel::new(profile.classes[0].flow),
                    head_since: Nanos::ZERO,
                })
                .collect(),
            classes: profile
                .classes
                .iter()
                .map(|c| ClassNode {
                    level: ExactLevel::new(c.class),
                    sched: ExactLevel::new(c.class),
                    packets: 0,
                    bytes: 0,
                })
                .collect(),
            port: ExactLevel::new(profile.egress[port].port),
            counters: Counters::default(),
        }
    }

    fn ceil(&self, at: Nanos) -> Nanos {
        Nanos(at.0.saturating_add(self.slot - 1) / self.slot * self.slot)
    }

    fn word(&self, class: usize, venue: u8) -> StopWord {
        self.words.of(class as u8, (venue != NO_VENUE).then_some(venue))
    }

    /// The halt rule restated: on TCP and in mixed sessions the class decides and payload counts; a
    /// datagram is judged by its own kind; nothing from the venue is stopped.
    fn halts(&self, packet: &PacketMeta, venue: u8) -> bool {
        let class = &self.classes_of_config[usize::from(packet.class)];
        if self.word(usize::from(packet.class), venue) != StopWord::Halt
            || class.from == Side::Venue
        {
            return false;
        }
        if packet.has(flags::TCP) || packet.kind() == Kind::Mixed {
            let may_carry = matches!(class.kind, Kind::Order | Kind::Replace | Kind::Mixed);
            may_carry && class.halt_mixed != Some(HaltMixed::Pass) && packet.has(flags::PAYLOAD)
        } else {
            matches!(packet.kind(), Kind::Order | Kind::Replace)
        }
    }

    fn reclass(&mut self, now: Nanos, flow: u32, class: usize) {
        let f = &mut self.flows[flow as usize];
        f.class = class;
        f.level.rescale(self.profile.classes[class].flow, now.0);
        f.sched.rescale(self.profile.classes[class].flow, now.0);
    }

    pub fn arrive(
        &mut self,
        now: Nanos,
        flow: u32,
        venue: u8,
        packet: &PacketMeta,
        got: Result<(), DropReason>,
    ) {
        let class = usize::from(packet.class);
        let params = self.profile.classes[class];
        let node = &self.classes[class];
        let full = !packet.is_exempt()
            && (node.packets >= params.queue_packets
                || node.bytes + u64::from(packet.wire_len()) > params.queue_bytes);
        let expected = if self.halts(packet, venue) {
            Err(DropReason::Halted)
        } else if params.closed && !packet.is_exempt() {
            Err(DropReason::ProfileClosed)
        } else if full && params.drops_when_full {
            Err(DropReason::QueueFull)
        } else {
            Ok(())
        };
        assert_eq!(got, expected, "arrival of {packet:?} at {now}");
        if expected.is_err() {
            return;
        }
        if full {
            self.counters.over_budget += 1;
            self.counters.over_budget_class = packet.class;
        }
        let node = &mut self.classes[class];
        node.packets += 1;
        node.bytes += u64::from(packet.wire_len());

        let f = &mut self.flows[flow as usize];
        if f.queue.is_empty() {
            f.venue = venue;
            f.head_since = now;
            self.reclass(now, flow, class);
        } else if params.priority < self.profile.classes[f.class].priority {
            self.reclass(now, flow, class);
            self.counters.flow_lifted += 1;
        }
        let mut packet = PacketMeta { venue, ..*packet };
        let f = &mut self.flows[flow as usize];
        let c = &mut self.classes[f.class];
        packet.sched = if packet.is_exempt() {
            packet.wanted()
        } else {
            packet
                .not_before()
                .max(Nanos(f.sched.conforms_at(&packet)))
                .max(Nanos(c.sched.conforms_at(&packet)))
        };
        f.sched.charge(packet.sched.0, &packet);
        c.sched.charge(packet.sched.0, &packet);
        packet.normal_lag_ns =
            if self.profile.index == 0 && packet.jitter_ns == 0 { 0 } else { i32::MIN };
        f.queue.push_back(packet);
    }

    fn hold_deadline(&self, head: &PacketMeta) -> Nanos {
        head.wanted().saturating_add(self.profile.classes[usize::from(head.class)].max_hold)
    }

    /// Why the head of a flow need not ask a bucket at `now`, and since when, in whole slots where
    /// it had to wait for a time.
    fn express(&self, f: &Flow, now: Nanos) -> Option<(Release, Nanos)> {
        let head = f.queue.front()?;
        let full_exempt = |p: &PacketMeta| p.is_exempt() && !p.has(flags::BARE);
        let release = if head.is_exempt() {
            Release::Exempt
        } else if f.queue.iter().any(full_exempt) {
            Release::Forward
        } else if self.draining {
            Release::Drain
        } else if self.word(f.class, f.venue) == StopWord::Passthrough {
            Release::Passthrough
        } else {
            let deadline = self.hold_deadline(head);
            return (deadline <= now).then(|| (Release::MaxHold, self.ceil(deadline)));
        };
        let wanted = head.wanted();
        (wanted <= now)
            .then(|| (release, if wanted <= f.head_since { wanted } else { self.ceil(wanted) }))
    }

    fn certain_express(&self, now: Nanos) -> Option<&PacketMeta> {
        self.flows
            .iter()
            .find(|f| self.express(f, now).is_some_and(|(_, since)| since <= now))
            .and_then(|f| f.queue.front())
    }

    /// Heads that conform at their flow's level at `now`, with the time from which they do.
    fn flow_ready(&self, class: usize, now: Nanos) -> impl Iterator<Item = (&PacketMeta, Nanos)> {
        self.flows.iter().filter(move |f| f.class == class).filter_map(move |f| {
            let head = f.queue.front()?;
            let at = head.not_before().max(Nanos(f.level.conforms_at(head)));
            let express = self.express(f, now).is_some_and(|(_, since)| since <= now);
            (at <= now && !express).then_some((head, at))
        })
    }

    /// Whether the class has a packet to give whichever of its flows has the turn.
    fn certain_class(&self, class: usize, now: Nanos) -> bool {
        self.flow_ready(class, now).any(|(_, at)| self.ceil(at) <= now)
            && self
                .flow_ready(class, now)
                .all(|(p, _)| self.ceil(Nanos(self.classes[class].level.conforms_at(p))) <= now)
    }

    pub fn depart(&mut self, now: Nanos, released: &Released<PacketMeta>) {
        let got = released.packet;
        let f = &self.flows[released.flow as usize];
        let mut head = *f.queue.front().expect("a departure from an empty flow");
        // What the confirmed profile would have said is held against a twin under it: pacer_normal.rs.
        if head.normal_lag_ns == i32::MIN {
            head.normal_lag_ns = got.normal_lag_ns;
        }
        assert_eq!(got, head, "flow {}: not its head", released.flow);

        let expected = self.express(f, now).map(|(release, _)| release);
        if released.release == Release::Governed {
            // A hold timer fires at the end of its slot.
            let hold_runs =
                expected == Some(Release::MaxHold) && self.ceil(self.hold_deadline(&head)) > now;
            assert!(expected.is_none() || hold_runs, "{expected:?} released as governed: {got:?}");
        } else {
            assert_eq!(Some(released.release), expected, "label of {got:?} at {now}");
        }

        let levels = f
            .level
            .conforms_at(&head)
            .max(self.classes[f.class].level.conforms_at(&head))
            .max(self.port.conforms_at(&head));
        let governed = released.release == Release::Governed;
        let eligible = if governed { head.not_before().max(Nanos(levels)) } else { head.wanted() };
        assert_eq!(released.eligible, eligible, "eligible of {got:?} at {now}");
        assert!(now >= eligible, "{got:?} left at {now}, {} early", eligible.saturating_sub(now));
        // An exempt packet never waits for a bucket; what is let go waited until now.
        let waited = governed || (!head.is_exempt() && now > head.wanted());
        let bucket_held = waited && Nanos(levels) > head.wanted();
        assert_eq!(released.bucket_held, bucket_held);
        self.counters.bucket_held += u64::from(bucket_held);

        let class = f.class;
        if governed {
            assert_eq!(self.certain_express(now), None, "passed by {got:?} at {now}");
            let priority = self.profile.classes[class].priority;
            for other in 0..self.classes.len() {
                assert!(
                    self.profile.classes[other].priority >= priority
                        || !self.certain_class(other, now),
                    "class {class} was served before class {other} at {now}"
                );
            }
        }

        let f = &mut self.flows[released.flow as usize];
        f.queue.pop_front();
        f.head_since = now;
        for level in [&mut f.level, &mut self.classes[class].level, &mut self.port] {
            level.charge(now.0, &head);
            if governed {
                level.note_governed(now.0, &head);
            }
        }
        let own = &mut self.classes[usize::from(head.class)];
        own.packets -= 1;
        own.bytes -= u64::from(head.wire_len());
    }

    /// The pacer said that nothing is due at `now`.
    pub fn nothing(&self, now: Nanos) {
        assert_eq!(self.certain_express(now), None, "waits at {now} for nothing");
        // The port asks the first priority that has something to give, and only that one.
        let possible = |class: usize| {
            self.flow_ready(class, now)
                .any(|(p, _)| Nanos(self.classes[class].level.conforms_at(p)) <= now)
        };
        let priority = |class: usize| self.profile.classes[class].priority;
        let classes = 0..self.classes.len();
        let Some(first) = classes.clone().filter(|&c| possible(c)).map(priority).min() else {
            return;
        };
        let port_conforms = classes.clone().filter(|&c| priority(c) == first).all(|class| {
            self.flow_ready(class, now)
                .all(|(p, _)| self.ceil(Nanos(self.port.conforms_at(p))) <= now)
        });
        for class in classes.filter(|&c| priority(c) == first && port_conforms) {
            assert!(
                !self.certain_class(class, now),
                "class {class} conforms at {now}: {:?}",
                self.flow_ready(class, now).collect::<Vec<_>>()
            );
        }
    }

    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        self.profile = profile.clone();
        for f in &mut self.flows {
            f.level.rescale(profile.classes[f.class].flow, now.0);
            f.sched.rescale(profile.classes[f.class].flow, now.0);
        }
        for (node, params) in self.classes.iter_mut().zip(&profile.classes) {
            node.level.rescale(params.class, now.0);
            node.sched.rescale(params.class, now.0);
        }
        self.port.rescale(profile.egress[self.port_index].port, now.0);
    }

    pub fn set_words(&mut self, now: Nanos, words: &StopWords, got: &Drops) {
        self.words = *words;
        let halted = |oracle: &Self, f: &Flow, p: &PacketMeta| oracle.halts(p, f.venue);
        self.end(now, DropReason::Halted, halted, got);
    }

    pub fn end_stale(&mut self, now: Nanos, got: &Drops) {
        let stale = |oracle: &Self, _: &Flow, p: &PacketMeta| {
            !p.is_exempt() && now > oracle.hold_deadline(p)
        };
        self.end(now, DropReason::Stale, stale, got);
    }

    pub fn stop(&mut self, now: Nanos, got: &Drops) {
        self.end(now, DropReason::Stopped, |_, _, _| true, got);
    }

    pub fn begin_drain(&mut self) {
        self.draining = true;
    }

    fn end(
        &mut self,
        now: Nanos,
        reason: DropReason,
        ends: impl Fn(&Self, &Flow, &PacketMeta) -> bool,
        got: &Drops,
    ) {
        let mut expected = Drops::new();
        for i in 0..self.flows.len() {
            let f = &self.flows[i];
            let first = f.queue.front().map(|p| p.correlation_id);
            let (ended, kept): (Vec<_>, Vec<_>) =
                f.queue.iter().copied().partition(|p| ends(self, f, p));
            for packet in &ended {
                expected.push((packet.correlation_id, reason));
                let own = &mut self.classes[usize::from(packet.class)];
                own.packets -= 1;
                own.bytes -= u64::from(packet.wire_len());
            }
            let f = &mut self.flows[i];
            f.queue = kept.into();
            if f.queue.front().map(|p| p.correlation_id) != first {
                f.head_since = now;
            }
        }
        assert_eq!(*got, expected);
    }

    /// Packets that are still held.
    pub fn held(&self) -> usize {
        self.flows.iter().map(|f| f.queue.len()).sum()
    }

    /// The pacer's own figures agree with ours.
    pub fn check_counters<Q: model::pacer::Fifo>(&self, pacer: &Pacer<Q>) {
        assert_eq!(pacer.counters(), self.counters);
        assert_eq!(pacer.queued_packets() as usize, self.held());
        assert_eq!(pacer.queued_bytes(), self.classes.iter().map(|c| c.bytes).sum::<u64>());
        for (i, class) in self.classes.iter().enumerate() {
            assert_eq!(pacer.class_queued_packets(i as u8), class.packets);
            assert_eq!(pacer.class_queued_bytes(i as u8), class.bytes);
        }
    }

    /// Every node kept its envelope.
    pub fn check_windows(&self) {
        self.port.check_windows();
        self.classes.iter().for_each(|c| c.level.check_windows());
        self.flows.iter().for_each(|f| f.level.check_windows());
    }
}
