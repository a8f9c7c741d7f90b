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
    /// Number of classes, and one place for what is of no class.
    classes: usize,
    /// The first series of each KPI and class ...
    first: Vec<u32>,
    /// ... and after each series the next of the same.
    next: Vec<u32>,
}

impl<'a> Index<'a> {
    /// Of the classes of these names.
    pub fn new(report: &'a Report, classes: &[String]) -> Self {
        let by_name: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let mut names: Vec<&'static str> = report.entries.iter().map(|entry| entry.name).collect();
        names.dedup();
        let classes = classes.len() + 1;
        let mut first = vec![END; names.len() * classes];
        let mut next = vec![END; report.entries.len()];
        let mut name = names.len();
        // The series of a class of one KPI mostly stand together.
        let mut last: Option<(&str, Option<usize>)> = None;
        for (at, entry) in report.entries.iter().enumerate().rev() {
            // Entries stand in the order of names, which are walked backwards too.
            while names.get(name) != Some(&entry.name) {
                name -= 1;
            }
            let class = entry.labels.class.as_deref().map(|class| match last {
                Some((known, number)) if known == class => number,
                _ => {
                    let number = by_name.get(class).copied();
                    last = Some((class, number));
                    number
                }
            });
            let place = match class {
                None => 0,
                Some(Some(class)) => class + 1,
                Some(None) => continue,
            };
            let head = &mut first[name * classes + place];
            next[at] = std::mem::replace(head, at as u32);
        }
        Self { report, names, classes, first, next }
    }

    /// The series of a KPI that are of a class, by its number, or of none, in their order.
    pub fn of(&self, name: &str, class: Option<usize>) -> impl Iterator<Item = &'a Entry> + '_ {
        let place = class.map_or(0, |class| class + 1);
        let name = self.names.binary_search(&name).ok().filter(|_| place < self.classes);
        let mut at = name.map_or(END, |name| self.first[name * self.classes + place]);
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
    use model::kpi::Labels;

    use super::*;

    fn entry(name: &'static str, class: Option<&str>, n: u64) -> Entry {
        Entry {
            labels: Labels { class: class.map(str::to_owned), ..Labels::default() },
            n,
            ..Entry::blank(name)
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
            for class in [None, Some(0), Some(1), Some(2)] {
                let found: Vec<u64> = index.of(name, class).map(|entry| entry.n).collect();
                let class = class.map(|class: usize| classes[class].as_str());
                let all = report.of(name).filter(|entry| entry.labels.class.as_deref() == class);
                assert_eq!(found, all.map(|entry| entry.n).collect::<Vec<_>>(), "{name} {class:?}");
            }
        }
        assert_eq!(index.of("drops", Some(9)).count(), 0, "no such class");
        assert_eq!(Index::new(&Report::default(), &classes).of("drops", None).count(), 0);
    }
}
