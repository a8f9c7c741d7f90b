//! On this kernel, in namespaces of its own. Needs root, ip and tc; else the tests say that they are
//! skipped.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rig::kernel::capture::{Capture, RETIRE_MS, interface_index};
use rig::kernel::inet_diag::{self, Socket};
use rig::kernel::link::{self, Link};
use rig::kernel::netlink::{Attributes, Family, Netlink, Request};
use rig::kernel::own_socket::{self, Point};
use rig::kernel::qdisc::{self, Particular, Qdisc};
use rig::kernel::{ethtool, files};
use rig::observe::discipline::Discipline;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::recorded::{record, record_text};
use crate::sandbox::{command, sandboxed};

/// `observed` here and `peer` in a namespace of its own, 10.9.0.1 and 10.9.0.2.
fn interfaces() {
    command("mount -t sysfs none /sys");
    command("ip netns add there");
    command("ip link add observed type veth peer name peer netns there");
    command("ip address add 10.9.0.1/24 dev observed");
    command("ip link set observed up");
    command("ip -n there address add 10.9.0.2/24 dev peer");
    command("ip -n there link set peer up");
}

/// A connection from here to port 7000 there, whose other end reads everything.
fn connection() -> TcpStream {
    let listener = thread::spawn(|| {
        let namespace = fs::File::open("/run/netns/there").unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpListener::bind("10.9.0.2:7000").unwrap()
    });
    let listener = listener.join().unwrap();
    let socket = TcpStream::connect("10.9.0.2:7000").unwrap();
    let (mut other, _) = listener.accept().unwrap();
    thread::spawn(move || while other.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {});
    socket
}

fn root_qdisc(route: &mut Netlink, index: u32) -> Option<(Qdisc, Vec<u8>)> {
    let mut found = None;
    route
        .ask(qdisc::list(), |message| {
            let qdisc = Qdisc::read(message.payload)?;
            if qdisc.interface == index && qdisc.is_root() {
                found = Some((qdisc, message.payload.to_vec()));
            }
            Ok(())
        })
        .unwrap();
    found
}

/// Asks until `found`: what was just sent may still be under way.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} within 20 s");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sockets_are_listed_and_asked_by_themselves() {
    sandboxed("live::sockets_are_listed_and_asked_by_themselves", &["ip"], || {
        interfaces();
        let mut socket = connection();
        own_socket::set_max_pacing_rate(&socket, 2_500_000).unwrap();
        socket.write_all(&[7; 1_000]).unwrap();
        until("everything acknowledged", || {
            (own_socket::out_queue(&socket).unwrap() == (0, 0)).then_some(())
        });
        let mut diag = Netlink::open(Family::SockDiag).unwrap();
        let mut all = Vec::new();
        diag.ask(inet_diag::list(false), |message| {
            all.push(Socket::read(message.payload)?);
            Ok(())
        })
        .unwrap();
        let local = socket.local_addr().unwrap();
        let listed = all.iter().find(|found| found.local == local).unwrap();
        assert_eq!(listed.remote, socket.peer_addr().unwrap());

        let mut asked = None;
        diag.ask(inet_diag::one(&listed.id), |message| {
            record("diag-socket", message.payload);
            asked = Some(Socket::read(message.payload)?);
            Ok(())
        })
        .unwrap();
        let asked = asked.unwrap();
        assert_eq!((asked.id, asked.cookie()), (listed.id, listed.cookie()));
        // Two ways to the same figures.
        let (info, own) = (asked.info.unwrap(), own_socket::tcp_info(&socket).unwrap());
        assert_eq!(info.max_pacing_rate, Some(2_500_000));
        assert_eq!((info.bytes_sent, info.data_segs_out), (own.bytes_sent, own.data_segs_out));
        assert_eq!((info.snd_mss, info.max_pacing_rate), (own.snd_mss, own.max_pacing_rate));
        drop(socket);
    });
}

/// Disciplines that not every kernel has.
#[test]
fn disciplines_of_some_kernels_are_asked() {
    sandboxed("live::disciplines_of_some_kernels_are_asked", &["ip", "tc"], || {
        interfaces();
        let index = interface_index("observed").unwrap();
        let mut route = Netlink::open(Family::Route).unwrap();
        let mut socket = connection();
        own_socket::set_max_pacing_rate(&socket, 2_500_000).unwrap();
        for (kind, settings) in
            [("fq", ""), ("fq_codel", ""), ("etf", " clockid CLOCK_TAI delta 200000")]
        {
            // etf sends nothing that has no time: it stands beside the others without a packet.
            let line = format!("qdisc replace dev observed root {kind}{settings}");
            let made = Command::new("tc").args(line.split(' ')).output().unwrap();
            if !made.status.success() {
                println!("skipped: this kernel has no {kind}");
                continue;
            }
            let is_sent = kind != "etf";
            if is_sent {
                socket.write_all(&[7; 20_000]).unwrap();
            }
            let (found, payload) = until("what was sent through it", || {
                root_qdisc(&mut route, index)
                    .filter(|(found, _)| !is_sent || found.bytes > 20_000 && found.qlen == 0)
            });
            assert_eq!(found.kind, kind);
            match found.particular {
                Some(Particular::Fq(fq)) => assert!(fq.throttled > 0, "it paces: {fq:?}"),
                Some(Particular::FqCodel(codel)) => assert_eq!(codel.drop_overlimit, 0),
                Some(Particular::Etf { delta_ns, .. }) => assert_eq!(delta_ns, 200_000),
                other => panic!("{kind}: {other:?}"),
            }
            record(&format!("qdisc-{kind}"), &payload);
        }
    });
}

#[test]
fn disciplines_interfaces_and_devices_are_asked() {
    sandboxed("live::disciplines_interfaces_and_devices_are_asked", &["ip", "tc"], || {
        interfaces();
        let index = interface_index("observed").unwrap();
        assert!(interface_index("no-such").is_err());
        assert!(files::sysfs_shows("observed", index));
        assert_eq!(files::bql_of("observed"), Ok(vec![]), "a veth has no byte limit");
        let mut route = Netlink::open(Family::Route).unwrap();
        let (none, payload) = root_qdisc(&mut route, index).unwrap();
        assert_eq!((none.kind.as_str(), none.packets), ("noqueue", 0));
        record("qdisc-noqueue", &payload);

        let mut socket = connection();
        for discipline in
            ["pfifo_fast", "handle 20: htb", "handle 10: tbf rate 10mbit burst 10k limit 100000"]
        {
            command(&format!("tc qdisc replace dev observed root {discipline}"));
            let kind = ["pfifo_fast", "htb", "tbf"].into_iter().find(|k| discipline.contains(k));
            let kind = kind.unwrap();
            socket.write_all(&[7; 100]).unwrap();
            let (found, payload) = until("a packet through it", || {
                root_qdisc(&mut route, index).filter(|(found, _)| found.packets > 0)
            });
            assert_eq!(found.kind, kind);
            record(&format!("qdisc-{kind}"), &payload);
        }
        let (tbf, _) = root_qdisc(&mut route, index).unwrap();
        assert_eq!(tbf.particular, Some(Particular::Tbf { rate: 1_250_000, limit: 100_000 }));

        let mut link = None;
        route
            .ask(link::one(index), |message| {
                record("link-veth", message.payload);
                link = Some(Link::read(message.payload)?);
                Ok(())
            })
            .unwrap();
        let link = link.unwrap();
        assert_eq!((link.index, link.name.as_str()), (index, "observed"));

        let mut generic = Netlink::open(Family::Generic).unwrap();
        let device = ethtool::ask(&mut generic, "observed").unwrap();
        let features = device.features.unwrap();
        assert!(features.contains(&("tx-tcp-segmentation", true)), "{features:?}");
        command("ethtool -K observed tso off");
        let device = ethtool::ask(&mut generic, "observed").unwrap();
        assert!(device.features.unwrap().contains(&("tx-tcp-segmentation", false)));
        command("ethtool -K observed tso on");
        record_devices(&mut generic);
        record_texts();
    });
}

fn record_devices(generic: &mut Netlink) {
    let mut number = 0;
    let family = Request::new(0x10, false).with(&[3, 1, 0, 0]).attribute(2, b"ethtool\0");
    generic
        .ask(family, |message| {
            record("ethtool-family", message.payload);
            number = ethtool::family(message.payload)?;
            Ok(())
        })
        .unwrap();
    let header = Attributes::default().attribute(2, b"observed\0");
    let features = Request::new(number, false).with(&[11, 1, 0, 0]).nest(1, &header);
    generic
        .ask(features, |message| {
            record("ethtool-features", message.payload);
            Ok(())
        })
        .unwrap();
    // A whole answer with its headers, as the socket gives it.
    let mut route = Netlink::open(Family::Route).unwrap();
    let mut answer = Vec::new();
    route
        .ask(qdisc::list(), |message| {
            answer.extend((message.payload.len() as u32 + 16).to_ne_bytes());
            answer.extend(message.kind.to_ne_bytes());
            answer.extend(message.flags.to_ne_bytes());
            answer.extend(message.sequence.to_ne_bytes());
            answer.extend([0; 4]);
            answer.extend(message.payload);
            answer.resize(answer.len().next_multiple_of(4), 0);
            Ok(())
        })
        .unwrap();
    record("netlink-answer", &answer);
}

fn record_texts() {
    for (name, path) in [
        ("softnet_stat", "/proc/net/softnet_stat"),
        ("schedstat", "/proc/self/schedstat"),
        ("stat", "/proc/stat"),
        ("interrupts", "/proc/interrupts"),
    ] {
        record_text(name, &fs::read_to_string(path).unwrap());
    }
}

#[test]
fn a_capture_sees_both_ways_and_super_frames_as_such() {
    sandboxed("live::a_capture_sees_both_ways_and_super_frames_as_such", &["ip"], || {
        interfaces();
        let mut capture = Capture::open("observed", 8 << 20, RETIRE_MS).unwrap();
        let mut socket = connection();
        socket.write_all(&vec![7; 200_000]).unwrap();
        until("everything acknowledged", || {
            (own_socket::out_queue(&socket).unwrap() == (0, 0)).then_some(())
        });
        let (mut sent, mut acknowledged, mut super_frames) = (0, 0, 0);
        let mut last = 0;
        until("every frame", || {
            capture.drain(|frame| {
                last = last.max(frame.at_ns);
                if frame.is_outgoing {
                    sent += u64::from(frame.len);
                    super_frames += u64::from(frame.segment_bytes == Some(1_448));
                } else {
                    acknowledged += 1;
                }
            });
            (sent >= 200_000).then_some(())
        });
        assert!(super_frames > 0 && acknowledged > 0, "{super_frames} and {acknowledged}");
        assert_eq!((capture.drops(), capture.unreadable()), (0, 0));
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(u128::from(last) <= wall.as_nanos(), "stamps are of the wall clock");
    });
}

/// Without a discipline nothing stands between the stamps; behind a token bucket a burst waits there.
#[test]
fn stamps_of_a_socket_show_what_the_discipline_does() {
    sandboxed("live::stamps_of_a_socket_show_what_the_discipline_does", &["ip", "tc"], || {
        interfaces();
        command("ethtool -K observed tso off gso off");
        command("tc qdisc add dev observed root tbf rate 8mbit burst 2k limit 1000000");
        // TCP says when its bytes were acknowledged.
        let mut stream = connection();
        own_socket::stamp(&stream).unwrap();
        stream.write_all(&[7; 1_000]).unwrap();
        let mut points = Vec::new();
        until("three stamps", || {
            own_socket::stamps(&stream, |stamp| points.push((stamp.point, stamp.id))).unwrap();
            (points.len() >= 3).then_some(())
        });
        points.sort_unstable();
        assert_eq!(points, [(Point::Sched, 999), (Point::Snd, 999), (Point::Ack, 999)]);

        // 40 datagrams of 1,000 bytes at once: 1 ms each at 8 Mbit/s.
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        own_socket::stamp(&socket).unwrap();
        for _ in 0..40 {
            socket.send_to(&[7; 1_000], "10.9.0.2:7001").unwrap();
        }
        let (mut discipline, mut sent) = (Discipline::default(), 0);
        until("every datagram sent", || {
            own_socket::stamps(&socket, |stamp| {
                sent += u32::from(stamp.point == Point::Snd);
                discipline.add(stamp);
            })
            .unwrap();
            (sent == 40).then_some(())
        });
        let through = discipline.through(None);
        // The bucket lets 2 of 40 through at once: the last waits 38 ms, less what the sender took.
        let longest = through.delay.max().unwrap();
        assert!(longest >= 10_000_000, "{longest} ns");
        let excess = through.burstiness.excess.unwrap();
        assert!(excess < 0.8, "they leave as bursty as they came: {excess}");
    });
}
