//! Links that go and come back, devices that go for good, and peers in shared memory that die: seen, told, and
//! nothing that waited too long leaves afterwards.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::config::{Driver, between, on_veth};
use crate::gateway::{Gateway, Start, assert_accounted, cpus, http_get, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{command, sandboxed, work_dir};
use crate::traffic::{Flow, Receiver};

const TOOLS: [&str; 1] = ["ethtool"];
const PORT: &str = "venue-a";
/// 100 in 100 ms.
const FLOW: Flow =
    Flow { from: Host::Strategy, port: 7100, bytes: 100, gap: Duration::from_millis(1) };
const COUNT: u32 = 100;

/// The class of [`FLOW`] waits so long and no longer.
fn with_max_hold(config: &str) -> String {
    let class = "name = \"out\"\nrate";
    assert!(config.contains(class));
    config.replacen(class, "name = \"out\"\nmax_hold = \"5ms\"\nrate", 1)
}

/// What `status` says of the link of [`PORT`].
fn link(status: &Value) -> String {
    let ports = status["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == PORT).unwrap();
    port["link"].as_str().unwrap().to_owned()
}

fn wait_for_link(gateway: &Gateway, wanted: &str) {
    wait_for(&format!("link {wanted}"), || {
        (link(&gateway.answer(&["status"])) == wanted).then_some(())
    });
}

/// A counter or gauge of [`PORT`], over all its rows.
fn at_port(status: &Value, name: &str) -> u64 {
    let rows = status["counters"][name].as_array().cloned().unwrap_or_default();
    rows.iter().filter(|row| row["port"] == PORT).map(|row| row["value"].as_u64().unwrap()).sum()
}

/// Of `drops`, those of that reason.
fn ended(status: &Value, reason: &str) -> u64 {
    let rows = status["counters"]["drops"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter(|row| row["reason"] == reason)
        .map(|row| row["value"].as_u64().unwrap())
        .sum()
}

/// Sends while nobody is there to take it: all of it ends as `stale`.
fn send_into_the_void(gateway: &Gateway) {
    let stale = || ended(&gateway.answer(&["status"]), "stale");
    let before = stale();
    assert_eq!(FLOW.send(COUNT), COUNT);
    wait_for("the end of what waits", || (stale() >= before + u64::from(COUNT)).then_some(()));
}

#[test]
fn a_link_of_af_packet_that_comes_back_finds_nothing_old() {
    let test = "links::a_link_of_af_packet_that_comes_back_finds_nothing_old";
    sandboxed(test, &TOOLS, || a_link_comes_back(Driver::AfPacket));
}

#[test]
fn a_link_of_af_xdp_that_comes_back_finds_nothing_old() {
    let test = "links::a_link_of_af_xdp_that_comes_back_finds_nothing_old";
    sandboxed(test, &TOOLS, || a_link_comes_back(Driver::AfXdp));
}

fn a_link_comes_back(driver: Driver) {
    net::make();
    let config = with_max_hold(&on_veth("gw1", driver));
    let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
    net::meet();
    wait_for_link(&gateway, "up");
    let receiver = Receiver::start(Host::Venue, FLOW.port);
    let mut sent = vec![FLOW.send(COUNT)];
    for downs in 1..=3 {
        // By either end: the host's, and the gateway's own interface.
        let end = if downs == 2 { "gw-out".to_owned() } else { "host".to_owned() };
        let space =
            if downs == 2 { String::new() } else { format!("-n {} ", Host::Venue.namespace()) };
        command(&format!("ip {space}link set {end} down"));
        wait_for_link(&gateway, "down");
        send_into_the_void(&gateway);
        command(&format!("ip {space}link set {end} up"));
        wait_for_link(&gateway, "up");
        let status = gateway.answer(&["status"]);
        assert_eq!(at_port(&status, "alarm_link_downs"), downs, "{status}");
        assert_eq!(at_port(&status, "link_ups"), downs + 1, "{status}");
        sent.push(FLOW.send(COUNT));
    }
    let metrics = http_get(crate::config::HTTP_PORT, "/metrics");
    assert!(metrics.contains("wirepace_link_up{port=\"venue-a\"} 1"), "{metrics}");
    // Those that were sent while it was down are not among them.
    receiver.end().assert_whole(&sent);
    assert_accounted(&gateway.finish());
}

/// The pair stays down, whatever is given the name of its interface; the process goes on and ends in order.
#[test]
fn a_device_that_is_gone_is_told_and_another_of_its_name_is_not_taken_for_it() {
    let test = "links::a_device_that_is_gone_is_told_and_another_of_its_name_is_not_taken_for_it";
    sandboxed(test, &TOOLS, || {
        net::make();
        let config = with_max_hold(&on_veth("gw1", Driver::AfPacket));
        let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
        net::meet();
        wait_for_link(&gateway, "up");
        command("ip link del gw-out");
        wait_for_link(&gateway, "removed");
        send_into_the_void(&gateway);
        command("ip link add gw-out type veth peer name elsewhere");
        command("ip link set elsewhere up");
        command("ip link set gw-out up");
        send_into_the_void(&gateway);
        let status = gateway.answer(&["status"]);
        assert_eq!(link(&status), "removed");
        let told = ["alarm_device_removed", "device_removed", "alarm_link_downs"];
        assert_eq!(told.map(|name| at_port(&status, name)), [1, 1, 1], "{status}");
        assert_accounted(&gateway.finish());
    });
}

/// DPDK's testpmd at the other end of a memif, which throws away what it receives.
struct Peer(Child);

impl Peer {
    fn start(socket: &str) -> Self {
        let (first, _) = cpus();
        let child = Command::new("dpdk-testpmd")
            .args(["--no-huge", "-m", "64", "--no-pci", "--no-shconf", "--no-telemetry"])
            .arg("--file-prefix=peer")
            .arg(format!("--lcores=(0-1)@{first}"))
            .arg(format!("--vdev=net_memif0,role=client,socket={socket},socket-abstract=no"))
            .args(["--", "--forward-mode=rxonly", "--auto-start", "--total-num-mbufs=4096"])
            .args(["--no-mlockall", "--stats-period=3600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGKILL: no word of farewell.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_peer_in_shared_memory_may_die_and_another_takes_its_place() {
    let test = "links::a_peer_in_shared_memory_may_die_and_another_takes_its_place";
    sandboxed(test, &["ethtool", "dpdk-testpmd"], || {
        net::make();
        let socket = work_dir().join("memif.sock");
        let socket = socket.to_str().unwrap();
        let memif = format!("net_memif0,role=server,socket={socket},socket-abstract=no");
        let inside = "net_af_packet0,iface=gw-in,framecnt=8192";
        let config = with_max_hold(&between("gw1", inside, &memif));
        let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
        // Nobody answers ARP behind the memif.
        let (space, there) = (Host::Strategy.namespace(), Host::Venue.address());
        command(&format!("ip -n {space} neigh add {there} lladdr 02:00:00:00:00:09 dev host"));
        let left = || at_port(&gateway.answer(&["status"]), "packets_out");
        wait_for_link(&gateway, "down");
        for peers in 1..=3 {
            send_into_the_void(&gateway);
            let peer = Peer::start(socket);
            wait_for_link(&gateway, "up");
            let before = left();
            assert_eq!(FLOW.send(COUNT), COUNT);
            wait_for("what was sent", || (left() >= before + u64::from(COUNT)).then_some(()));
            // In the middle of traffic.
            let stream = FLOW.stream();
            std::thread::sleep(Duration::from_millis(50));
            drop(peer);
            wait_for_link(&gateway, "down");
            stream.end();
            let status = gateway.answer(&["status"]);
            assert_eq!(at_port(&status, "link_ups"), peers, "{status}");
        }
        assert_accounted(&gateway.finish());
    });
}
