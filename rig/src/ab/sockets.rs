//! The sockets of a block, made on both hosts before it begins.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use model::kind::Side;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};

use super::contract::{FEED_PORT, ORDER_PORT};
use super::net::{Net, STRATEGY, VENUE};
use super::schedule::{Schedule, Transport};
use crate::kernel::sys;

/// Room for everything that is handed over in a block: a sender never waits for room.
const SEND_BUFFER: usize = 64 << 20;
/// Nobody reads what comes to the venue while a block runs, and a window never closes.
const RECEIVE_BUFFER: usize = 64 << 20;
/// Of a socket whose datagrams nobody wants: it is there so that none is answered by an ICMP.
const SINK_BUFFER: usize = 4 << 10;
const TCP_NOTSENT_LOWAT: i32 = 25;

/// How the strategy's sockets are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// TCP sends each write at once.
    pub no_delay: bool,
    /// Most that TCP takes and does not send; `None`: as the kernel has it.
    pub not_sent_low_water: Option<u32>,
    /// SO_MAX_PACING_RATE of the flow of orders, bytes per second.
    pub max_pacing_rate: Option<u64>,
}

#[derive(Debug)]
enum Flow {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// Sockets of a block.
#[derive(Debug)]
pub struct Sockets {
    /// Of the strategy, by flow.
    orders: Vec<Flow>,
    /// Of the venue, and the strategy's that receives it.
    feed: Option<(UdpSocket, UdpSocket)>,
    /// Kept open: what takes what is sent.
    _peers: Vec<Flow>,
    payload: Vec<u8>,
}

impl Sockets {
    /// Those that `schedule` needs. TCP connects through the gateway, which has to forward already.
    ///
    /// # Errors
    /// A socket cannot be made or connected.
    pub fn open(net: &Net, schedule: &Schedule, options: Options) -> io::Result<Self> {
        let inside = || schedule.messages.iter().filter(|m| m.from == Side::Inside);
        let flows = inside().map(|m| m.flow + 1).max().unwrap_or(0);
        let (mut orders, mut peers) = (Vec::new(), Vec::new());
        for flow in 0..flows {
            let transport = inside().find(|m| m.flow == flow).map(|m| m.transport);
            let port = ORDER_PORT + flow;
            let (from, to) = match transport.unwrap_or(Transport::Udp) {
                Transport::Udp => {
                    let to = net.venue.enter(|| UdpSocket::bind((VENUE, port)))??;
                    set_socket_recv_buffer_size_force(&to, SINK_BUFFER)?;
                    let from = net.strategy.enter(|| udp_to(STRATEGY, 0, VENUE, port))??;
                    (Flow::Udp(from), Flow::Udp(to))
                }
                Transport::Tcp => {
                    let listener = net.venue.enter(|| TcpListener::bind((VENUE, port)))??;
                    // What is accepted inherits it.
                    set_socket_recv_buffer_size_force(&listener, RECEIVE_BUFFER)?;
                    let address = SocketAddr::from((VENUE, port));
                    let wait = std::time::Duration::from_secs(2);
                    let connect = || TcpStream::connect_timeout(&address, wait);
                    let from = net.strategy.enter(connect)??;
                    let (to, _) = listener.accept()?;
                    from.set_nodelay(options.no_delay)?;
                    if let Some(bytes) = options.not_sent_low_water {
                        sys::set_number(from.as_fd(), libc::IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes)?;
                    }
                    (Flow::Tcp(from), Flow::Tcp(to))
                }
            };
            set_socket_send_buffer_size_force(from.as_fd(), SEND_BUFFER)?;
            if let (super::contract::ORDER_FLOW, Some(rate)) = (flow, options.max_pacing_rate) {
                sys::set_max_pacing_rate(from.as_fd(), rate)?;
            }
            orders.push(from);
            peers.push(to);
        }
        let has_feed = schedule.messages.iter().any(|m| m.from == Side::Venue);
        let feed = has_feed.then(|| feed(net)).transpose()?;
        let longest = schedule.messages.iter().map(|m| m.bytes as usize).max().unwrap_or(0);
        Ok(Self { orders, feed, _peers: peers, payload: vec![0; longest.max(8)] })
    }

    /// Hands a message over: its number, then zeros.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn send(&mut self, from: Side, flow: u16, number: u32, bytes: u32) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.payload[..8].copy_from_slice(&u64::from(number).to_be_bytes());
        let payload = &self.payload[..bytes as usize];
        if from == Side::Venue {
            let (venue, _) = self.feed.as_ref().ok_or_else(gone)?;
            return venue.send(payload).map(drop);
        }
        match self.orders.get_mut(usize::from(flow)).ok_or_else(gone)? {
            Flow::Udp(socket) => socket.send(payload).map(drop),
            Flow::Tcp(stream) => stream.write_all(payload),
        }
    }

    /// The number of a message that the strategy has received; `None`: there is none now.
    pub fn receive(&self) -> Option<u64> {
        let (_, strategy) = self.feed.as_ref()?;
        let mut number = [0; 8];
        // A datagram is longer: its rest is cut off.
        (strategy.recv(&mut number).ok()? == 8).then(|| u64::from_be_bytes(number))
    }
}

fn udp_to(from: Ipv4Addr, port: u16, to: Ipv4Addr, to_port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((from, port))?;
    socket.connect((to, to_port))?;
    Ok(socket)
}

fn feed(net: &Net) -> io::Result<(UdpSocket, UdpSocket)> {
    let venue = net.venue.enter(|| udp_to(VENUE, FEED_PORT, STRATEGY, FEED_PORT))??;
    let strategy = net.strategy.enter(|| UdpSocket::bind((STRATEGY, FEED_PORT)))??;
    set_socket_recv_buffer_size_force(&strategy, RECEIVE_BUFFER)?;
    strategy.set_nonblocking(true)?;
    Ok((venue, strategy))
}

impl AsFd for Flow {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}
