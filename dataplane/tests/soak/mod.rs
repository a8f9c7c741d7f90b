//! A worker between two net_rings with faults on every side, and the books of all of it.
//!
//! ```text
//! generator -> net_ring -> FaultRx -> Tap -> lane -> FaultTx -> net_ring -> sink
//! ```
//! One thread steps all of it in real time, so the run is bounded by the number of packets alone.
//! The tap numbers the packets of each flow as the gateway is given them. Whatever the faults did
//! before it, the sink must see these numbers rise within a flow: the gateway itself never reorders.
#![allow(dead_code, reason = "the example and the test use different parts")]

pub mod traffic;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dataplane::assemble::{self, TimeBase};
use dataplane::batch::Batch;
use dataplane::channel::ControlLink;
use dataplane::clock::{self, BASELINE_MIN, Calibrator};
use dataplane::pool::Pool;
use dataplane::port::Rx;
use dataplane::port::dpdk::{RxQueue, TxQueue};
use dataplane::port::faults::{FaultClock, FaultRx, FaultTx, Faults, RxFaults, TxFaults};
use dataplane::worker::{Clock, NoWords, Worker};
use model::config::Config;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kpi::{Block, Totals};
use model::time::Nanos;

use self::traffic::{BURST, FLOWS, GIVEN, Generator, MADE, Sink, field, flow_of};
use crate::common::{Bench, rings, worker_parts};

/// One frame in so many is cut short and must end as malformed.
const MALFORMED_ONE_IN: u64 = 1_000;
/// A profile is pinned and taken back after so many packets.
const SWITCH_EVERY: u64 = 50_000;
/// Time without any progress after which the run has failed.
const STUCK: Duration = Duration::from_secs(10);

/// A cap that binds (bulk, which overflows), one that makes orders wait a little, exempt cancels,
/// and quotes without any.
const REST: &str = r#"
[default_class]
inside = "quotes"
venue = "back"
[[class]]
name = "orders"
kind = "order"
messages = "2000000/s"
message_burst = 64
messages_per_segment = 1
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "bulk"
rate = "200M"
burst = "8KiB"
queue_packets = 64
on_overflow = "drop"
allow_drop = true
allow_drop_reason = "soak"
[[class]]
name = "quotes"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7002"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = 7003
[[rule]]
class = "bulk"
protocol = "udp"
dst_port = 7004
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
messages = "1000000/s"
"#;

/// What the tap has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tapped {
    /// Packets given to the gateway.
    pub packets: u64,
    /// Of a flow, behind one that the generator made later.
    pub out_of_order: u64,
    /// Of a flow, the same once more.
    pub twice: u64,
}

struct Numbers {
    seen: Vec<u64>,
    next: Vec<u64>,
    tapped: Tapped,
}

/// Numbers what the gateway is given.
struct Tap<R> {
    inner: R,
    numbers: Rc<RefCell<Numbers>>,
}

impl<R: Rx> Rx for Tap<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let from = into.len();
        let n = self.inner.rx_burst(now, into);
        let numbers = &mut *self.numbers.borrow_mut();
        for packet in into.as_mut_slice().iter_mut().skip(from) {
            numbers.tapped.packets += 1;
            let Some(flow) = flow_of(packet) else { continue };
            let made = field(packet.data(), MADE);
            match made.cmp(&numbers.seen[flow]) {
                std::cmp::Ordering::Less => numbers.tapped.out_of_order += 1,
                std::cmp::Ordering::Equal => numbers.tapped.twice += 1,
                std::cmp::Ordering::Greater => numbers.seen[flow] = made,
            }
            numbers.next[flow] += 1;
            packet.data_mut()[GIVEN..GIVEN + 8].copy_from_slice(&numbers.next[flow].to_be_bytes());
        }
        n
    }
}

type SoakWorker =
    Worker<Tap<FaultRx<RxQueue>>, FaultTx<TxQueue>, NoWords, FaultClock<clock::Clock>>;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub generated: u64,
    pub malformed: u64,
    pub rx: RxFaults,
    pub tx: TxFaults,
    pub clock_steps: u64,
    pub tapped: Tapped,
    pub totals: Totals,
    pub arrived: u64,
    pub swapped: u64,
    pub switches: u64,
    pub overruns: u64,
    pub in_flight_peak: u64,
    pub seconds: f64,
}

impl Outcome {
    /// The ends of packets that did not leave.
    pub fn ends(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason.name(), self.dropped(reason)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.totals.drops[reason as usize].packets
    }

    /// Every law that must hold, by name; empty when all do.
    pub fn broken(&self) -> Vec<&'static str> {
        let t = &self.totals;
        let laws = [
            ("the wrapper received what was generated", self.rx.received == self.generated),
            ("the wrapper's own books", self.rx.is_balanced() && self.rx.waiting == 0),
            ("the gateway was given what the wrapper handed on", {
                self.rx.handed_on == self.tapped.packets && self.tapped.packets == t.packets_in
            }),
            ("in = out + dropped", t.packets_in == t.packets_out + t.dropped() && t.held == 0),
            ("the ports took what left", self.tx.accepted == t.packets_out),
            ("the sink received what left", self.arrived == t.packets_out),
            ("only what was cut, overflowed or was too old at the end ended", {
                let malformed = self.dropped(DropReason::Ipv4LengthMalformed);
                let late = self.dropped(DropReason::Stale) + self.dropped(DropReason::Stopped);
                malformed > 0
                    && t.dropped() == malformed + self.dropped(DropReason::QueueFull) + late
            }),
            ("order inside a flow", self.swapped == 0),
            ("order before the gateway only where it was injected", {
                self.rx.held_back > 0 || self.tapped.out_of_order == 0
            }),
            ("nothing early", t.early == 0),
            ("nothing past the in-flight limit", self.overruns == 0),
        ];
        laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect()
    }
}

/// Sends `packets` through a gateway with `faults`. At its end every buffer is back, or the bench
/// fails.
pub fn run(packets: u64, faults: &Faults, mut progress: impl FnMut(u64)) -> Outcome {
    let bench = Bench::with_pool(16_383, 2_304);
    let config = rings::config(2_048, ["", "inflight_limit = \"32KiB\""], REST);
    let (_in, in_rx, in_tx) = bench.open("net_ring0");
    let (_out, out_rx, out_tx) = bench.open("net_ring1");
    let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
    let numbers = Rc::new(RefCell::new(Numbers {
        seen: vec![0; FLOWS],
        next: vec![0; FLOWS],
        tapped: Tapped::default(),
    }));
    let rx = Tap {
        inner: FaultRx::new(in_rx, bench.pool.clone(), BURST, faults),
        numbers: Rc::clone(&numbers),
    };
    let tx = FaultTx::new(out_tx, faults);
    let (mut worker, mut control, mut block) = worker(&config, &bench.pool, rx, tx, model, faults);

    let mut generator = Generator::new(bench.pool.clone(), in_tx, MALFORMED_ONE_IN);
    let mut sink = Sink::new(out_rx, GIVEN);
    let (began, mut last_move, mut next_switch) = (Instant::now(), Instant::now(), SWITCH_EVERY);
    let (mut switches, mut stopping) = (0, false);
    loop {
        generator.turn(packets);
        let now = worker.clock_mut().now();
        let turn = worker.poll(now);
        let taken = sink.turn();
        if turn.packets + taken > 0 {
            last_move = Instant::now();
        }
        assert!(last_move.elapsed() < STUCK, "nothing moves: {:?}", worker.lanes()[0].held());
        if generator.generated >= next_switch {
            next_switch += SWITCH_EVERY;
            switches += 1;
            progress(generator.generated);
            rings::switch(&mut control, &config, switches);
            rings::take_everything(&mut control, &mut block);
        }
        let rx = worker.lanes()[0].parts().rx.inner.faults();
        let drained = generator.generated == packets
            && generator.is_empty()
            && rx.received == packets
            && rx.waiting == 0;
        if drained && !stopping {
            stopping = true;
            control.stopper().stop();
        }
        if turn.ended && taken == 0 {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let clock_steps = worker.clock_mut().steps();
    let now = worker.clock_mut().now();
    let lane = worker.finish().lanes.pop().unwrap();
    let figures = lane.parts().inflight.figures(now);
    let (overruns, in_flight_peak) = figures.map_or((0, 0), |f| (f.overruns, f.peak_bytes));
    let parts = lane.close();
    rings::take_everything(&mut control, &mut block);
    let tapped = numbers.borrow().tapped;
    Outcome {
        generated: generator.generated,
        malformed: generator.malformed,
        rx: parts.rx.inner.faults(),
        tx: parts.tx.faults(),
        clock_steps,
        tapped,
        totals: block.totals(),
        arrived: sink.arrived,
        swapped: sink.swapped,
        switches,
        overruns,
        in_flight_peak,
        seconds,
    }
}

fn worker(
    config: &Config,
    pool: &Pool,
    rx: Tap<FaultRx<RxQueue>>,
    tx: FaultTx<TxQueue>,
    model: clock::TscModel,
    faults: &Faults,
) -> (SoakWorker, ControlLink<Block>, Block) {
    let completion =
        assemble::completion_source(&config.ports[1], CompletionSource::RingCount).unwrap();
    let clock = FaultClock::new(clock::Clock::new(model), faults);
    let (base, start) = (TimeBase::Tsc, clock.now());
    let lane = assemble::lane(config, pool, base, start, 0, (0, rx), (1, tx), completion).unwrap();
    let plan = assemble::kpi_plan(config, &[(1, completion)], base);
    let sizes = (1 << 10, 256);
    let (mut parts, control) = worker_parts(config, &plan, vec![lane], sizes, 1_024, NoWords);
    parts.drain_max = Nanos::from_secs(1);
    (Worker::new(parts, clock), control, Block::new(&plan))
}
