//! What templates of an execution can name.

use super::Planned;
use crate::config::OperationConfig;
use crate::fsx::Dir;
use crate::pyjson::Object;
use crate::statepoint::JobId;
use crate::template::Scope;
use crate::workspace::{Workspace, WorkspaceError};
use std::sync::Arc;

/// Why an execution cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// A job cannot be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// A path is no text.
    #[error("the project's path is not UTF-8 text")]
    Path,
}

/// Describes an execution: `job`, `sp` and `doc` of the first job, `jobs`, `project`, `operation`
/// and `aggregate`.
pub(in crate::workflow) fn scope(
    workspace: &Workspace,
    operation: &OperationConfig,
    planned: &Planned,
) -> Result<Scope, ScopeError> {
    let dir = Dir::open(workspace.dir()).map_err(WorkspaceError::from)?;
    let jobs = planned.jobs.iter().map(|id| job(workspace, &dir, id));
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    let root = workspace.project_root().to_str().ok_or(ScopeError::Path)?;
    let mut scope = Scope::new()
        .with("project", Scope::new().with("dir", root))
        .with(
            "operation",
            Scope::new().with("name", operation.name.as_str()),
        )
        .with("aggregate", Scope::new().with("id", planned.id.as_str()));
    if let Some((first, statepoint, document)) = jobs.first().cloned() {
        scope = scope
            .with("job", first)
            .with("sp", statepoint)
            .with("doc", document);
    }
    let jobs: Vec<_> = jobs.into_iter().map(|(job, ..)| job).collect();
    Ok(scope.with("jobs", jobs))
}

/// What templates know of a job, its state point and its document.
type Job = (Scope, Arc<Object>, Arc<Object>);

fn job(workspace: &Workspace, dir: &Dir, id: &JobId) -> Result<Job, ScopeError> {
    let statepoint = workspace.statepoint(id)?;
    let document = workspace.read_document(dir, id)?;
    let document = document.map(|(document, _)| document).unwrap_or_default();
    let (statepoint, document) = (Arc::new(statepoint.object().clone()), Arc::new(document));
    let path = workspace.job_dir(id);
    let scope = Scope::new()
        .with("id", id.to_string().as_str())
        .with("dir", path.to_str().ok_or(ScopeError::Path)?)
        .with("sp", Arc::clone(&statepoint))
        .with("doc", Arc::clone(&document));
    Ok((scope, statepoint, document))
}
