//! The control thread does not run: stopped by a debugger's means, as if it hung in a system call.

use std::fs;
use std::time::{Duration, Instant};

use dataplane::stop_page::{Scope, StopPage};
use model::stop::StopWord;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;
use serde_json::json;

use crate::gateway::{Gateway, Home, assert_sound, page_of, text};

/// A thread that is stopped; it goes on when this is dropped. Must be dropped by the thread that made
/// it.
pub struct Frozen(Pid);

/// Stops the control thread of `gateway`. `None` where the system lets nobody trace.
pub fn freeze_control(gateway: &Gateway<'_>) -> Option<Frozen> {
    freeze(gateway, "wp-control")
}

/// The same of the first thread whose name begins with `name`.
pub fn freeze(gateway: &Gateway<'_>, name: &str) -> Option<Frozen> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.child.id())).unwrap();
    let task = tasks
        .map(|task| task.unwrap().path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|c| c.starts_with(name)))
        .unwrap_or_else(|| panic!("no thread {name}"));
    let thread = Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap());
    if let Err(error) = ptrace::seize(thread, ptrace::Options::empty()) {
        println!("skipped: this system does not let a thread be stopped ({error})");
        return None;
    }
    ptrace::interrupt(thread).unwrap();
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    Some(Frozen(thread))
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if ptrace::detach(self.0, None).is_err() {
            // It is dead, and its process cannot be reaped before its tracer has looked at it.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}

#[test]
fn stop_words_work_with_the_control_thread_stopped() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    assert!(gateway.flows("orders"));
    let Some(frozen) = freeze_control(&gateway) else { return };

    let began = Instant::now();
    let reply = home.ask_json(&["halt", "--scope", "class:orders", "--direct"]);
    println!("halt --direct with control stopped: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    assert_eq!(reply["state"], "halt");
    // A resume that the operator was told has failed must not be obeyed when control is back.
    let asked = home.ask(&["resume", "--scope", "class:orders"]);
    assert_eq!(asked.status.code(), Some(1));
    let said = text(&asked.stderr);
    assert!(said.contains("the control thread is stuck") && said.contains("--direct"), "{said}");
    gateway.signal(Signal::USR2);
    let page = StopPage::open_existing(&page_of(&home)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !page.describe().words.contains(&(Scope::All, StopWord::Passthrough)) {
        assert!(Instant::now() < deadline, "SIGUSR2 has no effect");
        std::thread::sleep(Duration::from_millis(5));
    }

    drop(frozen);
    let words = gateway.stop_words();
    assert_eq!(words, json!({"all": "passthrough", "class:orders": "halt"}), "{}", gateway.said());
    assert!(!gateway.flows("orders") && gateway.flows("cancels"));
    assert_sound(&gateway.end());
}

#[test]
fn sigterm_ends_a_gateway_whose_control_thread_hangs() {
    let home = Home::new();
    let mut gateway = home.start(&home.fed("running", "orders"));
    let Some(frozen) = freeze_control(&gateway) else { return };
    gateway.signal(Signal::TERM);
    // It ends by itself; it can be reaped once its thread is let go.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !gateway.said().contains("the control thread hangs") {
        assert!(Instant::now() < deadline, "it hangs: {}", gateway.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(frozen);
    assert_eq!(gateway.wait(), Some(1));
}

/// Nobody stands on a control thread for longer than two leases.
const FROZEN: Duration = Duration::from_secs(10);

#[test]
fn ten_seconds_without_control_end_a_profile_and_cost_no_packet() {
    let home = Home::new();
    let gateway = home.start(&home.fed("running", "orders"));
    assert!(gateway.flows("orders"));
    assert_eq!(home.ask_json(&["profile", "set", "contain"])["ok"], true);
    let before = ["samples", "samples_lost", "lease_expired"].map(|name| gateway.counter(name));
    let left = ["orders", "cancels"].map(|class| gateway.left(class));
    let Some(frozen) = freeze_control(&gateway) else { return };
    std::thread::sleep(FROZEN);
    drop(frozen);

    let deadline = Instant::now() + Duration::from_secs(20);
    while gateway.counter("lease_expired") == before[2] {
        assert!(Instant::now() < deadline, "the lease runs on: {}", gateway.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(gateway.counter("lease_expired"), before[2] + 1, "once");
    let status = home.ask_json(&["status"]);
    assert_eq!(status["profile"]["in_force"], json!(["normal"]), "{status}");
    assert_eq!(status["profile"]["pinned"], json!(null));
    // The aggregates were kept on the core: what left meanwhile is in them.
    for (class, left) in ["orders", "cancels"].into_iter().zip(left) {
        assert!(gateway.left(class) > left + 10_000, "{class}");
    }
    assert!(gateway.counter("samples_lost") > before[1], "nobody took samples");
    let samples = gateway.counter("samples");
    assert!(samples > before[0]);
    assert!(gateway.flows("orders") && gateway.flows("cancels"));
    assert!(gateway.counter("samples") > samples, "KPIs have samples again");
    assert_sound(&gateway.end());
}
