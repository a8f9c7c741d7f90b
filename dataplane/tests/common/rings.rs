//! A gateway between two net_rings, stepped by a test that plays control: its config, and what control does with
//! what the core gives it.

use dataplane::channel::ControlLink;
use model::config::Config;
use model::kpi::Block;
use model::time::Nanos;

/// From `net_ring0` inside to `net_ring1` at the venue, each port with keys of its own; `rest` has classes, rules
/// and profiles. A pool of a test is smaller than the config's: its budgets decide, not a reserve.
pub fn config(flows_max: u32, [inside, venue]: [&str; 2], rest: &str) -> Config {
    let text = format!(
        r#"
[gateway]
name = "rings"
clock = "tsc"
flows_max = {flows_max}
start_state = "running"
[[port]]
name = "in"
side = "inside"
device = "net_ring0"
{inside}
[[port]]
name = "out"
side = "venue"
device = "net_ring1"
{venue}
[[pair]]
inside = "in"
venue = "out"
core = 1
{rest}"#
    );
    let mut config = Config::from_toml("rings.toml", &text).unwrap_or_else(|e| panic!("{e:?}"));
    config.dpdk.pool_reserve = 0;
    config
}

/// Every odd switch pins the second profile, the others take it back. Refused while the worker has too many on
/// their way: the next one will do.
pub fn switch(control: &mut ControlLink<Block>, config: &Config, number: u64) {
    let _ = match number % 2 {
        1 => control.set_profile(Box::new(config.profiles[1].clone()), Nanos::MAX),
        _ => control.set_normal(),
    };
}

/// Takes in everything that is there; events are left.
pub fn take_in(control: &mut ControlLink<Block>, block: &mut Block) {
    while let Some(mut full) = control.take_block() {
        block.merge(&full);
        full.clear();
        control.give_block(full);
    }
    while control.take_profile().is_some() {}
    while control.take_sample().is_some() {}
}

/// The same, events and all.
pub fn take_everything(control: &mut ControlLink<Block>, block: &mut Block) {
    take_in(control, block);
    while control.take_event().is_some() {}
}
