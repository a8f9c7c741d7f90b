//! Every KPI again, written from the definitions in docs/kpis.md alone: plain loops over all packets,
//! sorted lists, exact numbers. Slow and without any code of the product.

mod acks;
mod feed;

use std::collections::{BTreeMap, BTreeSet};

use self::acks::acks;
pub use self::feed::causality;
use self::feed::feed;
use crate::timeline::Packet;

/// What a value is compared by.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A count or a ratio: exact up to rounding of the division.
    Exact(Option<f64>),
    /// A quantile, or made of quantiles: within 1 % of each.
    Quantile(Option<f64>),
}

/// Name, part and value name of each value of a class.
pub type Values = BTreeMap<(String, String, String), Value>;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// What is known of a class beforehand.
#[derive(Clone, Copy)]
pub struct Class {
    pub number: u8,
    pub cadence: Option<u64>,
    /// Bits per second of the link, where known.
    pub link: Option<u64>,
    /// Rate in bits per second and burst in wire bytes of the class.
    pub rate: Option<(u64, u64)>,
    pub is_feed: bool,
    pub from_venue: bool,
}

fn wire_bytes(packet: &Packet) -> u64 {
    u64::from(packet.len.max(60)) + 24
}

/// Values, each as often as its row has weight, and how many rows there are.
struct List {
    values: Vec<u64>,
    rows: usize,
}

/// Values and the rows behind them.
trait Rows {
    fn values(&self) -> &[u64];
    fn rows(&self) -> usize;
}

impl Rows for Vec<u64> {
    fn values(&self) -> &[u64] {
        self
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

impl Rows for List {
    fn values(&self) -> &[u64] {
        &self.values
    }

    fn rows(&self) -> usize {
        self.rows
    }
}

/// The value at `ceil(q n)` of the sorted list; nothing below 10 / (1 - q) rows, or below `n_min`.
fn quantile(list: &impl Rows, permille: u64, n_min: usize) -> Option<f64> {
    if list.rows() < n_min || (list.rows() as u64) * (1_000 - permille) < 10_000 {
        return None;
    }
    let mut sorted = list.values().to_vec();
    let n = sorted.len();
    sorted.sort_unstable();
    let rank = (n as u64 * permille).div_ceil(1_000) as usize;
    Some(sorted[rank - 1] as f64)
}

struct Out(Values);

impl Out {
    fn put(&mut self, name: &str, part: &str, value: &str, found: Value) {
        self.0.insert((name.into(), part.into(), value.into()), found);
    }

    fn exact(&mut self, name: &str, value: &str, found: Option<f64>) {
        self.put(name, "", value, Value::Exact(found));
    }

    /// Quantiles and the maximum of `values`.
    fn spread(
        &mut self,
        name: &str,
        part: &str,
        list: &impl Rows,
        which: &[(&str, u64)],
        n_min: usize,
    ) {
        for (label, permille) in which {
            self.put(name, part, label, Value::Quantile(quantile(list, *permille, n_min)));
        }
        let max =
            list.values().iter().max().filter(|_| list.rows() >= n_min).map(|max| *max as f64);
        self.put(name, part, "max", Value::Exact(max));
    }
}

const THREE: [(&str, u64); 3] = [("p50", 500), ("p95", 950), ("p99", 990)];
const FOUR: [(&str, u64); 4] = [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)];
const TWO: [(&str, u64); 2] = [("p50", 500), ("p95", 950)];

fn repeat(packets: &[&Packet], of: impl Fn(&Packet) -> Option<u64>) -> List {
    let each: Vec<_> = packets.iter().filter_map(|p| Some((of(p)?, p.weight as usize))).collect();
    let rows = each.len();
    let values = each.into_iter().flat_map(|(value, weight)| std::iter::repeat_n(value, weight));
    List { values: values.collect(), rows }
}

/// The packets of `class`, with their departure moved as if the confirmed caps had been in force.
fn at_normal(packets: &[Packet]) -> Vec<Packet> {
    let moved = |p: &Packet| {
        let shift = p.sched - p.normal;
        Packet { tx: p.tx - shift, wire: p.wire - shift, ..*p }
    };
    packets.iter().map(moved).collect()
}

/// Every value of `class`; `all` are the packets of the core in the order of their ends.
pub fn values(all: &[Packet], class: Class) -> Values {
    let mut out = Out(Values::new());
    let mine: Vec<Packet> = all.iter().filter(|p| p.class == class.number).copied().collect();
    let left: Vec<&Packet> = mine.iter().filter(|p| !p.dropped).collect();
    tier_one(&mine, &left, class, &mut out);
    let backlog = repeat(&mine.iter().collect::<Vec<_>>(), |p| Some(p.backlog));
    out.spread("send_queue_bytes", "", &backlog, &TWO, 0);
    if class.from_venue {
        feed(all, &left, class, &mut out);
        return out.0;
    }
    let lens = repeat(&mine.iter().collect::<Vec<_>>(), |p| Some(u64::from(p.len)));
    out.spread("write_size_bytes", "", &lens, &THREE, 30);
    out.spread("inter_write_ns", "", &gaps_by_flow(&left, |p| p.dispatch), &THREE, 30);
    acks(all, class, &mut out);
    at_a_time(&mine, &left, class, "", &mut out);
    let normal = at_normal(&mine);
    let normal: Vec<&Packet> = normal.iter().filter(|p| !p.dropped).collect();
    let waited: Vec<Packet> = normal.iter().map(|p| **p).collect();
    at_a_time(&waited, &normal, class, "_at_normal", &mut out);
    only_at_normal(&mine, &normal, class, &mut out);
    out.0
}

fn gaps_by_flow(packets: &[&Packet], of: impl Fn(&Packet) -> u64) -> Vec<u64> {
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    let mut gaps = Vec::new();
    for p in packets {
        if let Some(before) = last.insert(p.flow, of(p))
            && of(p) >= before
        {
            gaps.push(of(p) - before);
        }
    }
    gaps
}

fn tier_one(mine: &[Packet], left: &[&Packet], class: Class, out: &mut Out) {
    let name = "dispatch_to_wire_ns";
    let plain =
        |of: &dyn Fn(&Packet) -> Option<u64>| left.iter().filter_map(|p| of(p)).collect::<Vec<_>>();
    let total = plain(&|p| p.wire.checked_sub(p.dispatch));
    out.spread(name, "total", &total, &FOUR, 0);
    let negative = (left.len() - total.len()) as f64;
    out.put(name, "total", "negative", Value::Exact(Some(negative)));
    let hold = |p: &Packet| p.sched.saturating_sub(p.arrival.max(p.due));
    let due_wait = |p: &Packet| p.due.saturating_sub(p.arrival);
    out.spread(name, "hold", &plain(&|p| Some(hold(p))), &FOUR, 0);
    out.spread(name, "due_wait", &plain(&|p| p.tagged.then(|| due_wait(p))), &FOUR, 0);
    let rest = plain(&|p| (p.wire - p.dispatch).checked_sub(hold(p) + due_wait(p)));
    out.spread(name, "rest", &rest, &FOUR, 0);
    let negative = (left.len() - rest.len()) as f64;
    out.put(name, "rest", "negative", Value::Exact(Some(negative)));

    let name = "release_error_ns";
    out.spread(name, "late", &plain(&|p| p.wire.checked_sub(p.due)), &THREE, 0);
    let early = plain(&|p| p.due.checked_sub(p.wire).filter(|by| *by > 0));
    out.spread(name, "early", &early, &THREE, 0);

    let governed = |p: &Packet| !p.max_hold && p.class != crate::rows::CANCELS;
    let error = plain(&|p| p.tx.checked_sub(p.eligible).filter(|_| governed(p)));
    out.spread("pacer_error_ns", "", &error, &THREE, 0);
    let early = left.iter().filter(|p| p.tx < p.eligible).count();
    out.exact("pacer_error_ns", "early", Some(early as f64));

    let windows = Windows::of(mine, left, class, |p| p.due);
    windows.burstiness("burstiness_index", out);
    out.exact("burstiness_index", "windows", Some(windows.eligible as f64));
    out.exact("burstiness_index", "window_ns", Some(windows.width as f64));
    if class.is_feed {
        let bi = windows.bi(true);
        out.exact("burst_delivery_concentration", "concentration", bi);
        let excess = bi.zip(windows.bi(false)).map(|(wire, due)| wire / due);
        out.exact("burst_delivery_concentration", "excess", excess);
        out.exact("burst_delivery_concentration", "windows", Some(windows.eligible as f64));
        out.exact("burst_delivery_concentration", "window_ns", Some(windows.width as f64));
    }
    variability("wire_cadence_variability_ns", left, class, out);

    let enough = left.len() >= 30;
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let held = left.iter().filter(|p| p.bucket_held).count();
    out.exact("cap_hit_ratio", "ratio", share(held, left.len()).filter(|_| enough));
    let urgent: Vec<_> = left.iter().filter(|p| p.urgency >= 192).collect();
    let urgent_held = urgent.iter().filter(|p| p.bucket_held).count();
    let of_urgent = share(urgent_held, urgent.len()).filter(|_| urgent.len() >= 30);
    out.exact("cap_hit_ratio", "urgent", of_urgent);
    out.exact("cap_hit_ratio", "urgent_n", Some(urgent.len() as f64));

    let in_time = |p: &&&Packet| p.wire.saturating_sub(p.dispatch.max(p.due)) <= MS;
    let in_time = left.iter().filter(in_time).count();
    out.exact("completion_ratio", "ratio", share(in_time, mine.len()));
    let dropped = mine.len() - left.len();
    out.exact("drops", "packets", Some(dropped as f64));
    if dropped > 0 {
        out.exact("drops", "stale", Some(dropped as f64));
    }
    let exempt = class.number == crate::rows::CANCELS;
    let exempt_hold = plain(&|p| exempt.then(|| p.tx - p.arrival.max(p.due)));
    out.spread("exempt_hold_ns", "", &exempt_hold, &[("p999", 999)], 0);
    headroom(left, class, out);
    // Nothing is cut here.
    let one = Some(1.0).filter(|_| !mine.is_empty());
    out.exact("segments_per_superframe", "mean", one);
    out.exact("segments_per_superframe", "max", one);
    out.exact("segments_per_superframe", "p99", one.filter(|_| mine.len() >= 1_000));
}

/// The most that the class, a flow of it and the port admitted in 100 ms; only the class has a rate.
fn headroom(left: &[&Packet], class: Class, out: &mut Out) {
    let mut admitted: BTreeMap<u64, u64> = BTreeMap::new();
    for p in left {
        *admitted.entry(p.tx / (100 * MS)).or_default() += wire_bytes(p);
    }
    let most = admitted.values().max().copied();
    let of_class = most
        .zip(class.rate)
        .map(|(bytes, (rate, _))| (1.0 - (bytes * 8 * 10) as f64 / rate as f64).clamp(0.0, 1.0));
    for (name, value) in
        [("headroom", of_class), ("of_class", of_class), ("of_flow", None), ("of_port", None)]
    {
        out.exact("pacing_headroom", name, value);
    }
}

fn variability(name: &str, left: &[&Packet], class: Class, out: &mut Out) {
    let idle = class.cadence.map_or(10 * MS, |cadence| 4 * cadence);
    let mut last: BTreeMap<u32, &Packet> = BTreeMap::new();
    let mut errors = Vec::new();
    for p in left {
        if let Some(before) = last.insert(p.flow, p) {
            let due = p.due as i128 - before.due as i128;
            let wire = p.wire as i128 - before.wire as i128;
            if due.unsigned_abs() <= u128::from(idle) {
                errors.push((wire - due).unsigned_abs() as u64);
            }
        }
    }
    out.spread(name, "", &errors, &THREE, 30);
    if let Some(cadence) = class.cadence {
        let share = quantile(&errors, 950, 30).map(|p95| p95 / cadence as f64);
        out.put(name, "", "share_p95", Value::Quantile(share));
    }
}

/// Counts in windows at multiples of their width.
struct Windows {
    width: u64,
    /// Packets and bytes by window.
    wire: BTreeMap<u64, (u64, u64)>,
    due: BTreeMap<u64, (u64, u64)>,
    eligible: u64,
}

impl Windows {
    fn of(waited: &[Packet], left: &[&Packet], class: Class, due: impl Fn(&Packet) -> u64) -> Self {
        let width = match class.cadence {
            Some(cadence) => (250 * US).div_ceil(cadence) * cadence,
            None => 250 * US,
        };
        assert!(width <= 500 * US);
        let (mut wire, mut dues) = (BTreeMap::new(), BTreeMap::new());
        for p in left {
            for (map, at) in [(&mut wire, p.wire), (&mut dues, due(p))] {
                let window: &mut (u64, u64) = map.entry(at / width).or_default();
                *window = (window.0 + 1, window.1 + wire_bytes(p));
            }
        }
        let mut eligible = BTreeSet::new();
        for p in waited {
            let end = if p.dropped { p.tx } else { p.wire };
            eligible.extend(p.arrival.min(end) / width..=end / width);
        }
        Self { width, wire, due: dues, eligible: eligible.len() as u64 }
    }

    fn bi(&self, wire: bool) -> Option<f64> {
        let windows = if wire { &self.wire } else { &self.due };
        let n: u64 = windows.values().map(|(packets, _)| packets).sum();
        let most = windows.values().map(|(packets, _)| *packets).max()?;
        (n >= 30).then(|| most as f64 / n as f64)
    }

    fn burstiness(&self, name: &str, out: &mut Out) {
        let (wire, due) = (self.bi(true), self.bi(false));
        out.exact(name, "bi", wire);
        out.exact(name, "peak_to_mean", wire.map(|bi| bi * self.eligible as f64));
        out.exact(name, "excess", wire.zip(due).map(|(wire, due)| wire / due));
    }
}

/// What is computed at the real departure and at normal alike.
fn at_a_time(waited: &[Packet], left: &[&Packet], class: Class, suffix: &str, out: &mut Out) {
    let name = |name: &str| format!("{name}{suffix}");
    let decided = |p: &Packet| p.wire.checked_sub(p.decision?);
    let delays = repeat(left, decided);
    out.spread(&name("decision_to_wire_ns"), "", &delays, &THREE, 0);
    let told = left.iter().filter(|p| p.decision.is_some());
    let negative: u32 = told.clone().filter(|p| decided(p).is_none()).map(|p| p.weight).sum();
    let negative = told.clone().next().map(|_| f64::from(negative));
    out.exact(&name("decision_to_wire_ns"), "negative", negative);
    let join = quantile(&delays, 950, 0).zip(quantile(&delays, 500, 0)).map(|(p95, p50)| p95 - p50);
    out.put(&name("child_join_delay_ns"), "", "value", Value::Quantile(join));

    phase(&name("cadence_phase_error"), left, class, out);

    let churn: Vec<&Packet> = left
        .iter()
        .filter(|p| matches!(p.kind, model::kind::Kind::Cancel | model::kind::Kind::Replace))
        .copied()
        .collect();
    let windows = Windows::of(&[], &churn, class, |p| p.due);
    let intent = Windows::of(&[], &churn, class, |p| p.dispatch);
    let wire = windows.bi(true);
    let excess = wire.zip(windows.bi(false)).map(|(wire, due)| wire / due);
    out.exact(&name("churn_burst_index"), "bi", wire);
    out.exact(&name("churn_burst_index"), "excess", excess);
    out.exact(&name("churn_burst_index"), "intent", intent.bi(false));

    not_sent(&name("not_sent_bytes"), left, out);

    let windows = Windows::of(waited, left, class, |p| p.due);
    let most = |of: &BTreeMap<u64, (u64, u64)>| of.values().map(|(_, bytes)| *bytes).max();
    let enough = left.len() >= 30;
    let factor = most(&windows.wire).zip(most(&windows.due)).filter(|_| enough);
    let factor = factor.map(|(wire, due)| wire as f64 / due as f64);
    out.exact(&name("segmentation_burst_factor"), "factor", factor);
    // A row knows no seconds: they are of who ends intervals, and tested there.
    for of_seconds in ["median_1s", "max_1s"] {
        out.exact(&name("segmentation_burst_factor"), of_seconds, None);
    }
    let envelope =
        most(&windows.wire).zip(class.rate).filter(|_| enough).map(|(bytes, (rate, burst))| {
            bytes as f64 / (burst as f64 + rate as f64 / 8.0 * windows.width as f64 / 1e9)
        });
    out.exact(&name("segmentation_burst_factor"), "envelope", envelope);

    let of_packets: Vec<u64> =
        windows.wire.values().flat_map(|(n, _)| std::iter::repeat_n(*n, *n as usize)).collect();
    let mut of_windows: Vec<u64> = windows.wire.values().map(|(n, _)| *n).collect();
    of_windows.resize(windows.eligible as usize, 0);
    let index = quantile(&of_packets, 950, 30).zip(quantile(&of_windows, 500, 0));
    let index = index.map(|(p95, p50)| p95 / p50.max(1.0));
    out.put(&name("flush_compression_index"), "", "index", Value::Quantile(index));

    let mut bytes: Vec<u64> = windows.wire.values().map(|(_, bytes)| *bytes).collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    let top = (windows.eligible as usize / 100).max(1);
    let ratio = (windows.eligible >= 100)
        .then(|| bytes.iter().take(top).sum::<u64>() as f64 / bytes.iter().sum::<u64>() as f64);
    out.put(&name("burst_drain_ratio"), "", "ratio", Value::Quantile(ratio));
    bursts(&name("wire_serialization_ns"), &name("burst_bytes"), left, class, out);
}

fn phase(name: &str, left: &[&Packet], class: Class, out: &mut Out) {
    let Some(cadence) = class.cadence else {
        for value in ["p95", "max", "drift", "coherence"] {
            out.exact(name, value, None);
        }
        return;
    };
    let around =
        |p: &Packet| (p.wire as i128 - p.due as i128).rem_euclid(i128::from(cadence)) as u64;
    let places = repeat(left, |p| Some(around(p)));
    let near = |at: &u64| *at.min(&(cadence - at));
    let List { values: places, rows } = places;
    let distances = List { values: places.iter().map(near).collect(), rows };
    let share = |ns: f64| ns / cadence as f64;
    out.put(name, "", "p95", Value::Quantile(quantile(&distances, 950, 30).map(share)));
    let enough = rows >= 30;
    let max = distances.values.iter().max().filter(|_| enough).map(|max| share(*max as f64));
    out.exact(name, "max", max);
    let turn = |at: &u64| std::f64::consts::TAU * *at as f64 / cadence as f64;
    let x = places.iter().map(|at| turn(at).cos()).sum::<f64>() / places.len() as f64;
    let y = places.iter().map(|at| turn(at).sin()).sum::<f64>() / places.len() as f64;
    let drift = y.atan2(x) / std::f64::consts::TAU;
    // Printed with nine digits.
    out.put(name, "", "drift", Value::Quantile(enough.then_some(drift)));
    out.put(name, "", "coherence", Value::Quantile(enough.then(|| x.hypot(y))));
}

/// Bytes that wait, by ns, from the first arrival to the last departure.
fn not_sent(name: &str, left: &[&Packet], out: &mut Out) {
    let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
    for p in left {
        let (from, until, bytes) = (p.arrival, p.tx.max(p.arrival), wire_bytes(p) as i64);
        *changes.entry(from).or_default() += bytes;
        *changes.entry(until).or_default() -= bytes;
    }
    let (mut stood, mut level, mut since) = (Vec::new(), 0, None);
    for (at, change) in changes {
        if let Some(since) = since {
            stood.push((level as u64, at - since));
        }
        (level, since) = (level + change, Some(at));
    }
    let total: u64 = stood.iter().map(|(_, ns)| ns).sum();
    stood.sort_unstable();
    for (label, permille) in TWO {
        let enough = left.len() as u64 * (1_000 - permille) >= 10_000 && total > 0;
        let rank = (u128::from(total) * u128::from(permille)).div_ceil(1_000) as u64;
        let mut below = 0;
        let found = stood.iter().find_map(|(bytes, ns)| {
            below += ns;
            (below >= rank).then_some(*bytes as f64)
        });
        out.put(name, "", label, Value::Quantile(found.filter(|_| enough)));
    }
    let max = stood.iter().map(|(bytes, _)| *bytes).max().filter(|_| total > 0);
    out.exact(name, "max", max.map(|max| max as f64));
    let sum: f64 = stood.iter().map(|(bytes, ns)| *bytes as f64 * *ns as f64).sum();
    out.exact(name, "mean", (total > 0).then(|| sum / total as f64));
}

fn bursts(ahead_name: &str, bytes_name: &str, left: &[&Packet], class: Class, out: &mut Out) {
    let (mut ahead, mut sizes) = (Vec::new(), Vec::new());
    if let Some(link) = class.link {
        let mut times: Vec<(u64, u64)> = left.iter().map(|p| (p.wire, wire_bytes(p))).collect();
        times.sort_unstable();
        let mut burst: Vec<(u64, u64)> = Vec::new();
        for (at, bytes) in times {
            let goes_on = burst.last().is_some_and(|(before, bytes)| {
                ((at - before) as f64) < 1.2 * (*bytes as f64 * 8.0 * 1e9 / link as f64)
            });
            if !goes_on && !burst.is_empty() {
                sizes.push(burst.iter().map(|(_, bytes)| bytes).sum());
                burst.clear();
            }
            let before: u64 = burst.iter().map(|(_, bytes)| bytes).sum();
            ahead.push((u128::from(before) * 8_000_000_000 / u128::from(link)) as u64);
            burst.push((at, bytes));
        }
        if !burst.is_empty() {
            sizes.push(burst.iter().map(|(_, bytes)| bytes).sum());
        }
    }
    out.spread(ahead_name, "", &ahead, &THREE, 30);
    out.spread(bytes_name, "", &sizes, &THREE, 30);
}

fn only_at_normal(mine: &[Packet], left: &[&Packet], class: Class, out: &mut Out) {
    let name = "dispatch_to_wire_ns_at_normal";
    let delays = repeat(left, |p| p.wire.checked_sub(p.dispatch));
    out.spread(name, "total", &delays, &FOUR, 0);
    let negative: u32 = left.iter().filter(|p| p.wire < p.dispatch).map(|p| p.weight).sum();
    out.put(name, "total", "negative", Value::Exact(Some(f64::from(negative))));
    let name = "release_error_ns_at_normal";
    out.spread(name, "late", &repeat(left, |p| p.wire.checked_sub(p.due)), &THREE, 0);
    let early = repeat(left, |p| p.due.checked_sub(p.wire).filter(|by| *by > 0));
    out.spread(name, "early", &early, &THREE, 0);
    variability("wire_cadence_variability_ns_at_normal", left, class, out);
    let all: Vec<Packet> = left.iter().map(|p| **p).collect();
    Windows::of(&all, left, class, |p| p.due).burstiness("burstiness_index_at_normal", out);
    let in_time = |p: &&&Packet| p.wire.saturating_sub(p.dispatch.max(p.due)) <= MS;
    let in_time: u32 = left.iter().filter(in_time).map(|p| p.weight).sum();
    let ended: u32 = mine.iter().map(|p| p.weight).sum();
    let ratio = (ended > 0).then(|| f64::from(in_time) / f64::from(ended));
    out.exact("completion_ratio_at_normal", "ratio", ratio);
}

/// Bytes not sent by urgency over `span_ns`: weighted by urgency, and that over the plain mean.
pub fn divergence(all: &[Packet], span_ns: u64) -> (f64, f64) {
    let mut means: BTreeMap<u8, f64> = BTreeMap::new();
    for p in all.iter().filter(|p| !p.is_from_venue() && !p.dropped) {
        let waited = wire_bytes(p) as f64 * (p.tx - p.arrival) as f64 * f64::from(p.weight);
        *means.entry(p.urgency).or_default() += waited / span_ns as f64;
    }
    let sum: f64 = means.keys().map(|u| f64::from(*u)).sum();
    let weighted = means.iter().map(|(u, mean)| f64::from(*u) * mean).sum::<f64>() / sum;
    (weighted, weighted / (means.values().sum::<f64>() / means.len() as f64))
}
