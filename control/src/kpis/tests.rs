use std::sync::Arc;

use model::calendar::SessionName;
use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::kpi::{
    BelowQueue, ClassPlan, CompletionFigures, CoreAggregates, Departure, Entry, FlowKpi, Labels,
    Levels, LimitPlan, PortPlan, SampleLoss, Switches, Tallies, Tally, URGENT, catalogue,
};
use model::meta::PacketMeta;
use model::pacer::limits::LimitFigures;
use model::sample::{DepartureSource, Release};

use super::figures::{ListName, is_counted};
use super::*;
use crate::registry::Provenance;

fn plan() -> KpiPlan {
    let class = |name: &str, from| ClassPlan {
        name: name.into(),
        arm: None,
        kind: Kind::Other,
        from,
        cadence: None,
        max_hold: Nanos::MAX,
    };
    let port = |index, name: &str, side| PortPlan {
        index,
        name: name.into(),
        side,
        departure: DepartureSource::Tsc,
        completion: CompletionFigures::Measured,
        stall_time: Nanos::from_millis(5),
        tx_descriptors: 512,
        link_bits_per_s: None,
    };
    KpiPlan {
        limits: vec![LimitPlan { name: "xcme".into(), messages_max: 100 }],
        classes: vec![class("out", Side::Inside), class("back", Side::Venue)],
        ports: vec![port(0, "strategies", Side::Inside), port(1, "venue", Side::Venue)],
        urgent: URGENT,
    }
}

struct World {
    core: CoreAggregates,
    flow: FlowKpi,
    kpis: PacketKpis,
    spare: Option<Box<Block>>,
}

impl World {
    fn new() -> Self {
        Self {
            core: CoreAggregates::new(&plan()),
            flow: FlowKpi::default(),
            kpis: PacketKpis::new(vec![plan()], vec![]),
            spare: Some(Box::new(Block::new(&plan()))),
        }
    }

    /// A packet of 100 bytes that leaves 5 us after it came.
    fn packet(&mut self, at: Nanos) {
        self.packet_out(at, at.saturating_add(Nanos(5_000)));
    }

    /// One that leaves at `out`.
    fn packet_out(&mut self, at: Nanos, out: Nanos) {
        let meta = PacketMeta { arrival: at, due: at, sched: at, len: 100, ..Default::default() };
        self.core.on_arrival(1, Some(0), 100, at);
        let departure = Departure {
            meta: &meta,
            port: 1,
            t_eligible: at,
            t_tx: out,
            t_wire: out,
            release: Release::Governed,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        };
        self.core.on_departure(&departure, &mut self.flow);
    }

    fn tick(&mut self, now: Nanos, samples_lost: u64) {
        let mut block = self.core.swap(now, self.spare.take().unwrap());
        self.kpis.merge(0, &mut block);
        self.spare = Some(block);
        self.kpis.roll(now, &[CoreFacts { profile: 0, samples_lost }]);
    }

    fn registry(&self) -> Value {
        let mut registry = Registry::new();
        self.kpis.publish(&mut registry);
        let registry = Arc::new(registry);
        assert!(registry.to_openmetrics(&Provenance::default()).ends_with("# EOF\n"));
        registry.to_json()
    }
}

fn row<'a>(registry: &'a Value, name: &str, labels: &[(&str, &str)]) -> Option<&'a Value> {
    let rows = registry[name].as_array()?;
    rows.iter().find(|row| labels.iter().all(|(k, v)| row[*k] == *v)).map(|row| &row["value"])
}

/// 100 packets in each of 30 s, 10 ms apart. From the 20th second on they leave by fives: five times the
/// bytes in a window of what was due in one, which is the factor of the last second and the most of all,
/// while in most of them it was 1. A median takes 20 of them.
#[test]
fn a_burst_factor_is_told_second_by_second() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    let told = |world: &World| {
        let factor = world.kpis.report().of("segmentation_burst_factor").next().unwrap();
        ["factor", "median_1s", "max_1s"].map(|value| factor.value(value))
    };
    for second in 0..30 {
        let begin = Nanos::from_secs(second);
        for n in 0..100 {
            let at = |n: u64| begin.saturating_add(Nanos::from_millis(n * 10));
            let out = if second < 20 { at(n) } else { at(n / 5 * 5 + 4) };
            world.packet_out(at(n), out.saturating_add(Nanos(5_000)));
        }
        world.tick(Nanos::from_secs(second + 1), 0);
        if second == 10 {
            assert_eq!(told(&world), [Some(1.0), None, Some(1.0)]);
        }
    }
    let [factor, median, most] = told(&world);
    assert_eq!((factor, most), (Some(5.0), Some(5.0)));
    assert!((median.unwrap() - 1.0).abs() < 0.01, "{median:?}");
}

#[test]
fn counters_grow_for_ever_and_figures_are_of_the_last_interval() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    for n in 0..3_000 {
        world.packet(Nanos::from_micros(n * 500));
        if n % 200 == 199 {
            world.tick(Nanos::from_micros(n * 500 + 500), 0);
        }
    }
    // 1.5 s: one interval of 2,000 packets is complete, 1,000 packets are under way.
    let registry = world.registry();
    let out = [("port", "venue"), ("class", "out"), ("kind", "other")];
    assert_eq!(row(&registry, "packets_in", &out), Some(&json!(3_000)));
    assert_eq!(row(&registry, "packets_out", &out), Some(&json!(3_000)));
    assert_eq!(row(&registry, "bytes_out", &out), Some(&json!(300_000)));
    assert_eq!(
        row(&registry, "releases", &[("class", "out"), ("release", "governed")]),
        Some(&json!(3_000))
    );
    let n = row(&registry, "dispatch_to_wire_observations", &[("part", "total"), ("class", "out")]);
    assert_eq!(n, Some(&json!(2_000)));
    let p99 = [("part", "total"), ("class", "out"), ("quantile", "0.99")];
    let p99 = row(&registry, "dispatch_to_wire_ns", &p99).unwrap().as_f64().unwrap();
    assert!((p99 - 5_000.0).abs() <= 50.0, "{p99}");
    let absent = [("class", "back"), ("quantile", "0.99")];
    assert_eq!(row(&registry, "dispatch_to_wire_ns", &absent), None, "absent is not 0");
    assert_eq!(row(&registry, "drops", &[]), None);

    let totals = world.kpis.totals();
    assert_eq!((totals.packets_in, totals.packets_out, totals.held), (3_000, 3_000, 0));
    let run = world.kpis.run_report(Nanos::from_millis(1_500));
    let entry = run.of("dispatch_to_wire_ns").find(|e| e.n > 0).unwrap();
    assert_eq!(entry.n, 3_000, "the whole run");
    assert_eq!(world.kpis.totals(), totals, "the end of an interval changes no sum");
}

#[test]
fn drops_are_counted_by_reason_and_what_waits_is_held_once() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    for n in 0..5 {
        world.core.on_arrival(1, Some(0), 100, Nanos(n));
    }
    world.core.on_arrival(1, None, 10, Nanos(9));
    world.core.on_drop(1, None, 10, DropReason::Runt, Nanos(9));
    world.tick(Nanos::from_millis(100), 0);
    world.tick(Nanos::from_secs(2), 0);
    world.tick(Nanos::from_millis(2_100), 0);
    let totals = world.kpis.totals();
    assert_eq!((totals.packets_in, totals.dropped(), totals.held), (6, 1, 5));
    let registry = world.registry();
    assert_eq!(row(&registry, "drops", &[("reason", "runt")]), Some(&json!(1)));
    assert_eq!(row(&registry, "held", &[("class", "out")]), Some(&json!(5)));
}

#[test]
fn every_number_of_the_report_stands_on_the_list() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    (0..100).for_each(|n| world.packet(Nanos::from_micros(n * 10)));
    world.core.add_cycles(10, 100);
    world.tick(INTERVAL, 0);
    let registry = world.registry();
    let listed: usize = registry
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| {
            let entries = &world.kpis.report().entries;
            entries.iter().any(|e| name.starts_with(&ListName::new(e.name).stem))
        })
        .filter(|(name, _)| !name.ends_with("_observations") && !is_counted(name))
        .map(|(_, rows)| rows.as_array().map_or(1, Vec::len))
        .sum();
    let entries = world.kpis.report().entries.iter().filter(|e| !is_counted(e.name));
    let known = entries.flat_map(|e| &e.values).filter(|(_, value)| value.is_some()).count();
    assert_eq!(listed, known);
    assert!(known > 20, "{known}");
}

/// A series of every part of every KPI, each with all of its values there.
fn every_series() -> Report {
    let mut report = Report::default();
    for definition in catalogue::all().filter(|definition| definition.is_of_gateway()) {
        let has = |label: &str| definition.place.labels().contains(&label);
        for series in definition.series {
            report.entries.push(Entry {
                labels: Labels {
                    port: has("port").then(|| "venue".to_owned()),
                    class: has("class").then(|| "orders".to_owned()),
                    kind: has("kind").then_some("order"),
                    limit: has("limit").then(|| "xcme".to_owned()),
                    part: series.part,
                    arm: None,
                },
                values: series.values.iter().map(|value| (*value, Some(0.5))).collect(),
                n: 7,
                basis: definition.basis,
                ..Entry::blank(definition.name)
            });
        }
    }
    report
}

/// What `# HELP`, `# TYPE` and `# UNIT` say of each family, and its points.
#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    unit: String,
    points: Vec<String>,
}

fn families(text: &str) -> BTreeMap<&str, Family> {
    let mut all: BTreeMap<&str, Family> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => all.entry(name).or_default().help = help.to_owned(),
            ["#", "TYPE", name, kind] => all.entry(name).or_default().kind = kind.to_owned(),
            ["#", "UNIT", name, unit] => all.entry(name).or_default().unit = unit.to_owned(),
            ["#", "EOF"] => {}
            _ => {
                let name = line.split_once(['{', ' ']).unwrap().0;
                let family = all.get_mut(name).unwrap_or_else(|| panic!("no family of {line}"));
                family.points.push(line.to_owned());
            }
        }
    }
    all
}

/// Every value of every KPI is a point of a family that says what it is, in which unit, and whose labels say of
/// what. KPIs that are counted since the start stand there as counters.
#[test]
fn every_kpi_has_help_unit_and_labels_in_openmetrics() {
    let report = every_series();
    let mut registry = Registry::new();
    publish_report(&report, &mut registry);
    let provenance = Provenance { host: Some("gw7".into()), session: Some(SessionName::Mid) };
    let text = Arc::new(registry).to_openmetrics(&provenance);
    assert!(text.ends_with("# EOF\n"));
    let families = families(&text);
    for (name, family) in &families {
        assert!(!family.help.is_empty() && family.kind == "gauge", "{name}");
        let unit = name.rsplit_once('_').map(|(_, last)| last);
        let unit = unit.filter(|last| ["ns", "us", "bytes", "ratio"].contains(last));
        assert_eq!(family.unit, unit.unwrap_or_default(), "{name}");
    }
    let mut points = 0;
    for entry in report.entries.iter().filter(|entry| !is_counted(entry.name)) {
        let definition = catalogue::find(entry.name).unwrap();
        let stem = ListName::new(entry.name).stem;
        let mine = |name: &&str| {
            name.strip_prefix("wirepace_").is_some_and(|name| {
                name.strip_prefix(stem.as_str()).is_some_and(|rest| !rest.starts_with("_at_normal"))
            })
        };
        let lines = families.iter().filter(|(name, _)| mine(name)).flat_map(|(_, f)| &f.points);
        let label = |name: &str, value: &str| format!("{name}=\"{value}\"");
        let of_all = [("basis", entry.basis.name()), ("host", "gw7"), ("session", "mid")];
        let mut wanted: Vec<_> = of_all.map(|(name, value)| label(name, value)).into();
        wanted.extend(entry.labels.part.map(|part| label("part", part)));
        wanted.extend(definition.place.labels().iter().map(|name| format!("{name}=\"")));
        let lines = lines.filter(|line| wanted.iter().all(|label| line.contains(label)));
        let lines: Vec<&String> = lines.filter(|line| !line.contains("_observations{")).collect();
        assert!(lines.len() >= entry.values.len(), "{} {wanted:?}: {lines:?}", entry.name);
        points += entry.values.len();
    }
    assert!(points > 150, "{points}");
}

#[test]
fn what_lanes_count_is_one_number_on_every_surface() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    let mut tallies = Tallies::default();
    let figures =
        |n| LimitFigures { least_room: 25, waits: 3 * n, messages: 50 * n, sessions_shared: n };
    let below = BelowQueue {
        queued_bytes: 100,
        queued_bytes_max: 900,
        eligible_bytes: 200,
        eligible_bytes_max: 800,
        limit_bytes: Some(4_000),
    };
    let levels = Levels { flows: 12, path_alive: None, below: Some(below) };
    // Told twice, with sums since the start: two intervals.
    for n in 1..=2 {
        for (k, &tally) in Tally::ALL.iter().enumerate() {
            tallies[tally] = 1_000 * n + k as u64;
        }
        let limits = std::iter::once(figures(n));
        world.core.tell(1, &tallies, levels, limits);
        world.tick(Nanos::from_secs(n), 0);
    }
    let registry = world.registry();
    let run = world.kpis.totals().tallies;
    for (k, &tally) in Tally::ALL.iter().enumerate() {
        let of_port = row(&registry, tally.name(), &[("port", "venue")]);
        assert_eq!(of_port, Some(&json!(2_000 + k)), "{}", tally.name());
        let other = row(&registry, tally.name(), &[("port", "strategies")]);
        assert_eq!(other, Some(&json!(0)), "{}", tally.name());
        assert_eq!(run[tally], 2_000 + k as u64, "{}", tally.name());
    }
    let limit = [("port", "venue"), ("limit", "xcme")];
    for (name, value) in [
        ("venue_limit_waits", json!(6)),
        ("venue_limit_messages", json!(100)),
        ("venue_limit_sessions_shared", json!(2)),
        ("venue_limit_headroom", json!(0.25)),
        ("venue_limit_headroom_messages", json!(25)),
    ] {
        assert_eq!(row(&registry, name, &limit), Some(&value), "{name}");
    }
    assert_eq!(row(&registry, "flows", &[("port", "venue")]), Some(&json!(12)));
    let eligible = [("port", "venue"), ("part", "eligible"), ("stat", "max")];
    assert_eq!(row(&registry, "tx_queue_occupancy", &eligible), Some(&json!(800)));
    let queued = [("port", "venue"), ("part", "queued_for_time")];
    assert_eq!(row(&registry, "tx_queue_occupancy_last", &queued), Some(&json!(100)));

    let again = run[Tally::TcpRetransmissions] + run[Tally::RetransmitsWhileHeld];
    let segments = run[Tally::TcpSegments];
    let kpis = world.kpis.run_report(Nanos::from_secs(3));
    let one = |name| kpis.of(name).next().unwrap();
    assert_eq!(one("venue_limit_waits").value("waits"), Some(6.0));
    assert_eq!(one("venue_limit_headroom").value("headroom"), Some(0.25));
    assert_eq!(
        one("retransmits_while_held").value("packets"),
        Some(run[Tally::RetransmitsWhileHeld] as f64)
    );
    let ratio = one("tcp_retransmit_ratio");
    assert_eq!(ratio.value("ratio"), Some(again as f64 / segments as f64));
    assert_eq!(ratio.n, segments);
}

#[test]
fn what_is_not_there_says_why() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    let unused = LimitFigures { least_room: 100, waits: 0, messages: 0, sessions_shared: 0 };
    let levels = Levels::default();
    world.core.tell(1, &Tallies::default(), levels, std::iter::once(unused));
    world.tick(INTERVAL, 0);
    let report = world.kpis.report();
    let why = |name| report.of(name).next().unwrap().absent;
    assert_eq!(why("venue_limit_headroom"), Some("no_packets"));
    assert_eq!(why("venue_limit_waits"), None, "no wait is a count");
    assert_eq!(why("tcp_retransmit_ratio"), Some("no_packets"));
    assert_eq!(why("retransmits_while_held"), Some("no_packets"));
    let none = KpiPlan { limits: Vec::new(), ..plan() };
    let block = Block::new(&none);
    let inputs = Inputs {
        plan: &none,
        block: &block,
        profile: None,
        sampled: None,
        samples: SampleLoss::default(),
        span: INTERVAL,
        steps: &[],
        factors: &[],
        switches: Switches::default(),
    };
    let report = Report::build(&[inputs]);
    for name in ["venue_limit_headroom", "venue_limit_waits"] {
        let entry = report.of(name).next().unwrap();
        assert_eq!((entry.absent, entry.n), (Some("no_limit"), 0), "{name}");
        assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{name}");
    }
}

#[test]
fn losses_of_the_sample_ring_belong_to_their_interval() {
    let mut world = World::new();
    world.tick(Nanos(0), 0);
    world.tick(INTERVAL, 7);
    assert_eq!(world.kpis.report().of("lost_share").next().unwrap().n, 7);
    world.tick(INTERVAL.saturating_add(INTERVAL), 7);
    assert_eq!(world.kpis.report().of("lost_share").next().unwrap().n, 0);
}
