//! Server-sent events: the advice, and what the page draws.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use control::request::Request;
use serde_json::Value;

use crate::gateway::{Gateway, PATIENCE, http};

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
