//! Venue limits in the report.

use serde::Serialize;

use crate::config::Config;
use crate::time::Nanos;
use crate::venue_limit::LimitScope;

/// A venue limit and the arithmetic behind it.
#[derive(Clone, Debug, Serialize)]
pub struct LimitReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whose messages it counts, in words.
    pub counts: &'a str,
    /// The same for programs.
    pub scope: LimitScope,
    /// Classes whose messages it counts.
    pub classes: Vec<&'a str>,
    /// Most messages in every window, of each pair.
    pub messages_max: u32,
    /// How that is made up.
    pub arithmetic: String,
    /// The window, ns.
    pub per_ns: Nanos,
    /// Whether messages of exempt packets count, and so may wait.
    pub counts_cancels: bool,
    /// Of `messages_max`, kept free for exempt packets.
    pub cancel_reserve: u32,
    /// The pace inside the window: messages per second.
    pub rate_per_s: u64,
    /// The pace inside the window: messages at once.
    pub burst: u64,
    /// How the pace is made up.
    pub pace_arithmetic: String,
}

/// The limits in the order of the file.
pub(super) fn limits(config: &Config) -> Vec<LimitReport<'_>> {
    let rows = config.venue_limits.iter().zip(&config.limit_derivations);
    rows.map(|(limit, derivation)| LimitReport {
        name: &limit.name,
        counts: &derivation.scope,
        scope: limit.scope,
        classes: derivation.classes.iter().map(|c| config.classes[*c].name.as_str()).collect(),
        messages_max: limit.messages_max,
        arithmetic: format!(
            "{} x share {} x (1 - margin {}){}",
            derivation.messages,
            as_share(derivation.share_ppm),
            as_share(derivation.margin_ppm),
            if derivation.cores > 1 {
                format!(" / {} pairs", derivation.cores)
            } else {
                String::new()
            }
        ),
        per_ns: limit.per,
        counts_cancels: limit.counts_cancels,
        cancel_reserve: limit.cancel_reserve,
        rate_per_s: limit.bucket.rate_per_s,
        burst: limit.bucket.burst,
        pace_arithmetic: format!(
            "burst {} + {}/s x {} <= {} - cancel_reserve {}",
            limit.bucket.burst,
            limit.bucket.rate_per_s,
            limit.per,
            limit.messages_max,
            limit.cancel_reserve
        ),
    })
    .collect()
}

/// Parts per million as a decimal: 20000 is `0.02`.
fn as_share(ppm: u32) -> String {
    let text = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_reads_as_it_was_written() {
        for (ppm, text) in [(0, "0"), (20_000, "0.02"), (1_000_000, "1"), (1, "0.000001")] {
            assert_eq!(as_share(ppm), text);
        }
    }
}
