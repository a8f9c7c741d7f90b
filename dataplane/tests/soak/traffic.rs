//! Traffic whose order can be checked: numbered packets of many flows into a net_ring, and what comes
//! out of another.
#![allow(dead_code, reason = "each test program uses a part of it")]

use dataplane::batch::Batch;
use dataplane::mbuf::Mbuf;
use dataplane::pool::Pool;
use dataplane::port::dpdk::{RxQueue, TxQueue};
use dataplane::port::{Rx, Tx};
use model::time::Nanos;

/// Flows of the generator; ports 7000 to 7007 by turns.
pub const FLOWS: usize = 512;
/// Packets of a burst.
pub const BURST: usize = 32;
/// Packets of one flow in a row.
const RUN: usize = 4;

/// Where the payload of a frame carries its flow, the generator's number and the tap's.
pub const FLOW: usize = 42;
pub const MADE: usize = 46;
pub const GIVEN: usize = 54;
const FRAME_BYTES: usize = 64;

pub fn field(frame: &[u8], at: usize) -> u64 {
    frame[at..at + 8].try_into().map_or(0, u64::from_be_bytes)
}

/// The flow of a frame, `None` where it was cut before it.
pub fn flow_of(packet: &Mbuf) -> Option<usize> {
    let bytes = packet.data().get(FLOW..FRAME_BYTES)?;
    Some(bytes[..4].try_into().map_or(0, u32::from_be_bytes) as usize)
}

/// Makes packets and puts them into the first ring.
pub struct Generator {
    pool: Pool,
    tx: TxQueue,
    batch: Batch,
    template: [u8; FRAME_BYTES],
    made: Vec<u64>,
    cut_one_in: u64,
    pub generated: u64,
    pub malformed: u64,
}

impl Generator {
    /// One frame in `cut_one_in` is cut short and must end as malformed.
    pub fn new(pool: Pool, tx: TxQueue, cut_one_in: u64) -> Self {
        let mut template = [0; FRAME_BYTES];
        template[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        template[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17]);
        template[26..34].copy_from_slice(&[10, 1, 0, 0, 10, 9, 0, 1]);
        template[38..40].copy_from_slice(&30_u16.to_be_bytes());
        let (batch, made) = (Batch::new(), vec![0; FLOWS]);
        Self { pool, tx, batch, template, made, cut_one_in, generated: 0, malformed: 0 }
    }

    /// Fills a burst up and sends what the ring takes, as long as fewer than `of` have been made.
    pub fn turn(&mut self, of: u64) {
        while self.batch.len() < BURST && self.generated < of {
            let Some(mut packet) = self.pool.alloc() else { break };
            // Several of a flow in a row, so that reordering has something to turn round.
            let flow = self.generated as usize / RUN % FLOWS;
            self.made[flow] += 1;
            self.generated += 1;
            let mut frame = self.template;
            frame[28..30].copy_from_slice(&(flow as u16 / 8).to_be_bytes());
            frame[34..36].copy_from_slice(&(20_000 + flow as u16).to_be_bytes());
            frame[36..38].copy_from_slice(&(7_000 + flow as u16 % 8).to_be_bytes());
            frame[FLOW..MADE].copy_from_slice(&(flow as u32).to_be_bytes());
            frame[MADE..GIVEN].copy_from_slice(&self.made[flow].to_be_bytes());
            let cut = self.generated.is_multiple_of(self.cut_one_in);
            self.malformed += u64::from(cut);
            let bytes = if cut { &frame[..40] } else { &frame[..] };
            if packet.append(bytes).is_err() || self.batch.push(packet).is_err() {
                break;
            }
        }
        self.tx.tx_burst(Nanos::ZERO, &mut self.batch);
    }

    /// Whether everything that was made has been sent.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }
}

/// Takes packets out of the last ring and looks at their order.
pub struct Sink {
    rx: RxQueue,
    batch: Batch,
    /// Where the number stands that has to rise within a flow.
    number_at: usize,
    last: Vec<u64>,
    pub arrived: u64,
    pub swapped: u64,
}

impl Sink {
    /// A sink that looks at the number at `number_at`: [`MADE`] or [`GIVEN`].
    pub fn new(rx: RxQueue, number_at: usize) -> Self {
        let (batch, last) = (Batch::new(), vec![0; FLOWS]);
        Self { rx, batch, number_at, last, arrived: 0, swapped: 0 }
    }

    /// Takes a burst. Returns how many packets came.
    pub fn turn(&mut self) -> usize {
        let n = self.rx.rx_burst(Nanos::ZERO, &mut self.batch);
        for packet in &self.batch {
            let Some(flow) = flow_of(packet) else { continue };
            let given = field(packet.data(), self.number_at);
            self.swapped += u64::from(given <= self.last[flow]);
            self.last[flow] = given;
        }
        self.batch.clear();
        self.arrived += n as u64;
        n
    }
}
