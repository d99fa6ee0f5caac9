//! Aligned columns.

use crate::report::harmless;

/// Rows of text under a header.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table.
    pub fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(harmless).collect()],
        }
    }

    /// Adds a row, of as many cells as the header has. Cells are shown so that nothing in them can
    /// act on a terminal or break the line.
    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.iter().map(harmless).collect());
    }

    /// Returns the lines of a Markdown table.
    pub fn markdown(&self) -> Vec<String> {
        let line = |row: &Vec<String>| {
            let cells = row.iter().map(|cell| cell.replace('|', "\\|"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = format!("|{}", "---|".repeat(self.rows[0].len()));
        let (header, rows) = self.rows.split_at(1);
        header
            .iter()
            .map(line)
            .chain([rule])
            .chain(rows.iter().map(line))
            .collect()
    }

    /// Returns the lines, columns padded to the widest cell in characters.
    pub fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(&["é".into(), "10".into()]);
        table.row(&["longer".into(), "2".into()]);
        table.row(&["a|b\n".into(), "3".into()]);
        assert_eq!(
            table.markdown().last().map(String::as_str),
            Some("| a\\|b\\n | 3 |")
        );
        table.rows.pop();
        assert_eq!(table.lines(), ["NAME    N", "é       10", "longer  2"]);
    }
}
