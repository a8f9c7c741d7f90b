//! What holds of the engine whatever the KPIs do. Each failure prints the series that broke it.
#![allow(clippy::unwrap_used)]

#[path = "regime/world.rs"]
mod world;

use std::collections::BTreeMap;

use model::regime::{Cause, Decision, Engine, Missing, Reading, Scope, StateId};
use model::time::Nanos;
use proptest::prelude::*;
use world::{MODEL, Run, TICK, machines, secs};

/// Every input of the built-in machines, with values on both sides of all of its limits.
const INPUTS: [(&str, [f64; 4]); 21] = [
    ("cap_hit_ratio.ratio", [0.0, 0.1, 0.2, 1.0]),
    ("dispatch_to_wire_ns[rest].p95", [10_000.0, 14_000.0, 20_000.0, 90_000.0]),
    ("dispatch_to_wire_ns[rest].p99", [10_000.0, 25_000.0, 40_000.0, 90_000.0]),
    ("dispatch_to_wire_ns[hold].p95", [0.0, 5_000.0, 20_000.0, 500_000.0]),
    ("burstiness_index.excess", [1.0, 1.6, 3.0, 9.0]),
    ("segmentation_burst_factor.factor", [1.0, 1.5, 2.0, 8.0]),
    ("ack_compression_ratio.ratio", [0.5, 1.5, 2.0, 8.0]),
    ("wire_serialization_ns.p95", [5_000.0, 15_000.0, 20_000.0, 90_000.0]),
    ("cadence_phase_error.p95", [0.0, 0.2, 0.25, 0.5]),
    ("release_error_ns[late].p95", [0.0, 200_000.0, 250_000.0, 900_000.0]),
    ("completion_ratio.ratio", [1.0, 0.9995, 0.99, 0.5]),
    ("limit_oscillation_score[limit].score", [0.0, 0.3, 0.4, 2.0]),
    ("limit_oscillation_score[in_flight].inflight_oscillation", [0.0, 0.3, 0.4, 2.0]),
    ("wire_cadence_variability_ns.p95", [10_000.0, 14_000.0, 20_000.0, 90_000.0]),
    ("tx_stall_rate.rate", [0.0, 0.0, 1.0, 5.0]),
    ("tx_stall_rate.n", [0.0, 2.0, 3.0, 9.0]),
    ("not_sent_bytes.p95", [500.0, 16_000.0, 30_000.0, 90_000.0]),
    ("flush_compression_index.index", [1.0, 3.0, 5.0, 20.0]),
    ("burst_drain_ratio.ratio", [0.01, 0.07, 0.1, 0.9]),
    ("child_join_delay_ns.value", [10_000.0, 20_000.0, 50_000.0, 90_000.0]),
    ("causality_drift.drift", [0.0, 0.02, 0.05, 0.5]),
];
const MORE: [(&str, [f64; 4]); 4] = [
    ("delivery_delay_ns[market_data].p95", [10_000.0, 70_000.0, 100_000.0, 900_000.0]),
    ("market_data_distortion_ratio.ratio", [1.0, 1.3, 1.5, 9.0]),
    ("burst_delivery_concentration.excess", [1.0, 1.3, 1.5, 9.0]),
    ("decision_burst_coupling.excess", [0.0, 0.2, 0.3, 1.0]),
];

fn inputs() -> impl Iterator<Item = &'static (&'static str, [f64; 4])> {
    INPUTS.iter().chain(&MORE)
}

/// For some ticks: a level of 4 for each input, or absent.
#[derive(Clone, Debug)]
struct Stretch {
    ticks: u32,
    levels: Vec<Option<usize>>,
    packets: Option<u64>,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    let level = prop_oneof![1 => Just(None), 8 => (0_usize..4).prop_map(Some)];
    let levels = proptest::collection::vec(level, inputs().count());
    let packets = prop_oneof![4 => Just(Some(100)), 2 => Just(Some(0)), 1 => Just(None)];
    (1_u32..150, levels, packets).prop_map(|(ticks, levels, packets)| Stretch {
        ticks,
        levels,
        packets,
    })
}

fn series() -> impl Strategy<Value = Vec<Stretch>> {
    proptest::collection::vec(stretch(), 1..12)
}

fn put(run: &mut Run, stretch: &Stretch) {
    for ((name, levels), level) in inputs().zip(&stretch.levels) {
        match level {
            Some(level) => run.kpis.set(name, levels[*level]),
            None => run.kpis.put(name, Reading::Absent(Missing::NoSource)),
        };
    }
    run.kpis.packets = stretch.packets;
}

/// The slowest machines there are would never move in a series: release and dwell are shorter.
const QUICK: &str = "dwell = \"2s\"\nrelease = 10\n";

fn world() -> Run {
    let names = ["pacing", "segmentation", "byte_queue", "drain", "delivery"];
    let tables = names.map(|name| format!("[[regime.machine]]\nname = \"{name}\"\n{QUICK}"));
    let mut run = Run::new(machines(&(MODEL.to_owned() + &tables.concat())));
    run.acts = true;
    run
}

fn play(run: &mut Run, series: &[Stretch]) {
    for stretch in series {
        put(run, stretch);
        (0..stretch.ticks).for_each(|_| drop(run.tick()));
    }
}

/// The decisions of each instance.
fn by_instance(log: &[Decision]) -> BTreeMap<(usize, Scope), Vec<&Decision>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    log.iter().for_each(|d| all.entry((d.machine, d.scope)).or_default().push(d));
    all
}

fn states(engine: &Engine) -> Vec<String> {
    engine.standings().map(|s| format!("{} {} {}", s.machine, s.scope, s.state)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_down_are_one_state_and_a_dwell_apart(series in series()) {
        let mut run = world();
        play(&mut run, &series);
        for decisions in by_instance(&run.log).values() {
            let mut entered = secs(1);
            for decision in decisions.iter().filter(|d| d.is_transition()) {
                if decision.to < decision.from {
                    prop_assert_eq!(decision.to, decision.from.below());
                    prop_assert!(decision.at - entered >= secs(2), "{:?}", decision);
                }
                entered = decision.at;
            }
        }
    }

    #[test]
    fn every_decision_is_made_by_values_that_satisfy_it(series in series()) {
        let mut run = world();
        play(&mut run, &series);
        for decision in run.log.iter().filter(|d| d.cause == Cause::Entered) {
            let evidence = &decision.evidence;
            prop_assert!(evidence.iter().all(|e| e.value.is_some() && e.limit.is_some()));
            for e in evidence {
                let holds = match e.term.split_whitespace().find(|w| [">=", ">", "<", "<="].contains(w)) {
                    Some(">=") => e.value >= e.limit,
                    Some(">") => e.value > e.limit,
                    Some("<") => e.value < e.limit,
                    _ => e.value <= e.limit,
                };
                prop_assert!(holds, "{:?}", e);
            }
        }
    }

    #[test]
    fn same_input_same_decisions(series in series()) {
        let (mut one, mut two) = (world(), world());
        play(&mut one, &series);
        play(&mut two, &series);
        prop_assert_eq!(one.log, two.log);
    }

    #[test]
    fn absent_kpis_change_nothing(series in series(), ticks in 1_u32..2_000) {
        let mut run = world();
        play(&mut run, &series);
        let before = states(&run.engine);
        run.kpis.values.clear();
        // Nor do they with traffic: silence is another matter.
        for packets in [Some(7), None] {
            run.kpis.packets = packets;
            let from = run.log.len();
            (0..ticks).for_each(|_| drop(run.tick()));
            let silent = run.log[from..].iter().filter(|d| d.is_transition()).count();
            prop_assert_eq!((states(&run.engine), silent), (before.clone(), 0));
        }
    }

    /// Whatever was before, and whether or not a profile is in force.
    #[test]
    fn clean_input_leads_to_the_lowest_state_in_time(series in series(), acts in any::<bool>()) {
        let mut run = world();
        run.acts = acts;
        play(&mut run, &series);
        let frozen: Vec<bool> = run.engine.standings().map(|s| s.frozen).collect();
        for (name, levels) in inputs() {
            run.kpis.set(name, levels[0]);
        }
        run.kpis.packets = Some(100);
        let way = run.engine.machines().iter().map(|m| m.way_down(TICK)).max().unwrap();
        run.run(way + TICK);
        for (standing, frozen) in run.engine.standings().zip(frozen) {
            // A frozen one waits for the operator, under the confirmed profile.
            if standing.frozen || frozen {
                prop_assert_eq!(standing.profile, "normal");
            } else {
                prop_assert_eq!((standing.severity, standing.held_off), (0, false), "{:?}", standing);
            }
        }
    }

    #[test]
    fn a_latch_is_left_by_nothing_but_a_release(series in series()) {
        let mut run = world();
        run.leave.latches = true;
        play(&mut run, &series);
        let machines = run.engine.machines();
        for decision in run.log.iter().filter(|d| d.scope == Scope::Class(0)) {
            let severity = machines[decision.machine].severity(decision.from).number();
            prop_assert!(severity < 3 || !decision.is_transition(), "{:?}", decision);
        }
    }

    #[test]
    fn more_than_six_transitions_in_a_minute_freeze(series in series()) {
        let mut run = world();
        play(&mut run, &series);
        for decisions in by_instance(&run.log).values() {
            let moved: Vec<Nanos> =
                decisions.iter().filter(|d| d.is_transition()).map(|d| d.at).collect();
            for seven in moved.windows(8) {
                prop_assert!(seven[7] - seven[0] >= secs(60), "eight within a minute");
            }
        }
    }
}

#[test]
fn the_way_down_is_the_sum_of_release_and_dwell() {
    let run = world();
    let pacing = &run.engine.machines()[0];
    // Two states, each 10 ticks of 100 ms and 2 s.
    assert_eq!(pacing.way_down(TICK), secs(6));
    assert_eq!(pacing.ids().next_back(), Some(StateId(2)));
    // Two of three look back 10 s for a stall.
    assert_eq!(run.engine.machines()[2].way_down(TICK), secs(3 * 3 + 2 * 10));
}
