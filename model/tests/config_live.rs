//! What of a config can change while the gateway runs, and where the rest stands.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model::config::live::{KeyChange, Sourced};

const TEXT: &str = include_str!("../../configs/gateway.toml");

fn sourced(text: &str) -> Sourced {
    Sourced::read("gw.toml", text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// What changes when `from` in the example becomes `to`.
fn changes(from: &str, to: &str) -> Vec<KeyChange> {
    assert!(TEXT.contains(from), "{from}");
    sourced(TEXT).change_to(&sourced(&TEXT.replacen(from, to, 1)))
}

fn line_of(text: &str) -> usize {
    TEXT.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn a_rate_is_live_and_named_with_its_place() {
    let [change] = &changes("rate = \"50M\"", "rate = \"40M\"")[..] else { panic!() };
    assert!(change.is_live);
    assert_eq!(change.key, "class \"orders\".rate");
    assert_eq!((change.was.as_deref(), change.is.as_deref()), (Some("\"50M\""), Some("\"40M\"")));
    assert_eq!((change.file.as_str(), change.line), ("gw.toml", line_of("rate = \"50M\"")));
}

#[test]
fn profiles_limits_and_what_control_goes_by_are_live() {
    for (from, to) in [
        ("burst = \"1 packets\"", "burst = \"2 packets\""),
        ("inflight_limit = \"64KiB\"", "inflight_limit = \"80KiB\""),
        ("rate = \"10M\"", "rate = \"9M\""),
        ("lease = \"5s\"", "lease = \"4s\""),
        ("core_stall = \"500ms\"", "core_stall = \"400ms\""),
        ("stall_threshold = \"250us\"", "stall_threshold = \"1ms\""),
        ("pin = \"60min\"", "pin = \"10min\""),
        ("queue_packets = 1024", "queue_packets = 512"),
        ("# fan_out = 8 ", "fan_out = 8 "),
        ("max_hold = \"1ms\"", "max_hold = \"2ms\""),
        ("messages = 500 ", "messages = 400 "),
        ("messages = 500 ", "messages = 900 "),
    ] {
        let found = changes(from, to);
        assert!(!found.is_empty() && found.iter().all(|c| c.is_live), "{from}: {found:?}");
    }
}

#[test]
fn what_a_running_gateway_is_built_on_needs_a_restart() {
    for (from, to, key) in [
        ("slot = \"1024ns\"", "slot = \"2048ns\"", "gateway.slot"),
        ("mbufs = 32768", "mbufs = 65536", "dpdk.mbufs"),
        ("tick = \"100ms\"\nsample", "tick = \"50ms\"\nsample", "control.tick"),
        ("rx_burst = 32", "rx_burst = 16", "port \"strategies\".rx_burst"),
        ("dst_port = 7010", "dst_port = 7011", "rule 2.dst_port"),
        ("messages = 500 ", "messages = 1100 ", "venue_limit \"firm1-per-second\".messages"),
        ("per = \"1s\"", "per = \"2s\"", "venue_limit \"firm1-per-second\".per"),
        ("name = \"smooth\"", "name = \"smoother\"", "profile \"smoother\".name"),
        ("kind = \"cancel\"", "kind = \"exit\"", "class \"cancels\".kind"),
    ] {
        let found = changes(from, to);
        let fixed: Vec<_> = found.iter().filter(|change| !change.is_live).collect();
        assert!(fixed.iter().any(|change| change.key == key), "{key}: {found:?}");
        assert!(fixed.iter().all(|change| change.line > 1), "{found:?}");
    }
}

/// The example with `more` behind its `[regime]`.
fn with_machines(more: &str) -> String {
    format!("{TEXT}\n{more}")
}

const STATES: &str = r#"
[[regime.machine]]
name = "mine"
scope = "class"
lowest = "CALM"
[[regime.machine.state]]
name = "WILD"
severity = 2
enter = [["burstiness_index.excess >= 3"]]
exit = [["burstiness_index.excess < 1.5"]]
"#;

#[test]
fn thresholds_of_machines_are_live_and_their_states_are_not() {
    let confirm = with_machines("[[regime.machine]]\nname = \"pacing\"\nconfirm = 5\n");
    let found = sourced(TEXT).change_to(&sourced(&confirm));
    assert_eq!(
        found.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(),
        ["regime.machine \"pacing\".confirm"]
    );
    let mine = sourced(&with_machines(STATES));
    for (from, to, key) in [
        ("excess >= 3", "excess >= 4", "state \"WILD\".enter"),
        ("excess < 1.5", "excess < 1.2", "state \"WILD\".exit"),
        ("severity = 2", "profile = \"smooth\"\nseverity = 2", "state \"WILD\".profile"),
        ("lowest =", "dwell = \"5s\"\nlowest =", "machine \"mine\".dwell"),
    ] {
        let found = mine.change_to(&sourced(&with_machines(&STATES.replacen(from, to, 1))));
        assert!(found.iter().all(|change| change.is_live), "{found:?}");
        assert!(found.iter().any(|change| change.key.ends_with(key)), "{key}: {found:?}");
    }
    for (from, to, key) in [
        ("\"WILD\"", "\"WILDER\"", "state \"WILDER\".name"),
        ("severity = 2", "severity = 3", "state \"WILD\".severity"),
        ("\"class\"", "\"tx_queue\"", "machine \"mine\".scope"),
        ("lowest =", "enabled = false\nlowest =", "machine \"mine\".enabled"),
    ] {
        let found = mine.change_to(&sourced(&with_machines(&STATES.replacen(from, to, 1))));
        let mut fixed = found.iter().filter(|change| !change.is_live);
        assert!(fixed.any(|change| change.key.ends_with(key)), "{key}: {found:?}");
    }
    for (from, to) in [
        ("absent_release = \"60s\"", "absent_release = \"30s\""),
        ("guard_budget = 0.5", "guard_budget = 0.4"),
        ("sessions_min = 5 ", "sessions_min = 6 "),
    ] {
        assert!(changes(from, to).iter().all(|change| change.is_live), "{from}");
    }
    let allow = changes("allow = []", "allow = [\"orders\"]");
    assert_eq!(allow.iter().map(|c| c.is_live).collect::<Vec<_>>(), [false], "{allow:?}");
}

#[test]
fn both_kinds_at_once_are_told_apart() {
    let text = TEXT.replacen("rate = \"50M\"", "rate = \"40M\"", 1);
    let text = text.replacen("rx_burst = 32", "rx_burst = 16", 1);
    let found = sourced(TEXT).change_to(&sourced(&text));
    let live: Vec<_> = found.iter().map(|c| (c.key.as_str(), c.is_live)).collect();
    assert_eq!(live, [("port \"strategies\".rx_burst", false), ("class \"orders\".rate", true)]);
}

#[test]
fn the_same_values_are_no_change_however_they_are_written() {
    for (from, to) in [
        ("lease = \"5s\"", "lease = \"5000ms\""),
        ("priority = 1 ", "priority    =   1 # the same"),
        ("slot = \"1024ns\" ", "# slot = \"1024ns\" "),
    ] {
        assert_eq!(changes(from, to), [], "{from}");
    }
}

#[test]
fn another_way_to_write_what_is_fixed_is_no_change_beside_a_live_one() {
    let text = TEXT.replacen("core_stall = \"500ms\"", "core_stall = \"300ms\"", 1);
    let text = text.replacen("drain_max = \"50ms\"", "drain_max = \"50000us\"", 1);
    let found = sourced(TEXT).change_to(&sourced(&text));
    assert_eq!(found.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["gateway.core_stall"]);
}

#[test]
fn classes_in_another_order_are_named_as_that() {
    let class = |name: &str| {
        let at = TEXT.find(&format!("[[class]]\nname = \"{name}\"")).unwrap();
        let end = TEXT[at + 3..].find("\n[[").unwrap() + at + 4;
        TEXT[at..end].to_owned()
    };
    let (first, second) = (class("other-out"), class("from-venue"));
    let text = TEXT.replacen(&first, "", 1).replacen(&second, &format!("{second}{first}"), 1);
    let found = sourced(TEXT).change_to(&sourced(&text));
    assert!(
        found.iter().any(|c| c.key == "class (their order)" && !c.is_live && c.line > 1),
        "{found:?}"
    );
}

#[test]
fn a_table_that_is_gone_is_shown_where_it_stood() {
    let text = TEXT.replacen("[[profile.class]]\nname = \"other-out\"\nrate = \"10M\"\n", "", 1);
    let found = sourced(TEXT).change_to(&sourced(&text));
    let rate = found.iter().find(|c| c.key.ends_with(".rate")).unwrap();
    assert_eq!(rate.key, "profile \"contain\".class \"other-out\".rate");
    assert_eq!((rate.is.as_deref(), rate.line), (None, line_of("rate = \"10M\"")));
    assert!(found.iter().all(|change| change.is_live), "{found:?}");
}

/// A gateway that was started by 500 messages takes as many again, however often they were changed since.
#[test]
fn a_limit_is_raised_no_further_than_its_window_was_made_for() {
    let with = |messages: u32| {
        sourced(&TEXT.replacen("messages = 500 ", &format!("messages = {messages} "), 1))
    };
    let start = with(500);
    let lowered = with(100).in_windows(&start.window_messages);
    assert!(lowered.change_to(&with(1_000)).iter().all(|change| change.is_live));
    let found = lowered.change_to(&with(1_100));
    let [change] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (change.key.as_str(), change.is_live),
        ("venue_limit \"firm1-per-second\".messages", false)
    );
}

#[test]
fn messages_that_tags_may_claim_are_settled_at_the_start() {
    let tagged = TEXT.replacen("intent = false", "intent = true", 1);
    let tagged = tagged.replacen("intent = \"off\"", "intent = \"shim\"", 1);
    let (old, new) = ("message_burst = 16", "message_burst = 8");
    let found = sourced(&tagged).change_to(&sourced(&tagged.replacen(old, new, 1)));
    assert!(found.iter().any(|change| !change.is_live), "{found:?}");
    assert!(changes(old, new).iter().all(|change| change.is_live));
}
