//! What the hosts do in a block: hands over the messages of a schedule, each at its time, and keeps a log.
//!
//! One thread does it all, on a CPU of its own, and spins until the next message is due: a sender that
//! sleeps would be as late as its timer. Market data of the venue comes from the same thread, and so do the
//! strategy's reactions to what it receives. Those go first, also between the ticks of a burst: the venue would
//! be another machine, and what it still has to send would keep no strategy from deciding.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use model::kind::Side;
use model::time::Nanos;

use super::clock::now;
use super::fault::{Fault, Faulty};
use super::result::Lateness;
use super::schedule::{REST, Schedule};
use super::sockets::Sockets;

/// Where nothing is due for the rest of a schedule, what was handed over before has so long to pass.
const REST_AFTER: Nanos = Nanos::from_millis(30);
/// So long before the next message a rest is over.
const REST_UNTIL: Nanos = Nanos::from_millis(5);

/// When a message is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// As the schedule says: somebody below paces.
    Early,
    /// When it is due: the strategy paces by itself.
    AtDue,
}

/// What was done, by the number of the message. Times are wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The block began.
    pub began: Nanos,
    /// User time in front of the call that handed it over; `None`: it never was.
    pub dispatched: Vec<Option<Nanos>>,
    /// When it was to be handed over.
    pub wanted: Vec<Option<Nanos>>,
    /// When the strategy had it, of messages from the venue.
    pub delivered: Vec<Option<Nanos>>,
    /// TCP: how many bytes of its flow had been handed over with it.
    pub ends: Vec<Option<u64>>,
    /// Calls that failed.
    pub errors: u64,
}

impl Log {
    fn new(began: Nanos, messages: usize) -> Self {
        Self {
            began,
            dispatched: vec![None; messages],
            wanted: vec![None; messages],
            delivered: vec![None; messages],
            ends: vec![None; messages],
            errors: 0,
        }
    }

    /// How late the hand-overs were; `None`: there was none. Of messages that are handed over at one time
    /// the first counts: what the others wait for is the call that takes those before them, which is part
    /// of the path under test.
    pub fn lateness(&self) -> Option<Lateness> {
        let done = self.dispatched.iter().zip(&self.wanted);
        let mut done: Vec<_> = done.filter_map(|(done, wanted)| (*wanted).zip(*done)).collect();
        done.sort_unstable();
        done.dedup_by_key(|(wanted, _)| *wanted);
        let late = done.iter().map(|(wanted, done)| done.saturating_sub(*wanted).0);
        let mut late: Vec<u64> = late.collect();
        late.sort_unstable();
        let last = late.len().checked_sub(1)?;
        let at = |q: f64| late[((late.len() as f64 * q) as usize).min(last)];
        Some(Lateness {
            n: late.len() as u64,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            max_ns: late[last],
        })
    }
}

/// What is done in a block.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The messages.
    pub schedule: &'a Schedule,
    /// When they are handed over.
    pub hand_over: HandOver,
    /// What is wrong on purpose, below the hand-over.
    pub fault: Option<Fault>,
    /// When it begins, wall clock.
    pub begin: Nanos,
    /// How long after the last hand-over reactions and what a fault holds are waited for.
    pub tail: Nanos,
}

/// Does it. Reactions to what comes after the last message of the schedule and its tail are not made. In a
/// rest of the schedule `rest` is called, which is to come back by the time that it is given.
///
/// # Errors
/// Those of `rest`.
pub fn drive(
    script: &Script<'_>,
    sockets: &mut Sockets,
    mut rest: impl FnMut(Nanos) -> io::Result<()>,
) -> io::Result<Log> {
    let messages = &script.schedule.messages;
    let mut log = Log::new(script.begin, messages.len());
    let mut order = first_times(script);
    order.reverse();
    let last = order.first().map_or(script.begin, |(at, _)| *at);
    let end = last.saturating_add(script.tail);
    let mut reactions = Reactions::new();
    let answers = answers(script.schedule);
    let mut faulty = Faulty::new(script.fault, script.begin, script.schedule.seed);
    let mut streams = Streams::default();
    let mut busy_at = script.begin;
    loop {
        let now = now();
        if let Some((at, number)) = next_due(&mut order, &mut reactions, now) {
            busy_at = now;
            hand_over(&mut log, &mut faulty, at, number);
        } else if now >= end && faulty.is_empty() {
            return Ok(log);
        } else if let Some((next, _)) = order.last()
            && rests(busy_at, now, *next)
            && reactions.is_empty()
            && faulty.is_empty()
        {
            rest(next.saturating_sub(REST_UNTIL))?;
            busy_at = *next;
        }
        while let Some((_, number)) = faulty.released(super::clock::now()) {
            let message = &messages[number as usize];
            let sent = sockets.send(message.from, message.flow, number, message.bytes);
            match sent {
                Ok(()) => {
                    log.ends[number as usize] = Some(streams.add(message.flow, message.bytes));
                }
                Err(_) => log.errors += 1,
            }
        }
        if let Some(number) = sockets.receive().and_then(|number| usize::try_from(number).ok())
            && let Some(delivered) = log.delivered.get_mut(number)
        {
            let at = super::clock::now();
            *delivered = Some(at);
            let answer = |number: &u32| {
                Reverse((at.saturating_add(messages[*number as usize].handed), *number))
            };
            reactions.extend(answers[number].iter().map(answer));
        }
        std::hint::spin_loop();
    }
}

/// Whether there is a rest now, between a hand-over at `busy_at` and the next one.
fn rests(busy_at: Nanos, now: Nanos, next: Nanos) -> bool {
    let is_long = next.saturating_sub(busy_at) >= Nanos(REST.0 / 2);
    is_long && now >= busy_at.saturating_add(REST_AFTER)
}

/// Reactions, by when they are due.
type Reactions = BinaryHeap<Reverse<(Nanos, u32)>>;

/// Takes out what is due by `now`: of reactions and of `order`, whose next is its last, the reaction.
fn next_due(
    order: &mut Vec<(Nanos, u32)>,
    reactions: &mut Reactions,
    now: Nanos,
) -> Option<(Nanos, u32)> {
    let is_due = |(at, _): &(Nanos, u32)| *at <= now;
    if reactions.peek().is_some_and(|Reverse(next)| is_due(next)) {
        return reactions.pop().map(|Reverse(next)| next);
    }
    order.pop_if(|next| is_due(next))
}

fn hand_over(log: &mut Log, faulty: &mut Faulty, wanted: Nanos, number: u32) {
    let at = now();
    log.wanted[number as usize] = Some(wanted);
    log.dispatched[number as usize] = Some(at);
    faulty.take(at, number);
}

/// Bytes handed over by flow.
#[derive(Default)]
struct Streams(std::collections::HashMap<u16, u64>);

impl Streams {
    fn add(&mut self, flow: u16, bytes: u32) -> u64 {
        let sum = self.0.entry(flow).or_default();
        *sum += u64::from(bytes);
        *sum
    }
}

/// When each message that is no reaction is handed over, in the order of time.
fn first_times(script: &Script<'_>) -> Vec<(Nanos, u32)> {
    let time = |(number, message): (u32, &super::schedule::Message)| {
        let paces = script.hand_over == HandOver::AtDue && message.from == Side::Inside;
        let after = if paces { message.due } else { message.handed };
        message.after.is_none().then_some((script.begin.saturating_add(after), number))
    };
    let mut times: Vec<_> = (0..).zip(&script.schedule.messages).filter_map(time).collect();
    times.sort_unstable();
    times
}

/// By message, those that answer it.
fn answers(schedule: &Schedule) -> Vec<Vec<u32>> {
    let mut answers = vec![Vec::new(); schedule.messages.len()];
    for (number, message) in (0..).zip(&schedule.messages) {
        if let Some(of) = message.after {
            answers[of as usize].push(number);
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::workload::Workload;

    #[test]
    fn a_strategy_that_paces_hands_over_when_messages_are_due() {
        let schedule = Workload::SteadyOrders.schedule(1, Nanos::from_millis(2));
        let times = |hand_over| {
            let begin = Nanos(1_000);
            let script =
                Script { schedule: &schedule, hand_over, fault: None, begin, tail: Nanos::ZERO };
            first_times(&script)
        };
        let early = times(HandOver::Early);
        assert_eq!(
            (early[0], early[9], early[10]),
            ((Nanos(1_000), 0), (Nanos(1_000), 9), (Nanos(1_001_000), 10))
        );
        let paced = times(HandOver::AtDue);
        assert_eq!((paced[9], paced[10]), ((Nanos(901_000), 9), (Nanos(1_001_000), 10)));
    }

    /// Messages every ms: no rest. 100 ms without one: from 30 ms on.
    #[test]
    fn a_rest_begins_when_what_was_handed_over_has_passed() {
        let at = Nanos::from_millis;
        assert!(!rests(at(10), at(11), at(12)));
        assert!(!rests(at(10), at(39), at(110)));
        assert!(rests(at(10), at(40), at(110)));
        assert!(!rests(at(10), at(50), at(59)), "too short to be one");
    }

    #[test]
    fn lateness_is_of_what_was_handed_over() {
        let mut log = Log::new(Nanos::ZERO, 4);
        assert_eq!(log.lateness(), None);
        let at = |ns: u64| Some(Nanos(ns));
        log.wanted = vec![at(100), at(200), at(200), None];
        log.dispatched = vec![at(107), at(203), at(260), None];
        let late = log.lateness().expect("two times, the second of two messages");
        assert_eq!((late.n, late.p50_ns, late.max_ns), (2, 7, 7));
    }

    /// A burst of three ticks at 100, and an answer to the first that is due at 130.
    #[test]
    fn a_reaction_that_is_due_goes_before_the_rest_of_a_burst() {
        let mut order = vec![(Nanos(900), 4), (Nanos(100), 2), (Nanos(100), 1), (Nanos(100), 0)];
        let mut reactions = Reactions::new();
        let mut due = |now, answers: Option<(Nanos, u32)>| {
            reactions.extend(answers.map(Reverse));
            next_due(&mut order, &mut reactions, Nanos(now))
        };
        assert_eq!(due(99, None), None);
        assert_eq!(due(100, None), Some((Nanos(100), 0)));
        assert_eq!(due(120, Some((Nanos(130), 3))), Some((Nanos(100), 1)));
        assert_eq!(due(140, None), Some((Nanos(130), 3)));
        assert_eq!(due(140, None), Some((Nanos(100), 2)));
        assert_eq!(due(140, None), None);
    }

    #[test]
    fn every_reaction_answers_its_message() {
        let schedule = Workload::MarketDataFanIn.schedule(3, Nanos::from_millis(50));
        let answers = answers(&schedule);
        let reactions = schedule.messages.iter().filter(|m| m.after.is_some()).count();
        assert_eq!(answers.iter().map(Vec::len).sum::<usize>(), reactions);
        for (of, answers) in answers.iter().enumerate() {
            assert!(
                answers.iter().all(|n| schedule.messages[*n as usize].after == Some(of as u32))
            );
        }
    }
}
