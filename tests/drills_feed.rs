//! The drills of feeds and of flushed writes: each holds, and nothing moves in its twin.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::commands::wirepace;

/// What of a drill did not come as it was said.
fn amiss(json: &Value) -> Vec<&Value> {
    let drill = &json["drills"][0];
    let all = [&drill["expectations"], &drill["twin"]["expectations"]];
    let all = all.into_iter().flat_map(|list| list.as_array().unwrap());
    all.filter(|finding| finding["holds"] == false).collect()
}

#[track_caller]
fn assert_holds(name: &str) {
    let ran = wirepace(["drill", "run", name, "--quick", "--json"]);
    let json = ran.json();
    assert!(amiss(&json).is_empty(), "{:#?}", amiss(&json));
    assert_eq!((ran.code, &json["holds"]), (Some(0), &Value::Bool(true)));
    let twin = json["drills"][0]["twin"]["transitions"].as_array().unwrap();
    assert!(twin.is_empty(), "{twin:?}");
}

#[test]
fn compressed_drain_holds() {
    assert_holds("compressed-drain");
}

#[test]
fn coalescing_replay_holds() {
    assert_holds("coalescing-replay");
}

#[test]
fn causality_holds() {
    assert_holds("causality");
}
