//! `wirepace kpis`.

use model::kpi::catalogue;

use crate::cli::Json;

/// Runs it.
pub fn main(args: &Json) -> u8 {
    if args.json {
        crate::print_json(&serde_json::json!({ "kpis": catalogue::json() }));
        return crate::EXIT_DONE;
    }
    for kpi in catalogue::all() {
        println!("{kpi}");
    }
    crate::EXIT_DONE
}
