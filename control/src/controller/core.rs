//! A data core as control sees it.

use dataplane::channel::{ControlLink, Phase};
use model::profile::Profile;
use model::time::Nanos;

use super::Settings;
use crate::watch::CoreWatch;

/// A data core as control sees it.
pub struct Core<B> {
    pub(super) link: ControlLink<B>,
    pub(super) cpu: Option<usize>,
    pub(super) watch: CoreWatch,
    /// Indices of the ports that it sends to.
    pub(super) ports: Vec<usize>,
    /// The composed table that it was last sent, if that is what it is to run by.
    pub(super) composed: Option<Profile>,
    pub(super) samples: u64,
    /// Stalls that the core reported itself.
    pub(super) stalls: u64,
    pub(super) longest_stall: Nanos,
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
            samples: 0,
            stalls: 0,
            longest_stall: Nanos::ZERO,
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
