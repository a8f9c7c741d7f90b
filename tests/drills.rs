//! Drills as a user meets them: by command, the same each time, and able to fail.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::{fs, iter};

use serde_json::Value;
use support::commands::{Ran, wirepace};
use tempfile::TempDir;

/// Of the drills, those that the others are least like; `scripts/drills` runs all of them, twice.
const SOME: [&str; 3] = ["phase-lock", "offload-ab", "ack-stress"];

fn run(more: &[&str]) -> Ran {
    wirepace(["drill", "run", "--quick", "--json"].iter().chain(more))
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn drills_and_their_twins_hold_and_the_same_seed_gives_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().to_str().unwrap();
    let mut arguments = SOME.to_vec();
    arguments.extend(["--seed", "7", "--out", out]);
    let (one, two) = (run(&arguments), run(&arguments));
    assert_eq!(one.code, Some(0), "{}", one.stdout);
    assert!(one.stdout == two.stdout, "the same seed gives the same bytes");
    let all = json(&one);
    assert_eq!(all["drills"].as_array().unwrap().len(), SOME.len());
    for drill in all["drills"].as_array().unwrap() {
        assert_eq!((&drill["holds"], &drill["seed"]), (&true.into(), &7.into()));
        assert_eq!(drill["twin"]["holds"], true);
        assert!(drill["expectations"].as_array().unwrap().len() > 2);
        let page = directory.path().join(format!("{}.html", drill["name"].as_str().unwrap()));
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("<svg") && page.ends_with("</html>\n"));
        // Nothing is fetched and nothing runs.
        for tag in ["<script", "src=", "@import", "url("] {
            assert!(!page.contains(tag), "{tag}");
        }
    }
    let index = fs::read_to_string(directory.path().join("index.html")).unwrap();
    assert!(SOME.iter().all(|name| index.contains(&format!("href=\"{name}.html\""))));
}

/// States of `drain`, of which the second is entered beyond a bound.
fn drain(bound: f64, second: &str) -> String {
    format!(
        r#"
[[regime.machine.state]]
name = "ACCUMULATION_RISK"
severity = 1
enter = [["not_sent_bytes.p95 >= 3 b"]]
exit = [["not_sent_bytes.p95 < 1.5 b"]]
profile = "smooth"

[[regime.machine.state]]
name = "{second}"
severity = 2
enter = [["flush_compression_index_at_normal.index >= {bound}"]]
exit = [["flush_compression_index_at_normal.index < {}"]]
profile = "anti_burst"
advice = ["urgency"]

[[regime.machine.state]]
name = "CONTAINMENT"
severity = 3
enter = [["child_join_delay_ns_at_normal.value >= 5 b for 5s"]]
exit = "as below"
profile = "contain"
"#,
        bound * 0.4
    )
}

#[test]
fn a_drill_is_caught_under_thresholds_that_can_be_reached_and_only_under_those() {
    let directory = TempDir::new().unwrap();
    let under = |name: &str, states: &str| {
        let path = directory.path().join(name);
        let own = include_str!("../configs/drills/compressed-drain.toml");
        fs::write(&path, format!("{own}{states}")).unwrap();
        run(&["compressed-drain", "--thresholds", path.to_str().unwrap()])
    };
    let caught = under("reached.toml", &drain(5.0, "COMPRESSED_DRAIN"));
    assert_eq!(caught.code, Some(0), "{}", caught.stdout);
    let missed = under("out-of-reach.toml", &drain(500.0, "COMPRESSED_DRAIN"));
    assert_eq!(missed.code, Some(3));
    // It is passed on the way down from containment, and never entered by its own bound.
    let report = json(&missed);
    let mut steps = report["drills"][0]["transitions"].as_array().unwrap().iter();
    let entered = steps.find(|t| t["to"] == "COMPRESSED_DRAIN" && t["cause"] == "entered");
    assert_eq!(entered, None);
    // Bounds of states that the drill does not have say nothing about it.
    let refused = under("other.toml", &drain(5.0, "FLUSHED"));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("drain"), "{}", refused.stderr);
}

/// A drill, the actions of profiles or of advice of which it needs one, and something that does not come without
/// any.
const RESTS_ON: [(&str, &[&str], &str); 13] = [
    ("pacing-quantization", &["advice.backpressure"], "advised to send less"),
    ("phase-lock", &["anti_burst.jitter"], "median BI"),
    ("burst-shape-replay", &["smooth.burst"], "median SBF"),
    ("offload-ab", &["smooth.segment"], "tap_wst_p95_ns"),
    ("ack-stress", &["smooth.burst"], "median SBF"),
    ("containment-failover", &["contain.second_path"], "order_flows_moved"),
    ("pacing-canary", &["smooth.burst"], "excess, canary"),
    ("stall-threshold", &["contain.inflight_limit"], "bytes in flight"),
    ("compressed-drain", &["anti_burst.hold_frames"], "flush compression"),
    ("coalescing-replay", &["anti_burst.rx_hold"], "delivery delay"),
    ("causality", &["advice.signal_weight"], "signal weight"),
    ("self-excitation", &["anti_burst.jitter", "anti_burst.hold_frames"], "dispatch to wire p99"),
    ("promotion", &["smooth.burst"], "excess, others"),
];

#[test]
fn a_profile_without_its_action_makes_the_drill_fail() {
    for (drill, actions, about) in RESTS_ON {
        let without = actions.iter().flat_map(|&action| ["--without", action]);
        let ran = run(&iter::once(drill).chain(without).collect::<Vec<_>>());
        assert_eq!(ran.code, Some(3), "{drill} without {actions:?}: {}", ran.stderr);
        let failed = failures(&ran);
        let is_about = |what: &String| what.contains(about);
        assert!(failed.iter().any(is_about), "{drill} without {actions:?}: {failed:?}");
    }
}

#[test]
fn what_drills_rest_on_is_documented() {
    let documented = fs::read_to_string(support::commands::repository("docs/drills.md")).unwrap();
    for (drill, actions, _) in RESTS_ON {
        let row = format!("| `{drill}` | `{}`", actions.join("` and `"));
        assert!(documented.contains(&row), "docs/drills.md has no row {row}");
    }
    let (_, on_none) = documented.split_once("| drill | rests on no action, because |").unwrap();
    for drill in json(&wirepace(["drill", "list", "--json"]))["drills"].as_array().unwrap() {
        let name = drill["name"].as_str().unwrap();
        let rests_on_one = RESTS_ON.iter().any(|(drill, ..)| *drill == name);
        let has_reason = on_none.contains(&format!("| `{name}` |"));
        assert!(rests_on_one != has_reason, "docs/drills.md: what {name} rests on, or why on none");
    }
}

#[test]
fn without_its_protection_the_loop_excites_itself() {
    let ran = run(&["self-excitation", "--unprotected"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(failures(&ran).contains(&"every machine".to_owned()));
    assert_eq!(run(&["self-excitation"]).code, Some(0));
}

/// What did not come as it was said.
fn failures(ran: &Ran) -> Vec<String> {
    let all = json(ran);
    let drill = &all["drills"][0];
    let findings = drill["expectations"].as_array().unwrap().iter();
    let failed = findings.filter(|finding| finding["holds"] == false);
    failed.map(|finding| finding["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn unknown_names_are_refused_with_those_that_are_allowed() {
    let ran = run(&["burst-shape"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("burst-shape-replay"), "{}", ran.stderr);
    let ran = run(&["phase-lock", "--without", "smooth.colour"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("fan_out"), "{}", ran.stderr);
    let ran = run(&["phase-lock", "--without", "rough.segment"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("anti_burst"), "{}", ran.stderr);
    let ran = run(&["phase-lock", "--without", "advice.colour"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("signal_weight"), "{}", ran.stderr);
}

#[test]
fn the_list_names_every_drill() {
    let ran = wirepace(["drill", "list", "--json"]);
    assert_eq!(ran.code, Some(0));
    let listed = json(&ran);
    let names = listed["drills"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|drill| drill["name"].as_str().unwrap()).collect();
    assert!(SOME.iter().all(|name| names.contains(name)), "{names:?}");
}
