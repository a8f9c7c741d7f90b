//! Interfaces, a config, senders, and the observer as a process.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rig::kernel::own_socket::set_max_pacing_rate;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::sandbox::{command, work_dir};

/// `out` here, 10.9.0.1, and `host` in the namespace `venue`, 10.9.0.2.
pub fn interfaces() {
    command("mount -t sysfs none /sys");
    command("ip netns add venue");
    command("ip link add out type veth peer name host netns venue");
    command("ip address add 10.9.0.1/24 dev out");
    command("ip link set out up");
    command("ip -n venue address add 10.9.0.2/24 dev host");
    command("ip -n venue link set host up");
    command("ip -n venue link set lo up");
}

/// Runs `action` on a thread in the namespace `space`. Sockets stay where they were made.
pub fn enter<T: Send + 'static>(
    space: &'static str,
    action: impl FnOnce() -> T + Send + 'static,
) -> T {
    let inside = move || {
        let namespace = fs::File::open(format!("/run/netns/{space}")).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        action()
    };
    thread::spawn(inside).join().unwrap()
}

/// A listener on the venue whose connections are read to their ends.
pub fn venue(port: u16) {
    let listener = enter("venue", move || TcpListener::bind(("10.9.0.2", port)).unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(
                move || {
                    while connection.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {}
                },
            );
        }
    });
}

/// Waits up to so long are spun away.
const SPIN_MAX: Duration = Duration::from_millis(1);

/// Writes of one size to the venue, one every `every`, until it is dropped. A sender that was kept waiting
/// makes up for it, so that the rate is what it should be.
pub struct Sender {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts. `pace`: bytes per second that TCP may send at most; without, each write leaves at once.
    pub fn start(port: u16, bytes: usize, every: Duration, pace: Option<u64>) -> Self {
        let socket = TcpStream::connect(("10.9.0.2", port)).unwrap();
        match pace {
            Some(rate) => set_max_pacing_rate(&socket, rate).unwrap(),
            None => socket.set_nodelay(true).unwrap(),
        }
        Self::on(socket, bytes, every)
    }

    /// The same over `socket`.
    pub fn on(mut socket: TcpStream, bytes: usize, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let send = move || {
            let (payload, mut next) = (vec![7; bytes], Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                socket.write_all(&payload).unwrap();
                next += every;
                // A sleep is longer than asked for: the rest of a short wait is spun away.
                if every > SPIN_MAX {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
            }
        };
        Self { stop, thread: Some(thread::spawn(send)) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the sender panicked");
        }
    }
}

/// Writes the config: `[observe]` with these keys, and one class for TCP to port 7000.
pub fn config(observe: &str, more: &str) -> String {
    let path = work_dir().join("observe.toml");
    let text = format!(
        r#"
[gateway]
name = "host1"
[control]
http = "127.0.0.1:0"
[observe]
{observe}
[[observe.socket]]
remote_port = 7000
{more}
[default_class]
inside = "other"
venue = "back"
[[class]]
name = "orders"
from = "inside"
kind = "order"
max_hold = "unlimited"
[[class]]
name = "other"
from = "inside"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
dst_port = 7000
"#
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A running observer.
pub struct Observer {
    process: Child,
    /// What it says on stderr once it captures.
    errors: JoinHandle<String>,
    /// Where it serves its KPIs.
    pub address: String,
}

impl Observer {
    /// Starts it and waits until it captures.
    pub fn start(config: &str, duration: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_wirepace"))
            .args(["observe", "--config", config, "--duration", duration, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "it ended: {said}");
            said.push_str(&line);
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap().to_owned();
            }
        };
        // What it says later must not block it.
        let errors = thread::spawn(move || {
            let mut said = String::new();
            errors.read_to_string(&mut said).unwrap();
            said
        });
        Self { process, errors, address }
    }

    /// The body of `GET path`.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Its JSON, when it has ended by itself.
    pub fn json(self) -> Value {
        let (code, json, errors) = self.ended();
        assert_eq!(code, Some(0), "{errors}");
        json
    }

    /// Its exit code, its JSON and what it said on stderr, when it has ended by itself.
    pub fn ended(mut self) -> (Option<i32>, Value, String) {
        let mut said = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let code = self.process.wait().unwrap().code();
        let json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        (code, json, self.errors.join().unwrap())
    }
}

/// The series of a KPI that has these labels.
pub fn series<'a>(json: &'a Value, kpi: &str, labels: &[(&str, &str)]) -> &'a Value {
    let all = json["kpis"][kpi]["series"].as_array();
    let all = all.or_else(|| json["kpis"]["host"][kpi]["series"].as_array());
    let fits = |one: &&Value| labels.iter().all(|(name, value)| one[name] == *value);
    let found = all.unwrap_or_else(|| panic!("no {kpi}: {json:#}")).iter().find(fits);
    found.unwrap_or_else(|| panic!("no {kpi} with {labels:?}: {:#}", json["kpis"][kpi]))
}
