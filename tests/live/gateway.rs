//! `wirepace` as a process: started, watched, asked, ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The program under test.
pub const WIREPACE: &str = env!("CARGO_BIN_EXE_wirepace");
/// An ordinary user.
pub const NOBODY: u32 = 65534;
/// Longest that a start, an end or a command may take on a busy machine.
const WAIT: Duration = Duration::from_secs(60);

/// A copy of the program that others may run, and a directory of nobody for what it makes: the build's
/// directory may be closed to others.
pub fn for_nobody(dir: &Path) -> (PathBuf, PathBuf) {
    let (program, theirs) = (dir.join("wirepace"), dir.join("nobody"));
    fs::copy(WIREPACE, &program).expect("the program is there");
    fs::create_dir(&theirs).expect("the directory is ours");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).expect("just made");
    chown(&theirs, Some(NOBODY), Some(NOBODY)).expect("this is root");
    (program, theirs)
}

/// Waits for `what`, which must come.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {WAIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The first and the last CPU that this process may use: for control, and to poll on.
pub fn cpus() -> (usize, usize) {
    let mask = rustix::thread::sched_getaffinity(None).expect("a thread has a mask");
    let mut allowed = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu));
    let first = allowed.next().expect("this runs somewhere");
    (first, allowed.next_back().unwrap_or(first))
}

/// How to start it.
pub struct Start {
    config: PathBuf,
    command: Command,
    stderr: PathBuf,
}

impl Start {
    /// `wirepace run --config <dir>/<name>.toml --json`, with `config` in that file.
    pub fn new(dir: &Path, name: &str, config: &str) -> Self {
        let path = dir.join(format!("{name}.toml"));
        fs::write(&path, config).expect("the directory is ours");
        let stderr = dir.join(format!("{name}.log"));
        let mut command = Command::new(WIREPACE);
        command.args(["run", "--json", "--config"]).arg(&path).current_dir("/");
        Self { config: path, command, stderr }
    }

    /// More arguments.
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts `program`, a copy of wirepace, as nobody, with `runtime_dir` for its sockets and the capabilities
    /// `rights` (`+net_raw,+net_admin`; `-all` for none).
    pub fn run_by_nobody(mut self, program: &Path, runtime_dir: &Path, rights: &str) -> Self {
        let nobody = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        command.args(["--inh-caps", rights, "--ambient-caps", rights, "--"]).arg(program);
        command.args(self.command.get_args()).current_dir("/").env("XDG_RUNTIME_DIR", runtime_dir);
        self.command = command;
        self
    }

    /// Starts it and waits until it forwards.
    pub fn forwarding(self) -> Gateway {
        let mut gateway = self.spawn();
        wait_for("forwarding", || {
            if let Some(status) = gateway.child.try_wait().expect("it is our child") {
                panic!("it ended with {status}: {}", gateway.log());
            }
            gateway.log().contains(" forwards; ").then_some(())
        });
        gateway
    }

    /// Starts it.
    pub fn spawn(mut self) -> Gateway {
        let log = File::create(&self.stderr).expect("the directory is ours");
        self.spawn_with_stderr(Stdio::from(log))
    }

    /// Starts it with its log elsewhere: [`Gateway::log`] stays empty.
    pub fn spawn_with_stderr(&mut self, stderr: Stdio) -> Gateway {
        let stdout = self.stderr.with_extension("out");
        let out = File::create(&stdout).expect("the directory is ours");
        let child = self.command.stdin(Stdio::null()).stdout(out).stderr(stderr).spawn();
        Gateway {
            child: child.expect("the program is there"),
            config: self.config.clone(),
            stdout,
            stderr: self.stderr.clone(),
        }
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    config: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

impl Gateway {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let status = wait_for("its end", || self.child.try_wait().expect("it is our child"));
        let stdout = fs::read_to_string(&self.stdout).expect("it was made");
        Ended { status, stdout, stderr: self.log() }
    }

    /// Ends it by SIGTERM. Gives its summary.
    pub fn finish(self) -> Value {
        self.signal(Signal::TERM);
        self.ended().summary()
    }

    /// `wirepace VERB... --config` of this gateway `--json`.
    pub fn ask(&self, verb: &[&str]) -> Output {
        let mut command = Command::new(WIREPACE);
        command.args(verb).arg("--json").arg("--config").arg(&self.config);
        command.output().expect("the program is there")
    }

    /// The JSON that it answers.
    pub fn answer(&self, verb: &[&str]) -> Value {
        let output = self.ask(verb);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let signal = ended.and_then(|status| status.signal());
        if let Some(signal) = signal.filter(|signal| *signal != Signal::KILL.as_raw()) {
            println!("the gateway ended by signal {signal}");
        }
        // Gone already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The one JSON object on stdout of a run that went well.
    pub fn summary(&self) -> Value {
        assert_eq!(self.status.code(), Some(0), "{}", self.stderr);
        // All of stdout: nothing else may stand there.
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// A summary without its KPIs, which fill pages.
pub fn brief(summary: &Value) -> Value {
    let mut brief = summary.clone();
    brief["kpis"] = Value::Null;
    brief["host"] = Value::Null;
    brief
}

/// What every run has to keep where no device loses anything. Gives packets in and out.
pub fn assert_sound(summary: &Value) -> (u64, u64) {
    assert_eq!(number(summary, "device_lost"), 0, "{}", brief(summary));
    assert_accounted(summary)
}

fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("{key}: {}", brief(summary)))
}

/// What every run has to keep, whatever it met. Gives packets in and out.
pub fn assert_accounted(summary: &Value) -> (u64, u64) {
    let number = |key: &str| number(summary, key);
    let dropped: u64 = summary["drops"]
        .as_object()
        .map(|drops| drops.values().filter_map(Value::as_u64).sum())
        .unwrap_or_else(|| panic!("drops: {}", brief(summary)));
    let (packets_in, packets_out) = (number("packets_in"), number("packets_out"));
    assert_eq!(
        packets_in + number("segments_added"),
        packets_out + dropped + number("held"),
        "{}",
        brief(summary)
    );
    for key in ["early", "mbufs_leaked", "held"] {
        assert_eq!(number(key), 0, "{key}: {}", brief(summary));
    }
    (packets_in, packets_out)
}

/// [`assert_sound`], and nothing was dropped.
pub fn assert_nothing_lost(summary: &Value) -> (u64, u64) {
    assert_eq!(summary["drops"], serde_json::json!({}), "{}", brief(summary));
    let (packets_in, packets_out) = assert_sound(summary);
    assert_eq!(packets_in, packets_out);
    (packets_in, packets_out)
}

/// A figure of how long the pacer held a class.
pub fn hold_ns(summary: &Value, class: &str, value: &str) -> f64 {
    dispatch_to_wire_ns(summary, class, "hold", value)
}

/// A figure of how long a class took from arrival to departure.
pub fn total_ns(summary: &Value, class: &str, value: &str) -> f64 {
    dispatch_to_wire_ns(summary, class, "total", value)
}

fn dispatch_to_wire_ns(summary: &Value, class: &str, part: &str, value: &str) -> f64 {
    let series = summary["kpis"]["dispatch_to_wire_ns"]["series"].as_array().expect("a KPI");
    let of = |s: &&Value| s["class"] == class && s["part"] == part && s["n"] != 0;
    let found = series
        .iter()
        .find(of)
        .unwrap_or_else(|| panic!("{class} {part}: {}", summary["kpis"]["dispatch_to_wire_ns"]));
    found[value].as_f64().unwrap_or_else(|| panic!("{found}"))
}

/// The body of `GET path` on loopback.
pub fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the exporter listens");
    stream.set_read_timeout(Some(WAIT)).expect("not zero");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers in text");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}
