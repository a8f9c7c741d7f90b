//! Stop words on live interfaces: two veth pairs, the gateway between them, its control thread stopped.
//! The time from the write of the page to the last order that reaches the venue's end.

use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::batch::Batch;
use dataplane::port::{Rx, Tx};
use dataplane::stop_page::{Scope, StopPage};
use model::stop::StopWord;
use model::time::Nanos;

use crate::common::{Bench, bytes_of};
use crate::control_frozen::freeze_control;
use crate::gateway::{Home, Setup, page_of, udp};

const FLIPS: usize = 200;
/// One frame in so long: an order, and every fourth a cancel.
const GAP: Duration = Duration::from_micros(10);
/// Cancels that may be on their way: a core that does not get its CPU for a while must not overflow the
/// interface's ring, which would be no loss of the gateway's.
const ON_THE_WAY: u64 = 16;

#[test]
fn a_halt_stops_live_orders_with_control_stopped_and_loses_no_cancel() {
    let unshare = |program: &[&str]| {
        Command::new("timeout").args(["100", "unshare", "--net", "--"]).args(program).output()
    };
    if !unshare(&["true"]).is_ok_and(|made| made.status.success()) {
        println!("skipped: making a network namespace needs root");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inner = "live::inner_a_halt_stops_live_orders_with_control_stopped";
    let run =
        unshare(&[this.to_str().unwrap(), "--exact", inner, "--ignored", "--nocapture"]).unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.contains("flips")).for_each(|line| println!("{line}"));
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn make_pair(gateway: &str, host: &str) {
    ip(&format!("link add {gateway} type veth peer name {host}"));
    for end in [gateway, host] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        ip(&format!("link set {end} up"));
    }
}

/// A host on each side in one thread: sends, and notes when orders and cancels arrive.
struct Hosts<R, T> {
    bench: Bench,
    tx: T,
    rx: R,
    next_at: Instant,
    sent: u64,
    cancels_sent: u64,
    cancels_seen: u64,
    last_order: Instant,
    orders_seen: u64,
}

impl<R: Rx, T: Tx> Hosts<R, T> {
    fn turn(&mut self) {
        let now = Instant::now();
        if now >= self.next_at && self.cancels_sent < self.cancels_seen + ON_THE_WAY {
            self.next_at = now + GAP;
            let is_cancel = self.sent % 4 == 3;
            let mut batch = Batch::new();
            let frame = udp(1, if is_cancel { 7_010 } else { 7_000 });
            batch.push(self.bench.pool.alloc_from(&frame).unwrap()).unwrap();
            let sent = self.tx.tx_burst(Nanos::ZERO, &mut batch) as u64;
            self.sent += sent;
            self.cancels_sent += if is_cancel { sent } else { 0 };
        }
        let mut batch = Batch::new();
        self.rx.rx_burst(Nanos::ZERO, &mut batch);
        for packet in batch.drain() {
            match bytes_of(&packet)[36..38] {
                [0x1b, 0x58] => {
                    self.orders_seen += 1;
                    self.last_order = Instant::now();
                }
                [0x1b, 0x62] => self.cancels_seen += 1,
                _ => {}
            }
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.turn();
        }
    }
}

#[test]
#[ignore = "run by a_halt_stops_live_orders_with_control_stopped_and_loses_no_cancel in a namespace"]
fn inner_a_halt_stops_live_orders_with_control_stopped() {
    make_pair("gw-in", "host-in");
    make_pair("gw-out", "host-out");
    let bench = Bench::new();
    let (_in, _in_rx, tx) = bench.open("net_af_packet8,iface=host-in");
    let (_out, rx, _out_tx) = bench.open("net_af_packet9,iface=host-out");
    let home = Home::new();
    let gateway = home.start(&Setup {
        start_state: "running",
        orders: "orders",
        inside: "net_af_packet0,iface=gw-in".to_owned(),
        venue: "net_af_packet1,iface=gw-out".to_owned(),
    });
    let now = Instant::now();
    let mut hosts = Hosts {
        bench,
        tx,
        rx,
        next_at: now,
        sent: 0,
        cancels_sent: 0,
        cancels_seen: 0,
        last_order: now,
        orders_seen: 0,
    };
    let frozen = freeze_control(&gateway);
    let page = StopPage::open_existing(&page_of(&home)).unwrap();
    let (mut took, mut proved) = (Vec::with_capacity(FLIPS), Vec::with_capacity(FLIPS));
    for flip in 0..FLIPS {
        let before = hosts.orders_seen;
        hosts.until("orders flow", |h| h.orders_seen > before + 3);
        let scope = if flip % 2 == 0 { Scope::All } else { Scope::Venue("XCME".to_owned()) };
        page.set(&scope, StopWord::Halt).unwrap();
        let written = Instant::now();
        // Cancels that were sent after the write arrive: orders between them would have, too.
        let cancels = hosts.cancels_sent;
        hosts.until("cancels flow", |h| h.cancels_seen > cancels + 1);
        proved.push(written.elapsed().as_nanos() as u64);
        took.push(hosts.last_order.saturating_duration_since(written).as_nanos() as u64);
        // The turn in which a core reads the word may be the one behind that in which it received those:
        // what is sent from now on is received after it.
        let cancels = hosts.cancels_sent;
        hosts.until("cancels flow", |h| h.cancels_seen > cancels);
        let (cancels, orders) = (hosts.cancels_sent, hosts.orders_seen);
        hosts.until("cancels flow", |h| h.cancels_seen > cancels + 4);
        assert_eq!(hosts.orders_seen, orders, "orders left under a halt");
        page.resume(&scope).unwrap();
    }
    // The last ones are on their way.
    hosts.next_at = Instant::now() + Duration::from_secs(60);
    let missing = |h: &Hosts<_, _>| h.cancels_sent - h.cancels_seen;
    hosts.until("a cancel was lost", |h| missing(h) == 0);
    let quantiles = |times: &mut Vec<u64>| {
        times.sort_unstable();
        [0.5, 0.99, 1.0].map(|q| times[((times.len() - 1) as f64 * q) as usize] as f64 / 1e3)
    };
    let ([p50, p99, max], [by50, by99, by_max]) = (quantiles(&mut took), quantiles(&mut proved));
    println!(
        "halt on veth with control {}, {FLIPS} flips, us after the write: last order seen p50 {p50:.1} \
         p99 {p99:.1} max {max:.1} (target p99 < 1000); cancels sent later seen without orders between \
         them p50 {by50:.1} p99 {by99:.1} max {by_max:.1}; {} cancels, none lost",
        if frozen.is_some() { "stopped" } else { "running" },
        hosts.cancels_seen
    );
    // The target is for a core of its own; here others share it.
    assert!(by50 < 50_000.0);
    drop(frozen);
    let Hosts { bench, tx, rx, .. } = hosts;
    drop((tx, rx, _in_rx, _out_tx));
    drop(gateway);
    drop((_in, _out));
    drop(bench);
}
