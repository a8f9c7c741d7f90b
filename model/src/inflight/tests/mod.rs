//! Stories with exact numbers, then random worlds against a naive model that shares no code.

mod timed;

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::time::Nanos;

const GIGABIT: u64 = 1_000_000_000;

fn device(source: CompletionSource, limit_bytes: Option<u64>) -> InFlight {
    let stall_time = Nanos::from_micros(50);
    let setup = Setup { source, limit_bytes, packets_max: 8, stall_time, link: None };
    InFlight::new(setup).unwrap()
}

fn ring(limit_bytes: Option<u64>) -> InFlight {
    device(CompletionSource::RingCount, limit_bytes)
}

fn modelled(limit_bytes: Option<u64>, packets_max: u32, link: config::LinkModel) -> InFlight {
    let stall_time = Nanos::from_millis(1);
    let source = CompletionSource::LinkModel;
    InFlight::new(Setup { source, limit_bytes, packets_max, stall_time, link: Some(link) }).unwrap()
}

/// 100 bytes take 800 ns.
fn gigabit(completion_batch: u32, completion_delay: Nanos) -> config::LinkModel {
    config::LinkModel { rate_bps: GIGABIT, completion_batch, completion_delay }
}

fn alerts(q: &mut InFlight) -> Vec<Alert> {
    std::iter::from_fn(|| q.take_alert()).collect()
}

mod setup {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Setup {
            source: CompletionSource::LinkModel,
            limit_bytes: None,
            packets_max: 4,
            stall_time: Nanos(1),
            link: Some(gigabit(1, Nanos::ZERO)),
        };
        assert!(InFlight::new(good).is_ok());
        let refused = |setup| InFlight::new(setup).unwrap_err();
        assert_eq!(refused(Setup { link: None, ..good }), SetupError::NoLinkModel);
        let source = CompletionSource::RingCount;
        assert_eq!(refused(Setup { source, ..good }), SetupError::UnusedLinkModel(source));
        assert_eq!(refused(Setup { packets_max: 0, ..good }), SetupError::PacketsMax(0));
        assert_eq!(refused(Setup { packets_max: 65_537, ..good }), SetupError::PacketsMax(65_537));
        assert_eq!(refused(Setup { stall_time: Nanos::ZERO, ..good }), SetupError::StallTime);
    }

    #[test]
    fn a_link_model_beats_the_config_and_the_config_beats_the_device() {
        use config::Completion;
        let best = CompletionSource::RefcountProbe;
        let choose = CompletionSource::choose;
        assert_eq!(choose(Completion::Synchronous, true, best), CompletionSource::LinkModel);
        assert_eq!(choose(Completion::Auto, false, best), best);
        assert_eq!(choose(Completion::RingCount, false, best), CompletionSource::RingCount);
        assert_eq!(choose(Completion::RefcountProbe, false, CompletionSource::Synchronous), best);
        let none = choose(Completion::Synchronous, false, best);
        assert_eq!(none, CompletionSource::Synchronous);
    }

    #[test]
    fn the_floor_is_a_batch_of_largest_frames_in_wire_bytes() {
        assert_eq!(feasible_floor_bytes(32, 1_514), 32 * 1_538);
        assert_eq!(feasible_floor_bytes(1, 14), 84);
        assert_eq!(feasible_floor_bytes(0, 60), 84);
    }
}

mod limit {
    use super::*;

    #[test]
    fn is_strict_and_counts_wire_bytes() {
        let mut q = ring(Some(300));
        assert_eq!(q.fits([100, 100, 100, 84]), 3);
        for _ in 0..3 {
            assert_eq!(q.on_accepted(Nanos(10), 100), None);
        }
        assert_eq!((q.room(), q.bytes(), q.packets()), (0, 300, 3));
        assert_eq!(q.fits([84]), 0);
        let done = q.on_completed(Nanos(25), 2).unwrap();
        let expected = Completed { at: Nanos(25), packets: 2, bytes: 200, since_last: Nanos(15) };
        assert_eq!(done, expected);
        assert_eq!(q.room(), 200);
        assert_eq!(q.figures(Nanos(25)).unwrap().overruns, 0);
    }

    #[test]
    fn a_short_packet_does_not_pass_a_long_one() {
        assert_eq!(ring(Some(150)).fits([100, 100, 40]), 1);
    }

    #[test]
    fn without_one_the_descriptors_limit() {
        let mut q = ring(None);
        assert_eq!(q.room(), u64::MAX);
        assert_eq!(q.fits([100; 20]), 8);
        for k in 0..8 {
            q.on_accepted(Nanos(k), 100);
        }
        assert_eq!((q.room(), q.fits([1])), (0, 0));
        q.on_completed(Nanos(9), 1);
        assert_eq!((q.room(), q.fits([1, 1])), (u64::MAX, 1));
    }

    #[test]
    fn lowered_it_drains_and_raised_it_opens_at_once() {
        let mut q = ring(Some(800));
        for _ in 0..8 {
            q.on_accepted(Nanos(0), 100);
        }
        q.set_limit(Some(250));
        assert_eq!((q.room(), q.packets()), (0, 8));
        let full = q.figures(Nanos(0)).unwrap();
        assert_eq!(full.utilisation(), Some(3.2));
        q.on_completed(Nanos(1), 5);
        assert_eq!((q.room(), q.bytes()), (0, 300));
        q.on_completed(Nanos(2), 1);
        assert_eq!(q.room(), 50);
        q.set_limit(Some(250));
        q.set_limit(None);
        let f = q.figures(Nanos(2)).unwrap();
        assert_eq!((f.limit_changes, f.limit_bytes, f.utilisation()), (2, None, None));
        assert_eq!((f.completed_packets, f.completed_bytes, f.overruns), (6, 600, 0));
    }

    #[test]
    fn synchronous_completion_has_no_figures_and_no_limit() {
        let mut q = device(CompletionSource::Synchronous, Some(100));
        for k in 0..100 {
            assert_eq!(q.on_accepted(Nanos(k), 1_538), None);
        }
        assert_eq!((q.room(), q.packets(), q.fits([1_538; 50])), (u64::MAX, 0, 50));
        q.set_waiting(Nanos(100), true);
        assert_eq!(q.poll(Nanos::from_secs(1)), None);
        assert_eq!(q.figures(Nanos::from_secs(1)), None);
        assert_eq!(alerts(&mut q), []);
    }

    #[test]
    fn a_caller_that_breaks_the_rules_is_counted() {
        let mut q = ring(Some(150));
        q.on_accepted(Nanos(0), 100);
        q.on_accepted(Nanos(0), 100);
        for _ in 0..7 {
            q.on_accepted(Nanos(0), 1);
        }
        let f = q.figures(Nanos(0)).unwrap();
        // One packet beyond the bytes already, then all of them, the last beyond the descriptors.
        assert_eq!((f.overruns, f.packets, f.accepted_packets), (8, 8, 9));
        assert_eq!(q.on_completed(Nanos(1), 9).map(|c| c.packets), Some(8));
        assert_eq!(q.on_completed(Nanos(1), 0), None);
        assert_eq!(q.figures(Nanos(1)).unwrap().surplus_completions, 1);
    }
}

mod stall {
    use super::*;

    #[test]
    fn is_counted_once_for_an_episode_with_its_length() {
        let mut q = ring(None);
        q.on_accepted(Nanos(1_000), 100);
        q.on_accepted(Nanos(30_000), 100);
        q.poll(Nanos(50_999));
        assert_eq!(alerts(&mut q), []);
        q.poll(Nanos(51_000));
        q.poll(Nanos(60_000));
        assert_eq!(alerts(&mut q), [Alert::Stalled { since: Nanos(1_000) }]);
        let f = q.figures(Nanos(60_000)).unwrap();
        assert_eq!((f.stalls, f.stalled, f.stalled_for), (1, Nanos::ZERO, Some(Nanos(59_000))));

        q.on_completed(Nanos(71_000), 1);
        let ended = Alert::StallEnded { since: Nanos(1_000), at: Nanos(71_000) };
        assert_eq!(alerts(&mut q), [ended]);
        let f = q.figures(Nanos(71_000)).unwrap();
        assert_eq!(
            (f.stalls, f.stalled, f.stall_max, f.stalled_for),
            (1, Nanos(70_000), Nanos(70_000), None)
        );

        // The second packet still stands below: counted from the completion on.
        q.poll(Nanos(120_999));
        assert_eq!(q.figures(Nanos(120_999)).unwrap().stalls, 1);
        q.poll(Nanos(121_000));
        assert_eq!(q.figures(Nanos(121_000)).unwrap().stalls, 2);
        q.on_completed(Nanos(121_001), 1);
        let f = q.figures(Nanos(121_001)).unwrap();
        assert_eq!((f.stalls, f.stalled, f.stall_max), (2, Nanos(120_001), Nanos(70_000)));
    }

    #[test]
    fn an_empty_queue_never_stalls() {
        let mut q = ring(None);
        q.poll(Nanos::from_secs(5));
        q.on_accepted(Nanos::from_secs(6), 100);
        q.poll(Nanos::from_secs(6));
        q.on_completed(Nanos::from_secs(6), 1);
        q.poll(Nanos::from_secs(9));
        assert_eq!(q.figures(Nanos::from_secs(9)).unwrap().stalls, 0);
    }

    #[test]
    fn a_core_that_was_away_sees_no_stall_of_the_device() {
        let mut q = ring(None);
        q.on_accepted(Nanos(0), 100);
        q.poll(Nanos(10));
        // Nobody looked for a second; the first look finds the packet completed.
        q.on_completed(Nanos::from_secs(1), 1);
        q.poll(Nanos::from_secs(1));
        assert_eq!(q.figures(Nanos::from_secs(1)).unwrap().stalls, 0);
    }

    #[test]
    fn of_a_model_does_not_depend_on_when_one_looks() {
        let link = gigabit(2, Nanos::from_millis(3));
        for looks in [vec![5_000_000], vec![999_999, 1_000_000, 2_000_000, 4_000_000]] {
            let mut q = modelled(None, 4, link);
            q.on_accepted(Nanos(0), 100);
            for t in looks {
                while q.poll(Nanos(t)).is_some() {}
            }
            let f = q.figures(Nanos(5_000_000)).unwrap();
            assert_eq!((f.stalls, f.stalled), (1, Nanos(3_000_800)));
        }
    }
}

mod starvation {
    use super::*;

    #[test]
    fn is_an_empty_queue_while_a_due_packet_waits() {
        let mut q = ring(Some(200));
        q.on_accepted(Nanos(0), 100);
        q.on_accepted(Nanos(0), 100);
        q.set_waiting(Nanos(5), true);
        q.set_waiting(Nanos(7), true);
        q.on_completed(Nanos(20), 1);
        assert_eq!(alerts(&mut q), []);
        q.on_completed(Nanos(30), 1);
        let starved = Alert::Starved { at: Nanos(30), waiting_since: Nanos(5), idle: None };
        assert_eq!(alerts(&mut q), [starved]);
        q.set_waiting(Nanos(31), true);
        q.on_accepted(Nanos(35), 100);
        let f = q.figures(Nanos(40)).unwrap();
        assert_eq!((f.starvations, f.waited, f.starved_idle), (1, Nanos(30), None));
    }

    #[test]
    fn is_not_a_sender_with_nothing_to_send() {
        let mut q = ring(Some(200));
        q.on_accepted(Nanos(0), 200);
        q.on_completed(Nanos(10), 1);
        // A packet that waited, and ended under a drop reason before the queue ran empty.
        q.on_accepted(Nanos(20), 200);
        q.set_waiting(Nanos(21), true);
        q.set_waiting(Nanos(25), false);
        q.on_completed(Nanos(30), 1);
        let f = q.figures(Nanos(30)).unwrap();
        assert_eq!((f.starvations, f.waited), (0, Nanos(4)));
    }

    #[test]
    fn a_limit_below_the_packet_starves_once_until_something_changes() {
        let mut q = ring(Some(50));
        for t in 0..10 {
            q.set_waiting(Nanos(t), true);
        }
        let starved = Alert::Starved { at: Nanos(0), waiting_since: Nanos(0), idle: None };
        assert_eq!(alerts(&mut q), [starved]);
        q.set_limit(Some(100));
        assert_eq!(q.fits([100]), 1);
        q.on_accepted(Nanos(10), 100);
        assert_eq!(q.figures(Nanos(10)).unwrap().starvations, 1);
    }

    #[test]
    fn below_the_floor_the_model_knows_how_long_the_wire_was_idle() {
        // Two packets fit, completions come in fours or 5 us after the first left: the wire is done
        // at 1,600 ns, and the completion comes at 800 + 5,000 ns.
        let mut q = modelled(Some(200), 16, gigabit(4, Nanos::from_micros(5)));
        assert_eq!(q.on_accepted(Nanos(0), 100), Some(Nanos(0)));
        assert_eq!(q.on_accepted(Nanos(0), 100), Some(Nanos(800)));
        q.set_waiting(Nanos(100), true);
        assert_eq!(q.next_event(), Some(Nanos(5_800)));
        assert_eq!(q.poll(Nanos(5_799)), None);
        let done = q.poll(Nanos(5_800)).unwrap();
        assert_eq!((done.packets, done.bytes, done.since_last), (2, 200, Nanos(5_800)));
        let idle = Some(Nanos(4_200));
        let starved = Alert::Starved { at: Nanos(5_800), waiting_since: Nanos(100), idle };
        assert_eq!(alerts(&mut q), [starved]);
        assert_eq!(q.figures(Nanos(5_800)).unwrap().starved_idle, idle);
        assert_eq!(q.next_event(), None);
    }
}

mod link_model {
    use super::*;

    #[test]
    fn completes_a_full_batch_when_its_last_packet_has_left() {
        let mut q = modelled(None, 16, gigabit(2, Nanos::from_micros(5)));
        for k in 0..3 {
            assert_eq!(q.on_accepted(Nanos(0), 100), Some(Nanos(k * 800)));
        }
        assert_eq!(q.busy_until(), Some(Nanos(2_400)));
        assert_eq!(q.next_event(), Some(Nanos(1_600)));
        assert_eq!(q.poll(Nanos(10_000)).map(|c| (c.at, c.packets)), Some((Nanos(1_600), 2)));
        // The third left at 2,400 and begins a batch that never fills.
        assert_eq!(q.poll(Nanos(10_000)).map(|c| (c.at, c.packets)), Some((Nanos(7_400), 1)));
        assert_eq!(q.poll(Nanos(10_000)), None);
        let f = q.figures(Nanos(10_000)).unwrap();
        assert_eq!((f.peak_packets, f.peak_bytes, f.completions), (3, 300, 2));
        // 300 bytes for 1,600 ns, then 100 bytes for 5,800 ns.
        assert_eq!(f.byte_ns, 300 * 1_600 + 100 * 5_800);
        assert!(f.source.is_simulated());
    }

    #[test]
    fn a_late_packet_can_bring_the_completion_forward() {
        let mut q = modelled(None, 16, gigabit(2, Nanos::from_micros(5)));
        q.on_accepted(Nanos(0), 100);
        assert_eq!(q.next_event(), Some(Nanos(5_800)));
        q.on_accepted(Nanos(1_000), 100);
        assert_eq!(q.next_event(), Some(Nanos(1_800)));
    }

    #[test]
    fn peaks_are_of_their_interval() {
        let mut q = modelled(None, 16, gigabit(1, Nanos::ZERO));
        q.on_accepted(Nanos(0), 100);
        q.on_accepted(Nanos(0), 100);
        while q.poll(Nanos(800)).is_some() {}
        q.restart_peak();
        assert_eq!(q.figures(Nanos(800)).unwrap().peak_bytes, 100);
        while q.poll(Nanos(1_600)).is_some() {}
        assert_eq!(q.figures(Nanos(1_600)).unwrap().peak_packets, 1);
        q.restart_peak();
        assert_eq!(q.figures(Nanos(1_600)).unwrap().peak_packets, 0);
    }
}

/// A packet offered to the queue.
#[derive(Clone, Copy, Debug)]
struct Offer {
    at: u64,
    wire_len: u32,
}

#[derive(Clone, Debug)]
struct World {
    link: config::LinkModel,
    limit: Option<u64>,
    packets_max: u32,
    offers: Vec<Offer>,
}

fn worlds() -> impl Strategy<Value = World> {
    let offers = prop::collection::vec((0u64..3_000, 84u32..=1_538), 1..120);
    let rates = prop_oneof![
        Just(GIGABIT),
        Just(10 * GIGABIT),
        Just(400 * GIGABIT),
        7_000_000..13 * GIGABIT
    ];
    let limits = prop::option::of(1_538u64..40_000);
    (rates, 1u32..12, 0u64..20_000, limits, 1u32..40, offers).prop_map(
        |(rate_bps, completion_batch, delay, limit, packets_max, gaps)| {
            let mut at = 0;
            let offers = gaps
                .into_iter()
                .map(|(gap, wire_len)| {
                    at += gap;
                    Offer { at, wire_len }
                })
                .collect();
            let link =
                config::LinkModel { rate_bps, completion_batch, completion_delay: Nanos(delay) };
            World { link, limit, packets_max, offers }
        },
    )
}

/// What a run through the queue leaves behind.
#[derive(Debug, Default)]
struct Trace {
    /// Acceptance, t_wire, wire bytes.
    sent: Vec<(u64, u64, u32)>,
    /// Time and packets.
    completed: Vec<(u64, u32)>,
    starvations: u64,
}

/// Steps through a world as the virtual clock does: arrivals and events, never a time between.
fn run(world: &World) -> Trace {
    let mut q = modelled(world.limit, world.packets_max, world.link);
    let mut offers = world.offers.iter().copied().peekable();
    let mut waiting = VecDeque::new();
    let mut trace = Trace::default();
    let mut below: VecDeque<u32> = VecDeque::new();
    loop {
        let arrival = offers.peek().map(|o| Nanos(o.at));
        let Some(now) = [arrival, q.next_event()].into_iter().flatten().min() else { break };
        if let Some(event) = q.next_event().filter(|&e| e == now) {
            if event > Nanos::ZERO {
                assert_eq!(q.poll(event - Nanos(1)), None, "nothing happens before an event");
            }
            let first = q.poll(event).expect("something happens at an event");
            trace.completed.push((first.at.0, first.packets));
            let bytes: u32 = below.drain(..first.packets as usize).sum();
            assert_eq!((first.at, first.bytes), (event, u64::from(bytes)));
            while let Some(c) = q.poll(now) {
                assert_eq!(c.at, now);
                trace.completed.push((c.at.0, c.packets));
                let bytes: u32 = below.drain(..c.packets as usize).sum();
                assert_eq!(c.bytes, u64::from(bytes));
            }
        }
        while let Some(o) = offers.next_if(|o| o.at == now.0) {
            waiting.push_back(o.wire_len);
        }
        for _ in 0..q.fits(waiting.iter().copied()) {
            let wire_len = waiting.pop_front().unwrap();
            assert!(q.room() >= u64::from(wire_len));
            let t_wire = q.on_accepted(now, wire_len).unwrap();
            trace.sent.push((now.0, t_wire.0, wire_len));
            below.push_back(wire_len);
        }
        q.set_waiting(now, !waiting.is_empty());
        let in_flight: u64 = below.iter().copied().map(u64::from).sum();
        assert_eq!((q.bytes(), q.packets() as usize), (in_flight, below.len()));
        assert!(in_flight <= world.limit.unwrap_or(u64::MAX));
        assert!(below.len() <= world.packets_max as usize);
    }
    assert!(waiting.is_empty(), "a limit of one largest packet lets everything through");
    let f = q.figures(Nanos::from_secs(1)).unwrap();
    assert_eq!((f.packets, f.bytes, f.overruns, f.surplus_completions), (0, 0, 0, 0));
    assert_eq!(f.completed_packets as usize, world.offers.len());
    assert_eq!(f.completed_bytes, f.accepted_bytes);
    trace.starvations = f.starvations;
    trace
}

/// The link by definition: exact times as integers in units of 1 / rate ns.
fn naive_link(link: config::LinkModel, sent: &[(u64, u64, u32)]) -> (Vec<u64>, Vec<u64>) {
    let rate = u128::from(link.rate_bps);
    let mut free = 0u128;
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for &(t_tx, _, wire_len) in sent {
        let start = free.max(u128::from(t_tx) * rate);
        free = start + u128::from(wire_len) * 8_000_000_000;
        starts.push(u64::try_from(start.div_ceil(rate)).unwrap());
        ends.push(u64::try_from(free.div_ceil(rate)).unwrap());
    }
    (starts, ends)
}

/// Completions by definition, from the times at which packets left.
fn naive_completions(link: config::LinkModel, ends: &[u64]) -> Vec<(u64, u32)> {
    let mut completions = Vec::new();
    let mut rest = ends;
    while let Some(first) = rest.first() {
        let timeout = first + link.completion_delay.0;
        let full = rest.get(link.completion_batch as usize - 1).copied().unwrap_or(u64::MAX);
        let at = full.min(timeout);
        let left = rest.iter().take(link.completion_batch as usize).filter(|&&e| e <= at).count();
        completions.push((at, u32::try_from(left).unwrap()));
        rest = &rest[left..];
    }
    completions
}

proptest! {
    #[test]
    fn every_world_matches_the_definitions(world in worlds()) {
        let trace = run(&world);
        let (starts, ends) = naive_link(world.link, &trace.sent);
        let t_wire: Vec<u64> = trace.sent.iter().map(|s| s.1).collect();
        prop_assert_eq!(&t_wire, &starts);
        prop_assert_eq!(&trace.completed, &naive_completions(world.link, &ends));
    }

    #[test]
    fn departures_keep_order_and_rate_in_every_window(world in worlds()) {
        let sent = run(&world).sent;
        for i in 0..sent.len() {
            prop_assert!(sent[i].1 >= sent[i].0);
            let mut bits = 0u128;
            for j in i + 1..sent.len() {
                bits += u128::from(sent[j - 1].2) * 8;
                prop_assert!(sent[j].1 >= sent[j - 1].1);
                let window_ns = u128::from(sent[j].1 - sent[i].1) + 1;
                prop_assert!(bits * 1_000_000_000 < u128::from(world.link.rate_bps) * window_ns);
            }
        }
    }

    #[test]
    fn from_the_floor_on_nothing_starves(world in worlds(), above in 0u64..5_000) {
        let floor = feasible_floor_bytes(world.link.completion_batch, 1_514);
        let packets_max = world.packets_max.max(world.link.completion_batch);
        let world = World { limit: Some(floor + above), packets_max, ..world };
        prop_assert_eq!(run(&world).starvations, 0);
    }

    #[test]
    fn late_looks_find_the_same_completions(world in worlds(), period in 1u64..50_000) {
        let world = World { limit: None, packets_max: 1_024, ..world };
        let stepped = run(&world);
        let mut q = modelled(None, 1_024, world.link);
        for &(now, t_wire, wire_len) in &stepped.sent {
            prop_assert_eq!(q.on_accepted(Nanos(now), wire_len), Some(Nanos(t_wire)));
        }
        let mut completed = Vec::new();
        let mut now = 0;
        while q.packets() > 0 {
            now += period;
            while let Some(c) = q.poll(Nanos(now)) {
                prop_assert!(c.at.0 <= now && now - c.at.0 < period);
                completed.push((c.at.0, c.packets));
            }
        }
        prop_assert_eq!(completed, stepped.completed);
    }

    #[test]
    fn limits_that_move_drop_nothing(
        steps in prop::collection::vec((0u32..4, 84u32..=1_538, 0u64..8_000), 1..200),
    ) {
        let mut q = ring(Some(4_000));
        let mut limit = 4_000;
        let mut below: VecDeque<u32> = VecDeque::new();
        for (k, (what, wire_len, value)) in steps.into_iter().enumerate() {
            let now = Nanos(k as u64);
            let before: u64 = below.iter().copied().map(u64::from).sum();
            match what {
                0 => {
                    limit = value;
                    q.set_limit(Some(limit));
                }
                1 => {
                    let n = (value % 3) as usize;
                    let n = n.min(below.len());
                    let bytes: u64 = below.drain(..n).map(u64::from).sum();
                    let done = q.on_completed(now, u32::try_from(n).unwrap());
                    prop_assert_eq!(done.map_or(0, |c| c.bytes), bytes);
                }
                _ => {
                    let fits = before + u64::from(wire_len) <= limit && below.len() < 8;
                    prop_assert_eq!(q.fits([wire_len]) == 1, fits);
                    prop_assert_eq!(q.room() >= u64::from(wire_len), fits);
                    if fits {
                        q.on_accepted(now, wire_len);
                        below.push_back(wire_len);
                    }
                }
            }
            let in_flight: u64 = below.iter().copied().map(u64::from).sum();
            prop_assert_eq!(q.bytes(), in_flight);
            prop_assert!(in_flight <= limit.max(before), "only draining passes the limit");
        }
        prop_assert_eq!(q.figures(Nanos(1_000)).unwrap().overruns, 0);
    }
}
