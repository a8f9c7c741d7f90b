//! The trading day in parts: which session a moment belongs to.

use crate::time::Nanos;

/// A day of UTC, in seconds: leap seconds have no place in it.
const DAY_S: u64 = 86_400;

/// A part of the trading day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionName {
    /// After the opening.
    Open,
    /// In between.
    Mid,
    /// Before the close.
    Close,
    /// Something that is not on every day.
    Event,
}

impl SessionName {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Mid => "mid",
            Self::Close => "close",
            Self::Event => "event",
        }
    }
}

/// A day of the week, the first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they say it themselves")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Date(u64);

impl Date {
    /// A date that exists, from 1970 on. Years are counted from March, so that a leap day is the last of its
    /// year.
    pub const fn new(year: u16, month: u8, day: u8) -> Self {
        let since_march = (month as u64 + 9) % 12;
        let year = year as u64 - (since_march >= 10) as u64;
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = 365 * year + leap_days + (153 * since_march + 2) / 5 + day as u64 - 1;
        /// What the same gives for 1970-01-01.
        const EPOCH: u64 = 719_468;
        Self(days.saturating_sub(EPOCH))
    }

    /// 1970-01-01 was a Thursday.
    const fn is(self, weekday: Weekday) -> bool {
        (self.0 + Weekday::Thu as u64) % 7 == weekday as u64
    }
}

/// The days of a session.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// Every week.
    Weekly(Vec<Weekday>),
    /// Once.
    Dates(Vec<Date>),
}

/// One session, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Session {
    /// Which part of the day it is.
    pub name: SessionName,
    /// On which days.
    pub days: Days,
    /// Its first second of the day.
    pub from_s: u32,
    /// The first that is no longer in it.
    pub to_s: u32,
}

/// The sessions, the one that goes before others first.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Calendar(pub Vec<Session>);

impl Calendar {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The session of a moment: ns of UTC since 1970.
    pub fn at(&self, utc: Nanos) -> Option<SessionName> {
        let seconds = utc.0 / 1_000_000_000;
        let (date, second) = (Date(seconds / DAY_S), seconds % DAY_S);
        let is_now = |session: &&Session| {
            let today = match &session.days {
                Days::Weekly(days) => days.iter().any(|day| date.is(*day)),
                Days::Dates(dates) => dates.contains(&date),
            };
            today && (u64::from(session.from_s)..u64::from(session.to_s)).contains(&second)
        };
        self.0.iter().find(is_now).map(|session| session.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date +%s --date '2028-02-29 UTC'` and so on, over 86,400.
    #[test]
    fn dates_are_days_since_1970() {
        for ((year, month, day), days) in [
            ((1970, 1, 1), 0),
            ((1970, 12, 31), 364),
            ((1972, 3, 1), 790),
            ((2000, 2, 29), 11_016),
            ((2026, 11, 30), 20_787),
            ((2028, 2, 29), 21_243),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(Date::new(year, month, day), Date(days), "{year}-{month}-{day}");
        }
        // A Monday.
        assert!(Date(20_787).is(Weekday::Mon) && !Date(20_787).is(Weekday::Sun));
    }

    #[test]
    fn the_first_session_that_matches_is_the_session() {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let weekly = |name, from_s, to_s| {
            let days = Days::Weekly(vec![Mon, Tue, Wed, Thu, Fri]);
            Session { name, days, from_s, to_s }
        };
        let calendar = Calendar(vec![
            Session {
                name: SessionName::Event,
                days: Days::Dates(vec![Date::new(2026, 12, 2)]),
                from_s: 52_000,
                to_s: 53_000,
            },
            weekly(SessionName::Open, 50_400, 54_000),
            weekly(SessionName::Mid, 54_000, 72_000),
        ]);
        let at = |day: u64, second: u64| calendar.at(Nanos((day * DAY_S + second) * 1_000_000_000));
        // Monday, Wednesday with the event, and Saturday.
        assert_eq!(at(20_787, 50_399), None);
        assert_eq!(at(20_787, 50_400), Some(SessionName::Open));
        assert_eq!(at(20_787, 52_500), Some(SessionName::Open));
        assert_eq!(at(20_787, 54_000), Some(SessionName::Mid));
        assert_eq!(at(20_787, 72_000), None);
        assert_eq!(at(20_789, 52_500), Some(SessionName::Event));
        assert_eq!(at(20_789, 53_000), Some(SessionName::Open));
        assert_eq!(at(20_792, 52_500), None);
        assert_eq!(Calendar::default().at(Nanos(0)), None);
    }
}
