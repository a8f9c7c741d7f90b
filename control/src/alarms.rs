//! Alarms of the data cores: counted always, logged at most once a second for each kind.

use std::collections::BTreeMap;

use dataplane::channel::Event;
use model::time::Nanos;

use crate::log_limit::LogLimit;
use crate::registry::Registry;

/// Name of the counter, its help, and the label that says where: its name, and the names.
struct Kind {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
}

const TX_STALL: Kind = Kind {
    name: "alarm_tx_stalls",
    help: "No completion for stall_time with bytes in flight.",
    label: Some("port"),
};
const STARVATION: Kind = Kind {
    name: "alarm_starvations",
    help: "In-flight limit reached, device empty, due packets waiting: the limit is too low.",
    label: Some("port"),
};
const POOL: Kind = Kind {
    name: "alarm_pool_empty_packets",
    help: "Packets that ended for want of buffers.",
    label: None,
};
const RING_FULL: Kind = Kind {
    name: "alarm_ring_full_packets",
    help: "Packets that ended because the ring to the pacing core was full.",
    label: Some("port"),
};
const POOL_LOW: Kind = Kind {
    name: "alarm_pool_low_packets",
    help: "Packets of classes with allow_drop that ended because the pool is down to its reserve.",
    label: None,
};
const POOL_RESERVE: Kind = Kind {
    name: "alarm_pool_reserve",
    help: "The pool was down to its reserve: packets are held far beyond the queue budgets.",
    label: None,
};
const NO_BUFFER: Kind = Kind {
    name: "alarm_device_no_buffer",
    help: "Times that a driver found no buffer for a packet that arrived.",
    label: Some("port"),
};
const BACKPRESSURE: Kind = Kind {
    name: "alarm_backpressure",
    help: "A class that may not drop went past its queue budget.",
    label: Some("class"),
};
const OVER_VENUE_LIMIT: Kind = Kind {
    name: "alarm_over_venue_limit_packets",
    help: "Packets that ended because they have more messages than a venue limit ever lets go.",
    label: Some("port"),
};
const EXEMPT_BEHIND_LIMIT: Kind = Kind {
    name: "alarm_exempt_behind_venue_limit_packets",
    help: "Cancels and other exempt packets that waited behind what a venue limit held.",
    label: Some("port"),
};
const REMOVED: Kind = Kind {
    name: "alarm_device_removed",
    help: "The device of a port has gone: only a restart takes up another.",
    label: Some("port"),
};
const LINK_DOWN: Kind =
    Kind { name: "alarm_link_downs", help: "The link of a port went down.", label: Some("port") };

/// The counters.
pub(crate) struct Alarms {
    ports: Vec<String>,
    classes: Vec<String>,
    /// By counter, core and place; a device is no core's.
    counts: BTreeMap<(&'static str, Option<usize>, String), (&'static Kind, u64)>,
    log: LogLimit,
}

impl Alarms {
    pub(crate) fn new(ports: &[(String, &'static str)], classes: &[String]) -> Self {
        Self {
            ports: ports.iter().map(|(name, _)| name.clone()).collect(),
            classes: classes.to_vec(),
            counts: BTreeMap::new(),
            log: LogLimit::default(),
        }
    }

    /// Counts an alarm; events of other kinds are none.
    pub(crate) fn on_event(&mut self, core: usize, event: Event, now: Nanos) {
        match event {
            Event::TxStall { port, .. } => self.raise(&TX_STALL, core, self.port(port), 1, now),
            Event::Starvation { port, .. } => {
                self.raise(&STARVATION, core, self.port(port), 1, now);
            }
            Event::PoolAlarm { packets, .. } => {
                self.raise(&POOL, core, String::new(), u64::from(packets), now);
            }
            Event::RingFull { port, packets, .. } => {
                self.raise(&RING_FULL, core, self.port(port), u64::from(packets), now);
            }
            Event::PoolLow { packets, .. } => {
                self.raise(&POOL_LOW, core, String::new(), u64::from(packets), now);
            }
            Event::PoolReserve { .. } => {
                self.raise(&POOL_RESERVE, core, String::new(), 1, now);
            }
            Event::Backpressure { class, .. } => {
                self.raise(&BACKPRESSURE, core, name(&self.classes, class), 1, now);
            }
            Event::OverVenueLimit { port, packets, .. } => {
                self.raise(&OVER_VENUE_LIMIT, core, self.port(port), u64::from(packets), now);
            }
            Event::ExemptBehindLimit { port, packets, .. } => {
                self.raise(&EXEMPT_BEHIND_LIMIT, core, self.port(port), u64::from(packets), now);
            }
            Event::Link { port, up, .. } => {
                let port = self.port(port);
                if up {
                    tracing::info!(core, port, "link is up");
                } else {
                    self.raise(&LINK_DOWN, core, port, 1, now);
                }
            }
            Event::ProfileSwitched { .. }
            | Event::Confirmed { .. }
            | Event::SwitchSettled { .. }
            | Event::LeaseExpired { .. } => {}
        }
    }

    pub(crate) fn publish(&self, registry: &mut Registry) {
        for ((_, core, place), (kind, count)) in &self.counts {
            let core = core.map(|core| core.to_string());
            let mut labels = Vec::new();
            labels.extend(core.as_deref().map(|core| ("core", core)));
            labels.extend(kind.label.map(|label| (label, place.as_str())));
            registry.counter(kind.name, kind.help, &labels, *count);
        }
    }

    /// The driver of a port found no buffer, `times` since the last look.
    pub(crate) fn on_no_buffer(&mut self, port: &str, times: u64, now: Nanos) {
        self.count(&NO_BUFFER, None, port.to_owned(), times, now);
    }

    /// The device of a port has gone.
    pub(crate) fn on_removed(&mut self, port: &str, now: Nanos) {
        self.count(&REMOVED, None, port.to_owned(), 1, now);
    }

    /// Control saw the core stand still for `still` and move again.
    pub(crate) fn on_still(&mut self, core: usize, still: Nanos, now: Nanos) {
        if let Some(n) = self.log.due("core moves again", 1, now) {
            tracing::warn!(core, still_ns = still.0, n, "core moves again");
        }
    }

    fn raise(&mut self, kind: &'static Kind, core: usize, place: String, by: u64, now: Nanos) {
        self.count(kind, Some(core), place, by, now);
    }

    fn count(
        &mut self,
        kind: &'static Kind,
        core: Option<usize>,
        place: String,
        by: u64,
        now: Nanos,
    ) {
        if let Some(n) = self.log.due(kind.name, by, now) {
            tracing::warn!(core, place, n, "{}", kind.help);
        }
        self.counts.entry((kind.name, core, place)).or_insert((kind, 0)).1 += by;
    }

    fn port(&self, index: u8) -> String {
        name(&self.ports, index)
    }
}

fn name(names: &[String], index: u8) -> String {
    names.get(usize::from(index)).cloned().unwrap_or_else(|| index.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_counted_by_core_and_place_under_the_names_of_the_config() {
        let mut alarms = Alarms::new(&[("in".into(), "inside"), ("out".into(), "venue")], &[]);
        let at = Nanos(5);
        for _ in 0..3 {
            alarms.on_event(0, Event::TxStall { port: 1, at }, at);
        }
        alarms.on_event(1, Event::TxStall { port: 0, at }, at);
        alarms.on_event(0, Event::PoolAlarm { at, packets: 32 }, at);
        alarms.on_event(0, Event::PoolAlarm { at, packets: 1 }, at);
        alarms.on_event(0, Event::PoolReserve { at }, at);
        alarms.on_no_buffer("in", 9, at);
        alarms.on_removed("in", at);
        alarms.on_event(0, Event::Backpressure { class: 7, at }, at);
        alarms.on_event(0, Event::OverVenueLimit { port: 1, packets: 4, at }, at);
        alarms.on_event(0, Event::ExemptBehindLimit { port: 1, packets: 2, at }, at);
        alarms.on_event(0, Event::Link { port: 1, up: false, at }, at);
        alarms.on_event(0, Event::Link { port: 1, up: true, at }, at);
        let mut registry = Registry::new();
        alarms.publish(&mut registry);
        assert_eq!(
            registry.to_json(),
            serde_json::json!({
                "alarm_backpressure": [{"core": "0", "class": "7", "value": 1}],
                "alarm_exempt_behind_venue_limit_packets":
                    [{"core": "0", "port": "out", "value": 2}],
                "alarm_over_venue_limit_packets": [{"core": "0", "port": "out", "value": 4}],
                "alarm_link_downs": [{"core": "0", "port": "out", "value": 1}],
                "alarm_device_no_buffer": [{"port": "in", "value": 9}],
                "alarm_pool_empty_packets": [{"core": "0", "value": 33}],
                "alarm_pool_reserve": [{"core": "0", "value": 1}],
                "alarm_tx_stalls": [
                    {"core": "0", "port": "out", "value": 3},
                    {"core": "1", "port": "in", "value": 1},
                ],
                "alarm_device_removed": [{"port": "in", "value": 1}],
            })
        );
    }
}
