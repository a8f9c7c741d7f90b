//! Reads a config file and says what is wrong with it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use model::config::live::Sourced;
use model::config::{Config, ConfigError, text_of, underlined};
use serde_json::{Value, json};

/// Largest config file: what is longer is no config, and may have no end at all.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why there is no config.
pub enum Unusable {
    /// The file cannot be read.
    File {
        /// Its path.
        file: String,
        /// Why.
        problem: String,
    },
    /// What is in it is wrong.
    Content {
        /// Everything that is.
        errors: Vec<ConfigError>,
        /// The text that they are about.
        text: String,
    },
}

impl Unusable {
    /// Says so on stderr, and keeps it for who wants JSON.
    pub fn print(&self) {
        match self {
            Self::File { file, problem } => say!("wirepace: {file}: {problem}"),
            Self::Content { errors, text } => say!("{}", underlined(errors, text)),
        }
        crate::output::keep_refusal(self.to_json());
    }

    /// All of it in one line.
    fn in_a_line(&self) -> String {
        match self {
            Self::File { file, problem } => format!("{file}: {problem}"),
            Self::Content { errors, .. } => {
                errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
            }
        }
    }

    /// `{"error", "errors": [{"file", "line", "column", "message", "allowed"}]}`; what is not about a place has
    /// none.
    fn to_json(&self) -> Value {
        let row = |file: &str,
                   place: Option<(usize, usize)>,
                   message: &str,
                   allowed: Option<&str>| {
            let (line, column) = (place.map(|place| place.0), place.map(|place| place.1));
            json!({
                "file": file, "line": line, "column": column, "message": message, "allowed": allowed,
            })
        };
        let errors: Vec<Value> = match self {
            Self::File { file, problem } => vec![row(file, None, problem, None)],
            Self::Content { errors, .. } => errors
                .iter()
                .map(|e| row(&e.file, Some((e.line, e.column)), &e.problem, Some(&e.allowed)))
                .collect(),
        };
        json!({ "error": self.in_a_line(), "errors": errors })
    }
}

/// The checked config.
///
/// # Errors
/// The exit code, after everything that is wrong was printed on stderr.
pub fn load(path: &Path) -> Result<Config, u8> {
    read(path).map_err(|unusable| {
        unusable.print();
        crate::EXIT_USAGE
    })
}

/// The checked config.
///
/// # Errors
/// Everything that is wrong.
pub fn read(path: &Path) -> Result<Config, Unusable> {
    source(path).map(|source| source.config)
}

/// The checked config with the text that it came from.
///
/// # Errors
/// Everything that is wrong.
pub fn source(path: &Path) -> Result<Sourced, Unusable> {
    let text = text(path)?;
    Sourced::read(&path.display().to_string(), &text)
        .map_err(|errors| Unusable::Content { errors, text })
}

/// What is in the file, where it is text.
///
/// # Errors
/// It cannot be read, is too long, or no text.
pub fn text(path: &Path) -> Result<String, Unusable> {
    let file = path.display().to_string();
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(Unusable::File { file, problem: error.to_string() }),
    };
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        let problem = format!("a config has at most {} KiB", CONFIG_BYTES_MAX >> 10);
        return Err(Unusable::File { file, problem });
    }
    text_of(&file, &bytes).map(str::to_owned).map_err(|error| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Unusable::Content { errors: vec![error], text }
    })
}

/// One byte more than what is allowed tells a file that is too long.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
