//! Observing the kernel's path of a host: KPIs with `arm = "kernel"`.
//!
//! [`Observer::open`] begins to capture and to follow; [`Observer::turn`] does what is due at `now` and
//! never waits; [`Observer::next_due`] says when it wants to be called again; [`Observer::finish`] gives
//! the report over everything. Between two turns frames lie in the ring of the capture: whoever must
//! not be disturbed, such as a block of a comparison, calls no turn until it is over.
//!
//! In the order in which a frame meets the files: `seen` reads its headers, `matching` finds when it
//! came in, `rows` counts it as a gateway's core would. `sources` asks for everything else,
//! `environment` for what does not change.

pub mod clock;
pub mod discipline;
mod environment;
mod matching;
mod rows;
pub(crate) mod seen;
mod sources;
#[cfg(test)]
mod tests;

use control::controller::{CoreFacts, Kpis};
use control::kpis::{INTERVAL, PacketKpis, publish_report};
use control::registry::{Labels, Registry};
use control::timeline::Recorder;
use model::config::{Config, Observe};
use model::kind::Side;
use model::kpi::kernel::{ARM, KernelSums, Seen as SeenPackets};
use model::kpi::{CompletionFigures, KpiPlan, PortPlan, Report, STEP, Totals};
use model::sample::DepartureSource;
use model::time::Nanos;
use serde_json::{Map, Value, json};

use crate::kernel::capture::{Capture, CaptureError, RETIRE_MS, interface_index};
use crate::kernel::files;
use crate::kernel::netlink::AskError;
use clock::Clock;
use environment::Environment;
use rows::Rows;
use seen::{NotSeen, Place, Seen};
use sources::{Host, Port, Sockets};

/// Rings are looked at so often.
const DRAIN_EVERY: Nanos = Nanos::from_millis(RETIRE_MS as u64);
/// What was captured so long ago has been handed over by every ring, and can be put in order.
const SETTLED_AFTER: Nanos = Nanos::from_millis(4 * RETIRE_MS as u64);

/// Why nothing is observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The config has no `[observe]`.
    #[error("the config has no [observe]")]
    NotForThis,
    /// A capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The kernel's answers.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What was observed is there no more.
    #[error("{interface}: the interface has gone away: what was measured before stands")]
    Gone {
        /// Its name.
        interface: String,
    },
}

/// Sums of the capture, none of which is part of a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that found no room in the ring.
    pub capture_drops: u64,
    /// Blocks that could not be read to their end.
    pub unreadable: u64,
    /// Frames that are not IP.
    pub not_ip: u64,
    /// Frames whose headers cannot be read.
    pub malformed: u64,
    /// Frames that left and had not come in, on a host that forwards.
    pub unmatched: u64,
    /// Sockets that are followed.
    pub sockets: u64,
    /// Sockets that would be, but are too many.
    pub sockets_left_out: u64,
    /// Threads that are watched.
    pub threads: u64,
}

/// When each thing is due next.
#[derive(Clone, Copy, Debug)]
struct Due {
    sample: Nanos,
    drain: Nanos,
    step: Nanos,
    interval: Nanos,
}

/// An observation under way.
pub struct Observer {
    observe: Observe,
    plan: KpiPlan,
    clock: Clock,
    captures: Vec<(Capture, [Place; 2])>,
    /// Frames that others may still come before, by time.
    pending: Vec<Seen>,
    rows: Rows,
    packets: PacketKpis,
    timeline: Option<Recorder>,
    sockets: Sockets,
    port: Port,
    host: Host,
    /// Samples of the interval under way, and of those before it.
    now: KernelSums,
    run: KernelSums,
    report: Report,
    totals: Totals,
    environment: Environment,
    counts: Counts,
    began: Nanos,
    intervals_seen: u64,
    due: Due,
}

/// What an observation comes to.
#[derive(Debug)]
pub struct Observed {
    /// KPIs of everything.
    pub report: Report,
    /// Sums over the packets.
    pub totals: Totals,
    /// Sums of the capture.
    pub counts: Counts,
    /// How long it was.
    pub duration: Nanos,
    /// What the host is set to, and what it lacks.
    pub environment: Value,
}

/// What the packets of the two interfaces are counted for.
fn plan_of(config: &Config, observe: &Observe) -> KpiPlan {
    let sides = [Side::Venue, Side::Inside];
    let ports = observe.port_names().into_iter().zip(sides).zip(0..);
    let ports = ports.map(|((name, side), index)| {
        let link = observe.link_bps.filter(|_| side == Side::Venue);
        PortPlan {
            index,
            name: name.to_owned(),
            side,
            departure: link.map_or(DepartureSource::Kernel, |_| DepartureSource::Modelled),
            completion: CompletionFigures::Absent,
            stall_time: Nanos::MAX,
            tx_descriptors: 0,
            link_bits_per_s: link,
        }
    });
    let mut plan = KpiPlan::new(config, ports.collect());
    // What is not IP is counted, and has no figures: its classes are the last two.
    plan.classes.truncate(plan.classes.len().saturating_sub(2));
    plan
}

impl Observer {
    /// Begins at `clock`'s now. What is measured is recorded by `timeline` too.
    ///
    /// # Errors
    /// No `[observe]`, no such interface, no permission, or a kernel that does not answer.
    pub fn open(
        config: &Config,
        clock: Clock,
        timeline: Option<Recorder>,
    ) -> Result<Self, ObserveError> {
        let observe = config.observe.clone().ok_or(ObserveError::NotForThis)?;
        let plan = plan_of(config, &observe);
        let index = interface_index(&observe.egress)?;
        let mut port = Port::open(&observe.egress, index)?;
        let environment = Environment::read(&observe, &mut port);
        let mut sockets = Sockets::open(config, &observe)?;
        sockets.look()?;
        let ring = usize::try_from(observe.ring_bytes).unwrap_or(usize::MAX);
        let egress = [Place::EgressIn, Place::EgressOut];
        let mut captures = vec![(Capture::open(&observe.egress, ring, RETIRE_MS)?, egress)];
        if let Some(ingress) = &observe.ingress {
            let places = [Place::IngressIn, Place::IngressOut];
            captures.push((Capture::open(ingress, ring, RETIRE_MS)?, places));
        }
        let packets = PacketKpis::new(vec![plan.clone()], config.profiles.clone());
        let began = clock.now();
        Ok(Self {
            rows: Rows::new(config, &observe, &plan),
            host: Host::open(&observe),
            now: KernelSums::new(&plan),
            run: KernelSums::new(&plan),
            totals: packets.totals(),
            report: Report::default(),
            counts: Counts::default(),
            due: Due { sample: began, drain: began, step: began, interval: began },
            pending: Vec::new(),
            observe,
            plan,
            clock,
            captures,
            packets,
            timeline,
            sockets,
            port,
            environment,
            began,
            intervals_seen: 0,
        })
    }

    /// When the next turn is due.
    pub fn next_due(&self) -> Nanos {
        let due = self.due;
        due.sample.min(due.drain).min(due.step).min(due.interval)
    }

    /// Does what is due at `now`. Bounded by what the rings hold. Returns true when an interval ended.
    ///
    /// # Errors
    /// An interface has gone away: nothing more can be measured, and [`Observer::finish`] gives the rest.
    pub fn turn(&mut self, now: Nanos) -> Result<bool, ObserveError> {
        if now >= self.due.sample {
            self.due.sample = now.saturating_add(self.observe.sample_every);
            self.sockets.sample(&mut self.now);
            self.port.sample(&mut self.now);
        }
        if now >= self.due.step {
            self.due.step = now.saturating_add(STEP);
            self.now.step();
        }
        if now >= self.due.drain {
            self.due.drain = now.saturating_add(DRAIN_EVERY);
            self.drain();
            self.count(now.saturating_sub(SETTLED_AFTER));
        }
        let ends = now >= self.due.interval;
        if ends {
            self.due.interval = now.saturating_add(INTERVAL);
            self.end_interval(now);
            self.look_for_interfaces()?;
        }
        Ok(ends)
    }

    fn look_for_interfaces(&mut self) -> Result<(), ObserveError> {
        let names = self.observe.port_names();
        let mut captures = names.iter().zip(&self.captures);
        let port = &mut self.port;
        let gone = captures.find(|(_, (capture, _))| !port.is_there(capture.interface()));
        gone.map_or(Ok(()), |(name, _)| Err(ObserveError::Gone { interface: (*name).to_owned() }))
    }

    /// Takes what the rings hold.
    fn drain(&mut self) {
        let Self { captures, pending, counts, clock, .. } = self;
        for (capture, places) in captures {
            capture.drain(|frame| {
                let place = places[usize::from(frame.is_outgoing)];
                match Seen::read(frame, clock.of_wall(frame.at_ns), place) {
                    Ok(seen) => pending.push(seen),
                    Err(NotSeen::NotIp) => counts.not_ip += 1,
                    Err(NotSeen::Malformed) => counts.malformed += 1,
                }
            });
        }
    }

    /// Counts what was captured before `until`, in the order of time.
    fn count(&mut self, until: Nanos) {
        self.pending.sort_by_key(|seen| seen.at);
        let settled = self.pending.partition_point(|seen| seen.at < until);
        for seen in self.pending.drain(..settled) {
            // The frames of before the start lie in a ring when it is opened late.
            if seen.at >= self.began {
                self.rows.add(&seen, &mut self.packets, &mut self.timeline);
            }
        }
    }

    fn end_interval(&mut self, now: Nanos) {
        // A socket that cannot be listed now is looked for again.
        if let Err(error) = self.sockets.look() {
            tracing::warn!(%error, "sockets are not listed");
        }
        self.host.sample(&mut self.now);
        self.roll(now, false);
    }

    /// Hands what was counted to the KPIs; an interval may end by it.
    fn roll(&mut self, now: Nanos, last: bool) {
        let settled = now.saturating_sub(SETTLED_AFTER);
        self.rows.settle(settled, last, &mut self.packets);
        let drops: u64 = self.captures.iter_mut().map(|(capture, _)| capture.drops()).sum();
        self.counts = Counts {
            capture_drops: drops,
            unreadable: self.captures.iter().map(|(capture, _)| capture.unreadable()).sum(),
            unmatched: self.rows.unmatched(),
            sockets: self.sockets.followed() as u64,
            sockets_left_out: self.sockets.left_out,
            threads: self.host.threads() as u64,
            ..self.counts
        };
        self.packets.roll(now, &[CoreFacts { profile: 0, samples_lost: drops }]);
        self.take_interval();
        if let Some(timeline) = &mut self.timeline {
            timeline.turn(now);
        }
    }

    /// Makes the report of the last interval, if it is new.
    fn take_interval(&mut self) {
        let Some((number, from, to)) = self.packets.last_interval() else { return };
        if number == self.intervals_seen || from >= to {
            return;
        }
        self.intervals_seen = number;
        let totals = self.packets.totals();
        let added = since(&totals, &self.totals);
        self.totals = totals;
        let span = to.saturating_sub(from);
        self.report = self.report_of(&self.now, self.packets.report(), &added, span);
        self.run.merge(&self.now);
        self.now.clear();
        if let Some(timeline) = &mut self.timeline {
            timeline.features(from, to, self.report.entries.clone());
        }
    }

    fn report_of(
        &self,
        sums: &KernelSums,
        packets: &Report,
        totals: &Totals,
        span: Nanos,
    ) -> Report {
        let (plan, has_dispatch) = (&self.plan, self.observe.ingress.is_some());
        sums.report(packets, SeenPackets { plan, totals, has_dispatch, span })
    }

    /// Ends it at `now`: takes what is still in the rings, and reports on everything.
    pub fn finish(mut self, now: Nanos) -> Observed {
        // A block that is not full is handed over some ms after its first frame.
        self.clock.sleep(now.saturating_add(SETTLED_AFTER));
        self.drain();
        self.count(now);
        self.host.sample(&mut self.now);
        self.roll(now, true);
        let packets = self.packets.run_report(now);
        // The last interval is shorter.
        self.take_interval();
        if let Some(timeline) = &mut self.timeline {
            timeline.turn(now);
        }
        let totals = self.packets.totals();
        let duration = now.saturating_sub(self.began);
        let report = self.report_of(&self.run, &packets, &totals, duration);
        let mut environment = self.environment.json;
        // The counters of the disciplines are those of the end.
        if let Ok(disciplines) = self.port.disciplines() {
            environment["qdiscs"] = disciplines.iter().map(environment::describe).collect();
        }
        Observed { report, totals, counts: self.counts, duration, environment }
    }

    /// Frames that were counted so far.
    pub fn packets(&self) -> u64 {
        self.packets.totals().packets_out
    }

    /// The list of numbers, as every interface shows them.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::labelled(&[("arm", ARM)]);
        self.packets.publish_counters(&mut registry);
        publish_report(&self.report, &mut registry);
        if let Some(timeline) = &self.timeline {
            timeline.publish(&mut registry);
        }
        let r = &mut registry;
        for (name, help, value) in self.counts.counters() {
            r.counter(name, help, &[], value);
        }
        let help = "TCP sockets that are followed.";
        r.gauge("observe_sockets", help, &[], self.counts.sockets);
        let help = "Threads that are watched.";
        r.gauge("observe_threads", help, &[], self.counts.threads);
        for source in &self.environment.sources {
            let state = if source.missing.is_none() { "present" } else { "absent" };
            let mut labels = vec![
                ("source", source.name),
                ("interface", source.interface.as_str()),
                ("state", state),
            ];
            labels.extend(source.missing.map(|reason| ("reason", reason)));
            r.info("observe_source", "What figures are made of, and what the host lacks.", &labels);
        }
        self.publish_qdisc(r);
        self.publish_host(r);
        registry
    }

    fn publish_qdisc(&self, r: &mut Registry) {
        let Some(qdisc) = &self.port.qdisc else { return };
        let labels: Labels<'_> = &[("interface", &self.observe.egress), ("qdisc", &qdisc.kind)];
        for (name, value) in [
            ("qdisc_bytes", qdisc.bytes),
            ("qdisc_packets", qdisc.packets),
            ("qdisc_drops", u64::from(qdisc.drops)),
            ("qdisc_requeues", u64::from(qdisc.requeues)),
            ("qdisc_overlimits", u64::from(qdisc.overlimits)),
        ] {
            r.counter(name, "Of the queueing discipline at the root, as it tells.", labels, value);
        }
        let help = "Packets in the queueing discipline at the root, when last asked.";
        r.gauge("qdisc_qlen", help, labels, u64::from(qdisc.qlen));
    }

    fn publish_host(&self, r: &mut Registry) {
        let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
        for (line, of_cpu) in files::softnet(&text).unwrap_or_default().iter().enumerate() {
            let cpu = of_cpu.cpu.map_or(line as u64, u64::from).to_string();
            let labels: Labels<'_> = &[("cpu", &cpu)];
            for (name, value) in [
                ("softnet_processed", of_cpu.processed),
                ("softnet_dropped", of_cpu.dropped),
                ("softnet_time_squeeze", of_cpu.time_squeeze),
            ] {
                let help = "Of the receive path of a CPU, modulo 2^32.";
                r.counter(name, help, labels, u64::from(value));
            }
        }
        let text = std::fs::read_to_string("/proc/interrupts").unwrap_or_default();
        let names = device_names(&self.observe.egress);
        for line in files::interrupts(&text).unwrap_or_default() {
            if names.iter().any(|name| line.device.contains(name)) {
                let labels: Labels<'_> = &[("irq", &line.name), ("device", &line.device)];
                let help = "Interrupts of the egress interface, all CPUs.";
                r.counter("interrupts", help, labels, line.counts.iter().sum());
            }
        }
    }

    /// The same with everything that is no number.
    pub fn status(&self) -> Value {
        json!({
            "arm": ARM,
            "kpis": kpis_json(&self.report),
            "counters": self.registry().to_json(),
            "environment": self.environment.json,
        })
    }
}

impl Counts {
    /// Those that only grow: name, help and value.
    fn counters(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("capture_drops", "Frames that the capture had no room for.", self.capture_drops),
            ("capture_unreadable", "Blocks that could not be read; must stay 0.", self.unreadable),
            ("capture_not_ip", "Captured frames that are not IP.", self.not_ip),
            ("capture_malformed", "Captured frames with unreadable headers.", self.malformed),
            ("capture_unmatched", "Frames that left and had not come in.", self.unmatched),
            (
                "sockets_left_out",
                "Sockets that are chosen and not followed.",
                self.sockets_left_out,
            ),
        ]
    }

    /// As an object.
    pub fn json(&self) -> Value {
        let counters = self.counters().map(|(name, _, value)| (name.to_owned(), json!(value)));
        let mut object: Map<String, Value> = counters.into_iter().collect();
        object.insert("sockets".to_owned(), json!(self.sockets));
        object.insert("threads".to_owned(), json!(self.threads));
        Value::Object(object)
    }
}

/// KPIs in JSON, those of the machine under `host`.
pub fn kpis_json(report: &Report) -> Value {
    let mut kpis = report.kpis_json();
    if let Value::Object(all) = &mut kpis {
        all.insert("host".to_owned(), report.host_json());
    }
    kpis
}

/// What left since `earlier`; nothing else of it is asked for.
fn since(totals: &Totals, earlier: &Totals) -> Totals {
    Totals { packets_out: totals.packets_out.saturating_sub(earlier.packets_out), ..*totals }
}

/// What `/proc/interrupts` may call an interface: itself, or the device below it.
fn device_names(interface: &str) -> Vec<String> {
    let device = std::fs::read_link(format!("/sys/class/net/{interface}/device")).ok();
    let device = device.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    std::iter::once(interface.to_owned()).chain(device).collect()
}
