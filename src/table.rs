//! Columns for people: as wide as what stands in them, numbers to the right.

use std::fmt;

/// Rows under a head.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// One more row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether it has no row.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| &row[column]).chain([&self.head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// A column of which every cell that says anything is a number.
    fn is_numeric(&self, column: usize) -> bool {
        let is_number = |cell: &String| {
            let starts_so = cell.starts_with(|c: char| c.is_ascii_digit());
            cell == "-" || cell.is_empty() || (starts_so && !cell.contains([' ', ':']))
        };
        !self.rows.is_empty() && self.rows.iter().all(|row| is_number(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> =
            (0..self.head.len()).map(|c| (self.width(c), self.is_numeric(c))).collect();
        for (n, row) in std::iter::once(&self.head).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for (cell, (width, is_numeric)) in row.iter().zip(&columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match is_numeric {
                    true => line.push_str(&format!("{cell:>width$}")),
                    false => line.push_str(&format!("{cell:<width$}")),
                }
            }
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new(["class", "packets", "why"]);
        table.row(["orders".into(), "7".into(), "-".into()]);
        table.row(["a".into(), "12,345".into(), "stale".into()]);
        let lines = ["class   packets  why", "orders        7  -", "a        12,345  stale"];
        assert_eq!(table.to_string(), lines.join("\n"));
    }
}
