//! The pool and the ports as control sees them.

use control::devices::{Devices, LinkState, PoolFacts, PortState};
use dataplane::pool::Pool;
use dataplane::port::thread::PortHandle;

/// See the module.
pub struct LiveDevices {
    /// The pool of all ports.
    pub pool: Pool,
    /// `[dpdk] pool_reserve`.
    pub reserve: u32,
    /// In the order of the config.
    pub ports: Vec<PortHandle>,
}

impl Devices for LiveDevices {
    fn pool(&self) -> PoolFacts {
        PoolFacts {
            buffers: u64::from(self.pool.mbufs()),
            free: u64::from(self.pool.free()),
            reserve: u64::from(self.reserve),
        }
    }

    fn ports(&self) -> Vec<PortState> {
        let state = |port: &PortHandle| {
            let link = port.link();
            let state = match (link.is_removed(), link.is_up()) {
                (true, _) => LinkState::Removed,
                (false, true) => LinkState::Up,
                (false, false) => LinkState::Down,
            };
            PortState { stats: port.last_stats(), link: state, link_ups: link.ups() }
        };
        self.ports.iter().map(state).collect()
    }
}
