//! A port of DPDK: added, configured, started; then its RX queues and one TX queue, none of which can
//! be aliased.
//!
//! `PortBuilder` -> `Port` (configured) -> [`Started`]. All three live on the port thread
//! ([`super::thread`]), which alone adds, stops and closes devices. Only the queues leave it.
//!
//! Why a port cannot be stopped under a poller: `rte_eth_dev_stop` of 22.11 replaces the burst
//! functions by a plain struct assignment, so a burst at that moment could pair an old function with
//! a new queue. All queues hold the same guard; when the last of them is dropped, wherever that is,
//! the guard tells the port thread, and only then the port thread stops and closes the device.
#![allow(unsafe_code)]

mod added;
mod builder;
mod clocks;
mod interface;
mod limits;
mod queues;
mod started;
mod steering;

use std::ffi::CString;

pub(crate) use builder::PortBuilder;
pub use queues::{RxQueue, TxQueue};
pub(crate) use started::Started;

pub use super::spec::{
    ClockSource, DeviceStats, LaunchState, LaunchTime, Link, PortError, PortFacts, PortSpec,
    QueueSpec, Reception,
};
use crate::eal::Errno;

/// A function's failure as an error of this port.
fn failed(spec: &PortSpec, operation: &'static str) -> impl Fn(Errno) -> PortError + use<> {
    let (port, device) = (spec.name.clone(), spec.device.to_string());
    move |source| PortError::Dpdk { port: port.clone(), device: device.clone(), operation, source }
}

/// A string without NUL bytes (`DeviceSpec::parse` refuses them) for C.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// DPDK's number of the port of a device.
fn port_id(device: &str) -> Result<u16, Errno> {
    let name = c_string(device);
    let mut id = 0;
    // SAFETY: the name lives through the call, `id` is written on success.
    Errno::check(unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) })?;
    Ok(id)
}
