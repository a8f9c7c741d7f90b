//! A capture through the gateway in virtual time: the same lane, pacer and port types as live,
//! stepped by one thread from event to event. What comes out is a pure function of capture, config
//! and seed; what depends on the machine is kept apart in [`HostUse`].

mod sink;
mod source;
mod virtual_clock;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::controller::{CoreFacts, Kpis};
use control::kpis::PacketKpis;
use dataplane::assemble::{self, AssembleError, TimeBase};
use dataplane::channel::{self, ControlLink};
use dataplane::clock::{BASELINE_MIN, Calibrator, ClockError};
use dataplane::eal::{Eal, EalError, EalOptions, LogLevel};
use dataplane::locks::{LockDir, LockError};
use dataplane::pool::{Pool, PoolError};
use dataplane::port::Rx;
use dataplane::port::device::{DeviceError, DeviceSpec};
use dataplane::port::dpdk::{PortError, PortSpec};
use dataplane::port::thread::{PortHandle, PortThread, StillOpen};
use dataplane::sampler::Sampler;
use dataplane::thread::{DataCore, DataCoreError};
use dataplane::worker::{NoWords, Worker, WorkerParts};
use model::config::{Config, Device};
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates, Report, Totals};
use model::time::Nanos;

use crate::capture::{
    CaptureError, CaptureReader, ConvertError, PcapngWriter, WriteError, to_plain_pcap,
};
use sink::CaptureTx;
use source::{LookAhead, ReaderRx, Source};
use virtual_clock::VirtualClock;

/// Buffers in the cache of the one core.
const POOL_CACHE: u32 = 256;
/// Turns between two visits to the sample ring: at most a burst of rows a turn, and the ring holds
/// more (see [`SAMPLE_ROWS`]).
const TURNS_PER_DRAIN: u64 = 256;
/// Rows of the sample ring: a drain's turns, each with the largest burst in and out.
const SAMPLE_ROWS: usize = 2 * 256 * TURNS_PER_DRAIN as usize;
/// Turns without a packet at one instant before time is moved on by a slot.
const IDLE_TURNS_MAX: u32 = 64;
/// How long the port thread may take to close a port.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// Capture to read.
    pub input: PathBuf,
    /// Capture to write.
    pub output: PathBuf,
    /// Read through net_pcap.
    pub via_pmd: bool,
    /// Index of the profile in force.
    pub profile: usize,
}

/// What depends on the machine.
#[derive(Clone, Copy, Debug)]
pub struct HostUse {
    /// Wall time of the run.
    pub wall: Duration,
    /// TSC frequency.
    pub tsc_hz: u64,
}

/// What came of it.
pub struct Outcome {
    /// Sums.
    pub totals: Totals,
    /// KPIs.
    pub report: Report,
    /// First arrival to last event that moved a packet.
    pub duration: Nanos,
    /// Lost by a driver before we saw them.
    pub device_lost: u64,
    /// Buffers that did not come back.
    pub mbufs_leaked: u32,
    /// Capture stamps that went backwards and were moved up.
    pub stamps_backwards: u64,
    /// Flows that found the flow table full.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
    /// Bookkeeping faults of the KPIs or the in-flight account; must be 0.
    pub unplanned: u64,
    /// Why the capture ended before its end.
    pub capture_fault: Option<String>,
    /// See [`HostUse`].
    pub host: HostUse,
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The config does not describe a replay.
    #[error("{0}")]
    Config(String),
    /// The capture cannot be read at all.
    #[error(transparent)]
    Read(#[from] CaptureError),
    /// The capture cannot be made readable for net_pcap.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A directory for the converted capture.
    #[error("a temporary directory: {0}")]
    Temporary(std::io::Error),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// No packet buffers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No lane.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// No lcore.
    #[error(transparent)]
    DataCore(#[from] DataCoreError),
    /// No clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// No lock directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A device that cannot be named.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The net_pcap port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The port thread did not start.
    #[error("the port thread: {0}")]
    PortThread(std::io::Error),
    /// The net_pcap port did not close.
    #[error(transparent)]
    StillOpen(#[from] StillOpen),
}

/// Runs `options.input` through the gateway of `config`.
///
/// A capture that breaks off is replayed up to there and reported in the outcome.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(config: &Config, options: &Options) -> Result<Outcome, ReplayError> {
    let began = Instant::now();
    let pair = config.pairs.first().ok_or_else(|| ReplayError::Config("no [[pair]]".into()))?;
    for port in [pair.inside, pair.venue] {
        if config.ports[port].device != Device::Capture {
            return Err(ReplayError::Config(format!(
                "port {}: a replay needs device = \"capture\"",
                config.ports[port].name
            )));
        }
    }
    // Before DPDK is started: what is wrong with the files shows first.
    let reader = CaptureReader::open(&options.input)?;
    let writer = PcapngWriter::create(&options.output)?;
    let (_, tsc) = Calibrator::start(BASELINE_MIN)?;

    let mut pmd = if options.via_pmd { Some(Pmd::prepare(&options.input)?) } else { None };
    let eal = start_eal(config)?;
    let pool =
        Pool::create(&eal, "packets", config.dpdk.mbufs, config.dpdk.mbuf_bytes, POOL_CACHE)?;
    let core = DataCore::enter(None, std::slice::from_ref(&pool))?;

    let burst = usize::from(config.ports[pair.inside].rx_burst);
    let mut handle = None;
    let source = match &mut pmd {
        None => Source::Reader(Box::new(ReaderRx::new(reader, pool.clone(), burst))),
        Some(pmd) => {
            let (rx, port) = pmd.open(config, pair.inside, &pool)?;
            handle = Some(port);
            Source::Pmd(Box::new(LookAhead::new(rx)))
        }
    };
    let egress = &config.ports[pair.venue];
    let sink = CaptureTx::new(writer, &egress.name, u32::from(egress.frame_bytes_max))?;
    let (mut outcome, source, sink) = step(config, &eal, options.profile, source, sink, tsc)?;
    sink.finish()?;
    outcome.capture_fault = source.0.map(|fault| fault.to_string());
    if let Some(port) = handle {
        outcome.device_lost = port.device_stats()?.lost();
    }
    drop(source.1);
    if let Some(pmd) = pmd {
        pmd.close()?;
    }
    drop(core);
    outcome.mbufs_leaked = pool.in_use();
    outcome.host.wall = began.elapsed();
    Ok(outcome)
}

type Ended = (Option<CaptureError>, Source);

fn step(
    config: &Config,
    eal: &Arc<Eal>,
    profile: usize,
    source: Source,
    sink: CaptureTx,
    tsc: dataplane::clock::TscModel,
) -> Result<(Outcome, Ended, CaptureTx), ReplayError> {
    let pair = &config.pairs[0];
    let start = source.next_event().unwrap_or(Nanos::ZERO);
    let completion =
        assemble::completion_source(&config.ports[pair.venue], CompletionSource::Synchronous)?;
    let plan = assemble::kpi_plan(config, &[(pair.venue, completion)], TimeBase::Virtual);
    let lane = assemble::lane(
        config,
        eal,
        TimeBase::Virtual,
        start,
        profile,
        (pair.inside, source),
        (pair.venue, sink),
        completion,
    )?;
    let in_force = Box::new(config.profiles[profile].clone());
    let (link, mut control) = channel::link(SAMPLE_ROWS, 64, in_force, Box::new(Block::new(&plan)));
    let mut kpis = PacketKpis::new(vec![plan.clone()], config.profiles.clone());
    kpis.roll(start, &[core_facts(&control)]);
    let mut worker = Worker::new(
        WorkerParts {
            lanes: vec![lane],
            link,
            aggregates: CoreAggregates::new(&plan),
            last_block: Box::new(Block::new(&plan)),
            sampler: Sampler::new(config.gateway.seed, config.control.sample_one_in),
            words: NoWords,
            drain_max: config.gateway.drain_max,
        },
        VirtualClock::new(start, tsc),
    );

    let (mut now, mut last_move, mut turns, mut idle_turns) = (start, start, 0u64, 0u32);
    loop {
        worker.clock_mut().set(now);
        let turn = worker.poll(now);
        turns += 1;
        if turns.is_multiple_of(TURNS_PER_DRAIN) {
            drain(&mut control, &mut kpis);
        }
        if turn.packets > 0 {
            (last_move, idle_turns) = (now, 0);
        } else {
            idle_turns += 1;
        }
        let next = match worker.next_event(now) {
            Some(next) => next.max(now),
            None if worker.held() == 0 => break,
            // Packets wait for a port that cannot say when it takes them.
            None => now.saturating_add(config.gateway.slot),
        };
        if next > now {
            (now, idle_turns) = (next, 0);
        } else if idle_turns > IDLE_TURNS_MAX {
            (now, idle_turns) = (now.saturating_add(config.gateway.slot), 0);
        }
    }

    let mut finished = worker.finish();
    drain(&mut control, &mut kpis);
    kpis.roll(now, &[core_facts(&control)]);
    let lane = finished.lanes.remove(0);
    let stamps_backwards = lane.stamps_backwards();
    let mut parts = lane.close();
    let figures = parts.inflight.figures(now);
    let account_faults =
        figures.map_or(0, |figures| figures.overruns + figures.surplus_completions);
    let outcome = Outcome {
        totals: kpis.totals(),
        report: kpis.run_report(now),
        duration: last_move.saturating_sub(start),
        device_lost: 0,
        mbufs_leaked: 0,
        stamps_backwards,
        flow_table_full: parts.classifier.counters().flow_table_full,
        over_budget: parts.pacer.counters().over_budget,
        unplanned: kpis.unplanned() + account_faults,
        capture_fault: None,
        host: HostUse { wall: Duration::ZERO, tsc_hz: tsc.tsc_hz() },
    };
    let fault = parts.rx.fault();
    Ok((outcome, (fault, parts.rx), parts.tx))
}

fn core_facts(control: &ControlLink<Block>) -> CoreFacts {
    CoreFacts { profile: control.profile_in_force(), samples_lost: control.samples_lost() }
}

fn drain(control: &mut ControlLink<Block>, kpis: &mut PacketKpis) {
    while let Some(mut block) = control.take_block() {
        kpis.merge(0, &mut block);
        control.give_block(block);
    }
    while let Some(row) = control.take_sample() {
        kpis.sample(0, &row);
    }
    while control.take_event().is_some() {}
}

fn start_eal(config: &Config) -> Result<Arc<Eal>, EalError> {
    Eal::init(&EalOptions {
        memory_bytes: config.dpdk.memory_bytes,
        hugepages: config.dpdk.hugepages,
        control_cpu: config.gateway.control_cpu,
        file_prefix: format!("wirepace-replay-{}", std::process::id()),
        log_level: LogLevel::Warning,
        pci: false,
    })
}

/// What a net_pcap port needs around it.
struct Pmd {
    ports: PortThread,
    plain: PathBuf,
    _directory: tempfile::TempDir,
}

impl Pmd {
    fn prepare(input: &Path) -> Result<Self, ReplayError> {
        let directory = tempfile::tempdir().map_err(ReplayError::Temporary)?;
        let plain = directory.path().join("input.pcap");
        to_plain_pcap(input, &plain)?;
        let ports = PortThread::spawn(LockDir::of_this_user()?, "replay")
            .map_err(ReplayError::PortThread)?;
        Ok(Self { ports, plain, _directory: directory })
    }

    fn open(
        &mut self,
        config: &Config,
        port: usize,
        pool: &Pool,
    ) -> Result<(dataplane::port::dpdk::RxQueue, PortHandle), ReplayError> {
        let p = &config.ports[port];
        let spec = PortSpec {
            name: p.name.clone(),
            device: DeviceSpec::parse(&format!("net_pcap0,rx_pcap={}", self.plain.display()))?,
            frame_bytes_max: p.frame_bytes_max,
            rx_burst: p.rx_burst,
            rx_descriptors: p.rx_descriptors,
            tx_descriptors: p.tx_descriptors,
        };
        let (handle, rx, _tx) = self.ports.open(spec, pool)?;
        Ok((rx, handle))
    }

    fn close(self) -> Result<(), StillOpen> {
        self.ports.shutdown(CLOSE_WAIT)
    }
}
