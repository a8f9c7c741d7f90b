//! How late packets leave: the real worker on net_ring beside a bare spin loop and a spin loop that
//! polls the same kind of queues, block by block in turn on one core.
//!
//! A source on the same thread keeps some frames of one flow waiting, so that what is measured is the
//! release at the deadline and nothing else: `t_tx - t_eligible` of each packet, both by the TSC.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use dataplane::assemble::{self, TimeBase};
use dataplane::batch::Batch;
use dataplane::channel::{self, ControlLink};
use dataplane::clock::{Calibrator, Clock};
use dataplane::eal::{Eal, EalOptions, LogLevel};
use dataplane::locks::LockDir;
use dataplane::mbuf::Mbuf;
use dataplane::pool::Pool;
use dataplane::port::device::DeviceSpec;
use dataplane::port::dpdk::{PortSpec, RxQueue, TxQueue};
use dataplane::port::privileges::Privileges;
use dataplane::port::thread::{PortHandle, PortThread};
use dataplane::port::{Rx, Tx};
use dataplane::sampler::Sampler;
use dataplane::thread::DataCore;
use dataplane::worker::{NoWords, Worker, WorkerParts};
use model::config::{Config, Hugepages};
use model::inflight::CompletionSource;
use model::kpi::{Block as KpiBlock, CoreAggregates};
use model::time::Nanos;

/// Frames that wait for their turn.
const BACKLOG: u32 = 8;
/// A frame of 60 bytes is 84 on the wire.
const WIRE_BITS: u64 = 84 * 8;
/// What a loop does before it is measured.
const WARM_UP: Nanos = Nanos(1_000_000);

/// Who releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Reads the clock until the packet is due; there is no packet.
    BareSpin,
    /// Polls a ring, and when the next packet is due sends it.
    PollingSpin,
    /// The product: classification, pacer, account, stamps, every packet sampled.
    Worker,
    /// The same with slots of 64 ns instead of the default.
    FineWorker,
}

impl Arm {
    /// In the order in which they are described.
    pub const ALL: [Self; 4] = [Self::BareSpin, Self::PollingSpin, Self::Worker, Self::FineWorker];

    /// For a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareSpin => "(a) bare spin",
            Self::PollingSpin => "(b) polling spin",
            Self::Worker => "wirepace",
            Self::FineWorker => "wirepace, 64 ns",
        }
    }
}

/// What a block measured.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// `t_tx - t_eligible` of each packet, ns.
    pub errors: Vec<f64>,
    /// From one departure to the next, ns.
    pub gaps: Vec<f64>,
    /// The longest turn of the loop, ns.
    pub longest_turn_ns: u64,
    /// Turns of the loop.
    pub turns: u64,
    last: Option<Nanos>,
}

impl Block {
    fn departure(&mut self, eligible: Nanos, left: Nanos) {
        self.errors.push(left.signed_since(eligible) as f64);
        if let Some(last) = self.last.replace(left) {
            self.gaps.push(left.signed_since(last) as f64);
        }
    }
}

/// Measures the longest turn, and when the block begins and ends.
struct Turns {
    begin: Nanos,
    end: Nanos,
    last: Nanos,
    longest: u64,
    turns: u64,
}

impl Turns {
    fn new(now: Nanos, length: Nanos) -> Self {
        let begin = now + WARM_UP;
        Self { begin, end: begin + length, last: begin, longest: 0, turns: 0 }
    }

    /// Whether the block goes on; whether it counts already.
    #[inline]
    fn next(&mut self, now: Nanos) -> bool {
        if now >= self.begin {
            self.longest = self.longest.max(now.saturating_sub(self.last).0);
            self.last = now;
            self.turns += 1;
        }
        now < self.end
    }

    fn finish(self, mut block: Block) -> Block {
        block.longest_turn_ns = self.longest;
        block.turns = self.turns;
        block
    }
}

/// A bare spin loop.
pub fn bare_spin(clock: &Clock, gap: Nanos, length: Nanos) -> Block {
    let mut block = Block::default();
    let mut now = clock.now();
    let mut turns = Turns::new(now, length);
    let mut due = now + gap;
    while turns.next(now) {
        if now >= due {
            if due >= turns.begin {
                block.departure(due, now);
            }
            due = due + gap;
        }
        now = clock.now();
    }
    turns.finish(block)
}

/// The frame of the one flow: UDP to port 7000.
fn frame() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..34]
        .copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 9, 0, 1]);
    frame[34..42].copy_from_slice(&[0x27, 0x10, 0x1b, 0x58, 0, 26, 0, 0]);
    frame
}

/// A ring to receive from and a ring to send to, with both far ends.
struct Rings {
    source: TxQueue,
    sink: RxQueue,
    sent: Batch,
    frame: [u8; 60],
    _handles: [PortHandle; 2],
}

impl Rings {
    fn open(
        ports: &PortThread,
        pool: &Pool,
        first: u32,
    ) -> Result<(Self, RxQueue, TxQueue), Box<dyn Error>> {
        let spec = |n: u32| -> Result<PortSpec, Box<dyn Error>> {
            Ok(PortSpec {
                name: format!("ring{n}"),
                device: DeviceSpec::parse(&format!("net_ring{n}"))?,
                frame_bytes_max: 1514,
                rx_burst: 32,
                rx_descriptors: 1024,
                tx_descriptors: 1024,
                launch_time: model::config::LaunchTime::Off,
                timesync: false,
                cuts_frames: false,
            })
        };
        let (a, rx, source) = ports.open(spec(first)?, pool)?;
        let (b, sink, tx) = ports.open(spec(first + 1)?, pool)?;
        let rings = Self { source, sink, sent: Batch::new(), frame: frame(), _handles: [a, b] };
        Ok((rings, rx, tx))
    }

    /// Puts one frame into the first ring.
    #[inline]
    fn feed(&mut self, now: Nanos, pool: &Pool) {
        if let Some(packet) = pool.alloc_from(&self.frame) {
            let mut one = Batch::new();
            let _ = one.push(packet);
            self.source.tx_burst(now, &mut one);
        }
    }

    /// Takes what has left out of the second ring.
    #[inline]
    fn drain(&mut self, now: Nanos) {
        self.sink.rx_burst(now, &mut self.sent);
        self.sent.clear();
    }
}

/// A spin loop between two rings.
pub struct PollingSpin {
    rings: Rings,
    rx: RxQueue,
    tx: TxQueue,
    arrivals: Batch,
    waiting: VecDeque<Mbuf>,
}

impl PollingSpin {
    /// Runs one block.
    pub fn block(&mut self, clock: &Clock, pool: &Pool, gap: Nanos, length: Nanos) -> Block {
        let mut block = Block::default();
        let mut now = clock.now();
        let mut turns = Turns::new(now, length);
        let mut due = now + gap;
        let mut departure = Batch::new();
        while turns.next(now) {
            self.rx.rx_burst(now, &mut self.arrivals);
            self.waiting.extend(self.arrivals.drain());
            if now >= due
                && let Some(packet) = self.waiting.pop_front()
            {
                let _ = departure.push(packet);
                self.tx.tx_burst(now, &mut departure);
                let left = clock.now();
                if due >= turns.begin {
                    block.departure(due, left);
                }
                due = due + gap;
                self.rings.drain(left);
            } else if (self.waiting.len() as u32) < BACKLOG {
                self.rings.feed(now, pool);
            }
            now = clock.now();
        }
        turns.finish(block)
    }
}

/// The product between two rings.
pub struct Product {
    rings: Rings,
    worker: Worker<RxQueue, TxQueue, NoWords, Clock>,
    control: ControlLink<KpiBlock>,
    in_ring: u32,
}

impl Product {
    /// Runs one block.
    pub fn block(&mut self, clock: &Clock, pool: &Pool, length: Nanos) -> Block {
        let mut block = Block::default();
        let mut now = clock.now();
        let mut turns = Turns::new(now, length);
        while turns.next(now) {
            let held = self.worker.held();
            let turn = self.worker.poll(now);
            // Received and sent together: what was received is now held or has left.
            let left = self.control.take_sample();
            if let Some(row) = &left {
                if let (Some(eligible), Some(t_tx)) = (row.t_eligible, row.t_tx)
                    && eligible >= turns.begin
                {
                    block.departure(eligible, t_tx);
                }
                self.rings.drain(now);
            }
            self.in_ring -= (self.worker.held() + u32::from(left.is_some()))
                .saturating_sub(held)
                .min(self.in_ring);
            if turn.packets == 0 && self.worker.held() + self.in_ring < BACKLOG {
                self.rings.feed(now, pool);
                self.in_ring += 1;
            }
            now = self.worker.next_turn();
        }
        turns.finish(block)
    }
}

/// What all arms share.
pub struct World {
    /// Gateway time.
    pub clock: Clock,
    /// Buffers of both arms.
    pub pool: Pool,
    // Dropped after what holds queues.
    ports: PortThread,
    core: DataCore,
    _locks: tempfile::TempDir,
}

impl World {
    /// Starts DPDK, without hugepages, and makes the calling thread a data core on `cpu`.
    ///
    /// # Errors
    /// What DPDK or the clock says.
    pub fn start(cpu: usize) -> Result<Self, Box<dyn Error>> {
        let eal = Eal::init(&EalOptions {
            memory_bytes: 256 << 20,
            hugepages: Hugepages::Never,
            control_cpu: Some(usize::from(cpu == 0)),
            file_prefix: format!("wirepace-bench-{}", std::process::id()),
            log_level: LogLevel::Warning,
            pci: false,
            telemetry: false,
        })?;
        let locks = tempfile::tempdir()?;
        let locks_dir = LockDir::at(&locks.path().join("locks"))?;
        let ports = PortThread::spawn(locks_dir, "bench", Privileges::none())?;
        let pool = Pool::create(&eal, "bench", 16_383, 2304, 256)?;
        let core = DataCore::enter(Some(cpu), std::slice::from_ref(&pool))?;
        let (_, model) = Calibrator::start(Nanos::from_millis(200))?;
        Ok(Self { clock: Clock::new(model), pool, ports, core, _locks: locks })
    }

    /// A polling spin loop on rings `first` and `first + 1`.
    ///
    /// # Errors
    /// What DPDK says.
    pub fn polling_spin(&self, first: u32) -> Result<PollingSpin, Box<dyn Error>> {
        let (rings, rx, tx) = Rings::open(&self.ports, &self.pool, first)?;
        let waiting = VecDeque::with_capacity(256);
        Ok(PollingSpin { rings, rx, tx, arrivals: Batch::new(), waiting })
    }

    /// The product on rings `first` and `first + 1`, whose one flow may send `packets_per_s`, with
    /// its default slot or another one; and the slot.
    ///
    /// # Errors
    /// What DPDK or the config says.
    pub fn product(
        &self,
        first: u32,
        packets_per_s: u64,
        slot: Option<Nanos>,
    ) -> Result<(Product, Nanos), Box<dyn Error>> {
        let (rings, rx, tx) = Rings::open(&self.ports, &self.pool, first)?;
        let text = config_text(first, packets_per_s, slot);
        let config = Config::from_toml("bench-release", &text).map_err(|e| format!("{e:?}"))?;
        // Flow tables are named by the ingress port: each lane of the process has one of its own.
        let from = if slot.is_some() { 2 } else { 0 };
        let egress = &config.ports[from + 1];
        let completion = assemble::completion_source(egress, CompletionSource::RingCount)?;
        let start = self.clock.now();
        let lane = assemble::lane(
            &config,
            &self.pool,
            TimeBase::Tsc,
            start,
            0,
            (from, rx),
            (from + 1, tx),
            completion,
        )?;
        let plan = assemble::kpi_plan(&config, &[(from + 1, completion)], TimeBase::Tsc);
        let normal = Box::new(config.profiles[0].clone());
        let (link, control) = channel::link(1 << 10, 256, normal, Box::new(KpiBlock::new(&plan)));
        let worker = Worker::new(
            WorkerParts {
                lanes: vec![lane],
                link,
                aggregates: CoreAggregates::new(&plan),
                last_block: Box::new(KpiBlock::new(&plan)),
                sampler: Sampler::new(1, 1),
                words: NoWords,
                drain_max: config.gateway.drain_max,
            },
            self.clock.clone(),
        );
        Ok((Product { rings, worker, control, in_ring: 0 }, config.gateway.slot))
    }

    /// Closes the ports.
    ///
    /// # Errors
    /// A port is still in use.
    pub fn end(self) -> Result<(), Box<dyn Error>> {
        self.ports.shutdown(Duration::from_secs(5)).map_err(|_| "a port is still open")?;
        drop(self.core);
        Ok(())
    }
}

/// The gap between two packets at a rate.
pub const fn gap(packets_per_s: u64) -> Nanos {
    Nanos(1_000_000_000 / packets_per_s)
}

fn config_text(first: u32, packets_per_s: u64, slot: Option<Nanos>) -> String {
    let spare = if slot.is_some() { pair_text("spare-", 100, 0) } else { String::new() };
    let slot = slot.map_or_else(String::new, |slot| format!("slot = \"{}ns\"", slot.0));
    let pair = pair_text("", first, 1);
    let bits = packets_per_s * WIRE_BITS / 1_000;
    format!(
        r#"
[gateway]
name = "bench-release-{first}"
control_cpu = 2
flows_max = 64
{slot}
{spare}
{pair}
[default_class]
inside = "paced"
venue = "back"
[[class]]
name = "paced"
rate = "20G"
burst = "1MiB"
flow_rate = "{bits}k"
flow_burst = "1 packet"
[[class]]
name = "back"
from = "venue"
"#
    )
}

fn pair_text(prefix: &str, first: u32, core: u32) -> String {
    format!(
        r#"
[[port]]
name = "{prefix}in"
side = "inside"
device = "net_ring{first}"
[[port]]
name = "{prefix}out"
side = "venue"
device = "net_ring{second}"
rate = "40G"
burst = "1MiB"
[[pair]]
inside = "{prefix}in"
venue = "{prefix}out"
core = {core}
"#,
        second = first + 1,
    )
}
