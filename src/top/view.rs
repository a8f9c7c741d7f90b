//! What the screen shows: figures made of two looks, and the last minute of what is drawn as a line.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::figures::{age, by_label, drops, grouped, kpi, rows, short, span};

/// Looks that a line shows.
const HISTORY: usize = 60;

/// What the lower half shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// Ended packets.
    #[default]
    Drops,
    /// Regime machines.
    Regimes,
    /// Ports.
    Ports,
    /// Every counter and gauge.
    Counters,
}

impl Page {
    /// All of them, in the order of the keys.
    pub const ALL: [Self; 4] = [Self::Drops, Self::Regimes, Self::Ports, Self::Counters];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Drops => "drops",
            Self::Regimes => "regimes",
            Self::Ports => "ports",
            Self::Counters => "counters",
        }
    }
}

/// Rows of a table, as they are shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns.
    pub head: Vec<&'static str>,
    /// One for each row.
    pub rows: Vec<Vec<String>>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct View {
    status: Value,
    before: Value,
    /// Packets per second that left, and that ended, look by look.
    pub sent: VecDeque<u64>,
    /// See `sent`.
    pub dropped: VecDeque<u64>,
    failure: Option<String>,
    held: bool,
    /// What the lower half shows.
    pub page: Page,
    /// Rows of it that are scrolled past.
    skipped: usize,
    /// Words that a row of it must have.
    filter: String,
    /// Keys are letters of the filter.
    pub is_typing: bool,
}

impl View {
    /// Another look.
    pub fn look(&mut self, status: &Value) {
        self.failure = None;
        self.before = std::mem::replace(&mut self.status, status.clone());
        if self.seconds().is_some() {
            let sent =
                self.rate_of(|status| by_label(status, "packets_out", "class").values().sum());
            let dropped = self.rate_of(|status| drops(status).values().sum());
            keep(&mut self.sent, sent);
            keep(&mut self.dropped, dropped);
        }
    }

    /// There was no answer.
    pub fn fail(&mut self, why: &str) {
        self.failure = Some(why.to_owned());
    }

    /// Stops looking, or goes on.
    pub const fn hold(&mut self) {
        self.held = !self.held;
    }

    /// Whether it does not look.
    pub const fn is_held(&self) -> bool {
        self.held
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.status.is_null()
    }

    /// The next page, or the one before: from its beginning, and all of it.
    pub fn turn(&mut self, by: isize) {
        let at = Page::ALL.iter().position(|page| *page == self.page).unwrap_or(0);
        let pages = Page::ALL.len();
        self.page = Page::ALL[(at + pages).saturating_add_signed(by) % pages];
        self.skipped = 0;
        self.filter.clear();
    }

    /// Scrolls the lower half.
    pub fn scroll(&mut self, by: isize) {
        let last = self.matching().rows.len().saturating_sub(1);
        self.skipped = self.skipped.saturating_add_signed(by).min(last);
    }

    /// Begins a filter of the lower half; what it was is gone.
    pub fn start_filter(&mut self) {
        (self.is_typing, self.skipped) = (true, 0);
        self.filter.clear();
    }

    /// Another letter of the filter; `None` takes the last one back.
    pub fn type_filter(&mut self, letter: Option<char>) {
        self.skipped = 0;
        match letter {
            Some(letter) => self.filter.push(letter),
            None => drop(self.filter.pop()),
        }
    }

    /// What the filter is, where there is one.
    pub fn filter(&self) -> Option<&str> {
        (self.is_typing || !self.filter.is_empty()).then_some(self.filter.as_str())
    }

    /// Between the last two looks of one and the same run.
    fn seconds(&self) -> Option<f64> {
        let at = |status: &Value| status["at_ns"].as_u64();
        let passed = at(&self.status)?.checked_sub(at(&self.before)?)?;
        let up = |status: &Value| status["uptime_s"].as_f64().unwrap_or(0.0);
        (passed > 0 && up(&self.status) > up(&self.before)).then_some(passed as f64 / 1e9)
    }

    fn rate_of(&self, sum: impl Fn(&Value) -> u64) -> Option<f64> {
        let added = sum(&self.status).saturating_sub(sum(&self.before));
        Some(added as f64 / self.seconds()?)
    }

    /// Name, version, uptime, profile, mode, config; what there is no room for is at its end.
    pub fn title(&self) -> String {
        let text = |key: &str| self.status[key].as_str().unwrap_or("-");
        let up = age(self.status["uptime_s"].as_f64().unwrap_or(0.0));
        let profile = self.status["profile"]["in_force"][0].as_str().unwrap_or("-");
        format!(
            "{} {}  up {up}  profile {profile}  mode {}  config {}",
            text("name"),
            text("version"),
            self.status["regime"]["mode"].as_str().unwrap_or("-"),
            crate::human::config(&self.status),
        )
    }

    /// What must not be overlooked.
    pub fn alarm(&self) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        if self.held {
            return Some("held: p goes on".to_owned());
        }
        let words = crate::human::stop_words(&self.status["stop_words"]);
        let words = (words != "all running").then_some(words);
        let links = crate::human::links(&self.status).map(|links| format!("links: {links}"));
        words.into_iter().chain(links).reduce(|all, one| format!("{all}; {one}"))
    }

    /// One row for each core.
    pub fn cores(&self) -> Rows {
        let counted = |status: &Value, name: &str, core: &str| {
            by_label(status, name, "core").get(core).copied().unwrap_or(0)
        };
        let cores = self.status["cores"].as_array().map(Vec::as_slice).unwrap_or_default();
        let burst = kpi(&self.status, "rx_burst_packets", &[], "p50");
        let cycles = kpi(&self.status, "cycles_per_packet", &[], "value");
        let row = |core: &Value| {
            let number = core["core"].to_string();
            let added = |name| {
                let now = counted(&self.status, name, &number);
                now.saturating_sub(counted(&self.before, name, &number)) as f64
            };
            let (busy, all) = (added("core_busy_cycles"), added("core_cycles"));
            let busy = (all > 0.0 && self.seconds().is_some()).then_some(busy / all * 100.0);
            let shown = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.0}"));
            vec![
                format!("{number} (CPU {})", core["cpu"]),
                core["phase"].as_str().unwrap_or("-").to_owned(),
                busy.map_or("-".to_owned(), |busy| format!("{busy:.1}%")),
                shown(cycles),
                shown(burst),
                counted(&self.status, "core_stalls", &number).to_string(),
            ]
        };
        Rows {
            head: vec!["core", "phase", "busy", "cycles/pkt", "pkts/burst", "stalls"],
            rows: cores.iter().map(row).collect(),
        }
    }

    /// One row for each class that has seen a packet, or has a cap.
    pub fn classes(&self) -> Rows {
        let sums = |status: &'_ Value, name: &str| -> BTreeMap<String, u64> {
            let sums = by_label(status, name, "class");
            sums.into_iter().map(|(class, n)| (class.to_owned(), n)).collect()
        };
        let of = |sums: &BTreeMap<String, u64>, class: &str| sums.get(class).copied().unwrap_or(0);
        let now = ["packets_out", "bytes_out", "held"].map(|name| sums(&self.status, name));
        let then = ["packets_out", "bytes_out"].map(|name| sums(&self.before, name));
        let classes = self.status["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut rows = Vec::new();
        for class in classes {
            let name = class["name"].as_str().unwrap_or("-");
            let cap = class["cap_bits_per_s"].as_u64();
            if cap.is_none() && of(&now[0], name) == 0 && of(&now[2], name) == 0 {
                continue;
            }
            let added = [0, 1].map(|k: usize| of(&now[k], name).saturating_sub(of(&then[k], name)));
            // Preamble, FCS and gap are on the wire too.
            let bits = (added[1] + 24 * added[0]) as f64 * 8.0;
            let per_s = |added: f64| self.seconds().map(|seconds| added / seconds);
            let share = per_s(bits).zip(cap).map(|(rate, cap)| rate / cap as f64 * 100.0);
            let late = |value| {
                let labels = [("class", name), ("part", "late")];
                kpi(&self.status, "release_error_ns", &labels, value).map_or("-".to_owned(), span)
            };
            rows.push(vec![
                name.to_owned(),
                per_s(added[0] as f64).map_or("-".to_owned(), short),
                per_s(bits).map_or("-".to_owned(), short),
                cap.map_or("-".to_owned(), |cap| short(cap as f64)),
                share.map_or("-".to_owned(), |share| format!("{share:.0}%")),
                grouped(of(&now[2], name)),
                late("p50"),
                late("p99"),
            ]);
        }
        Rows {
            head: vec!["class", "pkt/s", "bit/s", "cap", "of cap", "held", "late p50", "late p99"],
            rows,
        }
    }

    /// What the lower half shows, and how many rows stand above it.
    pub fn lower(&self) -> (Rows, usize) {
        let rows = self.matching();
        // There may be fewer than when it was scrolled.
        let skipped = self.skipped.min(rows.rows.len().saturating_sub(1));
        let shown = rows.rows.into_iter().skip(skipped).collect();
        (Rows { head: rows.head, rows: shown }, skipped)
    }

    /// The rows of the page that have all words of the filter.
    fn matching(&self) -> Rows {
        let mut rows = match self.page {
            Page::Drops => self.drops(),
            Page::Regimes => self.regimes(),
            Page::Ports => self.ports(),
            Page::Counters => self.counters(),
        };
        let has_all = |row: &Vec<String>| {
            let text = row.join(" ");
            self.filter.split_whitespace().all(|word| text.contains(word))
        };
        rows.rows.retain(has_all);
        rows
    }

    fn counters(&self) -> Rows {
        let names = self.status["counters"].as_object().into_iter().flatten().map(|(name, _)| name);
        let all =
            names.flat_map(|name| rows(&self.status, name).into_iter().map(move |row| (name, row)));
        let row = |(name, row): (&String, &Value)| {
            let labels = row.as_object().into_iter().flatten();
            let labels: Vec<String> = labels
                .filter_map(|(label, of)| Some(format!("{label}={}", of.as_str()?)))
                .collect();
            let value = row.get("value").unwrap_or(row);
            let value = value.as_u64().map_or_else(|| value.to_string(), grouped);
            vec![name.clone(), value, labels.join(" ")]
        };
        Rows { head: vec!["counter", "value", "of"], rows: all.map(row).collect() }
    }

    fn drops(&self) -> Rows {
        let then = drops(&self.before);
        let row = |((reason, port, class), packets): (&(String, String, String), &u64)| {
            let key = (reason.clone(), port.clone(), class.clone());
            let added = packets.saturating_sub(then.get(&key).copied().unwrap_or(0));
            let rate = self.seconds().map(|seconds| added as f64 / seconds);
            let class = if class.is_empty() { "-" } else { class };
            vec![
                reason.clone(),
                port.clone(),
                class.to_owned(),
                grouped(*packets),
                rate.map_or("-".to_owned(), short),
            ]
        };
        Rows {
            head: vec!["reason", "port", "class", "packets", "per s"],
            rows: drops(&self.status).iter().map(row).collect(),
        }
    }

    fn regimes(&self) -> Rows {
        let at_ns = self.status["at_ns"].as_u64().unwrap_or(0);
        let machines = self.status["regime"]["machines"].as_array();
        let mut machines: Vec<&Value> = machines.into_iter().flatten().collect();
        machines.sort_by_key(|machine| std::cmp::Reverse(machine["severity"].as_u64()));
        let row = |machine: &&Value| {
            let text = |key: &str| machine[key].as_str().unwrap_or("-").to_owned();
            let since = machine["since_ns"].as_u64();
            let since = since.map(|since| age(at_ns.saturating_sub(since) as f64 / 1e9));
            vec![
                text("machine"),
                text("scope"),
                text("state"),
                machine["severity"].to_string(),
                since.unwrap_or("-".to_owned()),
                text("profile"),
            ]
        };
        Rows {
            head: vec!["machine", "scope", "state", "severity", "for", "asks for"],
            rows: machines.iter().map(row).collect(),
        }
    }

    fn ports(&self) -> Rows {
        let ports = self.status["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |port: &Value| {
            let name = port["name"].as_str().unwrap_or("-");
            let rate = |counter: &str| {
                let of = |status: &Value| by_label(status, counter, "port").get(name).copied();
                let added =
                    of(&self.status).unwrap_or(0).saturating_sub(of(&self.before).unwrap_or(0));
                self.seconds().map_or("-".to_owned(), |seconds| short(added as f64 / seconds))
            };
            let level = |gauge: &str| {
                let found = rows(&self.status, gauge).into_iter().find(|row| row["port"] == name);
                found.and_then(|row| row["value"].as_u64()).map_or("-".to_owned(), grouped)
            };
            vec![
                name.to_owned(),
                port["side"].as_str().unwrap_or("-").to_owned(),
                port["link"].as_str().unwrap_or("-").to_owned(),
                rate("packets_in"),
                rate("packets_out"),
                level("flows"),
                level("tx_stalls"),
            ]
        };
        Rows {
            head: vec!["egress port", "side", "link", "in/s", "out/s", "flows", "stalls"],
            rows: ports.iter().map(row).collect(),
        }
    }
}

fn keep(line: &mut VecDeque<u64>, rate: Option<f64>) {
    if line.len() == HISTORY {
        line.pop_front();
    }
    line.push_back(rate.unwrap_or(0.0).round() as u64);
}
