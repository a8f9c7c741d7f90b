//! What is wrong with a config, and where.
//!
//! [`ConfigError`] prints as `file:line:column: problem; allowed: ...`; [`underlined`] adds the line
//! of the file with a mark below the place, for a terminal.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;

/// One error of a config file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}; allowed: {allowed}")]
pub struct ConfigError {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line, 1 is the first.
    pub line: usize,
    /// Column in characters, 1 is the first.
    pub column: usize,
    /// Characters of the line that it is about, at least 1.
    pub width: usize,
    /// What was found.
    pub problem: String,
    /// What is allowed.
    pub allowed: String,
}

/// The errors as text, each followed by its line of `text` and a mark below the place.
pub fn underlined(errors: &[ConfigError], text: &str) -> String {
    let mut out = String::new();
    for error in errors {
        let line = text.lines().nth(error.line - 1).unwrap_or("");
        let number = error.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the mark stands below its place whatever their width.
        let indent: String = line
            .chars()
            .take(error.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let mark = "^".repeat(error.width);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{error}\n{gutter} |\n{number} | {line}\n{gutter} | {indent}{mark}");
    }
    out
}

/// The text in `bytes` of `file`.
///
/// # Errors
/// Where it ceases to be UTF-8.
pub fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) = line_and_column(&valid, valid.len());
        let byte = bytes[error.valid_up_to()];
        ConfigError {
            file: file.to_owned(),
            line,
            column,
            width: 1,
            problem: format!("the byte 0x{byte:02x} is not UTF-8 here"),
            allowed: "text in UTF-8".to_owned(),
        }
    })
}

/// A place in the text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub start: usize,
    pub end: usize,
}

impl From<Range<usize>> for At {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

#[derive(Debug)]
struct Finding {
    at: At,
    problem: String,
    allowed: String,
}

/// Everything found so far. Rules write into it and go on, so that one run names every error.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<(Option<At>, String)>>,
}

impl Findings {
    pub fn error(&self, at: At, problem: impl Into<String>, allowed: impl Into<String>) {
        let finding = Finding { at, problem: problem.into(), allowed: allowed.into() };
        self.errors.borrow_mut().push(finding);
    }

    pub fn warn(&self, at: impl Into<Option<At>>, text: impl Into<String>) {
        self.warnings.borrow_mut().push((at.into(), text.into()));
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// The errors in the order of the file.
    pub fn into_errors(self, file: &str, text: &str) -> Vec<ConfigError> {
        let mut found = self.errors.into_inner();
        found.sort_by_key(|finding| finding.at);
        let mut errors: Vec<ConfigError> = found
            .into_iter()
            .map(|Finding { at, problem, allowed }| {
                let (line, column) = line_and_column(text, at.start);
                let width = width(text, at);
                ConfigError { file: file.to_owned(), line, column, width, problem, allowed }
            })
            .collect();
        errors.dedup();
        errors
    }

    /// The warnings in the order in which the rules found them.
    pub fn into_warnings(self, file: &str, text: &str) -> Vec<String> {
        let place = |at: At| {
            let (line, column) = line_and_column(text, at.start);
            format!("{file}:{line}:{column}: ")
        };
        self.warnings
            .into_inner()
            .into_iter()
            .map(|(at, warning)| at.map_or(String::new(), place) + &warning)
            .collect()
    }
}

/// The nearest start of a character at or below `byte`.
fn boundary(text: &str, byte: usize) -> usize {
    let mut at = byte.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..boundary(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Characters of `at` that stand on its first line, at least 1.
fn width(text: &str, at: At) -> usize {
    let (start, end) = (boundary(text, at.start), boundary(text, at.end));
    let within = text.get(start..end).unwrap_or("");
    within.lines().next().map_or(0, |line| line.chars().count()).max(1)
}
