//! Where in a report the series of a KPI and a class stand. Hundreds of machines ask for theirs at each tick, so
//! nobody looks at those of all other classes.

use std::collections::HashMap;

use model::kpi::{Entry, Report};

/// No further series.
const END: u32 = u32::MAX;

/// See the module's text.
pub(super) struct Index<'a> {
    report: &'a Report,
    /// Names of KPIs, in their order.
    names: Vec<&'static str>,
    /// Classes by their names; what is of no class comes first.
    classes: HashMap<Option<&'a str>, usize>,
    /// The first series of each KPI and class ...
    first: Vec<u32>,
    /// ... and after each series the next of the same.
    next: Vec<u32>,
}

impl<'a> Index<'a> {
    pub fn new(report: &'a Report, classes: &'a [String]) -> Self {
        let classes: HashMap<Option<&str>, usize> = std::iter::once(None)
            .chain(classes.iter().map(|name| Some(name.as_str())))
            .zip(0..)
            .collect();
        let mut names: Vec<&'static str> = report.entries.iter().map(|entry| entry.name).collect();
        names.dedup();
        let mut index = Self {
            first: vec![END; names.len() * classes.len()],
            next: vec![END; report.entries.len()],
            report,
            names,
            classes,
        };
        let mut name = index.names.len();
        for (at, entry) in report.entries.iter().enumerate().rev() {
            // Entries stand in the order of names, which are walked backwards too.
            while name == index.names.len() || index.names[name] != entry.name {
                name -= 1;
            }
            if let Some(place) = index.place(name, entry.labels.class.as_deref()) {
                index.next[at] = std::mem::replace(&mut index.first[place], at as u32);
            }
        }
        index
    }

    fn place(&self, name: usize, class: Option<&str>) -> Option<usize> {
        Some(name * self.classes.len() + self.classes.get(&class)?)
    }

    /// The series of a KPI that are of a class, or of none, in their order.
    pub fn of(&self, name: &str, class: Option<&str>) -> impl Iterator<Item = &'a Entry> + '_ {
        let name = self.names.binary_search(&name).ok();
        let place = name.and_then(|name| self.place(name, class));
        let mut at = place.map_or(END, |place| self.first[place]);
        std::iter::from_fn(move || {
            let entry = self.report.entries.get(at as usize)?;
            at = self.next[at as usize];
            Some(entry)
        })
    }

    /// The series of a KPI of whatever class.
    pub fn all(&self, name: &'a str) -> impl Iterator<Item = &'a Entry> + '_ {
        self.report.of(name)
    }
}

#[cfg(test)]
mod tests {
    use model::kpi::{Basis, Labels, Sources, View};

    use super::*;

    fn entry(name: &'static str, class: Option<&str>, n: u64) -> Entry {
        Entry {
            name,
            labels: Labels { class: class.map(str::to_owned), ..Labels::default() },
            values: Vec::new(),
            n,
            basis: Basis::Exact,
            view: View::Inside,
            absent: None,
            structural_zero: false,
            proxy: false,
            simulated: false,
            sources: Sources::default(),
            host: false,
        }
    }

    #[test]
    fn it_finds_what_a_look_at_all_finds() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let mut report = Report::default();
        for (n, name) in ["drops", "drops_x", "tx", "zz"].into_iter().enumerate() {
            for (m, class) in
                [None, Some("b"), Some("a"), Some("b"), Some("gone")].into_iter().enumerate()
            {
                report.entries.push(entry(name, class, (n * 10 + m) as u64));
            }
        }
        let index = Index::new(&report, &classes);
        for name in ["drops", "drops_x", "tx", "zz", "none"] {
            for class in [None, Some("a"), Some("b"), Some("c")] {
                let found: Vec<u64> = index.of(name, class).map(|entry| entry.n).collect();
                let all = report.of(name).filter(|entry| entry.labels.class.as_deref() == class);
                assert_eq!(found, all.map(|entry| entry.n).collect::<Vec<_>>(), "{name} {class:?}");
            }
        }
        assert_eq!(Index::new(&Report::default(), &classes).of("drops", None).count(), 0);
    }
}
