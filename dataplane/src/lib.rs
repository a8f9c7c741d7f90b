//! Everything that happens per packet, on ports.
//!
//! Order of use: spawn [`port::thread::PortThread`], drop capabilities
//! ([`port::privileges::drop_capabilities`]), start [`eal::Eal`], make the one [`pool::Pool`], open
//! ports, and on each data core enter [`thread::DataCore`] before touching a packet. Then read
//! [`worker`], the loop; a module uses only modules that stand above it in the list of its stages:
//! [`port`], [`classify`], [`segment`], the pacer (in `model`), [`lane`], [`worker`].

pub mod acl;
pub mod advice_page;
pub mod assemble;
pub mod batch;
pub mod bpf;
pub mod channel;
pub mod classify;
pub mod clock;
pub mod eal;
pub mod flow_cache;
pub mod flow_hash;
pub mod flow_table;
pub mod hand_over;
pub mod intent;
mod interface_claim;
pub mod lane;
pub mod large_pages;
pub mod locks;
pub mod mbuf;
pub mod paths;
pub mod patience;
pub mod placement;
pub mod pool;
pub mod port;
pub mod rx_worker;
pub mod sampler;
pub mod segment;
pub mod shared_file;
pub mod state_dir;
pub mod stop_page;
pub mod survey;
pub mod tap;
pub mod telemetry;
pub mod thread;
pub mod turns;
pub mod unmapping;
pub mod worker;
