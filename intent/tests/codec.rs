//! Both formats: what is written is read again, and whatever is not a record is refused by name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use intent::{DecodeError, FLOW_RECORD_BYTES, FlowRecord, FlowTuple, Kind, Position, Record, shim};
use proptest::option::of;
use proptest::prelude::*;

fn record() -> impl Strategy<Value = Record> {
    let kind = (0..9u8).prop_map(|n| Kind::from_u8(n).unwrap());
    let word = || of(any::<u64>());
    let small = (
        of(any::<u8>()),
        of(any::<u16>()),
        of(kind),
        of(any::<u8>()),
        of(any::<u16>()),
        of(any::<u32>()),
    );
    let large = (word(), word(), word(), word(), word(), of(any::<u32>()));
    (small, large).prop_map(
        |(
            (class, label, kind, urgency, messages, group),
            (correlation_id, t_decision, t_dispatch, t_due, deadline, clock_error_ns),
        )| Record {
            class,
            label,
            kind,
            urgency,
            messages,
            group,
            correlation_id,
            t_decision,
            t_dispatch,
            t_due,
            deadline,
            clock_error_ns,
        },
    )
}

fn flow() -> impl Strategy<Value = FlowTuple> {
    let values = (any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u16>(), any::<u16>());
    values.prop_map(|(v4, src, dst, src_port, dst_port)| {
        let cut = |mut address: [u8; 16]| {
            if v4 {
                address[4..].fill(0);
            }
            address
        };
        let ip_version = if v4 { 4 } else { 6 };
        FlowTuple { src: cut(src), dst: cut(dst), src_port, dst_port, ip_version }
    })
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        any::<u64>().prop_map(Position::StreamOffset),
        any::<u32>().prop_map(Position::Sequence),
        any::<u16>().prop_map(|payload_bytes| Position::NextDatagram { payload_bytes }),
    ]
}

/// A frame with up to two tags and a body of its own.
fn untagged_frame() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    (any::<[u8; 12]>(), 0..3usize, any::<[u8; 2]>(), body).prop_map(
        |(addresses, tags, vlan, body)| {
            let mut frame = addresses.to_vec();
            for tag in 0..tags {
                frame.extend(if tag == 0 { [0x88, 0xa8] } else { [0x81, 0x00] });
                frame.extend(vlan);
            }
            frame.extend([0x08, 0x00]);
            frame.extend(body);
            frame
        },
    )
}

proptest! {
    #[test]
    fn a_shim_is_read_as_it_was_written(record in record(), behind in any::<[u8; 9]>()) {
        let mut bytes = [0xaa; shim::SHIM_BYTES];
        shim::encode(&record, &mut bytes);
        prop_assert_eq!(shim::decode(&bytes), Ok(record));
        let longer = [&bytes[..], &behind[..]].concat();
        prop_assert_eq!(shim::decode(&longer), Ok(record));
    }

    #[test]
    fn a_flow_record_is_read_as_it_was_written(
        flow in flow(), position in position(), record in record(),
    ) {
        let written = FlowRecord { flow, position, record };
        let mut bytes = [0xaa; FLOW_RECORD_BYTES + 3];
        prop_assert_eq!(written.encode(&mut bytes), Ok(FLOW_RECORD_BYTES));
        prop_assert_eq!(FlowRecord::decode(&bytes), Ok(written));
    }

    #[test]
    fn what_is_cut_short_is_truncated(record in record(), flow in flow(), cut in 0..112usize) {
        let mut bytes = [0; shim::SHIM_BYTES];
        shim::encode(&record, &mut bytes);
        let have = cut.min(shim::SHIM_BYTES - 1);
        let need = shim::SHIM_BYTES;
        prop_assert_eq!(shim::decode(&bytes[..have]), Err(DecodeError::Truncated { have, need }));
        let position = Position::StreamOffset(1);
        let bytes = FlowRecord { flow, position, record }.to_bytes();
        let need = FLOW_RECORD_BYTES;
        let error = DecodeError::Truncated { have: cut, need };
        prop_assert_eq!(FlowRecord::decode(&bytes[..cut]), Err(error));
    }

    /// Random bytes, and records with one byte changed: an answer, and a value that can be written
    /// again as it was read.
    #[test]
    fn any_bytes_have_an_answer(
        random in proptest::collection::vec(any::<u8>(), 0..256),
        record in record(), flow in flow(), position in position(),
        at in 0..FLOW_RECORD_BYTES, byte in any::<u8>(),
    ) {
        prop_assert!(shim::decode(&random).is_err() || random.starts_with(&[0x88, 0xb5]));
        let _ = FlowRecord::decode(&random);
        let _ = shim::find(&random);

        let mut changed = [0; shim::SHIM_BYTES];
        shim::encode(&record, &mut changed);
        changed[at % shim::SHIM_BYTES] = byte;
        if let Ok(read) = shim::decode(&changed) {
            let mut again = [0; shim::SHIM_BYTES];
            shim::encode(&read, &mut again);
            prop_assert_eq!(shim::decode(&again), Ok(read));
        }
        let mut changed = FlowRecord { flow, position, record }.to_bytes();
        changed[at] = byte;
        if let Ok(read) = FlowRecord::decode(&changed) {
            prop_assert_eq!(FlowRecord::decode(&read.to_bytes()), Ok(read));
        }
    }

    #[test]
    fn a_tagged_frame_is_the_frame_with_64_bytes_in_it(
        frame in untagged_frame(), record in record(),
    ) {
        let mut to = [0; 512];
        let length = shim::tag_frame(&frame, &record, &mut to).unwrap();
        let tagged = &to[..length];
        let at = shim::find(tagged).unwrap();
        prop_assert_eq!(shim::decode(&tagged[at..]), Ok(record));
        let without = [&tagged[..at], &tagged[at + shim::SHIM_BYTES..]].concat();
        prop_assert_eq!(&without, &frame);
        prop_assert_eq!(
            shim::tag_frame(tagged, &record, &mut [0; 600]),
            Err(shim::TagError::TaggedAlready)
        );
        prop_assert!(shim::tag_frame(&frame, &record, &mut to[..frame.len() + 63]).is_err());
    }
}

fn full() -> Record {
    Record {
        class: Some(1),
        label: Some(0x0203),
        kind: Some(Kind::Cancel),
        urgency: Some(4),
        messages: Some(0x0506),
        group: Some(0x0708_090a),
        correlation_id: Some(0x1112_1314_1516_1718),
        t_decision: Some(0x2122_2324_2526_2728),
        t_dispatch: Some(0x3132_3334_3536_3738),
        t_due: Some(0x4142_4344_4546_4748),
        deadline: Some(0x5152_5354_5556_5758),
        clock_error_ns: Some(0x6162_6364),
    }
}

const GOLDEN_FIELDS: [u8; 56] = [
    1, 3, 4, 0, 2, 3, 5, 6, //
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, //
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, //
    0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, //
    0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, //
    0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, //
    7, 8, 9, 10, 0x61, 0x62, 0x63, 0x64,
];

#[test]
fn the_bytes_of_a_shim() {
    let mut bytes = [0xff; shim::SHIM_BYTES];
    shim::encode(&full(), &mut bytes);
    assert_eq!(bytes[..8], [0x88, 0xb5, 0x77, 0x70, 1, 64, 0x0f, 0xff]);
    assert_eq!(bytes[8..], GOLDEN_FIELDS);

    shim::encode(&Record { t_due: Some(1), ..Record::default() }, &mut bytes);
    let mut expected = [0; shim::SHIM_BYTES];
    expected[..8].copy_from_slice(&[0x88, 0xb5, 0x77, 0x70, 1, 64, 0x02, 0x00]);
    expected[47] = 1;
    assert_eq!(bytes, expected);
}

#[test]
fn the_bytes_of_a_flow_record() {
    let flow = FlowTuple::new("10.1.0.7:40000".parse().unwrap(), "10.9.0.1:9001".parse().unwrap());
    let position = Position::StreamOffset(0x0102_0304_0506_0708);
    let bytes = FlowRecord { flow: flow.unwrap(), position, record: full() }.to_bytes();
    let mut head = [0; 56];
    head[..8].copy_from_slice(&[0x77, 0x66, 1, 112, 4, 6, 0, 0]);
    head[8..12].copy_from_slice(&[10, 1, 0, 7]);
    head[24..28].copy_from_slice(&[10, 9, 0, 1]);
    head[40..44].copy_from_slice(&[0x9c, 0x40, 0x23, 0x29]);
    head[44..46].copy_from_slice(&[0x0f, 0xff]);
    head[48..56].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bytes[..56], head);
    assert_eq!(bytes[56..], GOLDEN_FIELDS);
}

#[test]
fn each_error_has_its_name() {
    let mut good = [0; shim::SHIM_BYTES];
    shim::encode(&full(), &mut good);
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        shim::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 0x08), DecodeError::EtherType(0x08b5));
    assert_eq!(with(2, 0), DecodeError::Magic(0x0070));
    assert_eq!(with(4, 2), DecodeError::Version(2));
    assert_eq!(with(5, 63), DecodeError::Length(63));
    assert_eq!(with(6, 0x1f), DecodeError::Flags(0x1000));
    assert_eq!(with(9, 9), DecodeError::Kind(9));

    let position = Position::Sequence(7);
    let flow = FlowTuple { src: [1; 16], dst: [2; 16], src_port: 3, dst_port: 4, ip_version: 6 };
    let good = FlowRecord { flow, position, record: full() }.to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        FlowRecord::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 0), DecodeError::Magic(0x0066));
    assert_eq!(with(2, 0), DecodeError::Version(0));
    assert_eq!(with(3, 113), DecodeError::Length(113));
    assert_eq!(with(4, 5), DecodeError::IpVersion(5));
    assert_eq!(with(5, 1), DecodeError::Protocol(1));
    assert_eq!(with(5, 17), DecodeError::Position(1));
    assert_eq!(with(6, 2), DecodeError::Position(2));
    assert_eq!(with(44, 0xff), DecodeError::Flags(0xf000));
    assert_eq!(with(57, 200), DecodeError::Kind(200));
    assert_eq!(with(57, 200).name(), "kind");
    assert_eq!(with(57, 200).to_string(), "there is no kind 200");
}

#[test]
fn a_kind_that_is_not_stated_is_not_read() {
    let mut bytes = [0; shim::SHIM_BYTES];
    shim::encode(&Record::default(), &mut bytes);
    bytes[8..].fill(0xee);
    assert_eq!(shim::decode(&bytes), Ok(Record::default()));
}

#[test]
fn mapped_addresses_are_those_of_the_packets() {
    let tuple =
        |local: &str, peer: &str| FlowTuple::new(local.parse().unwrap(), peer.parse().unwrap());
    assert_eq!(
        tuple("[::ffff:10.1.0.7]:1", "[::ffff:10.9.0.1]:2"),
        tuple("10.1.0.7:1", "10.9.0.1:2")
    );
    assert_eq!(tuple("[2001:db8::1]:1", "[2001:db8::2]:2").unwrap().ip_version, 6);
    assert_eq!(tuple("10.1.0.7:1", "[2001:db8::2]:2"), None);
}

#[test]
fn three_tags_and_short_frames_have_no_place_for_a_shim() {
    let mut frame = vec![0; 12];
    for _ in 0..3 {
        frame.extend([0x81, 0x00, 0, 1]);
    }
    frame.extend([0x08, 0x00, 1, 2, 3]);
    let tag = |frame: &[u8]| shim::tag_frame(frame, &Record::default(), &mut [0; 200]);
    assert_eq!(tag(&frame), Err(shim::TagError::NoEtherType));
    assert_eq!(tag(&[0; 13]), Err(shim::TagError::NoEtherType));
    assert_eq!(tag(&[0; 14]), Ok(78));
}
