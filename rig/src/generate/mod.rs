//! Captures made up from a seed: the same seed and duration give the same bytes on every machine
//! (integers only, one small generator of numbers, no clock).
//!
//! [`generate`] writes one. What is in it is made to be hard for a pacer and easy to judge: bursts
//! of frames within tens of microseconds, quiet in between, sizes with a heavy tail. A capture
//! shows one direction, what the gateway receives on its inside port (orders) or from a feed
//! (market data); the other direction is felt only in acknowledgement numbers. Addresses match the
//! rules of `configs/gateway.toml`. Frames stand as a tap on a 10 Gbit/s link would see them: none
//! begins before the one ahead has left, and all are padded to 60 bytes. Checksums are right.
//!
//! [`hostile`] writes the opposite: files and frames that are wrong in one way each.

mod draw;
mod hostile;
mod market_data;
mod orders;
mod packet;
mod timeline;

use std::path::Path;

use model::time::Nanos;

use crate::capture::{CaptureWriter, WriteError};
pub(crate) use draw::Draw;
pub use hostile::{HostileCase, hostile};
pub use market_data::MarketDataShape;
pub use orders::OrdersShape;
pub(crate) use orders::order_frame;
pub(crate) use packet::{Path as PacketPath, Segment, host_mac, tcp, udp};
use timeline::{Timeline, Traffic};

/// Stamp of the start of every generated capture: 2025-01-06 14:30:00 UTC, in ns since 1970.
pub const START: Nanos = Nanos(1_736_173_800_000_000_000);

/// What a capture looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Order sessions over UDP and TCP, with cancels, from the inside.
    Orders,
    /// A multicast feed on two lines.
    MarketData,
    /// Both, on one wire.
    Mixed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Orders, Self::MarketData, Self::Mixed];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::MarketData => "market-data",
            Self::Mixed => "mixed",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a capture is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Bursts begin within this span; what follows from the last one may lie a little beyond it.
    pub duration: Nanos,
    /// Shape of the order traffic.
    pub orders: OrdersShape,
    /// Shape of the feed.
    pub market_data: MarketDataShape,
}

impl Parameters {
    /// The shapes that the bundled captures have.
    pub fn new(seed: u64, duration: Nanos) -> Self {
        Self {
            seed,
            duration,
            orders: OrdersShape::default(),
            market_data: MarketDataShape::default(),
        }
    }
}

/// What [`generate`] wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// Frames.
    pub frames: u64,
    /// Their bytes, without preamble, FCS and gap.
    pub bytes: u64,
    /// Stamp of the last one.
    pub last: Nanos,
}

/// Writes a capture to `out`: nanosecond pcap, or pcapng where the name says so, in gzip where it
/// ends in `.gz`. The memory it takes does not grow with the duration.
///
/// # Errors
/// When the file cannot be written.
pub fn generate(kind: Kind, parameters: &Parameters, out: &Path) -> Result<Generated, WriteError> {
    let mut writer = CaptureWriter::create(out, kind.name())?;
    let mut generated = Generated::default();
    let mut write = |t: Nanos, frame: &[u8]| {
        generated.frames += 1;
        generated.bytes += frame.len() as u64;
        generated.last = t;
        writer.write_packet(t, frame)
    };
    let end = START.saturating_add(parameters.duration);
    let draw = |stream| Draw::new(parameters.seed, stream);
    let mut traffic: Vec<Box<dyn Traffic>> = Vec::new();
    if kind != Kind::MarketData {
        traffic.push(Box::new(orders::Orders::new(parameters.orders, draw(1), START, end)));
    }
    if kind != Kind::Orders {
        traffic.push(Box::new(market_data::Feed::new(parameters.market_data, draw(2), START, end)));
    }
    let mut timeline = Timeline::default();
    while let Some((t, next)) = earliest(&mut traffic) {
        // Nothing that is still to come begins before `t`.
        timeline.release(t, &mut write)?;
        next.emit(&mut timeline);
    }
    timeline.release(Nanos::MAX, &mut write)?;
    writer.finish()?;
    Ok(generated)
}

/// The traffic whose next event comes first; of two at the same time the one listed first.
fn earliest(traffic: &mut [Box<dyn Traffic>]) -> Option<(Nanos, &mut Box<dyn Traffic>)> {
    traffic
        .iter_mut()
        .filter_map(|traffic| Some((traffic.next_event()?, traffic)))
        .min_by_key(|(t, _)| *t)
}
