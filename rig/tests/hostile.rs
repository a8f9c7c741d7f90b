//! Every file of the hostile set is answered as its table says: by the reader, by the parser, and
//! by the conversion into a plain capture.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::collections::BTreeMap;
use std::path::Path;

use model::drop_reason::DropReason;
use model::frame::{Frame, parse};
use rig::capture::{CaptureError, CaptureReader, ConvertError, to_plain_pcap};
use rig::generate::{HostileCase, hostile};

/// Frames above this are too long for a port with the default `frame_max`, bytes.
const FRAME_MAX: usize = 1_514;

/// Reads a file to its end and says what was in it in the words of the table.
fn read(path: &Path) -> (HostileCase, Option<CaptureError>) {
    let mut seen = HostileCase::default();
    let mut reader = match CaptureReader::open(path) {
        Ok(reader) => reader,
        Err(error) => return (HostileCase { is_refused: true, ..seen }, Some(error)),
    };
    let mut malformed: BTreeMap<DropReason, u64> = BTreeMap::new();
    let error = loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(record.orig_len as usize >= record.data.len());
                match parse(record.data, record.data.len() as u32) {
                    Frame::Ip(parsed) => {
                        seen.ip += 1;
                        seen.fragments += u64::from(parsed.is_fragment);
                        seen.oversize += u64::from(record.data.len() > FRAME_MAX);
                    }
                    Frame::NonIp { .. } => seen.non_ip += 1,
                    Frame::Malformed(reason) => *malformed.entry(reason).or_default() += 1,
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    // Said once; after that the reader is at its end and stays there.
    assert!(matches!(reader.next(), Ok(None)));
    seen.records = reader.records();
    seen.malformed = malformed.into_iter().collect();
    (seen, error)
}

/// Compares with the table, but for the error's text.
#[track_caller]
fn check(case: &HostileCase, seen: HostileCase, error: Option<&CaptureError>) {
    match (case.error, error) {
        (Some(expected), Some(error)) => {
            let text = error.to_string();
            assert!(text.contains(expected), "{}: {text}", case.file);
            assert!(text.contains(case.file), "{} is not named: {text}", case.file);
            assert_eq!(error.is_truncated(), text.contains("cut off"), "{text}");
            if !case.is_refused {
                let place = format!("record {} at byte ", case.records + 1);
                assert!(text.contains(&place), "{}: no place in: {text}", case.file);
            }
        }
        (None, None) => {}
        (expected, error) => panic!("{}: expected {expected:?}, got {error:?}", case.file),
    }
    let is_truncated = error.is_some_and(CaptureError::is_truncated) && !seen.is_refused;
    let seen = HostileCase { file: case.file, error: case.error, is_truncated, ..seen };
    assert_eq!(seen, *case);
}

#[test]
fn every_case_ends_as_the_table_says() {
    let directory = tempfile::tempdir().unwrap();
    let cases = hostile(directory.path()).unwrap();
    for case in &cases {
        let (seen, error) = read(&directory.path().join(case.file));
        check(case, seen, error.as_ref());
    }
    // One file each; the set holds every reason that a frame alone can end with.
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, cases.len());
    for reason in DropReason::ALL {
        if *reason < DropReason::TxOversize && *reason != DropReason::IpFragment {
            let is_there = cases.iter().any(|c| c.malformed.iter().any(|(r, _)| r == reason));
            assert!(is_there, "no case for {}", reason.name());
        }
    }
    assert!(cases.iter().any(|c| c.fragments > 0) && cases.iter().any(|c| c.oversize > 0));
}

#[test]
fn the_plain_capture_holds_the_same_frames() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    for case in hostile(&directory.path().join("set")).unwrap() {
        let input = directory.path().join("set").join(case.file);
        match to_plain_pcap(&input, &plain) {
            Ok(converted) => {
                assert_eq!(converted.records, case.records, "{}", case.file);
                assert_eq!(converted.truncated.is_some(), case.is_truncated, "{}", case.file);
                let (seen, error) = read(&plain);
                assert!(error.is_none(), "{}: {error:?}", case.file);
                let expected = HostileCase { error: None, is_truncated: false, ..case.clone() };
                assert_eq!(HostileCase { file: case.file, ..seen }, expected);
            }
            Err(ConvertError::Read(error)) => {
                assert!(case.error.is_some() && !case.is_truncated, "{}: {error}", case.file);
            }
            Err(ConvertError::Write(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn the_set_is_the_same_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    assert_eq!(hostile(&a).unwrap(), hostile(&b).unwrap());
    for entry in std::fs::read_dir(&a).unwrap() {
        let name = entry.unwrap().file_name();
        let same = std::fs::read(a.join(&name)).unwrap() == std::fs::read(b.join(&name)).unwrap();
        assert!(same, "{name:?}");
    }
}
