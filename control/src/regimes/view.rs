//! The KPIs of [`Windows`] as the engine asks for them: by scope, input and window.

use model::kpi::{Entry, absent};
use model::regime::{Figures, Input, Missing, OBSERVATIONS, Reading, Scope};

use super::index::Index;
use crate::windows::Windows;

/// Names of what scopes refer to by index.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub classes: Vec<String>,
    pub ports: Vec<String>,
    pub venues: Vec<String>,
    /// By label; empty where it names none.
    pub tactics: Vec<String>,
    /// Classes that come from inside.
    pub from_inside: Vec<bool>,
}

/// See the module's text.
pub(super) struct View<'a> {
    windows: &'a Windows,
    /// Of the report of each window, by its length in seconds.
    indices: Vec<(u8, Index<'a>)>,
    names: &'a Names,
    /// Whether the operator-confirmed profile is in force for a scope: then a KPI and its
    /// `at_normal` are the same.
    is_normal: &'a dyn Fn(Scope) -> bool,
    /// What our own profiles add is not left out, as a drill may want it.
    raw: bool,
}

impl<'a> View<'a> {
    pub fn new(
        windows: &'a Windows,
        names: &'a Names,
        is_normal: &'a dyn Fn(Scope) -> bool,
        raw: bool,
    ) -> Self {
        let reports = windows.reports.iter();
        let indices =
            reports.map(|(window_s, report)| (*window_s, Index::new(report, &names.classes)));
        Self { windows, indices: indices.collect(), names, is_normal, raw }
    }

    /// The series of a KPI that belong to a scope.
    fn series(
        &self,
        index: &'a Index<'a>,
        name: &'a str,
        scope: Scope,
    ) -> Box<dyn Iterator<Item = &'a Entry> + '_> {
        // Groups that are governed apart say nothing of what the class would be without.
        let of_class =
            |class: usize| index.of(name, Some(class)).filter(|entry| entry.labels.arm.is_none());
        match scope {
            Scope::Class(class) => Box::new(of_class(class)),
            // What is told of a port as a whole counts for the feeds that leave there.
            Scope::Feed(class) => {
                let leaves =
                    move |entry: &&Entry| self.leaves_at(class, entry.labels.port.as_ref());
                Box::new(of_class(class).chain(index.of(name, None).filter(leaves)))
            }
            // A figure of a class counts for its queue; what comes back from the venue does not.
            Scope::TxQueue(port) => {
                let port = self.names.ports.get(port);
                let here = move |entry: &&Entry| {
                    let class = entry.labels.class.as_ref();
                    entry.labels.port.as_ref() == port && class.is_none_or(|c| self.is_inside(c))
                };
                Box::new(index.all(name).filter(here))
            }
        }
    }

    /// Whether the class has series of its own at the port: this one is among them wherever it leaves.
    fn leaves_at(&self, class: usize, port: Option<&String>) -> bool {
        let mut places =
            self.indices.iter().flat_map(|(_, index)| index.of("completion_ratio", Some(class)));
        port.is_some() && places.any(|entry| entry.labels.port.as_ref() == port)
    }

    fn is_inside(&self, class: &str) -> bool {
        let mut classes = self.names.classes.iter().zip(&self.names.from_inside);
        classes.any(|(name, inside)| *inside && name == class)
    }

    /// The worst of the series that `input` names in `scope`.
    fn of(
        &self,
        name: &str,
        part: Option<&str>,
        scope: Scope,
        input: &Input,
        window_s: u8,
    ) -> Reading {
        let Some((_, index)) = self.indices.iter().find(|(length, _)| *length == window_s) else {
            return Reading::Absent(Missing::NoSource);
        };
        let series = self.series(index, name, scope).filter(|entry| entry.labels.part == part);
        let lower_is_worse = ["completion_ratio", "pacing_headroom"].contains(&name);
        series
            .map(|entry| reading(entry, &input.value))
            .fold(Reading::Absent(Missing::NoSource), |worst, one| {
                worse(worst, one, lower_is_worse)
            })
    }
}

/// Whichever says more: a value before none, and of two values the worse.
fn worse(a: Reading, b: Reading, lower_is_worse: bool) -> Reading {
    match (a, b) {
        (Reading::Value { value: x, .. }, Reading::Value { value: y, .. }) => {
            if (y > x) != lower_is_worse { b } else { a }
        }
        (Reading::Value { .. }, _) => a,
        (_, Reading::Value { .. }) => b,
        (Reading::Absent(Missing::NoSource), other) => other,
        (other, _) => other,
    }
}

fn reading(entry: &Entry, value: &str) -> Reading {
    if entry.structural_zero {
        return Reading::NoPart;
    }
    let found = if value == OBSERVATIONS {
        let is_there = entry.values.iter().any(|(_, value)| value.is_some());
        is_there.then_some(entry.n as f64)
    } else {
        entry.value(value)
    };
    match (found, entry.absent) {
        (Some(value), _) => Reading::Value { value, n: entry.n },
        (None, Some(absent::NO_PACKETS | absent::N_TOO_SMALL)) => Reading::Absent(Missing::TooFew),
        (None, _) => Reading::Absent(Missing::NoSource),
    }
}

impl Figures for View<'_> {
    fn read(&self, scope: Scope, input: &Input, window_s: u8) -> Reading {
        let part = match input.part.as_deref() {
            Some("rest") if self.raw => Some("total"),
            part => part,
        };
        if !input.at_normal || self.raw {
            return self.of(&input.kpi, part, scope, input, window_s);
        }
        let at_normal = format!("{}_at_normal", input.kpi);
        match self.of(&at_normal, part, scope, input, window_s) {
            // It rests on samples, of which there may be too few; the KPI itself may count every packet.
            Reading::Absent(_) if (self.is_normal)(scope) => {
                self.of(&input.kpi, part, scope, input, window_s)
            }
            other => other,
        }
    }

    fn packets(&self, scope: Scope) -> Option<u64> {
        let traffic = match scope {
            Scope::Class(index) | Scope::Feed(index) => {
                let name = self.names.classes.get(index)?;
                self.windows.traffic(|spot| spot.class == *name)
            }
            Scope::TxQueue(index) => {
                let name = self.names.ports.get(index)?;
                self.windows.traffic(|spot| spot.port == *name)
            }
        };
        traffic.map(|traffic| traffic.packets)
    }

    fn offered_bits_per_s(&self, class: usize) -> Option<u64> {
        let name = self.names.classes.get(class)?;
        self.windows.offered.iter().find(|(class, _)| class == name).map(|(_, rate)| *rate)
    }
}

#[cfg(test)]
mod tests {
    use model::kpi::{Labels, Report};

    use super::*;

    fn entry(name: &'static str, p95: Option<f64>) -> Entry {
        Entry {
            labels: Labels { class: Some("orders".to_owned()), ..Labels::default() },
            values: vec![("p95", p95)],
            n: 100,
            absent: p95.is_none().then_some(absent::N_TOO_SMALL),
            ..Entry::blank(name)
        }
    }

    /// What a profile of ours has done to a figure must not be taken for the traffic: X stands in for an
    /// absent `X_at_normal` only while the confirmed profile is in force, where both are the same.
    #[test]
    fn a_figure_stands_in_for_its_absent_at_normal_only_while_the_confirmed_profile_is_in_force() {
        const X: &str = "burstiness_index";
        const X_AT_NORMAL: &str = "burstiness_index_at_normal";
        let names = Names {
            classes: vec!["orders".to_owned()],
            ports: vec![],
            venues: vec![],
            tactics: vec![],
            from_inside: vec![true],
        };
        let input =
            Input { kpi: X.to_owned(), at_normal: true, part: None, value: "p95".to_owned() };
        let read = |at_normal: Option<Option<f64>>, is_normal: bool| {
            let mut report = Report::default();
            report.entries.push(entry(X, Some(7.0)));
            report.entries.extend(at_normal.map(|p95| entry(X_AT_NORMAL, p95)));
            let windows = Windows { reports: vec![(10, report)], ..Windows::default() };
            let is_normal = |_| is_normal;
            let (windows, names, is_normal) = (&windows, &names, &is_normal);
            let view = View::new(windows, names, is_normal, false);
            view.read(Scope::Class(0), &input, 10)
        };
        let seven = Reading::Value { value: 7.0, n: 100 };
        for absent in [None, Some(None)] {
            assert_eq!(read(absent, true), seven);
            assert!(matches!(read(absent, false), Reading::Absent(_)));
        }
        let three = Reading::Value { value: 3.0, n: 100 };
        assert_eq!([true, false].map(|is_normal| read(Some(Some(3.0)), is_normal)), [three; 2]);
    }
}
