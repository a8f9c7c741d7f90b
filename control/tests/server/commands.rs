//! The control socket: requests, answers, clients that misbehave.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use control::client::ClientError;
use control::request::{Request, Word};
use control::{LINE_BYTES_MAX, client};
use serde_json::{Value, json};

use crate::common;
use crate::gateway::{Gateway, PATIENCE, hear, say};

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
