//! Rows that cannot be used: counted, listed with reason and line, and left out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::schema::{Column, Kind, Rule, Table};

/// Bad rows that are listed one by one; all are counted.
pub const LISTED_MAX: usize = 100;

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Its file.
    pub file: String,
    /// Its line in a CSV file, its row from 1 in a Parquet file.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// The bad rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BadRows {
    /// How many, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first of them.
    pub listed: Vec<BadRow>,
}

impl BadRows {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.reasons.values().sum()
    }

    /// Counts a row, and lists it while there is room.
    pub fn add(&mut self, row: BadRow) {
        *self.reasons.entry(row.reason.clone()).or_default() += 1;
        self.list(row);
    }

    /// Lists a row that is counted already.
    pub fn list(&mut self, row: BadRow) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(row);
        }
    }
}

impl Table {
    /// SQL that says why a row cannot be used; null = it can.
    pub fn reason_sql(&self) -> String {
        let when: String = self.columns.iter().flat_map(Column::conditions).collect();
        format!("CASE{when} END")
    }
}

impl Column {
    /// `WHEN ... THEN 'reason'` for each way in which a value can be wrong.
    fn conditions(&self) -> Vec<String> {
        let name = self.name;
        let mut conditions = Vec::new();
        let mut refuse = |condition: String, reason: &str| {
            conditions.push(format!(" WHEN {condition} THEN '{name} {reason}'"));
        };
        if self.needed {
            refuse(format!("\"{name}\" IS NULL"), "is missing");
        }
        if self.kind == Kind::Real {
            refuse(format!("isnan(\"{name}\") OR abs(\"{name}\") > 1e300"), "is not finite");
        }
        match self.rule {
            Rule::Any => {}
            Rule::Positive => refuse(format!("\"{name}\" <= 0"), "is not above 0"),
            Rule::NotNegative => refuse(format!("\"{name}\" < 0"), "is below 0"),
            Rule::Side => refuse(format!("\"{name}\" NOT IN (1, -1)"), "is neither 1 nor -1"),
        }
        conditions
    }
}
