//! The UDP side channel: a socket on loopback, a thread that reads it, and a ring for each data core.
//!
//! Start it with [`UdpChannel::start`] outside data cores and give each core its [`UdpQueue`]; when
//! the channel is dropped its thread ends. A datagram is one record
//! ([`FlowRecord::encode`](intent::FlowRecord::encode)). Every core gets every record: it keeps
//! those for a time whose packets it sees.
//!
//! Any process of the host can send to loopback, and the record may be there after the bytes that it
//! is about. Where either matters, the ring in shared memory is the way.
//!
//! The rings are those of shared memory ([`intent::ring`]) in memory of our own, because a reader of
//! them never waits for a writer that was interrupted in the middle of a record.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ::intent::ring::{self, Reader, Writer};
use ::intent::{DecodeError, FLOW_RECORD_BYTES, FlowRecord};

/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Why there is no side channel.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// The address would let other hosts in.
    #[error(
        "intent udp = \"{0}\" is not a loopback address: records are taken from this host only"
    )]
    NotLoopback(SocketAddr),
    /// The ring is too small, too large or no power of two.
    #[error("an intent queue of {0} records: a power of two from 16 to 65536 is allowed")]
    Capacity(usize),
    /// The socket.
    #[error("intent udp = \"{address}\": {source}")]
    Io {
        /// Address of the config.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What came over the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Datagrams.
    pub received: u64,
    /// Of those, no record.
    pub malformed: u64,
    /// Records that a core did not get because its ring was full.
    pub dropped: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    received: AtomicU64,
    malformed: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn counters(&self) -> UdpCounters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UdpCounters {
            received: load(&self.received),
            malformed: load(&self.malformed),
            dropped: load(&self.dropped),
        }
    }
}

/// A core's end of the channel.
pub struct UdpQueue {
    words: Arc<[AtomicU64]>,
    reader: Reader,
    /// With the first queue only: what the channel counts is told once.
    channel: Option<Arc<Shared>>,
}

impl UdpQueue {
    /// The next record. One load when there is none; never waits.
    #[inline]
    pub fn poll(&mut self) -> Option<Result<FlowRecord, DecodeError>> {
        self.reader.poll(&self.words)
    }

    /// What came over the whole channel; with the first queue only, so that a sum over cores is right.
    pub fn channel_counters(&self) -> Option<UdpCounters> {
        self.channel.as_ref().map(|shared| shared.counters())
    }
}

/// The socket and its thread.
pub struct UdpChannel {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl UdpChannel {
    /// Binds `address` and starts the thread; gives a queue of `capacity` records (a power of two, 16
    /// to 65536) to each of `cores` data cores.
    ///
    /// # Errors
    /// See [`UdpError`].
    pub fn start(
        address: SocketAddr,
        cores: usize,
        capacity: usize,
    ) -> Result<(Self, Vec<UdpQueue>), UdpError> {
        if !address.ip().is_loopback() {
            return Err(UdpError::NotLoopback(address));
        }
        let mut queues = (0..cores).map(|_| queue(capacity)).collect::<Result<Vec<_>, _>>()?;
        let io = |source| UdpError::Io { address, source };
        let socket = UdpSocket::bind(address).map_err(io)?;
        socket.set_read_timeout(Some(LOOK)).map_err(io)?;
        let address = socket.local_addr().map_err(io)?;
        let shared = Arc::new(Shared::default());
        let rings: Vec<_> = queues.iter().map(|queue| Arc::clone(&queue.words)).collect();
        if let Some(first) = queues.first_mut() {
            first.channel = Some(Arc::clone(&shared));
        }
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("intent-udp".to_owned())
            .spawn(move || serve(&socket, &rings, &for_thread))
            .map_err(io)?;
        Ok((Self { address, shared, thread: Some(thread) }, queues))
    }

    /// The address that it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// See [`UdpCounters`].
    pub fn counters(&self) -> UdpCounters {
        self.shared.counters()
    }
}

impl Drop for UdpChannel {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within one look; if it panicked there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn queue(capacity: usize) -> Result<UdpQueue, UdpError> {
    if !ring::is_capacity(capacity) {
        return Err(UdpError::Capacity(capacity));
    }
    let words: Arc<[AtomicU64]> =
        (0..ring::ring_words(capacity)).map(|_| AtomicU64::new(0)).collect();
    let reader = Reader::initialise(&words, capacity).ok_or(UdpError::Capacity(capacity))?;
    Ok(UdpQueue { words, reader, channel: None })
}

fn serve(socket: &UdpSocket, rings: &[Arc<[AtomicU64]>], shared: &Shared) {
    let mut writers: Vec<_> = rings.iter().filter_map(|ring| Writer::attach(ring).ok()).collect();
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    // One byte more than a record: a longer datagram is seen to be one.
    let mut bytes = [0; FLOW_RECORD_BYTES + 1];
    while !shared.stop.load(Ordering::Relaxed) {
        // A timeout, or an error of an earlier send on this socket: there is nothing to read.
        let Ok(length) = socket.recv(&mut bytes) else { continue };
        count(&shared.received);
        match FlowRecord::decode(&bytes[..length]) {
            Ok(record) if length == FLOW_RECORD_BYTES => {
                for writer in &mut writers {
                    if writer.push(&record).is_err() {
                        count(&shared.dropped);
                    }
                }
            }
            _ => {
                count(&shared.malformed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::time::Instant;

    use ::intent::{FlowTuple, Position, Record};

    use super::*;

    fn record(number: u64) -> FlowRecord {
        let flow =
            FlowTuple { src: [1; 16], dst: [2; 16], src_port: 3, dst_port: 4, ip_version: 6 };
        let record = Record { correlation_id: Some(number), ..Record::default() };
        FlowRecord { flow, position: Position::StreamOffset(number), record }
    }

    fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < end, "not within 10 s: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn next(queue: &mut UdpQueue) -> u64 {
        let mut found = None;
        wait_until("a record", || {
            found = queue.poll();
            found.is_some()
        });
        found.unwrap().unwrap().record.correlation_id.unwrap()
    }

    #[test]
    fn every_core_gets_every_record_and_the_rest_is_counted() {
        let (channel, mut queues) =
            UdpChannel::start("127.0.0.1:0".parse().unwrap(), 2, 16).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = channel.address();
        sender.send_to(&record(1).to_bytes(), to).unwrap();
        sender.send_to(&[0; 112], to).unwrap();
        sender.send_to(&[&record(9).to_bytes()[..], &[0]].concat(), to).unwrap();
        sender.send_to(&[], to).unwrap();
        sender.send_to(&record(2).to_bytes(), to).unwrap();
        for queue in &mut queues {
            assert_eq!((next(queue), next(queue)), (1, 2));
            assert!(queue.poll().is_none());
        }
        let expected = UdpCounters { received: 5, malformed: 3, dropped: 0 };
        wait_until("the counters", || channel.counters() == expected);
        let told: Vec<_> = queues.iter().map(UdpQueue::channel_counters).collect();
        assert_eq!(told, [Some(expected), None], "by one core");

        for number in 0..20 {
            sender.send_to(&record(number).to_bytes(), to).unwrap();
        }
        // Two rings of 16 take 16 of 20 each.
        wait_until("the overflow", || channel.counters().dropped == 8);
        assert_eq!(next(&mut queues[0]), 0);
    }

    #[test]
    fn what_would_let_others_in_or_cannot_be_is_refused() {
        let start = |address: &str, capacity| {
            UdpChannel::start(address.parse().unwrap(), 1, capacity).map(|_| ())
        };
        assert!(matches!(start("0.0.0.0:0", 16), Err(UdpError::NotLoopback(_))));
        assert!(matches!(start("192.0.2.1:9478", 16), Err(UdpError::NotLoopback(_))));
        assert!(matches!(start("127.0.0.1:0", 17), Err(UdpError::Capacity(17))));
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(matches!(start(&address, 16), Err(UdpError::Io { .. })));
    }
}
