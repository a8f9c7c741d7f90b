//! From a checked config to running data cores: ports, lanes, workers.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::assemble::{self, PipelineLane, TimeBase};
use dataplane::channel::{self, ControlLink, Stopper};
use dataplane::clock::{Clock, TscModel};
use dataplane::eal::{Eal, EalOptions, LogLevel};
use dataplane::intent::inlet::Inlet;
use dataplane::intent::shm::ShmRing;
use dataplane::intent::udp::UdpChannel;
use dataplane::lane::Lane;
use dataplane::lane::kpi_cost::KpiCost;
use dataplane::lane::stages::Stages;
use dataplane::large_pages;
use dataplane::paths::{Connections, Probe};
use dataplane::patience::Patience;
use dataplane::placement::thread_name;
use dataplane::pool::Pool;
use dataplane::port::Tx;
use dataplane::port::device::Driver;
use dataplane::port::faults::Faults;
use dataplane::port::live::{LiveRx, LiveTx};
use dataplane::port::thread::{PortHandle, PortThread};
use dataplane::rx_worker::Intake;
use dataplane::stop_page::{PageReader, StopPage};
use dataplane::thread::DataCore;
use dataplane::unmapping;
use model::config::{Arrangement, Config, Device, Pair, SampleRing};
use model::inflight::CompletionSource;
use model::kpi::{Block, KpiPlan};
use model::pacer::Roster;
use model::time::Nanos;

use super::devices::LiveDevices;
use super::ports::{OpenPort, clock_steps, open_ports};
use super::signals::End;
use super::work::{CoreDone, Loop, Work};

/// Buffers in the cache of a data core.
const POOL_CACHE: u32 = 512;
/// Alarms that a core's event ring holds beside the answers to commands.
const ALARMS: usize = 1_024;
/// How long a core may take beyond its drain to end.
const JOIN_WAIT: Duration = Duration::from_secs(2);
/// How long the port thread may take to close all ports.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Out-of-band records that may wait for a core on either way.
const INTENT_RECORDS: usize = 4_096;

type LiveLane = Lane<LiveRx, LiveTx>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A data core before it runs.
struct Prepared {
    cpu: usize,
    work: Work,
    plan: KpiPlan,
    /// How its clock is stepped, in a drill.
    steps: Option<Faults>,
}

/// A running data core.
struct Running {
    thread: JoinHandle<Option<CoreDone>>,
    stopper: Stopper<Block>,
    /// It receives for a core that paces.
    receives: bool,
}

/// What control gets of a data core.
pub struct CoreEnd {
    /// Its side of the channel.
    pub link: ControlLink<Block>,
    /// Its CPU.
    pub cpu: usize,
    /// What it counts.
    pub plan: KpiPlan,
    /// The ordering groups of its lanes.
    pub rosters: Vec<Arc<Roster>>,
}

/// The data plane of a run.
pub struct Gateway {
    // Dropped in this order: queues are with the cores, ports close, the pool goes, then EAL.
    cores: Vec<Running>,
    handles: Vec<PortHandle>,
    ports: PortThread,
    pool: Pool,
    drain_max: Nanos,
    /// The UDP side channel of intent; it ends with the gateway.
    _side_channel: Option<UdpChannel>,
}

/// What is left of a data plane.
pub struct Ended {
    /// What the devices lost.
    pub device_lost: u64,
    /// Buffers that did not come back.
    pub mbufs_leaked: u32,
    /// Of bench wrappers: TSC cycles, packets.
    pub bench_cost: Option<(u64, u64)>,
    /// Of a lane with a bench wrapper that was asked for it: where its cycles went.
    pub bench_stages: Option<Stages>,
    /// What the KPIs cost there, in a bench that asks for it.
    pub bench_kpi_cost: Option<KpiCost>,
    /// Flows that classifiers behind a bench wrapper have seen.
    pub bench_flows_seen: usize,
    /// Flows that were written for them.
    pub bench_flows: usize,
    /// Flows that found the table full.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
}

impl Gateway {
    /// Opens the ports and starts the cores. `ports` was spawned before capabilities were dropped.
    ///
    /// # Errors
    /// Whatever was demanded and is not there; nothing forwards then.
    pub fn start(
        config: &Config,
        ports: PortThread,
        page: &Arc<StopPage>,
        model: TscModel,
        ends: &Sender<End>,
    ) -> Result<(Self, Vec<CoreEnd>)> {
        let eal = Eal::init(&EalOptions {
            memory_bytes: config.dpdk.memory_bytes,
            hugepages: config.dpdk.hugepages,
            control_cpu: config.gateway.control_cpu,
            file_prefix: format!("wirepace-{}", config.gateway.name),
            log_level: LogLevel::Warning,
            pci: config.ports.iter().any(|port| matches!(port.device, Device::Pci(_))),
            telemetry: config.dpdk.telemetry,
        })?;
        let pool =
            Pool::create(&eal, "packets", config.dpdk.mbufs, config.dpdk.mbuf_bytes, POOL_CACHE)?;
        let (handles, mut open) = open_ports(config, &ports, &pool, model)?;
        let start = Clock::new(model).now();
        assemble::one_pacer_each(config)?;
        let mut prepared = Vec::new();
        for pair in &config.pairs {
            prepared.append(&mut prepare(config, &pool, pair, &mut open, start)?);
            if pair.link_follow {
                ports.follow(&handles[pair.inside], &handles[pair.venue])?;
            }
            let (a, b) = (handles[pair.inside].facts(), handles[pair.venue].facts());
            if a.mtu != b.mtu {
                tracing::warn!("MTU {} of {} and {} of {} differ", a.mtu, a.name, b.mtu, b.name);
            }
        }
        let side_channel = take_records(config, &mut prepared)?;
        let drain_max = config.gateway.drain_max;
        let mut gateway = Self {
            cores: Vec::new(),
            handles,
            ports,
            pool,
            drain_max,
            _side_channel: side_channel,
        };
        let mut control_ends = Vec::new();
        for core in prepared {
            match gateway.spawn(config, core, page, model, ends.clone()) {
                Ok((running, end)) => {
                    gateway.cores.push(running);
                    control_ends.push(end);
                }
                Err(error) => {
                    // The cores that run already hold queues, and the ports wait for those.
                    if let Err(also) = gateway.stop() {
                        tracing::error!("{also}");
                    }
                    return Err(error);
                }
            }
        }
        Ok((gateway, control_ends))
    }

    /// The ports, in the order of the config.
    pub fn ports(&self) -> &[PortHandle] {
        &self.handles
    }

    /// The pool and the ports, for control.
    pub fn devices(&self, reserve: u32) -> LiveDevices {
        LiveDevices { pool: self.pool.clone(), reserve, ports: self.handles.clone() }
    }

    /// Tells every core to drain and end, and waits for them: those that receive first, so that those
    /// that pace find everything in the rings.
    ///
    /// # Errors
    /// A core that does not end in time.
    pub fn stop(&mut self) -> Result<Stopped> {
        let mut finished = Vec::new();
        let (receive, pace): (Vec<_>, Vec<_>) =
            self.cores.drain(..).partition(|core| core.receives);
        let drain_max = Duration::from_nanos(self.drain_max.0);
        for (cores, wait) in [(receive, JOIN_WAIT), (pace, drain_max + JOIN_WAIT)] {
            cores.iter().for_each(|core| core.stopper.stop());
            let mut patience = Patience::new(wait);
            for core in cores {
                while !core.thread.is_finished() {
                    if !patience.wait() {
                        return Err("a data core does not end".into());
                    }
                }
                match core.thread.join() {
                    Ok(Some(done)) => finished.push(done),
                    _ => return Err("a data core ended by a panic".into()),
                }
            }
        }
        Ok(Stopped { finished })
    }

    /// Closes the ports and counts what came back.
    ///
    /// # Errors
    /// A port that does not close.
    pub fn close(self, stopped: Stopped) -> Result<Ended> {
        let mut ended = Ended {
            device_lost: 0,
            mbufs_leaked: 0,
            bench_cost: None,
            bench_stages: None,
            bench_kpi_cost: None,
            bench_flows_seen: 0,
            bench_flows: 0,
            flow_table_full: 0,
            over_budget: 0,
        };
        for handle in &self.handles {
            ended.device_lost += handle.device_stats()?.lost();
        }
        for core in stopped.finished {
            ended.flow_table_full += core.flow_table_full;
            ended.over_budget += core.over_budget;
            ended.bench_stages = ended.bench_stages.or_else(|| core.bench_stages.clone());
            ended.bench_kpi_cost = ended.bench_kpi_cost.or_else(|| core.bench_kpi_cost.clone());
            if let Some((cycles, packets)) = core.bench_cost {
                let (c, p) = ended.bench_cost.unwrap_or_default();
                ended.bench_cost = Some((c + cycles, p + packets));
                ended.bench_flows_seen += core.bench_flows_seen;
                ended.bench_flows += core.bench_flows;
            }
            // Its queues go back.
            drop(core);
        }
        let Self { handles, ports, pool, .. } = self;
        drop(handles);
        ports.shutdown(CLOSE_WAIT)?;
        ended.mbufs_leaked = pool.in_use();
        Ok(ended)
    }

    fn spawn(
        &self,
        config: &Config,
        core: Prepared,
        page: &Arc<StopPage>,
        model: TscModel,
        ends: Sender<End>,
    ) -> Result<(Running, CoreEnd)> {
        let Prepared { cpu, work, plan, steps } = core;
        let (receives, rosters) = (work.receives(), work.rosters());
        let normal = Box::new(config.profiles[0].clone());
        let spare = Box::new(Block::new(&plan));
        let ring = SampleRing::of(config, config.timeline.as_ref());
        let samples = if receives { 1 } else { ring.rows };
        let (link, control) = channel::link(samples, ALARMS, normal, spare);
        unmapping::wait_for_turns_of(&control);
        let stopper = control.stopper();
        let words = PageReader::new(Arc::clone(page));
        let work = Loop::new(config, work, link, &plan, words, Clock::new(model), steps.as_ref());
        tracing::info!("{} MiB of memory lie on large pages", large_pages::ask() >> 20);
        let pool = self.pool.clone();
        let (ready, is_ready) = channel();
        let thread = std::thread::Builder::new().name(thread_name(cpu)).spawn(move || {
            let core = match DataCore::enter(Some(cpu), &[pool]) {
                Ok(core) => core,
                Err(error) => {
                    // The receiver waits for exactly this.
                    let _ = ready.send(Err(error));
                    return None;
                }
            };
            let _ = ready.send(Ok(()));
            let finished = catch_unwind(AssertUnwindSafe(|| work.run()));
            drop(core);
            if finished.is_err() {
                let end = End::Fatal(format!("the data core on CPU {cpu} panicked"));
                // Main may be ending already.
                let _ = ends.send(end);
            }
            finished.ok()
        })?;
        is_ready.recv()??;
        Ok((Running { thread, stopper, receives }, CoreEnd { link: control, cpu, plan, rosters }))
    }
}

/// Cores that have ended and still own their queues.
pub struct Stopped {
    finished: Vec<CoreDone>,
}

/// The cores of a pair: the one that paces first.
fn prepare(
    config: &Config,
    pool: &Pool,
    pair: &Pair,
    open: &mut [OpenPort],
    start: Nanos,
) -> Result<Vec<Prepared>> {
    let cpu = pair.core.cpu().ok_or("a pair without a core")?;
    let pipeline = pair.arrangement == Arrangement::Pipeline;
    let mut whole: Vec<LiveLane> = Vec::new();
    let mut pacing: Vec<PipelineLane<LiveTx>> = Vec::new();
    let mut intakes: Vec<Vec<Intake<LiveRx>>> = pair.rx_cores.iter().map(|_| Vec::new()).collect();
    let mut egress = Vec::new();
    // Queues are dealt out in turn to the cores that receive.
    let mut dealt = 0;
    let mut second = second_path(config, pair, open)?;
    let mut connections = None;
    for (from, to) in [(pair.inside, pair.venue), (pair.venue, pair.inside)] {
        let queues = std::mem::take(&mut open[from].rx);
        let tx = open[to].tx.take().ok_or("a port is in two pairs")?;
        let completion = assemble::completion_source(&config.ports[to], offered(&tx))?;
        egress.push((to, completion));
        if !pipeline {
            let (base, rx, to_port) = (TimeBase::Tsc, LiveRx::of(queues), to);
            let (from, to) = ((from, rx), (to, tx));
            let mut lane = assemble::lane(config, pool, base, start, 0, from, to, completion)?;
            if let Some(Second { tx, port, probes, follows }) =
                second.take_if(|_| to_port == pair.venue)
            {
                let lane_of = (pair, lane);
                lane = assemble::with_second_path(config, pool, base, 0, lane_of, tx, probes)?;
                egress.push((port, assemble::second_completion(&config.ports[port])));
                connections = Some(follows);
            }
            whole.push(lane);
            continue;
        }
        let mut of_core: Vec<Vec<LiveRx>> = intakes.iter().map(|_| Vec::new()).collect();
        for queue in queues {
            of_core[dealt % intakes.len()].push(queue);
            dealt += 1;
        }
        let (cores, sources): (Vec<usize>, Vec<LiveRx>) = of_core
            .into_iter()
            .enumerate()
            .filter(|(_, queues)| !queues.is_empty())
            .map(|(core, queues)| (core, LiveRx::of(queues)))
            .unzip();
        let (base, ring) = (TimeBase::Tsc, pair.ring);
        let (from, to) = ((from, sources), (to, tx));
        let (lane, received) =
            assemble::pipeline(config, pool, base, start, 0, ring, from, to, completion)?;
        pacing.push(lane);
        cores.into_iter().zip(received).for_each(|(core, intake)| intakes[core].push(intake));
    }
    let plan = assemble::kpi_plan(config, &egress, TimeBase::Tsc);
    let work = if pipeline { Work::Paces(pacing) } else { Work::Everything(whole, connections) };
    let steps = clock_steps(config, pair);
    let mut cores = vec![Prepared { cpu, work, plan, steps }];
    for (&cpu, intakes) in pair.rx_cores.iter().zip(intakes) {
        let plan = assemble::kpi_plan(config, &[], TimeBase::Tsc);
        cores.push(Prepared { cpu, work: Work::Receives(intakes), plan, steps: None });
    }
    Ok(cores)
}

/// The second path of a pair, while its lanes are made.
struct Second {
    tx: LiveTx,
    port: usize,
    probes: [Arc<Probe>; 2],
    follows: Connections,
}

/// Takes the port of the second path of `pair`, where it has one: its queues join those of the first,
/// so that one lane receives from both.
fn second_path(config: &Config, pair: &Pair, open: &mut [OpenPort]) -> Result<Option<Second>> {
    let Some(rules) = pair.second_path else { return Ok(None) };
    let port = rules.venue;
    let sources = [pair.venue, port].map(|port| LiveRx::of(std::mem::take(&mut open[port].rx)));
    let Some(joined) = assemble::join(config, pair, sources) else { return Ok(None) };
    open[pair.venue].rx = joined.sources.map(|path| LiveRx::Path(Box::new(path))).into();
    let tx = open[port].tx.take().ok_or("a port is in two pairs")?;
    Ok(Some(Second { tx, port, probes: joined.probes, follows: joined.connections }))
}

/// Gives the lanes from inside their out-of-band records: a ring of its own for each pair (the first
/// at the path of the config, the others at that path with `-1`, `-2`, ...), and all the side channel,
/// which lasts as long as the value that comes back. In a pipeline nothing takes records: the config
/// is refused before.
fn take_records(config: &Config, prepared: &mut [Prepared]) -> Result<Option<UdpChannel>> {
    let mut lanes: Vec<&mut [LiveLane]> =
        prepared.iter_mut().filter_map(|core| core.work.whole_lanes()).collect();
    let (channel, queues) = match config.intent.udp {
        Some(address) => {
            let (channel, queues) = UdpChannel::start(address, lanes.len(), INTENT_RECORDS)?;
            (Some(channel), queues)
        }
        None => (None, Vec::new()),
    };
    let mut queues = queues.into_iter();
    for (index, lanes) in lanes.iter_mut().enumerate() {
        let ring = match &config.intent.shm {
            Some(path) if index == 0 => Some(ShmRing::create(path.as_ref(), INTENT_RECORDS)?),
            Some(path) => {
                Some(ShmRing::create(format!("{path}-{index}").as_ref(), INTENT_RECORDS)?)
            }
            None => None,
        };
        let queue = queues.next();
        if let Some(desk) = lanes.iter_mut().find_map(LiveLane::intent_mut)
            && (ring.is_some() || queue.is_some())
        {
            desk.set_inlet(Inlet::new(ring, queue));
        }
    }
    Ok(channel)
}

/// The best completions that a device offers. All ports share one pool, so net_af_xdp sends without
/// copying and a reference count tells when the kernel is done.
fn offered(tx: &LiveTx) -> CompletionSource {
    match tx.queue().driver() {
        Driver::Ring if tx.ring_occupancy().is_some() => CompletionSource::RingCount,
        Driver::AfXdp | Driver::Pci => CompletionSource::RefcountProbe,
        _ => CompletionSource::Synchronous,
    }
}
