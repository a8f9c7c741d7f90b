//! Where a replay's packets come from: our capture reader, or DPDK's net_pcap one burst ahead.

use dataplane::batch::Batch;
use dataplane::pool::Pool;
use dataplane::port::Rx;
use dataplane::port::dpdk::RxQueue;
use model::time::Nanos;

use crate::capture::{CaptureError, CaptureReader};

/// One of the two sources; both give packets the time of the capture, in ns, as their RX stamp.
pub enum Source {
    /// Our reader.
    Reader(Box<ReaderRx>),
    /// net_pcap.
    Pmd(Box<LookAhead<RxQueue>>),
}

impl Source {
    /// The error that ended the capture early, if one did.
    pub fn fault(&mut self) -> Option<CaptureError> {
        match self {
            Self::Reader(reader) => reader.fault.take(),
            Self::Pmd(_) => None,
        }
    }
}

impl Rx for Source {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::Reader(rx) => rx.rx_burst(now, into),
            Self::Pmd(rx) => rx.rx_burst(now, into),
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        match self {
            Self::Reader(rx) => rx.next_event(),
            Self::Pmd(rx) => rx.next_event(),
        }
    }

    fn take_missed(&mut self) -> Option<u16> {
        match self {
            Self::Reader(rx) => rx.missed.pop(),
            Self::Pmd(_) => None,
        }
    }
}

/// Packets of a capture, each at its own time.
pub struct ReaderRx {
    reader: CaptureReader,
    pool: Pool,
    burst: usize,
    /// The record that comes next.
    next: Option<Nanos>,
    bytes: Vec<u8>,
    missed: Vec<u16>,
    fault: Option<CaptureError>,
}

impl ReaderRx {
    /// Reads `reader` into buffers of `pool`, at most `burst` packets at a time.
    pub fn new(reader: CaptureReader, pool: Pool, burst: usize) -> Self {
        let mut new = Self {
            reader,
            pool,
            burst,
            next: None,
            bytes: Vec::new(),
            missed: Vec::new(),
            fault: None,
        };
        new.read_ahead();
        new
    }

    fn read_ahead(&mut self) {
        self.next = match self.reader.next() {
            Ok(Some(record)) => {
                self.bytes.clear();
                self.bytes.extend_from_slice(record.data);
                Some(record.t)
            }
            Ok(None) => None,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        };
    }
}

impl Rx for ReaderRx {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let mut received = 0;
        while received < self.burst
            && let Some(t) = self.next
            && t <= now
        {
            match self.pool.alloc_from(&self.bytes) {
                Some(mut packet) => {
                    packet.set_rx_stamp(t.0);
                    if into.push(packet).is_err() {
                        break;
                    }
                    received += 1;
                }
                None => self.missed.push(self.bytes.len().min(usize::from(u16::MAX)) as u16),
            }
            self.read_ahead();
        }
        received
    }

    fn next_event(&self) -> Option<Nanos> {
        self.next
    }
}

/// A net_pcap port in virtual time: it gives packets as fast as it is asked, so one burst is held
/// back and handed on when its time has come. Its microseconds become nanoseconds here.
pub struct LookAhead<R> {
    inner: R,
    ahead: Batch,
}

impl<R: Rx> LookAhead<R> {
    /// Wraps a port that reads a capture file.
    pub fn new(inner: R) -> Self {
        let mut new = Self { inner, ahead: Batch::new() };
        new.fill();
        new
    }

    /// An empty burst is the end of the file.
    fn fill(&mut self) {
        self.inner.rx_burst(Nanos::ZERO, &mut self.ahead);
        for packet in &mut self.ahead {
            let us = packet.rx_stamp().unwrap_or(0);
            packet.set_rx_stamp(us.saturating_mul(1_000));
        }
    }
}

impl<R: Rx> Rx for LookAhead<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let due = self
            .ahead
            .iter()
            .take_while(|packet| packet.rx_stamp().is_some_and(|t| t <= now.0))
            .count();
        let moved = self.ahead.move_front(due, into);
        if self.ahead.is_empty() {
            self.fill();
        }
        moved
    }

    fn next_event(&self) -> Option<Nanos> {
        self.ahead.get(0).and_then(|packet| packet.rx_stamp()).map(Nanos)
    }
}
