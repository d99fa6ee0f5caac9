//! What the eye sees: streams, colour, tables, progress.
//!
//! Data goes to standard output, everything else to standard error. Only this module prints.

mod grid;
mod progress;
mod table;
mod transfer;

pub use grid::{Cell, Grid, Tone, cut_middle};
pub use progress::ProgressObserver;
pub use table::Table;
pub use transfer::TransferBar;

use crate::report::harmless;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The streams of a command.
pub struct Term {
    data: Mutex<io::BufWriter<Box<dyn Write + Send>>>,
    talk: Mutex<Box<dyn Write + Send>>,
    quiet: bool,
    progress: bool,
    progress_lines: bool,
    coloured: bool,
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Term")
            .field("quiet", &self.quiet)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

const BOLD_RED: &str = "\x1b[1;31m";
const BOLD_YELLOW: &str = "\x1b[1;33m";
const BOLD_CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

impl Term {
    /// Opens the process's streams.
    pub fn new(colour: Colour, quiet: bool, progress: bool) -> Self {
        let choice = match colour {
            Colour::Auto => anstream::ColorChoice::Auto,
            Colour::Always => anstream::ColorChoice::AlwaysAnsi,
            Colour::Never => anstream::ColorChoice::Never,
        };
        Self {
            data: Mutex::new(io::BufWriter::new(Box::new(io::stdout()))),
            talk: Mutex::new(Box::new(anstream::AutoStream::new(io::stderr(), choice))),
            quiet,
            progress: progress && !quiet && io::stderr().is_terminal(),
            progress_lines: progress && !quiet && !io::stderr().is_terminal(),
            coloured: match colour {
                Colour::Auto => {
                    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
                }
                Colour::Always => true,
                Colour::Never => false,
            },
        }
    }

    /// Tells whether data may be coloured.
    pub fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// Tells whether data goes to a terminal.
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints a line of data.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        writeln!(locked(&self.data), "{line}")
    }

    /// Lets an engine print data. Meanwhile nothing else may be printed.
    pub fn data(&self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        print(&mut *locked(&self.data))
    }

    /// Writes out what [`Term::line`] buffered.
    pub fn flush(&self) -> io::Result<()> {
        locked(&self.data).flush()
    }

    /// Says what was done, unless the user wants quiet.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.talk(format_args!("{}", harmless(text)));
        }
    }

    /// Says that something may not be as intended.
    pub fn warn(&self, text: impl Display) {
        self.talk(format_args!(
            "{BOLD_YELLOW}warning:{RESET} {}",
            harmless(text)
        ));
    }

    /// Says why a command failed.
    pub fn error(&self, text: impl Display) {
        self.talk(format_args!("{BOLD_RED}error:{RESET} {}", harmless(text)));
    }

    /// Repeats lines of the user's input, which must be harmless.
    pub fn quote(&self, lines: &str) {
        self.talk(format_args!("{lines}"));
    }

    /// Says what the user can do.
    pub fn hint(&self, text: impl Display) {
        self.talk(format_args!("{BOLD_CYAN}hint:{RESET} {}", harmless(text)));
    }

    /// Returns an observer that draws a bar, or nothing where none is wanted.
    pub fn progress(&self) -> ProgressObserver {
        ProgressObserver::new(self.progress)
    }

    /// Tells whether bars are wanted, and can be drawn.
    pub fn has_bars(&self) -> bool {
        self.progress
    }

    /// Tells whether lines say now and then how far something is, where no bars can be drawn.
    pub fn has_progress_lines(&self) -> bool {
        self.progress_lines
    }

    /// Draws a bar under a name. Only where there are bars, see [`Self::has_bars`].
    pub fn transfer_bar(&self, name: &str) -> TransferBar {
        TransferBar::new(name)
    }

    fn talk(&self, text: std::fmt::Arguments<'_>) {
        // What was printed before should be seen before; and if standard error is closed there is
        // nobody left to tell.
        let _ = self.flush();
        let _ = writeln!(locked(&self.talk), "{text}");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
