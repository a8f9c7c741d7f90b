//! What stands at the far end of a port: a host of strategies, a venue.

use model::time::Nanos;

use super::wire::Wire;

/// Sends frames into the gateway and gets what the gateway delivers. Time is gateway time.
pub trait Peer {
    /// When it sends something next by itself, `None` = never again.
    fn next_event(&self) -> Option<Nanos>;

    /// Sends what is due by `now`.
    fn act(&mut self, now: Nanos, to_gateway: &Wire);

    /// A frame whose last bit came at `at`. It may make something due.
    fn receive(&mut self, _at: Nanos, _frame: &[u8]) {}

    /// The same of a frame that came by the second path.
    fn receive_by_second(&mut self, at: Nanos, frame: &[u8]) {
        self.receive(at, frame);
    }

    /// What it has counted, by name, for expectations.
    fn facts(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// Sends nothing and takes everything.
pub struct Silent;

impl Peer for Silent {
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    fn act(&mut self, _: Nanos, _: &Wire) {}
}
