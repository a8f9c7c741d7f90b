//! A capture through the gateway in virtual time: the same lane, pacer and port types as live,
//! stepped by one thread from event to event. Call [`replay`].
//!
//! What comes out is a pure function of capture, config and seed; what depends on the machine is
//! kept apart in [`HostUse`].

mod error;
mod pmd;
mod sink;
mod source;
mod strategy;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::regimes::{RegimeSettings, Regimes};
use control::timeline::{self, Place, Timeline, TimelineError, WhenFull, Written};
use dataplane::clock::{BASELINE_MIN, Calibrator};
use dataplane::eal::{Eal, EalError, EalOptions, LogLevel};
use dataplane::pool::Pool;
use dataplane::port::in_turn::InTurn;
use dataplane::thread::DataCore;
use dataplane::worker::NoWords;
use model::config::{Config, Device, Pair};
use model::inflight::CompletionSource;
use model::kpi::{Report, Totals};
use model::time::Nanos;
use serde_json::Value;

use crate::capture::CaptureReader;
use crate::drill::model::reactive::{Reaction, Strategy};
use crate::world::nic::{self, QueueRx};
use crate::world::{self, Ends, FrameRx, Frames, Nothing, Ports, VIRTUAL};
pub use error::ReplayError;
use pmd::Pmd;
use sink::CaptureTx;
use source::{CaptureFrames, Records, Source};
use strategy::{Orders, WatchedTx};

/// Buffers in the cache of the one core.
const POOL_CACHE: u32 = 256;

/// What to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// Capture of what comes from inside; without one nothing does.
    pub input: Option<PathBuf>,
    /// Capture of what comes from the venue. With one both directions of the pair are replayed.
    pub from_venue: Option<PathBuf>,
    /// Capture to write: nanosecond pcapng, a packet's time is its acceptance by the port.
    pub output: PathBuf,
    /// The same of what is delivered to the inside.
    pub delivered: Option<PathBuf>,
    /// A modelled strategy on the inside that reacts to what is delivered.
    pub reaction: Option<Reaction>,
    /// Read through net_pcap.
    pub via_pmd: bool,
    /// Index of the profile in force.
    pub profile: usize,
    /// Timeline to write; its other tables stand beside it.
    pub timeline: Option<PathBuf>,
    /// Freeze what baselines have learned at the end.
    pub freezes: bool,
}

/// What a replay used of the machine. Nothing else in an [`Outcome`] depends on it.
#[derive(Clone, Copy, Debug)]
pub struct HostUse {
    /// Wall time of everything, the start of DPDK included.
    pub wall: Duration,
    /// Wall time of the loop that moves packets.
    pub wall_of_loop: Duration,
    /// TSC frequency.
    pub tsc_hz: u64,
}

/// What came of it.
pub struct Outcome {
    /// Sums.
    pub totals: Totals,
    /// KPIs of the whole capture.
    pub report: Report,
    /// The regime machines, as they ended.
    pub regimes: Regimes,
    /// The answer to the freeze at the end, where one was asked for.
    pub frozen: Option<Value>,
    /// First arrival to last event that moved a packet.
    pub duration: Nanos,
    /// Records that net_pcap did not hand out; 0 with our reader.
    pub device_lost: u64,
    /// Buffers that did not come back. Must be 0.
    pub mbufs_leaked: u32,
    /// Capture stamps that went backwards and were moved up to the one before.
    pub stamps_backwards: u64,
    /// Flows that found the flow table full and shared one with others of their class.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
    /// Alarms of the data core by name; only those that were raised. `backpressure` counts reports
    /// to control and not packets.
    pub alarms: BTreeMap<&'static str, u64>,
    /// Faults of the KPIs' or the in-flight account's books. Must be 0.
    pub book_faults: u64,
    /// Why the capture ended before its end: file, record and byte. Everything before was replayed.
    pub capture_fault: Option<crate::capture::CaptureError>,
    /// What the timeline has come to, where one was asked for.
    pub timeline: Option<Written>,
    /// See [`HostUse`].
    pub host: HostUse,
}

/// Runs the captures of `options` through the first pair of `config`: from inside to venue, and, with
/// [`Options::from_venue`], the other way too. Returns when the last packet has left: the drain at the end
/// has no limit.
///
/// A capture that breaks off is replayed up to there, see [`Outcome::capture_fault`]. (With
/// `via_pmd` one that is damaged, not just cut off, is refused: net_pcap reads a copy of it.)
///
/// # Errors
/// See [`ReplayError`]. What is wrong with the files shows before DPDK is started.
pub fn replay(config: &Config, options: &Options) -> Result<Outcome, ReplayError> {
    let began = Instant::now();
    let pair = capture_pair(config)?;
    let (ingress, egress) = (&config.ports[pair.inside], &config.ports[pair.venue]);
    let regimes = RegimeSettings::new(config, VIRTUAL.to_owned())
        .map_err(|error| ReplayError::Config(error.to_string()))?;
    let reader = options.input.as_deref().map(CaptureReader::open).transpose()?;
    let from_venue = options.from_venue.as_deref().map(CaptureReader::open).transpose()?;
    let pmd = match &options.input {
        Some(input) if options.via_pmd => Some(Pmd::prepare(input)?),
        _ => None,
    };
    let paced = CaptureTx::create(Some(&options.output), egress)?;
    let delivered = CaptureTx::create(options.delivered.as_deref(), ingress)?;
    let timeline = options.timeline.as_ref().map(|path| timeline(config, path)).transpose()?;
    let (_, tsc) = Calibrator::start(BASELINE_MIN)?;

    let eal = start_eal(config)?;
    let pool =
        Pool::create(&eal, "packets", config.dpdk.mbufs, config.dpdk.mbuf_bytes, POOL_CACHE)?;
    let core = DataCore::enter(None, std::slice::from_ref(&pool))?;
    let (records, ahead) = match (&pmd, reader) {
        (Some(pmd), _) => {
            let (frames, ahead) = pmd.open(&eal, &ingress.name)?;
            (Records::Pmd(Box::new(frames)), Some(ahead))
        }
        (None, Some(reader)) => (Records::Reader(Box::new(reader)), None),
        (None, None) => (Records::Nothing, None),
    };
    let port = |source, port: usize| {
        FrameRx::new(source, pool.clone(), usize::from(config.ports[port].rx_burst))
    };
    let capture = |records| Source::Capture(Box::new(CaptureFrames::new(records)));
    let back = from_venue.map(|reader| capture(Records::Reader(Box::new(reader))));
    let out = capture(records);
    let first = [Some(&out), back.as_ref()].into_iter().flatten().filter_map(Frames::next_at).min();
    let start = first.unwrap_or(Nanos::ZERO);
    let mut inside = nic::queues(config, pair.inside, port(out, pair.inside));
    let strategy = options.reaction.map(|reaction| {
        let strategy = Strategy::new(reaction, config.gateway.seed);
        let strategy = Rc::new(RefCell::new(strategy));
        let orders = Source::Orders(Orders(Rc::clone(&strategy)));
        inside.push(QueueRx::All(port(orders, pair.inside)));
        strategy
    });
    let completion = CompletionSource::Synchronous;
    let mut ends = vec![Ends {
        rx: (pair.inside, InTurn::new(inside)),
        tx: (pair.venue, WatchedTx { inner: paced, strategy: None }),
        completion,
    }];
    ends.extend(back.map(|back| Ends {
        rx: (pair.venue, InTurn::new(nic::queues(config, pair.venue, port(back, pair.venue)))),
        tx: (pair.inside, WatchedTx { inner: delivered, strategy }),
        completion,
    }));
    let recorder = timeline.as_ref().map(Timeline::recorder);
    let control = world::Control {
        profile: options.profile,
        regimes,
        recorder: recorder.as_ref(),
        freezes: options.freezes,
    };
    let ports = Ports { ends, second: None };
    let ended = world::run(config, &pool, start, ports, control, NoWords, &mut Nothing, tsc)?;

    let timeline = timeline.map(Timeline::finish).transpose()?;
    let (mut fault, mut device_lost) = (None, 0);
    for (port, sink) in ended.ends {
        sink.inner.finish()?;
        for source in nic::into_frames(port) {
            let Source::Capture(frames) = source else { continue };
            let (found, lost) = frames.finish();
            fault = fault.or(found);
            device_lost += lost;
        }
    }
    let truncated = pmd.map(Pmd::close).transpose()?.flatten();
    drop(core);
    Ok(Outcome {
        totals: ended.totals,
        report: ended.report,
        regimes: ended.regimes,
        frozen: ended.frozen,
        duration: ended.duration,
        device_lost,
        mbufs_leaked: pool.in_use() + ahead.map_or(0, |ahead| ahead.in_use()),
        stamps_backwards: ended.stamps_backwards,
        flow_table_full: ended.flow_table_full,
        over_budget: ended.over_budget,
        alarms: ended.alarms,
        book_faults: ended.book_faults,
        capture_fault: fault.or(truncated),
        timeline,
        host: HostUse { wall: began.elapsed(), wall_of_loop: ended.wall, tsc_hz: tsc.tsc_hz() },
    })
}

/// A timeline in one set of files. Nothing of the machine is in it: the same replay writes the same bytes.
fn timeline(config: &Config, path: &Path) -> Result<Timeline, TimelineError> {
    let options = timeline::Options {
        place: Place::File(path.to_owned()),
        when_full: WhenFull::Wait,
        queue_rows: config.timeline.clone().unwrap_or_default().queue_rows,
        host: None,
        env_digest: None,
    };
    Timeline::start(config, options)
}

/// The pair that a replay runs through.
fn capture_pair(config: &Config) -> Result<&Pair, ReplayError> {
    let pair = config.pairs.first().ok_or_else(|| ReplayError::Config("no [[pair]]".into()))?;
    for port in [pair.inside, pair.venue].map(|port| &config.ports[port]) {
        if port.device != Device::Capture {
            let why = format!("port {}: a replay needs device = \"capture\"", port.name);
            return Err(ReplayError::Config(why));
        }
    }
    Ok(pair)
}

fn start_eal(config: &Config) -> Result<Arc<Eal>, EalError> {
    Eal::init(&EalOptions {
        memory_bytes: config.dpdk.memory_bytes,
        hugepages: config.dpdk.hugepages,
        control_cpu: config.gateway.control_cpu,
        file_prefix: format!("wirepace-replay-{}", std::process::id()),
        log_level: LogLevel::Warning,
        pci: false,
        telemetry: false,
    })
}
