//! The NIC in front of a lane, as far as its RX queues go.
//!
//! [`queues`] gives the sources of a port. With one queue that is what comes, as it comes. With several a
//! frame goes to the queue that names its class, as the rules say, and to the first queue without
//! classes where none does; a queue holds back as its config says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use dataplane::batch::Batch;
use dataplane::mbuf::Mbuf;
use dataplane::port::Rx;
use dataplane::port::hold::HoldRx;
use dataplane::port::in_turn::InTurn;
use model::config::{Config, RxQueue};
use model::frame::{Frame, parse};
use model::kind::Side;
use model::rules::Rules;
use model::time::Nanos;

use super::{FrameRx, Frames};

/// All queues of a port.
pub type PortRx<F> = InTurn<QueueRx<F>>;

/// One of them.
pub enum QueueRx<F> {
    /// Everything that comes.
    All(FrameRx<F>),
    /// What is steered to it.
    Steered(SteeredRx<F>),
    /// The same, held back.
    Held(Box<HoldRx<SteeredRx<F>>>),
}

/// The queues of port `port`, to which `frames` come.
pub fn queues<F: Frames>(config: &Config, port: usize, frames: FrameRx<F>) -> Vec<QueueRx<F>> {
    let of = &config.ports[port];
    if of.queues.len() == 1 {
        return vec![QueueRx::All(frames)];
    }
    let mut queue_of = [None; 256];
    for (n, queue) in of.queues.iter().enumerate() {
        queue.classes.iter().for_each(|class| queue_of[usize::from(*class)] = Some(n));
    }
    let nic = Rc::new(RefCell::new(Nic {
        frames,
        rules: config.rules.clone(),
        side: of.side,
        queue_of,
        rest: of.queues.iter().position(|queue| queue.classes.is_empty()).unwrap_or(0),
        arriving: Batch::new(),
        waiting: of.queues.iter().map(|_| VecDeque::new()).collect(),
    }));
    let queue = |(index, queue): (usize, &RxQueue)| {
        let burst = usize::from(queue.burst);
        let steered = SteeredRx { nic: Rc::clone(&nic), index, burst };
        if queue.hold_frames > 1 {
            let held = HoldRx::new(steered, queue.hold_frames, queue.hold_time);
            return QueueRx::Held(Box::new(held));
        }
        QueueRx::Steered(steered)
    };
    of.queues.iter().enumerate().map(queue).collect()
}

/// Gives back what came to a port, and frees what waits there.
pub fn into_frames<F: Frames>(port: PortRx<F>) -> Vec<F> {
    let each = port.into_sources().into_iter().filter_map(|queue| match queue {
        QueueRx::All(frames) => Some(frames),
        QueueRx::Steered(queue) => queue.into_frames(),
        QueueRx::Held(hold) => hold.into_inner().into_frames(),
    });
    each.map(FrameRx::into_frames).collect()
}

struct Nic<F> {
    frames: FrameRx<F>,
    rules: Rules,
    side: Side,
    /// The queue of each class, where one names it.
    queue_of: [Option<usize>; 256],
    /// The queue of all others.
    rest: usize,
    arriving: Batch,
    waiting: Vec<VecDeque<Mbuf>>,
}

impl<F: Frames> Nic<F> {
    /// Steers what has come by `now`.
    fn receive(&mut self, now: Nanos) {
        while self.frames.rx_burst(now, &mut self.arriving) > 0 {
            for packet in self.arriving.drain() {
                let queue = match parse(packet.data(), packet.len()) {
                    Frame::Ip(parsed) => {
                        let class = self.rules.classify(self.side, &parsed).class;
                        self.queue_of[usize::from(class)].unwrap_or(self.rest)
                    }
                    Frame::NonIp { .. } | Frame::Malformed(_) => self.rest,
                };
                self.waiting[queue].push_back(packet);
            }
        }
    }
}

/// One queue of a port that classes are steered to.
pub struct SteeredRx<F> {
    nic: Rc<RefCell<Nic<F>>>,
    index: usize,
    burst: usize,
}

impl<F> SteeredRx<F> {
    /// The source, from the last queue that is given back.
    fn into_frames(self) -> Option<FrameRx<F>> {
        Rc::into_inner(self.nic).map(|nic| nic.into_inner().frames)
    }
}

impl<F: Frames> Rx for SteeredRx<F> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let nic = &mut *self.nic.borrow_mut();
        nic.receive(now);
        let waiting = &mut nic.waiting[self.index];
        let n = waiting.len().min(self.burst).min(into.room());
        for packet in waiting.drain(..n) {
            let pushed = into.push(packet);
            debug_assert!(pushed.is_ok());
        }
        n
    }

    fn next_event(&self) -> Option<Nanos> {
        let nic = self.nic.borrow();
        let waits = !nic.waiting[self.index].is_empty();
        if waits { Some(Nanos::ZERO) } else { nic.frames.next_event() }
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.nic.borrow_mut().frames.take_missed()
    }

    fn waiting(&self) -> u32 {
        self.nic.borrow().waiting[self.index].len() as u32
    }

    fn writes_arrival(&self) -> bool {
        F::HELD_UPSTREAM
    }
}

impl<F: Frames> Rx for QueueRx<F> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::All(frames) => frames.rx_burst(now, into),
            Self::Steered(queue) => queue.rx_burst(now, into),
            Self::Held(hold) => hold.rx_burst(now, into),
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        match self {
            Self::All(frames) => frames.next_event(),
            Self::Steered(queue) => queue.next_event(),
            Self::Held(hold) => hold.next_event(),
        }
    }

    fn take_missed(&mut self) -> Option<u32> {
        match self {
            Self::All(frames) => frames.take_missed(),
            Self::Steered(queue) => queue.take_missed(),
            Self::Held(hold) => hold.take_missed(),
        }
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::All(frames) => frames.waiting(),
            Self::Steered(queue) => queue.waiting(),
            Self::Held(hold) => hold.waiting(),
        }
    }

    fn hold_back(&mut self, may: bool) {
        if let Self::Held(hold) = self {
            hold.hold_back(may);
        }
    }

    fn writes_arrival(&self) -> bool {
        match self {
            Self::All(frames) => frames.writes_arrival(),
            Self::Steered(queue) => queue.writes_arrival(),
            Self::Held(hold) => hold.writes_arrival(),
        }
    }
}
