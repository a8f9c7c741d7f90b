//! Ports on interfaces of the kernel: net_af_packet and net_af_xdp over a veth pair.
//!
//! Each test runs in a network namespace of its own: the outer test starts this program again under
//! `unshare --net`, where the inner one makes the pair. Without root they are skipped, with a line
//! that says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, frame, receive, send, transfer, wait_for};
use dataplane::batch::Batch;
use dataplane::locks::{LockDir, LockError};
use dataplane::mbuf::ProbeRef;
use dataplane::pool::Pool;
use dataplane::port::dpdk::{PortError, Reception};
use dataplane::port::kernel_silence::{self, InterfaceError};
use dataplane::port::privileges::{Privileges, drop_capabilities};
use dataplane::port::thread::PortThread;
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
fn af_packet_delivers_nothing_of_other_interfaces() {
    in_namespace("inner_af_packet_delivers_nothing_of_other_interfaces");
}

#[test]
#[ignore = "run by af_packet_delivers_nothing_of_other_interfaces in a namespace"]
fn inner_af_packet_delivers_nothing_of_other_interfaces() {
    make_pair();
    ip("link add gw2 type veth peer name host2");
    ip("link set gw2 up");
    ip("link set host2 up");
    let bench = Bench::new();
    // A flood on the other pair while the port is opened, for two seconds.
    let (_flood, _flood_rx, mut flood_tx) = bench.open("net_af_packet8,iface=host2");
    let pool = bench.pool.clone();
    let flood = std::thread::spawn(move || {
        let other = frame(0xdead, 60);
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let mut batch = Batch::new();
            batch.push(pool.alloc_from(&other).unwrap()).unwrap();
            send(&mut flood_tx, &mut batch);
        }
    });
    while !flood.is_finished() {
        let (handle, mut rx, tx) = bench.open("net_af_packet0,iface=gw");
        let mut batch = Batch::new();
        for _ in 0..1000 {
            assert_eq!(receive(&mut rx, &mut batch), 0, "a frame of another interface");
        }
        drop((rx, tx));
        assert!(matches!(handle.device_stats(), Err(PortError::Closed)));
    }
    flood.join().unwrap();
}

#[test]
fn nothing_old_leaves_when_a_link_comes_up() {
    in_namespace("inner_nothing_old_leaves_when_a_link_comes_up");
}

#[test]
#[ignore = "run by nothing_old_leaves_when_a_link_comes_up in a namespace"]
fn inner_nothing_old_leaves_when_a_link_comes_up() {
    make_pair();
    let bench = Bench::new();
    for driver in ["net_af_packet", "net_af_xdp"] {
        let (gw, mut rx, mut tx) = bench.open(&format!("{driver}0,iface=gw"));
        let (_host, mut host_rx, mut host_tx) = bench.open("net_af_packet9,iface=host");
        gw.link_down().unwrap();
        let mut batch = bench.batch([frame(77, 60).as_slice(); 32]);
        // Both drivers would put these into their ring and send them when the link is back.
        assert_eq!(send(&mut tx, &mut batch), 0, "{driver}");
        assert_eq!(batch.len(), 32);
        gw.link_up().unwrap();
        wait_for("link up", || tx.link_up());
        transfer(&bench, &mut tx, &mut host_rx, 0, 100);
        transfer(&bench, &mut host_tx, &mut rx, 0, 100);
        drop((rx, tx, host_rx, host_tx));
        assert!(matches!(gw.device_stats(), Err(PortError::Closed)));
    }
}

#[test]
fn an_interface_that_is_not_fit_is_refused_in_words() {
    in_namespace("inner_an_interface_that_is_not_fit_is_refused_in_words");
}

#[test]
#[ignore = "run by an_interface_that_is_not_fit_is_refused_in_words in a namespace"]
fn inner_an_interface_that_is_not_fit_is_refused_in_words() {
    make_pair();
    // What the kernel would do.
    ip("addr add 10.7.0.1/24 dev gw");
    for (key, value) in [("ipv4/conf/gw/forwarding", "1"), ("ipv6/conf/gw/disable_ipv6", "0")] {
        std::fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
    }
    let findings = kernel_silence::findings("gw").unwrap().join("; ");
    for part in ["address 10.7.0.1", "forwards IPv4", "speaks IPv6", "disable_ipv6=1"] {
        assert!(findings.contains(part), "{part}: {findings}");
    }
    // More queues than are read.
    ip("link add many numrxqueues 2 numtxqueues 2 type veth peer name other");
    ip("link set many up");
    let bench = Bench::new();
    let refused = |device: &str| bench.try_open(device).err().map(|e| e.to_string());
    let said = refused("net_af_xdp0,iface=many").unwrap();
    assert!(said.contains("has 2 receive queues") && said.contains("ethtool -L many"), "{said}");
    ip("link set many down");
    let said = refused("net_af_packet0,iface=many").unwrap();
    assert!(said.contains("ip link set many up"), "{said}");
    assert!(matches!(kernel_silence::findings("many"), Err(InterfaceError::Down(_))));
}

#[test]
fn failed_setups_are_accounted_for() {
    in_namespace("inner_failed_setups_are_accounted_for");
}

#[test]
#[ignore = "run by failed_setups_are_accounted_for in a namespace"]
fn inner_failed_setups_are_accounted_for() {
    make_pair();
    let bench = Bench::new();
    // The interface has one queue.
    let refused = bench.try_open("net_af_xdp0,iface=gw,start_queue=9");
    let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said.contains("rte_eth_rx_queue_setup"), "{said}");
    assert_eq!((bench.pool.in_use(), bench.pool.orphaned()), (0, 2048));
}

#[test]
fn a_second_one_past_the_lock_files_is_refused_and_the_first_goes_on() {
    in_namespace("inner_a_second_one_past_the_lock_files_is_refused_and_the_first_goes_on");
}

#[test]
#[ignore = "run by a_second_one_past_the_lock_files_is_refused_and_the_first_goes_on in a namespace"]
fn inner_a_second_one_past_the_lock_files_is_refused_and_the_first_goes_on() {
    make_pair();
    let bench = Bench::new();
    let (_first, mut rx, _tx) = bench.open("net_af_xdp0,iface=gw");
    let (_host, _host_rx, mut host_tx) = bench.open("net_af_packet9,iface=host");
    let elsewhere = tempfile::tempdir().unwrap();
    let locks = LockDir::at(&elsewhere.path().join("wirepace")).unwrap();
    let other = PortThread::spawn(locks, "other", Privileges::all()).unwrap();
    let refused = other.open(common::spec("net_af_xdp1,iface=gw"), &bench.pool);
    let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said.contains("interface gw is in use by another gateway, of user 0"), "{said}");
    // The clean-up of a second one would take the first one's program away: it has not come so far.
    let mut batch = bench.batch([frame(1, 60).as_slice()]);
    assert_eq!(send(&mut host_tx, &mut batch), 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(receive(&mut rx, &mut batch), 1);
}

/// Two pairs, `gw` - `host` and `gw2` - `host2`; the gateway's ends follow each other.
fn link_follow(driver: &str) {
    make_pair();
    ip("link add gw2 type veth peer name host2");
    ip("link set gw2 up");
    ip("link set host2 up");
    let bench = Bench::new();
    let (a, mut a_rx, mut a_tx) = bench.open(&format!("{driver}0,iface=gw"));
    let (b, b_rx, b_tx) = bench.open(&format!("{driver}1,iface=gw2"));
    let (_host, mut host_rx, mut host_tx) = bench.open("net_af_packet9,iface=host");
    bench.ports().follow(&a, &b).unwrap();
    let carrier = |name| kernel_silence::state(name).unwrap().running;
    for _ in 0..2 {
        ip("link set host2 down");
        wait_for("the other side sees it", || !carrier("host"));
        ip("link set host2 up");
        wait_for("the other side sees it", || carrier("host"));
        wait_for("both up", || a.link().is_up() && b.link().is_up());
    }
    // Nothing goes on after it: both stay up.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(a.link().is_up() && b.link().is_up());
    transfer(&bench, &mut a_tx, &mut host_rx, 0, 300);
    transfer(&bench, &mut host_tx, &mut a_rx, 0, 300);
    drop((b_rx, b_tx));
}

#[test]
fn link_follow_on_af_packet() {
    in_namespace("inner_link_follow_on_af_packet");
}

#[test]
#[ignore = "run by link_follow_on_af_packet in a namespace"]
fn inner_link_follow_on_af_packet() {
    link_follow("net_af_packet");
}

#[test]
fn link_follow_on_af_xdp() {
    in_namespace("inner_link_follow_on_af_xdp");
}

#[test]
#[ignore = "run by link_follow_on_af_xdp in a namespace"]
fn inner_link_follow_on_af_xdp() {
    link_follow("net_af_xdp");
}

#[test]
fn only_the_port_thread_keeps_capabilities() {
    in_namespace("inner_only_the_port_thread_keeps_capabilities");
}

#[test]
#[ignore = "run by only_the_port_thread_keeps_capabilities in a namespace"]
fn inner_only_the_port_thread_keeps_capabilities() {
    make_pair();
    let dir = tempfile::tempdir().unwrap();
    let locks = LockDir::at(&dir.path().join("wirepace")).unwrap();
    // Opening packet and XDP sockets takes capabilities, and no more than these.
    let devices = ["net_af_xdp0,iface=gw", "net_af_packet0,iface=host"].map(common::spec);
    let needed = Privileges::for_devices(devices.iter().map(|spec| &spec.device));
    let ports = PortThread::spawn(locks, "test", needed).unwrap();
    drop_capabilities().unwrap();
    let pool = Pool::create(&common::eal(), "test", 8191, 2304, 0).unwrap();
    let [xdp, packet] = devices;
    let (_a, rx, tx) = ports.open(xdp, &pool).unwrap();
    let _b = ports.open(packet, &pool).unwrap();
    let data = std::thread::spawn(move || {
        let held = caps::read(None, caps::CapSet::Permitted).unwrap();
        drop((rx, tx));
        held
    });
    assert!(data.join().unwrap().is_empty());
    let mut with = Vec::new();
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let line = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
            line.trim().to_owned()
        };
        threads += 1;
        let mut sets =
            ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].iter().map(|k| line(k));
        if sets.any(|set| set.bytes().any(|b| b != b'0')) {
            with.push(line("Name:"));
        }
        if line("Name:") == "wp-ports" {
            // NET_ADMIN, NET_RAW, IPC_LOCK, SYS_ADMIN and BPF, by their numbers.
            let needed = [12, 13, 14, 21, 39].map(|number| 1_u64 << number).iter().sum::<u64>();
            for key in ["CapPrm:", "CapEff:", "CapBnd:"] {
                assert_eq!(u64::from_str_radix(&line(key), 16).unwrap(), needed, "{key}");
            }
        }
    }
    // The thread of the test harness that waits for this one keeps what it was born with.
    with.retain(|name| *name != "main" && !name.starts_with("veth-"));
    assert_eq!(with, ["wp-ports"]);
    assert!(threads > 2, "EAL has threads of its own");
}

#[test]
fn af_xdp_completions_by_reference_count() {
    in_namespace("inner_af_xdp_completions_by_reference_count");
}

#[test]
#[ignore = "run by af_xdp_completions_by_reference_count in a namespace"]
fn inner_af_xdp_completions_by_reference_count() {
    make_pair();
    let bench = Bench::new();
    let (_gw, _rx, mut tx) = bench.open("net_af_xdp0,iface=gw");
    let frame = frame(1, 300);
    let mut batch = bench.batch([frame.as_slice(); 32]);
    let probes: Vec<_> = batch.iter().map(|p| p.refcount_probe()).collect();
    assert!(probes.iter().all(|p| !p.is_done()));
    assert_eq!(send(&mut tx, &mut batch), 32);
    wait_for("completions", || {
        tx.reap(Nanos::ZERO);
        probes.iter().all(ProbeRef::is_done)
    });
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

#[test]
fn tap_makes_an_interface() {
    in_namespace("inner_tap_makes_an_interface");
}

#[test]
#[ignore = "run by tap_makes_an_interface in a namespace"]
fn inner_tap_makes_an_interface() {
    let bench = Bench::new();
    let (tap, mut rx, mut tx) = bench.open("net_tap0,iface=tap7");
    assert_eq!(tap.facts().reception, Reception::Promiscuous);
    std::fs::write("/proc/sys/net/ipv6/conf/tap7/disable_ipv6", "1").unwrap();
    // The kernel's side of it, through a port of another instance: ours has the interface locked.
    let dir = tempfile::tempdir().unwrap();
    let locks = LockDir::at(&dir.path().join("wirepace")).unwrap();
    let host = PortThread::spawn(locks, "host", Privileges::all()).unwrap();
    let kernel = host.open(common::spec("net_af_packet0,iface=tap7"), &bench.pool);
    let (_handle, mut kernel_rx, mut kernel_tx) = kernel.unwrap();
    // What the kernel said on it before IPv6 was off.
    let mut early = Batch::new();
    receive(&mut rx, &mut early);
    transfer(&bench, &mut tx, &mut kernel_rx, 0, 100);
    transfer(&bench, &mut kernel_tx, &mut rx, 0, 100);
    drop((kernel_rx, kernel_tx));
    host.shutdown(Duration::from_secs(5)).unwrap();
}
