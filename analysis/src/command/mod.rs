//! The subcommands.

pub mod calibrate;
pub mod generate;
pub mod outcome;
pub mod report;
pub mod validate;

use std::path::Path;

use analysis::error::Error;
use analysis::tables::Limits;

use crate::cli::Resources;

/// Done.
pub const EXIT_DONE: u8 = 0;

/// A gate did not hold.
pub const EXIT_GATE: u8 = 3;

/// Writes a value as a JSON file.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Unreadable { path: path.into(), why: error.to_string() })?;
    std::fs::write(path, format!("{text}\n")).map_err(Error::file(path))?;
    Ok(text)
}

/// Makes a directory, and those above it.
pub fn make_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::file(path))
}

pub const fn limits(resources: Resources) -> Limits {
    Limits {
        memory_bytes: (resources.memory_mib as usize) << 20,
        threads: resources.threads as usize,
    }
}
