//! Super-frames through the whole lane: cut before the pacer, or left to the NIC.

use dataplane::assemble::{self, AssembleError, TimeBase};
use dataplane::segment::{HARDWARE_BYTES_MAX, checksum};
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::time::Nanos;

use crate::common::Bench;
use crate::frames::{ACK, FIX, Frame, TCP_ORDERS, tcp};
use crate::ports::{SimRx, SimTx, Wire};
use crate::world::{World, config, us};

const HEADERS: usize = 54;
/// Payload of a full segment.
const FULL: u16 = 1_460;

/// A segment whose first byte has sequence number `seq`, with its checksums.
fn stream(port: u16, seq: u32, payload: u16) -> Frame {
    let mut bytes = tcp(1, port, ACK, payload).bytes(seq);
    assert!(checksum::fill(&mut bytes));
    Frame::Raw(bytes)
}

fn world(posture: &str, wire: Wire) -> World {
    let line = format!("stall_time = \"5ms\"\nsegment = \"{posture}\"");
    let config = config(&[("stall_time = \"5ms\"", &line)]);
    World::on(TimeBase::Virtual, wire, &config, Bench::with_pool(1_023, 2_304))
}

#[test]
fn a_super_frame_leaves_as_its_segments_and_the_books_know() {
    let mut w = world("software", Wire::default());
    w.added = 6;
    w.send(Nanos::ZERO, &stream(FIX, 1_000, 2 * FULL + 80));
    w.send(Nanos::ZERO, &stream(FIX, 4_000, 4 * FULL + 1));
    w.run_dry();
    let full = u32::from(FULL);
    let ends = [1_000, 1_000 + full, 1_000 + 2 * full];
    let next = (0..5).map(|k| 4_000 + k * full);
    assert_eq!(w.out(), ends.into_iter().chain(next).collect::<Vec<_>>());
    let lengths: Vec<_> = w.wire.borrow().frames.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1_514, 1_514, 134, 1_514, 1_514, 1_514, 1_514, 55]);
    let totals = w.books().totals;
    let came = 2 * HEADERS as u64 + 6 * u64::from(FULL) + 81;
    assert_eq!((totals.packets_in, totals.packets_out, totals.bytes_in), (2, 8, came));
    assert_eq!((totals.bytes_added, totals.bytes_out), (6 * 54, came + 6 * 54));
}

#[test]
fn a_super_frame_whose_segments_are_held_ends_segment_by_segment() {
    let mut w = world("software", Wire::default());
    w.wire.borrow_mut().takes = 0;
    w.added = 2;
    w.send(Nanos::ZERO, &stream(FIX, 1_000, 3 * FULL));
    w.run_for(us(10));
    assert_eq!(w.worker().held(), 3);
    // The same bytes again, and then with something new at the end.
    w.added += 2;
    w.send(w.now, &stream(FIX, 1_000, 3 * FULL));
    w.run_for(us(10));
    assert_eq!(w.worker().held(), 3);
    w.added += 3;
    w.send(w.now, &stream(FIX, 1_000, 3 * FULL + 7));
    w.run_for(us(10));
    assert_eq!(w.worker().held(), 4);
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_dry();
    let full = u32::from(FULL);
    assert_eq!(w.out(), [1_000, 1_000 + full, 1_000 + 2 * full, 1_000 + 3 * full]);
    let books = w.books();
    assert_eq!(books.dropped(DropReason::DuplicateHeld), 6);
    assert_eq!(books.totals.dropped(), 6);
}

#[test]
fn what_a_nic_cuts_goes_through_whole_after_its_driver_has_seen_it() {
    let wire = Wire { cuts: Some(true), ..Wire::default() };
    let mut w = world("hardware", wire);
    let largest = (HARDWARE_BYTES_MAX as usize - HEADERS) as u16;
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 1_000, 9_000));
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 10_000, largest));
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 90_000, largest + 1));
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 90_000, FULL));
    w.run_dry();
    assert_eq!(w.out(), [1_000, 10_000, 90_000]);
    let lengths: Vec<_> = w.wire.borrow().frames.iter().map(Vec::len).collect();
    assert_eq!(lengths, [9_054, HARDWARE_BYTES_MAX as usize, 1_514]);
    let books = w.books();
    assert_eq!((books.dropped(DropReason::TxOversize), books.totals.dropped()), (1, 1));
}

#[test]
fn what_a_driver_refuses_has_a_named_end_and_disturbs_nobody() {
    let wire = Wire { cuts: Some(false), ..Wire::default() };
    let mut w = world("hardware", wire);
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 1_000, 9_000));
    w.send(Nanos::ZERO, &stream(TCP_ORDERS, 1_000, FULL));
    w.run_dry();
    assert_eq!(w.out(), [1_000]);
    let books = w.books();
    assert_eq!((books.dropped(DropReason::SegmentUnsupported), books.totals.dropped()), (1, 1));
}

#[test]
fn a_port_that_cannot_cut_makes_no_lane() {
    let line = "stall_time = \"5ms\"\nsegment = \"hardware\"";
    let config = config(&[("stall_time = \"5ms\"", line)]);
    let bench = Bench::new();
    let (source, wire) = Default::default();
    let rx = SimRx { source, pool: bench.pool.clone() };
    let tx = SimTx { wire };
    let sync = CompletionSource::Synchronous;
    let (inn, out) = ((0, rx), (1, tx));
    let lane =
        assemble::lane(&config, &bench.pool, TimeBase::Virtual, Nanos::ZERO, 0, inn, out, sync);
    let Err(error) = lane else { panic!("a lane was made") };
    assert!(matches!(error, AssembleError::NoHardware { .. }), "{error}");
    assert!(error.to_string().starts_with("port out: segment = \"hardware\""), "{error}");
}
