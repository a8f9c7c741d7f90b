//! Series from sample rows: of one class, at the real departure or as if under `normal`.

use super::shape::{self, of_shape};
use super::{Place, Q, Values, fill_of, ratio, withdraw};
use crate::kind::{Kind, Side};
use crate::kpi::absent;
use crate::kpi::histogram::Histogram;
use crate::kpi::minimum;
use crate::kpi::report::{Basis, Entry, Inputs, Sources};
use crate::kpi::sampled::{
    ARMS, CouplingTotals, ExactAgainTotals, FeedTotals, SampledCell, Spread, TimingTotals,
};

const QUANTILES: [Q; 3] = [Q::P50, Q::P95, Q::P99];

/// Which rows a KPI can be made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Any: each stands for others like it.
    Some,
    /// Those of every packet of the class.
    All,
}

/// The rows of a class on a port.
struct Rows<'a> {
    place: Place<'a>,
    inputs: &'a Inputs<'a>,
    /// Empty where no samples were given.
    cell: &'a SampledCell,
}

/// Names of the series of one choice of departure time.
struct Names {
    phase: &'static str,
    decision: &'static str,
    join: &'static str,
    churn: &'static str,
    not_sent: &'static str,
    ahead: &'static str,
    burst_bytes: &'static str,
}

const AT_WIRE: Names = Names {
    phase: "cadence_phase_error",
    decision: "decision_to_wire_ns",
    join: "child_join_delay_ns",
    churn: "churn_burst_index",
    not_sent: "not_sent_bytes",
    ahead: "wire_serialization_ns",
    burst_bytes: "burst_bytes",
};

const AT_NORMAL: Names = Names {
    phase: "cadence_phase_error_at_normal",
    decision: "decision_to_wire_ns_at_normal",
    join: "child_join_delay_ns_at_normal",
    churn: "churn_burst_index_at_normal",
    not_sent: "not_sent_bytes_at_normal",
    ahead: "wire_serialization_ns_at_normal",
    burst_bytes: "burst_bytes_at_normal",
};

/// Every series from rows of the class at `place`.
pub(super) fn of_place(place: Place<'_>, inputs: &Inputs<'_>, entries: &mut Vec<Entry>) {
    let found = inputs.sampled.and_then(|sampled| {
        let here =
            |cell: &&SampledCell| cell.port == place.cell.port && cell.class == place.cell.class;
        sampled.cells().iter().find(here)
    });
    let none = SampledCell::default();
    let rows = Rows { place, inputs, cell: found.unwrap_or(&none) };
    rows.send_queue(entries);
    match place.class.from {
        Side::Inside => {
            rows.writes(entries);
            rows.acks(entries);
            rows.timing(&AT_WIRE, &rows.cell.wire, entries);
            rows.timing(&AT_NORMAL, &rows.cell.normal, entries);
            rows.exact_at_normal(&rows.cell.exact_at_normal, entries);
        }
        Side::Venue => rows.feed(entries),
    }
}

impl Rows<'_> {
    fn entry(&self, name: &'static str, part: Option<&'static str>) -> Entry {
        let mut entry = self.place.entry(name, part);
        entry.basis = Basis::Sampled;
        entry.n = self.cell.rows;
        let (arrival, intents) = (self.cell.stamp_sources, self.cell.intent_sources);
        entry.sources = Sources {
            arrival: super::only(&super::stamps(arrival)),
            departure: entry.sources.departure,
            intent: super::only(&super::intents(intents)),
        };
        entry
    }

    /// Takes the values away that these rows cannot carry.
    fn put(&self, mut entry: Entry, needs: Needs, entries: &mut Vec<Entry>) {
        let thinned = needs == Needs::All && self.cell.thinned > 0;
        self.put_if(thinned.then_some(absent::NOT_EVERY_PACKET), &mut entry);
        entries.push(entry);
    }

    /// The same, of a KPI that rests on due times.
    fn put_due(&self, mut entry: Entry, needs: Needs, entries: &mut Vec<Entry>) {
        if super::intents(self.cell.intent_sources).len() > 1 {
            withdraw(&mut entry, absent::MIXED_INTENT);
        }
        self.put(entry, needs, entries);
    }

    fn put_if(&self, withdrawn: Option<&'static str>, entry: &mut Entry) {
        if let Some(reason) = withdrawn {
            withdraw(entry, reason);
        }
        if self.inputs.sampled.is_none() {
            withdraw(entry, absent::NO_SAMPLES);
        } else if !self.inputs.samples.is_tolerable() {
            withdraw(entry, absent::SAMPLES_LOST);
        }
    }

    fn spread(
        &self,
        name: &'static str,
        part: Option<&'static str>,
        spread: &Spread,
        quantiles: &[Q],
        n_min: u64,
    ) -> Entry {
        let mut entry = self.entry(name, part);
        entry.n = spread.rows();
        fill_of(&mut entry, spread.histogram(), quantiles, n_min);
        entry
    }

    fn send_queue(&self, entries: &mut Vec<Entry>) {
        let backlog = &self.cell.backlog_bytes;
        let entry = self.spread("send_queue_bytes", None, backlog, &[Q::P50, Q::P95], 0);
        self.put(entry, Needs::Some, entries);
    }

    fn writes(&self, entries: &mut Vec<Entry>) {
        let mut sizes =
            self.spread("write_size_bytes", None, &self.cell.write_size, &QUANTILES, minimum::ROW);
        // What was cut here was handed over in larger pieces.
        sizes.proxy = self.place.cell.segmented.packets > 0;
        self.put(sizes, Needs::Some, entries);
        let gaps =
            self.spread("inter_write_ns", None, &self.cell.inter_write, &QUANTILES, minimum::ROW);
        self.put(gaps, Needs::All, entries);
    }

    fn timing(&self, names: &Names, totals: &TimingTotals, entries: &mut Vec<Entry>) {
        self.phase(names.phase, totals, entries);
        self.decision(names, totals, entries);
        self.churn(names.churn, totals, entries);
        self.not_sent(names.not_sent, totals, entries);
        let runs = &totals.runs;
        for (name, spread) in [(names.ahead, &runs.ahead_ns), (names.burst_bytes, &runs.bytes)] {
            let mut entry = self.spread(name, None, spread, &QUANTILES, minimum::ROW);
            if self.place.port.link_bits_per_s.is_none() {
                withdraw(&mut entry, absent::NO_LINK_RATE);
            }
            self.put(entry, Needs::All, entries);
        }
    }

    fn phase(&self, name: &'static str, totals: &TimingTotals, entries: &mut Vec<Entry>) {
        let phase = &totals.phase;
        let mut entry = self.spread(name, None, phase.distance(), &[Q::P95], minimum::ROW);
        let cadence = self.place.class.cadence.filter(|cadence| cadence.0 > 0);
        for (_, value) in &mut entry.values {
            *value = value.zip(cadence).map(|(ns, cadence)| ns / cadence.0 as f64);
        }
        let enough = entry.n >= minimum::ROW;
        entry.values.push(("drift", phase.drift().filter(|_| enough)));
        entry.values.push(("coherence", phase.coherence().filter(|_| enough)));
        if cadence.is_none() {
            withdraw(&mut entry, absent::NO_CADENCE);
        }
        self.put_due(entry, Needs::Some, entries);
    }

    fn decision(&self, names: &Names, totals: &TimingTotals, entries: &mut Vec<Entry>) {
        let spread = &totals.decision_to_wire;
        let mut delay = self.spread(names.decision, None, spread, &QUANTILES, 0);
        delay.values.push(("negative", Some(totals.negative_decision as f64)));
        let of = |q| spread.histogram().and_then(|h| h.quantile_of(q, spread.rows(), 0));
        let mut join = self.entry(names.join, None);
        join.n = spread.rows();
        let value = of(Q::P95).zip(of(Q::P50)).map(|(p95, p50)| (p95 - p50) as f64);
        join.values = vec![("value", value)];
        if value.is_none() {
            join.absent = Some(absent::N_TOO_SMALL);
        }
        for mut entry in [delay, join] {
            if spread.rows() == 0 && totals.negative_decision == 0 {
                let none = self.cell.rows == 0;
                withdraw(&mut entry, if none { absent::NO_PACKETS } else { absent::NO_DECISION });
            }
            self.put(entry, Needs::Some, entries);
        }
    }

    fn churn(&self, name: &'static str, totals: &TimingTotals, entries: &mut Vec<Entry>) {
        let mut entry = self.entry(name, None);
        let churn = totals.churn.bursts.burstiness();
        let intent = &totals.churn_intent.bursts;
        entry.n = churn.n;
        entry.absent = churn.absent;
        let enough = churn.n >= minimum::ROW && intent.due_packets > 0;
        let intent = enough.then(|| intent.due_max as f64 / intent.due_packets as f64);
        entry.values = vec![("excess", churn.excess), ("bi", churn.bi), ("intent", intent)];
        if churn.n == 0 {
            let told = !matches!(self.place.class.kind, Kind::Mixed | Kind::Other);
            let why = if told { absent::NO_PACKETS } else { absent::NO_KIND };
            withdraw(&mut entry, why);
        }
        self.put_due(entry, Needs::All, entries);
    }

    fn not_sent(&self, name: &'static str, totals: &TimingTotals, entries: &mut Vec<Entry>) {
        let level = &totals.not_sent;
        let mut entry = self.entry(name, None);
        entry.n = level.packets();
        fill_of(&mut entry, level.bytes(), &[Q::P50, Q::P95], 0);
        let mean = level.bytes().and_then(Histogram::mean).filter(|_| entry.n > 0);
        entry.values.push(("mean", mean));
        if level.late() * 1_000 > level.packets() {
            withdraw(&mut entry, absent::LATE_DUE);
        }
        self.put(entry, Needs::All, entries);
    }

    /// At `normal`, what is counted of every packet at the real departure.
    fn exact_at_normal(&self, totals: &ExactAgainTotals, entries: &mut Vec<Entry>) {
        let entry = |name| self.entry(name, None);
        let mixed = super::intents(self.cell.intent_sources).len() > 1;
        let inputs = self.inputs;
        for found in of_shape(entry, &shape::AT_NORMAL, &totals.shape, self.place, inputs) {
            self.put(shape::unmixed(found, mixed), Needs::All, entries);
        }
        let all = [Q::P50, Q::P95, Q::P99, Q::P999];
        let (name, spread) = ("dispatch_to_wire_ns_at_normal", &totals.dispatch_to_wire);
        let mut total = self.spread(name, Some("total"), spread, &all, 0);
        total.values.push(("negative", Some(totals.negative_dispatch as f64)));
        self.put(total, Needs::Some, entries);
        for (part, spread) in [("late", &totals.late), ("early", &totals.early)] {
            let entry =
                self.spread("release_error_ns_at_normal", Some(part), spread, &QUANTILES, 0);
            self.put_due(entry, Needs::Some, entries);
        }
        let mut entry = self.spread(
            "wire_cadence_variability_ns_at_normal",
            None,
            &totals.gap_error,
            &QUANTILES,
            minimum::ROW,
        );
        if let Some(cadence) = self.place.class.cadence.filter(|cadence| cadence.0 > 0) {
            let share = entry.value("p95").map(|p95| p95 / cadence.0 as f64);
            entry.values.push(("share_p95", share));
        }
        self.put_due(entry, Needs::All, entries);

        let mut entry = self.entry("burstiness_index_at_normal", None);
        let figures = totals.shape.bursts.burstiness();
        (entry.n, entry.absent) = (figures.n, figures.absent);
        entry.values = vec![
            ("bi", figures.bi),
            ("peak_to_mean", figures.peak_to_mean),
            ("excess", figures.excess),
        ];
        if figures.n == 0 {
            withdraw(&mut entry, absent::NO_PACKETS);
        }
        self.put_due(entry, Needs::All, entries);

        let mut entry = self.entry("completion_ratio_at_normal", None);
        let ended = totals.departed + self.cell.dropped;
        ratio(&mut entry, "ratio", totals.in_time, ended, 0);
        self.put(entry, Needs::Some, entries);
    }

    fn acks(&self, entries: &mut Vec<Entry>) {
        let acks = &self.cell.acks;
        let thinned = acks.thinned > 0 || self.cell.thinned > 0;
        let mut delay =
            self.spread("wire_to_ack_ns", None, &acks.wire_to_ack, &QUANTILES, minimum::ACK_PAIRS);
        let slope = match ["p50", "p95", "p99"].map(|q| delay.value(q)) {
            [Some(p50), Some(p95), Some(p99)] if p95 > p50 => Some((p99 - p95) / (p95 - p50)),
            _ => None,
        };
        delay.values.push(("slope", slope));
        if delay.value("p99").is_some() && slope.is_none() {
            delay.absent.get_or_insert(absent::NO_VARIATION);
        }
        delay.values.push(("negative", Some(acks.negative as f64)));

        let mut ratio = self.entry("ack_compression_ratio", None);
        ratio.n = acks.pairs;
        let share = acks.share();
        let baseline = self.cell.ack_baseline.map(|share| share.max(BASELINE_FLOOR));
        ratio.values = vec![
            ("ratio", share.zip(baseline).map(|(share, usual)| share / usual)),
            ("share", share),
            ("baseline", self.cell.ack_baseline),
            ("in_one_burst", Some(acks.in_one_burst as f64)),
            ("not_followed", Some(acks.not_followed as f64)),
        ];
        ratio.absent = match (acks.pairs, share, baseline) {
            (0, ..) => Some(absent::NO_PACKETS),
            (_, None, _) => Some(absent::N_TOO_SMALL),
            (.., None) => Some(absent::NO_BASELINE),
            _ => None,
        };
        for mut entry in [delay, ratio] {
            self.put_if(thinned.then_some(absent::NOT_EVERY_PACKET), &mut entry);
            entries.push(entry);
        }
    }

    fn feed(&self, entries: &mut Vec<Entry>) {
        let feed = &self.cell.feed;
        let is_data = self.place.class.kind == Kind::MarketData;
        let part = if is_data { "market_data" } else { "control" };
        let mut delay = self.spread("delivery_delay_ns", Some(part), &feed.delay, &QUANTILES, 0);
        delay.values.push(("negative", Some(feed.negative as f64)));
        self.put(delay, Needs::Some, entries);
        let gaps = self.spread("ingest_gap_ns", None, &feed.ingest_gaps, &QUANTILES, minimum::ROW);
        self.put(gaps, Needs::All, entries);
        if is_data {
            self.distortion(feed, entries);
            for (arm, coupling) in ARMS.into_iter().zip(&feed.coupling) {
                // Of groups that nobody governs apart there is nothing to say.
                if arm.is_none() || coupling.has_orders() {
                    self.coupling(feed, arm, coupling, entries);
                }
            }
        }
    }

    fn distortion(&self, feed: &FeedTotals, entries: &mut Vec<Entry>) {
        let mut entry = self.entry("market_data_distortion_ratio", None);
        let p95 = |gaps: &Spread| {
            let histogram = gaps.histogram()?;
            histogram.quantile_of(Q::P95, gaps.rows(), minimum::OF_P95).map(|ns| ns as f64)
        };
        entry.n = feed.delivery_gaps.rows().min(feed.arrival_gaps.rows());
        let (delivered, arrived) = (p95(&feed.delivery_gaps), p95(&feed.arrival_gaps));
        let both = delivered.zip(arrived);
        entry.values = vec![
            ("ratio", both.map(|(delivered, arrived)| delivered / arrived)),
            ("delivery_p95_ns", delivered),
            ("ingress_p95_ns", arrived),
        ];
        if both.is_none() {
            let none = self.cell.rows == 0;
            entry.absent = Some(if none { absent::NO_PACKETS } else { absent::N_TOO_SMALL });
        }
        if feed.coalesced > 0 {
            withdraw(&mut entry, absent::COALESCED_STAMPS);
        }
        self.put(entry, Needs::All, entries);
    }

    fn coupling(
        &self,
        feed: &FeedTotals,
        arm: Option<&'static str>,
        coupling: &CouplingTotals,
        entries: &mut Vec<Entry>,
    ) {
        let mut entry = self.entry("decision_burst_coupling", None);
        entry.labels.arm = arm;
        let (figures, active) = (coupling.figures(), coupling.active());
        entry.n = active;
        entry.values = vec![
            ("coupling", figures.map(|f| f.coupling)),
            ("ingress", figures.map(|f| f.ingress)),
            ("excess", figures.map(|f| f.coupling - f.ingress)),
            ("lag_windows", figures.map(|f| f.lag as f64)),
        ];
        if figures.is_none() {
            entry.absent = Some(match active {
                0 => absent::NO_PACKETS,
                n if n < coupling.active_min() => absent::N_TOO_SMALL,
                _ => absent::NO_VARIATION,
            });
        }
        if feed.orders_thinned > 0 {
            withdraw(&mut entry, absent::NOT_EVERY_PACKET);
        }
        self.put(entry, Needs::All, entries);
    }
}

/// Least share of compressed acknowledgements that a baseline is taken for.
const BASELINE_FLOOR: f64 = 0.01;

/// The series from rows of one port: urgency towards a venue, order of delivery towards the inside.
pub(super) fn of_port(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let plan = &inputs.plan.ports[position];
    let sampled = inputs.sampled.map(|sampled| &sampled.ports()[position]);
    let mut entry = Entry::blank(match plan.side {
        Side::Venue => "not_sent_urgency_divergence",
        Side::Inside => "causality_drift",
    });
    entry.labels.port = Some(plan.name.clone());
    entry.basis = Basis::Sampled;
    match plan.side {
        Side::Venue => {
            entry.n = sampled.map_or(0, |port| port.urgencies.rows());
            let found = sampled.and_then(|port| port.urgencies.divergence(inputs.span.0));
            let values: Values = vec![
                ("divergence", found.map(|found| found.weighted)),
                ("ratio", found.and_then(|found| found.ratio)),
            ];
            entry.absent = match found {
                _ if entry.n == 0 => Some(absent::NO_PACKETS),
                None if inputs.span.0 == 0 => Some(absent::NO_INTERVAL),
                None => Some(absent::NO_URGENCY),
                Some(found) if found.ratio.is_none() => Some(absent::NO_BACKLOG),
                Some(_) => None,
            };
            entry.values = values;
        }
        Side::Inside => {
            let totals = sampled.map(|port| port.causality).unwrap_or_default();
            entry.n = totals.near;
            ratio(&mut entry, "drift", totals.drifted, totals.near, minimum::ROW);
            if sampled.is_some_and(|port| port.thinned > 0) {
                withdraw(&mut entry, absent::NOT_EVERY_PACKET);
            }
        }
    }
    if sampled.is_none() {
        withdraw(&mut entry, absent::NO_SAMPLES);
    } else if !inputs.samples.is_tolerable() {
        withdraw(&mut entry, absent::SAMPLES_LOST);
    }
    entries.push(entry);
}
