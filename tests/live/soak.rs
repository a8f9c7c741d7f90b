//! A gateway under traffic with a fault every second, for as long as `WIREPACE_SOAK_S` says; `scripts/soak`
//! asks for minutes or hours. What must hold: every packet has one end, every buffer is back, resident memory
//! is flat after warm-up, and no KPI is absent at the end that was there before the faults.
//!
//! A gateway that does not answer in time has failed, unless the machine did not let it ([`machine`]): then it is
//! asked again, and the soak says at its end how often it was disturbed.

mod machine;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::config::{BURST_PORT, Driver, HTTP_PORT, on_veth};
use crate::gateway::{Gateway, Start, assert_accounted, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{command, sandboxed_for, work_dir};
use crate::traffic::{Flow, Stream};
use machine::Machine;

/// Seconds of faults without `WIREPACE_SOAK_S`: each fault once, and some twice.
const SECONDS: u64 = 16;
const EVERY: Duration = Duration::from_secs(1);
/// By then each fault has been met, and everything that the sliding windows keep (a minute of sums, whose pages
/// become resident where a value falls into them) has been used twice. The first half is warm-up too. Counted in
/// faults: a machine that stands still meanwhile has not warmed anything up.
const WARM_UP_FAULTS: u64 = 120;
/// What resident memory may grow by afterwards: values that had not been met yet, and what the allocator keeps.
const SLACK_KIB: u64 = 4_096;
/// Longest until a KPI that was there before the faults is there again.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How often a gateway is asked that the machine does not let answer.
const ASKED_MAX: u32 = 10;
/// Beside the faults, which may take twice their time where the machine stands still.
const REST: Duration = Duration::from_secs(300);

type Fault = fn(&Soak);

/// One every second, by turns.
const FAULTS: [(&str, Fault); 12] = [
    ("venue link down and up", |soak| soak.flap("gw-out")),
    ("another profile", |soak| soak.ask(&["profile", "set", "smooth"])),
    ("the confirmed profile", |soak| soak.ask(&["profile", "set", "normal"])),
    ("halt and resume", |soak| {
        soak.ask(&["halt", "--scope", "class:burst"]);
        soak.ask(&["resume", "--scope", "class:burst"]);
    }),
    ("passthrough and resume", |soak| {
        soak.ask(&["passthrough"]);
        soak.ask(&["resume"]);
    }),
    ("another rate", |soak| soak.apply("40M")),
    ("inside link down and up", |soak| soak.flap("gw-in")),
    ("the rate of before", |soak| soak.apply("50M")),
    ("clients that say nothing", Soak::silent_clients),
    ("a burst", |_| {
        BURST.send(3_000);
    }),
    ("nonsense to both sockets", Soak::nonsense),
    ("a process that stands still", |soak| {
        soak.gateway.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(20));
        soak.gateway.signal(Signal::CONT);
    }),
];

const BURST: Flow =
    Flow { from: Host::Strategy, port: BURST_PORT, bytes: 400, gap: Duration::from_micros(10) };

struct Soak {
    gateway: Gateway,
    config: String,
    machine: Machine,
    /// How often the machine kept the gateway from answering.
    disturbed: Cell<u32>,
}

impl Soak {
    fn ask(&self, verb: &[&str]) {
        self.answer(verb);
    }

    fn answer(&self, verb: &[&str]) -> Value {
        for _ in 0..ASKED_MAX {
            let before = self.machine.now();
            let output = self.gateway.ask(verb);
            if output.status.success() {
                return serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            }
            let span = self.machine.since(before);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(span.is_disturbed(), "{verb:?}: {said}{span}");
            println!("soak: disturbed: {verb:?}: {}; {span}; asked again", said.trim());
            self.disturbed.set(self.disturbed.get() + 1);
        }
        panic!("{verb:?}: the machine does not let the gateway answer");
    }

    fn flap(&self, interface: &str) {
        command(&format!("ip link set {interface} down"));
        thread::sleep(Duration::from_millis(100));
        command(&format!("ip link set {interface} up"));
    }

    fn apply(&self, rate: &str) {
        let config = self.config.replacen("rate = \"50M\"", &format!("rate = \"{rate}\""), 1);
        std::fs::write(work_dir().join("gw1.toml"), config).unwrap();
        self.ask(&["config", "apply"]);
    }

    fn silent_clients(&self) {
        let socket = work_dir().join("state/gw1/control.sock");
        let connected: Vec<_> =
            (0..40).map(|_| TcpStream::connect(("127.0.0.1", HTTP_PORT))).collect();
        let asked: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket)).collect();
        drop((connected, asked));
    }

    fn nonsense(&self) {
        let mut http = TcpStream::connect(("127.0.0.1", HTTP_PORT)).unwrap();
        // It may be closed before it has taken everything.
        let _ = http.write_all(&[0xff; 100_000]);
        let mut socket = UnixStream::connect(work_dir().join("state/gw1/control.sock")).unwrap();
        let _ = socket.write_all(&[b'['; 3 << 20]);
    }

    fn status(&self) -> Value {
        self.answer(&["status"])
    }

    fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.gateway.pid());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The series of KPIs that have a value now, by name and labels. What is not IP comes as it likes.
    fn kpis(&self) -> BTreeSet<String> {
        let status = self.status();
        let all = status["kpis"].as_object().unwrap();
        let host = all["host"].as_object().unwrap();
        let mut present = BTreeSet::new();
        for (name, kpi) in all.iter().chain(host) {
            for series in kpi["series"].as_array().into_iter().flatten() {
                let series = series.as_object().unwrap();
                // One quantile may want more samples than a busy machine leaves in a second.
                let has_value = series.iter().any(|(key, value)| key != "n" && value.is_number());
                let is_ip = |class: &Value| !class.as_str().unwrap_or("").starts_with("non_ip");
                if has_value && series.get("class").is_none_or(is_ip) {
                    let labels = series.iter().filter(|(key, value)| {
                        !["departure", "absent"].contains(&key.as_str()) && value.is_string()
                    });
                    let labels: Vec<String> =
                        labels.map(|(key, value)| format!("{key}={value}")).collect();
                    present.insert(format!("{name} {}", labels.join(" ")));
                }
            }
        }
        present
    }

    /// Those that come in some windows of a second: traffic and samples are not the same in each.
    fn kpis_in_peace(&self) -> BTreeSet<String> {
        let mut present = BTreeSet::new();
        for _ in 0..5 {
            thread::sleep(Duration::from_secs(1));
            present.append(&mut self.kpis());
        }
        present
    }
}

/// Flows both ways, and the sockets that they go to: what nobody reads is lost there.
fn traffic() -> (Vec<Stream>, Vec<UdpSocket>) {
    let gap = Duration::from_millis(1);
    let (there, back) = ((Host::Strategy, Host::Venue), (Host::Venue, Host::Strategy));
    let flows = [(there, 7100), (there, BURST_PORT), (back, 7200)];
    let flow = |((from, to), port): ((Host, Host), u16)| {
        let socket = to.udp(port);
        (Flow { from, port, bytes: 100, gap }.stream(), socket)
    };
    flows.map(flow).into_iter().unzip()
}

#[test]
fn with_a_fault_every_second_the_books_close_and_memory_stays() {
    let seconds = std::env::var("WIREPACE_SOAK_S").map_or(SECONDS, |n| n.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let test = "soak::with_a_fault_every_second_the_books_close_and_memory_stays";
    // What fails now and then is what a soak is there to find: there is no second attempt.
    sandboxed_for(test, &["ethtool"], 2 * time + REST, 1, || soak(time));
}

fn soak(time: Duration) {
    net::make();
    let state = work_dir().join("state");
    let named = format!("name = \"gw1\"\nstate_dir = \"{}\"", state.display());
    let config = on_veth("gw1", Driver::AfPacket).replacen("name = \"gw1\"", &named, 1);
    let gateway = Start::new(work_dir(), "gw1", &config).forwarding();
    let machine = Machine::watch(gateway.pid());
    let soak = Soak { gateway, config, machine, disturbed: Cell::new(0) };
    net::meet();
    let (streams, sockets) = traffic();
    let before = soak.kpis_in_peace();
    assert!(before.len() > 20, "{before:?}");

    let began = soak.machine.now();
    let (mut warm, mut largest, mut faults) = (0, 0, 0);
    for (name, fault) in FAULTS.iter().cycle() {
        // What the machine took is made up for: so many seconds of faults are asked for.
        let so_far = soak.machine.since(began).calm();
        if so_far >= time {
            break;
        }
        let at = Instant::now();
        fault(&soak);
        faults += 1;
        thread::sleep(EVERY.saturating_sub(at.elapsed()));
        let resident = soak.resident_kib();
        println!("{:>6.1} s: {name}; {resident} KiB", so_far.as_secs_f64());
        if faults <= WARM_UP_FAULTS.max(time.as_secs() / 2) {
            warm = warm.max(resident);
        } else {
            largest = largest.max(resident);
        }
    }

    soak.ask(&["resume"]);
    soak.ask(&["profile", "set", "normal"]);
    soak.apply("50M");
    wait_for("both links", || {
        let status = soak.status();
        let ports = status["ports"].as_array().unwrap();
        ports.iter().all(|port| port["link"] == "up").then_some(())
    });
    let mut absent = before;
    let peace = soak.machine.now();
    while !absent.is_empty() && soak.machine.since(peace).calm() < BACK_WITHIN {
        let now = soak.kpis();
        absent.retain(|kpi| !now.contains(kpi));
        thread::sleep(Duration::from_millis(200));
    }
    let status = soak.status();
    println!("soak: disturbed {} times: {}", soak.disturbed.get(), soak.machine.since(began));
    let sent: u32 = streams.into_iter().map(Stream::end).sum();
    drop(sockets);
    let summary = soak.gateway.finish();
    let number = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("no {key}"));
    let dropped: u64 =
        summary["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    println!(
        "soak: {faults} faults in {:.0} s, {sent} datagrams sent, {} packets in, {} out, {dropped} ended \
         ({}), over budget {}, control restarts {}, resident {warm} KiB warm and {largest} KiB at most after",
        time.as_secs_f64(),
        number("packets_in"),
        number("packets_out"),
        summary["drops"],
        summary["over_budget"],
        status["counters"]["control_restarts"],
    );
    assert_accounted(&summary);
    // What may not drop is kept beyond its queue, and what then ends for want of buffers leaves the reserve alone:
    // the device finds one for whatever arrives.
    let ended_empty = summary["drops"]["pool_empty"].as_u64().unwrap_or(0);
    assert!(ended_empty == 0 || number("over_budget") > 0, "{}", summary["drops"]);
    let no_buffer = status["counters"]["device_no_buffer"].as_array().unwrap();
    assert!(no_buffer.iter().all(|port| port["value"] == 0), "{no_buffer:?}");
    assert_eq!(status["counters"]["control_restarts"], 0);
    assert!(absent.is_empty(), "absent at the end: {absent:?}: {}", status["kpis"]);
    assert!(
        largest <= warm + SLACK_KIB,
        "resident memory grows: {warm} KiB warm, {largest} KiB later"
    );
}
