//! What a command prints on stdout, and what became of it.
//!
//! Print with `out!`; [`exit_code`] at the end of `main` makes a failure of it that a line could not be
//! written. A reader that has gone away (`| head`) is none.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// The first line that could not be written.
static FAILURE: OnceLock<std::io::Error> = OnceLock::new();

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

/// `code`, or a failure where a line could not be written and nothing else was wrong.
pub fn exit_code(code: u8) -> u8 {
    match FAILURE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            code.max(crate::failed(format_args!("cannot write to stdout: {error}")))
        }
        _ => code,
    }
}
