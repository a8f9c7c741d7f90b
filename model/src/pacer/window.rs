//! The TX release window of a class: packets are held until enough of them wait or the first has
//! waited long enough, and then go together.
//!
//! Windows are numbered. A window begins with the first governed packet that arrives after the last
//! one opened. What came in an open window is held no more, whatever comes after it.

use crate::time::Nanos;

/// Openings that are remembered; what came in an older window counts with the oldest of them.
const REMEMBERED: usize = 64;

/// What an arrival did to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It began the window, which opens by itself at this time.
    Began(Nanos),
    /// It waits with others.
    Waits,
    /// It was the last that the window waited for.
    Full,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Window {
    frames: u32,
    time: Nanos,
    /// The window that is closed, or that the next packet begins.
    number: u16,
    /// When its first packet came; meaningful while `waiting` is not 0.
    began: Nanos,
    /// Packets in it.
    waiting: u32,
    opened: [Nanos; REMEMBERED],
}

impl Window {
    /// Opens when `frames` packets wait, or `time` after the first of them.
    pub fn new(frames: u16, time: Nanos) -> Self {
        let opened = [Nanos::ZERO; REMEMBERED];
        Self { frames: frames.into(), time, number: 1, began: Nanos::ZERO, waiting: 0, opened }
    }

    /// Takes a new size for the window that is closed and for those after it.
    pub fn resize(&mut self, frames: u16, time: Nanos) {
        (self.frames, self.time) = (frames.into(), time);
    }

    /// The window that a packet joins now.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Whether what came in window `number` is still held.
    pub const fn holds(&self, number: u16) -> bool {
        self.waiting > 0 && number == self.number
    }

    /// When window `number` opened; it must not be the closed one.
    pub const fn opened_at(&self, number: u16) -> Nanos {
        let age = self.number.wrapping_sub(number) as usize;
        let age = if age == 0 || age > REMEMBERED { REMEMBERED } else { age };
        self.opened[(self.number as usize).wrapping_sub(age) % REMEMBERED]
    }

    /// Whether it waits for no more packets.
    pub const fn is_full(&self) -> bool {
        self.waiting >= self.frames
    }

    /// When the closed window opens by itself, where there is one.
    pub const fn due(&self) -> Option<Nanos> {
        if self.waiting == 0 { None } else { Some(self.began.saturating_add(self.time)) }
    }

    /// A governed packet comes at `now`.
    pub fn join(&mut self, now: Nanos) -> Joined {
        if self.waiting == 0 {
            self.began = now;
        }
        self.waiting += 1;
        if self.is_full() {
            Joined::Full
        } else if self.waiting == 1 {
            Joined::Began(now.saturating_add(self.time))
        } else {
            Joined::Waits
        }
    }

    /// A packet of the closed window left or ended by another way.
    pub const fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A packet that left the closed window is back.
    pub const fn come_back(&mut self) {
        self.waiting += 1;
    }

    /// Opens the closed window: it opened at `at`.
    pub const fn open(&mut self, at: Nanos) {
        self.opened[self.number as usize % REMEMBERED] = at;
        self.number = self.number.wrapping_add(1);
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_by_number_or_by_time_and_remembers_when() {
        let mut w = Window::new(3, Nanos(1_000));
        assert_eq!(w.join(Nanos(100)), Joined::Began(Nanos(1_100)));
        assert_eq!(w.join(Nanos(200)), Joined::Waits);
        let first = w.number();
        assert!(w.holds(first));
        assert_eq!(w.join(Nanos(300)), Joined::Full);
        w.open(Nanos(300));
        assert!(!w.holds(first));
        assert_eq!((w.opened_at(first), w.due()), (Nanos(300), None));
        assert_eq!(w.join(Nanos(400)), Joined::Began(Nanos(1_400)));
        assert_eq!(w.due(), Some(Nanos(1_400)));
        assert!(w.holds(w.number()) && !w.holds(first));
        // The only one leaves by another way: the next packet begins anew.
        w.leave();
        assert_eq!(w.due(), None);
        assert_eq!(w.join(Nanos(900)), Joined::Began(Nanos(1_900)));
    }

    #[test]
    fn older_windows_than_it_remembers_count_with_the_oldest() {
        let mut w = Window::new(1, Nanos(1_000));
        for n in 0..70_000u64 {
            assert_eq!(w.join(Nanos(n)), Joined::Full);
            w.open(Nanos(n));
        }
        let next = w.number();
        assert_eq!(w.opened_at(next.wrapping_sub(1)), Nanos(69_999));
        assert_eq!(w.opened_at(next.wrapping_sub(64)), Nanos(69_936));
        assert_eq!(w.opened_at(next.wrapping_sub(65)), Nanos(69_936));
    }
}
