//! The generated world as the tables that `outcome` reads.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::error::ArrowError;

use super::market::SYMBOLS;
use super::orders::{Child, Parent, TACTICS, VENUES, skew};
use super::outcomes::LADDER_S;
use super::places::Place;
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

type Batch = Result<RecordBatch, ArrowError>;

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Batch {
    RecordBatch::try_from_iter(columns)
}

fn times(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<TimestampNanosecondArray>())
}

fn reals(values: impl IntoIterator<Item = impl Into<Option<f64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Float64Array>())
}

fn ids(values: impl IntoIterator<Item = impl Into<Option<u64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<UInt64Array>())
}

fn numbers(values: impl IntoIterator<Item = impl Into<Option<u32>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<UInt32Array>())
}

fn wholes(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Int64Array>())
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

fn flags(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<BooleanArray>())
}

fn symbol(index: usize) -> String {
    format!("SYM{index}")
}

/// The price at which `side` pays `cost_bps` more than `mid`.
fn worse(mid: f64, side: i64, cost_bps: f64) -> f64 {
    mid * (1.0 + side as f64 * cost_bps / 1e4)
}

impl World {
    /// Child orders.
    pub const fn children_count(&self) -> usize {
        self.children.len()
    }

    /// The timelines, in the order of their places. Those that were recorded are not made again.
    pub fn timelines(&self) -> impl Iterator<Item = Timeline> {
        let made_up = if self.is_recorded { &[][..] } else { &self.places[..] };
        made_up.iter().enumerate().map(|(place, Place { gateway, date, .. })| Timeline {
            gateway: gateway.clone(),
            date: date.clone(),
            place,
        })
    }

    /// The table `parents`.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn parents(&self) -> Batch {
        let parents = &self.parents;
        batch([
            ("parent_id", ids((1..=parents.len() as u64).map(Some))),
            ("symbol", texts(parents.iter().map(|p| symbol(p.symbol)))),
            ("side", wholes(parents.iter().map(|p| p.side))),
            ("target_quantity", reals(parents.iter().map(|p| p.target))),
            ("urgency", wholes(parents.iter().map(|p| i64::from(p.urgency)))),
            ("t_arrival", times(parents.iter().map(|p| self.at(p, p.start)))),
            ("t_end", times(parents.iter().map(|p| self.at(p, p.end)))),
            ("arrival_price", reals(parents.iter().map(|p| p.price))),
            ("decision_price", reals(parents.iter().map(|p| p.price))),
        ])
    }

    /// The table `children`.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn children(&self) -> Batch {
        let rows = || self.children.iter().enumerate();
        let parent = |c: &Child| &self.parents[c.parent];
        let place = |c: &Child| &self.places[parent(c).place];
        let dispatch = |i: usize| self.dispatch(i);
        batch([
            ("correlation_id", ids(rows().map(|(i, _)| Some(self.correlation_id(i))))),
            ("parent_id", ids(rows().map(|(_, c)| Some(c.parent as u64 + 1)))),
            ("gateway", texts(rows().map(|(_, c)| &place(c).gateway))),
            ("class", texts(rows().map(|(_, c)| &place(c).class))),
            ("venue", texts(rows().map(|(_, c)| VENUES[c.venue]))),
            ("tactic", texts(rows().map(|(_, c)| TACTICS[c.tactic]))),
            ("flow_id", numbers(rows().map(|(i, _)| self.sequence(i).map(|(flow, _)| flow)))),
            ("tcp_end_seq", numbers(rows().map(|(i, _)| self.sequence(i).map(|(_, end)| end)))),
            ("t_decision", times(rows().map(|(i, _)| self.decision(i)))),
            ("t_dispatch", times(rows().map(|(i, _)| dispatch(i)))),
            ("t_ack", times(rows().map(|(i, _)| dispatch(i) + 150_000))),
            (
                "t_cancel",
                times(rows().map(|(i, c)| {
                    (self.results[i].filled < 1.0).then(|| self.at(parent(c), parent(c).end))
                })),
            ),
            ("t_reject", times(rows().map(|_| None::<i64>))),
            ("quantity", reals(rows().map(|(_, c)| c.quantity))),
            ("limit_price", reals(rows().map(|(i, c)| c.passive.then(|| self.fill_price(i))))),
            ("passive", flags(rows().map(|(_, c)| c.passive))),
            ("fees_bps", reals(rows().map(|(_, c)| if c.passive { -0.2 } else { 0.3 }))),
        ])
    }

    /// The table `fills`.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn fills(&self) -> Batch {
        let fills: Vec<(usize, usize, f64)> = self.each_fill().collect();
        batch([
            ("fill_id", ids(fills.iter().map(|&(i, part, _)| Some(fill_id(i, part))))),
            ("correlation_id", ids(fills.iter().map(|&(i, ..)| Some(self.correlation_id(i))))),
            ("t_fill", times(fills.iter().map(|&(i, part, _)| self.fill_time(i, part)))),
            ("quantity", reals(fills.iter().map(|&(.., quantity)| quantity))),
            ("price", reals(fills.iter().map(|&(i, ..)| self.fill_price(i)))),
        ])
    }

    /// The table `quotes`.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn quotes(&self) -> Batch {
        let mut rows = Vec::with_capacity(self.children.len() * 8);
        for i in 0..self.children.len() {
            let (child, result) = (&self.children[i], &self.results[i]);
            let parent = &self.parents[child.parent];
            let at =
                |point, time, mid| Quote { child: i, fill: None, point, time, mid, state: None };
            let mid = self.mid(i);
            let before = self.decision(i) - 2 * SECOND;
            let lead = worse(mid, parent.side, -result.lead);
            rows.push(at("lead", before - 30 * SECOND, lead));
            let state = Some([result.spread / 2.0, result.volatility, result.volume]);
            rows.push(Quote { state, ..at("before", before, mid) });
            rows.push(at("decision", self.decision(i), mid));
            let end = worse(mid, parent.side, result.at_end - result.end_half_spread);
            let half = Some([result.end_half_spread, f64::NAN, f64::NAN]);
            rows.push(Quote { state: half, ..at("end", self.at(parent, parent.end), end) });
        }
        for (i, part, _) in self.each_fill() {
            let price = self.fill_price(i);
            let side = self.parents[self.children[i].parent].side;
            let names = ["fill+10ms", "fill+100ms", "fill+1s", "fill+5s", "fill+30s"];
            for (step, point) in names.into_iter().enumerate() {
                let mid = worse(price, side, self.results[i].markouts[step]);
                let time = self.fill_time(i, part) + (LADDER_S[step] * SECOND as f64) as i64;
                rows.push(Quote {
                    child: i,
                    fill: Some(fill_id(i, part)),
                    point,
                    time,
                    mid,
                    state: None,
                });
            }
        }
        let state = |place: usize| {
            let of = move |q: &Quote| q.state.map(|s| s[place]).filter(|v| v.is_finite());
            reals(rows.iter().map(of))
        };
        batch([
            ("correlation_id", ids(rows.iter().map(|q| Some(self.correlation_id(q.child))))),
            ("fill_id", ids(rows.iter().map(|q| q.fill))),
            ("point", texts(rows.iter().map(|q| q.point))),
            ("time", times(rows.iter().map(|q| q.time))),
            ("mid", reals(rows.iter().map(|q| q.mid))),
            ("half_spread_bps", state(0)),
            ("volatility_bps", state(1)),
            ("volume", state(2)),
        ])
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
                            .then(|| (1 << 62) | (place as u64) << 40 | n as u64),
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

    /// From a time of a parent's session to ns since 1970.
    fn at(&self, parent: &Parent, time: i64) -> i64 {
        self.places[parent.place].start + time
    }

    fn decision(&self, child: usize) -> i64 {
        let child = &self.children[child];
        self.at(&self.parents[child.parent], child.decision)
    }

    fn dispatch(&self, child: usize) -> i64 {
        let child = &self.children[child];
        self.at(&self.parents[child.parent], child.dispatch)
    }

    /// The id that its intent carries, or one of the firm's own.
    fn correlation_id(&self, child: usize) -> u64 {
        let recorded = self.children[child].recorded.and_then(|order| order.correlation_id);
        // Ids of recorded orders are of anybody's choice: own ones stay out of their way.
        let own = if self.is_recorded { 1 << 63 } else { 1 };
        recorded.unwrap_or(own + child as u64)
    }

    /// Flow and TCP end sequence, where that is what the child's row is found by.
    fn sequence(&self, child: usize) -> Option<(u32, u32)> {
        match self.children[child].recorded {
            Some(order) => order.sequence.filter(|_| order.correlation_id.is_none()),
            None => (join_by(child) == JoinBy::Sequence)
                .then(|| (self.children[child].venue as u32, sequence(child))),
        }
    }

    fn mid(&self, child: usize) -> f64 {
        let parent = &self.parents[self.children[child].parent];
        worse(parent.price, parent.side, self.results[child].drift)
    }

    fn fill_price(&self, child: usize) -> f64 {
        let side = self.parents[self.children[child].parent].side;
        worse(self.mid(child), side, self.results[child].slippage)
    }

    fn fill_time(&self, child: usize, part: usize) -> i64 {
        let wait = if self.children[child].passive { SECOND / 2 } else { SECOND / 1_000 };
        self.decision(child) + wait * (part as i64 + 1)
    }

    /// Child, part and quantity of each fill; one in four comes in two parts.
    fn each_fill(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        self.children.iter().enumerate().flat_map(|(i, child)| {
            let filled = child.quantity * self.results[i].filled;
            let parts = if filled <= 0.0 {
                0
            } else if i % 4 == 0 {
                2
            } else {
                1
            };
            (0..parts).map(move |part| (i, part, filled / parts as f64))
        })
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

fn join_by(child: usize) -> JoinBy {
    match unit(child as u64 ^ 0x5eed) {
        share if share < 0.04 => JoinBy::Sequence,
        share if share < 0.08 => JoinBy::Dispatch,
        _ => JoinBy::Id,
    }
}

/// What a child's row can be found by, where it is made up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JoinBy {
    Id,
    Sequence,
    Dispatch,
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

struct Quote {
    child: usize,
    fill: Option<u64>,
    point: &'static str,
    time: i64,
    mid: f64,
    /// Half spread bps, volatility, volume.
    state: Option<[f64; 3]>,
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

const fn fill_id(child: usize, part: usize) -> u64 {
    child as u64 * 2 + part as u64 + 1
}

const fn sequence(child: usize) -> u32 {
    (child as u32).wrapping_mul(210).wrapping_add(1_000)
}

fn handover(child: usize) -> i64 {
    (unit(child as u64 ^ 0xd15) * HANDOVER_NS as f64) as i64
}

/// From 0 to 1, the same for the same number.
fn unit(number: u64) -> f64 {
    (model::draw::mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

const _: () = assert!(SYMBOLS <= 10, "symbols have one digit");
