//! From a checked config to running data cores: ports, lanes, workers.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::assemble::{self, TimeBase};
use dataplane::channel::{self, ControlLink, Stopper};
use dataplane::clock::{Clock, TscModel};
use dataplane::eal::{Eal, EalOptions, LogLevel};
use dataplane::intent::inlet::Inlet;
use dataplane::intent::shm::ShmRing;
use dataplane::intent::udp::UdpChannel;
use dataplane::lane::Lane;
use dataplane::lane::stages::Stages;
use dataplane::large_pages;
use dataplane::pool::Pool;
use dataplane::port::Tx;
use dataplane::port::bench::BenchRx;
use dataplane::port::device::{DeviceSpec, Driver};
use dataplane::port::dpdk::{LaunchState, PortFacts, PortSpec, RxQueue, TxQueue};
use dataplane::port::faults::{FaultClock, FaultRx, FaultTx, Faults};
use dataplane::port::live::{LiveRx, LiveTx};
use dataplane::port::thread::{PortHandle, PortThread};
use dataplane::sampler::Sampler;
use dataplane::stop_page::{PageReader, StopPage};
use dataplane::thread::DataCore;
use dataplane::worker::{Finished, Worker, WorkerParts};
use model::config::{Config, Device, Pair, Port, PortIntent, SHIM_BYTES_MAX};
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates, KpiPlan};
use model::time::Nanos;

use super::signals::End;

/// Buffers in the cache of a data core.
const POOL_CACHE: u32 = 512;
/// Header of a frame, which an MTU does not count.
const ETHERNET_BYTES: u32 = 14;
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

/// An open port whose queues wait for their core.
struct OpenPort {
    rx: Option<LiveRx>,
    tx: Option<LiveTx>,
}

/// A data core before it runs.
struct Prepared {
    cpu: usize,
    lanes: Vec<LiveLane>,
    plan: KpiPlan,
}

/// A running data core.
struct Running {
    thread: JoinHandle<Option<Finished<LiveRx, LiveTx>>>,
    stopper: Stopper<Block>,
}

/// What control gets of a data core.
pub struct CoreEnd {
    /// Its side of the channel.
    pub link: ControlLink<Block>,
    /// Its CPU.
    pub cpu: usize,
    /// What it counts.
    pub plan: KpiPlan,
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
    /// Flows that lanes with a bench wrapper have seen.
    pub bench_flows_seen: usize,
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
        })?;
        let pool =
            Pool::create(&eal, "packets", config.dpdk.mbufs, config.dpdk.mbuf_bytes, POOL_CACHE)?;
        let (handles, mut open) = open_ports(config, &ports, &pool, model)?;
        let start = Clock::new(model).now();
        let mut prepared = Vec::new();
        for pair in &config.pairs {
            prepared.push(prepare(config, &pool, pair, &mut open, start)?);
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

    /// Tells every core to drain and end, and waits for them.
    ///
    /// # Errors
    /// A core that does not end in time.
    pub fn stop(&mut self) -> Result<Stopped> {
        for core in &self.cores {
            core.stopper.stop();
        }
        let deadline = Instant::now() + Duration::from_nanos(self.drain_max.0) + JOIN_WAIT;
        let mut finished = Vec::new();
        for core in self.cores.drain(..) {
            while !core.thread.is_finished() {
                if Instant::now() >= deadline {
                    return Err("a data core does not end".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            match core.thread.join() {
                Ok(Some(core)) => finished.push(core),
                _ => return Err("a data core ended by a panic".into()),
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
            bench_flows_seen: 0,
            flow_table_full: 0,
            over_budget: 0,
        };
        for handle in &self.handles {
            ended.device_lost += handle.device_stats()?.lost();
        }
        for lane in stopped.finished.into_iter().flat_map(|core| core.lanes) {
            ended.bench_stages = ended.bench_stages.or_else(|| lane.stages().cloned());
            let parts = lane.close();
            ended.flow_table_full += parts.classifier.counters().flow_table_full;
            ended.over_budget += parts.pacer.counters().over_budget;
            if let Some((cycles, packets)) = parts.rx.bench_cost() {
                let (c, p) = ended.bench_cost.unwrap_or_default();
                ended.bench_cost = Some((c + cycles.0, p + packets));
                ended.bench_flows_seen += parts.classifier.flows();
            }
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
        let Prepared { cpu, lanes, plan } = core;
        let steps = clock_steps(config, &lanes);
        let normal = Box::new(config.profiles[0].clone());
        let spare = Box::new(Block::new(&plan));
        let (link, control) = channel::link(config.control.sample_ring, ALARMS, normal, spare);
        let parts = WorkerParts {
            lanes,
            link,
            aggregates: CoreAggregates::new(&plan).counting_only(
                config.ports.iter().any(|port| port.bench.is_some_and(|bench| !bench.kpis)),
            ),
            last_block: Box::new(Block::new(&plan)),
            sampler: Sampler::new(config.gateway.seed, config.control.sample_one_in),
            words: PageReader::new(Arc::clone(page)),
            drain_max: config.gateway.drain_max,
        };
        tracing::info!("{} MiB of memory lie on large pages", large_pages::ask() >> 20);
        let stopper = control.stopper();
        let pool = self.pool.clone();
        let (ready, is_ready) = channel();
        let thread =
            std::thread::Builder::new().name(format!("wp-data-{cpu}")).spawn(move || {
                let core = match DataCore::enter(Some(cpu), &[pool]) {
                    Ok(core) => core,
                    Err(error) => {
                        // The receiver waits for exactly this.
                        let _ = ready.send(Err(error));
                        return None;
                    }
                };
                let _ = ready.send(Ok(()));
                let finished = catch_unwind(AssertUnwindSafe(|| match steps {
                    None => Worker::new(parts, Clock::new(model)).run(),
                    Some(faults) => {
                        let clock = FaultClock::new(Clock::new(model), &faults);
                        Worker::new(parts, clock).run()
                    }
                }));
                drop(core);
                if finished.is_err() {
                    let end = End::Fatal(format!("the data core on CPU {cpu} panicked"));
                    // Main may be ending already.
                    let _ = ends.send(end);
                }
                finished.ok()
            })?;
        is_ready.recv()??;
        Ok((Running { thread, stopper }, CoreEnd { link: control, cpu, plan }))
    }
}

/// Cores that have ended and still own their queues.
pub struct Stopped {
    finished: Vec<Finished<LiveRx, LiveTx>>,
}

fn open_ports(
    config: &Config,
    ports: &PortThread,
    pool: &Pool,
    model: TscModel,
) -> Result<(Vec<PortHandle>, Vec<OpenPort>)> {
    let mut handles = Vec::new();
    let mut open = Vec::new();
    for (index, port) in config.ports.iter().enumerate() {
        let cuts_frames = assemble::cuts_frames(config, index);
        let spec = PortSpec { cuts_frames, ..PortSpec::try_from(port)? };
        let (handle, rx, tx) = ports.open(spec, pool)?;
        let facts = handle.facts();
        tracing::info!(
            "port {}: {} ({}), {}, MTU {}",
            facts.name,
            facts.device,
            facts.driver_name,
            facts.reception.name(),
            facts.mtu
        );
        refuse_shims_without_room(port, facts.mtu)?;
        say_what_the_nic_does(port, facts);
        let rx = match port.bench {
            None => LiveRx::Queue(rx),
            Some(mix) => LiveRx::Bench(bench(rx, mix, config.gateway.seed, model)),
        };
        let (rx, tx) = with_faults(port, pool, rx, tx);
        open.push(OpenPort { rx: Some(rx), tx: Some(tx) });
        handles.push(handle);
    }
    Ok((handles, open))
}

/// How the clock of the core with `lanes` is stepped, if it is.
fn clock_steps(config: &Config, lanes: &[LiveLane]) -> Option<Faults> {
    lanes
        .iter()
        .filter_map(|lane| config.ports[usize::from(lane.parts().rx_port)].faults.as_ref())
        .find(|faults| faults.clock_step_every > Nanos::ZERO)
        .map(Faults::from)
}

/// The queues of a port as its lanes use them.
fn with_faults(port: &Port, pool: &Pool, rx: LiveRx, tx: TxQueue) -> (LiveRx, LiveTx) {
    let Some(faults) = port.faults.as_ref().map(Faults::from) else {
        return (rx, LiveTx::Queue(tx));
    };
    tracing::warn!("port {}: faults are on: {faults:?}", port.name);
    let burst = usize::from(port.rx_burst);
    let rx = FaultRx::new(rx, pool.clone(), burst, &faults);
    (LiveRx::Faults(Box::new(rx)), LiveTx::Faults(Box::new(FaultTx::new(tx, &faults))))
}

/// What was wished of the NIC and is not to be had, and which clock stamps arrivals.
fn say_what_the_nic_does(port: &Port, facts: &PortFacts) {
    let (name, driver) = (&facts.name, &facts.driver_name);
    if facts.launch_time == LaunchState::Missing {
        tracing::warn!(
            "port {name}: launch times are off: the driver {driver} cannot send at a given time, so \
             packets leave when the pacer hands them over"
        );
    }
    if port.timesync && !facts.timesync {
        tracing::warn!("port {name}: the driver {driver} stamps no departures: they are the TSC's");
    }
    if let Some(clock) = facts.packet_clock {
        tracing::info!(
            "port {name}: arrivals are stamped by the device's clock ({})",
            clock.name()
        );
    }
}

/// A shim makes a frame from inside longer than what goes on: an interface of the kernel cuts off, or
/// never sees, what its MTU has no room for.
fn refuse_shims_without_room(port: &Port, mtu: u16) -> Result<()> {
    let of_kernel = DeviceSpec::try_from(&port.device)?.kernel_interface().is_some();
    let wanted = u32::from(port.frame_bytes_max) + SHIM_BYTES_MAX - ETHERNET_BYTES;
    if port.intent == PortIntent::Off || !of_kernel || u32::from(mtu) >= wanted {
        return Ok(());
    }
    let (name, frame) = (&port.name, port.frame_bytes_max);
    Err(format!(
        "port {name}: an MTU of {mtu} has no room for intent shims beside frames of {frame} bytes: raise \
         it to {wanted}, or lower frame_max"
    )
    .into())
}

fn bench(
    rx: RxQueue,
    mix: model::config::BenchFlows,
    seed: u64,
    model: TscModel,
) -> BenchRx<RxQueue> {
    BenchRx::new(rx, mix, seed, Clock::new(model))
}

fn prepare(
    config: &Config,
    pool: &Pool,
    pair: &Pair,
    open: &mut [OpenPort],
    start: Nanos,
) -> Result<Prepared> {
    let cpu = pair.core.cpu().ok_or("a pair without a core")?;
    let mut lanes = Vec::new();
    let mut egress = Vec::new();
    for (from, to) in [(pair.inside, pair.venue), (pair.venue, pair.inside)] {
        let rx = open[from].rx.take().ok_or("a port is in two pairs")?;
        let tx = open[to].tx.take().ok_or("a port is in two pairs")?;
        let completion = assemble::completion_source(&config.ports[to], offered(&tx))?;
        egress.push((to, completion));
        lanes.push(assemble::lane(
            config,
            pool,
            TimeBase::Tsc,
            start,
            0,
            (from, rx),
            (to, tx),
            completion,
        )?);
    }
    let plan = assemble::kpi_plan(config, &egress, TimeBase::Tsc);
    Ok(Prepared { cpu, lanes, plan })
}

/// Gives the lanes from inside their out-of-band records: a ring of its own for each pair (the first
/// at the path of the config, the others at that path with `-1`, `-2`, ...), and all the side channel,
/// which lasts as long as the value that comes back.
fn take_records(config: &Config, prepared: &mut [Prepared]) -> Result<Option<UdpChannel>> {
    let (channel, queues) = match config.intent.udp {
        Some(address) => {
            let (channel, queues) = UdpChannel::start(address, prepared.len(), INTENT_RECORDS)?;
            (Some(channel), queues)
        }
        None => (None, Vec::new()),
    };
    let mut queues = queues.into_iter();
    for (index, core) in prepared.iter_mut().enumerate() {
        let ring = match &config.intent.shm {
            Some(path) if index == 0 => Some(ShmRing::create(path.as_ref(), INTENT_RECORDS)?),
            Some(path) => {
                Some(ShmRing::create(format!("{path}-{index}").as_ref(), INTENT_RECORDS)?)
            }
            None => None,
        };
        let queue = queues.next();
        if let Some(desk) = core.lanes.iter_mut().find_map(LiveLane::intent_mut)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_needs_64_bytes_of_mtu_on_an_interface_of_the_kernel() {
        let text = include_str!("../../configs/gateway.toml");
        let shim = text.replacen("intent = \"off\"", "intent = \"shim\"", 1);
        let port = |text: &str| Config::from_toml("f", text).unwrap().ports[0].clone();
        // 1514 bytes with their header of 14, and 64 more.
        assert!(refuse_shims_without_room(&port(&shim), 1564).is_ok());
        let error = refuse_shims_without_room(&port(&shim), 1563).unwrap_err().to_string();
        assert!(error.contains("raise it to 1564"), "{error}");
        assert!(refuse_shims_without_room(&port(text), 1500).is_ok());
        let null = shim.replace("net_af_xdp0,iface=gw-in", "net_null0");
        assert!(refuse_shims_without_room(&port(&null), 1500).is_ok());
    }
}
