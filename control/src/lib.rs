//! Everything that happens per interval: the control thread and what it serves.
//!
//! In the order of use: [`controller::Settings`] from the config, a [`controller::Core`] around the
//! control half of each worker's channel, [`controller::Controller::new`], [`server::Server::bind`],
//! [`server::Server::spawn`]. `replay` calls [`controller::Controller::tick`] itself, in virtual time.
//! The command line asks a running gateway by [`client::request`].

pub mod access;
pub mod advice;
mod alarms;
pub mod bundle;
pub mod client;
mod confine;
pub mod controller;
pub mod cpu_times;
pub mod devices;
pub mod exporter;
mod http;
pub mod kpis;
pub mod live_config;
mod log_limit;
mod peer;
mod places;
mod queue_steps;
pub mod recent_log;
pub mod regimes;
pub mod registry;
pub mod request;
pub mod server;
mod socket;
mod stalls;
pub mod stop_words;
mod switch;
pub mod telemetry;
pub mod timeline;
pub mod watch;
pub mod windows;

pub use http::HttpBindError;
pub use socket::{IDLE_TIME_MAX, LINE_BYTES_MAX, READER_LINE_BYTES_MAX, SocketBindError};
