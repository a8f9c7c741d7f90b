//! Reads a config file and says what is wrong with it.

use std::path::Path;

use model::config::{Config, underlined};

/// The checked config.
///
/// # Errors
/// The exit code, after everything that is wrong was printed on stderr.
pub fn load(path: &Path) -> Result<Config, u8> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| crate::refused(format_args!("{}: {error}", path.display())))?;
    Config::from_toml(&path.display().to_string(), &text).map_err(|errors| {
        eprintln!("{}", underlined(&errors, &text));
        crate::EXIT_USAGE
    })
}
