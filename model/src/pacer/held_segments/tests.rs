use super::*;
use proptest::prelude::*;
use std::collections::{HashSet, VecDeque};

fn arrive(h: &mut HeldSegments, start: u32, payload: u32) -> Segment {
    let end = start.wrapping_add(payload);
    let verdict = h.judge(0, end, payload);
    if verdict != Segment::Duplicate {
        h.arrive(0, end, payload);
    }
    verdict
}

#[test]
fn an_in_order_sender_and_its_impatience() {
    use Segment::{Duplicate, New, Retransmission};
    let mut h = HeldSegments::new(1);
    // The third one goes past the end of the sequence space.
    let base = u32::MAX - 249;
    for n in 0..3 {
        assert_eq!(arrive(&mut h, base.wrapping_add(100 * n), 100), New);
    }
    for n in 0..3 {
        assert_eq!(arrive(&mut h, base.wrapping_add(100 * n), 100), Duplicate);
    }
    assert_eq!(arrive(&mut h, base.wrapping_add(50), 200), Duplicate, "cut in another way");
    assert_eq!(h.release(0, base.wrapping_add(100)).start, Some(base));
    assert_eq!(arrive(&mut h, base.wrapping_add(100), 200), Duplicate);
    // Half of it has left, half is held: it passes and its messages count.
    assert_eq!(h.judge(0, base.wrapping_add(150), 100), New);
    assert_eq!(h.judge(0, base.wrapping_add(100), 100), Retransmission);
    h.release(0, base.wrapping_add(200));
    h.release(0, base.wrapping_add(300));
    assert_eq!(arrive(&mut h, base, 300), Retransmission);
    assert_eq!(h.judge(0, base.wrapping_add(301), 300), New, "one byte is new");
}

#[test]
fn what_fills_a_hole_was_not_sent_before() {
    let mut h = HeldSegments::new(1);
    arrive(&mut h, 0, 100);
    h.release(0, 100);
    // The segment of 100 to 199 comes late.
    arrive(&mut h, 200, 100);
    h.release(0, 300);
    assert_eq!(arrive(&mut h, 100, 100), Segment::New);
    h.release(0, 200);
    assert_eq!(h.judge(0, 300, 200), Segment::Retransmission);
}

#[test]
fn what_the_port_gave_back_was_not_sent() {
    let mut h = HeldSegments::new(1);
    arrive(&mut h, 0, 100);
    arrive(&mut h, 100, 100);
    let starts = [h.release(0, 100), h.release(0, 200)];
    assert_eq!(h.judge(0, 200, 100), Segment::Retransmission);
    h.undo(0, starts[1], 200);
    h.undo(0, starts[0], 100);
    assert_eq!(h.judge(0, 200, 200), Segment::Duplicate);
    // Now it ends without leaving: whoever sends it again sends it for the first time.
    assert_eq!(h.end(0, 100), Some(0));
    assert_eq!(h.end(0, 200), Some(100));
    assert_eq!(h.judge(0, 200, 100), Segment::New);
}

#[test]
fn a_new_connection_of_the_same_addresses_starts_from_nothing() {
    let mut h = HeldSegments::new(1);
    arrive(&mut h, 0, 1_000);
    h.release(0, 1_000);
    arrive(&mut h, 1_000, 100);
    h.restart(0);
    assert_eq!(arrive(&mut h, 500, 100), Segment::New);
    assert_eq!(h.judge(0, 1_100, 100), Segment::New);
    // Both leave without being mistaken for each other.
    assert_eq!((h.release(0, 1_100).start, h.release(0, 600).start), (None, None));
    assert_eq!(arrive(&mut h, 600, 100), Segment::New);
    assert_eq!(arrive(&mut h, 600, 100), Segment::Duplicate);
}

#[test]
fn a_flow_of_several_connections_is_never_judged() {
    let mut h = HeldSegments::new(1);
    for _ in 0..3 {
        assert_eq!(h.judge(0, 100, 0), Segment::New);
        h.arrive(0, 100, 0);
    }
    assert_eq!(h.release(0, 100).start, None);
    assert_eq!(h.judge(0, 100, 0), Segment::New);
    assert_eq!(h.judge(9, 100, 50), Segment::New, "nor one beyond the table");
}

/// What a step does.
#[derive(Clone, Debug)]
enum Step {
    /// A segment of so many bytes that begins so far from where the sender is.
    Segment { back: u32, payload: u32 },
    /// So many leave; so many of them are refused.
    Leave { count: usize, refused: usize },
    /// The FIFO is filtered: every `nth` ends.
    Filter { nth: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop_oneof![3 => Just(40u32), 3 => 0u32..90];
    prop::collection::vec(
        prop_oneof![
            6 => (back, 1u32..30).prop_map(|(back, payload)| Step::Segment { back, payload }),
            3 => (1usize..5, 0usize..3).prop_map(|(count, refused)| Step::Leave { count, refused }),
            1 => (1usize..4).prop_map(|nth| Step::Filter { nth }),
        ],
        1..120,
    )
}

fn bytes(start: u32, payload: u32) -> impl Iterator<Item = u32> {
    (0..payload).map(move |i| start.wrapping_add(i))
}

/// Runs that the FIFO makes when every segment is known.
fn runs(fifo: &VecDeque<(u32, u32)>) -> usize {
    let breaks = fifo.iter().zip(fifo.iter().skip(1));
    usize::from(!fifo.is_empty())
        + breaks.filter(|((s, n), (t, _))| s.wrapping_add(*n) != *t).count()
}

/// Runs `steps` beside sets of bytes. A sender that jumps writes up to 40 bytes behind or 50 ahead.
fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut h = HeldSegments::new(1);
    let mut fifo: VecDeque<(u32, u32)> = VecDeque::new();
    let mut sent: HashSet<u32> = HashSet::new();
    let mut at = u32::MAX - 300;
    // Whether the FIFO has had too many runs since it was last empty.
    let mut lost = false;
    for step in steps {
        match step {
            Step::Segment { back, payload } => {
                let start = at.wrapping_add(back).wrapping_sub(40);
                let end = start.wrapping_add(payload);
                let held: HashSet<u32> = fifo.iter().flat_map(|&(s, n)| bytes(s, n)).collect();
                let all_held = bytes(start, payload).all(|b| held.contains(&b));
                let all_sent = bytes(start, payload).all(|b| sent.contains(&b));
                match h.judge(0, end, payload) {
                    Segment::Duplicate => prop_assert!(all_held),
                    Segment::Retransmission => prop_assert!(all_sent),
                    Segment::New => {
                        prop_assert!(lost || !all_held, "{} bytes from {}", payload, start);
                    }
                }
                if h.judge(0, end, payload) != Segment::Duplicate {
                    h.arrive(0, end, payload);
                    fifo.push_back((start, payload));
                    lost |= runs(&fifo) > RUNS_MAX;
                }
                if end.wrapping_sub(at) as i32 > 0 {
                    at = end;
                }
            }
            Step::Leave { count, refused } => {
                let mut staged = Vec::new();
                for _ in 0..count.min(fifo.len()) {
                    let (start, payload) = fifo.pop_front().unwrap();
                    let end = start.wrapping_add(payload);
                    let known = h.release(0, end);
                    prop_assert!(known.start.is_none_or(|known| known == start));
                    staged.push((known, start, payload));
                }
                for _ in 0..refused {
                    let Some((known, start, payload)) = staged.pop() else { break };
                    h.undo(0, known, start.wrapping_add(payload));
                    fifo.push_front((start, payload));
                    lost |= known.start.is_none() || runs(&fifo) > RUNS_MAX;
                }
                sent.extend(staged.iter().flat_map(|&(_, s, n)| bytes(s, n)));
            }
            Step::Filter { nth } => {
                for n in 0..fifo.len() {
                    let (start, payload) = fifo.pop_front().unwrap();
                    let end = start.wrapping_add(payload);
                    let known = h.end(0, end);
                    if n % (nth + 1) != nth {
                        h.keep(0, known, end);
                        fifo.push_back((start, payload));
                        // While it rotates, what is in front and what is behind are runs of their own.
                        lost |= known.is_none() || runs(&fifo) + 1 > RUNS_MAX;
                    }
                }
            }
        }
        lost &= !fifo.is_empty();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A sender out of order, beside sets of bytes: no segment is called held or sent unless all of
    /// it is, and every duplicate is found while four runs tell the queue.
    #[test]
    fn agrees_with_sets_of_bytes(steps in steps()) {
        check(steps)?;
    }

    /// One that sends in order and again from the start at times: nothing is missed.
    #[test]
    fn an_in_order_sender_is_followed_exactly(
        sizes in prop::collection::vec(1u32..2_000, 1..40),
        held in 0usize..8,
    ) {
        let mut h = HeldSegments::new(1);
        let mut fifo = VecDeque::new();
        let first = u32::MAX - 10_000;
        let mut at = first;
        for payload in sizes {
            prop_assert_eq!(arrive(&mut h, at, payload), Segment::New);
            prop_assert_eq!(arrive(&mut h, at, payload), Segment::Duplicate);
            at = at.wrapping_add(payload);
            fifo.push_back(at);
            while fifo.len() > held {
                h.release(0, fifo.pop_front().unwrap());
            }
            let una = fifo.front().map_or(at, |_| at.wrapping_sub(payload));
            if fifo.is_empty() {
                let everything = at.wrapping_sub(first);
                prop_assert_eq!(h.judge(0, at, everything), Segment::Retransmission);
            } else {
                prop_assert_eq!(h.judge(0, at, at.wrapping_sub(una)), Segment::Duplicate);
            }
        }
    }
}
