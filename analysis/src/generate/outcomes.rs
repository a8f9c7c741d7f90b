//! What became of each child: prices, fills, markouts, with the effects planted.
//!
//! Costs grow faster than volatility and with the square of urgency; noise is Student's t with four
//! degrees, scaled by volatility; orders of a symbol share an autocorrelated part. What a distortion costs
//! differs from order to order: the effects are scaled so that their mean over the treated is what was
//! asked for.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal, StudentT};
use rand_pcg::Pcg64;

use super::market::Day;
use super::orders::{Child, Parent};
use super::{Parameters, Planted, SECOND};
use crate::kpi::{Contrast, Horizon, Kpi, Outcome};

/// Seconds after a fill at which there is a quote.
pub const LADDER_S: [f64; 5] = [0.01, 0.1, 1.0, 5.0, 30.0];

/// What became of a child. Costs are bps, above 0 = bad, relative to the mid at its decision.
#[derive(Clone, Debug)]
pub struct Result {
    /// Share filled.
    pub filled: f64,
    /// What the filled part paid.
    pub slippage: f64,
    /// What the unfilled part costs at the end of the parent, half spread included.
    pub at_end: f64,
    /// Half spread at the end.
    pub end_half_spread: f64,
    /// How far the mid ran from the parent's decision to the child's.
    pub drift: f64,
    /// How far it ran before the KPI window.
    pub lead: f64,
    /// Markouts, bps, above 0 = good.
    pub markouts: [f64; LADDER_S.len()],
    /// bps.
    pub spread: f64,
    /// bps per square root of a second.
    pub volatility: f64,
    /// Traded before, shares.
    pub volume: f64,
}

/// Draws the outcomes of all children, in their order, and says what was planted.
pub fn outcomes(
    parameters: &Parameters,
    markets: &[Day],
    parents: &[Parent],
    children: &[Child],
    random: &mut Pcg64,
) -> (Vec<Result>, BTreeMap<&'static str, Planted>) {
    let mut draws: Vec<Draw> =
        children.iter().map(|child| draw(markets, &parents[child.parent], child, random)).collect();
    let arms = Arms::of(children);
    let mut planted = BTreeMap::new();
    let mut plant = |kpi: Kpi, cost_bps: f64, treated: usize| {
        let planted_one = Planted { asked_bps: parameters.effect(kpi), cost_bps, treated };
        planted.insert(kpi.name(), planted_one);
    };

    let lost_fills = plant_fills(parameters.effect(Kpi::FillRatio), children, &arms, &mut draws);
    let passive = |i: usize| children[i].passive && arms.treated(Contrast::Segmentation, i);
    let treated = (0..children.len()).filter(|&i| passive(i)).count();
    plant(Kpi::FillRatio, lost_fills.cost, treated);
    let treated =
        plant_completion(parameters.effect(Kpi::Completion), parents, children, &arms, &mut draws);
    plant(Kpi::Completion, treated.1, treated.0);

    for kpi in Kpi::ALL {
        let asked = parameters.effect(kpi);
        let is_treated = |i: usize| arms.treated(kpi.contrast(), i);
        match kpi.outcome() {
            Outcome::Shortfall => {
                let of_filled = |i: usize| is_treated(i) && draws[i].result.filled > 0.0;
                let treated = (0..children.len()).filter(|&i| is_treated(i)).count();
                // Only what is filled can pay more; the mean is over all that were treated.
                let total: f64 = (0..children.len())
                    .filter(|&i| of_filled(i))
                    .map(|i| draws[i].result.filled * draws[i].severity)
                    .sum();
                let scale = if total > 0.0 { asked * treated as f64 / total } else { 0.0 };
                for i in (0..children.len()).filter(|&i| is_treated(i)) {
                    draws[i].result.slippage += scale * draws[i].severity;
                }
                let beside =
                    if kpi.contrast() == Contrast::Segmentation { lost_fills.shortfall } else { 0.0 };
                plant(kpi, asked + beside, treated);
            }
            Outcome::Markout(horizon) => {
                let is_treated = |i: usize| is_treated(i) && draws[i].result.filled > 0.0;
                let treated: Vec<usize> = (0..children.len()).filter(|&i| is_treated(i)).collect();
                let total: f64 = treated.iter().map(|&i| draws[i].severity).sum();
                let scale = if total > 0.0 { asked * treated.len() as f64 / total } else { 0.0 };
                for &i in &treated {
                    let cost = scale * draws[i].severity;
                    draws[i].result.markouts[places(kpi, horizon)].iter_mut().for_each(|m| *m -= cost);
                }
                plant(kpi, asked, treated.len());
            }
            Outcome::FillRatio | Outcome::Completion => {}
        }
    }
    (draws.into_iter().map(|draw| draw.result).collect(), planted)
}

/// The steps of the ladder that an effect is seen at: a coalescing tax at its own horizon, any other for good.
fn places(kpi: Kpi, horizon: Horizon) -> std::ops::Range<usize> {
    match (kpi.contrast(), horizon) {
        (Contrast::Delivery, Horizon::S1) => 0..3,
        (Contrast::Delivery, Horizon::S5) => 3..4,
        (Contrast::Delivery, Horizon::S30) => 4..5,
        _ => 0..LADDER_S.len(),
    }
}

/// A result, and what effects need to know of how it came about.
struct Draw {
    result: Result,
    /// How much a distortion costs this order, compared with others; its mean is about 1.
    severity: f64,
    /// Chance to be filled, and the draw that it is held against.
    fill_chance: f64,
    fill_draw: f64,
    /// Share that is filled when it is.
    portion: f64,
}

impl Draw {
    fn settle(&mut self, chance: f64) {
        self.result.filled = if self.fill_draw < chance { self.portion } else { 0.0 };
    }
}

fn draw(markets: &[Day], parent: &Parent, child: &Child, random: &mut Pcg64) -> Draw {
    let market = &markets[parent.day];
    let second = (child.decision / SECOND) as usize;
    let volatility = market.volatility(parent.symbol, second);
    let toxic = f64::from(market.toxic[second]);
    let common = market.noise(parent.symbol, second);
    let urgency = f64::from(parent.urgency) / 255.0;
    let heavy = StudentT::new(4.0).expect("four degrees");
    let mut tails = || heavy.sample(random);
    let slippage_tail = tails();
    let steps: [f64; LADDER_S.len()] = std::array::from_fn(|_| tails());
    let mut normal = || -> f64 { StandardNormal.sample(random) };
    let spread = 2.0 + 1.1 * volatility.powf(0.8) * (0.15 * normal()).exp();
    let age_s = (child.decision - parent.start) as f64 / SECOND as f64;
    let left_s = (parent.end - child.decision) as f64 / SECOND as f64;
    let half = spread / 2.0;
    let edge = if child.passive { -0.8 * half } else { half };
    let market_cost = 0.35 * volatility.powf(1.8) + 3.0 * urgency * urgency + common + 3.0 * toxic;
    let end_half_spread = half * (0.1 * normal()).exp();
    let mut markout = if child.passive { 0.5 * half } else { -0.5 * half };
    markout -= 0.3 * volatility.powf(1.6) + 1.5 * urgency * urgency + common + 3.0 * toxic;
    let mut before_s: f64 = 0.0;
    let markouts = std::array::from_fn(|step| {
        // A walk: what happened within 1 s stands in the markout at 5 s too.
        markout += 0.8 * volatility * (LADDER_S[step] - before_s).sqrt() * steps[step] / 2.0_f64.sqrt();
        before_s = LADDER_S[step];
        markout
    });
    let log_odds = if child.passive {
        1.2 - 0.3 * volatility + 0.25 * spread - 0.8 * toxic - 0.6 * urgency
    } else {
        3.5
    };
    let result = Result {
        filled: 0.0,
        slippage: edge + market_cost + 1.1 * volatility * slippage_tail,
        at_end: end_half_spread
            + 2.0
            + 1.5 * toxic
            + 0.4 * volatility * left_s.sqrt() * normal(),
        end_half_spread,
        drift: 0.4 * volatility * age_s.sqrt() * normal() + 2.0 * toxic,
        lead: 1.5 * volatility * normal() + 3.0 * toxic,
        markouts,
        spread,
        volatility,
        volume: (10.0 + 0.5 * volatility.ln() + 0.3 * normal()).exp(),
    };
    let severity = (0.5 * normal() - 0.125).exp() * (0.5 + 0.25 * volatility);
    let mut draw = Draw {
        result,
        severity,
        fill_chance: 1.0 / (1.0 + (-log_odds).exp()),
        fill_draw: random.random(),
        portion: if random.random_bool(0.8) { 1.0 } else { random.random_range(0.2..1.0) },
    };
    draw.settle(draw.fill_chance);
    draw
}

/// What fewer fills cost: as a KPI, and as a part of the shortfall of all that were treated.
struct LostFills {
    cost: f64,
    shortfall: f64,
}

/// Lowers the chance of passive children in the treated arm so that it costs `asked` bps.
fn plant_fills(asked: f64, children: &[Child], arms: &Arms, draws: &mut [Draw]) -> LostFills {
    let is_treated = |i: usize| arms.treated(Contrast::Segmentation, i);
    let all_treated = (0..children.len()).filter(|&i| is_treated(i)).count();
    let treated: Vec<usize> =
        (0..children.len()).filter(|&i| is_treated(i) && children[i].passive).collect();
    if asked == 0.0 || treated.is_empty() {
        return LostFills { cost: 0.0, shortfall: 0.0 };
    }
    let chance = |draw: &Draw, scale: f64| (draw.fill_chance - scale * draw.severity).max(0.01);
    // What is lost, and what a loss costs, move together: a few rounds settle both.
    let mut scale = 0.0;
    let mut price = fill_price(children, draws);
    for _ in 0..8 {
        let lost = |scale: f64| {
            let of = |&i: &usize| {
                (draws[i].fill_chance - chance(&draws[i], scale)) * draws[i].portion
            };
            treated.iter().map(of).sum::<f64>() / treated.len() as f64
        };
        let (mut low, mut high) = (0.0, 2.0);
        for _ in 0..50 {
            scale = f64::midpoint(low, high);
            if lost(scale) * price < asked { low = scale } else { high = scale }
        }
        for &i in &treated {
            let lowered = chance(&draws[i], scale);
            draws[i].settle(lowered);
        }
        price = fill_price(children, draws);
    }
    let lost = |i: usize| (draws[i].fill_chance - chance(&draws[i], scale)) * draws[i].portion;
    let cost = treated.iter().map(|&i| lost(i)).sum::<f64>() / treated.len() as f64 * price;
    let paid_more = |&i: &usize| lost(i) * (draws[i].result.at_end - draws[i].result.slippage);
    let shortfall = treated.iter().map(paid_more).sum::<f64>() / all_treated as f64;
    LostFills { cost, shortfall }
}

/// What it costs to fill later what was not filled: at the end of the parent, less what fills paid.
fn fill_price(children: &[Child], draws: &[Draw]) -> f64 {
    let passive = || children.iter().zip(draws).filter(|(child, _)| child.passive);
    let at_end = mean(passive().map(|(_, draw)| draw.result.at_end));
    let filled = passive().filter(|(_, draw)| draw.result.filled > 0.0);
    at_end - mean(filled.map(|(_, draw)| draw.result.slippage))
}

/// Lowers what the last child of treated parents fills, so that it costs `asked` bps. Gives the treated
/// parents and the cost.
fn plant_completion(
    asked: f64,
    parents: &[Parent],
    children: &[Child],
    arms: &Arms,
    draws: &mut [Draw],
) -> (usize, f64) {
    let mut is_treated = vec![false; parents.len()];
    for (i, child) in children.iter().enumerate().filter(|(_, child)| child.first) {
        is_treated[child.parent] = arms.treated(Contrast::Drain, i);
    }
    let treated = is_treated.iter().filter(|&&treated| treated).count();
    if asked == 0.0 || treated == 0 {
        return (treated, 0.0);
    }
    let price = completion_price(parents, children, draws);
    let last: Vec<usize> = (0..children.len())
        .filter(|&i| children[i].last && is_treated[children[i].parent])
        .collect();
    let share = |i: usize| children[i].quantity / parents[children[i].parent].target;
    let total = |scale: f64| {
        let of = |&i: &usize| (scale * draws[i].severity).min(draws[i].result.filled) * share(i);
        last.iter().map(of).sum::<f64>() / treated as f64
    };
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if total(middle) * price < asked { low = middle } else { high = middle }
    }
    let cost = total(low) * price;
    for &i in &last {
        let lost = (low * draws[i].severity).min(draws[i].result.filled);
        draws[i].result.filled -= lost;
    }
    (treated, cost)
}

/// What it costs to complete a parent at its end, less what its fills paid, both from its decision.
fn completion_price(parents: &[Parent], children: &[Child], draws: &[Draw]) -> f64 {
    let mut paid = vec![[0.0_f64; 2]; parents.len()];
    let mut at_end = vec![0.0; parents.len()];
    for (child, draw) in children.iter().zip(draws) {
        let filled = child.quantity * draw.result.filled;
        paid[child.parent][0] += filled * (draw.result.drift + draw.result.slippage);
        paid[child.parent][1] += filled;
        if child.last {
            at_end[child.parent] = draw.result.drift + draw.result.at_end;
        }
    }
    let filled = paid.iter().filter(|paid| paid[1] > 0.0);
    mean(at_end.iter().copied()) - mean(filled.map(|paid| paid[0] / paid[1]))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

/// Who is in which arm.
struct Arms<'a> {
    children: &'a [Child],
    slow: f64,
    bursty: f64,
    clustered: f64,
}

impl<'a> Arms<'a> {
    fn of(children: &'a [Child]) -> Self {
        let top = |value: &dyn Fn(&Child) -> f64| {
            let mut values: Vec<f64> = children.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() * 2 / 3).copied().unwrap_or(f64::INFINITY)
        };
        Self {
            children,
            slow: top(&|child| child.window.dispatch_to_wire),
            bursty: top(&|child| child.window.burstiness),
            clustered: top(&|child| child.window.delivery),
        }
    }

    fn treated(&self, contrast: Contrast, child: usize) -> bool {
        let window = &self.children[child].window;
        match contrast {
            Contrast::SlowAndBursty => {
                window.dispatch_to_wire >= self.slow && window.burstiness >= self.bursty
            }
            Contrast::Segmentation => window.segmentation() >= 1,
            Contrast::ByteQueue => window.severity[2] >= 1,
            Contrast::Drain => window.severity[3] == 2,
            Contrast::Delivery => window.delivery >= self.clustered,
        }
    }
}
