//! What a profile would have made of the packets that were just seen: they are run through a pacer in
//! virtual time once more, under the table as confirmed and under the one that is asked for, and the same
//! figures are read of both. The port takes nothing while it was seen to take nothing.
//!
//! It knows what rows say: venue limits and what the profile would change in senders are not in it.

use std::collections::{BTreeMap, VecDeque};

use crate::config::Config;
use crate::kind::Side;
use crate::kpi::{
    Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, Inputs, KpiPlan, PortPlan,
    Report, SampleLoss, Switches,
};
use crate::meta::{PacketMeta, flags, wire_len};
use crate::pacer::limits::LimitsSpec;
use crate::pacer::{HaltRule, NO_VENUE, Next, Pacer, PacerSpec};
use crate::profile::Profile;
use crate::sample::{DepartureSource, End, Release, Sample};
use crate::time::Nanos;

/// Rows that are kept: the latest.
const ROWS_MAX: usize = 1 << 16;
/// Packets between two commits.
const BURST: usize = 64;
/// What is due and does not leave is asked for again so much later.
const RETRY: Nanos = Nanos(64);
/// Far more turns than any packet needs.
const TURNS_EACH: usize = 1_000;

/// Why there is no projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprojected {
    /// No packet of the class has left a row.
    NoSamples,
    /// Only some packets have: a thinner stream would conform to everything.
    NotEveryPacket,
}

impl Unprojected {
    /// As it stands in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSamples => crate::kpi::absent::NO_SAMPLES,
            Self::NotEveryPacket => crate::kpi::absent::NOT_EVERY_PACKET,
        }
    }
}

/// What is kept of a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    packet: PacketMeta,
    flow: u32,
    port: u8,
    /// The row stands for this packet alone.
    is_whole: bool,
    /// From when on it could have left, and when the port took it.
    port_wait: Option<(Nanos, Nanos)>,
}

impl Row {
    fn of(sample: &Sample, class: u8) -> Self {
        let is_exempt = sample.kind.is_exempt() || matches!(sample.end, End::Sent(Release::Exempt));
        let is_bare = sample.tcp.is_some_and(|tcp| tcp.payload_bytes == 0);
        let mut bits = flags::PAYLOAD;
        for (on, bit) in [(is_exempt, flags::EXEMPT), (is_exempt && is_bare, flags::BARE)] {
            bits |= if on { bit } else { 0 };
        }
        let dispatched = sample.t_ingress.saturating_sub(sample.t_dispatch).0;
        let packet = PacketMeta {
            arrival: sample.t_ingress,
            due: sample.t_due,
            dispatch_lag_ns: u32::try_from(dispatched).unwrap_or(u32::MAX),
            decision_lag_ns: u32::MAX,
            label: sample.label,
            len: sample.len,
            messages: sample.messages,
            class,
            kind: sample.kind as u8,
            urgency: sample.urgency,
            flags: bits,
            sources: PacketMeta::sources_of(sample.ingress_source, sample.intent),
            ..PacketMeta::default()
        };
        let port_wait = sample.t_eligible.zip(sample.t_tx).filter(|(could, did)| did > could);
        let (flow, port, is_whole) = (sample.flow, sample.port, sample.weight == 1);
        Self { packet, flow, port, is_whole, port_wait }
    }
}

/// The latest rows, and what they are run through.
#[derive(Debug)]
pub struct Projection {
    rows: VecDeque<Row>,
    /// The class behind each node: what was in an arm of a canary is of its class again.
    class_of: Vec<u8>,
    plan: KpiPlan,
    /// How a pacer of each port of the plan is built.
    specs: Vec<PacerSpec>,
}

impl Projection {
    /// For the ports to the venue of a checked config.
    pub fn new(config: &Config) -> Self {
        let ports = config.ports.iter().enumerate().filter(|(_, port)| port.side == Side::Venue);
        let (plans, specs) = ports
            .map(|(index, port)| {
                let plan = PortPlan {
                    index: index as u8,
                    name: port.name.clone(),
                    side: port.side,
                    departure: DepartureSource::Virtual,
                    completion: CompletionFigures::Absent,
                    stall_time: port.stall_time,
                    tx_descriptors: u32::from(port.tx_descriptors),
                    link_bits_per_s: None,
                };
                let spec = PacerSpec {
                    two_paths: false,
                    slot: config.gateway.slot,
                    start: Nanos::ZERO,
                    flows_max: 0,
                    wire_len_max: wire_len(u32::from(port.frame_bytes_max)),
                    burst_max: BURST,
                    halt: config.classes.iter().map(HaltRule::of).collect(),
                    twins: Vec::new(),
                    port: index,
                    seed: config.gateway.seed,
                    limits: LimitsSpec::default(),
                    follows_tcp: false,
                };
                (plan, spec)
            })
            .unzip();
        let class_of = config.nodes().map(|class| class as u8).collect();
        Self { rows: VecDeque::new(), class_of, plan: KpiPlan::new(config, plans), specs }
    }

    /// Keeps a row of a packet that came from inside.
    pub fn keep(&mut self, sample: &Sample) {
        let Some(&class) = self.class_of.get(usize::from(sample.class)) else { return };
        if sample.from != Side::Inside {
            return;
        }
        if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(Row::of(sample, class));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Whether what is known of `class` can be run again.
    ///
    /// # Errors
    /// [`Unprojected`].
    pub fn covers(&self, class: usize) -> Result<(), Unprojected> {
        let mut mine = self.rows.iter().filter(|row| usize::from(row.packet.class) == class);
        let Some(first) = mine.next() else { return Err(Unprojected::NoSamples) };
        let is_whole = first.is_whole && mine.all(|row| row.is_whole);
        if is_whole { Ok(()) } else { Err(Unprojected::NotEveryPacket) }
    }

    /// The figures of all that was kept, under `profile`.
    pub fn run(&self, profile: &Profile) -> Report {
        let mut aggregates = CoreAggregates::new(&self.plan);
        let mut end = Nanos::ZERO;
        for spec in &self.specs {
            let of_port = self.rows.iter().filter(|row| usize::from(row.port) == spec.port);
            let mut rows: Vec<Row> = of_port.copied().collect();
            rows.sort_by_key(|row| row.packet.arrival);
            end = end.max(run_port(spec, profile, &rows, &mut aggregates));
        }
        aggregates.flush();
        let block = aggregates.swap(end, Box::new(Block::new(&self.plan)));
        let mut whole = Block::new(&self.plan);
        whole.merge(&block);
        let began = self.rows.iter().map(|row| row.packet.arrival).min().unwrap_or(end);
        Report::build(&[Inputs {
            plan: &self.plan,
            block: &whole,
            profile: Some(profile),
            sampled: None,
            samples: SampleLoss::default(),
            span: end.saturating_sub(began),
            steps: &[],
            factors: &[],
            switches: Switches::default(),
        }])
    }
}

/// Stretches in which the port took nothing, one after the other.
fn closed(rows: &[Row]) -> Vec<(Nanos, Nanos)> {
    let mut waits: Vec<_> = rows.iter().filter_map(|row| row.port_wait).collect();
    waits.sort_unstable();
    let mut closed: Vec<(Nanos, Nanos)> = Vec::new();
    for (from, to) in waits {
        match closed.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => closed.push((from, to)),
        }
    }
    closed
}

/// Runs the rows of one port, by time of arrival. Returns when the last packet left.
fn run_port(
    spec: &PacerSpec,
    profile: &Profile,
    rows: &[Row],
    aggregates: &mut CoreAggregates,
) -> Nanos {
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    for row in rows {
        let next = numbers.len() as u32;
        numbers.entry(row.flow).or_insert(next);
    }
    let start = rows.first().map_or(Nanos::ZERO, |row| row.packet.arrival);
    let spec = PacerSpec { flows_max: numbers.len() as u32, start, ..spec.clone() };
    let mut pacer: Pacer<VecDeque<PacketMeta>> = Pacer::new(&spec, profile);
    numbers.keys().for_each(|_| _ = pacer.new_flow());
    let mut flows = vec![FlowKpi::default(); numbers.len()];
    let closed = closed(rows);
    let mut closed = closed.iter().peekable();
    let mut rows = rows.iter().peekable();
    let (port, mut now) = (spec.port as u8, start);
    for _ in 0..rows.len().saturating_mul(TURNS_EACH) {
        while closed.next_if(|(_, to)| *to <= now).is_some() {}
        pacer.poll(now);
        while let Some(row) = rows.next_if(|row| row.packet.arrival <= now) {
            let class = row.packet.class;
            aggregates.on_arrival(port, Some(class), u32::from(row.packet.len), row.packet.arrival);
            let entered = pacer.enqueue(now, numbers[&row.flow], NO_VENUE, row.packet);
            if let Err((packet, reason)) = entered {
                aggregates.on_drop(port, Some(class), u32::from(packet.len), reason, now);
            }
        }
        let shut = closed.peek().filter(|(from, _)| *from <= now).map(|(_, to)| *to);
        if shut.is_none() {
            flush(&mut pacer, now, port, &mut flows, aggregates);
        }
        let event = match (pacer.next_event(now), shut) {
            (Some(at), Some(shut)) => Some(at.max(shut)),
            (Some(at), None) if at <= now => Some(now.saturating_add(RETRY)),
            (at, _) => at,
        };
        let arrival = rows.peek().map(|row| row.packet.arrival);
        let Some(next) = event.into_iter().chain(arrival).min() else { break };
        now = next.max(now);
    }
    pacer.stop(|packet, reason| {
        aggregates.on_drop(port, Some(packet.class), u32::from(packet.len), reason, now);
    });
    now
}

/// All that may leave at `now` leaves.
fn flush(
    pacer: &mut Pacer<VecDeque<PacketMeta>>,
    now: Nanos,
    port: u8,
    flows: &mut [FlowKpi],
    aggregates: &mut CoreAggregates,
) {
    loop {
        let mut accepted = 0;
        while accepted < BURST {
            match pacer.next(now, u64::MAX) {
                Next::Packet(released) => {
                    accepted += 1;
                    let departure = Departure {
                        meta: &released.packet,
                        port,
                        t_eligible: released.eligible,
                        t_tx: now,
                        t_wire: now,
                        release: released.release,
                        bucket_held: released.bucket_held,
                        // Whatever it waits beyond that is the port's doing.
                        link_wait: now.saturating_sub(released.eligible),
                    };
                    aggregates.on_departure(&departure, &mut flows[released.flow as usize]);
                }
                Next::Ended(packet, reason) => {
                    let (class, len) = (packet.class, u32::from(packet.len));
                    aggregates.on_drop(port, Some(class), len, reason, now);
                }
                Next::NoRoom | Next::Nothing => break,
            }
        }
        pacer.commit(accepted);
        if accepted < BURST {
            return;
        }
    }
}
