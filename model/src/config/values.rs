//! Readers of single values: what a TOML value has to be, and what to say where it is not.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::de::DeValue;

use super::units::{self, Burst, MessageBurst, UnitError};
use crate::time::Nanos;

/// Why a value was not taken.
pub(super) struct Refused {
    pub problem: String,
    pub allowed: String,
}

impl Refused {
    pub fn new(problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { problem: problem.into(), allowed: allowed.into() }
    }
}

impl From<UnitError> for Refused {
    fn from(error: UnitError) -> Self {
        Self::new(error.problem, error.allowed)
    }
}

/// A value in words, for an error.
pub(super) fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(value) => format!("the time {value}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The value in words, as the problem of a value of a wrong type.
pub(super) fn found(value: &DeValue<'_>) -> String {
    format!("found {}", described(value))
}

/// The text of a value, or what is `allowed` instead.
pub(super) fn as_text<'v>(value: &'v DeValue<'_>, allowed: &str) -> Result<&'v str, Refused> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(Refused::new(found(other), allowed)),
    }
}

fn bounded<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Refused> {
    if range.contains(&value) {
        return Ok(value);
    }
    let allowed = format!("{} to {}", show(*range.start()), show(*range.end()));
    Err(Refused::new(format!("{} is out of range", show(value)), allowed))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Refused> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        other => Err(Refused::new(found(other), "true or false")),
    }
}

/// An integer in `range`.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&DeValue<'_>) -> Result<T, Refused>
where
    T: TryFrom<i128> + PartialOrd + Display + Copy,
{
    move |value| {
        let allowed = || format!("an integer, {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value else {
            return Err(Refused::new(found(value), allowed()));
        };
        i128::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| Refused::new(format!("{number} is out of range"), allowed()))
    }
}

/// One of the names of `T`.
pub(super) fn one_of<T: DeserializeOwned>(value: &DeValue<'_>) -> Result<T, Refused> {
    let read = |text: &str| {
        let names: StrDeserializer<'_, NameError> = text.into_deserializer();
        // Serde's message is "unknown variant `x`, expected `a` or `b`": its second half is wanted.
        T::deserialize(names).map_err(|error| {
            let message = error.to_string();
            message.split_once("expected ").map_or(message.clone(), |(_, names)| names.to_owned())
        })
    };
    // No variant has the empty name, so this lists the names.
    let allowed = || read("").err().unwrap_or_default();
    let DeValue::String(text) = value else {
        return Err(Refused::new(found(value), allowed()));
    };
    read(text).map_err(|names| Refused::new(format!("{text:?} is not known"), names))
}

/// Any text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Refused> {
    let text = as_text(value, "a text")?;
    if text.trim().is_empty() {
        return Err(Refused::new("found an empty text", "a text that says something"));
    }
    Ok(text.to_owned())
}

/// Longest name of anything. Socket paths of 108 bytes and metric labels are made of names.
const NAME_CHARS_MAX: usize = 32;

/// A name of the config's own: it ends up in file names and metric labels.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Refused> {
    let allowed = "1 to 32 characters of a-z, 0-9, `-`, `_` and `.`, not beginning with `.`";
    let text = as_text(value, allowed)?;
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let fits = (1..=NAME_CHARS_MAX).contains(&text.len()) && !text.starts_with('.');
    if fits && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(Refused::new(format!("{text:?} is not a name"), allowed))
}

/// A label: what people call an instrument, a venue, a tactic.
pub(super) fn label(value: &DeValue<'_>) -> Result<String, Refused> {
    let allowed = "1 to 32 characters of A-Z, a-z, 0-9, `-`, `_`, `.` and `/`";
    let text = as_text(value, allowed)?;
    let known = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(Refused::new(format!("{text:?} is not a label"), allowed))
}

/// A user or a group of the host, by name or number.
pub(super) fn account(value: &DeValue<'_>) -> Result<String, Refused> {
    let allowed = "a name, 1 to 32 characters of A-Z, a-z, 0-9, `-`, `_` and `.`, or a number";
    let text = as_text(value, allowed)?;
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(Refused::new(format!("{text:?} is no user or group"), allowed))
}

/// A span of time in `range`.
pub(super) fn duration(
    range: RangeInclusive<Nanos>,
) -> impl Fn(&DeValue<'_>) -> Result<Nanos, Refused> {
    move |value| {
        let span = units::parse_duration(as_text(value, units::DURATION_FORMS)?)?;
        bounded(span, &range, |span| span.to_string())
    }
}

/// Bytes in `range`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Result<u64, Refused> {
    move |value| {
        let bytes = units::parse_size(as_text(value, units::SIZE_FORMS)?)?;
        bounded(bytes, &range, units::format_size)
    }
}

/// A value, or `unlimited` as `None`.
pub(super) fn limit<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<T>, Refused> {
    word_or("unlimited", read)
}

/// A value, or `word` as `None`.
pub(super) fn word_or<T>(
    word: &'static str,
    read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<T>, Refused> {
    move |value| match value {
        DeValue::String(text) if text == word => Ok(None),
        other => read(other).map(Some).map_err(|refused| Refused {
            allowed: format!("{} or {word:?}", refused.allowed),
            ..refused
        }),
    }
}

/// A share between `least` and `most`, which are written as a config would, in parts per million.
pub(super) fn share(
    least: &'static str,
    most: &'static str,
) -> impl Fn(&DeValue<'_>) -> Result<u32, Refused> {
    move |value| {
        let allowed = || format!("a number, {least} to {most}, with up to six decimals");
        let refused = || Refused::new(found(value), allowed());
        let ppm = match value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|whole| whole.checked_mul(1_000_000)),
            DeValue::Float(number) => units::parse_ppm(number.as_str()),
            _ => None,
        }
        .ok_or_else(refused)?;
        let bound = |text| units::parse_ppm(text).unwrap_or_default();
        if (bound(least)..=bound(most)).contains(&ppm) { Ok(ppm) } else { Err(refused()) }
    }
}

/// A burst of messages.
pub(super) fn message_burst(value: &DeValue<'_>) -> Result<MessageBurst, Refused> {
    let refused = || {
        Refused::new(found(value), format!("a number, 1 to {BURST_MAX}, with up to three decimals"))
    };
    let burst = match value {
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(MessageBurst::whole)
        }
        DeValue::Float(number) => units::parse_message_burst(number.as_str()),
        _ => None,
    };
    let range = MessageBurst::whole(1)..=MessageBurst::whole(BURST_MAX);
    burst.filter(|burst| range.contains(burst)).ok_or_else(refused)
}

/// A number in `range`.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Result<f64, Refused> {
    move |value| {
        let allowed = || format!("a number, {} to {}", range.start(), range.end());
        let number = match value {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|whole| whole as f64)
            }
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| Refused::new(found(value), allowed()))
    }
}

/// A power of two in `range`.
pub(super) fn power_of_two(
    range: RangeInclusive<u32>,
) -> impl Fn(&DeValue<'_>) -> Result<u32, Refused> {
    let read = integer(range.clone());
    move |value| {
        let allowed = format!("a power of two, {} to {}", range.start(), range.end());
        match read(value) {
            Ok(number) if number.is_power_of_two() => Ok(number),
            Ok(number) => Err(Refused::new(format!("{number} is no power of two"), allowed)),
            Err(refused) => Err(Refused { allowed, ..refused }),
        }
    }
}

/// An array of values.
pub(super) fn list<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
) -> impl Fn(&DeValue<'_>) -> Result<Vec<T>, Refused> {
    move |value| match value {
        DeValue::Array(items) => items.iter().map(|item| read(item.get_ref())).collect(),
        other => Err(Refused::new(found(other), "an array, such as [1, 2] or [\"a\", \"b\"]")),
    }
}

/// Highest rate, bits per second.
pub(super) const BIT_RATE_MAX: u64 = 400_000_000_000;
/// Highest rate, messages per second.
pub(super) const MESSAGE_RATE_MAX: u64 = 1_000_000_000;
/// Largest burst, bytes or messages.
pub(super) const BURST_MAX: u64 = 1 << 30;

/// Bits per second, 1 to [`BIT_RATE_MAX`].
pub(super) fn bit_rate(value: &DeValue<'_>) -> Result<u64, Refused> {
    let rate = units::parse_bit_rate(as_text(value, units::BIT_RATE_FORMS)?)?;
    bounded(rate, &(1..=BIT_RATE_MAX), units::format_bit_rate)
}

/// Messages per second, 1 to [`MESSAGE_RATE_MAX`].
pub(super) fn message_rate(value: &DeValue<'_>) -> Result<u64, Refused> {
    let rate = units::parse_message_rate(as_text(value, units::MESSAGE_RATE_FORMS)?)?;
    bounded(rate, &(1..=MESSAGE_RATE_MAX), units::format_message_rate)
}

/// A burst, not yet in bytes.
pub(super) fn burst(value: &DeValue<'_>) -> Result<Burst, Refused> {
    let burst = units::parse_burst(as_text(value, units::BURST_FORMS)?)?;
    match burst {
        Burst::Bytes(0) | Burst::Packets(0) | Burst::Time(Nanos(0)) => {
            Err(Refused::new("a burst of nothing", units::BURST_FORMS))
        }
        some => Ok(some),
    }
}
