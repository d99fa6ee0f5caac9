//! A bar for what takes longer than a moment.

use crate::report::{Event, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Shorter work shows no bar.
const DELAY: Duration = Duration::from_millis(500);

/// Draws progress on standard error.
#[derive(Debug)]
pub struct ProgressObserver {
    bar: Option<ProgressBar>,
}

impl ProgressObserver {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            bar: wanted.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())),
        }
    }
}

impl ProgressObserver {
    /// Prints something else, beside the bar.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Observer for ProgressObserver {
    fn event(&self, event: Event<'_>) {
        let Some(bar) = &self.bar else { return };
        match event {
            Event::Progress { what, done, total } => {
                if bar.is_hidden() && bar.elapsed() > DELAY {
                    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {eta}")
                        .expect("a valid template");
                    bar.set_style(style.progress_chars("=> "));
                    bar.set_message(what.to_owned());
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Event::Finished => bar.finish_and_clear(),
        }
    }
}
