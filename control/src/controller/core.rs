//! A data core as control sees it.

use dataplane::channel::{ControlLink, Phase};
use dataplane::turns;
use model::profile::Profile;
use model::time::Nanos;

use super::Settings;
use crate::watch::CoreWatch;

/// The operator-confirmed table of a core, as fingerprints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    /// What it was sent last.
    pub(super) sent: u64,
    /// What it has since said that it has.
    pub(super) held: Option<u64>,
}

impl Confirmed {
    fn of(profile: &Profile) -> Self {
        let fingerprint = profile.fingerprint();
        Self { sent: fingerprint, held: Some(fingerprint) }
    }
}

/// A data core as control sees it.
pub struct Core<B> {
    pub(super) link: ControlLink<B>,
    pub(super) cpu: Option<usize>,
    pub(super) watch: CoreWatch,
    /// Indices of the ports that it sends to.
    pub(super) ports: Vec<usize>,
    /// The composed table that it was last sent, if that is what it is to run by.
    pub(super) composed: Option<Profile>,
    /// What it holds as confirmed, by its own word, and what it was last sent.
    pub(super) confirmed: Confirmed,
    pub(super) samples: u64,
    /// What it was last told of how long a turn may take.
    pub(super) stall_threshold: Nanos,
    /// How often control saw it stand still and move again.
    pub(super) still: u64,
    pub(super) leases_expired: u64,
    pub(super) switches: u64,
}

impl<B> Core<B> {
    /// A core at the other end of `link`, pinned to `cpu`.
    pub fn new(link: ControlLink<B>, cpu: Option<usize>, settings: &Settings) -> Self {
        Self {
            link,
            cpu,
            watch: CoreWatch::new(settings.tick),
            ports: Vec::new(),
            composed: None,
            confirmed: Confirmed::of(&settings.profiles[0]),
            samples: 0,
            stall_threshold: turns::THRESHOLD,
            still: 0,
            leases_expired: 0,
            switches: 0,
        }
    }

    /// The ports that it sends to, by their indices in the config: what governs one of them is its
    /// affair.
    #[must_use]
    pub fn sends_to(mut self, ports: Vec<usize>) -> Self {
        self.ports = ports;
        self
    }

    pub(super) fn is_watched(&self) -> bool {
        matches!(self.link.phase(), Phase::Running | Phase::Draining)
    }

    pub(super) fn obeys(&self) -> bool {
        self.link.phase() != Phase::Ended
    }
}
