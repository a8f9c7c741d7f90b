//! Control and its cores in virtual time.
#![allow(clippy::unwrap_used)]

mod common;

use common::{MS, START, World, pool_alarm, sample};
use control::controller::{Answer, Fatal};
use control::request::{Request, Word};
use dataplane::channel::Event;
use dataplane::clock::TscModel;
use dataplane::turns::{Stall, TurnRow};
use model::time::{Cycles, Nanos};
use serde_json::{Value, json};

/// Sends a switch and lets time pass until it is answered.
fn switch(world: &mut World, name: &str) -> Value {
    let request = Request::ProfileSet { name: name.into() };
    let ticket = match world.control.handle(&request, world.now) {
        Answer::Now(value) => return value,
        Answer::Later(ticket) => ticket,
    };
    for _ in 0..1_500 {
        world.run(MS(1));
        world.control.poll(world.now);
        if let Some(value) = world.control.take_answer(ticket, world.now) {
            return value;
        }
    }
    panic!("no answer within 1.5 s of virtual time");
}

fn in_force(world: &World) -> Vec<String> {
    world.cores.iter().map(common::Poller::in_force).collect()
}

#[test]
fn switch_reaches_every_core_and_says_when_and_at_what_cost() {
    let mut world = World::new(2);
    world.run(MS(100));
    let asked_at = world.now;
    let request = Request::ProfileSet { name: "smooth".into() };
    let Answer::Later(ticket) = world.control.handle(&request, world.now) else { panic!() };
    world.step(true);
    world.cores[0].link.released(Nanos(40_000));
    world.cores[1].link.released(Nanos(250_500));
    world.cores[1].link.released(Nanos(7));
    world.control.poll(world.now);
    assert_eq!(world.control.take_answer(ticket, world.now), None, "not settled yet");
    world.run(MS(11));
    world.control.poll(world.now);
    let reply = world.control.take_answer(ticket, world.now).unwrap();
    assert_eq!(
        reply,
        json!({
            "ok": true, "profile": "smooth", "pinned": true, "lease_s": 5.0,
            "switch_delay_us": 250.5,
            "cores": [
                {"core": 0, "cpu": 10, "effective_at_ns": asked_at.0 + 1_000_000,
                 "effective_after_us": 1_000.0, "switch_delay_us": 40.0, "ended": false},
                {"core": 1, "cpu": 11, "effective_at_ns": asked_at.0 + 1_000_000,
                 "effective_after_us": 1_000.0, "switch_delay_us": 250.5, "ended": false},
            ],
        })
    );
    assert_eq!(in_force(&world), ["smooth", "smooth"]);
    assert_eq!(world.control.take_answer(ticket, world.now), None, "an answer is given once");
    let status = world.status();
    assert_eq!(status["profile"]["pinned"], "smooth");
    assert_eq!(status["profile"]["confirmed"], "normal", "a pin does not confirm");
    assert_eq!(status["cores"][1]["profile"], "smooth");
}

#[test]
fn lease_is_renewed_as_long_as_control_lives_and_ends_the_profile_when_it_does_not() {
    let mut world = World::new(2);
    assert_eq!(switch(&mut world, "contain")["ok"], true);
    world.run(MS(20_000));
    assert_eq!(in_force(&world), ["contain", "contain"], "four leases later");
    let left = world.status()["profile"]["lease_left_s"].as_f64().unwrap();
    assert!((4.9..=5.0).contains(&left), "{left}");

    world.run_without_control(MS(4_900));
    assert_eq!(in_force(&world), ["contain", "contain"]);
    world.run_without_control(MS(200));
    assert_eq!(in_force(&world), ["normal", "normal"]);

    world.run(MS(40));
    assert_eq!(world.counter("lease_expired", 0), 1);
    assert_eq!(world.counter("lease_expired", 1), 1);
    let status = world.status();
    assert_eq!(status["profile"]["pinned"], Value::Null);
    assert_eq!(status["profile"]["lease_left_s"], Value::Null);
    world.run(MS(10_000));
    assert_eq!(in_force(&world), ["normal", "normal"], "it does not come back by itself");
}

#[test]
fn lease_that_ran_out_on_one_core_ends_the_pin_on_all() {
    let mut world = World::new(2);
    switch(&mut world, "smooth");
    // Control sleeps for longer than the lease; only core 0 polls before control is back.
    for _ in 0..5_100 {
        world.step(false);
        world.cores[0].poll(world.now);
    }
    // Its first act is to renew leases, so core 1 never sees its own run out.
    world.control.tick(world.now).unwrap();
    world.run(MS(60));
    assert_eq!(in_force(&world), ["normal", "normal"]);
    assert_eq!(world.counter("lease_expired", 0), 1);
    assert_eq!(world.counter("lease_expired", 1), 0);
}

#[test]
fn normal_ends_the_pin_and_needs_no_lease() {
    let mut world = World::new(1);
    switch(&mut world, "smooth");
    let reply = switch(&mut world, "normal");
    assert_eq!((&reply["ok"], &reply["pinned"]), (&json!(true), &json!(false)));
    assert_eq!(reply["lease_s"], Value::Null);
    world.run_without_control(MS(20_000));
    world.run(MS(40));
    assert_eq!(in_force(&world), ["normal"]);
    assert_eq!(world.counter("lease_expired", 0), 0);
    assert_eq!(world.counter("profile_switches", 0), 2);
}

#[test]
fn unknown_profile_is_refused_with_the_known_ones() {
    let mut world = World::new(1);
    let reply = switch(&mut world, "Smooth");
    let error = reply["error"].as_str().unwrap();
    for word in ["\"Smooth\"", "normal", "smooth", "contain"] {
        assert!(error.contains(word), "{error}");
    }
    world.run(MS(100));
    assert_eq!(in_force(&world), ["normal"]);
}

#[test]
fn core_that_does_not_take_the_profile_is_named_after_a_second() {
    let mut world = World::new(2);
    world.run(MS(40));
    let request = Request::ProfileSet { name: "smooth".into() };
    let asked_at = world.now;
    let Answer::Later(ticket) = world.control.handle(&request, world.now) else { panic!() };
    let reply = loop {
        world.step(false);
        world.cores[0].poll(world.now);
        world.control.poll(world.now);
        if let Some(reply) = world.control.take_answer(ticket, world.now) {
            break reply;
        }
        assert!(world.now <= asked_at.saturating_add(MS(1_001)));
    };
    assert_eq!(world.now, asked_at.saturating_add(MS(1_000)));
    let error = reply["error"].as_str().unwrap();
    assert!(error.contains("core 1 (CPU 11)") && !error.contains("core 0"), "{error}");
    assert!(reply["cores"][0]["effective_at_ns"].is_u64());
    assert_eq!(reply["cores"][1]["effective_at_ns"], Value::Null);
}

#[test]
fn switch_is_refused_once_every_core_has_ended() {
    let mut world = World::new(1);
    let core = world.cores.pop().unwrap();
    core.link.finish(core.own);
    assert!(world.control.all_ended());
    assert!(switch(&mut world, "smooth")["error"].is_string());
}

#[test]
fn switch_does_not_wait_for_a_core_that_ends_meanwhile() {
    let mut world = World::new(2);
    let request = Request::ProfileSet { name: "smooth".into() };
    let Answer::Later(ticket) = world.control.handle(&request, world.now) else { panic!() };
    let core = world.cores.pop().unwrap();
    core.link.finish(core.own);
    world.run(MS(40));
    let reply = world.control.take_answer(ticket, world.now).unwrap();
    assert_eq!((&reply["ok"], &reply["cores"][1]["ended"]), (&json!(true), &json!(true)));
}

#[test]
fn blocks_and_samples_of_each_core_are_added_up_and_blocks_go_round() {
    let mut world = World::new(2);
    for _ in 0..200 {
        *world.cores[0].own += 1;
        *world.cores[1].own += 10;
        world.cores[1].link.sample(&sample(1));
        world.run(MS(1));
    }
    world.run(MS(60));
    let kpis = world.control.kpis();
    assert_eq!(kpis.merged[&0], 200);
    assert_eq!(kpis.merged[&1], 2_000);
    assert_eq!(kpis.samples.get(&0), None);
    assert_eq!(kpis.samples[&1], 200);
    assert_eq!(world.status()["kpis"]["merged"], 2_200);
    assert_eq!(world.counter("samples", 1), 200);
}

#[test]
fn last_block_of_a_core_is_counted_after_its_end() {
    let mut world = World::new(1);
    world.run(MS(40));
    let mut core = world.cores.pop().unwrap();
    *core.own += 77;
    core.link.finish(core.own);
    world.run(MS(20));
    assert_eq!(world.control.kpis().merged[&0], 77);
    world.run(MS(5_000));
    assert!(world.control.all_ended(), "and nobody calls it stuck");
}

#[test]
fn lost_samples_are_counted_and_told_to_the_kpis() {
    let mut world = World::new(1);
    (0..100).for_each(|id| world.cores[0].link.sample(&sample(id)));
    world.run(MS(20));
    assert_eq!(world.counter("samples", 0), 64, "the length of the ring");
    assert_eq!(world.counter("samples_lost", 0), 36);
    assert_eq!(world.control.kpis().facts[0].samples_lost, 36);
    switch(&mut world, "contain");
    world.run(MS(20));
    assert_eq!(world.control.kpis().facts[0].profile, 2);
}

#[test]
fn stuck_core_ends_the_process_by_name_and_not_before_core_stall() {
    let mut world = World::new(2);
    world.run(MS(100));
    let mut stuck_since = None;
    let fatal = loop {
        world.step(false);
        world.cores[0].poll(world.now);
        if !world.now.0.is_multiple_of(MS(20).0) {
            continue;
        }
        // The tick before saw core 1 move, and so does the first one that looks.
        stuck_since.get_or_insert(world.now.saturating_sub(MS(20)));
        if let Err(fatal) = world.control.tick(world.now) {
            break fatal;
        }
        assert!(world.now < START.saturating_add(MS(2_000)), "nobody noticed");
    };
    let Fatal::CoreStuck { core, cpu, still, limit } = fatal.clone();
    assert_eq!((core, cpu, limit), (1, Some(11), MS(500)));
    assert_eq!(still, MS(500));
    assert_eq!(world.now.saturating_sub(stuck_since.unwrap()), MS(500));
    assert!(fatal.to_string().contains("core 1 (CPU 11)"), "{fatal}");
}

#[test]
fn shorter_stall_is_counted_and_its_end_seen() {
    let mut world = World::new(1);
    world.run(MS(100));
    for _ in 0..400 {
        world.step(false);
        if world.now.0.is_multiple_of(MS(20).0) {
            world.control.tick(world.now).unwrap();
        }
    }
    assert_eq!(world.counter("core_still", 0), 0, "it is not over");
    world.run(MS(1_000));
    assert_eq!(world.counter("core_still", 0), 1);
}

#[test]
fn a_stall_that_a_core_kept_is_shown_with_its_neighbours_and_all_are_counted() {
    let mut settings = common::settings();
    settings.stall_threshold = MS(1);
    let mut world = World::of(settings, 2);
    world.run(MS(100));
    assert!(world.cores.iter().all(|core| core.stall_threshold == Some(MS(1))), "they are told");
    let row = |ended_at, length| TurnRow { ended_at, length, packets: 3, held: Some(8) };
    let mut stall = Stall::new(row(world.now, MS(400)));
    stall.follow(row(world.now.saturating_add(Nanos(90)), Nanos(90)));
    let link = &mut world.cores[1].link;
    link.stalled(MS(400));
    link.keep(&stall);
    link.stalled(MS(5));
    link.not_kept();
    let request = Request::Stalls { max: None };
    let Answer::Now(shown) = world.control.handle(&request, world.now) else { panic!() };
    assert_eq!(shown["threshold_ns"], MS(1).0);
    assert_eq!(
        shown["cores"][1],
        json!({"core": 1, "cpu": 11, "stalls": 2, "not_kept": 1, "longest_ns": MS(400).0})
    );
    let [shown] = &shown["stalls"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!((&shown["core"], &shown["length_ns"]), (&json!(1), &json!(MS(400).0)));
    assert_eq!((&shown["held"], &shown["after"][0]["length_ns"]), (&json!(8), &json!(90)));
    assert_eq!(world.counter("core_stalls", 1), 2);
    assert_eq!(world.counter("core_stalls_not_kept", 1), 1);
    assert_eq!(world.counter("core_stall_longest_ns", 1), MS(400).0);
    assert_eq!(world.counter("core_stalls", 0), 0);
}

#[test]
fn stopped_process_is_not_a_stuck_core() {
    let mut world = World::new(1);
    world.run(MS(100));
    // Everything stood still, control too; control wakes up first.
    world.now = world.now.saturating_add(MS(60_000));
    world.control.tick(world.now).unwrap();
    world.run(MS(100));
}

#[test]
fn core_that_has_not_started_is_not_stuck() {
    let settings = common::settings();
    let normal = Box::new(settings.profiles[0].clone());
    let (_worker, end) = dataplane::channel::link(8, 8, normal, Box::new(0));
    let cores = vec![control::controller::Core::new(end, None, &settings)];
    let mut control = control::controller::Controller::new(
        settings,
        cores,
        common::Counting::default(),
        Box::new(common::Words::default()),
        Box::new(common::Hand::new()),
    );
    (0..100).for_each(|n| control.tick(START.saturating_add(MS(20 * n))).unwrap());
}

#[test]
fn clock_model_reaches_every_core() {
    let mut world = World::new(2);
    let model = TscModel::new(Cycles(7), Nanos(9), 2_000_000_000);
    world.clock.offer(model);
    world.run(MS(22));
    assert!(world.cores.iter().all(|core| core.clock == Some(model)));
}

#[test]
fn restarted_control_takes_up_what_the_cores_have_in_force() {
    let mut world = World::new(2);
    switch(&mut world, "smooth");
    world.control.recover(world.now);
    assert_eq!(world.status()["profile"]["pinned"], "smooth");
    world.run(MS(12_000));
    assert_eq!(in_force(&world), ["smooth", "smooth"], "its lease is renewed again");
    assert_eq!(world.status()["counters"]["control_restarts"], 1);
}

#[test]
fn restarted_control_returns_cores_that_disagree_to_normal() {
    let mut world = World::new(2);
    let request = Request::ProfileSet { name: "smooth".into() };
    world.control.handle(&request, world.now);
    world.now = world.now.saturating_add(MS(1));
    world.cores[0].poll(world.now);
    world.control.recover(world.now);
    world.run(MS(40));
    assert_eq!(in_force(&world), ["normal", "normal"]);
    assert_eq!(world.status()["profile"]["pinned"], Value::Null);
}

#[test]
fn stop_words_pass_through_and_show_what_still_holds() {
    let mut world = World::new(1);
    let mut say = |word, scope: &str| {
        let request = Request::StopWord { word, scope: scope.into() };
        match world.control.handle(&request, world.now) {
            Answer::Now(value) => value,
            later => panic!("{later:?}"),
        }
    };
    assert_eq!(say(Word::Halt, "all")["state"], "halt");
    let reply = say(Word::Resume, "venue:X");
    assert_eq!(reply["state"], "halt");
    assert_eq!(reply["held_by"], json!({"all": "halt"}));
    assert!(say(Word::Halt, "class:nothing")["error"].is_string());
    let status = world.status();
    assert_eq!(status["stop_words"], json!({"all": "halt"}), "its own word runs");
    // The same as numbers, for every surface.
    let point = |name: &str, label: &str, word: &str| {
        let rows = status["counters"][name].as_array().unwrap();
        let is = |row: &&Value| row["scope"] == "venue:X" && row[label] == word;
        rows.iter().find(is).unwrap()["value"].clone()
    };
    assert_eq!(point("stop_word", "word", "running"), 1);
    assert_eq!(point("stop_word", "word", "halt"), 0);
    assert_eq!(point("stop_state", "state", "running"), 0);
    assert_eq!(point("stop_state", "state", "halt"), 1);
    assert_eq!(
        status["counters"]["stop_held_by"],
        json!([{"scope": "venue:X", "by": "all", "word": "halt", "value": 1}])
    );
}

#[test]
fn alarm_storm_does_not_hide_the_answer_to_a_switch() {
    let mut world = World::new(1);
    let now = world.now;
    (0..1_000).for_each(|_| world.cores[0].link.alarm(pool_alarm(now)));
    assert_eq!(switch(&mut world, "smooth")["ok"], true);
    assert_eq!(world.counter("alarm_pool_empty_packets", 0), 16, "the room for alarms");
    assert_eq!(world.counter("events_lost", 0), 984);
}

#[test]
fn one_seeded_world_gives_one_status() {
    let run = || {
        let mut world = World::new(2);
        world.run(MS(100));
        switch(&mut world, "contain");
        world.run(MS(333));
        (world.status().to_string(), world.control.snapshot().metrics())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_class_past_its_budget_is_asked_for_less_and_then_not() {
    let mut world = World::new(2);
    world.run(MS(100));
    let said = |world: &mut World| {
        let Answer::Now(said) = world.control.handle(&Request::Advice {}, world.now) else {
            panic!()
        };
        assert_eq!(said["at_ns"], world.now.0);
        said["advice"].as_array().unwrap().clone()
    };
    let first = said(&mut world);
    assert_eq!(first.len(), 2, "one for each class: {first:?}");
    assert_eq!(
        (&first[0]["scope"], &first[0]["backpressure"]),
        (&json!("class:orders"), &json!(false))
    );
    let at = world.now;
    world.cores[1].link.alarm(Event::Backpressure { class: 0, at });
    world.run(MS(40));
    let asks = said(&mut world);
    assert_eq!((&asks[0]["backpressure"], &asks[0]["sequence"]), (&json!(true), &json!(1)));
    assert_eq!(asks[1]["backpressure"], false);
    assert_eq!(world.status()["counters"]["alarm_backpressure"][0]["class"], "orders");
    assert_eq!(world.status()["counters"]["advice_active"][0]["value"], 1);
    world.run(MS(600));
    let over = said(&mut world);
    assert_eq!((&over[0]["backpressure"], &over[0]["sequence"]), (&json!(false), &json!(2)));
    // Without control nobody is advised anything, whatever was said last.
    world.cores[0].link.alarm(Event::Backpressure { class: 0, at });
    world.run(MS(40));
    assert_eq!(said(&mut world)[0]["backpressure"], true);
    world.run_without_control(MS(1_100));
    assert_eq!(said(&mut world)[0]["backpressure"], false);
}
