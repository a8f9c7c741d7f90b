//! Super-frames through a real pool: what is cut, what is left to the NIC, what is refused and why.
//! Each test ends with every buffer back in its pool (`Bench`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod hostile;
mod kernel;

use std::cell::{Cell, RefCell};

use common::{Bench, bytes_of};
use dataplane::mbuf::Mbuf;
use dataplane::segment::{
    Added, HARDWARE_OFFLOADS, Passed, Posture, SEGMENTS_MAX, SegmentStage, Segmenter,
    check_hardware, is_fit, tso_request,
};
use frames::{Sums, Super, assert_segments, cut_as_a_nic};
use model::drop_reason::DropReason;
use model::meta::{PacketMeta, flags};
use model::time::Nanos;
use proptest::prelude::*;

/// What became of a packet.
#[derive(Debug)]
enum Answer {
    Whole(Mbuf),
    Cut(Vec<Mbuf>, Added),
}

/// A bench and a segmenter.
struct World {
    segmenter: RefCell<Segmenter>,
    bench: Bench,
}

impl World {
    fn new() -> Self {
        Self::with_pool(8191)
    }

    fn with_pool(mbufs: u32) -> Self {
        Self::with_buffers(mbufs, 2304)
    }

    fn with_buffers(mbufs: u32, data_room_bytes: u16) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let bench = Bench::with_pool(mbufs, data_room_bytes);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let segmenter = Segmenter::new(&bench.pool, &format!("cut{number}")).unwrap();
        Self { segmenter: RefCell::new(segmenter), bench }
    }

    /// As `Segmenter::pass`; every segment is taken.
    fn pass(&self, posture: Posture, packet: Mbuf, max: u32) -> Result<Answer, (Mbuf, DropReason)> {
        let mut segmenter = self.segmenter.borrow_mut();
        let answer = segmenter.pass(posture, packet, max).map(|passed| match passed {
            Passed::Whole(packet) => Answer::Whole(packet),
            Passed::Cut(cut) => Answer::Cut(cut.segments.collect(), cut.added),
        });
        assert_eq!(segmenter.buffers_in_use(), 0);
        answer
    }

    fn cut(&self, packet: Mbuf, max: u32) -> Result<(Vec<Mbuf>, Added), DropReason> {
        match self.pass(Posture::Software, packet, max) {
            Ok(Answer::Cut(segments, added)) => Ok((segments, added)),
            Ok(Answer::Whole(packet)) => panic!("not cut: {packet:?}"),
            Err((_packet, reason)) => Err(reason),
        }
    }

    fn refused(&self, frame: &[u8]) -> DropReason {
        let packet = self.bench.pool.alloc_from(frame).unwrap();
        self.cut(packet, 1514).map(|_| ()).unwrap_err()
    }
}

fn some_super() -> impl Strategy<Value = Super> {
    let options = prop::sample::select(vec![
        vec![],
        vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![2, 4, 5, 180],
        [vec![1; 38], vec![0, 9]].concat(),
    ]);
    let sums = prop::sample::select(vec![Sums::Full, Sums::Unfinished, Sums::ForTso]);
    let flags = prop::sample::select(vec![0x10u8, 0x18, 0x11, 0x19, 0xd8, 0x50]);
    let shape = (0usize..=2, any::<bool>(), options, 1usize..65_400);
    (shape, any::<u32>(), flags, any::<u16>(), sums).prop_map(
        |((tags, is_v6, options, len), seq, flags, id, sums)| Super {
            tags,
            is_v6,
            options,
            payload_len: len,
            seq,
            flags,
            id,
            sums,
        },
    )
}

#[test]
fn segments_together_are_the_super_frame() {
    let world = World::new();
    let cut = Cell::new(0);
    let what = (some_super(), 150u32..2500, prop::collection::vec(400usize..2176, 1..4));
    proptest!(|((of, frame_bytes_max, pieces) in what)| {
        let packet = of.packet(&world.bench, &pieces);
        let bytes_before = packet.len();
        // A segment is no longer than a buffer either.
        let full = (frame_bytes_max as usize).min(2176);
        if is_fit(&packet, frame_bytes_max) || packet.len() <= frame_bytes_max {
            return Ok(());
        }
        let count = of.payload_len.div_ceil(full - of.header_bytes());
        match world.cut(packet, frame_bytes_max) {
            Ok((segments, added)) => {
                prop_assert_eq!(segments.len(), count);
                prop_assert!(count <= SEGMENTS_MAX);
                prop_assert!(segments.iter().all(|s| is_fit(s, frame_bytes_max)));
                let frames: Vec<_> = segments.iter().map(bytes_of).collect();
                assert_segments(&of, &frames, full);
                let bytes: usize = frames.iter().map(Vec::len).sum();
                prop_assert_eq!(added.segments as usize, count - 1);
                prop_assert_eq!(added.bytes as usize, bytes - bytes_before as usize);
                cut.set(cut.get() + 1);
            }
            Err(reason) => {
                prop_assert_eq!(reason, DropReason::SegmentTooMany);
                prop_assert!(count > SEGMENTS_MAX);
            }
        }
        prop_assert_eq!(world.bench.pool.in_use(), 0);
    });
    assert!(cut.get() > 50, "{} super-frames were cut", cut.get());
}

#[test]
fn a_nic_makes_of_it_what_we_would() {
    let world = World::new();
    let what = (some_super(), prop::collection::vec(400usize..2176, 1..4));
    proptest!(|((of, pieces) in what)| {
        let packet = of.packet(&world.bench, &pieces);
        if packet.len() <= 1514 {
            return Ok(());
        }
        let Ok(Answer::Whole(whole)) = world.pass(Posture::Hardware, packet, 1514) else {
            panic!("hardware gives one packet");
        };
        let by_nic = cut_as_a_nic(&whole);
        assert_segments(&of, &by_nic, 1514);
        let (ours, _) = world.cut(of.packet(&world.bench, &pieces), 1514).unwrap();
        prop_assert_eq!(ours.iter().map(bytes_of).collect::<Vec<_>>(), by_nic);
    });
}

#[test]
fn each_segment_has_metadata_of_its_own() {
    let world = World::new();
    for is_v6 in [false, true] {
        let of = Super { is_v6, seq: u32::MAX - 1000, ..Super::default() };
        let mut packet = of.packet(&world.bench, &[2000]);
        let whole = PacketMeta {
            arrival: Nanos(100),
            due: Nanos(200),
            correlation_id: 42,
            len: packet.len() as u16,
            messages: 5,
            class: 3,
            label: 9,
            venue: 1,
            flags: flags::TCP | flags::PAYLOAD | flags::EXEMPT,
            tcp_end_seq: of.seq.wrapping_add(4000),
            ..PacketMeta::default()
        };
        *packet.meta_mut() = whole;
        packet.set_rx_stamp(77);
        let (segments, _) = world.cut(packet, 1514).unwrap();
        let mut end = of.seq;
        for (i, segment) in segments.iter().enumerate() {
            end = end.wrapping_add(segment.len() - of.header_bytes() as u32);
            let expected = PacketMeta {
                len: segment.len() as u16,
                messages: if i == 0 { 5 } else { 0 },
                tcp_end_seq: end,
                ..whole
            };
            assert_eq!(*segment.meta(), expected, "segment {i}");
            assert_eq!(segment.rx_stamp(), Some(77));
        }
        assert_eq!((segments.len(), end), (3, whole.tcp_end_seq));
    }
}

#[test]
fn the_posture_decides() {
    let world = World::new();
    let of = Super::default();
    let packet = of.packet(&world.bench, &[]);
    let bytes = bytes_of(&packet);
    let Err((packet, DropReason::TxOversize)) = world.pass(Posture::Refuse, packet, 1514) else {
        panic!("refused as it always was");
    };
    assert_eq!(bytes_of(&packet), bytes, "untouched");
    assert!(tso_request(&packet).is_none());
    // What is fit passes whatever the posture; so does the same frame where frames may be longer.
    for posture in [Posture::Refuse, Posture::Software, Posture::Hardware] {
        let small = world.bench.pool.alloc_from(&bytes[..1000]).unwrap();
        let Ok(Answer::Whole(small)) = world.pass(posture, small, 1000) else {
            panic!("{posture:?}");
        };
        assert_eq!(bytes_of(&small), bytes[..1000]);
    }
}

#[test]
fn a_chain_that_is_not_too_long_is_put_into_one_buffer() {
    let world = World::new();
    let of = Super { payload_len: 1000, ..Super::default() };
    for posture in [Posture::Software, Posture::Hardware] {
        let mut packet = of.packet(&world.bench, &[100, 1, 500]);
        packet.meta_mut().correlation_id = 5;
        packet.set_rx_stamp(6);
        let Ok(Answer::Whole(whole)) = world.pass(posture, packet, 1514) else {
            panic!("{posture:?}");
        };
        assert_eq!((whole.segment_count(), bytes_of(&whole)), (1, of.bytes()));
        assert_eq!((whole.meta().correlation_id, whole.rx_stamp()), (5, Some(6)));
        assert!(tso_request(&whole).is_none());
    }
    let pass = |world: &World, posture, max| {
        let long = Super { payload_len: 3000, ..Super::default() };
        let packet = long.packet(&world.bench, &[]);
        world.pass(posture, packet, max).map(|_| ()).map_err(|(_, reason)| reason)
    };
    let oversize = Err(DropReason::TxOversize);
    assert_eq!(pass(&world, Posture::Software, 9014), oversize, "longer than a buffer");
    assert_eq!(pass(&world, Posture::Refuse, 9014), oversize);
}

#[test]
fn more_than_64_segments_are_too_many() {
    let world = World::new();
    for is_v6 in [false, true] {
        let headers = Super { is_v6, ..Super::default() }.header_bytes();
        let max = headers as u32 + 100;
        let of = |len| Super { is_v6, payload_len: len, ..Super::default() };
        let packet = of(6400).packet(&world.bench, &[]);
        let (segments, added) = world.cut(packet, max).unwrap();
        assert_eq!(segments.len(), 64);
        assert_eq!(added, Added { segments: 63, bytes: 63 * headers as u32 });
        drop(segments);
        let packet = of(6401).packet(&world.bench, &[]);
        assert_eq!(world.cut(packet, max).unwrap_err(), DropReason::SegmentTooMany);
        // No room for payload beside the headers.
        let packet = of(6400).packet(&world.bench, &[]);
        assert_eq!(world.cut(packet, headers as u32).unwrap_err(), DropReason::SegmentUnsupported);
    }
}

#[test]
fn an_empty_pool_ends_the_whole_super_frame() {
    for is_v6 in [false, true] {
        let world = World::with_pool(511);
        let of = Super { is_v6, payload_len: 20_000, ..Super::default() };
        let mut kept = Vec::new();
        while world.bench.pool.in_use() < 511 - 23 {
            kept.push(world.bench.pool.alloc().unwrap());
        }
        let packet = of.packet(&world.bench, &[]);
        let with_packet = world.bench.pool.in_use();
        assert_eq!(with_packet, 511 - 13, "13 are left, 14 are needed");
        let Err((packet, DropReason::PoolEmpty)) = world.pass(Posture::Software, packet, 1514)
        else {
            panic!("no buffers");
        };
        assert_eq!(world.bench.pool.in_use(), with_packet);
        assert_eq!(bytes_of(&packet), of.bytes(), "as it was");
        // One more, and it goes.
        kept.pop();
        let (segments, _) = world.cut(packet, 1514).unwrap();
        assert_eq!(segments.len(), 14);
    }
}

#[test]
fn segments_that_nobody_takes_are_freed() {
    let world = World::new();
    let mut segmenter = world.segmenter.borrow_mut();
    let packet = Super::default().packet(&world.bench, &[]);
    let Ok(Passed::Cut(mut cut)) = segmenter.pass(Posture::Software, packet, 1514) else {
        panic!("not cut");
    };
    let first = cut.segments.next().unwrap();
    drop(cut);
    drop(segmenter);
    assert_eq!(world.bench.pool.in_use(), 1);
    let packet = Super::default().packet(&world.bench, &[]);
    assert_eq!(world.cut(packet, 1514).unwrap().0.len(), 3, "nothing was left over");
    drop(first);
}

#[test]
fn what_must_not_be_cut_is_unsupported() {
    let world = World::new();
    for (is_v6, tags) in [(false, 0), (true, 1), (false, 2)] {
        let of = Super { is_v6, tags, ..Super::default() };
        let (ip, tcp) = (of.ip_at(), of.tcp_at());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            // An unfinished checksum: what is refused here is not refused for its checksum.
            let mut frame = Super { sums: Sums::Unfinished, ..of.clone() }.bytes();
            change(&mut frame);
            world.refused(&frame)
        };
        const NO: DropReason = DropReason::SegmentUnsupported;
        assert_eq!(with(&|f| f[tcp + 13] |= 0x02), NO, "SYN");
        assert_eq!(with(&|f| f[tcp + 13] |= 0x04), NO, "RST");
        assert_eq!(with(&|f| f[tcp + 13] |= 0x20), NO, "URG");
        assert_eq!(with(&|f| f.push(0)), NO, "bytes behind the IP packet");
        assert_eq!(with(&|f| f.truncate(f.len() - 1)), NO, "cut off");
        assert_eq!(with(&|f| f[tcp + 12] = 0x40), NO, "a TCP header of 16 bytes");
        assert_eq!(with(&|f| f[ip - 1] = 6), NO, "ARP");
        let protocol = ip + if is_v6 { 6 } else { 9 };
        for number in [17, 1, 0, 43, 44, 50, 51, 60] {
            assert_eq!(with(&|f| f[protocol] = number), NO, "protocol {number}");
        }
        if !is_v6 {
            assert_eq!(with(&|f| f[ip + 6] = 0x20), NO, "more fragments");
            assert_eq!(with(&|f| f[ip + 7] = 1), NO, "a later fragment");
            assert_eq!(with(&|f| f[ip] = 0x46), NO, "IPv4 options");
            assert_eq!(with(&|f| f[ip + 8] ^= 1), NO, "a wrong header checksum");
        }
        for option in [[19, 18, 1, 1], [29, 16, 1, 1]] {
            let signed = [option.to_vec(), vec![1; 16]].concat();
            let frame = Super { options: signed, ..of.clone() }.bytes();
            assert_eq!(world.refused(&frame), NO, "option {}", option[0]);
        }
        for broken in [vec![3, 0, 0, 0], vec![3, 1, 0, 0], vec![8, 5, 0, 0], vec![1, 1, 1, 8]] {
            let frame = Super { options: broken, ..of.clone() }.bytes();
            assert_eq!(world.refused(&frame), NO, "options that contradict themselves");
        }
    }
}

#[test]
fn a_wrong_checksum_is_not_made_right() {
    let world = World::new();
    for is_v6 in [false, true] {
        let of = Super { is_v6, ..Super::default() };
        for at in [of.tcp_at() + 8, of.header_bytes(), of.bytes().len() - 1] {
            let mut frame = of.bytes();
            frame[at] ^= 0x10;
            assert_eq!(world.refused(&frame), DropReason::SegmentUnsupported, "byte {at}");
        }
    }
}

#[test]
fn hardware_is_all_or_nothing() {
    assert_eq!(check_hardware(u64::MAX), Ok(()));
    assert_eq!(check_hardware(HARDWARE_OFFLOADS), Ok(()));
    let none = check_hardware(0).unwrap_err();
    assert_eq!(none.missing, "TCP_TSO, TCP_CKSUM, IPV4_CKSUM, MULTI_SEGS");
    assert!(none.to_string().contains("segment = \"hardware\""), "{none}");
    for bit in (0..64).map(|bit| 1 << bit).filter(|bit| HARDWARE_OFFLOADS & bit != 0) {
        let one = check_hardware(HARDWARE_OFFLOADS & !bit).unwrap_err();
        assert!(!one.missing.contains(','), "{one}");
    }
}

#[test]
fn the_stage_goes_by_the_class_and_keeps_the_books() {
    let bench = Bench::new();
    let postures = [Posture::Refuse, Posture::Software, Posture::Hardware];
    let mut stage = SegmentStage::new(&postures, 1514, &bench.pool, "stage").unwrap();
    assert!(stage.is_on());
    let of = Super::default();
    let pass = |stage: &mut SegmentStage, class: u8| {
        let mut packet = of.packet(&bench, &[]);
        packet.meta_mut().class = class;
        assert!(!stage.is_fit(&packet));
        match stage.pass(packet) {
            Ok(Passed::Cut(cut)) => Ok(cut.segments.len()),
            Ok(Passed::Whole(whole)) => Ok(usize::from(tso_request(&whole).is_some())),
            Err((_, reason)) => Err(reason),
        }
    };
    let oversize = Err(DropReason::TxOversize);
    assert_eq!(
        [0, 1, 2, 3].map(|class| pass(&mut stage, class)),
        [oversize, Ok(3), Ok(1), oversize]
    );
    // A profile bounds what is stated, and never loosens it.
    stage.set_most(2, Posture::Software);
    stage.set_most(1, Posture::Refuse);
    stage.set_most(0, Posture::Hardware);
    stage.set_most(9, Posture::Software);
    assert_eq!([0, 1, 2].map(|class| pass(&mut stage, class)), [oversize, oversize, Ok(3)]);
    stage.set_most(1, Posture::Hardware);
    assert_eq!(pass(&mut stage, 1), Ok(3));
    // Where all refuse, nothing is made for it.
    let mut off = SegmentStage::new(&[Posture::Refuse; 2], 1514, &bench.pool, "off").unwrap();
    assert!(!off.is_on());
    assert_eq!(pass(&mut off, 1), oversize);
}
