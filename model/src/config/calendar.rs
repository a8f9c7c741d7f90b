//! The sessions of the trading day, from `[[control.session]]`.

use super::error::Findings;
use super::raw::RawSession;
use crate::calendar::{Calendar, Days, Session};

/// A day has no second after this one.
const DAY_S: u32 = 86_400;

/// The sessions in the order of the file. What is left out is the beginning or the end of the day.
pub(super) fn sessions(findings: &Findings, raw: &[RawSession]) -> Calendar {
    let session = |raw: &RawSession| {
        let days = match (raw.days.get(), raw.dates.get()) {
            (Some((days, _)), None) if !days.is_empty() => Days::Weekly(days.clone()),
            (None, Some((dates, _))) if !dates.is_empty() => Days::Dates(dates.clone()),
            // What cannot be read has been told.
            (None, None) if raw.days.is_present() || raw.dates.is_present() => return None,
            _ => {
                let problem = "a session is on days of the week, or on dates";
                let at = raw.dates.at(raw.days.at(raw.at));
                findings.error(
                    at,
                    problem,
                    "`days = [\"mon\", \"tue\"]` or `dates = [2026-12-16]`",
                );
                return None;
            }
        };
        let (from_s, to_s) = (raw.from_s.or(0), raw.to_s.or(DAY_S));
        if to_s <= from_s {
            let at = raw.to_s.at(raw.from_s.at(raw.at));
            findings.error(
                at,
                "a session ends after it begins",
                "no `to` for the end of the day, two of them around midnight",
            );
        }
        Some(Session { name: *raw.name.get()?.0, days, from_s, to_s })
    };
    Calendar(raw.iter().filter_map(session).collect())
}
