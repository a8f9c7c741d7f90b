//! `TCP_INFO`: what a TCP socket says of itself.
//!
//! The record has grown with the kernels and only at its end: 104 bytes at first, 192 in 4.9, 232 in
//! 5.4, 240 in 6.2, 248 in 6.7, 280 in 7.0. What a length does not reach is absent.

use super::bytes::{ReadError, at_least, u16_at, u32_at, u64_at};

/// The part that every kernel gives.
const BYTES_MIN: usize = 104;
/// `max_pacing_rate` without a limit.
const UNLIMITED: u64 = u64::MAX;

/// A socket, as it says. Rates are bytes per second, times in the unit that stands in the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Number of the state; 1 = established.
    pub state: u8,
    /// Timeouts since the last acknowledgement.
    pub retransmits: u8,
    /// Retransmission timeout.
    pub rto_us: u32,
    /// Segment size in sending.
    pub snd_mss: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments believed lost.
    pub lost: u32,
    /// Retransmitted segments in flight.
    pub retrans: u32,
    /// Smoothed round trip.
    pub rtt_us: u32,
    /// Its deviation.
    pub rttvar_us: u32,
    /// Slow-start threshold, segments.
    pub snd_ssthresh: u32,
    /// Congestion window, segments.
    pub snd_cwnd: u32,
    /// Retransmitted segments since the start.
    pub total_retrans: u32,
    /// The rate TCP paces at.
    pub pacing_rate: Option<u64>,
    /// `SO_MAX_PACING_RATE`; `None` = not told or unlimited.
    pub max_pacing_rate: Option<u64>,
    /// Bytes acknowledged.
    pub bytes_acked: Option<u64>,
    /// Segments sent.
    pub segs_out: Option<u32>,
    /// Bytes accepted from the application and not yet sent for the first time.
    pub notsent_bytes: Option<u32>,
    /// Least round trip.
    pub min_rtt_us: Option<u32>,
    /// Segments with payload sent.
    pub data_segs_out: Option<u32>,
    /// Delivery rate as last estimated.
    pub delivery_rate: Option<u64>,
    /// Time with something to send.
    pub busy_time_us: Option<u64>,
    /// Of that, held by the receiver's window.
    pub rwnd_limited_us: Option<u64>,
    /// Of that, held by the send buffer.
    pub sndbuf_limited_us: Option<u64>,
    /// Segments delivered.
    pub delivered: Option<u32>,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: Option<u64>,
    /// Payload bytes retransmitted.
    pub bytes_retrans: Option<u64>,
    /// Reorderings seen.
    pub reord_seen: Option<u32>,
    /// The receiver's window, bytes.
    pub snd_wnd: Option<u32>,
    /// Our window, bytes.
    pub rcv_wnd: Option<u32>,
    /// Times the flow label was changed for want of progress.
    pub rehash: Option<u32>,
    /// Retransmission timeouts since the start.
    pub total_rto: Option<u16>,
}

impl TcpInfo {
    /// Reads what `getsockopt` or INET_DIAG gave, of whatever length.
    ///
    /// # Errors
    /// Fewer bytes than any kernel gives.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let b = at_least("tcp_info", bytes, BYTES_MIN)?;
        let first = |at| u32_at(b, at).unwrap_or_default();
        Ok(Self {
            state: b[0],
            retransmits: b[2],
            rto_us: first(8),
            snd_mss: first(16),
            unacked: first(24),
            lost: first(32),
            retrans: first(36),
            rtt_us: first(68),
            rttvar_us: first(72),
            snd_ssthresh: first(76),
            snd_cwnd: first(80),
            total_retrans: first(100),
            pacing_rate: u64_at(b, 104),
            max_pacing_rate: u64_at(b, 112).filter(|rate| *rate != UNLIMITED),
            bytes_acked: u64_at(b, 120),
            segs_out: u32_at(b, 136),
            notsent_bytes: u32_at(b, 144),
            min_rtt_us: u32_at(b, 148),
            data_segs_out: u32_at(b, 156),
            delivery_rate: u64_at(b, 160),
            busy_time_us: u64_at(b, 168),
            rwnd_limited_us: u64_at(b, 176),
            sndbuf_limited_us: u64_at(b, 184),
            delivered: u32_at(b, 192),
            bytes_sent: u64_at(b, 200),
            bytes_retrans: u64_at(b, 208),
            reord_seen: u32_at(b, 220),
            snd_wnd: u32_at(b, 228),
            rcv_wnd: u32_at(b, 232),
            rehash: u32_at(b, 236),
            total_rto: u16_at(b, 240),
        })
    }

    /// `1 - pacing_rate / max_pacing_rate`, 0 to 1; `None` where either is not known or nothing limits.
    pub fn pacing_headroom(&self) -> Option<f64> {
        let (rate, most) = self.pacing_rate.zip(self.max_pacing_rate.filter(|most| *most > 0))?;
        Some((1.0 - rate as f64 / most as f64).clamp(0.0, 1.0))
    }

    /// Whether TCP paces at its limit: at 98 % of it or more.
    pub fn is_at_cap(&self) -> Option<bool> {
        let (rate, most) = self.pacing_rate.zip(self.max_pacing_rate.filter(|most| *most > 0))?;
        Some(u128::from(rate) * 100 >= u128::from(most) * 98)
    }
}
