//! A bursty feed behind receive holds of rising length, and a sender that reacts to it: what the
//! delivery KPIs must show whatever the seed.

mod rows;

use model::kpi::{Block, CoreAggregates, Departure, FlowKpi, Report};
use model::meta::{IntentSource, PacketMeta, StampSource};
use model::sample::Release;
use model::time::Nanos;
use rows::{FEED, ORDERS, STRATEGIES, World, part, row, row_to, series};

const FRAMES: usize = 40_000;
/// 20,000 frames/s: bursts of 10 frames on average, 5 us apart, one each 500 us.
const FRAME_GAP_NS: f64 = 5_000.0;
const BURST_GAP_NS: f64 = 450_000.0;
const HOLDS_US: [u64; 4] = [0, 250, 1_000, 4_000];
/// From the delivery of an update to the order that it makes.
const THINK: Nanos = Nanos(30_000);

struct Rng(u64);

impl Rng {
    /// 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

fn arrivals(rng: &mut Rng) -> Vec<u64> {
    let mut at = 1_000_000_000.0;
    let next = |_| {
        at += if rng.unit() < 0.1 { rng.exponential(BURST_GAP_NS) } else { FRAME_GAP_NS };
        at as u64
    };
    (0..FRAMES).map(next).collect()
}

/// The first frame opens a window of `hold`, at whose end all that has come is delivered. A share of the
/// windows, 1 less `batched`, is delivered at once.
fn deliveries(rng: &mut Rng, arrivals: &[u64], hold: u64, batched: f64) -> Vec<u64> {
    let (mut until, mut last) = (0, 0);
    arrivals
        .iter()
        .map(|&at| {
            if at > until {
                until = if rng.unit() < batched { at + hold } else { at };
            }
            last = until.max(at).max(last);
            last
        })
        .collect()
}

/// The report over the feed, and over orders by a sender that answers one update in ten.
fn report(seed: u64, hold_us: u64, batched: f64) -> Report {
    let mut rng = Rng(seed);
    let arrivals = arrivals(&mut rng);
    let deliveries = deliveries(&mut rng, &arrivals, hold_us * 1_000, batched);
    let mut world = World::new();
    let mut core = CoreAggregates::new(&world.plan);
    let mut flow = FlowKpi::default();
    let mut all = Vec::new();
    for (&at, &delivered) in arrivals.iter().zip(&deliveries) {
        let (at, delivered) = (Nanos(at), Nanos(delivered));
        all.push(row_to(FEED, at, delivered));
        if rng.unit() < 0.1 {
            all.push(row(ORDERS, delivered + THINK));
        }
        let mut meta =
            PacketMeta { arrival: at, due: at, sched: at, len: 976, ..Default::default() };
        meta.class = FEED;
        meta.set_sources(StampSource::Virtual, IntentSource::Implicit);
        core.on_arrival(STRATEGIES, Some(FEED), 976, at);
        let departure = Departure {
            meta: &meta,
            port: STRATEGIES,
            t_eligible: at,
            t_tx: delivered,
            t_wire: delivered,
            release: Release::Governed,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        };
        core.on_departure(&departure, &mut flow);
    }
    all.sort_by_key(|row| row.t_wire);
    all.iter().for_each(|row| world.add(row));
    core.flush();
    let full = core.swap(Nanos::ZERO, Box::new(Block::new(&world.plan)));
    world.block.merge(&full);
    world.report()
}

#[test]
fn longer_holds_delay_distort_and_couple() {
    for seed in [3, 0x0dd_5eed, 0xfeed] {
        let reports = HOLDS_US.map(|hold| report(seed, hold, 1.0));
        let of = |name, value| {
            reports.each_ref().map(|report| series(report, name, "feed").value(value).unwrap())
        };
        let delay = reports.each_ref().map(|report| {
            let entry = part(report, "delivery_delay_ns", "feed", Some("market_data"));
            entry.value("p95").unwrap()
        });
        let distortion = of("market_data_distortion_ratio", "ratio");
        let concentration = of("burst_delivery_concentration", "excess");
        let coupling = of("decision_burst_coupling", "excess");
        let said = format!(
            "seed {seed}: delay {delay:?}, distortion {distortion:?}, concentration \
             {concentration:?}, coupling {coupling:?}"
        );
        assert!(delay.is_sorted_by(|a, b| a < b), "{said}");
        assert!(distortion.is_sorted_by(|a, b| a < b), "{said}");
        assert!(concentration.is_sorted(), "{said}");
        assert!(coupling.is_sorted_by(|a, b| a < b), "{said}");
        // Delivered as it came: nothing is stretched, bunched or coupled by it.
        assert_eq!((delay[0], distortion[0]), (0.0, 1.0), "{said}");
        assert_eq!((concentration[0], coupling[0]), (1.0, 0.0), "{said}");
    }
}

/// Where one window in twenty is delivered at once, time is still stretched.
#[test]
fn a_few_prompt_deliveries_do_not_hide_the_holds() {
    for seed in [3, 0x0dd_5eed, 0xfeed] {
        for hold in &HOLDS_US[1..] {
            let report = report(seed, *hold, 0.95);
            let ratio = series(&report, "market_data_distortion_ratio", "feed").value("ratio");
            assert!(ratio.is_some_and(|ratio| ratio > 1.0), "seed {seed}, {hold} us: {ratio:?}");
        }
    }
}
