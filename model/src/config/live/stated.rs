//! Two texts key by key, as they are written.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{KeyChange, is_live};

/// A text, to name places in it.
#[derive(Clone, Copy)]
pub(super) struct Stated<'a> {
    file: &'a str,
    text: &'a str,
}

type Entry<'a> = Spanned<DeValue<'a>>;

/// Where the walk stands: the tables down to here, for people and for rules.
#[derive(Clone, Default)]
struct Path<'a> {
    shown: String,
    keys: Vec<&'a str>,
}

impl<'a> Path<'a> {
    fn key(&self, key: &'a str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        self.with(key, &format!("{dot}{key}"))
    }

    fn item(&self, key: &'a str, name: &str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        self.with(key, &format!("{dot}{key} {name}"))
    }

    fn with(&self, key: &'a str, shown: &str) -> Self {
        let mut new = self.clone();
        new.keys.push(key);
        new.shown.push_str(shown);
        new
    }
}

impl<'a> Stated<'a> {
    /// The keys that differ, in the order of the new text, those that are gone last. Both texts have
    /// been read without error.
    pub fn changes(
        (old_file, old): (&'a str, &'a str),
        (new_file, new): (&'a str, &'a str),
    ) -> Vec<KeyChange> {
        let (old, new) = (Self { file: old_file, text: old }, Self { file: new_file, text: new });
        let (old_root, new_root) =
            (DeTable::parse_recoverable(old.text).0, DeTable::parse_recoverable(new.text).0);
        let mut walk = Walk { old, new, found: Vec::new() };
        walk.tables(&Path::default(), Some(old_root.get_ref()), Some(new_root.get_ref()));
        walk.found.sort_by_key(|(is_gone, at, _)| (*is_gone, *at));
        walk.found.into_iter().map(|(_, _, change)| change).collect()
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    /// A value as it is written; a table in one word.
    fn shown(&self, entry: &Entry<'_>) -> String {
        match entry.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(items) if items.iter().any(|i| i.get_ref().is_table()) => {
                format!("{} tables", items.len())
            }
            _ => self.text.get(entry.span()).unwrap_or_default().to_owned(),
        }
    }
}

struct Walk<'a> {
    old: Stated<'a>,
    new: Stated<'a>,
    /// Whether it is gone, its place, and the change.
    found: Vec<(bool, usize, KeyChange)>,
}

impl Walk<'_> {
    fn tables(&mut self, path: &Path<'_>, old: Option<&DeTable<'_>>, new: Option<&DeTable<'_>>) {
        let keys_of = |table: Option<&DeTable<'_>>| -> Vec<String> {
            table.into_iter().flat_map(|t| t.keys()).map(|k| k.get_ref().to_string()).collect()
        };
        let mut keys = keys_of(new);
        keys.extend(keys_of(old).into_iter().filter(|key| !keys.contains(key)).collect::<Vec<_>>());
        for key in &keys {
            let (was, is) = (old.and_then(|t| t.get(&**key)), new.and_then(|t| t.get(&**key)));
            self.entries(path, key, was, is);
        }
    }

    fn entries(
        &mut self,
        path: &Path<'_>,
        key: &str,
        was: Option<&Entry<'_>>,
        is: Option<&Entry<'_>>,
    ) {
        let table = |entry: Option<&Entry<'_>>| entry.is_some_and(|e| e.get_ref().is_table());
        let array = |entry: Option<&Entry<'_>>| {
            entry.is_some_and(|e| match e.get_ref() {
                DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
                _ => false,
            })
        };
        // A table that only one side has is walked too: what its keys say decides whether it is live.
        if (table(was) || was.is_none()) && (table(is) || is.is_none()) {
            self.tables(&path.key(key), table_of(was), table_of(is));
        } else if (array(was) || was.is_none()) && (array(is) || is.is_none()) {
            self.items(path, key, was, is);
        } else if was.map(|e| self.old.shown(e)) != is.map(|e| self.new.shown(e)) {
            self.note(&path.key(key), was, is);
        }
    }

    /// The tables of an array, by their names where they have any, else by their places.
    fn items(
        &mut self,
        path: &Path<'_>,
        key: &str,
        was: Option<&Entry<'_>>,
        is: Option<&Entry<'_>>,
    ) {
        let (was, is) = (named(was), named(is));
        let order = |of: &[(String, &Entry<'_>)], other: &[(String, &Entry<'_>)]| -> Vec<String> {
            let both = of.iter().filter(|(name, _)| other.iter().any(|(n, _)| n == name));
            both.map(|(name, _)| name.clone()).collect()
        };
        if order(&was, &is) != order(&is, &was)
            && let Some((_, first)) = is.first()
        {
            let path = path.item(key, "(their order)");
            self.push(&path, None, None, (false, first.span()));
        }
        let mut names: Vec<&String> = is.iter().map(|(name, _)| name).collect();
        names.extend(was.iter().map(|(name, _)| name).filter(|n| !is.iter().any(|(i, _)| i == *n)));
        for name in names {
            let (was, is) = (with_name(&was, name), with_name(&is, name));
            self.tables(&path.item(key, name), table_of(was), table_of(is));
        }
    }

    fn note(&mut self, path: &Path<'_>, was: Option<&Entry<'_>>, is: Option<&Entry<'_>>) {
        let shown = (was.map(|e| self.old.shown(e)), is.map(|e| self.new.shown(e)));
        let place = match (is, was) {
            (Some(is), _) => (false, is.span()),
            (None, Some(was)) => (true, was.span()),
            (None, None) => return,
        };
        self.push(path, shown.0, shown.1, place);
    }

    fn push(
        &mut self,
        path: &Path<'_>,
        was: Option<String>,
        is: Option<String>,
        (is_gone, span): (bool, Range<usize>),
    ) {
        let stated = if is_gone { self.old } else { self.new };
        let change = KeyChange {
            key: path.shown.clone(),
            was,
            is,
            file: stated.file.to_owned(),
            line: stated.line(span.start),
            is_live: is_live(&path.keys),
        };
        self.found.push((is_gone, span.start, change));
    }
}

/// The items of an array of tables, each with its name or its number.
fn named<'a, 'i>(entry: Option<&'a Entry<'i>>) -> Vec<(String, &'a Entry<'i>)> {
    let Some(DeValue::Array(items)) = entry.map(Spanned::get_ref) else { return Vec::new() };
    let name = |(number, item): (usize, &'a Entry<'i>)| {
        let name =
            item.get_ref().as_table().and_then(|table| table.get("name")?.get_ref().as_str());
        let name = name.map_or_else(|| (number + 1).to_string(), |name| format!("{name:?}"));
        (name, item)
    };
    items.iter().enumerate().map(name).collect()
}

fn table_of<'a, 'i>(entry: Option<&'a Entry<'i>>) -> Option<&'a DeTable<'i>> {
    entry?.get_ref().as_table()
}

fn with_name<'a, 'i>(items: &[(String, &'a Entry<'i>)], name: &str) -> Option<&'a Entry<'i>> {
    items.iter().find(|(known, _)| known == name).map(|(_, item)| *item)
}
