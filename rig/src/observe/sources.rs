//! What is asked of the kernel now and then: followed sockets, the queueing discipline and the byte
//! limits of the egress interface, threads and CPUs.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use model::config::{Config, Observe, SocketFilter};
use model::frame::{FlowKey, PROTOCOL_TCP, Parsed, VLAN_NONE};
use model::kind::Side;
use model::kpi::kernel::{
    HostSample, KernelSums, PortInFlight, PortSample, PortStalls, SocketSample, ThreadTime,
};
use model::rules::Rules;
use model::time::Nanos;

use crate::kernel::bytes::ReadError;
use crate::kernel::files::{self, Bql, CpuTicks, Schedstat};
use crate::kernel::inet_diag::{self, Socket, SocketId};
use crate::kernel::link::{self, Link};
use crate::kernel::netlink::{AskError, Family, Netlink};
use crate::kernel::qdisc::{self, Qdisc};

/// Sockets that are followed at the same time: each is asked for by itself, so often.
const FOLLOWED_MAX: usize = 256;
/// The discipline that holds nothing.
pub const NO_QUEUE: &str = "noqueue";
/// A tick of `/proc/stat`.
const TICK_NS: u64 = 10_000_000;

/// Followed sockets.
pub struct Sockets {
    diag: Netlink,
    filters: Vec<SocketFilter>,
    rules: Rules,
    followed: HashMap<SocketId, Followed>,
    /// More sockets are chosen than are followed.
    pub left_out: u64,
}

struct Followed {
    class: usize,
    /// Segments sent and retransmitted, as last told.
    last: Option<(u32, u32)>,
}

impl Sockets {
    /// No socket yet.
    ///
    /// # Errors
    /// The kernel has no INET_DIAG.
    pub fn open(config: &Config, observe: &Observe) -> Result<Self, AskError> {
        Ok(Self {
            diag: Netlink::open(Family::SockDiag)?,
            filters: observe.sockets.clone(),
            rules: config.rules.clone(),
            followed: HashMap::new(),
            left_out: 0,
        })
    }

    /// How many are followed.
    pub fn followed(&self) -> usize {
        self.followed.len()
    }

    /// Looks for the sockets that the filters mean.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn look(&mut self) -> Result<(), AskError> {
        if self.filters.is_empty() {
            return Ok(());
        }
        let mut found = Vec::new();
        for v6 in [false, true] {
            let filters = &self.filters;
            self.diag.ask(inet_diag::list(v6), |message| {
                let socket = Socket::read(message.payload)?;
                if filters.iter().any(|filter| filter.matches(socket.local, socket.remote)) {
                    found.push(socket);
                }
                Ok(())
            })?;
        }
        self.followed.retain(|id, _| found.iter().any(|socket| socket.id == *id));
        self.left_out = 0;
        for socket in found {
            if self.followed.contains_key(&socket.id) {
                continue;
            }
            if self.followed.len() >= FOLLOWED_MAX {
                self.left_out += 1;
                continue;
            }
            let packet = parsed_of(socket.local, socket.remote);
            let class = usize::from(self.rules.classify(Side::Inside, &packet).class);
            self.followed.insert(socket.id, Followed { class, last: None });
        }
        Ok(())
    }

    /// Asks each followed socket how it stands. One that is gone is not followed any more.
    pub fn sample(&mut self, sums: &mut KernelSums) {
        let diag = &mut self.diag;
        self.followed.retain(|id, followed| {
            let mut found = None;
            let asked = diag.ask(inet_diag::one(id), |message| {
                found = Some(Socket::read(message.payload)?);
                Ok(())
            });
            let (Ok(_), Some(socket)) = (asked, found) else { return false };
            sums.socket(followed.class, &followed.sample(&socket));
            true
        });
    }
}

impl Followed {
    fn sample(&mut self, socket: &Socket) -> SocketSample {
        let info = socket.info.unwrap_or_default();
        let sent = info.data_segs_out.unwrap_or_default();
        let (before, again_before) = self.last.unwrap_or((sent, info.total_retrans));
        self.last = Some((sent, info.total_retrans));
        SocketSample {
            not_sent_bytes: info.notsent_bytes.map(u64::from),
            out_queue_bytes: u64::from(socket.out_queue_bytes),
            queued_memory_bytes: socket.memory.map(|memory| u64::from(memory.wmem_queued)),
            headroom: info.pacing_headroom(),
            is_at_cap: info.is_at_cap(),
            segments: u64::from(sent.wrapping_sub(before)),
            retransmitted: u64::from(info.total_retrans.wrapping_sub(again_before)),
        }
    }
}

/// The headers of what a socket sends.
fn parsed_of(local: SocketAddr, remote: SocketAddr) -> Parsed {
    let bytes = |address: IpAddr| {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        bytes
    };
    Parsed {
        key: FlowKey {
            src: bytes(local.ip()),
            dst: bytes(remote.ip()),
            src_port: local.port(),
            dst_port: remote.port(),
            vlan: VLAN_NONE,
            protocol: PROTOCOL_TCP,
            ip_version: if local.is_ipv4() { 4 } else { 6 },
        },
        dscp: 0,
        tcp_flags: 0,
        is_fragment: false,
        tcp_seq: 0,
        payload_len: 0,
    }
}

/// The egress interface.
pub struct Port {
    route: Netlink,
    name: String,
    index: u32,
    /// /sys speaks of this interface.
    has_sysfs: bool,
    /// Drops of the discipline, of the interface, and stalls, as last told.
    last: Option<(u32, u64, Option<u64>)>,
    /// The discipline at its root, as last told; `None`: it has none that tells.
    pub qdisc: Option<Qdisc>,
}

impl Port {
    /// The interface `name` with number `index`.
    ///
    /// # Errors
    /// No route netlink.
    pub fn open(name: &str, index: u32) -> Result<Self, AskError> {
        let route = Netlink::open(Family::Route)?;
        let has_sysfs = files::sysfs_shows(name, index);
        Ok(Self { route, name: name.to_owned(), index, has_sysfs, last: None, qdisc: None })
    }

    /// Every discipline of the interface, the root first.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn disciplines(&mut self) -> Result<Vec<Qdisc>, AskError> {
        let (mut found, index) = (Vec::new(), self.index);
        self.route.ask(qdisc::list(), |message| {
            let qdisc = Qdisc::read(message.payload)?;
            if qdisc.interface == index {
                found.push(qdisc);
            }
            Ok(())
        })?;
        found.sort_by_key(|qdisc| (!qdisc.is_root(), qdisc.handle));
        Ok(found)
    }

    /// The byte limits of its TX queues.
    ///
    /// # Errors
    /// A file that is no number.
    pub fn byte_limits(&self) -> Result<Vec<Bql>, ReadError> {
        if self.has_sysfs { files::bql_of(&self.name) } else { Ok(Vec::new()) }
    }

    /// Whether the interface with number `index` is still there: one that was removed, or moved to another
    /// network namespace, says nothing any more, and a capture on it is silent without an error.
    pub fn is_there(&mut self, index: u32) -> bool {
        let asked = self.route.ask(link::one(index), |_| Ok(()));
        !asked.is_err_and(|error| error.is_no_device())
    }

    /// Whether /sys speaks of it.
    pub const fn has_sysfs(&self) -> bool {
        self.has_sysfs
    }

    /// Looks at it. What cannot be read is absent.
    pub fn sample(&mut self, sums: &mut KernelSums) {
        let disciplines = self.disciplines().unwrap_or_default();
        self.qdisc = disciplines.into_iter().next().filter(|qdisc| qdisc.kind != NO_QUEUE);
        let queues = self.byte_limits().unwrap_or_default();
        let in_flight = (!queues.is_empty()).then(|| PortInFlight {
            bytes: queues.iter().map(|queue| queue.inflight).sum(),
            limit_bytes: queues.iter().map(|queue| queue.limit).sum(),
        });
        let stalls = queues.iter().map(|queue| queue.stalls).sum::<Option<u64>>();
        let stalls = stalls.filter(|_| !queues.is_empty());
        let stall_time_ms = queues.iter().filter_map(|queue| queue.stall_threshold_ms).max();
        let qdisc_drops = self.qdisc.as_ref().map_or(0, |qdisc| qdisc.drops);
        let interface_drops = self.interface_drops();
        let (q, i, s) = self.last.replace((qdisc_drops, interface_drops, stalls)).unwrap_or((
            qdisc_drops,
            interface_drops,
            stalls,
        ));
        let sample = PortSample {
            qdisc_backlog_bytes: self.qdisc.as_ref().map(|qdisc| u64::from(qdisc.backlog)),
            in_flight,
            qdisc_drops: u64::from(qdisc_drops.wrapping_sub(q)),
            interface_drops: interface_drops.saturating_sub(i),
            stalls: stalls.map(|stalls| PortStalls {
                count: stalls.saturating_sub(s.unwrap_or(stalls)),
                stall_time: Nanos::from_millis(stall_time_ms.unwrap_or(0)),
            }),
        };
        sums.port(usize::from(Observe::EGRESS), &sample);
    }

    /// Packets that the interface gave up, as it tells; the last answer where it does not.
    fn interface_drops(&mut self) -> u64 {
        let mut counts = None;
        let asked = self.route.ask(link::one(self.index), |message| {
            counts = Some(Link::read(message.payload)?.counts);
            Ok(())
        });
        let counts = counts.filter(|_| asked.is_ok());
        let last = self.last.map_or(0, |(_, drops, _)| drops);
        counts.map_or(last, |counts| counts.tx_dropped + counts.tx_errors)
    }
}

/// CPUs and threads.
pub struct Host {
    names: Vec<String>,
    ticks: CpuTicks,
    threads: HashMap<(u32, u32), Schedstat>,
    ksoftirqd: HashMap<(u32, u32), Schedstat>,
    /// Drops, frames and runs of the receive path, as last told.
    receive: (u64, u64, u64),
}

impl Host {
    /// The host as it stands now.
    pub fn open(observe: &Observe) -> Self {
        let mut host = Self {
            names: observe.threads.clone(),
            ticks: CpuTicks::default(),
            threads: HashMap::new(),
            ksoftirqd: HashMap::new(),
            receive: (0, 0, 0),
        };
        // What was before is nobody's.
        host.next();
        host
    }

    /// How many threads are watched.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Adds what happened since the last call.
    pub fn sample(&mut self, sums: &mut KernelSums) {
        let sample = self.next();
        sums.host(&sample);
    }

    fn next(&mut self) -> HostSample {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks = files::cpu_ticks(&text).unwrap_or(self.ticks);
        let runs = files::receive_runs(&text).unwrap_or_default();
        let since = ticks.since(&self.ticks);
        self.ticks = ticks;
        let names = self.names.iter().flat_map(|name| files::threads_named(name)).collect();
        let (wait_ns, slices, _) = since_last(&mut self.threads, names);
        let ksoftirqd = files::threads_named("ksoftirqd");
        let (_, _, ksoftirqd_ns) = since_last(&mut self.ksoftirqd, ksoftirqd);
        let text = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
        let cpus = files::softnet(&text).unwrap_or_default();
        let sum = |of: fn(&files::Softnet) -> u32| cpus.iter().map(|cpu| u64::from(of(cpu))).sum();
        let receive = (sum(|cpu| cpu.dropped), sum(|cpu| cpu.processed), runs);
        let before = std::mem::replace(&mut self.receive, receive);
        HostSample {
            user_ns: since.user * TICK_NS,
            system_ns: since.system * TICK_NS,
            interrupt_ns: (since.irq + since.softirq) * TICK_NS,
            idle_ns: (since.idle + since.steal) * TICK_NS,
            threads: (!self.threads.is_empty()).then_some(ThreadTime { wait_ns, slices }),
            ksoftirqd_ns,
            softnet_drops: receive.0.saturating_sub(before.0),
            // Each CPU counts modulo 2^32: an interval in which one goes round has too few.
            received: receive.1.saturating_sub(before.1),
            receive_runs: receive.2.saturating_sub(before.2),
        }
    }
}

/// What `threads` waited, how often they ran, and how long, since the last call. A new thread counts
/// from now on, one that is gone no more.
fn since_last(
    known: &mut HashMap<(u32, u32), Schedstat>,
    threads: Vec<(u32, u32)>,
) -> (u64, u64, u64) {
    let (mut waited, mut slices, mut ran) = (0, 0, 0);
    let mut next = HashMap::new();
    for (pid, tid) in threads {
        let Some(now) = files::schedstat_of(pid, tid) else { continue };
        let before = known.get(&(pid, tid)).copied().unwrap_or(now);
        waited += now.wait_ns.saturating_sub(before.wait_ns);
        slices += now.slices.saturating_sub(before.slices);
        ran += now.run_ns.saturating_sub(before.run_ns);
        next.insert((pid, tid), now);
    }
    *known = next;
    (waited, slices, ran)
}
