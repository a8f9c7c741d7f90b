//! What the tests of row KPIs share: a plan, plain rows, and a report over them. No arithmetic.

#![allow(dead_code)] // each test binary uses a part

use model::kind::{Kind, Side};
use model::kpi::{
    Block, ClassPlan, CompletionFigures, CoreAggregates, Departure, Entry, FlowKpi, Inputs,
    KpiPlan, PortPlan, Report, SampleLoss, Sampled, Switches, URGENT,
};
use model::meta::{IntentSource, PacketMeta, StampSource};
use model::profile::Profile;
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::time::Nanos;

/// Cadence 100 us, so windows of 300 us; max_hold 1 ms.
pub const ORDERS: u8 = 0;
/// No cadence: windows of 250 us.
pub const CANCELS: u8 = 1;
/// Orders, cancels and replaces of one session, told apart by intent; no cadence.
pub const SESSION: u8 = 2;
/// Market data.
pub const FEED: u8 = 3;
/// Acknowledgements and fills.
pub const ANSWERS: u8 = 4;

pub const STRATEGIES: u8 = 0;
pub const VENUE: u8 = 1;

/// Of the link to the venue: 1,000 wire bytes take 1 us.
pub const LINK: u64 = 8_000_000_000;

pub fn us(n: u64) -> Nanos {
    Nanos::from_micros(n)
}

pub fn plan() -> KpiPlan {
    let class = |name: &str, kind, from, cadence| ClassPlan {
        name: name.into(),
        arm: None,
        kind,
        from,
        cadence,
        max_hold: Nanos::from_millis(1),
    };
    let port = |index, name: &str, side, link_bits_per_s| PortPlan {
        index,
        name: name.into(),
        side,
        departure: DepartureSource::Virtual,
        completion: CompletionFigures::Absent,
        stall_time: Nanos::from_millis(5),
        tx_descriptors: 1_024,
        link_bits_per_s,
    };
    KpiPlan {
        limits: Vec::new(),
        classes: vec![
            class("orders", Kind::Order, Side::Inside, Some(us(100))),
            class("cancels", Kind::Cancel, Side::Inside, None),
            class("session", Kind::Mixed, Side::Inside, None),
            class("feed", Kind::MarketData, Side::Venue, None),
            class("answers", Kind::Other, Side::Venue, None),
        ],
        ports: vec![
            port(STRATEGIES, "strategies", Side::Inside, None),
            port(VENUE, "venue-a", Side::Venue, Some(LINK)),
        ],
        urgent: URGENT,
    }
}

/// A packet of 976 bytes, 1,000 on the wire, that is handed over, due and gone at `at`.
pub fn row(class: u8, at: Nanos) -> Sample {
    let plan = plan();
    let of = &plan.classes[usize::from(class)];
    let from_venue = of.from == Side::Venue;
    Sample {
        packet_id: 0,
        correlation_id: None,
        flow: 0,
        tcp_end_seq: None,
        tcp: None,
        class,
        label: 0,
        kind: of.kind,
        urgency: 0,
        len: 976,
        messages: 1,
        t_decision: None,
        t_dispatch: at,
        t_due: at,
        t_sched: (!from_venue).then_some(at),
        t_normal: (!from_venue).then_some(at),
        t_eligible: Some(at),
        t_tx: Some(at),
        t_wire: Some(at),
        t_ingress: at,
        t_carried: None,
        t_delivery: from_venue.then_some(at),
        clock_error_ns: None,
        intent: IntentSource::Implicit,
        ingress_source: StampSource::Virtual,
        departure_source: DepartureSource::Virtual,
        simulated_link: false,
        from: of.from,
        port: if from_venue { STRATEGIES } else { VENUE },
        queue: 0,
        backlog_bytes: 0,
        end: End::Sent(Release::Governed),
        regime: None,
        profile: 0,
        mode: Mode::Observe,
        canary: None,
        weight: 1,
    }
}

/// The same, gone at `wire`.
pub fn row_to(class: u8, at: Nanos, wire: Nanos) -> Sample {
    let delivery = row(class, at).t_delivery.map(|_| wire);
    Sample { t_tx: Some(wire), t_wire: Some(wire), t_delivery: delivery, ..row(class, at) }
}

/// A packet every 100 us, but what came within 10 ms leaves at its end, all at once.
pub fn flushed(class: u8, n: u64) -> Vec<Sample> {
    let flush = |n: u64| us(900_000 + n * 100 / 10_000 * 10_000 + 9_950);
    (0..n).map(|n| row_to(class, us(900_000 + n * 100), flush(n))).collect()
}

/// Rows and what is made of them: also by a core that had all these packets.
pub struct World {
    core: CoreAggregates,
    flow: FlowKpi,
    pub plan: KpiPlan,
    pub block: Block,
    pub sampled: Sampled,
    pub samples: SampleLoss,
    pub profile: Option<Profile>,
    pub span: Nanos,
}

impl World {
    pub fn new() -> Self {
        let plan = plan();
        let (block, sampled) = (Block::new(&plan), Sampled::new(&plan));
        let samples = SampleLoss::default();
        let (core, flow) = (CoreAggregates::new(&plan), FlowKpi::default());
        let span = Nanos::from_secs(1);
        Self { core, flow, plan, block, sampled, samples, profile: None, span }
    }

    pub fn of(rows: impl IntoIterator<Item = Sample>) -> Self {
        let mut world = Self::new();
        rows.into_iter().for_each(|row| world.add(&row));
        world
    }

    pub fn add(&mut self, row: &Sample) {
        self.sampled.add(&self.plan, row);
        self.samples.kept += 1;
        self.count(row);
    }

    fn count(&mut self, row: &Sample) {
        let (Some(t_tx), Some(t_wire), End::Sent(release)) = (row.t_tx, row.t_wire, row.end) else {
            return;
        };
        let mut meta = PacketMeta {
            arrival: row.t_ingress,
            due: row.t_due,
            sched: row.t_sched.unwrap_or(row.t_ingress),
            class: row.class,
            len: row.len,
            ..PacketMeta::default()
        };
        meta.set_sources(row.ingress_source, row.intent);
        self.core.on_arrival(row.port, Some(row.class), u32::from(row.len), row.t_ingress);
        let departure = Departure {
            meta: &meta,
            port: row.port,
            t_eligible: row.t_ingress,
            t_tx,
            t_wire,
            release,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        };
        self.core.on_departure(&departure, &mut self.flow);
    }

    /// The end of the run.
    pub fn report(&mut self) -> Report {
        self.sampled.flush();
        self.core.flush();
        let full = self.core.swap(Nanos::ZERO, Box::new(Block::new(&self.plan)));
        self.block.merge(&full);
        assert_eq!(self.sampled.unplanned(), 0);
        self.look()
    }

    /// What is added up so far.
    pub fn look(&self) -> Report {
        Report::build(&[Inputs {
            plan: &self.plan,
            block: &self.block,
            profile: self.profile.as_ref(),
            sampled: Some(&self.sampled),
            samples: self.samples,
            span: self.span,
            steps: &[],
            factors: &[],
            switches: Switches::default(),
        }])
    }
}

/// The only series of `name` for a class (or, with "", for a port alone).
pub fn series<'a>(report: &'a Report, name: &str, class: &str) -> &'a Entry {
    part(report, name, class, None)
}

/// The same of one part.
pub fn part<'a>(report: &'a Report, name: &str, class: &str, part: Option<&str>) -> &'a Entry {
    let mut found = report.entries.iter().filter(|entry| {
        entry.name == name
            && entry.labels.class.as_deref().unwrap_or("") == class
            && (part.is_none() || entry.labels.part == part)
    });
    let entry = found.next().unwrap_or_else(|| panic!("{name} of {class} {part:?}"));
    assert!(found.next().is_none(), "two series {name} of {class}");
    entry
}

/// Within 1 %.
pub fn is_near(found: Option<f64>, exact: f64) -> bool {
    found.is_some_and(|found| (found - exact).abs() <= exact.abs() * 0.01)
}
