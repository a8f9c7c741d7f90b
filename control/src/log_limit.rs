//! At most one line a second of each kind: a storm of events must not become a storm of lines.

use std::collections::BTreeMap;

use model::time::Nanos;

/// One line of a kind in so long.
const LOG_EVERY: Nanos = Nanos::from_secs(1);

#[derive(Debug, Default)]
struct Kind {
    logged_at: Option<Nanos>,
    unlogged: u64,
}

/// What was logged when.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(BTreeMap<&'static str, Kind>);

impl LogLimit {
    /// Adds `by` events of `kind`. `Some`: write a line, for so many events since the last one.
    pub(crate) fn due(&mut self, kind: &'static str, by: u64, now: Nanos) -> Option<u64> {
        let kind = self.0.entry(kind).or_default();
        kind.unlogged += by;
        if kind.logged_at.is_some_and(|at| now < at.saturating_add(LOG_EVERY)) {
            return None;
        }
        kind.logged_at = Some(now);
        Some(std::mem::take(&mut kind.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_for_each_kind_with_all_that_came_since() {
        let mut limit = LogLimit::default();
        let ms = Nanos::from_millis;
        assert_eq!(limit.due("stalls", 1, ms(0)), Some(1));
        for at in 1..1_000 {
            assert_eq!(limit.due("stalls", 2, ms(at)), None);
        }
        assert_eq!(limit.due("links", 1, ms(500)), Some(1), "kinds do not share a line");
        assert_eq!(limit.due("stalls", 1, ms(1_000)), Some(1_999));
        assert_eq!(limit.due("stalls", 1, ms(5_000)), Some(1));
    }
}
