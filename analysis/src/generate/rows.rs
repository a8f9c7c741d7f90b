//! The generated world as the tables of the trading side.

use super::columns::{Batch, batch, flags, ids, numbers, reals, texts, times, wholes};
use super::market::SYMBOLS;
use super::orders::{Child, Parent, TACTICS, VENUES};
use super::outcomes::LADDER_S;
use super::{SECOND, World};

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

    /// From a time of a parent's session to ns since 1970.
    fn at(&self, parent: &Parent, time: i64) -> i64 {
        self.places[parent.place].start + time
    }

    pub(super) fn decision(&self, child: usize) -> i64 {
        let child = &self.children[child];
        self.at(&self.parents[child.parent], child.decision)
    }

    pub(super) fn dispatch(&self, child: usize) -> i64 {
        let child = &self.children[child];
        self.at(&self.parents[child.parent], child.dispatch)
    }

    /// The id that its intent carries, or one of the firm's own.
    pub(super) fn correlation_id(&self, child: usize) -> u64 {
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
}

/// What its row is found by.
pub(super) fn join_by(child: usize) -> JoinBy {
    match unit(child as u64 ^ 0x5eed) {
        share if share < 0.04 => JoinBy::Sequence,
        share if share < 0.08 => JoinBy::Dispatch,
        _ => JoinBy::Id,
    }
}

/// What a child's row can be found by, where it is made up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinBy {
    Id,
    Sequence,
    Dispatch,
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

const fn fill_id(child: usize, part: usize) -> u64 {
    child as u64 * 2 + part as u64 + 1
}

/// The TCP end sequence of a child, where it is made up.
pub(super) const fn sequence(child: usize) -> u32 {
    (child as u32).wrapping_mul(210).wrapping_add(1_000)
}

/// From 0 to 1, the same for the same number.
pub(super) fn unit(number: u64) -> f64 {
    (model::draw::mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

const _: () = assert!(SYMBOLS <= 10, "symbols have one digit");
