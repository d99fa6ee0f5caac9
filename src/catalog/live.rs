//! Questions about one snapshot, whose documents may change.

use super::documents::Documents;
use super::facts::{Facts, FactsError, Source};
use super::snapshot::Snapshot;
use super::store::Store;
use super::{Clock, TimeNs};
use crate::workspace::Workspace;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// Documents that were read are written to their file no more often than this.
const SAVE_PAUSE_NS: TimeNs = 60_000_000_000;

/// Answers questions about the jobs of one snapshot after another, and about their documents as
/// they are.
#[derive(Debug)]
pub struct LiveFacts {
    workspace: Workspace,
    store: Option<Store>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    snapshot: Arc<Snapshot>,
    documents: RefCell<Documents>,
    /// When documents were begun to be looked at.
    since: TimeNs,
    saved: TimeNs,
}

impl LiveFacts {
    /// Nothing is read before a question needs it.
    pub fn new(workspace: &Workspace, store: Option<Store>) -> Self {
        let documents =
            Documents::new(workspace, store.clone(), Clock::new(workspace, TimeNs::MIN));
        Self {
            workspace: workspace.clone(),
            store,
            held: Mutex::new(Held {
                snapshot: Arc::default(),
                documents: RefCell::new(documents),
                since: TimeNs::MIN,
                saved: TimeNs::MIN,
            }),
        }
    }

    /// Asks a question that needs no documents.
    pub fn ask_statepoints<T>(
        &self,
        snapshot: &Snapshot,
        question: impl FnOnce(&Facts<'_>) -> Result<T, FactsError>,
    ) -> Result<T, FactsError> {
        let clock = Clock {
            now: TimeNs::MIN,
            granularity: 0,
        };
        let documents = RefCell::new(Documents::new(&self.workspace, None, clock));
        question(&Facts::new(Source::Memory(snapshot), &documents))
    }

    /// Asks a question at a time, `now`; documents that were looked at more than `age_max`
    /// nanoseconds ago are looked at again. The answer comes with a number that is the same as
    /// before if no document was read since.
    pub fn ask<T>(
        &self,
        snapshot: &Arc<Snapshot>,
        now: TimeNs,
        age_max: TimeNs,
        question: impl FnOnce(&Facts<'_>) -> Result<T, FactsError>,
    ) -> Result<(T, u64), FactsError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut *held;
        if held.snapshot.generation() != snapshot.generation() {
            let ids: Vec<_> = snapshot.jobs().iter().map(|job| job.id).collect();
            held.documents.get_mut().follow(&ids);
            held.snapshot = Arc::clone(snapshot);
        }
        if now.saturating_sub(held.since) > age_max {
            let clock = Clock::new(&self.workspace, now);
            held.documents.get_mut().look_again(clock);
            held.since = now;
        }
        let answer = question(&Facts::new(Source::Memory(snapshot), &held.documents));
        let documents = held.documents.get_mut();
        if self.store.is_some() && now.saturating_sub(held.saved) > SAVE_PAUSE_NS {
            documents.save();
            held.saved = now;
        }
        Ok((answer?, documents.revision()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::filter::Filter;
    use crate::fsx::time_ns;
    use crate::pyjson::parse;
    use crate::report::Silent;
    use crate::statepoint::{JobId, StatePoint};
    use crate::workspace::Project;
    use std::time::SystemTime;
    use tempfile::TempDir;

    /// A project of one job, and questions about it.
    struct Fixture {
        _root: TempDir,
        workspace: Workspace,
        id: JobId,
        snapshot: Arc<Snapshot>,
        live: LiveFacts,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a directory");
            let workspace = Project::init(root.path()).expect("a project").workspace();
            let statepoint = StatePoint::from_value(parse(r#"{"a": 1}"#).expect("valid JSON"));
            let (id, _) = workspace
                .create(&statepoint.expect("an object"))
                .expect("created");
            let catalog = Catalog::load(&workspace, None, 0, &Silent).expect("read");
            Self {
                _root: root,
                live: LiveFacts::new(&workspace, None),
                snapshot: catalog.snapshot(),
                workspace,
                id,
            }
        }

        fn write_document(&self, text: &str) {
            std::fs::write(self.workspace.document_path(&self.id), text).expect("written");
        }

        fn holds(&self, filter: &str, now: TimeNs, age_max: TimeNs) -> bool {
            let filter = Filter::parse(filter).expect("a filter");
            let selected = self.live.ask(&self.snapshot, now, age_max, |facts| {
                facts.select(&filter, &facts.all())
            });
            selected.expect("an answer").0.len() == 1
        }
    }

    #[test]
    fn documents_are_as_old_as_is_allowed() {
        let fixture = Fixture::new();
        fixture.write_document(r#"{"d": 1}"#);
        // The first question reads them, whatever may be their age.
        assert!(fixture.holds("doc.d=1", 1000, 50));
        fixture.write_document(r#"{"d": 2}"#);
        assert!(fixture.holds("doc.d=1", 1050, 50));
        assert!(fixture.holds("doc.d=2", 1051, 50));
        fixture.write_document(r#"{"d": 3}"#);
        // The age counts from when they were looked at.
        assert!(fixture.holds("doc.d=2", 1101, 50));
        assert!(fixture.holds("doc.d=3", 1102, 50));
    }

    #[test]
    fn edits_between_questions_are_seen() {
        let fixture = Fixture::new();
        let now = || time_ns(SystemTime::now());
        assert!(!fixture.holds("exists(doc.d)", now(), 0));
        // Of equal length, in the same file, as fast as can be.
        for i in 10..99 {
            fixture.write_document(&format!("{{\"d\": {i}}}"));
            assert!(fixture.holds(&format!("doc.d={i}"), now(), 0), "{i}");
        }
        fixture.write_document("{");
        assert!(!fixture.holds("exists(doc.d)", now(), 0));
        assert!(!fixture.holds("not exists(doc.d)", now(), 0));
        fixture.write_document("{}");
        assert!(fixture.holds("not exists(doc.d)", now(), 0));
        std::fs::remove_file(fixture.workspace.document_path(&fixture.id)).expect("removed");
        assert!(fixture.holds("not exists(doc.d)", now(), 0));
        assert!(fixture.holds("a=1", now(), 0));
    }
}
