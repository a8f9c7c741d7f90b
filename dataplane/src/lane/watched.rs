//! What an operator looks at: flows as they stand, and copies of packets.

use model::profile::ARMS;
use model::time::Nanos;

use super::{Core, Lane};
use crate::classify::Classify;
use crate::port::{Rx, Tx};
use crate::survey::{FlowRow, Survey};

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// The next few flows.
    pub(crate) fn survey(&self, survey: &mut Survey) {
        let pacer = &self.parts.pacer;
        for flow in survey.next_flows(pacer.flows_made()) {
            let Some(look) = pacer.look_at(flow) else { continue };
            let last_departure = self.flow_kpis[flow as usize].last_departure();
            let key = self.parts.classifier.key_of(flow);
            if key.is_none() && look.packets == 0 && last_departure.is_none() {
                // Kept for packets that have not come.
                continue;
            }
            survey.take(FlowRow {
                port: self.parts.tx_port,
                flow,
                class: self.class_behind(look.class),
                packets: look.packets,
                waits_for: look.waits_for,
                last_departure,
                key,
            });
        }
    }

    /// The class that `node` of the pacer is, or is a twin of.
    fn class_behind(&self, node: u8) -> u8 {
        let first_twin = self.parts.pacer.nodes_of_classes() - ARMS * self.twins.len();
        let twin = usize::from(node).checked_sub(first_twin);
        twin.map_or(node, |twin| self.twins[twin % self.twins.len()])
    }

    /// Copies of a burst that has been received and classified.
    #[cold]
    pub(super) fn tap_received(&self, now: Nanos, core: &mut Core<'_>) {
        let Some(tap) = core.link.tap_mut() else { return };
        let classifier = &self.parts.classifier;
        tap.received(now, self.parts.rx_port, &self.arrivals, |place, packet| {
            classifier.verdict(place, packet).ok().map(|entry| entry.meta.class)
        });
    }

    /// Of the copies of what was offered, those of what the ports have taken.
    #[cold]
    pub(super) fn tap_sent(&self, accepted: usize, t_tx: Nanos, core: &mut Core<'_>) {
        let Some(tap) = core.link.tap_mut() else { return };
        let mut from = 0;
        while from < accepted {
            let (end, port) = self.run_from(from, accepted);
            tap.taken(t_tx, port, &(from..end));
            from = end;
        }
        tap.end_offer();
    }
}
