//! What begins next.
//!
//! First come, first served, but what fits may pass what does not. Nothing waits for ever for that:
//! for the first array that does not fit, the share that it needs is kept, so that all that stands
//! behind it may together use only what it will leave free. It then begins at the latest when what
//! stood before it has ended.

use super::request::{Amount, MEASURES};

/// An array that has not ended, in the order of submission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// What each element needs.
    pub(super) needs: Amount,
    /// What all that run may use together when one of its elements begins.
    pub(super) limits: Amount,
    /// So many of its elements run at a time.
    pub(super) at_once: Option<u32>,
    /// How many could begin.
    pub(super) n_waiting: u32,
    /// How many run.
    pub(super) n_begun: u32,
    /// An array that must end before.
    pub(super) after: Option<u64>,
}

/// Why an array has elements that do not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is not enough of this measure, by its place.
    Lacks(usize),
    /// What stands before it needs what it would take.
    Turn,
    /// As many run as may.
    AtOnce,
    /// An array must end before.
    After(u64),
}

impl Why {
    /// Says it.
    pub(super) fn text(self) -> String {
        match self {
            Self::Lacks(measure) => format!("waits for {}", MEASURES[measure]),
            Self::Turn => "waits for its turn".to_owned(),
            Self::AtOnce => "waits for others of its array".to_owned(),
            Self::After(id) => format!("waits for array {id}"),
        }
    }
}

/// What to do with an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// So many elements begin now.
    pub(super) n_starts: u32,
    /// Why the others do not.
    pub(super) why: Option<Why>,
}

/// The share that is kept for the first array that does not fit.
struct Kept {
    /// What all behind it may use together.
    limits: Amount,
    /// What they use.
    used: Amount,
}

/// Decides what begins, for each array.
pub(super) fn plan(entries: &[Entry]) -> Vec<Next> {
    let of = |entries: &[Entry]| {
        let used = entries.iter().map(|entry| entry.needs.times(entry.n_begun));
        used.fold(Amount::default(), Amount::plus)
    };
    let mut used = of(entries);
    let mut kept: Option<Kept> = None;
    let mut next = vec![Next::default(); entries.len()];
    for (i, entry) in entries.iter().enumerate() {
        if entry.n_waiting == 0 {
            continue;
        }
        if let Some(id) = entry.after {
            next[i].why = Some(Why::After(id));
            continue;
        }
        let at_once = entry.at_once.unwrap_or(u32::MAX);
        let n_allowed = at_once.saturating_sub(entry.n_begun).min(entry.n_waiting);
        let fits = entry.needs.fits(entry.limits.minus(used));
        let may = kept.as_ref().map_or(u32::MAX, |kept| {
            entry.needs.fits(kept.limits.minus(kept.used)).0
        });
        let n_starts = n_allowed.min(fits.0).min(may);
        let begun = entry.needs.times(n_starts);
        used = used.plus(begun);
        if let Some(kept) = &mut kept {
            kept.used = kept.used.plus(begun);
        }
        let why = match n_starts {
            n if n == entry.n_waiting => None,
            n if n == n_allowed => Some(Why::AtOnce),
            n if n == fits.0 => Some(Why::Lacks(fits.1)),
            _ => Some(Why::Turn),
        };
        next[i] = Next { n_starts, why };
        if matches!(why, Some(Why::Lacks(_))) && kept.is_none() {
            kept = Some(Kept {
                limits: entry.limits.minus(entry.needs),
                used: of(&entries[i + 1..]),
            });
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cores: u64, n_waiting: u32, n_begun: u32) -> Entry {
        Entry {
            needs: Amount([cores, 0, 0]),
            limits: Amount([8, 100, u64::MAX]),
            at_once: None,
            n_waiting,
            n_begun,
            after: None,
        }
    }

    fn starts(entries: &[Entry]) -> Vec<u32> {
        plan(entries).iter().map(|next| next.n_starts).collect()
    }

    fn whys(entries: &[Entry]) -> Vec<Option<Why>> {
        plan(entries).iter().map(|next| next.why).collect()
    }

    #[test]
    fn as_many_begin_as_there_are_cores() {
        let entries = [entry(3, 5, 0), entry(1, 5, 0)];
        assert_eq!(starts(&entries), [2, 2]);
        assert_eq!(whys(&entries), [Some(Why::Lacks(0)); 2]);
        assert_eq!(starts(&[entry(3, 5, 2), entry(1, 5, 2)]), [0, 0]);
        assert_eq!(starts(&[entry(0, 5, 2)]), [5]);
    }

    #[test]
    fn memory_and_gpus_count() {
        let with = |memory, gpus| Entry {
            needs: Amount([1, memory, gpus]),
            limits: Amount([8, 100, 2]),
            ..entry(1, 5, 0)
        };
        assert_eq!(starts(&[with(40, 0)]), [2]);
        assert_eq!(whys(&[with(40, 0)]), [Some(Why::Lacks(1))]);
        assert_eq!(starts(&[with(0, 1)]), [2]);
        assert_eq!(whys(&[with(0, 1)]), [Some(Why::Lacks(2))]);
        assert_eq!(Why::Lacks(2).text(), "waits for GPUs");
    }

    #[test]
    fn what_fits_passes_but_the_share_of_the_first_is_kept() {
        // 6 cores are used by what stood before; the second needs 6 of 8, so 2 are for others.
        let waits = entry(6, 1, 0);
        let entries = [entry(6, 0, 1), waits, entry(1, 9, 0)];
        assert_eq!(starts(&entries), [0, 0, 2]);
        assert_eq!(
            whys(&entries),
            [None, Some(Why::Lacks(0)), Some(Why::Lacks(0))]
        );
        // Those that have passed count, also when the first array has ended.
        let entries = [entry(1, 0, 1), waits, entry(1, 9, 2)];
        assert_eq!(starts(&entries), [0, 0, 0]);
        assert_eq!(whys(&entries), [None, Some(Why::Lacks(0)), Some(Why::Turn)]);
        assert_eq!(starts(&[waits, entry(1, 9, 2)]), [1, 0]);
        // Nothing passes what needs the whole machine.
        assert_eq!(
            starts(&[entry(7, 0, 1), entry(8, 1, 0), entry(1, 9, 0)]),
            [0, 0, 0]
        );
    }

    #[test]
    fn nothing_is_passed_for_ever() {
        // Whatever is submitted behind it, the first that does not fit begins when what stands
        // before it has ended.
        let mut random = 7_u64;
        for _ in 0..2000 {
            let mut draw = |n: u64| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 33) % n
            };
            let mut entries = vec![entry(8, 0, 0), entry(1 + draw(8), 1, 0)];
            entries[0].needs = Amount([1 + draw(8), 0, 0]);
            entries[0].n_begun = 1;
            entries.extend((0..5).map(|_| entry(1 + draw(8), draw(9) as u32, 0)));
            for _ in 0..20 {
                for (entry, next) in entries.clone().iter().zip(plan(&entries)).enumerate().map(
                    |(i, (entry, next))| {
                        let place = &mut entries[i];
                        place.n_begun = entry.n_begun + next.n_starts;
                        place.n_waiting = entry.n_waiting - next.n_starts + u32::from(i > 1);
                        (*entry, next)
                    },
                ) {
                    assert!(entry.n_waiting >= next.n_starts);
                }
                let used: u64 = entries
                    .iter()
                    .map(|entry| entry.needs.0[0] * u64::from(entry.n_begun))
                    .sum();
                assert!(used <= 8, "{entries:?}");
                let ends = 2 + draw(5) as usize;
                entries[ends].n_begun = entries[ends].n_begun.saturating_sub(1);
            }
            entries[0].n_begun = 0;
            let waits = entries[1].n_waiting;
            assert_eq!(plan(&entries)[1].n_starts, waits, "{entries:?}");
        }
    }

    #[test]
    fn arrays_wait_for_others_and_for_their_own() {
        let limited = Entry {
            at_once: Some(3),
            ..entry(1, 9, 1)
        };
        let depends = Entry {
            after: Some(4),
            ..entry(1, 1, 0)
        };
        let entries = [limited, depends, entry(2, 1, 0)];
        assert_eq!(starts(&entries), [2, 0, 1]);
        assert_eq!(
            whys(&entries),
            [Some(Why::AtOnce), Some(Why::After(4)), None]
        );
    }
}
