//! Order-entry-like traffic, as the gateway receives it from the strategies.
//!
//! A market event makes the strategies send within tens of microseconds: orders over UDP, cancels
//! over UDP, segments of TCP sessions. In between there is little: acknowledgements, heartbeats,
//! an ARP request or an LLDP frame now and then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::time::Nanos;

use super::draw::Draw;
use super::packet::{PAYLOAD_BYTES_MAX, Path, ROUTER_MAC, Segment, ethernet, host_mac, tcp, udp};
use super::timeline::{Timeline, Traffic};

/// First UDP port of the order sessions; ten of them are used in turn.
const ORDER_PORT: u16 = 7_000;
/// UDP port of all cancel sessions.
const CANCEL_PORT: u16 = 7_010;
/// TCP port of the session gateway of the venue.
const SESSION_PORT: u16 = 9_001;
/// VLAN of every fourth host.
const VLAN: u16 = 100;
/// Expedited forwarding.
const ORDER_DSCP: u8 = 46;

/// Host of a strategy that sends by itself, not by a shape.
const LONE_HOST: u8 = 90;
/// Payload bytes of its orders.
const LONE_ORDER_BYTES: usize = 48;

/// Their hosts have one byte of address each: 10 to 41, 50 to 81.
const SESSIONS_MAX: u8 = 32;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Shape of the order traffic. Values out of their range are taken as its nearest end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrdersShape {
    /// Order sessions over UDP, each with its own cancel session, 0 to 32.
    pub udp_sessions: u8,
    /// Sessions over TCP, 0 to 32.
    pub tcp_sessions: u8,
    /// Shortest gap between two market events, from 1 us.
    pub gap_min: Nanos,
    /// Longest gap.
    pub gap_max: Nanos,
    /// Fewest frames that an event triggers.
    pub burst_frames_min: u32,
    /// Most frames that an event triggers.
    pub burst_frames_max: u32,
    /// They leave within so long after the event, 2 us to 1 s.
    pub burst_span: Nanos,
    /// Shortest order, payload bytes.
    pub payload_bytes_min: u32,
    /// Longest order, payload bytes, up to 1,400.
    pub payload_bytes_max: u32,
}

/// Order number `number` of a strategy that is not part of any generated traffic, over UDP to where the
/// order sessions go.
pub(crate) fn order_frame(number: u32) -> Vec<u8> {
    let path = Path {
        src_mac: host_mac(LONE_HOST),
        dst_mac: ROUTER_MAC,
        vlan: None,
        src: [10, 1, 0, LONE_HOST],
        dst: [10, 9, 0, 1],
        dscp: ORDER_DSCP,
        ttl: 64,
    };
    let mut payload = [0; LONE_ORDER_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    udp(&path, number as u16, (ORDER_PORT, ORDER_PORT), &payload)
}

impl Default for OrdersShape {
    fn default() -> Self {
        Self {
            udp_sessions: 8,
            tcp_sessions: 3,
            gap_min: Nanos::from_millis(3),
            gap_max: Nanos::from_millis(80),
            burst_frames_min: 5,
            burst_frames_max: 60,
            burst_span: Nanos::from_micros(40),
            payload_bytes_min: 40,
            payload_bytes_max: 900,
        }
    }
}

impl OrdersShape {
    fn in_range(self) -> Self {
        Self {
            udp_sessions: self.udp_sessions.min(SESSIONS_MAX),
            tcp_sessions: self.tcp_sessions.min(SESSIONS_MAX),
            gap_min: self.gap_min.max(Nanos::from_micros(1)),
            burst_span: self.burst_span.clamp(Nanos::from_micros(2), Nanos::from_secs(1)),
            payload_bytes_max: self.payload_bytes_max.min(PAYLOAD_BYTES_MAX),
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Market,
    Arp,
    Lldp,
    /// TCP session `n` connects.
    Open(u8),
    /// The venue has accepted it.
    Established(u8),
    /// It logs on, and may carry orders from here on.
    Logon(u8),
    /// The venue has sent `len` bytes to the session on that port, which acknowledges them.
    Answer {
        n: u8,
        src_port: u16,
        len: u32,
    },
    /// The session on that port sends its last data again: no acknowledgement was seen.
    Repeat {
        n: u8,
        src_port: u16,
    },
    /// A heartbeat.
    Heartbeat(u8),
    /// It ends.
    Close(u8),
}

/// An order session and its cancel session.
struct UdpSession {
    path: Path,
    orders_sent: u64,
    cancels_sent: u64,
    ip_id: u16,
}

/// The inside end of a TCP session.
struct TcpSession {
    path: Path,
    src_port: u16,
    is_open: bool,
    /// Next sequence number to send.
    next: u32,
    /// Next sequence number expected of the venue.
    expected: u32,
    ip_id: u16,
    last_sent: Nanos,
    /// Sequence number and bytes of the last segment with data.
    last_data: (u32, Vec<u8>),
}

/// All sessions of the strategies.
pub(super) struct Orders {
    shape: OrdersShape,
    draw: Draw,
    events: BinaryHeap<Reverse<(Nanos, Event)>>,
    start: Nanos,
    end: Nanos,
    udp: Vec<UdpSession>,
    tcp: Vec<TcpSession>,
}

impl Orders {
    pub(super) fn new(shape: OrdersShape, mut draw: Draw, start: Nanos, end: Nanos) -> Self {
        let shape = shape.in_range();
        let path = |host: u8, venue: u8, dscp: u8| Path {
            src_mac: host_mac(host),
            dst_mac: ROUTER_MAC,
            vlan: (host % 4 == 3).then_some(VLAN),
            src: [10, 1, 0, host],
            dst: [10, 9, 0, venue],
            dscp,
            ttl: 64,
        };
        let udp = (0..shape.udp_sessions).map(|n| UdpSession {
            path: path(10 + n, 1 + n % 4, ORDER_DSCP),
            orders_sent: 0,
            cancels_sent: 0,
            ip_id: 0,
        });
        let udp = udp.collect();
        let tcp = (0..shape.tcp_sessions).map(|n| TcpSession {
            path: path(50 + n, 20 + n % 2, 0),
            src_port: 42_000 + u16::from(n),
            is_open: false,
            next: draw.below(u32::MAX),
            expected: draw.below(u32::MAX),
            ip_id: 0,
            last_sent: start,
            last_data: (0, Vec::new()),
        });
        let tcp = tcp.collect();
        let mut orders = Self { shape, draw, events: BinaryHeap::new(), start, end, udp, tcp };
        for n in 0..shape.tcp_sessions {
            orders.schedule(start + Nanos::from_micros(200 * (1 + u64::from(n))), Event::Open(n));
        }
        orders.schedule(start + Nanos::from_millis(15), Event::Arp);
        orders.schedule(start + Nanos::from_millis(40), Event::Lldp);
        orders.schedule_market(start + Nanos::from_millis(1));
        orders
    }

    fn schedule(&mut self, t: Nanos, event: Event) {
        if t < self.end {
            self.events.push(Reverse((t, event)));
        }
    }

    fn schedule_market(&mut self, after: Nanos) {
        let gap = self.draw.heavy(self.shape.gap_min.0, self.shape.gap_max.0);
        self.schedule(after + Nanos(gap), Event::Market);
    }

    /// What the strategies send after an event in the market.
    fn market(&mut self, t: Nanos, timeline: &mut Timeline) {
        let (fewest, most) = (self.shape.burst_frames_min, self.shape.burst_frames_max);
        let frames = self.draw.heavy(u64::from(fewest), u64::from(most));
        // Sorted first, so that the messages of a session are numbered in the order they leave.
        let span_ns = self.shape.burst_span.0 as u32;
        let mut delays: Vec<u32> = (0..frames).map(|_| self.draw.between(1_000, span_ns)).collect();
        delays.sort_unstable();
        for delay in delays {
            let t = t + Nanos(u64::from(delay));
            match self.draw.below(100) {
                0..78 => self.order(t, timeline),
                78..90 => self.cancel(t, timeline),
                _ => self.session_data(t, timeline),
            }
        }
    }

    fn order(&mut self, t: Nanos, timeline: &mut Timeline) {
        let n = self.draw.below(u32::from(self.shape.udp_sessions)) as usize;
        let len = self.draw.tailed(self.shape.payload_bytes_min, self.shape.payload_bytes_max);
        let Some(session) = self.udp.get_mut(n) else { return };
        session.orders_sent += 1;
        let payload = message(&mut self.draw, b'O', session.orders_sent, t, len);
        let ports = (40_000 + n as u16, ORDER_PORT + n as u16 % 10);
        timeline.push(t, udp(&session.path, session.ip_id, ports, &payload));
        session.ip_id = session.ip_id.wrapping_add(1);
    }

    fn cancel(&mut self, t: Nanos, timeline: &mut Timeline) {
        let n = self.draw.below(u32::from(self.shape.udp_sessions)) as usize;
        let Some(session) = self.udp.get_mut(n) else { return };
        session.cancels_sent += 1;
        let payload = message(&mut self.draw, b'C', session.cancels_sent, t, 32);
        let ports = (41_000 + n as u16, CANCEL_PORT);
        timeline.push(t, udp(&session.path, session.ip_id, ports, &payload));
        session.ip_id = session.ip_id.wrapping_add(1);
    }

    /// A segment with data, which the venue answers.
    fn session_data(&mut self, t: Nanos, timeline: &mut Timeline) {
        let n = self.draw.below(u32::from(self.shape.tcp_sessions)) as u8;
        let payload_len = self.draw.tailed(90, 600);
        let answer_after = Nanos(u64::from(self.draw.between(60_000, 250_000)));
        let len = self.draw.between(120, 400);
        let is_repeated = self.draw.one_in(24);
        let Some(session) = self.open_session(n) else { return };
        let (number, src_port) = (u64::from(session.next), session.src_port);
        let payload = message(&mut self.draw, b'S', number, t, payload_len);
        self.tcp[usize::from(n)].send_data(t, payload, timeline);
        self.schedule(t + answer_after, Event::Answer { n, src_port, len });
        if is_repeated {
            self.schedule(t + Nanos::from_millis(2), Event::Repeat { n, src_port });
        }
    }

    fn open_session(&mut self, n: u8) -> Option<&mut TcpSession> {
        self.tcp.get_mut(usize::from(n)).filter(|session| session.is_open)
    }

    fn open(&mut self, t: Nanos, n: u8, timeline: &mut Timeline) {
        self.tcp[usize::from(n)].send_syn(t, timeline);
        self.schedule(t + Nanos::from_micros(70), Event::Established(n));
        self.schedule(t + Nanos::from_micros(95), Event::Logon(n));
        let beat = Nanos::from_millis(100 + 7 * u64::from(n));
        self.schedule(t + beat, Event::Heartbeat(n));
        // The first session ends half-way and connects again from another port; the others end
        // just before the capture does.
        let left = self.end.saturating_sub(t).0;
        let is_first_half = t.saturating_sub(self.start).0 < left / 2;
        let closes_after = if n == 0 && is_first_half { left / 2 } else { left - left / 32 };
        self.schedule(t + Nanos(closes_after), Event::Close(n));
    }

    fn logon(&mut self, t: Nanos, n: u8, timeline: &mut Timeline) {
        let payload = message(&mut self.draw, b'L', 1, t, 110);
        let session = &mut self.tcp[usize::from(n)];
        session.is_open = true;
        session.send_data(t, payload, timeline);
    }

    fn answer(&mut self, t: Nanos, n: u8, src_port: u16, len: u32, timeline: &mut Timeline) {
        let Some(session) = self.open_session(n).filter(|s| s.src_port == src_port) else { return };
        session.expected = session.expected.wrapping_add(len);
        session.send(t, session.next, ACK, &[], timeline);
    }

    fn repeat(&mut self, t: Nanos, n: u8, src_port: u16, timeline: &mut Timeline) {
        let Some(session) = self.open_session(n).filter(|s| s.src_port == src_port) else { return };
        let (seq, payload) = session.last_data.clone();
        session.send(t, seq, ACK | PSH, &payload, timeline);
    }

    fn heartbeat(&mut self, t: Nanos, n: u8, timeline: &mut Timeline) {
        let Some(session) = self.open_session(n) else { return };
        if t.saturating_sub(session.last_sent) > Nanos::from_millis(10) {
            let number = u64::from(session.next);
            let payload = message(&mut self.draw, b'H', number, t, 64);
            self.tcp[usize::from(n)].send_data(t, payload, timeline);
        }
        self.schedule(t + Nanos::from_millis(100), Event::Heartbeat(n));
    }

    fn close(&mut self, t: Nanos, n: u8, timeline: &mut Timeline) {
        let number = self.draw.below(u32::MAX);
        let Some(session) = self.open_session(n) else { return };
        // A burst that began just before may still be on its way out.
        let t = t.max(session.last_sent) + Nanos::from_micros(10);
        session.send(t, session.next, ACK | FIN, &[], timeline);
        // Its FIN takes a sequence number, and so does the venue's.
        session.next = session.next.wrapping_add(1);
        session.expected = session.expected.wrapping_add(1);
        session.send(t + Nanos::from_micros(90), session.next, ACK, &[], timeline);
        session.is_open = false;
        session.src_port += 100;
        session.next = number;
        session.expected = number.rotate_left(16);
        // The close half-way, not the one at the end.
        if n == 0 && self.end.saturating_sub(t).0 > t.saturating_sub(self.start).0 / 2 {
            self.schedule(t + Nanos::from_millis(5), Event::Open(0));
        }
    }

    fn arp(&mut self, t: Nanos, timeline: &mut Timeline) {
        let host = 10 + self.draw.below(u32::from(self.shape.udp_sessions.max(1))) as u8;
        // Ethernet, IPv4, lengths, request; who has 10.1.0.1?
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
        body.extend(host_mac(host));
        body.extend([10, 1, 0, host]);
        body.extend([0; 6]);
        body.extend([10, 1, 0, 1]);
        timeline.push(t, ethernet(host_mac(host), [0xff; 6], 0x0806, &body));
        self.schedule(t + Nanos::from_millis(230), Event::Arp);
    }

    fn lldp(&mut self, t: Nanos, timeline: &mut Timeline) {
        let mac = host_mac(250);
        // Chassis id (MAC), port id (local), time to live 120 s, end (IEEE 802.1AB).
        let mut body = vec![0x02, 7, 4];
        body.extend(mac);
        body.extend([0x04, 6, 7]);
        body.extend(b"swp12");
        body.extend([0x06, 2, 0, 120, 0, 0]);
        timeline.push(t, ethernet(mac, [0x01, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, &body));
        self.schedule(t + Nanos::from_secs(1), Event::Lldp);
    }
}

impl TcpSession {
    /// A segment with the time-stamp option, which every segment after the SYN carries.
    fn send(&mut self, t: Nanos, seq: u32, flags: u8, payload: &[u8], timeline: &mut Timeline) {
        let mut options = vec![1, 1, 8, 10];
        options.extend(millis(t).to_be_bytes());
        options.extend(millis(t).wrapping_sub(3).to_be_bytes());
        let segment = Segment { seq, ack: self.expected, flags, window: 501 };
        self.put(t, segment, &options, payload, timeline);
    }

    /// The next bytes of the stream.
    fn send_data(&mut self, t: Nanos, payload: Vec<u8>, timeline: &mut Timeline) {
        let seq = self.next;
        self.send(t, seq, ACK | PSH, &payload, timeline);
        self.next = seq.wrapping_add(payload.len() as u32);
        self.last_data = (seq, payload);
    }

    fn send_syn(&mut self, t: Nanos, timeline: &mut Timeline) {
        // Segment size 1460, SACK allowed, time stamp, window scale 7.
        let mut options = vec![2, 4, 5, 0xb4, 4, 2, 8, 10];
        options.extend(millis(t).to_be_bytes());
        options.extend([0, 0, 0, 0, 1, 3, 3, 7]);
        let segment = Segment { seq: self.next, ack: 0, flags: SYN, window: 64_240 };
        self.put(t, segment, &options, &[], timeline);
        // A SYN takes a sequence number.
        self.next = self.next.wrapping_add(1);
    }

    fn put(
        &mut self,
        t: Nanos,
        segment: Segment,
        options: &[u8],
        payload: &[u8],
        timeline: &mut Timeline,
    ) {
        let ports = (self.src_port, SESSION_PORT);
        timeline.push(t, tcp(&self.path, self.ip_id, ports, segment, options, payload));
        self.ip_id = self.ip_id.wrapping_add(1);
        self.last_sent = self.last_sent.max(t);
    }
}

/// A clock of TCP time stamps.
fn millis(t: Nanos) -> u32 {
    (t.0 / 1_000_000) as u32
}

/// Payload bytes: the type, a number, the time, then noise. Nothing in the product reads them.
fn message(draw: &mut Draw, kind: u8, number: u64, t: Nanos, len: u32) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(number.to_be_bytes());
    bytes.extend(t.0.to_be_bytes());
    let head = bytes.len();
    bytes.resize((len as usize).max(head), 0);
    draw.fill(&mut bytes[head..]);
    bytes
}

impl Traffic for Orders {
    fn next_event(&self) -> Option<Nanos> {
        self.events.peek().map(|Reverse((t, _))| *t)
    }

    fn emit(&mut self, timeline: &mut Timeline) {
        let Some(Reverse((t, event))) = self.events.pop() else { return };
        match event {
            Event::Market => {
                self.market(t, timeline);
                self.schedule_market(t);
            }
            Event::Arp => self.arp(t, timeline),
            Event::Lldp => self.lldp(t, timeline),
            Event::Open(n) => self.open(t, n, timeline),
            Event::Established(n) => {
                let session = &mut self.tcp[usize::from(n)];
                session.send(t, session.next, ACK, &[], timeline);
            }
            Event::Logon(n) => self.logon(t, n, timeline),
            Event::Answer { n, src_port, len } => self.answer(t, n, src_port, len, timeline),
            Event::Repeat { n, src_port } => self.repeat(t, n, src_port, timeline),
            Event::Heartbeat(n) => self.heartbeat(t, n, timeline),
            Event::Close(n) => self.close(t, n, timeline),
        }
    }
}
