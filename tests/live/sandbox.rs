//! A place of its own for each test: namespaces that vanish with it, however it ends.
//!
//! [`sandboxed`] starts this program again for the one test under `unshare`, with network, mount and
//! process namespaces of its own and a fresh `/run`. What the test makes there (interfaces, named
//! namespaces, sockets, locks, processes) is gone when its process is, killed or not. The network
//! namespace that the test finds itself in is the gateway's; the hosts on either side get one each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Set for the process inside.
const INSIDE: &str = "WIREPACE_TEST_SANDBOX";
/// Longest that one test may take.
const TIME_MAX: Duration = Duration::from_secs(400);
/// Where the machine takes the data core's CPU away for longer than a device's ring is deep, packets
/// are lost that no gateway could have received. Such a run shows nothing and is made again, but only on a machine
/// that was busy ([`HELD_UP`]); a defect fails every time.
const ATTEMPTS: u32 = 3;
/// So begins the line on a gateway that ended by a signal that no test had sent: what no other attempt excuses.
const CRASHED: &str = "the gateway ended by signal ";
/// So begins the line on a test that had to wait for its CPU.
const HELD_UP: &str = "the test waited for its CPU for ";
/// What it has to wait for to be held up: on a machine that does nothing else it comes to some milliseconds.
const HELD_UP_MIN: Duration = Duration::from_millis(100);
/// Data cores poll without pause: one gateway at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `body` in namespaces of its own; `test` is the name of the calling test. Without root, or
/// without one of `tools`, prints why and does nothing.
pub fn sandboxed(test: &str, tools: &[&str], body: impl FnOnce()) {
    sandboxed_for(test, tools, TIME_MAX, ATTEMPTS, body);
}

/// The same for a test that may take so long, and is made so often until it passes.
pub fn sandboxed_for(
    test: &str,
    tools: &[&str],
    time_max: Duration,
    attempts: u32,
    body: impl FnOnce(),
) {
    if std::env::var_os(INSIDE).is_some() {
        command("mount -t tmpfs none /run");
        std::fs::create_dir_all(work_dir()).expect("a fresh tmpfs takes a directory");
        command("ip link set lo up");
        let _told = HeldUp;
        body();
        return;
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = ["timeout", "unshare", "mount", "ip"].iter().chain(tools).find(|t| !is_there(t));
    if let Some(tool) = missing {
        println!("skipped: {tool} is not installed");
        return;
    }
    let unshare = |program: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", &time_max.as_secs().to_string()]);
        command.args(["unshare", "--net", "--mount", "--pid", "--fork"]);
        command.args(["--kill-child", "--mount-proc", "--"]).args(program).env(INSIDE, "1");
        command.output().expect("timeout is there")
    };
    if !unshare(&["true"]).status.success() {
        println!("skipped: making namespaces needs root");
        return;
    }
    let this = std::env::current_exe().expect("a running program has a path");
    let this = this.to_str().expect("the path of a test is plain");
    let attempt = || {
        let run = unshare(&[this, "--exact", test, "--nocapture", "--test-threads=1"]);
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        // A name that fits no test would pass by running nothing.
        (run.status.success() && said.contains("1 passed"), format!("{}: {said}", run.status))
    };
    let (mut passed, mut said) = attempt();
    for again in 1..attempts {
        if passed || said.contains(CRASHED) || !said.contains(HELD_UP) {
            break;
        }
        println!("attempt {again} failed, tried again: {said}");
        (passed, said) = attempt();
    }
    assert!(passed, "{said}");
    let worth = |line: &&str| ["skipped", "soak:"].iter().any(|word| line.starts_with(word));
    said.lines().filter(worth).for_each(|line| println!("{line}"));
}

/// Tells at the end of a test, whichever that is, how long its thread was ready and did not run.
struct HeldUp;

impl Drop for HeldUp {
    fn drop(&mut self) {
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited_ns = schedstat.split_whitespace().nth(1).and_then(|ns| ns.parse().ok());
        let waited = Duration::from_nanos(waited_ns.unwrap_or(0));
        if waited >= HELD_UP_MIN {
            println!("{HELD_UP}{waited:?}");
        }
    }
}

/// Where a test keeps its files: private, in memory, gone with it.
pub fn work_dir() -> &'static Path {
    Path::new("/run/test")
}

/// Whether a program is installed.
pub fn is_there(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// Runs a program that must succeed; arguments are parted by single spaces. Gives its stdout.
pub fn command(line: &str) -> String {
    let mut words = line.split(' ');
    let program = words.next().and_then(find).unwrap_or_else(|| panic!("no program for {line}"));
    let run = Command::new(program).args(words).output().expect("it was found");
    assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}
