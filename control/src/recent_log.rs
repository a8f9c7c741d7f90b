//! The last lines that were logged, for a report: where stderr went nobody knows.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept; the oldest lines go.
const BYTES_MAX: usize = 256 << 10;

/// The last lines; a copy writes into the same.
#[derive(Clone, Default)]
pub struct RecentLog(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl RecentLog {
    /// The lines, one after the other.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<u8> = lines.lines.iter().flat_map(|line| line.iter().copied()).collect();
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// What is written at once is a line.
impl io::Write for RecentLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &line[..line.len().min(BYTES_MAX)];
        lines.bytes += kept.len();
        lines.lines.push_back(kept.into());
        while lines.bytes > BYTES_MAX {
            let Some(oldest) = lines.lines.pop_front() else { break };
            lines.bytes -= oldest.len();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_stay_and_a_copy_has_them_too() {
        let mut log = RecentLog::default();
        let copy = log.clone();
        for n in 0..100_000 {
            writeln!(log, "line {n}").unwrap();
        }
        let text = copy.text();
        assert!(text.len() <= BYTES_MAX && text.len() > BYTES_MAX - 100, "{}", text.len());
        assert!(text.ends_with("line 99999\n"));
        log.write_all(&vec![b'x'; 2 * BYTES_MAX]).unwrap();
        assert!(copy.text().len() <= BYTES_MAX);
    }
}
