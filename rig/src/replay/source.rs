//! Where a replay's packets come from: a capture, frame by frame, each at its own time.
//!
//! Frames come from our reader or through DPDK's net_pcap; from there on both go the same way, so
//! that both give the same counters.

use std::mem;

use model::time::Nanos;

use super::pmd::PmdFrames;
use super::strategy::Orders;
use crate::capture::{CaptureError, CaptureReader};
use crate::world::Frames;

/// The records of a capture in their order.
pub enum Records {
    /// Our reader: nanoseconds.
    Reader(Box<CaptureReader>),
    /// net_pcap: microseconds.
    Pmd(Box<PmdFrames>),
    /// No capture: nothing ever comes.
    Nothing,
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
            Self::Nothing => Ok(None),
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
            Records::Reader(_) | Records::Nothing => 0,
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

/// What comes to a port: the frames of a capture, or the orders of a modelled strategy.
pub enum Source {
    /// A capture.
    Capture(Box<CaptureFrames>),
    /// A strategy.
    Orders(Orders),
}

impl Frames for Source {
    fn next_at(&self) -> Option<Nanos> {
        match self {
            Self::Capture(frames) => frames.next_at(),
            Self::Orders(orders) => orders.next_at(),
        }
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Nanos {
        match self {
            Self::Capture(frames) => frames.take(bytes),
            Self::Orders(orders) => orders.take(bytes),
        }
    }
}
