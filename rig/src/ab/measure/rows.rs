//! Messages as the rows that a gateway would have recorded of them.

use control::controller::{CoreFacts, Kpis};
use control::kpis::PacketKpis;
use control::timeline::Recorder;
use model::kind::{Kind, Side};
use model::kpi::{
    Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan, PortPlan, Report,
};
use model::meta::{IntentSource, PacketMeta, StampSource, flags, wire_len};
use model::sample::{DepartureSource, End, Mode, Release, Sample, TcpSeen};
use model::time::Nanos;

use super::{Around, BACK, BULK, FEED, ORDERS};
use crate::ab::contract::{ORDER_FLOW, frame_len};
use crate::ab::passage::{Acknowledged, Passage, Passages, Wire};
use crate::ab::schedule::Transport;

/// Ports of the plan.
const VENUE: u8 = 0;
const STRATEGY: u8 = 1;

/// What happens next to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Comes,
    Leaves,
}

/// What turns messages into rows, and rows into figures.
pub(super) struct Rows<'a> {
    plan: KpiPlan,
    timeline: Option<&'a mut Recorder>,
    kpis: PacketKpis,
    aggregates: CoreAggregates,
    flows: Vec<FlowKpi>,
    /// Wire bytes of each class that wait.
    waiting: [u64; 4],
    rows: u64,
}

impl<'a> Rows<'a> {
    /// For a block; rows are recorded by `timeline` too.
    pub(super) fn new(around: &Around<'_>, timeline: Option<&'a mut Recorder>) -> Self {
        let port = |index, name: &str, side| PortPlan {
            index,
            name: name.to_owned(),
            side,
            departure: if side == Side::Venue {
                DepartureSource::Modelled
            } else {
                DepartureSource::Kernel
            },
            completion: CompletionFigures::Absent,
            stall_time: Nanos::MAX,
            tx_descriptors: 0,
            link_bits_per_s: (side == Side::Venue).then_some(around.contract.link_bits_per_s),
        };
        let ports =
            vec![port(VENUE, "venue", Side::Venue), port(STRATEGY, "strategy", Side::Inside)];
        let mut plan = KpiPlan::new(around.classes, ports);
        // What is not IP is no part of a workload: its classes are the last two.
        plan.classes.truncate(plan.classes.len().saturating_sub(2));
        let mut kpis = PacketKpis::new(vec![plan.clone()], around.classes.profiles.clone());
        kpis.roll(around.began, &[CoreFacts { profile: 0, samples_lost: around.capture_drops }]);
        let aggregates = CoreAggregates::new(&plan);
        Self { plan, timeline, kpis, aggregates, flows: Vec::new(), waiting: [0; 4], rows: 0 }
    }

    /// Every message as it came and left, in the order of time.
    pub(super) fn report(mut self, passages: &Passages, around: &Around<'_>) -> Report {
        let messages = &passages.messages;
        let mut steps: Vec<(Nanos, Step, usize)> = Vec::with_capacity(2 * messages.len());
        for (at, passage) in messages.iter().enumerate() {
            steps.push((comes(passage), Step::Comes, at));
            steps.extend(leaves(passage).map(|left| (left, Step::Leaves, at)));
        }
        steps.sort_unstable();
        let mut backlogs = vec![0; messages.len()];
        let mut acks = passages.acknowledged.iter().peekable();
        for (time, step, at) in steps {
            while let Some(ack) = acks.next_if(|ack| ack.at <= time) {
                self.acknowledged(ack);
            }
            let passage = &messages[at];
            let class = class_of(passage);
            let len = frame_len(passage.message.transport, passage.message.bytes);
            let waiting = &mut self.waiting[usize::from(class)];
            match step {
                Step::Comes => {
                    backlogs[at] = *waiting;
                    *waiting += u64::from(wire_len(len));
                    self.aggregates.on_arrival(port_of(passage), Some(class), len, time);
                }
                Step::Leaves => {
                    *waiting = waiting.saturating_sub(u64::from(wire_len(len)));
                    self.left(passage, class, backlogs[at]);
                }
            }
        }
        acks.for_each(|ack| self.acknowledged(ack));
        self.aggregates.flush();
        let mut block = self.aggregates.swap(around.ended, Box::new(Block::new(&self.plan)));
        self.kpis.merge(0, &mut block);
        let report = self.kpis.run_report(around.ended);
        if let Some(timeline) = &mut self.timeline {
            timeline.turn(around.ended);
            timeline.features(around.began, around.ended, report.entries.clone());
        }
        report
    }

    fn left(&mut self, passage: &Passage, class: u8, backlog_bytes: u64) {
        let Some(left) = leaves(passage) else { return };
        let from = passage.message.from;
        let is_order = from == Side::Inside;
        let (dispatch, due) = if is_order {
            (passage.dispatch, passage.due)
        } else {
            (comes(passage), comes(passage))
        };
        let intent = if is_order { IntentSource::Schedule } else { IntentSource::Implicit };
        let len = frame_len(passage.message.transport, passage.message.bytes);
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        let is_tcp = passage.message.transport == Transport::Tcp;
        let mut meta = PacketMeta {
            arrival: dispatch,
            due,
            sched: dispatch.max(due),
            decision_lag_ns: u32::MAX,
            class,
            len,
            flags: flags::PAYLOAD | if is_tcp { flags::TCP } else { 0 },
            ..PacketMeta::default()
        };
        meta.set_sources(StampSource::Kernel, intent);
        let stamp = passage.wire.map_or(left, |wire| wire.stamp);
        let departure = Departure {
            meta: &meta,
            port: port_of(passage),
            t_eligible: dispatch,
            t_tx: if is_order { stamp } else { left },
            t_wire: left,
            release: Release::Governed,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        };
        let number = usize::from(class) << 8 | usize::from(passage.message.flow & 0xff);
        if self.flows.len() <= number {
            self.flows.resize(number + 1, FlowKpi::default());
        }
        self.aggregates.on_departure(&departure, &mut self.flows[number]);
        let tcp = passage.wire.and_then(|wire| wire.tcp);
        self.rows += 1;
        let row = Sample {
            t_dispatch: dispatch,
            t_due: due,
            t_tx: Some(departure.t_tx),
            t_wire: Some(left),
            t_delivery: passage.delivery.filter(|_| !is_order),
            t_ingress: dispatch,
            intent,
            backlog_bytes,
            tcp_end_seq: tcp.map(|(_, end)| end),
            tcp: tcp.map(|(tcp, _)| TcpSeen {
                payload_bytes: u16::try_from(passage.message.bytes).unwrap_or(u16::MAX),
                ..tcp
            }),
            ..self.row(class, len, from, departure.port, number as u32)
        };
        self.record(&row);
    }

    fn record(&mut self, row: &Sample) {
        self.kpis.sample(0, row);
        if let Some(timeline) = &mut self.timeline {
            timeline.packet(0, row);
        }
    }

    fn acknowledged(&mut self, ack: &Acknowledged) {
        self.rows += 1;
        let len = u16::try_from(ack.len).unwrap_or(u16::MAX);
        let row = Sample {
            t_dispatch: ack.at,
            t_due: ack.at,
            t_tx: Some(ack.at),
            t_wire: Some(ack.at),
            t_ingress: ack.at,
            tcp: Some(ack.tcp),
            ..self.row(BACK, len, Side::Venue, STRATEGY, u32::from(BACK))
        };
        self.record(&row);
    }

    /// What all rows have in common.
    fn row(&self, class: u8, len: u16, from: Side, port: u8, flow: u32) -> Sample {
        Sample {
            packet_id: self.rows,
            correlation_id: None,
            flow,
            tcp_end_seq: None,
            tcp: None,
            class,
            label: 0,
            kind: self.plan.classes.get(usize::from(class)).map_or(Kind::Other, |class| class.kind),
            urgency: 0,
            len,
            messages: 1,
            t_decision: None,
            t_dispatch: Nanos::ZERO,
            t_due: Nanos::ZERO,
            t_sched: None,
            t_normal: None,
            t_eligible: None,
            t_tx: None,
            t_wire: None,
            t_ingress: Nanos::ZERO,
            t_carried: None,
            t_delivery: None,
            clock_error_ns: None,
            intent: IntentSource::Implicit,
            ingress_source: StampSource::Kernel,
            departure_source: if port == VENUE {
                DepartureSource::Modelled
            } else {
                DepartureSource::Kernel
            },
            simulated_link: false,
            from,
            port,
            queue: 0,
            backlog_bytes: 0,
            end: End::Sent(Release::Governed),
            regime: None,
            profile: 0,
            mode: Mode::Observe,
            canary: None,
            weight: 1,
        }
    }
}

/// When a message comes to whom is measured: hand-over, or for one from the venue when it passes the observer.
fn comes(passage: &Passage) -> Nanos {
    let stamp = passage.wire.map(|wire| wire.stamp);
    stamp.filter(|_| passage.message.from == Side::Venue).unwrap_or(passage.dispatch)
}

/// When it leaves it: departure, or for one from the venue its delivery.
fn leaves(passage: &Passage) -> Option<Nanos> {
    match passage.message.from {
        Side::Inside => passage.wire.map(|Wire { departure, .. }| departure),
        Side::Venue => passage.delivery.filter(|_| passage.wire.is_some()),
    }
}

/// Number of the class that a message is counted by.
pub(super) const fn class_of(passage: &Passage) -> u8 {
    match (passage.message.from, passage.message.flow) {
        (Side::Venue, _) => FEED,
        (Side::Inside, ORDER_FLOW) => ORDERS,
        (Side::Inside, _) => BULK,
    }
}

const fn port_of(passage: &Passage) -> u8 {
    match passage.message.from {
        Side::Inside => VENUE,
        Side::Venue => STRATEGY,
    }
}
