//! How long one waits for another thread, counted only while one is there to wait oneself.
//!
//! A process that is stopped, or a machine that is, stops both threads. By a deadline on a clock the one
//! that waits would wake up and find it missed, though the other had no time at all.

use std::time::Duration;

/// What one waits at a time.
const STEP: Duration = Duration::from_millis(1);

/// What is left of it.
#[derive(Debug)]
pub struct Patience {
    steps: u128,
}

impl Patience {
    /// For so long, in steps of 1 ms.
    pub fn new(wait: Duration) -> Self {
        Self { steps: wait.as_millis() }
    }

    /// Waits a step; `false`, and at once, when there is none left.
    pub fn wait(&mut self) -> bool {
        let Some(left) = self.steps.checked_sub(1) else { return false };
        self.steps = left;
        std::thread::sleep(STEP);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_not_the_time_that_they_take() {
        let mut patience = Patience::new(Duration::from_millis(3));
        // As long as the process may have been stopped.
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!([(); 5].map(|()| patience.wait()), [true, true, true, false, false]);
    }
}
