//! How states look.

use crate::cli::context::Context;
use crate::term::{Cell, Tone};
use crate::workflow::FlowState;

/// The states in the order of their columns.
pub(super) const SHOWN: [FlowState; 7] = [
    FlowState::Completed,
    FlowState::Running,
    FlowState::Queued,
    FlowState::Eligible,
    FlowState::Failed,
    FlowState::Waiting,
    FlowState::Unknown,
];

/// The widest bar.
const BAR_MAX: usize = 24;

/// A narrower bar tells nothing.
const BAR_MIN: usize = 5;

/// How much room there is, and what can be shown in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// How many columns there are; `None` is any number.
    pub(super) width: Option<usize>,
    pub(super) unicode: bool,
    pub(super) coloured: bool,
    pub(super) markdown: bool,
}

impl Look {
    pub(super) fn new(context: &Context<'_>, markdown: bool) -> Self {
        Self {
            width: context.width().filter(|_| !markdown),
            unicode: context.has_unicode(),
            coloured: context.term.is_coloured() && !markdown,
            markdown,
        }
    }

    /// Returns a text that stands for a state, of one column.
    pub(super) fn symbol(self, state: FlowState) -> &'static str {
        let (symbol, ascii) = match state {
            FlowState::Completed => ("✔", "X"),
            FlowState::Running => ("▸", ">"),
            FlowState::Queued => ("●", "*"),
            FlowState::Eligible => ("○", "+"),
            FlowState::Failed => ("✘", "!"),
            FlowState::Waiting => ("·", "-"),
            FlowState::Unknown => ("?", "?"),
        };
        if self.unicode { symbol } else { ascii }
    }

    /// Returns what stands at the end of a text that was cut.
    pub(super) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { ".." }
    }

    /// Returns the line that explains the symbols.
    pub(super) fn legend(self) -> Cell {
        let parts = SHOWN.iter().enumerate().flat_map(|(i, &state)| {
            let gap = if i == 0 { "" } else { "  " };
            [
                (gap.to_owned(), Tone::Plain),
                (self.symbol(state).to_owned(), tone(state)),
                (format!(" {state}"), Tone::Plain),
            ]
        });
        Cell::of_parts(parts.collect::<Vec<_>>())
    }

    /// Returns how wide bars are beside columns that take so much; 0 if there is no room for them.
    pub(super) fn bar_width(self, others: usize) -> usize {
        let room = self
            .width
            .map_or(BAR_MAX, |width| width.saturating_sub(others).min(BAR_MAX));
        if room < BAR_MIN || self.markdown {
            0
        } else {
            room
        }
    }

    /// Draws shares of a total, one after the other.
    pub(super) fn bar(self, width: usize, total: u64, shares: &[(Share, u64)]) -> Cell {
        let at = |n: u64| (n * width as u64).checked_div(total).unwrap_or(0) as usize;
        let (mut parts, mut sum) = (Vec::new(), 0);
        for (share, n) in shares {
            let n_cells = at(sum + n) - at(sum);
            sum += n;
            let (symbol, ascii, tone) = share.drawn();
            let symbol = if self.unicode { symbol } else { ascii };
            parts.push((symbol.repeat(n_cells), tone));
        }
        let (symbol, ascii, tone) = Share::Rest.drawn();
        let symbol = if self.unicode { symbol } else { ascii };
        parts.push((symbol.repeat(width - at(sum)), tone));
        Cell::of_parts(parts)
    }
}

/// A part of a bar.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    Done,
    Active,
    Failed,
    Rest,
}

impl Share {
    fn drawn(self) -> (&'static str, &'static str, Tone) {
        match self {
            Self::Done => ("█", "#", Tone::Good),
            Self::Active => ("▒", ">", Tone::Busy),
            Self::Failed => ("×", "!", Tone::Bad),
            Self::Rest => ("░", ".", Tone::Faint),
        }
    }
}

/// Returns the tone of a state.
pub(super) fn tone(state: FlowState) -> Tone {
    match state {
        FlowState::Completed => Tone::Good,
        FlowState::Running | FlowState::Queued => Tone::Busy,
        FlowState::Eligible => Tone::Ready,
        FlowState::Failed => Tone::Bad,
        FlowState::Waiting => Tone::Faint,
        FlowState::Unknown => Tone::Odd,
    }
}

/// Says how large a part is; it is all only if nothing is missing.
pub(super) fn percent(part: u64, total: u64) -> String {
    format!("{} %", (100 * part).checked_div(total).unwrap_or(0))
}

/// Takes so much off widths, always of the widest and down to a minimum; leaves in `over` what is
/// still too much.
pub(super) fn shrink(widths: &mut [usize], min: usize, over: &mut usize) {
    while *over > 0 {
        match widths.iter_mut().max() {
            Some(widest) if *widest > min => *widest -= 1,
            _ => return,
        }
        *over -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_full_only_if_nothing_is_missing() {
        let look = Look {
            width: Some(40),
            unicode: false,
            coloured: false,
            markdown: false,
        };
        let bar = |done, active, failed| {
            let shares = [
                (Share::Done, done),
                (Share::Active, active),
                (Share::Failed, failed),
            ];
            let mut grid = crate::term::Grid::default();
            grid.row(vec![look.bar(10, 1000, &shares)]);
            grid.lines(false).concat()
        };
        assert_eq!(bar(999, 0, 0), "#########.");
        assert_eq!(bar(1000, 0, 0), "##########");
        assert_eq!(bar(199, 100, 101), "#>!!......");
        assert_eq!(bar(0, 0, 0), "..........");
        assert_eq!(percent(999, 1000), "99 %");
        assert_eq!(percent(0, 0), "0 %");
        assert_eq!((look.bar_width(10), look.bar_width(36)), (24, 0));
    }

    #[test]
    fn the_widest_is_cut_first() {
        let (mut widths, mut over) = ([10, 30, 5], 12);
        shrink(&mut widths, 8, &mut over);
        assert_eq!((widths, over), ([10, 18, 5], 0));
        over = 30;
        shrink(&mut widths, 8, &mut over);
        assert_eq!((widths, over), ([8, 8, 5], 18));
    }
}
