//! Ports that a test steps: a source with scripted arrivals, and a sink that can refuse, lose its link
//! or stop to complete.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use dataplane::batch::Batch;
use dataplane::mbuf::Mbuf;
use dataplane::pool::Pool;
use dataplane::port::hold::HoldRx;
use dataplane::port::{Rx, Tx};
use dataplane::segment::tso_request;
use model::config::RxQueue;
use model::time::Nanos;

use crate::common::bytes_of;
use crate::frames::number_of;

const BURST: usize = 32;

/// What has yet to arrive on a port.
#[derive(Default)]
pub struct Source {
    pub arrivals: VecDeque<(Nanos, Vec<u8>)>,
    /// Frames handed over, and frames for which no buffer was left.
    pub delivered: u64,
    pub missed: u64,
    /// The device stamps what arrives: its clock reads so much at gateway time 0, in ns.
    pub stamps_from: Option<u64>,
    missed_lens: VecDeque<u32>,
    /// Happens while a burst is received.
    pub meanwhile: Option<Box<dyn FnOnce()>>,
}

pub struct SimRx {
    pub source: Rc<RefCell<Source>>,
    pub pool: Pool,
}

impl Rx for SimRx {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let mut source = self.source.borrow_mut();
        if let Some(meanwhile) = source.meanwhile.take() {
            meanwhile();
        }
        let from = into.len();
        while into.len() - from < BURST && source.arrivals.front().is_some_and(|a| a.0 <= now) {
            let (at, bytes) = source.arrivals.pop_front().unwrap();
            match self.pool.alloc_from(&bytes) {
                Some(mut packet) => {
                    if let Some(epoch) = source.stamps_from {
                        packet.set_rx_stamp(epoch + at.0);
                    }
                    into.push(packet).unwrap();
                }
                None => {
                    source.missed += 1;
                    source.missed_lens.push_back(bytes.len() as u32);
                }
            }
        }
        source.delivered += (into.len() - from) as u64;
        into.len() - from
    }

    fn next_event(&self) -> Option<Nanos> {
        self.source.borrow().arrivals.front().map(|arrival| arrival.0)
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.source.borrow_mut().missed_lens.pop_front()
    }
}

/// A source as its queue is read: at once or together.
pub enum TestRx {
    AtOnce(SimRx),
    Held(Box<HoldRx<SimRx>>),
}

impl TestRx {
    pub fn new(rx: SimRx, queue: &RxQueue) -> Self {
        match queue.hold_frames {
            1 => Self::AtOnce(rx),
            frames => Self::Held(Box::new(HoldRx::new(rx, frames, queue.hold_time))),
        }
    }
}

impl Rx for TestRx {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::AtOnce(rx) => rx.rx_burst(now, into),
            Self::Held(rx) => rx.rx_burst(now, into),
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        match self {
            Self::AtOnce(rx) => rx.next_event(),
            Self::Held(rx) => rx.next_event(),
        }
    }

    fn take_missed(&mut self) -> Option<u32> {
        match self {
            Self::AtOnce(rx) => rx.take_missed(),
            Self::Held(rx) => rx.take_missed(),
        }
    }

    fn hold_back(&mut self, may: bool) {
        match self {
            Self::AtOnce(_) => {}
            Self::Held(rx) => rx.hold_back(may),
        }
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::AtOnce(rx) => rx.waiting(),
            Self::Held(rx) => rx.waiting(),
        }
    }

    fn close(&mut self) {
        match self {
            Self::AtOnce(rx) => rx.close(),
            Self::Held(rx) => rx.close(),
        }
    }

    fn is_dry(&self) -> bool {
        match self {
            Self::AtOnce(rx) => rx.is_dry(),
            Self::Held(rx) => rx.is_dry(),
        }
    }

    fn writes_arrival(&self) -> bool {
        match self {
            Self::AtOnce(rx) => rx.writes_arrival(),
            Self::Held(rx) => rx.writes_arrival(),
        }
    }
}

/// A frame that a port has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: Nanos,
    pub number: u32,
    /// When the NIC was told to send it, in its own clock.
    pub launch: Option<u64>,
}

/// The far side of a port.
pub struct Wire {
    pub up: bool,
    /// Frames that one call takes at most.
    pub takes: usize,
    /// Accepted frames are never given back: completions stop.
    pub keeps: bool,
    /// The NIC sends at given times.
    pub launches: bool,
    /// The NIC cuts super-frames, and its driver finds nothing wrong with them.
    pub cuts: Option<bool>,
    /// The NIC notes when a marked packet has left: its clock reads so much at gateway time 0, and
    /// the packet leaves so much after it was taken.
    pub timesync: Option<(u64, Nanos)>,
    pub stamp: Option<u64>,
    pub sent: Vec<Sent>,
    /// The bytes of each.
    pub frames: Vec<Vec<u8>>,
    /// Calls with something to send.
    pub offers: u64,
    pub kept: Vec<Mbuf>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            up: true,
            takes: usize::MAX,
            keeps: false,
            launches: false,
            cuts: None,
            timesync: None,
            stamp: None,
            sent: vec![],
            frames: vec![],
            offers: 0,
            kept: vec![],
        }
    }
}

impl Wire {
    /// Buffers that it has not given back.
    pub fn kept_count(&self) -> u32 {
        self.kept.len() as u32
    }

    /// Completes everything.
    pub fn complete(&mut self) {
        self.kept.clear();
    }

    pub fn numbers(&self) -> Vec<u32> {
        self.sent.iter().map(|sent| sent.number).collect()
    }
}

pub struct SimTx {
    pub wire: Rc<RefCell<Wire>>,
}

impl Tx for SimTx {
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let mut wire = self.wire.borrow_mut();
        assert!(wire.up, "offered to a port whose link is down");
        wire.offers += 1;
        let taken = from.len().min(wire.takes);
        for packet in from.take_front(taken) {
            let (launch, bytes) = (packet.launch_time(), bytes_of(&packet));
            wire.sent.push(Sent { at: now, number: number_of(&bytes), launch });
            wire.frames.push(bytes);
            if let Some((epoch, delay)) = wire.timesync.filter(|_| packet.wants_departure_stamp()) {
                assert!(wire.stamp.is_none(), "two packets are marked at a time");
                wire.stamp = Some(epoch + now.0 + delay.0);
            }
            if wire.keeps {
                wire.kept.push(packet);
            }
        }
        taken
    }

    fn ring_occupancy(&self) -> Option<u32> {
        Some(self.wire.borrow().kept_count())
    }

    fn frame_bytes_max(&self) -> u32 {
        1514
    }

    fn multi_segs(&self) -> bool {
        false
    }

    fn cuts_frames(&self) -> bool {
        self.wire.borrow().cuts.is_some()
    }

    fn prepare(&mut self, packet: &mut Mbuf) -> bool {
        assert!(tso_request(packet).is_some(), "shown to the driver for nothing");
        self.wire.borrow().cuts == Some(true)
    }

    fn sends_at_time(&self) -> bool {
        self.wire.borrow().launches
    }

    fn stamps_departures(&self) -> bool {
        self.wire.borrow().timesync.is_some()
    }

    fn departure_stamp(&mut self) -> Option<u64> {
        self.wire.borrow_mut().stamp.take()
    }

    fn link_up(&self) -> bool {
        self.wire.borrow().up
    }
}
