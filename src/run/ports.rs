//! The ports of a run: opened, wrapped in what the config wants around their queues, and told about.

use std::error::Error;

use dataplane::assemble;
use dataplane::clock::{Clock, TscModel};
use dataplane::pool::Pool;
use dataplane::port::bench::BenchRx;
use dataplane::port::device::DeviceSpec;
use dataplane::port::dpdk::{LaunchState, PortFacts, PortSpec, QueueSpec, RxQueue, TxQueue};
use dataplane::port::faults::{FaultRx, FaultTx, Faults};
use dataplane::port::hold::HoldRx;
use dataplane::port::live::{LiveRx, LiveTx};
use dataplane::port::thread::{PortHandle, PortThread};
use model::config::{
    Arrangement, Config, Pair, Port, PortIntent, RxQueue as QueueUse, SHIM_BYTES_MAX,
};
use model::time::Nanos;

/// Header of a frame, which an MTU does not count.
const ETHERNET_BYTES: u32 = 14;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An open port whose queues wait for their core.
pub(super) struct OpenPort {
    /// Its queues, in the order of their index.
    pub(super) rx: Vec<LiveRx>,
    /// The queue that a lane sends on, until it has it.
    pub(super) tx: Option<LiveTx>,
}

/// Opens the ports of the config, in its order.
///
/// # Errors
/// A device does not open, or lacks what the config demands.
pub(super) fn open_ports(
    config: &Config,
    ports: &PortThread,
    pool: &Pool,
    model: TscModel,
) -> Result<(Vec<PortHandle>, Vec<OpenPort>)> {
    let mut handles = Vec::new();
    let mut open = Vec::new();
    for (index, port) in config.ports.iter().enumerate() {
        let cuts_frames = assemble::cuts_frames(config, index);
        let spec = PortSpec { cuts_frames, ..PortSpec::try_from(port)? };
        let (handle, queues, tx) = ports.open_queues(spec, QueueSpec::from(port), pool)?;
        let facts = handle.facts();
        tracing::info!(
            "port {}: {} ({}), {}, MTU {}",
            facts.name,
            facts.device,
            facts.driver_name,
            facts.reception.name(),
            facts.mtu
        );
        refuse_shims_without_room(port, facts.mtu)?;
        let pipeline = config.pairs.iter().any(|pair| {
            pair.arrangement == Arrangement::Pipeline && [pair.inside, pair.venue].contains(&index)
        });
        say_what_the_nic_does(port, facts, pipeline);
        let rx = port.queues.iter().zip(queues).enumerate();
        let rx = rx.map(|(n, (of, queue))| source(config, port, (n, of), queue, pool, model));
        open.push(OpenPort { rx: rx.collect(), tx: Some(with_tx_faults(port, tx)) });
        handles.push(handle);
    }
    Ok((handles, open))
}

/// How the clock of the core that paces `pair` is stepped, if it is.
pub(super) fn clock_steps(config: &Config, pair: &Pair) -> Option<Faults> {
    [pair.inside, pair.venue]
        .into_iter()
        .filter_map(|port| config.ports[port].faults.as_ref())
        .find(|faults| faults.clock_step_every > Nanos::ZERO)
        .map(Faults::from)
}

/// A queue as it is read: number `n` of its port, used as `of` says.
fn source(
    config: &Config,
    port: &Port,
    (n, of): (usize, &QueueUse),
    rx: RxQueue,
    pool: &Pool,
    model: TscModel,
) -> LiveRx {
    let mut rx = match port.bench {
        None => LiveRx::Queue(rx),
        Some(mix) => LiveRx::Bench(BenchRx::new(rx, mix, config.gateway.seed, Clock::new(model))),
    };
    if let Some(faults) = port.faults.as_ref().map(Faults::from) {
        tracing::warn!("port {}: faults are on: {faults:?}", port.name);
        // Each queue draws its own luck.
        let faults = Faults { seed: faults.seed.wrapping_add(n as u64), ..faults };
        let burst = usize::from(port.rx_burst);
        rx = LiveRx::Faults(Box::new(FaultRx::new(rx, pool.clone(), burst, &faults)));
    }
    if of.hold_frames > 1 {
        rx = LiveRx::Held(Box::new(HoldRx::new(rx, of.hold_frames, of.hold_time)));
    }
    rx
}

/// The queue that a lane sends on.
fn with_tx_faults(port: &Port, tx: TxQueue) -> LiveTx {
    match port.faults.as_ref().map(Faults::from) {
        Some(faults) => LiveTx::Faults(Box::new(FaultTx::new(tx, &faults))),
        None => LiveTx::Queue(tx),
    }
}

/// What was wished of the NIC and is not to be had, and which clock stamps arrivals.
fn say_what_the_nic_does(port: &Port, facts: &PortFacts, pipeline: bool) {
    let (name, driver) = (&facts.name, &facts.driver_name);
    if facts.launch_time == LaunchState::Missing {
        tracing::warn!(
            "port {name}: launch times are off: the driver {driver} cannot send at a given time, so \
             packets leave when the pacer hands them over"
        );
    }
    if port.timesync && !facts.timesync {
        tracing::warn!("port {name}: the driver {driver} stamps no departures: they are the TSC's");
    }
    if let Some(clock) = facts.packet_clock {
        if pipeline {
            tracing::warn!(
                "port {name}: its device could stamp arrivals, but in a pipeline the core that \
                 receives does"
            );
            return;
        }
        tracing::info!(
            "port {name}: arrivals are stamped by the device's clock ({})",
            clock.name()
        );
    }
}

/// A shim makes a frame from inside longer than what goes on: an interface of the kernel cuts off, or
/// never sees, what its MTU has no room for.
fn refuse_shims_without_room(port: &Port, mtu: u16) -> Result<()> {
    let of_kernel = DeviceSpec::try_from(&port.device)?.kernel_interface().is_some();
    let wanted = u32::from(port.frame_bytes_max) + SHIM_BYTES_MAX - ETHERNET_BYTES;
    if port.intent == PortIntent::Off || !of_kernel || u32::from(mtu) >= wanted {
        return Ok(());
    }
    let (name, frame) = (&port.name, port.frame_bytes_max);
    Err(format!(
        "port {name}: an MTU of {mtu} has no room for intent shims beside frames of {frame} bytes: raise \
         it to {wanted}, or lower frame_max"
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_needs_64_bytes_of_mtu_on_an_interface_of_the_kernel() {
        let text = include_str!("../../configs/gateway.toml");
        let shim = text.replacen("intent = \"off\"", "intent = \"shim\"", 1);
        let port = |text: &str| Config::from_toml("f", text).unwrap().ports[0].clone();
        // 1514 bytes with their header of 14, and 64 more.
        assert!(refuse_shims_without_room(&port(&shim), 1564).is_ok());
        let error = refuse_shims_without_room(&port(&shim), 1563).unwrap_err().to_string();
        assert!(error.contains("raise it to 1564"), "{error}");
        assert!(refuse_shims_without_room(&port(text), 1500).is_ok());
        let null = shim.replace("net_af_xdp0,iface=gw-in", "net_null0");
        assert!(refuse_shims_without_room(&port(&null), 1500).is_ok());
    }
}
