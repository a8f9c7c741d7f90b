//! The control thread as its clients see it: real sockets, real time.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Counting, Threads, threads};
use control::client::{self, ClientError};
use control::controller::Fatal;
use control::request::{Request, Word};
use control::server::{BindError, Handle, Hooks, Server};
use control::{HttpBindError, LINE_BYTES_MAX};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest that any test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

struct Gateway {
    handle: Handle<Counting>,
    threads: Threads,
    http: SocketAddr,
    path: PathBuf,
    panic_next: Arc<AtomicBool>,
    forbidden_next: Arc<AtomicBool>,
    fatal: mpsc::Receiver<Fatal>,
    /// Ticks before which every core moved.
    progress: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Gateway {
    fn start() -> Self {
        Self::start_with(0)
    }

    /// One whose status is so many bytes longer.
    fn start_with(bulk: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let server =
            Server::bind(Some("127.0.0.1:0".parse().unwrap()), &path, common::access()).unwrap();
        let http = server.http_addr().unwrap();
        let (control, threads, panic_next) = threads(2, bulk);
        let forbidden_next = Arc::clone(&control.kpis().forbidden_next);
        let (tell, fatal) = mpsc::channel();
        let progress = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&progress);
        let hooks = Hooks {
            on_fatal: Box::new(move |fatal| tell.send(fatal.clone()).unwrap()),
            on_progress: Box::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            }),
        };
        let handle = server.spawn(control, hooks).unwrap();
        Self { handle, threads, http, path, panic_next, forbidden_next, fatal, progress, _dir: dir }
    }

    fn ask(&self, request: &Request) -> Result<Value, ClientError> {
        client::request(&self.path, request)
    }

    fn status(&self) -> Value {
        self.ask(&Request::Status {}).unwrap()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.status()) {
            assert!(Instant::now() < deadline, "{what}: {}", self.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    }

    fn stop(self) -> control::controller::Controller<Counting> {
        self.threads.stop();
        let path = self.path.clone();
        let control = self.handle.stop().unwrap();
        assert!(!path.exists(), "the control socket goes with the thread");
        control
    }
}

fn say(to: &mut BufReader<UnixStream>, bytes: &[u8]) {
    to.get_mut().write_all(bytes).unwrap();
}

fn hear(from: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    match from.read_line(&mut line) {
        Ok(0) => None,
        Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        // The server closed with bytes of ours unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

/// The raw answer to raw bytes.
fn http_raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Status line and headers, and the body.
fn http(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = http_raw(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn requests_are_answered_one_line_each() {
    let gateway = Gateway::start();
    let mode = std::fs::symlink_metadata(&gateway.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut client = gateway.connect();
    say(&mut client, b"{\"cmd\":\"status\"}\n{\"cmd\":\"profile_get\"}\n");
    let status = hear(&mut client).unwrap();
    assert_eq!(status["name"], "gw-test");
    assert_eq!(status["config_digest"], "d1e57");
    assert_eq!(status["cores"].as_array().unwrap().len(), 2);
    let profile = hear(&mut client).unwrap();
    assert_eq!(profile["known"], json!(["normal", "smooth", "contain"]));
    assert_eq!(profile["in_force"], json!(["normal", "normal"]));

    say(&mut client, br#"{"cmd":"stop_word","word":"halt","scope":"venue:X"}"#);
    say(&mut client, b"\r\n");
    assert_eq!(hear(&mut client).unwrap()["state"], "halt");
    let kpis = gateway.stop();
    assert!(kpis.kpis().merged[&0] > 0);
}

#[test]
fn profile_set_answers_when_every_core_has_it() {
    let gateway = Gateway::start();
    let reply = gateway.ask(&Request::ProfileSet { name: "smooth".into() }).unwrap();
    assert_eq!((&reply["ok"], &reply["pinned"]), (&json!(true), &json!(true)));
    for core in reply["cores"].as_array().unwrap() {
        let after = core["effective_after_us"].as_f64().unwrap();
        assert!((0.0..1_000_000.0).contains(&after), "{after}");
        assert!(core["effective_at_ns"].as_u64().unwrap() >= common::START.0);
        assert_eq!(core["switch_delay_us"], 1.5, "what the cores say they released");
    }
    assert_eq!(gateway.status()["cores"][0]["profile"], "smooth");
    let Err(ClientError::Refused { message, .. }) =
        gateway.ask(&Request::ProfileSet { name: "nosuch".into() })
    else {
        panic!("took an unknown profile")
    };
    assert!(message.contains("contain"), "{message}");
    gateway.stop();
}

#[test]
fn bad_input_is_refused_and_hurts_nobody_else() {
    let gateway = Gateway::start();
    let mut good = gateway.connect();

    let mut bad = gateway.connect();
    for garbage in
        [&b"hello\n"[..], b"\n", b"{\n", b"\xff\xfe\x00\x01\n", b"{\"cmd\":\"reboot\"}\n"]
    {
        say(&mut bad, garbage);
        assert!(hear(&mut bad).unwrap()["error"].is_string(), "{garbage:?}");
    }
    say(&mut bad, b"{\"cmd\":\"profile_get\"}\n");
    assert_eq!(hear(&mut bad).unwrap()["confirmed"], "normal", "it may go on");

    // A line of exactly the limit is read, one byte more is not.
    let mut long = b"{\"cmd\":\"profile_set\",\"name\":\"".to_vec();
    long.resize(LINE_BYTES_MAX - 3, b'x');
    long.extend_from_slice(b"\"}\n");
    say(&mut bad, &long);
    assert!(hear(&mut bad).unwrap()["error"].as_str().unwrap().contains("no profile"));
    let mut longer = vec![b' '];
    longer.extend_from_slice(&long);
    say(&mut bad, &longer);
    assert!(hear(&mut bad).unwrap()["error"].as_str().unwrap().contains("2048 KiB"));
    assert_eq!(hear(&mut bad), None, "and is sent away");

    let mut half = gateway.connect();
    say(&mut half, b"{\"cmd\":\"profile_set\",\"name\":\"smooth\"}");
    half.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(hear(&mut half), None, "half a line was never a request");

    say(&mut good, b"{\"cmd\":\"profile_get\"}\n");
    assert_eq!(hear(&mut good).unwrap()["pinned"], Value::Null);
    gateway.stop();
}

/// Clients that say nothing keep nobody out: the one that has been idle for longest goes.
#[test]
fn a_halt_gets_through_past_any_number_of_idle_clients() {
    let gateway = Gateway::start();
    let mut clients: Vec<_> = (0..16).map(|_| gateway.connect()).collect();
    // One after the other: which of them is idle for longest is certain.
    for client in &mut clients {
        say(client, b"{\"cmd\":\"profile_get\"}\n");
        assert!(hear(client).unwrap()["in_force"].is_array());
    }
    // The first has asked again since: the second is idle for longest now.
    say(&mut clients[0], b"{\"cmd\":\"profile_get\"}\n");
    assert!(hear(&mut clients[0]).unwrap()["in_force"].is_array());
    let halt = Request::StopWord { word: Word::Halt, scope: "all".into() };
    assert_eq!(gateway.ask(&halt).unwrap()["state"], "halt");
    assert_eq!(hear(&mut clients[1]), None, "sent away");
    say(&mut clients[0], b"{\"cmd\":\"profile_get\"}\n");
    assert!(hear(&mut clients[0]).unwrap()["in_force"].is_array(), "this one was not");

    // Far more than there are places, with half a line each.
    let idle: Vec<_> = (0..160)
        .map(|_| {
            let mut client = gateway.connect();
            say(&mut client, b"{");
            client
        })
        .collect();
    let resume = Request::StopWord { word: Word::Resume, scope: "all".into() };
    assert_eq!(gateway.ask(&resume).unwrap()["state"], "running");
    drop(idle);
    gateway.stop();
}

/// It is sent away, and meanwhile keeps nobody waiting.
#[test]
fn a_client_that_reads_no_replies_is_sent_away_and_blocks_nobody() {
    let gateway = Gateway::start();
    let slow = UnixStream::connect(&gateway.path).unwrap();
    slow.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    // As many questions as the sockets hold, each with an answer that is much longer.
    while (&slow).write_all(b"{\"cmd\":\"status\"}\n").is_ok() {}
    let asked = Instant::now();
    let halt = Request::StopWord { word: Word::Halt, scope: "all".into() };
    assert_eq!(gateway.ask(&halt).unwrap()["state"], "halt");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let deadline = Instant::now() + PATIENCE;
    loop {
        match (&slow).write_all(b"\n") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            _ => assert!(Instant::now() < deadline, "it keeps its place"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.stop();
}

#[test]
fn what_can_never_be_obeyed_is_told_from_what_failed() {
    let gateway = Gateway::start();
    let is_bad_usage = |request: &Request| gateway.ask(request).unwrap_err().is_bad_usage();
    assert!(is_bad_usage(&Request::ProfileSet { name: "nope".into() }));
    assert!(is_bad_usage(&Request::StopWord { word: Word::Halt, scope: "venue:Y".into() }));
    assert!(!is_bad_usage(&Request::RegimeGet {}), "it runs without");
    gateway.stop();
}

#[test]
fn half_open_connections_do_not_block_metrics() {
    let gateway = Gateway::start();
    let half_open: Vec<_> = (0..160)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.http).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    // Each of them would be waited for by itself for 5 s.
    let asked = Instant::now();
    assert!(http(gateway.http, "GET", "/metrics").0.starts_with("http/1.1 200"));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(half_open);
    gateway.stop();
}

#[test]
fn http_serves_what_there_is_and_refuses_the_rest() {
    let gateway = Gateway::start();
    let (head, body) = http(gateway.http, "GET", "/v1/status");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/json"));
    let status: Value = serde_json::from_str(&body).unwrap();
    for key in [
        "name",
        "version",
        "uptime_s",
        "clock",
        "profile",
        "stop_words",
        "ports",
        "cores",
        "counters",
        "kpis",
    ] {
        assert!(!status[key].is_null(), "{key}");
    }

    let (head, body) = http(gateway.http, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let media = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(media), "{head}");
    assert!(body.contains("wirepace_config_info{digest=\"d1e57\"} 1\n"));

    assert!(http(gateway.http, "GET", "/v1").0.starts_with("http/1.1 404"));
    assert!(http(gateway.http, "GET", "/metrics/..").0.starts_with("http/1.1 404"));
    assert!(http(gateway.http, "POST", "/metrics").0.starts_with("http/1.1 405"));
    assert!(http(gateway.http, "DELETE", "/v1/status").0.starts_with("http/1.1 405"));
    let (head, body) = http(gateway.http, "HEAD", "/metrics");
    assert!(head.starts_with("http/1.1 200") && body.is_empty());

    let garbage = http_raw(gateway.http, b"\x16\x03\x01\x02\x00 no http at all\r\n\r\n");
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let mut endless = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    endless.resize(64 * 1024, b'a');
    let answer = http_raw(gateway.http, &endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    gateway.stop();
}

#[test]
fn client_that_sends_no_header_is_cut_off_and_blocks_nobody() {
    let gateway = Gateway::start();
    let started = Instant::now();
    let mut silent = TcpStream::connect(gateway.http).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"GET /met").unwrap();
    assert!(http(gateway.http, "GET", "/metrics").0.starts_with("http/1.1 200"));
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    gateway.stop();
}

#[test]
fn metrics_and_status_show_the_same_numbers() {
    let gateway = Gateway::start();
    gateway.wait_for("packets", |status| status["counters"]["packets_in"].is_array());
    let (_, body) = http(gateway.http, "GET", "/v1/status");
    let status: Value = serde_json::from_str(&body).unwrap();
    let (_, text) = http(gateway.http, "GET", "/metrics");
    let samples = openmetrics::parse(&text).unwrap();
    let in_text: std::collections::BTreeSet<String> =
        samples.iter().map(|s| s.family.trim_start_matches("wirepace_").to_owned()).collect();
    let in_json: std::collections::BTreeSet<String> =
        status["counters"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(in_text, in_json);
    let p99 = samples
        .iter()
        .find(|s| s.family == "wirepace_dispatch_to_wire_ns" && s.label("quantile") == Some("0.99"))
        .unwrap();
    assert_eq!(p99.value, 98_000.0);
    assert_eq!(p99.label("class"), Some("say \"hi\"\\"));
    assert_eq!(p99.unit, "ns");
    gateway.stop();
}

#[test]
fn metrics_parse_with_the_reference_parser() {
    const SCRIPT: &str = "
import sys
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError:
    sys.exit(77)
names = {s.name for f in parse(sys.stdin.read()) for s in f.samples}
assert 'wirepace_config_info' in names and 'wirepace_drops_total' in names, names
print(len(names))
";
    let gateway = Gateway::start();
    let (_, text) = http(gateway.http, "GET", "/metrics");
    let mut ran = false;
    for python in ["python3", "/usr/bin/python3"] {
        let child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { continue };
        // Without the package it exits before it reads.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        if output.status.code() != Some(77) {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{python}: {error}\n{text}");
            ran = true;
        }
    }
    if !ran {
        println!("skipped: no python3 here has prometheus_client (python3-prometheus-client)");
    }
    gateway.stop();
}

#[test]
fn panic_of_control_is_survived_counted_and_keeps_the_profile() {
    let gateway = Gateway::start();
    gateway.ask(&Request::ProfileSet { name: "smooth".into() }).unwrap();
    for panics in 1..=2 {
        gateway.panic_next.store(true, Ordering::SeqCst);
        // While it restarts a client may be cut off; the socket stays.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let restarts =
                gateway.ask(&Request::Status {}).map(|s| s["counters"]["control_restarts"].clone());
            if restarts.is_ok_and(|restarts| restarts == panics) {
                break;
            }
            assert!(Instant::now() < deadline, "not restarted");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let (_, text) = http(gateway.http, "GET", "/metrics");
    assert!(text.contains("wirepace_control_restarts_total 2\n"));
    let status = gateway.status();
    assert_eq!(status["profile"]["pinned"], "smooth");
    assert_eq!(status["cores"][1]["profile"], "smooth");
    let before = gateway.status()["kpis"]["merged"].as_u64().unwrap();
    gateway.wait_for("cores go on", |s| s["kpis"]["merged"].as_u64().unwrap() > before);
    gateway.stop();
}

/// What the thread may not do it cannot do by mistake either, and goes on.
#[test]
fn a_forbidden_call_in_the_control_thread_is_refused_and_it_goes_on() {
    let gateway = Gateway::start();
    gateway.forbidden_next.store(true, Ordering::SeqCst);
    gateway.wait_for("the attempt", |s| {
        s["kpis"]["forbidden"] == "Operation not permitted (os error 1)"
    });
    // Nor after a panic, when it has started again.
    gateway.panic_next.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    while gateway
        .ask(&Request::Status {})
        .map_or(0, |s| s["counters"]["control_restarts"].as_u64().unwrap())
        == 0
    {
        assert!(Instant::now() < deadline, "not restarted");
    }
    gateway.forbidden_next.store(true, Ordering::SeqCst);
    gateway.wait_for("another attempt", |s| s["kpis"]["attempts"] == 2);
    assert_eq!(gateway.status()["kpis"]["forbidden"], "Operation not permitted (os error 1)");
    gateway.stop();
}

#[test]
fn stuck_core_is_reported_once_and_ends_the_thread() {
    let gateway = Gateway::start();
    gateway.wait_for("cores run", |s| s["kpis"]["merged"].as_u64().unwrap() > 0);
    let progress = gateway.progress.load(Ordering::SeqCst);
    gateway.wait_for("progress", |_| gateway.progress.load(Ordering::SeqCst) > progress);
    gateway.threads.frozen.store(true, Ordering::SeqCst);
    let progress = gateway.progress.load(Ordering::SeqCst);
    let fatal = gateway.fatal.recv_timeout(PATIENCE).unwrap();
    assert!(fatal.to_string().contains("core_stall is 500ms"), "{fatal}");
    // One tick may have been under way, and one may have seen the last moves.
    let since = gateway.progress.load(Ordering::SeqCst) - progress;
    assert!(since <= 2, "{since} ticks with progress while every core stood still");
    let deadline = Instant::now() + PATIENCE;
    while !gateway.handle.has_ended() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(gateway.ask(&Request::Status {}), Err(ClientError::NotRunning(_))));
    gateway.threads.frozen.store(false, Ordering::SeqCst);
    gateway.stop();
}

#[test]
fn second_gateway_is_refused_and_the_first_goes_on() {
    let gateway = Gateway::start();
    let Err(error) = Server::bind(None, &gateway.path, common::access()) else {
        panic!("took a live socket")
    };
    assert!(error.to_string().contains("another wirepace"), "{error}");
    assert_eq!(gateway.status()["name"], "gw-test");
    let other = gateway.path.with_file_name("other.sock");
    let Err(error) = Server::bind(Some(gateway.http), &other, common::access()) else {
        panic!("took a live port")
    };
    assert!(matches!(error, BindError::Http(HttpBindError::Bind { .. })), "{error}");
    assert!(!other.exists(), "what was taken is given back");
    gateway.stop();
}

#[test]
fn exporter_is_refused_on_other_than_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    let open = Some("0.0.0.0:0".parse().unwrap());
    let Err(error) = Server::bind(open, &path, common::access()) else { panic!() };
    assert!(error.to_string().contains("loopback"), "{error}");
}

#[test]
fn client_says_what_a_person_can_do() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing.sock");
    let ask = |path| client::request_within(path, &Request::Status {}, Duration::from_millis(200));
    let error = ask(&nothing).unwrap_err();
    assert!(
        matches!(error, ClientError::NotRunning(_)) && error.to_string().contains("wirepace run")
    );

    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(matches!(ask(&stale), Err(ClientError::NotRunning(_))));

    let silent = dir.path().join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    let error = ask(&silent).unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }) && error.to_string().contains("--direct"));
    drop(listener);

    let odd = dir.path().join("odd.sock");
    let listener = UnixListener::bind(&odd).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(b"SSH-2.0\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    assert!(matches!(ask(&odd), Err(ClientError::Protocol { .. })));
    server.join().unwrap();

    let denied = ClientError::Permission(nothing).to_string();
    assert!(denied.contains("[control] group"), "{denied}");
}

#[test]
fn stop_word_over_the_socket_reaches_the_page_and_names_unknown_scopes() {
    let gateway = Gateway::start();
    let word = |word, scope: &str| gateway.ask(&Request::StopWord { word, scope: scope.into() });
    assert_eq!(word(Word::Halt, "all").unwrap()["state"], "halt");
    assert_eq!(word(Word::Resume, "class:orders").unwrap()["held_by"], json!({"all": "halt"}));
    let Err(ClientError::Refused { message, .. }) = word(Word::Halt, "venue:Y") else { panic!() };
    assert!(message.contains("venue:Y"), "{message}");
    assert_eq!(gateway.status()["stop_words"]["all"], "halt");
    gateway.stop();
}

/// A small strict reader of OpenMetrics text 1.0.0, as far as this exporter uses it.
mod openmetrics {
    use std::collections::BTreeSet;

    #[derive(Debug)]
    pub struct Sample {
        pub family: String,
        pub unit: String,
        pub labels: Vec<(String, String)>,
        pub value: f64,
    }

    impl Sample {
        pub fn label(&self, name: &str) -> Option<&str> {
            self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
        }
    }

    pub fn parse(text: &str) -> Result<Vec<Sample>, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
        let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
        let (mut family, mut kind, mut unit) = (String::new(), String::new(), String::new());
        let (mut helped, mut sampled) = (false, true);
        let mut samples = Vec::new();
        for line in body.split_terminator('\n') {
            if let Some(meta) = line.strip_prefix("# ") {
                let mut words = meta.splitn(3, ' ');
                let (Some(what), Some(name), Some(rest)) =
                    (words.next(), words.next(), words.next())
                else {
                    return Err(format!("cut off: {line}"));
                };
                if name != family {
                    if !sampled {
                        return Err(format!("{family} has no sample"));
                    }
                    if !families.insert(name.to_owned()) {
                        return Err(format!("{name} stands in two places"));
                    }
                    family = name.to_owned();
                    (kind, unit, helped, sampled) = (String::new(), String::new(), false, false);
                }
                match what {
                    "HELP" if !helped && !rest.is_empty() => helped = true,
                    "TYPE" if kind.is_empty() && ["counter", "gauge", "info"].contains(&rest) => {
                        kind = rest.to_owned();
                    }
                    "UNIT" if unit.is_empty() && name.ends_with(&format!("_{rest}")) => {
                        unit = rest.to_owned();
                    }
                    _ => return Err(format!("not allowed here: {line}")),
                }
                continue;
            }
            if !helped || kind.is_empty() {
                return Err(format!("no HELP or TYPE before {line}"));
            }
            let end = line.find(['{', ' ']).ok_or_else(|| format!("no value: {line}"))?;
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            if line[..end] != format!("{family}{suffix}") || !family.starts_with("wirepace_") {
                return Err(format!("not a sample of the {kind} {family}: {line}"));
            }
            let (labels, rest) = match line[end..].strip_prefix('{') {
                Some(rest) => read_labels(rest).ok_or_else(|| format!("labels: {line}"))?,
                None => (vec![], &line[end..]),
            };
            let text = rest.strip_prefix(' ').ok_or_else(|| format!("no space: {line}"))?;
            let value: f64 = text.parse().map_err(|_| format!("no number: {line}"))?;
            if !value.is_finite() || (kind != "gauge" && value < 0.0) {
                return Err(format!("not a value of a {kind}: {line}"));
            }
            if !series.insert(line[..line.len() - text.len()].to_owned()) {
                return Err(format!("twice: {line}"));
            }
            sampled = true;
            let (family, unit) = (family.clone(), unit.clone());
            samples.push(Sample { family, unit, labels, value });
        }
        Ok(samples)
    }

    /// `a="b",c="d"}rest`
    fn read_labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
        let mut labels: Vec<(String, String)> = vec![];
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || !name.chars().all(is_name)
                || labels.iter().any(|(n, _)| n == name)
            {
                return None;
            }
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next()?.1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        _ => return None,
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.push((name.to_owned(), value));
            rest = &after[end + 1..];
            match rest.as_bytes().first()? {
                b'}' => return Some((labels, &rest[1..])),
                b',' => rest = &rest[1..],
                _ => return None,
            }
        }
    }

    #[test]
    fn validator_refuses_what_the_standard_forbids() {
        let good = "# HELP wirepace_a_ns A.\n# TYPE wirepace_a_ns gauge\n# UNIT wirepace_a_ns ns\n\
                    wirepace_a_ns{x=\"\\\"\"} 1.5\n# EOF\n";
        assert_eq!(parse(good).unwrap()[0].label("x"), Some("\""));
        for (from, to) in [
            ("# EOF\n", ""),
            ("# HELP wirepace_a_ns A.\n", ""),
            ("gauge", "counter"),
            ("gauge", "summary"),
            ("# UNIT wirepace_a_ns ns", "# UNIT wirepace_a_ns us"),
            ("1.5", "many"),
            ("1.5", "NaN"),
            ("x=\"", "x\""),
            ("{x=", "{x=\"\",x="),
            (" 1.5\n", " 1.5\nwirepace_a_ns{x=\"\\\"\"} 2\n"),
            (" 1.5\n", " 1.5\nwirepace_b 2\n"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}

/// A stream: its events as they come.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(gateway: &Gateway, path: &str) -> (String, Self) {
        let mut stream = TcpStream::connect(gateway.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        (head, Self(reader))
    }

    /// The id and the data of the next event; one without an id has 0.
    fn next(&mut self) -> (u64, Value) {
        let mut id = 0;
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().unwrap();
            }
            // It is the last line of an event. Between events stand the lengths of chunks and empty lines.
            if let Some(text) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(text).unwrap());
            }
        }
    }
}

/// As many streams as are served, and no more; one that goes makes room.
fn assert_bounded(gateway: &Gateway, path: &str) {
    let open = || Stream::open(gateway, path);
    let mut streams: Vec<_> = (0..8).map(|_| open()).collect();
    for (head, stream) in &mut streams {
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        stream.next();
    }
    let (refused, _) = open();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop(streams);
    let deadline = Instant::now() + PATIENCE;
    while !open().0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "streams that went keep their places");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn advice_is_a_stream_of_events_that_never_gets_old() {
    let gateway = Gateway::start();
    let (head, mut stream) = Stream::open(&gateway, "/v1/advice");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    let (id, first) = stream.next();
    let asked = gateway.ask(&Request::Advice {}).unwrap();
    assert_eq!((id, first["advice"].as_array().unwrap().len()), (0, 2));
    for key in ["scope", "sequence", "urgency", "backpressure"] {
        assert_eq!(first["advice"][0][key], asked["advice"][0][key], "{key}");
    }
    // Without any change the time goes on, less than a second between two events.
    let mut last = first["at_ns"].as_u64().unwrap();
    for _ in 0..4 {
        let (id, event) = stream.next();
        let at = event["at_ns"].as_u64().unwrap();
        assert!(id == 0 && at > last, "{at} after {last}");
        last = at;
    }
    drop(stream);
    assert_bounded(&gateway, "/v1/advice");
    gateway.stop();
}

#[test]
fn the_page_comes_whole_and_its_stream_tells_the_status_every_second() {
    let gateway = Gateway::start();
    let (head, page) = http(gateway.http, "GET", "/");
    assert!(head.starts_with("http/1.1 200") && head.contains("text/html"), "{head}");
    assert!(head.contains("default-src 'none'") && head.contains("connect-src 'self'"), "{head}");
    // No address of anybody else stands in it; the name of SVG looks like one.
    let addresses: Vec<_> = page.match_indices("://").collect();
    assert!(page.ends_with("</html>\n") && addresses.len() == 1, "{addresses:?}");
    assert!(page.contains("\"http://www.w3.org/2000/svg\""));

    let (_, mut stream) = Stream::open(&gateway, "/v1/live");
    let (_, first) = stream.next();
    assert_eq!(first["name"], gateway.status()["name"]);
    let (_, second) = stream.next();
    let at = |status: &Value| status["at_ns"].as_u64().unwrap();
    let ticks = |status: &Value| status["counters"]["control_ticks"].as_u64().unwrap();
    assert!(at(&second) > at(&first) && ticks(&second) > ticks(&first), "{first} {second}");
    drop(stream);
    assert_bounded(&gateway, "/v1/live");
    gateway.stop();
}

/// Streams keep their places; whoever does not read what it is told must not.
#[test]
fn a_client_that_does_not_read_loses_its_stream_and_nobody_waits_for_it() {
    // More than the kernel keeps for a connection.
    let gateway = Gateway::start_with(1 << 20);
    let open = || {
        let mut stream = TcpStream::connect(gateway.http).unwrap();
        write!(stream, "GET /v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let silent: Vec<_> = (0..8).map(|_| open()).collect();
    let deadline = Instant::now() + PATIENCE;
    // All of them are there once one more is refused.
    while Stream::open(&gateway, "/v1/live").0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "eight that do not read are not all there");
    }
    let ticks = |status: &Value| status["counters"]["control_ticks"].as_u64().unwrap();
    let before = ticks(&gateway.status());
    gateway.wait_for("control goes on", |status| ticks(status) > before + 5);
    assert!(http(gateway.http, "GET", "/metrics").0.starts_with("http/1.1 200"));
    while !Stream::open(&gateway, "/v1/live").0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "those that do not read keep their places");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(silent);
    gateway.stop();
}
