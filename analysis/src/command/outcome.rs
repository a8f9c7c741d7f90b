//! `wirepace-analysis outcome`.

use analysis::error::Error;
use analysis::join::join;
use analysis::outcome::{Headline, Report, Settings, report};
use analysis::tables::Source;

use super::{EXIT_DONE, limits, make_dir, write_json};
use crate::cli::Outcome;
use crate::output::out;

/// Runs it.
pub async fn run(args: &Outcome) -> Result<u8, Error> {
    let source = Source::open(&args.input, limits(args.resources)).await?;
    let units = join(&source).await?;
    let settings = Settings {
        design: args.design,
        estimate: estimate::Settings {
            seed: args.seed,
            draws: args.draws as usize,
            ..Settings::default().estimate
        },
    };
    let report = report(&units, &source.bad, &settings);
    make_dir(&args.out)?;
    let text = write_json(&args.out.join("outcome.json"), &report)?;
    if args.json {
        out(format_args!("{text}"));
    } else {
        print(&report);
    }
    Ok(EXIT_DONE)
}

fn print(report: &Report) {
    for (table, bad) in &report.bad_rows {
        out(format_args!("{table}: {} bad rows", bad.count()));
        for (reason, count) in &bad.reasons {
            out(format_args!("  {count} x {reason}"));
        }
    }
    for (gateway, offset) in &report.clock_offsets_ns {
        out(format_args!(
            "clock of {gateway}: {offset} ns from the strategies'; windows are corrected"
        ));
    }
    out(format_args!(
        "{:18} {:>8} {:>19} {:>7}  {:14} identified",
        "KPI", "cost bps", "interval", "n", "design"
    ));
    for (name, headline) in &report.kpis {
        out(format_args!("{}", line(name, headline)));
    }
}

fn line(name: &str, headline: &Headline) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
    let design = headline.design.map_or("-", |design| design.name());
    let verdict = if headline.identified {
        "yes".to_owned()
    } else {
        format!("no: {}", headline.reasons.join("; "))
    };
    format!(
        "{name:18} {:>8} {:>8} .. {:>7} {:>7}  {design:14} {verdict}",
        number(headline.mean.cost_bps),
        number(headline.mean.ci_low),
        number(headline.mean.ci_high),
        headline.n,
    )
}
