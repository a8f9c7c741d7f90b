//! The gateway under a service manager: what it is told, and what becomes of a data core that stands still.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::control_frozen::freeze;
use crate::gateway::{Gateway, Home, assert_sound, is_there};

/// What a manager asks for, in microseconds: a ping every 100 ms, then.
const WATCHDOG_US: &str = "400000";
/// Longer than any of it takes: control counts two ticks of stillness for each look at most, so where it seldom gets
/// its CPU `core_stall` is a multiple of itself.
const WAIT: Duration = Duration::from_secs(120);
/// Longer than a busy machine takes the CPU of a test away.
const CORE_STALL: Duration = Duration::from_secs(12);
/// A part of it.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// A service manager: the socket on which it is told.
struct Manager(UnixDatagram);

impl Manager {
    /// One for the gateways of `home`, whose cores may stand still for [`CORE_STALL`].
    fn of(home: &mut Home) -> Self {
        let path = home.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        home.environment.push(("NOTIFY_SOCKET", path.to_str().unwrap().to_owned()));
        home.environment.push(("WATCHDOG_USEC", WATCHDOG_US.to_owned()));
        let stall = format!("core_stall = \"{}s\"", CORE_STALL.as_secs());
        home.edits.push(("core_stall = \"30s\"", stall));
        Self(socket)
    }

    /// The next message, if there is one in a while.
    fn hears(&self) -> Option<String> {
        let mut bytes = [0; 4_096];
        let length = self.0.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The next message that begins with `start`; what comes before it is passed over.
    fn waits_for(&self, start: &str, gateway: &Gateway<'_>) -> String {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(message) = self.hears().filter(|message| message.starts_with(start)) {
                return message;
            }
            assert!(Instant::now() < deadline, "no {start}: {}", gateway.said());
        }
    }

    /// How many pings come in `time`.
    fn pings_in(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut pings = 0;
        while Instant::now() < until {
            pings += usize::from(self.hears().is_some_and(|message| message == "WATCHDOG=1"));
        }
        pings
    }
}

#[test]
fn a_manager_is_told_when_it_forwards_reloads_lives_and_ends() {
    let mut home = Home::new();
    let manager = Manager::of(&mut home);
    let gateway = home.start(&home.fed("passthrough", "orders"));
    assert_eq!(
        manager.waits_for("READY=1", &gateway),
        "READY=1\nSTATUS=forwards; state passthrough"
    );
    manager.waits_for("WATCHDOG=1", &gateway);
    gateway.signal(Signal::HUP);
    manager.waits_for("RELOADING=1\nMONOTONIC_USEC=", &gateway);
    let reloaded = manager.waits_for("READY=1", &gateway);
    assert!(reloaded.contains("is in force"), "{reloaded}");
    assert_sound(&gateway.end());
    let said = std::iter::from_fn(|| manager.hears());
    let ended: Vec<_> = said.filter(|message| message.starts_with("STOPPING=1")).collect();
    assert_eq!(ended, ["STOPPING=1\nSTATUS=drains and ends"]);
}

#[test]
fn a_short_stall_is_reported_and_a_long_one_starves_the_watchdog_and_ends_in_a_restart() {
    let mut home = Home::new();
    let manager = Manager::of(&mut home);
    let mut gateway = home.start(&home.fed("running", "orders"));
    home.ask_json(&["halt", "--scope", "class:orders"]);
    manager.waits_for("WATCHDOG=1", &gateway);

    // Shorter than core_stall: no ping while it lasts, then all is as before.
    let seen = gateway.counter("core_still");
    let Some(frozen) = freeze(&gateway, "wp-data") else { return };
    // What was under way when the core stopped: a look of control, and a ping on its way.
    manager.pings_in(A_WHILE);
    assert_eq!(manager.pings_in(A_WHILE), 0, "pings of a gateway whose core stands still");
    drop(frozen);
    manager.waits_for("WATCHDOG=1", &gateway);
    let deadline = Instant::now() + WAIT;
    while gateway.counter("core_still") == seen {
        assert!(Instant::now() < deadline, "not seen: {}", gateway.said());
    }
    assert!(gateway.said().contains("core moves again"), "{}", gateway.said());
    assert!(gateway.flows("cancels"));

    // Longer.
    let frozen = freeze(&gateway, "wp-data");
    manager.pings_in(A_WHILE);
    let ended = manager.waits_for("STOPPING=1", &gateway);
    assert!(ended.contains("data core 0") && ended.contains("no progress"), "{ended}");
    assert_eq!(manager.pings_in(A_WHILE), 0);
    drop(frozen);
    assert_eq!(gateway.wait(), Some(1), "{}", gateway.said());

    // What a manager does then.
    let gateway = home.start(&home.fed("passthrough", "orders"));
    assert_eq!(gateway.stop_words(), json!({"all": "passthrough", "class:orders": "halt"}));
    let ready = manager.waits_for("READY=1", &gateway);
    assert!(ready.contains("halted as it was left: class:orders"), "{ready}");
    assert!(!gateway.flows("orders") && gateway.flows("cancels"));
    gateway.end();
}

#[test]
fn the_journal_is_told_how_grave_a_line_is() {
    let mut home = Home::new();
    let log = home.path("log");
    fs::write(&log, "").unwrap();
    let found = fs::metadata(&log).unwrap();
    home.environment.push(("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino())));
    let gateway = home.start(&home.fed("running", "orders"));
    home.ask_json(&["halt"]);
    let said = gateway.said();
    gateway.end();
    assert!(said.lines().any(|line| line.starts_with("<6>gw-safety forwards")), "{said}");
    assert!(said.lines().all(|line| line.starts_with('<')), "{said}");
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    if !is_there("systemd-analyze") {
        println!("skipped: systemd-analyze is not installed");
        return;
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/wirepace@.service");
    let text = fs::read_to_string(unit).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wirepace@gw1.service");
    // The program and its manual are not installed here.
    let text = text.replace("/usr/bin/wirepace", env!("CARGO_BIN_EXE_wirepace"));
    fs::write(&path, text.replace("Documentation=", "# Documentation=")).unwrap();
    let run = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    // It also judges the units of the host.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("wirepace")).collect();
    assert!(run.status.success() && ours.is_empty(), "{said}");
}
