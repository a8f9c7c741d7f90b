//! Strategy host, gateway, venue host: three network namespaces and two veth pairs between them.
//!
//! [`Net::make`] makes them, in a place of [`super::sandbox`], whose own namespace is the gateway's.
//! [`Net::set`] brings everything into the state that an arm wants at the start of each block, whatever it
//! was in before, and reads it back: what was asked for is one thing, what the kernel made of it another,
//! and attaching XDP to an interface changes the offloads of its peer.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::process::Command;

use model::time::Nanos;
use rustix::mount::{MountFlags, mount};

use crate::kernel::ethtool;
use crate::kernel::namespace::Namespace;
use crate::kernel::netlink::{AskError, Family, Netlink};

use super::outside;
use super::result::{Fact, Void};

/// The gateway's interface towards the strategy host.
pub const GATEWAY_INSIDE: &str = "gw-in";
/// The gateway's interface towards the venue.
pub const GATEWAY_VENUE: &str = "gw-out";
/// The interface of either host.
pub const HOST: &str = "host";
/// The strategy host.
pub const STRATEGY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The venue host.
pub const VENUE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The gateway, where it forwards by IP.
const GATEWAY: &str = "10.9.0.254/32";

/// Hardware addresses, so that neighbours are known and nothing has to be asked for in a block.
const MAC_STRATEGY: &str = "02:00:00:00:01:01";
const MAC_GATEWAY_INSIDE: &str = "02:00:00:00:01:fe";
const MAC_GATEWAY_VENUE: &str = "02:00:00:00:02:fe";
/// The venue's.
pub const MAC_VENUE: &str = "02:00:00:00:02:01";

/// /sys as the strategy host has it.
const STRATEGY_SYS: &str = "/run/strategy";
/// Of the kernel, for the gateway's interfaces.
const POLLING_THREADS: &str = "polling threads of the gateway";
/// Polls that find nothing and leave the interface to the timer.
const EMPTY_POLLS: &str = "1000000";

/// Left to the device: off, or a gateway that reads frames would find none.
const CHECKSUMMING: &str = "tx-checksum-ip-generic";
/// Puts segments together: off, so that the observer sees frames as they passed.
const GATHERING: &str = "rx-gro";
/// Make super-frames.
const SEGMENTATION: [&str; 4] = [
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-generic-segmentation",
    "tx-udp-segmentation",
];

/// What the queueing discipline of the strategy host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// None: what is sent leaves.
    None,
    /// Paces each socket by SO_MAX_PACING_RATE.
    Fq,
    /// One token bucket.
    Tbf,
    /// A hierarchy of one token bucket.
    Htb,
}

impl Discipline {
    /// Its name, as `tc` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fq => "fq",
            Self::Tbf => "tbf",
            Self::Htb => "htb",
        }
    }
}

/// Who forwards in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarder {
    /// The kernel, by IP, steered to a CPU.
    Kernel {
        /// It polls from a thread of its own for each interface, pinned to the same CPU.
        threaded: bool,
    },
    /// Nobody in the kernel: no address, no IPv6, no forwarding.
    Silent,
}

/// What an arm wants of hosts and gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who forwards.
    pub forwarder: Forwarder,
    /// On the strategy host's own egress.
    pub discipline: Discipline,
    /// Rate of the discipline, wire bits per second.
    pub rate_bits_per_s: u64,
    /// Burst of the discipline, wire bytes.
    pub burst_bytes: u64,
    /// The hosts leave checksums to their devices: without that there is no TSO.
    pub checksumming: bool,
    /// TSO and GSO of the strategy host.
    pub segmentation: bool,
    /// TCP of the strategy host waits for more to put into a segment.
    pub autocorking: bool,
    /// The strategy host keeps what it receives for so long, to take it in bunches.
    pub receive_hold: Option<Nanos>,
}

/// Why something could not be made or set.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A program.
    #[error("{command}: {said}")]
    Tool {
        /// The command line.
        command: String,
        /// What it said.
        said: String,
    },
    /// A file or a namespace.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel's answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// The hosts. The gateway's namespace is that of the calling thread.
#[derive(Debug)]
pub struct Net {
    /// The strategy host.
    pub strategy: Namespace,
    /// The venue host.
    pub venue: Namespace,
    arm_cpu: usize,
}

/// Runs a program in the namespace of this thread; words are divided by single spaces.
fn here(line: &str) -> Result<String, NetError> {
    let failed = |said: String| NetError::Tool { command: line.to_owned(), said };
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    let run = Command::new(program).args(words).output().map_err(|e| failed(e.to_string()))?;
    if run.status.success() {
        return Ok(String::from_utf8_lossy(&run.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&run.stderr).trim().to_owned()))
}

/// Runs programs on a host, one after the other.
fn on(host: &Namespace, lines: &[String]) -> Result<(), NetError> {
    inside(host, || lines.iter().try_for_each(|line| here(line).map(drop)))?
}

fn inside<T: Send>(host: &Namespace, action: impl FnOnce() -> T + Send) -> Result<T, NetError> {
    let failed = |source| NetError::Io { what: "namespace of a host".to_owned(), source };
    host.enter(action).map_err(failed)
}

fn write(path: &str, value: &str) -> Result<(), NetError> {
    fs::write(path, value).map_err(|source| NetError::Io { what: path.to_owned(), source })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|e| e.to_string(), |text| text.trim().to_owned())
}

impl Net {
    /// Makes the hosts and their links. The kernel's forwarding will be steered to `arm_cpu`.
    ///
    /// # Errors
    /// `ip` is missing or refuses.
    pub fn make(arm_cpu: usize) -> Result<Self, NetError> {
        let failed = |source| NetError::Io { what: "a network namespace".to_owned(), source };
        let net = Self {
            strategy: Namespace::new().map_err(failed)?,
            venue: Namespace::new().map_err(failed)?,
            arm_cpu,
        };
        here("ip link set lo up")?;
        let at = |source| NetError::Io { what: STRATEGY_SYS.to_owned(), source };
        fs::create_dir(STRATEGY_SYS).map_err(at)?;
        let sys = || mount("sysfs", STRATEGY_SYS, "sysfs", MountFlags::empty(), None);
        inside(&net.strategy, sys)?.map_err(|error| at(error.into()))?;
        for (host, gateway, mac, gateway_mac, address) in [
            (&net.strategy, GATEWAY_INSIDE, MAC_STRATEGY, MAC_GATEWAY_INSIDE, STRATEGY),
            (&net.venue, GATEWAY_VENUE, MAC_VENUE, MAC_GATEWAY_VENUE, VENUE),
        ] {
            let path = host.path();
            here(&format!(
                "ip link add {gateway} address {gateway_mac} type veth peer name {HOST} address {mac} \
                 netns {path}"
            ))?;
            write(&format!("/proc/sys/net/ipv6/conf/{gateway}/disable_ipv6"), "1")?;
            here(&format!("ip link set {gateway} up"))?;
            inside(host, || {
                write(&format!("/proc/sys/net/ipv6/conf/{HOST}/disable_ipv6"), "1")?;
                here("ip link set lo up")?;
                here(&format!("ip address add {address}/24 dev {HOST}"))?;
                here(&format!("ip link set {HOST} up")).map(drop)
            })??;
        }
        // Nobody reads there while a block runs, and a window that nobody opens holds acknowledgements up.
        on(&net.venue, &[format!("ip route add {STRATEGY}/32 dev {HOST} quickack 1")])?;
        Ok(net)
    }

    /// Whether the strategy host can have this discipline.
    pub fn has(&self, discipline: Discipline) -> bool {
        let line = match discipline {
            Discipline::None => return true,
            Discipline::Fq => "tc qdisc add dev lo root fq".to_owned(),
            Discipline::Tbf => {
                "tc qdisc add dev lo root tbf rate 1mbit burst 1600 limit 3200".to_owned()
            }
            Discipline::Htb => "tc qdisc add dev lo root htb".to_owned(),
        };
        let added = on(&self.strategy, &[line]).is_ok();
        if added {
            // Nothing is left of the trial where this fails too: the next trial would say so.
            let _ = on(&self.strategy, &["tc qdisc del dev lo root".to_owned()]);
        }
        added
    }

    /// Brings everything into the state that is wanted.
    ///
    /// # Errors
    /// `ip` or `tc` is missing or refuses, or a setting cannot be written.
    pub fn set(&self, wanted: &Wanted) -> Result<(), NetError> {
        self.set_forwarder(wanted.forwarder)?;
        self.set_discipline(wanted)?;
        let corking = if wanted.autocorking { "1" } else { "0" };
        let holds = wanted.receive_hold.is_some();
        for (host, segmentation, gathers) in
            [(&self.strategy, wanted.segmentation, holds), (&self.venue, false, false)]
        {
            inside(host, || {
                let first = [(CHECKSUMMING, wanted.checksumming), (GATHERING, gathers)];
                set_features(HOST, &first)?;
                set_features(HOST, &SEGMENTATION.map(|name| (name, segmentation)))
            })??;
        }
        let interface = format!("{STRATEGY_SYS}/class/net/{HOST}");
        let hold_ns = wanted.receive_hold.unwrap_or(Nanos::ZERO).0.to_string();
        write(&format!("{interface}/gro_flush_timeout"), &hold_ns)?;
        let empty_polls = if holds { EMPTY_POLLS } else { "0" };
        write(&format!("{interface}/napi_defer_hard_irqs"), empty_polls)?;
        // Of the namespace that the thread is in.
        inside(&self.strategy, || write("/proc/sys/net/ipv4/tcp_autocorking", corking))?
    }

    fn set_forwarder(&self, forwarder: Forwarder) -> Result<(), NetError> {
        let is_kernel = matches!(forwarder, Forwarder::Kernel { .. });
        let threaded = forwarder == Forwarder::Kernel { threaded: true };
        for (interface, host) in [(GATEWAY_INSIDE, STRATEGY), (GATEWAY_VENUE, VENUE)] {
            here(&format!("ip address flush dev {interface}"))?;
            here(&format!("ip route flush dev {interface}"))?;
            if is_kernel {
                here(&format!("ip address add {GATEWAY} dev {interface}"))?;
                here(&format!("ip route add {host}/32 dev {interface}"))?;
                let mac = if host == STRATEGY { MAC_STRATEGY } else { MAC_VENUE };
                here(&format!(
                    "ip neigh replace {host} lladdr {mac} dev {interface} nud permanent"
                ))?;
            }
            write(
                &format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"),
                if is_kernel { "1" } else { "0" },
            )?;
            self.steer(interface, is_kernel, threaded)?;
        }
        if threaded {
            self.pin()?;
        }
        let (to_venue, to_strategy) = if is_kernel {
            (MAC_GATEWAY_INSIDE, MAC_GATEWAY_VENUE)
        } else {
            (MAC_VENUE, MAC_STRATEGY)
        };
        for (host, peer, mac) in
            [(&self.strategy, VENUE, to_venue), (&self.venue, STRATEGY, to_strategy)]
        {
            on(host, &[format!("ip neigh replace {peer} lladdr {mac} dev {HOST} nud permanent")])?;
        }
        Ok(())
    }

    /// Where the kernel forwards what comes in by `interface`.
    fn steer(&self, interface: &str, is_kernel: bool, threaded: bool) -> Result<(), NetError> {
        let mask = if is_kernel { format!("{:x}", 1_u64 << self.arm_cpu) } else { "0".to_owned() };
        let queues = format!("/sys/class/net/{interface}/queues");
        let entries = fs::read_dir(&queues)
            .map_err(|source| NetError::Io { what: queues.clone(), source })?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("rx-") {
                write(&format!("{queues}/{name}/rps_cpus"), &mask)?;
            }
        }
        // A veth polls only while it gathers, and without polling there is no such switch.
        let switch = format!("/sys/class/net/{interface}/threaded");
        if !threaded && read(&switch) == "1" {
            write(&switch, "0")?;
        }
        set_features(interface, &[("rx-gro", threaded)])?;
        if threaded {
            write(&switch, "1")?;
        }
        Ok(())
    }

    /// Pins the threads that poll the gateway's interfaces.
    fn pin(&self) -> Result<(), NetError> {
        let failed = |source| NetError::Io { what: POLLING_THREADS.to_owned(), source };
        outside::pin_polling_threads(self.arm_cpu).map_err(failed).map(drop)
    }

    fn set_discipline(&self, wanted: &Wanted) -> Result<(), NetError> {
        let rate = wanted.rate_bits_per_s;
        let burst = wanted.burst_bytes;
        // Buckets count what the wire carries, as the contract does: `stab` adds preamble, FCS and gap.
        let root =
            format!("tc qdisc add dev {HOST} root handle 1: stab overhead 24 linklayer ethernet");
        let lines = match wanted.discipline {
            Discipline::None => vec![],
            Discipline::Fq => vec![format!("tc qdisc add dev {HOST} root handle 1: fq")],
            Discipline::Tbf => {
                vec![format!("{root} tbf rate {rate}bit burst {burst} limit 16777216")]
            }
            Discipline::Htb => vec![
                format!("{root} htb default 1"),
                format!(
                    "tc class add dev {HOST} parent 1: classid 1:1 htb rate {rate}bit ceil {rate}bit \
                     burst {burst} cburst {burst} quantum 1538"
                ),
                format!("tc qdisc add dev {HOST} parent 1:1 handle 2: pfifo limit 20000"),
            ],
        };
        inside(&self.strategy, || {
            // There may be none.
            let _ = here(&format!("tc qdisc del dev {HOST} root"));
            lines.iter().try_for_each(|line| here(line).map(drop))
        })?
    }

    /// Settings as they read now, and where they are not as wanted.
    pub fn read_back(&self, wanted: &Wanted) -> (Vec<Fact>, Vec<Void>) {
        let mut found = ReadBack::default();
        let holds = wanted.receive_hold.is_some();
        for (host, name, segmentation, gathers) in [
            (&self.strategy, "strategy", wanted.segmentation, holds),
            (&self.venue, "venue", false, false),
        ] {
            let features = inside(host, || features(HOST)).and_then(|features| features);
            found.features(name, features, |feature| match feature {
                CHECKSUMMING => Some(wanted.checksumming),
                GATHERING => Some(gathers),
                other => SEGMENTATION.contains(&other).then_some(segmentation),
            });
        }
        for interface in [GATEWAY_INSIDE, GATEWAY_VENUE] {
            found.features(interface, features(interface), |_| None);
        }
        let hold_ns = read(&format!("{STRATEGY_SYS}/class/net/{HOST}/gro_flush_timeout"));
        let expected = wanted.receive_hold.unwrap_or(Nanos::ZERO).0.to_string();
        found.is("strategy gro_flush_timeout", &hold_ns, Some(&expected));
        let corking = inside(&self.strategy, || read("/proc/sys/net/ipv4/tcp_autocorking"));
        let expected = if wanted.autocorking { "1" } else { "0" };
        found.is("strategy tcp_autocorking", &corking.unwrap_or_default(), Some(expected));
        let root = inside(&self.strategy, || here(&format!("tc qdisc show dev {HOST} root")));
        let root = root.and_then(|said| said).unwrap_or_else(|error| error.to_string());
        let kind = root.split(' ').nth(1).unwrap_or_default();
        let none_is = ["noqueue", "pfifo_fast", "mq"];
        let holds = match wanted.discipline {
            Discipline::None => none_is.contains(&kind),
            other => kind == other.name(),
        };
        found.says("strategy qdisc", root.lines().next().unwrap_or_default().trim(), holds);
        found.forwarder(wanted.forwarder);
        if wanted.forwarder == (Forwarder::Kernel { threaded: true }) {
            let pinned = outside::pinned_polling_threads(self.arm_cpu);
            let said = match &pinned {
                Ok(threads) => format!("{threads} on CPU {}", self.arm_cpu),
                Err(error) => error.to_string(),
            };
            // One for the only queue of each interface.
            found.says(POLLING_THREADS, &said, pinned.is_ok_and(|threads| threads == 2));
        }
        (found.facts, found.wrong)
    }
}

/// Settings that were read.
#[derive(Default)]
struct ReadBack {
    facts: Vec<Fact>,
    wrong: Vec<Void>,
}

impl ReadBack {
    fn says(&mut self, name: &str, value: &str, is_as_wanted: bool) {
        let fact = Fact { name: name.to_owned(), value: value.to_owned() };
        if !is_as_wanted {
            self.wrong.push(Void::Setting { what: format!("{name} is {value:?}") });
        }
        self.facts.push(fact);
    }

    fn is(&mut self, name: &str, value: &str, wanted: Option<&str>) {
        self.says(name, value, wanted.is_none_or(|wanted| wanted == value));
    }

    fn features(
        &mut self,
        of: &str,
        features: Result<Vec<(&'static str, bool)>, NetError>,
        wanted: impl Fn(&str) -> Option<bool>,
    ) {
        match features {
            Ok(features) => {
                for (name, is_on) in features {
                    let value = if is_on { "on" } else { "off" };
                    let holds = wanted(name).is_none_or(|wanted| wanted == is_on);
                    self.says(&format!("{of} {name}"), value, holds);
                }
            }
            Err(error) => self.says(&format!("{of} features"), &error.to_string(), false),
        }
    }

    fn forwarder(&mut self, forwarder: Forwarder) {
        let is_kernel = matches!(forwarder, Forwarder::Kernel { .. });
        for interface in [GATEWAY_INSIDE, GATEWAY_VENUE] {
            let addresses = here(&format!("ip -o address show dev {interface}"));
            let addresses = addresses.unwrap_or_else(|error| error.to_string());
            let addresses: Vec<&str> =
                addresses.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
            let addresses = addresses.join(" ");
            let holds = if is_kernel { addresses == GATEWAY } else { addresses.is_empty() };
            self.says(&format!("{interface} addresses"), &addresses, holds);
            let ipv6_off = read(&format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"));
            self.is(&format!("{interface} disable_ipv6"), &ipv6_off, Some("1"));
            let forwarding = read(&format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"));
            let expected = if is_kernel { "1" } else { "0" };
            self.is(&format!("{interface} forwarding"), &forwarding, Some(expected));
            let steered = read(&format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus"));
            self.is(&format!("{interface} rps_cpus"), &steered, None);
        }
    }
}

fn set_features(interface: &str, wanted: &[(&str, bool)]) -> Result<(), NetError> {
    let mut generic = Netlink::open(Family::Generic)?;
    Ok(ethtool::set_features(&mut generic, interface, wanted)?)
}

fn features(interface: &str) -> Result<Vec<(&'static str, bool)>, NetError> {
    let mut generic = Netlink::open(Family::Generic)?;
    Ok(ethtool::ask(&mut generic, interface)?.features.unwrap_or_default())
}
