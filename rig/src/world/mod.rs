//! A gateway in virtual time: one thread that steps what is around it, a data core and control from
//! event to event. Call [`run`].
//!
//! It is the same lane, pacer, KPIs and regime engine as live. What differs is the clock, which jumps
//! to the next event, and the ports, which are whatever [`Ends`] have. What comes out is a pure
//! function of config, seed and surroundings.

mod books;
mod frames;
pub mod nic;
mod source;
mod virtual_clock;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::controller::Kpis;
use control::kpis::{INTERVAL, PacketKpis};
use control::regimes::{RegimeSettings, Regimes};
use control::timeline::{Recorded, Recorder};
use control::windows::Windows;
use dataplane::assemble::{self, AssembleError, TimeBase};
use dataplane::channel;
use dataplane::clock::TscModel;
use dataplane::lane::{Lane, LaneParts, PathCounters};
use dataplane::pool::Pool;
use dataplane::port::in_turn::InTurn;
use dataplane::port::{Rx, Tx};
use dataplane::sampler::Sampler;
use dataplane::worker::{Words, Worker, WorkerParts};
use model::config::Config;
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates, Report, Totals};
use model::time::Nanos;
use serde_json::Value;

use books::Books;
pub use frames::{FrameRx, Frames};
pub use source::Source;
use virtual_clock::VirtualClock;

/// The environment of baselines that virtual time teaches: the same on every machine.
pub const VIRTUAL: &str = "virtual";
/// Turns between two visits to the sample ring.
const TURNS_PER_DRAIN: u64 = 256;
/// Rows of the sample ring: those turns, each with the largest burst in and out, for each lane.
const SAMPLE_ROWS: usize = 2 * 256 * TURNS_PER_DRAIN as usize;
/// Alarms of one turn: a few of each kind.
const ALARMS: usize = 256;
/// Turns at one instant that move nothing. A turn that is asked for and moves nothing looks at a
/// node once; so many of them are a circle.
const STILL_TURNS_MAX: u32 = 1_000_000;

/// Why a world cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// No lane.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Nothing is due, and yet packets wait.
    #[error("{held} packets wait at {at} ns and nothing moves: this is a defect of wirepace")]
    Stuck {
        /// Virtual time, ns since 1970.
        at: Nanos,
        /// How many.
        held: u32,
    },
}

/// What is around the gateway beside its ports: who sends, who receives, who meddles.
pub trait Surroundings {
    /// Does what is due by `now`, before the core's turn.
    fn act(&mut self, _now: Nanos) {}

    /// When it does something next, `None` = never again.
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    /// After a tick of the regime engine, which read `windows`.
    fn on_tick(&mut self, _now: Nanos, _windows: &Windows, _regimes: &mut Regimes) {}

    /// Whether the control thread is stopped at `now`: nobody ticks, reads or sends.
    fn stops_control(&self, _now: Nanos) -> bool {
        false
    }

    /// Whether the compression of acknowledgements so far is frozen as usual at this tick.
    fn freezes_acks(&mut self, _now: Nanos) -> bool {
        false
    }

    /// The in-flight limit of the first egress port, where something outside moves it.
    fn limit_bytes(&self) -> Option<u64> {
        None
    }
}

/// Nothing: all there is comes out of the ports.
pub struct Nothing;

impl Surroundings for Nothing {}

/// The ends of one lane.
pub struct Ends<R, T> {
    /// Index of the ingress port, and the port.
    pub rx: (usize, R),
    /// Index of the egress port, and the port.
    pub tx: (usize, T),
    /// How the egress port tells what has left, unless the config models its link.
    pub completion: CompletionSource,
}

/// The ports of a world.
pub struct Ports<R, T> {
    /// Those of each lane.
    pub ends: Vec<Ends<R, T>>,
    /// The port of the second path of the first pair, receiving and sending.
    pub second: Option<(R, T)>,
}

/// What control does in a world.
pub struct Control<'a> {
    /// Index of the profile that the core starts with.
    pub profile: usize,
    /// How the regime engine starts.
    pub regimes: RegimeSettings,
    /// The timeline, where one was asked for.
    pub recorder: Option<&'a Recorder>,
    /// What baselines have learned is frozen at the end.
    pub freezes: bool,
}

/// What came of a world.
pub struct Ended<R, T> {
    /// Sums.
    pub totals: Totals,
    /// KPIs.
    pub report: Report,
    /// The regime machines, as they ended.
    pub regimes: Regimes,
    /// The answer to the freeze at the end, where one was asked for.
    pub frozen: Option<Value>,
    /// First arrival to last event that moved a packet.
    pub duration: Nanos,
    /// Stamps that went backwards and were moved up.
    pub stamps_backwards: u64,
    /// Flows that found the flow table full.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
    /// Alarms by name.
    pub alarms: BTreeMap<&'static str, u64>,
    /// Faults of the books.
    pub book_faults: u64,
    /// Wall time of the loop.
    pub wall: Duration,
    /// What became of flows, where there is a second path.
    pub path_counters: Option<PathCounters>,
    /// Gives ports back that are no paths, in the order of the lanes.
    pub ends: Vec<(R, T)>,
}

/// Runs lanes between `ends` on one core from `start` until nothing is held and nothing is to come.
///
/// # Errors
/// A lane that cannot be made; a world in which packets wait for nothing.
#[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
pub fn run<R: Rx, T: Tx>(
    config: &Config,
    pool: &Pool,
    start: Nanos,
    Ports { ends, second }: Ports<R, T>,
    Control { profile, regimes, recorder, freezes }: Control<'_>,
    words: impl Words,
    around: &mut impl Surroundings,
    tsc: TscModel,
) -> Result<Ended<R, T>, WorldError> {
    let (mut lanes, mut egress) = (Vec::new(), Vec::new());
    let (pair, base) = (&config.pairs[0], TimeBase::Virtual);
    let (mut second_rx, mut second_tx) = second.unzip();
    let (mut probes, mut connections) = (None, None);
    for Ends { rx: (from, rx), tx, completion } in ends {
        let rx = match second_rx.take_if(|_| from == pair.venue) {
            None => Source::One(rx),
            Some(second) => {
                let Some(joined) = assemble::join(config, pair, [rx, second]) else { continue };
                (probes, connections) = (Some(joined.probes), Some(joined.connections));
                Source::Both(InTurn::new(joined.sources.into()))
            }
        };
        let completion = assemble::completion_source(&config.ports[tx.0], completion)?;
        egress.push((tx.0, completion));
        let rx = (from, rx);
        lanes.push(assemble::lane(config, pool, base, start, profile, rx, tx, completion)?);
    }
    if let (Some(second), Some(tx), Some(probes)) = (pair.second_path, second_tx.take(), probes) {
        let out = lanes.iter().position(|lane| usize::from(lane.parts().tx_port) == pair.venue);
        let out = lanes.swap_remove(out.unwrap_or(0));
        let out = (pair, out);
        let out = assemble::with_second_path(config, pool, base, profile, out, tx, probes)?;
        lanes.insert(0, out);
        let completion = assemble::second_completion(&config.ports[second.venue]);
        egress.push((second.venue, completion));
    }
    let rosters: Vec<_> = lanes.iter().map(Lane::roster).collect();
    let plan = assemble::kpi_plan(config, &egress, TimeBase::Virtual);
    let in_force = Box::new(config.profiles[profile].clone());
    let rows = SAMPLE_ROWS * lanes.len();
    let (link, control) = channel::link(rows, ALARMS, in_force, Box::new(Block::new(&plan)));
    let kpis = PacketKpis::new(vec![plan.clone()], config.profiles.clone());
    let mut books = Books {
        control,
        kpis: Recorded::replayed(kpis.sliding(config.regime.tick), recorder.cloned()),
        // Without a timeline nobody looks at windows.
        window: recorder.map(|_| start.saturating_add(INTERVAL)),
        regimes: Regimes::new(regimes, start).with_groups(rosters),
        tick_at: start.saturating_add(config.regime.tick),
        tick: config.regime.tick,
        egress: egress.iter().map(|(port, _)| *port).collect(),
        is_pinned: profile != 0,
        confirmed: &config.profiles[profile],
        composed: None,
        limit_bytes: None,
        sent: None,
        is_late: false,
        alarms: BTreeMap::new(),
    };
    if let Some(record) = books.regimes.baselines() {
        books.kpis.set_ack_baselines(&record.ack_shares);
    }
    books.roll(start);
    let timeline = recorder.is_some().then(|| config.timeline.clone().unwrap_or_default());
    let sampler = Sampler::of(config, timeline.as_ref());
    let has_two_paths = connections.is_some();
    let mut worker = Worker::new(
        WorkerParts {
            lanes,
            link,
            aggregates: CoreAggregates::new(&plan),
            last_block: Box::new(Block::new(&plan)),
            sampler,
            words,
            drain_max: config.gateway.drain_max,
        },
        VirtualClock::new(start, tsc),
    );
    if let Some(connections) = connections {
        worker = worker.with_connections(connections);
    }

    let began = Instant::now();
    let stepped = step(worker, start, &mut books, around, has_two_paths)?;
    let Stepped { lanes, ended_at, last_move } = stepped;
    let wall = began.elapsed();
    books.drain();
    books.roll(ended_at);
    let report = books.kpis.run_report(ended_at);
    let frozen = freezes.then(|| books.regimes.freeze(ended_at, &mut books.kpis));

    let stamps_backwards = lanes.iter().map(Lane::stamps_backwards).sum();
    let path_counters = lanes.iter().find_map(Lane::path_counters);
    let parts: Vec<LaneParts<Source<R>, T>> = lanes.into_iter().map(Lane::close).collect();
    let figures = parts.iter().filter_map(|parts| parts.inflight.figures(ended_at));
    let account_faults: u64 =
        figures.map(|figures| figures.overruns + figures.surplus_completions).sum();
    Ok(Ended {
        totals: books.kpis.kpis().totals(),
        report,
        frozen,
        regimes: books.regimes,
        duration: last_move.saturating_sub(start),
        stamps_backwards,
        flow_table_full: parts.iter().map(|p| p.classifier.counters().flow_table_full).sum(),
        over_budget: parts.iter().map(|p| p.pacer.counters().over_budget).sum(),
        book_faults: books.kpis.kpis().unplanned() + account_faults,
        alarms: books.alarms,
        wall,
        path_counters,
        ends: parts.into_iter().filter_map(|parts| Some((parts.rx.one()?, parts.tx))).collect(),
    })
}

struct Stepped<R, T> {
    lanes: Vec<Lane<Source<R>, T>>,
    ended_at: Nanos,
    last_move: Nanos,
}

/// Steps `worker` and what is around it from event to event: no time passes but what an event asks for.
fn step<R: Rx, T: Tx, W: Words>(
    mut worker: Worker<Source<R>, T, W, VirtualClock>,
    start: Nanos,
    books: &mut Books<'_>,
    around: &mut impl Surroundings,
    has_two_paths: bool,
) -> Result<Stepped<R, T>, WorldError> {
    let (mut now, mut last_move, mut still_turns) = (start, start, 0);
    for turn in 1u64.. {
        worker.clock_mut().set(now);
        around.act(now);
        books.take_limit(around.limit_bytes());
        let ends_window = books.begin_turn(now);
        if worker.poll(now).packets > 0 {
            (last_move, still_turns) = (now, 0);
        }
        books.take_alarms();
        if ends_window {
            books.end_window(now);
        }
        let is_stopped = around.stops_control(now);
        if turn.is_multiple_of(TURNS_PER_DRAIN) && !is_stopped {
            books.drain();
        }
        if now >= books.tick_at && is_stopped {
            books.miss_tick(now);
        } else if now >= books.tick_at {
            // What the core has counted by now comes with the poll after the empty block.
            books.drain();
            worker.poll(now);
            books.tick(now, around);
        }
        let outside = around.next_event();
        // Probes go on for ever.
        let is_over = has_two_paths && outside.is_none() && worker.held() == 0;
        match [worker.next_event(now), outside].into_iter().flatten().min() {
            _ if is_over => break,
            Some(next) if next > now => {
                if now.saturating_sub(last_move) > books.rest() {
                    books.skip_ticks(next);
                }
                (now, still_turns) = (next.min(books.tick_at), 0);
            }
            Some(_) if still_turns < STILL_TURNS_MAX => still_turns += 1,
            None if worker.held() == 0 => break,
            _ => return Err(WorldError::Stuck { at: now, held: worker.held() }),
        }
    }
    Ok(Stepped { lanes: worker.finish().lanes, ended_at: now, last_move })
}
