//! What is written is read again; what is read is what stands in the file.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use model::time::Nanos;
use proptest::collection::vec;
use proptest::prelude::*;
use rig::capture::{
    CaptureReader, CaptureWriter, PcapWriter, PcapngWriter, Resolution, to_plain_pcap,
};
use rig::generate::hostile;

type Owned = (Nanos, u32, Vec<u8>);

fn read(path: &Path) -> Vec<Owned> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        records.push((record.t, record.orig_len, record.data.to_vec()));
    }
    assert_eq!(reader.records(), records.len() as u64);
    records
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    // pcap keeps seconds in 32 bits.
    let t = 0..u64::from(u32::MAX) * 1_000_000_000;
    let record = (t, 0..9_000u32, vec(any::<u8>(), 0..300))
        .prop_map(|(t, cut, data)| (Nanos(t), data.len() as u32 + cut, data));
    vec(record, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pcapng_comes_back(written in records(), names in vec("[a-z0-9-]{0,9}", 1..4)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.pcapng");
        let mut writer = PcapngWriter::create(&path).unwrap();
        for (i, name) in names.iter().enumerate() {
            prop_assert_eq!(writer.add_interface(name).unwrap(), i as u32);
        }
        for (i, (t, orig_len, data)) in written.iter().enumerate() {
            let interface = (i % names.len()) as u32;
            let (a, b) = data.split_at(data.len() / 3);
            if i % 2 == 0 {
                writer.write_packet(interface, *t, &[a, b], *orig_len).unwrap();
            } else {
                let comment = "x".repeat(i);
                writer
                    .write_packet_with_comment(interface, *t, &[a, &[], b], *orig_len, &comment)
                    .unwrap();
            }
        }
        writer.finish().unwrap();
        prop_assert_eq!(read(&path), written);
    }

    #[test]
    fn pcap_comes_back(written in records()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.pcap");
        for (resolution, unit) in [(Resolution::Nanos, 1), (Resolution::Micros, 1_000)] {
            let mut writer = PcapWriter::create(&path, resolution).unwrap();
            for (t, orig_len, data) in &written {
                writer.write_packet(*t, data, *orig_len).unwrap();
            }
            writer.finish().unwrap();
            let rounded: Vec<Owned> =
                written.iter().cloned().map(|(t, o, d)| (Nanos(t.0 / unit * unit), o, d)).collect();
            prop_assert_eq!(read(&path), rounded);
        }
    }

    /// Bytes that begin like a capture, and then anything: no panic, and an end.
    #[test]
    fn any_file_is_answered(
        start in prop_oneof![
            Just(vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]),
            Just(vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]),
            Just(vec![0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1]),
            Just(vec![0x1f, 0x8b, 8, 0]),
            Just(vec![]),
        ],
        rest in vec(prop_oneof![3 => Just(0u8), 1 => 0..32u8, 1 => any::<u8>()], 0..400),
    ) {
        read_to_end(&[start, rest].concat())?;
    }
}

fn read_to_end(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let Ok(mut reader) = CaptureReader::open(file.path()) else { return Ok(()) };
    // Deflate makes at most 1032 bytes of one, and no packet takes less than 16 of a capture.
    let content = bytes.len() * if bytes.starts_with(&[0x1f, 0x8b]) { 1_032 } else { 1 };
    let mut left = content / 16 + 1;
    while let Ok(Some(record)) = reader.next() {
        prop_assert!(record.data.len() <= content);
        prop_assert!(left > 0);
        left -= 1;
    }
    prop_assert!(matches!(reader.next(), Ok(None)));
    Ok(())
}

#[test]
fn damaged_good_files_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let cases = hostile(directory.path()).unwrap();
    let files: Vec<Vec<u8>> =
        cases.iter().map(|case| std::fs::read(directory.path().join(case.file)).unwrap()).collect();
    // Damage to a jumbo frame hardly ever meets a header.
    let files: Vec<Vec<u8>> =
        files.into_iter().filter(|bytes| !bytes.is_empty() && bytes.len() < 10_000).collect();
    let config =
        ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let damage =
        (any::<prop::sample::Index>(), vec((any::<prop::sample::Index>(), any::<u8>()), 1..6));
    proptest!(config, |(pick in damage)| {
        let mut bytes = pick.0.get(&files).clone();
        for (at, value) in pick.1 {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_to_end(&bytes)?;
    });
}

#[test]
fn the_writer_chooses_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let magic = |name: &str| {
        let path = directory.path().join(name);
        let mut writer = CaptureWriter::create(&path, "wire").unwrap();
        writer.write_packet(Nanos(1_700_000_000_123_456_789), &[7; 60]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&path), [(Nanos(1_700_000_000_123_456_789), 60, vec![7; 60])], "{name}");
        std::fs::read(&path).unwrap()[..4].to_vec()
    };
    assert_eq!(magic("a.pcap"), [0x4d, 0x3c, 0xb2, 0xa1]);
    assert_eq!(magic("a.pcapng"), [0x0a, 0x0d, 0x0d, 0x0a]);
    assert_eq!(magic("a.pcap.gz")[..2], [0x1f, 0x8b]);
    assert_eq!(magic("a.pcapng.gz")[..2], [0x1f, 0x8b]);
    assert_eq!(magic("a")[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
}

#[test]
fn the_writer_refuses_what_nobody_could_read() {
    let mut writer = PcapngWriter::new(Vec::new(), Path::new("out.pcapng")).unwrap();
    let refused = writer.write_packet(0, Nanos(1), &[&[0; 60]], 60).unwrap_err().to_string();
    assert!(refused.contains("out.pcapng") && refused.contains("interface"), "{refused}");
    writer.add_interface("a").unwrap();
    let long = vec![0; 262_145];
    assert!(writer.write_packet(0, Nanos(1), &[&long], 1).is_err());
    assert!(writer.write_packet(0, Nanos(1), &[&long[1..]], 1).is_ok());
}

#[test]
fn pcapng_bytes_are_those_of_the_format() {
    let mut writer = PcapngWriter::new(Vec::new(), Path::new("out")).unwrap();
    writer.add_interface("venue").unwrap();
    writer.write_packet_with_comment(0, Nanos(0x1_0000_0002), &[&[1, 2], &[3]], 9, "late").unwrap();
    #[rustfmt::skip]
    let expected: Vec<u8> = [
        &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..],
        &[0xff; 8], &[28, 0, 0, 0],
        // Interface: Ethernet, snap length 262144, name, nanoseconds, end.
        &[1, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0],
        &[2, 0, 5, 0], b"venue", &[0; 3], &[9, 0, 1, 0, 9, 0, 0, 0], &[0; 4], &[44, 0, 0, 0],
        // Packet: interface, time high and low, lengths, data, comment, end.
        &[6, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0],
        &[1, 2, 3, 0], &[1, 0, 4, 0], b"late", &[0; 4], &[48, 0, 0, 0],
    ]
    .concat();
    assert_eq!(writer.finish().unwrap(), expected);
}

#[test]
fn the_plain_capture_has_microseconds() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.pcap"), directory.path().join("out.pcap"));
    let mut writer = PcapWriter::create(&input, Resolution::Nanos).unwrap();
    writer.write_packet(Nanos(1_999_999_999), &[5; 20], 1_000).unwrap();
    writer.finish().unwrap();
    // In gzip and with a name that says nothing.
    let zipped = directory.path().join("capture");
    let mut encoder = GzEncoder::new(File::create(&zipped).unwrap(), Compression::fast());
    encoder.write_all(&std::fs::read(&input).unwrap()).unwrap();
    encoder.finish().unwrap();
    for input in [input, zipped] {
        let plain = to_plain_pcap(&input, &output).unwrap();
        assert_eq!((plain.records, plain.truncated.is_some()), (1, false));
        assert_eq!(read(&output), [(Nanos(1_999_999_000), 1_000, vec![5; 20])]);
        assert_eq!(std::fs::read(&output).unwrap()[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    }
}

#[test]
fn a_pcapng_stamp_uses_the_unit_and_offset_of_its_interface() {
    let directory = tempfile::tempdir().unwrap();
    hostile(directory.path()).unwrap();
    let stamps: Vec<u64> = read(&directory.path().join("pcapng-two-sections.pcapng"))
        .into_iter()
        .map(|(t, ..)| t.0)
        .collect();
    let start = 1_736_173_800_000_000_000;
    // Nanoseconds; 2^-20 s with an offset, one second in; milliseconds twice; none.
    let millis = |n: u64| start + n * 1_000_000;
    let expected = [start, start + 1_000_000_000, millis(2_000), millis(3_000), millis(3_000)];
    assert_eq!(stamps, expected);
}

#[test]
fn errors_name_the_place() {
    let directory = tempfile::tempdir().unwrap();
    hostile(directory.path()).unwrap();
    let path = directory.path().join("record-length-absurd.pcap");
    let mut reader = CaptureReader::open(&path).unwrap();
    let first = reader.next().unwrap().unwrap().data.len();
    let error = reader.next().unwrap_err();
    assert_eq!((error.record, error.offset), (2, 24 + 16 + first as u64));
    assert_eq!(error.path, path);
    let missing = directory.path().join("missing.pcap");
    let text = CaptureReader::open(&missing).err().unwrap().to_string();
    assert!(text.contains("missing.pcap") && text.contains("No such file"), "{text}");
    assert!(CaptureReader::open(directory.path()).is_err());
}
