//! The control socket and users of the host: who is let in, who may change something, and what a crowd of
//! those who may not can bring about.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::gateway::{Gateway, Home, assert_sound, socket_of, text};

/// May connect.
const READERS: u32 = 47_101;
/// May change something.
const WRITERS: u32 = 47_102;
/// Of an ordinary user, and nobody else's.
const OWN: u32 = 47_100;

/// A home whose control socket is open to [`READERS`], of whom [`WRITERS`] may write. `None` without root:
/// nobody else can be another user.
fn shared_home() -> Option<Home> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: to be another user needs root");
        return None;
    }
    let mut home = Home::new();
    home.open_to_others();
    let rights = format!("[control]\ngroup = \"{READERS}\"\nwrite_group = \"{WRITERS}\"\n");
    home.edits.push(("[control]\n", rights));
    Some(home)
}

#[test]
fn outsiders_cannot_connect_readers_cannot_write_and_writers_can() {
    let Some(home) = shared_home() else { return };
    let gateway = home.start(&home.fed("running", "orders"));
    let refused = |groups: &[u32], arguments: &[&str], part: &str| {
        let ran = home.ask_as(groups, arguments);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{groups:?} {arguments:?}: {said}");
        assert!(said.contains(part), "{groups:?} {arguments:?}: {said}");
    };
    // Who may write and not connect cannot connect either: the file comes first.
    for outsider in [&[OWN][..], &[OWN, WRITERS]] {
        for arguments in [&["status"][..], &["halt"], &["halt", "--direct"]] {
            refused(outsider, arguments, "ermission denied");
        }
    }
    let reader = &[OWN, READERS];
    for look in ["status", "flows", "drops"] {
        let ran = home.ask_as(reader, &[look]);
        assert!(ran.status.success(), "{look}: {}", text(&ran.stderr));
    }
    for change in [
        &["halt"][..],
        &["resume"],
        &["profile", "set", "contain"],
        &["config", "rollback"],
        &["capture", "--out", "/dev/null"],
    ] {
        refused(reader, change, "that is for root, the user that runs the gateway and the group");
    }
    // The page is for the gateway's user alone.
    refused(reader, &["halt", "--direct"], "ermission denied");
    assert_eq!(gateway.stop_words(), json!({}));
    assert!(gateway.said().contains("not permitted over the control socket"), "{}", gateway.said());

    for writer in [&[OWN, READERS, WRITERS][..], &[READERS, WRITERS]] {
        for (word, words) in [("halt", json!({"all": "halt"})), ("resume", json!({}))] {
            let ran = home.ask_as(writer, &[word]);
            assert!(ran.status.success(), "{word}: {}", text(&ran.stderr));
            assert_eq!(gateway.stop_words(), words);
        }
    }
    assert_sound(&gateway.end());
}

/// The socket on which a second process of this test is the crowd.
const CROWD: &str = "WIREPACE_TEST_CROWD";
/// Connections that the crowd holds at a time.
const CROWD_SIZE: usize = 1_000;
/// Descriptors of a gateway with every place of its socket taken, and more than enough beside.
const DESCRIPTORS_MAX: usize = 150;
/// KPI intervals, of a second each, that are compared.
const INTERVALS: usize = 5;

#[test]
fn a_crowd_of_readers_keeps_no_command_out_and_no_order_waiting() {
    if let Some(socket) = std::env::var_os(CROWD) {
        return be_the_crowd(Path::new(&socket));
    }
    let Some(mut home) = shared_home() else { return };
    // Orders without end, of which each that finds room leaves at its own moment.
    home.edits.push((
        "kind = \"order\"\nqueue_packets = 512",
        "kind = \"order\"\nqueue_packets = 512\nmessages = \"1000/s\"\nmessage_burst = 1\n\
         messages_per_segment = 1\nmax_hold = \"60s\"\non_overflow = \"drop\"\n\
         allow_drop = true\nallow_drop_reason = \"more than leaves\""
            .to_owned(),
    ));
    let gateway = home.start(&home.fed("running", "orders"));
    let before = release_errors(&gateway);

    let crowd = Crowd::gather(&home);
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        for word in ["halt", "resume"] {
            let asked = Instant::now();
            home.ask_json(&[word, "--scope", "class:cancels"]);
            longest = longest.max(asked.elapsed());
        }
        let open = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
        assert!(open < DESCRIPTORS_MAX, "{open} descriptors in round {round}");
    }
    let during = release_errors(&gateway);
    let served = crowd.leave();
    println!("crowd: {CROWD_SIZE} connections at a time; it was told {served}");
    println!("crowd: a halt took at most {:.1} ms", longest.as_secs_f64() * 1e3);
    for (when, [p50, p95, max]) in [("before", before), ("during", during)] {
        println!("crowd: release error {when}: p50 {p50} ns, p95 {p95} ns, max {max} ns");
    }
    assert_sound(&gateway.end());
}

/// The medians over some intervals of the pacer's error of orders: p50, p95 and max, ns.
fn release_errors(gateway: &Gateway<'_>) -> [u64; 3] {
    let mut seen: Vec<[u64; 3]> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.len() < INTERVALS {
        assert!(Instant::now() < deadline, "no figures: {}", gateway.said());
        let status = gateway.home.ask_json(&["status"]);
        let rows = status["kpis"]["pacer_error_ns"]["series"].as_array().cloned();
        let of_orders = rows.into_iter().flatten().find(|row| row["class"] == "orders");
        let figures = of_orders.map(|row| ["p50", "p95", "max"].map(|name| row[name].as_u64()));
        if let Some([Some(p50), Some(p95), Some(max)]) = figures {
            seen.push([p50, p95, max]);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    [0, 1, 2].map(|at| {
        let mut values: Vec<_> = seen.iter().map(|row| row[at]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    })
}

/// The second process, by a user that may only look.
struct Crowd(Child);

impl Crowd {
    /// Comes back when all of it has connected once.
    fn gather(home: &Home) -> Self {
        let program = home.path("crowd");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let test = "permissions::a_crowd_of_readers_keeps_no_command_out_and_no_order_waiting";
        let mut child = home
            .command_of_user(&[OWN, READERS], &program, &["--exact", test, "--nocapture"])
            .env(CROWD, socket_of(home))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("gathered")), "the crowd failed");
        Self(child)
    }

    /// Ends it; what it has seen.
    fn leave(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.0.wait().unwrap().success(), "{said}");
        let seen = said.lines().find_map(|line| line.strip_prefix("seen: "));
        seen.unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

/// How often the crowd was told what.
#[derive(Debug, Default)]
struct Seen {
    answers: u64,
    refusals: u64,
    not_permitted: u64,
    sent_away: u64,
}

/// Connections without end until stdin ends: silent ones, half lines, lines that are too long, garbage,
/// commands that are not for readers, and questions whose answers nobody reads.
fn be_the_crowd(socket: &Path) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let left = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut connections = std::collections::VecDeque::new();
    let mut seen = Seen::default();
    let mut said_so = false;
    for number in 0_u64.. {
        if left.is_finished() {
            break;
        }
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        let long = vec![b'x'; 8 << 10];
        let line: &[u8] = match number % 8 {
            0 => b"",
            1 => b"{",
            2 => &long,
            3 => b"\xff\xfe{{{\n",
            4 => b"{\"cmd\":\"stop_word\",\"word\":\"resume\",\"scope\":\"all\"}\n",
            5 => b"{\"cmd\":\"capture_take\"}\n",
            _ => b"{\"cmd\":\"status\"}\n",
        };
        // What a server does that has enough of it is looked at below.
        let _ = stream.write_all(line);
        if line.ends_with(b"\n") && number % 16 < 8 {
            seen.note(&stream);
        } else if line.ends_with(b"\n") {
            // Asks again and again and reads nothing.
            while stream.write_all(line).is_ok() {}
        }
        connections.push_back(stream);
        if connections.len() > CROWD_SIZE {
            connections.pop_front();
            if !std::mem::replace(&mut said_so, true) {
                println!("gathered");
            }
        }
    }
    assert!(seen.not_permitted > 0 && seen.refusals > 0 && seen.answers > 0, "{seen:?}");
    println!("seen: {seen:?}");
}

impl Seen {
    fn note(&mut self, stream: &UnixStream) {
        let mut line = String::new();
        match BufReader::new(stream).read_line(&mut line) {
            Ok(n) if n > 0 => {
                let reply: serde_json::Value = serde_json::from_str(&line).unwrap();
                match (&reply["not_permitted"], &reply["error"]) {
                    (serde_json::Value::Bool(true), _) => self.not_permitted += 1,
                    (_, serde_json::Value::String(_)) => self.refusals += 1,
                    _ => self.answers += 1,
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("neither told nor sent away")
            }
            _ => self.sent_away += 1,
        }
    }
}
