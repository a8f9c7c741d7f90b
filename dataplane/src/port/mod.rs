//! Ports: where packets come from and go to.
//!
//! Real, simulated and wrapped ports share two burst-shaped traits, [`Rx`] and [`Tx`]; a worker is
//! generic over them, so every call is static. Real ports are opened by [`thread::PortThread`], the
//! one thread that holds capabilities; [`device`] reads devargs, [`crate::locks`] keeps two
//! processes off one device, [`kernel_silence`] sees what the kernel would still do on it.

pub mod bench;
pub mod board;
pub mod clocks;
pub mod departures;
pub mod device;
pub mod dpdk;
pub mod faults;
pub mod hold;
pub mod in_turn;
pub mod kernel_silence;
pub mod live;
pub mod privileges;
pub mod spec;
pub mod thread;

use model::kpi::Count;
use model::time::Nanos;

use crate::batch::Batch;
use crate::classify::FlowFigures;
use crate::hand_over::Ended;
use crate::mbuf::Mbuf;

/// A source of packets. One owner, one thread.
pub trait Rx {
    /// Adds what has arrived to the tail of `into`, at most the burst of the port and the room of
    /// the batch. Returns how many. Bounded: one burst call.
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize;

    /// The next instant at which something arrives. `None` = ask again (a real port), or never
    /// again (a virtual source that is exhausted).
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    /// The length in bytes of the next frame that was lost because no buffer was left for it, once
    /// for each; drivers count theirs by themselves.
    fn take_missed(&mut self) -> Option<u32> {
        None
    }

    /// Packets that have arrived and are not delivered yet: held back, or in a ring between cores.
    fn waiting(&self) -> u32 {
        0
    }

    /// Whether what is received may be held back, where the source does so at all. What is held
    /// already is delivered by the next call once it may not.
    fn hold_back(&mut self, _may: bool) {}

    /// Takes nothing more from the device: only what has arrived already is still delivered.
    fn close(&mut self) {}

    /// Whether nothing is left to deliver once it was closed.
    fn is_dry(&self) -> bool {
        true
    }

    /// Whether the packets of the last burst have their arrival in their metadata, because they came
    /// before it was delivered.
    #[inline]
    fn writes_arrival(&self) -> bool {
        false
    }

    /// Tells of packets that have ended since the last call on a core that receives for this one.
    #[inline]
    fn take_ended(&mut self, _tell: impl FnMut(Ended, Count)) {}

    /// What cores that receive for this one have counted of flows, as far as they have told.
    fn flows_elsewhere(&self) -> FlowFigures {
        FlowFigures::default()
    }

    /// Whether the link is up. Down: nothing will arrive.
    fn link_up(&self) -> bool {
        true
    }
}

/// A sink of packets. One owner, one thread.
pub trait Tx {
    /// Takes from the front of `from` what the port accepts, in order; the rest stays. Returns how
    /// many were taken. What a port cannot carry ([`Tx::frame_bytes_max`], [`Tx::multi_segs`]) must
    /// not be given to it: some drivers drop or cut it silently.
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize;

    /// Lets the port notice what has left, without sending. Nothing on ports that need no such
    /// call.
    fn reap(&mut self, _now: Nanos) {}

    /// Packets that stand in the ring below, where the port is a ring.
    fn ring_occupancy(&self) -> Option<u32> {
        None
    }

    /// The next instant at which the state of the port changes by itself (a modelled link).
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    /// The longest frame it carries, without FCS, bytes.
    fn frame_bytes_max(&self) -> u32;

    /// Whether it carries packets of more than one segment.
    fn multi_segs(&self) -> bool;

    /// Whether it cuts super-frames that ask for it ([`crate::segment::tso_request`]).
    fn cuts_frames(&self) -> bool {
        false
    }

    /// Shows it such a super-frame before the pacer has it: the driver writes into it what its device
    /// wants to find. `false`: the device cannot send it as it is.
    fn prepare(&mut self, _packet: &mut Mbuf) -> bool {
        self.cuts_frames()
    }

    /// Whether it sends a packet at the launch time that stands in it
    /// ([`crate::mbuf::Mbuf::set_launch_time`]), in the port's own clock.
    fn sends_at_time(&self) -> bool {
        false
    }

    /// Whether it notes when a packet has left that was marked for it
    /// ([`crate::mbuf::Mbuf::mark_departure_stamp`]). One marked packet at a time.
    fn stamps_departures(&self) -> bool {
        false
    }

    /// When the marked packet has left, in the port's own clock, once; `None` = not known yet.
    fn departure_stamp(&mut self) -> Option<u64> {
        None
    }

    /// Whether the link is up.
    fn link_up(&self) -> bool {
        true
    }
}
