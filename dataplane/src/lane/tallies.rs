//! What the parts of a lane have counted: read when a block is handed over, not per packet.

use model::kpi::{BelowQueue, CoreAggregates, Levels, Tallies, Tally};
use model::pacer::PathChoice;
use model::time::Nanos;

use super::Lane;
use super::paths::Paths;
use crate::channel::{Event, WorkerLink};
use crate::classify::{Classify, FlowFigures};
use crate::intent::desk::Desk;
use crate::port::{Rx, Tx};

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// Tells `aggregates` what the parts have counted since the last call, and raises what an operator
    /// has to know of it.
    pub fn tell<B>(&self, now: Nanos, aggregates: &mut CoreAggregates, link: &mut WorkerLink<B>) {
        let (parts, port) = (&self.parts, self.parts.tx_port);
        let figures = parts.inflight.figures(now);
        let flows = self.flow_figures();
        let levels = Levels {
            flows: flows.flows,
            path_alive: self.paths.as_ref().map(|paths| paths.is_alive(now, PathChoice::First)),
            below: figures.map(|figures| BelowQueue {
                queued_bytes: figures.queued_bytes,
                queued_bytes_max: figures.peak_queued_bytes,
                eligible_bytes: figures.bytes - figures.queued_bytes,
                eligible_bytes_max: figures.peak_eligible_bytes,
                limit_bytes: figures.limit_bytes,
            }),
        };
        let mut tallies = self.tallies(flows);
        tallies[Tally::RipenedOverLimit] = figures.map_or(0, |figures| figures.ripened_over_limit);
        if let Some(paths) = &self.paths {
            tell_paths(now, paths, &mut tallies, aggregates);
        }
        let added = aggregates.tell(port, &tallies, levels, parts.pacer.limit_figures());
        let packets = |tally| u32::try_from(added[tally]).unwrap_or(u32::MAX);
        match packets(Tally::OverVenueLimit) {
            0 => {}
            packets => link.alarm(Event::OverVenueLimit { port, packets, at: now }),
        }
        match packets(Tally::ExemptBehindVenueLimit) {
            0 => {}
            packets => link.alarm(Event::ExemptBehindLimit { port, packets, at: now }),
        }
    }

    /// Of this core and of those that receive for it: they have no books of their own.
    fn flow_figures(&self) -> FlowFigures {
        self.parts.classifier.figures() + self.parts.rx.flows_elsewhere()
    }

    fn tallies(&self, flows: FlowFigures) -> Tallies {
        let parts = &self.parts;
        let (pacer, guard) = (parts.pacer.counters(), parts.pacer.guard_counters());
        let mut t = Tallies::default();
        t[Tally::FlowLifted] = pacer.flow_lifted;
        t[Tally::HorizonCapped] = pacer.horizon_capped;
        t[Tally::OverBudget] = pacer.over_budget;
        t[Tally::ExemptBehindVenueLimit] = guard.exempt_behind_venue_limit;
        t[Tally::OverVenueLimit] = guard.over_venue_limit;
        t[Tally::TcpSegments] = guard.segments;
        t[Tally::TcpRetransmissions] = guard.retransmissions;
        t[Tally::RetransmitsWhileHeld] = guard.duplicates_held;
        t[Tally::EcnMarked] = self.ecn_marked;
        t[Tally::StampsBackwards] = self.stamps_backwards;
        t[Tally::FlowTableFull] = flows.table_full;
        t[Tally::FlowsAged] = flows.aged;
        if let Some(desk) = &self.intent {
            put_intent(&mut t, desk);
        }
        t
    }
}

/// Of both paths: probes in the books of each, moves in those of the first.
fn tell_paths<T: Tx>(
    now: Nanos,
    paths: &Paths<T>,
    of_first: &mut Tallies,
    aggregates: &mut CoreAggregates,
) {
    let counters = paths.counters;
    of_first[Tally::PathMoved] = counters.moved;
    of_first[Tally::PathReturned] = counters.returned;
    of_first[Tally::PathHoldsGivenUp] = counters.holds_given_up;
    let mut of_second = Tallies::default();
    for (path, tallies) in PathChoice::ALL.into_iter().zip([of_first, &mut of_second]) {
        tallies[Tally::PathProbesSent] = counters.probes_sent[path as usize];
        tallies[Tally::PathProbesAnswered] = paths.parts.probes[path as usize].answers();
    }
    let port = paths.parts.tx_port;
    let path_alive = Some(paths.is_alive(now, PathChoice::Second));
    let levels = Levels { path_alive, ..Levels::default() };
    aggregates.tell(port, &of_second, levels, std::iter::empty());
    for (class, flows) in paths.on_second().iter().enumerate() {
        if paths.may_leave(class) {
            aggregates.tell_flows(port, class as u8, u64::from(*flows));
        }
    }
}

fn put_intent(t: &mut Tallies, desk: &Desk) {
    let of = desk.counters();
    t[Tally::IntentStripped] = of.shims.stripped;
    t[Tally::IntentRecords] = of.records.records;
    t[Tally::IntentClassRefused] = of.records.class_refused;
    t[Tally::IntentKindRefused] = of.records.kind_refused;
    t[Tally::IntentLabelUnknown] = of.records.label_unknown;
    t[Tally::IntentVenueRefused] = of.records.venue_refused;
    t[Tally::IntentMessagesBounded] = of.records.messages_bounded;
    t[Tally::IntentMessagesClamped] = of.records.messages_clamped;
    t[Tally::IntentClockAhead] = of.records.clock_ahead;
    t[Tally::IntentClockOff] = of.records.clock_off;
    t[Tally::IntentTimeRefused] = of.records.time_refused;
    t[Tally::IntentDueCapped] = of.records.due_capped;
    t[Tally::IntentDeadlinePassed] = of.records.deadline_passed;
    t[Tally::IntentGroupChangesWaiting] = of.groups.changes_waiting;
    t[Tally::IntentGroupsFull] = of.groups.full;
    t[Tally::IntentSideInserted] = of.side.inserted;
    t[Tally::IntentSideMatched] = of.side.matched;
    t[Tally::IntentSideTooLate] = of.side.too_late;
    t[Tally::IntentSideExpired] = of.side.expired;
    t[Tally::IntentSideDropped] = of.side.dropped_oldest + of.side.dropped_with_flow;
    t[Tally::IntentSideRefused] = of.side.out_of_order + of.side.no_base;
    t[Tally::IntentSideLengthDiffers] = of.side.length_differs;
    let Some(inlet) = desk.inlet() else { return };
    if let Some(ring) = inlet.ring() {
        t[Tally::IntentRingLost] = ring.lost().overrun + ring.lost().malformed;
        t[Tally::IntentRingCut] = u64::from(ring.is_cut());
    }
    if let Some(udp) = inlet.udp_counters() {
        t[Tally::IntentUdpReceived] = udp.received;
        t[Tally::IntentUdpMalformed] = udp.malformed;
        t[Tally::IntentUdpDropped] = udp.dropped;
    }
}
