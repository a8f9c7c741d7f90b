//! The bundled captures are what the generator makes from seed 1.
//!
//! `WIREPACE_REGENERATE=1 cargo test -p wirepace-rig --test golden` writes them anew.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use model::time::Nanos;
use rig::generate::{Kind, Parameters, generate};

/// Name, kind and span of each.
const GOLDEN: [(&str, Kind, Nanos); 3] = [
    ("orders-s1.pcap", Kind::Orders, Nanos::from_millis(1_500)),
    ("market-data-s1.pcap", Kind::MarketData, Nanos::from_millis(100)),
    ("mixed-s1.pcapng.gz", Kind::Mixed, Nanos::from_millis(150)),
];

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).join(name)
}

/// The bytes of a capture; of one in gzip those within, for compressors may change.
fn content(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut within = Vec::new();
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut within).unwrap();
        within
    } else {
        bytes
    }
}

#[test]
fn the_golden_captures_are_reproduced() {
    let directory = tempfile::tempdir().unwrap();
    for (name, kind, duration) in GOLDEN {
        let fresh = directory.path().join(name);
        generate(kind, &Parameters::new(1, duration), &fresh).unwrap();
        if std::env::var_os("WIREPACE_REGENERATE").is_some_and(|value| value == "1") {
            std::fs::copy(&fresh, golden(name)).unwrap();
        }
        let is_same = content(&fresh) == content(&golden(name));
        assert!(is_same, "{name} differs: WIREPACE_REGENERATE=1 writes it anew");
        let bytes = std::fs::metadata(golden(name)).unwrap().len();
        assert!(bytes <= 400_000, "{name}: {bytes} bytes are too many to bundle");
    }
}
