//! How long the tables of a data set take to be opened, joined and summed up: `scale DIR [MEMORY_MIB [THREADS]]` prints
//! a line of JSON. `scripts/analysis-scale` compares it with another engine.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use analysis::error::Error;
use analysis::join::{Units, join};
use analysis::tables::{Limits, Source};

/// Children of a symbol in a state of `segmentation`: how many, and sums of what is known of them.
#[derive(Default, serde::Serialize)]
struct Cell {
    children: u64,
    filled: f64,
    shortfall_bps: f64,
    markout_1s_bps: f64,
    dispatch_to_wire_ns: f64,
    residual: f64,
}

fn summary(units: &Units) -> BTreeMap<String, Cell> {
    let states = units.states_of("segmentation");
    let d2w = units.feature("d2w");
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for (i, d2w) in d2w.iter().enumerate() {
        let key = [units.symbol.name(i), states.name(i), units.how[i].name()].join("/");
        let cell = cells.entry(key).or_default();
        cell.children += 1;
        cell.filled += units.fill_ratio[i];
        cell.shortfall_bps += units.shortfall[i].unwrap_or_default();
        cell.markout_1s_bps += units.markouts[2][i].unwrap_or_default();
        cell.dispatch_to_wire_ns += d2w.unwrap_or_default();
        cell.residual += units.residual[i];
    }
    cells
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(dir) = args.first() else {
        return Err(Error::Usage("scale DIR [MEMORY_MIB [THREADS]]".to_owned()));
    };
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok());
    let usual = Limits::default();
    let limits = Limits {
        memory_bytes: number(1).map_or(usual.memory_bytes, |mib| mib << 20),
        threads: number(2).unwrap_or(usual.threads),
    };
    let begin = Instant::now();
    let source = Source::open(Path::new(dir), limits).await?;
    let open_s = begin.elapsed().as_secs_f64();
    let units = join(&source).await?;
    let join_s = begin.elapsed().as_secs_f64() - open_s;
    let cells = summary(&units);
    let line = serde_json::json!({
        "open_s": open_s, "join_s": join_s, "total_s": begin.elapsed().as_secs_f64(), "cells": cells,
    });
    writeln!(std::io::stdout(), "{line}").map_err(Error::file("stdout"))
}
