//! How fast a sync may be, and how long.

use std::fmt;
use std::sync::Arc;

/// What is said of something that was not done because the time is over.
pub const STOPPED: &str = "the time is over";

/// Limits a sync, and is told of the bytes that it moves. Only it looks at a clock.
pub trait Pacer: fmt::Debug + Send + Sync {
    /// Takes bytes that we have moved. Returns later if they were too many.
    fn moved(&self, bytes: u64);

    /// Takes bytes for which no limit holds: a program that keeps to it has moved them, or nothing
    /// had to be moved.
    fn reported(&self, bytes: u64);

    /// Tells whether nothing new may begin.
    fn is_over(&self) -> bool;

    /// Tells whether what has begun may not go on.
    fn is_cut(&self) -> bool;
}

/// A [`Pacer`], or none: there is no hurry and no limit then.
#[derive(Clone, Debug, Default)]
pub struct Pace(Option<Arc<dyn Pacer>>);

impl Pace {
    /// Lets somebody pace the sync.
    pub fn by(pacer: Arc<dyn Pacer>) -> Self {
        Self(Some(pacer))
    }

    pub(super) fn moved(&self, bytes: u64) {
        if let Some(pacer) = &self.0 {
            pacer.moved(bytes);
        }
    }

    pub(super) fn reported(&self, bytes: u64) {
        if let Some(pacer) = &self.0 {
            pacer.reported(bytes);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|pacer| pacer.is_over())
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.as_ref().is_some_and(|pacer| pacer.is_cut())
    }
}
