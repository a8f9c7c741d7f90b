use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::*;
use crate::ab::contract;
use crate::ab::fault::{Fault, Faulty};
use crate::ab::observer::Observation;
use crate::ab::passage::passages;
use crate::ab::plan::below;
use crate::ab::result::Block as ResultBlock;
use crate::ab::testing::{CONTRACT, WALL, log_of, udp_frame, when_due};
use crate::ab::workload::Workload;

const LENGTH: Nanos = Nanos::from_secs(1);

/// A block of steady orders that passed the observer at these times.
fn block(times: &[(u64, Nanos)]) -> ResultBlock {
    let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
    let log = log_of(&schedule);
    let frames = times.iter().map(|(number, at)| udp_frame(*number, *at)).collect();
    let seen = Observation { frames, ..Observation::default() };
    let found = passages(&schedule, &log, &seen, &CONTRACT);
    let classes = contract::classes(&schedule, &CONTRACT).expect("a good config");
    let cpu =
        [CpuTime { cpu: 0, user_ns: 400_000_000, idle_ns: 600_000_000, ..CpuTime::default() }];
    let around = Around {
        classes: &classes,
        contract: &CONTRACT,
        began: WALL,
        length: LENGTH,
        span: LENGTH,
        ended: WALL.saturating_add(LENGTH).saturating_add(Nanos::from_millis(30)),
        capture_drops: 0,
        cpu: &cpu,
        run_queue: Some((5_000, 10)),
    };
    ResultBlock {
        kpis: kpis(&found, &around, None),
        totals: totals(&found, &around),
        ..ResultBlock::default()
    }
}

fn of_orders(block: &ResultBlock, name: &str, part: Option<&str>, value: &str) -> f64 {
    let found = block.value(name, Some("orders"), part, value);
    found.unwrap_or_else(|| {
        panic!("{name} {part:?} {value}: {:?}", block.kpis.iter().find(|k| k.name == name))
    })
}

/// Each order leaves 2 us after it is due: no error of gaps, no bursts, an error of release of 2 us.
#[test]
fn a_block_that_keeps_every_due_time() {
    let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
    let block = block(&when_due(&schedule, Nanos::from_micros(2)));
    let close = |found: f64, expected: f64| (found - expected).abs() <= expected * 0.01;
    assert_eq!(of_orders(&block, "wire_cadence_variability_ns", None, "p99"), 0.0);
    assert!(close(of_orders(&block, "release_error_ns", Some("late"), "p99"), 2_000.0));
    assert_eq!(of_orders(&block, "burstiness_index", None, "excess"), 1.0);
    assert_eq!(of_orders(&block, "completion_ratio", None, "ratio"), 1.0);
    assert_eq!(of_orders(&block, "drops", None, "packets"), 0.0);
    // Ten are handed over each ms, to leave over it: the median waits 402 or 502 us.
    let median = of_orders(&block, "dispatch_to_wire_ns", Some("total"), "p50");
    assert!(close(median, 402_000.0), "{median}");
    assert_eq!(block.totals.goodput_bits_per_s(), Some(10_000.0 * 214.0 * 8.0));
    assert_eq!(block.value("cpu_ns_per_packet", None, None, "mean"), Some(40_000.0));
    assert_eq!(block.value("run_queue_delay_ns", None, None, "mean"), Some(500.0));
    assert_eq!(block.totals.in_time, 10_000);
}

/// Every KPI of the catalogue that arms have is there once at least, with a value or a reason.
#[test]
fn no_kpi_is_left_out() {
    let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
    let block = block(&when_due(&schedule, Nanos::ZERO));
    for definition in catalogue::all().filter(|d| d.arms.contains(&Arm::Kernel)) {
        let found: Vec<_> = block.kpis.iter().filter(|k| k.name == definition.name).collect();
        assert!(!found.is_empty(), "{}", definition.name);
        for kpi in found {
            let has_value = kpi.values.iter().any(|(_, value)| value.is_some());
            assert!(has_value || kpi.absent.is_some(), "{kpi:?}");
            assert_eq!(kpi.view, "outside");
        }
    }
    // What only our own pacer knows is no figure of an arm.
    assert!(block.kpis.iter().all(|k| k.name != "pacer_error_ns"));
}

/// The orders of a block in which a pacer lets one out each 99 us at the earliest, at four fifths of that
/// rate with [`Fault::Rate`], with a noise of up to 2 us; other faults stand behind it.
fn paced(seed: u64, fault: Option<Fault>) -> ResultBlock {
    let schedule = Workload::SteadyOrders.schedule(1, LENGTH);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let rate = fault.map_or(10_100, |fault| fault.rate(10_100));
    let mut faulty = Faulty::new(fault, WALL, seed);
    let mut free = WALL;
    for (number, message) in (0..).zip(&schedule.messages) {
        let at = WALL.saturating_add(message.handed).max(free);
        free = at.saturating_add(Nanos(1_000_000_000 / rate));
        faulty.take(at.saturating_add(Nanos(below(&mut random, 2_000))), number);
    }
    let far = Nanos(u64::MAX);
    let mut times = Vec::new();
    while let Some((at, number)) = faulty.released(far) {
        times.push((u64::from(number), at));
    }
    block(&times)
}

/// Which figures of a block with a fault are worse than those of any of the blocks without.
fn worse(faulty: &ResultBlock, sound: &[ResultBlock]) -> Vec<&'static str> {
    type Figure = fn(&ResultBlock) -> f64;
    let figures: [(&str, Figure); 6] = [
        ("gap max", |b| of_orders(b, "wire_cadence_variability_ns", None, "max")),
        ("gap p95", |b| of_orders(b, "wire_cadence_variability_ns", None, "p95")),
        ("burstiness", |b| of_orders(b, "burstiness_index", None, "excess")),
        ("late p99", |b| of_orders(b, "release_error_ns", Some("late"), "p99")),
        ("drops", |b| of_orders(b, "drops", None, "packets")),
        ("incomplete", |b| 1.0 - of_orders(b, "completion_ratio", None, "ratio")),
    ];
    let is_worse = |figure: &Figure| {
        let most = sound.iter().map(figure).fold(f64::NEG_INFINITY, f64::max);
        figure(faulty) > 1.2 * most
    };
    figures.iter().filter(|(_, figure)| is_worse(figure)).map(|(name, _)| *name).collect()
}

/// Each fault moves the figures that it should, in at least 18 of 20 seeds, and no other fault's alone.
#[test]
fn planted_faults_are_found_by_the_figures_that_mean_them() {
    let sound: Vec<_> = (100..104).map(|seed| paced(seed, None)).collect();
    for (fault, found_by, not_by) in [
        (Fault::Stall, &["gap max", "burstiness"][..], &["drops", "incomplete"][..]),
        (Fault::Loss, &["drops", "incomplete"], &["burstiness"]),
        (Fault::Rate, &["late p99", "incomplete"], &["drops", "burstiness"]),
        (Fault::Flush, &["gap p95", "burstiness", "late p99"], &["drops", "incomplete"]),
    ] {
        let right = (0..20).filter(|seed| {
            let worse = worse(&paced(*seed, Some(fault)), &sound);
            found_by.iter().all(|name| worse.contains(name))
                && not_by.iter().all(|name| !worse.contains(name))
        });
        let right = right.count();
        let one = worse(&paced(0, Some(fault)), &sound);
        assert!(right >= 18, "{fault:?}: {right} of 20; seed 0 moved {one:?}");
    }
}
