//! What a run or a replay comes to: one JSON object, or a page for people.

use control::timeline::{Table, Written};
use model::drop_reason::DropReason;
use model::kpi::{Count, Entry, Report, Totals};
use model::time::Nanos;
use serde_json::{Map, Value, json};

/// The facts of a run.
pub struct Summary {
    /// Sums over all packets.
    pub totals: Totals,
    /// KPIs.
    pub report: Report,
    /// Changes of state of the regime machines.
    pub regime_transitions: Vec<Value>,
    /// Gateway time from start to end.
    pub duration: Nanos,
    /// Lost by devices.
    pub device_lost: u64,
    /// Buffers that did not come back.
    pub mbufs_leaked: u32,
    /// Digest of the config.
    pub config_digest: String,
    /// Version of the DPDK libraries in use.
    pub dpdk_version: String,
    /// What else is worth a word: counters by name.
    pub notes: Map<String, Value>,
    /// What depends on the machine.
    pub host: Value,
}

impl Summary {
    /// `packets_in + segments_added = packets_out + sum(drops) + held`, and the same of bytes:
    /// whether every packet is accounted for.
    pub fn is_conserved(&self) -> bool {
        let t = &self.totals;
        let bytes_dropped: u64 = t.drops.iter().map(|count| count.bytes).sum();
        let held_bytes_known = t.held == 0;
        t.packets_in + t.segments_added == t.packets_out + t.dropped() + t.held
            && (!held_bytes_known
                || t.bytes_in + t.bytes_added == t.bytes_out + bytes_dropped + t.bytes_stripped)
    }

    /// The object of `--json`.
    pub fn json(&self) -> Value {
        let named = |value: fn(&Count) -> u64| -> Map<String, Value> {
            self.drops().map(|(name, count)| (name.to_owned(), json!(value(count)))).collect()
        };
        let (drops, drops_bytes) = (named(|count| count.packets), named(|count| count.bytes));
        let counters: Map<String, Value> = self
            .totals
            .tallies
            .iter()
            .map(|(tally, value)| (tally.name().to_owned(), json!(value)))
            .collect();
        let mut host = self.host.clone();
        if let (Value::Object(host), Value::Object(kpis)) = (&mut host, self.report.host_json()) {
            host.insert("kpis".to_owned(), Value::Object(kpis));
        }
        let mut object = json!({
            "packets_in": self.totals.packets_in,
            "packets_out": self.totals.packets_out,
            "segments_added": self.totals.segments_added,
            "bytes_in": self.totals.bytes_in,
            "bytes_out": self.totals.bytes_out,
            "bytes_added": self.totals.bytes_added,
            "bytes_stripped": self.totals.bytes_stripped,
            "drops": drops,
            "drops_bytes": drops_bytes,
            "held": self.totals.held,
            "duration_s": self.duration.0 as f64 / 1e9,
            "device_lost": self.device_lost,
            "early": self.totals.early,
            "counters": counters,
            "mbufs_leaked": self.mbufs_leaked,
            "kpis": self.report.kpis_json(),
            "regime_transitions": self.regime_transitions,
            "config_digest": self.config_digest,
            "dpdk_version": self.dpdk_version,
            "host": host,
        });
        if let Value::Object(object) = &mut object {
            object.extend(self.notes.clone());
        }
        object
    }

    /// Name and count of each reason that occurred.
    fn drops(&self) -> impl Iterator<Item = (&'static str, &Count)> {
        let named = DropReason::ALL.iter().map(|reason| reason.name()).zip(&self.totals.drops);
        named.filter(|(_, count)| count.packets > 0)
    }

    /// The page for people.
    pub fn print(&self) {
        let t = &self.totals;
        out!("packets   in {:>12}   out {:>12}   held {}", t.packets_in, t.packets_out, t.held);
        out!("bytes     in {:>12}   out {:>12}", t.bytes_in, t.bytes_out);
        let drops: Vec<String> =
            self.drops().map(|(name, count)| format!("{name} {}", count.packets)).collect();
        out!("drops     {}", if drops.is_empty() { "none".to_owned() } else { drops.join(", ") });
        out!(
            "duration  {:.6} s   early {}   mbufs leaked {}   lost by devices {}",
            self.duration.0 as f64 / 1e9,
            t.early,
            self.mbufs_leaked,
            self.device_lost
        );
        for name in ["dispatch_to_wire_ns", "release_error_ns", "pacer_error_ns", "cap_hit_ratio"] {
            for entry in self.report.of(name).filter(|entry| entry.n > 0) {
                let labels = &entry.labels;
                let part = labels.part.unwrap_or("");
                out!(
                    "{name:<20} {:<14} {:<16} {part:<6} n {:<9} {}",
                    labels.port.as_deref().unwrap_or(""),
                    labels.class.as_deref().unwrap_or(""),
                    entry.n,
                    values(entry)
                );
            }
        }
        if !self.regime_transitions.is_empty() {
            out!("regimes   {} changes of state", self.regime_transitions.len());
        }
        for (tally, value) in t.tallies.iter().filter(|(_, value)| *value > 0) {
            if self.notes.contains_key(tally.name()) {
                continue;
            }
            out!("{:<20} {value}", tally.name());
        }
        for (name, value) in &self.notes {
            out!("{name:<20} {value}");
        }
        out!("host      {}", self.host);
        out!("config    {}   {}", self.config_digest, self.dpdk_version);
    }
}

/// The note on a timeline: rows by table, those that are in no file, and why it is not complete.
pub fn timeline(written: &Written) -> Value {
    let mut note = Map::new();
    for (table, rows) in Table::ALL.iter().zip(written.rows) {
        note.insert(table.name().to_owned(), json!(rows));
    }
    note.insert("lost".to_owned(), json!(written.lost.iter().sum::<u64>()));
    if let Some(failed) = &written.failed {
        note.insert("failed".to_owned(), json!(failed));
    }
    Value::Object(note)
}

/// The values that are there, in words.
pub fn values(entry: &Entry) -> String {
    let there = entry.values.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let words: Vec<String> =
        there.map(|(name, value)| format!("{name} {}", short(value))).collect();
    words.join("  ")
}

fn short(number: f64) -> String {
    if number == number.trunc() { format!("{number:.0}") } else { format!("{number:.4}") }
}

/// TSC cycles of busy polls for each packet that left, over all data cores: the KPI of that name.
pub fn cycles_per_packet(report: &Report) -> Option<f64> {
    let (cycles, packets) = report
        .of("cycles_per_packet")
        .filter_map(|entry| Some((entry.value("mean")? * entry.n as f64, entry.n)))
        .fold((0.0, 0), |(cycles, packets), (c, p)| (cycles + c, packets + p));
    (packets > 0).then(|| cycles / packets as f64)
}
