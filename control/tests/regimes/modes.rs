//! What each mode decides, and what it leaves alone.

use control::controller::Answer;
use control::request::{Request, Word};
use model::regime::{COMPOSED_NAME, Mode};
use serde_json::{Value, json};

use crate::world::{US, World, calm, everything, feed};

#[test]
fn observe_learns_and_decides_nothing() {
    let mut world = calm("");
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "CLEAN_FLOW");
    assert!(world.control.regimes().unwrap().transitions().is_empty());
    let status = world.ask(&Request::Status {});
    assert_eq!(status["regime"]["mode"], "observe");
    assert_eq!(status["regime"]["composed"]["profile"], "normal");
    let advice = &status["regime"]["advice"]["class:orders"];
    assert_eq!((&advice["urgency"], &advice["sequence"]), (&json!(1.0), &json!(0)), "neutral");
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn shadow_decides_and_logs_and_leaves_the_core_alone() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    let refused = world.mode(Mode::Shadow, false);
    assert!(refused["error"].as_str().unwrap().contains("replay"), "{refused}");
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    let transitions = world.control.regimes().unwrap().transitions().to_vec();
    // A flow that leaves in bunches is a compressed drain too.
    let of = |machine: &str| transitions.iter().filter(|t| t["machine"] == machine).count();
    assert_eq!((of("pacing"), of("drain"), transitions.len()), (1, 1, 2), "{transitions:#?}");
    let transitions: Vec<_> = transitions.iter().filter(|t| t["machine"] == "pacing").collect();
    assert_eq!(transitions[0]["scope"], "class:orders");
    assert_eq!(transitions[0]["to"], "BURST_RELEASED");
    let values = transitions[0]["values"].as_array().unwrap();
    assert!(values.iter().all(|v| v["value"].as_f64().unwrap() >= v["limit"].as_f64().unwrap()));
    // It says what it would do, and does not.
    let status = world.ask(&Request::Status {});
    let composed = &status["regime"]["composed"];
    assert_eq!(
        (&composed["profile"], &composed["in_force"]),
        (&json!(COMPOSED_NAME), &json!(false))
    );
    assert_eq!(composed["reasons"][0]["set_by"], "pacing");
    assert_eq!(world.in_force(), "normal");
    assert_eq!(status["regime"]["advice"]["class:orders"]["tactics"], "completion_critical");
    // Strategies read the same where they read all advice.
    let asked = world.ask(&Request::Advice {});
    let records = asked["advice"].as_array().unwrap();
    let said_of = |scope: &str| records.iter().find(|record| record["scope"] == scope).unwrap();
    assert_eq!(said_of("class:orders")["tactics"], "completion_critical");
    assert_eq!(
        said_of("class:orders")["regime"],
        status["regime"]["advice"]["class:orders"]["regime"]
    );
    assert_eq!(said_of("tx_queue:out")["regime"], json!([]));
}

#[test]
fn active_in_virtual_time_governs_the_allowed_class_and_gives_it_back() {
    let mut world = calm("[regime]\nallow = [\"orders\"]\nlatch = false");
    world.ask(&Request::Feed { values: everything() });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    let canary = world.mode(Mode::Canary, false);
    assert!(canary["error"].as_str().unwrap().contains("switchback"), "{canary}");
    assert_eq!(world.mode(Mode::Switchback, false)["ok"], true);
    let unconfirmed = world.mode(Mode::Active, false);
    assert!(unconfirmed["error"].as_str().unwrap().contains("--confirm"), "{unconfirmed}");
    assert_eq!(world.mode(Mode::Active, true)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.in_force(), COMPOSED_NAME);
    assert!(world.link.profile().classes[0].shaping.fan_out < u16::MAX);
    let status = world.ask(&Request::Status {});
    assert_eq!(status["profile"]["in_force"][0], COMPOSED_NAME);
    // Longer than a lease: it is renewed.
    world.run(80, 100, 50, US(900));
    assert_eq!(world.in_force(), COMPOSED_NAME);

    // The operator's pin goes before it.
    let mut refused = |state: &str, length_ns| {
        let (machine, scope, state) = ("pacing".into(), "orders".into(), state.into());
        let answer = world.ask(&Request::RegimePin { machine, scope, state, length_ns });
        answer["error"].as_str().unwrap().to_owned()
    };
    assert!(refused("NO_SUCH", None).contains("BURST_RELEASED"));
    assert!(refused("BURST_RELEASED", Some(0)).contains("above 0"));
    assert!(refused("BURST_RELEASED", Some(u64::MAX)).contains("at most"));
    assert_eq!(world.mode(Mode::Observe, false)["ok"], true);
    world.link.turn(world.now);
    assert_eq!(world.in_force(), "normal", "observe reverts every field at once");
}

#[test]
fn a_class_that_is_not_allowed_is_never_touched() {
    let mut world = calm("[regime]\nlatch = false");
    world.ask(&Request::Feed { values: everything() });
    world.mode(Mode::Shadow, false);
    let refused = world.mode(Mode::Switchback, false);
    assert!(refused["error"].as_str().unwrap().contains("allow"), "{refused}");
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn delay_beyond_the_budget_rolls_an_active_mode_back_to_shadow() {
    let mut world = calm("[regime]\nallow = [\"orders\"]");
    world.ask(&Request::Feed { values: everything() });
    for (mode, confirm) in [(Mode::Shadow, false), (Mode::Switchback, false), (Mode::Active, true)]
    {
        assert_eq!(world.mode(mode, confirm)["ok"], true);
    }
    // The usual 10 us and the budget of 1 ms are passed at p99; 250 packets in each tick.
    world.run(20, 250, 1, US(1_500));
    let mode = world.ask(&Request::ModeGet {});
    assert_eq!(mode["mode"], "shadow", "{mode}");
    let last = mode["changes"].as_array().unwrap().last().unwrap();
    assert!(last["why"].as_str().unwrap().contains("bad ticks"), "{last}");
    assert_eq!(world.in_force(), "normal");
}

#[test]
fn a_few_packets_a_second_get_a_longer_window() {
    let mut world = calm("");
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    world.mode(Mode::Shadow, false);
    // 300 packets/s: p99 needs 1,000.
    world.run(100, 30, 1, US(10));
    let all = world.ask(&Request::RegimeGet {});
    let pacing = all["machines"].as_array().unwrap().iter().find(|m| m["machine"] == "pacing");
    assert_eq!(pacing.unwrap()["window_s"], 4, "1, 2, 4: then there are enough");
    let details = all["details"].as_array().unwrap();
    let inputs = details[0]["inputs"].as_array().unwrap();
    let p99 = inputs.iter().find(|i| i["term"].as_str().unwrap().contains("p99 >=")).unwrap();
    let n = p99["n"].as_u64().unwrap();
    assert!((1_200..=1_500).contains(&n), "4 s to 5 s of 300 packets: {n}");
}

#[test]
fn a_pinned_profile_ends_by_itself_and_says_so() {
    let profile = "[[profile]]\nname = \"tight\"\n[regime]\npin = \"10s\"";
    let mut world = World::new(profile);
    let set = Request::ProfileSet { name: "tight".into() };
    let Answer::Later(_) = world.control.handle(&set, world.now) else { panic!("it is later") };
    world.run(95, 0, 1, US(1));
    assert_eq!(world.in_force(), "tight");
    world.run(10, 0, 1, US(1));
    assert_eq!(world.in_force(), "normal");
    let status = world.ask(&Request::Status {});
    assert_eq!(status["counters"]["alarm_pin_expired"], 1);
    assert_eq!(status["profile"]["pinned"], Value::Null);
    // Stop words go on as ever.
    let halt = Request::StopWord { word: Word::Halt, scope: "all".into() };
    assert_eq!(world.ask(&halt)["ok"], true);
}
