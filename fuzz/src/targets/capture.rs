//! The readers of pcap and pcapng, plain or packed.

use std::fs;
use std::path::Path;

use rig::capture::{CaptureError, CaptureReader};
use rig::generate::hostile;

/// With these bytes in a file, in memory where there is such a place.
fn with_file<T>(bytes: &[u8], action: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static PLACE: tempfile::TempDir = {
            let memory = Path::new("/dev/shm");
            let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            tempfile::tempdir_in(place).expect("no place for a file")
        };
    }
    PLACE.with(|place| {
        let path = place.path().join("capture");
        fs::write(&path, bytes).expect("the file cannot be written");
        action(&path)
    })
}

/// The hostile captures of `wirepace generate`.
fn hostile_captures() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("no place for files");
    let cases = hostile(directory.path()).expect("the hostile captures cannot be written");
    let read = |file| fs::read(directory.path().join(file)).expect("one of them is gone");
    cases.iter().map(|case| read(case.file)).collect()
}

/// What stands in them.
pub(super) fn frames() -> Vec<Vec<u8>> {
    let frames_of = |capture: Vec<u8>| {
        with_file(&capture, |path| {
            let mut frames = Vec::new();
            if let Ok(mut reader) = CaptureReader::open(path) {
                while let Ok(Some(record)) = reader.next() {
                    frames.push(record.data.to_vec());
                }
            }
            frames
        })
    };
    hostile_captures().into_iter().flat_map(frames_of).collect()
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    let golden = super::files(&["tests/golden"]).into_iter().map(|(_, bytes)| bytes);
    let mut corpus = hostile_captures();
    corpus.extend(golden.filter(|bytes| bytes.len() < 1 << 20));
    corpus
}

pub(super) fn run(bytes: &[u8]) -> String {
    with_file(bytes, |path| {
        let mut reader = match CaptureReader::open(path) {
            Ok(reader) => reader,
            Err(error) => return said("refused", &error, path),
        };
        let mut held = 0;
        loop {
            match reader.next() {
                Ok(Some(record)) => {
                    assert!(record.orig_len as usize >= record.data.len());
                    held += record.data.len();
                }
                Ok(None) => return format!("whole, {held} bytes"),
                Err(error) => {
                    // Said once; after that the reader is at its end.
                    assert!(matches!(reader.next(), Ok(None)));
                    return said("broken off", &error, path);
                }
            }
        }
    })
}

/// The error without the name of the file and without what the file says.
fn said(how: &str, error: &CaptureError, path: &Path) -> String {
    let text = error.to_string().replace(&path.display().to_string(), "");
    format!("{how}: {}", super::words(&text))
}
