//! Frames that nobody should trust through a gateway: made by mutation, received from a net_ring, and whatever
//! leaves goes into another. One thread steps all of it.

use std::time::{Duration, Instant};

use dataplane::assemble::{self, TimeBase};
use dataplane::batch::Batch;
use dataplane::clock::{self, BASELINE_MIN, Calibrator};
use dataplane::pool::HEADROOM_BYTES;
use dataplane::port::{Rx, Tx};
use dataplane::worker::{NoWords, Worker};
use fuzz::Frames;
use model::drop_reason::DropReason;
use model::frame::{Frame, parse};
use model::inflight::CompletionSource;
use model::kpi::{Block, Totals};
use model::time::Nanos;

use crate::common::{Bench, rings, worker_parts};

const BURST: usize = 32;
const DATA_ROOM_BYTES: u16 = 2_304;
/// Every second profile switch pins `contain`, the others take it back.
const SWITCH_EVERY: u64 = 50_000;
/// Time without any progress after which the run has failed.
const STUCK: Duration = Duration::from_secs(10);

/// Senders may tag, classes have caps, and what a venue may not get ends under a name. What is due later than a
/// ms is due then: a tag may hold its group for a minute otherwise, and nothing here keeps a reserve of the pool.
const REST: &str = r#"
[default_class]
inside = "others"
venue = "back"
[[class]]
name = "orders"
kind = "order"
halt_mixed = "block"
cancel_on_disconnect = true
messages = "2000000/s"
message_burst = 64
messages_per_segment = 1
intent = true
horizon = "1ms"
[[class]]
name = "others"
rate = "2G"
burst = "64KiB"
queue_packets = 256
on_overflow = "drop"
allow_drop = true
allow_drop_reason = "flood"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
dst_port = 7000
[[profile]]
name = "contain"
[[profile.class]]
name = "others"
rate = "1G"
"#;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub frames: u64,
    pub totals: Totals,
    /// Left into the second ring.
    pub arrived: u64,
    /// How often the parser alone calls a frame malformed, by reason.
    pub malformed: [u64; DropReason::ALL.len()],
    /// Frames behind a tag, of which the parser alone knows nothing.
    pub tagged: u64,
    pub switches: u64,
    pub seconds: f64,
}

impl Outcome {
    /// Every law that must hold, by name; empty when all do. A buffer that does not come back fails the bench.
    pub fn broken(&self) -> Vec<String> {
        let t = &self.totals;
        let mut broken = Vec::new();
        let mut law = |name: &str, holds: bool| {
            if !holds {
                broken.push(name.to_owned());
            }
        };
        law("everything arrived", t.packets_in == self.frames);
        law("in = out + ended", t.packets_in == t.packets_out + t.dropped() && t.held == 0);
        law("the second ring has what left", self.arrived == t.packets_out);
        law("nothing early", t.early == 0);
        for &reason in DropReason::ALL.iter() {
            let (ended, alone) = (self.ended(reason), self.malformed[reason as usize]);
            if alone > 0 {
                let fits = (alone..=alone + self.tagged).contains(&ended);
                law(&format!("{}: {ended} ended, {alone} are", reason.name()), fits);
            }
        }
        broken
    }

    fn ended(&self, reason: DropReason) -> u64 {
        self.totals.drops[reason as usize].packets
    }

    /// The ends of frames that did not leave.
    pub fn ends(&self) -> Vec<(&'static str, u64)> {
        let all = DropReason::ALL.iter().map(|&reason| (reason.name(), self.ended(reason)));
        all.filter(|(_, n)| *n > 0).collect()
    }
}

/// Sends `count` frames, which are a function of `seed`.
pub fn run(count: u64, seed: u64, mut progress: impl FnMut(u64)) -> Outcome {
    let bench = Bench::with_pool(16_383, DATA_ROOM_BYTES);
    let keys = ["intent = \"shim\"", "inflight_limit = \"32KiB\""];
    let config = rings::config(65_536, keys, REST);
    let (_in, in_rx, mut in_tx) = bench.open("net_ring0");
    let (_out, mut out_rx, out_tx) = bench.open("net_ring1");
    let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
    let clock = clock::Clock::new(model);
    let completion =
        assemble::completion_source(&config.ports[1], CompletionSource::RingCount).unwrap();
    let (base, start) = (TimeBase::Tsc, clock.now());
    let (rx, tx) = ((0, in_rx), (1, out_tx));
    let lane = assemble::lane(&config, &bench.pool, base, start, 0, rx, tx, completion).unwrap();
    let plan = assemble::kpi_plan(&config, &[(1, completion)], base);
    let (parts, mut control) =
        worker_parts(&config, &plan, vec![lane], (1 << 10, 256), 1_024, NoWords);
    let mut worker = Worker::new(parts, clock);
    let mut block = Block::new(&plan);

    let mut outcome = Outcome {
        frames: 0,
        totals: block.totals(),
        arrived: 0,
        malformed: [0; DropReason::ALL.len()],
        tagged: 0,
        switches: 0,
        seconds: 0.0,
    };
    let mut frames = Frames::new(seed, usize::from(DATA_ROOM_BYTES - HEADROOM_BYTES));
    let (mut sending, mut leaving) = (Batch::new(), Batch::new());
    let (began, mut last_move, mut stopping) = (Instant::now(), Instant::now(), false);
    loop {
        while sending.len() < BURST && outcome.frames < count {
            let Some(mut packet) = bench.pool.alloc() else { break };
            let frame = frames.next();
            packet.append(frame).unwrap();
            outcome.frames += 1;
            if intent::shim::find(frame).is_some() {
                outcome.tagged += 1;
            } else if let Frame::Malformed(reason) = parse(frame, frame.len() as u32) {
                outcome.malformed[reason as usize] += 1;
            }
            sending.push(packet).unwrap();
        }
        in_tx.tx_burst(Nanos::ZERO, &mut sending);
        let now = worker.clock_mut().now();
        let turn = worker.poll(now);
        let taken = out_rx.rx_burst(Nanos::ZERO, &mut leaving);
        leaving.clear();
        outcome.arrived += taken as u64;
        if turn.packets + taken > 0 {
            last_move = Instant::now();
        }
        assert!(last_move.elapsed() < STUCK, "nothing moves: {:?}", worker.lanes()[0].held());
        if outcome.frames / SWITCH_EVERY > outcome.switches {
            outcome.switches += 1;
            progress(outcome.frames);
            rings::switch(&mut control, &config, outcome.switches);
            rings::take_everything(&mut control, &mut block);
        }
        let idle = turn.packets + taken == 0;
        if outcome.frames == count && sending.is_empty() && idle && !stopping {
            stopping = true;
            control.stopper().stop();
        }
        if turn.ended && taken == 0 {
            break;
        }
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    drop(worker.finish().lanes.pop().unwrap().close());
    while let Some(full) = control.take_block() {
        block.merge(&full);
    }
    outcome.totals = block.totals();
    outcome
}
