//! From a generated world by way of the queries to figures, in a short version of `scripts/analysis-coverage`.

use crate::common::{joined, parameters};
use analysis::generate::{Confounder, Fault, Parameters, generate};
use analysis::join::How;
use analysis::kpi::Kpi;
use analysis::outcome::{Design, Headline, Settings, headline};

fn estimated(parameters: &Parameters, kpi: Kpi) -> (Headline, f64) {
    let world = generate(parameters);
    let truth = world.truth.kpis[kpi.name()].cost_bps;
    (headline(&joined(&world), kpi, &Settings::default()), truth)
}

fn holds(headline: &Headline, cost: f64) -> bool {
    let (Some(low), Some(high)) = (headline.mean.ci_low, headline.mean.ci_high) else {
        return false;
    };
    low <= cost && cost <= high
}

#[test]
fn every_kpi_finds_what_was_planted() {
    let planted: Vec<(Kpi, f64)> = Kpi::ALL.iter().map(|&kpi| (kpi, 3.0)).collect();
    let (mut held, mut clear, mut all) = (0, 0, 0);
    for seed in 1..=5 {
        let world = generate(&parameters(seed, &planted));
        let units = joined(&world);
        for kpi in Kpi::ALL {
            let headline = headline(&units, kpi, &Settings::default());
            all += 1;
            held += u32::from(holds(&headline, world.truth.kpis[kpi.name()].cost_bps));
            clear += u32::from(headline.mean.ci_low.is_some_and(|low| low > 0.0));
            assert_eq!(headline.design, Some(Design::Observational), "{kpi:?}");
        }
    }
    // Of 45 intervals 95 % hold: below 39 is one in ten thousand.
    assert!(held >= 39, "{held} of {all}");
    assert!(clear >= 40, "{clear} of {all}");
}

#[test]
fn a_recorded_confounder_fools_plain_means_only() {
    let mut parameters = parameters(3, &[(Kpi::Btu, 2.0)]);
    parameters.confounder = Some(Confounder::Volatility);
    let (headline, truth) = estimated(&parameters, Kpi::Btu);
    assert!(holds(&headline, truth), "{headline:?}");
    let naive = headline.naive_cost_bps.expect("both arms");
    assert!(naive > headline.mean.ci_high.expect("an interval"), "{naive}");
}

#[test]
fn what_nothing_records_makes_a_placebo_fire() {
    let mut parameters = parameters(4, &[]);
    parameters.confounder = Some(Confounder::Unobserved);
    let (headline, _) = estimated(&parameters, Kpi::Btu);
    assert!(!headline.identified);
    assert!(headline.placebos.iter().any(|placebo| placebo.fires), "{:?}", headline.placebos);
}

#[test]
fn rows_that_are_lost_in_bursts_void_the_arms_that_they_tell_apart() {
    let mut parameters = parameters(5, &[]);
    parameters.fault = Some(Fault::LostInBursts);
    let (headline, _) = estimated(&parameters, Kpi::Btu);
    assert!(!headline.identified);
    assert!(
        headline.reasons.iter().any(|r| r.starts_with("unmatched shares")),
        "{:?}",
        headline.reasons
    );
}

#[test]
fn a_clock_that_is_ahead_is_named_and_corrected() {
    let mut parameters = parameters(6, &[]);
    parameters.fault = Some(Fault::ClockSkew);
    let skewed = joined(&generate(&parameters));
    parameters.fault = None;
    let straight = joined(&generate(&parameters));
    let offset =
        skewed.clock_offsets_ns.iter().find(|(gateway, _)| gateway == "gw1").expect("gw1").1;
    assert!((offset - 2_000_000).abs() < 50_000, "{offset}");
    // Nothing else differs: rows without an id are found too, and windows are the same.
    assert_eq!(skewed.how, straight.how);
    assert_eq!(skewed.feature("d2w"), straight.feature("d2w"));
}

#[test]
fn children_are_found_by_id_by_sequence_and_by_dispatch() {
    let units = joined(&generate(&parameters(7, &[])));
    let count =
        |how: How| units.how.iter().filter(|h| **h == how).count() as f64 / units.len() as f64;
    assert!((count(How::Id) - 0.92).abs() < 0.02);
    assert!((count(How::Sequence) - 0.04).abs() < 0.02);
    assert!((count(How::Dispatch) - 0.04).abs() < 0.02);
    assert!(count(How::Unmatched) < 0.001);
}

#[test]
fn a_design_without_units_is_absent() {
    let units = joined(&generate(&parameters(8, &[])));
    let settings = Settings { design: Some(Design::Canary), ..Settings::default() };
    let headline = headline(&units, Kpi::Btu, &settings);
    assert_eq!((headline.estimate, headline.design, headline.identified), (None, None, false));
}
