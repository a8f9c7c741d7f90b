//! Where orders are sent from: a gateway on a day.

use super::{Parameters, SECOND};

/// The first made-up day: 2026-03-02, a Monday, 14:30 UTC.
const FIRST_SESSION: i64 = 1_772_461_800 * SECOND;
/// ns of a day.
pub const DAY: i64 = 86_400 * SECOND;

/// A gateway on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the gateway.
    pub gateway: String,
    /// Such as 2026-03-02.
    pub date: String,
    /// Number of the day, from 0.
    pub day: usize,
    /// Class of its orders.
    pub class: String,
    /// ns since 1970 at which its session begins.
    pub start: i64,
}

/// Made-up ones, days first.
pub fn places(parameters: &Parameters) -> Vec<Place> {
    let of = |day: usize, gateway: usize| {
        let start = FIRST_SESSION + calendar(day) * DAY;
        Place {
            gateway: format!("gw{}", gateway + 1),
            date: civil_date(start / DAY),
            day,
            class: "orders".to_owned(),
            start,
        }
    };
    (0..parameters.days)
        .flat_map(|day| (0..parameters.gateways).map(move |gateway| of(day, gateway)))
        .collect()
}

/// Days since the first, weekends left out.
const fn calendar(day: usize) -> i64 {
    (day / 5 * 7 + day % 5) as i64
}

/// Year, month and day of a day since 1970 (Hinnant's algorithm).
pub fn civil_date(day: i64) -> String {
    let z = day + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400 + i64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_on_weekdays() {
        let places = places(&Parameters { days: 23, gateways: 1, ..Parameters::new(1) });
        let date = |day: usize| places[day].date.as_str();
        assert_eq!(
            [0, 4, 5, 22].map(date),
            ["2026-03-02", "2026-03-06", "2026-03-09", "2026-04-01"]
        );
    }
}
