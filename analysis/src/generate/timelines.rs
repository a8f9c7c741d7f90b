//! The generated world as timelines: what its gateways would have written.

use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, StringArray};

use super::columns::{Batch, batch, ids, numbers, reals, texts, times};
use super::orders::{VENUES, skew};
use super::places::Place;
use super::rows::{JoinBy, join_by, sequence, unit};
use super::transport::{MECHANISMS, Path, Window};
use super::trial::Trial;
use super::{Fault, SECOND, World};
use crate::inputs::{MACHINES, Machine, Watches};

/// From the dispatch of a child to its row's, at most: well within what nearest dispatches may differ by.
const HANDOVER_NS: i64 = 20_000;
/// Rows of `packets` in a batch.
const BATCH_ROWS: usize = 65_536;

/// The timeline of one gateway on one day.
pub struct Timeline {
    /// Name of the gateway.
    pub gateway: String,
    /// Such as 2026-03-02.
    pub date: String,
    place: usize,
}

/// The files of a timeline below `timelines/`, in the order packets, features, regime log.
pub fn file_names(timeline: &Timeline) -> [String; 3] {
    let Timeline { gateway, date, .. } = timeline;
    ["packets", "features", "regime_log"]
        .map(|table| format!("gateway={gateway}/date={date}/{gateway}.{table}.parquet"))
}

impl World {
    /// The timelines, in the order of their places. Those that were recorded are not made again.
    pub fn timelines(&self) -> impl Iterator<Item = Timeline> {
        let made_up = if self.is_recorded { &[][..] } else { &self.places[..] };
        made_up.iter().enumerate().map(|(place, Place { gateway, date, .. })| Timeline {
            gateway: gateway.clone(),
            date: date.clone(),
            place,
        })
    }

    /// The table `packets` of a timeline, batch by batch.
    pub fn packets(&self, timeline: &Timeline) -> impl Iterator<Item = Batch> {
        let place = timeline.place;
        let mut rows: Vec<Packet> = Vec::new();
        for (i, child) in self.children.iter().enumerate() {
            if self.parents[child.parent].place == place && !self.is_lost(i) {
                rows.push(Packet::Child(i));
            }
        }
        // Beside the children: what the weights of the draw let through of everything else.
        let share = self.parameters.rows as usize / self.paths.len();
        let others = share.saturating_sub(rows.len());
        let total = rows.len() + others;
        (0..total.div_ceil(BATCH_ROWS)).map(move |part| {
            let of_part = part * BATCH_ROWS..((part + 1) * BATCH_ROWS).min(total);
            let of_part: Vec<Packet> = of_part
                .map(|row| rows.get(row).copied().unwrap_or(Packet::Other(row - rows.len())))
                .collect();
            self.packet_batch(&of_part, place, others)
        })
    }

    fn packet_batch(&self, rows: &[Packet], place: usize, others: usize) -> Batch {
        let skew = skew(&self.parameters, &self.places, place);
        let (path, Place { gateway, start, .. }) = (&self.paths[place], &self.places[place]);
        let of = |row: &Packet| -> Row {
            match *row {
                Packet::Child(i) => {
                    let child = &self.children[i];
                    let by = join_by(i);
                    Row {
                        correlation_id: (by == JoinBy::Id).then(|| self.correlation_id(i)),
                        flow: child.venue as u32,
                        sequence: sequence(i),
                        venue: VENUES[child.venue],
                        kind: "order",
                        from: "inside",
                        class: "orders",
                        decision: (by == JoinBy::Id).then(|| self.decision(i) + skew),
                        dispatch: self.dispatch(i) + handover(i) + skew,
                        delay: child.window.dispatch_to_wire * (0.6 + 0.4 * unit(i as u64)),
                        weight: 1,
                        trial: child.trial,
                    }
                }
                Packet::Other(n) => {
                    let at = (n as f64 + 0.5) / others as f64 * (path.windows.len() - 1) as f64;
                    let window = &path.windows[at as usize];
                    // One in ten is an order, a cancel or a replace of nobody we follow, the rest market data.
                    let (kind, class, from) = match n % 10 {
                        0 => (["order", "cancel", "replace"][n / 10 % 3], "others", "inside"),
                        _ => ("market_data", "quotes", "venue"),
                    };
                    Row {
                        correlation_id: (class == "others")
                            .then_some((1 << 62) | (place as u64) << 40 | n as u64),
                        flow: 64 + (n % 16) as u32,
                        sequence: (n as u32).wrapping_mul(97),
                        venue: VENUES[n % VENUES.len()],
                        kind,
                        from,
                        class,
                        decision: None,
                        dispatch: start + (at * SECOND as f64) as i64 + skew,
                        delay: window.dispatch_to_wire * (0.5 + unit(n as u64)),
                        weight: if class == "quotes" { 64 } else { 1 },
                        trial: Trial::default(),
                    }
                }
            }
        };
        let rows: Vec<Row> = rows.iter().map(of).collect();
        let wire = |r: &Row| r.dispatch + r.delay as i64;
        batch([
            ("core", numbers(rows.iter().map(|_| Some(0)))),
            ("packet_id", ids((0..rows.len() as u64).map(Some))),
            ("correlation_id", ids(rows.iter().map(|r| r.correlation_id))),
            ("flow_id", numbers(rows.iter().map(|r| Some(r.flow)))),
            ("tcp_end_seq", numbers(rows.iter().map(|r| Some(r.sequence)))),
            ("class", texts(rows.iter().map(|r| r.class))),
            ("venue", texts(rows.iter().map(|r| r.venue))),
            ("kind", texts(rows.iter().map(|r| r.kind))),
            ("from", texts(rows.iter().map(|r| r.from))),
            ("len", numbers(rows.iter().map(|_| Some(200)))),
            ("t_decision", times(rows.iter().map(|r| r.decision))),
            ("t_dispatch", times(rows.iter().map(|r| r.dispatch))),
            ("t_due", times(rows.iter().map(|r| r.dispatch))),
            ("t_wire", times(rows.iter().map(wire))),
            ("port", texts(rows.iter().map(|_| "venue-a"))),
            ("queue", numbers(rows.iter().map(|_| Some(0)))),
            ("end", texts(rows.iter().map(|_| "sent"))),
            ("profile", texts(rows.iter().map(|_| "normal"))),
            ("mode", texts(rows.iter().map(|r| r.trial.mode))),
            ("canary", Arc::new(rows.iter().map(|r| r.trial.governed).collect::<BooleanArray>())),
            ("weight", numbers(rows.iter().map(|r| Some(r.weight)))),
            ("host", texts(rows.iter().map(|_| gateway))),
        ])
    }

    /// The table `features` of a timeline.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn features(&self, timeline: &Timeline) -> Batch {
        let (path, shift) = self.path(timeline);
        let of_window: Vec<[Feature; 15]> = path.windows.iter().map(features).collect();
        let rows = || {
            let windows = path.windows.iter().zip(&of_window);
            windows.flat_map(|(window, features)| {
                features.iter().map(move |f| (window.end + shift, f))
            })
        };
        batch([
            ("window_from", times(rows().map(|(end, _)| end - SECOND))),
            ("window_to", times(rows().map(|(end, _)| end))),
            ("port", texts(rows().map(|_| "venue-a"))),
            ("class", Arc::new(rows().map(|(_, f)| f.class).collect::<StringArray>())),
            ("arm", Arc::new(rows().map(|_| None::<&str>).collect::<StringArray>())),
            ("kpi", texts(rows().map(|(_, f)| f.kpi))),
            ("part", Arc::new(rows().map(|(_, f)| f.part).collect::<StringArray>())),
            ("value_name", texts(rows().map(|(_, f)| f.value_name))),
            ("value", reals(rows().map(|(_, f)| f.value))),
            ("n", ids(rows().map(|_| Some(1_000)))),
        ])
    }

    /// The table `regime_log` of a timeline.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn regime_log(&self, timeline: &Timeline) -> Batch {
        let (path, shift) = self.path(timeline);
        let mut rows: Vec<(i64, usize, usize, usize)> = Vec::new();
        let mut states = [0; MECHANISMS];
        for window in &path.windows {
            let now = window.severity;
            for machine in (0..MECHANISMS).filter(|&m| now[m] != states[m]) {
                rows.push((window.end + shift, machine, states[machine], now[machine]));
            }
            states = now;
        }
        let state = |machine: usize, state: usize| MACHINES[machine].states[state];
        batch([
            ("time", times(rows.iter().map(|r| r.0))),
            ("scope", texts(rows.iter().map(|r| scope(&MACHINES[r.1])))),
            ("machine", texts(rows.iter().map(|r| MACHINES[r.1].name))),
            ("from", texts(rows.iter().map(|r| state(r.1, r.2)))),
            ("to", texts(rows.iter().map(|r| state(r.1, r.3)))),
            ("reason", texts(rows.iter().map(|r| if r.3 > r.2 { "enter" } else { "exit" }))),
            ("values", texts(rows.iter().map(|_| "{}"))),
        ])
    }

    /// The path of a timeline, and from its session to the clock of its gateway.
    fn path(&self, timeline: &Timeline) -> (&Path, i64) {
        let shift = self.places[timeline.place].start
            + skew(&self.parameters, &self.places, timeline.place);
        (&self.paths[timeline.place], shift)
    }

    fn is_lost(&self, child: usize) -> bool {
        let share = match (self.parameters.fault, self.children[child].window.segmentation()) {
            (Some(Fault::LostInBursts), 1..) => 0.10,
            (Some(Fault::LostInBursts), 0) => 0.001,
            _ => 0.0,
        };
        unit(child as u64 ^ 0x1057) < share
    }
}

#[derive(Clone, Copy)]
enum Packet {
    Child(usize),
    Other(usize),
}

struct Row {
    correlation_id: Option<u64>,
    flow: u32,
    sequence: u32,
    venue: &'static str,
    kind: &'static str,
    from: &'static str,
    class: &'static str,
    decision: Option<i64>,
    dispatch: i64,
    delay: f64,
    weight: u32,
    trial: Trial,
}

struct Feature {
    class: Option<&'static str>,
    kpi: &'static str,
    part: Option<&'static str>,
    value_name: &'static str,
    value: f64,
}

/// The features of a window. What no outcome KPI reads follows its mechanism as the gateway's figures do.
fn features(window: &Window) -> [Feature; 15] {
    let feature = |class, kpi, part, value_name, value| Feature {
        class: Some(class),
        kpi,
        part,
        value_name,
        value,
    };
    let orders = |kpi, value_name, value| feature("orders", kpi, None, value_name, value);
    let port = |kpi, part, value_name, value| Feature { class: None, kpi, part, value_name, value };
    let [_, segmentation, byte_queue, drain, _] = window.latent;
    // Unsent bytes tell what is to come; figures of the wire what has left.
    let (unsent, stalls) = (window.drain_to_come, (byte_queue - 1.6).max(0.0).ceil());
    let d2w = window.dispatch_to_wire;
    [
        feature("orders", "dispatch_to_wire_ns", Some("total"), "p95", d2w),
        feature("orders", "dispatch_to_wire_ns", Some("rest"), "p95", 0.9 * d2w),
        orders("burstiness_index", "excess", window.burstiness),
        feature("quotes", "burst_delivery_concentration", None, "excess", window.delivery),
        orders("segmentation_burst_factor", "factor", 1.0 + (0.7 * segmentation).exp()),
        orders("wire_serialization_ns", "p95", 1_500.0 * (0.5 * segmentation).exp()),
        orders("ack_compression_ratio", "ratio", (0.5 * segmentation).exp()),
        orders("cadence_phase_error", "p95", 0.5 / (1.0 + (1.5 - segmentation).exp())),
        port("limit_oscillation_score", Some("limit"), "score", 0.25 * (0.7 * byte_queue).exp()),
        port("tx_stall_rate", None, "rate", stalls),
        orders("not_sent_bytes", "p95", 2_000.0 * (0.6 * unsent).exp()),
        orders("flush_compression_index", "index", 3.0 * (0.5 * drain).exp()),
        orders("burst_drain_ratio", "ratio", 0.05 * (0.5 * drain).exp()),
        orders("child_join_delay_ns", "value", 5_000.0 * (0.4 * drain).exp()),
        port("not_sent_urgency_divergence", None, "ratio", (0.2 * unsent).exp()),
    ]
}

const fn scope(machine: &Machine) -> &'static str {
    match machine.scope {
        Watches::Class => "class:orders",
        Watches::TxQueue => "tx_queue:venue-a",
        Watches::Feed => "feed:quotes",
    }
}

fn handover(child: usize) -> i64 {
    (unit(child as u64 ^ 0xd15) * HANDOVER_NS as f64) as i64
}
