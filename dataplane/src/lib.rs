//! Everything that happens per packet, on ports.

pub mod clock;
pub mod state_dir;
pub mod stop_page;
