//! `halt`, `passthrough` and `resume` under load.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::{Home, assert_sound, text};

#[test]
fn words_act_under_load_with_and_without_the_control_thread() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    assert!(gateway.flows("orders") && gateway.flows("cancels") && gateway.flows("fix"));
    for direct in [false, true] {
        let say = |word: &str, scope: &str| {
            let mut arguments = vec![word, "--scope", scope];
            arguments.extend(direct.then_some("--direct"));
            let mut reply = home.ask_json(&arguments);
            let said_direct = reply.as_object_mut().unwrap().remove("direct");
            assert_eq!(said_direct, direct.then_some(json!(true)));
            reply
        };
        let reply = |word: &str, scope: &str, state: &str, held_by: Value| json!({"ok": true, "word": word, "scope": scope, "state": state, "held_by": held_by});
        let halted = say("halt", "class:orders");
        assert_eq!(halted, reply("halt", "class:orders", "halt", json!({})));
        assert!(!gateway.flows("orders"));
        assert!(gateway.flows("cancels") && gateway.flows("fix"));

        // Set like any other word, and whoever says it is told that it ends nothing.
        let of_no_orders = say("halt", "class:cancels");
        let note = of_no_orders["note"].as_str().unwrap_or_default();
        assert!(note.contains("class cancels is declared to carry no orders"), "{of_no_orders}");
        assert!(gateway.flows("cancels"));
        let resumed = say("resume", "class:cancels");
        assert_eq!(resumed, reply("resume", "class:cancels", "running", json!({})));

        assert_eq!(say("halt", "all"), reply("halt", "all", "halt", json!({})));
        // A session that blocks still lets its bare segments through.
        assert!(gateway.flows("cancels") && gateway.flows("fix") && !gateway.flows("orders"));
        assert_eq!(gateway.stop_words(), json!({"all": "halt", "class:orders": "halt"}));

        let resumed = say("resume", "class:orders");
        assert_eq!(resumed, reply("resume", "class:orders", "halt", json!({"all": "halt"})));
        assert!(!gateway.flows("orders"));
        let lowered = say("passthrough", "all");
        assert_eq!(lowered, reply("passthrough", "all", "halt", json!({})), "it lowers no halt");
        assert_eq!(say("resume", "all"), reply("resume", "all", "running", json!({})));
        assert!(gateway.flows("orders"));

        assert_eq!(
            say("passthrough", "venue:XCME"),
            reply("passthrough", "venue:XCME", "passthrough", json!({}))
        );
        assert!(gateway.flows("orders"));
        assert_eq!(
            say("resume", "venue:XCME"),
            reply("resume", "venue:XCME", "running", json!({}))
        );
        assert_eq!(gateway.stop_words(), json!({}));
    }
    let summary = gateway.end();
    assert_sound(&summary);
    let drops = summary["drops"].as_object().unwrap();
    assert!(drops["halted"].as_u64().unwrap() > 1_000);
    // The capture goes round, so the same segments come again while the first still wait.
    let allowed = ["halted", "duplicate_held"];
    assert!(drops.keys().all(|name| allowed.contains(&name.as_str())), "{drops:?}");
}

#[test]
fn sigusr2_is_passthrough_of_everything_and_never_lowers_a_halt() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    let words_become = |expected: serde_json::Value| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while gateway.stop_words() != expected {
            assert!(std::time::Instant::now() < deadline, "{}", gateway.stop_words());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    gateway.signal(Signal::USR2);
    words_become(json!({"all": "passthrough"}));
    assert!(gateway.flows("orders"));
    home.ask_json(&["halt"]);
    gateway.signal(Signal::USR2);
    std::thread::sleep(std::time::Duration::from_millis(200));
    words_become(json!({"all": "halt"}));
    assert!(!gateway.flows("orders"));
    let summary = gateway.end();
    assert_sound(&summary);
}

#[test]
fn what_is_unknown_is_named_and_bad_usage_is_told_from_failure() {
    let home = Home::new();
    home.write(&home.fed("halt", "orders"));
    // No gateway has ever run here.
    let nobody = home.ask(&["halt"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no gateway runs"), "{}", text(&nobody.stderr));
    let no_page = home.ask(&["halt", "--direct"]);
    assert_eq!(no_page.status.code(), Some(1));
    assert!(text(&no_page.stderr).contains("there is none"), "{}", text(&no_page.stderr));

    let gateway = home.start(&home.fed("halt", "orders"));
    for direct in [&[][..], &["--direct"]] {
        for (scope, says) in [
            ("class:nope", "all, venue:XCME, class:orders, class:cancels, class:fix"),
            ("venue:NOPE", "all, venue:XCME"),
            ("orders", "all, venue:NAME or class:NAME"),
            ("class:", "all, venue:NAME or class:NAME"),
        ] {
            let mut arguments = vec!["halt", "--scope", scope];
            arguments.extend(direct);
            let refused = home.ask(&arguments);
            assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
            assert!(text(&refused.stderr).contains(says), "{}", text(&refused.stderr));
            assert!(refused.stdout.is_empty());
        }
    }
    // In words, for people.
    let said = home.ask(&["resume", "--scope", "class:orders"]);
    assert_eq!(text(&said.stdout), "class:orders: halt, held by all\n");
    home.ask_json(&["halt", "--scope", "class:orders"]);
    let said = home.ask(&["resume"]);
    assert_eq!(text(&said.stdout), "all: running; still at halt: class:orders\n");
    gateway.end();
}

#[test]
fn a_user_without_privileges_runs_and_halts_a_gateway() {
    let home = Home::unprivileged();
    let gateway = home.start(&home.fed("running", "orders"));
    assert!(gateway.flows("orders"));
    // Without a config too: it is the only gateway of this user.
    let output = home.command(&["halt", "--direct", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!gateway.flows("orders") && gateway.flows("cancels"));
    let instance = home.command(&["resume", "--instance", "gw-safety"]).output().unwrap();
    assert_eq!(instance.status.code(), Some(0), "{}", text(&instance.stderr));
    assert!(gateway.flows("orders"));
    assert_sound(&gateway.end());
}
