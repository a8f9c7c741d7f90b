//! Ports on interfaces of the kernel: net_af_packet and net_af_xdp over a veth pair.
//!
//! Each test runs in a network namespace of its own: the outer test starts this program again under
//! `unshare --net`, where the inner one makes the pair. Without root they are skipped, with a line
//! that says so.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, bytes_of, frame, receive, send};
use dataplane::batch::Batch;
use dataplane::locks::LockError;
use dataplane::port::dpdk::{PortError, Reception, RxQueue, TxQueue};
use dataplane::port::kernel_silence;
use dataplane::port::{Rx, Tx};
use model::time::Nanos;

/// Runs `inner` of this program in a fresh network namespace, for at most a minute.
fn in_namespace(inner: &str) {
    let unshare = |program: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["60", "unshare", "--net", "--"]).args(program);
        command.output().unwrap()
    };
    if !unshare(&["true"]).status.success() {
        println!("skipped: making a network namespace needs root");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    let run = unshare(&[this, "--exact", inner, "--ignored", "--nocapture"]);
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// A veth pair `gw` - `host`, silent on both ends.
fn make_pair() {
    ip("link add gw type veth peer name host");
    for end in ["gw", "host"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        ip(&format!("link set {end} up"));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Waits until `done`, at most 5 s.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < end, "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends frames `from..to` of different lengths and receives them at the other end, in order.
fn transfer(bench: &Bench, tx: &mut TxQueue, rx: &mut RxQueue, from: u32, to: u32) {
    let make = |n: u32| frame(n, 60 + (n as usize * 7) % 1455);
    let mut sending = Batch::new();
    let mut received = Batch::new();
    let (mut next_out, mut next_in) = (from, from);
    let end = Instant::now() + Duration::from_secs(10);
    while next_in < to {
        assert!(Instant::now() < end, "{next_in} of {to} arrived");
        while next_out < to && next_out < next_in + 64 && sending.len() < 32 {
            sending.push(bench.pool.alloc_from(&make(next_out)).unwrap()).unwrap();
            next_out += 1;
        }
        send(tx, &mut sending);
        receive(rx, &mut received);
        for packet in received.drain() {
            assert_eq!(bytes_of(&packet), make(next_in));
            next_in += 1;
        }
    }
    tx.reap(Nanos::ZERO);
}

fn both_ways(driver: &str) {
    make_pair();
    assert_eq!(kernel_silence::findings("gw").unwrap(), Vec::<String>::new());
    let bench = Bench::new();
    let (gw, mut gw_rx, mut gw_tx) = bench.open(&format!("{driver}0,iface=gw"));
    let (_host, mut host_rx, mut host_tx) = bench.open("net_af_packet9,iface=host");
    assert_eq!(gw.facts().reception, Reception::Promiscuous);
    assert_eq!((gw.facts().mtu, gw_tx.frame_bytes_max()), (1500, 1514));
    assert!(kernel_silence::state("gw").unwrap().promiscuous);
    transfer(&bench, &mut gw_tx, &mut host_rx, 0, 3000);
    transfer(&bench, &mut host_tx, &mut gw_rx, 0, 3000);

    // A second holder is refused by name, and the first loses nothing meanwhile.
    let refused = bench.try_open(&format!("{driver}1,iface=gw"));
    let Err(PortError::Lock { source: LockError::Held { holder, .. }, .. }) = refused else {
        panic!("{:?}", refused.err());
    };
    assert!(holder.contains("instance \"test\""), "{holder}");
    transfer(&bench, &mut host_tx, &mut gw_rx, 3000, 6000);

    // The link follows the other end.
    assert!(gw_rx.link_up());
    let ups = gw_rx.link().ups();
    ip("link set host down");
    wait_for("link down", || !gw_tx.link_up());
    ip("link set host up");
    wait_for("link up", || gw_rx.link_up());
    assert_eq!(gw.link().ups(), ups + 1);
    drop((gw_rx, gw_tx, host_rx, host_tx));
    assert!(matches!(gw.device_stats(), Err(PortError::Closed)));
    assert!(!kernel_silence::state("gw").unwrap().promiscuous, "left as it was found");
}

#[test]
fn af_packet_both_ways() {
    in_namespace("inner_af_packet_both_ways");
}

#[test]
#[ignore = "run by af_packet_both_ways in a namespace"]
fn inner_af_packet_both_ways() {
    both_ways("net_af_packet");
}

#[test]
fn af_xdp_both_ways() {
    in_namespace("inner_af_xdp_both_ways");
}

#[test]
#[ignore = "run by af_xdp_both_ways in a namespace"]
fn inner_af_xdp_both_ways() {
    both_ways("net_af_xdp");
}
