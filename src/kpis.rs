//! `wirepace kpis`.

use model::kpi::catalogue::{self, Definition};

use crate::cli::Json;

/// Runs it.
pub fn main(args: &Json) -> u8 {
    if args.json {
        crate::print_json(&serde_json::json!({ "kpis": catalogue::json() }));
    } else {
        catalogue::all().for_each(print_definition);
    }
    crate::EXIT_DONE
}

fn print_definition(kpi: &Definition) {
    let arms: Vec<_> = kpi.arms.iter().map(|arm| arm.name()).collect();
    let available = if kpi.available { "" } else { "  (not computed by this version)" };
    out!("{} [{}]{available}", kpi.name, kpi.unit);
    out!("    formula:   {}", kpi.formula);
    out!(
        "    where:     {}   min n: {}   basis: {}   playbooks: {}",
        arms.join(" "),
        kpi.n_min,
        kpi.basis.name(),
        kpi.playbooks.join(" ")
    );
    out!("    if it rises: {}\n", kpi.advice);
}
