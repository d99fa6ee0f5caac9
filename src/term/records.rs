//! Rows for other programs: CSV and TSV.

use super::Term;
use std::io;

/// Writes rows to standard output, cells quoted where they need it (RFC 4180).
#[derive(Debug)]
pub struct Records<'a> {
    term: &'a Term,
    delimiter: u8,
}

impl<'a> Records<'a> {
    /// Starts to write rows with a character between their cells.
    pub fn new(term: &'a Term, delimiter: u8) -> Self {
        Self { term, delimiter }
    }

    /// Writes a row.
    pub fn record(&mut self, cells: impl IntoIterator<Item = String>) -> io::Result<()> {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_writer(Vec::new());
        writer.write_record(cells)?;
        let row = writer
            .into_inner()
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.term.bytes(&row)
    }
}
