//! Regimes as a user meets them: in a replay, the same each time; in a running gateway, by command.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::{Value, json};
use support::captures::{Pcap, pcap};
use support::commands::{Ran, Replay, replay, repository, wirepace};
use support::frames::{ACK, tcp};
use tempfile::TempDir;

/// Longest that a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine of its own on `configs/replay.toml`: orders that a bucket holds.
const BUSY: &str = r#"
[[regime.machine]]
name = "busy"
scope = "class"
lowest = "IDLE"
confirm = 1
release = 5
dwell = "300ms"

[[regime.machine.state]]
name = "HELD"
severity = 2
enter = [["cap_hit_ratio.ratio >= 0.02"]]
exit = [["cap_hit_ratio.ratio < 0.01"]]
profile = "anti_burst"
advice = ["backpressure"]
"#;

fn config(directory: &TempDir, regime: &str) -> PathBuf {
    let text = fs::read_to_string(repository("configs/replay.toml")).unwrap();
    let path = directory.path().join("regimes.toml");
    fs::write(&path, format!("{text}\n{regime}\n{BUSY}")).unwrap();
    path
}

/// Two seconds of order entry.
fn orders(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("orders.pcap");
    let out = path.to_str().unwrap();
    let ran = wirepace(["generate", "--kind", "orders", "--seconds", "2", "--out", out, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    path
}

fn transitions(json: &Value) -> &Vec<Value> {
    json["regime_transitions"].as_array().unwrap()
}

#[test]
fn a_replay_in_shadow_logs_what_it_would_do_and_changes_no_byte() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let observed = replay(&config(&directory, "[regime]\nmode = \"observe\""), &capture, &[]);
    assert!(transitions(&observed.json()).is_empty(), "observe decides nothing");
    let shadow = config(&directory, "[regime]\nmode = \"shadow\"");
    let (one, two) = (replay(&shadow, &capture, &[]), replay(&shadow, &capture, &[]));
    let json = one.json_without_host();
    assert_eq!(json, two.json_without_host(), "the same each time");
    assert!(fs::read(&one.output).unwrap() == fs::read(&observed.output).unwrap());
    let held = transitions(&json).iter().find(|t| t["to"] == "HELD").unwrap();
    assert_eq!((&held["machine"], &held["cause"]), (&json!("busy"), &json!("entered")));
    let value = &held["values"][0];
    assert_eq!(value["term"], "cap_hit_ratio.ratio >= 0.02");
    assert!(value["value"].as_f64() >= value["limit"].as_f64(), "{held}");
    assert!(value["n"].as_u64().unwrap() >= 30, "{held}");
}

#[test]
fn a_timeline_has_a_row_for_each_decision() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let rows = directory.path().join("T.parquet");
    let shadow = config(&directory, "[regime]\nmode = \"shadow\"");
    let json = replay(&shadow, &capture, &["--timeline", rows.to_str().unwrap()]).json();
    let file = fs::File::open(directory.path().join("T.regime_log.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let log: Vec<[String; 5]> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .map(|row| [1, 2, 3, 4, 5].map(|column| row.get_string(column).unwrap().clone()))
        .collect();
    let said = |t: &Value| {
        ["scope", "machine", "from", "to", "cause"].map(|key| t[key].as_str().unwrap().to_owned())
    };
    // A row that keeps its state is a decision and no transition.
    let moved: Vec<_> = log.into_iter().filter(|row| row[2] != row[3]).collect();
    assert_eq!(moved, transitions(&json).iter().map(said).collect::<Vec<_>>());
    assert!(moved.iter().any(|row| row[3] == "HELD"), "{moved:?}");
}

/// What rows say of the loop: each packet of `orders` bears the severity that the last decision before it
/// left, and the mode; where machines decide nothing there is none.
#[test]
fn rows_bear_the_mode_and_the_severity_in_force() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let rows = |mode: &str| {
        let path = directory.path().join("T.parquet");
        let config = config(&directory, &format!("[regime]\nmode = {mode:?}"));
        let json = replay(&config, &capture, &["--timeline", path.to_str().unwrap()]).json();
        let rows = support::rows::rows(&path).into_iter();
        (json, rows.filter(|row| row["class"] == "orders").collect::<Vec<_>>())
    };
    let (_, observed) = rows("observe");
    assert!(observed.iter().all(|row| row["mode"] == "observe" && row["regime"].is_null()));

    let (json, shadow) = rows("shadow");
    let moved: Vec<(u64, u64)> = transitions(&json)
        .iter()
        .map(|t| (t["at_ns"].as_u64().unwrap(), if t["to"] == "HELD" { 2 } else { 0 }))
        .collect();
    let (mut clean, mut held) = (0, 0);
    for row in &shadow {
        assert_eq!((&row["mode"], &row["canary"]), (&json!("shadow"), &Value::Null));
        let ended = row["t_tx"].as_u64().unwrap();
        let severity = moved.iter().rfind(|(at, _)| *at < ended).map_or(0, |(_, to)| *to);
        if moved.iter().all(|(at, _)| *at != ended) {
            assert_eq!(row["regime"], severity, "{row:?}");
        }
        *if severity == 0 { &mut clean } else { &mut held } += 1;
    }
    assert!(clean > 30 && held > 30, "{clean} and {held}");
}

/// A TCP segment of a session each ms, and its acknowledgement 0.3 ms later; where `late` says so, 0.9 ms
/// later, so that the next one is close behind it: compressed.
fn acknowledged(directory: &TempDir, late: impl Fn(u64) -> bool) -> [PathBuf; 2] {
    const START: u64 = 1_736_173_800_000_000_000;
    let (client, gateway) = ([10, 1, 0, 1], [10, 9, 0, 20]);
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for n in 0..401_u64 {
        let (sent, seq) = (START + n * 1_000_000, 1_000 + 100 * n as u32);
        out.push((sent, tcp(client, 40_000, gateway, 9_001, seq, ACK, &[b'x'; 100])));
        let mut ack = tcp(gateway, 9_001, client, 40_000, 1, ACK, &[]);
        // Ethernet 14, IPv4 20, and the acknowledgement at 8 of the TCP header.
        ack[42..46].copy_from_slice(&(seq + 100).to_be_bytes());
        back.push((sent + if late(n) { 900_000 } else { 300_000 }, ack));
    }
    [("out.pcap", out), ("back.pcap", back)].map(|(name, frames)| {
        let path = directory.path().join(name);
        fs::write(&path, pcap(Pcap { big: false, nanoseconds: true }, &frames)).unwrap();
        path
    })
}

/// 400 pairs. Usual: each fourth acknowledgement late, so 100 of them are compressed: 0.25. Each second:
/// 200, twice as much.
#[test]
fn what_is_usual_of_acknowledgements_is_frozen_kept_and_measured_in() {
    let directory = TempDir::new().unwrap();
    let kept = directory.path().join("baselines.json");
    let config = config(&directory, &format!("[regime]\nbaselines = {kept:?}"));
    let run = |[out, back]: &[PathBuf; 2], more: &[&str]| {
        let options = [&["--from-venue", back.to_str().unwrap()], more].concat();
        let json = replay(&config, out, &options).json();
        let series = json["kpis"]["ack_compression_ratio"]["series"].as_array().unwrap();
        let of_session = series.iter().find(|series| series["class"] == "fix-session");
        (of_session.unwrap().clone(), json["frozen"].clone())
    };
    let usual = acknowledged(&directory, |n| n % 4 == 2);
    let (session, frozen) = run(&usual, &["--freeze"]);
    assert_eq!((&session["share"], &session["absent"]), (&json!(0.25), &json!("no_baseline")));
    let share = json!({"fix-session": {"share": 0.25, "pairs": 400}});
    assert_eq!(frozen["baselines"]["ack_shares"], share);
    let on_disk: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert_eq!(on_disk, frozen["baselines"]);

    assert_eq!(run(&usual, &[]).0["ratio"], 1.0);
    let (session, frozen) = run(&acknowledged(&directory, |n| n % 2 == 0), &[]);
    assert_eq!(session["ratio"], 2.0);
    assert_eq!(session["baseline"], 0.25);
    assert_eq!(frozen, Value::Null, "only when asked for");
}

#[test]
fn a_freeze_needs_a_file_and_something_to_keep_in_it() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let replayed = replay(&config(&directory, ""), &capture, &["--freeze"]);
    replayed.ran.assert_failed(2, &["--freeze", "[regime] baselines"]);
    let regime = format!("[regime]\nbaselines = {:?}", directory.path().join("kept.json"));
    let replayed = replay(&config(&directory, &regime), &capture, &["--freeze"]);
    replayed.ran.assert_failed(1, &["nothing was frozen", "60 values"]);
    assert!(!directory.path().join("kept.json").exists());
}

#[test]
fn a_replay_in_active_mode_governs_allowed_classes_only_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let baselines = directory.path().join("baselines.json");
    let usual = json!({"cap_hit_ratio.ratio": {"median": 0, "n": 60}});
    let frozen = json!({
        "frozen_at_ns": 1_900_000_000_000_000_000_u64,
        "env_digest": "virtual",
        "values": {"class:orders": usual},
    });
    let baselines = write(&baselines, &frozen);
    let active = |allow: &str| {
        let regime = format!(
            "[regime]\nmode = \"active\"\nallow = {allow}\nlatch = false\nbaselines = {baselines:?}"
        );
        replay(&config(&directory, &regime), &capture, &[])
    };
    let bytes = |replay: &Replay| fs::read(&replay.output).unwrap();
    let (governed, again, nobody) = (active("[\"orders\"]"), active("[\"orders\"]"), active("[]"));
    let json = governed.json_without_host();
    assert_eq!(json, again.json_without_host());
    assert!(bytes(&governed) == bytes(&again));
    assert!(!transitions(&json).is_empty());
    for key in ["held", "early", "mbufs_leaked"] {
        assert_eq!(json[key], 0, "{key}");
    }
    assert_eq!(json["packets_out"], nobody.json()["packets_out"]);
    assert!(bytes(&governed) != bytes(&nobody));
    let observed = replay(&config(&directory, ""), &capture, &[]);
    assert!(bytes(&nobody) == bytes(&observed));
}

#[test]
fn a_file_of_baselines_that_is_none_is_named() {
    let directory = TempDir::new().unwrap();
    let capture = orders(&directory);
    let path = directory.path().join("baselines.json");
    fs::write(&path, "[]").unwrap();
    let regime = format!("[regime]\nbaselines = {:?}", path.display().to_string());
    let replayed = replay(&config(&directory, &regime), &capture, &[]);
    replayed.ran.assert_failed(1, &["baselines.json", "frozen baselines", "move the file away"]);
}

/// A gateway between two devices that carry nothing.
struct Gateway {
    config: PathBuf,
    child: Child,
    _directory: TempDir,
}

impl Gateway {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("gateway.toml");
        let text = fs::read_to_string(repository("configs/bench-null.toml")).unwrap();
        let mix = text.find("[port.bench]").unwrap();
        let mix_end = mix + text[mix..].find("[[port]]").unwrap();
        let state_dir = directory.path().join("state");
        let named =
            format!("name = \"regime-test\"\nstate_dir = {state_dir:?}\ncore_stall = \"20s\"");
        let kept = directory.path().join("baselines.json");
        let text = text
            .replace("name = \"bench-null\"", &named)
            .replace(&text[mix..mix_end], "\n")
            .replace("device = \"net_null0\"", "device = \"net_null0,no-rx=1\"");
        let regime = format!("\n[regime]\nallow = [\"orders\"]\nbaselines = {kept:?}\n");
        fs::write(&config, text + &regime).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirepace"));
        command.args(["run", "--json", "--duration", "60s", "--config"]).arg(&config);
        let pipe = Stdio::piped;
        let child = command.stdin(Stdio::null()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        let gateway = Self { config, child, _directory: directory };
        let deadline = Instant::now() + PATIENCE;
        while gateway.ask(&["mode"]).code != Some(0) {
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    fn ask(&self, verb: &[&str]) -> Ran {
        wirepace(verb.iter().copied().chain(["--config", self.config.to_str().unwrap(), "--json"]))
    }

    #[track_caller]
    fn answer(&self, verb: &[&str]) -> Value {
        let ran = self.ask(verb);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran.json()
    }

    /// Ends it and gives its summary.
    fn finish(self) -> Value {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn write(path: &Path, value: &Value) -> String {
    fs::write(path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn machines_are_pinned_released_fed_and_kept_from_governing_by_command() {
    let gateway = Gateway::start();
    let mode = gateway.answer(&["mode"]);
    assert_eq!((&mode["mode"], &mode["required"]["parents"]), (&json!("observe"), &json!(500)));

    let all = gateway.answer(&["regime"]);
    let machines = all["machines"].as_array().unwrap();
    // Three machines over two classes and one over the queue; there is no feed.
    assert_eq!(machines.len(), 3 * 2 + 1);
    assert!(machines.iter().all(|m| m["severity"] == 0), "{all}");

    let pin = ["regime", "pin", "drain", "class:orders", "CONTAINMENT", "--for", "30s"];
    assert_eq!(gateway.answer(&pin)["ok"], true);
    let all = gateway.answer(&["regime"]);
    let pinned = all["machines"].as_array().unwrap().iter().find(|m| m["state"] == "CONTAINMENT");
    assert!(pinned.unwrap()["pinned_until_ns"].is_u64(), "{all}");
    let released = gateway.answer(&["regime", "release", "drain", "class:orders"]);
    assert_eq!(released["decisions"][0]["cause"], "released");
    let unknown = gateway.ask(&["regime", "release", "drain", "class:absent"]);
    unknown.assert_failed(2, &["there are: class:quotes, class:orders"]);
    for (machine, state, said) in
        [("drian", "CONTAINMENT", "no machine"), ("drain", "CALM", "no state")]
    {
        gateway.ask(&["regime", "pin", machine, "orders", state]).assert_failed(2, &[said]);
    }
    gateway
        .ask(&["regime", "pin", "drain", "orders", "CONTAINMENT", "--for", "2000min"])
        .assert_failed(1, &["at most 3600s"]);

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("fed.json");
    let fed = json!([{"kpi": "replay", "value": "passed", "number": 1, "expires_s": 600}]);
    assert_eq!(gateway.answer(&["feed", "--file", &write(&file, &fed)])["taken"], 1);
    let wrong = json!([{"kpi": "replay", "value": "passed", "number": 1, "expires_s": 0}]);
    gateway.ask(&["feed", "--file", &write(&file, &wrong)]).assert_failed(1, &["expires_s"]);
    let path = write(&file, &json!({"kpi": 1}));
    gateway.ask(&["feed", "--file", &path]).assert_failed(2, &["fed.json", "an array of"]);
    gateway.ask(&["feed", "--file", "/absent"]).assert_failed(2, &["/absent"]);
    gateway.ask(&["feed", "--file", "/dev/zero"]).assert_failed(2, &["longer than 1 MiB"]);

    // Nothing was learned: no packets.
    gateway.ask(&["regime", "freeze"]).assert_failed(1, &["60 values"]);
    gateway.ask(&["mode", "shadow"]).assert_failed(1, &["no baselines are frozen"]);
    gateway.ask(&["mode", "active", "--confirm"]).assert_failed(1, &["one step at a time"]);
    gateway.ask(&["mode", "reckless"]).assert_failed(2, &["observe", "switchback"]);

    let status = gateway.answer(&["status"]);
    assert_eq!(status["regime"]["mode"], "observe");
    assert_eq!(status["regime"]["advice"]["class:orders"]["backpressure"], false);
    let summary = gateway.finish();
    // What was pinned was a change of state, by an operator.
    let causes: Vec<_> =
        transitions(&summary).iter().map(|t| t["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["pinned"]);
}
