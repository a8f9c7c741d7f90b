//! What the pool and the devices say of themselves.

use model::time::Nanos;

use crate::alarms::Alarms;
use crate::registry::Registry;

/// Buffers of the pool that all ports share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFacts {
    /// All of them.
    pub buffers: u64,
    /// Those that nobody uses: in the pool, or in the cache of a core.
    pub free: u64,
    /// `[dpdk] pool_reserve`.
    pub reserve: u64,
}

/// Looked at once per tick; never waits.
pub trait Devices: Send {
    /// The pool, now.
    fn pool(&self) -> PoolFacts;

    /// Each port of the config, as it was last looked at.
    fn ports(&self) -> Vec<PortState>;
}

/// What is known of the device of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortState {
    /// What its driver counted.
    pub stats: DeviceStats,
    /// Its link.
    pub link: LinkState,
    /// How often the link came up, the start included.
    pub link_ups: u64,
}

/// The link of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Somebody is at the other end.
    Up,
    /// Nobody is: no carrier, or no peer.
    #[default]
    Down,
    /// The device itself has gone, for good.
    Removed,
}

impl LinkState {
    /// Its name on every surface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Removed => "removed",
        }
    }
}

pub use dataplane::port::spec::DeviceStats;

/// The last look, and what follows from it.
pub(crate) struct Watched {
    devices: Box<dyn Devices>,
    names: Vec<String>,
    pool: PoolFacts,
    ports: Vec<PortState>,
}

impl Watched {
    /// `names` of the ports in the order of the config.
    pub(crate) fn new(devices: Box<dyn Devices>, names: Vec<String>) -> Self {
        let (pool, ports) = (devices.pool(), devices.ports());
        Self { devices, names, pool, ports }
    }

    /// Looks again, and raises an alarm where a driver found no buffer since, or a device has gone.
    pub(crate) fn look(&mut self, alarms: &mut Alarms, now: Nanos) {
        self.pool = self.devices.pool();
        let before = std::mem::replace(&mut self.ports, self.devices.ports());
        for ((name, before), after) in self.names.iter().zip(before).zip(&self.ports) {
            let times = after.stats.no_buffer.saturating_sub(before.stats.no_buffer);
            if times > 0 {
                alarms.on_no_buffer(name, times, now);
            }
            if after.link == LinkState::Removed && before.link != LinkState::Removed {
                alarms.on_removed(name, now);
            }
        }
    }

    /// The link of the port at this place of the config.
    pub(crate) fn link(&self, port: usize) -> Option<LinkState> {
        self.ports.get(port).map(|port| port.link)
    }

    pub(crate) const fn pool_free(&self) -> u64 {
        self.pool.free
    }

    pub(crate) fn publish(&self, r: &mut Registry) {
        r.gauge("pool_buffers", "Buffers of the pool.", &[], self.pool.buffers);
        let help = "Buffers that are in the pool or in the cache of a core.";
        r.gauge("pool_free", help, &[], self.pool.free);
        let help =
            "Buffers that are kept for packets that may not be lost, half of them for exempt ones.";
        r.gauge("pool_reserve", help, &[], self.pool.reserve);
        for (name, port) in self.names.iter().zip(&self.ports) {
            let (labels, stats) = ([("port", name.as_str())], port.stats);
            let up = u64::from(port.link == LinkState::Up);
            r.gauge("link_up", "1 when the port's link is up.", &labels, up);
            let help = "Times that the port's link came up, the start included.";
            r.counter("link_ups", help, &labels, port.link_ups);
            let removed = u64::from(port.link == LinkState::Removed);
            r.gauge("device_removed", "1 when the port's device has gone.", &labels, removed);
            let help = "Packets that the device received.";
            r.counter("device_packets_in", help, &labels, stats.packets_in);
            let help = "Packets that the device sent.";
            r.counter("device_packets_out", help, &labels, stats.packets_out);
            let help = "Packets that arrived when no descriptor was free.";
            r.counter("device_missed", help, &labels, stats.missed);
            let help = "Packets that arrived damaged.";
            r.counter("device_receive_errors", help, &labels, stats.receive_errors);
            let help = "Packets that the driver took and did not send.";
            r.counter("device_send_errors", help, &labels, stats.send_errors);
            let help = "Times that the driver found no buffer for a packet that arrived.";
            r.counter("device_no_buffer", help, &labels, stats.no_buffer);
        }
    }
}
