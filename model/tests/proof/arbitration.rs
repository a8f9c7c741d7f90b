//! Who goes first: worlds in which the port is what everybody waits for, and a judge that shares no
//! code with the pacer.
//!
//! Flows are never without packets, or come and go; the port is narrow, and at times takes less than it
//! is offered. What the judge holds a departure to stands in [`judge`].

mod judge;

use super::case::WIRE_LEN_MAX;
use super::rng::Rng;
use super::world::Queue;
pub use judge::Figures;
use judge::Judge;
use model::meta::{PacketMeta, flags};
use model::pacer::limits::LimitsSpec;
use model::pacer::{HaltRule, NO_VENUE, Next, Pacer, PacerSpec};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile, Shaping};
use model::time::Nanos;

const BURST: usize = 8;
/// Virtual time of a world.
const END: u64 = 300_000_000;
/// A refused packet is offered again so much later.
const RETRY: u64 = 700;

/// A flow of a world.
#[derive(Clone, Copy)]
pub struct Member {
    pub class: usize,
    /// It always has packets; else it comes and goes.
    pub is_persistent: bool,
}

pub struct Case {
    pub slot: u64,
    pub profile: Profile,
    pub flows: Vec<Member>,
    /// Percent of bursts of which the port takes only a part.
    refuses: u64,
}

impl Case {
    fn draw(r: &mut Rng) -> Self {
        let (slot, classes) = (1u64 << r.between(6, 12), r.between(2, 5) as usize);
        let rate = r.between(50_000_000, 400_000_000);
        let wire_len_max = u64::from(WIRE_LEN_MAX);
        let mut flows = Vec::new();
        for class in 0..classes {
            let comes_and_goes = r.percent(25);
            let member = Member { class, is_persistent: !comes_and_goes };
            flows.extend((0..r.between(1, 8)).map(|_| member));
        }
        // Floors and reserved rates take no more than half of the port, or nobody could keep them.
        let most = rate / (4 * classes as u64);
        let claims = r.percent(60);
        let class = |r: &mut Rng, members: u64| {
            let reserved = (claims && r.percent(40)).then(|| {
                let rate = r.between(most / 20, most);
                // What it gives in a slot is lost to nobody.
                let burst = r.between(wire_len_max, 3 * wire_len_max) + rate * slot / 8_000_000_000;
                Bucket::new(rate, burst + 1)
            });
            let floor =
                if claims && r.percent(40) { r.between(most / 20, most) / members } else { 0 };
            let cap = r.percent(25).then(|| {
                let burst = wire_len_max + rate * slot / 8_000_000_000 + 1;
                Bucket::new(r.between(2 * most, rate), burst)
            });
            let flow = r.percent(15).then(|| {
                let burst = wire_len_max + rate * slot / 8_000_000_000 + 1;
                Bucket::new(r.between(2 * most, rate), burst)
            });
            ClassParams {
                flow: Caps { bits: flow, messages: None },
                class: Caps { bits: cap, messages: None },
                priority: r.below(3) as u8,
                shaping: Shaping {
                    reserved,
                    flow_floor_bits_per_s: floor,
                    weight: r.between(1, 5) as u8,
                    ..Shaping::default()
                },
                ..ClassParams::default()
            }
        };
        let members = |class| flows.iter().filter(|f| f.class == class).count() as u64;
        let classes = (0..classes).map(|n| class(r, members(n))).collect();
        let port = Bucket::new(rate, wire_len_max + rate * slot / 8_000_000_000 + 1);
        let port = Caps { bits: Some(port), messages: None };
        let profile = Profile {
            name: String::new(),
            index: 0,
            classes,
            canary: None,
            venue_limits: vec![],
            egress: vec![EgressParams { port, inflight_limit_bytes: None }],
        };
        Self { slot, profile, flows, refuses: r.of(&[0, 0, 20]) }
    }
}

/// Worlds until so many packets have left.
///
/// # Errors
/// The first world that broke, and how.
pub fn prove(seed: u64, packets: u64) -> Result<Figures, String> {
    let mut rng = Rng::new(seed ^ 0xa4b1);
    let mut all = Figures::default();
    while all.packets < packets {
        let world = rng.next();
        let mut rng = Rng::new(world);
        let case = Case::draw(&mut rng);
        let figures = run(&case, &mut rng).map_err(|why| format!("world {world}: {why}"))?;
        all.add(&figures);
    }
    Ok(all)
}

fn run(case: &Case, rng: &mut Rng) -> Result<Figures, String> {
    let mut pacer: Pacer<Queue> = Pacer::new(
        &PacerSpec {
            twins: Vec::new(),
            slot: Nanos(case.slot),
            start: Nanos::ZERO,
            flows_max: case.flows.len() as u32,
            wire_len_max: WIRE_LEN_MAX,
            burst_max: BURST,
            halt: vec![HaltRule::NONE; case.profile.classes.len()],
            port: 0,
            seed: 0,
            limits: LimitsSpec::default(),
            follows_tcp: false,
            two_paths: false,
        },
        &case.profile,
    );
    let mut judge = Judge::new(case);
    let mut ids = 0;
    let mut arrive = |pacer: &mut Pacer<Queue>, judge: &mut Judge<'_>, rng: &mut Rng, now, flow| {
        let packet = PacketMeta {
            arrival: Nanos(now),
            due: Nanos(now),
            class: case.flows[flow as usize].class as u8,
            len: if rng.percent(30) { 60 } else { rng.between(60, 1_514) as u16 },
            messages: 1,
            flags: flags::PAYLOAD,
            correlation_id: ids,
            ..PacketMeta::default()
        };
        ids += 1;
        judge.arrive(now, flow, packet.wire_len());
        pacer.enqueue(Nanos(now), flow, NO_VENUE, packet).map_err(|(_, why)| format!("{why:?}"))
    };
    for flow in 0..case.flows.len() as u32 {
        pacer.new_flow();
        for _ in 0..4 {
            arrive(&mut pacer, &mut judge, rng, 0, flow)?;
        }
    }
    let mut now = 0;
    // A flow of those that come and go comes.
    let comers: Vec<u32> =
        (0..case.flows.len() as u32).filter(|&f| !case.flows[f as usize].is_persistent).collect();
    let mut comes_at = if comers.is_empty() { u64::MAX } else { 0 };
    while now < END {
        let event = if pacer.is_due() {
            Some(now + RETRY)
        } else {
            pacer.next_event(Nanos(now)).map(|at| at.0)
        };
        now = event.into_iter().chain([comes_at]).min().unwrap_or(END).max(now);
        pacer.poll(Nanos(now));
        if comes_at <= now {
            let flow = rng.of(&comers);
            for _ in 0..rng.between(1, 12) {
                arrive(&mut pacer, &mut judge, rng, now, flow)?;
            }
            comes_at = now + rng.below(2_000_000);
        }
        loop {
            let mut offers = Vec::new();
            while offers.len() < BURST {
                match pacer.next(Nanos(now), u64::MAX) {
                    Next::Packet(released) => offers.push(released),
                    Next::Ended(_, why) => return Err(format!("{why:?} in a backlog at {now}")),
                    Next::NoRoom | Next::Nothing => break,
                }
            }
            let is_full = offers.len() == BURST;
            let taken = if rng.percent(case.refuses) {
                rng.below(1 + offers.len() as u64)
            } else {
                BURST as u64
            };
            let refused = offers.split_off(offers.len().min(taken as usize));
            for released in refused.iter().rev() {
                pacer.undo(Nanos(now), released.packet);
            }
            pacer.commit(offers.len());
            for released in &offers {
                judge.depart(now, released.flow, released.packet.wire_len())?;
                if case.flows[released.flow as usize].is_persistent {
                    arrive(&mut pacer, &mut judge, rng, now, released.flow)?;
                }
            }
            if !is_full || !refused.is_empty() {
                break;
            }
        }
    }
    Ok(judge.figures)
}
