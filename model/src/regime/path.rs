//! Whether traffic may move to a second path now.
//!
//! A path that was not probed lately, or does not carry the same addresses, is never chosen. What is
//! in doubt stays where it is: an order that arrives twice or out of order costs more than a slow
//! path.

use crate::time::Nanos;

/// A probe older than this proves nothing.
pub const PROBE_AGE_MAX: Nanos = Nanos::from_secs(1);

/// The path to move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// It sends from and to the same addresses.
    pub same_addresses: bool,
    /// When it last answered a probe.
    pub probed_at: Option<Nanos>,
}

/// What would move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A TCP connection.
    Tcp {
        /// A byte that was sent has not been acknowledged.
        unacknowledged: bool,
        /// The next segment is a SYN: nothing has been sent.
        at_syn: bool,
    },
    /// An ordering group of datagrams.
    Udp {
        /// When its last packet left on the old path, `None` = never.
        last_departure: Option<Nanos>,
        /// Arrival or due time, the later one, of the oldest packet that waits.
        oldest_waiting: Option<Nanos>,
        /// How long what left may still be under way on the old path.
        path_drain: Nanos,
        /// Longest hold of its class.
        max_hold: Nanos,
    },
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It moves.
    Now,
    /// Its packets are held; ask again then.
    HoldUntil(Nanos),
    /// It stays.
    Stay(Stay),
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stay {
    /// The path has other addresses.
    OtherAddresses,
    /// The path has not answered a probe lately.
    NotProbed,
    /// A `mixed` session, and nobody said `allow_session_move`.
    Session,
    /// A byte is on its way.
    Unacknowledged,
    /// Its packets would have to wait beyond `max_hold`.
    HoldTooLong,
}

/// Decides for one flow or group. `mixed`: its class is of that kind; `allow_session_move`: the
/// operator lets such sessions move.
pub fn decide(
    now: Nanos,
    path: Path,
    traffic: Traffic,
    mixed: bool,
    allow_session_move: bool,
) -> Move {
    if !path.same_addresses {
        return Move::Stay(Stay::OtherAddresses);
    }
    let probed = path.probed_at.is_some_and(|at| now.saturating_sub(at) <= PROBE_AGE_MAX);
    if !probed {
        return Move::Stay(Stay::NotProbed);
    }
    if mixed && !allow_session_move {
        return Move::Stay(Stay::Session);
    }
    match traffic {
        Traffic::Tcp { unacknowledged, at_syn } => {
            if at_syn || !unacknowledged {
                Move::Now
            } else {
                Move::Stay(Stay::Unacknowledged)
            }
        }
        Traffic::Udp { last_departure, oldest_waiting, path_drain, max_hold } => {
            let drained = last_departure.map_or(now, |at| at.saturating_add(path_drain));
            // Where nothing waits, something may come at once.
            let since = oldest_waiting.unwrap_or(now);
            let too_long = drained > now && drained.saturating_sub(since) > max_hold;
            match drained {
                _ if too_long => Move::Stay(Stay::HoldTooLong),
                at if at > now => Move::HoldUntil(at),
                _ => Move::Now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos::from_secs(100);
    const GOOD: Path = Path { same_addresses: true, probed_at: Some(NOW) };

    fn udp(left_ago_us: u64, waits_since_us: Option<u64>) -> Traffic {
        Traffic::Udp {
            last_departure: Some(NOW - Nanos::from_micros(left_ago_us)),
            oldest_waiting: waits_since_us.map(|us| NOW - Nanos::from_micros(us)),
            path_drain: Nanos::from_micros(500),
            max_hold: Nanos::from_millis(1),
        }
    }

    #[test]
    fn a_path_without_addresses_or_probe_is_never_chosen() {
        let tcp = Traffic::Tcp { unacknowledged: false, at_syn: true };
        let elsewhere = Path { same_addresses: false, ..GOOD };
        assert_eq!(decide(NOW, elsewhere, tcp, false, true), Move::Stay(Stay::OtherAddresses));
        for probed_at in [None, Some(NOW - PROBE_AGE_MAX - Nanos(1))] {
            let path = Path { probed_at, ..GOOD };
            assert_eq!(decide(NOW, path, tcp, false, true), Move::Stay(Stay::NotProbed));
        }
        let old = Path { probed_at: Some(NOW - PROBE_AGE_MAX), ..GOOD };
        assert_eq!(decide(NOW, old, tcp, false, true), Move::Now);
    }

    #[test]
    fn a_connection_moves_with_nothing_on_its_way() {
        let decide = |unacknowledged, at_syn| {
            decide(NOW, GOOD, Traffic::Tcp { unacknowledged, at_syn }, false, false)
        };
        assert_eq!(decide(true, false), Move::Stay(Stay::Unacknowledged));
        assert_eq!(decide(false, false), Move::Now);
        assert_eq!(decide(true, true), Move::Now, "at SYN");
    }

    #[test]
    fn a_session_moves_only_where_it_is_allowed() {
        let tcp = Traffic::Tcp { unacknowledged: false, at_syn: false };
        assert_eq!(decide(NOW, GOOD, tcp, true, false), Move::Stay(Stay::Session));
        assert_eq!(decide(NOW, GOOD, tcp, true, true), Move::Now);
    }

    #[test]
    fn a_group_waits_for_the_old_path_within_its_hold() {
        let decide = |traffic| decide(NOW, GOOD, traffic, false, false);
        assert_eq!(decide(udp(500, Some(900))), Move::Now, "drained");
        let until = NOW + Nanos::from_micros(300);
        assert_eq!(decide(udp(200, None)), Move::HoldUntil(until), "nothing waits");
        // Waits since 700 us: 300 more make 1 ms, which is allowed.
        assert_eq!(decide(udp(200, Some(700))), Move::HoldUntil(until));
        assert_eq!(decide(udp(200, Some(701))), Move::Stay(Stay::HoldTooLong));
        let long_drain = Traffic::Udp {
            last_departure: Some(NOW),
            oldest_waiting: None,
            path_drain: Nanos::from_millis(2),
            max_hold: Nanos::from_millis(1),
        };
        assert_eq!(decide(long_drain), Move::Stay(Stay::HoldTooLong), "what came now would wait");
        let never = Traffic::Udp {
            last_departure: None,
            oldest_waiting: Some(NOW),
            path_drain: Nanos::from_secs(1),
            max_hold: Nanos(1),
        };
        assert_eq!(decide(never), Move::Now);
    }
}
