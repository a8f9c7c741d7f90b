//! The contract of a workload, and the gateway's config that keeps it. The same classes are what KPIs are
//! counted by in every arm.

use std::fmt::Write;

use model::config::Config as GatewayConfig;
use model::meta::wire_len;
use model::time::Nanos;

use super::config::{Driver, Terms};
use super::net::{GATEWAY_INSIDE, GATEWAY_VENUE};
use super::result::Contract;
use super::schedule::{Schedule, Transport};
use super::series::GAP_MAX;

/// Destination port of the venue's flow 0; flow n has this plus n.
pub const ORDER_PORT: u16 = 7000;
/// Port of market data, on both hosts.
pub const FEED_PORT: u16 = 9000;
/// Flow of the orders of a workload; others carry bulk.
pub const ORDER_FLOW: u16 = 0;
/// Ethernet and IPv4.
const FRAME_HEADERS: u32 = 14 + 20;
/// TCP with time stamps.
const TCP_HEADER: u32 = 32;
const UDP_HEADER: u32 = 8;
/// The largest frame.
const FRAME_MAX: u32 = 1514;
/// The gateway ends by itself where nobody ends it.
pub const GATEWAY_TIME_MAX: &str = "10min";

/// Frame bytes of a message that travels alone.
pub const fn frame_len(transport: Transport, bytes: u32) -> u32 {
    FRAME_HEADERS + bytes + header_len(transport)
}

/// Bytes of the header in front of the payload.
pub const fn header_len(transport: Transport) -> u32 {
    match transport {
        Transport::Tcp => TCP_HEADER,
        Transport::Udp => UDP_HEADER,
    }
}

/// Wire bytes of a message, cut into frames where it is too large for one.
fn wire_bytes(transport: Transport, bytes: u32) -> u64 {
    let headers = frame_len(transport, 0);
    let room = FRAME_MAX - headers;
    let (full, rest) = (bytes / room, bytes % room);
    let last = if rest > 0 || full == 0 { u64::from(wire_len(headers + rest)) } else { 0 };
    u64::from(full) * u64::from(wire_len(FRAME_MAX)) + last
}

/// What every arm promises for the orders of `schedule`, which are handed over in `length`.
pub fn of(terms: &Terms, schedule: &Schedule, length: Nanos) -> Contract {
    let orders = || schedule.orders();
    let offered: u64 = orders().map(|m| wire_bytes(m.transport, m.bytes)).sum();
    let largest = orders().map(|m| wire_bytes(m.transport, m.bytes)).max().unwrap_or_default();
    let per_s = offered as f64 * 8e9 / length.0.max(1) as f64;
    let is_tcp = schedule.is_tcp();
    // A stream may leave in full frames, and a burst has to hold one.
    let frame = if is_tcp { u64::from(wire_len(FRAME_MAX)) } else { largest };
    let messages = orders().count() as f64 * 1e9 / length.0.max(1) as f64;
    let messages_per_s = (messages * (1.0 + terms.rate_margin)).ceil() as u64;
    Contract {
        rate_bits_per_s: (per_s * (1.0 + terms.rate_margin)).ceil() as u64,
        messages_per_s,
        burst_bytes: (largest * u64::from(terms.burst_messages)).max(frame),
        max_delay_ns: terms.max_delay.0,
        latency_budget_ns: terms.latency_budget.0,
        link_bits_per_s: terms.link,
        gap_error_p99_ns: gap_error_p99(schedule, messages_per_s),
    }
}

/// The p99 of gap error of orders that leave at `messages_per_s` to the ns, as soon as they are handed over. The
/// rate lies above what is offered, so a batch is over early and the next one begins with a gap that is longer by
/// as much: who paces by the rate, and knows nothing of when messages are due, has about this.
fn gap_error_p99(schedule: &Schedule, messages_per_s: u64) -> Option<u64> {
    let period = 1_000_000_000 / messages_per_s.max(1);
    let mut next = Nanos::ZERO;
    let left = schedule.orders().map(|order| {
        let departure = order.handed.max(next);
        next = departure.saturating_add(Nanos(period));
        order.after.is_none().then_some((order.due, departure))
    });
    let left: Vec<(Nanos, Nanos)> = left.collect::<Option<_>>()?;
    let gap = |earlier: Nanos, later: Nanos| later.saturating_sub(earlier);
    let error = |two: &[(Nanos, Nanos)]| {
        let due = gap(two[0].0, two[1].0);
        (due <= GAP_MAX).then_some(gap(two[0].1, two[1].1).0.abs_diff(due.0))
    };
    let mut errors: Vec<u64> = left.windows(2).filter_map(error).collect();
    errors.sort_unstable();
    errors.get((errors.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

/// How the gateway is to run.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// The contract.
    pub contract: &'a Contract,
    /// It is kept; else the gateway forwards only.
    pub paces: bool,
    /// What it meets its interfaces by.
    pub driver: Driver,
    /// For its control thread.
    pub control_cpu: usize,
    /// For its data core.
    pub data_cpu: usize,
}

/// The period of the orders of `schedule`, where they have one: none but whole periods lie between two.
fn cadence(schedule: &Schedule) -> Option<Nanos> {
    let due = || schedule.orders().filter(|m| m.after.is_none()).map(|m| m.due.0);
    let gaps = || due().zip(due().skip(1)).map(|(first, second)| second.saturating_sub(first));
    let period = gaps().next().filter(|period| *period > 0)?;
    gaps().all(|gap| gap > 0 && gap.is_multiple_of(period)).then_some(Nanos(period))
}

/// The config of the gateway for `schedule`.
pub fn gateway_toml(schedule: &Schedule, gateway: Gateway<'_>) -> String {
    let Gateway { contract, paces, driver, control_cpu, data_cpu } = gateway;
    let device = |number: u8, interface: &str| match driver {
        Driver::AfXdp => format!("net_af_xdp{number},iface={interface}"),
        // The default is 512 frames: less than 10 ms of orders and market data.
        Driver::AfPacket => format!("net_af_packet{number},iface={interface},framecnt=4096"),
    };
    let (inside, venue) = (device(0, GATEWAY_INSIDE), device(1, GATEWAY_VENUE));
    let is_tcp = schedule.is_tcp();
    let mut orders = if is_tcp {
        // A stream may carry anything.
        "kind = \"mixed\"\nhalt_mixed = \"block\"\ncancel_on_disconnect = true\n".to_owned()
    } else {
        "kind = \"order\"\n".to_owned()
    };
    if let Some(period) = cadence(schedule) {
        let _ = writeln!(orders, "cadence = \"{}ns\"", period.0);
    }
    let _ = writeln!(orders, "max_hold = \"{}ns\"", contract.max_delay_ns);
    if paces {
        // A bucket of bits holds a largest frame at least, so several small messages. One of messages lets
        // them go one by one, which is less than the contract's burst; a tenth of one more, so that a
        // departure that is late costs no rate (the kernel's buckets are tried with as much).
        let (rate, messages) = (contract.rate_bits_per_s, contract.messages_per_s);
        let _ = writeln!(orders, "rate = \"{rate}bit/s\"\nmessages = \"{messages}/s\"");
        let _ = writeln!(orders, "message_burst = 1.1\nmessages_per_segment = 1");
    }
    let protocol = if is_tcp { "tcp" } else { "udp" };
    format!(
        r#"# Written by `wirepace ab` for the workload {workload}.
[gateway]
name = "ab"
clock = "tsc"
start_state = "running"
control_cpu = {control_cpu}
flows_max = 4096
core_stall = "20s"            # a busy machine makes a block void, and is no fault of the gateway

[dpdk]
hugepages = "never"

[control]
http = "off"

[[port]]
name = "strategy"
side = "inside"
device = "{inside}"

[[port]]
name = "venue"
side = "venue"
device = "{venue}"

[[pair]]
inside = "strategy"
venue = "venue"
core = {data_cpu}

[default_class]
inside = "bulk"
venue = "back"

[[class]]
name = "orders"
priority = 0
queue_packets = 8192
queue_bytes = "16MiB"
{orders}
[[class]]
name = "bulk"
priority = 1
queue_packets = 8192
queue_bytes = "16MiB"

[[class]]
name = "feed"
from = "venue"
kind = "market_data"

[[class]]
name = "back"
from = "venue"

[[rule]]
class = "orders"
protocol = "{protocol}"
dst_port = {ORDER_PORT}

[[rule]]
class = "feed"
protocol = "udp"
src_port = {FEED_PORT}
"#,
        workload = schedule.workload,
    )
}

/// The same, read: its classes are what KPIs are counted by.
///
/// # Errors
/// The config is refused, which is a mistake here.
pub fn classes(schedule: &Schedule, contract: &Contract) -> Result<GatewayConfig, String> {
    let gateway =
        Gateway { contract, paces: true, driver: Driver::AfPacket, control_cpu: 0, data_cpu: 1 };
    let text = gateway_toml(schedule, gateway);
    GatewayConfig::from_toml("gateway.toml", &text)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::workload::Workload;

    const TERMS: Terms = Terms {
        rate_margin: 0.001,
        burst_messages: 2,
        max_delay: Nanos::from_millis(20),
        latency_budget: Nanos::from_micros(100),
        link: 10_000_000_000,
    };

    /// 214 bytes are a frame of 256 and 280 on the wire, 10,000 each second.
    #[test]
    fn the_contract_of_steady_orders_by_hand() {
        let length = Nanos::from_secs(1);
        let schedule = Workload::SteadyOrders.schedule(1, length);
        let contract = of(&TERMS, &schedule, length);
        assert_eq!((contract.rate_bits_per_s, contract.messages_per_s), (22_422_400, 10_010));
        assert_eq!((contract.burst_bytes, contract.max_delay_ns), (560, 20_000_000));
        let tcp = Workload::TcpSmallWrites.schedule(1, length);
        assert_eq!(of(&TERMS, &tcp, length).burst_bytes, 1_538, "a full frame fits");
    }

    /// At 1 % above what is offered 64 messages are over 100 us early, one gap in 64 bears that, and p99 shows it;
    /// ten of a ms 10 us. What is handed over when it is due leaves then.
    #[test]
    fn what_the_margin_of_the_rate_does_to_gaps() {
        let terms = Terms { rate_margin: 0.01, ..TERMS };
        let length = Nanos::from_millis(500);
        let least =
            |workload: Workload| of(&terms, &workload.schedule(1, length), length).gap_error_p99_ns;
        let near =
            |found: Option<u64>, ns: u64| found.is_some_and(|found| found.abs_diff(ns) < ns / 50);
        assert!(near(least(Workload::BurstyOrders), 97_500), "63 gaps of 1.547 us");
        assert!(near(least(Workload::SteadyOrders), 8_910), "9 gaps of 0.99 us");
        assert_eq!(least(Workload::TcpSmallWrites), Some(0));
        assert_eq!(least(Workload::MarketDataFanIn), None);
    }

    #[test]
    fn a_large_write_is_full_frames_and_a_rest() {
        // 1,448 bytes of payload in each.
        assert_eq!(wire_bytes(Transport::Tcp, 1_448), 1_538);
        assert_eq!(wire_bytes(Transport::Tcp, 2 * 1_448), 2 * 1_538);
        assert_eq!(wire_bytes(Transport::Tcp, 1_449), 1_538 + 66 + 1 + 24);
        assert_eq!(wire_bytes(Transport::Udp, 8), 84, "padded");
    }

    #[test]
    fn the_gateway_takes_the_config_of_every_workload() {
        for workload in Workload::ALL {
            let schedule = workload.schedule(1, Nanos::from_millis(100));
            let contract = of(&TERMS, &schedule, Nanos::from_millis(100));
            let config = classes(&schedule, &contract);
            let config = config.unwrap_or_else(|why| panic!("{}: {why}", workload.name()));
            let names: Vec<_> = config.classes.iter().map(|class| class.name.as_str()).collect();
            assert_eq!(names[..4], ["orders", "bulk", "feed", "back"]);
            let cadence = config.classes[0].cadence.map(|cadence| cadence.0);
            let wanted = match workload {
                Workload::SteadyOrders | Workload::TcpSmallWrites => Some(100_000),
                Workload::BurstyOrders => Some(156_250),
                Workload::TcpBulkAndOrders | Workload::AckCompressed => Some(100_000),
                Workload::MarketDataFanIn => None,
            };
            assert_eq!(cadence, wanted, "{}", workload.name());
        }
    }
}
