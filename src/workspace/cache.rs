//! signac's cache of state points: `.signac/statepoint_cache.json.gz`, one compressed JSON object
//! from ids to state points (signac 2.4.1, `project.py`).
//!
//! signac trusts it; we believe only what has the id that it is filed under.

use super::{JSON_SIZE_BYTES_MAX, STATEPOINT_FILE, Workspace};
use crate::fsx::{self, Dir, FsError, TimeNs};
use crate::pyjson::Entries;
use crate::statepoint::{JobId, StatePoint};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CACHE_FILE: &str = "statepoint_cache.json.gz";

/// The cache is read to this length for each job, since a few bytes may unpack to any number.
const JOB_BYTES: u64 = 16 << 10;

/// At least as much is read, for a cache may hold jobs that are gone.
const SIZE_BYTES_MIN: u64 = 16 << 20;

/// A temporary file as old as this was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// signac's cache, decompressed.
#[derive(Debug)]
pub struct StatePointCache {
    text: String,
}

impl StatePointCache {
    /// Iterates over what is filed under an id, as far as the text is whole. Nothing is verified.
    pub fn entries(&self) -> impl Iterator<Item = (JobId, StatePoint)> {
        let whole = Entries::new(&self.text).map_while(Result::ok);
        whole.filter_map(|(id, statepoint)| {
            let id = id.to_str()?.parse().ok()?;
            Some((id, StatePoint::from_value(statepoint).ok()?))
        })
    }
}

impl Workspace {
    fn cache_path(&self) -> PathBuf {
        self.project_root().join(".signac").join(CACHE_FILE)
    }

    /// Reads signac's cache, as much of it as so many jobs can sensibly take; `None` if there is none
    /// that can be read.
    pub fn open_cache(&self, n_jobs: usize) -> Option<StatePointCache> {
        let file = fsx::open_regular(&self.cache_path()).ok()?;
        let mut bytes = Vec::new();
        let limit = (n_jobs as u64 + 1)
            .saturating_mul(JOB_BYTES)
            .max(SIZE_BYTES_MIN);
        let decoded = MultiGzDecoder::new(file)
            .take(limit.min(JSON_SIZE_BYTES_MAX))
            .read_to_end(&mut bytes);
        if let Err(error) = decoded {
            tracing::info!("signac's cache is not used: {error}");
            return None;
        }
        // A text that was cut off is as good as one that was damaged: the entries before count.
        let n_whole = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
        bytes.truncate(n_whole);
        let text = String::from_utf8(bytes).ok()?;
        Some(StatePointCache { text })
    }

    /// Takes from signac's cache the state points of some jobs, sorted by id, that have the id which
    /// they are filed under.
    pub fn cached_statepoints(&self, wanted: &[JobId]) -> HashMap<JobId, StatePoint> {
        let cache = if wanted.is_empty() {
            None
        } else {
            self.open_cache(wanted.len())
        };
        let entries = cache.iter().flat_map(|cache| cache.entries());
        let wanted = entries.filter(|(id, _)| wanted.binary_search(id).is_ok());
        wanted
            .filter(|(id, statepoint)| statepoint.id() == *id)
            .collect()
    }

    /// Writes signac's cache, so that signac need not read state points one by one.
    pub fn write_cache(&self, jobs: &[(JobId, StatePoint)]) -> Result<(), FsError> {
        let path = self.cache_path();
        fsx::remove_abandoned(&self.project_root().join(".signac"), CACHE_FILE, ABANDONED);
        fsx::replace_with(&path, |file| {
            let mut gzip = GzEncoder::new(BufWriter::new(&mut *file), Compression::default());
            gzip.write_all(b"{")?;
            for (i, (id, statepoint)) in jobs.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                write!(gzip, "{comma}\"{id}\": {}", statepoint.object().dumps())?;
            }
            gzip.write_all(b"}")?;
            gzip.finish()?.flush()?;
            // signac cannot do without it being whole.
            file.sync_data()
        })
    }

    /// Returns when a job's state point was written; `dir` is the open workspace.
    pub fn statepoint_modified(&self, dir: &Dir, id: &JobId) -> Option<TimeNs> {
        let name = format!("{id}/{STATEPOINT_FILE}");
        dir.stamp_of(Path::new(&name))
            .ok()
            .map(|stamp| stamp.modified)
    }
}
