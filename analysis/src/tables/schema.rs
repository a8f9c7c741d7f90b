//! Columns of each table. docs/analysis.md says what they mean.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned 64 bits.
    Id,
    /// Unsigned 32 bits.
    Number,
    /// Signed 64 bits.
    Whole,
    /// Floating point.
    Real,
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// Timestamp, in queries ns since 1970.
    Time,
}

/// What a value must be beside of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Any,
    /// Above 0, and finite.
    Positive,
    /// 0 or above, and finite.
    NotNegative,
    /// 1 or -1.
    Side,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// A file without it is refused; a row without a value cannot be used.
    pub needed: bool,
    /// What a value must be.
    pub rule: Rule,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns; files may have more.
    pub columns: &'static [Column],
    /// The column that has each value once; empty where there is none.
    pub key: &'static str,
    /// Written by gateways, in partitions.
    pub timeline: bool,
}

const fn needed(name: &'static str, kind: Kind, rule: Rule) -> Column {
    Column { name, kind, needed: true, rule }
}

const fn maybe(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, needed: false, rule: Rule::Any }
}

/// Parent orders.
pub const PARENTS: Table = Table {
    name: "parents",
    key: "parent_id",
    timeline: false,
    columns: &[
        needed("parent_id", Kind::Id, Rule::Any),
        needed("symbol", Kind::Text, Rule::Any),
        needed("side", Kind::Whole, Rule::Side),
        needed("target_quantity", Kind::Real, Rule::Positive),
        needed("urgency", Kind::Whole, Rule::NotNegative),
        needed("t_arrival", Kind::Time, Rule::Any),
        needed("t_end", Kind::Time, Rule::Any),
        maybe("arrival_price", Kind::Real),
        needed("decision_price", Kind::Real, Rule::Positive),
    ],
};

/// Child orders, filled or not.
pub const CHILDREN: Table = Table {
    name: "children",
    key: "correlation_id",
    timeline: false,
    columns: &[
        needed("correlation_id", Kind::Id, Rule::Any),
        needed("parent_id", Kind::Id, Rule::Any),
        needed("gateway", Kind::Text, Rule::Any),
        needed("class", Kind::Text, Rule::Any),
        maybe("venue", Kind::Text),
        maybe("tactic", Kind::Text),
        maybe("flow_id", Kind::Number),
        maybe("tcp_end_seq", Kind::Number),
        needed("t_decision", Kind::Time, Rule::Any),
        needed("t_dispatch", Kind::Time, Rule::Any),
        maybe("t_ack", Kind::Time),
        maybe("t_cancel", Kind::Time),
        maybe("t_reject", Kind::Time),
        needed("quantity", Kind::Real, Rule::Positive),
        maybe("limit_price", Kind::Real),
        needed("passive", Kind::Flag, Rule::Any),
        maybe("fees_bps", Kind::Real),
    ],
};

/// Fills.
pub const FILLS: Table = Table {
    name: "fills",
    key: "fill_id",
    timeline: false,
    columns: &[
        needed("fill_id", Kind::Id, Rule::Any),
        needed("correlation_id", Kind::Id, Rule::Any),
        needed("t_fill", Kind::Time, Rule::Any),
        needed("quantity", Kind::Real, Rule::Positive),
        needed("price", Kind::Real, Rule::Positive),
    ],
};

/// Mids around decisions and fills.
pub const QUOTES: Table = Table {
    name: "quotes",
    key: "",
    timeline: false,
    columns: &[
        needed("correlation_id", Kind::Id, Rule::Any),
        maybe("fill_id", Kind::Id),
        needed("point", Kind::Text, Rule::Any),
        needed("time", Kind::Time, Rule::Any),
        needed("mid", Kind::Real, Rule::Positive),
        maybe("half_spread_bps", Kind::Real),
        maybe("volatility_bps", Kind::Real),
        maybe("volume", Kind::Real),
    ],
};

/// Packets of a timeline.
pub const PACKETS: Table = Table {
    name: "packets",
    key: "",
    timeline: true,
    columns: &[
        maybe("correlation_id", Kind::Id),
        maybe("flow_id", Kind::Number),
        maybe("tcp_end_seq", Kind::Number),
        needed("class", Kind::Text, Rule::Any),
        needed("kind", Kind::Text, Rule::Any),
        maybe("messages", Kind::Number),
        maybe("t_decision", Kind::Time),
        needed("t_dispatch", Kind::Time, Rule::Any),
        maybe("t_wire", Kind::Time),
        needed("port", Kind::Text, Rule::Any),
        needed("profile", Kind::Text, Rule::Any),
        needed("mode", Kind::Text, Rule::Any),
        maybe("canary", Kind::Flag),
        needed("weight", Kind::Number, Rule::Positive),
    ],
};

/// KPIs of windows.
pub const FEATURES: Table = Table {
    name: "features",
    key: "",
    timeline: true,
    columns: &[
        needed("window_from", Kind::Time, Rule::Any),
        needed("window_to", Kind::Time, Rule::Any),
        maybe("port", Kind::Text),
        maybe("class", Kind::Text),
        maybe("kind", Kind::Text),
        maybe("arm", Kind::Text),
        needed("kpi", Kind::Text, Rule::Any),
        maybe("part", Kind::Text),
        needed("value_name", Kind::Text, Rule::Any),
        maybe("value", Kind::Real),
    ],
};

/// Decisions of regime machines.
pub const REGIME_LOG: Table = Table {
    name: "regime_log",
    key: "",
    timeline: true,
    columns: &[
        needed("time", Kind::Time, Rule::Any),
        needed("scope", Kind::Text, Rule::Any),
        needed("machine", Kind::Text, Rule::Any),
        needed("from", Kind::Text, Rule::Any),
        needed("to", Kind::Text, Rule::Any),
    ],
};

/// All of them.
pub const ALL: [&Table; 7] =
    [&PARENTS, &CHILDREN, &FILLS, &QUOTES, &PACKETS, &FEATURES, &REGIME_LOG];

impl Kind {
    /// As SQL has it.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Id => "BIGINT UNSIGNED",
            Self::Number => "INT UNSIGNED",
            Self::Whole | Self::Time => "BIGINT",
            Self::Real => "DOUBLE",
            Self::Text => "VARCHAR",
            Self::Flag => "BOOLEAN",
        }
    }
}
