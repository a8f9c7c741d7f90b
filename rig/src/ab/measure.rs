//! From what became of each message to the KPIs of a block, by the code that a gateway's own are made by.
//!
//! Everything is seen from outside: hand-overs from the sender's log, departures from the observer. What only
//! the inside of a gateway or of a kernel knows is absent, in every arm alike.

use control::controller::{CoreFacts, Kpis};
use control::kpis::PacketKpis;
use control::timeline::Recorder;
use model::config::Config as GatewayConfig;
use model::kind::{Kind, Side};
use model::kpi::catalogue::{self, Arm};
use model::kpi::{
    Block, CompletionFigures, CoreAggregates, Departure, Entry, FlowKpi, KpiPlan, PortPlan, Report,
    View, absent,
};
use model::meta::{IntentSource, PacketMeta, StampSource, flags, wire_len};
use model::sample::{DepartureSource, End, Mode, Release, Sample, TcpSeen};
use model::time::Nanos;

use super::contract::{ORDER_FLOW, frame_len};
use super::passage::{Acknowledged, Passage, Passages, Wire};
use super::result::{Contract, CpuTime, Kpi, Totals};
use super::schedule::{Transport, with_rests};

/// Ports of the plan.
const VENUE: u8 = 0;
const STRATEGY: u8 = 1;
/// Classes, in the order of the gateway's config.
const ORDERS: u8 = 0;
const BULK: u8 = 1;
const FEED: u8 = 2;
const BACK: u8 = 3;
/// Only who holds a packet can say so.
const INSIDE_ONLY: &str = "inside_only";
/// A veth has no queue of descriptors, and no byte limit.
const OF_A_DEVICE: [&str; 5] = [
    "tx_queue_occupancy",
    "drain_interval_jitter_ns",
    "byte_queue_utilization",
    "limit_oscillation_score",
    "tx_stall_rate",
];
/// Caps and polls are those of one arm only.
const OF_AN_INSIDE: [&str; 4] =
    ["pacing_headroom", "cap_hit_ratio", "rx_burst_packets", "not_sent_urgency_divergence"];
/// Need market data.
const OF_A_FEED: [&str; 6] = [
    "burst_delivery_concentration",
    "causality_drift",
    "decision_burst_coupling",
    "delivery_delay_ns",
    "ingest_gap_ns",
    "market_data_distortion_ratio",
];
/// Made here, of other things than rows.
const MADE_HERE: [&str; 6] = [
    "completion_ratio",
    "drops",
    "cpu_ns_per_packet",
    "core_busy_ratio",
    "cycles_per_packet",
    "run_queue_delay_ns",
];

/// What is known of a block beside its messages.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The classes that messages are counted by.
    pub classes: &'a GatewayConfig,
    /// The contract.
    pub contract: &'a Contract,
    /// When it began, wall clock.
    pub began: Nanos,
    /// How long messages were handed over, without rests.
    pub length: Nanos,
    /// When everything was over.
    pub ended: Nanos,
    /// Frames that the observer lost.
    pub capture_drops: u64,
    /// CPU time.
    pub cpu: &'a [CpuTime],
    /// How long the sender's thread waited for its CPU, and how often it was given it.
    pub run_queue: Option<(u64, u64)>,
}

/// What happens next to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Comes,
    Leaves,
}

/// The KPIs of a block. Its rows and KPIs are recorded by `timeline` too.
pub fn kpis(passages: &Passages, around: &Around<'_>, timeline: Option<&mut Recorder>) -> Vec<Kpi> {
    let report = Rows::new(around, timeline).report(passages, around);
    let mut kpis: Vec<Kpi> =
        report.entries.iter().filter_map(|entry| of_rows(entry, passages)).collect();
    let totals = totals(passages, around);
    kpis.extend(completion(&totals));
    kpis.extend(of_host(around, &totals));
    for definition in catalogue::all() {
        let is_missing = kpis.iter().all(|kpi| kpi.name != definition.name);
        if definition.arms.contains(&Arm::Kernel) && is_missing {
            kpis.push(missing(definition.name));
        }
    }
    kpis.sort_by(|a, b| (&a.name, &a.class, &a.part).cmp(&(&b.name, &b.class, &b.part)));
    kpis
}

/// Sums over the orders of a block of `length`.
pub fn totals(passages: &Passages, around: &Around<'_>) -> Totals {
    let max_delay = around.contract.max_delay_ns;
    let until = around.began.saturating_add(with_rests(around.length)).0 + max_delay;
    let mut totals = Totals { span_ns: around.length.0, ..Totals::default() };
    for passage in passages.of(Side::Inside, ORDER_FLOW) {
        totals.offered += 1;
        let Some(wire) = passage.wire else { continue };
        totals.delivered += 1;
        let asked = passage.dispatch.max(passage.due);
        let is_in_time = wire.departure.saturating_sub(asked).0 <= max_delay;
        totals.in_time += u64::from(is_in_time);
        if wire.departure.0 <= until {
            totals.delivered_bytes += u64::from(passage.message.bytes);
        }
    }
    totals
}

struct Rows<'a> {
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
    fn new(around: &Around<'_>, timeline: Option<&'a mut Recorder>) -> Self {
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

    fn report(mut self, passages: &Passages, around: &Around<'_>) -> Report {
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

const fn class_of(passage: &Passage) -> u8 {
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

/// What a series of rows says of a block; `None`: nothing.
fn of_rows(entry: &Entry, passages: &Passages) -> Option<Kpi> {
    let is_defined = catalogue::find(entry.name)?.arms.contains(&Arm::Kernel);
    let is_made_here = MADE_HERE.contains(&entry.name);
    // Our own deliberate delay is no part of what is seen from outside.
    let is_inside = entry.name == "dispatch_to_wire_ns" && entry.labels.part != Some("total");
    let elsewhere = OF_A_DEVICE.contains(&entry.name) || OF_AN_INSIDE.contains(&entry.name);
    // Classes that the workload does not have.
    let class = entry.labels.class.as_deref();
    let is_idle = class.is_some_and(|name| {
        let number = match name {
            "orders" => ORDERS,
            "bulk" => BULK,
            "feed" => FEED,
            _ => BACK,
        };
        number == BACK || passages.messages.iter().all(|p| class_of(p) != number)
    });
    if !is_defined || is_made_here || is_inside || elsewhere || is_idle {
        return None;
    }
    let mut kpi = plain(entry.name);
    kpi.class = entry.labels.class.clone();
    kpi.part = entry.labels.part.map(str::to_owned);
    kpi.n = entry.n;
    kpi.values = entry.values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    kpi.absent = entry.absent.map(str::to_owned);
    kpi.structural_zero = entry.structural_zero;
    kpi.proxy = entry.proxy;
    kpi.departure = entry.sources.departure.map(str::to_owned);
    kpi.expanded = passages.expanded > 0;
    Some(kpi)
}

fn plain(name: &str) -> Kpi {
    Kpi { name: name.to_owned(), view: View::Outside.name().to_owned(), ..Kpi::default() }
}

/// A KPI of which nothing is known here.
fn missing(name: &str) -> Kpi {
    let why = if OF_A_DEVICE.contains(&name) {
        absent::NO_BQL
    } else if OF_AN_INSIDE.contains(&name) {
        INSIDE_ONLY
    } else if OF_A_FEED.contains(&name) {
        absent::NO_FEED
    } else {
        absent::NO_PACKETS
    };
    Kpi { absent: Some(why.to_owned()), ..plain(name) }
}

fn completion(totals: &Totals) -> [Kpi; 2] {
    let of_orders =
        |name| Kpi { class: Some("orders".to_owned()), n: totals.offered, ..plain(name) };
    let ratio = (totals.offered > 0).then(|| totals.in_time as f64 / totals.offered as f64);
    let mut completed = of_orders("completion_ratio");
    completed.values = vec![("ratio".to_owned(), ratio)];
    completed.absent = ratio.is_none().then(|| absent::NO_PACKETS.to_owned());
    let mut drops = of_orders("drops");
    let lost = totals.offered - totals.delivered;
    drops.values = vec![("packets".to_owned(), Some(lost as f64))];
    [completed, drops]
}

/// CPU time, of everything that ran on the host.
fn of_host(around: &Around<'_>, totals: &Totals) -> [Kpi; 4] {
    let sum = |part: fn(&CpuTime) -> u64| around.cpu.iter().map(part).sum::<u64>();
    let (user, system, interrupt) =
        (sum(|c| c.user_ns), sum(|c| c.system_ns), sum(|c| c.interrupt_ns));
    let busy = user + system + interrupt;
    let all = busy + sum(|c| c.idle_ns) + sum(|c| c.steal_ns);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let why = |value: Option<f64>, why: &str| value.is_none().then(|| why.to_owned());
    let named = |name: &str, value| (name.to_owned(), value);

    let mut cpu = plain("cpu_ns_per_packet");
    cpu.n = totals.delivered;
    let per_packet = |ns| share(ns, totals.delivered);
    cpu.values = vec![
        named("mean", per_packet(busy)),
        named("user", per_packet(user)),
        named("system", per_packet(system)),
        named("softirq", per_packet(interrupt)),
    ];
    cpu.absent = why(per_packet(busy), absent::NO_PACKETS);

    let mut used = plain("core_busy_ratio");
    used.n = around.cpu.len() as u64;
    used.values = vec![named("ratio", share(busy, all))];
    used.absent = why(share(busy, all), absent::NO_INTERVAL);

    let mut cycles = plain("cycles_per_packet");
    cycles.values = vec![named("mean", None)];
    cycles.absent = Some(INSIDE_ONLY.to_owned());

    let mut waits = plain("run_queue_delay_ns");
    let (wait_ns, slices) = around.run_queue.unwrap_or_default();
    let span = around.ended.saturating_sub(around.began).0;
    let known = around.run_queue.is_some();
    waits.n = slices;
    waits.values = vec![
        named("mean", share(wait_ns, slices).filter(|_| known)),
        named("share", share(wait_ns, span).filter(|_| known)),
    ];
    waits.absent = match (known, slices) {
        (false, _) => Some(absent::NOT_TOLD.to_owned()),
        (true, 0) => Some(absent::N_TOO_SMALL.to_owned()),
        _ => None,
    };
    [cpu, used, cycles, waits]
}

#[cfg(test)]
mod tests {
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::SeedableRng;

    use super::*;
    use crate::ab::contract;
    use crate::ab::fault::{Fault, Faulty};
    use crate::ab::observer::Observation;
    use crate::ab::passage::passages;
    use crate::ab::plan::below;
    use crate::ab::result::Block as ResultBlock;
    use crate::ab::schedule::Workload;
    use crate::ab::testing::{CONTRACT, WALL, log_of, udp_frame, when_due};

    const LENGTH: Nanos = Nanos::from_secs(1);

    /// A block of steady orders that passed the observer at these times.
    fn block(times: &[(u64, Nanos)]) -> ResultBlock {
        let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
        let log = log_of(&schedule);
        let frames = times.iter().map(|(number, at)| udp_frame(*number, *at)).collect();
        let seen = Observation { frames, ..Observation::default() };
        let found = passages(&schedule, &log, &seen, &CONTRACT);
        let classes = contract::classes(&schedule, &CONTRACT).expect("a good config");
        let cpu =
            [CpuTime { cpu: 0, user_ns: 400_000_000, idle_ns: 600_000_000, ..CpuTime::default() }];
        let around = Around {
            classes: &classes,
            contract: &CONTRACT,
            began: WALL,
            length: LENGTH,
            ended: WALL.saturating_add(LENGTH).saturating_add(Nanos::from_millis(30)),
            capture_drops: 0,
            cpu: &cpu,
            run_queue: Some((5_000, 10)),
        };
        ResultBlock {
            kpis: kpis(&found, &around, None),
            totals: totals(&found, &around),
            ..ResultBlock::default()
        }
    }

    fn of_orders(block: &ResultBlock, name: &str, part: Option<&str>, value: &str) -> f64 {
        let found = block.value(name, Some("orders"), part, value);
        found.unwrap_or_else(|| {
            panic!("{name} {part:?} {value}: {:?}", block.kpis.iter().find(|k| k.name == name))
        })
    }

    /// Each order leaves 2 us after it is due: no error of gaps, no bursts, an error of release of 2 us.
    #[test]
    fn a_block_that_keeps_every_due_time() {
        let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
        let block = block(&when_due(&schedule, Nanos::from_micros(2)));
        let close = |found: f64, expected: f64| (found - expected).abs() <= expected * 0.01;
        assert_eq!(of_orders(&block, "wire_cadence_variability_ns", None, "p99"), 0.0);
        assert!(close(of_orders(&block, "release_error_ns", Some("late"), "p99"), 2_000.0));
        assert_eq!(of_orders(&block, "burstiness_index", None, "excess"), 1.0);
        assert_eq!(of_orders(&block, "completion_ratio", None, "ratio"), 1.0);
        assert_eq!(of_orders(&block, "drops", None, "packets"), 0.0);
        // Ten are handed over each ms, to leave over it: the median waits 402 or 502 us.
        let median = of_orders(&block, "dispatch_to_wire_ns", Some("total"), "p50");
        assert!(close(median, 402_000.0), "{median}");
        assert_eq!(block.totals.goodput_bits_per_s(), Some(10_000.0 * 214.0 * 8.0));
        assert_eq!(block.value("cpu_ns_per_packet", None, None, "mean"), Some(40_000.0));
        assert_eq!(block.value("run_queue_delay_ns", None, None, "mean"), Some(500.0));
        assert_eq!(block.totals.in_time, 10_000);
    }

    /// Every KPI of the catalogue that arms have is there once at least, with a value or a reason.
    #[test]
    fn no_kpi_is_left_out() {
        let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
        let block = block(&when_due(&schedule, Nanos::ZERO));
        for definition in catalogue::all().filter(|d| d.arms.contains(&Arm::Kernel)) {
            let found: Vec<_> = block.kpis.iter().filter(|k| k.name == definition.name).collect();
            assert!(!found.is_empty(), "{}", definition.name);
            for kpi in found {
                let has_value = kpi.values.iter().any(|(_, value)| value.is_some());
                assert!(has_value || kpi.absent.is_some(), "{kpi:?}");
                assert_eq!(kpi.view, "outside");
            }
        }
        // What only our own pacer knows is no figure of an arm.
        assert!(block.kpis.iter().all(|k| k.name != "pacer_error_ns"));
    }

    /// The orders of a block in which a pacer lets one out each 99 us at the earliest, at four fifths of that
    /// rate with [`Fault::Rate`], with a noise of up to 2 us; other faults stand behind it.
    fn paced(seed: u64, fault: Option<Fault>) -> ResultBlock {
        let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let rate = fault.map_or(10_100, |fault| fault.rate(10_100));
        let mut faulty = Faulty::new(fault, WALL, seed);
        let mut free = WALL;
        for (number, message) in (0..).zip(&schedule.messages) {
            let at = WALL.saturating_add(message.handed).max(free);
            free = at.saturating_add(Nanos(1_000_000_000 / rate));
            faulty.take(at.saturating_add(Nanos(below(&mut random, 2_000))), number);
        }
        let far = Nanos(u64::MAX);
        let mut times = Vec::new();
        while let Some((at, number)) = faulty.released(far) {
            times.push((u64::from(number), at));
        }
        block(&times)
    }

    /// Which figures of a block with a fault are worse than those of any of the blocks without.
    fn worse(faulty: &ResultBlock, sound: &[ResultBlock]) -> Vec<&'static str> {
        type Figure = fn(&ResultBlock) -> f64;
        let figures: [(&str, Figure); 6] = [
            ("gap max", |b| of_orders(b, "wire_cadence_variability_ns", None, "max")),
            ("gap p95", |b| of_orders(b, "wire_cadence_variability_ns", None, "p95")),
            ("burstiness", |b| of_orders(b, "burstiness_index", None, "excess")),
            ("late p99", |b| of_orders(b, "release_error_ns", Some("late"), "p99")),
            ("drops", |b| of_orders(b, "drops", None, "packets")),
            ("incomplete", |b| 1.0 - of_orders(b, "completion_ratio", None, "ratio")),
        ];
        let is_worse = |figure: &Figure| {
            let most = sound.iter().map(figure).fold(f64::NEG_INFINITY, f64::max);
            figure(faulty) > 1.2 * most
        };
        figures.iter().filter(|(_, figure)| is_worse(figure)).map(|(name, _)| *name).collect()
    }

    /// Each fault moves the figures that it should, in at least 18 of 20 seeds, and no other fault's alone.
    #[test]
    fn planted_faults_are_found_by_the_figures_that_mean_them() {
        let sound: Vec<_> = (100..104).map(|seed| paced(seed, None)).collect();
        for (fault, found_by, not_by) in [
            (Fault::Stall, &["gap max", "burstiness"][..], &["drops", "incomplete"][..]),
            (Fault::Loss, &["drops", "incomplete"], &["burstiness"]),
            (Fault::Rate, &["late p99", "incomplete"], &["drops", "burstiness"]),
            (Fault::Flush, &["gap p95", "burstiness", "late p99"], &["drops", "incomplete"]),
        ] {
            let right = (0..20).filter(|seed| {
                let worse = worse(&paced(*seed, Some(fault)), &sound);
                found_by.iter().all(|name| worse.contains(name))
                    && not_by.iter().all(|name| !worse.contains(name))
            });
            let right = right.count();
            let one = worse(&paced(0, Some(fault)), &sound);
            assert!(right >= 18, "{fault:?}: {right} of 20; seed 0 moved {one:?}");
        }
    }
}
