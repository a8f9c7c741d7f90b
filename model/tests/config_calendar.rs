//! `[[control.session]]`: what it comes out as.
#![allow(clippy::unwrap_used)]

use model::calendar::{Calendar, Date, Days, Session, SessionName, Weekday};
use model::config::Config;

const GATEWAY: &str = include_str!("../../configs/gateway.toml");

/// gateway.toml with this in front of its ports.
fn sessions(text: &str) -> Calendar {
    let text = GATEWAY.replacen("[[port]]", &format!("{text}\n[[port]]"), 1);
    Config::from_toml("f", &text).unwrap().control.sessions
}

#[test]
fn the_session_that_gateway_toml_shows_as_a_comment_is_read() {
    use Weekday::{Fri, Mon, Thu, Tue, Wed};
    assert!(sessions("").is_empty());
    let shown: String = GATEWAY
        .lines()
        .skip_while(|line| !line.starts_with("# [[control.session]]"))
        .take_while(|line| line.starts_with("# "))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    let open = Session {
        name: SessionName::Open,
        days: Days::Weekly(vec![Mon, Tue, Wed, Thu, Fri]),
        from_s: (14 * 60 + 30) * 60,
        to_s: 15 * 60 * 60,
    };
    assert_eq!(sessions(&shown), Calendar(vec![open]));
}

#[test]
fn a_date_alone_is_the_whole_day_and_seconds_may_be_written() {
    let text = "[[control.session]]\nname = \"event\"\ndates = [2026-12-16]\n\
        [[control.session]]\nname = \"close\"\ndays = [\"sun\"]\nfrom = 20:59:30\n";
    let days = Days::Dates(vec![Date::new(2026, 12, 16)]);
    let event = Session { name: SessionName::Event, days, from_s: 0, to_s: 86_400 };
    let days = Days::Weekly(vec![Weekday::Sun]);
    let close = Session { name: SessionName::Close, days, from_s: 75_570, to_s: 86_400 };
    assert_eq!(sessions(text), Calendar(vec![event, close]));
}
