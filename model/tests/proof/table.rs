//! What is printed.

use super::case::Row;
use super::tally::{Tally, WAITS};
use model::drop_reason::DropReason;
use model::sample::Release;

pub struct Table {
    all: Tally,
    lines: Vec<String>,
}

fn least(slack: [Option<i128>; 2]) -> String {
    slack.map(|s| s.map_or("-".into(), |s| s.to_string())).join("/")
}

impl Table {
    pub fn new() -> Self {
        Self { all: Tally::default(), lines: Vec::new() }
    }

    pub fn row(&mut self, row: Row, t: &Tally, rate_error_ppm: f64) {
        let [flow, class, port] = t.slack.map(least);
        let line = format!(
            "{:<10} {:>3} {:>7} {:>9} {:>9} {:>7.4} {:>9} {:>9} {:>9} {:>9} {:>9.1} {:>6} {:>11}",
            row.lateness.name(),
            if row.jitter { "on" } else { "off" },
            row.flows,
            t.arrived,
            t.waits[0],
            t.slot_share_max as f64 / 1e6,
            flow,
            class,
            port,
            format!("{}/{}", t.fullest.0, t.fullest.1),
            rate_error_ppm,
            t.exempt_hold_max,
            format!("{}/{}", t.inflight.0, t.inflight.1),
        );
        println!("{line}");
        self.lines.push(line);
        self.all.add(t);
    }

    pub fn print(&self) {
        println!(
            "\nlate: worst t_tx - t_eligible in slots, waits that are allowed taken off; slack: least \
             room after a governed departure,\nwire bytes/messages; window: fullest of any venue limit; \
             rate: worst error of a backlogged class over any 100 ms beyond\none packet, ppm; hold: \
             longest wait of an exempt packet that could go, ns; in flight: fullest, of its limit.\n\n\
             {:<10} {:>3} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>11}",
            "policy",
            "jit",
            "flows",
            "packets",
            "no wait",
            "late",
            "flow",
            "class",
            "port",
            "window",
            "rate ppm",
            "hold",
            "in flight",
        );
        self.lines.iter().for_each(|line| println!("{line}"));
        let t = &self.all;
        println!("\npackets {} departed {}", t.arrived, t.departed());
        for release in Release::ALL {
            println!("  left {:<12} {}", release.name(), t.releases[release as usize]);
        }
        for &reason in DropReason::ALL {
            if t.ends[reason as usize] > 0 {
                println!("  ended {:<16} {}", reason.name(), t.ends[reason as usize]);
            }
        }
        for wait in WAITS {
            let (n, worst) = (t.waits[wait as usize], t.lateness_max[wait as usize]);
            println!("  waited {:<8} {n}, after it at most {worst} ns", format!("{wait:?}"));
        }
        println!(
            "  jittered {} lifted {} in another class {} retransmitted {} switches {} turns without \
             room {} exempt under a limit {} coarse eligible {}",
            t.jittered,
            t.lifted,
            t.across_classes,
            t.retransmitted,
            t.switches,
            t.blocked_turns,
            t.exempt_limited,
            t.coarse,
        );
    }
}
