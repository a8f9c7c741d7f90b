//! A gateway as a process of its own, fed at full speed by a capture that never ends.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nobody, where the tests run as root.
const NOBODY: u32 = 65_534;
/// An ordinary user that nobody else is.
const USER: u32 = 47_100;
const WAIT: Duration = Duration::from_secs(60);

/// Where a gateway has its config, its state and its capture. One gateway at a time: each has a core
/// that never sleeps.
pub struct Home {
    pub dir: tempfile::TempDir,
    program: PathBuf,
    /// Everything runs as nobody.
    as_nobody: bool,
    /// No `state_dir` in the config: its place comes from XDG_RUNTIME_DIR.
    state_from_environment: bool,
    /// Texts of the config and what stands in their place.
    pub edits: Vec<(&'static str, String)>,
    /// Of every gateway.
    pub environment: Vec<(&'static str, String)>,
    _turn: MutexGuard<'static, ()>,
}

/// What a config says beside what all of them do.
pub struct Setup<'a> {
    pub start_state: &'a str,
    /// Name of the class of orders.
    pub orders: &'a str,
    pub inside: String,
    pub venue: String,
}

impl Home {
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dir = tempfile::tempdir().unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_wirepace"));
        let home = Self {
            dir,
            program,
            as_nobody: false,
            state_from_environment: false,
            edits: Vec::new(),
            environment: Vec::new(),
            _turn: turn,
        };
        fs::write(home.path("in.pcap"), capture()).unwrap();
        let runtime = home.path("runtime");
        fs::create_dir(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    /// One in which everything runs as a user without privileges, also where the tests run as root, and
    /// finds its place by XDG_RUNTIME_DIR.
    pub fn unprivileged() -> Self {
        let mut home = Self::new();
        home.state_from_environment = true;
        if rustix::process::geteuid().is_root() {
            home.open_to_others();
            chown(home.path("runtime"), Some(NOBODY), Some(NOBODY)).unwrap();
            home.as_nobody = true;
        }
        home
    }

    /// Other users come as far as the program and the state directory; the build's may be closed to them.
    pub fn open_to_others(&mut self) {
        let program = self.path("wirepace");
        fs::copy(&self.program, &program).unwrap();
        for path in [&program, self.dir.path()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.program = program;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The endless capture on one side, nothing on the other.
    pub fn fed<'a>(&self, start_state: &'a str, orders: &'a str) -> Setup<'a> {
        let capture = self.path("in.pcap");
        let inside = format!("net_pcap0,rx_pcap={},infinite_rx=1", capture.display());
        Setup { start_state, orders, inside, venue: "net_null0,no-rx=1".to_owned() }
    }

    /// Writes the config and gives its path.
    pub fn write(&self, setup: &Setup<'_>) -> PathBuf {
        let Setup { start_state, orders, inside, venue } = setup;
        let state = self.path("state");
        let state_dir = if self.state_from_environment {
            String::new()
        } else {
            format!("state_dir = \"{}\"", state.display())
        };
        let cpus = rustix::thread::sched_getaffinity(None).unwrap();
        let cpu = (0..1_024).rev().find(|&cpu| cpus.is_set(cpu)).unwrap();
        let mut text = format!(
            r#"
[gateway]
name = "gw-safety"
{state_dir}
start_state = "{start_state}"
flows_max = 1024
core_stall = "30s"            # other tests may have the CPU
[dpdk]
memory = "64MiB"
hugepages = "never"
mbufs = 8191
[control]
http = "off"
tick = "20ms"
sample_one_in = 64
sample_ring = 128             # full soon where control takes nothing
[[port]]
name = "in"
side = "inside"
device = "{inside}"
rx_descriptors = 256
tx_descriptors = 256
[[port]]
name = "out"
side = "venue"
device = "{venue}"
rx_descriptors = 256
tx_descriptors = 256
[[pair]]
inside = "in"
venue = "out"
core = {cpu}
[default_class]
inside = "other"
venue = "back"
[[class]]
name = "{orders}"
kind = "order"
queue_packets = 512
[[class]]
name = "cancels"
kind = "cancel"
queue_packets = 512
[[class]]
name = "fix"
kind = "mixed"
queue_packets = 512
halt_mixed = "block"
cancel_on_disconnect = true
[[class]]
name = "other"
queue_packets = 256
[[class]]
name = "back"
from = "venue"
queue_packets = 256
[[rule]]
class = "{orders}"
protocol = "udp"
dst_port = "7000-7009"
venue = "XCME"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = 7010
venue = "XCME"
[[rule]]
class = "fix"
protocol = "tcp"
dst_port = 9001
venue = "XCME"
[[profile]]
name = "contain"
[[profile.class]]
name = "{orders}"
queue_packets = 256
"#
        );
        for (from, to) in &self.edits {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let path = self.path("gateway.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// A command of an ordinary user whose groups are `groups`, the first of them the primary one.
    pub fn command_of_user(&self, groups: &[u32], program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let (reuid, regid) = (USER.to_string(), groups[0].to_string());
        let others: Vec<_> = groups.iter().map(u32::to_string).collect();
        command.args(["--reuid", &reuid, "--regid", &regid, "--groups", &others.join(","), "--"]);
        command.arg(program).args(arguments).env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// What [`Home::ask`] does, by such a user.
    pub fn ask_as(&self, groups: &[u32], arguments: &[&str]) -> Output {
        let config = self.path("gateway.toml");
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        self.command_of_user(groups, &self.program, &all).output().unwrap()
    }

    /// A command with the user and the environment of this home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("XDG_RUNTIME_DIR", self.path("runtime"));
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a command of the operator against the gateway of this home.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let config = self.path("gateway.toml");
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        self.command(&all).output().unwrap()
    }

    /// The same with `--json`; it has to succeed.
    pub fn ask_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.ask(&all);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the gateway of `setup` and waits until it answers.
    pub fn start(&self, setup: &Setup<'_>) -> Gateway<'_> {
        let mut gateway = self.spawn(setup);
        let deadline = Instant::now() + WAIT;
        while self.ask(&["status", "--json"]).status.code() != Some(0) {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", gateway.said());
            }
            assert!(Instant::now() < deadline, "it does not answer: {}", gateway.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&self, setup: &Setup<'_>) -> Gateway<'_> {
        let config = self.write(setup);
        let log = self.path("log");
        let child = self
            .command(&["run", "--config", config.to_str().unwrap(), "--json"])
            .stdout(Stdio::piped())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Gateway { child, home: self, log, reaped: false }
    }
}

/// A running gateway; killed when it is dropped.
pub struct Gateway<'a> {
    pub child: Child,
    pub home: &'a Home,
    log: PathBuf,
    reaped: bool,
}

impl Gateway<'_> {
    /// What it wrote to stderr.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Packets of `class` that have left towards the venue.
    pub fn left(&self, class: &str) -> u64 {
        let status = self.home.ask_json(&["status"]);
        let rows = status["counters"]["packets_out"].as_array().cloned().unwrap_or_default();
        let of_class = rows.iter().filter(|row| row["class"] == class && row["port"] == "out");
        of_class.map(|row| row["value"].as_u64().unwrap()).sum()
    }

    /// The sum over all labels of a counter that control keeps.
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.home.ask_json(&["status"]);
        let rows = status["counters"][name].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["value"].as_u64()).sum()
    }

    /// Whether packets of `class` leave, while many of all classes come. Control has read the counters anew before
    /// and after, however little the data core has of its CPU.
    pub fn flows(&self, class: &str) -> bool {
        let tick = || {
            let status = self.home.ask_json(&["status"]);
            status["counters"]["control_ticks"].as_u64().unwrap()
        };
        let past_ticks = || {
            let from = tick();
            let deadline = Instant::now() + WAIT;
            while tick() < from + 4 {
                assert!(Instant::now() < deadline, "control does not tick");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        past_ticks();
        let (before, came) = (self.left(class), self.counter("packets_in"));
        let deadline = Instant::now() + WAIT;
        while self.counter("packets_in") < came + 1_000 {
            assert!(Instant::now() < deadline, "nothing comes: {}", self.said());
        }
        past_ticks();
        self.left(class) > before
    }

    pub fn stop_words(&self) -> Value {
        self.home.ask_json(&["status"])["stop_words"].clone()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reaped = true;
    }

    /// SIGTERM; gives the summary.
    pub fn end(mut self) -> Value {
        self.signal(Signal::TERM);
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let status = self.wait();
        assert_eq!(status, Some(0), "{}", self.said());
        serde_json::from_str(&out).unwrap()
    }

    /// Waits for its end; the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reaped = true;
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            // Nothing more can be done about a process that cannot be killed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Whether a program is installed.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The books of a summary balance and nothing has leaked.
pub fn assert_sound(summary: &Value) {
    let n = |key: &str| summary[key].as_u64().unwrap();
    let dropped: u64 =
        summary["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(n("packets_in"), n("packets_out") + dropped + n("held"));
    assert_eq!((n("held"), n("early"), n("mbufs_leaked")), (0, 0, 0));
}

/// Four orders in two flows, two cancels, a mixed session's data and its bare acknowledgement.
fn capture() -> Vec<u8> {
    let mut frames = vec![
        udp(1, 7_000),
        udp(2, 7_001),
        udp(1, 7_010),
        udp(1, 7_000),
        tcp(1, 9_001, 40),
        udp(2, 7_001),
        tcp(1, 9_001, 0),
        udp(2, 7_010),
    ];
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in &mut frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.append(frame);
    }
    file
}

pub fn udp(host: u8, port: u16) -> Vec<u8> {
    let mut above = transport_ports(port);
    above.extend([0, 8 + 40, 0, 0]);
    above.extend([0; 40]);
    ipv4(host, 17, &above)
}

fn tcp(host: u8, port: u16, payload: usize) -> Vec<u8> {
    let mut above = transport_ports(port);
    above.extend([0; 8]);
    above.extend([5 << 4, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    above.resize(20 + payload, 0);
    ipv4(host, 6, &above)
}

fn transport_ports(port: u16) -> Vec<u8> {
    let mut bytes = 40_000u16.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes
}

fn ipv4(host: u8, protocol: u8, above: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend((20 + above.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 1, 0, host, 10, 9, 0, 1]);
    frame.extend(above);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The control socket of the gateway of `home`.
pub fn socket_of(home: &Home) -> PathBuf {
    page_of(home).with_file_name("control.sock")
}

/// The stop page of the gateway of `home`, as `--direct` maps it.
pub fn page_of(home: &Home) -> PathBuf {
    let state = if home.state_from_environment { "runtime/wirepace" } else { "state" };
    home.path(state).join("gw-safety/stop")
}
