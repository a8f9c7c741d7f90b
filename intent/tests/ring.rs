//! The ring: order, room, a gateway that starts again, a writer that starts again, a hostile one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicU64, Ordering};

use intent::ring::{AttachError, Full, Lost, Reader, Writer, ring_words};
use intent::{FlowRecord, FlowTuple, Position, Record};
use proptest::prelude::*;

const CAPACITY: usize = 16;

fn memory(capacity: usize) -> Vec<AtomicU64> {
    (0..ring_words(capacity)).map(|_| AtomicU64::new(0)).collect()
}

fn numbered(number: u64) -> FlowRecord {
    FlowRecord {
        flow: FlowTuple { src: [1; 16], dst: [2; 16], src_port: 3, dst_port: 4, ip_version: 6 },
        position: Position::StreamOffset(number),
        record: Record { correlation_id: Some(number), ..Record::default() },
    }
}

fn read(reader: &mut Reader, words: &[AtomicU64]) -> Option<u64> {
    reader.poll(words).map(|record| record.unwrap().record.correlation_id.unwrap())
}

#[test]
fn records_come_in_order_and_a_full_ring_takes_none() {
    let words = memory(CAPACITY);
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    let mut writer = Writer::attach(&words).unwrap();
    assert_eq!(read(&mut reader, &words), None);
    let mut next = 0;
    for round in 0..5 {
        for number in 0..CAPACITY as u64 {
            writer.push(&numbered(round * 100 + number)).unwrap();
        }
        assert_eq!(writer.push(&numbered(999)), Err(Full));
        for number in 0..CAPACITY as u64 {
            assert_eq!(read(&mut reader, &words), Some(round * 100 + number));
            next += 1;
        }
        assert_eq!(read(&mut reader, &words), None);
    }
    assert_eq!(next, 5 * CAPACITY);
    assert_eq!(reader.lost(), Lost::default());
}

#[test]
fn two_threads_lose_nothing() {
    let words = memory(64);
    let mut reader = Reader::initialise(&words, 64).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::attach(&words).unwrap();
            for number in 0..20_000 {
                while writer.push(&numbered(number)).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..20_000 {
            let found = loop {
                match read(&mut reader, &words) {
                    Some(found) => break found,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(found, number);
        }
    });
}

#[test]
fn a_writer_goes_on_where_the_last_one_stopped() {
    let words = memory(CAPACITY);
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    for number in 0..40 {
        // A new process for each record; the last one died before it counted its record.
        let mut writer = Writer::attach(&words).unwrap();
        writer.push(&numbered(number)).unwrap();
        words[16].store(number, Ordering::Relaxed);
        if number % 3 == 2 {
            for expected in number - 2..=number {
                assert_eq!(read(&mut reader, &words), Some(expected));
            }
        }
    }
    assert_eq!(reader.lost(), Lost::default());
}

#[test]
fn a_gateway_that_starts_again_finds_a_writer_that_is_still_there() {
    let words = memory(CAPACITY);
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    let mut writer = Writer::attach(&words).unwrap();
    for number in 0..30 {
        writer.push(&numbered(number)).unwrap();
        assert_eq!(read(&mut reader, &words), Some(number));
    }
    writer.push(&numbered(30)).unwrap();
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    // What the run before did not read is gone.
    assert_eq!(read(&mut reader, &words), None);
    for number in 31..80 {
        writer.push(&numbered(number)).unwrap();
        assert_eq!(read(&mut reader, &words), Some(number));
    }
}

#[test]
fn what_is_no_ring_is_refused() {
    let words = memory(CAPACITY);
    assert_eq!(Writer::attach(&words).unwrap_err(), AttachError::Magic(0));
    assert_eq!(Writer::attach(&words[..0]).unwrap_err(), AttachError::Magic(0));
    for capacity in [0, 1, 8, 17, 131_072] {
        assert!(Reader::initialise(&words, capacity).is_none(), "{capacity}");
    }
    assert!(Reader::initialise(&words[..words.len() - 1], CAPACITY).is_none());
    Reader::initialise(&words, CAPACITY).unwrap();
    assert_eq!(Writer::attach(&words[..40]).unwrap_err(), AttachError::Capacity(16));
    words[2].store(u64::MAX, Ordering::Relaxed);
    assert_eq!(Writer::attach(&words).unwrap_err(), AttachError::Capacity(u64::MAX));
    words[1].store(2, Ordering::Relaxed);
    assert_eq!(Writer::attach(&words).unwrap_err(), AttachError::Version(2));
}

#[test]
fn a_writer_that_does_not_wait_loses_what_it_overwrites() {
    let words = memory(CAPACITY);
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    let mut writer = Writer::attach(&words).unwrap();
    for number in 0..40 {
        // It believes that everything has been read.
        words[8].store(number, Ordering::Relaxed);
        writer.push(&numbered(number)).unwrap();
    }
    // Slot 0 was written by records 0, 16 and 32.
    assert_eq!(read(&mut reader, &words), Some(32));
    assert_eq!(reader.lost().overrun, 32);
    for number in 33..40 {
        assert_eq!(read(&mut reader, &words), Some(number));
    }
    assert_eq!(read(&mut reader, &words), None);
    writer.push(&numbered(40)).unwrap();
    assert_eq!(read(&mut reader, &words), Some(40));
}

#[test]
fn a_record_that_cannot_be_read_costs_only_itself() {
    let words = memory(CAPACITY);
    let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
    let mut writer = Writer::attach(&words).unwrap();
    writer.push(&numbered(0)).unwrap();
    writer.push(&numbered(1)).unwrap();
    words[32 + 1].store(0, Ordering::Relaxed);
    assert!(reader.poll(&words).unwrap().is_err());
    assert_eq!(reader.lost(), Lost { overrun: 0, malformed: 1 });
    assert_eq!(read(&mut reader, &words), Some(1));
}

proptest! {
    /// Whatever is written anywhere, the reader ends and stays in its ring; a writer that attaches
    /// afterwards is either refused or ends as well.
    #[test]
    fn scribbling_ends(
        writes in proptest::collection::vec((0..ring_words(CAPACITY), any::<u64>()), 0..200),
        small in proptest::collection::vec((0..ring_words(CAPACITY), 0..100u64), 0..50),
    ) {
        let words = memory(CAPACITY);
        let mut reader = Reader::initialise(&words, CAPACITY).unwrap();
        for (k, (at, value)) in writes.iter().chain(&small).enumerate() {
            let generation = if k % 2 == 0 { 1 << 48 } else { 0 };
            words[*at].store(generation | (*value & 0xffff_ffff), Ordering::Relaxed);
            let _ = reader.poll(&words);
        }
        let mut polls = 0;
        while reader.poll(&words).is_some() {
            polls += 1;
            prop_assert!(polls <= CAPACITY, "a ring of 16 gives more than 16 without a writer");
        }
        if let Ok(mut writer) = Writer::attach(&words) {
            for number in 0..40 {
                let _ = writer.push(&numbered(number));
                let _ = reader.poll(&words);
            }
        }
    }
}
