//! Must hold: over a seeded timeline every KPI equals a plain computation over the raw packets. Counts
//! and ratios exactly, quantiles within 1 %. `oracle` shares no code with the product.

mod oracle;
#[path = "../rows/mod.rs"]
mod rows;
mod timeline;

use model::kpi::{Block, CoreAggregates, Entry};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile};
use model::time::Nanos;

use crate::oracle::{Class, Value};
use crate::rows::{ANSWERS, CANCELS, FEED, LINK, ORDERS, SESSION, World};
use crate::timeline::{Packet, count, timeline};

/// Of the class of orders.
const RATE: (u64, u64) = (80_000_000, 3_000);

fn profile() -> Profile {
    let class = |class| ClassParams { class, ..ClassParams::default() };
    let rate = Some(Bucket::new(RATE.0, RATE.1));
    let mut classes = vec![class(Caps::default()); 5];
    classes[0] = class(Caps { bits: rate, messages: None });
    Profile {
        name: "normal".into(),
        index: 0,
        classes,
        egress: vec![EgressParams::default(); 2],
        canary: None,
        venue_limits: vec![],
    }
}

fn classes() -> [(&'static str, Class); 5] {
    let class = |number| Class {
        number,
        cadence: None,
        link: Some(LINK),
        rate: None,
        is_feed: number == FEED,
        from_venue: number == FEED || number == ANSWERS,
    };
    [
        ("orders", Class { cadence: Some(100_000), rate: Some(RATE), ..class(ORDERS) }),
        ("cancels", class(CANCELS)),
        ("session", class(SESSION)),
        ("feed", class(FEED)),
        ("answers", class(ANSWERS)),
    ]
}

/// The product's report over `packets`, taken in intervals.
fn product(packets: &[Packet]) -> World {
    let mut world = World::new();
    world.profile = Some(profile());
    let mut core = CoreAggregates::new(&world.plan);
    count(&mut core, packets);
    core.flush();
    let full = core.swap(Nanos::ZERO, Box::new(Block::new(&world.plan)));
    assert_eq!(full.unplanned, 0);
    world.block.merge(&full);
    let mut interval = World::new();
    for (n, packet) in packets.iter().enumerate() {
        interval.add(&packet.sample());
        if n % 1_500 == 0 {
            world.sampled.merge(&interval.sampled);
            interval.sampled.clear();
        }
    }
    interval.sampled.flush();
    world.sampled.merge(&interval.sampled);
    world.samples = interval.samples;
    world
}

fn check(seed: u64, class: &str, entry: &Entry, value: &str, found: Option<f64>, expected: Value) {
    let what = || format!("{} {:?} {value} of {class}, seed {seed}", entry.name, entry.labels.part);
    let (tolerance, expected) = match expected {
        Value::Exact(expected) => (1e-9, expected),
        Value::Quantile(expected) => (0.01, expected),
    };
    match (found, expected) {
        (None, None) => assert!(entry.absent.is_some(), "{} says why", what()),
        (Some(found), Some(expected)) => {
            let off = (found - expected).abs();
            assert!(off <= expected.abs() * tolerance, "{}: {found}, not {expected}", what());
        }
        _ => panic!("{}: {found:?}, not {expected:?} ({:?})", what(), entry.absent),
    }
}

#[test]
fn every_kpi_is_what_a_plain_computation_says() {
    for seed in [1, 0x5eed, 77_777] {
        let packets = timeline(seed);
        let report = product(&packets).look();
        let mut values = 0;
        for (name, class) in classes() {
            let expected = oracle::values(&packets, class);
            let of_class = |entry: &&Entry| entry.labels.class.as_deref() == Some(name);
            for entry in report.entries.iter().filter(of_class) {
                for (value, found) in &entry.values {
                    let part = entry.labels.part.unwrap_or("");
                    let key = (entry.name.to_owned(), part.to_owned(), (*value).to_owned());
                    let expected =
                        expected.get(&key).unwrap_or_else(|| panic!("{key:?} of {name}"));
                    check(seed, name, entry, value, *found, *expected);
                    values += usize::from(found.is_some());
                }
            }
        }
        // Nothing of it is true because it is absent.
        assert!(values > 400, "{values} values were compared");

        let (near, drifted) = oracle::causality(&packets);
        let drift = report.of("causality_drift").next().unwrap();
        assert_eq!((drift.n, drift.value("drift")), (near, Some(drifted as f64 / near as f64)));
        assert!(drifted > 30, "{drifted}");
        let urgency = report.of("not_sent_urgency_divergence").next().unwrap();
        let (weighted, ratio) = oracle::divergence(&packets, 1_000_000_000);
        for (value, expected) in [("divergence", weighted), ("ratio", ratio)] {
            let expected = Value::Exact(Some(expected));
            check(seed, "", urgency, value, urgency.value(value), expected);
        }
    }
}

/// Rows that stand for several packets: what needs no neighbour is what repeating each would give.
#[test]
fn weights_count_as_so_many_packets() {
    let mut packets = timeline(9);
    for (n, packet) in packets.iter_mut().enumerate() {
        packet.weight = [1, 4, 2][n % 3];
    }
    let report = product(&packets).look();
    let expected = oracle::values(&packets, classes()[0].1);
    let mut compared = 0;
    for entry in report.entries.iter().filter(|entry| {
        entry.labels.class.as_deref() == Some("orders") && entry.basis.name() == "sampled"
    }) {
        if entry.absent == Some("not_every_packet") {
            assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{}", entry.name);
            continue;
        }
        for (value, found) in &entry.values {
            let part = entry.labels.part.unwrap_or("");
            let key = (entry.name.to_owned(), part.to_owned(), (*value).to_owned());
            check(9, "orders", entry, value, *found, expected[&key]);
            compared += usize::from(found.is_some());
        }
    }
    assert!(compared > 30, "{compared}");
}
