//! A modelled strategy on the inside of a replay: it sees what is delivered, and its orders are one more
//! source of what comes from inside. Only market data are updates.

use std::cell::RefCell;
use std::rc::Rc;

use dataplane::batch::Batch;
use dataplane::mbuf::Mbuf;
use dataplane::port::Tx;
use model::kind::Kind;
use model::time::Nanos;

use super::sink::CaptureTx;
use crate::drill::model::reactive::Strategy;
use crate::world::Frames;

/// A strategy that both its ends share.
pub type Shared = Rc<RefCell<Strategy>>;

/// What the strategy sends.
pub struct Orders(pub Shared);

impl Frames for Orders {
    fn next_at(&self) -> Option<Nanos> {
        self.0.borrow().next_order()
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Nanos {
        self.0.borrow_mut().take_order().map_or(Nanos::ZERO, |(at, frame)| {
            *bytes = frame;
            at
        })
    }
}

/// A port whose packets a strategy may see.
pub struct WatchedTx {
    /// The port.
    pub inner: CaptureTx,
    /// Who sees them.
    pub strategy: Option<Shared>,
}

impl Tx for WatchedTx {
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let Some(strategy) = &self.strategy else { return self.inner.tx_burst(now, from) };
        let is_update = |packet: &Mbuf| packet.meta().kind() == Kind::MarketData;
        let updates: Vec<bool> = from.iter().map(is_update).collect();
        let taken = self.inner.tx_burst(now, from);
        let mut strategy = strategy.borrow_mut();
        updates[..taken].iter().filter(|is_update| **is_update).for_each(|_| strategy.update(now));
        taken
    }

    fn frame_bytes_max(&self) -> u32 {
        self.inner.frame_bytes_max()
    }

    fn multi_segs(&self) -> bool {
        self.inner.multi_segs()
    }
}
