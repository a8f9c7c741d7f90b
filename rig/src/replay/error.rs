//! Why a replay failed.

use control::timeline::TimelineError;
use dataplane::clock::ClockError;
use dataplane::eal::EalError;
use dataplane::locks::LockError;
use dataplane::pool::PoolError;
use dataplane::port::device::DeviceError;
use dataplane::port::spec::PortError;
use dataplane::port::thread::StillOpen;
use dataplane::thread::DataCoreError;

use crate::capture::{CaptureError, ConvertError, WriteError};
use crate::world::WorldError;

/// Why a replay failed. Frames that are wrong are no failure: they end under a name.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The config has no pair, or a port of it is no capture.
    #[error("{0}")]
    Config(String),
    /// The capture cannot be read at all.
    #[error(transparent)]
    Read(#[from] CaptureError),
    /// The capture cannot be made readable for net_pcap.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The timeline cannot be written.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// A frame that net_pcap would cut without a word.
    #[error(
        "{}: a frame of {longest} bytes; net_pcap takes at most {allowed}, without it any frame can \
         be read",
        path.display()
    )]
    TooLongForPmd {
        /// The capture.
        path: std::path::PathBuf,
        /// Bytes of its longest frame.
        longest: u32,
        /// Bytes that net_pcap takes.
        allowed: u16,
    },
    /// A directory for the converted capture.
    #[error("a temporary directory: {0}")]
    Temporary(std::io::Error),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// No packet buffers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// What is between source and sink.
    #[error(transparent)]
    World(#[from] WorldError),
    /// No lcore.
    #[error(transparent)]
    DataCore(#[from] DataCoreError),
    /// No clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// No lock directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The converted capture's path cannot stand in devargs.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The net_pcap port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The port thread did not start.
    #[error("the port thread: {0}")]
    PortThread(std::io::Error),
    /// The net_pcap port did not close.
    #[error(transparent)]
    StillOpen(#[from] StillOpen),
}
