//! Another config while the cores run: whole or not at all, confirmed or back, on disk old or new.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::{MS, World};
use control::controller::{Answer, Settings};
use control::live_config::{self, LiveConfig, Revisions};
use control::request::{ConfigText, Request};
use model::config::live::Sourced;
use model::time::Nanos;
use serde_json::{Value, json};

const TEXT: &str = include_str!("../../configs/gateway.toml");

/// The example with another rate of class orders.
fn with_rate(rate: &str) -> String {
    assert!(TEXT.contains("rate = \"50M\""));
    TEXT.replacen("rate = \"50M\"", &format!("rate = \"{rate}\""), 1)
}

fn sourced(text: &str) -> Sourced {
    Sourced::read("gw.toml", text).unwrap()
}

fn revisions(dir: &Path) -> Revisions {
    Revisions::new(dir.join("config"))
}

fn world(dir: &Path) -> World {
    let config = sourced(TEXT);
    let mut world = World::of(Settings::new(&config.config, "9.9.9"), 2);
    let live = LiveConfig::started(revisions(dir), config);
    world.control = world.control.with_live_config(live);
    world.run(MS(40));
    world
}

/// What is answered while time passes, for 2 s at most.
fn ask(world: &mut World, request: &Request) -> Value {
    match world.control.handle(request, world.now) {
        Answer::Now(value) => value,
        Answer::Later(ticket) => {
            for _ in 0..2_000 {
                world.step(true);
                world.control.poll(world.now);
                if let Some(answer) = world.control.take_answer(ticket, world.now) {
                    return answer;
                }
            }
            panic!("no answer");
        }
    }
}

fn apply(text: &str, confirm: Option<Nanos>) -> Request {
    Request::ConfigApply {
        file: "gw.toml".into(),
        text: ConfigText(text.into()),
        confirm_ns: confirm.map(|span| span.0),
    }
}

/// The class rate that each core has in its confirmed table.
fn rates(world: &World) -> Vec<u64> {
    let rate =
        |core: &common::Poller| core.link.confirmed().classes[0].class.bits.unwrap().rate_per_s;
    world.cores.iter().map(rate).collect()
}

fn on_disk(dir: &Path) -> String {
    let revisions = revisions(dir);
    revisions.text(&revisions.latest().unwrap().unwrap()).unwrap()
}

#[test]
fn a_change_is_in_force_on_every_core_and_on_disk_when_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    assert_eq!(on_disk(dir.path()), TEXT, "what it started by is confirmed");
    let answer = ask(&mut world, &apply(&with_rate("40M"), None));
    assert_eq!((&answer["ok"], &answer["confirmed"]), (&json!(true), &json!(true)), "{answer}");
    assert_eq!(answer["changes"][0]["key"], "class \"orders\".rate");
    assert_eq!(answer["revision"], 2);
    assert!(answer["cores"].as_array().unwrap().iter().all(|core| core["holds_it"] == true));
    assert_eq!(rates(&world), [40_000_000; 2]);
    assert_eq!(on_disk(dir.path()), with_rate("40M"));
    // A profile that no file names is still there, over the new table.
    ask(&mut world, &Request::ProfileSet { name: "anti_burst".into() });
    assert_eq!(world.cores[0].in_force(), "anti_burst");
    let status = world.status();
    assert_eq!(status["config"]["confirm_left_s"], Value::Null);
    assert_eq!(status["config_digest"], json!(sourced(&with_rate("40M")).config.digest));
}

#[test]
fn what_is_not_confirmed_goes_back_and_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let answer = ask(&mut world, &apply(&with_rate("40M"), Some(Nanos::from_secs(10))));
    assert_eq!((&answer["confirmed"], &answer["confirm_within_s"]), (&json!(false), &json!(10.0)));
    assert_eq!(rates(&world), [40_000_000; 2]);
    assert_eq!(on_disk(dir.path()), TEXT);
    world.run(Nanos::from_secs(9));
    assert_eq!(rates(&world), [40_000_000; 2]);
    world.run(Nanos::from_secs(2));
    assert_eq!(rates(&world), [50_000_000; 2]);
    let get = ask(&mut world, &Request::ConfigGet {});
    assert_eq!(get["text"], TEXT);
    assert!(get["cores"].as_array().unwrap().iter().all(|core| core["holds_it"] == true), "{get}");
    assert_eq!(on_disk(dir.path()), TEXT);
    assert_eq!(world.status()["counters"]["config_reverted"], 1);
}

#[test]
fn a_time_to_confirm_has_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let (second, day) = (Nanos::from_secs(1), Nanos::from_secs(86_400));
    for out in [Nanos(0), Nanos(second.0 - 1), Nanos(day.0 + 1), Nanos(u64::MAX)] {
        let refused = ask(&mut world, &apply(&with_rate("40M"), Some(out)));
        assert_eq!(refused["bad_usage"], true, "{refused}");
        assert!(refused["error"].as_str().unwrap().contains("1 s to 24 h"), "{refused}");
        world.run(MS(40));
        assert_eq!(rates(&world), [50_000_000; 2]);
    }
    assert_eq!(revisions(dir.path()).unconfirmed().unwrap(), Vec::<String>::new());
    for within in [second, day] {
        let taken = ask(&mut world, &apply(&with_rate("40M"), Some(within)));
        assert_eq!(taken["confirm_within_s"], within.0 as f64 / 1e9, "{taken}");
        ask(&mut world, &Request::ConfigRollback { revision: None });
    }
}

#[test]
fn what_is_confirmed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    ask(&mut world, &apply(&with_rate("40M"), Some(Nanos::from_secs(10))));
    let answer = ask(&mut world, &Request::ConfigConfirm {});
    assert_eq!((&answer["ok"], &answer["revision"]), (&json!(true), &json!(2)), "{answer}");
    world.run(Nanos::from_secs(12));
    assert_eq!(rates(&world), [40_000_000; 2]);
    assert_eq!(on_disk(dir.path()), with_rate("40M"));
    assert_eq!(ask(&mut world, &Request::ConfigConfirm {})["bad_usage"], true, "twice is no use");
}

#[test]
fn what_is_wrong_or_needs_a_restart_is_said_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let wrong = ask(&mut world, &apply(&with_rate("40 parsecs"), None));
    assert_eq!(wrong["bad_usage"], true);
    let line = TEXT.lines().position(|line| line.contains("rate = \"50M\"")).unwrap() + 1;
    assert_eq!(wrong["errors"][0]["line"], line);
    assert!(wrong["error"].as_str().unwrap().starts_with(&format!("gw.toml:{line}:")), "{wrong}");

    let text = with_rate("40M").replacen("rx_burst = 32", "rx_burst = 16", 1);
    let fixed = ask(&mut world, &apply(&text, None));
    let line = TEXT.lines().position(|line| line.contains("rx_burst = 32")).unwrap() + 1;
    let expected = format!("gw.toml:{line}: port \"strategies\".rx_burst needs a restart");
    assert!(fixed["error"].as_str().unwrap().starts_with(&expected), "{fixed}");
    assert_eq!(fixed["changes"].as_array().unwrap().len(), 2);

    world.run(MS(100));
    assert_eq!(rates(&world), [50_000_000; 2]);
    assert_eq!(on_disk(dir.path()), TEXT);
    assert_eq!(revisions(dir.path()).unconfirmed().unwrap(), Vec::<String>::new());
}

#[test]
fn a_core_that_does_not_take_it_brings_the_old_one_back_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let Answer::Later(ticket) = world.control.handle(&apply(&with_rate("40M"), None), world.now)
    else {
        panic!("at once?")
    };
    let mut answer = None;
    for n in 0..3_000 {
        world.now = world.now.saturating_add(MS(1));
        world.clock.set(world.now);
        world.cores[0].poll(world.now);
        world.control.poll(world.now);
        answer = answer.or_else(|| world.control.take_answer(ticket, world.now));
        if n > 1_500 {
            world.cores[1].poll(world.now);
        }
        if n % 20 == 0 {
            world.control.tick(world.now).ok();
        }
    }
    let answer = answer.unwrap();
    assert!(answer["error"].as_str().unwrap().contains("core 1 (CPU 11)"), "{answer}");
    assert_eq!(rates(&world), [50_000_000; 2]);
    assert_eq!(on_disk(dir.path()), TEXT);
}

#[test]
fn rollback_takes_a_trial_back_at_once_and_else_goes_to_a_revision() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    ask(&mut world, &apply(&with_rate("40M"), None));
    ask(&mut world, &apply(&with_rate("30M"), Some(Nanos::from_secs(60))));
    let back = Request::ConfigRollback { revision: None };
    let answer = ask(&mut world, &back);
    assert_eq!(answer["reverted"], true, "{answer}");
    assert_eq!(rates(&world), [40_000_000; 2]);

    assert_eq!(ask(&mut world, &back)["confirmed"], true);
    assert_eq!(rates(&world), [50_000_000; 2], "the one before");
    assert_eq!(on_disk(dir.path()), TEXT);
    let to = |n| Request::ConfigRollback { revision: Some(n) };
    assert_eq!(ask(&mut world, &to(2))["revision"], 4);
    assert_eq!(rates(&world), [40_000_000; 2]);
    assert_eq!(ask(&mut world, &to(99))["bad_usage"], true);
    let history = ask(&mut world, &Request::ConfigHistory {});
    let rows = history["revisions"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|row| row["revision"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(rows[3]["confirmed"], true);
}

#[test]
fn rollback_again_goes_further_back_and_never_to_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let back = Request::ConfigRollback { revision: None };
    for rate in ["40M", "30M"] {
        ask(&mut world, &apply(&with_rate(rate), None));
    }
    for rate in [40_000_000, 50_000_000] {
        assert_eq!(ask(&mut world, &back)["confirmed"], true);
        assert_eq!(rates(&world), [rate; 2]);
    }
    let none = ask(&mut world, &back);
    assert_eq!(none["bad_usage"], true, "{none}");
    assert!(none["error"].as_str().unwrap().contains("config history"), "{none}");
    // Another config is tried and left: back is where it came from, not the two that were left before.
    ask(&mut world, &apply(&with_rate("20M"), None));
    assert_eq!(ask(&mut world, &back)["revision"], 7);
    assert_eq!(rates(&world), [50_000_000; 2]);
    assert_eq!(ask(&mut world, &back)["bad_usage"], true);
    assert_eq!(rates(&world), [50_000_000; 2]);
    // By its number what was left can be had.
    assert_eq!(ask(&mut world, &Request::ConfigRollback { revision: Some(3) })["revision"], 8);
    assert_eq!(rates(&world), [30_000_000; 2]);
}

#[test]
fn rollback_ends_where_the_oldest_revisions_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    for rate in 0..60 {
        ask(&mut world, &apply(&with_rate(&format!("{}k", 10_000 + rate)), None));
    }
    let back = Request::ConfigRollback { revision: None };
    let mut last = rates(&world)[0];
    while ask(&mut world, &back)["confirmed"] == true {
        let rate = rates(&world)[0];
        assert!(rate < last, "{rate} after {last}");
        last = rate;
    }
    assert!(last < 10_040_000, "half of those that are kept, at least: {last}");
}

#[test]
fn a_pinned_profile_takes_its_new_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    ask(&mut world, &Request::ProfileSet { name: "contain".into() });
    let text = TEXT.replacen("rate = \"10M\"", "rate = \"9M\"", 1);
    ask(&mut world, &apply(&text, None));
    world.run(MS(10));
    let class = sourced(TEXT).config.classes.iter().position(|c| c.name == "other-out").unwrap();
    for core in &world.cores {
        assert_eq!(core.in_force(), "contain");
        assert_eq!(core.link.profile().classes[class].class.bits.unwrap().rate_per_s, 9_000_000);
    }
    world.run(Nanos::from_secs(8));
    assert_eq!(world.cores[0].in_force(), "contain", "its lease is renewed");
}

#[test]
fn a_venue_limit_goes_down_and_up_again_but_not_beyond_its_windows() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let with =
        |messages: u32| TEXT.replacen("messages = 500 ", &format!("messages = {messages} "), 1);
    let limits = |world: &World| -> Vec<u32> {
        let limit = |core: &common::Poller| core.link.confirmed().venue_limits[0].messages_max;
        world.cores.iter().map(limit).collect()
    };
    assert_eq!(limits(&world), [490; 2]);
    for (messages, most) in [(100, 98), (1_000, 980)] {
        let answer = ask(&mut world, &apply(&with(messages), None));
        assert_eq!(answer["confirmed"], true, "{answer}");
        assert_eq!(limits(&world), [most; 2]);
    }
    let refused = ask(&mut world, &apply(&with(1_010), None));
    let said = refused["error"].as_str().unwrap();
    assert!(said.contains("venue_limit \"firm1-per-second\".messages needs a restart"), "{said}");
    assert_eq!(limits(&world), [980; 2]);
    let get = ask(&mut world, &Request::ConfigGet {});
    assert_eq!(get["window_messages"], json!([980]));
}

#[test]
fn one_change_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let now = world.now;
    assert!(matches!(world.control.handle(&apply(&with_rate("40M"), None), now), Answer::Later(_)));
    for second in [apply(&with_rate("30M"), None), Request::ConfigConfirm {}] {
        let Answer::Now(second) = world.control.handle(&second, now) else { panic!("both?") };
        assert!(second["error"].as_str().unwrap().contains("under way"), "{second}");
    }
    world.run(MS(50));
    assert_eq!(rates(&world), [40_000_000; 2]);
}

#[test]
fn a_start_does_not_take_what_was_never_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = world(dir.path());
    ask(&mut first, &apply(&with_rate("40M"), Some(Nanos::from_secs(60))));
    drop(first);
    // Killed: the file of the operator says what was on trial.
    let disk = revisions(dir.path());
    let start = live_config::at_start(&disk, sourced(&with_rate("40M"))).unwrap();
    assert_eq!(start.text, TEXT);
    let again = LiveConfig::started(disk.clone(), start);
    assert_eq!(again.in_force().text, TEXT);
    // And again: it is still not confirmed.
    assert_eq!(live_config::at_start(&disk, sourced(&with_rate("40M"))).unwrap().text, TEXT);
    // Another file is the operator's word.
    let other = live_config::at_start(&disk, sourced(&with_rate("20M"))).unwrap();
    assert_eq!(other.text, with_rate("20M"));
}

#[test]
fn whatever_follows_a_start_does_not_take_what_was_rejected() {
    let back = Request::ConfigRollback { revision: None };
    let second = Some(Nanos::from_secs(1));
    let follows = [
        ("nothing", vec![], TEXT.to_owned()),
        ("another one is confirmed", vec![apply(&with_rate("40M"), None)], with_rate("40M")),
        ("another trial", vec![apply(&with_rate("12M"), second)], TEXT.to_owned()),
        ("a rollback", vec![apply(&with_rate("40M"), None), back], TEXT.to_owned()),
    ];
    for (name, requests, confirmed) in follows {
        let dir = tempfile::tempdir().unwrap();
        let mut world = world(dir.path());
        for request in [apply(&with_rate("11M"), second)].iter().chain(&requests) {
            assert_eq!(ask(&mut world, request)["ok"], true, "{name}");
            world.run(Nanos::from_secs(2));
        }
        assert_eq!(on_disk(dir.path()), confirmed, "{name}");
        let disk = revisions(dir.path());
        let start = live_config::at_start(&disk, sourced(&with_rate("11M"))).unwrap();
        assert_eq!(start.text, confirmed, "{name}");
    }
}

#[test]
fn what_was_rejected_and_is_confirmed_later_is_taken_by_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    ask(&mut world, &apply(&with_rate("11M"), Some(Nanos::from_secs(1))));
    world.run(Nanos::from_secs(2));
    ask(&mut world, &apply(&with_rate("11M"), None));
    ask(&mut world, &apply(&with_rate("40M"), None));
    let disk = revisions(dir.path());
    let start = live_config::at_start(&disk, sourced(&with_rate("11M"))).unwrap();
    assert_eq!(start.text, with_rate("11M"), "the operator's word");
}

#[test]
fn without_a_disk_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    // A file where the directory should be.
    std::fs::remove_dir_all(dir.path().join("config")).unwrap();
    std::fs::write(dir.path().join("config"), "").unwrap();
    let answer = ask(&mut world, &apply(&with_rate("40M"), None));
    assert!(answer["error"].as_str().unwrap().contains("nothing was changed"), "{answer}");
    assert_eq!(rates(&world), [50_000_000; 2]);
}

#[test]
fn a_panic_of_control_under_way_brings_the_confirmed_config_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    world.control.handle(&apply(&with_rate("40M"), None), world.now);
    world.control.recover(world.now);
    world.run(MS(100));
    assert_eq!(rates(&world), [50_000_000; 2]);
    assert_eq!(ask(&mut world, &apply(&with_rate("30M"), None))["ok"], true);
    assert_eq!(rates(&world), [30_000_000; 2]);
}
