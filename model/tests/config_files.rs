//! The configs that come with the product are good, and say what they are meant to say.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use model::config::{ClockKind, Config, Device, report, report_json, underlined};
use model::kind::{Kind, Side};
use model::profile::{Bucket, CLASSES_MAX};
use model::stop::StopWord;
use model::time::Nanos;

fn load(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    Config::from_toml(name, &text).unwrap_or_else(|errors| panic!("{}", underlined(&errors, &text)))
}

fn class(config: &Config, name: &str) -> usize {
    config.classes.iter().position(|class| class.name == name).unwrap()
}

#[test]
fn every_config_in_the_folder_is_good_and_is_reported() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // What compares paths is no gateway's config.
        .filter(|name| name.ends_with(".toml") && name != "ab.toml")
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let config = load(&name);
        assert!(config.digest.len() == 64 && config.classes.len() <= CLASSES_MAX, "{name}");
        assert!(report(&config).contains(&config.digest), "{name}");
        // The only word to the operator about these is the one on PTP.
        let others: Vec<_> = config.warnings.iter().filter(|w| !w.starts_with("PTP")).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

#[test]
fn gateway_toml_shows_the_defaults() {
    let text = include_str!("../../configs/gateway.toml");
    // The same config with every line left out that says no more than the default.
    let defaults = [
        "clock = \"tsc\"",
        "seed = 1",
        "slot = \"1024ns\"",
        "drain_max = \"50ms\"",
        "core_stall = \"500ms\"",
        "stall_threshold = \"250us\"",
        "flows_max = 65536",
        "memory = \"256MiB\"",
        "hugepages = \"auto\"",
        "mbufs = 32768",
        "mbuf_size = \"2304B\"",
        "http = \"127.0.0.1:9477\"",
        "lease = \"5s\"",
        "tick = \"100ms\"",
        "sample_one_in = 1024",
        "sample_ring = 65536",
        "frame_max = \"1514B\"",
        "rx_burst = 32",
        "rx_descriptors = 1024",
        "tx_descriptors = 1024",
        "forward_fragments = false",
        "completion = \"auto\"",
        "stall_time = \"5ms\"",
        "link_follow = false",
        "priority = 1",
        "messages_per_segment = 1",
        "max_hold = \"1ms\"",
        "queue_packets = 1024",
        "queue_bytes = \"1MiB\"",
        "on_overflow = \"backpressure\"",
        "flow_idle = \"60s\"",
        "pool_reserve = 0.05",
        "telemetry = false",
        "intent = \"off\"",
        "segment = \"refuse\"",
        "rx_queues = 1",
        "tx_queues = 1",
        "launch_time = \"off\"",
        "timesync = false",
        "arrangement = \"run_to_completion\"",
        "weight = 1",
        "flow_floor = \"8k\"",
        "lateness = \"catch-up\"",
        "jitter = \"0us\"",
        "legs = false",
        "hold_frames = 1",
        "hold_time = \"0us\"",
        "horizon = \"10s\"",
        "on_horizon = \"cap\"",
        "ecn_threshold = \"never\"",
        "intent = false",
        "window = \"sliding\"",
        "counts_cancels = true",
        "share = 1.0",
        "margin = 0.02",
        "cancel_reserve = 10",
    ];
    let mut left_out = 0;
    let short: Vec<&str> = text
        .lines()
        .filter(|line| {
            let is_default = defaults.iter().any(|default| line.starts_with(default));
            left_out += usize::from(is_default);
            !is_default
        })
        .collect();
    assert!(left_out >= defaults.len(), "{left_out}");
    let short = Config::from_toml("short", &short.join("\n")).unwrap();
    assert_eq!(short.digest, load("gateway.toml").digest);
}

#[test]
fn gateway_toml_comes_out_as_it_is_written() {
    let config = load("gateway.toml");
    assert_eq!(config.gateway.start_state, StopWord::Halt);
    assert_eq!(config.ports[0].device, Device::Vdev("net_af_xdp0,iface=gw-in".to_owned()));
    assert_eq!(config.venues, ["XCME"]);
    assert_eq!(config.labels.len(), 3, "the empty label, orders, and one for the other two rules");
    let names: Vec<&str> = config.classes.iter().map(|class| class.name.as_str()).collect();
    let expected = [
        "orders",
        "cancels",
        "fix-session",
        "other-out",
        "from-venue",
        "non_ip_inside",
        "non_ip_venue",
    ];
    assert_eq!(names, expected);
    assert_eq!(config.rules.default_class, [3, 4]);
    assert_eq!(config.rules.non_ip_class, [5, 6]);
    let tcp: Vec<bool> = config.classes.iter().map(|class| class.may_carry_tcp).collect();
    assert_eq!(tcp, [false, false, true, true, true, false, false]);

    let [flow, orders, port] = config.caps(0, 0, 1);
    assert_eq!(orders.bits, Some(Bucket::new(50_000_000, 4 * 1538)));
    assert_eq!(orders.messages, Some(Bucket::new(5000, 16)));
    // 20M for 100us are 250 bytes, less than one frame and what 20M give in a slot.
    assert_eq!(flow.bits, Some(Bucket::new(20_000_000, 1538 + 3)));
    assert_eq!(port.bits, Some(Bucket::new(1_000_000_000, 16_384)));
    let smooth = config.caps(1, 0, 1);
    assert_eq!(smooth[1].bits, Some(Bucket::new(50_000_000, 1538 + 7)));
    let hold = |name: &str| config.profiles[0].classes[class(&config, name)].max_hold;
    assert_eq!(hold("fix-session"), Nanos::from_millis(1));
    assert_eq!(hold("cancels"), Nanos::MAX);
    let text = report(&config);
    assert!(text.contains("burst 4 packets -> 6152 wire bytes = max(6152, 1538 + 7)"), "{text}");
    assert!(
        text.contains("cancels are not told apart: halt_mixed = block stops them too"),
        "{text}"
    );
}

#[test]
fn replay_toml_paces_orders_and_leaves_the_envelope_to_decide() {
    let config = load("replay.toml");
    assert_eq!(config.gateway.clock, ClockKind::Virtual);
    assert_eq!(config.control.sample_one_in, 1);
    assert!(config.ports.iter().all(|port| port.device == Device::Capture));
    assert!(config.ports[1].link.is_some() && config.ports[1].inflight_limit_bytes.is_some());
    let orders = class(&config, "orders");
    assert_eq!(config.classes[orders].kind, Kind::Order);
    let params = config.profiles[0].classes[orders];
    assert_eq!(params.max_hold, Nanos::from_millis(200));
    // A burst of five orders at once is more than the class lets through at once.
    assert!(params.class.messages.unwrap().burst < 5);
}

#[test]
fn envelopes_are_rows_of_every_node_in_every_profile() {
    let config = load("replay.toml");
    let json = report_json(&config).unwrap();
    let rows = json["envelopes"].as_array().unwrap();
    let nodes = 2 * config.classes.len() + config.ports.len();
    assert_eq!(rows.len(), nodes * config.profiles.len());
    let row = |profile: &str, name: &str, level: &str| {
        rows.iter()
            .find(|row| row["profile"] == profile && row["name"] == name && row["level"] == level)
            .unwrap()
    };
    let orders = row("normal", "orders", "class");
    assert_eq!(orders["rate_bps"], 20_000_000);
    assert_eq!(orders["burst_bytes"], 4 * 1538);
    assert_eq!(orders["messages_per_s"], 20_000);
    assert_eq!(orders["message_burst"], 4);
    assert_eq!(row("smooth", "orders", "flow")["burst_bytes"], 1538 + 2);
    assert_eq!(row("normal", "venue-a", "port")["burst_bytes"], 65_536);
    assert!(row("normal", "cancels", "class")["rate_bps"].is_null());
}

#[test]
fn bench_null_toml_caps_every_level_far_above_the_load() {
    let config = load("bench-null.toml");
    assert_eq!(config.ports[0].bench.unwrap().flows, 1024);
    let fastest = 200_000_000_000;
    let inside = config.classes.iter().zip(&config.profiles[0].classes);
    let own =
        inside.filter(|(class, _)| class.from == Side::Inside && !class.name.starts_with("non_ip"));
    let mut count = 0;
    for (_, params) in own {
        assert!(params.class.bits.unwrap().rate_per_s > fastest);
        assert!(params.flow.bits.unwrap().rate_per_s > fastest);
        count += 1;
    }
    assert_eq!(count, 2);
    assert!(config.profiles[0].egress[1].port.bits.unwrap().rate_per_s > fastest);
}

#[test]
fn the_digest_follows_values_not_text() {
    let text = include_str!("../../configs/gateway.toml");
    let digest = |text: &str| Config::from_toml("f", text).unwrap().digest;
    let same =
        text.replace("\"1ms\"", "\"1000us\"").replace("# ", "#  remark: ").replace("    ", " ");
    assert_eq!(digest(&same), digest(text));
    for (from, to) in [
        ("seed = 1 ", "seed = 2 "),
        ("rate = \"50M\"", "rate = \"51M\""),
        ("urgency = 128", "urgency = 127"),
        ("dst_port = 7010", "dst_port = 7011"),
        ("cancel_on_disconnect = true", "cancel_on_disconnect = false"),
    ] {
        let other = text.replace(from, to);
        assert_ne!(other, text, "{from}");
        assert_ne!(digest(&other), digest(text), "{from}");
    }
}
