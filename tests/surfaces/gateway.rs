//! A gateway of a process of its own that takes a capture to its end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::telemetry::Client;

const WAIT: Duration = Duration::from_secs(60);

/// Killed when dropped. One at a time: each has a core that never sleeps.
pub struct Gateway {
    pub name: String,
    pub cpu: usize,
    dir: tempfile::TempDir,
    child: Child,
    http: u16,
    _turn: MutexGuard<'static, ()>,
}

impl Gateway {
    pub fn start(test: &str) -> Self {
        Self::new(test, true, false)
    }

    pub fn start_without_telemetry(test: &str) -> Self {
        Self::new(test, false, false)
    }

    /// One whose capture never ends, with more orders than it may send: their queue is past its budget.
    pub fn start_flooded(test: &str) -> Self {
        Self::new(test, false, true)
    }

    fn new(test: &str, telemetry: bool, flood: bool) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dir = tempfile::tempdir().unwrap();
        // DPDK names a directory outside of ours after it: no other run may have the same.
        let name = format!("{test}-{}", std::process::id());
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cpus = rustix::thread::sched_getaffinity(None).unwrap();
        let cpu = (0..1_024).rev().find(|&cpu| cpus.is_set(cpu)).unwrap();
        let capture = dir.path().join("in.pcap");
        fs::write(&capture, crate::gateway::capture()).unwrap();
        let state = dir.path().join("state");
        let (capture, state) = (capture.display(), state.display());
        let infinite = if flood { ",infinite_rx=1" } else { "" };
        let rate = if flood { "rate = \"1M\"" } else { "" };
        let hold = if flood { "max_hold = \"unlimited\"" } else { "" };
        let advice = dir.path().join("advice");
        let advice = advice.display();
        let text = format!(
            r#"
[gateway]
name = "{name}"
state_dir = "{state}"
start_state = "running"
flows_max = 1024
core_stall = "30s"            # other tests may have the CPU
[dpdk]
memory = "64MiB"
hugepages = "never"
mbufs = 8191
telemetry = {telemetry}
[control]
http = "127.0.0.1:{http}"
tick = "20ms"
sample_one_in = 16
advice_shm = "{advice}"
[[control.session]]
name = "event"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
[timeline]
directory = "{state}/timeline"
[[port]]
name = "in"
side = "inside"
device = "net_pcap0,rx_pcap={capture}{infinite}"
rx_descriptors = 256
tx_descriptors = 256
[[port]]
name = "out"
side = "venue"
device = "net_null0,no-rx=1"
rx_descriptors = 256
tx_descriptors = 256
rate = "1G"
burst = "64KiB"
[[pair]]
inside = "in"
venue = "out"
core = {cpu}
[default_class]
inside = "other"
venue = "back"
[[class]]
name = "orders"
kind = "order"
queue_packets = 512
{rate}
{hold}
[[class]]
name = "cancels"
kind = "cancel"
queue_packets = 512
[[class]]
name = "other"
queue_packets = 256
rate = "200M"
[[class]]
name = "back"
from = "venue"
queue_packets = 256
[[rule]]
class = "orders"
protocol = "udp"
dst_port = 7000
venue = "XCME"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = 7010
venue = "XCME"
"#
        );
        let config = dir.path().join("gateway.toml");
        fs::write(&config, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wirepace"))
            .args(["run", "--json", "--config", config.to_str().unwrap()])
            .env("XDG_RUNTIME_DIR", dir.path())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut gateway = Self { name, cpu, dir, child, http, _turn: turn };
        gateway.wait("forwarding", |gateway| gateway.log().contains(" forwards; "));
        gateway
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn wait(&mut self, what: &str, mut look: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !look(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "{what} does not come: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything has arrived, and control has taken the counts in.
    pub fn wait_until_still(&self) {
        let deadline = Instant::now() + WAIT;
        let sum = |name: &str, status: &Value| -> u64 {
            let rows = status["counters"][name].as_array().cloned().unwrap_or_default();
            rows.iter().map(|row| row["value"].as_u64().unwrap()).sum()
        };
        loop {
            let status = self.status();
            let [arrived, left, ended, held] =
                ["packets_in", "packets_out", "drops", "held"].map(|name| sum(name, &status));
            if arrived == PACKETS && left + ended == arrived && held == 0 {
                // What the core has still on its way comes with one of the next ticks, what the drivers
                // count within 100 ms, which are five.
                let ticks = |status: &Value| status["counters"]["control_ticks"].as_u64().unwrap();
                let settled = ticks(&status) + 10;
                while ticks(&self.status()) < settled {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return;
            }
            assert!(Instant::now() < deadline, "{arrived} of {PACKETS}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `wirepace status --json`.
    pub fn status(&self) -> Value {
        self.ask(&["status"])
    }

    /// `wirepace advice --json`.
    pub fn advice(&self) -> Value {
        self.ask(&["advice"])
    }

    /// `wirepace halt --scope scope`, through the control thread: it shows on every surface afterwards.
    pub fn halt(&self, scope: &str) {
        self.ask(&["halt", "--scope", scope]);
    }

    /// `wirepace top` on it, ten looks a second.
    pub fn top(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirepace"));
        command
            .args(["top", "--every", "100ms", "--config"])
            .arg(self.dir.path().join("gateway.toml"));
        command
    }

    /// Where its exporter serves `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    fn ask(&self, command: &[&str]) -> Value {
        let config = self.dir.path().join("gateway.toml");
        let output = Command::new(env!("CARGO_BIN_EXE_wirepace"))
            .args(command)
            .args(["--json", "--config", config.to_str().unwrap()])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}: {}", self.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The first event of `/v1/advice`.
    pub fn advice_event(&self) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        write!(stream, "GET /v1/advice HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        for line in BufReader::new(stream).lines() {
            if let Some(data) = line.unwrap().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
        panic!("the stream ended")
    }

    /// The page of advice, as it stands in its file now.
    pub fn advice_page(&self) -> Vec<AtomicU64> {
        let bytes = fs::read(self.dir.path().join("advice")).unwrap();
        bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word).into()).collect()
    }

    /// The files of its timeline that are complete, sorted.
    pub fn timeline(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.path().join("state/timeline")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The body of `GET path`.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Where DPDK puts its socket.
    pub fn telemetry_path(&self) -> PathBuf {
        let runtime = if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/run")
        } else {
            self.dir.path().to_owned()
        };
        runtime.join("dpdk").join(format!("wirepace-{}", self.name)).join("dpdk_telemetry.v2")
    }

    pub fn telemetry(&self) -> Client {
        Client::connect(&self.telemetry_path())
    }

    /// What DPDK's own client says to these requests.
    pub fn ask_with_dpdk(&self, requests: &[&str]) -> String {
        let mut client = Command::new("dpdk-telemetry.py")
            .args(["-f", &format!("wirepace-{}", self.name)])
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = requests.iter().map(|request| format!("{request}\n")).collect::<String>();
        client.stdin.take().unwrap().write_all(format!("{text}quit\n").as_bytes()).unwrap();
        String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap()
    }

    /// SIGTERM; gives the summary.
    pub fn finish(&mut self) -> Value {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Gone already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Frames of [`capture`].
const PACKETS: u64 = 100 + 40 + 7 + 60;

/// Orders, cancels, frames that are too short, and others.
fn capture() -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    let orders = (0..100).map(|n| udp(n, 7_000));
    let cancels = (0..40).map(|n| udp(n, 7_010));
    let runts = (0..7).map(|n| udp(n, 7_000)[..13].to_vec());
    let others = (0..60).map(|n| udp(n, 53));
    let mut count = 0;
    for frame in orders.chain(cancels).chain(runts).chain(others) {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
        count += 1;
    }
    assert_eq!(count, PACKETS);
    file
}

fn udp(host: u8, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend((20u16 + 8 + 40).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, host, 10, 9, 0, 1]);
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 8 + 40, 0, 0]);
    frame.extend([0; 40]);
    frame
}
