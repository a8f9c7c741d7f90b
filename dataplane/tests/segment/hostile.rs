//! Frames that lie: no panic, no buffer lost, and nothing longer than allowed.

use std::cell::Cell;

use dataplane::segment::{Posture, checksum, is_fit, mark_ce};
use model::drop_reason::DropReason;
use proptest::prelude::*;

use crate::common::bytes_of;
use crate::frames::{Sums, Super, packet};
use crate::{Answer, World};

/// A super-frame with some bytes of its headers changed, cut off anywhere, in buffers of any length.
#[test]
fn headers_that_lie_end_under_a_name() {
    let world = World::new();
    let cut = Cell::new(0);
    let change = prop::collection::vec((0usize..90, any::<u8>()), 0..6);
    let shape = (0usize..=2, any::<bool>(), 0usize..9000, any::<prop::sample::Index>());
    let pieces = prop::collection::vec(0usize..2176, 0..4);
    let sums = prop::sample::select(vec![Sums::Full, Sums::Unfinished]);
    let posture = prop::sample::select(vec![Posture::Software, Posture::Hardware]);
    let config = ProptestConfig::with_cases(2000);
    proptest!(config, |((tags, is_v6, len, end) in shape, change in change, pieces in pieces,
                        keep in any::<bool>(), sums in sums, posture in posture, max in 0u32..2000)| {
        let of = Super { tags, is_v6, payload_len: len, sums, ..Super::default() };
        let mut bytes = of.bytes();
        for (at, value) in change {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if !keep {
            bytes.truncate(end.index(bytes.len()));
        }
        // The last length is used again: one of 0 would never come to an end.
        let pieces: Vec<_> = pieces.into_iter().chain([50 + len % 2000]).collect();
        let whole = packet(&world.bench, &bytes, &pieces);
        match world.pass(posture, whole, max) {
            Ok(Answer::Cut(segments, _)) => {
                prop_assert!(segments.len() > 1 && segments.iter().all(|s| is_fit(s, max)));
                for segment in &segments {
                    let mut again = bytes_of(segment);
                    prop_assert!(checksum::fill(&mut again));
                    prop_assert_eq!(segment.data(), again);
                }
                cut.set(cut.get() + 1);
            }
            Ok(Answer::Whole(whole)) if posture == Posture::Software => {
                prop_assert_eq!(bytes_of(&whole), bytes);
            }
            Ok(Answer::Whole(_)) => {}
            Err((whole, _)) => prop_assert_eq!(bytes_of(&whole), bytes, "what ends is untouched"),
        }
        prop_assert_eq!(world.bench.pool.in_use(), 0);
    });
    assert!(cut.get() > 50, "{} were cut", cut.get());
}

/// Buffers without a byte: in front, in between, at the end.
#[test]
fn empty_buffers_in_a_chain_do_no_harm() {
    let world = World::new();
    for is_v6 in [false, true] {
        let of = Super { is_v6, payload_len: 3000, ..Super::default() };
        for pieces in [vec![500, 0, 0, 500], vec![of.header_bytes(), 0, 1000]] {
            let packet = of.packet(&world.bench, &pieces);
            let (segments, _) = world.cut(packet, 1514).unwrap();
            let frames: Vec<_> = segments.iter().map(bytes_of).collect();
            crate::assert_segments(&of, &frames, 1514);
        }
        let full = Super { payload_len: 2 * (1514 - of.header_bytes()), ..of };
        let mut packet = full.packet(&world.bench, &[]);
        packet.chain(world.bench.pool.alloc().unwrap()).unwrap();
        // rte_gso would make a third segment of it, without payload.
        let made = world.cut(packet, 1514).map(|(segments, _)| segments.len());
        assert_eq!(made, if is_v6 { Ok(2) } else { Err(DropReason::SegmentUnsupported) });
    }
}

/// A chain of more buffers than rte_gso is given.
#[test]
fn a_chain_of_crumbs_is_unsupported() {
    let world = World::new();
    let of = Super { payload_len: 3000, ..Super::default() };
    let packet = of.packet(&world.bench, &[100, 10]);
    assert!(packet.segment_count() > 191);
    let reason = world.cut(packet, 1514).unwrap_err();
    assert_eq!(reason, DropReason::SegmentUnsupported);
}

proptest! {
    #[test]
    fn helpers_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        mark_ce(&mut bytes);
        checksum::state(&bytes);
        checksum::fill(&mut bytes);
    }
}
