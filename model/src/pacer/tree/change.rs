//! What changes for everything that is queued: profiles, stop words, old age, the end.

use super::*;

impl<Q: Fifo> Pacer<Q> {
    /// New caps for what is queued and for what comes: buckets keep their TAT, clamped to
    /// `now + B/R` of the new bucket. Walks all flows: call at a burst boundary.
    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        self.profile_index = profile.index;
        let changed = std::array::from_fn::<_, CLASSES_MAX, _>(|class| {
            let (old, new) = (self.classes.get(class)?, profile.classes.get(class)?);
            (new.flow != old.params.flow).then(|| LevelParams::from(new.flow))
        });
        for f in &mut self.flows[..self.flows_used as usize] {
            if let Some(new) = &changed[usize::from(f.class)] {
                let old = &self.classes[usize::from(f.class)].flow_params;
                f.level.rescale(old, new, now);
                f.sched.rescale(old, new, now);
            }
        }
        for (class, new) in self.classes.iter_mut().zip(&profile.classes) {
            let new_class = LevelParams::from(new.class);
            if new.class != class.params.class {
                class.level.rescale(&class.class_params, &new_class, now);
                class.sched.rescale(&class.class_params, &new_class, now);
            }
            class.class_params = new_class;
            class.flow_params = new.flow.into();
            class.params = *new;
        }
        let egress: EgressParams = profile.egress.get(self.port).copied().unwrap_or_default();
        if egress.port != self.port_caps {
            let new_port = LevelParams::from(egress.port);
            self.port_level.rescale(&self.port_params, &new_port, now);
            self.port_params = new_port;
            self.port_caps = egress.port;
        }
        self.replace_all(now);
    }

    /// New stop words. What they halt ends through `on_drop`, in the order of its flow; exempt
    /// packets behind it then pass. Walks all flows.
    pub fn set_words(
        &mut self,
        now: Nanos,
        words: &StopWords,
        mut on_drop: impl FnMut(Q::Packet, DropReason),
    ) {
        self.words = *words;
        self.any_word = *words != StopWords::default();
        for flow in 0..self.flows_used {
            let f = &mut self.flows[flow as usize];
            if f.queued == 0 {
                continue;
            }
            f.word = words.of(f.class, (f.venue != NO_VENUE).then_some(f.venue));
            let halts: [HaltRule; CLASSES_MAX] = std::array::from_fn(|class| {
                self.classes.get(class).map_or(HaltRule::NONE, |c| c.halt)
            });
            // A flow may hold packets of several classes and venues (DSCP; a full flow table).
            self.retain(
                flow,
                |meta| {
                    let venue = (meta.venue != NO_VENUE).then_some(meta.venue);
                    words.of(meta.class, venue) == StopWord::Halt
                        && halts[usize::from(meta.class)].stops(meta)
                },
                |packet| on_drop(packet, DropReason::Halted),
            );
        }
        self.replace_all(now);
    }

    /// Ends what is older than its class's `max_hold` as `stale`: after a link came back, and before
    /// a drain. Exempt packets stay: a late cancel or RST takes risk off. Walks all flows.
    pub fn end_stale(&mut self, now: Nanos, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        let max_hold: [Nanos; CLASSES_MAX] = std::array::from_fn(|class| {
            self.classes.get(class).map_or(Nanos::MAX, |c| c.params.max_hold)
        });
        for flow in 0..self.flows_used {
            self.retain(
                flow,
                |meta| {
                    let max_hold = max_hold[usize::from(meta.class)];
                    !meta.is_exempt() && now > meta.wanted().saturating_add(max_hold)
                },
                |packet| on_drop(packet, DropReason::Stale),
            );
        }
        self.replace_all(now);
    }

    /// From now on everything held is released at once, groups with an exempt packet first, each in
    /// its own order.
    pub fn begin_drain(&mut self, now: Nanos) {
        self.draining = true;
        self.replace_all(now);
    }

    /// Ends everything held as `stopped`.
    pub fn stop(&mut self, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        for flow in 0..self.flows_used {
            self.take_out(flow);
            self.retain(flow, |_| true, |packet| on_drop(packet, DropReason::Stopped));
        }
    }

    /// Filters a flow in its order.
    pub(super) fn retain(
        &mut self,
        flow: u32,
        mut ends: impl FnMut(&PacketMeta) -> bool,
        mut on_drop: impl FnMut(Q::Packet),
    ) {
        let f = &mut self.flows[flow as usize];
        let queued = f.queued;
        let mut kept = 0;
        f.forward = 0;
        for _ in 0..queued {
            let Some(packet) = f.fifo.pop_front() else { break };
            let meta = *Q::meta(&packet);
            if ends(&meta) {
                let own = &mut self.classes[usize::from(meta.class)];
                own.queued_packets -= 1;
                own.queued_bytes -= u64::from(meta.wire_len());
                self.queued_packets -= 1;
                self.queued_bytes -= u64::from(meta.wire_len());
                f.queued -= 1;
                f.exempt_queued -= u32::from(meta.is_exempt());
                on_drop(packet);
            } else {
                f.fifo.push_back(packet);
                kept += 1;
                if meta.is_exempt() && !meta.has(flags::BARE) {
                    f.forward = kept;
                }
            }
        }
        if f.queued == 0 {
            self.take_out(flow);
        }
    }

    /// Asks every flow, class and the port again: caps or words have changed.
    pub(super) fn replace_all(&mut self, now: Nanos) {
        self.wake_port();
        for class in 0..self.classes.len() {
            self.wake_class(class);
        }
        // A drain lets groups that hold an exempt packet go first.
        let passes: &[Option<bool>] =
            if self.draining { &[Some(true), Some(false)] } else { &[None] };
        for pass in passes {
            for flow in 0..self.flows_used {
                let f = &mut self.flows[flow as usize];
                if f.queued == 0 || pass.is_some_and(|exempt| exempt != (f.exempt_queued > 0)) {
                    continue;
                }
                f.hold_at = Nanos::MAX;
                self.take_out(flow);
                self.wheel.remove(self.flows.len() as u32 + flow);
                self.place(now, flow, false);
                self.arm_hold(flow);
            }
        }
    }
}
