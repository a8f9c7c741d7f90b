//! An interface that goes away ends the observation: a capture on it would be silent for ever, and look like
//! a quiet host.

use std::time::Duration;

use crate::load::{Observer, Sender, config, interfaces, venue};
use crate::sandbox::{command, sandboxed};

#[test]
fn an_interface_that_goes_away_ends_the_observation_by_name() {
    sandboxed("gone::an_interface_that_goes_away_ends_the_observation_by_name", &["ip"], || {
        interfaces();
        command("ip link add in type veth peer name strategy");
        command("ip link set in up");
        venue(7000);
        let config = config("egress = \"out\"\ningress = \"in\"", "");
        let observer = Observer::start(&config, "300s");
        let sender = Sender::start(7000, 214, Duration::from_millis(5), None);
        // An interval is over before.
        std::thread::sleep(Duration::from_millis(1_500));
        drop(sender);
        command("ip link delete in");
        let (code, json, errors) = observer.ended();
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("wirepace: in: the interface has gone away"), "{errors}");
        let lasted = json["duration_s"].as_f64().unwrap();
        assert!(lasted < 200.0, "{lasted} s of 300");
        let frames = json["capture"]["capture_unmatched"].as_u64().unwrap();
        assert!(frames > 100, "what was seen before stands: {json:#}");
    });
}
