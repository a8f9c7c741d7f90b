//! What is handed over when, and when it is wanted out. The same file drives every arm.
//!
//! A schedule is a text. Its first line is `wirepace-schedule 1`, then `workload NAME` and `seed N`; each
//! further line is one message, its parts divided by single spaces, and lines that begin with `#` are
//! skipped:
//!
//! ```text
//! handed_ns due_ns from transport flow bytes kind after
//! 1000000 1100000 inside tcp 0 214 order -
//! ```
//!
//! Times count from the start of a block. A message's sequence number, which it carries in its payload, is
//! its place in the file, from 0. `after` is the number of a message from the venue: such a message is a
//! reaction, and its times count from the delivery of that one. Messages that are no reactions stand in the
//! order of their times.

use std::collections::HashMap;
use std::fmt;

use model::kind::{Kind, Side};
use model::time::Nanos;

use super::contract::ORDER_FLOW;

/// The first line.
pub(super) const HEADER: &str = "wirepace-schedule 1";
/// Longest message: what one write hands over.
pub const BYTES_MAX: u32 = 65_000;
/// Longest datagram: what one frame carries.
pub const DATAGRAM_MAX: u32 = 1_472;
/// Bytes that carry the sequence number: a datagram has them at least.
pub const BYTES_MIN: u32 = 8;
/// Most flows: each has a socket on either host.
pub const FLOWS_MAX: u16 = 256;

/// Messages are handed over for so long at a stretch, and then there is a [`REST`]: the threads of a block
/// that go before everything else must leave the others more than a twentieth of their CPUs, or the kernel
/// sees to it.
const STRETCH: Nanos = Nanos::from_millis(700);
/// Whole periods of every workload, and less than the shortest time after which TCP starts a stream anew.
pub const REST: Nanos = Nanos::from_millis(100);

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In the stream of its flow.
    Tcp,
    /// As a datagram.
    Udp,
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sender hands it over.
    pub handed: Nanos,
    /// Its sender wants it out.
    pub due: Nanos,
    /// Who sends it.
    pub from: Side,
    /// How it travels.
    pub transport: Transport,
    /// Which of the sender's flows.
    pub flow: u16,
    /// Payload bytes.
    pub bytes: u32,
    /// What it does.
    pub kind: Kind,
    /// The message whose delivery it answers.
    pub after: Option<u32>,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub workload: String,
    /// What it was drawn from.
    pub seed: u64,
    /// By sequence number.
    pub messages: Vec<Message>,
}

/// A line that is not one of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScheduleError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl Schedule {
    /// What of it is handed over before `end`, and what answers that.
    #[must_use]
    pub fn first(mut self, end: Nanos) -> Self {
        let is_over = |message: &Message| message.after.is_none() && message.handed >= end;
        let kept = self.messages.iter().position(is_over);
        self.messages.truncate(kept.unwrap_or(self.messages.len()));
        self
    }

    /// Its orders travel in a stream.
    pub fn is_tcp(&self) -> bool {
        self.orders().any(|message| message.transport == Transport::Tcp)
    }

    /// What is paced.
    pub fn orders(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|m| m.from == Side::Inside && m.flow == ORDER_FLOW)
    }

    /// When the last message is handed over that is no reaction.
    pub fn last(&self) -> Option<Nanos> {
        self.messages.iter().rev().find(|message| message.after.is_none()).map(|m| m.handed)
    }

    /// The same with rests, where it has none of its own. Reactions count from what they answer, and that
    /// comes later.
    #[must_use]
    pub fn with_rests(mut self) -> Self {
        let (mut began, mut latest, mut rests) = (Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
        for message in self.messages.iter_mut().filter(|message| message.after.is_none()) {
            if message.handed.saturating_sub(latest) >= REST {
                began = message.handed;
            } else if message.handed.saturating_sub(began) >= STRETCH {
                began = message.handed;
                rests = rests.saturating_add(REST);
            }
            latest = message.handed;
            message.handed = message.handed.saturating_add(rests);
            message.due = message.due.saturating_add(rests);
        }
        self
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nworkload {}\nseed {}", self.workload, self.seed)?;
        writeln!(f, "# handed_ns due_ns from transport flow bytes kind after")?;
        for m in &self.messages {
            let after = m.after.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let (from, transport, kind) = (m.from.name(), m.transport.name(), m.kind.name());
            let (handed, due, flow, bytes) = (m.handed.0, m.due.0, m.flow, m.bytes);
            writeln!(f, "{handed} {due} {from} {transport} {flow} {bytes} {kind} {after}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
        let mut named = |key: &str| {
            let (line, text) = lines.next().unwrap_or((1, ""));
            let wrong = || fault(line, format!("{text:?} is not {key:?}"));
            text.strip_prefix(key).map(|rest| (line, rest)).ok_or_else(wrong)
        };
        let (line, rest) = named(HEADER)?;
        if !rest.is_empty() {
            return Err(fault(line, format!("a schedule of another kind: {rest:?}")));
        }
        let (line, workload) = named("workload ")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        if workload.is_empty() || !workload.chars().all(plain) {
            return Err(fault(line, format!("{workload:?} is not the name of a workload")));
        }
        let (line, seed) = named("seed ")?;
        let seed = number(line, "seed", seed)?;
        let mut messages: Vec<Message> = Vec::new();
        let mut latest = Nanos::ZERO;
        let mut transports = HashMap::new();
        for (line, text) in lines {
            let message = message(line, text)?;
            match message.after {
                Some(of) => {
                    let told = messages.get(of as usize).is_some_and(|m| m.from == Side::Venue);
                    if !told || message.from == Side::Venue {
                        let problem = format!("{of} is no earlier message of the other side");
                        return Err(fault(line, problem));
                    }
                }
                None if message.handed < latest => {
                    return Err(fault(line, "handed over before the line above".to_owned()));
                }
                None => latest = message.handed,
            }
            if message.from == Side::Inside {
                let of_flow = transports.entry(message.flow).or_insert(message.transport);
                if *of_flow != message.transport {
                    return Err(fault(
                        line,
                        format!("flow {} is of another transport", message.flow),
                    ));
                }
            }
            messages.push(message);
        }
        Ok(Self { workload: workload.to_owned(), seed, messages })
    }
}

fn fault(line: usize, problem: String) -> ScheduleError {
    ScheduleError { line, problem }
}

fn number<T: std::str::FromStr>(line: usize, what: &str, text: &str) -> Result<T, ScheduleError> {
    text.parse().map_err(|_| fault(line, format!("{what}: {text:?} is not a number in range")))
}

fn one_of<T: Copy>(
    line: usize,
    what: &str,
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, ScheduleError> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| fault(line, format!("{what}: {text:?} is not known")))
}

fn message(line: usize, text: &str) -> Result<Message, ScheduleError> {
    let words: Vec<&str> = text.split(' ').collect();
    let [handed, due, from, transport, flow, bytes, kind, after] = words[..] else {
        return Err(fault(line, format!("{} parts, 8 are needed", words.len())));
    };
    let message = Message {
        handed: Nanos(number(line, "handed_ns", handed)?),
        due: Nanos(number(line, "due_ns", due)?),
        from: one_of(line, "from", from, &[Side::Inside, Side::Venue], Side::name)?,
        transport: one_of(
            line,
            "transport",
            transport,
            &[Transport::Tcp, Transport::Udp],
            Transport::name,
        )?,
        flow: number(line, "flow", flow)?,
        bytes: number(line, "bytes", bytes)?,
        kind: one_of(line, "kind", kind, &Kind::ALL, Kind::name)?,
        after: if after == "-" { None } else { Some(number(line, "after", after)?) },
    };
    if !(BYTES_MIN..=BYTES_MAX).contains(&message.bytes) {
        return Err(fault(line, format!("{bytes} bytes: {BYTES_MIN} to {BYTES_MAX} are allowed")));
    }
    if message.transport == Transport::Udp && message.bytes > DATAGRAM_MAX {
        return Err(fault(line, format!("{bytes} bytes: a datagram has {DATAGRAM_MAX} at most")));
    }
    if message.flow >= FLOWS_MAX {
        return Err(fault(line, format!("flow {flow}: there are {FLOWS_MAX} at most")));
    }
    if message.from == Side::Venue && message.transport == Transport::Tcp {
        return Err(fault(line, "the venue sends datagrams only".to_owned()));
    }
    if message.due < message.handed {
        return Err(fault(line, "due before it is handed over".to_owned()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::workload::Workload;
    use proptest::prelude::*;

    const MILLI: u64 = 1_000_000;

    const LENGTH: Nanos = Nanos::from_millis(100);

    #[test]
    fn what_is_written_is_read() {
        for workload in Workload::ALL {
            let schedule = workload.schedule(7, LENGTH);
            assert!(!schedule.messages.is_empty());
            let read: Schedule = schedule.to_string().parse().expect("its own text");
            assert_eq!(read, schedule, "{}", workload.name());
        }
    }

    #[test]
    fn a_long_block_rests_and_keeps_its_periods() {
        let length = Nanos::from_millis(1_500);
        let plain = Workload::BurstyOrders.schedule(1, length);
        let rested = plain.clone().with_rests();
        assert_eq!(rested.messages.len(), plain.messages.len());
        for (rested, plain) in rested.messages.iter().zip(&plain.messages) {
            let rests = plain.handed.0 / (700 * MILLI);
            assert_eq!(rested.handed.0, plain.handed.0 + rests * 100 * MILLI);
            assert_eq!(rested.due.0 - rested.handed.0, plain.due.0 - plain.handed.0);
        }
        let last = |schedule: &Schedule| schedule.last().map(|at| at.0 / MILLI);
        assert_eq!((last(&plain), last(&rested)), (Some(1_490), Some(1_690)));
        assert_eq!(rested.clone().with_rests(), rested, "it has rests");
        let short = Workload::MarketDataFanIn.schedule(1, STRETCH);
        assert_eq!(short.clone().with_rests(), short);
        let reacting = Workload::MarketDataFanIn.schedule(1, length);
        let rested = reacting.clone().with_rests();
        let reactions = |s: &Schedule| -> Vec<_> {
            s.messages.iter().filter(|m| m.after.is_some()).copied().collect()
        };
        assert_eq!(reactions(&rested), reactions(&reacting));
        assert_eq!(rested.to_string().parse(), Ok(rested));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let head = "wirepace-schedule 1\nworkload w\nseed 1\n";
        for (text, line) in [
            ("", 1),
            ("wirepace-schedule 2\n", 1),
            ("wirepace-schedule 1\nworkload a b\nseed 1\n", 2),
            ("wirepace-schedule 1\nworkload w\nseed -1\n", 3),
            (&format!("{head}0 0 inside tcp 0 214 order\n"), 4),
            (&format!("{head}5 4 inside tcp 0 214 order -\n"), 4),
            (&format!("{head}0 0 inside tcp 0 7 order -\n"), 4),
            (&format!("{head}0 0 outside tcp 0 214 order -\n"), 4),
            (
                &format!(
                    "{head}# a word\n9 9 inside tcp 0 214 order -\n8 8 inside tcp 0 214 order -\n"
                ),
                6,
            ),
            (&format!("{head}0 0 inside udp 0 1473 order -\n"), 4),
            (&format!("{head}0 0 inside udp 256 214 order -\n"), 4),
            (&format!("{head}0 0 venue tcp 0 214 market_data -\n"), 4),
            (&format!("{head}0 0 inside tcp 0 214 order -\n0 0 inside udp 0 214 order -\n"), 5),
            (&format!("{head}0 0 inside tcp 0 214 order 0\n"), 4),
            (&format!("{head}0 0 inside tcp 0 214 order -\n0 0 inside tcp 0 214 order 0\n"), 5),
        ] {
            let error = text.parse::<Schedule>().expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(wirepace-schedule 1\nworkload w\nseed 1\n)?([0-9]{1,21}[ \n]|inside |tcp |order |-\n){0,60}") {
            let _ = text.parse::<Schedule>();
        }
    }
}
