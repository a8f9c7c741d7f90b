//! How often intervals hold the planted cost: `coverage SCENARIO FIRST_SEED SEEDS` prints a line of JSON for
//! each seed and KPI. `scripts/analysis-coverage` runs all scenarios and sums up.

use std::io::Write;

use analysis::error::Error;
use analysis::generate::{Confounder, Fault, Parameters, generate};
use analysis::join::join;
use analysis::kpi::Kpi;
use analysis::outcome::{Settings, headline};
use analysis::tables::{Limits, Source};

/// Planted costs, bps.
const EFFECTS: [(Kpi, f64); 9] = [
    (Kpi::Qlp, 2.0),
    (Kpi::Btu, 2.0),
    (Kpi::Bot, 2.0),
    (Kpi::Ccmd, 2.0),
    (Kpi::Cte1, 1.5),
    (Kpi::Cte5, 2.0),
    (Kpi::Cte30, 4.0),
    (Kpi::FillRatio, 1.0),
    (Kpi::Completion, 1.0),
];

fn scenario(name: &str, seed: u64) -> Option<Parameters> {
    let mut parameters = Parameters { effects: EFFECTS.into(), ..Parameters::new(seed) };
    match name {
        "planted" => {}
        "none" => parameters.effects.clear(),
        "volatility" => parameters.confounder = Some(Confounder::Volatility),
        "urgency" => parameters.confounder = Some(Confounder::Urgency),
        "unobserved" => parameters.confounder = Some(Confounder::Unobserved),
        "fill_only" => parameters.effects.retain(|kpi, _| *kpi == Kpi::FillRatio),
        "lost" => parameters.fault = Some(Fault::LostInBursts),
        "skew" => parameters.fault = Some(Fault::ClockSkew),
        _ => return None,
    }
    Some(parameters)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(name), Some(first), Some(seeds)) = (args.first(), number(1), number(2)) else {
        return Err(Error::Usage("coverage SCENARIO FIRST_SEED SEEDS".to_owned()));
    };
    let mut out = std::io::stdout().lock();
    for seed in first..first + seeds {
        let parameters = scenario(name, seed)
            .ok_or_else(|| Error::Usage(format!("there is no scenario {name:?}")))?;
        let world = generate(&parameters);
        let limits = Limits { threads: 1, ..Limits::default() };
        let units = join(&Source::of_world(&world, limits).await?).await?;
        for kpi in Kpi::ALL {
            let h = headline(&units, kpi, &Settings::default());
            let line = serde_json::json!({
                "scenario": name, "seed": seed, "kpi": kpi.name(),
                "truth": world.truth.kpis.get(kpi.name()).map(|planted| planted.cost_bps),
                "cost_bps": h.mean.cost_bps, "ci_low": h.mean.ci_low, "ci_high": h.mean.ci_high,
                "naive": h.naive_cost_bps, "identified": h.identified, "reasons": h.reasons,
                "n": h.n, "matched_share": h.matched_share,
            });
            writeln!(out, "{line}").map_err(Error::file("stdout"))?;
        }
    }
    Ok(())
}
