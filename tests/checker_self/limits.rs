//! Venue limits, by hand.

use crate::checker::config::Config;
use crate::checker::limits::{Sent, Subject, VenueLimit, first_breach};

const CLASSES: &str = r#"
[gateway]
[[port]]
name = "in"
side = "inside"
[[port]]
name = "out"
side = "venue"
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "orders"
venue = "back"
[[class]]
name = "orders"
kind = "order"
participant = "FIRM1"
jitter = "3us"
[[class]]
name = "cancels"
kind = "cancel"
participant = "FIRM1"
[[class]]
name = "back"
from = "venue"
[[profile]]
name = "calm"
[[profile.class]]
name = "orders"
jitter = "7us"
"#;

fn limit(keys: &str) -> VenueLimit {
    let text = format!(
        "{CLASSES}[[venue_limit]]\nname = \"limit\"\nmessages = 500\nper = \"1s\"\n{keys}\n"
    );
    Config::parse(&text).unwrap_or_else(|error| panic!("{error}")).venue_limits.remove(0)
}

#[test]
fn limits_are_read_as_the_product_derives_them() {
    let found = limit("participant = \"FIRM1\"");
    let expected = VenueLimit {
        name: "limit".into(),
        subject: Subject::Participant(vec![0, 1]),
        messages_max: 490,
        per: 1_000_000_000,
        counts_cancels: true,
        cancel_reserve: 10,
    };
    assert_eq!(found, expected);
    let found = limit("session_of = \"cancels\"\nshare = 0.333333\nmargin = 0\ncancel_reserve = 3");
    assert_eq!((found.subject, found.messages_max), (Subject::Session(1), 166));
    assert_eq!(found.cancel_reserve, 3);
    let both =
        format!("{CLASSES}[[venue_limit]]\nname = \"x\"\nvenue = \"A\"\nsession_of = \"orders\"\n");
    assert!(Config::parse(&both).is_err());
}

#[test]
fn the_jitter_of_every_profile_counts_in_each() {
    for profile in ["normal", "calm"] {
        let config = Config::parse_under(CLASSES, profile).unwrap();
        assert_eq!(config.classes[0].jitter_bound, 7_000, "{profile}");
        assert_eq!(config.classes[1].jitter_bound, 0);
    }
}

#[test]
fn a_window_is_open_at_its_start_and_holds_no_message_too_many() {
    let limit = VenueLimit {
        name: "limit".into(),
        subject: Subject::Participant(vec![0]),
        messages_max: 5,
        per: 100,
        counts_cancels: true,
        cancel_reserve: 2,
    };
    let order = |t| -> Sent { (t, 1, false) };
    let cancel = |t| -> Sent { (t, 1, true) };
    // Three orders fill what is not reserved; 100 ns after the first there is room again.
    assert_eq!(first_breach(&limit, &[order(0), order(0), order(50), order(100)]), None);
    assert_eq!(first_breach(&limit, &[order(0), order(0), order(50), order(99)]), Some((0, 99)));
    // The reserve is for cancels; both together are bounded as well.
    let full = [order(0), order(0), order(50), cancel(60), cancel(60)];
    assert_eq!(first_breach(&limit, &full), None);
    let over = [&full[..], &[cancel(99)]].concat();
    assert_eq!(first_breach(&limit, &over), Some((0, 99)));
    let later = [&full[..], &[cancel(100)]].concat();
    assert_eq!(first_breach(&limit, &later), None);
    // A packet of several messages counts as so many.
    assert_eq!(first_breach(&limit, &[(7, 4, false)]), Some((7, 7)));
}
