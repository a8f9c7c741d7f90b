//! The features that analysis reads of a window, by the names that the gateway gives them.

/// A feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its column in queries and in models.
    pub column: &'static str,
    /// Name in the catalogue.
    pub kpi: &'static str,
    /// Part of the KPI.
    pub part: Option<&'static str>,
    /// Which value of it.
    pub value: &'static str,
    /// Whose it is.
    pub of: Of,
}

/// Whose a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The child's class.
    Class,
    /// The gateway: the worst of its ports or feeds.
    Gateway,
}

const fn input(
    column: &'static str,
    kpi: &'static str,
    part: Option<&'static str>,
    value: &'static str,
    of: Of,
) -> Input {
    Input { column, kpi, part, value, of }
}

/// All of them.
pub const INPUTS: [Input; 15] = [
    input("d2w", "dispatch_to_wire_ns", Some("total"), "p95", Of::Class),
    input("rest", "dispatch_to_wire_ns", Some("rest"), "p95", Of::Class),
    input("bi", "burstiness_index", None, "excess", Of::Class),
    input("bdc", "burst_delivery_concentration", None, "excess", Of::Gateway),
    input("sbf", "segmentation_burst_factor", None, "factor", Of::Class),
    input("wst95", "wire_serialization_ns", None, "p95", Of::Class),
    input("acr", "ack_compression_ratio", None, "ratio", Of::Class),
    input("cpe", "cadence_phase_error", None, "p95", Of::Class),
    input("los", "limit_oscillation_score", Some("limit"), "score", Of::Gateway),
    input("tsr", "tx_stall_rate", None, "rate", Of::Gateway),
    input("nsq95", "not_sent_bytes", None, "p95", Of::Class),
    input("fci", "flush_compression_index", None, "index", Of::Class),
    input("bdr", "burst_drain_ratio", None, "ratio", Of::Class),
    input("cjd", "child_join_delay_ns", None, "value", Of::Class),
    input("nud", "not_sent_urgency_divergence", None, "ratio", Of::Gateway),
];

impl Input {
    /// As it is written in a table of a machine: `kpi[part].value`.
    pub fn name(&self) -> String {
        let part = self.part.map(|part| format!("[{part}]")).unwrap_or_default();
        format!("{}{part}.{}", self.kpi, self.value)
    }

    /// `max(CASE WHEN ... THEN value END) AS column`: the value out of the rows of a window.
    pub fn pivot_sql(&self) -> String {
        format!("max(CASE WHEN {} THEN value END) AS {}", self.condition_sql(), self.column)
    }

    /// Which rows have it.
    pub fn condition_sql(&self) -> String {
        let Self { kpi, value, .. } = self;
        let part = self.part.map_or("part IS NULL".to_owned(), |part| format!("part = '{part}'"));
        format!("(kpi = '{kpi}' AND value_name = '{value}' AND {part})")
    }
}

/// Those of a class, or of a gateway.
pub fn of(of: Of) -> impl Iterator<Item = &'static Input> {
    INPUTS.iter().filter(move |input| input.of == of)
}

/// A regime machine of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// What it watches.
    pub scope: Watches,
    /// Its states, the mildest first.
    pub states: &'static [&'static str],
}

/// What a machine watches, and how its scopes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watches {
    /// `class:NAME`.
    Class,
    /// `tx_queue:PORT`.
    TxQueue,
    /// `feed:NAME`.
    Feed,
}

/// The built-in machines, one for each playbook.
pub const MACHINES: [Machine; 5] = [
    Machine {
        name: "pacing",
        scope: Watches::Class,
        states: &["CLEAN_FLOW", "PACING_LIMITED", "BURST_RELEASED"],
    },
    Machine {
        name: "segmentation",
        scope: Watches::Class,
        states: &["WIRE_CLEAN", "BURSTING", "DEPHASED", "SAFE_TX_CONTAIN"],
    },
    Machine {
        name: "byte_queue",
        scope: Watches::TxQueue,
        states: &["BQL_STABLE", "BQL_SWING", "BQL_STALLING", "BQL_SAFE_CONTAIN"],
    },
    Machine {
        name: "drain",
        scope: Watches::Class,
        states: &["SMOOTH_DRAIN", "ACCUMULATION_RISK", "COMPRESSED_DRAIN", "CONTAINMENT"],
    },
    Machine {
        name: "delivery",
        scope: Watches::Feed,
        states: &["FLOW_CLEAN", "DELIVERY_CLUSTERED", "PHASE_LOCKED", "SAFE_PACING"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_those_of_the_gateway() {
        let tables: toml::Table = model::regime::DEFAULT_MACHINES.parse().expect("TOML");
        let machines = tables["machine"].as_array().expect("tables");
        assert_eq!(machines.len(), MACHINES.len());
        for (table, machine) in machines.iter().zip(&MACHINES) {
            assert_eq!(table["name"].as_str(), Some(machine.name));
            let states = table["state"].as_array().expect("tables").iter();
            let names: Vec<_> = states.filter_map(|state| state["name"].as_str()).collect();
            assert_eq!(table["lowest"].as_str(), Some(machine.states[0]));
            assert_eq!(names, machine.states[1..]);
        }
    }
}
