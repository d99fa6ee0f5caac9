//! A bar for something that goes on for long and has much to say.

use crate::report::harmless;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;

/// A bar with a text on standard error, which is gone when this is dropped.
#[derive(Debug)]
pub struct TransferBar(ProgressBar);

impl TransferBar {
    pub(super) fn new(name: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{bar:20}] {msg}")
            .expect("a valid template")
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(harmless(name));
        Self(bar)
    }

    /// Shows that some of the work is done, in any unit, and a text.
    pub fn show(&self, done: u64, total: u64, text: impl Display) {
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_message(harmless(text));
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
