//! Bytes that kernels gave: a Linux 6.18 those in `recorded`, others those in the folder of their release.
//! `WIREPACE_RECORD=1` as root lets the tests of `live` write them anew, and `WIREPACE_RECORD=linux-6.1` those
//! of another kernel, such as `scripts/record-kernel` runs them on; what is expected has to be changed with
//! them.

use std::path::PathBuf;

use rig::kernel::files::{cpu_ticks, interrupts, receive_runs, schedstat, softnet};
use rig::kernel::inet_diag::Socket;
use rig::kernel::link::Link;
use rig::kernel::qdisc::{Particular, Qdisc};
use rig::kernel::{ethtool, netlink};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/recorded")).join(name)
}

/// What is recorded as `name`, in bytes.
pub fn bytes(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path(&format!("{name}.hex"))).unwrap();
    crate::reads::of_hex(&text)
}

/// The names of all that are recorded in bytes, of every kernel.
pub fn names() -> Vec<String> {
    let mut folders = vec![path("")];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let found = entry.unwrap().path();
            if found.is_dir() {
                folders.push(found);
            } else if found.extension().is_some_and(|ending| ending == "hex") {
                let name = found.with_extension("");
                names.push(name.strip_prefix(path("")).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// Where what is recorded now is written to, if that is wanted.
fn target(name: &str) -> Option<PathBuf> {
    let release = std::env::var("WIREPACE_RECORD").ok()?;
    let folder = if release == "1" { path("") } else { path(&release) };
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder.join(name))
}

/// Writes down `bytes` as `name`, if that is wanted.
pub fn record(name: &str, bytes: &[u8]) {
    if let Some(target) = target(&format!("{name}.hex")) {
        let line = |line: &[u8]| {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            hex.join(" ") + "\n"
        };
        let hex: String = bytes.chunks(16).map(line).collect();
        std::fs::write(target, hex).unwrap();
    }
}

/// The same of a text.
pub fn record_text(name: &str, text: &str) {
    if let Some(target) = target(name) {
        std::fs::write(target, text).unwrap();
    }
}

#[test]
fn a_socket_says_where_it_ends_and_how_it_paces() {
    let socket = Socket::read(&bytes("diag-socket")).unwrap();
    assert_eq!(socket.state, 1);
    assert_eq!(socket.local.ip().to_string(), "10.9.0.1");
    assert_eq!(socket.remote.to_string(), "10.9.0.2:7000");
    assert_ne!(socket.cookie(), 0);
    let info = socket.info.unwrap();
    assert_eq!(info.max_pacing_rate, Some(2_500_000));
    assert!(info.pacing_rate.is_some_and(|rate| rate <= 2_500_000), "{info:?}");
    assert_eq!((info.snd_mss, info.total_retrans), (1_448, 0));
    assert_eq!(info.data_segs_out.zip(info.bytes_sent), Some((1, 1_000)));
    assert!(info.rcv_wnd.is_some() && info.total_rto == Some(0), "248 bytes: {info:?}");
    let memory = socket.memory.unwrap();
    assert!(memory.sndbuf > 0 && memory.drops == Some(0), "{memory:?}");
    assert_eq!(socket.congestion.as_deref(), Some("bbr"));
}

#[test]
fn disciplines_say_what_they_are() {
    let read = |name: &str| Qdisc::read(&bytes(name)).unwrap();
    let tbf = read("qdisc-tbf");
    assert_eq!((tbf.kind.as_str(), tbf.handle, tbf.is_root()), ("tbf", 0x10_0000, true));
    assert_eq!(tbf.particular, Some(Particular::Tbf { rate: 1_250_000, limit: 100_000 }));
    let htb = read("qdisc-htb");
    assert_eq!(htb.kind, "htb");
    let Some(Particular::Htb { direct_packets }) = htb.particular else { panic!("{htb:?}") };
    assert!(htb.packets >= 1 && u64::from(direct_packets) == htb.packets, "no class: {htb:?}");
    assert_eq!((htb.drops, htb.requeues, htb.overlimits), (0, 0, 0));
    for (name, kind) in [("qdisc-pfifo_fast", "pfifo_fast"), ("qdisc-noqueue", "noqueue")] {
        let plain = read(name);
        assert_eq!((plain.kind.as_str(), plain.particular), (kind, None));
    }
}

/// `tcp_info` grew in 5.4, 6.2 and 6.7; the counters of fq in 5.8, 6.7 and 6.8.
#[test]
fn other_kernels_say_what_they_reach() {
    for (release, is_new) in [("5.10", false), ("6.1", false), ("6.12", true)] {
        let of = |name: &str| bytes(&format!("linux-{release}/{name}"));
        let socket = Socket::read(&of("diag-socket")).unwrap();
        assert_eq!(socket.remote.to_string(), "10.9.0.2:7000", "{release}");
        let info = socket.info.unwrap();
        assert_eq!(info.max_pacing_rate, Some(2_500_000), "{release}");
        assert_eq!(info.data_segs_out.zip(info.bytes_sent), Some((1, 1_000)), "{release}");
        let reaches = (info.snd_wnd.is_some(), info.rehash.is_some(), info.total_rto.is_some());
        assert_eq!(reaches, (true, is_new, is_new), "{release}");
        let memory = socket.memory.unwrap();
        assert_eq!(memory.drops, Some(0), "{release}");

        let qdisc = Qdisc::read(&of("qdisc-fq")).unwrap();
        assert_eq!((qdisc.kind.as_str(), qdisc.is_root(), qdisc.drops), ("fq", true, 0));
        assert!(qdisc.bytes > 20_000 && qdisc.packets > 0, "{release}: {qdisc:?}");
        let Some(Particular::Fq(fq)) = qdisc.particular else { panic!("{release}: {qdisc:?}") };
        assert!(fq.throttled > 0 && fq.flows > 0, "it paced: {fq:?}");
        assert_eq!((fq.flows_plimit, fq.horizon_drops), (0, Some(0)), "{release}");
        assert_eq!(fq.fastpath_packets.is_some(), is_new, "{release}");
        assert_eq!(fq.band_drops.is_some(), is_new, "{release}");

        let codel = Qdisc::read(&of("qdisc-fq_codel")).unwrap().particular;
        let Some(Particular::FqCodel(codel)) = codel else { panic!("{release}: {codel:?}") };
        assert_eq!((codel.drop_overlimit, codel.drop_overmemory), (0, Some(0)), "{release}");
        let etf = Qdisc::read(&of("qdisc-etf")).unwrap().particular;
        let expected = Particular::Etf { delta_ns: 200_000, offload: false };
        assert_eq!(etf, Some(expected), "{release}");
        let tbf = Qdisc::read(&of("qdisc-tbf")).unwrap().particular;
        assert_eq!(tbf, Some(Particular::Tbf { rate: 1_250_000, limit: 100_000 }), "{release}");
        assert_eq!(Link::read(&of("link-veth")).unwrap().name, "observed", "{release}");
        assert!(ethtool::features(&of("ethtool-features")).is_ok(), "{release}");
    }
}

#[test]
fn an_interface_says_its_name_and_counts() {
    let link = Link::read(&bytes("link-veth")).unwrap();
    assert_eq!((link.name.as_str(), link.mtu), ("observed", 1_500));
    assert!(link.counts.tx_packets > 0 && link.counts.tx_dropped == 0, "{link:?}");
}

#[test]
fn features_are_on_or_off_by_their_names() {
    assert!(ethtool::family(&bytes("ethtool-family")).unwrap() > 0x10);
    let features = ethtool::features(&bytes("ethtool-features")).unwrap();
    let is_on = |name: &str| features.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(is_on("tx-tcp-segmentation") && is_on("tx-generic-segmentation"), "{features:?}");
    assert!(!is_on("rx-lro") && !is_on("rx-gro-hw"), "{features:?}");
}

#[test]
fn an_answer_is_taken_apart_to_its_last_message() {
    let answer = bytes("netlink-answer");
    let messages: Vec<_> = netlink::messages(&answer).map(Result::unwrap).collect();
    let qdiscs: Vec<_> = messages.iter().map(|m| Qdisc::read(m.payload).unwrap()).collect();
    assert!(messages.iter().all(|message| message.kind == 36), "RTM_NEWQDISC");
    assert!(qdiscs.iter().any(|qdisc| qdisc.kind == "tbf"), "{qdiscs:?}");
}

#[test]
fn texts_are_read() {
    let cpus = softnet(&text("softnet_stat")).unwrap();
    assert_eq!(cpus.iter().map(|of| of.cpu).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(cpus[0].processed > 0);
    let thread = schedstat(&text("schedstat")).unwrap();
    assert!(thread.run_ns > 0 && thread.slices > 0);
    let ticks = cpu_ticks(&text("stat")).unwrap();
    assert!(ticks.user > 0 && ticks.idle > 0 && ticks.busy() < ticks.busy() + ticks.idle);
    assert_eq!(receive_runs(&text("stat")), Ok(3_509_897));
    assert!(receive_runs("softirq 1 2 3 4\n").is_err() && receive_runs("cpu  1\n").is_err());
    let lines = interrupts(&text("interrupts")).unwrap();
    let timer = lines.iter().find(|line| line.name == "LOC").unwrap();
    assert_eq!((timer.counts.len(), timer.device.as_str()), (2, "Local timer interrupts"));
    assert!(lines.iter().any(|line| line.device.contains("virtio")), "{lines:?}");
}
