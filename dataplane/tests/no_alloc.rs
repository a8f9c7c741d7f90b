//! A data core allocates and frees nothing after its start.
//!
//! The allocator of this test program counts, for each thread, while it is armed. A worker polls
//! over net_null and net_ring, armed, through everything that control does to it: profile switches,
//! stop words, clock models, halts, overload, a tap, stalls. Control acts between two rounds, disarmed: it may
//! allocate. C code has an allocator of its own; `scripts/no-malloc` counts that one.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use common::{Bench, worker_parts};
use dataplane::assemble::{self, TimeBase};
use dataplane::bpf::{Instruction, Program};
use dataplane::channel::{self, ControlLink};
use dataplane::clock::{BASELINE_MIN, Calibrator, Clock};
use dataplane::pool::Pool;
use dataplane::port::bench::BenchRx;
use dataplane::port::dpdk::{RxQueue, TxQueue};
use dataplane::port::faults::{FaultRx, FaultTx, Faults};
use dataplane::port::{Rx, Tx};
use dataplane::rx_worker::{RxWorker, RxWorkerParts};
use dataplane::stop_page::{PageReader, Scope, StopPage};
use dataplane::tap::{TapReader, TapSpec, tap};
use dataplane::worker::{NoWords, Worker};
use model::config::{BenchFlows, Config};
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates};
use model::pacer::Roster;
use model::regime::{Parted, Patches, compose_apart};
use model::stop::StopWord;
use model::time::Nanos;

/// Counts what the thread that armed it allocates and frees.
struct Counting;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// A thread that ends has no counter any more, and is not one of ours.
fn count() {
    let _ = ARMED.try_with(|armed| {
        if armed.get() {
            let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        }
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches two cells of the
// thread, which need no allocation (`const` initialised, no destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls to the allocator that `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    CALLS.set(0);
    ARMED.set(true);
    work();
    ARMED.set(false);
    CALLS.get()
}

/// Caps of every kind, so that packets wait, overflow, and pass at once. `OUT` is the egress device.
const CONFIG: &str = r#"
[gateway]
name = "guard"
clock = "tsc"
flows_max = 2048
start_state = "running"
[[port]]
name = "in"
side = "inside"
device = "net_null0"
[[port]]
name = "out"
side = "venue"
device = "OUT"
rate = "40G"
LIMIT
[[pair]]
inside = "in"
venue = "out"
core = 1
[default_class]
inside = "quotes"
venue = "back"
[[class]]
name = "orders"
kind = "order"
rate = "4G"
burst = "64KiB"
messages = "1000000/s"
message_burst = 1024
messages_per_segment = 1
flow_messages = "10000/s"
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "bulk"
rate = "200M"
queue_packets = 256
on_overflow = "drop"
allow_drop = true
allow_drop_reason = "guard"
[[class]]
name = "quotes"
rate = "10G"
queue_packets = 1024
on_overflow = "drop"
allow_drop = true
allow_drop_reason = "guard"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7015"
venue = "XCME"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = "7016-7023"
venue = "XCME"
[[rule]]
class = "bulk"
protocol = "udp"
dst_port = "7024-7031"
[regime]
allow = ["orders"]
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
messages = "500000/s"
[[profile.class]]
name = "bulk"
closed = true
"#;

/// What happens between rounds, over and over.
const SCRIPT: [fn(&mut Control); 15] = [
    |c| c.part(),
    |c| c.normal(),
    |c| c.tap(),
    |c| c.pin(),
    |c| c.word("class:orders", StopWord::Halt),
    |c| c.clock(),
    |c| c.resume("class:orders"),
    |c| c.stalls(),
    |c| c.word("all", StopWord::Passthrough),
    |c| c.resume("all"),
    |c| c.normal(),
    |c| c.word("all", StopWord::Halt),
    |c| c.resume("all"),
    |c| c.clock(),
    |c| c.end_tap(),
];

struct Control {
    link: ControlLink<Block>,
    page: StopPage,
    config: Config,
    calibrator: Calibrator,
    block: Block,
    roster: Arc<Roster>,
    /// What a tap on the core has caught.
    reader: Option<TapReader>,
    caught: u64,
}

impl Control {
    fn pin(&mut self) {
        // A refusal only says that the core has not come to the last one yet.
        let _ = self.link.set_profile(Box::new(self.config.profiles[1].clone()), Nanos::MAX);
    }

    /// A tenth of the groups that there are gets a table of its own, and another tenth one to compare.
    fn part(&mut self) {
        let mut ids: Vec<u64> = self.roster.seats().map(|seat| seat.id).collect();
        ids.sort_unstable();
        let (on_trial, others) = ids.split_at(ids.len() / 10);
        let (twins, patches) = (self.config.canaried(), Patches::new(&self.config));
        let groups = [on_trial, &others[..on_trial.len()]];
        let parted = Parted { twins: &twins, groups, share_ppm: 100_000 };
        let table = compose_apart(&self.config.profiles[0], &patches, &[], &[], &parted).unwrap();
        let _ = self.link.set_profile(Box::new(table.profile), Nanos::MAX);
    }

    /// Copies everything that a filter takes, which is half of it.
    fn tap(&mut self) {
        let filter = Program::new(&[
            // The last byte of the destination port is odd.
            Instruction(0x30, 0, 0, 37),
            Instruction(0x45, 0, 1, 1),
            Instruction(0x06, 0, 0, 1),
            Instruction(0x06, 0, 0, 0),
        ]);
        let spec = TapSpec {
            port: None,
            received: true,
            sent: true,
            dropped: true,
            class: None,
            flow: None,
            filter: Some(filter.unwrap()),
            snaplen: 256,
            count: u64::MAX,
        };
        let (tap, reader) = tap(spec, 256);
        if self.link.lend_tap(Box::new(tap)).is_ok() {
            self.reader = Some(reader);
        }
    }

    fn end_tap(&mut self) {
        // As with a profile.
        let _ = self.link.end_tap();
    }

    /// So low that every turn is a stall.
    fn stalls(&mut self) {
        let _ = self.link.set_stall_threshold(Nanos(1));
    }

    fn normal(&mut self) {
        let _ = self.link.set_normal();
    }

    fn clock(&mut self) {
        let _ = self.link.set_clock(self.calibrator.refresh(Nanos::from_millis(100)).model);
    }

    fn word(&mut self, scope: &str, word: StopWord) {
        self.page.set(&scope.parse::<Scope>().unwrap(), word).unwrap();
    }

    fn resume(&mut self, scope: &str) {
        self.page.resume(&scope.parse().unwrap()).unwrap();
    }

    /// Every other round only: rings that nobody empties are overload too.
    fn tick(&mut self) {
        while let Some(mut full) = self.link.take_block() {
            self.block.merge(&full);
            full.clear();
            self.link.give_block(full);
        }
        while self.link.take_sample().is_some() {}
        while self.link.take_event().is_some() {}
        while self.link.take_profile().is_some() {}
        while self.link.take_stall().is_some() {}
        if let Some(reader) = &self.reader {
            while let Some(slot) = reader.take() {
                self.caught += 1;
                reader.give(slot);
            }
        }
        drop(self.link.take_tap());
    }
}

/// Polls until at least `packets` have arrived, in rounds. Returns calls to the allocator, packets
/// that arrived, that left, and that ended.
fn guard<R: Rx, T: Tx>(
    config: Config,
    pool: &Pool,
    (rx, tx): (R, T),
    offered: CompletionSource,
    packets: u64,
    mut far_side: impl FnMut(),
) -> (u64, u64, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let classes: Vec<&str> = config.classes.iter().map(|c| c.name.as_str()).collect();
    let path = dir.path().join("stop");
    let page =
        StopPage::create_or_open(&path, "guard", &config.venues, &classes, StopWord::Running)
            .unwrap();
    let (calibrator, model) = Calibrator::start(BASELINE_MIN).unwrap();
    let completion = assemble::completion_source(&config.ports[1], offered).unwrap();
    let (base, start) = (TimeBase::Tsc, Clock::new(model).now());
    let lane = assemble::lane(&config, pool, base, start, 0, (0, rx), (1, tx), completion).unwrap();
    let roster = lane.roster();
    let plan = assemble::kpi_plan(&config, &[(1, completion)], base);
    let words = PageReader::new(Arc::new(page));
    let (parts, control) = worker_parts(&config, &plan, vec![lane], (256, 64), 64, words);
    let mut worker = Worker::new(parts, Clock::new(model));
    let mut control = Control {
        link: control,
        page: StopPage::open_existing(&path).unwrap(),
        config,
        calibrator,
        block: Block::new(&plan),
        roster,
        reader: None,
        caught: 0,
    };
    let (mut calls, mut round) = (0, 0);
    // On a machine that is busy elsewhere it takes longer until everything has happened once.
    while control.block.totals().packets_in < packets || !has_lost(&control.block) {
        for _ in 0..8 {
            calls += allocations(|| {
                for _ in 0..100 {
                    let now = worker.clock_mut().now();
                    worker.poll(now);
                    far_side();
                }
            });
        }
        SCRIPT[round % SCRIPT.len()](&mut control);
        round += 1;
        if round.is_multiple_of(2) {
            control.tick();
        }
        assert!(round < 200_000, "nothing arrives, or nothing ends");
    }
    control.link.stopper().stop();
    let mut ended = false;
    while !ended {
        calls += allocations(|| {
            let now = worker.clock_mut().now();
            ended = worker.poll(now).ended;
            far_side();
        });
    }
    drop(worker.finish());
    control.tick();
    let totals = control.block.totals();
    assert!(round >= SCRIPT.len(), "control has not done everything");
    assert!(control.caught > 0, "nothing was caught");
    assert!(control.link.stalls() > 0, "no turn was long");
    assert_eq!(totals.packets_in, totals.packets_out + totals.dropped());
    assert_eq!(totals.early, 0);
    (calls, totals.packets_in, totals.packets_out, totals.dropped())
}

/// Whether packets were halted, and classes that may lose some have lost some, to their queue's budget
/// or to the reserve of a full pool.
fn has_lost(block: &Block) -> bool {
    let totals = block.totals();
    let ended = |reason: DropReason| totals.drops[reason as usize].packets;
    ended(DropReason::Halted) > 0 && ended(DropReason::QueueFull) + ended(DropReason::PoolLow) > 0
}

fn config(out: &str, limit: &str) -> Config {
    let text = CONFIG.replace("OUT", out).replace("LIMIT", limit);
    let mut config =
        Config::from_toml("guard.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}"));
    // Of this pool, which is smaller than the config's.
    config.dpdk.pool_reserve = 64;
    config
}

fn mix(rx: RxQueue) -> BenchRx<RxQueue> {
    let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
    BenchRx::new(
        rx,
        BenchFlows {
            flows: 1_024,
            frame_bytes: 64,
            kpis: true,
            kpis_in_turn: false,
            stages: false,
        },
        1,
        Clock::new(model),
    )
}

#[test]
fn the_guard_sees_what_there_is_to_see() {
    assert_eq!(allocations(|| {}), 0);
    let calls = allocations(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(calls, 2);
    assert!(allocations(|| drop(std::hint::black_box(vec![1; 100]))) >= 2);
    let elsewhere = std::thread::spawn(|| std::hint::black_box(vec![1; 100]));
    elsewhere.join().unwrap();
}

#[test]
fn a_worker_over_net_null_allocates_nothing() {
    let bench = Bench::with_pool(16_383, 2_304);
    let (_in, rx, _tx) = bench.open("net_null0");
    let (_out, _rx, tx) = bench.open("net_null1,no-rx=1");
    let config = config("net_null1,no-rx=1", "");
    let source = CompletionSource::Synchronous;
    let (calls, arrived, left, ended) =
        guard(config, &bench.pool, (mix(rx), tx), source, 1_200_000, || {});
    assert!(left > 100_000 && ended > 100_000, "{left} left, {ended} ended");
    assert_eq!(calls, 0, "calls to the allocator over {arrived} packets");
}

#[test]
fn a_worker_over_net_ring_with_faults_and_a_limit_allocates_nothing() {
    let bench = Bench::with_pool(16_383, 2_304);
    let (_in, rx, _tx) = bench.open("net_null0");
    let (_out, mut back, tx): (_, RxQueue, TxQueue) = bench.open("net_ring1");
    let config = config("net_ring1", "inflight_limit = \"32KiB\"");
    let faults = Faults {
        drop: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        refuse: 0.2,
        withhold_completions: 0.05,
        ..Faults::default()
    };
    let rx = FaultRx::new(mix(rx), bench.pool.clone(), 32, &faults);
    let tx = FaultTx::new(tx, &faults);
    let mut received = dataplane::batch::Batch::new();
    let far_side = || {
        back.rx_burst(Nanos::ZERO, &mut received);
        received.clear();
    };
    let source = CompletionSource::RingCount;
    let (calls, arrived, left, ended) =
        guard(config, &bench.pool, (rx, tx), source, 1_200_000, far_side);
    assert!(left > 100_000 && ended > 100_000, "{left} left, {ended} ended");
    assert_eq!(calls, 0, "calls to the allocator over {arrived} packets");
}

/// Both cores of a pipeline, stepped in this thread: the ring is too short for two bursts, so it is
/// full as often as not.
#[test]
fn the_cores_of_a_pipeline_allocate_nothing() {
    let bench = Bench::with_pool(16_383, 2_304);
    let (_in, rx, _tx) = bench.open("net_null0");
    let (_out, _rx, tx) = bench.open("net_null1,no-rx=1");
    let config = config("net_null1,no-rx=1", "");
    let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
    let (base, start, sync) =
        (TimeBase::Tsc, Clock::new(model).now(), CompletionSource::Synchronous);
    let (from, to) = ((0, vec![mix(rx)]), (1, tx));
    let (lane, intakes) =
        assemble::pipeline(&config, &bench.pool, base, start, 0, 32, from, to, sync).unwrap();
    let nothing = assemble::kpi_plan(&config, &[], base);
    let normal = Box::new(config.profiles[0].clone());
    let (link, rx_control) = channel::link(256, 64, normal, Box::new(Block::new(&nothing)));
    let aggregates = CoreAggregates::new(&nothing);
    let last_block = Box::new(Block::new(&nothing));
    let rx_parts = RxWorkerParts { intakes, link, aggregates, last_block };
    let mut receives = RxWorker::new(rx_parts, Clock::new(model));
    let plan = assemble::kpi_plan(&config, &[(1, sync)], base);
    let (parts, mut control) = worker_parts(&config, &plan, vec![lane], (256, 64), 64, NoWords);
    let mut paces = Worker::new(parts, Clock::new(model));
    let clock = Clock::new(model);
    let calls = allocations(|| {
        for turn in 0..20_000 {
            receives.poll(clock.now());
            if turn % 2 == 0 {
                paces.poll(clock.now());
            }
        }
        rx_control.stopper().stop();
        assert!(receives.poll(clock.now()).ended);
    });
    drop(receives.finish());
    control.stopper().stop();
    let calls = calls + allocations(|| while !paces.poll(clock.now()).ended {});
    drop(paces.finish());
    let mut block = Block::new(&plan);
    while let Some(full) = control.take_block() {
        block.merge(&full);
    }
    let totals = block.totals();
    assert_eq!(totals.packets_in, totals.packets_out + totals.dropped());
    let full = totals.drops[DropReason::RingFull as usize].packets;
    assert!(full > 100_000 && totals.packets_out > 50_000, "{full}, {}", totals.packets_out);
    assert_eq!(calls, 0, "calls to the allocator over {} packets", totals.packets_in);
}
