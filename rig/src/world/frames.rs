//! An ingress port in virtual time: frames come out of a source, each at its own time.

use dataplane::batch::Batch;
use dataplane::pool::Pool;
use dataplane::port::Rx;
use model::time::Nanos;

/// Where frames come from, in the order of their times.
pub trait Frames {
    /// Something upstream may have held frames back: what is said of each is when it arrived, in whatever
    /// order they come.
    const HELD_UPSTREAM: bool = false;

    /// When the next frame comes; `None` = none is known of.
    fn next_at(&self) -> Option<Nanos>;

    /// Puts that frame into `bytes` and gives its stamp: when it arrived, which is before it comes where
    /// something has held it back.
    fn take(&mut self, bytes: &mut Vec<u8>) -> Nanos;
}

/// A port that puts frames into buffers of the gateway's pool when their time has come.
pub struct FrameRx<F> {
    frames: F,
    pool: Pool,
    burst: usize,
    bytes: Vec<u8>,
    /// Lengths of frames that found no buffer.
    missed: Vec<u32>,
}

impl<F: Frames> FrameRx<F> {
    /// Buffers are of `pool`, at most `burst` at a time.
    pub const fn new(frames: F, pool: Pool, burst: usize) -> Self {
        Self { frames, pool, burst, bytes: Vec::new(), missed: Vec::new() }
    }

    /// Gives the source back.
    pub fn into_frames(self) -> F {
        self.frames
    }
}

impl<F: Frames> Rx for FrameRx<F> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let before = into.len();
        for _ in 0..self.burst.min(into.room()) {
            if self.frames.next_at().is_none_or(|at| at > now) {
                break;
            }
            let stamp = self.frames.take(&mut self.bytes);
            let pushed = self.pool.alloc_from(&self.bytes).is_some_and(|mut packet| {
                packet.set_rx_stamp(stamp.0);
                packet.meta_mut().arrival = stamp;
                into.push(packet).is_ok()
            });
            if !pushed {
                // A record is far shorter than 2^32 bytes.
                self.missed.push(self.bytes.len() as u32);
            }
        }
        into.len() - before
    }

    fn next_event(&self) -> Option<Nanos> {
        self.frames.next_at()
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.missed.pop()
    }

    fn writes_arrival(&self) -> bool {
        F::HELD_UPSTREAM
    }
}
