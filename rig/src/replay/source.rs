//! Where a replay's packets come from: a capture, frame by frame, each at its own time.
//!
//! Frames come from our reader or through DPDK's net_pcap; from there on both go the same way, so
//! that both give the same counters.

use std::mem;

use model::time::Nanos;

use super::pmd::PmdFrames;
use crate::capture::{CaptureError, CaptureReader};
use crate::world::Frames;

/// The records of a capture in their order.
pub enum Records {
    /// Our reader: nanoseconds.
    Reader(Box<CaptureReader>),
    /// net_pcap: microseconds.
    Pmd(Box<PmdFrames>),
}

impl Records {
    /// Puts the next frame into `bytes` and answers when it was captured; `None` at the end.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Nanos>, CaptureError> {
        bytes.clear();
        match self {
            Self::Reader(reader) => Ok(reader.next()?.map(|record| {
                bytes.extend_from_slice(record.data);
                record.t
            })),
            Self::Pmd(frames) => Ok(frames.next(bytes)),
        }
    }
}

/// The frames of a capture, one read ahead. A frame comes at the time of the capture, in ns since 1970,
/// which is its stamp too.
pub struct CaptureFrames {
    records: Records,
    /// When the frame in `bytes` comes; `None` = there is none any more.
    head: Option<Nanos>,
    bytes: Vec<u8>,
    fault: Option<CaptureError>,
}

impl CaptureFrames {
    /// Reads the first.
    pub fn new(records: Records) -> Self {
        let mut new = Self { records, head: None, bytes: Vec::new(), fault: None };
        new.read();
        new
    }

    /// Ends the source: the error that ended the capture early, if one did, and the frames that a
    /// driver lost.
    pub fn finish(self) -> (Option<CaptureError>, u64) {
        let lost = match self.records {
            Records::Reader(_) => 0,
            Records::Pmd(frames) => frames.lost(),
        };
        (self.fault, lost)
    }

    fn read(&mut self) {
        self.head = self.records.next(&mut self.bytes).unwrap_or_else(|fault| {
            self.fault = Some(fault);
            None
        });
    }
}

impl Frames for CaptureFrames {
    fn next_at(&self) -> Option<Nanos> {
        self.head
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Nanos {
        mem::swap(&mut self.bytes, bytes);
        let at = self.head.unwrap_or_default();
        self.read();
        at
    }
}
