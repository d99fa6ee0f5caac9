//! What is not the same in two data spaces and in what is remembered of them.

use super::path::RelPath;
use super::side::{Listing, Whose};
use super::state::{Base, Known, KnownJob};
use super::tree::{Entry, JobTree};
use crate::fsx::TimeNs;
use crate::statepoint::JobId;

const SECOND_NS: TimeNs = 1_000_000_000;

/// A place at which something is not as it was on both sides, or of which nothing is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difference<'a> {
    pub(super) path: &'a RelPath,
    pub(super) local: Option<&'a Entry>,
    pub(super) remote: Option<&'a Entry>,
    pub(super) base: Option<&'a Known>,
}

/// A job that is not as it was on both sides.
#[derive(Debug)]
pub(super) enum JobDifference<'a> {
    /// Both sides have it.
    Both {
        id: JobId,
        local: &'a JobTree,
        remote: &'a JobTree,
        differences: Vec<Difference<'a>>,
    },
    /// One side has it.
    Single {
        at: Whose,
        tree: &'a JobTree,
        base: Option<&'a KnownJob>,
    },
    /// Neither has it any more.
    Gone(&'a KnownJob),
}

impl<'a> Difference<'a> {
    pub(super) fn at(&self, whose: Whose) -> Option<&'a Entry> {
        match whose {
            Whose::Local => self.local,
            Whose::Remote => self.remote,
        }
    }

    /// Tells whether a side is not as it was when both agreed. What is new has changed.
    pub(super) fn has_changed(&self, whose: Whose) -> bool {
        let now = self.at(whose);
        match (self.base, now) {
            (Some(base), Some(now)) => !is_as_before(base.at(whose), now),
            (None, None) => false,
            _ => true,
        }
    }
}

impl Difference<'_> {
    /// Tells whether a file has lost its content though nobody has changed it: a crash of the
    /// machine may leave it empty or cut off, with the time that it had.
    pub(super) fn is_lost(&self, whose: Whose) -> bool {
        let before = self.base.map(|base| base.at(whose));
        match (before, self.at(whose)) {
            (Some(before), Some(now)) => {
                let is_shorter = now.size_bytes() < before.size_bytes();
                // Within a second that is not divided, somebody may have written it again.
                let is_exact = |time: TimeNs| now.size_bytes() == 0 || time % SECOND_NS != 0;
                is_shorter
                    && now.modified().is_some_and(is_exact)
                    && now.modified() == before.modified()
            }
            _ => false,
        }
    }
}

impl Known {
    pub(super) fn at(&self, whose: Whose) -> &Entry {
        match whose {
            Whose::Local => &self.local,
            Whose::Remote => &self.remote,
        }
    }
}

/// Tells whether an entry is as it was. Permissions of directories are not followed.
pub(super) fn is_as_before(before: &Entry, now: &Entry) -> bool {
    before.content == now.content && (before.mode == now.mode || now.is_dir())
}

/// Finds all jobs with differences, sorted by id, without those that are left out on some side.
/// With `all`, files that are as they were on both sides are differences, too.
pub(super) fn differences<'a>(
    local: &'a Listing,
    remote: &'a Listing,
    base: &'a Base,
    all: bool,
) -> Vec<JobDifference<'a>> {
    let mut found = Vec::new();
    let is_out = |id: &JobId| {
        let by = |listing: &Listing| listing.left_out.binary_search(id).is_ok();
        by(local) || by(remote)
    };
    let three = Joined {
        local: &local.tree.jobs,
        remote: &remote.tree.jobs,
        base: &base.jobs,
    };
    three.for_each(
        |tree| &tree.id,
        |job| &job.id,
        |id, here, there, base| {
            if is_out(id) {
                return;
            }
            match (here, there, base) {
                (Some(here), Some(there), base) => {
                    let differences = entries(here, there, base, all);
                    if !differences.is_empty() {
                        found.push(JobDifference::Both {
                            id: *id,
                            local: here,
                            remote: there,
                            differences,
                        });
                    }
                }
                (Some(tree), None, base) => found.push(JobDifference::Single {
                    at: Whose::Local,
                    tree,
                    base,
                }),
                (None, Some(tree), base) => found.push(JobDifference::Single {
                    at: Whose::Remote,
                    tree,
                    base,
                }),
                (None, None, Some(base)) => found.push(JobDifference::Gone(base)),
                (None, None, None) => {}
            }
        },
    );
    found
}

fn entries<'a>(
    local: &'a JobTree,
    remote: &'a JobTree,
    base: Option<&'a KnownJob>,
    all: bool,
) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    let three = Joined {
        local: &local.entries,
        remote: &remote.entries,
        base: base.map_or(&[], |base| &base.entries),
    };
    three.for_each(
        |(path, _)| path,
        |(path, _)| path,
        |path, here, there, known| {
            let difference = Difference {
                path,
                local: here.map(|(_, entry)| entry),
                remote: there.map(|(_, entry)| entry),
                base: known.map(|(_, known)| known),
            };
            let is_known = known.is_some_and(|(_, known)| !known.is_open)
                && !difference.has_changed(Whose::Local)
                && !difference.has_changed(Whose::Remote);
            if all || !is_known {
                found.push(difference);
            }
        },
    );
    found
}

/// Three sorted lists, walked side by side.
struct Joined<'a, T, B> {
    local: &'a [T],
    remote: &'a [T],
    base: &'a [B],
}

impl<'a, T, B> Joined<'a, T, B> {
    fn for_each<K: Ord + 'a>(
        self,
        key: impl Fn(&'a T) -> &'a K,
        base_key: impl Fn(&'a B) -> &'a K,
        mut found: impl FnMut(&'a K, Option<&'a T>, Option<&'a T>, Option<&'a B>),
    ) {
        let (mut local, mut remote, mut base) =
            (self.local.iter(), self.remote.iter(), self.base.iter());
        let (mut l, mut r, mut b) = (local.next(), remote.next(), base.next());
        loop {
            let keys = [l.map(&key), r.map(&key), b.map(&base_key)];
            let Some(least) = keys.into_iter().flatten().min() else {
                return;
            };
            let [of_l, of_r, of_b] = keys.map(|key| key == Some(least));
            found(
                least,
                l.filter(|_| of_l),
                r.filter(|_| of_r),
                b.filter(|_| of_b),
            );
            if of_l {
                l = local.next();
            }
            if of_r {
                r = remote.next();
            }
            if of_b {
                b = base.next();
            }
        }
    }
}
