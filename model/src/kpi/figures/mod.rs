//! The series of one core: each KPI is one function from counters to values.

pub(super) mod queue;
mod rows;
mod shape;

use super::absent;
use super::block::{AdmittedMax, Cell};
use super::core::RATE_WINDOW;
use super::histogram::{Histogram, Quantile as Q};
use super::minimum;
use super::plan::{ClassPlan, CompletionFigures, PortPlan};
use super::report::{Basis, Entry, Inputs, Labels, Sources};
use super::tally::Tally;
use super::windows::burst_window;
use crate::drop_reason::DropReason;
use crate::kind::{Kind, Side};
use crate::meta::{IntentSource, StampSource};
use crate::profile::{Bucket, Caps};
use crate::time::Nanos;

/// Named values of one series, in order.
type Values = Vec<(&'static str, Option<f64>)>;

/// A class on a port: what its series have in common.
#[derive(Clone, Copy)]
struct Place<'a> {
    cell: &'a Cell,
    port: &'a PortPlan,
    class: &'a ClassPlan,
}

/// Every series of one core.
pub(super) fn of_core(inputs: &Inputs<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (position, cell) in inputs.block.cells.iter().enumerate() {
        let (port, class) = (&inputs.plan.ports[cell.port], &inputs.plan.classes[cell.class]);
        // Of groups that nobody governs apart there is nothing to say.
        if class.arm.is_some() && cell.is_silent() {
            continue;
        }
        let place = Place { cell, port, class };
        dispatch_to_wire(place, &mut entries);
        release_error(place, &mut entries);
        entries.push(pacer_error(place));
        entries.push(burstiness(place));
        entries.push(cadence_variability(place));
        if class.from == Side::Inside {
            let names = &shape::AT_WIRE;
            let entry = |name| place.entry(name, None);
            let mut found = shape::of_shape(entry, names, &cell.bursts, place, inputs);
            shape::of_seconds(&mut found[0], inputs.factors.get(position));
            let mixed = place.intents().len() > 1;
            entries.extend(found.map(|entry| shape::unmixed(entry, mixed)));
        }
        entries.push(headroom(place, inputs));
        entries.push(cap_hits(place));
        entries.push(completion(place));
        entries.push(drops(place));
        entries.push(exempt_hold(place));
        entries.push(segments(place));
        if class.kind == Kind::MarketData {
            entries.push(delivery_concentration(place));
        }
        rows::of_place(place, inputs, &mut entries);
    }
    for position in 0..inputs.plan.ports.len() {
        in_flight(inputs, position, &mut entries);
        below_queue(inputs, position, &mut entries);
        queue::of_port(inputs, position, &mut entries);
        rows::of_port(inputs, position, &mut entries);
        without_feed(inputs, position, &mut entries);
        if inputs.plan.ports[position].side == Side::Venue {
            venue_limits(inputs, position, &mut entries);
            retransmissions(inputs, position, &mut entries);
        }
        entries.push(unclassified_drops(inputs, position));
    }
    entries.push(lost_share(inputs));
    entries.extend(switches(inputs));
    core_use(inputs, &mut entries);
    entries
}

impl Place<'_> {
    fn entry(&self, name: &'static str, part: Option<&'static str>) -> Entry {
        let labels = Labels {
            port: Some(self.port.name.clone()),
            class: Some(self.class.name.clone()),
            kind: Some(self.class.kind.name()),
            part,
            arm: self.class.arm,
            ..Labels::default()
        };
        let sources = Sources {
            arrival: only(&stamps(self.cell.stamp_sources)),
            departure: Some(self.port.departure.name()),
            intent: only(&self.intents()),
        };
        Entry { labels, sources, ..Entry::blank(name) }
    }

    fn intents(&self) -> Vec<&'static str> {
        intents(self.cell.intent_sources)
    }

    /// Wire bytes that the class may send in `window`: its burst and what its rate gives meanwhile.
    fn envelope_bytes(&self, inputs: &Inputs<'_>, window: Nanos) -> Option<f64> {
        let bits = inputs.profile?.classes.get(self.cell.class)?.class.bits?;
        Some(bits.burst as f64 + bits.rate_per_s as f64 * window.0 as f64 / 8e9)
    }
}

/// The arrival stamps of a set of bits.
fn stamps(bits: u8) -> Vec<&'static str> {
    (0..8_u8).filter(|n| bits & 1 << n != 0).map(|n| stamp_source(n).name()).collect()
}

/// The sources of due times of a set of bits.
fn intents(bits: u8) -> Vec<&'static str> {
    [IntentSource::Implicit, IntentSource::Tag, IntentSource::Schedule]
        .into_iter()
        .filter(|source| bits & 1 << *source as u8 != 0)
        .map(IntentSource::name)
        .collect()
}

fn stamp_source(n: u8) -> StampSource {
    match n {
        1 => StampSource::Nic,
        2 => StampSource::Capture,
        3 => StampSource::Virtual,
        4 => StampSource::Kernel,
        _ => StampSource::Tsc,
    }
}

/// The only source, "mixed" where there are several, nothing where there is none.
fn only(names: &[&'static str]) -> Option<&'static str> {
    match names {
        [] => None,
        [one] => Some(one),
        _ => Some("mixed"),
    }
}

/// The quantiles and the maximum of `histogram`, each absent where there are too few observations.
pub(super) fn fill(entry: &mut Entry, histogram: &Histogram, quantiles: &[Q], n_min: u64) {
    entry.n = histogram.count();
    fill_of(entry, Some(histogram), quantiles, n_min);
}

/// The same for weighted observations, of which there are `entry.n`.
pub(super) fn fill_of(
    entry: &mut Entry,
    histogram: Option<&Histogram>,
    quantiles: &[Q],
    n_min: u64,
) {
    let n = entry.n;
    for &q in quantiles {
        let value = histogram.and_then(|histogram| histogram.quantile_of(q, n, n_min));
        if value.is_none() {
            let reason = match n {
                0 => absent::NO_PACKETS,
                _ if n < q.n_min().max(n_min) => absent::N_TOO_SMALL,
                _ => absent::BEYOND_RANGE,
            };
            entry.absent.get_or_insert(reason);
        }
        entry.values.push((q.name(), value.map(|v| v as f64)));
    }
    let max = histogram.and_then(Histogram::max).filter(|_| n >= n_min).map(|v| v as f64);
    entry.values.push(("max", max));
    if max.is_none() {
        entry.absent.get_or_insert(if n == 0 { absent::NO_PACKETS } else { absent::N_TOO_SMALL });
    }
}

/// Takes every value away, for `reason`.
pub(super) fn withdraw(entry: &mut Entry, reason: &'static str) {
    for (_, value) in &mut entry.values {
        *value = None;
    }
    entry.absent = Some(reason);
}

/// `part / whole`, absent below `n_min`.
pub(super) fn ratio(entry: &mut Entry, name: &'static str, part: u64, whole: u64, n_min: u64) {
    let value = (whole >= n_min.max(1)).then(|| part as f64 / whole as f64);
    if value.is_none() {
        let few = if whole == 0 { absent::NO_PACKETS } else { absent::N_TOO_SMALL };
        entry.absent.get_or_insert(few);
    }
    entry.values.push((name, value));
}

fn dispatch_to_wire(place: Place<'_>, entries: &mut Vec<Entry>) {
    const NAME: &str = "dispatch_to_wire_ns";
    const QUANTILES: [Q; 4] = [Q::P50, Q::P95, Q::P99, Q::P999];
    let cell = place.cell;

    let mut total = place.entry(NAME, Some("total"));
    fill(&mut total, &cell.dispatch_to_wire, &QUANTILES, 0);
    total.values.push(("negative", Some(cell.negative_dispatch as f64)));
    entries.push(total);

    let mut hold = place.entry(NAME, Some("hold"));
    fill(&mut hold, &cell.hold, &QUANTILES, 0);
    // Packets from the venue never meet the pacer.
    hold.structural_zero = place.class.from == Side::Venue;
    entries.push(hold);

    let mut rest = place.entry(NAME, Some("rest"));
    fill(&mut rest, &cell.rest, &QUANTILES, 0);
    rest.values.push(("negative", Some(cell.negative_rest as f64)));
    entries.push(rest);

    let mut due_wait = place.entry(NAME, Some("due_wait"));
    fill(&mut due_wait, &cell.due_wait, &QUANTILES, 0);
    if cell.due_wait.count() == 0 && cell.departed.packets > 0 {
        withdraw(&mut due_wait, absent::NO_INTENT);
    }
    entries.push(due_wait);
}

fn release_error(place: Place<'_>, entries: &mut Vec<Entry>) {
    let histograms = [("late", &place.cell.release_late), ("early", &place.cell.release_early)];
    for (part, histogram) in histograms {
        let mut entry = place.entry("release_error_ns", Some(part));
        fill(&mut entry, histogram, &[Q::P50, Q::P95, Q::P99], 0);
        if place.intents().len() > 1 {
            withdraw(&mut entry, absent::MIXED_INTENT);
        }
        entries.push(entry);
    }
}

fn pacer_error(place: Place<'_>) -> Entry {
    let mut entry = place.entry("pacer_error_ns", None);
    fill(&mut entry, &place.cell.pacer_error, &[Q::P50, Q::P95, Q::P99], 0);
    entry.values.push(("early", Some(place.cell.early as f64)));
    entry
}

fn burstiness(place: Place<'_>) -> Entry {
    let mut entry = place.entry("burstiness_index", None);
    let figures = place.cell.bursts.bursts.burstiness();
    entry.n = figures.n;
    entry.absent = figures.absent;
    if figures.n == 0 && place.cell.departed.packets == 0 {
        entry.absent = Some(absent::NO_PACKETS);
    }
    entry.values = vec![
        ("bi", figures.bi),
        ("peak_to_mean", figures.peak_to_mean),
        ("excess", figures.excess),
        ("windows", Some(figures.windows as f64)),
        ("window_ns", Some(burst_window(place.class.cadence).0 as f64)),
    ];
    if place.intents().len() > 1 && figures.excess.is_some() {
        entry.values[2].1 = None;
        entry.absent = Some(absent::MIXED_INTENT);
    }
    entry
}

/// The burstiness of a feed is that of its deliveries, and what it is due at is its arrival.
fn delivery_concentration(place: Place<'_>) -> Entry {
    let mut entry = Entry { name: "burst_delivery_concentration", ..burstiness(place) };
    entry.values.retain(|(name, _)| *name != "peak_to_mean");
    if let Some(raw) = entry.values.iter_mut().find(|(name, _)| *name == "bi") {
        raw.0 = "concentration";
    }
    entry
}

/// What only a feed has, on a port to the inside that has none.
fn without_feed(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let plan = &inputs.plan.ports[position];
    if plan.side == Side::Venue || inputs.plan.classes.iter().any(|c| c.kind == Kind::MarketData) {
        return;
    }
    let names: [(_, Basis, &[&str]); 3] = [
        ("market_data_distortion_ratio", Basis::Sampled, &["ratio"]),
        ("burst_delivery_concentration", Basis::Exact, &["concentration", "excess"]),
        ("decision_burst_coupling", Basis::Sampled, &["coupling", "ingress", "excess"]),
    ];
    for (name, basis, values) in names {
        let mut none = Entry::blank(name);
        none.labels.port = Some(plan.name.clone());
        none.basis = basis;
        none.values = values.iter().map(|value| (*value, None)).collect();
        none.absent = Some(absent::NO_FEED);
        entries.push(none);
    }
}

fn cadence_variability(place: Place<'_>) -> Entry {
    let mut entry = place.entry("wire_cadence_variability_ns", None);
    fill(&mut entry, &place.cell.gap_error, &[Q::P50, Q::P95, Q::P99], minimum::ROW);
    if let Some(cadence) = place.class.cadence.filter(|cadence| cadence.0 > 0) {
        let share = entry.value("p95").map(|p95| p95 / cadence.0 as f64);
        entry.values.push(("share_p95", share));
    }
    if place.intents().len() > 1 {
        withdraw(&mut entry, absent::MIXED_INTENT);
    }
    entry
}

fn headroom(place: Place<'_>, inputs: &Inputs<'_>) -> Entry {
    let mut entry = place.entry("pacing_headroom", None);
    entry.n = place.cell.departed.packets;
    let port_admitted = inputs.block.ports[place.cell.port].admitted;
    let params = inputs.profile.and_then(|profile| {
        let class = profile.classes.get(place.cell.class)?;
        let egress = profile.egress.get(usize::from(place.port.index))?;
        Some((class, egress))
    });
    let levels: Values = match params {
        Some((class, egress)) => vec![
            ("of_flow", level_headroom(&class.flow, place.cell.admitted_flow)),
            ("of_class", level_headroom(&class.class, place.cell.admitted)),
            ("of_port", level_headroom(&egress.port, port_admitted)),
        ],
        None => vec![("of_flow", None), ("of_class", None), ("of_port", None)],
    };
    let least = levels.iter().filter_map(|(_, value)| *value).reduce(f64::min);
    entry.values.push(("headroom", least));
    entry.values.extend(levels);
    if params.is_none() {
        entry.absent = Some(absent::NO_PROFILE);
    } else if entry.n == 0 {
        withdraw(&mut entry, absent::NO_PACKETS);
    } else if entry.values.iter().any(|(_, value)| value.is_none()) {
        entry.absent = Some(absent::UNLIMITED);
    }
    entry
}

/// `1 - admitted rate / cap` of the tighter of bits and messages, 0 to 1.
fn level_headroom(caps: &Caps, admitted: AdmittedMax) -> Option<f64> {
    let of = |bucket: Option<Bucket>, units: u64| {
        let windows_per_s = 1e9 / RATE_WINDOW.0 as f64;
        // A burst on top of the rate can admit more than the rate in one window.
        bucket.map(|b| (1.0 - units as f64 * windows_per_s / b.rate_per_s as f64).clamp(0.0, 1.0))
    };
    let bits = of(caps.bits, admitted.bytes.saturating_mul(8));
    let messages = of(caps.messages, admitted.messages);
    [bits, messages].into_iter().flatten().reduce(f64::min)
}

fn cap_hits(place: Place<'_>) -> Entry {
    let (mut entry, cell) = (place.entry("cap_hit_ratio", None), place.cell);
    entry.n = cell.departed.packets;
    ratio(&mut entry, "ratio", cell.cap_hits, cell.departed.packets, minimum::ROW);
    ratio(&mut entry, "urgent", cell.urgent_cap_hits, cell.urgent, minimum::ROW);
    entry.values.push(("urgent_n", Some(cell.urgent as f64)));
    entry
}

fn completion(place: Place<'_>) -> Entry {
    let mut entry = place.entry("completion_ratio", None);
    let ended = place.cell.ended();
    entry.n = ended;
    ratio(&mut entry, "ratio", place.cell.in_time, ended, 0);
    entry
}

fn drops(place: Place<'_>) -> Entry {
    let mut entry = place.entry("drops", None);
    entry.n = place.cell.arrived.packets;
    entry.values = drop_values(&place.cell.dropped);
    entry
}

fn unclassified_drops(inputs: &Inputs<'_>, position: usize) -> Entry {
    let mut entry = Entry::blank("drops");
    entry.labels.port = Some(inputs.plan.ports[position].name.clone());
    entry.labels.part = Some("unclassified");
    let port = &inputs.block.ports[position];
    entry.n = port.unclassified.packets;
    entry.values = drop_values(&port.unclassified_dropped);
    entry
}

/// A count of 0 is a count, not an absent value: `packets` is always there.
fn drop_values(counts: &[super::block::Count; DropReason::COUNT]) -> Values {
    let total = counts.iter().map(|count| count.packets).sum::<u64>();
    let by_reason = DropReason::ALL.iter().zip(counts).filter(|(_, count)| count.packets > 0);
    let by_reason = by_reason.map(|(reason, count)| (reason.name(), Some(count.packets as f64)));
    std::iter::once(("packets", Some(total as f64))).chain(by_reason).collect()
}

fn exempt_hold(place: Place<'_>) -> Entry {
    let mut entry = place.entry("exempt_hold_ns", None);
    fill(&mut entry, &place.cell.exempt_hold, &[Q::P999], 0);
    entry
}

/// Frames that left for each one that came. What was not cut counts as one.
fn segments(place: Place<'_>) -> Entry {
    let mut entry = place.entry("segments_per_superframe", None);
    let (frames, cut) = (place.cell.arrived.packets, &place.cell.superframes);
    entry.n = frames;
    let some = frames > 0;
    let added = place.cell.segmented.packets;
    let mean = some.then(|| (frames + added) as f64 / frames as f64);
    // From the most segments down: the frames at and above the 99th of a hundred.
    let mut above = frames - Q::P99.rank(frames).min(frames);
    let p99 = cut.iter().enumerate().rev().find_map(|(segments, &count)| {
        if count > above {
            return Some(segments);
        }
        above -= count;
        None
    });
    let p99 = (frames >= Q::P99.n_min()).then(|| p99.unwrap_or(1).max(1) as f64);
    let max = cut.iter().rposition(|count| *count > 0).unwrap_or(1).max(1);
    entry.values = vec![("mean", mean), ("p99", p99), ("max", some.then_some(max as f64))];
    if p99.is_none() {
        entry.absent = Some(if some { absent::N_TOO_SMALL } else { absent::NO_PACKETS });
    }
    entry
}

/// What profile switches cost; a core without ports has no packets to lose.
fn switches(inputs: &Inputs<'_>) -> Option<Entry> {
    if inputs.plan.ports.is_empty() {
        return None;
    }
    let mut entry = Entry::blank("effective_blocked_time_us");
    entry.labels = port_labels(inputs);
    let (switches, span) = (inputs.switches, inputs.span.0);
    entry.n = switches.count;
    let offered = inputs.block.totals().packets_in;
    let us_per_packet = (offered > 0).then(|| span as f64 / 1e3 / offered as f64);
    let blocked = match (switches.lost_max, us_per_packet) {
        (0, _) => Some(0.0),
        (lost, us) => us.map(|us| lost as f64 * us),
    };
    let delay = switches.longest_wait.0 as f64 / 1e3;
    entry.values = vec![
        ("time_us", blocked),
        ("switch_delay_us", Some(delay)),
        ("lost", Some(switches.lost_max as f64)),
    ];
    if switches.count == 0 {
        withdraw(&mut entry, absent::NO_SWITCH);
    } else if blocked.is_none() {
        entry.absent = Some(absent::NO_PACKETS);
    }
    Some(entry)
}

fn in_flight(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let (port, plan) = (&inputs.block.ports[position], &inputs.plan.ports[position]);
    let entry = |name, part| {
        let mut entry = Entry::blank(name);
        entry.labels.port = Some(plan.name.clone());
        entry.labels.part = part;
        entry.simulated = plan.completion == CompletionFigures::Simulated;
        entry
    };
    let is_absent = plan.completion == CompletionFigures::Absent;
    let quantiles = [Q::P50, Q::P95];

    let mut used = entry("byte_queue_utilization", None);
    fill(&mut used, &port.inflight_ppm, &quantiles, 0);
    for (_, value) in &mut used.values {
        *value = value.map(|ppm| ppm / 1e6);
    }
    if used.n == 0 && port.inflight_bytes.count() > 0 {
        withdraw(&mut used, absent::NO_LIMIT);
    }

    let mut packets = entry("tx_queue_occupancy", Some("packets"));
    fill(&mut packets, &port.inflight_packets, &quantiles, 0);
    let most = packets.value("max").map(|max| max / f64::from(plan.tx_descriptors.max(1)));
    packets.values.push(("share_max", most));

    let mut bytes = entry("tx_queue_occupancy", Some("bytes"));
    fill(&mut bytes, &port.inflight_bytes, &quantiles, 0);

    let mut stalls = entry("tx_stall_rate", None);
    stalls.n = port.stalls;
    let seconds = inputs.span.0 as f64 / 1e9;
    let per_s = |count: u64| (inputs.span.0 > 0).then(|| count as f64 / seconds);
    stalls.values = vec![
        ("rate", per_s(port.stalls)),
        ("starvation_rate", per_s(port.starvations)),
        ("stall_time_ns", Some(plan.stall_time.0 as f64)),
    ];
    let is_used = port.inflight_bytes.count() > 0
        || inputs.steps.get(position).is_some_and(|steps| steps.is_used);
    if inputs.span.0 == 0 {
        stalls.absent = Some(absent::NO_INTERVAL);
    } else if !is_used {
        withdraw(&mut stalls, absent::NO_PACKETS);
    }

    for mut entry in [used, packets, bytes, stalls] {
        if is_absent {
            withdraw(&mut entry, absent::SYNCHRONOUS);
        }
        entries.push(entry);
    }
}

/// What of the bytes in flight waits for its launch time, and what the NIC may send.
fn below_queue(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let plan = &inputs.plan.ports[position];
    let below = inputs.block.ports[position].levels.and_then(|levels| levels.below);
    let of = |part, last: Option<u64>, max: Option<u64>| {
        let mut entry = Entry::blank("tx_queue_occupancy");
        entry.labels.port = Some(plan.name.clone());
        entry.labels.part = Some(part);
        entry.simulated = plan.completion == CompletionFigures::Simulated;
        entry.n = u64::from(below.is_some());
        entry.values = vec![("last", last.map(|b| b as f64)), ("max", max.map(|b| b as f64))];
        if below.is_none() {
            let synchronous = plan.completion == CompletionFigures::Absent;
            let why = if synchronous { absent::SYNCHRONOUS } else { absent::NO_INTERVAL };
            entry.absent = Some(why);
        }
        entry
    };
    let (queued, queued_max) =
        (below.map(|below| below.queued_bytes), below.map(|below| below.queued_bytes_max));
    let (eligible, eligible_max) =
        (below.map(|below| below.eligible_bytes), below.map(|below| below.eligible_bytes_max));
    entries.push(of("queued_for_time", queued, queued_max));
    entries.push(of("eligible", eligible, eligible_max));
}

/// The room of each venue limit and the waits for it; one absent series where there is no limit.
fn venue_limits(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let port = Some(inputs.plan.ports[position].name.clone());
    let entry = |name, limit: Option<&str>, n, values| {
        let mut entry = Entry::blank(name);
        entry.labels.port.clone_from(&port);
        entry.labels.limit = limit.map(str::to_owned);
        entry.n = n;
        entry.values = values;
        entry
    };
    let limits = inputs.plan.limits.iter().zip(&inputs.block.ports[position].limits);
    for (plan, limit) in limits {
        let room = limit.least_room.map(f64::from);
        let share = room.map(|room| room / f64::from(plan.messages_max.max(1)));
        let values = vec![("headroom", share), ("messages", room)];
        let mut headroom = entry("venue_limit_headroom", Some(&plan.name), limit.messages, values);
        if room.is_none() {
            headroom.absent = Some(absent::NO_INTERVAL);
        } else if limit.messages == 0 && limit.least_room == Some(plan.messages_max) {
            withdraw(&mut headroom, absent::NO_PACKETS);
        }
        let values = vec![
            ("waits", Some(limit.waits as f64)),
            ("sessions_shared", Some(limit.sessions_shared as f64)),
        ];
        let waits = entry("venue_limit_waits", Some(&plan.name), limit.messages, values);
        entries.extend([headroom, waits]);
    }
    if inputs.plan.limits.is_empty() {
        let names: [(_, Values); 2] = [
            ("venue_limit_headroom", vec![("headroom", None), ("messages", None)]),
            ("venue_limit_waits", vec![("waits", None), ("sessions_shared", None)]),
        ];
        for (name, values) in names {
            let mut none = entry(name, None, 0, values);
            none.absent = Some(absent::NO_LIMIT);
            entries.push(none);
        }
    }
}

/// TCP segments from inside that had been seen before.
fn retransmissions(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let tallies = &inputs.block.ports[position].tallies;
    let (segments, held) = (tallies[Tally::TcpSegments], tallies[Tally::RetransmitsWhileHeld]);
    let mut share = Entry::blank("tcp_retransmit_ratio");
    share.n = segments;
    let again = tallies[Tally::TcpRetransmissions] + held;
    ratio(&mut share, "ratio", again, segments, minimum::SEGMENTS);
    let mut while_held = Entry::blank("retransmits_while_held");
    while_held.n = segments;
    while_held.values = vec![("packets", (segments > 0).then_some(held as f64))];
    while_held.absent = (segments == 0).then_some(absent::NO_PACKETS);
    for mut entry in [share, while_held] {
        entry.labels.port = Some(inputs.plan.ports[position].name.clone());
        entries.push(entry);
    }
}

fn lost_share(inputs: &Inputs<'_>) -> Entry {
    let mut entry = Entry::blank("lost_share");
    entry.labels = port_labels(inputs);
    entry.n = inputs.samples.kept + inputs.samples.lost;
    entry.values = vec![("ratio", inputs.samples.share())];
    entry.absent = (entry.n == 0).then_some(absent::NO_SAMPLES);
    entry
}

/// A core is named by the ports that it alone sends to.
fn port_labels(inputs: &Inputs<'_>) -> Labels {
    let names: Vec<_> = inputs.plan.ports.iter().map(|port| port.name.as_str()).collect();
    Labels { port: Some(names.join("+")), ..Labels::default() }
}

fn core_use(inputs: &Inputs<'_>, entries: &mut Vec<Entry>) {
    // A core that only receives has no port to name it by.
    if inputs.plan.ports.is_empty() {
        return;
    }
    let (cycles, packets) = (inputs.block.core, inputs.block.totals().packets_out);
    let mut busy = Entry::blank("core_busy_ratio");
    busy.n = cycles.cycles;
    busy.values = vec![(
        "ratio",
        (cycles.cycles > 0).then(|| cycles.busy_cycles as f64 / cycles.cycles as f64),
    )];
    busy.absent = (cycles.cycles == 0).then_some(absent::NO_INTERVAL);

    let mut per_packet = Entry::blank("cycles_per_packet");
    per_packet.n = packets;
    let known = packets > 0 && cycles.cycles > 0;
    per_packet.values = vec![("mean", known.then(|| cycles.busy_cycles as f64 / packets as f64))];
    per_packet.absent =
        (!known).then_some(if packets == 0 { absent::NO_PACKETS } else { absent::NO_INTERVAL });

    for mut entry in [busy, per_packet] {
        entry.labels = port_labels(inputs);
        entry.host = true;
        entries.push(entry);
    }
}
