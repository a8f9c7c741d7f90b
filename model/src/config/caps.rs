//! The caps of one node: what is stated, what the pacer runs, and whether a profile loosens it.

use super::Derived;
use super::bursts::{self, Scale};
use super::error::{At, Findings};
use super::raw::RawCaps;
use super::units::{self, Burst, MessageBurst};
use super::values::BURST_MAX;
use crate::profile::{Bucket, Caps};

/// The caps of one node in one profile as they are stated, after what it takes over from `normal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    rate: Option<u64>,
    burst: Option<Burst>,
    messages: Option<u64>,
    message_burst: Option<MessageBurst>,
}

impl Stated {
    /// What `raw` states, and `base` where it is silent.
    pub fn over(base: Self, raw: &RawCaps) -> Self {
        Self {
            rate: raw.rate.or(base.rate),
            burst: raw.burst.value.or(base.burst),
            messages: raw.messages.or(base.messages),
            message_burst: raw.message_burst.value.or(base.message_burst),
        }
    }

    pub fn limits_messages(&self) -> bool {
        self.messages.is_some()
    }

    /// In words: `50M, burst 4 packets, 5000/s, burst 16`. Empty = unlimited.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.rate.map(units::format_bit_rate));
        words.extend(self.burst.map(|burst| format!("burst {burst}")));
        words.extend(self.messages.map(units::format_message_rate));
        words.extend(self.message_burst.map(|count| format!("burst {count} messages")));
        words.join(", ")
    }
}

/// The effective caps of one node, and how they came to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub caps: Caps,
    pub bits: Option<Derived>,
    pub messages: Option<Derived>,
}

/// The buckets of a node. `raw` and `at` give the places of errors.
pub(super) fn derive(
    findings: &Findings,
    raw: &RawCaps,
    at: At,
    stated: Stated,
    scale: Scale,
) -> Node {
    refuse_burst_without_rate(findings, raw, stated);
    let mut node = Node::default();
    if let Some(rate) = stated.rate {
        let place = raw.burst.at(raw.rate.at(at));
        match bursts::bits(rate, stated.burst, scale) {
            Ok(derived) => (node.caps.bits, node.bits) = (Some(derived.bucket), Some(derived)),
            Err(bytes) => {
                let problem = format!("{}: the effective burst is {bytes} bytes", raw.keys[1]);
                findings.error(place, problem, format!("up to {}", units::format_size(BURST_MAX)));
            }
        }
    }
    if let Some(rate) = stated.messages {
        let place = raw.message_burst.at(raw.messages.at(at));
        match bursts::messages(rate, stated.message_burst, scale) {
            Ok(derived) => {
                (node.caps.messages, node.messages) = (Some(derived.bucket), Some(derived));
            }
            Err(count) => {
                let problem = format!("{}: the effective burst is {count} messages", raw.keys[3]);
                findings.error(place, problem, format!("up to {BURST_MAX}"));
            }
        }
    }
    node
}

fn refuse_burst_without_rate(findings: &Findings, raw: &RawCaps, stated: Stated) {
    let [rate, burst, messages, message_burst] = raw.keys;
    let refuse = |at, burst: &str, rate: &str| {
        let problem = format!("`{burst}` without `{rate}` limits nothing");
        findings.error(at, problem, format!("`{burst}` beside a limited `{rate}`"));
    };
    // A rate that could not be read has its own error already.
    let unreadable = raw.rate.is_present() && raw.rate.value.is_none();
    if let Some((_, at)) = raw.burst.get()
        && stated.rate.is_none()
        && !unreadable
    {
        refuse(at, burst, rate);
    }
    let unreadable = raw.messages.is_present() && raw.messages.value.is_none();
    if let Some((_, at)) = raw.message_burst.get()
        && stated.messages.is_none()
        && !unreadable
    {
        refuse(at, message_burst, messages);
    }
}

/// A profile may only tighten: each bucket at most as fast and as deep as in `normal`.
pub(super) fn refuse_looser(
    findings: &Findings,
    raw: &RawCaps,
    at: At,
    normal: &Caps,
    profile: &Caps,
) {
    let rate_at = raw.rate.at(at);
    let burst_at = raw.burst.at(rate_at);
    let messages_at = raw.messages.at(at);
    let message_burst_at = raw.message_burst.at(messages_at);
    let [rate, burst, messages, message_burst] = raw.keys;
    let check =
        |key: &str, at, normal: Option<u64>, found: Option<u64>, show: &dyn Fn(u64) -> String| {
            let Some(most) = normal else { return };
            let looser = found.is_none_or(|value| value > most);
            if looser {
                let found = found.map_or("unlimited".to_owned(), show);
                let problem = format!("{key}: {found} is looser than normal");
                findings.error(at, problem, format!("at most {}, as in normal", show(most)));
            }
        };
    let rate_of = |bucket: Bucket| bucket.rate_per_s;
    check(
        rate,
        rate_at,
        normal.bits.map(rate_of),
        profile.bits.map(rate_of),
        &units::format_bit_rate,
    );
    check(
        messages,
        messages_at,
        normal.messages.map(rate_of),
        profile.messages.map(rate_of),
        &units::format_message_rate,
    );
    // Where the profile has no bucket the rate has said so already.
    for (key, at, normal, profile, unit) in [
        (burst, burst_at, normal.bits, profile.bits, "wire bytes"),
        (message_burst, message_burst_at, normal.messages, profile.messages, "messages"),
    ] {
        // A slack is rounded down to a nanosecond, at another rate to another one.
        if let (Some(normal), Some(profile)) = (normal, profile)
            && profile.depth() > normal.depth() + u128::from(normal.rate_per_s)
        {
            let [found, most] = [profile, normal].map(|bucket| bucket.burst_in_decimals());
            let problem = format!("{key}: {found} {unit} is looser than normal");
            findings.error(at, problem, format!("at most {most} {unit}, as in normal"));
        }
    }
}
