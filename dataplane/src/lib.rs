//! Everything that happens per packet, on ports.
//!
//! Order of use: spawn [`port::thread::PortThread`], drop capabilities
//! ([`port::thread::drop_capabilities`]), start [`eal::Eal`], make the one [`pool::Pool`], open
//! ports, and on each data core enter [`thread::DataCore`] before touching a packet.

pub mod batch;
pub mod eal;
pub mod flow_hash;
pub mod locks;
pub mod mbuf;
pub mod pool;
pub mod port;
pub mod thread;
