//! What a data core does all the time, and what it leaves behind.

use dataplane::assemble::PipelineLane;
use dataplane::channel::WorkerLink;
use dataplane::classify::{Classified, Classifier};
use dataplane::clock::Clock;
use dataplane::hand_over::RingOut;
use dataplane::lane::Lane;
use dataplane::port::dpdk::TxQueue;
use dataplane::port::in_turn::InTurn;
use dataplane::port::live::LiveRx;
use dataplane::rx_worker::{Intake, RxWorker, RxWorkerParts};
use dataplane::sampler::Sampler;
use dataplane::stop_page::PageReader;
use dataplane::worker::{Worker, WorkerParts};
use model::config::Config;
use model::kpi::{Block, CoreAggregates, KpiPlan};

/// What a core is there for.
pub enum Work {
    /// It receives, paces and sends.
    Everything(Vec<Lane<LiveRx, TxQueue>>),
    /// It paces and sends what others have received.
    Paces(Vec<PipelineLane<TxQueue>>),
    /// It receives for one that paces.
    Receives(Vec<Intake<LiveRx>>),
}

impl Work {
    /// Whether it only receives.
    pub const fn receives(&self) -> bool {
        matches!(self, Self::Receives(_))
    }
}

/// The loop of a data core.
pub enum Loop {
    /// See [`Work::Everything`].
    Everything(Box<Worker<LiveRx, TxQueue, PageReader, Clock>>),
    /// See [`Work::Paces`].
    Paces(Box<Worker<InTurn<RingOut>, TxQueue, PageReader, Clock, Classified>>),
    /// See [`Work::Receives`].
    Receives(Box<RxWorker<LiveRx, Clock>>),
}

/// What is left of a data core.
#[derive(Default)]
pub struct CoreDone {
    /// Flows that found the table full.
    pub flow_table_full: u64,
    /// Packets kept although their class's budget was spent.
    pub over_budget: u64,
    /// Of bench wrappers: TSC cycles, packets.
    pub bench_cost: Option<(u64, u64)>,
    /// Flows that classifiers behind a bench wrapper have seen.
    pub bench_flows_seen: usize,
    /// Flows that were written for them.
    pub bench_flows: usize,
    /// Its queues: as long as they live, the ports stay open.
    queues: Vec<Box<dyn Send>>,
}

impl Loop {
    /// The loop of a core that does `work`.
    pub fn new(
        config: &Config,
        work: Work,
        link: WorkerLink<Block>,
        plan: &KpiPlan,
        words: PageReader,
        clock: Clock,
    ) -> Self {
        match work {
            Work::Everything(lanes) => {
                let parts = worker_parts(config, lanes, link, plan, words);
                Self::Everything(Box::new(Worker::new(parts, clock)))
            }
            Work::Paces(lanes) => {
                let parts = worker_parts(config, lanes, link, plan, words);
                Self::Paces(Box::new(Worker::new(parts, clock)))
            }
            Work::Receives(intakes) => {
                let aggregates = CoreAggregates::new(plan);
                let last_block = Box::new(Block::new(plan));
                let parts = RxWorkerParts { intakes, link, aggregates, last_block };
                Self::Receives(Box::new(RxWorker::new(parts, clock)))
            }
        }
    }

    /// Polls until control says stop.
    pub fn run(self) -> CoreDone {
        let mut done = CoreDone::default();
        match self {
            Self::Everything(worker) => {
                for lane in worker.run().lanes {
                    let parts = lane.close();
                    done.over_budget += parts.pacer.counters().over_budget;
                    done.count(&parts.classifier, &parts.rx);
                    done.queues.push(Box::new((parts.rx, parts.tx)));
                }
            }
            Self::Paces(worker) => {
                for lane in worker.run().lanes {
                    let parts = lane.close();
                    done.over_budget += parts.pacer.counters().over_budget;
                    done.queues.push(Box::new(parts.tx));
                }
            }
            Self::Receives(worker) => {
                for intake in worker.run().intakes {
                    done.count(&intake.classifier, &intake.rx);
                    done.queues.push(Box::new(intake.rx));
                }
            }
        }
        done
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
        aggregates: CoreAggregates::new(plan),
        last_block: Box::new(Block::new(plan)),
        sampler: Sampler::new(config.gateway.seed, config.control.sample_one_in),
        words,
        drain_max: config.gateway.drain_max,
    }
}
