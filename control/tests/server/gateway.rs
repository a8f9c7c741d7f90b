//! A control thread with its sockets, and clients of both.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use control::client;
use control::client::ClientError;
use control::controller::Fatal;
use control::request::Request;
use control::server::{Handle, Hooks, Server};
use serde_json::Value;
use tempfile::TempDir;

use crate::common;
use crate::common::{Counting, Threads, threads};

/// Longest that any test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Gateway {
    pub handle: Handle<Counting>,
    pub threads: Threads,
    pub http: SocketAddr,
    pub path: PathBuf,
    pub panic_next: Arc<AtomicBool>,
    pub forbidden_next: Arc<AtomicBool>,
    /// How long a tick takes at least.
    pub tick_ms: Arc<AtomicU64>,
    pub fatal: mpsc::Receiver<Fatal>,
    /// Ticks before which every core moved.
    pub progress: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Gateway {
    pub fn start() -> Self {
        Self::start_with(0)
    }

    /// One whose status is so many bytes longer.
    pub fn start_with(bulk: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let server =
            Server::bind(Some("127.0.0.1:0".parse().unwrap()), &path, common::access()).unwrap();
        let http = server.http_addr().unwrap();
        let (control, threads, panic_next) = threads(2, bulk);
        let forbidden_next = Arc::clone(&control.kpis().forbidden_next);
        let tick_ms = Arc::clone(&control.kpis().roll_ms);
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
        Self {
            handle,
            threads,
            http,
            path,
            panic_next,
            forbidden_next,
            tick_ms,
            fatal,
            progress,
            _dir: dir,
        }
    }

    pub fn ask(&self, request: &Request) -> Result<Value, ClientError> {
        client::request(&self.path, request)
    }

    pub fn status(&self) -> Value {
        self.ask(&Request::Status {}).unwrap()
    }

    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.status()) {
            assert!(Instant::now() < deadline, "{what}: {}", self.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Until there have been so many ticks before which every core moved.
    pub fn wait_for_progress(&self, ticks: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.progress.load(Ordering::SeqCst) < ticks {
            assert!(Instant::now() < deadline, "control does not tick");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    }

    pub fn stop(self) -> control::controller::Controller<Counting> {
        self.threads.stop();
        let path = self.path.clone();
        let control = self.handle.stop().unwrap();
        assert!(!path.exists(), "the control socket goes with the thread");
        control
    }
}

pub fn say(to: &mut BufReader<UnixStream>, bytes: &[u8]) {
    to.get_mut().write_all(bytes).unwrap();
}

pub fn hear(from: &mut BufReader<UnixStream>) -> Option<Value> {
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
pub fn http_raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Status line and headers, and the body.
pub fn http(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = http_raw(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}
