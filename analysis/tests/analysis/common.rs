//! What tests of made-up worlds share.

use std::path::Path;
use std::process::Command;

use analysis::generate::{Parameters, World};
use analysis::join::{Units, join};
use analysis::kpi::Kpi;
use analysis::tables::{Limits, Source};
use serde_json::Value;

/// A world's tables, joined.
pub fn joined(world: &World) -> Units {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let limits = Limits { threads: 1, ..Limits::default() };
        let source = Source::of_world(world, limits).await.expect("tables");
        join(&source).await.expect("units")
    })
}

/// The usual world with these costs.
pub fn parameters(seed: u64, effects: &[(Kpi, f64)]) -> Parameters {
    Parameters { effects: effects.iter().copied().collect(), ..Parameters::new(seed) }
}

/// What a command has said.
pub struct Said {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

impl Said {
    /// The JSON on standard output; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_default()
    }
}

/// Runs `wirepace-analysis` in a directory.
pub fn run(args: &[&str], dir: &Path) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_wirepace-analysis"))
        .args(args)
        .current_dir(dir)
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}
