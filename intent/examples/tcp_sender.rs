//! Sends orders over an ordinary TCP socket, and says out of band what is meant by them.
//!
//! ```text
//! tcp_sender HOST:PORT ring:/run/wirepace/gw-intent COUNT
//! tcp_sender HOST:PORT udp:127.0.0.1:9478 COUNT
//! ```
//!
//! How does a sender know the sequence number of its last byte? It does not have to: a record says
//! how many bytes have been written to the connection since it was opened, the message included. The
//! gateway saw the SYN and adds the initial sequence number. So the connection has to be opened
//! through the gateway while it runs, and every byte that the application writes has to be counted.
//!
//! The record goes first and the bytes second. Nagle's algorithm is off: a message that waits in the
//! socket is late before the gateway sees it.
#![allow(unsafe_code, reason = "a file is mapped with system calls")]

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::{ptr, slice};

use intent::ring::Writer;
use intent::{FlowRecord, FlowTuple, Kind, Position, Record};

/// Time from one order to the next.
const GAP: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [to, way, count] = args.as_slice() else {
        return Err("tcp_sender HOST:PORT ring:FILE|udp:ADDRESS COUNT".into());
    };
    let ring;
    let way = match way.split_once(':') {
        Some(("ring", path)) => {
            ring = RingFile::open(Path::new(path))?;
            Way::Ring(Writer::attach(ring.words)?)
        }
        Some(("udp", address)) => Way::udp(address.parse()?)?,
        _ => return Err("the way is ring:FILE or udp:ADDRESS".into()),
    };
    let mut orders = OrderSocket::new(TcpStream::connect(to)?, way)?;
    for number in 1..=count.parse()? {
        let record = Record {
            kind: Some(Kind::Order),
            messages: Some(1),
            correlation_id: Some(number),
            t_dispatch: Some(tai_ns()?),
            ..Record::default()
        };
        orders.send(format!("order {number}\n").as_bytes(), record)?;
        std::thread::sleep(GAP);
    }
    if orders.not_told > 0 {
        eprintln!("{} orders went without a record: the ring was full", orders.not_told);
    }
    Ok(())
}

/// How records reach the gateway.
enum Way<'a> {
    Ring(Writer<'a>),
    Udp(UdpSocket),
}

impl Way<'_> {
    fn udp(gateway: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(if gateway.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        socket.connect(gateway)?;
        Ok(Self::Udp(socket))
    }
}

/// A connection whose written bytes are counted.
struct OrderSocket<'a> {
    stream: TcpStream,
    flow: FlowTuple,
    /// Bytes written since the connection was opened.
    written: u64,
    way: Way<'a>,
    /// Messages whose record found no room.
    not_told: u64,
}

impl<'a> OrderSocket<'a> {
    /// `stream` is new: nothing has been written to it.
    fn new(stream: TcpStream, way: Way<'a>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let flow = FlowTuple::new(stream.local_addr()?, stream.peer_addr()?)
            .ok_or_else(|| io::Error::other("two versions of IP in one connection"))?;
        Ok(Self { stream, flow, written: 0, way, not_told: 0 })
    }

    /// Sends a message and says what it is.
    fn send(&mut self, message: &[u8], record: Record) -> io::Result<()> {
        self.written += message.len() as u64;
        let position = Position::StreamOffset(self.written);
        let record = FlowRecord { flow: self.flow, position, record };
        let told = match &mut self.way {
            Way::Ring(writer) => writer.push(&record).is_ok(),
            Way::Udp(socket) => socket.send(&record.to_bytes()).is_ok(),
        };
        // An order is not held back for want of a record: the gateway's own rules apply then.
        self.not_told += u64::from(!told);
        self.stream.write_all(message)
    }
}

/// The gateway's ring in our memory. It stays mapped for as long as the process lives.
struct RingFile {
    words: &'static [AtomicU64],
    /// Held: a ring has one writer.
    _lock: File,
}

impl RingFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.try_lock()?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of an open file; the kernel chooses where.
        let start = unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
            libc::mmap(ptr::null_mut(), bytes, protection, flags, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is `bytes` long, aligned to a page, and never unmapped; it is only used
        // as atomics, for which every bit pattern is valid.
        let words = unsafe { slice::from_raw_parts(start.cast(), bytes / size_of::<AtomicU64>()) };
        Ok(Self { words, _lock: file })
    }
}

/// Gateway time: CLOCK_TAI.
fn tai_ns() -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_TAI, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::io::Read;
    use std::net::TcpListener;

    use intent::FLOW_RECORD_BYTES;
    use intent::ring::{Reader, ring_bytes};

    use super::*;

    /// Sends three messages to ourselves and gives what arrived and the flow.
    fn send_three(way: Way<'_>) -> (Vec<u8>, FlowTuple) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, from) = listener.accept().unwrap();
        let mut orders = OrderSocket::new(stream, way).unwrap();
        for (number, message) in [&b"one"[..], b"three", b"seven.."].into_iter().enumerate() {
            let record = Record { correlation_id: Some(number as u64), ..Record::default() };
            orders.send(message, record).unwrap();
        }
        assert_eq!((orders.written, orders.not_told), (15, 0));
        drop(orders);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        (received, FlowTuple::new(from, listener.local_addr().unwrap()).unwrap())
    }

    fn expected(flow: FlowTuple, number: u64, end: u64) -> FlowRecord {
        let record = Record { correlation_id: Some(number), ..Record::default() };
        FlowRecord { flow, position: Position::StreamOffset(end), record }
    }

    #[test]
    fn records_name_the_bytes_that_follow_them_over_the_ring() {
        let path = env::temp_dir().join(format!("tcp-sender-{}", std::process::id()));
        std::fs::write(&path, vec![0; ring_bytes(16)]).unwrap();
        let gateway = RingFile::open(&path).unwrap();
        // One writer: the lock is taken. The gateway itself takes none.
        assert!(RingFile::open(&path).is_err());
        let RingFile { words, _lock } = gateway;
        let mut reader = Reader::initialise(words, 16).unwrap();
        // The mapping keeps the file open, and an open file keeps its lock.
        _lock.unlock().unwrap();
        let ring = RingFile::open(&path).unwrap();
        let (received, flow) = send_three(Way::Ring(Writer::attach(ring.words).unwrap()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(received, b"onethreeseven..");
        for (number, end) in [3, 8, 15].into_iter().enumerate() {
            let record = reader.poll(words).unwrap().unwrap();
            assert_eq!(record, expected(flow, number as u64, end));
        }
        assert!(reader.poll(words).is_none());
    }

    #[test]
    fn records_go_over_the_side_channel() {
        let gateway = UdpSocket::bind("127.0.0.1:0").unwrap();
        gateway.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (_, flow) = send_three(Way::udp(gateway.local_addr().unwrap()).unwrap());
        for (number, end) in [3, 8, 15].into_iter().enumerate() {
            let mut bytes = [0; 2 * FLOW_RECORD_BYTES];
            let length = gateway.recv(&mut bytes).unwrap();
            let record = FlowRecord::decode(&bytes[..length]).unwrap();
            assert_eq!(record, expected(flow, number as u64, end));
        }
    }
}
