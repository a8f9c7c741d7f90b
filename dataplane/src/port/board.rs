//! Where the port thread leaves what it saw, for control. No data core looks at it.

use std::sync::{Mutex, PoisonError};

/// The last report of a kind.
#[derive(Debug, Default)]
pub struct Board<T>(Mutex<T>);

impl<T: Copy> Board<T> {
    /// The last report.
    pub fn report(&self) -> T {
        // A report is written whole, so one that a panic left behind is as good as any.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces it.
    pub(crate) fn put(&self, report: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}
