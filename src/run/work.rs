//! What a data core does all the time, and what it leaves behind.

use std::sync::Arc;

use dataplane::assemble::PipelineLane;
use dataplane::channel::WorkerLink;
use dataplane::classify::{Classifier, Classify};
use dataplane::clock::Clock;
use dataplane::lane::kpi_cost::KpiCost;
use dataplane::lane::stages::Stages;
use dataplane::lane::{Lane, LaneParts};
use dataplane::paths::Connections;
use dataplane::port::Rx;
use dataplane::port::faults::{FaultClock, Faults};
use dataplane::port::live::{LiveRx, LiveTx};
use dataplane::rx_worker::{Intake, RxWorker, RxWorkerParts};
use dataplane::sampler::Sampler;
use dataplane::stop_page::PageReader;
use dataplane::worker::{self, Worker, WorkerParts};
use model::config::Config;
use model::kpi::{Block, CoreAggregates, KpiPlan};
use model::pacer::Roster;

/// What a core is there for.
pub enum Work {
    /// It receives, paces and sends; with a second path it follows connections.
    Everything(Vec<Lane<LiveRx, LiveTx>>, Option<Connections>),
    /// It paces and sends what others have received.
    Paces(Vec<PipelineLane<LiveTx>>),
    /// It receives for one that paces.
    Receives(Vec<Intake<LiveRx>>),
}

impl Work {
    /// Whether it only receives.
    pub const fn receives(&self) -> bool {
        matches!(self, Self::Receives(_))
    }

    /// The ordering groups that its lanes know of.
    pub fn rosters(&self) -> Vec<Arc<Roster>> {
        match self {
            Self::Everything(lanes, _) => lanes.iter().map(Lane::roster).collect(),
            // Where flows are numbered elsewhere nobody knows their groups.
            Self::Paces(_) | Self::Receives(_) => Vec::new(),
        }
    }

    /// The lanes of a core that does everything.
    pub fn whole_lanes(&mut self) -> Option<&mut [Lane<LiveRx, LiveTx>]> {
        match self {
            Self::Everything(lanes, _) => Some(lanes),
            Self::Paces(_) | Self::Receives(_) => None,
        }
    }
}

/// The loop of a data core: one call for all the time that it runs.
pub struct Loop(Box<dyn FnOnce() -> CoreDone + Send>);

/// What is left of a data core.
#[derive(Default)]
pub struct CoreDone {
    /// Flows that found the table full.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
    /// Of bench wrappers: TSC cycles, packets.
    pub bench_cost: Option<(u64, u64)>,
    /// Of a lane with a bench wrapper that was asked for it: where its cycles went.
    pub bench_stages: Option<Stages>,
    /// The same of what the KPIs cost.
    pub bench_kpi_cost: Option<KpiCost>,
    /// Flows that classifiers behind a bench wrapper have seen.
    pub bench_flows_seen: usize,
    /// Flows that were written for them.
    pub bench_flows: usize,
    /// Its queues: as long as they live, the ports stay open.
    queues: Vec<Box<dyn Send>>,
}

impl Loop {
    /// The loop of a core that does `work` by `clock`, which `steps` make step where it paces.
    pub fn new(
        config: &Config,
        work: Work,
        link: WorkerLink<Block>,
        plan: &KpiPlan,
        words: PageReader,
        clock: Clock,
        steps: Option<&Faults>,
    ) -> Self {
        match work {
            Work::Everything(lanes, connections) => {
                let parts = worker_parts(config, lanes, link, plan, words);
                Self::paces(parts, clock, steps, connections, |done, lane| {
                    done.over_budget += lane.pacer.counters().over_budget;
                    done.count(&lane.classifier, &lane.rx);
                    done.queues.push(Box::new((lane.rx, lane.tx)));
                })
            }
            Work::Paces(lanes) => {
                let parts = worker_parts(config, lanes, link, plan, words);
                Self::paces(parts, clock, steps, None, |done, lane| {
                    done.over_budget += lane.pacer.counters().over_budget;
                    done.queues.push(Box::new(lane.tx));
                })
            }
            Work::Receives(intakes) => {
                let aggregates = CoreAggregates::new(plan);
                let last_block = Box::new(Block::new(plan));
                let parts = RxWorkerParts { intakes, link, aggregates, last_block };
                let worker = RxWorker::new(parts, clock);
                Self(Box::new(move || {
                    let mut done = CoreDone::default();
                    for intake in worker.run().intakes {
                        done.count(&intake.classifier, &intake.rx);
                        done.queues.push(Box::new(intake.rx));
                    }
                    done
                }))
            }
        }
    }

    fn paces<R, S>(
        parts: WorkerParts<R, LiveTx, PageReader, S>,
        clock: Clock,
        steps: Option<&Faults>,
        connections: Option<Connections>,
        close: fn(&mut CoreDone, LaneParts<R, LiveTx, S>),
    ) -> Self
    where
        R: Rx + Send + 'static,
        S: Classify + Send + 'static,
    {
        match steps {
            None => Self::of(following(Worker::new(parts, clock), connections), close),
            Some(faults) => {
                let clock = FaultClock::new(clock, faults);
                Self::of(following(Worker::new(parts, clock), connections), close)
            }
        }
    }

    fn of<R, S, C>(
        worker: Worker<R, LiveTx, PageReader, C, S>,
        close: fn(&mut CoreDone, LaneParts<R, LiveTx, S>),
    ) -> Self
    where
        R: Rx + Send + 'static,
        S: Classify + Send + 'static,
        C: worker::Clock + Send + 'static,
    {
        Self(Box::new(move || {
            let mut done = CoreDone::default();
            for lane in worker.run().lanes {
                done.bench_stages = done.bench_stages.or_else(|| lane.stages().cloned());
                done.bench_kpi_cost = done.bench_kpi_cost.or_else(|| lane.kpi_cost().cloned());
                let (parts, second) = lane.close_all();
                close(&mut done, parts);
                done.queues.extend(second.map(|tx| Box::new(tx) as Box<dyn Send>));
            }
            done
        }))
    }

    /// Polls until control says stop.
    pub fn run(self) -> CoreDone {
        (self.0)()
    }
}

impl CoreDone {
    fn count(&mut self, classifier: &Classifier, rx: &LiveRx) {
        self.flow_table_full += classifier.counters().flow_table_full;
        if let Some((cycles, packets)) = rx.bench_cost() {
            let (c, p) = self.bench_cost.unwrap_or_default();
            self.bench_cost = Some((c + cycles.0, p + packets));
            self.bench_flows_seen += classifier.flows();
            self.bench_flows += rx.bench_flows().unwrap_or(0) as usize;
        }
    }
}

fn following<R, S, C>(
    worker: Worker<R, LiveTx, PageReader, C, S>,
    connections: Option<Connections>,
) -> Worker<R, LiveTx, PageReader, C, S>
where
    R: Rx,
    S: Classify,
    C: worker::Clock,
{
    match connections {
        Some(connections) => worker.with_connections(connections),
        None => worker,
    }
}

fn worker_parts<R, T, S>(
    config: &Config,
    lanes: Vec<Lane<R, T, S>>,
    link: WorkerLink<Block>,
    plan: &KpiPlan,
    words: PageReader,
) -> WorkerParts<R, T, PageReader, S> {
    WorkerParts {
        lanes,
        link,
        aggregates: CoreAggregates::new(plan).counting_only(
            config.ports.iter().any(|port| port.bench.is_some_and(|bench| !bench.kpis)),
        ),
        last_block: Box::new(Block::new(plan)),
        sampler: Sampler::of(config, config.timeline.as_ref()),
        words,
        drain_max: config.gateway.drain_max,
    }
}
