//! Records laid out by hand as the headers of several kernels have them.

use rig::kernel::ethtool;
use rig::kernel::files::{Bql, bql, interrupts, softnet};
use rig::kernel::inet_diag::{Socket, SocketMemory};
use rig::kernel::netlink::{attributes, messages};
use rig::kernel::own_socket::{Point, origin, software_time};
use rig::kernel::qdisc::{FqCodelStats, FqStats, Particular, Qdisc};
use rig::kernel::ring::frames;
use rig::kernel::tcp_info::TcpInfo;

/// An attribute with its padding.
pub fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + payload.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `len` bytes in which each number of 4 bytes is its own place, counted from 1.
fn numbered(len: usize) -> Vec<u8> {
    (1..=len.div_ceil(4) as u32).flat_map(u32::to_ne_bytes).take(len).collect()
}

fn number(at: usize) -> u32 {
    at as u32 / 4 + 1
}

fn wide(at: usize) -> u64 {
    u64::from(number(at + 4)) << 32 | u64::from(number(at))
}

/// The lengths of Linux 3.x, 3.15, 4.1, 4.9, 4.19, 5.4, 6.2, 6.7 and 7.0.
#[test]
fn tcp_info_of_every_length_says_what_it_reaches() {
    for len in [104, 120, 136, 192, 224, 232, 240, 248, 280] {
        let info = TcpInfo::read(&numbered(len)).unwrap();
        assert_eq!((info.rto_us, info.snd_mss, info.rtt_us), (number(8), number(16), number(68)));
        assert_eq!((info.snd_cwnd, info.total_retrans), (number(80), number(100)));
        let reaches = |end: usize| len >= end;
        assert_eq!(info.pacing_rate, reaches(112).then(|| wide(104)), "{len}");
        assert_eq!(info.max_pacing_rate, reaches(120).then(|| wide(112)), "{len}");
        assert_eq!(info.notsent_bytes, reaches(148).then(|| number(144)), "{len}");
        assert_eq!(info.data_segs_out, reaches(160).then(|| number(156)), "{len}");
        assert_eq!(info.delivery_rate, reaches(168).then(|| wide(160)), "{len}");
        assert_eq!(info.sndbuf_limited_us, reaches(192).then(|| wide(184)), "{len}");
        assert_eq!(info.bytes_retrans, reaches(216).then(|| wide(208)), "{len}");
        assert_eq!(info.snd_wnd, reaches(232).then(|| number(228)), "{len}");
        assert_eq!(info.rehash, reaches(240).then(|| number(236)), "{len}");
        assert_eq!(info.total_rto.is_some(), reaches(248), "{len}");
    }
    assert!(TcpInfo::read(&numbered(103)).is_err());
}

#[test]
fn a_cap_is_reached_at_98_percent_and_none_is_no_cap() {
    let with = |rate: u64, most: u64| {
        let mut bytes = numbered(232);
        bytes[104..112].copy_from_slice(&rate.to_ne_bytes());
        bytes[112..120].copy_from_slice(&most.to_ne_bytes());
        TcpInfo::read(&bytes).unwrap()
    };
    let free = with(1_000, u64::MAX);
    assert_eq!(
        (free.max_pacing_rate, free.pacing_headroom(), free.is_at_cap()),
        (None, None, None)
    );
    assert_eq!(with(979, 1_000).is_at_cap(), Some(false));
    assert_eq!(with(980, 1_000).is_at_cap(), Some(true));
    assert_eq!(with(250, 1_000).pacing_headroom(), Some(0.75));
    assert_eq!(with(2_000, 1_000).pacing_headroom(), Some(0.0), "the rate of slow start");
    assert_eq!(with(1, 0).pacing_headroom(), None);
}

/// `tc_fq_qd_stats` of Linux 4.4, 4.20, 5.8, 6.7 and 6.8.
#[test]
fn fq_of_every_length_says_what_it_reaches() {
    for len in [80, 88, 104, 112, 152] {
        let fq = FqStats::read(&numbered(len)).unwrap();
        assert_eq!((fq.throttled, fq.flows_plimit), (wide(24), wide(32)));
        assert_eq!((fq.flows, fq.throttled_flows), (number(64), number(72)));
        assert_eq!(fq.unthrottle_latency_ns, number(76));
        let reaches = |end: usize| len >= end;
        assert_eq!(fq.ce_mark, reaches(88).then(|| wide(80)), "{len}");
        assert_eq!(fq.horizon_caps, reaches(104).then(|| wide(96)), "{len}");
        assert_eq!(fq.fastpath_packets, reaches(112).then(|| wide(104)), "{len}");
        let bands = [wide(112), wide(120), wide(128)];
        assert_eq!(fq.band_drops, reaches(152).then_some(bands), "{len}");
    }
    assert!(FqStats::read(&numbered(79)).is_err());
}

/// A message of RTM_NEWQDISC behind its header.
fn qdisc(kind: &str, options: &[u8], own: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    bytes[8..12].copy_from_slice(&0x8001_0000_u32.to_ne_bytes());
    bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend(attribute(1, &[kind.as_bytes(), &[0]].concat()));
    bytes.extend(attribute(2, options));
    // 70,000 bytes in 50 packets, or 2^33 packets by the wide number.
    let basic = [70_000_u64.to_ne_bytes().as_slice(), &50_u32.to_ne_bytes(), &[0; 4]].concat();
    let queue: Vec<u8> = [3, 4_542, 2, 1, 9_u32].iter().flat_map(|n| n.to_ne_bytes()).collect();
    let wide = attribute(8, &(1_u64 << 33).to_ne_bytes());
    let stats = [attribute(1, &basic), attribute(3, &queue), wide, attribute(4, own)].concat();
    bytes.extend(attribute(7, &stats));
    bytes
}

#[test]
fn a_discipline_of_the_kind_fq() {
    let fq = Qdisc::read(&qdisc("fq", &[], &numbered(112))).unwrap();
    assert_eq!((fq.interface, fq.handle, fq.is_root()), (7, 0x8001_0000, true));
    assert_eq!((fq.bytes, fq.packets), (70_000, 1 << 33));
    assert_eq!((fq.qlen, fq.backlog, fq.drops), (3, 4_542, 2));
    assert_eq!((fq.requeues, fq.overlimits), (1, 9));
    assert_eq!(fq.particular, Some(Particular::Fq(FqStats::read(&numbered(112)).unwrap())));
    assert!(Qdisc::read(&qdisc("fq", &[], &numbered(76))).is_err(), "too short for any kernel");
}

#[test]
fn disciplines_of_other_kinds() {
    let mut own = numbered(40);
    own[..4].fill(0);
    let codel = Qdisc::read(&qdisc("fq_codel", &[], &own)).unwrap();
    let expected = FqCodelStats::read(&own).unwrap();
    assert_eq!(codel.particular, Some(Particular::FqCodel(expected)));
    assert_eq!((expected.drop_overlimit, expected.new_flow_count), (number(8), number(16)));
    assert_eq!(expected.drop_overmemory, Some(number(36)));
    assert_eq!(FqCodelStats::read(&own[..28]).unwrap().drop_overmemory, None, "an old kernel");
    own[0] = 1;
    assert!(Qdisc::read(&qdisc("fq_codel", &[], &own)).is_err(), "of a class");

    let parameters = [(-200_i32).to_ne_bytes(), 11_i32.to_ne_bytes(), 2_u32.to_ne_bytes()].concat();
    let etf = Qdisc::read(&qdisc("etf", &attribute(1, &parameters), &[])).unwrap();
    assert_eq!(etf.particular, Some(Particular::Etf { delta_ns: -200, offload: true }));

    // 5 GB/s stand in an attribute of their own.
    let mut parameters = vec![0xff; 36];
    parameters[24..28].copy_from_slice(&9_u32.to_ne_bytes());
    let wide = attribute(4, &5_000_000_000_u64.to_ne_bytes());
    let options = [attribute(1, &parameters), wide].concat();
    let tbf = Qdisc::read(&qdisc("tbf", &options, &[])).unwrap();
    assert_eq!(tbf.particular, Some(Particular::Tbf { rate: 5_000_000_000, limit: 9 }));

    let unknown = Qdisc::read(&qdisc("cake", &[1, 2, 3], &[])).unwrap();
    assert_eq!((unknown.particular, unknown.drops), (None, 2), "what is common is read");
}

#[test]
fn memory_of_a_socket_of_every_length() {
    let seven = SocketMemory::read(&numbered(28)).unwrap();
    assert_eq!((seven.rmem_alloc, seven.wmem_alloc, seven.wmem_queued), (1, 3, 6));
    assert_eq!((seven.rcvbuf, seven.sndbuf, seven.drops), (2, 4, None));
    assert_eq!(SocketMemory::read(&numbered(36)).unwrap().drops, Some(9));
    assert!(SocketMemory::read(&numbered(24)).is_err());
}

#[test]
fn a_socket_for_both_families_that_talks_ipv4_is_one_of_ipv4() {
    let mut bytes = vec![0; 72];
    bytes[0] = 10;
    bytes[1] = 1;
    bytes[4..6].copy_from_slice(&40_000_u16.to_be_bytes());
    bytes[6..8].copy_from_slice(&7_000_u16.to_be_bytes());
    bytes[18..24].copy_from_slice(&[0xff, 0xff, 10, 9, 0, 1]);
    bytes[24..40].copy_from_slice(&"2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes[60..64].copy_from_slice(&77_u32.to_ne_bytes());
    bytes.extend(attribute(2, &[]));
    let socket = Socket::read(&bytes).unwrap();
    assert_eq!(socket.local.to_string(), "10.9.0.1:40000");
    assert_eq!(socket.remote.to_string(), "[2001:db8::2]:7000");
    assert_eq!((socket.out_queue_bytes, socket.info, socket.memory), (77, None, None));
    bytes[0] = 1;
    assert!(Socket::read(&bytes).is_err(), "a family that is not IP");
}

#[test]
fn what_a_device_coalesces() {
    let mut bytes = vec![20, 1, 0, 0];
    for (kind, value) in [(2, 30_u32), (3, 64), (6, 50)] {
        bytes.extend(attribute(kind, &value.to_ne_bytes()));
    }
    bytes.extend(attribute(11, &[1]));
    bytes.extend(attribute(200, &[1, 2]));
    let expected = [("rx_usecs", 30), ("rx_frames", 64), ("tx_usecs", 50), ("adaptive_rx", 1)];
    assert_eq!(ethtool::coalesce(&bytes).unwrap(), expected);
    let rings = [vec![16, 1, 0, 0], attribute(6, &256_u32.to_ne_bytes())].concat();
    assert_eq!(ethtool::rings(&rings).unwrap(), [("rx", 256)]);
    assert!(ethtool::rings(&[vec![16, 1, 0, 0], attribute(6, &[1, 2])].concat()).is_err());
}

#[test]
fn lengths_that_lead_out_are_errors() {
    let of = |len: u16| [len.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
    for len in [0, 3, 5, u16::MAX] {
        let bytes = of(len);
        let found: Vec<_> = attributes(&bytes).collect();
        assert!(found.len() == 1 && found[0].is_err(), "{len}: {found:?}");
    }
    let mut header = vec![0; 16];
    for len in [0_u32, 15, 17, u32::MAX] {
        header[..4].copy_from_slice(&len.to_ne_bytes());
        let found: Vec<_> = messages(&header).collect();
        assert!(found.len() == 1 && found[0].is_err(), "{len}: {found:?}");
    }
    // The last attribute of a message may lack its padding.
    let found: Vec<_> = attributes(&[5, 0, 1, 0, 9]).map(Result::unwrap).collect();
    assert_eq!(found[0].payload, [9]);
}

/// A block of a ring with frames of these bytes: (ns, outgoing, segment bytes, bytes).
pub fn block(frames: &[(u64, bool, u16, &[u8])]) -> Vec<u8> {
    const FIRST: usize = 48;
    let mut block = vec![0; FIRST];
    block[12..16].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
    block[16..20].copy_from_slice(&(FIRST as u32).to_ne_bytes());
    for (n, (at, is_outgoing, segment, bytes)) in frames.iter().enumerate() {
        let mac = 48 + 20 + 2 + 10;
        let mut frame = vec![0; mac];
        let next = (mac + bytes.len()).next_multiple_of(8);
        let put = |frame: &mut Vec<u8>, at: usize, n: u32| {
            frame[at..at + 4].copy_from_slice(&n.to_ne_bytes());
        };
        put(&mut frame, 0, if n + 1 < frames.len() { next as u32 } else { 0 });
        put(&mut frame, 4, (at / 1_000_000_000) as u32);
        put(&mut frame, 8, (at % 1_000_000_000) as u32);
        put(&mut frame, 12, bytes.len() as u32);
        put(&mut frame, 16, bytes.len() as u32 + 100);
        put(&mut frame, 20, if n == 0 { 1 << 4 } else { 0 });
        frame[24..26].copy_from_slice(&(mac as u16).to_ne_bytes());
        put(&mut frame, 32, 0x6005);
        frame[58] = if *is_outgoing { 4 } else { 0 };
        frame[mac - 9] = u8::from(*segment > 0);
        frame[mac - 6..mac - 4].copy_from_slice(&segment.to_ne_bytes());
        frame.extend_from_slice(bytes);
        frame.resize(next, 0);
        block.extend(frame);
    }
    block
}

#[test]
fn a_block_gives_its_frames_in_order() {
    let at = 1_700_000_000_123_456_789;
    let block = block(&[(at, true, 1_448, &[1, 2, 3]), (at + 1, false, 0, &[4; 60])]);
    let found: Vec<_> = frames(&block).map(Result::unwrap).collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].at_ns, found[0].bytes, found[0].len), (at, &[1, 2, 3][..], 103));
    assert_eq!((found[0].is_outgoing, found[0].segment_bytes), (true, Some(1_448)));
    assert_eq!((found[0].vlan, found[1].vlan), (Some(5), None), "the priority is no part of it");
    assert_eq!((found[1].at_ns, found[1].is_outgoing), (at + 1, false));
    assert_eq!((found[1].segment_bytes, found[1].bytes.len()), (None, 60));
}

#[test]
fn a_frame_that_leads_nowhere_ends_its_block() {
    let mut block = block(&[(1, true, 0, &[0; 60]), (2, true, 0, &[0; 60])]);
    block[48..52].copy_from_slice(&0_u32.to_ne_bytes());
    let found: Vec<_> = frames(&block).collect();
    assert!(found.len() == 2 && found[0].is_ok() && found[1].is_err(), "{found:?}");
    block[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(frames(&block).all(|frame| frame.is_err()));
    assert_eq!(frames(&[0; 48]).count(), 0, "no frame");
}

#[test]
fn stamps_of_a_socket() {
    let time = [5_i64.to_ne_bytes(), 7_i64.to_ne_bytes()].concat();
    assert_eq!(software_time(&[time.clone(), vec![0; 32]].concat()), Ok(Some(5_000_000_007)));
    assert_eq!(software_time(&[0; 48]), Ok(None), "not set");
    assert!(software_time(&time[..15]).is_err());
    assert_eq!(software_time(&[0xff; 16]), Ok(None), "no such time");
    let of = |origin: u8, info: u32| {
        let mut bytes = [0; 16];
        bytes[4] = origin;
        bytes[8..12].copy_from_slice(&info.to_ne_bytes());
        bytes[12..].copy_from_slice(&213_u32.to_ne_bytes());
        bytes
    };
    for (info, point) in [(0, Point::Snd), (1, Point::Sched), (2, Point::Ack)] {
        assert_eq!(origin(&of(4, info)), Ok(Some((point, 213))));
    }
    assert_eq!(origin(&of(4, 9)), Ok(None), "a stamp of a later kernel");
    assert_eq!(origin(&of(2, 0)), Ok(None), "an ICMP error");
    assert!(origin(&[0; 15]).is_err());
}

#[test]
fn byte_limits_of_kernels_with_and_without_a_stall_detector() {
    let of = |files: &[(&str, &str)]| {
        let files: Vec<(String, String)> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        bql(move |name| files.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone()))
    };
    let old = [("limit", "3028\n"), ("inflight", "1514\n")];
    let expected = Bql { limit: 3_028, inflight: 1_514, stalls: None, stall_threshold_ms: None };
    assert_eq!(of(&old), Ok(Some(expected)));
    let off = [old[0], old[1], ("stall_thrs", "0\n"), ("stall_cnt", "0\n")];
    assert_eq!(of(&off), Ok(Some(expected)), "switched off is not 0 stalls");
    let on = [old[0], old[1], ("stall_thrs", "50\n"), ("stall_cnt", "2\n")];
    let expected = Bql { stalls: Some(2), stall_threshold_ms: Some(50), ..expected };
    assert_eq!(of(&on), Ok(Some(expected)));
    assert_eq!(of(&[]), Ok(None));
    let unused = [("limit", "0\n"), ("inflight", "0\n")];
    assert_eq!(of(&unused), Ok(None), "a veth of Linux 6.1: the files are there, and no limit");
    assert!(of(&[("limit", "many\n"), ("inflight", "0")]).is_err());
}

#[test]
fn texts_of_other_kernels() {
    // Ten columns before the CPU was told; CPU 1 is offline.
    let old = "0000000a 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n";
    let cpus = softnet(old).unwrap();
    assert_eq!((cpus[0].cpu, cpus[0].processed, cpus[0].dropped), (None, 10, 1));
    let gap = format!("{0} 0 0 00000000 0 0\n{0} 0 0 00000002 0 0\n", old.trim());
    let cpus: Vec<_> = softnet(&gap).unwrap().iter().map(|of| of.cpu).collect();
    assert_eq!(cpus, [Some(0), Some(2)]);
    assert!(softnet("0000000a xyz 0\n").is_err());
    let text = "           CPU0       CPU1\n 24:  5  7  PCI-MSIX-0000:00:03.0 1-edge  eth0-rx-0\nERR:  3\n";
    let lines = interrupts(text).unwrap();
    assert_eq!((lines[0].name.as_str(), &lines[0].counts[..]), ("24", &[5, 7][..]));
    assert!(lines[0].device.ends_with("eth0-rx-0"));
    assert_eq!((&lines[1].counts[..], lines[1].device.as_str()), (&[3][..], ""));
    assert!(interrupts("CPU0\nno colon\n").is_err());
}
