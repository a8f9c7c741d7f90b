//! Alarms of the data cores: counted always, logged at most once a second for each kind.

use std::collections::BTreeMap;

use dataplane::channel::Event;
use model::time::Nanos;

use crate::registry::Registry;

/// One log line per kind and core in so long: an alarm storm must not become a log storm.
const LOG_EVERY: Nanos = Nanos::from_secs(1);

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
const LINK_DOWN: Kind =
    Kind { name: "alarm_link_downs", help: "The link of a port went down.", label: Some("port") };

#[derive(Default)]
struct Count {
    total: u64,
    logged_at: Option<Nanos>,
    unlogged: u64,
}

/// The counters.
pub(crate) struct Alarms {
    ports: Vec<String>,
    classes: Vec<String>,
    /// By counter, core and place.
    counts: BTreeMap<(&'static str, usize, String), (&'static Kind, Count)>,
    /// By core and port: what the last event said.
    links: BTreeMap<(usize, String), bool>,
}

impl Alarms {
    pub(crate) fn new(ports: &[(String, &'static str)], classes: &[String]) -> Self {
        Self {
            ports: ports.iter().map(|(name, _)| name.clone()).collect(),
            classes: classes.to_vec(),
            counts: BTreeMap::new(),
            links: BTreeMap::new(),
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
                self.links.insert((core, port.clone()), up);
                if up {
                    tracing::info!(core, port, "link is up");
                } else {
                    self.raise(&LINK_DOWN, core, port, 1, now);
                }
            }
            Event::ProfileSwitched { .. }
            | Event::SwitchSettled { .. }
            | Event::LeaseExpired { .. }
            | Event::Stall { .. } => {}
        }
    }

    pub(crate) fn publish(&self, registry: &mut Registry) {
        for ((_, core, place), (kind, count)) in &self.counts {
            let core = core.to_string();
            let mut labels = vec![("core", core.as_str())];
            labels.extend(kind.label.map(|label| (label, place.as_str())));
            registry.counter(kind.name, kind.help, &labels, count.total);
        }
        for ((core, port), up) in &self.links {
            let core = core.to_string();
            let labels = [("core", core.as_str()), ("port", port)];
            registry.gauge("link_up", "1 when the port's link is up.", &labels, u64::from(*up));
        }
    }

    fn raise(&mut self, kind: &'static Kind, core: usize, place: String, by: u64, now: Nanos) {
        let key = (kind.name, core, place);
        let (_, count) = self.counts.entry(key.clone()).or_insert_with(|| (kind, Count::default()));
        count.total += by;
        count.unlogged += by;
        if count.logged_at.is_none_or(|at| now >= at.saturating_add(LOG_EVERY)) {
            let n = std::mem::take(&mut count.unlogged);
            count.logged_at = Some(now);
            tracing::warn!(core, place = key.2, n, total = count.total, "{}", kind.help);
        }
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
                "alarm_pool_empty_packets": [{"core": "0", "value": 33}],
                "alarm_tx_stalls": [
                    {"core": "0", "port": "out", "value": 3},
                    {"core": "1", "port": "in", "value": 1},
                ],
                "link_up": [{"core": "0", "port": "out", "value": 1}],
            })
        );
    }
}
