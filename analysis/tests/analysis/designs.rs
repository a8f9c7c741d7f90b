//! Trials that were drawn, and periods: who was not governed is compared with who was.

use crate::common::{joined, parameters};
use analysis::generate::{Parameters, generate};
use analysis::kpi::Kpi;
use analysis::outcome::{Design, Settings, headline};

fn trial(seed: u64, design: Design, effects: &[(Kpi, f64)]) -> Parameters {
    Parameters { design: Some(design), ..parameters(seed, effects) }
}

#[test]
fn each_design_finds_what_is_paid_where_nobody_governs() {
    for design in [Design::Canary, Design::Switchback, Design::BeforeAfter] {
        let (mut held, mut clear) = (0, 0);
        for seed in 1..=4 {
            let world = generate(&trial(seed, design, &[(Kpi::Btu, 3.0), (Kpi::Ccmd, 3.0)]));
            let units = joined(&world);
            for kpi in [Kpi::Btu, Kpi::Ccmd] {
                let found = headline(&units, kpi, &Settings::default());
                assert_eq!(found.design, Some(design), "the strongest that has the units");
                let cost = world.truth.kpis[kpi.name()].cost_bps;
                let bounds = found.mean.ci_low.zip(found.mean.ci_high).expect("an interval");
                held += u32::from(bounds.0 <= cost && cost <= bounds.1);
                clear += u32::from(bounds.0 > 0.0);
            }
        }
        // Of 8 intervals 95 % hold: below 6 is one in two hundred.
        assert!(held >= 6 && clear >= 6, "{design:?}: {held} hold, {clear} are clear of 0");
    }
}

#[test]
fn a_trial_of_something_that_changes_nothing_costs_nothing() {
    let clear = (1..=6)
        .filter(|&seed| {
            let units = joined(&generate(&trial(seed, Design::Canary, &[])));
            let found = headline(&units, Kpi::Btu, &Settings::default());
            found.mean.ci_low.is_none_or(|low| low > 0.0)
        })
        .count();
    assert!(clear <= 1, "{clear} of 6");
}

#[test]
fn only_the_design_that_is_asked_for_is_tried() {
    let units = joined(&generate(&trial(7, Design::Switchback, &[])));
    let asked = Settings { design: Some(Design::Canary), ..Settings::default() };
    assert_eq!(headline(&units, Kpi::Btu, &asked).estimate, None);
}
