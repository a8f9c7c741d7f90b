//! How it is learnt that packets have left.

use crate::config;

/// The way in which the completions of a TX queue are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionSource {
    /// The device is done when `tx_burst` returns: nothing is ever in flight, the figures are
    /// absent and the limit never binds.
    Synchronous,
    /// Occupancy of the ring behind net_ring: what is no longer in it has completed.
    RingCount,
    /// An extra reference on each mbuf: when the count reads 1 again the device gave it back.
    RefcountProbe,
    /// The modelled link says when: figures are labelled `simulated`.
    LinkModel,
}

impl CompletionSource {
    /// What holds for a port: its link model if it has one, else what the config names, else the
    /// best that its device offers.
    pub fn choose(
        configured: config::Completion,
        has_link_model: bool,
        best_of_device: Self,
    ) -> Self {
        match configured {
            _ if has_link_model => Self::LinkModel,
            config::Completion::Auto => best_of_device,
            config::Completion::Synchronous => Self::Synchronous,
            config::Completion::RingCount => Self::RingCount,
            config::Completion::RefcountProbe => Self::RefcountProbe,
        }
    }

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::RingCount => "ring_count",
            Self::RefcountProbe => "refcount_probe",
            Self::LinkModel => "link_model",
        }
    }

    /// Whether there are figures at all.
    pub const fn reports(self) -> bool {
        !matches!(self, Self::Synchronous)
    }

    /// Whether the figures are of a model and not of a device.
    pub const fn is_simulated(self) -> bool {
        matches!(self, Self::LinkModel)
    }
}
