//! `[[control.session]]` as it is written.

use toml::de::DeValue;
use toml::value::{Datetime, Time};

use crate::calendar::{Date, SessionName, Weekday};
use crate::config::error::At;
use crate::config::reader::{Field, Reader};
use crate::config::values::{Refused, found, list, one_of};

/// Years of a date.
const YEARS: std::ops::RangeInclusive<u16> = 1970..=2999;

/// One `[[control.session]]`.
pub(in crate::config) struct RawSession {
    pub at: At,
    pub name: Field<SessionName>,
    pub days: Field<Vec<Weekday>>,
    pub dates: Field<Vec<Date>>,
    pub from_s: Field<u32>,
    pub to_s: Field<u32>,
}

impl RawSession {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", one_of),
            days: t.optional("days", list(one_of)),
            dates: t.optional("dates", list(date)),
            from_s: t.optional("from", second_of_day),
            to_s: t.optional("to", second_of_day),
        };
        t.finish();
        raw
    }
}

/// A date of TOML. That it exists is TOML's affair.
fn date(value: &DeValue<'_>) -> Result<Date, Refused> {
    match value {
        DeValue::Datetime(Datetime { date: Some(date), time: None, offset: None })
            if YEARS.contains(&date.year) =>
        {
            Ok(Date::new(date.year, date.month, date.day))
        }
        other => Err(Refused::new(found(other), "a date from 1970 on, such as 2026-12-16")),
    }
}

/// A time of TOML, to the second.
fn second_of_day(value: &DeValue<'_>) -> Result<u32, Refused> {
    match value {
        DeValue::Datetime(Datetime { date: None, time: Some(time), offset: None }) => {
            let Time { hour, minute, second, .. } = *time;
            let second = u32::from(second.unwrap_or(0));
            Ok((u32::from(hour) * 60 + u32::from(minute)) * 60 + second)
        }
        other => Err(Refused::new(found(other), "a time of the day in UTC, such as 14:30")),
    }
}
