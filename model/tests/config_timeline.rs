//! `[timeline]`: its defaults, and the ring that it asks for.
#![allow(clippy::unwrap_used)]

use model::config::{Config, SampleRing, Timeline, report, report_json};
use model::sample::Sample;
use model::time::Nanos;

const GATEWAY: &str = include_str!("../../configs/gateway.toml");

/// gateway.toml with this section in the place of the one that is commented out.
fn with(section: &str) -> Config {
    Config::from_toml("f", &GATEWAY.replacen("[[port]]", &format!("{section}\n[[port]]"), 1))
        .unwrap()
}

#[test]
fn what_gateway_toml_shows_as_a_comment_are_the_defaults() {
    let shown: String = GATEWAY
        .lines()
        .skip_while(|line| !line.starts_with("# [timeline]"))
        .take_while(|line| line.starts_with("# "))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    let shown = with(&shown).timeline.unwrap();
    let directory = Some("/var/lib/wirepace/gw1".to_owned());
    assert_eq!(shown, Timeline { directory, ..Timeline::default() });
}

#[test]
fn no_section_no_timeline_and_the_same_digest_as_ever() {
    let config = Config::from_toml("f", GATEWAY).unwrap();
    assert!(config.timeline.is_none());
    assert!(report_json(&config).unwrap()["sample_ring"].is_null());
    assert!(!report(&config).contains("sample ring"));
    assert_ne!(with("[timeline]\ndirectory = \"/d\"\n").digest, config.digest);
}

/// The venue port carries 1 Gbit/s, but drop copies of order classes could come from the venue: here
/// none do, so the line rate is that of venue-a. 1e9 / (84 x 8) = 1488095.2, rounded up.
#[test]
fn the_ring_holds_what_a_stall_of_control_brings() {
    let config =
        with("[timeline]\ndirectory = \"/d\"\nrows_per_s = 50000\ncontrol_stall = \"500ms\"\n");
    let ring = SampleRing::of(&config, config.timeline.as_ref());
    assert_eq!((ring.line_bps, ring.full_rows_per_s), (Some(1_000_000_000), 50_000));
    // 65536 drawn, 50000 x 0.5 s, and 100 ms of the budget at once.
    assert_eq!(ring.rows, 65_536 + 25_000 + 5_000);
    assert_eq!(ring.bytes, ring.rows as u64 * size_of::<Sample>() as u64);
    let text = report(&config);
    let words = "50000 rows/s of order classes (line rate 1G, 1488096 smallest frames/s) x \
                 control_stall 500ms + 5000 at once";
    assert!(text.contains(words), "{text}");
    assert_eq!(report_json(&config).unwrap()["sample_ring"]["rows"], ring.rows);

    let config = with("[timeline]\ndirectory = \"/d\"\nrows_per_s = 9000000\n");
    let ring = SampleRing::of(&config, config.timeline.as_ref());
    assert_eq!(ring.full_rows_per_s, 1_488_096, "no more than the line brings");
    let slow = GATEWAY.replace("rate = \"1G\" ", "# ").replace("burst = \"16KiB\" ", "# ");
    let unlimited = Config::from_toml("f", &slow).unwrap();
    assert_eq!(SampleRing::of(&unlimited, None).line_bps, None);
}

#[test]
fn without_a_timeline_the_ring_is_what_the_file_says() {
    let config = Config::from_toml("f", GATEWAY).unwrap();
    assert_eq!(SampleRing::of(&config, None).rows, 65_536);
    let none = Timeline { rows_per_s: 0, ..Timeline::default() };
    assert_eq!((none.burst_rows(), SampleRing::of(&config, Some(&none)).rows), (0, 65_536));
    let few = Timeline { rows_per_s: 3, control_stall: Nanos::from_secs(1), ..Timeline::default() };
    assert_eq!((few.burst_rows(), SampleRing::of(&config, Some(&few)).rows), (1, 65_536 + 3 + 1));
}
