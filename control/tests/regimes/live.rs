//! Regimes of a config that is applied while the gateway runs.

use control::controller::Answer;
use control::live_config::{LiveConfig, Revisions};
use control::request::{ConfigText, Request};
use model::config::live::Sourced;
use model::regime::Mode;

use crate::gateway;
use crate::world::{CLASS, US, calm, feed};

#[test]
fn thresholds_that_are_applied_live_decide_from_the_next_tick() {
    let dir = tempfile::tempdir().unwrap();
    let regime = |confirm: u32| {
        format!(
            "[regime]\nallow = [\"orders\"]\n[[regime.machine]]\nname = \"pacing\"\nconfirm = {confirm}\n"
        )
    };
    let text = |confirm| gateway::text("orders", &format!("{CLASS}{}", regime(confirm)));
    let mut world = calm(&regime(10_000));
    let started = Sourced::read("t.toml", &text(10_000)).unwrap();
    let live = LiveConfig::started(Revisions::new(dir.path().join("config")), started);
    world.control = world.control.with_live_config(live);
    world.ask(&Request::Feed { values: vec![feed("replay", "passed", 1.0)] });
    assert_eq!(world.mode(Mode::Shadow, false)["ok"], true);
    world.run(30, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "CLEAN_FLOW");

    let apply =
        Request::ConfigApply { file: "t.toml".into(), text: ConfigText(text(3)), confirm_ns: None };
    let Answer::Later(ticket) = world.control.handle(&apply, world.now) else { panic!("at once?") };
    world.run(1, 100, 50, US(900));
    world.control.poll(world.now);
    let answer = world.control.take_answer(ticket, world.now).unwrap();
    assert_eq!(answer["confirmed"], true, "{answer}");
    world.run(4, 100, 50, US(900));
    assert_eq!(world.state("pacing"), "BURST_RELEASED");
}
