//! The workloads that are made here: their schedules.

use model::kind::{Kind, Side};
use model::time::Nanos;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::plan::below;
use super::schedule::{Message, Schedule, Transport};

/// Bytes of an order.
const ORDER_BYTES: u32 = 214;
const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;

/// One of them.
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

/// Bursts of 1 to 16 ticks of one instant, 100 us to 2 ms from burst to burst; every fourth tick is answered
/// 10 to 30 us after its delivery. A venue hands a burst to its card as a whole. Ticks 2 us apart would be a
/// promise that no sender keeps here: a call that hands one over takes longer.
fn market_data(seed: u64, length: Nanos, order: impl Fn(u64, u64) -> Message) -> Vec<Message> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (mut messages, mut at, mut ticks) = (Vec::new(), 0, 0_u32);
    while at < length.0 {
        for _ in 0..=below(&mut random, 16) {
            let number = messages.len() as u32;
            messages.push(Message {
                from: Side::Venue,
                transport: Transport::Udp,
                bytes: 64 + below(&mut random, 200) as u32,
                kind: Kind::MarketData,
                ..order(at, at)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Nanos = Nanos::from_millis(100);

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
    fn a_reaction_answers_a_tick_and_seeds_differ() {
        let drawn = |seed| Workload::MarketDataFanIn.schedule(seed, LENGTH).messages;
        let messages = drawn(1);
        assert_eq!(messages, drawn(1));
        assert_ne!(messages, drawn(2));
        let reactions: Vec<_> = messages.iter().filter_map(|message| message.after).collect();
        assert!(reactions.iter().all(|of| messages[*of as usize].kind == Kind::MarketData));
        let ticks: Vec<_> = messages.iter().filter(|message| message.from == Side::Venue).collect();
        assert_eq!(reactions.len(), ticks.len() / 4);
        let gaps = || ticks.windows(2).map(|two| two[1].handed.0 - two[0].handed.0);
        assert!(gaps().all(|gap| gap == 0 || gap >= 100 * MICRO), "bursts of one instant");
        assert!(gaps().any(|gap| gap == 0) && gaps().any(|gap| gap > 0));
    }
}
