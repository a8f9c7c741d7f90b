//! KPIs of the kernel's path, worked out by hand.
#![allow(clippy::unwrap_used)]

use model::kind::{Kind, Side};
use model::kpi::catalogue::{self, Arm};
use model::kpi::kernel::{
    HostSample, KernelSums, PortInFlight, PortSample, PortStalls, Seen, SocketSample, ThreadTime,
};
use model::kpi::{
    Block, ClassPlan, CompletionFigures, Entry, Inputs, KpiPlan, PortPlan, Report, SampleLoss,
    Sampled, Switches, Totals, URGENT,
};
use model::sample::DepartureSource;
use model::time::Nanos;

fn plan() -> KpiPlan {
    let class = |name: &str, from| ClassPlan {
        name: name.to_owned(),
        kind: Kind::Other,
        from,
        cadence: None,
        max_hold: Nanos::MAX,
        arm: None,
    };
    let port = |index, name: &str, side| PortPlan {
        index,
        name: name.to_owned(),
        side,
        departure: DepartureSource::Kernel,
        completion: CompletionFigures::Absent,
        stall_time: Nanos::MAX,
        tx_descriptors: 0,
        link_bits_per_s: None,
    };
    KpiPlan {
        classes: vec![class("orders", Side::Inside), class("back", Side::Venue)],
        ports: vec![port(0, "eth0", Side::Venue), port(1, "host", Side::Inside)],
        limits: Vec::new(),
        urgent: URGENT,
    }
}

fn totals(packets_out: u64) -> Totals {
    Totals { packets_in: packets_out, packets_out, ..Totals::default() }
}

/// The report of one second in which `packets` packets left.
fn report(sums: &KernelSums, packets: u64, has_dispatch: bool) -> Report {
    let plan = plan();
    let (block, sampled) = (Block::new(&plan), Sampled::new(&plan));
    let of_packets = Report::build(&[Inputs {
        plan: &plan,
        block: &block,
        profile: None,
        sampled: Some(&sampled),
        samples: SampleLoss::default(),
        span: Nanos::from_secs(1),
        steps: &[],
        factors: &[],
        switches: Switches::default(),
    }]);
    let totals = totals(packets);
    let seen = Seen { plan: &plan, totals: &totals, has_dispatch, span: Nanos::from_secs(1) };
    sums.report(&of_packets, seen)
}

fn one<'a>(report: &'a Report, name: &str, part: Option<&str>) -> &'a Entry {
    let all: Vec<_> =
        report.entries.iter().filter(|e| e.name == name && e.labels.part == part).collect();
    assert_eq!(all.len(), 1, "{name} {part:?}: {all:?}");
    all[0]
}

/// Nothing is given of what was not measured, and every reason is told.
#[test]
fn a_host_that_lacks_everything_says_so() {
    let report = report(&KernelSums::new(&plan()), 0, false);
    for (name, part, reason) in [
        ("pacing_headroom", None, "no_socket"),
        ("cap_hit_ratio", None, "no_socket"),
        ("not_sent_bytes", None, "no_socket"),
        ("tcp_retransmit_ratio", None, "no_socket"),
        ("send_queue_bytes", Some("qdisc"), "no_queue"),
        ("run_queue_delay_ns", None, "no_thread"),
        ("cpu_ns_per_packet", None, "no_interval"),
        ("cycles_per_packet", None, "no_cycle_counter"),
        ("drain_interval_jitter_ns", None, "no_interval"),
        ("rx_burst_packets", Some("softirq"), "no_interval"),
    ] {
        let entry = one(&report, name, part);
        assert_eq!(entry.absent, Some(reason), "{name}");
        let nothing = entry.values.iter().all(|(_, value)| value.is_none());
        assert!(nothing && !entry.values.is_empty(), "{entry:?}");
    }
}

#[test]
fn every_series_names_its_arm_and_every_observed_kpi_is_there() {
    let report = report(&KernelSums::new(&plan()), 0, false);
    for entry in &report.entries {
        assert_eq!(entry.labels.arm, Some("kernel"), "{entry:?}");
        assert!(catalogue::find(entry.name).unwrap().arms.contains(&Arm::Observe), "{entry:?}");
    }
    for kpi in catalogue::all().filter(|kpi| kpi.arms.contains(&Arm::Observe)) {
        assert!(report.of(kpi.name).next().is_some(), "{} is missing", kpi.name);
    }
    assert!(report.of("pacer_error_ns").next().is_none(), "a figure about our pacer");
}

#[test]
fn dispatch_is_known_only_where_arrivals_are_captured() {
    let sums = KernelSums::new(&plan());
    let why = |has_dispatch| {
        let report = report(&sums, 0, has_dispatch);
        let parts: Vec<_> = report.of("dispatch_to_wire_ns").map(|e| e.labels.part).collect();
        assert_eq!(parts, [Some("total"), Some("total")], "no hold of ours: {parts:?}");
        let entry: Entry = report.of("dispatch_to_wire_ns").next().unwrap().clone();
        entry.absent
    };
    assert_eq!((why(false), why(true)), (Some("no_dispatch"), Some("no_packets")));
}

/// 100 samples: 40 at the cap; headroom 0.5 once and 0.75 else; 3 of 200 segments were sent again.
#[test]
fn sockets_are_sampled() {
    let mut sums = KernelSums::new(&plan());
    for n in 0..100_u64 {
        sums.socket(
            0,
            &SocketSample {
                not_sent_bytes: Some(100 * n),
                out_queue_bytes: 7,
                queued_memory_bytes: None,
                headroom: Some(if n == 0 { 0.5 } else { 0.75 }),
                is_at_cap: Some(n < 40),
                segments: 2,
                retransmitted: u64::from(n < 3),
            },
        );
    }
    sums.socket(9, &SocketSample::default());
    let report = report(&sums, 10, false);
    let headroom = one(&report, "pacing_headroom", None);
    assert_eq!((headroom.n, headroom.value("headroom")), (100, Some(0.5)));
    let mean = headroom.value("mean").unwrap();
    assert!((mean - 0.7475).abs() < 0.003, "{mean}");
    assert_eq!(one(&report, "cap_hit_ratio", None).value("ratio"), Some(0.4));
    assert_eq!(one(&report, "tcp_retransmit_ratio", None).value("ratio"), Some(0.015));
    let not_sent = one(&report, "not_sent_bytes", None);
    assert!(not_sent.proxy && not_sent.value("max") == Some(9_900.0));
    assert!(not_sent.value("p50").is_some_and(|p50| (4_880.0..=4_920.0).contains(&p50)));
    assert_eq!(one(&report, "send_queue_bytes", Some("out_queue")).value("p50"), Some(7.0));
    let memory = one(&report, "send_queue_bytes", Some("queued_memory"));
    assert_eq!(memory.absent, Some("not_told"), "the sockets are there, the figure is not");
}

#[test]
fn a_socket_without_a_cap_has_no_headroom() {
    let mut sums = KernelSums::new(&plan());
    sums.socket(0, &SocketSample::default());
    let report = report(&sums, 0, false);
    assert_eq!(one(&report, "pacing_headroom", None).absent, Some("unlimited"));
    assert_eq!(one(&report, "cap_hit_ratio", None).absent, Some("unlimited"));
}

/// 1,514 of 3,028 bytes, always; two stalls and three drops in the second.
#[test]
fn a_driver_with_a_byte_limit() {
    let mut sums = KernelSums::new(&plan());
    let in_flight = Some(PortInFlight { bytes: 1_514, limit_bytes: 3_028 });
    for n in 0..200_u64 {
        let sample = PortSample {
            qdisc_backlog_bytes: Some(500),
            in_flight,
            qdisc_drops: u64::from(n == 3) * 2,
            interface_drops: u64::from(n == 4),
            stalls: Some(PortStalls { count: u64::from(n < 2), stall_time: Nanos::from_millis(8) }),
        };
        sums.port(0, &sample);
        sums.step();
    }
    let report = report(&sums, 10, false);
    assert_eq!(one(&report, "byte_queue_utilization", None).value("max"), Some(0.5));
    assert_eq!(one(&report, "tx_queue_occupancy", Some("bytes")).value("max"), Some(1_514.0));
    assert_eq!(one(&report, "send_queue_bytes", Some("driver")).value("p95"), Some(1_514.0));
    assert_eq!(one(&report, "send_queue_bytes", Some("qdisc")).value("max"), Some(500.0));
    let stalls = one(&report, "tx_stall_rate", None);
    assert_eq!((stalls.value("rate"), stalls.value("stall_time_ns")), (Some(2.0), Some(8e6)));
    let jitter = one(&report, "drain_interval_jitter_ns", None);
    assert_eq!(jitter.absent, Some("no_completion_times"), "what is in flight is no completion");
    let limit = one(&report, "limit_oscillation_score", Some("limit"));
    assert_eq!((limit.value("score"), limit.value("changes")), (Some(0.0), Some(0.0)));
    assert!(limit.structural_zero, "a limit that nobody moved");
    let drops = one(&report, "drops", None);
    let of = |name| drops.value(name);
    assert_eq!((of("packets"), of("qdisc"), of("interface")), (Some(3.0), Some(2.0), Some(1.0)));
}

#[test]
fn a_driver_without_one_and_a_kernel_without_a_stall_detector() {
    let mut sums = KernelSums::new(&plan());
    sums.port(0, &PortSample::default());
    sums.step();
    let absent = report(&sums, 0, false);
    for name in ["byte_queue_utilization", "tx_stall_rate", "drain_interval_jitter_ns"] {
        assert_eq!(one(&absent, name, None).absent, Some("no_bql"), "{name}");
    }
    for part in ["limit", "in_flight"] {
        let score = one(&absent, "limit_oscillation_score", Some(part));
        assert_eq!(score.absent, Some("no_bql"));
    }
    let in_flight = Some(PortInFlight { bytes: 0, limit_bytes: 1 });
    sums.port(0, &PortSample { in_flight, ..PortSample::default() });
    let report = report(&sums, 0, false);
    assert_eq!(one(&report, "tx_stall_rate", None).absent, Some("no_stall_detector"));
}

/// 30 + 50 + 20 ms of work in two CPU seconds, 1,000 packets; threads waited 4 ms in 8 turns.
#[test]
fn the_host_is_shared_among_the_packets() {
    let sample = HostSample {
        user_ns: 30_000_000,
        system_ns: 50_000_000,
        interrupt_ns: 20_000_000,
        idle_ns: 1_900_000_000,
        threads: Some(ThreadTime { wait_ns: 4_000_000, slices: 8 }),
        ksoftirqd_ns: 2_000_000,
        softnet_drops: 5,
        received: 3_000,
        receive_runs: 1_200,
    };
    let (mut run, mut now) = (KernelSums::new(&plan()), KernelSums::new(&plan()));
    now.host(&sample);
    run.merge(&now);
    now.clear();
    assert_eq!(
        one(&report(&now, 1_000, false), "cpu_ns_per_packet", None).absent,
        Some("no_interval")
    );
    let report = report(&run, 1_000, false);
    let cpu = one(&report, "cpu_ns_per_packet", None);
    let of = |name| cpu.value(name).unwrap();
    assert_eq!((of("mean"), of("user")), (100_000.0, 30_000.0));
    assert_eq!((of("system"), of("softirq")), (50_000.0, 20_000.0));
    assert!(cpu.proxy && cpu.host);
    assert_eq!(one(&report, "core_busy_ratio", None).value("ratio"), Some(0.05));
    let waits = one(&report, "run_queue_delay_ns", None);
    assert_eq!((waits.n, waits.value("mean")), (8, Some(500_000.0)));
    assert_eq!((waits.value("max"), waits.value("share")), (Some(500_000.0), Some(0.004)));
    assert_eq!(waits.value("softirq_share"), Some(0.001));
    assert_eq!(one(&report, "drops", Some("softnet")).value("packets"), Some(5.0));
    let polled = one(&report, "rx_burst_packets", Some("softirq"));
    assert_eq!((polled.n, polled.value("mean"), polled.value("p50")), (1_200, Some(2.5), None));
    assert!(polled.proxy && polled.host && polled.absent == Some("not_told"), "{polled:?}");
}
