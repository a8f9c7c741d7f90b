//! Reads one TOML table key by key, and keeps the place of each value.
//!
//! Ask for each key once, then call [`Reader::finish`]: a key that was not asked for is an error
//! that names those that were. A value that cannot be read is reported and remembered as present,
//! so that no rule takes it for missing.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, Findings};
use super::units::{self, Burst, UnitError};
use crate::time::Nanos;

/// What a key holds: absent, present but unreadable, or a value; and where.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub value: Option<T>,
    at: Option<At>,
}

impl<T> Field<T> {
    const ABSENT: Self = Self { value: None, at: None };

    /// Whether the key is there, readable or not.
    pub fn is_present(&self) -> bool {
        self.at.is_some()
    }

    /// Its place, or `otherwise` where the key is absent.
    pub fn at(&self, otherwise: At) -> At {
        self.at.unwrap_or(otherwise)
    }

    /// The value and its place.
    pub fn get(&self) -> Option<(&T, At)> {
        self.value.as_ref().zip(self.at)
    }
}

impl<T: Clone> Field<T> {
    /// The value, or the default where there is none.
    pub fn or(&self, default: T) -> T {
        self.value.clone().unwrap_or(default)
    }
}

/// Why a value was not taken.
pub(super) struct Refused {
    problem: String,
    allowed: String,
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

pub(super) struct Reader<'a, 'i> {
    findings: &'a Findings,
    name: &'static str,
    table: Option<&'a DeTable<'i>>,
    asked: Vec<&'static str>,
    /// Place of the table's header.
    pub at: At,
}

impl<'a, 'i> Reader<'a, 'i> {
    pub fn new(findings: &'a Findings, name: &'static str, table: &'a DeTable<'i>, at: At) -> Self {
        Self { findings, name, table: Some(table), asked: Vec::new(), at }
    }

    fn child(&self, name: &'static str, at: At) -> Self {
        Self { findings: self.findings, name, table: None, asked: Vec::new(), at }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// The value of `key`, read by `read`.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
    ) -> Field<T> {
        let Some(entry) = self.entry(key) else { return Field::ABSENT };
        let at = At::from(entry.span());
        let value = match read(entry.get_ref()) {
            Ok(value) => Some(value),
            Err(Refused { problem, allowed }) => {
                self.findings.error(at, format!("{key}: {problem}"), allowed);
                None
            }
        };
        Field { value, at: Some(at) }
    }

    /// As [`Reader::optional`]; a missing key is an error.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
    ) -> Field<T> {
        let field = self.optional(key, read);
        if !field.is_present() && self.table.is_some() {
            let problem = format!("{} has no `{key}`", self.name);
            self.findings.error(self.at, problem, format!("`{key}` is required"));
        }
        field
    }

    /// The table under `key`; where there is none, a table with no keys.
    pub fn table(&mut self, key: &'static str, name: &'static str) -> Self {
        let at = self.at;
        self.optional_table(key, name).unwrap_or(self.child(name, at))
    }

    /// As [`Reader::table`]; a missing table is an error, the keys in it are not.
    pub fn required_table(&mut self, key: &'static str, name: &'static str) -> Self {
        if self.table.is_some_and(|table| !table.contains_key(key)) {
            let problem = format!("there is no {name}");
            self.findings.error(self.at, problem, format!("{name} is required"));
        }
        self.table(key, name)
    }

    /// The table under `key`, if there is one.
    pub fn optional_table(&mut self, key: &'static str, name: &'static str) -> Option<Self> {
        let entry = self.entry(key)?;
        self.sub_table(entry, name)
    }

    /// The tables of the array under `key`.
    pub fn tables(&mut self, key: &'static str, name: &'static str) -> Vec<Self> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let DeValue::Array(array) = entry.get_ref() else {
            let found = format!("`{key}` is {}", described(entry.get_ref()));
            self.findings.error(entry.span().into(), found, format!("any number of {name} tables"));
            return Vec::new();
        };
        array.iter().filter_map(|item| self.sub_table(item, name)).collect()
    }

    fn sub_table(&self, entry: &'a Spanned<DeValue<'i>>, name: &'static str) -> Option<Self> {
        let at = At::from(entry.span());
        if let DeValue::Table(table) = entry.get_ref() {
            return Some(Self { table: Some(table), ..self.child(name, at) });
        }
        let found = format!("{name} is {}", described(entry.get_ref()));
        self.findings.error(at, found, format!("a table {name}"));
        None
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let problem = format!("unknown key `{}` in {}", key.get_ref(), self.name);
                self.findings.error(key.span().into(), problem, self.asked.join(", "));
            }
        }
    }
}

/// A value in words, for an error.
fn described(value: &DeValue<'_>) -> String {
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
    move |value| match value {
        DeValue::String(text) if text == "unlimited" => Ok(None),
        other => read(other).map(Some).map_err(|refused| Refused {
            allowed: format!("{} or \"unlimited\"", refused.allowed),
            ..refused
        }),
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
