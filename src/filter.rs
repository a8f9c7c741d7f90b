//! Filters of captures in the words of tcpdump, compiled by libpcap. The gateway is sent the program, so that
//! no text from outside is parsed in it.

use std::fmt;

use pcap::{BpfProgram, Capture, Dead, Linktype};

/// What may follow the beginning of a filter that is right so far.
const ENDINGS: [&str; 14] = [
    "",
    "1",
    "ip",
    "host 10.0.0.1",
    "port 1",
    "10.0.0.1",
    "10.0.0.0/8",
    "= 1",
    "] = 1",
    "1] = 1",
    "0:1] = 1",
    "+ 1 = 1",
    "02:00:00:00:00:01",
    "1-2",
];
/// More parentheses are not closed on trial.
const OPEN_MAX: usize = 8;

/// A filter that cannot be compiled.
#[derive(Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    /// Where it stops to be the beginning of a filter, in characters.
    at: usize,
    /// What libpcap says.
    why: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.at + 1;
        write!(f, "filter: column {column}: {}\n  {}\n  {:>column$}", self.why, self.text, "^")
    }
}

impl std::error::Error for FilterError {}

/// The program of a filter for Ethernet.
///
/// # Errors
/// It is none; the error shows where.
pub fn compile(text: &str) -> Result<Vec<(u16, u8, u8, u32)>, FilterError> {
    let failed = |at: usize, why: &dyn fmt::Display| FilterError {
        text: text.to_owned(),
        at,
        why: why.to_string(),
    };
    if text.contains('\0') {
        return Err(failed(0, &"a byte 0 is no part of a filter"));
    }
    let dead = Capture::dead(Linktype::ETHERNET).map_err(|e| failed(0, &e))?;
    let program = dead.compile(text, true).map_err(|e| failed(where_it_fails(&dead, text), &e))?;
    instructions(&program).ok_or_else(|| failed(0, &"libpcap wrote a program that cannot be read"))
}

/// The crate shows its instructions as four numbers.
fn instructions(program: &BpfProgram) -> Option<Vec<(u16, u8, u8, u32)>> {
    let read = |line: String| {
        let mut numbers = line.split(' ');
        let mut next = || numbers.next();
        Some((
            next()?.parse().ok()?,
            next()?.parse().ok()?,
            next()?.parse().ok()?,
            next()?.parse().ok()?,
        ))
    };
    program.get_instructions().iter().map(|instruction| read(instruction.to_string())).collect()
}

/// libpcap does not say where it stopped: at the first word with which no ending makes a filter any more.
fn where_it_fails(dead: &Capture<Dead>, text: &str) -> usize {
    let mut words: Vec<(usize, usize)> = Vec::new();
    let kind = |c: char| match c {
        ' ' | '\t' | '\n' => 0,
        '(' | ')' | '[' | ']' | '=' | '<' | '>' | '!' | '&' | '|' => 1,
        _ => 2,
    };
    let mut before = 0;
    for (at, c) in text.char_indices() {
        let now = kind(c);
        match words.last_mut() {
            Some((_, end)) if now == 2 && before == 2 => *end = at + c.len_utf8(),
            _ if now > 0 => words.push((at, at + c.len_utf8())),
            _ => {}
        }
        before = now;
    }
    let first_wrong = words.iter().find(|(_, end)| !is_beginning(dead, &text[..*end]));
    let at = first_wrong.map_or(text.len(), |(start, _)| *start);
    text[..at].chars().count()
}

fn is_beginning(dead: &Capture<Dead>, text: &str) -> bool {
    let open = text.matches('(').count().saturating_sub(text.matches(')').count());
    let closing = ")".repeat(open.min(OPEN_MAX));
    ENDINGS.iter().any(|ending| dead.compile(&format!("{text} {ending}{closing}"), false).is_ok())
}

#[cfg(test)]
mod tests {
    use dataplane::bpf::{Instruction, Program};
    use model::time::Nanos;
    use rig::generate::{Kind, Parameters, generate};

    use super::*;

    #[test]
    fn an_error_shows_where_the_filter_stops_to_be_one() {
        for (text, at) in [
            ("udp port 70000", 9),
            ("udp prt 7000", 4),
            ("(tcp or udp", 11),
            ("tcp and and udp", 8),
            ("port 7000)", 9),
            ("tcp[13 = 2", 7),
        ] {
            let error = compile(text).unwrap_err();
            assert_eq!(error.at, at, "{error}");
            let shown = error.to_string();
            let caret = shown.lines().last().unwrap();
            assert_eq!(caret.len(), at + 3, "{shown}");
        }
    }

    /// What libpcap itself says of frames is what the core's program says.
    #[test]
    fn the_core_takes_what_libpcap_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.pcap");
        let parameters = Parameters::new(1, Nanos::from_millis(50));
        generate(Kind::Mixed, &parameters, &path).unwrap();
        let mut frames = Vec::new();
        let mut reader = rig::capture::CaptureReader::open(&path).unwrap();
        while let Some(record) = reader.next().unwrap() {
            frames.push(record.data.to_vec());
        }
        assert!(frames.len() > 100);
        let (mut taken, mut left) = (0, 0);
        for text in [
            "",
            "udp",
            "tcp",
            "ip6",
            "vlan",
            "udp dst port 7000",
            "portrange 7000-7010",
            "tcp[tcpflags] & tcp-push != 0",
            "host 10.1.0.2 or net 10.9.0.0/16",
            "not (udp and greater 100)",
            "ether[0] & 1 = 0 and len < 90",
            "ip[8] > 10 and ip[0] & 0xf = 5 and (udp[4:2] - 8) * 2 % 3 = 1",
        ] {
            let code = compile(text).unwrap();
            let code: Vec<_> = code.iter().map(|i| Instruction(i.0, i.1, i.2, i.3)).collect();
            let program = Program::new(&code).unwrap();
            let dead = Capture::dead(Linktype::ETHERNET).unwrap();
            let oracle = dead.compile(text, true).unwrap();
            for frame in &frames {
                for end in [frame.len(), frame.len().min(40), frame.len().min(13)] {
                    let frame = &frame[..end];
                    let wanted = oracle.filter(frame);
                    assert_eq!(
                        program.takes(frame, frame.len() as u32),
                        wanted,
                        "{text}: {frame:02x?}"
                    );
                    if wanted { taken += 1 } else { left += 1 }
                }
            }
        }
        assert!(taken > 1_000 && left > 1_000, "{taken} {left}");
    }
}
