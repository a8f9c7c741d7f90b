//! Records of intent: the tag in a frame, the datagram of the side channel, and the page of advice, which
//! strategies read.

use std::sync::atomic::{AtomicU64, Ordering};

use intent::advice::{Page, Writer};
use intent::{FlowRecord, FlowTuple, Position, Record, shim};

/// One of each, and the frames of the hostile captures behind a tag.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let tag = |frame: Vec<u8>| {
        let mut tagged = vec![0; frame.len() + shim::SHIM_BYTES];
        let len = shim::tag_frame(&frame, &Record::default(), &mut tagged).ok()?;
        tagged.truncate(len);
        Some(tagged)
    };
    let mut corpus: Vec<Vec<u8>> = super::capture::frames().into_iter().filter_map(tag).collect();
    for (local, peer) in [("10.1.0.2:4000", "10.9.0.1:7000"), ("[fd00::1]:4000", "[fd00::2]:7000")]
    {
        let [local, peer] = [local, peer].map(|address| address.parse().expect("an address"));
        let flow = FlowTuple::new(local, peer).expect("two of a kind");
        for position in [Position::Sequence(7), Position::NextDatagram { payload_bytes: 9 }] {
            let record = FlowRecord { flow, position, record: Record::default() };
            corpus.push(record.to_bytes().to_vec());
        }
    }
    let words: Vec<AtomicU64> = (0..1_024).map(|_| AtomicU64::new(0)).collect();
    if let Some(writer) = Writer::initialise(&words, 4) {
        writer.write(&words, 1, SCOPE, &intent::advice::Advice::default());
    }
    corpus.push(words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect());
    corpus
}

const SCOPE: &str = "class:orders";

pub(super) fn run(bytes: &[u8]) -> String {
    let tag = match shim::find(bytes) {
        None => "none".to_owned(),
        Some(at) => match shim::decode(&bytes[at..]) {
            Ok(record) => {
                // What was read is what is written, and is read again as the same.
                let mut again = [0; shim::SHIM_BYTES];
                shim::encode(&record, &mut again);
                assert_eq!(shim::decode(&again), Ok(record));
                "read".to_owned()
            }
            Err(error) => error.name().to_owned(),
        },
    };
    let flow = match FlowRecord::decode(bytes) {
        Ok(record) => {
            assert_eq!(FlowRecord::decode(&record.to_bytes()), Ok(record));
            "read"
        }
        Err(error) => error.name(),
    };
    let words: Vec<AtomicU64> =
        bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word).into()).collect();
    let page = match Page::attach(&words) {
        Ok(page) => match page.find(SCOPE) {
            Some(place) => {
                let advice = page.read(place, 1);
                assert!(advice.regime().len() <= intent::advice::REGIME_BYTES_MAX);
                "advised"
            }
            None => "no scope",
        },
        Err(_) => "no page",
    };
    format!("tag {tag}, flow {flow}, page {page}")
}
