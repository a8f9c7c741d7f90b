//! One class table out of many wishes: the strictest of each field, never looser than what the
//! operator confirmed, never below the floor of a class.
#![allow(clippy::unwrap_used)]

#[path = "regime/gateway.rs"]
mod gateway;

use model::config::Config;
use model::kind::Kind;
use model::profile::{ClassParams, Lateness, Profile, Segment};
use model::regime::{
    Backlog, COMPOSED_INDEX, ClassFacts, Guardrail, Patches, Posture, Target, Want, compose,
    selectable,
};
use model::time::Nanos;
use proptest::prelude::*;

const PORT: &str = r#"
burst = "64KiB"
inflight_limit = "64KiB"
link = "10G"
completion_batch = 8
completion_delay = "1us""#;

const CLASSES: &str = r#"
[[class]]
name = "orders"
kind = "order"
priority = 1
rate = "50M"
burst = "8 packets"
flow_rate = "20M"
flow_burst = "4 packets"
queue_packets = 1000
queue_bytes = "1MiB"
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "session"
kind = "mixed"
halt_mixed = "block"
cancel_on_disconnect = true
rate = "20M"
[[class]]
name = "bulk"
priority = 3
rate = "100M"
burst = "64KiB"
reserved = "1M"
allow_drop = true
allow_drop_reason = "bulk"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = 7000
"#;

fn text() -> String {
    gateway::text_of(PORT, "bulk", CLASSES)
}

const ORDERS: usize = 0;
const CANCELS: usize = 1;
const SESSION: usize = 2;
const BULK: usize = 3;
const OUT: usize = 1;

/// With an own `contain` that takes rates.
const OWN: &str = r#"
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
rate = "1M"
flow_rate = "1M"
max_hold = "50us"
[[profile.class]]
name = "bulk"
rate = "1M"
closed = true
lateness = "drop"
late_after = "100us"
[[profile.port]]
name = "out"
rate = "10M"
inflight_limit = "32KiB"
"#;

fn config(more: &str) -> Config {
    Config::from_toml("test.toml", &(text() + more)).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn facts(floor: Option<u64>) -> Vec<ClassFacts> {
    let kinds = [Kind::Order, Kind::Cancel, Kind::Mixed, Kind::Other, Kind::Other];
    kinds.map(|kind| ClassFacts { kind, rate_floor: floor }).to_vec()
}

fn want(machine: &str, posture: Posture, classes: &[usize], ports: &[usize]) -> Want {
    Want { machine: machine.into(), posture, classes: classes.into(), ports: ports.into() }
}

#[test]
fn nothing_asked_for_is_the_confirmed_table() {
    let config = config("");
    let normal = &config.profiles[0];
    let patches = Patches::new(&config);
    let composed = compose(normal, &patches, &[], &facts(None));
    assert_eq!((&composed.profile, composed.reasons.len()), (normal, 0));
    let idle = want("pacing", Posture::Normal, &[ORDERS], &[OUT]);
    assert_eq!(compose(normal, &patches, &[idle], &facts(None)).profile, *normal);
}

#[test]
fn smooth_shortens_bursts_at_the_same_rate_and_cuts_here() {
    let config = config("");
    let normal = &config.profiles[0];
    let wants = [want("segmentation", Posture::Smooth, &[ORDERS], &[])];
    let composed = compose(normal, &Patches::new(&config), &wants, &facts(None));
    let (was, is) = (&normal.classes[ORDERS], &composed.profile.classes[ORDERS]);
    // One frame of 1514 + 24 and what 50 Mbit/s give in a slot of 1,024 ns: 6.4, rounded up.
    let (was_bits, is_bits) = (was.class.bits.unwrap(), is.class.bits.unwrap());
    assert_eq!((was_bits.burst, is_bits.burst), (8 * 1_538, 1_538 + 7));
    assert_eq!(was_bits.rate_per_s, is_bits.rate_per_s);
    assert_eq!(is.flow.bits.unwrap().burst, 1_538 + 3);
    assert_eq!(is.shaping.segment_most, Segment::Software);
    assert_eq!(composed.profile.classes[BULK], normal.classes[BULK], "its own scope only");
    assert_eq!(composed.profile.index, COMPOSED_INDEX);
    let fields: Vec<_> = composed.reasons.iter().map(|r| (r.field, r.set_by.as_str())).collect();
    let by = "segmentation";
    let expected = ["burst", "flow_burst", "segment", "telemetry"].map(|field| (field, by));
    assert_eq!(fields, expected);
}

/// Without a `[[profile]]` of the name the built-in one stands behind those of the file; with one it is as the
/// file says.
#[test]
fn built_in_profiles_can_be_selected_whatever_the_file_has() {
    let own = "[[profile]]\nname = \"calm\"\n[[profile]]\nname = \"anti_burst\"\n\
        [[profile.class]]\nname = \"orders\"\njitter = \"7us\"\n";
    for (more, names) in [
        ("", &["normal", "smooth", "anti_burst", "contain"][..]),
        (own, &["normal", "calm", "anti_burst", "smooth", "contain"][..]),
    ] {
        let all = selectable(&config(more));
        let found: Vec<&str> = all.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(found, names);
        assert!(all.iter().zip(0..).all(|(profile, index)| profile.index == index));
    }
    let jitter = |all: Vec<Profile>| all[2].classes[ORDERS].shaping.jitter_max;
    assert_eq!(jitter(selectable(&config(""))), Nanos::from_micros(25));
    assert_eq!(jitter(selectable(&config(own))), Nanos::from_micros(7));
}

#[test]
fn anti_burst_adds_delay_within_what_bursts_and_holds_forgive() {
    let config = config("");
    let normal = &config.profiles[0];
    let all = [ORDERS, CANCELS, SESSION, BULK];
    let wants = [want("drain", Posture::AntiBurst, &all, &[])];
    let composed = compose(normal, &Patches::new(&config), &wants, &facts(None));
    let class = |class: usize| &composed.profile.classes[class];
    let shaping = class(ORDERS).shaping;
    assert_eq!((shaping.hold_frames, shaping.hold_time), (4, Nanos::from_micros(100)));
    assert_eq!((shaping.fan_out, shaping.jitter_max), (4, Nanos::from_micros(25)));
    assert_eq!(class(ORDERS).class, normal.classes[ORDERS].class, "the caps stay");
    // A tenth of the port of 1 Gbit/s goes to cancels ahead of priority.
    assert_eq!(class(CANCELS).shaping.reserved.unwrap().rate_per_s, 100_000_000);
    assert_eq!(class(CANCELS).shaping.jitter_max, Nanos::ZERO);
    assert_eq!(class(SESSION), &normal.classes[SESSION], "a mixed session is not held");
}

#[test]
fn smooth_and_anti_burst_together_leave_no_jitter_that_would_cost_rate() {
    let config = config("");
    let normal = &config.profiles[0];
    let wants = [
        want("segmentation", Posture::Smooth, &[ORDERS], &[]),
        want("drain", Posture::AntiBurst, &[ORDERS], &[]),
    ];
    let composed = compose(normal, &Patches::new(&config), &wants, &facts(None));
    let is = &composed.profile.classes[ORDERS];
    // 50 Mbit/s x 25 us = 156.25 bytes, 20 Mbit/s x 25 us = 62.5.
    assert_eq!(is.class.bits.unwrap().burst, 1_538 + 157);
    assert_eq!(is.flow.bits.unwrap().burst, 1_538 + 63);
    assert_eq!(is.shaping.jitter_max, Nanos::from_micros(25));
    let by = |field| composed.reasons.iter().find(|r| r.field == field).unwrap().set_by.as_str();
    assert_eq!((by("burst"), by("jitter"), by("segment")), ("burst", "drain", "segmentation"));
}

#[test]
fn contain_leaves_a_quarter_but_never_less_than_it_takes_to_send() {
    let config = config("");
    let normal = &config.profiles[0];
    let wants = [want("byte_queue", Posture::Contain, &[ORDERS, BULK], &[OUT])];
    let composed = compose(normal, &Patches::new(&config), &wants, &facts(None));
    let is = &composed.profile.classes[ORDERS];
    assert_eq!((is.queue_packets, is.queue_bytes), (250, 256 << 10));
    // A quarter of 64 KiB is 16 KiB; 8 completions of 1,538 bytes are less.
    assert_eq!(composed.profile.egress[OUT].inflight_limit_bytes, Some(16 << 10));
    assert_eq!(composed.reasons.last().unwrap().target, Target::Port(OUT));
    let tight = text().replace("inflight_limit = \"64KiB\"", "inflight_limit = \"14KiB\"");
    let config = Config::from_toml("t.toml", &tight).unwrap();
    let composed = compose(&config.profiles[0], &Patches::new(&config), &wants, &facts(None));
    assert_eq!(composed.profile.egress[OUT].inflight_limit_bytes, Some(8 * 1_538));
}

#[test]
fn no_rate_falls_below_its_floor_and_nothing_is_closed() {
    let config = config(OWN);
    let normal = &config.profiles[0];
    let patches = Patches::new(&config);
    let wants = [want("drain", Posture::Contain, &[ORDERS, BULK], &[OUT])];
    let rate = |floor| {
        let composed = compose(normal, &patches, &wants, &facts(floor));
        let class = composed.profile.classes[ORDERS];
        (class.class.bits.unwrap().rate_per_s, class.flow.bits.unwrap().rate_per_s)
    };
    assert_eq!(rate(None), (50_000_000, 20_000_000), "nothing is known, nothing is taken");
    assert_eq!(rate(Some(12_000_000)), (12_000_000, 20_000_000));
    assert_eq!(rate(Some(500_000)), (1_000_000, 20_000_000));
    assert_eq!(rate(Some(900_000_000)), (50_000_000, 20_000_000), "nor given");
    let composed = compose(normal, &patches, &wants, &facts(Some(1)));
    assert!(!composed.profile.classes[BULK].closed, "the gateway itself refuses nothing");
    assert_eq!(composed.profile.classes[BULK].shaping.lateness, Lateness::Drop);
    assert_eq!(composed.profile.egress[OUT].port, normal.egress[OUT].port);
    assert_eq!(composed.profile.egress[OUT].inflight_limit_bytes, Some(32 << 10));
    let by = |field| composed.reasons.iter().find(|r| r.field == field).unwrap().set_by.as_str();
    assert_eq!((by("flow_rate"), by("max_hold")), ("rate_floor", "drain"));
}

#[test]
fn a_window_yields_to_a_shorter_hold() {
    let config = config(OWN);
    let wants = [
        want("drain", Posture::Contain, &[ORDERS], &[]),
        want("pacing", Posture::AntiBurst, &[ORDERS], &[]),
    ];
    let composed = compose(&config.profiles[0], &Patches::new(&config), &wants, &facts(None));
    let is = composed.profile.classes[ORDERS];
    assert_eq!(is.max_hold, Nanos::from_micros(50));
    assert_eq!(is.shaping.jitter_max, Nanos::from_micros(25));
    assert_eq!(is.shaping.hold_time, Nanos(24_999));
    let by = |field| composed.reasons.iter().find(|r| r.field == field).unwrap().set_by.as_str();
    assert_eq!((by("hold_time"), by("max_hold")), ("max_hold", "drain"));
}

#[test]
fn a_backlog_past_its_guard_lets_what_is_worth_most_go_first() {
    let config = config("");
    let mut profile = config.profiles[0].clone();
    let guard = Guardrail { budget_ppm: 500_000, priority: 1 };
    let orders = profile.classes[ORDERS];
    let backlog = |packets, bytes| Backlog { packets, bytes };
    assert!(!guard.is_past(&orders, backlog(500, 512 << 10)));
    assert!(guard.is_past(&orders, backlog(501, 0)));
    assert!(guard.is_past(&orders, backlog(0, (512 << 10) + 1)));
    assert_eq!(guard.apply(&mut profile, |class| class != BULK), [0; 0]);
    assert_eq!(guard.apply(&mut profile, |_| true), [BULK]);
    assert_eq!(profile.classes[BULK].shaping.reserved, None);
    assert_eq!(profile.classes[ORDERS], orders, "nothing else changes, and nothing ends by it");
}

fn is_no_looser(is: &ClassParams, was: &ClassParams) -> bool {
    let bucket = |a: Option<model::profile::Bucket>, b: Option<model::profile::Bucket>| match (a, b)
    {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(a), Some(b)) => a.rate_per_s <= b.rate_per_s && a.burst <= b.burst,
    };
    bucket(is.class.bits, was.class.bits)
        && bucket(is.flow.bits, was.flow.bits)
        && is.max_hold <= was.max_hold
        && is.queue_packets <= was.queue_packets
        && is.queue_bytes <= was.queue_bytes
        && is.shaping.flow_floor_bits_per_s >= was.shaping.flow_floor_bits_per_s
        && is.shaping.jitter_max >= was.shaping.jitter_max
        && is.shaping.fan_out <= was.shaping.fan_out
        && is.shaping.segment_most <= was.shaping.segment_most
        && is.priority == was.priority
        && is.closed == was.closed
        && is.drops_when_full == was.drops_when_full
}

fn differing(is: &Profile, was: &Profile) -> Vec<Target> {
    let classes = is.classes.iter().zip(&was.classes).enumerate().filter(|(_, (a, b))| a != b);
    let ports = is.egress.iter().zip(&was.egress).enumerate().filter(|(_, (a, b))| a != b);
    classes.map(|(n, _)| Target::Class(n)).chain(ports.map(|(n, _)| Target::Port(n))).collect()
}

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let posture = prop_oneof![
        Just(Posture::Normal),
        Just(Posture::Smooth),
        Just(Posture::AntiBurst),
        Just(Posture::Contain)
    ];
    let classes = proptest::collection::vec(0_usize..4, 0..4);
    let ports = prop_oneof![Just(vec![]), Just(vec![OUT])];
    let machine = prop_oneof![Just("pacing"), Just("drain"), Just("byte_queue")];
    let want = (machine, posture, classes, ports)
        .prop_map(|(machine, posture, classes, ports)| want(machine, posture, &classes, &ports));
    proptest::collection::vec(want, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_for(
        wants in wants(),
        floor in prop_oneof![Just(None), (0_u64..200_000_000).prop_map(Some)],
        own in any::<bool>(),
    ) {
        let config = config(if own { OWN } else { "" });
        let (normal, patches) = (&config.profiles[0], Patches::new(&config));
        let composed = compose(normal, &patches, &wants, &facts(floor));
        for (class, (is, was)) in composed.profile.classes.iter().zip(&normal.classes).enumerate() {
            prop_assert!(is_no_looser(is, was), "class {class}: {is:?}");
            if let (Some(is), Some(was)) = (is.class.bits, was.class.bits) {
                let least = floor.map_or(was.rate_per_s, |floor| was.rate_per_s.min(floor));
                prop_assert!(is.rate_per_s >= least);
            }
            let waits = is.shaping.hold_time.saturating_add(is.shaping.jitter_max);
            prop_assert!(waits < is.max_hold || waits == Nanos::ZERO);
            prop_assert_eq!(is.shaping.hold_frames > 1, is.shaping.hold_time > Nanos::ZERO);
            let exempt = [CANCELS, SESSION].contains(&class);
            prop_assert!(!exempt || is.shaping.jitter_max == Nanos::ZERO);
        }
        // Every change is explained, and nothing else is.
        let mut explained: Vec<_> = composed.reasons.iter().map(|r| r.target).collect();
        explained.dedup();
        for target in differing(&composed.profile, normal) {
            prop_assert!(explained.contains(&target), "{target:?} of {composed:?}");
        }
        // The strictest wins whoever comes first.
        let turned: Vec<_> = wants.iter().rev().cloned().collect();
        prop_assert_eq!(compose(normal, &patches, &turned, &facts(floor)).profile, composed.profile);
    }
}

#[test]
fn a_phase_locked_feed_is_not_held_back() {
    let quotes = "[[class]]\nname = \"quotes\"\nfrom = \"venue\"\nkind = \"market_data\"\n";
    // As the built-in one, and as one of the operator's own.
    for own in ["", "[[profile]]\nname = \"anti_burst\"\n"] {
        let config = config(&format!("{quotes}{own}"));
        let feed = config.classes.iter().position(|class| class.name == "quotes").unwrap();
        let wants = [want("delivery", Posture::AntiBurst, &[feed], &[])];
        let patches = Patches::new(&config);
        let composed = compose(&config.profiles[0], &patches, &wants, &facts(None));
        assert!(composed.profile.classes[feed].shaping.rx_hold_off);
        let fields: Vec<_> = composed.reasons.iter().map(|reason| reason.field).collect();
        assert_eq!(fields, ["rx_hold"]);
        let back = config.classes.iter().position(|class| class.name == "back").unwrap();
        let table = patches.table(Posture::AntiBurst).unwrap();
        assert!(!table.classes[back].shaping.rx_hold_off, "only market data is ever held");
    }
}

/// The config with replaces, and what `wants` come to there.
fn with_replaces(more: &str, wants: &[Want]) -> (Profile, Vec<String>) {
    let text = text().replace(
        "[[class]]\nname = \"bulk\"",
        "[[class]]\nname = \"replaces\"\nkind = \"replace\"\nmessages_per_segment = 1\n\
         halt_mixed = \"block\"\n[[class]]\nname = \"bulk\"",
    );
    let config = Config::from_toml("test.toml", &format!("{text}{more}"));
    let config = config.unwrap_or_else(|e| panic!("{e:#?}"));
    let facts: Vec<ClassFacts> = config
        .classes
        .iter()
        .map(|class| ClassFacts { kind: class.kind, rate_floor: Some(1 << 40) })
        .collect();
    let composed = compose(&config.profiles[0], &Patches::new(&config), wants, &facts);
    let reason = |reason: &model::regime::Reason| format!("{} {}", reason.field, reason.set_by);
    (composed.profile, composed.reasons.iter().map(reason).collect())
}

#[test]
fn replaces_are_limited_only_where_the_file_says_so_and_cancels_never() {
    let all = Want {
        machine: "segmentation".to_owned(),
        posture: Posture::Smooth,
        classes: vec![ORDERS, CANCELS, SESSION, 3, 4],
        ports: vec![],
    };
    let replaces = |profile: &Profile| profile.classes[3].class.messages;
    let wants = std::slice::from_ref(&all);
    let (advised, _) = with_replaces("[regime]\nchurn_cap = \"50/s\"", wants);
    assert_eq!(replaces(&advised), None, "churn is advice");
    let enforced = "[regime]\nenforce_churn_cap = true\nchurn_cap = \"50/s\"";
    let (profile, reasons) = with_replaces(enforced, wants);
    let cap = replaces(&profile).unwrap();
    assert_eq!((cap.rate_per_s, cap.burst), (50, 1));
    assert!(reasons.contains(&"rate segmentation".to_owned()), "{reasons:?}");
    for class in [ORDERS, CANCELS, SESSION, 4] {
        assert_eq!(profile.classes[class].class.messages, None, "{class}");
    }
    let elsewhere = Want { classes: vec![ORDERS], ..all };
    let (profile, _) = with_replaces(enforced, &[elsewhere]);
    assert_eq!(replaces(&profile), None, "only in its own scope");
}

#[test]
fn contain_asks_for_the_second_path_where_there_is_one() {
    let second = r#"
[pair.second_path]
venue = "out-b"
path_drain = "500us"
probe_to = "10.9.0.254"
probe_from = "10.1.0.250"
probe_mac = "02:00:00:00:00:07"
[default_class]"#;
    let port = "[[port]]\nname = \"out-b\"\nside = \"venue\"\ndevice = \"capture\"\n[[pair]]";
    let text = text().replace("[default_class]", second).replace("[[pair]]", port);
    let with = Config::from_toml("test.toml", &text).unwrap_or_else(|e| panic!("{e:#?}"));
    for (config, expected) in [(config(""), false), (with, true)] {
        let want = Want {
            machine: "drain".to_owned(),
            posture: Posture::Contain,
            classes: vec![ORDERS],
            ports: vec![],
        };
        let mut patches = Patches::new(&config);
        let normal = &config.profiles[0];
        let of = |patches: &Patches| {
            let composed = compose(normal, patches, std::slice::from_ref(&want), &facts(None));
            [ORDERS, CANCELS].map(|class| composed.profile.classes[class].second_path)
        };
        assert_eq!(of(&patches), [expected, false], "its own scope");
        assert!(patches.without(Posture::Contain, "second_path", normal));
        assert_eq!(of(&patches), [false, false]);
    }
}
