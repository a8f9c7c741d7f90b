//! The command line: exit codes, what stands on stdout and on stderr, and the fields of the JSON.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::commands::{Ran, replay, repository, wirepace};
use tempfile::TempDir;

fn config() -> PathBuf {
    repository("configs/replay.toml")
}

fn orders() -> PathBuf {
    repository("tests/golden/orders-s1.pcap")
}

fn run_replay(config: &Path, input: &Path, out: &Path, options: &[&str]) -> Ran {
    let arguments = [
        OsStr::new("replay"),
        "--config".as_ref(),
        config.as_ref(),
        "--in".as_ref(),
        input.as_ref(),
        "--out".as_ref(),
        out.as_ref(),
    ];
    wirepace(arguments.into_iter().chain(options.iter().map(OsStr::new)))
}

#[test]
fn a_replay_prints_every_field_that_is_promised() {
    let json = replay(&config(), &orders(), &[]).json();
    for key in [
        "packets_in",
        "packets_out",
        "segments_added",
        "bytes_in",
        "bytes_out",
        "bytes_added",
        "bytes_stripped",
        "held",
        "device_lost",
        "early",
        "mbufs_leaked",
        "timestamps_backwards",
        "flow_table_full",
        "over_budget",
    ] {
        assert!(json[key].is_u64(), "{key}: {}", json[key]);
    }
    for key in ["drops", "drops_bytes", "counters", "kpis", "host", "alarms"] {
        assert!(json[key].is_object(), "{key}: {}", json[key]);
    }
    assert_eq!(json["regime_transitions"], Value::Array(vec![]));
    assert!(json["duration_s"].as_f64().unwrap() > 1.0);
    let digest = json["config_digest"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{digest}");
    assert!(json["dpdk_version"].as_str().unwrap().starts_with("DPDK 22.11"));
    let host = &json["host"];
    for key in ["mpps", "cycles_per_packet", "wall_s"] {
        assert!(host[key].as_f64().unwrap() > 0.0, "{key}: {host}");
    }
    assert!(host["steal_s"].is_number() && host["machine"].is_object(), "{host}");
    for (name, kpi) in json["kpis"].as_object().unwrap() {
        assert!(kpi["unit"].is_string(), "{name}");
        for row in kpi["series"].as_array().unwrap() {
            assert!(row["n"].is_u64() && row["basis"].is_string(), "{name}: {row}");
        }
    }
    for name in ["dispatch_to_wire_ns", "pacer_error_ns", "burstiness_index", "drops"] {
        assert!(json["kpis"][name].is_object(), "{name}");
    }
}

#[test]
fn every_kpi_of_a_replay_is_in_the_catalogue() {
    let catalogue = wirepace(["kpis", "--json"]).json().to_string();
    let json = replay(&config(), &orders(), &[]).json();
    let kpis = json["kpis"].as_object().unwrap();
    let host = json["host"]["kpis"].as_object().unwrap();
    assert!(kpis.len() > 10 && !host.is_empty());
    for name in kpis.keys().chain(host.keys()) {
        assert!(catalogue.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn a_replay_for_people_shows_the_sums_and_leaves_stderr_empty() {
    let directory = TempDir::new().unwrap();
    let ran = run_replay(&config(), &orders(), &directory.path().join("out.pcapng"), &[]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    for words in ["packets   in         2435   out         2435   held 0", "drops     none"] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
}

#[test]
fn bad_usage_ends_with_2_and_says_what_is_allowed() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out.pcapng");
    for (arguments, words) in [
        (&[][..], "Usage"),
        (&["reply"], "replay"),
        (&["replay"], "--config"),
        (&["replay", "--config", "a", "--in", "b", "--out", "c", "--seed", "x"], "--seed"),
        (&["check"], "--config"),
        (&["generate", "--kind", "trades", "--out", "x"], "market-data"),
        (&["generate", "--kind", "orders", "--seconds", "0", "--out", "x"], "--seconds"),
        (&["generate", "--kind", "orders", "--seconds", "nan", "--out", "x"], "--seconds"),
        (&["run", "--config", "a", "--duration", "10"], "--duration"),
    ] {
        let ran = wirepace(arguments);
        ran.assert_failed(2, &[words]);
        assert_eq!(ran.stdout, "");
    }
    run_replay(&config(), &orders(), &out, &["--profile", "nosuch", "--json"])
        .assert_failed(2, &["--profile nosuch", "normal, smooth"]);
    run_replay(&repository("configs/gateway.toml"), &orders(), &out, &["--json"])
        .assert_failed(2, &["gateway.toml", "clock = \"virtual\""]);
    run_replay(&repository("tests/configs-broken/syntax.toml"), &orders(), &out, &[])
        .assert_failed(2, &["syntax.toml:"]);
    run_replay(&directory.path().join("absent.toml"), &orders(), &out, &[])
        .assert_failed(2, &["absent.toml", "No such file"]);
    assert!(!out.exists(), "nothing is written before the config is right");
}

#[test]
fn no_file_is_overwritten_that_is_also_read() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, from: &Path| {
        let path = directory.path().join(name);
        fs::copy(from, &path).unwrap();
        path
    };
    let (input, own_config) = (file("in.pcap", &orders()), file("own.toml", &config()));
    let link = directory.path().join("link.pcapng");
    std::os::unix::fs::symlink(&input, &link).unwrap();
    let out = directory.path().join("out.pcapng");

    run_replay(&own_config, &input, &input, &[]).assert_failed(2, &["--out", "is also --in"]);
    run_replay(&own_config, &input, &link, &[]).assert_failed(2, &["--out", "is also --in"]);
    run_replay(&own_config, &input, &own_config, &[]).assert_failed(2, &["is also --config"]);
    let kpis =
        |path: &Path| run_replay(&own_config, &input, &out, &["--kpis", path.to_str().unwrap()]);
    kpis(&input).assert_failed(2, &["--kpis", "is also --in"]);
    kpis(&out).assert_failed(2, &["is also --"]);
    assert_eq!(fs::read(&input).unwrap(), fs::read(orders()).unwrap());
    assert_eq!(fs::read(&own_config).unwrap(), fs::read(config()).unwrap());
    // A device is nobody's file.
    let null = Path::new("/dev/null");
    let ran = run_replay(&own_config, &input, null, &["--kpis", "/dev/null", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
}

#[test]
fn files_that_cannot_be_read_or_written_end_with_1_and_their_names() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out.pcapng");
    let absent = directory.path().join("absent");
    for options in [&["--json"][..], &["--json", "--via-pmd"]] {
        let input = absent.join("in.pcap");
        let ran = run_replay(&config(), &input, &out, options);
        ran.assert_failed(1, &["absent/in.pcap", "No such file"]);
        assert!(ran.json()["error"].is_string(), "{ran:#?}");
        run_replay(&config(), directory.path(), &out, options)
            .assert_failed(1, &[directory.path().to_str().unwrap()]);
        run_replay(&config(), &orders(), &absent.join("out.pcapng"), options)
            .assert_failed(1, &["absent/out.pcapng", "cannot write", "No such file"]);
    }
    let kpis = absent.join("kpis.json");
    run_replay(&config(), &orders(), &out, &["--kpis", kpis.to_str().unwrap()])
        .assert_failed(1, &["absent/kpis.json", "cannot write"]);
    // A disk that is full.
    let full = Path::new("/dev/full");
    if full.exists() {
        let ran = run_replay(&config(), &orders(), full, &["--json"]);
        ran.assert_failed(1, &["/dev/full", "cannot write", "No space left"]);
        assert!(ran.json()["error"].is_string(), "{ran:#?}");
        run_replay(&config(), &orders(), &out, &["--kpis", "/dev/full"])
            .assert_failed(1, &["/dev/full", "cannot write"]);
    }
}

#[test]
fn generate_writes_the_same_bytes_for_the_same_seed() {
    let directory = TempDir::new().unwrap();
    let make = |name: &str, seed: &str| {
        let out = directory.path().join(name);
        let ran = wirepace([
            "generate",
            "--kind",
            "orders",
            "--seconds",
            "0.1",
            "--seed",
            seed,
            "--json",
            "--out",
            out.to_str().unwrap(),
        ]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        let json = ran.json();
        assert!(json["frames"].as_u64() > Some(50) && json["bytes"].is_u64(), "{json}");
        fs::read(out).unwrap()
    };
    let first = make("a.pcap", "5");
    assert!(first == make("b.pcap", "5"));
    assert!(first != make("c.pcap", "6"));
    let absent = directory.path().join("absent/x.pcap");
    wirepace(["generate", "--kind", "mixed", "--out", absent.to_str().unwrap()])
        .assert_failed(1, &["absent/x.pcap", "cannot write"]);
}

/// What must leave at its time must not leave at line rate instead: no virtual device sends at a given
/// time, so the start is refused, and says on which port and what to change.
#[test]
fn a_demand_for_launch_times_that_no_port_can_meet_refuses_the_start() {
    let ran = run_null("launch-test", "launch_time = \"require\"", "", "");
    ran.assert_failed(
        1,
        &["port sink (net_null1,no-rx=1): launch_time = \"require\"", "net_null", "\"prefer\""],
    );
    assert!(ran.json()["error"].is_string(), "{ran:#?}");
}

/// `configs/bench-null.toml` under another name for half a second, with more said of its sink and in
/// tables of both ports. Without the flow mix: a bench that ends packets has failed.
fn run_null(name: &str, sink: &str, of_source: &str, of_sink: &str) -> Ran {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gateway.toml");
    let text = fs::read_to_string(repository("configs/bench-null.toml")).unwrap();
    let mix = text.find("[port.bench]").unwrap();
    let mix_end = mix + text[mix..].find("[[port]]").unwrap();
    let state_dir = directory.path().join("state");
    let named = format!("name = {name:?}\nstate_dir = {state_dir:?}");
    let text = text
        .replace("name = \"bench-null\"", &named)
        .replace(&text[mix..mix_end], &format!("{of_source}\n"))
        .replace("no-rx=1\"", &format!("no-rx=1\"\n{sink}"))
        .replace("[[pair]]", &format!("{of_sink}\n[[pair]]"));
    fs::write(&config, text).unwrap();
    wirepace(["run", "--config", config.to_str().unwrap(), "--duration", "500ms", "--json"])
}

/// Nor does one cut TCP: super-frames would leave as they are, or not at all.
#[test]
fn a_demand_for_hardware_segmentation_that_no_port_can_meet_refuses_the_start() {
    let ran = run_null("segment-test", "segment = \"hardware\"", "", "");
    let port = "port sink (net_null1,no-rx=1, driver net_null): segment = \"hardware\"";
    ran.assert_failed(1, &[port, "lacks TCP_TSO", "segment = \"software\" or \"refuse\""]);
    assert!(ran.json()["error"].is_string(), "{ran:#?}");
}

/// The faults of a drill happen to a running gateway, and its books close all the same: what a port
/// refuses is offered again, what a wrapper loses was never received.
#[test]
fn faults_of_a_port_leave_the_books_closed() {
    let run = |source: &str, sink: &str| {
        let table = |keys: &str| match keys {
            "" => String::new(),
            keys => format!("[port.faults]\nseed = 7\n{keys}\n"),
        };
        let ran = run_null("faults-test", "", &table(source), &table(sink));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        for (port, keys) in [("source", source), ("sink", sink)] {
            let told = ran.stderr.contains(&format!("port {port}: faults are on"));
            assert_eq!(told, !keys.is_empty(), "{}", ran.stderr);
        }
        let json = ran.json();
        let number = |key: &str| json[key].as_u64().unwrap();
        let drops = json["drops"].as_object().unwrap().values().map(|n| n.as_u64().unwrap());
        let (came, left) = (number("packets_in"), number("packets_out"));
        assert_eq!(came, left + drops.sum::<u64>() + number("held"), "{json:#}");
        assert_eq!((number("mbufs_leaked"), number("early")), (0, 0), "{json:#}");
        (came, left)
    };
    let (came, left) = run(
        "drop = 0.1\nduplicate = 0.1\nreorder = 0.05",
        "refuse = 0.2\nwithhold_completions = 0.1\nclock_step = \"50us\"\nclock_step_every = \"20ms\"",
    );
    assert!(came > 1_000 && left > 1_000, "{came} came, {left} left");
    // Each side is there: all lost is none received, and of every burst that is refused something
    // stays until it is stopped.
    assert_eq!(run("drop = 1.0", ""), (0, 0));
    let (came, left) = run("", "refuse = 1.0");
    assert!(left < came, "{came} came, {left} left");
}

/// What could not be written was not printed, whatever the command did.
#[test]
fn a_stdout_that_is_full_is_a_failure_and_one_that_is_gone_is_none() {
    for arguments in [&["kpis", "--json"][..], &["kpis"]] {
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_wirepace"))
            .args(arguments)
            .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("cannot write to stdout: No space left"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_wirepace"))
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!((said.status.code(), &said.stderr[..]), (Some(0), &b""[..]), "{arguments:?}");
    }
}

#[test]
fn a_capture_does_not_go_to_stdout_nor_into_a_file_called_dash() {
    let directory = TempDir::new().unwrap();
    let generate = ["generate", "--kind", "orders", "--seconds", "0.01", "--out", "-"];
    wirepace(generate).assert_failed(2, &["--out", "name a file"]);
    let ran = run_replay(&config(), &orders(), Path::new("-"), &[]);
    ran.assert_failed(2, &["--out", "name a file"]);
    let out = directory.path().join("o.pcapng");
    run_replay(&config(), &orders(), &out, &["--kpis", "-"]).assert_failed(2, &["--kpis"]);
    run_replay(&config(), &orders(), &out, &["--timeline", "-"]).assert_failed(2, &["--timeline"]);
}

#[test]
fn a_timeline_that_cannot_be_written_says_what_the_system_says() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("o.pcapng");
    let nowhere = directory.path().join("no/T.parquet");
    let options = ["--timeline", nowhere.to_str().unwrap()];
    let ran = run_replay(&config(), &orders(), &out, &options);
    ran.assert_failed(1, &["T.", "cannot write: No such file or directory"]);
    assert!(!ran.stderr.contains("External"), "{}", ran.stderr);
}

/// One figure, one value.
#[test]
fn cycles_per_packet_of_the_host_are_those_of_the_kpi() {
    let host = replay(&config(), &orders(), &[]).json()["host"].clone();
    let kpi = &host["kpis"]["cycles_per_packet"]["series"][0]["mean"];
    let (host, kpi) = (host["cycles_per_packet"].as_f64().unwrap(), kpi.as_f64().unwrap());
    assert!((host - kpi).abs() <= kpi * 1e-9, "{host} and {kpi}");
}

/// Who reads stdout learns the reason there, whichever command it was and however far it came.
#[test]
fn a_refusal_is_an_object_on_stdout_where_json_is_wanted() {
    let directory = TempDir::new().unwrap();
    let broken = directory.path().join("broken.toml");
    fs::write(&broken, "[gateway]\nname = 7\n").unwrap();
    let (broken, good) = (broken.to_str().unwrap(), config().display().to_string());
    for (arguments, code, part) in [
        (&["run", "--config", "/absent.toml"][..], 2, "/absent.toml"),
        (&["run", "--config", broken], 2, "broken.toml:2:"),
        (&["check", "--config", broken], 2, "broken.toml:2:"),
        (&["run", "--config", &good], 2, "run needs clock"),
        (&["replay", "--config", &good, "--in", "/absent", "--out", "/dev/null"], 1, "/absent"),
        (&["status", "--instance", "no-such"], 1, "no-such"),
        (&["status", "--instance", "../up"], 2, "../up"),
        (&["halt", "--scope", "nothing:x"], 2, "nothing:x"),
        (&["profile", "set", "--instance", "no-such", "smooth"], 1, "no-such"),
        (&["status", "--no-such-option"], 2, "--no-such-option"),
        (&["check"], 2, "--config"),
    ] {
        let plain = wirepace(arguments);
        assert_eq!((plain.code, plain.stdout.as_str()), (Some(code), ""), "{plain:#?}");
        let ran = wirepace(arguments.iter().chain(&["--json"]));
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        let json = ran.json();
        let error = json["error"].as_str().unwrap_or_else(|| panic!("{ran:#?}"));
        assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
        assert_eq!(json["exit_code"], code, "{json}");
        // How a command is used is told by what was given of it, `--json` too.
        assert_eq!(plain.stderr.lines().next(), ran.stderr.lines().next());
    }
}
