//! Super-frames as a real kernel makes them, cut and given to another real kernel stack: TCP has to
//! come through, over IPv4 and IPv6, with the checksums that the sender left to its device.
//!
//! Runs in network namespaces of its own; without root it is skipped, with a line that says so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::batch::Batch;
use dataplane::port::Tx;
use dataplane::port::dpdk::{RxQueue, TxQueue};
use dataplane::segment::{Posture, checksum};
use model::drop_reason::DropReason;

use crate::common::{receive, send};
use crate::{Answer, World};

/// Bytes that are sent over each IP.
const BYTES: usize = 2 << 20;
const ADDRESSES: [(&str, &str); 2] = [("10.9.0.1/24", "10.9.0.2/24"), ("fd09::1/64", "fd09::2/64")];
const PORT: u16 = 4000;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// This program's ignored test `inner` in a fresh network namespace.
fn unshared(inner: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--", this.to_str().unwrap()]);
    command.args(["--exact", inner, "--ignored", "--nocapture"]);
    command
}

/// Ends this process after a minute, whatever it waits for.
fn end_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        eprintln!("not done within a minute");
        std::process::exit(1);
    });
}

#[test]
fn tcp_of_a_kernel_comes_through() {
    let root = Command::new("unshare").args(["--net", "--", "true"]).output().unwrap();
    if !root.status.success() {
        println!("skipped: making a network namespace needs root");
        return;
    }
    let run = unshared("kernel::inner_tcp_of_a_kernel_comes_through").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

/// Sends a silent interface up.
fn silent_up(interface: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1").unwrap();
    ip(&format!("link set {interface} up"));
}

fn with_addresses_up(interface: &str, addresses: [&str; 2]) {
    ip(&format!("link set {interface} up"));
    ip(&format!("addr add {} dev {interface}", addresses[0]));
    ip(&format!("addr add {} dev {interface} nodad", addresses[1]));
}

fn pattern(at: usize) -> u8 {
    (at * 31 + at / 257) as u8
}

/// The other stack: takes the bytes of one connection over each IP and says how many were right.
#[test]
#[ignore = "run by tcp_of_a_kernel_comes_through in a namespace"]
fn inner_receiver() {
    end_in_time();
    let end = Instant::now() + Duration::from_secs(20);
    while !std::path::Path::new("/proc/sys/net/ipv6/conf/peer").exists() {
        assert!(Instant::now() < end, "no interface came");
        std::thread::sleep(Duration::from_millis(5));
    }
    with_addresses_up("peer", ADDRESSES.map(|(_, to)| to));
    let listener = TcpListener::bind(("::", PORT)).unwrap();
    println!("listening");
    for _ in ADDRESSES {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        let right = got.iter().enumerate().take_while(|(at, byte)| pattern(*at) == **byte).count();
        stream.write_all(&(right as u64).to_be_bytes()).unwrap();
    }
}

/// What a direction has moved.
#[derive(Debug, Default)]
struct Moved {
    cut: u64,
    finished: u64,
}

/// Moves what has come, every checksum finished.
fn forward(world: &World, rx: &mut RxQueue, tx: &mut TxQueue, moved: &mut Moved) {
    let mut arrived = Batch::new();
    receive(rx, &mut arrived);
    for packet in arrived.drain() {
        let mut leaving = Batch::new();
        match world.pass(Posture::Software, packet, tx.frame_bytes_max()) {
            Ok(Answer::Whole(mut packet)) => {
                moved.finished += u64::from(checksum::fill(packet.data_mut()));
                leaving.push(packet).unwrap();
            }
            Ok(Answer::Cut(segments, _)) => {
                moved.cut += 1;
                for segment in segments {
                    leaving.push(segment).unwrap();
                }
            }
            Err((packet, reason)) => {
                assert_eq!(reason, DropReason::SegmentUnsupported);
                panic!("{packet:?} of a kernel's TCP is not supported");
            }
        }
        // What the ring does not take is lost, as on any link.
        send(tx, &mut leaving);
    }
}

/// A child that is gone when the test is.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn transfer(to: &str) -> u64 {
    let to = to.split('/').next().unwrap();
    let mut stream = TcpStream::connect((to, PORT)).unwrap();
    let bytes: Vec<_> = (0..BYTES).map(pattern).collect();
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut right = [0; 8];
    stream.read_exact(&mut right).unwrap();
    u64::from_be_bytes(right)
}

#[test]
#[ignore = "run by tcp_of_a_kernel_comes_through in a namespace"]
fn inner_tcp_of_a_kernel_comes_through() {
    end_in_time();
    // host | gw-in .. gw-out | peer, the last in a namespace of its own.
    ip("link add gwin type veth peer name host");
    ip("link add gwout type veth peer name peer");
    ip("link set host gso_max_size 12000");
    let mut receiver =
        unshared("kernel::inner_receiver").stdout(Stdio::piped()).spawn().map(Guarded).unwrap();
    // `unshare` becomes this program: its process is the child.
    let child = receiver.0.id();
    let end = Instant::now() + Duration::from_secs(10);
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    while std::fs::read_link(format!("/proc/{child}/ns/net")).is_ok_and(|other| other == own) {
        assert!(Instant::now() < end, "the receiver did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    ip(&format!("link set peer netns {child}"));
    silent_up("gwin");
    silent_up("gwout");
    with_addresses_up("host", ADDRESSES.map(|(from, _)| from));
    let mut said = [0; 256];
    let mut heard = String::new();
    let out = receiver.0.stdout.as_mut().unwrap();
    while !heard.contains("listening") {
        let n = out.read(&mut said).unwrap();
        assert!(n > 0, "the receiver ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&said[..n]));
    }

    // Super-frames of up to 12,000 bytes fit a slot, and a slot fits a buffer.
    let world = World::with_buffers(1023, 16_640);
    let slots = "blocksz=65536,framesz=16384,framecnt=512";
    let (_in, mut in_rx, mut in_tx) =
        world.bench.open(&format!("net_af_packet0,iface=gwin,{slots}"));
    let (_out, mut out_rx, mut out_tx) =
        world.bench.open(&format!("net_af_packet1,iface=gwout,{slots}"));
    let (mut there, mut back) = (Moved::default(), Moved::default());
    static DONE: AtomicBool = AtomicBool::new(false);
    let sender = std::thread::spawn(|| {
        let right = ADDRESSES.map(|(_, to)| transfer(to));
        DONE.store(true, Ordering::Release);
        right
    });
    let end = Instant::now() + Duration::from_secs(40);
    while !DONE.load(Ordering::Acquire) {
        assert!(Instant::now() < end, "not within 40 s: {there:?} {back:?}");
        forward(&world, &mut in_rx, &mut out_tx, &mut there);
        forward(&world, &mut out_rx, &mut in_tx, &mut back);
    }
    assert_eq!(sender.join().unwrap(), [BYTES as u64; 2]);
    assert!(there.cut > 100, "the sender's stack made super-frames: {there:?}");
    assert!(back.finished > 0, "{back:?}");
    println!("there {there:?}, back {back:?}");
}
