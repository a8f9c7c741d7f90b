//! What a verdict says where it is known what differs.

use rig::ab::result::RunResult;
use rig::ab::verdict::{Finding, Gate, Outcome, Verdict};

use crate::made_up::{KERNEL, Like, World, run};

/// A tenth of the gap error, no bursts, and little more of anything else.
const BETTER: Like = Like { gap_error_ns: 8_000.0, excess: 1.0, delay_p99_ns: 95_000.0, ..KERNEL };

fn judged(run: &RunResult) -> (Outcome, Vec<Gate>) {
    let verdict = Verdict::of(run);
    let judged = verdict.judged.first().expect("one workload");
    assert_eq!(verdict.outcome, judged.outcome);
    (verdict.outcome, judged.valid.gates.clone())
}

fn finding(gates: &[Gate], what: &str) -> Finding {
    gates.iter().find(|gate| gate.what == what).expect(what).finding
}

/// Changes the KPI `name` in every block.
fn change(run: &mut RunResult, name: &str, change: impl Fn(&mut rig::ab::result::Kpi)) {
    for block in &mut run.questions[0].workloads[0].blocks {
        block.kpis.iter_mut().filter(|kpi| kpi.name == name).for_each(&change);
    }
}

#[test]
fn a_better_shape_within_all_bounds_is_a_win() {
    let verdict = Verdict::of(&run(World::new(1, BETTER)));
    assert!(verdict.holds(), "{:#?}", verdict.lines());
    let lines = verdict.lines();
    assert!(lines[0].starts_with("verdict win: "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("gap error p99") && line.contains("better")));
}

#[test]
fn each_guard_by_itself_undoes_a_win() {
    for (what, like) in [
        ("added delay p50", Like { delay_p50_ns: 120_000.0, ..BETTER }),
        ("added delay p99", Like { delay_p99_ns: 200_000.0, ..BETTER }),
        ("goodput", Like { goodput: 0.9 * KERNEL.goodput, ..BETTER }),
        ("completion", Like { completion: 0.99, ..BETTER }),
        ("CPU per packet", Like { cpu_ns: 3.0 * KERNEL.cpu_ns, ..BETTER }),
    ] {
        let (outcome, gates) = judged(&run(World::new(2, like)));
        assert_eq!(outcome, Outcome::Traded, "{what}");
        let failed: Vec<_> = gates
            .iter()
            .filter(|gate| gate.finding == Finding::Fails)
            .map(|gate| gate.what)
            .collect();
        assert_eq!(failed, [what]);
    }
}

#[test]
fn a_worse_shape_is_a_loss_and_beside_a_better_one_a_trade() {
    let (outcome, _) = judged(&run(World::new(3, Like { gap_error_ns: 400_000.0, ..KERNEL })));
    assert_eq!(outcome, Outcome::Loss);
    let mixed = Like { gap_error_ns: 8_000.0, excess: 9.0, ..KERNEL };
    let (outcome, gates) = judged(&run(World::new(3, mixed)));
    assert_eq!(outcome, Outcome::Traded);
    assert_eq!(finding(&gates, "burstiness excess"), Finding::Worse);
}

/// 20 us of 80 us are found, and are less than three times 8 us.
#[test]
fn what_the_observer_cannot_resolve_is_no_effect() {
    let mut run =
        run(World { noise: 0.02, ..World::new(4, Like { gap_error_ns: 60_000.0, ..KERNEL }) });
    assert_eq!(judged(&run).0, Outcome::Win);
    let blocks = &mut run.questions[0].workloads[0].blocks;
    for observer in blocks.iter_mut().filter_map(|block| block.conditions.observer.as_mut()) {
        observer.p99_ns = 8_000;
    }
    let (outcome, gates) = judged(&run);
    assert_eq!(
        (outcome, finding(&gates, "gap error p99")),
        (Outcome::NotResolved, Finding::NotResolved)
    );
    run.questions[0].workloads[0]
        .blocks
        .iter_mut()
        .for_each(|block| block.conditions.observer = None);
    assert_eq!(judged(&run).0, Outcome::NotResolved, "nobody knows what it resolves");
}

#[test]
fn so_few_pairs_find_nothing_and_say_so() {
    let (outcome, gates) = judged(&run(World { rounds: 6, ..World::new(5, BETTER) }));
    assert_eq!(outcome, Outcome::NotResolved);
    assert!(gates[0].because.starts_with("6 pairs"), "{}", gates[0].because);
}

#[test]
fn zeros_by_construction_proxies_and_what_is_absent_take_no_part() {
    type Change = fn(&mut rig::ab::result::Kpi);
    let ways: [Change; 3] = [
        |kpi| kpi.structural_zero = true,
        |kpi| kpi.proxy = true,
        |kpi| {
            kpi.values.iter_mut().for_each(|(_, value)| *value = None);
            kpi.absent = Some("no_link_rate".to_owned());
        },
    ];
    // CPU alone would undo the win.
    let worse = Like { cpu_ns: 9.0 * KERNEL.cpu_ns, ..BETTER };
    for way in ways {
        let mut made = run(World::new(6, worse));
        change(&mut made, "cpu_ns_per_packet", way);
        let (outcome, gates) = judged(&made);
        assert_eq!((outcome, finding(&gates, "CPU per packet")), (Outcome::Win, Finding::NotGated));
        change(&mut made, "wire_cadence_variability_ns", way);
        assert_eq!(judged(&made).0, Outcome::Win, "the other shape is enough");
        change(&mut made, "burstiness_index", way);
        assert_eq!(judged(&made).0, Outcome::NotComparable, "no shape at all");
    }
}

/// A figure of the gateway alone, however much better or worse it is.
#[test]
fn the_error_of_the_pacer_is_in_no_verdict() {
    let run = run(World { is_short: false, ..World::new(7, BETTER) });
    let gates = judged(&run).1;
    assert!(gates.iter().all(|gate| !gate.contrast.figure.name.contains("pacer")));
    assert_eq!(gates.len(), 7);
}

#[test]
fn with_and_without_void_blocks_must_agree() {
    let mut run = run(World { void_one_in: 2, ..World::new(8, BETTER) });
    assert_eq!(judged(&run).0, Outcome::Win);
    // In every void block the reference was as bad as can be.
    for block in &mut run.questions[0].workloads[0].blocks {
        if !block.is_valid() && block.arm == 1 {
            let wide = |kpi: &mut rig::ab::result::Kpi| {
                kpi.values.iter_mut().for_each(|(_, value)| *value = value.map(|v| v * 1e3));
            };
            block.kpis.iter_mut().for_each(wide);
        }
    }
    let verdict = Verdict::of(&run);
    let judged = &verdict.judged[0];
    assert_eq!(verdict.outcome, Outcome::NotSettled);
    assert_eq!(judged.valid.outcome, Outcome::Win);
    assert_ne!(judged.all.outcome, Outcome::Win);
    assert_eq!((judged.valid.pairs, judged.all.pairs), (12, 12));
}

#[test]
fn the_best_kernel_arm_is_the_opponent_and_never_the_sender() {
    let mut run = run(World { is_short: false, ..World::new(9, BETTER) });
    assert_eq!(Verdict::of(&run).judged[0].opponent, 1, "kernel, though sender has less error");
    // A second one that paces, ten times as well.
    run.questions[0].arms[2].paces = true;
    assert_eq!(Verdict::of(&run).judged[0].opponent, 1);
    for block in run.questions[0].workloads[0].blocks.iter_mut().filter(|block| block.arm == 2) {
        let gap = block.kpis.iter_mut().find(|kpi| kpi.name == "wire_cadence_variability_ns");
        gap.unwrap().values[1].1 = Some(5_000.0);
    }
    assert_eq!(Verdict::of(&run).judged[0].opponent, 2);
}

#[test]
fn nothing_to_compare_is_said_with_its_reason() {
    let mut run = run(World::new(10, BETTER));
    run.questions[0].arms[0].paces = false;
    let verdict = Verdict::of(&run);
    assert_eq!((verdict.outcome, verdict.holds()), (Outcome::NotComparable, false));
    run.header.not_comparable = Some("no network namespaces".to_owned());
    let said = Verdict::of(&run).lines();
    assert_eq!(
        said,
        ["verdict not_comparable: there is nothing to compare: no network namespaces"]
    );
}
