//! The drills of feeds and of flushed writes: each holds, and fails without the action that it is about.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::commands::{Ran, wirepace};

fn drill(name: &str, options: &[&str]) -> Ran {
    wirepace(["drill", "run", name, "--quick", "--json"].iter().chain(options))
}

/// What of a drill did not come as it was said.
fn amiss(json: &Value) -> Vec<&Value> {
    let drill = &json["drills"][0];
    let all = [&drill["expectations"], &drill["twin"]["expectations"]];
    let all = all.into_iter().flat_map(|list| list.as_array().unwrap());
    all.filter(|finding| finding["holds"] == false).collect()
}

#[track_caller]
fn assert_holds(name: &str) {
    let ran = drill(name, &[]);
    let json = ran.json();
    assert!(amiss(&json).is_empty(), "{:#?}", amiss(&json));
    assert_eq!((ran.code, &json["holds"]), (Some(0), &Value::Bool(true)));
    let twin = json["drills"][0]["twin"]["transitions"].as_array().unwrap();
    assert!(twin.is_empty(), "{twin:?}");
}

/// Without `action` the drill ends with 3, and what fails is about `about`.
#[track_caller]
fn assert_needs(name: &str, action: &str, about: &str) {
    let ran = drill(name, &["--without", action]);
    assert_eq!(ran.code, Some(3), "{ran:#?}");
    let json = ran.json();
    let amiss = amiss(&json);
    assert!(!amiss.is_empty());
    assert!(amiss.iter().all(|it| it["what"].as_str().unwrap().contains(about)), "{amiss:#?}");
}

#[test]
fn compressed_drain_holds_and_needs_release_windows() {
    assert_holds("compressed-drain");
    assert_needs("compressed-drain", "anti_burst.hold_frames", "corked");
}

#[test]
fn coalescing_replay_holds_and_needs_receive_holds_off() {
    assert_holds("coalescing-replay");
    assert_needs("coalescing-replay", "anti_burst.rx_hold", "delivery delay");
}

#[test]
fn causality_holds() {
    assert_holds("causality");
}
