//! Numbers with units, as text: `250us`, `10G`, `5000/s`, `64KiB`, `4 packets`.
//!
//! Each `parse_*` is exact: a text that is not a whole number of the base unit is refused, never
//! rounded. Each `format_*` writes the shortest text that its `parse_*` reads back to the same
//! number.

use std::fmt;

use crate::time::Nanos;

/// Forms that [`parse_duration`] takes, beside `unlimited`.
pub const DURATION_FORMS: &str = r#""64ns", "250us", "1.5ms", "5s" or "2min""#;
/// Forms that [`parse_bit_rate`] takes.
pub const BIT_RATE_FORMS: &str =
    r#"bits per second such as "10G", "50M", "1.5M", "400k" or "9600bit/s""#;
/// Forms that [`parse_message_rate`] takes.
pub const MESSAGE_RATE_FORMS: &str = r#"messages per second such as "5000/s""#;
/// Forms that [`parse_size`] takes.
pub const SIZE_FORMS: &str = r#""1500B", "64KiB", "1MiB", "1GiB", "64kB" or "1MB""#;
/// Forms that [`parse_burst`] takes.
pub const BURST_FORMS: &str = r#"a size "8KiB", a count "4 packets" or a time "100us""#;

/// Why a text is not a number with the unit asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; allowed: {allowed}")]
pub struct UnitError {
    /// What was found.
    pub problem: String,
    /// The forms that are taken.
    pub allowed: &'static str,
}

/// A burst as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// Wire bytes.
    Bytes(u64),
    /// Largest frames of the egress port.
    Packets(u64),
    /// What the rate gives in this time.
    Time(Nanos),
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&format_size(*bytes)),
            Self::Packets(1) => f.write_str("1 packet"),
            Self::Packets(count) => write!(f, "{count} packets"),
            Self::Time(span) => write!(f, "{span}"),
        }
    }
}

/// A burst of messages, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageBurst {
    thousandths: u64,
}

impl MessageBurst {
    /// So many messages.
    pub const fn whole(messages: u64) -> Self {
        Self { thousandths: messages.saturating_mul(1_000) }
    }

    /// Messages.
    pub const fn messages(self) -> u64 {
        self.thousandths / 1_000
    }

    /// In which the rest of one is given at a rate, rounded down.
    pub fn rest(self, rate_per_s: u64) -> Nanos {
        let ns = u128::from(self.thousandths % 1_000) * 1_000_000 / u128::from(rate_per_s.max(1));
        Nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for MessageBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.messages())?;
        match self.thousandths % 1_000 {
            0 => Ok(()),
            rest => f.write_str(format!(".{rest:03}").trim_end_matches('0')),
        }
    }
}

const DURATION_UNITS: &[(&str, u64)] =
    &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];
const RATE_PREFIXES: &[(&str, u64)] =
    &[("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000), ("K", 1_000), ("", 1)];

/// A span of time. `unlimited` is [`Nanos::MAX`].
///
/// # Errors
/// Not one of [`DURATION_FORMS`], not a whole number of nanoseconds, or beyond 584 years.
pub fn parse_duration(text: &str) -> Result<Nanos, UnitError> {
    if text == "unlimited" {
        return Ok(Nanos::MAX);
    }
    let nanos = scaled(text, DURATION_UNITS, "nanosecond", DURATION_FORMS)?;
    if nanos == u64::MAX {
        return Err(too_large(text, DURATION_FORMS));
    }
    Ok(Nanos(nanos))
}

/// Bits per second, decimal prefixes, with `bit/s` or `bps` behind it or not.
///
/// # Errors
/// Not one of [`BIT_RATE_FORMS`], a bare number, not a whole number of bits, or beyond 64 bits.
pub fn parse_bit_rate(text: &str) -> Result<u64, UnitError> {
    let stem = text.strip_suffix("bit/s").or_else(|| text.strip_suffix("bps"));
    // A number alone could mean bytes or megabits: it has to say what it counts.
    let units = if stem.is_some() { RATE_PREFIXES } else { &RATE_PREFIXES[..4] };
    scaled(stem.unwrap_or(text), units, "bit", BIT_RATE_FORMS)
}

/// Messages per second.
///
/// # Errors
/// Not one of [`MESSAGE_RATE_FORMS`] or beyond 64 bits.
pub fn parse_message_rate(text: &str) -> Result<u64, UnitError> {
    scaled(text, &[("/s", 1)], "message", MESSAGE_RATE_FORMS)
}

/// Bytes; `KiB` counts in 1024, `kB` in 1000.
///
/// # Errors
/// Not one of [`SIZE_FORMS`], not a whole number of bytes, or beyond 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    scaled(text, SIZE_UNITS, "byte", SIZE_FORMS)
}

/// A decimal number as parts per million: `0.05` is 50,000. `None` where it is not written with
/// digits and at most one point, has more than six decimals that count, or is too large.
pub(super) fn parse_ppm(text: &str) -> Option<u32> {
    let ppm = scaled(text, &[("", 1_000_000)], "part", "").ok()?;
    u32::try_from(ppm).ok()
}

/// A decimal number of messages. `None` where it is not written with digits and at most one point, has
/// more than three decimals that count, or is too large.
pub(super) fn parse_message_burst(text: &str) -> Option<MessageBurst> {
    let thousandths = scaled(text, &[("", 1_000)], "part", "").ok()?;
    Some(MessageBurst { thousandths })
}

/// A burst: wire bytes, packets, or time at the rate it stands beside.
///
/// # Errors
/// Not one of [`BURST_FORMS`], or not a whole number of its base unit.
pub fn parse_burst(text: &str) -> Result<Burst, UnitError> {
    let unit = split(text).map_or("", |(_, unit)| unit);
    if unit.starts_with("packet") {
        let count = scaled(text, &[("packets", 1), ("packet", 1)], "packet", BURST_FORMS)?;
        return Ok(Burst::Packets(count));
    }
    if SIZE_UNITS.iter().any(|(name, _)| *name == unit) {
        return scaled(text, SIZE_UNITS, "byte", BURST_FORMS).map(Burst::Bytes);
    }
    scaled(text, DURATION_UNITS, "nanosecond", BURST_FORMS).map(|n| Burst::Time(Nanos(n)))
}

/// The text that [`parse_bit_rate`] reads as `bits_per_s`.
pub fn format_bit_rate(bits_per_s: u64) -> String {
    match RATE_PREFIXES.iter().find(|(_, by)| bits_per_s != 0 && bits_per_s.is_multiple_of(*by)) {
        Some((prefix, by)) if *by > 1 => format!("{}{prefix}", bits_per_s / by),
        _ => format!("{bits_per_s}bit/s"),
    }
}

/// The text that [`parse_message_rate`] reads as `messages_per_s`.
pub fn format_message_rate(messages_per_s: u64) -> String {
    format!("{messages_per_s}/s")
}

/// The text that [`parse_size`] reads as `bytes`.
pub fn format_size(bytes: u64) -> String {
    for (unit, by) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes != 0 && bytes.is_multiple_of(by) {
            return format!("{}{unit}", bytes / by);
        }
    }
    format!("{bytes}B")
}

fn too_large(text: &str, allowed: &'static str) -> UnitError {
    UnitError { problem: format!("{text:?} is too large"), allowed }
}

/// Cuts `text` into its number and its unit.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then(|| (number, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// The number in `text` in base units: integers only, so nothing is ever rounded.
fn scaled(
    text: &str,
    units: &[(&str, u64)],
    base: &str,
    allowed: &'static str,
) -> Result<u64, UnitError> {
    let refuse = |problem: String| UnitError { problem, allowed };
    let Some((number, unit)) = split(text) else {
        return Err(refuse(format!("{text:?} does not begin with a number")));
    };
    let Some((_, by)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(refuse(if unit.is_empty() {
            format!("{text:?} has no unit")
        } else {
            format!("{text:?} has an unknown unit {unit:?}")
        }));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(refuse(format!("{text:?} is not a decimal number with a unit")));
    }
    // Zeros at the end change nothing, and without them the power of ten stays small.
    let fraction = fraction.trim_end_matches('0');
    let exact = || {
        let ten = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let digits = whole.parse::<u128>().ok()?.checked_mul(ten)?.checked_add(part)?;
        Some((digits.checked_mul(u128::from(*by))?, ten))
    };
    let (value, ten) = exact().ok_or_else(|| too_large(text, allowed))?;
    if value % ten != 0 {
        return Err(refuse(format!("{text:?} is not a whole number of {base}s")));
    }
    u64::try_from(value / ten).map_err(|_| too_large(text, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_documentation_are_read() {
        for (text, nanos) in [
            ("64ns", 64),
            ("250us", 250_000),
            ("1.5ms", 1_500_000),
            ("5s", 5_000_000_000),
            ("2min", 120_000_000_000),
            ("unlimited", u64::MAX),
        ] {
            assert_eq!(parse_duration(text), Ok(Nanos(nanos)), "{text}");
        }
        for (text, rate) in [
            ("10G", 10_000_000_000),
            ("50M", 50_000_000),
            ("1.5M", 1_500_000),
            ("400k", 400_000),
            ("8K", 8_000),
            ("9600bit/s", 9600),
            ("10 Gbit/s", 10_000_000_000),
            ("1Mbps", 1_000_000),
        ] {
            assert_eq!(parse_bit_rate(text), Ok(rate), "{text}");
        }
        for (text, bytes) in
            [("1500B", 1500), ("64KiB", 65_536), ("1MiB", 1 << 20), ("64kB", 64_000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_message_rate("5000/s"), Ok(5000));
        assert_eq!(parse_burst("8KiB"), Ok(Burst::Bytes(8192)));
        assert_eq!(parse_burst("4 packets"), Ok(Burst::Packets(4)));
        assert_eq!(parse_burst("1 packet"), Ok(Burst::Packets(1)));
        assert_eq!(parse_burst("100us"), Ok(Burst::Time(Nanos(100_000))));
    }

    #[test]
    fn what_would_have_to_be_rounded_or_guessed_is_refused() {
        for text in
            ["0.5ns", "1.0001us", "10", "", "us", "1e3us", "-1us", "1 000us", "1.us", ".5us"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["10", "1.5bit/s", "10g", "10MB/s", "10Mb", "/s"] {
            assert!(parse_bit_rate(text).is_err(), "{text}");
        }
        for text in ["64K", "64kib", "1.5B", "64"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["4packs", "0.5 packets", "4", "unlimited"] {
            assert!(parse_burst(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_exact_or_refused() {
        for (text, ppm) in [("0", 0), ("0.05", 50_000), ("1.0", 1_000_000), ("0.000001", 1)] {
            assert_eq!(parse_ppm(text), Some(ppm), "{text}");
        }
        for text in ["0.0000001", "1e-3", "-0.5", "inf", "4295.0", ""] {
            assert_eq!(parse_ppm(text), None, "{text}");
        }
    }

    #[test]
    fn a_burst_of_messages_has_three_decimals() {
        for (text, thousandths, shown) in [
            ("1", 1_000, "1"),
            ("1.1", 1_100, "1.1"),
            ("2.050", 2_050, "2.05"),
            ("9.0", 9_000, "9"),
        ] {
            let burst = parse_message_burst(text).expect(text);
            assert_eq!(
                (burst, burst.to_string()),
                (MessageBurst { thousandths }, shown.to_owned())
            );
        }
        for text in ["1.0001", "1e3", "-1", "inf", "", "1."] {
            assert_eq!(parse_message_burst(text), None, "{text}");
        }
        // A tenth of a message at 10,000/s.
        let burst = MessageBurst { thousandths: 1_100 };
        assert_eq!((burst.messages(), burst.rest(10_000)), (1, Nanos::from_micros(10)));
    }

    #[test]
    fn beyond_64_bits_is_too_large() {
        for text in ["18446744073709551615ns", "18446744073709551616ns", "999999999999min"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.problem.ends_with("is too large"), "{error}");
        }
        assert!(parse_size("0.00000000000000000000000000000000000000000001KiB").is_err());
        assert_eq!(parse_duration("18446744073709551614ns"), Ok(Nanos(u64::MAX - 1)));
    }
}
