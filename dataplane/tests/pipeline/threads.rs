//! Real threads, real time, real rings: net_ring -> receiving core -> ring -> pacing core -> net_ring.
//! Nothing is lost that is not counted, the order inside a flow is kept, every buffer comes back. No
//! time is asserted.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::assemble::{self, TimeBase};
use dataplane::batch::Batch;
use dataplane::channel::{self, ControlLink, Event};
use dataplane::clock::{BASELINE_MIN, Calibrator, Clock, TscModel};
use dataplane::port::dpdk::{RxQueue, TxQueue};
use dataplane::port::{Rx, Tx};
use dataplane::rx_worker::{Intake, RxWorker, RxWorkerParts};
use dataplane::stop_page::{PageReader, Scope, StopPage};
use dataplane::thread::DataCore;
use dataplane::worker::Worker;
use model::config::Config;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates};
use model::profile::Caps;
use model::stop::StopWord;
use model::time::Nanos;

use crate::common::{Bench, bytes_of, worker_parts};
use crate::frames::{CANCELS, number_of, order, udp};
use crate::world::config;

const HOSTS: u32 = 16;
/// A ring of net_ring takes 1,023 packets.
const ON_THE_WAY: u64 = 900;

/// A running core: it gives its thread away while it has nothing to do, because the cores of a test
/// may share a CPU.
struct Running {
    thread: JoinHandle<()>,
    control: ControlLink<Block>,
}

impl Running {
    fn stop(self) -> ControlLink<Block> {
        self.control.stopper().stop();
        self.thread.join().unwrap();
        self.control
    }
}

struct Pipeline {
    feeds: Vec<TxQueue>,
    sink: RxQueue,
    receiving: Vec<Running>,
    pacing: Running,
    page: StopPage,
    config: Config,
    block: Block,
    made: u64,
    came: u64,
    /// By flow: the number that came last.
    last: HashMap<(u8, u16), u32>,
    began: Instant,
    // Last: it counts the buffers.
    bench: Bench,
    _dir: tempfile::TempDir,
}

impl Pipeline {
    /// `receivers` receiving cores with rings of `ring` packets.
    fn start(receivers: usize, ring: u32) -> Self {
        let bench = Bench::new();
        let mut config = config(&[]);
        for class in &mut config.profiles[0].classes {
            (class.flow, class.class) = (Caps::default(), Caps::default());
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stop");
        let classes: Vec<&str> = config.classes.iter().map(|c| c.name.as_str()).collect();
        let running = StopWord::Running;
        let page = StopPage::create_or_open(&path, "two", &config.venues, &classes, running);
        let words = PageReader::new(Arc::new(page.unwrap()));
        let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
        let start = Clock::new(model).now();

        let (mut feeds, mut sources) = (Vec::new(), Vec::new());
        for k in 0..receivers {
            let (_, rx, tx) = bench.open(&format!("net_ring{k}"));
            feeds.push(tx);
            sources.push(rx);
        }
        let (_, sink, tx) = bench.open(&format!("net_ring{receivers}"));
        let completion = CompletionSource::RingCount;
        let (base, from, to) = (TimeBase::Tsc, (0, sources), (1, tx));
        let (lane, intakes) =
            assemble::pipeline(&config, &bench.pool, base, start, 0, ring, from, to, completion)
                .unwrap();

        let plan = assemble::kpi_plan(&config, &[(1, completion)], base);
        let (mut parts, control) =
            worker_parts(&config, &plan, vec![lane], (64, 4_096), 1_024, words);
        parts.drain_max = Nanos::from_secs(10);
        let pool = bench.pool.clone();
        let thread = thread::spawn(move || {
            let _core = DataCore::enter(None, &[pool]).unwrap();
            let clock = Clock::new(model);
            let mut worker = Worker::new(parts, clock);
            let clock = Clock::new(model);
            loop {
                let turn = worker.poll(clock.now());
                if turn.ended {
                    break drop(worker.finish());
                }
                if turn.packets == 0 {
                    thread::yield_now();
                }
            }
        });
        let receiving = intakes.into_iter().map(|intake| receive(&config, &bench, model, intake));
        Self {
            feeds,
            sink,
            receiving: receiving.collect(),
            pacing: Running { thread, control },
            page: StopPage::open_existing(&path).unwrap(),
            block: Block::new(&plan),
            config,
            made: 0,
            came: 0,
            last: HashMap::new(),
            began: Instant::now(),
            bench,
            _dir: dir,
        }
    }

    /// Feeds until `made` packets were made, with `on_the_way` not yet accounted for at most.
    fn feed_until(&mut self, made: u64, on_the_way: u64) {
        while self.made < made {
            if self.made - self.accounted() < on_the_way {
                self.feed();
            } else {
                thread::yield_now();
            }
            self.look();
        }
    }

    /// Until every packet has left or has ended.
    fn settle(&mut self) {
        while self.accounted() < self.made {
            self.look();
            thread::yield_now();
        }
    }

    fn accounted(&self) -> u64 {
        self.came + self.block.totals().dropped()
    }

    /// A burst into each feed: a host is always behind the same one.
    fn feed(&mut self) {
        let feeds = self.feeds.len() as u32;
        for (k, feed) in self.feeds.iter_mut().enumerate() {
            let mut burst = Batch::new();
            for _ in 0..32 {
                let number = self.made as u32;
                let host = (number % (HOSTS / feeds) * feeds + k as u32) as u8;
                let port = if number.is_multiple_of(3) { CANCELS } else { 9_999 };
                let frame = if number % 3 == 1 { order(host) } else { udp(host, port) };
                let mut bytes = frame.bytes(number);
                if number % 100 == 99 {
                    bytes.truncate(20);
                }
                // Without a buffer or room in the ring it was not made.
                let Some(packet) = self.bench.pool.alloc_from(&bytes) else { break };
                burst.push(packet).unwrap();
                if feed.tx_burst(Nanos::ZERO, &mut burst) == 0 {
                    break;
                }
                self.made += 1;
            }
        }
    }

    /// Takes what has left, and what the pacing core has counted.
    fn look(&mut self) {
        let mut burst = Batch::new();
        while self.sink.rx_burst(Nanos::ZERO, &mut burst) > 0 {
            for packet in burst.drain() {
                let bytes = bytes_of(&packet);
                let (number, host) = (number_of(&bytes), bytes[29]);
                let flow = (host, u16::from_be_bytes([bytes[36], bytes[37]]));
                if let Some(before) = self.last.insert(flow, number) {
                    assert!(before < number, "{flow:?}: {number} after {before}");
                }
                self.came += 1;
            }
        }
        if let Some(mut block) = self.pacing.control.take_block() {
            self.block.merge(&block);
            block.clear();
            self.pacing.control.give_block(block);
        }
        assert!(self.began.elapsed() < Duration::from_secs(300), "it does not come to its end");
    }

    /// The end in the order of `run`. Gives the events of the receiving cores.
    fn stop(mut self) -> (Block, Vec<Event>) {
        // What is in a device is not ours yet.
        while self.feeds.iter().any(|feed| feed.ring_occupancy() != Some(0)) {
            self.look();
        }
        let mut events = Vec::new();
        for core in std::mem::take(&mut self.receiving) {
            let mut control = core.stop();
            events.extend(std::iter::from_fn(|| control.take_event()));
        }
        let mut control = self.pacing.stop();
        while let Some(block) = control.take_block() {
            self.block.merge(&block);
        }
        let mut burst = Batch::new();
        while self.sink.rx_burst(Nanos::ZERO, &mut burst) > 0 {
            self.came += burst.len() as u64;
            burst.clear();
        }
        let totals = self.block.totals();
        assert_eq!((totals.packets_in, totals.packets_out), (self.made, self.came));
        assert_eq!(totals.packets_in, totals.packets_out + totals.dropped());
        assert_eq!((totals.held, totals.early, self.block.unplanned), (0, 0, 0));
        (self.block, events)
    }
}

fn receive(config: &Config, bench: &Bench, model: TscModel, intake: Intake<RxQueue>) -> Running {
    let nothing = assemble::kpi_plan(config, &[], TimeBase::Tsc);
    let normal = Box::new(config.profiles[0].clone());
    let (link, control) = channel::link(1, 4_096, normal, Box::new(Block::new(&nothing)));
    let parts = RxWorkerParts {
        intakes: vec![intake],
        link,
        aggregates: CoreAggregates::new(&nothing),
        last_block: Box::new(Block::new(&nothing)),
    };
    let pool = bench.pool.clone();
    let thread = thread::spawn(move || {
        let _core = DataCore::enter(None, &[pool]).unwrap();
        let mut worker = RxWorker::new(parts, Clock::new(model));
        let clock = Clock::new(model);
        loop {
            let turn = worker.poll(clock.now());
            if turn.ended {
                break drop(worker.finish());
            }
            if turn.packets == 0 {
                thread::yield_now();
            }
        }
    });
    Running { thread, control }
}

#[test]
fn a_million_packets_over_two_threads_are_accounted_for_and_in_order() {
    let mut p = Pipeline::start(1, 1_024);
    p.feed_until(300_000, ON_THE_WAY);

    let contain = Box::new(p.config.profiles[1].clone());
    p.pacing.control.set_profile(contain, Nanos::MAX).unwrap();
    p.feed_until(320_000, ON_THE_WAY);
    p.pacing.control.set_normal().unwrap();
    p.feed_until(500_000, ON_THE_WAY);
    p.settle();
    let before = p.block.totals().drops[DropReason::Halted as usize].packets;
    assert_eq!(before, 0);

    p.page.set(&Scope::All, StopWord::Halt).unwrap();
    p.feed_until(600_000, ON_THE_WAY);
    p.settle();
    let halted = p.block.totals().drops[DropReason::Halted as usize].packets;
    // A third are orders, of which one in a hundred was cut off.
    assert!((33_000 - 400..=33_000 + 400).contains(&halted), "{halted} orders ended");
    p.page.resume(&Scope::All).unwrap();
    p.feed_until(1_100_000, ON_THE_WAY);

    // Stopped in full flight: what is in the rings and in the pacer leaves first.
    let (made, flows) = (p.made, p.last.len());
    let (block, _) = p.stop();
    let totals = block.totals();
    assert!(made >= 1_100_000 && flows == 3 * HOSTS as usize);
    assert_eq!(totals.drops[DropReason::Ipv4LengthMalformed as usize].packets, 0);
    let malformed = totals.drops[DropReason::Ipv4HeaderMalformed as usize].packets;
    assert_eq!(malformed, made / 100, "one in a hundred is cut off");
    let halted_now = totals.drops[DropReason::Halted as usize].packets;
    assert_eq!(totals.dropped(), malformed + halted_now, "{:?}", totals.drops);
}

#[test]
fn a_full_ring_is_a_named_end_with_an_alarm_and_two_receiving_cores_share_a_pacing_one() {
    let mut p = Pipeline::start(2, 64);
    p.feed_until(200_000, u64::MAX);
    p.settle();
    let (block, events) = p.stop();
    let totals = block.totals();
    let full = totals.drops[DropReason::RingFull as usize];
    assert!(full.packets > 0 && full.bytes >= 60 * full.packets, "{full:?}");
    let told: u64 = events
        .iter()
        .map(|event| match event {
            Event::RingFull { port: 1, packets, .. } => u64::from(*packets),
            _ => 0,
        })
        .sum();
    assert_eq!(told, full.packets);
}
