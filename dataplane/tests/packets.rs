//! Owned packets: pool, batch, FIFO, chains, reference probes, flow table. Each test ends with every
//! buffer back in its pool (`Bench`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Bench, bytes_of, eal, frame};
use dataplane::batch::{BATCH_PACKETS_MAX, Batch};
use dataplane::flow_hash::{FlowHash, FlowHashError, FlowHashKey, Full, LOOKUP_KEYS_MAX};
use dataplane::mbuf::{Mbuf, MbufFifo, NoRoom};
use dataplane::pool::{Pool, PoolError};
use dataplane::thread::DataCore;
use model::frame::FlowKey;
use model::pacer::Fifo;

/// A packet whose correlation id is `number`.
fn numbered(bench: &Bench, number: u64) -> Mbuf {
    let mut packet = bench.pool.alloc_from(&frame(number as u32, 60)).unwrap();
    packet.meta_mut().correlation_id = number;
    packet
}

fn numbers(fifo: &mut MbufFifo) -> Vec<u64> {
    std::iter::from_fn(|| fifo.pop_front()).map(|p| p.meta().correlation_id).collect()
}

#[test]
fn fifo_keeps_order_and_takes_back_at_its_head() {
    let bench = Bench::new();
    let mut fifo = MbufFifo::default();
    assert!(fifo.is_empty() && fifo.front().is_none() && fifo.pop_front().is_none());
    for number in 1..=5 {
        fifo.push_back(numbered(&bench, number));
    }
    assert_eq!(fifo.front().unwrap().correlation_id, 1);
    let (first, second) = (fifo.pop_front().unwrap(), fifo.pop_front().unwrap());
    fifo.push_front(second);
    fifo.push_front(first);
    fifo.push_back(numbered(&bench, 6));
    assert_eq!(numbers(&mut fifo), [1, 2, 3, 4, 5, 6]);
    // Empty again: the tail of before must not be used.
    fifo.push_front(numbered(&bench, 7));
    fifo.push_back(numbered(&bench, 8));
    assert_eq!(numbers(&mut fifo), [7, 8]);
    assert!(fifo.is_empty());
}

#[test]
fn two_fifos_do_not_share_links() {
    let bench = Bench::new();
    let (mut a, mut b) = (MbufFifo::default(), MbufFifo::default());
    for number in 0..10 {
        if number % 2 == 0 { &mut a } else { &mut b }.push_back(numbered(&bench, number));
    }
    // From one into the other, the old link must not lead back.
    b.push_back(a.pop_front().unwrap());
    assert_eq!(numbers(&mut b), [1, 3, 5, 7, 9, 0]);
    assert_eq!(numbers(&mut a), [2, 4, 6, 8]);
}

#[test]
fn a_fifo_frees_what_it_holds() {
    let bench = Bench::new();
    let mut fifo = MbufFifo::default();
    for number in 0..100 {
        fifo.push_back(numbered(&bench, number));
    }
    assert_eq!(bench.pool.in_use(), 100);
    drop(fifo);
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn a_batch_owns_its_packets_whatever_is_done_with_it() {
    let bench = Bench::new();
    let mut batch = Batch::new();
    for number in 0..10 {
        batch.push(numbered(&bench, number)).unwrap();
    }
    let ids = |b: &Batch| b.iter().map(|p| p.meta().correlation_id).collect::<Vec<_>>();
    let front: Vec<_> = batch.take_front(3).map(|p| p.meta().correlation_id).collect();
    assert_eq!((front, ids(&batch)), (vec![0, 1, 2], vec![3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(batch.pop().unwrap().meta().correlation_id, 9);
    // Asked for one of two: the other is freed, the rest stays.
    assert_eq!(batch.take_front(2).next().unwrap().meta().correlation_id, 3);
    assert_eq!(ids(&batch), [5, 6, 7, 8]);
    let mut other = Batch::new();
    other.push(numbered(&bench, 100)).unwrap();
    assert_eq!(batch.move_front(3, &mut other), 3);
    assert_eq!((ids(&batch), ids(&other)), (vec![8], vec![100, 5, 6, 7]));
    assert_eq!(bench.pool.in_use(), 5);
    assert_eq!(other.drain().len(), 4);
    assert!(other.is_empty() && other.pop().is_none());
    assert_eq!(bench.pool.in_use(), 1);
    batch.get_mut(0).unwrap().meta_mut().correlation_id = 7;
    assert_eq!(ids(&batch), [7]);
    assert!(batch.get(1).is_none());
    batch.clear();
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn moving_between_batches_stops_at_the_room() {
    let bench = Bench::new();
    let (mut from, mut to) = (Batch::new(), Batch::new());
    assert!(bench.pool.alloc_bulk(100, &mut from));
    assert!(bench.pool.alloc_bulk(200, &mut to));
    assert!(!bench.pool.alloc_bulk(57, &mut to), "no room for 57");
    assert_eq!(from.move_front(100, &mut to), BATCH_PACKETS_MAX - 200);
    assert_eq!((from.len(), to.len()), (44, 256));
}

#[test]
fn an_empty_pool_says_so_and_recovers() {
    let bench = Bench::with_pool(511, 2304);
    let mut batch = Batch::new();
    assert!(bench.pool.alloc_bulk(256, &mut batch));
    let mut more = Batch::new();
    assert!(bench.pool.alloc_bulk(255, &mut more));
    assert!(bench.pool.alloc().is_none());
    assert!(bench.pool.alloc_from(&[1; 60]).is_none());
    assert_eq!(bench.pool.in_use(), 511);
    drop(batch.pop());
    // Two segments wanted, one there: the one goes back.
    assert!(bench.pool.alloc_from(&[1; 3000]).is_none());
    assert_eq!(bench.pool.in_use(), 510);
    assert!(bench.pool.alloc_from(&[1; 60]).is_some());
}

#[test]
fn long_frames_are_chains() {
    let bench = Bench::new();
    let bytes = frame(1, 9000);
    let packet = bench.pool.alloc_from(&bytes).unwrap();
    let room = usize::from(bench.pool.segment_bytes_max());
    assert_eq!(usize::from(packet.segment_count()), 9000_usize.div_ceil(room));
    assert_eq!((packet.len(), packet.data().len()), (9000, room));
    assert_eq!(bytes_of(&packet), bytes);
    drop(packet);
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn append_writes_all_or_nothing() {
    let bench = Bench::new();
    let mut packet = bench.pool.alloc().unwrap();
    assert!(packet.is_empty() && packet.data().is_empty());
    packet.append(&[1; 2000]).unwrap();
    assert_eq!(packet.append(&[2; 177]), Err(NoRoom));
    assert_eq!(packet.len(), 2000);
    packet.append(&[2; 176]).unwrap();
    assert_eq!((packet.len(), packet.data()[2175]), (2176, 2));
    packet.chain(bench.pool.alloc_from(&[3; 10]).unwrap()).unwrap();
    packet.append(&[4; 5]).unwrap();
    assert_eq!((packet.len(), packet.segment_count()), (2191, 2));
    packet.data_mut()[0] = 9;
    let bytes = bytes_of(&packet);
    assert_eq!((bytes[0], bytes[2176], bytes[2190]), (9, 3, 4));
}

#[test]
fn a_probe_sees_when_the_other_owner_lets_go() {
    let bench = Bench::new();
    let chain = bench.pool.alloc_from(&[1; 5000]).unwrap();
    let probe = chain.refcount_probe();
    assert!(!probe.is_done());
    drop(chain);
    assert!(probe.is_done());
    assert_eq!(bench.pool.in_use(), 3, "the probe keeps the buffers");
    drop(probe);
    assert_eq!(bench.pool.in_use(), 0);
    // The other order.
    let packet = bench.pool.alloc_from(&[1; 60]).unwrap();
    drop(packet.refcount_probe());
    assert_eq!((packet.len(), bench.pool.in_use()), (60, 1));
}

#[test]
fn a_pool_that_cannot_be_says_what_is_allowed() {
    let _turn = Bench::new();
    let said = |mbufs, room, cache| {
        Pool::create(&eal(), "refused", mbufs, room, cache).unwrap_err().to_string()
    };
    assert!(said(1000, 2304, 700).contains("at most 512"));
    assert!(said(300, 2304, 256).contains("2/3"));
    assert!(said(1000, 128, 0).contains("128 of its head-room"));
    assert!(said(10_000_000, 2304, 0).contains("raise [dpdk] memory"));
    let _first = Pool::create(&eal(), "taken", 63, 2304, 0).unwrap();
    let second = Pool::create(&eal(), "taken", 63, 2304, 0);
    assert!(matches!(second, Err(PoolError::Name(_))), "{second:?}");
    assert!(Pool::create(&eal(), &"x".repeat(26), 63, 2304, 0).is_err());
}

#[test]
fn a_pool_outlives_its_handle_while_packets_are_out() {
    let _turn = Bench::new();
    let pool = Pool::create(&eal(), "outlived", 63, 2304, 0).unwrap();
    let mut packet = pool.alloc_from(&[5; 60]).unwrap();
    drop(pool);
    packet.data_mut()[0] = 6;
    assert_eq!((packet.data()[0], packet.data()[59]), (6, 5));
}

#[test]
fn eal_starts_once() {
    let _first = eal();
    let options = dataplane::eal::EalOptions {
        memory_bytes: 1 << 20,
        hugepages: model::config::Hugepages::Never,
        control_cpu: None,
        file_prefix: "again".to_owned(),
        log_level: dataplane::eal::LogLevel::Warning,
        pci: false,
        telemetry: false,
    };
    let mask = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = || mask().lines().find(|l| l.starts_with("Cpus_allowed:")).unwrap().to_owned();
    let before = mask();
    let said = dataplane::eal::Eal::init(&options).unwrap_err().to_string();
    assert!(said.contains("once"), "{said}");
    for cpu in [1000, 1_000_000] {
        let options = dataplane::eal::EalOptions { control_cpu: Some(cpu), ..options.clone() };
        let said = dataplane::eal::Eal::init(&options).unwrap_err().to_string();
        assert!(said.contains(&format!("control_cpu = {cpu}")), "{said}");
    }
    assert_eq!(mask(), before, "the caller's CPU mask");
    assert!(dataplane::eal::Eal::version().starts_with("DPDK 22.11"));
}

#[test]
fn a_data_core_runs_on_its_cpu_and_nowhere_else() {
    let bench = Bench::new();
    let pools = [bench.pool.clone()];
    std::thread::spawn(move || {
        let said = DataCore::enter(Some(1000), &pools).unwrap_err().to_string();
        assert!(said.contains("cannot run on CPU 1000: it may use CPU"), "{said}");
        let core = DataCore::enter(Some(0), &pools).unwrap();
        assert_ne!(core.lcore_id(), u32::MAX);
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    })
    .join()
    .unwrap();
}

#[test]
fn a_thread_gives_its_cache_back() {
    // As many buffers as one cache may keep: what stays in a cache is missed by others.
    let bench = Bench::with_pool(511, 2304);
    let pool = bench.pool.clone();
    std::thread::spawn(move || {
        let _core = DataCore::enter(None, std::slice::from_ref(&pool)).unwrap();
        let mut batch = Batch::new();
        assert!(pool.alloc_bulk(255, &mut batch));
        batch.clear();
    })
    .join()
    .unwrap();
    // This thread has a cache of its own; both bulks can only come from a full pool.
    let (mut a, mut b) = (Batch::new(), Batch::new());
    assert!(bench.pool.alloc_bulk(256, &mut a) && bench.pool.alloc_bulk(255, &mut b));
}

fn key(n: u32) -> FlowHashKey {
    let mut flow = FlowKey { ip_version: 4, protocol: 17, vlan: 0xffff, ..FlowKey::default() };
    flow.src[..4].copy_from_slice(&n.to_be_bytes());
    FlowHashKey::new(flow, (n % 64) as u8)
}

#[test]
fn flows_are_found_again_and_no_more_than_allowed_go_in() {
    let _turn = Bench::new();
    for flows_max in [1_u32, 7, 8, 1000, 4096] {
        let name = format!("flows{flows_max}");
        let mut table = FlowHash::create(&eal(), &name, flows_max).unwrap();
        for n in 0..flows_max {
            assert_eq!(table.insert(&key(n), n * 3), Ok(()), "{n} of {flows_max}");
        }
        assert_eq!(table.insert(&key(flows_max), 0), Err(Full));
        assert_eq!(table.insert(&key(0), 77), Ok(()), "replacing needs no place");
        let keys: Vec<_> = (0..flows_max + 10).map(key).collect();
        let mut found = vec![Some(1); keys.len()];
        table.lookup_bulk(&keys, &mut found);
        for (n, found) in (0..).zip(found) {
            let expected = match n {
                0 => Some(77),
                n if n < flows_max => Some(n * 3),
                _ => None,
            };
            assert_eq!(found, expected, "{n} of {flows_max}");
        }
        assert!(table.remove(&key(0)) && !table.remove(&key(0)));
        assert_eq!(table.len(), flows_max - 1);
        assert_eq!(table.insert(&key(flows_max), 5), Ok(()));
    }
}

#[test]
fn lookups_of_any_length_stay_in_their_slices() {
    let _turn = Bench::new();
    let mut table = FlowHash::create(&eal(), "lengths", 1000).unwrap();
    let keys: Vec<_> = (0..200).map(key).collect();
    for (n, key) in (0..).zip(&keys) {
        table.insert(key, n).unwrap();
    }
    for n in [0, 1, LOOKUP_KEYS_MAX - 1, LOOKUP_KEYS_MAX, LOOKUP_KEYS_MAX + 1, 200] {
        let mut found = [None; 200];
        table.lookup_bulk(&keys[..n], &mut found);
        assert!(found[..n].iter().zip(0..).all(|(f, i)| *f == Some(i)), "{n}");
        assert!(found[n..].iter().all(Option::is_none), "{n}");
        let mut short = vec![None; n];
        table.lookup_bulk(&keys, &mut short);
        assert!(short.iter().zip(0..).all(|(f, i)| *f == Some(i)), "{n}");
    }
    assert_eq!(table.insert(&key(500), u32::MAX), Ok(()));
    let mut found = [None];
    table.lookup_bulk(&[key(500)], &mut found);
    assert_eq!(found, [Some(u32::MAX)]);
}

#[test]
fn dscp_and_every_part_of_the_flow_tell_keys_apart() {
    let _turn = Bench::new();
    let mut table = FlowHash::create(&eal(), "parts", 100).unwrap();
    let base = FlowKey { ip_version: 4, protocol: 6, vlan: 1, ..FlowKey::default() };
    let mut dst = base;
    dst.dst[15] = 1;
    let keys = [
        FlowHashKey::new(base, 0),
        FlowHashKey::new(base, 46),
        FlowHashKey::new(FlowKey { src_port: 1, ..base }, 0),
        FlowHashKey::new(FlowKey { dst_port: 1, ..base }, 0),
        FlowHashKey::new(FlowKey { vlan: 2, ..base }, 0),
        FlowHashKey::new(FlowKey { protocol: 17, ..base }, 0),
        FlowHashKey::new(FlowKey { ip_version: 6, ..base }, 0),
        FlowHashKey::new(dst, 0),
    ];
    for (n, key) in (0..).zip(&keys) {
        table.insert(key, n).unwrap();
    }
    let mut found = [None; 8];
    table.lookup_bulk(&keys, &mut found);
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7].map(Some));
}

#[test]
fn a_flow_table_that_cannot_be_says_what_is_allowed() {
    let _turn = Bench::new();
    let said = |name: &str, flows| FlowHash::create(&eal(), name, flows).unwrap_err();
    assert!(matches!(said("zero", 0), FlowHashError::Size(0)));
    assert!(matches!(said("a name of 21 bytes...", 10), FlowHashError::Name(_)));
    let error = said("large", 1 << 24).to_string();
    assert!(error.contains("raise [dpdk] memory"), "{error}");
    let _first = FlowHash::create(&eal(), "twice", 10).unwrap();
    assert!(matches!(said("twice", 10), FlowHashError::Name(_)));
}
