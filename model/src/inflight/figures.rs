//! What is known of a TX queue, for KPIs.

use super::CompletionSource;
use crate::time::Nanos;

/// A reading of one TX queue. Counters count from the start; control takes differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// When it was read.
    pub at: Nanos,
    /// Where completions come from.
    pub source: CompletionSource,
    /// Limit in force, wire bytes.
    pub limit_bytes: Option<u64>,
    /// Packets that may be in flight: TX descriptors.
    pub packets_max: u32,
    /// In flight now.
    pub packets: u32,
    /// In flight now, wire bytes.
    pub bytes: u64,
    /// Most in flight at one time since [`super::InFlight::restart_peak`].
    pub peak_packets: u32,
    /// Most in flight at one time since [`super::InFlight::restart_peak`], wire bytes.
    pub peak_bytes: u64,
    /// Most that the NIC could send at one time since [`super::InFlight::restart_peak`], wire bytes.
    pub peak_eligible_bytes: u64,
    /// Of what is in flight, packets whose launch time has not come.
    pub queued_packets: u32,
    /// Of what is in flight, wire bytes whose launch time has not come.
    pub queued_bytes: u64,
    /// Limit of them in force, wire bytes.
    pub queued_limit_bytes: Option<u64>,
    /// Most of them at one time since [`super::InFlight::restart_peak`], wire bytes.
    pub peak_queued_bytes: u64,
    /// Packets whose launch time came while what the NIC could send had reached the limit.
    pub ripened_over_limit: u64,
    /// Packets accepted by the port.
    pub accepted_packets: u64,
    /// Wire bytes accepted by the port.
    pub accepted_bytes: u64,
    /// Packets completed.
    pub completed_packets: u64,
    /// Wire bytes completed.
    pub completed_bytes: u64,
    /// Completions that gave back at least one packet.
    pub completions: u64,
    /// Integral of wire bytes in flight over time, byte x ns: its difference over the difference of
    /// `at` is the time-weighted mean.
    pub byte_ns: u128,
    /// Time in which a due packet did not fit.
    pub waited: Nanos,
    /// Stalls: episodes of at least `stall_time` without a completion while bytes were in flight.
    pub stalls: u64,
    /// Length of all stalls that have ended.
    pub stalled: Nanos,
    /// Longest stall that has ended.
    pub stall_max: Nanos,
    /// The stall that lasts now: how long already.
    pub stalled_for: Option<Nanos>,
    /// Times that the limit let the wire run dry with due packets waiting.
    pub starvations: u64,
    /// Idle time of the wire in them; only a link model knows.
    pub starved_idle: Option<Nanos>,
    /// Changes of the limit.
    pub limit_changes: u64,
    /// Packets handed over beyond what [`super::InFlight::fits`] allowed: a fault of the caller,
    /// must be 0.
    pub overruns: u64,
    /// Completions beyond what was in flight: a fault of the source, must be 0.
    pub surplus_completions: u64,
}

impl Figures {
    /// Bytes in flight that may leave over the limit, 0 to 1, and above 1 while a lowered limit
    /// drains; `None` without a limit.
    pub fn utilisation(&self) -> Option<f64> {
        let eligible = self.bytes - self.queued_bytes;
        self.limit_bytes.map(|limit| eligible as f64 / limit.max(1) as f64)
    }

    /// [`Figures::utilisation`] at the peak.
    pub fn peak_utilisation(&self) -> Option<f64> {
        self.limit_bytes.map(|limit| self.peak_eligible_bytes as f64 / limit.max(1) as f64)
    }
}
