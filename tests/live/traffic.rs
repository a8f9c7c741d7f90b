//! UDP with sequence numbers, and what arrived of it.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::net::Host;

/// How long a receiver waits for what is still under way.
const QUIET: Duration = Duration::from_millis(1500);

/// Datagrams of one flow that carry 0, 1, 2 ...
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who sends.
    pub from: Host,
    /// The other host's port.
    pub port: u16,
    /// Bytes of a datagram's payload, at least 4.
    pub bytes: usize,
    /// Pause after each; none = back to back.
    pub gap: Duration,
}

impl Flow {
    fn target(&self) -> Host {
        match self.from {
            Host::Strategy => Host::Venue,
            Host::Venue => Host::Strategy,
        }
    }

    /// Sends `count`. Gives how many.
    pub fn send(self, count: u32) -> u32 {
        self.send_while(|sent| sent < count)
    }

    fn send_while(self, go_on: impl Fn(u32) -> bool) -> u32 {
        let socket = self.from.udp(0);
        socket.connect((self.target().address(), self.port)).expect("a route is there");
        let mut payload = vec![0; self.bytes];
        let mut next = Instant::now();
        let mut sent = 0;
        while go_on(sent) {
            payload[..4].copy_from_slice(&sent.to_be_bytes());
            socket.send(&payload).expect("the interface is up");
            sent += 1;
            next += self.gap;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        sent
    }

    /// Sends on a thread until [`Stream::end`].
    pub fn stream(self) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || self.send_while(|_| !stopped.load(Ordering::Relaxed)));
        Stream { stop, thread }
    }
}

/// A flow that goes on.
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Stream {
    /// Ends it. Gives how many datagrams were sent.
    pub fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a sender does not panic")
    }
}

/// Reads what arrives at a port of a host.
pub struct Receiver {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Received>,
}

/// What arrived: for each source port its numbers, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Received {
    flows: BTreeMap<u16, Vec<u32>>,
}

impl Receiver {
    /// Listens from now on.
    pub fn start(on: Host, port: u16) -> Self {
        let socket = on.udp(port);
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || receive(&socket, &stopped));
        Self { stop, thread }
    }

    /// Waits until nothing arrives any more.
    pub fn end(self) -> Received {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a receiver does not panic")
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Received {
    let mut received = Received::default();
    let mut buffer = [0; 2048];
    let mut last = Instant::now();
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((bytes, from)) => {
                let number = buffer[..bytes].first_chunk().expect("a number in each datagram");
                let flow = received.flows.entry(from.port()).or_default();
                flow.push(u32::from_be_bytes(*number));
                last = Instant::now();
            }
            Err(_) if stop.load(Ordering::Relaxed) && last.elapsed() > QUIET => return received,
            Err(_) if !stop.load(Ordering::Relaxed) => last = Instant::now(),
            Err(_) => {}
        }
    }
}

impl Received {
    /// Datagrams of all flows.
    pub fn count(&self) -> usize {
        self.flows.values().map(Vec::len).sum()
    }

    /// Nothing lost, doubled or reordered: each flow has 0, 1, 2 ... and `sent` lists their lengths.
    pub fn assert_whole(&self, sent: &[u32]) {
        self.assert_in_order();
        let mut lengths: Vec<_> = self.flows.values().map(|numbers| numbers.len() as u32).collect();
        let mut sent = sent.to_vec();
        lengths.sort_unstable();
        sent.sort_unstable();
        assert_eq!(lengths, sent, "received against sent");
        for numbers in self.flows.values() {
            // Ordered, so with as many as were sent the last one tells.
            assert_eq!(numbers.last().map(|n| *n as usize + 1), Some(numbers.len()));
        }
    }

    /// Nothing doubled or reordered.
    pub fn assert_in_order(&self) {
        for (port, numbers) in &self.flows {
            let wrong = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(wrong, None, "flow from port {port}");
        }
    }
}
