//! Columns that mean something: aligned to either side, and coloured.

use super::RESET;
use crate::report::harmless;

/// What a text is about, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// What is done.
    Good,
    /// What goes on.
    Busy,
    /// What can be done.
    Ready,
    /// What went wrong.
    Bad,
    /// What cannot be told.
    Odd,
    /// What may be overlooked.
    Faint,
}

impl Tone {
    /// Colours a text that is harmless.
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Strong => "1",
            Self::Good => "32",
            Self::Busy => "34",
            Self::Ready => "33",
            Self::Bad => "31",
            Self::Odd => "35",
            Self::Faint => "2",
        };
        match text.is_empty() {
            true => String::new(),
            false => format!("\x1b[{code}m{text}{RESET}"),
        }
    }
}

/// A place in a [`Grid`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Parts of its text, harmless.
    parts: Vec<(String, Tone)>,
    right: bool,
}

impl Cell {
    /// A text.
    pub fn new(text: impl std::fmt::Display) -> Self {
        Self::of_parts([(text.to_string(), Tone::Plain)])
    }

    /// A text of several tones.
    pub fn of_parts(parts: impl IntoIterator<Item = (String, Tone)>) -> Self {
        let parts = parts.into_iter();
        Self {
            parts: parts.map(|(text, tone)| (harmless(text), tone)).collect(),
            right: false,
        }
    }

    /// The same in another tone.
    pub fn toned(mut self, tone: Tone) -> Self {
        self.parts.iter_mut().for_each(|part| part.1 = tone);
        self
    }

    /// The same on the right side of its column.
    pub fn right(self) -> Self {
        Self {
            right: true,
            ..self
        }
    }

    /// Returns how many columns of a terminal it takes.
    pub fn width(&self) -> usize {
        self.parts
            .iter()
            .map(|(text, _)| text.chars().count())
            .sum()
    }

    fn text(&self, coloured: bool) -> String {
        let parts = self.parts.iter();
        match coloured {
            true => parts.map(|(text, tone)| tone.paint(text)).collect(),
            false => parts.map(|(text, _)| text.as_str()).collect(),
        }
    }

    fn padded(&self, width: usize, coloured: bool) -> String {
        let space = " ".repeat(width.saturating_sub(self.width()));
        match self.right {
            true => space + &self.text(coloured),
            false => self.text(coloured) + &space,
        }
    }
}

/// Rows of cells, of equally many each; the first is the header.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// Columns are this far apart.
    pub const GAP: usize = 2;

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Returns the lines.
    pub fn lines(&self, coloured: bool) -> Vec<String> {
        let n_columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].width()).max();
        let widths: Vec<_> = (0..n_columns).map(|i| width(i).unwrap_or(0)).collect();
        let line = |row: &Vec<Cell>| {
            let last = row.iter().rposition(|cell| cell.width() > 0);
            let shown = row
                .iter()
                .zip(&widths)
                .take(last.map_or(0, |last| last + 1));
            let cells: Vec<_> = shown
                .map(|(cell, width)| cell.padded(*width, coloured))
                .collect();
            cells.join(&" ".repeat(Self::GAP)).trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Returns the lines of a Markdown table.
    pub fn markdown(&self) -> Vec<String> {
        let line = |row: &Vec<Cell>| {
            let cells = row.iter().map(|cell| cell.text(false).replace('|', "\\|"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let Some((header, rows)) = self.rows.split_first() else {
            return Vec::new();
        };
        let rule = |i: usize| {
            let is_right = rows.first().is_some_and(|row| row[i].right);
            if is_right { "---:|" } else { "---|" }
        };
        let rule: String = (0..header.len()).map(rule).collect();
        [line(header), format!("|{rule}")]
            .into_iter()
            .chain(rows.iter().map(line))
            .collect()
    }
}

/// Cuts a text to a width, with a mark in the middle if something is missing there: both ends of a
/// path tell more.
pub fn cut_middle(text: &str, width: usize, mark: &str) -> String {
    let n = text.chars().count();
    if n <= width {
        return text.to_owned();
    }
    let n_kept = width.saturating_sub(mark.chars().count());
    let n_first = n_kept / 2;
    let first = text.chars().take(n_first);
    let last = text.chars().skip(n - (n_kept - n_first));
    first.chain(mark.chars()).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::default();
        grid.row(vec![
            Cell::new("name"),
            Cell::new("n").right(),
            Cell::new("bar"),
        ]);
        let bar = Cell::of_parts([
            ("##".to_owned(), Tone::Good),
            ("..".to_owned(), Tone::Plain),
        ]);
        grid.row(vec![Cell::new("é|"), Cell::new(100).right(), bar]);
        grid.row(vec![
            Cell::new("x\n"),
            Cell::new(7).right().toned(Tone::Bad),
            Cell::default(),
        ]);
        grid
    }

    #[test]
    fn columns_are_aligned_and_coloured() {
        assert_eq!(
            grid().lines(false),
            ["name    n  bar", "é|    100  ##..", "x\\n     7"]
        );
        assert_eq!(
            grid().lines(true)[1..],
            [
                "é|    100  \x1b[32m##\x1b[0m..",
                "x\\n     \x1b[31m7\x1b[0m"
            ]
        );
        assert_eq!(
            grid().markdown(),
            [
                "| name | n | bar |",
                "|---|---:|---|",
                "| é\\| | 100 | ##.. |",
                "| x\\n | 7 |  |"
            ]
        );
        assert!(Grid::default().lines(true).is_empty());
        assert!(Grid::default().markdown().is_empty());
    }

    #[test]
    fn texts_are_cut() {
        assert_eq!(cut_middle("größer", 6, "…"), "größer");
        assert_eq!(cut_middle("größer", 5, "…"), "gr…er");
        assert_eq!(cut_middle("größer", 4, ".."), "g..r");
        assert_eq!(cut_middle("größer", 0, "…"), "…");
    }
}
