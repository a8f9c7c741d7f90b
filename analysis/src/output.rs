//! What a command prints, and what became of it. A reader that has gone away (`| head`) is no failure.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// The first line that could not be written.
static FAILURE: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line on stderr. Nobody is told when that fails: there is no other place.
pub fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line on stdout; nothing more after one that could not be written.
pub fn out(line: std::fmt::Arguments<'_>) {
    if FAILURE.get().is_some() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        // Only the first is kept; this is it.
        let _ = FAILURE.set(error);
    }
}

/// `code`, or a failure where a line could not be written and nothing else was wrong.
pub fn exit_code(code: u8) -> u8 {
    match FAILURE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(format_args!("wirepace-analysis: cannot write to stdout: {error}"));
            code.max(1)
        }
        _ => code,
    }
}
