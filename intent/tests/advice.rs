//! Advice in shared memory: nobody reads half of one record and half of another, and what is old, from
//! elsewhere or damaged is neutral.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use intent::advice::{
    Advice, AttachError, LAYOUT_VERSION, MAGIC, Page, SLOTS_MAX, VALIDITY_MAX_NS, Writer,
    page_words,
};
use proptest::prelude::*;

fn memory(slots: usize) -> Vec<AtomicU64> {
    (0..page_words(slots)).map(|_| AtomicU64::new(u64::MAX)).collect()
}

/// Every field follows from `n`.
fn advice(n: u64) -> Advice {
    let factor = (n % 1_000) as f64;
    let mut advice = Advice {
        sequence: n,
        at_ns: 7 * n,
        valid_for_ns: VALIDITY_MAX_NS - n % 1_000,
        aggression: factor,
        signal_weight: factor + 1.0,
        replace_churn: factor + 2.0,
        tactic_switch_cap: factor + 3.0,
        urgency: factor + 4.0,
        child_granularity: factor + 5.0,
        route_penalty: factor + 6.0,
        completion_priority: n.is_multiple_of(2),
        queue_preserving: n.is_multiple_of(3),
        write_batching: n.is_multiple_of(5),
        slippage_budget: n.is_multiple_of(7),
        backpressure: n.is_multiple_of(11),
        completion_critical: n.is_multiple_of(13),
        ..Advice::default()
    };
    advice.set_regime(&format!("STATE_{n}_WITH_A_NAME_IN_4_WORDS"));
    advice
}

#[test]
fn what_is_written_is_read() {
    let words = memory(3);
    let writer = Writer::initialise(&words, 3).unwrap();
    let page = Page::attach(&words).unwrap();
    assert_eq!(page.find("class:orders"), None, "nobody has been advised yet");
    assert!(writer.write(&words, 0, "class:orders", &advice(30_030)));
    assert!(writer.write(&words, 2, "queue:venue-a:0", &advice(7)));
    let orders = page.find("class:orders").unwrap();
    assert_eq!(page.read(orders, 7 * 30_030), advice(30_030));
    assert_eq!(page.read(orders, 7 * 30_030).regime(), "STATE_30030_WITH_A_NAME_IN_4_WOR");
    let queue = page.find("queue:venue-a:0").unwrap();
    assert_eq!(page.read(queue, 49), advice(7));
    assert_eq!(page.find("class:order"), None);
    assert!(!writer.write(&words, 3, "class:orders", &advice(1)), "a slot that is not there");
    assert!(!writer.write(&words, 1, "", &advice(1)));
    assert!(!writer.write(&words, 1, &"x".repeat(65), &advice(1)));
    // The next run has this scope in another slot: a reader that has not looked again is not misled.
    let writer = Writer::initialise(&words, 3).unwrap();
    assert_eq!(page.read(orders, 7 * 30_030), Advice::default());
    writer.write(&words, 0, "class:cancels", &advice(1));
    writer.write(&words, 1, "class:orders", &advice(2));
    assert_eq!(page.read(orders, 14), Advice::default());
    assert_eq!(page.read(page.find("class:orders").unwrap(), 14), advice(2));
}

#[test]
fn what_is_old_is_neutral() {
    let words = memory(1);
    let writer = Writer::initialise(&words, 1).unwrap();
    let second = VALIDITY_MAX_NS;
    let fresh =
        Advice { at_ns: 5 * second, valid_for_ns: u64::MAX, urgency: 0.5, ..Advice::default() };
    writer.write(&words, 0, "s", &fresh);
    let page = Page::attach(&words).unwrap();
    let place = page.find("s").unwrap();
    let neutral = Advice { at_ns: 5 * second, ..Advice::default() };
    let says = |now_ns| page.read(place, now_ns).urgency;
    assert_eq!((says(5 * second), says(6 * second)), (0.5, 0.5));
    assert_eq!(page.read(place, 6 * second + 1), neutral, "1 s is the most, whatever it says");
    assert_eq!((says(4 * second), says(4 * second - 1)), (0.5, 1.0), "a clock far ahead");
    let short = Advice { valid_for_ns: 10, ..fresh };
    writer.write(&words, 0, "s", &short);
    assert_eq!((says(5 * second + 10), says(5 * second + 11)), (0.5, 1.0));
    for wrong in [f64::NAN, f64::INFINITY, -0.5] {
        writer.write(&words, 0, "s", &Advice { signal_weight: wrong, ..fresh });
        assert_eq!(page.read(place, 5 * second), neutral, "{wrong}");
    }
}

#[test]
fn a_page_that_is_none_says_why() {
    let words = memory(2);
    let attach = || Page::attach(&words).map(|_| ()).unwrap_err();
    assert_eq!(attach(), AttachError::Magic(u64::MAX));
    assert_eq!(Page::attach(&[]).map(|_| ()), Err(AttachError::Magic(0)));
    Writer::initialise(&words, 2).unwrap();
    words[1].store(LAYOUT_VERSION + 1, Ordering::Relaxed);
    assert_eq!(attach(), AttachError::Version(LAYOUT_VERSION + 1));
    words[1].store(LAYOUT_VERSION, Ordering::Relaxed);
    for slots in [0, 3, SLOTS_MAX as u64 + 1, u64::MAX] {
        words[2].store(slots, Ordering::Relaxed);
        assert_eq!(attach(), AttachError::Slots(slots));
    }
    words[0].store(MAGIC - 1, Ordering::Relaxed);
    assert!(attach().to_string().contains("no page of advice"));
    assert!(Writer::initialise(&words, 0).is_none() && Writer::initialise(&words, 3).is_none());
}

#[test]
fn a_writer_that_died_in_the_middle_leaves_neutral_advice_and_the_next_one_heals_it() {
    let words = memory(1);
    let writer = Writer::initialise(&words, 1).unwrap();
    writer.write(&words, 0, "s", &advice(2));
    let page = Page::attach(&words).unwrap();
    let place = page.find("s").unwrap();
    let lock = &words[8];
    lock.store(lock.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    assert_eq!(page.read(place, 14), Advice::default());
    assert_eq!(page.find("s"), None);
    writer.write(&words, 0, "s", &advice(2));
    assert_eq!(page.read(place, 14), advice(2));
    assert!(lock.load(Ordering::Relaxed).is_multiple_of(2));
}

/// A writer that never rests, and readers that look all the time: each record that they get is one
/// that was written.
#[test]
fn no_reader_sees_half_of_a_record() {
    const WRITES: u64 = 300_000;
    let words: Arc<Vec<AtomicU64>> = Arc::new(memory(2));
    let writer = Writer::initialise(&words, 2).unwrap();
    for slot in 0..2 {
        writer.write(&words, slot, ["a", "b"][slot], &advice(slot as u64));
    }
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|slot| {
            let (words, done) = (Arc::clone(&words), Arc::clone(&done));
            thread::spawn(move || {
                let page = Page::attach(&words).unwrap();
                let place = loop {
                    // A reader may lose its race so often that it gives up.
                    if let Some(place) = page.find(["a", "b"][slot]) {
                        break place;
                    }
                };
                let (mut last, mut changes) = (0, 0_u64);
                while !done.load(Ordering::Acquire) {
                    // At the time of the record, so that nothing is too old.
                    let found = page.read(place, 7 * last);
                    if found == Advice::default() {
                        continue;
                    }
                    let n = found.sequence;
                    assert_eq!(found, advice(n), "a record that nobody wrote");
                    assert!(n >= last && n % 2 == slot as u64, "{n} after {last}");
                    changes += u64::from(n != last);
                    last = n;
                }
                changes
            })
        })
        .collect();
    for n in 2..WRITES {
        writer.write(&words, (n % 2) as usize, ["a", "b"][(n % 2) as usize], &advice(n));
        if n % 1_000 == 0 {
            // Where there is one CPU for all, the readers look now.
            thread::yield_now();
        }
    }
    done.store(true, Ordering::Release);
    let changes: Vec<u64> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(changes.iter().all(|&n| n > 0), "nobody saw a change: {changes:?}");
}

proptest! {
    #[test]
    fn any_words_are_read_without_a_panic(seed in proptest::collection::vec(any::<u64>(), page_words(2))) {
        let words: Vec<AtomicU64> = seed.into_iter().map(AtomicU64::new).collect();
        let _ = Page::attach(&words);
        words[0].store(MAGIC, Ordering::Relaxed);
        words[1].store(LAYOUT_VERSION, Ordering::Relaxed);
        words[2].store(2, Ordering::Relaxed);
        let page = Page::attach(&words).unwrap();
        prop_assert!(page.find("class:orders").is_none());
    }

    #[test]
    fn every_record_comes_back(n in 0..u64::MAX / 7, name in "[a-z:0-9-]{1,64}") {
        let words = memory(1);
        let writer = Writer::initialise(&words, 1).unwrap();
        prop_assert!(writer.write(&words, 0, &name, &advice(n)));
        let page = Page::attach(&words).unwrap();
        prop_assert_eq!(page.read(page.find(&name).unwrap(), 7 * n), advice(n));
    }
}
