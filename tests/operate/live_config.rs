//! `wirepace config` and SIGHUP against a running gateway.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::gateway::wait_for;
use crate::place::{Place, said, wirepace};

#[test]
fn a_rate_changes_live_and_a_bad_change_is_refused_with_its_place() {
    let place = Place::new("rate-live");
    let gateway = place.start();
    place.write(&place.with_rate("40M"));
    let checked = said(&wirepace(&["config", "check"], &place.file()));
    assert!(checked.contains("live") && checked.contains("class \"out\".rate"), "{checked}");
    let answer = gateway.answer(&["config", "apply"]);
    assert_eq!((&answer["ok"], &answer["confirmed"]), (&json!(true), &json!(true)), "{answer}");
    assert_eq!(place.confirmed(), [place.text(), place.with_rate("40M")]);
    let shown = said(&wirepace(&["config", "diff"], &place.file()));
    assert!(shown.contains("no value changes"), "{shown}");

    place.write(&place.with_rate("40M").replacen("flows_max = 4096", "flows_max = 8192", 1));
    for verb in ["check", "apply"] {
        let refused = wirepace(&["config", verb], &place.file());
        assert_eq!(refused.status.code(), Some(2), "{verb}");
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(said.contains("restart") && said.contains("gateway.flows_max"), "{said}");
    }
    place.write(&place.with_rate("40 parsecs"));
    let refused = wirepace(&["config", "apply"], &place.file());
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains(".toml:41:8: rate: "), "{error}");
    assert_eq!(place.confirmed().len(), 2);

    // The gateway is named: the file is none any more.
    let history = gateway_history(&place);
    assert!(history.lines().count() == 3 && history.contains("confirmed"), "{history}");
    place.write(&place.with_rate("40M"));
    let back = said(&wirepace(&["config", "rollback"], &place.file()));
    assert!(back.contains("confirmed: revision 3"), "{back}");
    assert_eq!(place.confirmed()[2], place.text());
}

fn gateway_history(place: &Place) -> String {
    place.write(&place.text());
    said(&wirepace(&["config", "history"], &place.file()))
}

#[test]
fn an_unconfirmed_change_reverts_and_a_confirmed_one_stays() {
    let place = Place::new("revert");
    let gateway = place.start();
    place.write(&place.with_rate("40M"));
    let refused = wirepace(&["config", "apply", "--confirm", "0s"], &place.file());
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("0 s to confirm: allowed are 1 s to 24 h"), "{error}");
    let applied = said(&wirepace(&["config", "apply", "--confirm", "1s"], &place.file()));
    assert!(applied.contains("in force on 1 core; it goes back in 1s unless"), "{applied}");
    assert_eq!(place.confirmed(), [place.text()]);
    wait_for("the way back", || {
        let status = gateway.answer(&["status"]);
        (status["config"]["confirm_left_s"].is_null()
            && status["config"]["change_under_way"] == false
            && status["config"]["digest"] == status["config"]["confirmed_digest"]
            && status["counters"]["config_reverted"] == 1)
            .then_some(())
    });
    let shown = said(&wirepace(&["config", "diff"], &place.file()));
    assert!(shown.contains("class \"out\".rate"), "the file is what is not in force: {shown}");

    said(&wirepace(&["config", "apply", "--confirm"], &place.file()));
    let confirmed = said(&wirepace(&["config", "confirm"], &place.file()));
    assert!(confirmed.contains("confirmed: revision 2"), "{confirmed}");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(place.confirmed(), [place.text(), place.with_rate("40M")]);
    let status = gateway.answer(&["status"]);
    assert_eq!(status["counters"]["config_unconfirmed"], 0);
}

#[test]
fn sighup_applies_the_file_and_says_what_is_wrong_with_it() {
    let place = Place::new("sighup");
    let gateway = place.start();
    place.write(&place.with_rate("40M"));
    gateway.signal(Signal::HUP);
    wait_for("the config", || gateway.log().contains("SIGHUP: in force").then_some(()));
    assert_eq!(place.confirmed().len(), 2);
    place.write("nonsense");
    gateway.signal(Signal::HUP);
    wait_for("the refusal", || gateway.log().contains("sighup.toml:1:").then_some(()));
    assert_eq!(place.confirmed().len(), 2);
    place.write(&place.with_rate("40M"));
    let summary = gateway.finish();
    assert_eq!(summary["held"], 0);
}

#[test]
fn a_restart_does_not_take_what_was_never_confirmed() {
    let place = Place::new("unconfirmed");
    let gateway = place.start();
    place.write(&place.with_rate("40M"));
    said(&wirepace(&["config", "apply", "--confirm", "60s"], &place.file()));
    gateway.signal(Signal::KILL);
    gateway.ended();
    let gateway = place.start();
    assert!(gateway.log().contains("never confirmed"), "{}", gateway.log());
    let shown = said(&wirepace(&["config", "diff"], &place.file()));
    assert!(shown.contains("class \"out\".rate"), "{shown}");
}
