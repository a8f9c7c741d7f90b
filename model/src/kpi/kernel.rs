//! KPIs of the kernel's path: what sockets, queueing disciplines and the host say, sampled, beside what
//! a capture of its packets gives.
//!
//! Packets of a capture are counted as a gateway's own are ([`super::CoreAggregates`],
//! [`super::Sampled`]). [`KernelSums`] adds up the samples of everything else, and
//! [`KernelSums::report`] makes one report of both, each series with `arm = "kernel"`: what only a
//! gateway knows is left out, what the host lacks is absent with the reason.

use super::absent;
use super::block::Totals;
use super::catalogue::{self, Arm};
use super::figures::queue::of_steps;
use super::figures::{fill_of, ratio, withdraw};
use super::histogram::Quantile as Q;
use super::minimum;
use super::oscillation::QueueSteps;
use super::plan::KpiPlan;
use super::report::{Basis, Entry, Report};
use super::sampled::Spread;
use crate::kind::Side;
use crate::time::Nanos;

/// The label of every series.
pub const ARM: &str = "kernel";
/// Headroom is counted in parts of a million.
const PPM: f64 = 1e6;

/// A followed TCP socket at one moment. Counts are those since its last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SocketSample {
    /// Bytes accepted and not yet sent for the first time.
    pub not_sent_bytes: Option<u64>,
    /// Bytes sent and not acknowledged, and those not sent: `SIOCOUTQ`.
    pub out_queue_bytes: u64,
    /// Memory of the send queue: `wmem_queued`.
    pub queued_memory_bytes: Option<u64>,
    /// `1 - pacing rate / most`; `None`: unlimited or not told.
    pub headroom: Option<f64>,
    /// It paces at its limit; `None`: unlimited or not told.
    pub is_at_cap: Option<bool>,
    /// Segments with payload sent.
    pub segments: u64,
    /// Of those, retransmissions.
    pub retransmitted: u64,
}

/// An egress interface at one moment. Counts are those since its last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSample {
    /// Bytes in the queueing discipline; `None`: there is none that holds any.
    pub qdisc_backlog_bytes: Option<u64>,
    /// Bytes below the TX queues and their limits, summed; `None`: the driver keeps no limit.
    pub in_flight: Option<PortInFlight>,
    /// Packets that ended in the queueing discipline.
    pub qdisc_drops: u64,
    /// Packets that the interface gave up.
    pub interface_drops: u64,
    /// Stalls of TX queues; `None`: nobody counts them.
    pub stalls: Option<PortStalls>,
}

/// Stalls of TX queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStalls {
    /// How many.
    pub count: u64,
    /// How long without a completion is one.
    pub stall_time: Nanos,
}

impl PortStalls {
    /// Adds those of later, and what counts as one now.
    fn add(sum: &mut Option<Self>, later: Option<Self>) {
        if let Some(later) = later {
            let count = later.count + sum.map_or(0, |sum| sum.count);
            *sum = Some(Self { count, ..later });
        }
    }
}

/// Bytes below the TX queues of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortInFlight {
    /// Bytes.
    pub bytes: u64,
    /// Most that the driver takes.
    pub limit_bytes: u64,
}

/// What threads have done since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Time waiting for a CPU, ns.
    pub wait_ns: u64,
    /// Times they were given one.
    pub slices: u64,
}

/// The host, over the time since its last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSample {
    /// Time that CPUs worked for programs, ns.
    pub user_ns: u64,
    /// For the kernel on behalf of programs.
    pub system_ns: u64,
    /// For interrupts and soft interrupts.
    pub interrupt_ns: u64,
    /// Time that they had nothing to do or were taken away.
    pub idle_ns: u64,
    /// The chosen threads; `None`: there are none.
    pub threads: Option<ThreadTime>,
    /// Run time of `ksoftirqd`.
    pub ksoftirqd_ns: u64,
    /// Frames that the receive backlogs had no room for.
    pub softnet_drops: u64,
    /// Frames that the stack has received, on every interface.
    pub received: u64,
    /// Runs of the soft interrupt that receives.
    pub receive_runs: u64,
}

/// Samples of the sockets of one class.
#[derive(Clone, Debug, Default)]
struct SocketSums {
    samples: u64,
    not_sent: Spread,
    out_queue: Spread,
    queued_memory: Spread,
    headroom_ppm: Spread,
    capped: u64,
    at_cap: u64,
    segments: u64,
    retransmitted: u64,
}

/// Samples of one egress interface.
#[derive(Clone, Debug, Default)]
struct PortSums {
    samples: u64,
    backlog: Spread,
    in_flight: Spread,
    used_ppm: Spread,
    qdisc_drops: u64,
    interface_drops: u64,
    stalls: Option<PortStalls>,
}

/// Steps of the byte limit of an interface: over a minute, so longer than an interval.
#[derive(Clone, Debug, Default)]
struct PortSteps {
    queue: QueueSteps,
    /// Most in flight in the step under way, under the limit as last seen.
    last: Option<PortInFlight>,
}

#[derive(Clone, Copy, Debug, Default)]
struct HostSums {
    samples: u64,
    time: HostSample,
    /// The longest mean wait of any sample.
    wait_max_ns: u64,
}

/// What is added up of samples.
#[derive(Clone, Debug)]
pub struct KernelSums {
    classes: Vec<SocketSums>,
    ports: Vec<PortSums>,
    steps: Vec<PortSteps>,
    host: HostSums,
}

/// What is known of the packets of a report.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the packets were counted for.
    pub plan: &'a KpiPlan,
    /// Their sums in the interval.
    pub totals: &'a Totals,
    /// Arrivals at the ingress interface were captured: when senders handed over is known.
    pub has_dispatch: bool,
    /// Length of the interval.
    pub span: Nanos,
}

impl KernelSums {
    /// Nothing yet, for the classes and ports of `plan`.
    pub fn new(plan: &KpiPlan) -> Self {
        Self {
            classes: vec![SocketSums::default(); plan.classes.len()],
            ports: vec![PortSums::default(); plan.ports.len()],
            steps: vec![PortSteps::default(); plan.ports.len()],
            host: HostSums::default(),
        }
    }

    /// A followed socket of class `class`.
    pub fn socket(&mut self, class: usize, sample: &SocketSample) {
        let Some(sums) = self.classes.get_mut(class) else { return };
        sums.samples += 1;
        if let Some(bytes) = sample.not_sent_bytes {
            sums.not_sent.record(bytes, 1);
        }
        sums.out_queue.record(sample.out_queue_bytes, 1);
        if let Some(bytes) = sample.queued_memory_bytes {
            sums.queued_memory.record(bytes, 1);
        }
        if let Some(headroom) = sample.headroom {
            sums.headroom_ppm.record((headroom * PPM) as u64, 1);
        }
        if let Some(is_at_cap) = sample.is_at_cap {
            sums.capped += 1;
            sums.at_cap += u64::from(is_at_cap);
        }
        sums.segments += sample.segments;
        sums.retransmitted += sample.retransmitted;
    }

    /// The egress interface at position `port` of the plan.
    pub fn port(&mut self, port: usize, sample: &PortSample) {
        let (Some(sums), Some(steps)) = (self.ports.get_mut(port), self.steps.get_mut(port)) else {
            return;
        };
        sums.samples += 1;
        if let Some(bytes) = sample.qdisc_backlog_bytes {
            sums.backlog.record(bytes, 1);
        }
        if let Some(in_flight) = sample.in_flight {
            sums.in_flight.record(in_flight.bytes, 1);
            let ppm =
                u128::from(in_flight.bytes) * 1_000_000 / u128::from(in_flight.limit_bytes.max(1));
            sums.used_ppm.record(u64::try_from(ppm).unwrap_or(u64::MAX), 1);
            let most = steps.last.map_or(0, |last| last.bytes).max(in_flight.bytes);
            steps.last = Some(PortInFlight { bytes: most, ..in_flight });
        }
        sums.qdisc_drops += sample.qdisc_drops;
        sums.interface_drops += sample.interface_drops;
        PortStalls::add(&mut sums.stalls, sample.stalls);
    }

    /// Ends a step of [`super::STEP`] of the byte limits.
    pub fn step(&mut self) {
        for steps in &mut self.steps {
            match steps.last.take() {
                Some(last) => {
                    steps.queue.limit.step(last.limit_bytes);
                    steps.queue.in_flight.step(last.bytes);
                }
                None => {
                    steps.queue.limit.skip();
                    steps.queue.in_flight.skip();
                }
            }
        }
    }

    /// The host.
    pub fn host(&mut self, sample: &HostSample) {
        let sums = &mut self.host;
        sums.samples += 1;
        let time = &mut sums.time;
        time.user_ns += sample.user_ns;
        time.system_ns += sample.system_ns;
        time.interrupt_ns += sample.interrupt_ns;
        time.idle_ns += sample.idle_ns;
        time.ksoftirqd_ns += sample.ksoftirqd_ns;
        time.softnet_drops += sample.softnet_drops;
        time.received += sample.received;
        time.receive_runs += sample.receive_runs;
        if let Some(threads) = sample.threads {
            let all = time.threads.get_or_insert_default();
            all.wait_ns += threads.wait_ns;
            all.slices += threads.slices;
            if let Some(mean) = threads.wait_ns.checked_div(threads.slices) {
                sums.wait_max_ns = sums.wait_max_ns.max(mean);
            }
        }
    }

    /// Adds what `later` has added up, made for the same plan. Steps reach over intervals: those of the
    /// later one hold.
    pub fn merge(&mut self, later: &Self) {
        for (mine, theirs) in self.classes.iter_mut().zip(&later.classes) {
            mine.samples += theirs.samples;
            mine.not_sent.merge(&theirs.not_sent);
            mine.out_queue.merge(&theirs.out_queue);
            mine.queued_memory.merge(&theirs.queued_memory);
            mine.headroom_ppm.merge(&theirs.headroom_ppm);
            mine.capped += theirs.capped;
            mine.at_cap += theirs.at_cap;
            mine.segments += theirs.segments;
            mine.retransmitted += theirs.retransmitted;
        }
        for (mine, theirs) in self.ports.iter_mut().zip(&later.ports) {
            mine.samples += theirs.samples;
            mine.backlog.merge(&theirs.backlog);
            mine.in_flight.merge(&theirs.in_flight);
            mine.used_ppm.merge(&theirs.used_ppm);
            mine.qdisc_drops += theirs.qdisc_drops;
            mine.interface_drops += theirs.interface_drops;
            PortStalls::add(&mut mine.stalls, theirs.stalls);
        }
        self.steps.clone_from(&later.steps);
        let samples = self.host.samples + later.host.samples;
        self.host(&later.host.time);
        self.host.samples = samples;
        self.host.wait_max_ns = self.host.wait_max_ns.max(later.host.wait_max_ns);
    }

    /// Forgets what is added up; steps stay.
    pub fn clear(&mut self) {
        self.classes.fill(SocketSums::default());
        self.ports.fill(PortSums::default());
        self.host = HostSums::default();
    }

    /// One report of the packets' and of these figures.
    pub fn report(&self, packets: &Report, seen: Seen<'_>) -> Report {
        let mut entries: Vec<Entry> =
            packets.entries.iter().filter_map(|entry| of_packets(entry, seen)).collect();
        let classes = seen.plan.classes.iter().zip(&self.classes);
        for (class, sums) in classes.filter(|(class, _)| class.from == Side::Inside) {
            entries.extend(sums.entries().map(|mut entry| {
                entry.labels.class = Some(class.name.clone());
                entry.labels.kind = Some(class.kind.name());
                entry
            }));
        }
        let ports = seen.plan.ports.iter().zip(self.ports.iter().zip(&self.steps));
        for (port, (sums, steps)) in ports.filter(|(port, _)| port.side == Side::Venue) {
            entries.extend(sums.entries(steps, seen.span).into_iter().map(|mut entry| {
                entry.labels.port = Some(port.name.clone());
                entry
            }));
        }
        entries.extend(self.host.entries(seen));
        for entry in &mut entries {
            entry.labels.arm = Some(ARM);
        }
        entries.sort_by_key(|entry| entry.name);
        Report { entries }
    }
}

/// KPIs that stand in a report of packets and are made of other sources here.
const FROM_ELSEWHERE: [&str; 14] = [
    "pacing_headroom",
    "cap_hit_ratio",
    "send_queue_bytes",
    "not_sent_bytes",
    "tx_queue_occupancy",
    "drain_interval_jitter_ns",
    "byte_queue_utilization",
    "limit_oscillation_score",
    "tx_stall_rate",
    "tcp_retransmit_ratio",
    "rx_burst_packets",
    "drops",
    "core_busy_ratio",
    "cycles_per_packet",
];
/// What is not seen at the place that the KPI means, but near it: writes behind TCP, deliveries before
/// the socket, super-frames behind the stack's own cutting.
const PROXIES: [&str; 4] =
    ["write_size_bytes", "inter_write_ns", "ingest_gap_ns", "segments_per_superframe"];
/// What needs the time of the hand-over.
const FROM_DISPATCH: [&str; 2] = ["dispatch_to_wire_ns", "completion_ratio"];

/// What a series of captured packets says of the kernel's path; `None`: nothing.
fn of_packets(entry: &Entry, seen: Seen<'_>) -> Option<Entry> {
    let is_observed = catalogue::find(entry.name)?.arms.contains(&Arm::Observe);
    if !is_observed || FROM_ELSEWHERE.contains(&entry.name) {
        return None;
    }
    let mut entry = entry.clone();
    match entry.name {
        // Our own deliberate delay: the kernel has none that is told apart.
        "dispatch_to_wire_ns" if entry.labels.part != Some("total") => return None,
        "burstiness_index" => {
            // Windows in which a packet waited are known where its hand-over is.
            let unknown =
                |name: &str| name == "excess" || name == "peak_to_mean" && !seen.has_dispatch;
            for (_, value) in entry.values.iter_mut().filter(|(name, _)| unknown(name)) {
                *value = None;
            }
            entry.absent.get_or_insert(absent::NO_DUE_TIME);
        }
        name if FROM_DISPATCH.contains(&name) && !seen.has_dispatch => {
            withdraw(&mut entry, absent::NO_DISPATCH);
        }
        _ => {}
    }
    entry.proxy |= PROXIES.contains(&entry.name);
    Some(entry)
}

/// A series of samples.
fn sampled(name: &'static str, part: Option<&'static str>, n: u64) -> Entry {
    let mut entry = Entry::blank(name);
    entry.labels.part = part;
    entry.basis = Basis::Sampled;
    entry.n = n;
    entry
}

/// The quantiles of `spread`, absent for `reason` where there is nothing.
fn spread(
    name: &'static str,
    part: Option<&'static str>,
    spread: &Spread,
    quantiles: &[Q],
    reason: &'static str,
) -> Entry {
    let mut entry = sampled(name, part, spread.rows());
    fill_of(&mut entry, spread.histogram(), quantiles, 0);
    if entry.n == 0 {
        withdraw(&mut entry, reason);
    }
    entry
}

impl SocketSums {
    fn entries(&self) -> impl Iterator<Item = Entry> {
        let none = if self.samples == 0 { absent::NO_SOCKET } else { absent::NOT_TOLD };
        let capless = if self.samples == 0 { absent::NO_SOCKET } else { absent::UNLIMITED };
        let ppm = |ppm: u64| ppm as f64 / PPM;

        let mut headroom = sampled("pacing_headroom", None, self.headroom_ppm.rows());
        let histogram = self.headroom_ppm.histogram().filter(|_| headroom.n > 0);
        headroom.values = vec![
            ("headroom", histogram.and_then(|h| h.min()).map(ppm)),
            ("mean", histogram.and_then(|h| h.mean()).map(|mean| mean / PPM)),
        ];
        if headroom.n == 0 {
            withdraw(&mut headroom, capless);
        }

        let mut cap_hits = sampled("cap_hit_ratio", None, self.capped);
        ratio(&mut cap_hits, "ratio", self.at_cap, self.capped, minimum::ROW);
        if self.capped == 0 {
            withdraw(&mut cap_hits, capless);
        }

        let both = [Q::P50, Q::P95];
        let mut not_sent = spread("not_sent_bytes", None, &self.not_sent, &both, none);
        let mean = self.not_sent.histogram().and_then(|h| h.mean()).filter(|_| not_sent.n > 0);
        not_sent.values.push(("mean", mean));
        not_sent.proxy = true;
        let parts = [
            ("not_sent", &self.not_sent),
            ("out_queue", &self.out_queue),
            ("queued_memory", &self.queued_memory),
        ];
        let queues =
            parts.map(|(part, of)| spread("send_queue_bytes", Some(part), of, &both, none));

        let mut again = sampled("tcp_retransmit_ratio", None, self.segments);
        ratio(&mut again, "ratio", self.retransmitted, self.segments, minimum::SEGMENTS);
        if self.samples == 0 {
            withdraw(&mut again, absent::NO_SOCKET);
        }
        [headroom, cap_hits, not_sent, again].into_iter().chain(queues)
    }
}

impl PortSums {
    fn entries(&self, steps: &PortSteps, span: Nanos) -> Vec<Entry> {
        let both = [Q::P50, Q::P95];
        let none = if self.samples == 0 { absent::NO_INTERVAL } else { absent::NO_BQL };
        let backlog = "send_queue_bytes";
        let qdisc = spread(backlog, Some("qdisc"), &self.backlog, &both, absent::NO_QUEUE);
        let driver = spread(backlog, Some("driver"), &self.in_flight, &both, none);
        let occupied = spread("tx_queue_occupancy", Some("bytes"), &self.in_flight, &both, none);
        let mut used = spread("byte_queue_utilization", None, &self.used_ppm, &both, none);
        for (_, value) in &mut used.values {
            *value = value.map(|ppm| ppm / PPM);
        }

        let has_limit = self.in_flight.rows() > 0;
        let mut stalls = sampled("tx_stall_rate", None, self.stalls.map_or(0, |seen| seen.count));
        let seen = self.stalls.filter(|_| span.0 > 0);
        stalls.values = vec![
            ("rate", seen.map(|seen| seen.count as f64 * 1e9 / span.0 as f64)),
            ("stall_time_ns", seen.map(|seen| seen.stall_time.0 as f64)),
        ];
        if seen.is_none() {
            let why = if has_limit { absent::NO_STALL_DETECTOR } else { none };
            withdraw(&mut stalls, why);
        }

        let mut jitter = sampled("drain_interval_jitter_ns", None, 0);
        jitter.values = vec![("value", None)];
        withdraw(&mut jitter, if has_limit { absent::NO_COMPLETION_TIMES } else { none });

        let swings = of_steps(Some(&steps.queue)).map(|mut entry| {
            if self.in_flight.rows() == 0 {
                withdraw(&mut entry, none);
            }
            entry
        });

        let mut drops = sampled("drops", None, self.samples);
        drops.basis = Basis::Exact;
        drops.values = vec![
            ("packets", Some((self.qdisc_drops + self.interface_drops) as f64)),
            ("qdisc", Some(self.qdisc_drops as f64)),
            ("interface", Some(self.interface_drops as f64)),
        ];
        if self.samples == 0 {
            withdraw(&mut drops, absent::NO_INTERVAL);
        }
        let mut found = vec![qdisc, driver, occupied, used, stalls, jitter, drops];
        found.extend(swings);
        found
    }
}

impl HostSums {
    fn entries(&self, seen: Seen<'_>) -> [Entry; 6] {
        let time = &self.time;
        let busy = time.user_ns + time.system_ns + time.interrupt_ns;
        let all = busy + time.idle_ns;
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);

        let threads = time.threads.unwrap_or_default();
        let mut waits = Entry::blank("run_queue_delay_ns");
        waits.n = threads.slices;
        let some = threads.slices > 0;
        waits.values = vec![
            ("mean", share(threads.wait_ns, threads.slices)),
            ("max", some.then_some(self.wait_max_ns as f64)),
            ("share", time.threads.and_then(|_| share(threads.wait_ns, seen.span.0))),
        ];
        if time.threads.is_none() {
            withdraw(&mut waits, absent::NO_THREAD);
        } else if !some {
            waits.absent = Some(absent::N_TOO_SMALL);
        }
        waits.values.push(("softirq_share", share(time.ksoftirqd_ns, all)));

        let packets = seen.totals.packets_out;
        let mut cpu = Entry::blank("cpu_ns_per_packet");
        cpu.n = packets;
        // Everything that runs on the host is in it, and the observer too.
        cpu.proxy = true;
        let known = self.samples > 0;
        let per_packet = |ns: u64| share(ns, packets).filter(|_| known);
        cpu.values = vec![
            ("mean", per_packet(busy)),
            ("user", per_packet(time.user_ns)),
            ("system", per_packet(time.system_ns)),
            ("softirq", per_packet(time.interrupt_ns)),
        ];
        if packets == 0 || !known {
            let why = if known { absent::NO_PACKETS } else { absent::NO_INTERVAL };
            withdraw(&mut cpu, why);
        }

        let mut used = Entry::blank("core_busy_ratio");
        used.n = self.samples;
        used.values = vec![("ratio", share(busy, all))];
        used.absent = (all == 0).then_some(absent::NO_INTERVAL);

        let mut cycles = Entry::blank("cycles_per_packet");
        cycles.values = vec![("mean", None)];
        cycles.absent = Some(absent::NO_CYCLE_COUNTER);

        // A run of the soft interrupt polls one device or several, whose shares are not told.
        let mut polled = Entry::blank("rx_burst_packets");
        polled.labels.part = Some("softirq");
        polled.n = time.receive_runs;
        polled.proxy = true;
        let mean = share(time.received, time.receive_runs).filter(|_| known);
        polled.values = vec![("p50", None), ("p95", None), ("p99", None), ("mean", mean)];
        polled.absent = Some(if known { absent::NOT_TOLD } else { absent::NO_INTERVAL });

        let mut drops = Entry::blank("drops");
        drops.labels.part = Some("softnet");
        drops.n = self.samples;
        drops.values = vec![("packets", known.then_some(time.softnet_drops as f64))];
        drops.absent = (!known).then_some(absent::NO_INTERVAL);

        let mut found = [waits, cpu, used, cycles, polled, drops];
        found.iter_mut().for_each(|entry| entry.host = true);
        found
    }
}
