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
use crate::outcome::Design;

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
    let drawn: Vec<Draw> =
        children.iter().map(|child| draw(markets, &parents[child.parent], child, random)).collect();
    let arms = Arms::of(children, parameters.design);
    let mut prices = Prices::of(parents, children, &drawn);
    let mut draws = drawn.clone();
    // What a lost fill costs depends on what else was planted: a few rounds settle both.
    for _ in 0..ROUNDS {
        draws.clone_from(&drawn);
        plant_fills(parameters.effect(Kpi::FillRatio) / prices.fill, children, &arms, &mut draws);
        let share = parameters.effect(Kpi::Completion) / prices.completion;
        plant_completion(share, parents, children, &arms, &mut draws);
        plant_costs(parameters, &arms, &mut draws);
        prices = Prices::of(parents, children, &draws);
    }
    let planted = |kpi: Kpi| {
        let (treated, total) = caused(kpi, parents, children, &arms, &draws, &prices);
        let cost_bps = if treated > 0 { total / treated as f64 } else { 0.0 };
        (kpi.name(), Planted { asked_bps: parameters.effect(kpi), cost_bps, treated })
    };
    let planted = Kpi::ALL.into_iter().map(planted).collect();
    (draws.into_iter().map(|draw| draw.result).collect(), planted)
}

/// Rounds after which prices stay.
const ROUNDS: usize = 5;

/// Adds what distortions cost those that are filled, scaled so that it is what was asked for.
fn plant_costs(parameters: &Parameters, arms: &Arms, draws: &mut [Draw]) {
    for kpi in Kpi::ALL {
        let treated: Vec<usize> =
            (0..draws.len()).filter(|&i| arms.treated(kpi.contrast(), i)).collect();
        let filled = |i: usize| draws[i].result.filled;
        let (wanted, total) = match kpi.outcome() {
            // Only what is filled can pay more; the mean is over all that were treated.
            Outcome::Shortfall => {
                (treated.len(), treated.iter().map(|&i| filled(i) * draws[i].severity).sum::<f64>())
            }
            Outcome::Markout(_) => {
                let of_filled = || treated.iter().filter(|&&i| filled(i) > 0.0);
                (of_filled().count(), of_filled().map(|&i| draws[i].severity).sum())
            }
            Outcome::FillRatio | Outcome::Completion => continue,
        };
        let scale = if total > 0.0 { parameters.effect(kpi) * wanted as f64 / total } else { 0.0 };
        for &i in &treated {
            let cost = scale * draws[i].severity;
            draws[i].added.insert(kpi, cost);
            let result = &mut draws[i].result;
            match kpi.outcome() {
                Outcome::Markout(horizon) => {
                    result.markouts[places(kpi, horizon)].iter_mut().for_each(|m| *m -= cost);
                }
                _ => result.slippage += cost,
            }
        }
    }
}

/// Units that were treated, and what it cost all of them together: their outcomes less what they would
/// have been without this one distortion, all others as they were.
fn caused(
    kpi: Kpi,
    parents: &[Parent],
    children: &[Child],
    arms: &Arms,
    draws: &[Draw],
    prices: &Prices,
) -> (usize, f64) {
    let treated = |i: &usize| arms.treated(kpi.contrast(), *i);
    let units = (0..children.len()).filter(treated);
    let added = |i: usize| -> f64 {
        let of = |(other, cost): (&Kpi, &f64)| if arms.is_seen(*other, kpi) { *cost } else { 0.0 };
        draws[i].added.iter().map(of).sum()
    };
    // Fills that were taken away from the same orders stand in their shortfall.
    let with_fills = arms.are_drawn() || kpi.contrast() == Contrast::Segmentation;
    let costs: Vec<f64> = match kpi.outcome() {
        Outcome::Shortfall => units
            .map(|i| {
                let Result { filled, slippage, at_end, .. } = draws[i].result;
                // Of the others, the last of a parent, it is a drain that took fills.
                let by_bursts = with_fills && (children[i].passive || arms.are_drawn());
                let before = if by_bursts { draws[i].filled_before } else { filled };
                let shortfall =
                    |filled: f64, slippage: f64| filled * slippage + (1.0 - filled) * at_end;
                shortfall(filled, slippage) - shortfall(before, slippage - added(i))
            })
            .collect(),
        Outcome::Markout(_) => units.filter(|&i| draws[i].result.filled > 0.0).map(added).collect(),
        Outcome::FillRatio => units
            .filter(|&i| children[i].passive)
            .map(|i| (draws[i].filled_before - draws[i].result.filled) * prices.fill)
            .collect(),
        Outcome::Completion => {
            let mut is_treated = vec![false; parents.len()];
            units
                .filter(|&i| children[i].first)
                .for_each(|i| is_treated[children[i].parent] = true);
            let mut lost = vec![0.0; parents.len()];
            for (i, child) in children.iter().enumerate() {
                // The last of a parent completes it; others lose fills by what else there is.
                if child.last || arms.are_drawn() {
                    let share = draws[i].filled_before - draws[i].result.filled;
                    lost[child.parent] += share * child.quantity / parents[child.parent].target;
                }
            }
            let of_treated = (0..parents.len()).filter(|&parent| is_treated[parent]);
            of_treated.map(|parent| lost[parent] * prices.completion).collect()
        }
    };
    (costs.len(), costs.iter().sum())
}

/// The step of the ladder at which a markout is taken.
const fn step(horizon: Horizon) -> usize {
    match horizon {
        Horizon::S1 => 2,
        Horizon::S5 => 3,
        Horizon::S30 => 4,
    }
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
#[derive(Clone)]
struct Draw {
    result: Result,
    /// Share that would have been filled without an effect on fills.
    filled_before: f64,
    /// What each distortion added, bps.
    added: BTreeMap<Kpi, f64>,
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
    let toxic = market.toxic(second);
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
        markout +=
            0.8 * volatility * (LADDER_S[step] - before_s).sqrt() * steps[step] / 2.0_f64.sqrt();
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
        at_end: end_half_spread + 10.0 + 1.5 * toxic + 0.4 * volatility * left_s.sqrt() * normal(),
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
        filled_before: 0.0,
        added: BTreeMap::new(),
        fill_chance: 1.0 / (1.0 + (-log_odds).exp()),
        fill_draw: random.random(),
        portion: if random.random_bool(0.8) { 1.0 } else { random.random_range(0.2..1.0) },
    };
    draw.settle(draw.fill_chance);
    draw.filled_before = draw.result.filled;
    draw
}

/// Lowers the chance of passive children in the treated arm so that they fill less by `share`.
fn plant_fills(share: f64, children: &[Child], arms: &Arms, draws: &mut [Draw]) {
    let treated: Vec<usize> = (0..children.len())
        .filter(|&i| arms.treated(Contrast::Segmentation, i) && children[i].passive)
        .collect();
    let chance = |draw: &Draw, scale: f64| (draw.fill_chance - scale * draw.severity).max(0.01);
    let lost = |scale: f64| {
        let of = |&i: &usize| (draws[i].fill_chance - chance(&draws[i], scale)) * draws[i].portion;
        treated.iter().map(of).sum::<f64>() / treated.len().max(1) as f64
    };
    let scale = reaching(share, 2.0, lost);
    for &i in &treated {
        let lowered = chance(&draws[i], scale);
        draws[i].settle(lowered);
    }
}

/// Lowers what the last child of treated parents fills, so that they complete less by `share`.
fn plant_completion(
    share: f64,
    parents: &[Parent],
    children: &[Child],
    arms: &Arms,
    draws: &mut [Draw],
) {
    let mut is_treated = vec![false; parents.len()];
    for (i, child) in children.iter().enumerate().filter(|(_, child)| child.first) {
        is_treated[child.parent] = arms.treated(Contrast::Drain, i);
    }
    let last: Vec<usize> = (0..children.len())
        .filter(|&i| children[i].last && is_treated[children[i].parent])
        .collect();
    let lost = |draw: &Draw, scale: f64| (scale * draw.severity).min(draw.result.filled);
    let total = |scale: f64| {
        let of = |&i: &usize| {
            lost(&draws[i], scale) * children[i].quantity / parents[children[i].parent].target
        };
        last.iter().map(of).sum::<f64>() / last.len().max(1) as f64
    };
    let scale = reaching(share, 10.0, total);
    for &i in &last {
        draws[i].result.filled -= lost(&draws[i], scale);
    }
}

/// The number up to `largest` at which `rising` reaches `wanted`; 0 where nothing is wanted.
fn reaching(wanted: f64, largest: f64, rising: impl Fn(f64) -> f64) -> f64 {
    if !(wanted > 0.0 && wanted.is_finite()) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, largest);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if rising(middle) < wanted { low = middle } else { high = middle }
    }
    high
}

/// What a share that is not filled costs later, less what fills pay, bps.
struct Prices {
    /// Of passive children, from their decision.
    fill: f64,
    /// Of parents, from theirs.
    completion: f64,
}

impl Prices {
    fn of(parents: &[Parent], children: &[Child], draws: &[Draw]) -> Self {
        let passive = || children.iter().zip(draws).filter(|(child, _)| child.passive);
        let at_end = mean(passive().map(|(_, draw)| draw.result.at_end));
        let filled = passive().filter(|(_, draw)| draw.result.filled > 0.0);
        let fill = at_end - mean(filled.map(|(_, draw)| draw.result.slippage));
        let mut paid = vec![[0.0_f64; 2]; parents.len()];
        let mut at_end = vec![0.0; parents.len()];
        for (child, draw) in children.iter().zip(draws) {
            let quantity = child.quantity * draw.result.filled;
            paid[child.parent][0] += quantity * (draw.result.drift + draw.result.slippage);
            paid[child.parent][1] += quantity;
            if child.last {
                at_end[child.parent] = draw.result.drift + draw.result.at_end;
            }
        }
        let filled = paid.iter().filter(|paid| paid[1] > 0.0);
        let completion = mean(at_end.iter().copied()) - mean(filled.map(|paid| paid[0] / paid[1]));
        Self { fill, completion }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

/// Who is in which arm.
struct Arms<'a> {
    children: &'a [Child],
    design: Option<Design>,
    slow: f64,
    bursty: f64,
    clustered: f64,
}

impl<'a> Arms<'a> {
    fn of(children: &'a [Child], design: Option<Design>) -> Self {
        let top = |value: &dyn Fn(&Child) -> f64| {
            let known = |value: &f64| value.is_finite();
            let mut values: Vec<f64> = children.iter().map(value).filter(known).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() * 2 / 3).copied().unwrap_or(f64::INFINITY)
        };
        Self {
            children,
            design,
            slow: top(&|child| child.window.dispatch_to_wire),
            bursty: top(&|child| child.window.burstiness),
            clustered: top(&|child| child.window.delivery),
        }
    }

    /// Arms were drawn, or are periods: the same for every mechanism.
    fn are_drawn(&self) -> bool {
        self.design.is_some_and(|design| design != Design::Observational)
    }

    /// Whether what `other` costs stands in the figure of `kpi`: where arms are drawn, whatever is seen in the
    /// same outcome.
    fn is_seen(&self, other: Kpi, kpi: Kpi) -> bool {
        if other == kpi {
            return true;
        }
        let same = match (other.outcome(), kpi.outcome()) {
            (Outcome::Markout(of), Outcome::Markout(at)) => places(other, of).contains(&step(at)),
            (of, at) => of == at,
        };
        self.are_drawn() && same
    }

    fn treated(&self, contrast: Contrast, child: usize) -> bool {
        if self.are_drawn() {
            return self.children[child].trial.is_compared;
        }
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
