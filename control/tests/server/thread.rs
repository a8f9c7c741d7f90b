//! The thread itself: its panics, what it may not do, what it sees of the cores.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use control::HttpBindError;
use control::client::ClientError;
use control::request::Request;
use control::server::{BindError, Server};

use crate::common;
use crate::gateway::{Gateway, PATIENCE, http};

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

/// On a machine that gives control too little a tick may take longer than the time from one to the next.
#[test]
fn a_tick_that_takes_longer_than_its_length_keeps_nobody_out() {
    let gateway = Gateway::start();
    let length_ms = common::settings().tick.0 / 1_000_000;
    gateway.tick_ms.store(2 * length_ms, Ordering::SeqCst);
    // It is under way by then.
    let progress = gateway.progress.load(Ordering::SeqCst);
    gateway.wait_for_progress(progress + 2);
    for _ in 0..3 {
        gateway.ask(&Request::Status {}).unwrap();
    }
    let (head, _) = http(gateway.http, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    // Nor do clients keep a tick out.
    gateway.wait_for_progress(gateway.progress.load(Ordering::SeqCst) + 2);
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
