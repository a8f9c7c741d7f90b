//! The data cores of a world: one that does everything, or one that receives and one that paces.

use dataplane::assemble::{self, PipelineLane, TimeBase};
use dataplane::channel::{self, ControlLink, WorkerLink};
use dataplane::classify::Classified;
use dataplane::hand_over::RingOut;
use dataplane::intent::desk::Desk;
use dataplane::pool::Pool;
use dataplane::port::in_turn::InTurn;
use dataplane::rx_worker::{Intake, RxWorker, RxWorkerParts};
use dataplane::stop_page::PageReader;
use dataplane::worker::{Turn, Worker};
use model::config::Config;
use model::inflight::CompletionSource;
use model::kpi::{Block, CoreAggregates, KpiPlan};
use model::time::Nanos;

use crate::common::parts_on;
use crate::ports::{SimTx, TestRx};
use crate::world::StepClock;

/// Packets that fit into the ring between two cores: more than any test has on the way at once.
const RING: u32 = 1024;

/// A core that does everything.
pub type OneCore = Worker<TestRx, SimTx, PageReader, StepClock>;
type PacingCore = Worker<InTurn<RingOut>, SimTx, PageReader, StepClock, Classified>;

/// What both directions have in common.
pub struct Setting<'a> {
    pub config: &'a Config,
    pub pool: &'a Pool,
    pub base: TimeBase,
}

/// One direction.
pub struct Way {
    pub rx: TestRx,
    pub tx: SimTx,
    /// Indices of the ports that it leads from and to.
    pub ports: (usize, usize),
    pub completion: CompletionSource,
}

pub enum Cores {
    One(Box<OneCore>),
    Pipeline { receives: Option<Box<RxWorker<TestRx, StepClock>>>, paces: Box<PacingCore> },
}

impl Cores {
    /// Run to completion.
    pub fn one(
        setting: &Setting<'_>,
        ways: [Way; 2],
        desk: Option<Desk>,
        link: WorkerLink<Block>,
        plan: &KpiPlan,
        words: PageReader,
        clock: StepClock,
    ) -> Self {
        let &Setting { config, pool, base } = setting;
        let mut lanes = ways.map(|Way { rx, tx, ports, completion }| {
            let (from, to) = ((ports.0, rx), (ports.1, tx));
            assemble::lane(config, pool, base, Nanos::ZERO, 0, from, to, completion).unwrap()
        });
        if let Some(desk) = desk {
            let [out, back] = lanes;
            lanes = [out.with_intent(desk), back];
        }
        let parts = parts_on(link, config, plan, lanes.into(), 1, words);
        Self::One(Box::new(Worker::new(parts, clock)))
    }

    /// A core that receives from both ports, and one that paces both.
    pub fn pipeline(
        setting: &Setting<'_>,
        ways: [Way; 2],
        link: WorkerLink<Block>,
        plan: &KpiPlan,
        words: PageReader,
        clock: StepClock,
    ) -> (Self, ControlLink<Block>) {
        let &Setting { config, pool, base } = setting;
        let (mut lanes, mut intakes): (Vec<PipelineLane<SimTx>>, Vec<Intake<TestRx>>) =
            Default::default();
        for Way { rx, tx, ports, completion } in ways {
            let (start, from, to) = (Nanos::ZERO, (ports.0, vec![rx]), (ports.1, tx));
            let (lane, mut intake) =
                assemble::pipeline(config, pool, base, start, 0, RING, from, to, completion)
                    .unwrap();
            lanes.push(lane);
            intakes.append(&mut intake);
        }
        let nothing = assemble::kpi_plan(config, &[], base);
        let normal = Box::new(config.profiles[0].clone());
        let spare = Box::new(Block::new(&nothing));
        let (rx_link, rx_control) = channel::link(1, 256, normal, spare);
        let receives = RxWorker::new(
            RxWorkerParts {
                intakes,
                link: rx_link,
                aggregates: CoreAggregates::new(&nothing),
                last_block: Box::new(Block::new(&nothing)),
            },
            clock.clone(),
        );
        let paces = Worker::new(parts_on(link, config, plan, lanes, 1, words), clock);
        let receives = Some(Box::new(receives));
        (Self::Pipeline { receives, paces: Box::new(paces) }, rx_control)
    }

    /// One turn of each core: what is received now is paced now.
    pub fn poll(&mut self, now: Nanos) -> Turn {
        match self {
            Self::One(worker) => worker.poll(now),
            Self::Pipeline { receives, paces } => {
                let received = receives.as_mut().map_or(0, |core| core.poll(now).packets);
                let turn = paces.poll(now);
                Turn { packets: received + turn.packets, ..turn }
            }
        }
    }

    /// The core that receives was told to stop.
    pub fn end_receiving(&mut self, now: Nanos) {
        if let Self::Pipeline { receives, .. } = self
            && let Some(mut core) = receives.take()
        {
            assert!(core.poll(now).ended, "it holds nothing back");
            core.finish();
        }
    }

    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        match self {
            Self::One(worker) => worker.next_event(now),
            Self::Pipeline { receives, paces } => {
                let arrival = receives.as_ref().and_then(|core| core.next_event());
                arrival.into_iter().chain(paces.next_event(now)).min()
            }
        }
    }

    pub fn held(&self) -> u32 {
        match self {
            Self::One(worker) => worker.held(),
            Self::Pipeline { receives, paces } => {
                paces.held() + receives.as_ref().map_or(0, |core| core.held())
            }
        }
    }

    pub fn in_flight_bytes(&self) -> u64 {
        match self {
            Self::One(worker) => worker.lanes()[0].parts().inflight.bytes(),
            Self::Pipeline { paces, .. } => paces.lanes()[0].parts().inflight.bytes(),
        }
    }

    pub fn flow_table_full(&self) -> u64 {
        let classifier = match self {
            Self::One(worker) => &worker.lanes()[0].parts().classifier,
            Self::Pipeline { receives, .. } => receives.as_ref().unwrap().intakes()[0].classifier(),
        };
        classifier.counters().flow_table_full
    }

    pub fn finish(self) {
        match self {
            Self::One(worker) => drop(worker.finish()),
            Self::Pipeline { receives, paces } => {
                if let Some(core) = receives {
                    core.finish();
                }
                paces.finish();
            }
        }
    }
}
