//! The config of the tests.

use std::fmt::Write;

use crate::gateway::cpus;

/// The exporter's port. Every test has a network namespace of its own.
pub const HTTP_PORT: u16 = 9477;
/// Cap of the class `out`.
pub const OUT_BPS: f64 = 50e6;
/// Cap of the class `burst`: UDP to [`BURST_PORT`].
pub const BURST_BPS: f64 = 8e6;
/// Burst of the class `burst`, packets of up to 1,538 wire bytes.
pub const BURST_PACKETS: u64 = 4;
/// What the class `burst` is matched by.
pub const BURST_PORT: u16 = 7000;
/// Burst of the class `out`, bytes.
pub const OUT_BURST_BYTES: u64 = 16 << 10;

/// A DPDK driver for interfaces of the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Driver {
    /// Packet sockets.
    AfPacket,
    /// XDP sockets.
    AfXdp,
}

/// A gateway between `inside` and `venue`, two devices.
pub fn between(name: &str, inside: &str, venue: &str) -> String {
    let (control_cpu, core) = cpus();
    format!(
        r#"
[gateway]
name = "{name}"
clock = "tsc"
start_state = "running"
control_cpu = {control_cpu}
flows_max = 4096
core_stall = "20s"            # a busy machine is no fault

[dpdk]
hugepages = "never"

[control]
http = "127.0.0.1:{HTTP_PORT}"
lease = "2s"

[[port]]
name = "strategies"
side = "inside"
device = "{inside}"

[[port]]
name = "venue-a"
side = "venue"
device = "{venue}"
rate = "100M"
burst = "16KiB"

[[pair]]
inside = "strategies"
venue = "venue-a"
core = {core}

[default_class]
inside = "out"
venue = "back"

[[class]]
name = "out"
rate = "50M"
burst = "16KiB"
queue_packets = 8192
queue_bytes = "16MiB"

[[class]]
name = "burst"
rate = "8M"
burst = "4 packets"

[[class]]
name = "back"
from = "venue"

[[rule]]
class = "burst"
protocol = "udp"
dst_port = {BURST_PORT}

[[profile]]
name = "smooth"

[[profile.class]]
name = "out"
rate = "5M"
burst = "1 packets"

[[profile.class]]
name = "burst"
rate = "2M"
"#
    )
}

/// A gateway of that name on the interfaces of [`crate::net`].
pub fn on_veth(name: &str, driver: Driver) -> String {
    let device = |number: u8, interface: &str| match driver {
        // The default is 512 frames: too few for what the other programs of a busy machine take.
        Driver::AfPacket => format!("net_af_packet{number},iface={interface},framecnt=8192"),
        Driver::AfXdp => format!("net_af_xdp{number},iface={interface}"),
    };
    between(name, &device(0, "gw-in"), &device(1, "gw-out"))
}

/// The same without an exporter.
pub fn without_http(config: &str) -> String {
    config.replace(&format!("\"127.0.0.1:{HTTP_PORT}\""), "\"off\"")
}

/// Appends `lines` to the table `[table]`.
pub fn with(config: &str, table: &str, lines: &str) -> String {
    let head = format!("[{table}]\n");
    let mut entry = head.clone();
    writeln!(entry, "{lines}").expect("memory takes everything");
    assert!(config.contains(&head), "{table}");
    config.replacen(&head, &entry, 1)
}
