//! What every test of ports needs: one EAL for the process, a pool and a port thread of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod rings;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use dataplane::batch::Batch;
use dataplane::channel::{self, ControlLink, WorkerLink};
use dataplane::eal::{Eal, EalOptions, LogLevel};
use dataplane::lane::Lane;
use dataplane::locks::LockDir;
use dataplane::pool::Pool;
use dataplane::port::device::DeviceSpec;
use dataplane::port::dpdk::{LaunchTime, PortError, PortSpec, RxQueue, TxQueue};
use dataplane::port::privileges::Privileges;
use dataplane::port::thread::{PortHandle, PortThread};
use dataplane::port::{Rx, Tx};
use dataplane::sampler::Sampler;
use dataplane::thread::DataCore;
use dataplane::worker::WorkerParts;
use model::config::{Config, Hugepages};
use model::kpi::{Block, CoreAggregates, KpiPlan};
use model::time::Nanos;

/// The EAL of this process, without hugepages.
pub fn eal() -> Arc<Eal> {
    static EAL: OnceLock<Arc<Eal>> = OnceLock::new();
    let start = || {
        let options = EalOptions {
            memory_bytes: 128 << 20,
            hugepages: Hugepages::Never,
            control_cpu: None,
            file_prefix: "wirepace-test".to_owned(),
            log_level: LogLevel::Warning,
            pci: false,
            telemetry: false,
        };
        Eal::init(&options).unwrap()
    };
    Arc::clone(EAL.get_or_init(start))
}

/// What a worker of `lanes` is made of, under `normal`, and its control: rings of `rings` samples and events, a
/// sample of one packet in `one_in`.
pub fn worker_parts<R, T, W, S>(
    config: &Config,
    plan: &KpiPlan,
    lanes: Vec<Lane<R, T, S>>,
    rings: (usize, usize),
    one_in: u32,
    words: W,
) -> (WorkerParts<R, T, W, S>, ControlLink<Block>) {
    let normal = Box::new(config.profiles[0].clone());
    let (link, control) = channel::link(rings.0, rings.1, normal, Box::new(Block::new(plan)));
    (parts_on(link, config, plan, lanes, one_in, words), control)
}

/// The same with a way to control that is there already.
pub fn parts_on<R, T, W, S>(
    link: WorkerLink<Block>,
    config: &Config,
    plan: &KpiPlan,
    lanes: Vec<Lane<R, T, S>>,
    one_in: u32,
    words: W,
) -> WorkerParts<R, T, W, S> {
    WorkerParts {
        lanes,
        link,
        aggregates: CoreAggregates::new(plan),
        last_block: Box::new(Block::new(plan)),
        sampler: Sampler::new(1, one_in),
        words,
        drain_max: config.gateway.drain_max,
    }
}

/// A pool, a port thread and the calling thread as a data core. Tests run one after the other:
/// buffers in use are then those of the test. At its end every buffer is back in the pool.
pub struct Bench {
    ports: Option<PortThread>,
    core: Option<DataCore>,
    pub pool: Pool,
    _locks: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with_pool(8191, 2304)
    }

    pub fn with_pool(mbufs: u32, data_room_bytes: u16) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let locks = tempfile::tempdir().unwrap();
        let dir = LockDir::at(&locks.path().join("wirepace")).unwrap();
        let ports = PortThread::spawn(dir, "test", Privileges::all()).unwrap();
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let pool = Pool::create(&eal(), &name, mbufs, data_room_bytes, 256).unwrap();
        let core = DataCore::enter(None, std::slice::from_ref(&pool)).unwrap();
        Self { ports: Some(ports), core: Some(core), pool, _locks: locks, _turn: turn }
    }

    pub fn ports(&self) -> &PortThread {
        self.ports.as_ref().unwrap()
    }

    pub fn try_open(&self, device: &str) -> Result<(PortHandle, RxQueue, TxQueue), PortError> {
        self.ports().open(spec(device), &self.pool)
    }

    pub fn open(&self, device: &str) -> (PortHandle, RxQueue, TxQueue) {
        self.try_open(device).unwrap()
    }

    /// A batch with packets of the given bytes.
    pub fn batch<'a>(&self, packets: impl IntoIterator<Item = &'a [u8]>) -> Batch {
        let mut batch = Batch::new();
        for bytes in packets {
            batch.push(self.pool.alloc_from(bytes).unwrap()).unwrap();
        }
        batch
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.ports.take().unwrap().shutdown(Duration::from_secs(5)).unwrap();
        drop(self.core.take());
        assert_eq!(self.pool.in_use(), 0, "buffers that did not come back");
    }
}

/// A port of `device` with the defaults of a config.
pub fn spec(device: &str) -> PortSpec {
    PortSpec {
        name: "p".to_owned(),
        device: DeviceSpec::parse(device).unwrap(),
        frame_bytes_max: 1514,
        rx_burst: 32,
        rx_descriptors: 1024,
        tx_descriptors: 1024,
        launch_time: LaunchTime::Off,
        timesync: false,
        cuts_frames: false,
    }
}

/// A frame of `len` bytes that carries `number`.
pub fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..6].copy_from_slice(&[0xff; 6]);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    // Local experimental EtherType.
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    for (index, byte) in bytes.iter_mut().enumerate().skip(18) {
        *byte = index as u8;
    }
    bytes
}

/// The whole packet.
pub fn bytes_of(packet: &dataplane::mbuf::Mbuf) -> Vec<u8> {
    packet.segments().flatten().copied().collect()
}

pub fn receive(rx: &mut RxQueue, into: &mut Batch) -> usize {
    rx.rx_burst(Nanos::ZERO, into)
}

pub fn send(tx: &mut TxQueue, from: &mut Batch) -> usize {
    tx.tx_burst(Nanos::ZERO, from)
}

/// Waits until `done`, at most 5 s.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < end, "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends frames `from..to` of different lengths and receives them at the other end, in order.
pub fn transfer(bench: &Bench, tx: &mut TxQueue, rx: &mut RxQueue, from: u32, to: u32) {
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
