//! Each built-in machine by hand: it enters, climbs in order and comes down, one step at a time.
//!
//! Baselines are 10,000 (ns, bytes); a tick is 100 ms, an entry is confirmed by 3 ticks, an exit by
//! 50, a dwell is 10 s. So at 2 b a delay is 20,000.
#![allow(clippy::unwrap_used)]

#[path = "regime/world.rs"]
mod world;

use model::regime::{Cause, EngineSettings, FedValue, Machine, Missing, Posture, Reading};
use model::time::Nanos;
use world::{MODEL, ORDERS, QUEUE, QUOTES, Run, TICK, logistic, machines, secs};

/// Ticks of a step down: the dwell of 100 ticks is longer than the release of 50.
const DWELL: Nanos = Nanos::from_secs(10);

fn run() -> Run {
    Run::new(machines(MODEL))
}

#[test]
fn pacing_enters_climbs_and_comes_down() {
    let mut run = run();
    run.kpis
        .set("cap_hit_ratio.ratio", 0.0)
        .set("dispatch_to_wire_ns[rest].p95", 10_000.0)
        .set("dispatch_to_wire_ns[rest].p99", 10_000.0)
        .set("burstiness_index.excess", 1.0);
    run.run(secs(5));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");

    // One of two is not enough.
    run.kpis.set("cap_hit_ratio.ratio", 0.2);
    run.run(secs(5));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
    run.kpis.set("dispatch_to_wire_ns[rest].p95", 20_000.0);
    run.tick();
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW", "two ticks do not confirm");
    let decided = run.tick();
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");
    assert_eq!((decided.len(), decided[0].cause), (1, Cause::Entered));
    let values: Vec<_> = decided[0].evidence.iter().map(|e| (e.value, e.limit)).collect();
    assert_eq!(values, [(Some(0.2), Some(0.2)), (Some(20_000.0), Some(20_000.0))]);
    let asked = run.engine.asked().find(|asked| asked.scope == ORDERS).unwrap();
    assert_eq!(asked.posture, Posture::Normal, "it is short of rate: nothing is taken from it");
    assert_eq!(run.engine.requests(ORDERS).0, ["PACING_LIMITED"]);

    run.kpis.set("burstiness_index.excess", 3.0).set("dispatch_to_wire_ns[rest].p99", 40_000.0);
    run.run(Nanos::from_millis(300));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");

    // Below the entry, above the exit: it stays.
    run.kpis.set("burstiness_index.excess", 1.6).set("dispatch_to_wire_ns[rest].p99", 19_000.0);
    run.run(secs(30));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");

    run.kpis.set("burstiness_index.excess", 1.0).set("cap_hit_ratio.ratio", 0.0);
    run.kpis.set("dispatch_to_wire_ns[rest].p95", 10_000.0);
    run.run(Nanos::from_millis(4_900));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED", "49 ticks do not release");
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");
    run.run(DWELL - Nanos::from_millis(100));
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED", "the dwell is not over");
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
    let path = ["PACING_LIMITED", "BURST_RELEASED", "PACING_LIMITED", "CLEAN_FLOW"];
    assert_eq!(run.path("pacing", ORDERS), path);
}

#[test]
fn segmentation_climbs_to_containment_when_dephasing_lasts() {
    let mut run = run();
    run.kpis
        .set("segmentation_burst_factor.factor", 2.0)
        .set("wire_serialization_ns.p95", 20_000.0)
        .set("ack_compression_ratio.ratio", 1.0)
        .set("cadence_phase_error.p95", 0.0)
        .set("release_error_ns[late].p95", 0.0)
        .set("completion_ratio.ratio", 1.0);
    run.run(secs(1));
    assert_eq!(run.state("segmentation", ORDERS), "BURSTING", "by SBF and WST");
    // A quarter of the cadence of 1 ms.
    run.kpis.set("release_error_ns[late].p95", 250_000.0);
    run.run(secs(1));
    assert_eq!(run.state("segmentation", ORDERS), "DEPHASED");
    run.kpis.set("completion_ratio.ratio", 0.9);
    // Its entry holds since 1.0 s; ten seconds of it are over at 11.0 s, and 3 ticks confirm.
    run.run(Nanos::from_millis(9_100));
    assert_eq!(run.state("segmentation", ORDERS), "DEPHASED");
    run.run(Nanos::from_millis(300));
    assert_eq!(run.state("segmentation", ORDERS), "SAFE_TX_CONTAIN");

    // Half of what entered DEPHASED lets containment go too.
    run.kpis.set("release_error_ns[late].p95", 124_000.0).set("cadence_phase_error.p95", 0.12);
    run.run(DWELL);
    assert_eq!(run.state("segmentation", ORDERS), "DEPHASED");
    run.run(DWELL);
    assert_eq!(run.state("segmentation", ORDERS), "BURSTING");
    run.run(DWELL);
    assert_eq!(run.state("segmentation", ORDERS), "BURSTING", "SBF is still 2");
    run.kpis.set("segmentation_burst_factor.factor", 1.2);
    run.run(secs(5));
    assert_eq!(run.state("segmentation", ORDERS), "WIRE_CLEAN");
}

#[test]
fn a_gap_in_dephasing_begins_its_ten_seconds_again() {
    let mut run = run();
    run.kpis
        .set("cadence_phase_error.p95", 0.3)
        .set("ack_compression_ratio.ratio", 2.0)
        .set("completion_ratio.ratio", 0.9);
    run.run(secs(9));
    // One tick at which nobody knows: the state stays, "at every tick" does not hold.
    run.kpis.remove("cadence_phase_error.p95");
    run.tick();
    run.kpis.set("cadence_phase_error.p95", 0.3);
    run.run(secs(9));
    assert_eq!(run.state("segmentation", ORDERS), "DEPHASED");
    run.run(secs(2));
    assert_eq!(run.state("segmentation", ORDERS), "SAFE_TX_CONTAIN");
}

#[test]
fn byte_queue_counts_stalls_over_ten_seconds() {
    let mut run = run();
    run.kpis
        .put("limit_oscillation_score[limit].score", Reading::NoPart)
        .set("limit_oscillation_score[in_flight].inflight_oscillation", 0.5)
        .set("wire_cadence_variability_ns.p95", 20_000.0)
        .set("tx_stall_rate.rate", 0.0)
        .set("tx_stall_rate.n", 0.0);
    run.run(secs(1));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_SWING", "a fixed limit takes no part");
    run.kpis.set("tx_stall_rate.rate", 1.0);
    run.kpis.set("tx_stall_rate.n", 2.0);
    run.run(secs(1));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_STALLING");
    run.kpis.set("tx_stall_rate.n", 3.0);
    run.run(Nanos::from_millis(300));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_SAFE_CONTAIN");
    let last = run.log.last().unwrap();
    assert_eq!((last.evidence[0].value, last.evidence[0].window_s), (Some(3.0), 10));

    run.kpis.set("tx_stall_rate.rate", 0.0);
    run.kpis.set("tx_stall_rate.n", 0.0);
    // 10 s without a stall, then 5 s of release.
    run.run(Nanos::from_millis(14_900));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_SAFE_CONTAIN");
    run.tick();
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_STALLING");
    run.run(DWELL);
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_SWING");
    run.kpis.set("limit_oscillation_score[in_flight].inflight_oscillation", 0.1);
    run.kpis.set("wire_cadence_variability_ns.p95", 12_000.0);
    run.run(DWELL);
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_STABLE", "the fixed limit is left out");
}

#[test]
fn drain_climbs_by_backlog_compression_and_join_delay() {
    let mut run = run();
    run.kpis
        .set("not_sent_bytes.p95", 30_000.0)
        .set("wire_cadence_variability_ns.p95", 15_000.0)
        .set("flush_compression_index.index", 1.0)
        .set("burst_drain_ratio.ratio", 0.01)
        .set("child_join_delay_ns.value", 10_000.0);
    // 1 / (1 + exp(1 - 30)) is nearly 1: the probability alone climbs past the first state.
    run.run(Nanos::from_millis(300));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN");
    assert!(run.log[0].evidence[0].value.unwrap() > 0.999);
    run.kpis.set("child_join_delay_ns.value", 50_000.0);
    // For 5 s, from the tick at which it is first seen, and 3 ticks.
    run.run(Nanos::from_millis(5_200));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN");
    run.tick();
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT");

    // p = 1 / (1 + exp(1 - 0.5)) = 0.378 < 0.4.
    run.kpis.set("not_sent_bytes.p95", 500.0);
    run.run(secs(30));
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT", "the delay still contains it");
    run.kpis.set("child_join_delay_ns.value", 10_000.0);
    run.run(secs(5));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN");
    run.run(DWELL);
    assert_eq!(run.state("drain", ORDERS), "ACCUMULATION_RISK");
    run.run(DWELL);
    assert_eq!(run.state("drain", ORDERS), "SMOOTH_DRAIN");
}

#[test]
fn without_coefficients_compression_alone_enters_and_leaves() {
    let mut run = Run::new(machines(""));
    run.kpis.set("flush_compression_index.index", 5.0).set("burst_drain_ratio.ratio", 0.1);
    run.run(secs(1));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN");
    run.kpis.set("flush_compression_index.index", 1.9).set("burst_drain_ratio.ratio", 0.04);
    run.kpis.set("not_sent_bytes.p95", 0.0);
    run.run(secs(20));
    assert_eq!(run.state("drain", ORDERS), "SMOOTH_DRAIN");
}

#[test]
fn a_fed_breach_contains_until_it_expires() {
    let mut run = run();
    run.kpis.set("flush_compression_index.index", 1.0).set("burst_drain_ratio.ratio", 0.0);
    run.kpis.set("not_sent_bytes.p95", 0.0);
    let breach = FedValue {
        kpi: "cost".into(),
        scope: Some("orders".into()),
        value: "breach".into(),
        number: 1.0,
        n: 10,
        expires_s: 20.0,
    };
    run.engine.fed_mut().take(run.now, breach, |_| true).unwrap();
    run.run(secs(1));
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT");
    run.run(secs(18));
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT", "its exit holds, and so does its entry");
    // Expired at 20 s; release.
    run.run(secs(7));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN");
}

#[test]
fn delivery_climbs_by_clustering_coupling_and_causality() {
    let mut run = run();
    run.kpis
        .set("delivery_delay_ns[market_data].p95", 100_000.0)
        .set("market_data_distortion_ratio.ratio", 1.0)
        .set("burst_delivery_concentration.excess", 1.5)
        .set("decision_burst_coupling.excess", 0.0)
        .set("causality_drift.drift", 0.0);
    run.run(secs(1));
    assert_eq!(run.state("delivery", QUOTES), "DELIVERY_CLUSTERED");
    run.kpis.set("decision_burst_coupling.excess", 0.3);
    run.run(secs(1));
    assert_eq!(run.state("delivery", QUOTES), "PHASE_LOCKED");
    run.run(secs(10));
    assert_eq!(run.state("delivery", QUOTES), "SAFE_PACING");
    run.kpis.set("decision_burst_coupling.excess", 0.1);
    // The drift has been 0 for 60 s long since? Not yet: 12 s. Then 5 s of release.
    run.run(secs(30));
    assert_eq!(run.state("delivery", QUOTES), "SAFE_PACING");
    run.run(secs(24));
    assert_eq!(run.state("delivery", QUOTES), "PHASE_LOCKED");
    run.run(DWELL);
    assert_eq!(run.state("delivery", QUOTES), "DELIVERY_CLUSTERED");
    run.kpis.set("delivery_delay_ns[market_data].p95", 40_000.0);
    run.kpis.set("burst_delivery_concentration.excess", 1.0);
    run.run(DWELL);
    assert_eq!(run.state("delivery", QUOTES), "FLOW_CLEAN");
}

#[test]
fn a_breach_of_causality_contains_at_once() {
    let mut run = run();
    run.kpis.set("causality_drift.drift", 0.05);
    run.run(Nanos::from_millis(300));
    assert_eq!(run.state("delivery", QUOTES), "SAFE_PACING");
    assert_eq!(run.engine.requests(QUOTES).0, ["SAFE_PACING"]);
}

fn bursting(run: &mut Run) {
    run.kpis.set("burstiness_index.excess", 5.0).set("dispatch_to_wire_ns[rest].p99", 90_000.0);
}

fn calm(run: &mut Run) {
    run.kpis.set("burstiness_index.excess", 1.0).set("dispatch_to_wire_ns[rest].p99", 10_000.0);
    run.kpis.set("cap_hit_ratio.ratio", 0.0).set("dispatch_to_wire_ns[rest].p95", 10_000.0);
}

#[test]
fn severity_3_of_orders_is_latched_in_active_mode_until_it_is_released() {
    let mut run = run();
    run.leave.latches = true;
    run.kpis.set("child_join_delay_ns.value", 50_000.0).set("causality_drift.drift", 0.05);
    run.run(secs(6));
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT");
    run.kpis.set("child_join_delay_ns.value", 0.0).set("flush_compression_index.index", 1.0);
    run.kpis.set("burst_drain_ratio.ratio", 0.0).set("not_sent_bytes.p95", 0.0);
    run.kpis.set("causality_drift.drift", 0.0).set("decision_burst_coupling.excess", 0.0);
    run.kpis.packets = Some(0);
    run.run(secs(200));
    assert_eq!(run.state("drain", ORDERS), "CONTAINMENT", "neither exit nor silence");
    assert_ne!(run.state("delivery", QUOTES), "SAFE_PACING", "a feed carries no orders");
    let released = run.engine.release(run.now, "drain", "orders").unwrap();
    assert_eq!(released[0].cause, Cause::Released);
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN", "one step");
    run.run(secs(30));
    assert_eq!(run.state("drain", ORDERS), "SMOOTH_DRAIN");
}

#[test]
fn silence_comes_down_one_step_per_dwell() {
    let mut run = run();
    bursting(&mut run);
    run.run(secs(1));
    run.kpis.values.clear();
    run.run(secs(100));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED", "absent KPIs do not leave");
    run.kpis.packets = Some(0);
    run.run(secs(60));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");
    assert_eq!(run.log.last().unwrap().cause, Cause::NoTraffic);
    run.run(secs(9));
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");
    run.run(secs(1));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
}

#[test]
fn a_pin_holds_until_it_expires_and_says_so() {
    let mut run = run();
    calm(&mut run);
    let until = run.now + secs(20);
    run.engine.pin(run.now, "pacing", "class:orders", "BURST_RELEASED", until).unwrap();
    run.run(secs(19));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");
    run.run(secs(2));
    assert!(run.log.iter().any(|d| d.cause == Cause::PinExpired));
    run.run(secs(30));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
    let unknown = run.engine.pin(run.now, "pacing", "orders", "BURSTING", until).unwrap_err();
    assert!(unknown.to_string().contains("BURST_RELEASED"), "{unknown}");
    let unknown = run.engine.release(run.now, "pacing", "quotes").unwrap_err();
    assert!(unknown.to_string().contains("class:orders"), "{unknown}");
    let unknown = run.engine.release(run.now, "braking", "orders").unwrap_err();
    assert!(unknown.to_string().contains("byte_queue"), "{unknown}");
}

#[test]
fn a_machine_that_flaps_is_frozen_under_the_confirmed_profile() {
    let quick = "[[regime.machine]]\nname = \"pacing\"\nconfirm = 1\nrelease = 1\ndwell = \"1s\"\n";
    let mut run = Run::new(machines(quick));
    for _ in 0..10 {
        bursting(&mut run);
        run.run(secs(2));
        calm(&mut run);
        run.run(secs(3));
    }
    // Up, down, down: three transitions in each 5 s. The seventh freezes.
    let transitions = run.path("pacing", ORDERS).len();
    assert_eq!(transitions, 7);
    let frozen = run.log.iter().filter(|d| d.cause == Cause::Frozen).count();
    assert_eq!(frozen, 1);
    let asked = run.engine.asked().find(|asked| asked.machine == "pacing").unwrap();
    assert_eq!(asked.posture, Posture::Normal);
    run.engine.release(run.now, "pacing", "orders").unwrap();
    bursting(&mut run);
    run.run(secs(1));
    let asked = run.engine.asked().find(|asked| asked.machine == "pacing").unwrap();
    assert_eq!(asked.posture, Posture::AntiBurst, "it moves again");
}

/// A stall is no delay that p95 of packets sees: whatever the profile holds, it is not withdrawn for that.
#[test]
fn a_state_of_stalls_is_never_held_off() {
    let mut run = run();
    run.acts = true;
    run.kpis.set("tx_stall_rate.rate", 1.0).set("tx_stall_rate.n", 1.0);
    run.kpis.set("dispatch_to_wire_ns[rest].p95", 5_000.0);
    run.kpis.set("dispatch_to_wire_ns[hold].p95", 0.0);
    run.run(secs(1));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_STALLING");
    run.kpis.set("dispatch_to_wire_ns[hold].p95", 100_000.0);
    run.run(secs(30));
    assert_eq!(run.state("byte_queue", QUEUE), "BQL_STALLING");
    assert!(!run.log.iter().any(|decision| decision.cause == Cause::HeldOff));
}

#[test]
fn where_nothing_is_to_be_released_nothing_is_logged() {
    let mut run = run();
    run.run(secs(1));
    assert!(run.engine.release(run.now, "pacing", "orders").unwrap().is_empty());
    bursting(&mut run);
    run.run(secs(1));
    let released = run.engine.release(run.now, "pacing", "orders").unwrap();
    assert_eq!(released.len(), 1, "one step down");
}

#[test]
fn a_profile_that_holds_more_than_it_cures_is_withdrawn() {
    for (hold, held_off) in [(60_000.0, true), (30_000.0, false)] {
        let mut run = run();
        run.acts = true;
        // What is to be cured: 50 us at p95. Under normal 5 us are held.
        bursting(&mut run);
        run.kpis.set("dispatch_to_wire_ns[rest].p95", 50_000.0);
        run.kpis.set("dispatch_to_wire_ns[hold].p95", 5_000.0);
        run.run(secs(1));
        assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");
        run.kpis.set("dispatch_to_wire_ns[hold].p95", hold);
        run.run(secs(9));
        assert!(!run.log.iter().any(|d| d.cause == Cause::HeldOff), "not before the dwell");
        run.run(secs(2));
        let asked = run.engine.asked().find(|asked| asked.machine == "pacing").unwrap();
        assert_eq!(asked.posture == Posture::Normal, held_off, "hold {hold}");
        if held_off {
            calm(&mut run);
            run.run(secs(30));
            assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
            assert_eq!(run.log.last().unwrap().cause, Cause::HoldOffEnded);
        }
    }
}

#[test]
fn a_window_grows_while_inputs_have_too_few_and_shrinks_again() {
    let mut run = run();
    run.kpis.put("dispatch_to_wire_ns[rest].p99", Reading::Absent(Missing::TooFew));
    run.kpis.set("burstiness_index.excess", 5.0);
    let window = |run: &Run| run.engine.standings().next().unwrap().window_s;
    let mut seen = vec![window(&run)];
    for _ in 0..7 {
        run.tick();
        seen.push(window(&run));
    }
    // Too few in the longest window either: then it is not waited for.
    assert_eq!(seen, [1, 2, 4, 8, 15, 30, 60, 30]);
    assert!(run.engine.windows_s().contains(&30));
    for _ in 0..7 {
        run.tick();
    }
    assert_eq!(window(&run), 1);
    // p99 needs 1,000: 3,000 in 1 s are plenty, and the entry holds.
    bursting(&mut run);
    run.run(secs(1));
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");
    assert_eq!(run.log.last().unwrap().window_s, 1);
}

#[test]
fn observe_learns_and_decides_nothing() {
    let mut run = run();
    run.leave = model::regime::Leave { decides: false, learns: true, latches: false };
    bursting(&mut run);
    run.run(secs(100));
    assert!(run.log.is_empty());
    let now = run.now;
    let record = run.engine.freeze(now, "env", Default::default()).unwrap();
    let learned = &record.values["class:orders"]["dispatch_to_wire_ns[rest].p99"];
    assert_eq!(learned.n, 100, "one value a second");
    assert!((learned.median - 90_000.0).abs() <= 400.0);
    // What was usual is no burst.
    run.leave.decides = true;
    run.run(secs(10));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
}

#[test]
fn transitions_and_time_in_state_are_counted() {
    let mut run = run();
    calm(&mut run);
    run.run(secs(10));
    bursting(&mut run);
    run.run(secs(10));
    let standing = run.engine.standings().next().unwrap();
    assert_eq!(standing.stays.transitions[0], [0, 0, 1]);
    let shares = standing.stays.shares().unwrap();
    assert!((shares[0] - 0.51).abs() < 0.01 && shares[1] == 0.0, "{shares:?}");
}

#[test]
fn a_table_without_hysteresis_is_refused() {
    let table = |exit: &str| {
        world::text(&format!(
            "[[regime.machine]]\nname = \"mine\"\nscope = \"class\"\nlowest = \"LOW\"\n\
             [[regime.machine.state]]\nname = \"HIGH\"\nseverity = 1\n\
             enter = [[\"burstiness_index.excess >= 3\"]]\nexit = {exit}\n"
        ))
    };
    for (exit, allowed) in [
        (r#"[["burstiness_index.excess < 1.5"]]"#, true),
        (r#"[["burstiness_index.excess < 2.999", "cap_hit_ratio.ratio < 0.1"]]"#, true),
        (r#"[["burstiness_index.excess < 3"]]"#, false),
        (r#"[["burstiness_index.excess < 4"]]"#, false),
        (r#"[["burstiness_index.excess > 1"]]"#, false),
        (r#"[["burstiness_index.excess < 2 b"]]"#, false),
        (r#"[["burstiness_index.bi < 1"]]"#, false),
        (r#"[["burstiness_index.excess < 1"], ["cap_hit_ratio.ratio < 0.1"]]"#, false),
        (r#"[]"#, false),
        (r#"[[]]"#, false),
        (r#""as below""#, false),
    ] {
        let read = model::config::Config::from_toml("t.toml", &table(exit));
        assert_eq!(read.is_ok(), allowed, "{exit}: {:?}", read.err());
    }
}

/// Steps of 100 ms are what an oscillation is made of: before there are 100 of them a longer window helps
/// nothing, and stalls of a second that is long over must not keep a state.
#[test]
fn a_window_does_not_grow_for_an_oscillation() {
    let mut run = Run::new(machines(""));
    let oscillation = "limit_oscillation_score[in_flight].inflight_oscillation";
    run.kpis.put(oscillation, Reading::Absent(Missing::TooFew));
    run.kpis.set("wire_cadence_variability_ns.p95", 0.0).set("tx_stall_rate.rate", 0.0);
    run.run(secs(5));
    let mut standings = run.engine.standings();
    let queue = standings.find(|s| s.machine == "byte_queue").unwrap();
    assert_eq!(queue.window_s, 1);
}

/// The pacing machine with other numbers: half of the entry, and a shorter confirmation.
fn other_thresholds() -> Vec<Machine> {
    machines(&format!(
        r#"{MODEL}
[[regime.machine]]
name = "pacing"
confirm = 2
[[regime.machine.state]]
name = "PACING_LIMITED"
severity = 1
enter = [["cap_hit_ratio.ratio >= 0.1"]]
exit = [["cap_hit_ratio.ratio < 0.05"]]
[[regime.machine.state]]
name = "BURST_RELEASED"
severity = 2
enter = [["burstiness_index.excess >= 5"]]
exit = [["burstiness_index.excess < 4"]]
profile = "anti_burst"
"#
    ))
}

#[test]
fn other_thresholds_hold_from_the_next_tick_and_leave_instances_where_they_are() {
    let mut run = run();
    run.kpis.set("cap_hit_ratio.ratio", 0.15).set("burstiness_index.excess", 1.0);
    run.run(secs(5));
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW");
    let settings = EngineSettings {
        tick: TICK,
        absent_release: Nanos::from_secs(60),
        compressed_drain: Some(logistic()),
    };
    run.engine.retune(other_thresholds(), settings.clone());
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "CLEAN_FLOW", "one tick does not confirm");
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");

    // Back, with one tick of two counted: the state stays, the count does not.
    run.kpis.set("burstiness_index.excess", 5.0).set("dispatch_to_wire_ns[rest].p99", 10_000.0);
    run.tick();
    let until = run.now + secs(600);
    run.engine.pin(run.now, "drain", "class:orders", "COMPRESSED_DRAIN", until).unwrap();
    run.engine.retune(machines(MODEL), settings.clone());
    run.engine.retune(other_thresholds(), settings);
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "PACING_LIMITED");
    run.tick();
    assert_eq!(run.state("pacing", ORDERS), "BURST_RELEASED");
    run.run(secs(60));
    assert_eq!(run.state("drain", ORDERS), "COMPRESSED_DRAIN", "pinned as before");
    assert_eq!(run.path("pacing", ORDERS), ["PACING_LIMITED", "BURST_RELEASED"]);
}
