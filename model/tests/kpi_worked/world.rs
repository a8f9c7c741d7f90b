//! A core whose packets a test makes up.

use model::kind::{Kind, Side};
use model::kpi::{
    Block, ClassPlan, CompletionFigures, CoreAggregates, Departure, Entry, FlowKpi, Inputs,
    KpiPlan, PortPlan, Report, SampleLoss, Switches, URGENT,
};
use model::meta::{IntentSource, PacketMeta, StampSource};
use model::sample::{DepartureSource, Release};
use model::time::Nanos;

pub const ORDERS: u8 = 0;

pub const CANCELS: u8 = 1;

pub const FROM_VENUE: u8 = 2;

pub const STRATEGIES: u8 = 0;

pub const VENUE: u8 = 1;

pub fn plan() -> KpiPlan {
    let class = |name: &str, kind, from, cadence, max_hold| ClassPlan {
        name: name.into(),
        arm: None,
        kind,
        from,
        cadence,
        max_hold,
    };
    let port = |index, name: &str, side, completion| PortPlan {
        index,
        name: name.into(),
        side,
        departure: DepartureSource::Virtual,
        completion,
        stall_time: Nanos::from_millis(5),
        tx_descriptors: 1_000,
        link_bits_per_s: None,
    };
    let cadence = Some(Nanos::from_micros(100));
    KpiPlan {
        limits: Vec::new(),
        classes: vec![
            class("orders", Kind::Order, Side::Inside, cadence, Nanos::from_millis(1)),
            class("cancels", Kind::Cancel, Side::Inside, None, Nanos::MAX),
            class("from-venue", Kind::Other, Side::Venue, None, Nanos::MAX),
        ],
        ports: vec![
            port(STRATEGIES, "strategies", Side::Inside, CompletionFigures::Absent),
            port(VENUE, "venue-a", Side::Venue, CompletionFigures::Simulated),
        ],
        urgent: URGENT,
    }
}

/// A core and its control, without the threads.
pub struct World {
    pub plan: KpiPlan,
    pub core: CoreAggregates,
    pub block: Block,
    pub flow: FlowKpi,
}

/// A packet of `orders` that arrives, is due, conforms and leaves at once at `at`.
pub fn packet(at: Nanos) -> PacketMeta {
    let mut meta = PacketMeta {
        arrival: at,
        due: at,
        sched: at,
        len: 976,
        messages: 1,
        class: ORDERS,
        kind: Kind::Order as u8,
        ..PacketMeta::default()
    };
    meta.set_sources(StampSource::Virtual, IntentSource::Implicit);
    meta
}

pub fn leaves(meta: &PacketMeta, at: Nanos) -> Departure<'_> {
    Departure {
        meta,
        port: VENUE,
        t_eligible: meta.sched.max(meta.wanted()),
        t_tx: at,
        t_wire: at,
        release: Release::Governed,
        bucket_held: false,
        link_wait: Nanos::ZERO,
    }
}

impl World {
    pub fn new() -> Self {
        let plan = plan();
        let (core, block) = (CoreAggregates::new(&plan), Block::new(&plan));
        Self { plan, core, block, flow: FlowKpi::default() }
    }

    /// It arrives and leaves.
    pub fn pass(&mut self, departure: &Departure<'_>) {
        let meta = departure.meta;
        self.core.on_arrival(departure.port, Some(meta.class), meta.len.into(), meta.arrival);
        self.core.on_departure(departure, &mut self.flow);
    }

    pub fn tick(&mut self, now: Nanos) {
        let full = self.core.swap(now, Box::new(Block::new(&self.plan)));
        self.block.merge(&full);
    }

    pub fn finish(&mut self) {
        self.core.flush();
        self.tick(Nanos::ZERO);
    }

    pub fn report_with<'a>(&'a self, change: impl FnOnce(&mut Inputs<'a>)) -> Report {
        let mut inputs = Inputs {
            plan: &self.plan,
            block: &self.block,
            profile: None,
            sampled: None,
            samples: SampleLoss::default(),
            span: Nanos::from_secs(1),
            steps: &[],
            factors: &[],
            switches: Switches::default(),
        };
        change(&mut inputs);
        Report::build(&[inputs])
    }

    pub fn report(&mut self) -> Report {
        self.finish();
        self.report_with(|_| {})
    }
}

/// The only series with these labels.
pub fn series<'a>(report: &'a Report, name: &str, class: &str, part: Option<&str>) -> &'a Entry {
    let mut found = report.entries.iter().filter(|entry| {
        entry.name == name
            && entry.labels.class.as_deref() == Some(class)
            && entry.labels.part == part
    });
    let entry = found.next().unwrap_or_else(|| panic!("{name} of {class} {part:?}"));
    assert!(found.next().is_none(), "two series {name} of {class}");
    entry
}

pub fn of_port<'a>(report: &'a Report, name: &str, port: &str, part: Option<&str>) -> &'a Entry {
    let mut found = report.entries.iter().filter(|entry| {
        entry.name == name
            && entry.labels.port.as_deref() == Some(port)
            && entry.labels.class.is_none()
            && entry.labels.part == part
    });
    found.next().unwrap_or_else(|| panic!("{name} of {port} {part:?}"))
}

pub fn close(found: Option<f64>, exact: f64) -> bool {
    found.is_some_and(|found| (found - exact).abs() <= exact * 0.01)
}
