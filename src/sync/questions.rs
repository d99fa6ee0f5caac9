//! What must be read before it can be decided what is done.

use super::compare::{Fate, Input};
use super::differ::{Difference, JobDifference};
use super::path::{Place, RelPath};
use super::side::{FileDigest, FoundText, Whose};
use super::tree::{Entry, JobTree};
use crate::statepoint::JobId;
use crate::workflow::FLOW_FILE;
use crate::workspace::{DOCUMENT_FILE, STATEPOINT_FILE};
use std::collections::HashMap;

/// What must be read before it can be decided.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pub(super) texts: Vec<(Whose, Place)>,
    pub(super) digests: Vec<(Whose, Place)>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) texts: HashMap<(Whose, Place), FoundText>,
    pub(super) digests: HashMap<(Whose, Place), FileDigest>,
}

/// Says what must be read.
pub(super) fn questions(input: &Input<'_>, jobs: &[JobDifference<'_>]) -> Questions {
    let mut asked = Questions::default();
    for job in jobs {
        match job {
            JobDifference::Both {
                id,
                local,
                remote,
                differences,
            } => {
                let mut of_job = QuestionsOfJob {
                    input,
                    id,
                    asked: &mut asked,
                };
                of_job.both(differences, local, remote);
            }
            JobDifference::Single { at, tree, base } => {
                let names: &[&str] = match input.fate(*at, tree, *base) {
                    Fate::Copy => &[STATEPOINT_FILE, DOCUMENT_FILE, FLOW_FILE],
                    Fate::Remove => &[FLOW_FILE],
                    Fate::Tell | Fate::Stay => &[],
                };
                for path in names.iter().map(|name| RelPath::of(name)) {
                    if tree.get(&path).is_some_and(Entry::is_file) {
                        asked.texts.push((*at, Place::of_job(tree.id, path)));
                    }
                }
            }
            JobDifference::Gone(_) => {}
        }
    }
    if input.document_differs() {
        for whose in [Whose::Local, Whose::Remote] {
            if input.at(whose).tree.document.is_some() {
                asked.texts.push((whose, Place::document()));
            }
        }
    }
    asked
}

struct QuestionsOfJob<'a, 'q> {
    input: &'a Input<'a>,
    id: &'a JobId,
    asked: &'q mut Questions,
}

impl QuestionsOfJob<'_, '_> {
    fn both(&mut self, differences: &[Difference<'_>], local: &JobTree, remote: &JobTree) {
        let mut needs_sidecars = false;
        for difference in differences {
            let name = difference.path.as_path().to_str().unwrap_or_default();
            match name {
                STATEPOINT_FILE => {
                    for whose in [Whose::Local, Whose::Remote] {
                        if difference.has_changed(whose) {
                            self.text(whose, difference.path);
                        }
                    }
                }
                FLOW_FILE => needs_sidecars = true,
                DOCUMENT_FILE => self.document(difference),
                _ => needs_sidecars |= self.file(difference),
            }
        }
        if needs_sidecars {
            let path = RelPath::of(FLOW_FILE);
            for (whose, tree) in [(Whose::Local, local), (Whose::Remote, remote)] {
                if tree.get(&path).is_some_and(Entry::is_file) {
                    self.text(whose, &path);
                }
            }
        }
    }

    fn text(&mut self, whose: Whose, path: &RelPath) {
        let place = Place::of_job(*self.id, path.clone());
        self.asked.texts.push((whose, place));
    }

    fn document(&mut self, difference: &Difference<'_>) {
        let is_same = match (difference.local, difference.remote) {
            (Some(here), Some(there)) => self.input.agrees(difference, here, there) == Some(true),
            _ => false,
        };
        for whose in [Whose::Local, Whose::Remote] {
            let is_file = difference.at(whose).is_some_and(Entry::is_file);
            if is_file && !(is_same && whose == Whose::Remote) {
                self.text(whose, difference.path);
            }
        }
    }

    /// Asks for the contents of a file that may be the same on both sides; tells whether something
    /// may have to be done with it.
    fn file(&mut self, difference: &Difference<'_>) -> bool {
        let (Some(here), Some(there)) = (difference.local, difference.remote) else {
            return difference.local.is_some() || difference.remote.is_some();
        };
        match self.input.agrees(difference, here, there) {
            Some(agrees) => !agrees || difference.base.is_some(),
            None => {
                let changed =
                    [Whose::Local, Whose::Remote].map(|whose| difference.has_changed(whose));
                if changed[0] == changed[1] {
                    for whose in [Whose::Local, Whose::Remote] {
                        let place = Place::of_job(*self.id, difference.path.clone());
                        self.asked.digests.push((whose, place));
                    }
                }
                true
            }
        }
    }
}
