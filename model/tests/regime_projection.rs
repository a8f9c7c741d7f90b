//! What shadow projects: packets that were seen, run again.

#[path = "regime/gateway.rs"]
mod gateway;

use model::kind::{Kind, Side};
use model::meta::{IntentSource, StampSource};
use model::profile::Bucket;
use model::regime::{ArmTotals, Projection, Unprojected};
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::time::Nanos;

const CLASS: &str = r#"
[[class]]
name = "orders"
kind = "order"
halt_mixed = "block"
rate = "80M"
burst = "64KiB"
max_hold = "1s"
[regime]
allow = ["orders"]
"#;

const MS: fn(u64) -> Nanos = Nanos::from_millis;
const START: Nanos = Nanos::from_secs(100);

/// A packet of 976 bytes, 1,000 on the wire, that came at `at` and left at `left`.
fn row(flow: u32, at: Nanos, left: Nanos, weight: u32) -> Sample {
    Sample {
        packet_id: 0,
        correlation_id: None,
        flow,
        tcp_end_seq: None,
        tcp: None,
        class: 0,
        label: 0,
        kind: Kind::Order,
        urgency: 0,
        len: 976,
        messages: 1,
        t_decision: None,
        t_dispatch: at,
        t_due: at,
        t_sched: Some(at),
        t_normal: None,
        t_eligible: Some(at),
        t_tx: Some(left),
        t_wire: Some(left),
        t_ingress: at,
        t_carried: None,
        t_delivery: None,
        clock_error_ns: None,
        intent: IntentSource::Implicit,
        ingress_source: StampSource::Virtual,
        departure_source: DepartureSource::Virtual,
        simulated_link: false,
        from: Side::Inside,
        port: 1,
        queue: 0,
        backlog_bytes: 0,
        end: End::Sent(Release::Governed),
        regime: None,
        profile: 0,
        mode: Mode::Shadow,
        canary: None,
        weight,
    }
}

/// A packet each ms for 8 s, from ten flows in turn; the port takes nothing in the first 20 ms of every
/// 100 ms, and then all at once.
fn seen(projection: &mut Projection, weight: impl Fn(u64) -> u32) {
    for n in 0..8_000 {
        let at = START.saturating_add(MS(n));
        let left = START.saturating_add(MS(if n % 100 < 20 { n / 100 * 100 + 20 } else { n }));
        projection.keep(&row((n % 10) as u32, at, left, weight(n)));
    }
}

fn arm(report: &model::kpi::Report) -> model::regime::gates::Arm {
    let mut totals = ArmTotals::default();
    totals.add(report, "orders", None);
    assert_eq!(totals.sent, 8_000, "every packet leaves again");
    totals.arm()
}

#[test]
fn short_bursts_would_have_spread_what_a_closed_port_has_bunched() {
    let config = gateway::config("orders", CLASS);
    let mut projection = Projection::new(&config);
    seen(&mut projection, |_| 1);
    assert_eq!(projection.covers(0), Ok(()));
    let normal = &config.profiles[0];
    let mut short = normal.clone();
    short.classes[0].class.bits = Some(Bucket::new(80_000_000, 2_000));
    let (control, changed) = (arm(&projection.run(normal)), arm(&projection.run(&short)));
    // 20 packets leave when it opens, beside the one of that ms; one is due in a window of 250 us.
    assert_eq!(control.excess, Some(21.0));
    // Two at once, then one each 100 us: at most 5 in a window.
    assert!(changed.excess.expect("it is known") <= 5.0, "{changed:?}");
    // The last of 21 leaves 1.9 ms later: p99 is among those that came first and wait 19 or 20 ms.
    let p99 = |arm: &model::regime::gates::Arm| arm.dispatch_to_wire_p99_ns.expect("it is known");
    assert!((18.9e6..=20.1e6).contains(&p99(&control)), "{control:?}");
    assert!((p99(&control)..=p99(&control) + 2e6).contains(&p99(&changed)), "{changed:?}");
    assert_eq!((control.goodput, changed.goodput), (Some(1.0), Some(1.0)));
    assert_eq!(arm(&projection.run(normal)), control, "the same each time");
}

#[test]
fn a_thinned_stream_is_not_projected() {
    let config = gateway::config("orders", CLASS);
    let mut projection = Projection::new(&config);
    assert_eq!(projection.covers(0), Err(Unprojected::NoSamples));
    seen(&mut projection, |n| if n == 7_000 { 64 } else { 1 });
    assert_eq!(projection.covers(0), Err(Unprojected::NotEveryPacket));
    projection.clear();
    assert_eq!(projection.covers(0), Err(Unprojected::NoSamples));
}
