//! `[observe]`: the kernel's path of a host, looked at. Such a config has classes and rules as a gateway
//! has, and nothing that forwards.

use std::net::{IpAddr, SocketAddr};

use super::error::{At, Findings};
use super::network::network_address;
use super::raw::RawConfig;
use super::{ClockKind, Gateway, Prefix};
use crate::time::Nanos;

/// `[observe]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Observe {
    /// Interface towards the venue.
    pub egress: String,
    /// Interface towards the strategies, on a host that forwards; `None`: it sends itself.
    pub ingress: Option<String>,
    /// Rate of the link behind `egress`.
    pub link_bps: Option<u64>,
    /// Stop by itself after so long; `None`: at a signal.
    pub duration: Option<Nanos>,
    /// Memory of the capture on each interface.
    pub ring_bytes: u64,
    /// Sockets, queueing disciplines and byte limits are looked at so often.
    pub sample_every: Nanos,
    /// Names of processes whose threads are watched.
    pub threads: Vec<String>,
    /// Which sockets are followed.
    pub sockets: Vec<SocketFilter>,
}

impl Observe {
    /// Number of the port towards the venue.
    pub const EGRESS: u8 = 0;
    /// Number of the port towards the strategies: an interface, or the host itself.
    pub const INGRESS: u8 = 1;

    /// The names of both, by number.
    pub fn port_names(&self) -> [&str; 2] {
        [&self.egress, self.ingress.as_deref().unwrap_or("host")]
    }
}

/// `[[observe.socket]]`: what a followed socket's ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SocketFilter {
    /// Our address.
    pub local: Option<Prefix>,
    /// The other's.
    pub remote: Option<Prefix>,
    /// Our port, first and last.
    pub local_port: Option<(u16, u16)>,
    /// The other's.
    pub remote_port: Option<(u16, u16)>,
}

impl SocketFilter {
    /// Whether a socket with these ends is meant.
    pub fn matches(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let address = |prefix: Option<Prefix>, address: IpAddr| {
            prefix.is_none_or(|prefix| {
                prefix.addr.is_ipv4() == address.is_ipv4()
                    && network_address(address, prefix.bits) == prefix.addr
            })
        };
        let port = |range: Option<(u16, u16)>, port: u16| {
            range.is_none_or(|(first, last)| (first..=last).contains(&port))
        };
        address(self.local, local.ip())
            && address(self.remote, remote.ip())
            && port(self.local_port, local.port())
            && port(self.remote_port, remote.port())
    }
}

pub(super) fn observe(findings: &Findings, raw: &RawConfig, gateway: &Gateway) -> Option<Observe> {
    let observe = raw.observe.as_ref()?;
    refuse_what_forwards(findings, raw);
    if gateway.clock == ClockKind::Virtual {
        let problem = "[observe] with clock = \"virtual\": a host has no other time than its own";
        findings.error(raw.gateway.clock.at(observe.at), problem, "clock = \"tsc\"");
    }
    if let (Some((egress, _)), Some((ingress, at))) = (observe.egress.get(), observe.ingress.get())
        && egress == ingress
    {
        let problem = format!("ingress = {ingress:?} is also `egress`");
        findings.error(at, problem, "two interfaces, or no `ingress` on a host that sends itself");
    }
    let sockets = observe.sockets.iter().map(|raw| {
        let filter = SocketFilter {
            local: raw.local.value,
            remote: raw.remote.value,
            local_port: raw.local_port.value,
            remote_port: raw.remote_port.value,
        };
        let named = [raw.local.is_present(), raw.remote.is_present()];
        if !named.contains(&true) && !raw.local_port.is_present() && !raw.remote_port.is_present() {
            let problem = "[[observe.socket]] means every socket of the host";
            findings.error(
                raw.at,
                problem,
                "one of local, remote, local_port, remote_port at least",
            );
        }
        filter
    });
    Some(Observe {
        egress: observe.egress.or(String::new()),
        ingress: observe.ingress.value.clone(),
        link_bps: observe.link.value,
        duration: observe.duration.or(None),
        ring_bytes: observe.ring.or(16 << 20),
        sample_every: observe.sample_every.or(Nanos::from_millis(1)),
        threads: observe.threads.or(Vec::new()),
        sockets: sockets.collect(),
    })
}

/// A config is for a gateway or for a look at the kernel's path: what one of them would not heed must
/// not stand there as if it held.
fn refuse_what_forwards(findings: &Findings, raw: &RawConfig) {
    let first = |name: &'static str, at: Option<At>| Some((name, at?));
    let found = [
        first("[[port]]", raw.ports.first().map(|port| port.at)),
        first("[[pair]]", raw.pairs.first().map(|pair| pair.at)),
        first("[[profile]]", raw.profiles.first().map(|profile| profile.name.at(At::default()))),
        first("[[venue_limit]]", raw.venue_limits.first().map(|limit| limit.at)),
    ];
    for (name, at) in found.into_iter().flatten() {
        findings.error(at, format!("{name} beside [observe]"), "a config of its own for each");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_it_names_and_nothing_else() {
        let any = SocketFilter { local: None, remote: None, local_port: None, remote_port: None };
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (local, remote) = (end("10.9.0.1:40000"), end("10.9.0.2:7010"));
        assert!(any.matches(local, remote));
        let net = Prefix { addr: "10.9.0.0".parse().expect("an address"), bits: 24 };
        let both = SocketFilter { remote: Some(net), remote_port: Some((7_000, 7_010)), ..any };
        assert!(both.matches(local, remote));
        assert!(!both.matches(local, end("10.9.1.2:7010")));
        assert!(!both.matches(local, end("10.9.0.2:7011")));
        assert!(!both.matches(local, end("[2001:db8::1]:7010")));
        assert!(!SocketFilter { local_port: Some((1, 1)), ..any }.matches(local, remote));
    }
}
