//! One KPI: figure, interval, verdict.

use estimate::bootstrap::{Clusters, Method, critical};
use estimate::effect::{Balance, Difference, of_compared};
use estimate::placebo::{Placebo, placebos};
use estimate::{Cohorts, Compared, Effect, effect};
use serde::Serialize;

use super::arms::{Design, arms};
use super::covariates::{Chosen, chosen};
use super::placebos;
use crate::join::{How, Units};
use crate::kpi::{Contrast, Horizon, Kpi, Outcome};

/// A headline of which fewer of the treated have a counterpart is not identified.
pub const MATCHED_SHARE_MIN: f64 = 0.5;
/// A headline whose arms differ more in a covariate, in standard deviations, is not identified.
const IMBALANCE_MAX: f64 = 0.1;
/// Arms whose unmatched shares differ more are not compared.
const UNMATCHED_DIFFERENCE_MAX: f64 = 0.02;
/// Units that each arm of a design needs.
const UNITS_MIN: usize = 50;

/// How KPIs are estimated.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Only this design.
    pub design: Option<Design>,
    /// Of the bootstrap.
    pub estimate: estimate::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self { design: None, estimate: estimate::Settings { seed: 1, draws: 400, level: 0.95 } }
    }
}

/// A figure at the mean or a quantile, as cost: above 0 = we pay.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Head {
    /// bps.
    pub cost_bps: Option<f64>,
    /// Lower bound.
    pub ci_low: Option<f64>,
    /// Upper bound.
    pub ci_high: Option<f64>,
}

/// Shares of an arm that were not found on the wire.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Shares {
    /// No row.
    pub unmatched: f64,
    /// More than one.
    pub ambiguous: f64,
}

/// What is known of one KPI.
#[derive(Clone, Debug, Serialize)]
pub struct Headline {
    /// Its name in the catalogue of the gateway.
    pub name: &'static str,
    /// What is subtracted from what.
    pub formula: &'static str,
    /// In the sign and unit of the formula.
    pub estimate: Option<f64>,
    /// The same as a cost.
    #[serde(flatten)]
    pub mean: Head,
    /// Units behind it, matched, of both arms.
    pub n: usize,
    /// Of the treated arm.
    pub treated: usize,
    /// Of the other.
    pub controls: usize,
    /// Share of the treated that have a counterpart.
    pub matched_share: Option<f64>,
    /// Where the arms come from; absent where no design has enough units.
    pub design: Option<Design>,
    /// Whether it may be read as the cost of the distortion.
    pub identified: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Difference of plain means, as a cost.
    pub naive_cost_bps: Option<f64>,
    /// At the 95 % quantile of costs.
    pub q95: Option<Head>,
    /// At the 99 % quantile.
    pub q99: Option<Head>,
    /// Price of what was not filled or completed, bps, where the outcome is a share.
    pub price_bps: Option<f64>,
    /// Effect on the filled share of passive children in the same arms: outcomes of fills only say nothing
    /// of orders that were not filled.
    pub fill_ratio_effect: Option<ShareEffect>,
    /// Host-days behind the interval.
    pub clusters: usize,
    /// How it was made.
    pub interval_method: Option<Method>,
    /// Shares that were not found on the wire, treated arm.
    pub treated_shares: Shares,
    /// Of the other.
    pub control_shares: Shares,
    /// Covariates that too many units lack.
    pub covariates_left_out: Vec<&'static str>,
    /// Standardised differences.
    pub balance: Vec<Balance>,
    /// Placebos.
    pub placebos: Vec<Placebo>,
}

/// An effect in its own unit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ShareEffect {
    /// Treated less controls.
    pub estimate: f64,
    /// Lower bound.
    pub ci_low: Option<f64>,
    /// Upper bound.
    pub ci_high: Option<f64>,
}

/// The outcome of each unit in a sign in which more is worse, for shares in which less is worse; `None`
/// where there is none.
pub fn outcomes(units: &Units, outcome: Outcome) -> Vec<Option<f64>> {
    let cost = |values: &[Option<f64>]| values.iter().map(|v| v.map(|v| -v)).collect();
    match outcome {
        Outcome::Shortfall => units.shortfall.clone(),
        Outcome::Markout(Horizon::S1) => cost(&units.markouts[2]),
        Outcome::Markout(Horizon::S5) => cost(&units.markouts[3]),
        Outcome::Markout(Horizon::S30) => cost(&units.markouts[4]),
        Outcome::FillRatio => {
            (0..units.len()).map(|i| units.passive[i].then(|| units.fill_ratio[i])).collect()
        }
        Outcome::Completion => {
            (0..units.len()).map(|i| units.first[i].then(|| units.completion[i])).collect()
        }
    }
}

/// Estimates a KPI by the strongest design that has the units for it.
pub fn headline(units: &Units, kpi: Kpi, settings: &Settings) -> Headline {
    let outcomes = outcomes(units, kpi.outcome());
    let designs = Design::ALL.into_iter().filter(|d| settings.design.is_none_or(|only| only == *d));
    for design in designs {
        let arms = arms(units, kpi.contrast(), design);
        let has = |arm| {
            let of_arm = |&i: &usize| arms[i] == Some(arm) && outcomes[i].is_some();
            (0..units.len()).filter(of_arm).take(UNITS_MIN).count() == UNITS_MIN
        };
        if has(true) && has(false) {
            return by_design(units, kpi, design, &arms, &outcomes, settings);
        }
    }
    let reason = format!("fewer than {UNITS_MIN} units in an arm");
    Headline { reasons: vec![reason], ..absent(kpi) }
}

const fn absent(kpi: Kpi) -> Headline {
    Headline {
        name: kpi.catalogue_name(),
        formula: kpi.formula(),
        estimate: None,
        mean: Head { cost_bps: None, ci_low: None, ci_high: None },
        n: 0,
        treated: 0,
        controls: 0,
        matched_share: None,
        design: None,
        identified: false,
        reasons: Vec::new(),
        naive_cost_bps: None,
        q95: None,
        q99: None,
        price_bps: None,
        fill_ratio_effect: None,
        clusters: 0,
        interval_method: None,
        treated_shares: Shares { unmatched: 0.0, ambiguous: 0.0 },
        control_shares: Shares { unmatched: 0.0, ambiguous: 0.0 },
        covariates_left_out: Vec::new(),
        balance: Vec::new(),
        placebos: Vec::new(),
    }
}

fn by_design(
    units: &Units,
    kpi: Kpi,
    design: Design,
    arms: &[Option<bool>],
    outcomes: &[Option<f64>],
    settings: &Settings,
) -> Headline {
    let mut headline = Headline { design: Some(design), ..absent(kpi) };
    headline.treated_shares = shares(units, arms, outcomes, true);
    headline.control_shares = shares(units, arms, outcomes, false);
    let found: Vec<Option<bool>> =
        arms.iter().zip(&units.how).map(|(arm, how)| arm.filter(|_| is_found(*how))).collect();
    let Chosen { cohorts, rows, left_out } =
        chosen(units, kpi.outcome(), kpi.contrast(), &found, outcomes, design);
    headline.covariates_left_out = left_out;
    let compared = Compared::of(&cohorts);
    let effect = compared.as_ref().and_then(|units| of_compared(units, &settings.estimate));
    let (Some(compared), Some(effect)) = (compared, effect) else {
        headline.reasons.push("no treated unit has a counterpart".to_owned());
        return headline;
    };
    fill(&mut headline, kpi, &effect);
    match kpi.outcome() {
        Outcome::FillRatio => {
            let price = Price::of(&cohorts, &rows, &units.at_end, &units.slippage, settings);
            priced(&mut headline, price.as_ref(), &effect, settings);
        }
        Outcome::Completion => {
            let price =
                Price::of(&cohorts, &rows, &units.parent_at_end, &units.parent_paid, settings);
            priced(&mut headline, price.as_ref(), &effect, settings);
        }
        Outcome::Markout(_) => {
            let filled = self::outcomes(units, Outcome::FillRatio);
            let beside = chosen(units, Outcome::FillRatio, kpi.contrast(), &found, &filled, design);
            let share = Compared::of(&beside.cohorts).and_then(|c| c.mean(&settings.estimate));
            headline.fill_ratio_effect = share.map(|share| ShareEffect {
                estimate: share.estimate,
                ci_low: share.interval.map(|i| i.low),
                ci_high: share.interval.map(|i| i.high),
            });
        }
        Outcome::Shortfall => {}
    }
    headline.placebos = match kpi.outcome() {
        // Shares are of few units, and coarse: the arms are asked by what all children in them paid.
        Outcome::FillRatio | Outcome::Completion => {
            let of_arms = kpi.contrast().outcome();
            let outcomes = self::outcomes(units, of_arms);
            let all = chosen(units, of_arms, kpi.contrast(), &found, &outcomes, design);
            let untouched = placebos::outcomes(units, &all.rows, &outcomes, design);
            let of_all = Compared::of(&all.cohorts);
            of_all.map(|c| placebos(&c, &untouched, &settings.estimate)).unwrap_or_default()
        }
        Outcome::Shortfall | Outcome::Markout(_) => {
            let untouched = placebos::outcomes(units, &rows, outcomes, design);
            placebos(&compared, &untouched, &settings.estimate)
        }
    };
    headline.reasons = reasons(&headline, &effect);
    headline.identified = headline.reasons.is_empty();
    headline
}

/// The effect of `arms`, which are about the mechanism of `contrast`, on an outcome: matched, without a verdict.
pub fn compared(
    units: &Units,
    outcome: Outcome,
    contrast: Contrast,
    arms: &[Option<bool>],
    settings: &Settings,
) -> Option<Effect> {
    let of_units = outcomes(units, outcome);
    let chosen = chosen(units, outcome, contrast, arms, &of_units, Design::Observational);
    effect(&chosen.cohorts, &settings.estimate)
}

fn is_found(how: How) -> bool {
    !matches!(how, How::Unmatched | How::Ambiguous)
}

/// Shares of an arm that were not found on the wire.
fn shares(units: &Units, arms: &[Option<bool>], outcomes: &[Option<f64>], arm: bool) -> Shares {
    let of_arm = || {
        let in_arm = |&i: &usize| arms[i] == Some(arm) && outcomes[i].is_some();
        (0..units.len()).filter(in_arm)
    };
    let all = of_arm().count().max(1) as f64;
    let share = |how: How| of_arm().filter(|&i| units.how[i] == how).count() as f64 / all;
    Shares { unmatched: share(How::Unmatched), ambiguous: share(How::Ambiguous) }
}

/// A difference of costs as a head.
fn head(difference: &Difference) -> Head {
    Head {
        cost_bps: Some(difference.estimate),
        ci_low: difference.interval.map(|i| i.low),
        ci_high: difference.interval.map(|i| i.high),
    }
}

/// Figures that need no price.
fn fill(headline: &mut Headline, kpi: Kpi, effect: &Effect) {
    let is_markout = matches!(kpi.outcome(), Outcome::Markout(_));
    headline.estimate = Some(if is_markout { -effect.mean.estimate } else { effect.mean.estimate });
    headline.mean = head(&effect.mean);
    headline.naive_cost_bps = Some(effect.naive);
    headline.q95 = effect.q95.as_ref().map(head);
    headline.q99 = effect.q99.as_ref().map(head);
    headline.n = effect.treated + effect.controls;
    headline.treated = effect.treated;
    headline.controls = effect.controls;
    headline.matched_share = Some(effect.matched_share);
    headline.clusters = effect.clusters;
    headline.interval_method = Some(effect.method);
    headline.balance.clone_from(&effect.balance);
}

/// Turns the shares of a headline into costs; without a price there are none.
fn priced(headline: &mut Headline, price: Option<&Price>, effect: &Effect, settings: &Settings) {
    match price {
        Some(price) => price.apply(headline, effect, settings),
        None => {
            headline.mean = Head::default();
            headline.naive_cost_bps = None;
        }
    }
    headline.q95 = None;
    headline.q99 = None;
}

/// What a share that was not filled costs: later, at the end of the parent, less what fills paid.
struct Price(Difference);

impl Price {
    fn of(
        cohorts: &Cohorts,
        rows: &[usize],
        later: &[Option<f64>],
        paid: &[Option<f64>],
        settings: &Settings,
    ) -> Option<Self> {
        let (mut values, mut is_later, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (place, &i) in rows.iter().enumerate() {
            for (value, later) in [(later[i], true), (paid[i], false)] {
                if let Some(value) = value {
                    values.push(value);
                    is_later.push(later);
                    labels.push(cohorts.cluster[place]);
                }
            }
        }
        let weights = vec![1.0; values.len()];
        let clusters = Clusters::of(&labels);
        let difference = clusters.difference_of_means(&values, &weights, &is_later)?;
        Some(Self(clusters.interval(&difference, &settings.estimate)))
    }

    /// Turns shares into costs; the interval holds what is not known of either factor.
    fn apply(&self, headline: &mut Headline, effect: &Effect, settings: &Settings) {
        let price = self.0.estimate;
        let share = &effect.mean;
        let error = share.standard_error.zip(self.0.standard_error).map(|(of_share, of_price)| {
            ((price * of_share).powi(2) + (share.estimate * of_price).powi(2)).sqrt()
        });
        let cost = -share.estimate * price;
        // The wild bootstrap has a quantile of its own; its interval is as wide in shares.
        let quantile = share
            .interval
            .zip(share.standard_error)
            .map(|(interval, error)| (interval.high - interval.low) / 2.0 / error)
            .or_else(|| critical(effect.clusters, settings.estimate.level));
        let half = error.zip(quantile).map(|(error, quantile)| error * quantile);
        headline.price_bps = Some(price);
        headline.mean = Head {
            cost_bps: Some(cost),
            ci_low: half.map(|half| cost - half),
            ci_high: half.map(|half| cost + half),
        };
        headline.naive_cost_bps = Some(-effect.naive * price);
    }
}

/// Why a headline may not be read as the cost of the distortion.
fn reasons(headline: &Headline, effect: &Effect) -> Vec<String> {
    let mut reasons = Vec::new();
    if effect.matched_share < MATCHED_SHARE_MIN {
        reasons.push(format!(
            "matched_share {:.2} is below {MATCHED_SHARE_MIN}",
            effect.matched_share
        ));
    }
    if let Some(worst) = effect.imbalance().filter(|worst| worst.after.abs() > IMBALANCE_MAX) {
        reasons.push(format!("{} differs by {:.2} standard deviations", worst.name, worst.after));
    }
    let (treated, controls) = (headline.treated_shares, headline.control_shares);
    for (what, a, b) in [
        ("unmatched", treated.unmatched, controls.unmatched),
        ("ambiguous", treated.ambiguous, controls.ambiguous),
    ] {
        if (a - b).abs() > UNMATCHED_DIFFERENCE_MAX {
            reasons.push(format!("{what} shares of the arms differ: {a:.3} and {b:.3}"));
        }
    }
    for placebo in headline.placebos.iter().filter(|placebo| placebo.fires) {
        reasons.push(format!("the placebo {} fires", placebo.name));
    }
    if headline.mean.ci_low.is_none() {
        reasons.push(format!("no interval from {} host-days", effect.clusters));
    }
    reasons
}
