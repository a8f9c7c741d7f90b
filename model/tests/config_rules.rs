//! Rules that the broken configs do not show: what is filled in, what is warned of, where bounds lie.
#![allow(clippy::unwrap_used)]

use model::config::{Budget, Config, CoreChoice, HaltMixed};
use model::kind::Side;
use model::profile::CLASSES_MAX;
use model::stop::StopWord;

const BASE: &str = include_str!("support/base.toml");

/// The base with each first text replaced by its second.
fn with(changes: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn good(changes: &[(&str, &str)]) -> Config {
    Config::from_toml("f", &with(changes)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The problems found, without their places.
fn problems(changes: &[(&str, &str)]) -> Vec<String> {
    let errors = Config::from_toml("f", &with(changes)).expect_err("a broken config");
    errors.into_iter().map(|error| error.problem).collect()
}

/// The warnings that are about this config, not about every live one.
fn warnings(changes: &[(&str, &str)]) -> Vec<String> {
    good(changes).warnings.into_iter().filter(|text| !text.starts_with("PTP")).collect()
}

const ORDERS: &str = "kind = \"order\"\n";

#[test]
fn the_base_has_nothing_to_warn_of() {
    assert_eq!(warnings(&[]), Vec::<String>::new());
}

#[test]
fn a_datagram_of_an_order_session_is_one_message_and_a_segment_is_not_guessed() {
    let config = good(&[]);
    assert_eq!(config.classes[0].messages_per_segment, Some(1));
    assert_eq!(config.classes[1].messages_per_segment, None);
    let config =
        good(&[(ORDERS, "kind = \"order\"\nhalt_mixed = \"pass\"\n"), ("\"udp\"", "\"tcp\"")]);
    assert_eq!(config.classes[0].messages_per_segment, None);
    assert_eq!(config.classes[0].halt_mixed, Some(HaltMixed::Pass));
}

#[test]
fn a_burst_of_messages_holds_the_fullest_packet() {
    let config =
        good(&[(ORDERS, "kind = \"order\"\nmessages = \"1000/s\"\nmessages_per_segment = 9\n")]);
    // What 1000/s give in a slot is no message, and is not made one.
    let bucket = config.profiles[0].classes[0].class.messages.unwrap();
    assert_eq!((bucket.burst, bucket.slack), (9, config.gateway.slot));
}

#[test]
fn the_default_class_is_closed_to_tcp_once_a_rule_takes_all_of_it() {
    let all = "[[rule]]\nclass = \"orders\"\nprotocol = \"tcp\"\n\n[[rule]]";
    let changes = [("[[rule]]", all), (ORDERS, "kind = \"order\"\nhalt_mixed = \"block\"\n")];
    let tcp: Vec<bool> = good(&changes).classes.iter().map(|class| class.may_carry_tcp).collect();
    assert_eq!(tcp, [true, false, true, false, false]);
}

#[test]
fn a_virtual_clock_starts_running_and_needs_no_core() {
    let config = good(&[
        ("start_state = \"halt\"", "clock = \"virtual\""),
        ("net_null0", "capture"),
        ("net_null1", "net_pcap0,tx_pcap=/tmp/x.pcap"),
        ("core = 1\n", ""),
    ]);
    assert_eq!(config.gateway.start_state, StopWord::Running);
    assert_eq!(config.pairs[0].core, CoreChoice::Auto);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_capture_has_no_real_clock() {
    let found = problems(&[("net_null0", "capture")]);
    assert_eq!(found, ["device = \"capture\" with clock = \"tsc\""]);
}

#[test]
fn fragments_are_forwarded_from_the_venue_only() {
    let config = good(&[]);
    for port in &config.ports {
        assert_eq!(port.forward_fragments, port.side == Side::Venue, "{}", port.name);
    }
}

#[test]
fn a_rule_behind_one_that_takes_all_of_it_is_named() {
    let second = "dst_port = 7000\n\n[[rule]]\nclass = \"rest\"\nprotocol = \"udp\"\ndst_port = 7000\ndscp = 46\n";
    let found = warnings(&[("dst_port = 7000\n", second)]);
    assert_eq!(found, ["f:41:1: this rule never matches: rule 1 before it takes all of it"]);
}

#[test]
fn what_has_no_effect_is_named() {
    let lost = "[[class]]\nname = \"lost\"\n\n[[class]]\nname = \"back\"";
    for (changes, expected) in [
        (vec![("[[class]]\nname = \"back\"", lost)], "class \"lost\": no rule leads to it"),
        (vec![("\"order\"\n", "\"cancel\"\nrate = \"1M\"\n")], "kind cancel is charged to `rate`"),
        (vec![("\"order\"\n", "\"order\"\nhalt_mixed = \"pass\"\n")], "halt_mixed has no effect"),
        (
            vec![("\"net_null1\"", "\"net_null1\"\ninflight_limit = \"64KiB\"")],
            "inflight_limit never binds",
        ),
        (vec![("\"halt\"", "\"halt\"\ncontrol_cpu = 1")], "runs the control thread as well"),
    ] {
        let found = warnings(&changes);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn a_drop_policy_with_a_reason_is_allowed_on_orders() {
    let reason = "kind = \"order\"\non_overflow = \"drop\"\nallow_drop = true\nallow_drop_reason = \"conflated\"\n";
    let config = good(&[(ORDERS, reason)]);
    assert_eq!(config.classes[0].allow_drop.as_deref(), Some("conflated"));
    assert!(config.profiles[0].classes[0].drops_when_full);
}

/// `BASE` with so many more classes, each with a rule and a venue of its own.
fn many(count: usize) -> String {
    use std::fmt::Write as _;
    let mut text = BASE.to_owned();
    for index in 0..count {
        write!(text, "\n[[class]]\nname = \"c{index}\"\nqueue_packets = 8\n").unwrap();
        write!(text, "\n[[rule]]\nclass = \"c{index}\"\nprotocol = \"udp\"\ndst_port = {index}\n")
            .unwrap();
        if index < 17 {
            writeln!(text, "venue = \"V{index}\"").unwrap();
        }
    }
    text
}

#[test]
fn classes_and_venues_are_counted_with_the_built_in_ones() {
    let config = Config::from_toml("f", &many(16)).unwrap();
    assert_eq!((config.classes.len(), config.venues.len()), (3 + 16 + 2, 16));
    // Three in the base and two built in: one more than there may be.
    let errors = Config::from_toml("f", &many(CLASSES_MAX - 4)).unwrap_err();
    let found: Vec<&str> = errors.iter().map(|error| error.problem.as_str()).collect();
    let classes = format!("{} classes", CLASSES_MAX - 1);
    assert_eq!(found, ["venue \"V16\" is one too many", classes.as_str()]);
}

#[test]
fn a_profile_starts_from_normal_and_unlimited_may_be_capped() {
    let profile = "\n[[profile]]\nname = \"calm\"\n\n[[profile.class]]\nname = \"rest\"\nrate = \"8M\"\n\
                   max_hold = \"5ms\"\n\n[[profile.port]]\nname = \"out\"\nrate = \"1G\"\n";
    let config = Config::from_toml("f", &format!("{BASE}{profile}")).unwrap();
    let [normal, calm] = &config.profiles[..] else { panic!("{:?}", config.profiles) };
    assert_eq!(calm.classes[0], normal.classes[0]);
    assert_eq!(normal.classes[1].class.bits, None);
    assert_eq!(calm.classes[1].class.bits.unwrap().burst, 1538 + 2);
    assert_eq!(calm.egress[1].port.bits.unwrap().burst, 1538 + 128);
    assert!(calm.needs_lease() && !normal.needs_lease());
}

#[test]
fn a_profile_cannot_cap_messages_that_nothing_counts() {
    let profile = "\n[[profile]]\nname = \"calm\"\n\n[[profile.class]]\nname = \"rest\"\nmessages = \"5/s\"\n";
    let errors = Config::from_toml("f", &format!("{BASE}{profile}")).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].problem, "a message rate on class \"rest\", which may carry TCP");
}

#[test]
fn the_buffer_budget_counts_what_each_kind_of_port_holds() {
    let budget = |device: &str| {
        let config = good(&[("net_null1", device)]);
        Budget::of(&config.ports, &config.pairs, &config.profiles[0].classes, &config.dpdk)
    };
    let null = budget("net_null1");
    assert_eq!(null.class_queues, 5 * 1024);
    assert_eq!((null.rings, null.descriptors, null.bursts, null.core_caches), (0, 4096, 256, 768));
    // A twentieth of 32,768, rounded up, is kept free.
    assert_eq!(null.reserve, 1639);
    assert_eq!(null.needed(), 5120 + 4096 + 256 + 768 + 1639);
    assert_eq!(budget("net_ring0").rings, 1024);
    assert_eq!(budget("net_af_xdp0,iface=x").descriptors, 2048 + 4096);
}

#[test]
fn the_pool_may_be_used_up_to_its_last_buffer() {
    let needed = 5120 + 4096 + 256 + 768;
    let mbufs = |count: u32, reserve: &str| {
        format!("[dpdk]\nmbufs = {count}\npool_reserve = {reserve}\n\n[[port]]")
    };
    good(&[("[[port]]", &mbufs(needed, "0"))]);
    let found = problems(&[("[[port]]", &mbufs(needed - 1, "0.0"))]);
    assert!(found.len() == 1 && found[0].contains("= 10240 of 10239 mbufs"), "{found:?}");
    let found = problems(&[("[[port]]", &mbufs(needed, "0.05"))]);
    assert!(found.len() == 1 && found[0].contains("reserve 512 = 10752 of 10240"), "{found:?}");
}

#[test]
fn memory_has_to_hold_the_pool_and_a_buffer_has_to_hold_a_frame() {
    let found = problems(&[("[[port]]", "[dpdk]\nmemory = \"64MiB\"\n\n[[port]]")]);
    assert_eq!(found, ["the pool takes 32768 x 2560 = 83886080 bytes, memory is 67108864 bytes"]);
    let found = problems(&[("\"net_null1\"", "\"net_null1\"\nframe_max = \"9000B\"")]);
    assert!(found.len() == 1 && found[0].starts_with("frame_max 9000 does not fit"), "{found:?}");
}

#[test]
fn an_empty_file_says_what_is_missing() {
    let errors = Config::from_toml("f", "").unwrap_err();
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for missing in ["[gateway]", "[[pair]]", "[default_class]", "[[class]]"] {
        assert!(
            found.iter().any(|text| text.starts_with(&format!("f:1:1: there is no {missing}"))),
            "{missing}: {found:?}"
        );
    }
}
