//! A worker between an inside port and two venue ports, and a router that answers probes on either.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use dataplane::assemble::{self, TimeBase};
use dataplane::batch::Batch;
use dataplane::channel::{ControlLink, Event};
use dataplane::clock::TscModel;
use dataplane::lane::PathCounters;
use dataplane::paths::ProbeRx;
use dataplane::port::Rx;
use dataplane::port::in_turn::InTurn;
use dataplane::worker::{Clock, NoWords, Worker};
use model::config::Config;
use model::inflight::CompletionSource;
use model::kpi::{Block, Tally, Totals};
use model::sample::Sample;
use model::time::{Cycles, Nanos};

use crate::common::{Bench, worker_parts};
use crate::frames::{Frame, number_of};
use crate::ports::{SimRx, SimTx, Source, Wire};

/// Orders wait at most 2 ms, longer than a path drains; quotes 100 us, which is shorter.
pub const CONFIG: &str = r#"
[gateway]
name = "paths"
clock = "virtual"
flows_max = 64
[[port]]
name = "in"
side = "inside"
device = "capture"
[[port]]
name = "out"
side = "venue"
device = "capture"
stall_time = "5ms"
[[port]]
name = "out-b"
side = "venue"
device = "capture"
stall_time = "5ms"
#PORT
[[pair]]
inside = "in"
venue = "out"
[pair.second_path]
venue = "out-b"
path_drain = "500us"
dwell = "20ms"
probe_to = "10.9.0.254"
probe_from = "10.1.0.250"
probe_mac = "02:00:00:00:00:07"
#PATH
[default_class]
inside = "other"
venue = "back"
[[class]]
name = "orders"
kind = "order"
max_hold = "2ms" #HOLD
messages_per_segment = 1
halt_mixed = "block"
#ORDERS
[[class]]
name = "quotes"
max_hold = "100us"
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "fix"
kind = "mixed"
messages_per_segment = 1
max_hold = "2ms"
halt_mixed = "block"
cancel_on_disconnect = true
[[class]]
name = "other"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = "7000-7109"
dscp = 46
venue = "XCME"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7009"
venue = "XCME"
[[rule]]
class = "quotes"
protocol = "udp"
dst_port = 7030
[[rule]]
class = "fix"
protocol = "tcp"
dst_port = 9001
venue = "XCME"
[[rule]]
class = "orders"
protocol = "tcp"
dst_port = 9004
venue = "XCME"
#LIMIT
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
second_path = true
[[profile.class]]
name = "quotes"
second_path = true
[[profile.class]]
name = "cancels"
second_path = true
[[profile.class]]
name = "fix"
second_path = true
"#;

/// The config with changes: pieces of text that are replaced, each found exactly once.
pub fn config(changes: &[(&str, &str)]) -> Config {
    let mut text = CONFIG.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    Config::from_toml("paths.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[derive(Clone)]
pub struct StepClock(Rc<Cell<Nanos>>);

impl Clock for StepClock {
    fn now(&self) -> Nanos {
        self.0.get()
    }

    fn cycles(&self) -> Cycles {
        Cycles(self.0.get().0)
    }

    fn set_model(&mut self, _: TscModel) {}
}

/// From inside, or from both paths.
pub enum TestRx {
    Inside(SimRx),
    Venue(InTurn<ProbeRx<SimRx>>),
}

impl Rx for TestRx {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::Inside(rx) => rx.rx_burst(now, into),
            Self::Venue(rx) => rx.rx_burst(now, into),
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        match self {
            Self::Inside(rx) => rx.next_event(),
            Self::Venue(rx) => rx.next_event(),
        }
    }
}

/// One of the two paths, seen from the venue.
pub struct Far {
    pub wire: Rc<RefCell<Wire>>,
    pub source: Rc<RefCell<Source>>,
    /// The router answers.
    pub alive: bool,
    /// Probes of its wire that have been looked at.
    seen: usize,
}

pub struct World {
    worker: Option<Worker<TestRx, SimTx, NoWords, StepClock>>,
    pub control: ControlLink<Block>,
    pub inside: Rc<RefCell<Source>>,
    pub far: [Far; 2],
    pub back: Rc<RefCell<Wire>>,
    pub now: Nanos,
    clock: Rc<Cell<Nanos>>,
    next_number: u32,
    /// By number: flow and path would be told by the frame; here when it was sent.
    pub sent_at: HashMap<u32, Nanos>,
    block: Block,
    config: Config,
    // Last: it counts the buffers.
    bench: Bench,
}

/// What a world came to.
pub struct Books {
    pub totals: Totals,
    pub block: Block,
    pub samples: Vec<Sample>,
    pub events: Vec<Event>,
    pub paths: PathCounters,
}

pub const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

pub const fn us(n: u64) -> Nanos {
    Nanos::from_micros(n)
}

/// Longest step: frequent enough to answer probes.
const STEP: Nanos = us(20);
const ARP: [u8; 2] = [0x08, 0x06];

impl World {
    pub fn new(changes: &[(&str, &str)]) -> Self {
        let (config, bench) = (config(changes), Bench::new());
        let inside = Rc::new(RefCell::new(Source::default()));
        let back = Rc::new(RefCell::new(Wire::default()));
        let far = [(); 2].map(|()| Far {
            wire: Rc::default(),
            source: Rc::default(),
            alive: true,
            seen: 0,
        });
        let pair = &config.pairs[0];
        let rx = |source: &Rc<RefCell<Source>>| SimRx {
            source: Rc::clone(source),
            pool: bench.pool.clone(),
        };
        let tx = |wire: &Rc<RefCell<Wire>>| SimTx { wire: Rc::clone(wire) };
        let joined =
            assemble::join(&config, pair, [&far[0], &far[1]].map(|far| rx(&far.source))).unwrap();
        let (base, pool) = (TimeBase::Virtual, &bench.pool);
        let sync = CompletionSource::Synchronous;
        let lane = |rx, (from, to), tx| {
            assemble::lane(&config, pool, base, Nanos::ZERO, 0, (from, rx), (to, tx), sync).unwrap()
        };
        let out = lane(TestRx::Inside(rx(&inside)), (0, 1), tx(&far[0].wire));
        let second = tx(&far[1].wire);
        let out = assemble::with_second_path(
            &config,
            pool,
            base,
            0,
            (pair, out),
            second,
            joined.probes.clone(),
        )
        .unwrap();
        let from_venue = TestRx::Venue(InTurn::new(joined.sources.into()));
        let home = lane(from_venue, (1, 0), tx(&back));
        let second_source = assemble::second_completion(&config.ports[2]);
        let plan = assemble::kpi_plan(&config, &[(1, sync), (0, sync), (2, second_source)], base);
        let clock = Rc::new(Cell::new(Nanos::ZERO));
        let (lanes, rings) = (vec![out, home], (1 << 14, 256));
        let (mut parts, control) = worker_parts(&config, &plan, lanes, rings, 1, NoWords);
        parts.drain_max = ms(50);
        let worker =
            Worker::new(parts, StepClock(Rc::clone(&clock))).with_connections(joined.connections);
        let mut world = Self {
            worker: Some(worker),
            control,
            inside,
            far,
            back,
            now: Nanos::ZERO,
            clock,
            next_number: 0,
            sent_at: HashMap::new(),
            block: Block::new(&plan),
            config,
            bench,
        };
        // Time 0 is never; and both paths have answered.
        world.run_until(ms(1));
        world
    }

    pub fn send(&mut self, at: Nanos, frame: &Frame) -> u32 {
        self.next_number += 1;
        let bytes = frame.bytes(self.next_number);
        self.inside.borrow_mut().arrivals.push_back((at, bytes));
        self.sent_at.insert(self.next_number, at);
        self.next_number
    }

    pub fn send_now(&mut self, frame: &Frame) -> u32 {
        self.send(self.now, frame)
    }

    /// Sends a frame each `gap` from now on, `count` of them.
    pub fn send_each(&mut self, gap: Nanos, count: u64, frame: &Frame) -> Vec<u32> {
        let now = self.now;
        (0..count).map(|k| self.send(now + Nanos(gap.0 * k), frame)).collect()
    }

    /// The venue sends by path `path` now.
    pub fn answer(&mut self, path: usize, bytes: Vec<u8>) {
        let now = self.now;
        self.far[path].source.borrow_mut().arrivals.push_back((now, bytes));
    }

    pub fn profile(&mut self, index: usize) {
        while self.control.take_profile().is_some() {}
        let profile = Box::new(self.config.profiles[index].clone());
        self.control.set_profile(profile, Nanos::MAX).unwrap();
    }

    pub fn normal(&mut self) {
        self.control.set_normal().unwrap();
    }

    /// One turn, what the routers answer, and the law of conservation, to the buffer.
    pub fn poll(&mut self) {
        self.clock.set(self.now);
        let worker = self.worker.as_mut().unwrap();
        worker.poll(self.now);
        for far in &mut self.far {
            let wire = far.wire.borrow();
            for frame in &wire.frames[far.seen..] {
                if far.alive && frame[12..14] == ARP && frame[20..22] == [0, 1] {
                    let mut answer = frame.clone();
                    answer[21] = 2;
                    answer[28..32].copy_from_slice(&frame[38..42]);
                    answer[38..42].copy_from_slice(&frame[28..32]);
                    let at = self.now + us(10);
                    far.source.borrow_mut().arrivals.push_back((at, answer));
                }
            }
            far.seen = wire.frames.len();
        }
        assert_eq!(self.bench.pool.in_use(), worker.held(), "buffers");
    }

    pub fn run_until(&mut self, until: Nanos) {
        while self.now < until {
            self.poll();
            let worker = self.worker.as_ref().unwrap();
            let next = worker.next_event(self.now).unwrap_or(Nanos::MAX);
            let step = self.now + STEP;
            self.now = if next > self.now { next.min(step) } else { step }.min(until);
        }
        self.poll();
    }

    pub fn run_for(&mut self, span: Nanos) {
        self.run_until(self.now + span);
    }

    /// Numbers of IP frames that left by path `path`, in order, with their times.
    pub fn out(&self, path: usize) -> Vec<(Nanos, u32)> {
        let wire = self.far[path].wire.borrow();
        let frames = wire.frames.iter().zip(&wire.sent);
        frames
            .filter(|(frame, _)| frame[12..14] != ARP)
            .map(|(frame, sent)| (sent.at, number_of(frame)))
            .collect()
    }

    pub fn numbers(&self, path: usize) -> Vec<u32> {
        self.out(path).into_iter().map(|(_, number)| number).collect()
    }

    /// What the receiver sees: every packet of both paths, where the second is `ahead` faster than the
    /// first. By flow the numbers have to rise.
    pub fn assert_in_order_at_the_receiver(&self, latency: [Nanos; 2]) {
        let mut seen: Vec<(Nanos, u32, Vec<u8>)> = Vec::new();
        for (far, latency) in self.far.iter().zip(latency) {
            let wire = far.wire.borrow();
            for (frame, sent) in wire.frames.iter().zip(&wire.sent) {
                if frame[12..14] != ARP {
                    let flow = [&frame[26..38], &frame[23..24]].concat();
                    seen.push((sent.at + latency, number_of(frame), flow));
                }
            }
        }
        seen.sort_by_key(|(at, number, _)| (*at, *number));
        let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
        for (at, number, flow) in seen {
            let before = last.insert(flow.clone(), number).unwrap_or(0);
            assert!(before < number, "{number} after {before} at {at} in {flow:?}");
        }
    }

    pub fn counters(&self) -> PathCounters {
        self.worker.as_ref().unwrap().lanes()[0].path_counters().unwrap()
    }

    pub fn books(mut self) -> Books {
        let paths = self.counters();
        let worker = self.worker.take().unwrap();
        let held = u64::from(worker.held());
        worker.finish();
        while let Some(block) = self.control.take_block() {
            self.block.merge(&block);
        }
        let totals = self.block.totals();
        assert_eq!(totals.packets_in, totals.packets_out + totals.dropped() + held);
        assert_eq!((totals.held, totals.early, self.block.unplanned), (held, 0, 0));
        // In the books of each port: what came for it, and from the other path, left or is held.
        for cell in &self.block.cells {
            let came = cell.arrived.packets + cell.moved_in.packets;
            let went = cell.ended() + cell.moved_out.packets + cell.backlog_packets;
            assert_eq!(came, went, "port {} class {}", cell.port, cell.class);
        }
        let told = totals.tallies[Tally::PathMoved];
        assert_eq!(told, paths.moved);
        Books {
            totals,
            block: self.block,
            events: std::iter::from_fn(|| self.control.take_event()).collect(),
            samples: std::iter::from_fn(|| self.control.take_sample()).collect(),
            paths,
        }
    }
}
