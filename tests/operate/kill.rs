//! kill -9 at random moments while configs are applied: what stands on disk is the old config or the new
//! one, whole, and the next start goes by it. `WIREPACE_KILLS` says how often; `scripts/kill-config` asks
//! for 200.

use std::process::{Command, Stdio};
use std::time::Duration;

use model::config::live::Sourced;
use rustix::process::Signal;

use crate::gateway::WIREPACE;
use crate::place::Place;

/// Times without `WIREPACE_KILLS`.
const KILLS: u32 = 6;

#[test]
fn killed_at_any_moment_the_config_on_disk_is_the_old_or_the_new_one() {
    let kills = std::env::var("WIREPACE_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let place = Place::new("killed");
    let (mut random, mut news) = (0x9e37_79b9_u32, 0);
    let mut old = place.text();
    place.write(&old);
    for kill in 0..kills {
        let gateway = place.start();
        assert_eq!(place.confirmed().last(), Some(&old), "what it started by is confirmed");
        let new = place.with_rate(&format!("{}k", 40_000 + kill));
        place.write(&new);
        let mut apply = Command::new(WIREPACE)
            .args(["config", "apply", "--config"])
            .arg(place.file())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // xorshift: from before the request to after the answer.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        std::thread::sleep(Duration::from_micros(u64::from(random % 120_000)));
        gateway.signal(Signal::KILL);
        gateway.ended();
        apply.wait().unwrap();
        let on_disk = place.confirmed();
        for text in &on_disk {
            Sourced::read("on disk", text).unwrap_or_else(|errors| panic!("{errors:?}"));
        }
        let last = on_disk.last().unwrap();
        assert!(*last == old || *last == new, "neither the old one nor the new one: {last}");
        if *last == new {
            news += 1;
            old = new;
        }
        // The file of the operator says the new one: it is taken if and only if it was confirmed, or
        // never reached the gateway. So that the next round begins by a known one:
        place.write(&old);
    }
    println!("{kills} kills: {news} times the new config, {} times the old one", kills - news);
}
