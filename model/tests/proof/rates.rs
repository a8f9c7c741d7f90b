//! A class that is never without packets: over every 100 ms it sends what its cap says, to 0.1 % and
//! one packet.

use super::case::{Case, Row, WIRE_LEN_MAX};
use super::rng::Rng;
use super::world::Queue;
use model::meta::{PacketMeta, flags};
use model::pacer::limits::LimitsSpec;
use model::pacer::{HaltRule, NO_VENUE, Next, Pacer, PacerSpec};
use model::profile::{Bucket, Caps, Profile, Shaping};
use model::time::Nanos;
use std::collections::VecDeque;

const WINDOW: u64 = 100_000_000;

/// Runs `ms` of virtual time. Returns the worst error beyond one packet, in millionths of the rate.
///
/// # Errors
/// What went wrong.
pub fn prove(row: Row, seed: u64, ms: u64) -> Result<f64, String> {
    let mut rng = Rng::new(seed ^ 0xace);
    let (rate, slot) = (rng.between(200_000_000, 1_000_000_000), 1u64 << rng.between(6, 12));
    // The effective burst holds what the rate gives in a slot and in the jitter.
    let jitter = if row.jitter { rng.between(1_000, 50_000) } else { 0 };
    let burst = u64::from(WIRE_LEN_MAX) + rate * slot.max(jitter) / 8_000_000_000 + 1;
    let mut profile: Profile = Case::draw(row, seed, 0).profiles[0].clone();
    profile.classes.truncate(1);
    let class = &mut profile.classes[0];
    let bits = Some(Bucket::new(rate, burst));
    (class.flow, class.class) = (Caps::default(), Caps { bits, messages: None });
    profile.egress[0].port = Caps::default();
    (class.max_hold, class.queue_packets, class.priority) = (Nanos::MAX, u32::MAX, 0);
    class.shaping = Shaping {
        lateness: row.lateness,
        // t_sched goes by arrival and own jitter. One flow without jitter leaves in that order, so that
        // nothing is late; else elders and turns make packets wait, and what is late against t_sched gives up rate (re-anchor) or
        // ends (drop) because its class says so. Here they have as long as the run.
        late_after: Nanos(if row.flows == 1 && !row.jitter { slot } else { 10_000_000_000 }),
        jitter_max: Nanos(jitter),
        ..Shaping::default()
    };
    let mut pacer: Pacer<Queue> = Pacer::new(
        &PacerSpec {
            twins: Vec::new(),
            slot: Nanos(slot),
            start: Nanos::ZERO,
            flows_max: row.flows,
            wire_len_max: WIRE_LEN_MAX,
            burst_max: 64,
            halt: vec![HaltRule::NONE],
            port: 0,
            seed,
            limits: LimitsSpec::default(),
            follows_tcp: false,
            two_paths: false,
        },
        &profile,
    );
    let mut arrive = |pacer: &mut Pacer<Queue>, now: u64, flow: u32| {
        let p = PacketMeta {
            arrival: Nanos(now),
            due: Nanos(now),
            len: rng.between(60, 1514) as u16,
            messages: 1,
            flags: flags::PAYLOAD,
            ..PacketMeta::default()
        };
        pacer.enqueue(Nanos(now), flow, NO_VENUE, p).map_err(|(_, why)| format!("{why:?}"))
    };
    for flow in 0..row.flows {
        pacer.new_flow();
        // So much that jitter leaves the class without packets at no time.
        for _ in 0..(4_000 / row.flows).max(2) {
            arrive(&mut pacer, 0, flow)?;
        }
    }
    let (mut now, mut in_window, mut worst) = (0, 0u64, 0f64);
    let mut window: VecDeque<(u64, u64)> = VecDeque::new();
    let begin = 1_000_000;
    while now < begin + ms * 1_000_000 {
        now = pacer.next_event(Nanos(now)).ok_or("nothing to do in a backlog")?.0.max(now);
        pacer.poll(Nanos(now));
        loop {
            let released = match pacer.next(Nanos(now), u64::MAX) {
                Next::Packet(released) => released,
                Next::Ended(_, why) => return Err(format!("{why:?} in a backlog at {now}")),
                Next::NoRoom | Next::Nothing => break,
            };
            pacer.commit(1);
            arrive(&mut pacer, now, released.flow)?;
            if now < begin {
                continue;
            }
            // (first, now]: what left after the first one and up to this one.
            let bytes = u64::from(released.packet.wire_len());
            window.push_back((now, bytes));
            in_window += bytes;
            while now - window[0].0 > WINDOW {
                in_window -= window[0].1;
                window.pop_front();
            }
            if now - begin >= WINDOW {
                // The window may begin anywhere between two departures: one packet either way.
                let expected = rate as f64 * WINDOW as f64 / 8e9;
                let beyond = (in_window as f64 - expected).abs() - f64::from(WIRE_LEN_MAX);
                worst = worst.max(beyond.max(0.0) / expected * 1e6);
                if beyond > expected * 0.001 {
                    return Err(format!("{in_window} bytes and not {expected} in 100 ms to {now}"));
                }
            }
        }
    }
    Ok(worst)
}
