//! The queues that are compared: nodes `0..n`, each with a deadline or none.

mod carousel;
mod hashed_wheel;
mod rte_sched;
mod sorted;
mod wheel;

pub use carousel::Carousel;
pub use hashed_wheel::{CancellableHashedWheel, HashedWheel};
pub use rte_sched::{DOES as RTE_SCHED_DOES, Dpdk, RteSched};
pub use sorted::{Heap, LazyHeap, RekeyedTree, Tree};
pub use wheel::Wheel;

/// Width of a slot where a queue has slots, ns: the default of the product.
pub const SLOT_NS: u64 = 1024;

/// A queue of deadlines in ns. [`DeadlineQueue::poll`] lets time pass, then
/// [`DeadlineQueue::pop`] gives what is due at the same `now`.
pub trait DeadlineQueue {
    /// A queue for nodes `0..nodes` whose time starts at 0.
    fn new(nodes: u32) -> Self;
    /// Puts a node that is not in it in.
    fn schedule(&mut self, node: u32, at: u64);
    /// Gives a node that is in it another deadline.
    fn reschedule(&mut self, node: u32, at: u64);
    /// Lets time pass.
    fn poll(&mut self, now: u64);
    /// The next node that is due at `now`.
    fn pop(&mut self, now: u64) -> Option<u32>;
}
