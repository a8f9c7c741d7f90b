//! A second path between real interfaces: flows move to it and back while they are being sent.

use std::time::Duration;

use serde_json::Value;

use crate::config::{Driver, on_veth};
use crate::gateway::{Gateway, Start, assert_nothing_lost, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{command, sandboxed, work_dir};
use crate::traffic::{Flow, Receiver};

/// The venue host answers probes itself; by both of its interfaces, which have one hardware address.
const SECOND: &str = r#"
[pair.second_path]
venue = "venue-b"
path_drain = "5ms"
dwell = "1s"
probe_to = "10.9.0.2"
probe_from = "10.9.0.77"
probe_mac = "02:00:00:00:00:4d"

[[port]]
name = "venue-b"
side = "venue"
device = "net_af_packet2,iface=gw-out-b,framecnt=8192"

[[profile]]
name = "contain"

[[profile.class]]
name = "out"
second_path = true

[default_class]
"#;

fn make_second_path() {
    let space = Host::Venue.namespace();
    command(&format!("ip link add gw-out-b type veth peer name host-b netns {space}"));
    let ipv6_off = "/proc/sys/net/ipv6/conf/gw-out-b/disable_ipv6";
    std::fs::write(ipv6_off, "1").expect("root may");
    command("ip link set gw-out-b up");
    let address = Host::Venue.hardware_address();
    command(&format!("ip -n {space} link set host-b address {address}"));
    Host::Venue
        .enter(|| {
            let conf = "/proc/sys/net/ipv4/conf";
            std::fs::write("/proc/sys/net/ipv6/conf/host-b/disable_ipv6", "1")?;
            // What comes by the second path has its way back by the first.
            std::fs::write(format!("{conf}/host-b/rp_filter"), "0")?;
            std::fs::write(format!("{conf}/all/rp_filter"), "0")
        })
        .expect("root may");
    command(&format!("{}ethtool -K host-b tx off tso off gso off", Host::Venue.exec()));
    command(&format!("ip -n {space} link set host-b up"));
}

/// The value of a counter or gauge at `port`, over all classes.
fn at_port(gateway: &Gateway, name: &str, port: &str) -> u64 {
    let status = gateway.answer(&["status"]);
    let rows = status["counters"][name].as_array().cloned().unwrap_or_default();
    let of_port = rows.iter().filter(|row| row["port"] == port);
    of_port.filter_map(|row| row["value"].as_u64()).sum()
}

#[test]
fn flows_move_to_a_second_path_and_back_in_order() {
    let test = "paths::flows_move_to_a_second_path_and_back_in_order";
    sandboxed(test, &["ethtool"], || {
        net::make();
        make_second_path();
        let config = on_veth("gw1", Driver::AfPacket).replacen("[default_class]\n", SECOND, 1);
        let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
        net::meet();
        for port in ["venue-a", "venue-b"] {
            let alive = || (at_port(&gateway, "path_alive", port) == 1).then_some(());
            wait_for("an answer by each path", alive);
        }
        let receiver = Receiver::start(Host::Venue, 7100);
        let gap = Duration::from_micros(1500);
        let flow = Flow { from: Host::Strategy, port: 7100, bytes: 200, gap };
        let streams = [flow, flow, flow].map(Flow::stream);
        std::thread::sleep(Duration::from_millis(500));

        let set = |name: &str| -> Value { gateway.answer(&["profile", "set", name]) };
        assert_eq!(set("contain")["ok"], true);
        wait_for("three flows by the second path", || {
            (at_port(&gateway, "path_flows", "venue-b") >= 3).then_some(())
        });
        let by_second = || at_port(&gateway, "packets_out", "venue-b");
        let before = by_second();
        wait_for("packets by the second path", || (by_second() > before + 300).then_some(()));
        assert_eq!(set("normal")["ok"], true);
        wait_for("all flows back", || {
            (at_port(&gateway, "path_flows", "venue-b") == 0).then_some(())
        });
        let by_first = || at_port(&gateway, "packets_out", "venue-a");
        let before = by_first();
        wait_for("packets by the first path", || (by_first() > before + 300).then_some(()));

        let sent = streams.map(|stream| stream.end());
        receiver.end().assert_whole(&sent);
        assert_nothing_lost(&gateway.finish());
    });
}
