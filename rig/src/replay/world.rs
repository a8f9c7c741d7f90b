//! The world of a replay: one thread that steps source, worker and sink from event to event.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::controller::{CoreFacts, Kpis};
use control::kpis::{INTERVAL, PacketKpis};
use control::regimes::{RegimeSettings, Regimes};
use control::timeline::{Recorded, Recorder};
use control::windows::Windows;
use dataplane::assemble::{self, TimeBase};
use dataplane::channel::{self, ControlLink, Event};
use dataplane::clock::TscModel;
use dataplane::pool::Pool;
use dataplane::port::Rx;
use dataplane::sampler::Sampler;
use dataplane::worker::{NoWords, Worker, WorkerParts};
use model::config::Config;
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates, Report, Totals};
use model::profile::Profile;
use model::time::Nanos;

use super::ReplayError;
use super::sink::CaptureTx;
use super::source::CaptureRx;
use super::virtual_clock::VirtualClock;

/// Turns between two visits to the sample ring.
const TURNS_PER_DRAIN: u64 = 256;
/// Rows of the sample ring: those turns, each with the largest burst in and out.
const SAMPLE_ROWS: usize = 2 * 256 * TURNS_PER_DRAIN as usize;
/// After so much silence ticks of machines that decide are left out: the longest window, the time until
/// a state without traffic comes down, and a few dwells fit into it.
const REST_DECIDING: Nanos = Nanos::from_secs(600);
/// The same where machines only learn what traffic looks like.
const REST_OBSERVING: Nanos = Nanos::from_secs(2);
/// Alarms of one turn: a few of each kind.
const ALARMS: usize = 256;
/// Turns at one instant that move nothing. A turn that is asked for and moves nothing looks at a
/// node once; so many of them are a circle.
const STILL_TURNS_MAX: u32 = 1_000_000;

/// What came of a world.
pub struct Ended {
    /// Sums.
    pub totals: Totals,
    /// KPIs.
    pub report: Report,
    /// The regime machines, as they ended.
    pub regimes: Regimes,
    /// First arrival to last event that moved a packet.
    pub duration: Nanos,
    /// Capture stamps that went backwards and were moved up.
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
    /// Gives the port back.
    pub source: CaptureRx,
    /// Gives the port back.
    pub sink: CaptureTx,
}

/// What control does in a world.
pub struct Control<'a> {
    /// Index of the profile that the core starts with.
    pub profile: usize,
    /// How the regime engine starts.
    pub regimes: RegimeSettings,
    /// The timeline, where one was asked for.
    pub recorder: Option<&'a Recorder>,
}

/// Runs `source` through the first pair of `config` into `sink` until nothing is held.
///
/// # Errors
/// A lane that cannot be made; a world in which packets wait for nothing.
pub fn run(
    config: &Config,
    pool: &Pool,
    Control { profile, regimes, recorder }: Control<'_>,
    source: CaptureRx,
    sink: CaptureTx,
    tsc: TscModel,
) -> Result<Ended, ReplayError> {
    let pair = &config.pairs[0];
    let start = source.next_event().unwrap_or(Nanos::ZERO);
    let completion =
        assemble::completion_source(&config.ports[pair.venue], CompletionSource::Synchronous)?;
    let plan = assemble::kpi_plan(config, &[(pair.venue, completion)], TimeBase::Virtual);
    let lane = assemble::lane(
        config,
        pool,
        TimeBase::Virtual,
        start,
        profile,
        (pair.inside, source),
        (pair.venue, sink),
        completion,
    )?;
    let in_force = Box::new(config.profiles[profile].clone());
    let (link, control) = channel::link(SAMPLE_ROWS, ALARMS, in_force, Box::new(Block::new(&plan)));
    let mut books = Books {
        control,
        kpis: Recorded::replayed(
            PacketKpis::new(vec![plan.clone()], config.profiles.clone())
                .sliding(config.regime.tick),
            recorder.cloned(),
        ),
        // Without a timeline nobody looks at windows.
        window: recorder.map(|_| start.saturating_add(INTERVAL)),
        regimes: Regimes::new(regimes, start),
        tick_at: start.saturating_add(config.regime.tick),
        tick: config.regime.tick,
        egress: pair.venue,
        is_pinned: profile != 0,
        composed: None,
        alarms: BTreeMap::new(),
    };
    books.roll(start);
    let mut sampler = Sampler::new(config.gateway.seed, config.control.sample_one_in);
    if recorder.is_some() {
        let timeline = config.timeline.clone().unwrap_or_default();
        sampler = sampler.with_full_rows(timeline.rows_per_s, timeline.burst_rows());
    }
    let worker = Worker::new(
        WorkerParts {
            lanes: vec![lane],
            link,
            aggregates: CoreAggregates::new(&plan),
            last_block: Box::new(Block::new(&plan)),
            sampler,
            words: NoWords,
            drain_max: config.gateway.drain_max,
        },
        VirtualClock::new(start, tsc),
    );

    let began = Instant::now();
    let Stepped { mut lanes, ended_at, last_move } = step(worker, start, &mut books)?;
    let wall = began.elapsed();
    books.drain();
    books.roll(ended_at);

    let lane = lanes.remove(0);
    let stamps_backwards = lane.stamps_backwards();
    let parts = lane.close();
    let account_faults = parts
        .inflight
        .figures(ended_at)
        .map_or(0, |figures| figures.overruns + figures.surplus_completions);
    Ok(Ended {
        totals: books.kpis.kpis().totals(),
        report: books.kpis.run_report(ended_at),
        regimes: books.regimes,
        duration: last_move.saturating_sub(start),
        stamps_backwards,
        flow_table_full: parts.classifier.counters().flow_table_full,
        over_budget: parts.pacer.counters().over_budget,
        book_faults: books.kpis.kpis().unplanned() + account_faults,
        alarms: books.alarms,
        wall,
        source: parts.rx,
        sink: parts.tx,
    })
}

type ReplayWorker = Worker<CaptureRx, CaptureTx, NoWords, VirtualClock>;

struct Stepped {
    lanes: Vec<dataplane::lane::Lane<CaptureRx, CaptureTx>>,
    ended_at: Nanos,
    last_move: Nanos,
}

/// Steps `worker` from event to event: no time passes but what an event asks for.
fn step(mut worker: ReplayWorker, start: Nanos, books: &mut Books) -> Result<Stepped, ReplayError> {
    let (mut now, mut last_move, mut still_turns) = (start, start, 0);
    for turn in 1u64.. {
        worker.clock_mut().set(now);
        let ends_window = books.begin_turn(now);
        if worker.poll(now).packets > 0 {
            (last_move, still_turns) = (now, 0);
        }
        books.take_alarms();
        if ends_window {
            books.end_window(now);
        }
        if turn.is_multiple_of(TURNS_PER_DRAIN) {
            books.drain();
        }
        if now >= books.tick_at {
            // What the core has counted by now comes with the poll after the empty block.
            books.drain();
            worker.poll(now);
            books.tick(now);
        }
        match worker.next_event(now) {
            Some(next) if next > now => {
                if now.saturating_sub(last_move) > books.rest() {
                    books.skip_ticks(next);
                }
                (now, still_turns) = (next.min(books.tick_at), 0);
            }
            Some(_) if still_turns < STILL_TURNS_MAX => still_turns += 1,
            None if worker.held() == 0 => break,
            _ => return Err(ReplayError::Stuck { at: now, held: worker.held() }),
        }
    }
    Ok(Stepped { lanes: worker.finish().lanes, ended_at: now, last_move })
}

/// Control's side of a replay: the same KPIs as live, taken in at fixed turns.
struct Books {
    control: ControlLink<Block>,
    kpis: Recorded,
    /// When the window that a timeline records ends.
    window: Option<Nanos>,
    regimes: Regimes,
    /// When the regime engine is due, and how often.
    tick_at: Nanos,
    tick: Nanos,
    /// Index of the port that the core sends to.
    egress: usize,
    /// The replay runs under a profile that was asked for: nothing goes before it.
    is_pinned: bool,
    /// The composed table that the core was last sent.
    composed: Option<Profile>,
    alarms: BTreeMap<&'static str, u64>,
}

impl Books {
    fn roll(&mut self, now: Nanos) {
        let facts = CoreFacts {
            profile: self.control.profile_in_force(),
            samples_lost: self.control.samples_lost(),
        };
        self.kpis.roll(now, &[facts]);
    }

    /// Whether the window under way ends with the turn at `now`. The core is given an empty block
    /// then, so that what it hands over after the turn is everything up to here.
    fn begin_turn(&mut self, now: Nanos) -> bool {
        let ends = self.window.is_some_and(|end| now >= end);
        if ends {
            self.drain();
        }
        ends
    }

    fn end_window(&mut self, now: Nanos) {
        self.drain();
        self.roll(now);
        self.window = Some(now.saturating_add(INTERVAL));
    }

    /// With nothing on its way for so long, further ticks change nothing: windows are empty, and what
    /// comes down without traffic has come down. A capture may be silent for years.
    fn rest(&self) -> Nanos {
        if self.regimes.decides() { REST_DECIDING } else { REST_OBSERVING }
    }

    /// Leaves out ticks up to the last one that is not after `until`.
    fn skip_ticks(&mut self, until: Nanos) {
        let ticks = until.saturating_sub(self.tick_at).0 / self.tick.0.max(1);
        self.tick_at = self.tick_at.saturating_add(Nanos(ticks.saturating_mul(self.tick.0)));
    }

    /// The tick of the regime engine, and the table that comes of it.
    fn tick(&mut self, now: Nanos) {
        self.drain();
        self.roll(now);
        self.skip_ticks(now);
        self.tick_at = self.tick_at.saturating_add(self.tick);
        let Some(windows_s) = self.regimes.due(now) else { return };
        let windows =
            if windows_s.is_empty() { Windows::default() } else { self.kpis.windows(&windows_s) };
        self.regimes.tick(now, &windows, self.is_pinned);
        self.regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        let wanted = self.regimes.table_for(&[self.egress]).map(|composed| composed.profile);
        while self.control.take_profile().is_some() {}
        // Virtual time has no control thread that could die: a lease need not end.
        let sent = match &wanted {
            _ if wanted == self.composed => return,
            Some(profile) => self.control.set_profile(Box::new(profile.clone()), Nanos::MAX),
            None => self.control.set_normal(),
        };
        if sent.is_ok() {
            self.composed = wanted;
        }
    }

    fn drain(&mut self) {
        while let Some(mut block) = self.control.take_block() {
            self.kpis.merge(0, &mut block);
            self.control.give_block(block);
        }
        while let Some(row) = self.control.take_sample() {
            self.kpis.sample(0, &row);
        }
        self.take_alarms();
    }

    fn take_alarms(&mut self) {
        while let Some(event) = self.control.take_event() {
            let (name, by) = match event {
                Event::PoolAlarm { packets, .. } => ("pool_empty_packets", u64::from(packets)),
                Event::PoolLow { packets, .. } => ("pool_low_packets", u64::from(packets)),
                Event::Backpressure { .. } => ("backpressure", 1),
                Event::Starvation { .. } => ("starvations", 1),
                Event::TxStall { .. } => ("tx_stalls", 1),
                Event::OverVenueLimit { packets, .. } => ("over_venue_limit", u64::from(packets)),
                Event::ExemptBehindLimit { packets, .. } => {
                    ("exempt_behind_venue_limit", u64::from(packets))
                }
                _ => continue,
            };
            *self.alarms.entry(name).or_default() += by;
        }
    }
}
