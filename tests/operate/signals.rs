//! Signals that a gateway has no use for, and all that end it in order.

use rustix::process::Signal;

use crate::gateway::wait_for;
use crate::place::Place;

#[test]
fn a_signal_without_a_meaning_is_logged_and_changes_nothing() {
    let place = Place::new("signals");
    let gateway = place.start();
    for (signal, name) in [
        (Signal::USR1, "SIGUSR1"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
    ] {
        gateway.signal(signal);
        let line = format!("{name} means nothing here");
        wait_for(name, || gateway.log().contains(&line).then_some(()));
    }
    let status = gateway.answer(&["status"]);
    assert_eq!(status["stop_words"], serde_json::json!({}));
    gateway.finish();
}

#[test]
fn sigterm_sigint_and_sigquit_drain_and_take_the_socket_along() {
    let place = Place::new("ends");
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let gateway = place.start();
        gateway.signal(signal);
        let summary = gateway.ended().summary();
        assert_eq!((&summary["held"], &summary["mbufs_leaked"]), (&0.into(), &0.into()));
        let socket = place.dir.path().join("state/ends/control.sock");
        assert!(!socket.exists(), "{signal:?}");
    }
}
