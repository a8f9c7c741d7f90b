//! A window as the engine reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::config::Config;
use model::kind::Side;
use model::regime::{Figures, Input, Missing, Reading, Scope, ScopeInfo};

/// What no feature row says: how many observations were behind a value. More than any quantile needs.
const OBSERVATIONS: u64 = 1_000_000;

/// Which value of what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Class; `None` = of a port.
    pub class: Option<String>,
    /// KPI.
    pub kpi: String,
    /// Part.
    pub part: Option<String>,
    /// Value.
    pub value: String,
}

/// All features of a gateway in one window.
pub struct Snapshot {
    /// When it ended, ns since 1970.
    pub end: i64,
    values: HashMap<Key, f64>,
    ports: BTreeSet<String>,
}

impl Snapshot {
    /// Without a feature.
    pub fn new(end: i64) -> Self {
        Self { end, values: HashMap::new(), ports: BTreeSet::new() }
    }

    /// Adds one; of several the worst, which is the largest but for shares of what went well.
    pub fn add(&mut self, key: Key, port: Option<String>, value: f64) {
        let lower_is_worse = ["completion_ratio", "pacing_headroom"].contains(&key.kpi.as_str());
        self.ports.extend(port);
        let known = self.values.entry(key).or_insert(value);
        *known = if lower_is_worse { known.min(value) } else { known.max(value) };
    }

    /// For scopes whose names are `names`.
    pub const fn figures<'a>(&'a self, names: &'a [String]) -> Figured<'a> {
        Figured { snapshot: self, names }
    }
}

/// The scopes of a gateway: its classes, feeds and ports by what features they have. Their places are
/// indices into this list.
pub fn scopes(snapshots: &[Snapshot], config: &Config) -> Vec<ScopeInfo> {
    let mut feeds: BTreeMap<&str, bool> = BTreeMap::new();
    let mut ports: BTreeSet<&str> = BTreeSet::new();
    for snapshot in snapshots {
        for key in snapshot.values.keys() {
            if let Some(class) = &key.class {
                *feeds.entry(class).or_default() |= key.kpi == "burst_delivery_concentration";
            }
        }
        ports.extend(snapshot.ports.iter().map(String::as_str));
    }
    let of_class = feeds.into_iter().map(|(name, is_feed)| (name, is_feed, false));
    let of_port = ports.into_iter().map(|name| (name, false, true));
    of_class
        .chain(of_port)
        .enumerate()
        .map(|(index, (name, is_feed, is_port))| {
            let class = config.classes.iter().find(|class| class.name == name);
            ScopeInfo {
                scope: match (is_feed, is_port) {
                    (_, true) => Scope::TxQueue(index),
                    (true, _) => Scope::Feed(index),
                    _ => Scope::Class(index),
                },
                name: name.to_owned(),
                cadence: class.and_then(|class| class.cadence),
                order: class.is_some_and(|class| class.from == Side::Inside),
            }
        })
        .collect()
}

/// See [`Snapshot::figures`].
pub struct Figured<'a> {
    snapshot: &'a Snapshot,
    names: &'a [String],
}

impl Figures for Figured<'_> {
    fn read(&self, scope: Scope, input: &Input, _window_s: u8) -> Reading {
        let absent = Reading::Absent(Missing::NoSource);
        let class = match scope {
            Scope::Class(index) | Scope::Feed(index) => self.names.get(index).cloned(),
            Scope::TxQueue(_) => None,
        };
        // Under the confirmed profile a figure and its `at_normal` are the same, as in the gateway.
        let names = [format!("{}_at_normal", input.kpi), input.kpi.clone()];
        let names = if input.at_normal { &names[..] } else { &names[1..] };
        for kpi in names {
            let key = |class: Option<String>| Key {
                class,
                kpi: kpi.clone(),
                part: input.part.clone(),
                value: input.value.clone(),
            };
            let of_class = self.snapshot.values.get(&key(class.clone()));
            let found = match scope {
                Scope::Class(_) => of_class.copied(),
                Scope::Feed(_) => {
                    of_class.or_else(|| self.snapshot.values.get(&key(None))).copied()
                }
                // A figure of a class counts for its queue: the worst of them.
                Scope::TxQueue(_) => of_class.copied().or_else(|| self.worst(&key(None))),
            };
            if let Some(value) = found {
                return Reading::Value { value, n: OBSERVATIONS };
            }
        }
        absent
    }

    fn packets(&self, _scope: Scope) -> Option<u64> {
        None
    }

    fn offered_bits_per_s(&self, _class: usize) -> Option<u64> {
        None
    }
}

impl Figured<'_> {
    fn worst(&self, key: &Key) -> Option<f64> {
        let of = |(known, value): (&Key, &f64)| {
            let same = (&known.kpi, &known.part, &known.value) == (&key.kpi, &key.part, &key.value);
            same.then_some(*value)
        };
        self.snapshot.values.iter().filter_map(of).max_by(f64::total_cmp)
    }
}
