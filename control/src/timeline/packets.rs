//! The table `packets`: one row for each sampled packet.

use model::config::Config;
use model::regime::{COMPOSED_INDEX, COMPOSED_NAME, selectable};
use model::sample::{End, Sample};

use super::table::Of::{Flag, Number, Text as Words, Time, Wide};
use super::table::{Column, Table, Text, fixed, maybe, needed, owned};

/// Its columns. docs/timeline.md says what each of them means.
pub(super) const COLUMNS: &[Column] = &[
    needed("core", Number),
    needed("packet_id", Wide),
    maybe("correlation_id", Wide),
    maybe("flow_id", Number),
    maybe("tcp_end_seq", Number),
    needed("class", Words),
    needed("label_id", Number),
    maybe("symbol", Words),
    maybe("venue", Words),
    maybe("tactic", Words),
    maybe("strategy", Words),
    needed("kind", Words),
    needed("urgency", Number),
    needed("len", Number),
    needed("messages", Number),
    maybe("t_decision", Time),
    needed("t_dispatch", Time),
    needed("t_due", Time),
    maybe("t_sched", Time),
    maybe("t_normal", Time),
    maybe("t_eligible", Time),
    maybe("t_tx", Time),
    maybe("t_wire", Time),
    needed("t_ingress", Time),
    maybe("t_carried", Wide),
    maybe("t_delivery", Time),
    maybe("clock_error_ns", Number),
    needed("intent", Words),
    needed("ingress_source", Words),
    maybe("departure_source", Words),
    needed("simulated_link", Flag),
    needed("from", Words),
    needed("port", Words),
    maybe("queue", Number),
    needed("backlog_bytes", Wide),
    needed("end", Words),
    maybe("release", Words),
    maybe("regime", Number),
    needed("profile", Words),
    needed("mode", Words),
    maybe("canary", Flag),
    needed("weight", Number),
    maybe("host", Words),
    maybe("env_digest", Words),
];

/// The names behind the numbers of a row.
pub(super) struct Names {
    classes: Vec<Text>,
    ports: Vec<Text>,
    profiles: Vec<Text>,
    composed: Text,
    labels: Vec<Label>,
    unknown: Text,
}

#[derive(Clone, Default)]
struct Label {
    symbol: Option<Text>,
    venue: Option<Text>,
    tactic: Option<Text>,
    strategy: Option<Text>,
}

impl Names {
    pub fn of(config: &Config) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(owned);
        let venue = |venue: u8| config.venues.get(usize::from(venue)).map(|name| owned(name));
        let label = |label: &model::rules::Label| Label {
            symbol: text(&label.symbol),
            venue: label.venue.and_then(venue),
            tactic: text(&label.tactic),
            strategy: text(&label.strategy),
        };
        Self {
            classes: config.nodes().map(|class| owned(&config.classes[class].name)).collect(),
            ports: config.port_names().map(owned).collect(),
            profiles: selectable(config).iter().map(|profile| owned(&profile.name)).collect(),
            composed: fixed(COMPOSED_NAME),
            labels: config.labels.iter().map(label).collect(),
            unknown: fixed("unknown"),
        }
    }

    /// A table that states have composed stands under a name of its own.
    fn profile(&self, index: u16) -> Text {
        match index {
            COMPOSED_INDEX => self.composed.clone(),
            _ => self.name(&self.profiles, usize::from(index)),
        }
    }

    fn name(&self, names: &[Text], index: usize) -> Text {
        names.get(index).unwrap_or(&self.unknown).clone()
    }
}

/// What is the same in every row of a process.
#[derive(Clone, Default)]
pub(super) struct Origin {
    pub host: Option<Text>,
    pub env_digest: Option<Text>,
}

/// Adds the row of a packet of `core`.
pub(super) fn add(table: &mut Table, names: &Names, origin: &Origin, core: u16, row: &Sample) {
    let label = names.labels.get(usize::from(row.label)).cloned().unwrap_or_default();
    let (end, release) = match row.end {
        End::Sent(release) => ("sent", Some(fixed(release.name()))),
        End::Dropped(reason) => (reason.name(), None),
    };
    let sent = release.is_some();
    table.add(|t| {
        t.number(u32::from(core));
        t.wide(row.packet_id);
        t.wide(row.correlation_id);
        t.number(sent.then_some(row.flow));
        t.number(row.tcp_end_seq);
        t.text(names.name(&names.classes, usize::from(row.class)));
        t.number(u32::from(row.label));
        t.text(label.symbol);
        t.text(label.venue);
        t.text(label.tactic);
        t.text(label.strategy);
        t.text(fixed(row.kind.name()));
        t.number(u32::from(row.urgency));
        t.number(u32::from(row.len));
        t.number(u32::from(row.messages));
        t.time(row.t_decision);
        t.time(row.t_dispatch);
        t.time(row.t_due);
        t.time(row.t_sched);
        t.time(row.t_normal);
        t.time(row.t_eligible);
        t.time(row.t_tx);
        t.time(row.t_wire);
        t.time(row.t_ingress);
        t.wide(row.t_carried);
        t.time(row.t_delivery);
        t.number(row.clock_error_ns);
        t.text(fixed(row.intent.name()));
        t.text(fixed(row.ingress_source.name()));
        t.text(sent.then(|| fixed(row.departure_source.name())));
        t.flag(row.simulated_link);
        t.text(fixed(row.from.name()));
        t.text(names.name(&names.ports, usize::from(row.port)));
        t.number(sent.then_some(u32::from(row.queue)));
        t.wide(row.backlog_bytes);
        t.text(fixed(end));
        t.text(release);
        t.number(row.regime.map(u32::from));
        t.text(names.profile(row.profile));
        t.text(fixed(row.mode.name()));
        t.flag(row.canary);
        t.number(row.weight);
        t.text(origin.host.clone());
        t.text(origin.env_digest.clone());
    });
}
