//! A host that forwards: what it adds between its two interfaces is known packet by packet.

use std::net::TcpStream;
use std::time::Duration;

use crate::load::{Observer, Sender, config, enter, interfaces, series, venue};
use crate::sandbox::{command, sandboxed};

#[test]
fn a_host_that_forwards_shows_what_it_adds() {
    let tools = ["ip", "tc"];
    sandboxed("forwarding::a_host_that_forwards_shows_what_it_adds", &tools, || {
        interfaces();
        command("ip netns add strategy");
        command("ip link add in type veth peer name host netns strategy");
        command("ip address add 10.8.0.1/24 dev in");
        command("ip link set in up");
        command("ip -n strategy address add 10.8.0.2/24 dev host");
        command("ip -n strategy link set host up");
        command("ip -n strategy route add default via 10.8.0.1");
        command("ip -n venue route add default via 10.9.0.1");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        venue(7000);
        let config = config("egress = \"out\"\ningress = \"in\"\nlink = \"1G\"", "");
        let run = || {
            let socket = enter("strategy", || TcpStream::connect(("10.9.0.2", 7000)).unwrap());
            socket.set_nodelay(true).unwrap();
            let sender = Sender::on(socket, 1_000, Duration::from_millis(2));
            let json = Observer::start(&config, "3s").json();
            drop(sender);
            json
        };
        let free = run();
        // 1,066 bytes at 4 Mbit/s: 2.1 ms each, and one comes every 2 ms: they wait for each other.
        command("tc qdisc add dev out root tbf rate 4mbit burst 1600 limit 100000");
        let held = run();
        let delay = |json: &serde_json::Value| {
            let found = series(json, "dispatch_to_wire_ns", &[("class", "orders")]);
            assert!(found["n"].as_u64().unwrap() > 200, "{found}");
            assert_eq!(found["negative"], 0, "{found}");
            found["p50"].as_f64().unwrap_or_else(|| panic!("{found}"))
        };
        assert!(delay(&held) > 10.0 * delay(&free), "{} and {}", delay(&held), delay(&free));
        let ratio = series(&held, "completion_ratio", &[("class", "orders")]);
        assert_eq!(ratio["ratio"], 1, "no limit of the hold: {ratio}");
        let back = series(&free, "dispatch_to_wire_ns", &[("class", "back")]);
        assert!(back["n"].as_u64().unwrap() > 100, "acknowledgements are matched too: {back}");
        let waits = series(&held, "send_queue_bytes", &[("port", "out"), ("part", "qdisc")]);
        assert!(waits["max"].as_u64().unwrap() > 1_000, "{waits}");
        // The host's own packets are none of what it forwards.
        assert!(free["capture"]["capture_unmatched"].as_u64().unwrap() < 50, "{free:#}");
    });
}
