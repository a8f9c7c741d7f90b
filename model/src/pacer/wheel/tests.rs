use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
    wheel.advance(Nanos(now));
    std::iter::from_fn(|| wheel.pop_due()).collect()
}

#[test]
fn rounds_up_and_never_fires_early() {
    let mut w = Wheel::new(4, Nanos(1024), Nanos(0));
    w.insert(0, Nanos(1));
    w.insert(1, Nanos(1024));
    w.insert(2, Nanos(1025));
    assert!(fired(&mut w, 1023).is_empty());
    assert_eq!(w.next_event(), Some(Nanos(1024)));
    assert_eq!(fired(&mut w, 1024), [0, 1]);
    assert!(fired(&mut w, 2047).is_empty());
    assert_eq!(fired(&mut w, 2048), [2]);
    assert_eq!(w.next_event(), None);
}

#[test]
fn equal_deadlines_fire_in_the_order_of_insertion_across_levels() {
    let mut w = Wheel::new(4, Nanos(64), Nanos(0));
    let far = 64 * 5_000;
    w.insert(3, Nanos(far)); // level 1 now
    assert!(fired(&mut w, 64 * 4_500).is_empty()); // cascaded to level 0
    w.insert(1, Nanos(far)); // level 0 at once
    assert_eq!(fired(&mut w, far), [3, 1]);
}

#[test]
fn beyond_the_last_level_it_fires_at_its_end_and_not_before() {
    let mut w = Wheel::new(1, Nanos(64), Nanos(0));
    w.insert(0, Nanos(u64::MAX / 2));
    let end = ((1u64 << 26) - 1) * 64;
    let mut now = 0;
    while let Some(t) = w.next_event() {
        assert!(t.0 >= now);
        now = t.0;
        if !fired(&mut w, now).is_empty() {
            break;
        }
    }
    assert_eq!(now, end);
}

#[test]
fn a_leap_over_a_century_takes_no_longer_than_one_over_a_slot() {
    let mut w = Wheel::new(2, Nanos(64), Nanos(0));
    w.insert(0, Nanos(1 << 40));
    w.insert(1, Nanos(1 << 40 | 64));
    // Slot by slot, or block by block, this would not end.
    assert_eq!(fired(&mut w, 1 << 62), [0, 1]);
    w.insert(0, Nanos(0));
    assert_eq!(fired(&mut w, (1 << 62) + 64), [0]);
}

proptest! {
    /// Many nodes in few places, time in small steps: lists are inserted to and taken from while
    /// they are half moved.
    #[test]
    fn keeps_order_while_nodes_move_nearer(
        start in prop_oneof![0u64..300_000, Just((1u64 << 26) - 70_000), Just((1u64 << 40) - 900)],
        steps in prop::collection::vec(
            (
                prop::collection::vec((0u32..256, 0usize..8, 0u64..40, any::<bool>()), 0..24),
                prop_oneof![6 => 1u64..6, 2 => 1u64..3_000, 1 => 1u64..400_000],
            ),
            1..200,
        ),
    ) {
        const PLACES: [u64; 8] = [1, 1_000, 4_090, 65_500, 66_600, 262_100, 270_000, 600_000];
        let mut w = Wheel::new(256, Nanos(64), Nanos(start * 64));
        let mut model: BTreeMap<(u64, usize), u32> = BTreeMap::new();
        let mut keys = [None; 256];
        let (mut now, mut n) = (start, 0);
        for (changes, step) in steps {
            for (node, place, ahead, remove) in changes {
                if let Some(key) = keys[node as usize].take() {
                    model.remove(&key);
                }
                w.remove(node);
                if !remove {
                    let slot = now + PLACES[place] + ahead;
                    w.insert(node, Nanos(slot * 64));
                    n += 1;
                    keys[node as usize] = Some((slot.max(w.cursor), n));
                    model.insert((slot.max(w.cursor), n), node);
                }
            }
            let first = model.keys().next().map(|key| key.0 * 64);
            prop_assert!(w.next_event().map(|at| at.0) <= first && w.is_empty() == first.is_none());
            now += step;
            let later = model.split_off(&(now + 1, 0));
            let due: Vec<u32> = std::mem::replace(&mut model, later).into_values().collect();
            for &node in &due {
                keys[node as usize] = None;
            }
            prop_assert_eq!(fired(&mut w, now * 64), due);
        }
    }

    /// Against a sorted map of (slot, insertion number): same nodes, same order, same times.
    #[test]
    fn agrees_with_a_sorted_map(
        slot_log2 in 6u32..14,
        steps in prop::collection::vec(
            // Within the 255 spans that far reaches from anywhere in a span, with the shortest slots.
            (0u32..32, 0u64..(SPANS - 1) << (SPAN_LOG2 + 6), prop_oneof![0u64..1 << 28, 0u64..1 << 33], any::<bool>()),
            1..300,
        ),
    ) {
        let slot = 1u64 << slot_log2;
        let mut w = Wheel::new(32, Nanos(slot), Nanos(0));
        let mut model: BTreeMap<(u64, usize), u32> = BTreeMap::new();
        let mut now = 0u64;
        for (n, (node, ahead, step, remove)) in steps.into_iter().enumerate() {
            model.retain(|_, v| *v != node);
            if remove {
                w.remove(node);
            } else {
                w.insert(node, Nanos(now + ahead));
                let at = (now + ahead).div_ceil(slot).max(w.cursor);
                model.insert((at, n), node);
            }
            prop_assert_eq!((0..32).filter(|&n| w.contains(n)).count(), model.len());
            prop_assert_eq!(w.is_empty(), model.is_empty());
            if let Some(t) = w.next_event() {
                let first = model.keys().next().unwrap().0 * slot;
                prop_assert!(t.0 <= first);
            }
            now += step;
            let due: Vec<u32> = {
                let keys: Vec<_> = model.range(..=(now / slot, usize::MAX)).map(|(k, _)| *k).collect();
                keys.iter().map(|k| model.remove(k).unwrap()).collect()
            };
            prop_assert_eq!(fired(&mut w, now), due);
        }
    }
}
