//! What a command prints on stdout, and what became of it.
//!
//! Print with `out!`; [`finish`] at the end of `main` makes a failure of it that a line could not be
//! written. A reader that has gone away (`| head`) is none.
//!
//! Where JSON is wanted ([`want_json`]) the last thing on stdout is one object, and a command that fails before it
//! has printed its own prints `{"error": ..., "exit_code": ...}`.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// The first line that could not be written.
static FAILURE: OnceLock<std::io::Error> = OnceLock::new();
/// JSON was asked for.
static JSON_WANTED: AtomicBool = AtomicBool::new(false);
/// The object was printed.
static OBJECT_PRINTED: AtomicBool = AtomicBool::new(false);
/// Why the command fails: the first reason that was given.
static REFUSAL: OnceLock<Value> = OnceLock::new();

/// Prints a line on stdout.
macro_rules! out {
    ($($line:tt)*) => {
        $crate::output::line(format_args!($($line)*))
    };
}

/// Prints a line on stderr. Nobody is told when that fails: there is no other place.
macro_rules! say {
    ($($line:tt)*) => {
        $crate::output::say(format_args!($($line)*))
    };
}

/// See `say!`.
pub fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line; nothing more after one that could not be written.
pub fn line(line: std::fmt::Arguments<'_>) {
    if is_gone() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        // Only the first is kept; this is it.
        let _ = FAILURE.set(error);
    }
}

/// Whether nobody takes lines any more.
pub fn is_gone() -> bool {
    FAILURE.get().is_some()
}

/// From now on a failure is an object on stdout too.
pub fn want_json() {
    JSON_WANTED.store(true, Ordering::Relaxed);
}

/// Keeps why the command fails: an object with `error`, for people and in one line, and what else there is to it.
pub fn keep_refusal(why: Value) {
    // Only the first is kept: what follows from it says less.
    let _ = REFUSAL.set(why);
}

/// Prints a JSON object as the last thing on stdout.
pub fn object(value: &Value) {
    OBJECT_PRINTED.store(true, Ordering::Relaxed);
    out!("{value:#}");
}

/// The exit code of the process: `code`, or that of a failure where a line could not be written and nothing else
/// was wrong. Prints the object of a failure, where it is wanted and the command has printed none.
pub fn finish(code: u8) -> u8 {
    if let Some(refusal) = REFUSAL.get()
        && JSON_WANTED.load(Ordering::Relaxed)
        && !OBJECT_PRINTED.load(Ordering::Relaxed)
    {
        let mut refusal = refusal.clone();
        refusal["exit_code"] = json!(code);
        object(&refusal);
    }
    match FAILURE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            code.max(crate::failed(format_args!("cannot write to stdout: {error}")))
        }
        _ => code,
    }
}
