//! Shaping, venue limits, queues, arrangements and intents: what a good config comes to.
#![allow(clippy::unwrap_used)]

use model::config::{
    Arrangement, Budget, Config, CoreChoice, LaunchTime, PortIntent, report, report_json,
};
use model::profile::{Bucket, Lateness, Segment, Shaping};
use model::time::Nanos;
use model::venue_limit::LimitScope;

const BASE: &str = include_str!("support/base.toml");

/// The base with each first text replaced by its second, and `more` behind it.
fn text(changes: &[(&str, &str)], more: &str) -> String {
    let mut text = BASE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text + more
}

fn good(changes: &[(&str, &str)], more: &str) -> Config {
    let text = text(changes, more);
    Config::from_toml("f", &text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

/// The base with `keys` in the class of orders.
fn orders(keys: &str) -> Config {
    good(&[("kind = \"order\"\n", &format!("kind = \"order\"\n{keys}\n"))], "")
}

fn warnings(config: &Config) -> Vec<&str> {
    config.warnings.iter().map(String::as_str).filter(|text| !text.starts_with("PTP")).collect()
}

fn shaping(config: &Config, class: usize) -> Shaping {
    config.profiles[0].classes[class].shaping
}

#[test]
fn what_comes_from_inside_has_a_floor_and_a_horizon_and_nothing_else() {
    let config = orders("");
    let inside = Shaping {
        flow_floor_bits_per_s: 8_000,
        horizon: Nanos::from_secs(10),
        ..Shaping::default()
    };
    assert_eq!(shaping(&config, 0), inside);
    // The built-in class of each side is the last but one, and the last.
    assert_eq!(shaping(&config, 3), inside);
    assert_eq!([shaping(&config, 2), shaping(&config, 4)], [Shaping::default(); 2]);
}

#[test]
fn every_key_of_the_shaping_arrives() {
    let config = orders(
        "reserved = \"5M\"\nweight = 3\nflow_floor = \"16K\"\nlateness = \"send-now\"\n\
         late_after = \"500us\"\njitter = \"20us\"\nhold_frames = 4\nhold_time = \"50us\"\n\
         fan_out = 8\nhorizon = \"2s\"\necn_threshold = \"300us\"\non_horizon = \"drop\"\n\
         allow_drop = true\nallow_drop_reason = \"stale\"",
    );
    let expected = Shaping {
        // 5e6 b/s x 20 us = 12.5 bytes, rounded up, on top of the largest frame.
        reserved: Some(Bucket::new(5_000_000, 1538 + 13)),
        weight: 3,
        flow_floor_bits_per_s: 16_000,
        lateness: Lateness::SendNow,
        late_after: Nanos::from_micros(500),
        jitter_max: Nanos::from_micros(20),
        hold_frames: 4,
        hold_time: Nanos::from_micros(50),
        fan_out: 8,
        horizon: Nanos::from_secs(2),
        horizon_drops: true,
        ecn_threshold: Nanos::from_micros(300),
        segment_most: Segment::Hardware,
        rx_hold_off: false,
        rows_in_full: false,
    };
    assert_eq!(shaping(&config, 0), expected);
    let text = report(&config);
    for part in [
        "reserved 5M, burst 1551 wire bytes; weight 3; floor of each flow 16k; late after 500us: \
         send-now; jitter up to 20us; windows of 4 packets or 50us; 8 packets in a flush; horizon \
         2s, then drop; ECN mark after 300us",
        "- a late packet leaves at once, also above the envelope",
        "- a release window may hold a packet for 50us",
        "+ 5M of the port are its own, whatever its priority",
        "- loses packets that are due beyond the horizon as horizon",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json = report_json(&config).unwrap();
    let row = &json["profiles"][0]["classes"][0]["shaping"];
    assert_eq!(row["reserved"]["burst"], 1551);
    assert_eq!((&row["lateness"], &row["late_after_ns"]), (&"send-now".into(), &500_000.into()));
}

#[test]
fn what_re_anchors_is_late_after_a_slot_and_the_floor_can_be_switched_off() {
    let config = orders("lateness = \"re-anchor\"\nflow_floor = \"off\"");
    assert_eq!(shaping(&config, 0).late_after, config.gateway.slot);
    assert_eq!(shaping(&config, 0).flow_floor_bits_per_s, 0);
}

#[test]
fn a_burst_holds_the_longest_jitter_of_any_profile_at_every_level() {
    let calm = "\n[[profile]]\nname = \"calm\"\n\n[[profile.class]]\nname = \"orders\"\njitter = \"50us\"\n";
    let changes = [
        (
            "kind = \"order\"\n",
            "kind = \"order\"\nrate = \"8M\"\nflow_rate = \"4M\"\nmessages = \"100000/s\"\njitter = \"20us\"\n",
        ),
        ("\"net_null1\"\n", "\"net_null1\"\nrate = \"80M\"\n"),
    ];
    let config = good(&changes, calm);
    for profile in &config.profiles {
        let orders = &profile.classes[0];
        // 50 us at 8, 4 and 80 Mbit/s, and at 100,000 messages/s.
        assert_eq!(orders.class.bits.unwrap().burst, 1538 + 50);
        assert_eq!(orders.flow.bits.unwrap().burst, 1538 + 25);
        assert_eq!(orders.class.messages.unwrap().burst_rounded_up(), 1 + 5);
        assert_eq!(profile.egress[1].port.bits.unwrap().burst, 1538 + 500);
    }
    assert_eq!(shaping(&config, 0).jitter_max, Nanos::from_micros(20));
    assert_eq!(config.profiles[1].classes[0].shaping.jitter_max, Nanos::from_micros(50));
}

#[test]
fn a_profile_may_switch_on_what_normal_leaves_off() {
    let calm = "\n[[profile]]\nname = \"calm\"\n\n[[profile.class]]\nname = \"orders\"\n\
                jitter = \"20us\"\nhold_frames = 4\nhold_time = \"30us\"\nfan_out = 2\n\
                lateness = \"re-anchor\"\nhorizon = \"1ms\"\necn_threshold = \"1ms\"\n\
                flow_floor = \"9k\"\nreserved = \"off\"\nsegment = \"refuse\"\n";
    let config = good(
        &[("kind = \"order\"\n", "kind = \"order\"\nreserved = \"1M\"\nsegment = \"hardware\"\n")],
        calm,
    );
    let found = config.profiles[1].classes[0].shaping;
    assert_eq!((found.hold_frames, found.hold_time.0, found.fan_out), (4, 30_000, 2));
    assert_eq!((found.lateness, found.late_after.0), (Lateness::ReAnchor, 1024));
    assert_eq!((found.reserved, found.flow_floor_bits_per_s), (None, 9_000));
    assert_eq!(found.ecn_threshold, Nanos::from_millis(1));
    assert_eq!(config.segment(0, 0, 1), Segment::Hardware);
    assert_eq!(config.segment(1, 0, 1), Segment::Refuse);
    // What the profile does not name is as in normal.
    assert_eq!(config.profiles[1].classes[1], config.profiles[0].classes[1]);
}

#[test]
fn a_class_says_more_than_its_port_about_frames_that_are_too_long() {
    let config = good(
        &[
            ("\"net_null1\"\n", "\"net_null1\"\nsegment = \"software\"\n"),
            ("kind = \"order\"\n", "kind = \"order\"\nsegment = \"refuse\"\n"),
        ],
        "",
    );
    assert_eq!(
        [0, 1].map(|class| config.segment(0, class, 1)),
        [Segment::Refuse, Segment::Software]
    );
    assert_eq!(config.segment(0, 2, 0), Segment::Refuse);
    assert!(report(&config).contains("frames too long for out: software"));
}

const LIMIT: &str = "\n[[venue_limit]]\nname = \"limit\"\nmessages = 500\nper = \"1s\"\n";

/// The base with a participant on orders and its limit, which has `keys` as well.
fn limited(keys: &str) -> Config {
    let class = ("kind = \"order\"\n", "kind = \"order\"\nparticipant = \"FIRM1\"\n");
    good(&[class], &format!("{LIMIT}participant = \"FIRM1\"\n{keys}\n"))
}

#[test]
fn a_venue_limit_leaves_a_margin_and_a_reserve_and_splits_the_rest() {
    let config = limited("");
    let limit = &config.venue_limits[0];
    // 500 x 0.98 = 490; 480 without the reserve; half at once, half within the second.
    assert_eq!((limit.messages_max, limit.cancel_reserve), (490, 10));
    assert_eq!(limit.bucket, Bucket::new(240, 240));
    assert!(limit.counts_cancels && limit.scope == LimitScope::Participant);
    assert_eq!(config.classes[0].participant_limit, Some(0));
    assert_eq!(
        (config.classes[0].session_limit, config.classes[1].participant_limit),
        (None, None)
    );
    assert_eq!(warnings(&config), Vec::<&str>::new());
}

#[test]
fn burst_and_rate_never_add_up_to_more_than_the_window_lets() {
    for (keys, messages_max, rate, burst) in [
        ("burst = 100", 490, 380, 100),
        ("share = 0.5", 245, 118, 117),
        ("margin = 0.0\ncancel_reserve = 0", 500, 250, 250),
        ("share = 0.333333", 163, 77, 76),
        ("burst = 1\ncancel_reserve = 488", 490, 1, 1),
    ] {
        let config = limited(keys);
        let limit = &config.venue_limits[0];
        assert_eq!(limit.messages_max, messages_max, "{keys}");
        assert_eq!(limit.bucket, Bucket::new(rate, burst), "{keys}");
        let usable = u64::from(limit.messages_max - limit.cancel_reserve);
        assert!(burst + rate <= usable, "{keys}");
    }
    // A rate in whole messages per second: 240 of a window of 3 s are 80/s, of 7 s 34/s.
    for (per, rate) in [("3s", 80), ("7s", 34), ("500ms", 480)] {
        let more = LIMIT.replace("\"1s\"", &format!("{per:?}")) + "session_of = \"orders\"\n";
        let config = good(&[], &more);
        let limit = &config.venue_limits[0];
        assert_eq!(limit.bucket.rate_per_s, rate, "{per}");
        assert!(limit.bucket.burst + rate * limit.per.0 / 1_000_000_000 <= 480, "{per}");
        assert_eq!(config.classes[0].session_limit, Some(0));
        assert_eq!(limit.scope, LimitScope::Session);
    }
}

#[test]
fn a_limit_of_a_venue_counts_the_order_classes_that_are_led_there() {
    let rules =
        "\n[[rule]]\nclass = \"rest\"\nprotocol = \"udp\"\ndst_port = 7001\nvenue = \"XCME\"\n";
    let config = good(
        &[("dst_port = 7000\n", "dst_port = 7000\nvenue = \"XCME\"\n")],
        &format!("{rules}{LIMIT}venue = \"XCME\"\n"),
    );
    assert_eq!(config.venue_limits[0].scope, LimitScope::Venue(0));
    // Class `rest` is no order entry: it carries no messages.
    assert_eq!(config.limit_derivations[0].classes, [0]);
    let json = report_json(&config).unwrap();
    let row = &json["venue_limits"][0];
    assert_eq!(row["counts"], "venue XCME");
    assert_eq!(row["arithmetic"], "500 x share 1 x (1 - margin 0.02)");
    assert_eq!(row["pace_arithmetic"], "burst 240 + 240/s x 1s <= 490 - cancel_reserve 10");
    assert!(report(&config).contains("+ at most 490 messages of venue XCME in every 1s"));
}

#[test]
fn what_two_cores_send_is_split_among_them_and_a_session_is_not() {
    let second = "\n[[port]]\nname = \"in2\"\nside = \"inside\"\ndevice = \"net_null2\"\n\n[[port]]\n\
                  name = \"out2\"\nside = \"venue\"\ndevice = \"net_null3\"\n\n[[pair]]\n\
                  inside = \"in2\"\nvenue = \"out2\"\ncore = 2\n";
    let class = ("kind = \"order\"\n", "kind = \"order\"\nparticipant = \"FIRM1\"\n");
    let config = good(&[class], &format!("{second}{LIMIT}participant = \"FIRM1\"\n"));
    // 490 for two: 245 each, of which 10 are reserved.
    assert_eq!(config.venue_limits[0].messages_max, 245);
    assert_eq!(config.venue_limits[0].bucket, Bucket::new(118, 117));
    let found = warnings(&config);
    assert!(found.iter().any(|w| w.contains("2 pairs: each keeps 245 of")), "{found:?}");
    assert!(
        report(&config)
            .contains("245 messages in every 1s = 500 x share 1 x (1 - margin 0.02) / 2 pairs")
    );
    let config = good(&[], &format!("{second}{LIMIT}session_of = \"orders\"\n"));
    assert_eq!(config.venue_limits[0].messages_max, 490);
}

#[test]
fn a_session_that_mixes_orders_and_cancels_under_a_limit_is_warned_of() {
    let mixed = "kind = \"mixed\"\nhalt_mixed = \"block\"\ncancel_on_disconnect = true\n";
    let config =
        good(&[("kind = \"order\"\n", mixed)], &format!("{LIMIT}session_of = \"orders\"\n"));
    let found = warnings(&config);
    assert!(
        found.len() == 1
            && found[0].contains("orders and cancels share a flow")
            && found[0].contains("(burst 240, then 240/s)"),
        "{found:?}"
    );
    assert!(report(&config).contains("also holds the cancels behind it"));
}

#[test]
fn a_limit_makes_the_messages_of_its_class_count() {
    let config = good(
        &[("name = \"rest\"\n", "name = \"rest\"\nmessages_per_segment = 2\n")],
        &format!("{LIMIT}session_of = \"rest\"\n"),
    );
    assert_eq!(config.limit_derivations[0].classes, [1]);
    // Datagrams of a class that is no order entry count one message each once a limit asks.
    let quotes =
        "\n[[class]]\nname = \"quotes\"\n\n[[rule]]\nclass = \"quotes\"\nprotocol = \"udp\"\n";
    let config = good(&[], &format!("{quotes}{LIMIT}session_of = \"quotes\"\n"));
    assert_eq!(config.classes[3].messages_per_segment, Some(1));
    assert_eq!(good(&[], quotes).classes[3].messages_per_segment, None);
}

#[test]
fn queues_are_filled_by_index_and_the_others_deliver_at_once() {
    let queue = "\"net_null1\"\nrx_queues = 3\n\n[[port.queue]]\nindex = 1\nburst = 64\n\
                 hold_frames = 16\nhold_time = \"20us\"\nclasses = [\"data\"]\n";
    let data = "\n[[class]]\nname = \"data\"\nfrom = \"venue\"\nkind = \"market_data\"\n\n[[rule]]\n\
                class = \"data\"\nprotocol = \"udp\"\n";
    let config = good(&[("\"net_null1\"\n", queue)], data);
    let port = &config.ports[1];
    assert_eq!(port.queues.len(), 3);
    let [first, held, last] = &port.queues[..] else { panic!("{:?}", port.queues) };
    assert_eq!(first, last);
    assert_eq!((first.burst, first.hold_frames, first.classes.len()), (32, 1, 0));
    assert_eq!((held.burst, held.hold_frames, held.hold_time.0), (64, 16, 20_000));
    assert_eq!(held.classes, [3]);
    assert!(
        report(&config).contains("RX queue 1: data; bursts of 64, by 16 packets or after 20us")
    );
}

#[test]
fn every_queue_and_core_is_in_the_buffer_budget() {
    let budget = |changes: &[(&str, &str)]| {
        let config = good(changes, "");
        Budget::of(&config.ports, &config.pairs, &config.profiles[0].classes, &config.dpdk)
    };
    let one = budget(&[]);
    let more = budget(&[
        ("\"net_null1\"\n", "\"net_null1\"\nrx_queues = 3\ntx_queues = 2\n"),
        ("core = 1\n", "core = 1\narrangement = \"pipeline\"\nrx_cores = [2, 3]\nring = 256\n"),
    ]);
    assert_eq!(more.descriptors, one.descriptors + (2 + 1) * 1024);
    assert_eq!(more.bursts, one.bursts + (2 + 1) * 2 * 32);
    // Two cores that receive, each with a ring for either direction.
    assert_eq!(more.rings, one.rings + 2 * 2 * 256);
    assert_eq!(more.core_caches, 3 * one.core_caches);
}

#[test]
fn a_core_may_be_chosen_at_start_and_a_pipeline_names_its_own() {
    let config = good(&[("core = 1\n", "core = \"auto\"\n")], "");
    assert_eq!(config.pairs[0].core, CoreChoice::Auto);
    assert_eq!(config.pairs[0].arrangement, Arrangement::RunToCompletion);
    assert!(report(&config).contains("polled by a core chosen at start"));
    let piped = ("core = 1\n", "core = 1\narrangement = \"pipeline\"\nrx_cores = [2, 3]\n");
    let config = good(&[piped], "");
    assert_eq!((config.pairs[0].rx_cores.as_slice(), config.pairs[0].ring), (&[2, 3][..], 1024));
    assert!(report(&config).contains("received by cores [2, 3] over rings of 1024"));
    assert!(warnings(&config).is_empty());
    let governed = good(&[piped], "[regime]\nallow = [\"orders\"]\n");
    let [no_canary] = warnings(&governed)[..] else { panic!("{:?}", governed.warnings) };
    assert!(no_canary.contains("no canary") && no_canary.contains("switchback"), "{no_canary}");
}

#[test]
fn what_a_port_asks_of_its_nic_arrives() {
    let config = good(
        &[
            ("\"net_null0\"\n", "\"net_null0\"\nintent = \"shim\"\n"),
            (
                "\"net_null1\"\n",
                "\"0000:01:00.0\"\nlaunch_time = \"require\"\nlaunch_lead = \"8us\"\ntimesync = true\n",
            ),
            ("seed = 7\n", "seed = 7\nflow_idle = \"unlimited\"\n"),
        ],
        "",
    );
    assert_eq!(config.ports[0].intent, PortIntent::Shim);
    assert_eq!(config.ports[1].launch_time, LaunchTime::Require);
    assert_eq!((config.ports[1].launch_lead.0, config.ports[1].timesync), (8_000, true));
    assert_eq!(config.gateway.flow_idle, Nanos::MAX);
    assert_eq!(warnings(&config), Vec::<&str>::new());
}

#[test]
fn faults_are_drawn_from_the_seed_of_the_gateway_unless_they_have_their_own() {
    let faults = "\"net_null1\"\n\n[port.faults]\ndrop = 0.01\nreorder = 1\nclock_step = \"1ms\"\n\
                  clock_step_every = \"100ms\"\n";
    let config = good(&[("\"net_null1\"\n", faults)], "");
    let found = config.ports[1].faults.unwrap();
    assert_eq!((found.seed, found.drop_ppm, found.reorder_ppm), (7, 10_000, 1_000_000));
    assert_eq!((found.duplicate_ppm, found.refuse_ppm, found.withhold_completions_ppm), (0, 0, 0));
    assert_eq!((found.clock_step.0, found.clock_step_every.0), (1_000_000, 100_000_000));
}

#[test]
fn the_labels_of_tags_are_found_by_their_id() {
    let more = "\n[intent]\nudp = \"127.0.0.1:9478\"\nshm = \"/run/wirepace/gw-intent\"\n\n\
                [[label]]\nid = 900\nsymbol = \"ES\"\nvenue = \"XEUR\"\nstrategy = \"basis\"\n\n\
                [[label]]\nid = 2\ntactic = \"passive\"\nurgency = 9\n";
    let config = good(&[("dst_port = 7000\n", "dst_port = 7000\nvenue = \"XCME\"\n")], more);
    assert_eq!(config.venues, ["XCME", "XEUR"]);
    let label = |id| &config.labels[usize::from(config.intent.label(id))];
    assert_eq!((label(900).symbol.as_deref(), label(900).venue), (Some("ES"), Some(1)));
    assert_eq!(label(900).strategy.as_deref(), Some("basis"));
    assert_eq!((label(2).tactic.as_deref(), label(2).urgency), (Some("passive"), 9));
    assert_eq!(config.intent.label(3), 0);
    assert_eq!(config.intent.udp.unwrap().port(), 9478);
}

#[test]
fn what_has_no_effect_is_named() {
    for (changes, more, expected) in [
        (vec![("\"order\"\n", "\"cancel\"\nreserved = \"1M\"\n")], "", "`reserved` has no effect"),
        (vec![("\"order\"\n", "\"order\"\nintent = true\n")], "", "nothing takes the tags"),
        (vec![], "\n[[label]]\nid = 1\n", "labels of tags, and nothing takes tags"),
        (
            vec![("\"net_null1\"\n", "\"net_null1\"\nlaunch_time = \"require\"\n")],
            "",
            "the start is refused",
        ),
        (
            vec![
                ("core = 1\n", "core = 1\narrangement = \"pipeline\"\nrx_cores = [2]\n"),
                ("seed = 7\n", "seed = 7\ncontrol_cpu = 2\n"),
            ],
            "",
            "core 2 polls a pair and runs the control thread as well",
        ),
    ] {
        let config = good(&changes, more);
        let found = warnings(&config);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}
