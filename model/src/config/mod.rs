//! The config: text once, then checked values.
//!
//! [`Config`] is what the rest of the product sees: every cross reference is an index, every
//! derived value stands beside what it was derived from, and a value of this type has passed every
//! rule. Configs are read once at start; nothing here is used per packet.
//!
//! ```
//! # let text = include_str!("../../../configs/gateway.toml");
//! use model::config::{Config, underlined};
//!
//! match Config::from_toml("gateway.toml", text) {
//!     Ok(config) => assert_eq!(config.gateway.name, "gw1"),
//!     Err(errors) => eprint!("{}", underlined(&errors, text)),
//! }
//! ```
//!
//! In the order in which a text meets the files: `reader` and `raw` read tables and keep places,
//! `values`, `network` and [`units`] read single values. The rules stand by topic, and `parse` calls
//! them: `sections`, `timeline`, `observe`; `ports`, `nic`, `queues` and `arrange`; `matching` and `intent`;
//! `classes`, `limits`, `shaping` and `profiles`; `regime`; `budget`. `record` has what comes out of
//! them, and [`report()`] says what a good config promises. [`live`] lays two configs side by side.

mod arrange;
mod budget;
mod bursts;
mod calendar;
mod canary;
mod caps;
mod classes;
mod digest;
mod error;
mod intent;
mod limits;
pub mod live;
mod matching;
mod names;
mod network;
mod nic;
mod observe;
mod parse;
mod ports;
mod profiles;
mod queues;
mod raw;
mod reader;
mod record;
mod regime;
pub mod report;
mod second_path;
mod sections;
mod shaping;
mod timeline;
pub mod units;
mod values;

pub use budget::Budget;
pub use error::{ConfigError, text_of, underlined};
pub use nic::SHIM_BYTES_MAX;
pub use observe::{Observe, SocketFilter};
pub use record::{
    Access, Arrangement, BenchFlows, Class, ClockKind, Completion, Control, CoreChoice, Derivation,
    Derived, Device, Dpdk, Faults, Gateway, HaltMixed, Hugepages, Intent, IntentLabel, LaunchTime,
    Level, LimitDerivation, LinkModel, Pair, Port, PortIntent, Regime, RxQueue, SecondPath,
    SocketMode, StartMode,
};
pub use report::{Report, report, report_json};
pub use timeline::{SampleRing, Timeline};

use std::net::IpAddr;

use crate::profile::{Caps, Profile, Segment};
use crate::rules::{Label, Rules};
use crate::venue_limit::VenueLimit;

/// A checked config.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[dpdk]`.
    pub dpdk: Dpdk,
    /// `[control]`.
    pub control: Control,
    /// `[timeline]`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// `[observe]`, where there is one: then nothing forwards, and there are no ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe: Option<Observe>,
    /// `[intent]`, `[[label]]`.
    pub intent: Intent,
    /// `[[port]]`, in the order of the file.
    pub ports: Vec<Port>,
    /// `[[pair]]`, in the order of the file.
    pub pairs: Vec<Pair>,
    /// `[[class]]` in the order of the file, then the built-in class `non_ip` of each side.
    pub classes: Vec<Class>,
    /// `[[rule]]` in the order of the file, and what matches none of them.
    pub rules: Rules,
    /// Label table; index 0 is the empty label.
    pub labels: Vec<Label>,
    /// Venue names of the rules, in the order of their first use.
    pub venues: Vec<String>,
    /// `[[venue_limit]]`, in the order of the file.
    pub venue_limits: Vec<VenueLimit>,
    /// Profile 0 is `normal`.
    pub profiles: Vec<Profile>,
    /// `[regime]`, with the machines that run.
    pub regime: Regime,
    /// How each bucket of each profile came out of what the file states, profile by profile.
    #[serde(skip)]
    pub derivations: Vec<Derivation>,
    /// How each venue limit came out of what the file states.
    #[serde(skip)]
    pub limit_derivations: Vec<LimitDerivation>,
    /// SHA-256 of the checked values in canonical form, as hex: changes with any value, not with a
    /// comment, a default written out or another way to write the same number.
    #[serde(skip)]
    pub digest: String,
    /// What is allowed and yet worth a word to the operator.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Prefix {
    /// Network address.
    pub addr: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl Config {
    /// Reads and checks a config. `file_name` is what errors and warnings call it.
    ///
    /// # Errors
    /// Every error of the text, in the order of the file: syntax errors alone where there are any,
    /// else unknown keys, unreadable values and broken rules together.
    pub fn from_toml(file_name: &str, text: &str) -> Result<Self, Vec<ConfigError>> {
        parse::from_toml(file_name, text)
    }

    /// What rows and figures call the ports, by their numbers: those of the gateway, or the interfaces
    /// of [`Config::observe`].
    pub fn port_names(&self) -> impl Iterator<Item = &str> {
        let observed = self.observe.iter().flat_map(Observe::port_names);
        self.ports.iter().map(|port| port.name.as_str()).chain(observed)
    }

    /// The effective caps of a flow, class and egress port in a profile.
    pub fn caps(&self, profile: usize, class: usize, port: usize) -> [Caps; 3] {
        let p = &self.profiles[profile];
        [p.classes[class].flow, p.classes[class].class, p.egress[port].port]
    }

    /// The messages that a tag may claim for a packet of a class: the smallest message burst that it meets
    /// in any profile, `u16::MAX` where there is none.
    pub fn messages_claimed_max(&self, class: usize) -> u16 {
        let of_profile = |profile: &Profile| {
            let class = profile.classes.get(class);
            let of_class = class.into_iter().flat_map(|class| [class.class, class.flow]);
            let of_ports = profile.egress.iter().map(|egress| egress.port);
            of_class.chain(of_ports).filter_map(|caps| caps.messages).map(|b| b.burst).min()
        };
        let smallest = self.profiles.iter().filter_map(of_profile).min();
        smallest.map_or(u16::MAX, |burst| u16::try_from(burst).unwrap_or(u16::MAX))
    }

    /// What is done in a profile with a frame of a class that is longer than the egress port may
    /// send: what the class says, else the port, and no more than the profile lets.
    pub fn segment(&self, profile: usize, class: usize, port: usize) -> Segment {
        let stated = self.classes[class].segment.unwrap_or(self.ports[port].segment);
        stated.min(self.profiles[profile].classes[class].shaping.segment_most)
    }
}
