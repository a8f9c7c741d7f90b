//! Ports without a NIC: net_null, net_ring and net_pcap. Each test ends with every buffer back in
//! its pool (`Bench`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::os::unix::fs::MetadataExt;

use common::{Bench, bytes_of, frame, receive, send, spec, transfer, wait_for};
use dataplane::batch::{BATCH_PACKETS_MAX, Batch};
use dataplane::locks::LockError;
use dataplane::port::Tx;
use dataplane::port::dpdk::{LaunchState, LaunchTime, PortError, PortSpec, QueueSpec, Reception};
use model::time::Nanos;

#[test]
fn null_receives_without_end_and_swallows_what_is_sent() {
    let bench = Bench::new();
    let (handle, mut rx, _tx_in) = bench.open("net_null0,size=64");
    let (_out, _rx_out, mut tx) = bench.open("net_null1");
    let mut batch = Batch::new();
    for _ in 0..100 {
        assert_eq!(receive(&mut rx, &mut batch), 32);
        assert!(batch.iter().all(|p| p.len() == 64 && p.rx_stamp().is_none()));
        assert_eq!(send(&mut tx, &mut batch), 32);
        assert!(batch.is_empty());
    }
    assert_eq!(handle.facts().reception, Reception::Unfiltered);
    assert_eq!(handle.device_stats().unwrap().packets_in, 3200);
    assert!(handle.link().is_up());
}

#[test]
fn a_full_batch_takes_no_more() {
    let bench = Bench::new();
    let (_handle, mut rx, _tx) = bench.open("net_null0");
    let mut batch = Batch::new();
    while receive(&mut rx, &mut batch) > 0 {}
    assert_eq!((batch.len(), batch.room()), (BATCH_PACKETS_MAX, 0));
    let refused = batch.push(bench.pool.alloc().unwrap());
    assert!(refused.is_err());
}

#[test]
fn ring_brings_back_what_was_sent_in_order() {
    let bench = Bench::new();
    let (_handle, mut rx, mut tx) = bench.open("net_ring0");
    let frames: Vec<_> = (0..200).map(|n| frame(n, 60 + n as usize)).collect();
    let mut batch = bench.batch(frames.iter().map(Vec::as_slice));
    assert_eq!(tx.ring_occupancy(), Some(0));
    assert_eq!(send(&mut tx, &mut batch), 200);
    assert_eq!(tx.ring_occupancy(), Some(200));
    let mut back = Batch::new();
    while receive(&mut rx, &mut back) > 0 {}
    assert_eq!(tx.ring_occupancy(), Some(0));
    let received: Vec<_> = back.iter().map(bytes_of).collect();
    assert_eq!(received, frames);
}

#[test]
fn what_a_full_port_does_not_take_stays_owned_and_in_order() {
    let bench = Bench::new();
    let (_handle, mut rx, mut tx) = bench.open("net_ring0");
    // The ring has 1024 slots, one of which is never used.
    let mut sent = 0;
    let mut batch = Batch::new();
    let mut number = 0;
    loop {
        while batch.room() > 0 {
            batch.push(bench.pool.alloc_from(&frame(number, 60)).unwrap()).unwrap();
            number += 1;
        }
        let taken = send(&mut tx, &mut batch);
        sent += taken;
        if taken < BATCH_PACKETS_MAX {
            break;
        }
    }
    assert_eq!(sent, 1023);
    assert_eq!(batch.len(), BATCH_PACKETS_MAX - (1023 - 3 * BATCH_PACKETS_MAX));
    assert_eq!(send(&mut tx, &mut batch), 0);
    let numbers: Vec<_> = batch.iter().map(|p| bytes_of(p)[14..18].to_vec()).collect();
    let expected: Vec<_> = (1023..number).map(|n: u32| n.to_be_bytes().to_vec()).collect();
    assert_eq!(numbers, expected);
    let mut back = Batch::new();
    assert_eq!(receive(&mut rx, &mut back), 32);
    assert_eq!(send(&mut tx, &mut batch), 1);
}

#[test]
fn packets_left_in_a_ring_come_back_when_it_closes() {
    let bench = Bench::new();
    let (_handle, _rx, mut tx) = bench.open("net_ring0");
    let frame = frame(7, 100);
    let mut batch = bench.batch([frame.as_slice(); 50]);
    assert_eq!(send(&mut tx, &mut batch), 50);
}

#[test]
fn pcap_to_pcap_keeps_bytes_and_gives_stamps() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.pcap"), dir.path().join("out.pcap"));
    let mut frames: Vec<_> = (0..70).map(|n| frame(n, 60 + n as usize * 20)).collect();
    // More than one buffer of the pool.
    frames.push(frame(70, 9000));
    write_pcap(&input, &frames);
    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let (handle, mut rx, mut tx) = bench.open(&device);
    assert!(handle.facts().multi_segs);
    let mut batch = Batch::new();
    let mut stamps = Vec::new();
    loop {
        let n = receive(&mut rx, &mut batch);
        if n == 0 {
            break;
        }
        stamps.extend(batch.iter().map(|p| p.rx_stamp().unwrap()));
        assert_eq!(send(&mut tx, &mut batch), n);
    }
    let expected: Vec<_> = (0..71).map(|n| 1_700_000_000 * 1_000_000 + n).collect();
    assert_eq!(stamps, expected, "microseconds of the capture");
    drop((rx, tx));
    // Closed by the port thread: the capture is complete.
    let handle_gone = || handle.device_stats().is_err_and(|e| matches!(e, PortError::Closed));
    assert!((0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        handle_gone()
    }));
    assert_eq!(read_pcap(&output), frames);
}

#[test]
fn a_stamp_does_not_survive_a_ring() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.pcap");
    write_pcap(&input, &[frame(0, 60)]);
    let (_in, mut rx, _tx) = bench.open(&format!("net_pcap0,rx_pcap={}", input.display()));
    let (_ring, mut ring_rx, mut ring_tx) = bench.open("net_ring0");
    let mut batch = Batch::new();
    assert_eq!(receive(&mut rx, &mut batch), 1);
    assert!(batch.get(0).unwrap().rx_stamp().is_some());
    assert_eq!(send(&mut ring_tx, &mut batch), 1);
    assert_eq!(receive(&mut ring_rx, &mut batch), 1);
    assert_eq!(batch.get(0).unwrap().rx_stamp(), None);
}

#[test]
fn metadata_stays_with_its_packet() {
    let bench = Bench::new();
    let (_handle, mut rx, mut tx) = bench.open("net_ring0");
    let frame = frame(7, 100);
    let mut batch = bench.batch([frame.as_slice(); 3]);
    for (index, packet) in batch.iter_mut().enumerate() {
        packet.meta_mut().arrival = Nanos(index as u64 + 1);
        packet.meta_mut().class = 9;
    }
    assert_eq!(send(&mut tx, &mut batch), 3);
    assert_eq!(receive(&mut rx, &mut batch), 3);
    let metas: Vec<_> = batch.iter().map(|p| (p.meta().arrival.0, p.meta().class)).collect();
    assert_eq!(metas, [(1, 9), (2, 9), (3, 9)]);
    assert_eq!(bytes_of(batch.get(1).unwrap()), frame);
}

#[test]
fn memif_joins_two_ports() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let end = |n, role| format!("net_memif{n},role={role},socket={}", socket.display());
    let (server, mut server_rx, mut server_tx) = bench.open(&end(0, "server"));
    let (client, mut client_rx, mut client_tx) = bench.open(&end(1, "client"));
    wait_for("both ends joined", || server.link().is_up() && client.link().is_up());
    transfer(&bench, &mut server_tx, &mut client_rx, 0, 500);
    transfer(&bench, &mut client_tx, &mut server_rx, 0, 500);
    let again = bench.try_open(&end(2, "server"));
    assert!(matches!(again, Err(PortError::Lock { .. })), "{:?}", again.err());
}

#[test]
fn vhost_waits_for_its_guest() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let device = format!("net_vhost0,iface={}", dir.path().join("v.sock").display());
    let (handle, mut rx, mut tx) = bench.open(&device);
    assert!(!handle.link().is_up());
    let mut batch = Batch::new();
    assert_eq!(receive(&mut rx, &mut batch), 0);
    let mut batch = bench.batch([frame(1, 60).as_slice()]);
    assert_eq!((send(&mut tx, &mut batch), batch.len()), (0, 1));
}

#[test]
fn one_output_capture_belongs_to_one_port() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.pcap");
    let _first = bench.open(&format!("net_pcap0,tx_pcap={}", output.display()));
    let second = bench.try_open(&format!("net_pcap1,tx_pcap={}", output.display()));
    let Err(PortError::Lock { source: LockError::Held { holder, .. }, .. }) = second else {
        panic!("{:?}", second.err());
    };
    assert_eq!(holder, format!("instance \"test\", pid {}", std::process::id()));
}

#[test]
fn what_cannot_be_opened_says_why_and_leaves_nothing_behind() {
    let bench = Bench::new();
    for (device, said) in [
        ("net_pcap0,rx_pcap=/nonexistent/in.pcap", "rte_eal_hotplug_add"),
        ("net_pcap0,tx_pcap=/nonexistent/out.pcap", "/nonexistent"),
        ("net_af_packet0,iface=absent0", "there is no interface absent0"),
        ("net_af_xdp0,iface=absent0", "there is no interface absent0"),
    ] {
        let error = bench.try_open(device).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(said), "{device}: {error}");
    }
    let mut wrong = spec("net_null0");
    wrong.rx_burst = 257;
    let error = bench.ports().open(wrong, &bench.pool).err().unwrap().to_string();
    assert!(error.contains("rx_burst = 257: 1 to 256"), "{error}");
    let _first = bench.open("net_null0");
    assert!(matches!(bench.try_open("net_null0"), Err(PortError::Twice { .. })));
}

#[test]
fn a_device_can_be_opened_again_after_its_queues_are_gone() {
    let bench = Bench::new();
    for _ in 0..3 {
        let (handle, mut rx, tx) = bench.open("net_null0");
        let mut batch = Batch::new();
        assert_eq!(receive(&mut rx, &mut batch), 32);
        drop(rx);
        assert!(handle.device_stats().is_ok(), "one queue is still out");
        drop(tx);
        assert!(matches!(handle.device_stats(), Err(PortError::Closed)));
    }
}

#[test]
fn queues_move_to_another_thread_and_end_there() {
    let bench = Bench::new();
    let (_handle, mut rx, mut tx) = bench.open("net_ring0");
    let frame = frame(1, 64);
    let mut batch = bench.batch([frame.as_slice(); 10]);
    let pool = bench.pool.clone();
    std::thread::spawn(move || {
        let _core = dataplane::thread::DataCore::enter(None, &[pool]).unwrap();
        assert_eq!(send(&mut tx, &mut batch), 10);
        assert_eq!(receive(&mut rx, &mut batch), 10);
    })
    .join()
    .unwrap();
}

#[test]
fn limits_of_the_device_are_known() {
    let bench = Bench::new();
    let mut jumbo = spec("net_null0");
    jumbo.frame_bytes_max = 9014;
    let (handle, _rx, tx) = bench.ports().open(jumbo, &bench.pool).unwrap();
    assert_eq!(tx.frame_bytes_max(), 9014);
    assert_eq!(handle.facts().mtu, 9000);
    assert_eq!(tx.ring_occupancy(), None);
}

/// A capture in microseconds from 1,700,000,000 s, one packet each microsecond.
fn write_pcap(path: &std::path::Path, frames: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (number, frame) in frames.iter().enumerate() {
        let len = frame.len() as u32;
        for word in [1_700_000_000, number as u32, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    std::fs::write(path, bytes).unwrap();
}

/// The frames of a little-endian capture.
fn read_pcap(path: &std::path::Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

/// Runs the other tests of this program again as the user nobody.
#[test]
fn null_ring_and_pcap_need_no_privileges() {
    use std::os::unix::fs::PermissionsExt;

    const THIS: &str = "null_ring_and_pcap_need_no_privileges";
    if std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() != 0) {
        println!("skipped: the other tests have just shown it");
        return;
    }
    // Where nobody can read it.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("vdev");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let run = std::process::Command::new("timeout")
        .args(["60", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(&program)
        .args(["--skip", THIS])
        .current_dir(dir.path())
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("20 passed"), "{said}");
}

#[test]
fn several_rx_queues_are_read_apart_and_a_device_without_them_is_refused() {
    let bench = Bench::new();
    let queues = |rx: usize, tx_queues| QueueSpec {
        rx_bursts: (1..=rx as u16).map(|n| n.min(8) * 8).collect(),
        by_class: false,
        tx_queues,
    };
    let (handle, mut rx, tx) =
        bench.ports().open_queues(spec("net_null0"), queues(3, 2), &bench.pool).unwrap();
    for (rx, burst) in rx.iter_mut().zip([8, 16, 24]) {
        let mut batch = Batch::new();
        assert_eq!((receive(rx, &mut batch), rx.burst()), (burst, burst));
    }
    assert_eq!(handle.device_stats().unwrap().packets_in, 48);
    drop((rx, tx));

    let refused = bench.ports().open_queues(spec("net_ring0"), queues(64, 1), &bench.pool);
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(matches!(refused, PortError::Queues { rx_wanted: 64, .. }), "{refused}");
    let by_class = QueueSpec { by_class: true, ..queues(2, 1) };
    let ring = bench.ports().open_queues(spec("net_ring0"), by_class, &bench.pool);
    assert!(ring.is_ok(), "whoever fills a ring knows what it puts there");
}

fn launching(device: &str, launch_time: LaunchTime) -> PortSpec {
    PortSpec { name: "venue-a".to_owned(), launch_time, timesync: true, ..spec(device) }
}

/// No virtual device of 22.11 sends at a given time: a demand for it refuses the start, and says
/// what to change.
#[test]
fn a_demand_for_launch_times_on_a_vdev_refuses_the_start() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let pcap = format!("net_pcap0,tx_pcap={}", dir.path().join("out.pcap").display());
    for device in ["net_null0", "net_ring0", &pcap] {
        let refused = bench.ports().open(launching(device, LaunchTime::Require), &bench.pool);
        let Err(error) = refused else { panic!("{device} was opened") };
        assert!(matches!(error, PortError::LaunchTime { .. }), "{error}");
        let said = error.to_string();
        for word in ["venue-a", device, "launch_time", "SEND_ON_TIMESTAMP", "mlx5", "\"prefer\""] {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
        // Nothing is left of it: the same device opens where the demand is a wish.
        let opened = bench.ports().open(launching(device, LaunchTime::Prefer), &bench.pool);
        let (handle, _rx, tx) = opened.unwrap();
        assert_eq!(handle.facts().launch_time, LaunchState::Missing);
        assert!(!tx.sends_at_time());
    }
}

/// Nor does one cut TCP.
#[test]
fn a_demand_for_hardware_segmentation_on_a_vdev_refuses_the_start() {
    let bench = Bench::new();
    for device in ["net_null0", "net_ring0"] {
        let cutting = PortSpec { name: "venue-a".to_owned(), cuts_frames: true, ..spec(device) };
        let refused = bench.ports().open(cutting, &bench.pool);
        let Err(error) = refused else { panic!("{device} was opened") };
        assert!(matches!(error, PortError::Segments { .. }), "{error}");
        let said = error.to_string();
        for word in ["venue-a", device, "driver net_", "segment", "TCP_TSO", "\"software\""] {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
        let (_handle, _rx, mut tx) = bench.open(device);
        assert!(!tx.cuts_frames());
        let mut batch = bench.batch([frame(1, 60).as_slice()]);
        assert!(!tx.prepare(batch.get_mut(0).unwrap()));
    }
}

#[test]
fn a_vdev_stamps_no_departure_and_has_no_clock() {
    let bench = Bench::new();
    for device in ["net_null0", "net_ring0"] {
        let (handle, _rx, mut tx) =
            bench.ports().open(launching(device, LaunchTime::Off), &bench.pool).unwrap();
        let facts = handle.facts();
        assert!(!facts.timesync && facts.packet_clock.is_none());
        assert_eq!(facts.launch_time, LaunchState::Off);
        assert!(!tx.stamps_departures());
        assert_eq!(tx.departure_stamp(), None);
        let report = handle.clocks();
        assert!(report.packet.is_none() && report.departure.is_none());
        assert!(report.clocks.packet.is_none());
    }
}

/// What a packet asks of a NIC does not come back with it out of a ring.
#[test]
fn marks_for_the_nic_do_not_survive_a_ring() {
    let bench = Bench::new();
    let (_handle, mut rx, mut tx) = bench.open("net_ring0");
    let mut batch = bench.batch([frame(1, 60).as_slice()]);
    let packet = batch.get_mut(0).unwrap();
    packet.set_rx_stamp(7);
    packet.set_launch_time(12_345);
    packet.mark_departure_stamp();
    assert_eq!((packet.launch_time(), packet.rx_stamp()), (Some(12_345), None));
    assert!(packet.wants_departure_stamp());
    assert_eq!(send(&mut tx, &mut batch), 1);
    assert_eq!(receive(&mut rx, &mut batch), 1);
    let packet = batch.get(0).unwrap();
    assert_eq!((packet.launch_time(), packet.rx_stamp()), (None, None));
    assert!(!packet.wants_departure_stamp());
}
