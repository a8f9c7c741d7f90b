//! Where a replay's packets come from: a capture, frame by frame, each at its own time.
//!
//! Frames come from our reader or through DPDK's net_pcap; from there on both go the same way, so
//! that both give the same counters.

use dataplane::batch::Batch;
use dataplane::pool::Pool;
use dataplane::port::Rx;
use model::time::Nanos;

use super::pmd::PmdFrames;
use crate::capture::{CaptureError, CaptureReader};

/// The frames of a capture in their order.
pub enum Frames {
    /// Our reader: nanoseconds.
    Reader(Box<CaptureReader>),
    /// net_pcap: microseconds.
    Pmd(Box<PmdFrames>),
}

impl Frames {
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

/// An ingress port that is a capture: a frame takes a buffer of the gateway's pool when its time
/// has come, and carries the time of the capture, in ns since 1970, as its RX stamp.
pub struct CaptureRx {
    frames: Frames,
    pool: Pool,
    burst: usize,
    /// When the frame in `bytes` comes; `None` = there is none any more.
    head: Option<Nanos>,
    bytes: Vec<u8>,
    /// Lengths of frames that found no buffer.
    missed: Vec<u32>,
    fault: Option<CaptureError>,
}

impl CaptureRx {
    /// Puts frames into buffers of `pool`, at most `burst` at a time.
    pub fn new(frames: Frames, pool: Pool, burst: usize) -> Self {
        let mut new = Self {
            frames,
            pool,
            burst,
            head: None,
            bytes: Vec::new(),
            missed: Vec::new(),
            fault: None,
        };
        new.read();
        new
    }

    /// Ends the source: the error that ended the capture early, if one did, and the frames that a
    /// driver lost.
    pub fn finish(self) -> (Option<CaptureError>, u64) {
        let lost = match self.frames {
            Frames::Reader(_) => 0,
            Frames::Pmd(frames) => frames.lost(),
        };
        (self.fault, lost)
    }

    fn read(&mut self) {
        self.head = self.frames.next(&mut self.bytes).unwrap_or_else(|fault| {
            self.fault = Some(fault);
            None
        });
    }
}

impl Rx for CaptureRx {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let before = into.len();
        for _ in 0..self.burst.min(into.room()) {
            let Some(t) = self.head.filter(|t| *t <= now) else { break };
            let pushed = self.pool.alloc_from(&self.bytes).is_some_and(|mut packet| {
                packet.set_rx_stamp(t.0);
                into.push(packet).is_ok()
            });
            if !pushed {
                // A record is far shorter than 2^32 bytes.
                self.missed.push(self.bytes.len() as u32);
            }
            self.read();
        }
        into.len() - before
    }

    fn next_event(&self) -> Option<Nanos> {
        self.head
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.missed.pop()
    }
}
