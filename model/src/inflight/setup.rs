//! What an account is made of, and what is refused.

use super::source::CompletionSource;
use crate::config;
use crate::time::Nanos;

/// Most descriptors a TX queue has: a ring index of DPDK has 16 bits.
const PACKETS_MAX: u32 = 65_536;

/// What an [`InFlight`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Where completions come from.
    pub source: CompletionSource,
    /// Limit in wire bytes, `None` = only the descriptors limit.
    pub limit_bytes: Option<u64>,
    /// TX descriptors: packets that may be in flight, 1 to 65,536.
    pub packets_max: u32,
    /// No completion for so long with bytes in flight is a stall, above 0.
    pub stall_time: Nanos,
    /// The link model; with [`CompletionSource::LinkModel`] and only with it.
    pub link: Option<config::LinkModel>,
}

/// Why a [`Setup`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Completions from a link model that is not there.
    #[error("completions from a link model need `link` on the port")]
    NoLinkModel,
    /// A link model whose completions nobody asks for.
    #[error("a link model is the source of completions: {} does not go with `link`", .0.name())]
    UnusedLinkModel(CompletionSource),
    /// Out of range.
    #[error("{0} TX descriptors: 1 to 65,536 can be counted")]
    PacketsMax(u32),
    /// Every moment would be a stall.
    #[error("stall_time must be above 0")]
    StallTime,
}

impl Setup {
    /// Whether an account can be made of it.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        match (self.source, self.link) {
            (CompletionSource::LinkModel, None) => return Err(SetupError::NoLinkModel),
            (CompletionSource::LinkModel, Some(_)) | (_, None) => {}
            (other, Some(_)) => return Err(SetupError::UnusedLinkModel(other)),
        }
        if !(1..=PACKETS_MAX).contains(&self.packets_max) {
            return Err(SetupError::PacketsMax(self.packets_max));
        }
        if self.stall_time == Nanos::ZERO {
            return Err(SetupError::StallTime);
        }
        Ok(())
    }
}
