//! Reads one TOML table key by key, and keeps the place of each value.
//!
//! Ask for each key once, then call [`Reader::finish`]: a key that was not asked for is an error
//! that names those that were. A value that cannot be read is reported and remembered as present,
//! so that no rule takes it for missing.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, Findings};
use super::values::{Refused, described};

/// What a key holds: absent, present but unreadable, or a value; and where.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub value: Option<T>,
    at: Option<At>,
}

impl<T> Field<T> {
    const ABSENT: Self = Self { value: None, at: None };

    /// Whether the key is there, readable or not.
    pub fn is_present(&self) -> bool {
        self.at.is_some()
    }

    /// Its place, or `otherwise` where the key is absent.
    pub fn at(&self, otherwise: At) -> At {
        self.at.unwrap_or(otherwise)
    }

    /// The value and its place.
    pub fn get(&self) -> Option<(&T, At)> {
        self.value.as_ref().zip(self.at)
    }
}

impl<T: Clone> Field<T> {
    /// The value, or the default where there is none.
    pub fn or(&self, default: T) -> T {
        self.value.clone().unwrap_or(default)
    }
}

/// A table, and the keys that were asked for.
pub(super) struct Reader<'a, 'i> {
    findings: &'a Findings,
    name: &'static str,
    table: Option<&'a DeTable<'i>>,
    asked: Vec<&'static str>,
    /// Place of the table's header.
    pub at: At,
}

impl<'a, 'i> Reader<'a, 'i> {
    pub fn new(findings: &'a Findings, name: &'static str, table: &'a DeTable<'i>, at: At) -> Self {
        Self { findings, name, table: Some(table), asked: Vec::new(), at }
    }

    fn child(&self, name: &'static str, at: At) -> Self {
        Self { findings: self.findings, name, table: None, asked: Vec::new(), at }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// The value of `key`, read by `read`.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
    ) -> Field<T> {
        let Some(entry) = self.entry(key) else { return Field::ABSENT };
        let at = At::from(entry.span());
        let value = match read(entry.get_ref()) {
            Ok(value) => Some(value),
            Err(Refused { problem, allowed }) => {
                self.findings.error(at, format!("{key}: {problem}"), allowed);
                None
            }
        };
        Field { value, at: Some(at) }
    }

    /// As [`Reader::optional`]; a missing key is an error.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refused>,
    ) -> Field<T> {
        let field = self.optional(key, read);
        if !field.is_present() && self.table.is_some() {
            let problem = format!("{} has no `{key}`", self.name);
            self.findings.error(self.at, problem, format!("`{key}` is required"));
        }
        field
    }

    /// The table under `key`; where there is none, a table with no keys.
    pub fn table(&mut self, key: &'static str, name: &'static str) -> Self {
        let at = self.at;
        self.optional_table(key, name).unwrap_or(self.child(name, at))
    }

    /// As [`Reader::table`]; a missing table is an error, the keys in it are not.
    pub fn required_table(&mut self, key: &'static str, name: &'static str) -> Self {
        if self.table.is_some_and(|table| !table.contains_key(key)) {
            let problem = format!("there is no {name}");
            self.findings.error(self.at, problem, format!("{name} is required"));
        }
        self.table(key, name)
    }

    /// The table under `key`, if there is one.
    pub fn optional_table(&mut self, key: &'static str, name: &'static str) -> Option<Self> {
        let entry = self.entry(key)?;
        self.sub_table(entry, name)
    }

    /// The tables of the array under `key`.
    pub fn tables(&mut self, key: &'static str, name: &'static str) -> Vec<Self> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let DeValue::Array(array) = entry.get_ref() else {
            let found = format!("`{key}` is {}", described(entry.get_ref()));
            self.findings.error(entry.span().into(), found, format!("any number of {name} tables"));
            return Vec::new();
        };
        array.iter().filter_map(|item| self.sub_table(item, name)).collect()
    }

    fn sub_table(&self, entry: &'a Spanned<DeValue<'i>>, name: &'static str) -> Option<Self> {
        let at = At::from(entry.span());
        if let DeValue::Table(table) = entry.get_ref() {
            return Some(Self { table: Some(table), ..self.child(name, at) });
        }
        let found = format!("{name} is {}", described(entry.get_ref()));
        self.findings.error(at, found, format!("a table {name}"));
        None
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let problem = format!("unknown key `{}` in {}", key.get_ref(), self.name);
                self.findings.error(key.span().into(), problem, self.asked.join(", "));
            }
        }
    }
}
