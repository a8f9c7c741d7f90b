//! The loop of a data core. To read the product, read [`Worker::poll`].
//!
//! A worker owns its ports' queues, its pacers and its counters. After start nothing in it
//! allocates, locks, logs or makes a syscall of its own (the af_packet, af_xdp, tap and pcap drivers
//! make syscalls inside DPDK).

use model::kpi::{Block, CoreAggregates};
use model::stop::StopWords;
use model::time::{Cycles, Nanos};

use crate::channel::{Action, WorkerLink};
use crate::classify::{Classifier, Classify};
use crate::clock::{self, TscModel};
use crate::lane::{Core, Lane};
use crate::paths::Connections;
use crate::port::{Rx, Tx};
use crate::sampler::Sampler;
use crate::turns::Turns;

/// The clock as a worker uses it: real, or stepped from outside.
pub trait Clock {
    /// Whether time passes by itself: then a turn that took long is a stall, [`crate::turns`].
    const REAL: bool = false;
    /// Gateway time.
    fn now(&self) -> Nanos;
    /// A mark that differs from turn to turn; cycles of the TSC where time is real.
    fn cycles(&self) -> Cycles;
    /// Takes a new model of gateway time.
    fn set_model(&mut self, model: TscModel);
    /// The model in force, where time is made of the TSC: stamps of devices need it.
    fn tsc_model(&self) -> Option<TscModel> {
        None
    }
}

impl Clock for clock::Clock {
    const REAL: bool = true;

    #[inline]
    fn now(&self) -> Nanos {
        clock::Clock::now(self)
    }

    #[inline]
    fn cycles(&self) -> Cycles {
        clock::Clock::cycles(self)
    }

    fn set_model(&mut self, model: TscModel) {
        clock::Clock::set_model(self, model);
    }

    fn tsc_model(&self) -> Option<TscModel> {
        Some(self.model())
    }
}

/// Where stop words are read: a shared page, or nowhere.
pub trait Words {
    /// The words, if they have changed since the last call. A few loads, no syscall.
    fn changed(&mut self) -> Option<StopWords>;
    /// Whether the next call of [`Words::changed`] will say something. As cheap.
    fn have_changed(&self) -> bool;
}

/// No stop page: a replay.
pub struct NoWords;

impl Words for NoWords {
    fn changed(&mut self) -> Option<StopWords> {
        None
    }

    fn have_changed(&self) -> bool {
        false
    }
}

/// What a worker is told at construction.
pub struct WorkerParts<R, T, W, S = Classifier> {
    /// Two for each port pair: inside -> venue, venue -> inside.
    pub lanes: Vec<Lane<R, T, S>>,
    /// The way to control.
    pub link: WorkerLink<Block>,
    /// Aggregates of every packet.
    pub aggregates: CoreAggregates,
    /// An empty block that the aggregates are left with at the end.
    pub last_block: Box<Block>,
    /// Which packets leave a full sample.
    pub sampler: Sampler,
    /// Stop words.
    pub words: W,
    /// Longest drain at shutdown.
    pub drain_max: Nanos,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Told to stop: what has arrived and was not delivered yet is received first.
    Closing {
        until: Nanos,
    },
    Draining {
        until: Nanos,
    },
    Ended,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Packets received and sent.
    pub packets: usize,
    /// The worker has drained and will not poll again.
    pub ended: bool,
}

/// See the module.
pub struct Worker<R, T, W, C, S = Classifier> {
    parts: WorkerParts<R, T, W, S>,
    clock: C,
    phase: Phase,
    turns: Turns,
    /// Of a pair with a second path.
    connections: Option<Box<Connections>>,
}

impl<R: Rx, T: Tx, W: Words, C: Clock, S: Classify> Worker<R, T, W, C, S> {
    /// A worker that has not polled yet.
    pub fn new(parts: WorkerParts<R, T, W, S>, clock: C) -> Self {
        Self { parts, phase: Phase::Running, turns: Turns::new(&clock), clock, connections: None }
    }

    /// Follows the connections of a pair with a second path.
    #[must_use]
    pub fn with_connections(mut self, connections: Connections) -> Self {
        self.connections = Some(Box::new(connections));
        self
    }

    /// Polls until control says stop, and drains.
    pub fn run(mut self) -> Finished<R, T, S> {
        self.parts.link.start();
        self.turns.begin(&self.clock);
        loop {
            let now = self.next_turn();
            if self.poll(now).ended {
                return self.finish();
            }
        }
    }

    /// When the next turn is to begin: now, or, where a packet that is held falls due within
    /// [`crate::lane::IMMINENT`], at that moment, which is waited for. A turn begun before would find it late by as
    /// much as the turn lasts; one that comes in meanwhile waits for less than a turn of a full burst.
    #[inline]
    pub fn next_turn(&self) -> Nanos {
        let now = self.clock.now();
        if !C::REAL {
            return now;
        }
        match self.parts.lanes.iter().filter_map(|lane| lane.imminent(now)).min() {
            Some(due) => self.wait_until(due),
            None => now,
        }
    }

    fn wait_until(&self, due: Nanos) -> Nanos {
        loop {
            // Without a hint to the processor: that costs as much as what is waited for.
            let now = self.clock.now();
            if now >= due {
                return now;
            }
        }
    }

    /// One turn: obey, then for each lane receive and release, then report. Bounded by one burst in
    /// and out for each lane.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Turn {
        self.obey(now);
        let mut packets = 0;
        let receiving = matches!(self.phase, Phase::Running | Phase::Closing { .. });
        let WorkerParts { lanes, link, aggregates, sampler, words, .. } = &mut self.parts;
        let connections = self.connections.as_deref_mut();
        let mut core = Core { aggregates, link, sampler, connections };
        for lane in lanes {
            if receiving {
                packets += lane.receive(now, &mut core);
            } else {
                lane.tend(now, &mut core);
            }
            packets += lane.release(now, &mut core, words, || self.clock.now());
        }
        match self.phase {
            Phase::Running => {}
            Phase::Closing { until } => self.close(now, until),
            Phase::Draining { until } => self.drain(now, until),
            Phase::Ended => {}
        }
        self.report(now, packets);
        if self.parts.link.survey_mut().is_some() {
            self.survey();
        }
        Turn { packets, ended: self.phase == Phase::Ended }
    }

    /// When the worker has something to do by itself; `None` = never, or unknown on a real port.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        self.parts.lanes.iter().filter_map(|lane| lane.next_event(now)).min()
    }

    /// Packets held in all lanes.
    pub fn held(&self) -> u32 {
        self.parts.lanes.iter().map(Lane::held).sum()
    }

    /// Its lanes, to read counters.
    pub fn lanes(&self) -> &[Lane<R, T, S>] {
        &self.parts.lanes
    }

    /// Its clock, for one who steps it.
    pub const fn clock_mut(&mut self) -> &mut C {
        &mut self.clock
    }

    /// The last aggregates go to control, the queues come back. Call when [`Turn::ended`], or when a
    /// virtual world has nothing left to do.
    pub fn finish(mut self) -> Finished<R, T, S> {
        let now = self.clock.now();
        self.tell(now);
        self.turns.finish(&mut self.parts.link);
        self.add_cycles();
        self.parts.aggregates.flush();
        let last = self.parts.aggregates.swap(now, self.parts.last_block);
        self.parts.link.finish(last);
        Finished { lanes: self.parts.lanes }
    }

    /// What control and the stop words say, in this order: a stop word has the last word.
    #[inline]
    fn obey(&mut self, now: Nanos) {
        match self.parts.link.turn(now) {
            None => {}
            Some(Action::ProfileChanged) => {
                for lane in &mut self.parts.lanes {
                    lane.set_profile(now, self.parts.link.profile());
                }
                self.parts.sampler.set_profile(self.parts.link.profile());
                self.parts.aggregates.set_confirmed(self.parts.link.confirmed());
            }
            Some(Action::ConfirmedChanged) => {
                for lane in &mut self.parts.lanes {
                    lane.set_confirmed(now, self.parts.link.confirmed());
                }
                self.parts.aggregates.set_confirmed(self.parts.link.confirmed());
            }
            Some(Action::Clock(model)) => {
                self.clock.set_model(model);
                self.turns.set_rate(&self.clock);
                if let Some(tsc) = self.clock.tsc_model() {
                    self.parts.lanes.iter_mut().for_each(|lane| lane.set_tsc_model(tsc));
                }
            }
            Some(Action::PortClocks(port, clocks)) => {
                if let Some(tsc) = self.clock.tsc_model() {
                    for lane in &mut self.parts.lanes {
                        lane.set_port_clocks(port, clocks, tsc);
                    }
                }
            }
            Some(Action::StallThreshold(threshold)) => self.turns.set_threshold(threshold),
            Some(Action::Stop) => self.begin_stop(now),
        }
        if let Some(words) = self.parts.words.changed() {
            let WorkerParts { lanes, link, aggregates, sampler, .. } = &mut self.parts;
            let connections = self.connections.as_deref_mut();
            let mut core = Core { aggregates, link, sampler, connections };
            for lane in lanes {
                lane.set_words(now, &words, &mut core);
            }
        }
    }

    #[cold]
    fn begin_stop(&mut self, now: Nanos) {
        if self.phase != Phase::Running {
            return;
        }
        let until = now.saturating_add(self.parts.drain_max);
        self.phase = Phase::Closing { until };
        self.parts.lanes.iter_mut().for_each(Lane::close_rx);
        // A lane that has nothing on its way drains in this very turn.
        self.close(now, until);
    }

    #[cold]
    fn close(&mut self, now: Nanos, until: Nanos) {
        if self.parts.lanes.iter().all(Lane::is_dry) || now >= until {
            self.begin_drain(now, until);
        }
    }

    fn begin_drain(&mut self, now: Nanos, until: Nanos) {
        self.phase = Phase::Draining { until };
        let WorkerParts { lanes, link, aggregates, sampler, .. } = &mut self.parts;
        let connections = self.connections.as_deref_mut();
        let mut core = Core { aggregates, link, sampler, connections };
        for lane in lanes {
            lane.begin_drain(now, &mut core);
        }
    }

    #[cold]
    fn drain(&mut self, now: Nanos, until: Nanos) {
        if self.held() == 0 || now >= until {
            let WorkerParts { lanes, link, aggregates, sampler, .. } = &mut self.parts;
            let connections = self.connections.as_deref_mut();
            let mut core = Core { aggregates, link, sampler, connections };
            for lane in lanes {
                lane.receive_waiting(now, &mut core);
                lane.stop(now, &mut core);
            }
            self.phase = Phase::Ended;
        }
    }

    #[inline]
    fn report(&mut self, now: Nanos, packets: usize) {
        let WorkerParts { lanes, link, .. } = &mut self.parts;
        let held = || lanes.iter().map(Lane::held).sum();
        self.turns.end(&self.clock, packets, link, held);
        if let Some(empty) = self.parts.link.empty_block() {
            self.hand_over(now, empty);
        }
    }

    #[cold]
    fn hand_over(&mut self, now: Nanos, empty: Box<Block>) {
        self.tell(now);
        self.add_cycles();
        let full = self.parts.aggregates.swap(now, empty);
        self.parts.link.send_block(full);
    }

    fn add_cycles(&mut self) {
        let (busy, all) = self.turns.take_cycles();
        self.parts.aggregates.add_cycles(busy, all);
    }

    /// The next few flows of the look that control wants.
    #[cold]
    fn survey(&mut self) {
        let WorkerParts { lanes, link, .. } = &mut self.parts;
        let Some(survey) = link.survey_mut() else { return };
        if let Some(lane) = lanes.get(survey.lane()) {
            lane.survey(survey);
        }
        if survey.lane() >= lanes.len() {
            link.end_survey();
        }
    }

    /// What the parts of the lanes have counted by themselves goes into the block.
    fn tell(&mut self, now: Nanos) {
        let WorkerParts { lanes, link, aggregates, .. } = &mut self.parts;
        lanes.iter().for_each(|lane| lane.tell(now, aggregates, link));
    }
}

/// What is left of a worker: its queues go back to the port thread.
pub struct Finished<R, T, S = Classifier> {
    /// Its lanes.
    pub lanes: Vec<Lane<R, T, S>>,
}
