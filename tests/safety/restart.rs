//! What outlives a gateway, and what a start decides.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::gateway::{Home, assert_sound};

#[test]
fn a_halted_scope_is_halted_after_a_kill_whatever_the_start_state_says() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    home.ask_json(&["halt", "--scope", "class:orders"]);
    home.ask_json(&["passthrough", "--scope", "class:cancels"]);
    gateway.kill();

    for start_state in ["running", "passthrough"] {
        let gateway = home.start(&home.fed(start_state, "orders"));
        let mut words = json!({"class:orders": "halt"});
        if start_state == "passthrough" {
            words["all"] = json!("passthrough");
        }
        assert_eq!(gateway.stop_words(), words);
        assert!(!gateway.flows("orders") && gateway.flows("cancels"));
        // Not one order has left since the start.
        assert_eq!(gateway.left("orders"), 0);
        gateway.kill();
    }
    // A dead gateway can be halted, and resumed.
    home.ask_json(&["halt", "--direct"]);
    home.ask_json(&["resume", "--scope", "class:orders", "--direct"]);
    let gateway = home.start(&home.fed("running", "orders"));
    assert_eq!(gateway.stop_words(), json!({"all": "halt"}));
    assert_eq!(gateway.left("orders"), 0);
    gateway.end();
}

#[test]
fn a_start_is_refused_when_a_halted_name_is_gone_from_the_config() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    home.ask_json(&["halt", "--scope", "class:orders"]);
    gateway.end();
    let mut refused = home.spawn(&home.fed("running", "renamed"));
    assert_eq!(refused.wait(), Some(1));
    let said = refused.said();
    assert!(said.contains("class:orders halted, but not in the config"), "{said}");
    assert!(said.contains("`wirepace resume --scope class:orders --direct`"), "{said}");
    // What it says helps.
    home.ask_json(&["resume", "--scope", "class:orders", "--direct"]);
    let gateway = home.start(&home.fed("running", "renamed"));
    assert!(gateway.flows("renamed"));
    gateway.end();
}

#[test]
fn the_start_state_decides_where_nothing_was_halted() {
    for (start_state, words, flows) in [
        ("halt", json!({"all": "halt"}), false),
        ("passthrough", json!({"all": "passthrough"}), true),
        ("running", json!({}), true),
    ] {
        let home = Home::new();
        let gateway = home.start(&home.fed(start_state, "orders"));
        assert_eq!(gateway.stop_words(), words);
        assert_eq!(gateway.flows("orders"), flows, "{start_state}");
        assert_eq!(gateway.left("orders") > 0, flows);
        assert!(gateway.flows("cancels"));
        gateway.end();
    }
}

/// A machine that pauses, or somebody who stops the process, stops the cores too: they are waited for as
/// long as before.
#[test]
fn a_process_that_is_stopped_while_it_ends_ends_in_order() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    gateway.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(5));
    gateway.signal(Signal::STOP);
    // Longer than a core is waited for.
    std::thread::sleep(Duration::from_secs(3));
    gateway.signal(Signal::CONT);
    assert_sound(&gateway.end());
}
