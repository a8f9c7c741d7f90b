//! How a run ends, and what that does to the next and to its neighbours.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::config::{BURST_PORT, Driver, between, on_veth, without_http};
use crate::gateway::{
    NOBODY, Start, assert_nothing_lost, assert_sound, brief, cpus, for_nobody, total_ns, wait_for,
};
use crate::net::{self, Host};
use crate::sandbox::{sandboxed, work_dir};
use crate::traffic::{Flow, Receiver};

const TOOLS: [&str; 1] = ["ethtool"];
const STEADY: Flow =
    Flow { from: Host::Strategy, port: 7100, bytes: 100, gap: Duration::from_millis(1) };

#[test]
fn sigterm_drains_what_is_held() {
    sandboxed("ends::sigterm_drains_what_is_held", &TOOLS, || {
        net::make();
        let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", Driver::AfPacket)).forwarding();
        net::meet();
        let receiver = Receiver::start(Host::Venue, BURST_PORT);
        // 800 frames take 3.4 s under smooth: most of them are held when the signal comes.
        assert_eq!(gateway.answer(&["profile", "set", "smooth"])["ok"], true);
        // Back to back they might not fit into the 512 frames of the driver's receive ring.
        let gap = Duration::from_micros(20);
        let burst = Flow { port: BURST_PORT, bytes: 1000, gap, ..STEADY };
        assert_eq!(burst.send(800), 800);
        std::thread::sleep(Duration::from_millis(50));
        // The second signal, in the middle of the end, changes nothing.
        gateway.signal(Signal::TERM);
        gateway.signal(Signal::TERM);
        let ended = gateway.ended();
        let summary = ended.summary();
        let (_, packets_out) = assert_sound(&summary);
        let received = receiver.end();
        received.assert_in_order();
        // The rest are ARP frames, of which there are a few.
        let others = packets_out - received.count() as u64;
        assert!(others <= 8, "{others} frames out beside the burst's: {}", brief(&summary));
        let stopped = summary["drops"]["stopped"].as_u64().unwrap_or(0);
        assert_eq!(received.count() as u64 + stopped, 800, "{}", brief(&summary));
        assert!(
            received.count() > 400,
            "the drain lets out what there is time for: {}",
            brief(&summary)
        );
        let longest = total_ns(&summary, "burst", "max");
        assert!(
            longest < 0.7e9,
            "the last ones left before the rate let them: {}",
            brief(&summary)
        );
    });
}

#[test]
fn sigint_ends_a_run_like_sigterm() {
    sandboxed("ends::sigint_ends_a_run_like_sigterm", &TOOLS, || {
        net::make();
        let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", Driver::AfPacket)).forwarding();
        gateway.signal(Signal::INT);
        assert_sound(&gateway.ended().summary());
    });
}

#[test]
fn after_sigkill_it_starts_again_at_once_on_af_packet() {
    let test = "ends::after_sigkill_it_starts_again_at_once_on_af_packet";
    sandboxed(test, &TOOLS, || after_sigkill(Driver::AfPacket));
}

#[test]
fn after_sigkill_it_starts_again_at_once_on_af_xdp() {
    let test = "ends::after_sigkill_it_starts_again_at_once_on_af_xdp";
    sandboxed(test, &TOOLS, || after_sigkill(Driver::AfXdp));
}

fn after_sigkill(driver: Driver) {
    net::make();
    for _ in 0..3 {
        let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", driver)).forwarding();
        net::meet();
        let receiver = Receiver::start(Host::Venue, 7100);
        let sent = STEADY.send(200);
        receiver.end().assert_whole(&[sent]);
        // Under load, so that queues are in use at that moment.
        let stream = STEADY.stream();
        gateway.signal(Signal::KILL);
        assert_eq!(gateway.ended().status.code(), None);
        stream.end();
    }
    let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", driver)).forwarding();
    assert_nothing_lost(&gateway.finish());
}

#[test]
fn a_second_instance_is_refused_and_the_first_loses_nothing_on_af_packet() {
    let test = "ends::a_second_instance_is_refused_and_the_first_loses_nothing_on_af_packet";
    sandboxed(test, &TOOLS, || second_instance(Driver::AfPacket));
}

#[test]
fn a_second_instance_is_refused_and_the_first_loses_nothing_on_af_xdp() {
    let test = "ends::a_second_instance_is_refused_and_the_first_loses_nothing_on_af_xdp";
    sandboxed(test, &TOOLS, || second_instance(Driver::AfXdp));
}

fn second_instance(driver: Driver) {
    net::make();
    let first = Start::new(work_dir(), "gw1", &on_veth("gw1", driver)).forwarding();
    net::meet();
    let at_venue = Receiver::start(Host::Venue, 7100);
    let at_strategy = Receiver::start(Host::Strategy, 7100);
    let streams = [STEADY, Flow { from: Host::Venue, ..STEADY }].map(Flow::stream);
    // The other one's own driver, and then the same.
    let other = match driver {
        Driver::AfPacket => Driver::AfXdp,
        Driver::AfXdp => Driver::AfPacket,
    };
    for (name, driver) in [("gw2", driver), ("gw3", other)] {
        let config = without_http(&on_veth(name, driver));
        let refused = Start::new(work_dir(), name, &config).spawn().ended();
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        let told: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
        assert!(told["error"].as_str().unwrap().contains("interface gw-in"), "{told}");
        let holder = format!("in use by instance \"gw1\", pid {}", first.pid());
        assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
        assert!(refused.stderr.contains("interface gw-in"), "{}", refused.stderr);
    }
    // The same name is refused too, whatever its devices.
    let refused =
        Start::new(work_dir(), "again", &without_http(&on_veth("gw1", driver))).spawn().ended();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    let [out, back] = streams.map(|stream| stream.end());
    at_venue.end().assert_whole(&[out]);
    at_strategy.end().assert_whole(&[back]);
    assert!(out.min(back) > 200);
    assert_nothing_lost(&first.finish());
}

/// The locks of one user are not seen by another, and the frames of an interface are everybody's.
#[test]
fn a_second_instance_is_refused_whoever_runs_it() {
    let test = "ends::a_second_instance_is_refused_whoever_runs_it";
    sandboxed(test, &["ethtool", "setpriv"], || {
        net::make();
        let (program, theirs) = for_nobody(work_dir());
        let config = |name| without_http(&on_veth(name, Driver::AfPacket));
        let rights = "+net_raw,+net_admin,+ipc_lock";
        let by_nobody = |name| {
            Start::new(work_dir(), name, &config(name)).run_by_nobody(&program, &theirs, rights)
        };
        let by_root = |name| Start::new(work_dir(), name, &config(name));
        let refused = |start: Start, holder: u32| {
            let refused = start.spawn().ended();
            assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
            let said = format!("interface gw-in is in use by another gateway, of user {holder}");
            assert!(refused.stderr.contains(&said), "{}", refused.stderr);
        };
        let first = by_nobody("gw1").forwarding();
        refused(by_root("gw2"), NOBODY);
        // Killed, it leaves nothing that would refuse the next.
        first.signal(Signal::KILL);
        first.ended();
        let first = by_root("gw2").forwarding();
        refused(by_nobody("gw1"), 0);
        net::meet();
        let at_venue = Receiver::start(Host::Venue, 7100);
        let sent = STEADY.send(200);
        at_venue.end().assert_whole(&[sent]);
        assert_nothing_lost(&first.finish());
    });
}

/// Something in real-time priority takes the CPU of the data core away: what it forwards would vanish
/// without a word. The process ends instead.
#[test]
fn a_stuck_data_core_ends_the_process() {
    let tools = ["chrt", "taskset", "sh"];
    sandboxed("ends::a_stuck_data_core_ends_the_process", &tools, || {
        let (control_cpu, core) = cpus();
        if control_cpu == core {
            println!("skipped: control needs a CPU of its own");
            return;
        }
        let config = without_http(&between("gw1", "net_ring0", "net_ring1"));
        let config = config.replace("core_stall = \"20s\"", "core_stall = \"200ms\"");
        let mut gateway = Start::new(work_dir(), "gw1", &config).forwarding();
        // The kernel leaves ordinary threads 50 ms of a second beside it.
        let thief = Command::new("timeout")
            .args(["20", "chrt", "-f", "1", "taskset", "-c", &core.to_string()])
            .args(["sh", "-c", "while :; do :; done"])
            .spawn();
        let mut thief = thief.unwrap();
        let fell = wait_for("the end of one of them", || {
            let refused = thief.try_wait().unwrap().is_some();
            (refused || !gateway.runs()).then_some(!refused)
        });
        // `timeout` passes the signal on.
        kill_process(Pid::from_child(&thief), Signal::TERM).ok();
        thief.wait().unwrap();
        if !fell {
            println!("skipped: this system gives no real-time priority, or shares it out");
            return;
        }
        let ended = gateway.ended();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("has made no progress for"), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("(CPU {core})")), "{}", ended.stderr);
        // Its successor starts at once.
        let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
        assert_nothing_lost(&gateway.finish());
    });
}
