//! Workloads: what is handed over when, and when it is wanted out. The same file drives every arm.
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

use std::fmt;

use model::kind::{Kind, Side};
use model::time::Nanos;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::plan::below;

/// The first line.
const HEADER: &str = "wirepace-schedule 1";
/// Longest message: what one write hands over.
const BYTES_MAX: u32 = 65_000;
/// Bytes that carry the sequence number: a datagram has them at least.
const BYTES_MIN: u32 = 8;
/// Bytes of an order.
const ORDER_BYTES: u32 = 214;
const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;

/// Messages are handed over for so long at a stretch, and then there is a [`REST`]: the threads of a block that go
/// before everything else must leave the others more than a twentieth of their CPUs, or the kernel sees to it.
const STRETCH: Nanos = Nanos::from_millis(700);
/// Whole periods of every workload, and less than the shortest time after which TCP starts a stream anew.
pub const REST: Nanos = Nanos::from_millis(100);

/// When that comes which without rests would come at `at`.
pub const fn with_rests(at: Nanos) -> Nanos {
    Nanos(at.0 + at.0 / STRETCH.0 * REST.0)
}

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

/// The workloads that are made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Ten orders, datagrams, are handed over every ms; one is wanted out every 100 us.
    SteadyOrders,
    /// 64 orders, datagrams, are handed over every 10 ms, to leave evenly over them.
    BurstyOrders,
    /// Small writes every 100 us, each wanted out at once.
    TcpSmallWrites,
    /// Steady orders beside a flow of large writes.
    TcpBulkAndOrders,
    /// Steady orders in a stream whose acknowledgements reach the strategy in bunches.
    AckCompressed,
    /// Market data in bursts from the venue; a sender answers some of what is delivered.
    MarketDataFanIn,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SteadyOrders,
        Self::BurstyOrders,
        Self::TcpSmallWrites,
        Self::TcpBulkAndOrders,
        Self::AckCompressed,
        Self::MarketDataFanIn,
    ];

    /// The name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SteadyOrders => "steady-orders",
            Self::BurstyOrders => "bursty-orders",
            Self::TcpSmallWrites => "tcp-small-writes",
            Self::TcpBulkAndOrders => "tcp-bulk+orders",
            Self::AckCompressed => "ack-compressed",
            Self::MarketDataFanIn => "market-data-fan-in",
        }
    }

    /// How long the strategy host keeps what it receives, to take it in bunches; `None`: not at all.
    pub const fn receive_hold(self) -> Option<Nanos> {
        match self {
            Self::AckCompressed => Some(Nanos::from_millis(1)),
            _ => None,
        }
    }

    /// Its orders travel in streams.
    pub fn is_tcp(self) -> bool {
        self.orders_travel_by() == Transport::Tcp
    }

    /// How its orders travel.
    const fn orders_travel_by(self) -> Transport {
        match self {
            Self::SteadyOrders | Self::BurstyOrders | Self::MarketDataFanIn => Transport::Udp,
            Self::TcpSmallWrites | Self::TcpBulkAndOrders | Self::AckCompressed => Transport::Tcp,
        }
    }

    /// Its messages for a block of `length`. Only market data is drawn: the others are the same from every
    /// seed.
    pub fn schedule(self, seed: u64, length: Nanos) -> Schedule {
        let order = |handed, due| Message {
            handed: Nanos(handed),
            due: Nanos(due),
            from: Side::Inside,
            transport: self.orders_travel_by(),
            flow: 0,
            bytes: ORDER_BYTES,
            kind: Kind::Order,
            after: None,
        };
        let every = |period: u64| (0..length.0.div_ceil(period)).map(move |n| n * period);
        // So many at `at`, wanted out over `period`.
        let batch = |at: u64, count: u64, period: u64| {
            (0..count).map(move |n| order(at, at + n * period / count))
        };
        let messages = match self {
            Self::SteadyOrders | Self::AckCompressed => {
                every(MILLI).flat_map(|at| batch(at, 10, MILLI)).collect()
            }
            Self::BurstyOrders => {
                every(10 * MILLI).flat_map(|at| batch(at, 64, 10 * MILLI)).collect()
            }
            Self::TcpSmallWrites => every(100 * MICRO).map(|at| order(at, at)).collect(),
            Self::TcpBulkAndOrders => {
                let bulk =
                    |at| Message { flow: 1, bytes: 16_384, kind: Kind::Other, ..order(at, at) };
                let orders = every(MILLI).flat_map(|at| batch(at, 10, MILLI));
                let mut all: Vec<_> = orders.chain(every(2 * MILLI).map(bulk)).collect();
                all.sort_by_key(|message| message.handed);
                all
            }
            Self::MarketDataFanIn => market_data(seed, length, order),
        };
        Schedule { workload: self.name().to_owned(), seed, messages }
    }
}

/// Bursts of 1 to 16 ticks 2 us apart, 100 us to 2 ms from burst to burst; every fourth tick is answered
/// 10 to 30 us after its delivery.
fn market_data(seed: u64, length: Nanos, order: impl Fn(u64, u64) -> Message) -> Vec<Message> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (mut messages, mut at, mut ticks) = (Vec::new(), 0, 0_u32);
    while at < length.0 {
        for n in 0..=below(&mut random, 16) {
            let number = messages.len() as u32;
            let tick = at + 2 * MICRO * n;
            messages.push(Message {
                from: Side::Venue,
                transport: Transport::Udp,
                bytes: 64 + below(&mut random, 200) as u32,
                kind: Kind::MarketData,
                ..order(tick, tick)
            });
            ticks += 1;
            if ticks % 4 == 0 {
                let think = 10 * MICRO + below(&mut random, 20 * MICRO);
                messages.push(Message { after: Some(number), ..order(think, think) });
            }
        }
        at += 100 * MICRO + below(&mut random, 1_900 * MICRO);
    }
    messages
}

impl Schedule {
    /// The same with rests. Reactions count from what they answer, and that comes later.
    #[must_use]
    pub fn with_rests(mut self) -> Self {
        for message in self.messages.iter_mut().filter(|message| message.after.is_none()) {
            let handed = with_rests(message.handed);
            message.due = handed.saturating_add(message.due.saturating_sub(message.handed));
            message.handed = handed;
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
    if message.due < message.handed {
        return Err(fault(line, "due before it is handed over".to_owned()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn orders_are_handed_over_in_batches_and_wanted_out_evenly() {
        let steady = Workload::SteadyOrders.schedule(1, LENGTH).messages;
        assert_eq!(steady.len(), 1_000);
        for (n, message) in steady.iter().enumerate() {
            assert_eq!(message.handed.0, n as u64 / 10 * MILLI);
            assert_eq!(message.due.0, n as u64 * 100 * MICRO);
        }
        let bursty = Workload::BurstyOrders.schedule(1, LENGTH).messages;
        assert_eq!(bursty.len(), 640);
        assert_eq!((bursty[63].handed.0, bursty[63].due.0), (0, 9_843_750));
        assert_eq!((bursty[64].handed.0, bursty[64].due.0), (10 * MILLI, 10 * MILLI));
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
        let last = |schedule: &Schedule| schedule.messages.last().map(|m| m.handed.0 / MILLI);
        assert_eq!((last(&plain), last(&rested)), (Some(1_490), Some(1_690)));
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
    fn a_reaction_answers_a_tick_and_seeds_differ() {
        let drawn = |seed| Workload::MarketDataFanIn.schedule(seed, LENGTH).messages;
        let messages = drawn(1);
        assert_eq!(messages, drawn(1));
        assert_ne!(messages, drawn(2));
        let reactions: Vec<_> = messages.iter().filter_map(|message| message.after).collect();
        let ticks = messages.iter().filter(|message| message.from == Side::Venue).count();
        assert_eq!(reactions.len(), ticks / 4);
        assert!(reactions.iter().all(|of| messages[*of as usize].kind == Kind::MarketData));
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
