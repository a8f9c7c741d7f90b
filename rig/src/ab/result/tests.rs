use super::*;

fn block(round: u32, attempt: u32, position: u32, arm: usize, is_void: bool) -> Block {
    let void = if is_void { vec![Void::CaptureDrops { frames: 1 }] } else { Vec::new() };
    Block { round, attempt, position, arm, void, ..Block::default() }
}

/// Round 0 whole; round 1 void once and repeated; round 2 void to the end.
#[test]
fn pairs_with_and_without_void_blocks() {
    let blocks = vec![
        block(0, 0, 0, 1, false),
        block(0, 0, 1, 0, false),
        block(1, 0, 0, 0, true),
        block(1, 0, 1, 1, false),
        block(1, 1, 0, 0, false),
        block(1, 1, 1, 1, false),
        block(2, 0, 0, 0, true),
        block(2, 0, 1, 1, false),
    ];
    let workload = Workload { rounds: 3, blocks, ..Workload::default() };
    let seen = |only_valid| -> Vec<(u32, u32, bool)> {
        let pairs = workload.pairs(0, 1, only_valid);
        pairs.iter().map(|(a, _, first)| (a.round, a.attempt, *first)).collect()
    };
    assert_eq!(seen(false), [(0, 0, false), (1, 0, true), (2, 0, true)]);
    assert_eq!(seen(true), [(0, 0, false), (1, 1, true)]);
    assert_eq!((workload.shown(0).count(), workload.shown(1).count()), (2, 4));
    // Of the last round the block of one arm is void, and it has no other.
    let blocks = workload.blocks[6..].to_vec();
    let workload = Workload { blocks, ..workload };
    assert_eq!((workload.is_void_only(0), workload.is_void_only(1)), (true, false));
    assert_eq!((workload.shown(0).count(), workload.shown(1).count()), (1, 1));
}

#[test]
fn a_result_is_read_as_it_was_written() {
    let mut block = block(0, 0, 0, 0, true);
    block.void.push(Void::ArmEnded { what: "signal 9".to_owned() });
    block.kpis = vec![Kpi {
        name: "release_error_ns".to_owned(),
        part: Some("late".to_owned()),
        values: vec![("p50".to_owned(), Some(1.5)), ("p99".to_owned(), None)],
        absent: Some("n_too_small".to_owned()),
        ..Kpi::default()
    }];
    assert_eq!(block.value("release_error_ns", None, Some("late"), "p50"), Some(1.5));
    assert_eq!(block.value("release_error_ns", None, Some("early"), "p50"), None);
    let workload = Workload { blocks: vec![block], rounds: 1, ..Workload::default() };
    let question = Question { workloads: vec![workload], ..Question::default() };
    let result = RunResult { questions: vec![question], ..RunResult::default() };
    let text = serde_json::to_string(&result).expect("plain data");
    assert_eq!(serde_json::from_str::<RunResult>(&text).expect("its own text"), result);
}
