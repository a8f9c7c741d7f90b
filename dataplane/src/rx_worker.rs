//! The loop of a core that receives for a pacing core. To read it, read [`RxWorker::poll`].
//!
//! It takes packets from its RX queues, stamps their arrival, classifies them completely and hands
//! them over by one ring for each direction; [`crate::worker`] with
//! [`Classified`](crate::classify::Classified) lanes stands at the other end. An arrival is stamped
//! with the time of the turn that took it, also where the device has a clock of its own. It forwards
//! whatever control or a stop word says: those act on the pacing core, on every poll. Of a profile only
//! one thing acts here, whether RX holds may hold back, and the ring brings it. What ends here (a
//! malformed frame, a full ring) is noted in the ring's account and stands in the books of the pacing
//! core. Flows are numbered here within a range that the pacer keeps for this core; they are not
//! forgotten while the gateway runs: their number is bounded by `flows_max`, and what comes beyond
//! shares one flow for each class and is counted as `flow_table_full`.

use model::drop_reason::DropReason;
use model::kpi::{Block, CoreAggregates};
use model::meta::StampSource;
use model::pacer::Seat;
use model::time::Nanos;

use crate::batch::Batch;
use crate::channel::{Action, Event, WorkerLink};
use crate::classify::{Classifier, Classify, Flows};
use crate::hand_over::{Ended, RingIn};
use crate::port::Rx;
use crate::turns::Turns;
use crate::worker::{Clock, Turn};

/// A full ring raises one alarm in so long.
const ALARM: Nanos = Nanos::from_millis(1);

/// The flows of one classifier, numbered from 0: the ring's far end knows them by `base` more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRange {
    base: u32,
    next: u32,
    count: u32,
}

impl FlowRange {
    /// `count` flows, the first of which is the pacer's flow `base`.
    pub const fn new(base: u32, count: u32) -> Self {
        Self { base, next: 0, count }
    }

    /// The next one.
    pub const fn take(&mut self) -> Option<u32> {
        if self.next == self.count {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

impl Flows for FlowRange {
    fn new_flow(&mut self, _: Seat) -> Option<u32> {
        self.take()
    }

    #[inline(always)]
    fn soon(&self, _: u32) {}
}

/// What an intake is made of.
pub struct IntakeParts<R> {
    /// Where packets come from: one or several queues of one port.
    pub rx: R,
    /// The way to the pacing core.
    pub ring: RingIn,
    /// Its classifier.
    pub classifier: Classifier,
    /// Its flows.
    pub flows: FlowRange,
    /// Index of the egress port in the config.
    pub tx_port: u8,
    /// What an arrival stamp is.
    pub clock_source: StampSource,
}

/// One direction on a receiving core: RX -> classify -> ring.
pub struct Intake<R> {
    parts: IntakeParts<R>,
    arrivals: Batch,
    leaving: Batch,
    /// What the source was last told.
    may_hold: bool,
    ring_full: u32,
    next_alarm: Nanos,
}

impl<R: Rx> Intake<R> {
    /// An intake that has received nothing yet.
    pub const fn new(parts: IntakeParts<R>) -> Self {
        Self {
            parts,
            arrivals: Batch::new(),
            leaving: Batch::new(),
            may_hold: true,
            ring_full: 0,
            next_alarm: Nanos::ZERO,
        }
    }

    /// Its classifier, to read counters.
    pub const fn classifier(&self) -> &Classifier {
        &self.parts.classifier
    }

    /// Its source, to read counters.
    pub const fn rx(&self) -> &R {
        &self.parts.rx
    }

    /// At once where the pacing core has said something new of holds.
    fn next_event(&self) -> Option<Nanos> {
        let told = self.parts.ring.may_hold() != self.may_hold;
        if told { Some(Nanos::ZERO) } else { self.parts.rx.next_event() }
    }

    /// RX -> classify -> ring. Returns how many packets came. Bounded by one burst.
    fn poll(&mut self, now: Nanos, link: &mut WorkerLink<Block>) -> usize {
        let parts = &mut self.parts;
        let may_hold = parts.ring.may_hold();
        if may_hold != self.may_hold {
            self.may_hold = may_hold;
            parts.rx.hold_back(may_hold);
        }
        let received = parts.rx.rx_burst(now, &mut self.arrivals);
        let mut missed = 0;
        while let Some(len) = parts.rx.take_missed() {
            parts.ring.end(Ended::Unclassified(DropReason::PoolEmpty), len);
            missed += 1;
        }
        if missed > 0 {
            link.alarm(Event::PoolAlarm { at: now, packets: missed });
        }
        if received == 0 {
            return 0;
        }
        let held_back = parts.rx.writes_arrival();
        parts.classifier.classify(&self.arrivals, &mut parts.flows);
        for (i, mut packet) in self.arrivals.drain().enumerate() {
            let entry = match parts.classifier.verdict(i) {
                Ok(entry) => entry,
                Err(reason) => {
                    parts.ring.drop_packet(Ended::Unclassified(reason), packet);
                    continue;
                }
            };
            let arrival = if held_back { packet.meta().arrival } else { now };
            let arrival = (arrival, parts.clock_source);
            parts.classifier.describe(i, &entry, arrival, &mut packet);
            packet.set_note(parts.flows.base + entry.flow);
            // Both batches are of one size.
            let pushed = self.leaving.push(packet);
            debug_assert!(pushed.is_ok());
        }
        parts.ring.push(&mut self.leaving);
        if !self.leaving.is_empty() {
            self.refuse(now, link);
        }
        received
    }

    /// The ring is full.
    #[cold]
    fn refuse(&mut self, now: Nanos, link: &mut WorkerLink<Block>) {
        for packet in self.leaving.drain() {
            let class = packet.meta().class;
            self.parts.ring.drop_packet(Ended::RingFull(class), packet);
            self.ring_full += 1;
        }
        if now >= self.next_alarm {
            self.next_alarm = now.saturating_add(ALARM);
            self.tell_ring_full(now, link);
        }
    }

    /// What was counted here goes to control and to the pacing core.
    fn tell(&mut self, now: Nanos, link: &mut WorkerLink<Block>) {
        self.parts.ring.tell_flows(self.parts.classifier.figures());
        self.tell_ring_full(now, link);
    }

    fn tell_ring_full(&mut self, now: Nanos, link: &mut WorkerLink<Block>) {
        let packets = std::mem::take(&mut self.ring_full);
        if packets > 0 {
            link.alarm(Event::RingFull { port: self.parts.tx_port, at: now, packets });
        }
    }
}

/// What a receiving worker is told at construction.
pub struct RxWorkerParts<R> {
    /// One for each port that it receives from.
    pub intakes: Vec<Intake<R>>,
    /// The way to control.
    pub link: WorkerLink<Block>,
    /// Cycles, and nothing else: made for a plan without ports.
    pub aggregates: CoreAggregates,
    /// An empty block that the aggregates are left with at the end.
    pub last_block: Box<Block>,
}

/// See the module.
pub struct RxWorker<R, C> {
    parts: RxWorkerParts<R>,
    clock: C,
    closing: bool,
    ended: bool,
    turns: Turns,
}

impl<R: Rx, C: Clock> RxWorker<R, C> {
    /// A worker that has not polled yet.
    pub fn new(parts: RxWorkerParts<R>, clock: C) -> Self {
        Self { parts, closing: false, ended: false, turns: Turns::new(&clock), clock }
    }

    /// Polls until control says stop.
    pub fn run(mut self) -> FinishedRx<R> {
        self.parts.link.start();
        self.turns.begin(&self.clock);
        loop {
            let now = self.clock.now();
            if self.poll(now).ended {
                return self.finish();
            }
        }
    }

    /// One turn: obey, then receive from each port, then report. Bounded by one burst for each port.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Turn {
        // A profile is the pacing core's affair (see `Intake::poll` for what comes of it), and arrivals are stamped by the turn here, not by the
        // device.
        match self.parts.link.turn(now) {
            None
            | Some(Action::ProfileChanged | Action::ConfirmedChanged | Action::PortClocks(..)) => {}
            Some(Action::Clock(model)) => {
                self.clock.set_model(model);
                self.turns.set_rate(&self.clock);
            }
            Some(Action::StallThreshold(threshold)) => self.turns.set_threshold(threshold),
            Some(Action::Stop) => self.close(),
        }
        let RxWorkerParts { intakes, link, .. } = &mut self.parts;
        let mut packets = 0;
        if !self.closing || intakes.iter().any(|intake| !intake.parts.rx.is_dry()) {
            for intake in intakes {
                packets += intake.poll(now, link);
            }
        }
        self.ended = self.closing && self.parts.intakes.iter().all(|i| i.parts.rx.is_dry());
        self.report(now, packets);
        // The core that paces knows of every flow what this one could tell but its addresses.
        self.parts.link.end_survey();
        Turn { packets, ended: self.ended }
    }

    /// When the next packet arrives or is let go; `None` = never, or unknown on a real port.
    pub fn next_event(&self) -> Option<Nanos> {
        self.parts.intakes.iter().filter_map(Intake::next_event).min()
    }

    /// Packets that it holds back.
    pub fn held(&self) -> u32 {
        self.parts.intakes.iter().map(|intake| intake.parts.rx.waiting()).sum()
    }

    /// Its intakes, to read counters.
    pub fn intakes(&self) -> &[Intake<R>] {
        &self.parts.intakes
    }

    /// The last aggregates go to control, the queues come back, and the pacing core learns that
    /// nothing more will come. Call when [`Turn::ended`], or when a virtual world has nothing left to
    /// do.
    pub fn finish(mut self) -> FinishedRx<R> {
        let now = self.clock.now();
        let parts = &mut self.parts;
        for intake in &mut parts.intakes {
            intake.tell(now, &mut parts.link);
        }
        self.turns.finish(&mut self.parts.link);
        let (busy, all) = self.turns.take_cycles();
        self.parts.aggregates.add_cycles(busy, all);
        self.parts.aggregates.flush();
        let last = self.parts.aggregates.swap(now, self.parts.last_block);
        self.parts.link.finish(last);
        let intakes = self.parts.intakes.into_iter();
        FinishedRx {
            intakes: intakes
                .map(|Intake { parts, .. }| {
                    let IntakeParts { rx, classifier, .. } = parts;
                    FinishedIntake { rx, classifier }
                })
                .collect(),
        }
    }

    #[cold]
    fn close(&mut self) {
        self.closing = true;
        self.parts.intakes.iter_mut().for_each(|intake| intake.parts.rx.close());
    }

    #[inline]
    fn report(&mut self, now: Nanos, packets: usize) {
        let RxWorkerParts { intakes, link, .. } = &mut self.parts;
        let held = || intakes.iter().map(|intake| intake.parts.rx.waiting()).sum();
        self.turns.end(&self.clock, packets, link, held);
        if let Some(empty) = self.parts.link.empty_block() {
            self.give_block(now, empty);
        }
    }

    #[cold]
    fn give_block(&mut self, now: Nanos, empty: Box<Block>) {
        let RxWorkerParts { intakes, link, aggregates, .. } = &mut self.parts;
        intakes.iter_mut().for_each(|intake| intake.tell(now, link));
        let (busy, all) = self.turns.take_cycles();
        aggregates.add_cycles(busy, all);
        let full = aggregates.swap(now, empty);
        link.send_block(full);
    }
}

/// What is left of a receiving worker: its queues go back to the port thread.
pub struct FinishedRx<R> {
    /// One for each port that it received from.
    pub intakes: Vec<FinishedIntake<R>>,
}

/// What is left of an intake.
pub struct FinishedIntake<R> {
    /// Its source.
    pub rx: R,
    /// Its classifier.
    pub classifier: Classifier,
}
