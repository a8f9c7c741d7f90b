//! What the built-in machines read is what reports have: each KPI, part and value by its name.
#![allow(clippy::unwrap_used)]

#[path = "regime/world.rs"]
mod world;

use model::config::Config;
use model::kpi::{
    Block, CompletionFigures, Entry, Inputs, KpiPlan, PortPlan, Report, SampleLoss, Sampled,
    Switches, catalogue,
};
use model::regime::{Exit, Input, Machine, OBSERVATIONS, ScopeKind, Term};
use model::sample::DepartureSource;
use model::time::Nanos;

const FEED: &str = r#"
[[class]]
name = "quotes"
from = "venue"
kind = "market_data"
"#;

/// A report of the config in which nothing has happened: every series is there, without values.
fn empty_report() -> Report {
    let config = Config::from_toml("test.toml", &(world::text("") + FEED)).unwrap();
    let port = |(index, port): (usize, &model::config::Port)| PortPlan {
        index: index.try_into().unwrap(),
        name: port.name.clone(),
        side: port.side,
        departure: DepartureSource::Virtual,
        completion: CompletionFigures::Simulated,
        stall_time: port.stall_time,
        tx_descriptors: 64,
        link_bits_per_s: None,
    };
    let plan = KpiPlan::new(&config, config.ports.iter().enumerate().map(port).collect());
    Report::build(&[Inputs {
        plan: &plan,
        block: &Block::new(&plan),
        profile: None,
        sampled: Some(&Sampled::new(&plan)),
        samples: SampleLoss::default(),
        span: Nanos::from_secs(1),
        steps: &[],
        factors: &[],
        switches: Switches::default(),
    }])
}

/// Where series of a KPI stand that a machine of such a scope can read.
fn is_of(scope: ScopeKind, entry: &Entry) -> bool {
    match (scope, entry.labels.class.as_deref(), entry.labels.port.as_deref()) {
        (ScopeKind::Class, class, _) => class == Some("orders"),
        (ScopeKind::TxQueue, class, port) => {
            port == Some("out") && class.is_none_or(|class| class == "orders")
        }
        (ScopeKind::Feed, None, port) => port == Some("in"),
        (ScopeKind::Feed, class, _) => class == Some("quotes"),
    }
}

fn inputs<'a>(machine: &'a Machine) -> impl Iterator<Item = &'a Input> {
    let of_exit = |exit: &'a Exit| match exit {
        Exit::When(condition) => Some(condition),
        Exit::AsBelow => None,
    };
    let conditions =
        machine.states.iter().flat_map(move |s| [Some(&s.enter), of_exit(&s.exit)]).flatten();
    conditions.flatten().flatten().filter_map(Term::bound).map(|bound| &bound.input)
}

#[test]
fn machines_name_what_reports_have() {
    let report = empty_report();
    let mut read = 0;
    for machine in world::machines("") {
        for input in inputs(&machine) {
            let text = input.to_string();
            if text.starts_with("fed.") || text == model::regime::P_COMPRESSED_DRAIN {
                continue;
            }
            let name = text.split(['.', '[']).next().unwrap();
            assert!(
                catalogue::find(name).is_some_and(|known| known.available),
                "{}: {name} is no KPI that is computed",
                machine.name
            );
            let has = |entry: &Entry| {
                let value = input.value.as_str();
                value == OBSERVATIONS || entry.values.iter().any(|(name, _)| *name == value)
            };
            let found = report.of(name).any(|entry| {
                entry.labels.part == input.part.as_deref()
                    && is_of(machine.scope, entry)
                    && has(entry)
            });
            let there: Vec<_> = report.of(name).map(|e| (&e.labels, &e.values)).collect();
            assert!(found, "{}: no report has {text}; it has {there:#?}", machine.name);
            read += 1;
        }
    }
    assert!(read > 30, "{read} inputs");
}
