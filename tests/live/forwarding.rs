//! UDP and TCP through the gateway, both ways.

use std::time::Duration;

use serde_json::Value;

use crate::capture::{Capture, densest, paced_span_s, span_s};
use crate::config::{
    BURST_BPS, BURST_PACKETS, BURST_PORT, Driver, OUT_BPS, OUT_BURST_BYTES, on_veth,
};
use crate::gateway::{Start, assert_nothing_lost, brief, hold_ns, total_ns, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{command, sandboxed, work_dir};
use crate::traffic::{Flow, Receiver};

#[test]
fn udp_passes_both_ways_over_af_packet() {
    let test = "forwarding::udp_passes_both_ways_over_af_packet";
    sandboxed(test, &["ethtool", "tcpdump"], || udp_both_ways(Driver::AfPacket));
}

#[test]
fn udp_passes_both_ways_over_af_xdp() {
    let test = "forwarding::udp_passes_both_ways_over_af_xdp";
    sandboxed(test, &["ethtool", "tcpdump"], || udp_both_ways(Driver::AfXdp));
}

#[test]
fn tcp_passes_both_ways_over_af_packet() {
    let test = "forwarding::tcp_passes_both_ways_over_af_packet";
    sandboxed(test, &["ethtool", "tcpdump", "iperf3"], || tcp_both_ways(Driver::AfPacket));
}

#[test]
fn tcp_passes_both_ways_over_af_xdp() {
    let test = "forwarding::tcp_passes_both_ways_over_af_xdp";
    sandboxed(test, &["ethtool", "tcpdump", "iperf3"], || tcp_both_ways(Driver::AfXdp));
}

const BURST: u32 = 200;
const BURST_PAYLOAD: usize = 1000;

fn udp_both_ways(driver: Driver) {
    net::make();
    let before = [Host::Strategy, Host::Venue].map(Host::frames);
    let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", driver)).forwarding();
    net::meet();

    // Two streams out and one back at once, far below every limit.
    let at_venue = Receiver::start(Host::Venue, 7100);
    let at_strategy = Receiver::start(Host::Strategy, 7100);
    let gap = Duration::from_micros(1500);
    let out = Flow { from: Host::Strategy, port: 7100, bytes: 200, gap };
    let streams = [out, out, Flow { from: Host::Venue, ..out }].map(Flow::stream);
    std::thread::sleep(Duration::from_secs(2));
    let [first, second, back] = streams.map(|stream| stream.end());
    at_venue.end().assert_whole(&[first, second]);
    at_strategy.end().assert_whole(&[back]);
    assert!(first.min(second).min(back) > 200, "{first} {second} {back}");

    // ARP went through: the strategy host knows the venue host itself, not the gateway.
    let neighbours = command("ip -n strategy neighbour show dev host");
    assert!(neighbours.contains(&Host::Venue.hardware_address()), "{neighbours}");

    // A burst, back to back, each way: spread out towards the venue, at once from it.
    let filter = format!("udp dst port {BURST_PORT}");
    let burst =
        Flow { from: Host::Strategy, port: BURST_PORT, bytes: BURST_PAYLOAD, gap: Duration::ZERO };
    let wire = Capture::start(Host::Venue, &filter);
    let receiver = Receiver::start(Host::Venue, BURST_PORT);
    burst.send(BURST);
    receiver.end().assert_whole(&[BURST]);
    let paced = wire.end();
    let wire = Capture::start(Host::Strategy, &filter);
    let receiver = Receiver::start(Host::Strategy, BURST_PORT);
    Flow { from: Host::Venue, ..burst }.send(BURST);
    receiver.end().assert_whole(&[BURST]);
    let unpaced = wire.end();

    // The burst of the class is so many frames of the largest size.
    let least = paced_span_s(&paced, BURST_BPS, BURST_PACKETS * 1538);
    assert_eq!((paced.len(), unpaced.len()), (BURST as usize, BURST as usize));
    assert!(least > 0.19, "{least}");
    assert!(span_s(&paced) > 0.9 * least, "{} s instead of {least} s", span_s(&paced));
    // In 20 ms the rate lets 19 frames through, and the burst 6 more.
    let most = densest(&paced, 20_000_000);
    assert!(most <= 40, "{most} frames in 20 ms");
    assert!(span_s(&unpaced) < 0.5 * least, "{} s from the venue", span_s(&unpaced));

    let summary = gateway.finish();
    let (packets_in, packets_out) = assert_nothing_lost(&summary);
    let after = [Host::Strategy, Host::Venue].map(Host::frames);
    let sent: u64 = (0..2).map(|i| after[i].0 - before[i].0).sum();
    let received: u64 = (0..2).map(|i| after[i].1 - before[i].1).sum();
    assert_eq!((packets_in, packets_out), (sent, received), "as the hosts' interfaces count");
    // Paced out of the inside, at once towards it, as the gateway measured it itself.
    assert!(hold_ns(&summary, "burst", "p50") > 20e6, "{}", brief(&summary));
    assert!(total_ns(&summary, "back", "p50") < 10e6, "{}", brief(&summary));
}

fn tcp_both_ways(driver: Driver) {
    net::make();
    let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", driver)).forwarding();
    net::meet();
    let wire = Capture::start(Host::Venue, "tcp and greater 1000");
    let sent = iperf3(&["-n", "4M", "-w", "128K"]);
    // The receiver's count ends when the sender has written everything: less what is under way.
    assert!(sent >= 7 << 19, "{sent} bytes arrived at the venue");
    let seen = wire.end();
    let bytes: u64 = seen.iter().map(|frame| frame.wire_bytes).sum();
    assert!(bytes > 7 << 19, "{bytes} bytes on the wire");
    let least = paced_span_s(&seen, OUT_BPS, OUT_BURST_BYTES);
    assert!(span_s(&seen) > 0.98 * least, "{} s instead of {least} s", span_s(&seen));

    let back = iperf3(&["-n", "16M", "-w", "128K", "-R"]);
    assert!(back >= 15 << 20, "{back} bytes arrived at the strategy");
    let summary = gateway.finish();
    // Beyond its ring the kernel drops what TCP sends faster than we poll; we drop nothing.
    let (packets_in, _) = assert_nothing_lost(&summary);
    assert!(packets_in as usize > seen.len() + (15 << 20) / 1448, "{packets_in}");
    assert!(hold_ns(&summary, "out", "p95") > 0.0, "{}", brief(&summary));
}

/// Transfers between the hosts. Gives the bytes that the receiver counted.
fn iperf3(options: &[&str]) -> u64 {
    let serve = std::process::Command::new("ip")
        .args(["netns", "exec", "venue", "timeout", "60", "iperf3", "-s", "-1"])
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut server = serve.expect("ip is there");
    let listening = "ss -H -n -l -t sport = :5201";
    wait_for("iperf3", || {
        let sockets = command(&format!("{}{listening}", Host::Venue.exec()));
        (!sockets.is_empty()).then_some(())
    });
    let address = Host::Venue.address();
    let client = format!("{}timeout 60 iperf3 -J -c {address}", Host::Strategy.exec());
    let said = command(&format!("{client} {}", options.join(" ")));
    assert!(server.wait().expect("it is our child").success());
    let said: Value = serde_json::from_str(&said).expect("iperf3 writes JSON");
    said["end"]["sum_received"]["bytes"].as_u64().unwrap_or_else(|| panic!("{said}"))
}
