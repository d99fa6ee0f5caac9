//! `sweepfs view`

use crate::catalog::{Reader, Snapshot};
use crate::cli::args::{ViewArgs, ViewLeaf};
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::Selection;
use crate::config::{LeafStyle, ProjectConfig, ViewConfig};
use crate::filter::nearest;
use crate::fsx::{self, FsError};
use crate::report::{Event, Observer, harmless, with_causes};
use crate::view::{
    Action, Change, LinkDir, LinkPlan, Memory, PathSpec, Shape, Tree, default_paths, spec_paths,
};
use crate::workspace::{Project, Workspace};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// At most so many of a kind are named, unless the user wants to hear more.
const SHOWN_MAX: usize = 10;

/// The path spec that means the default path.
const AUTO: &str = "{{auto}}";

pub(in crate::cli) fn run(context: &Context<'_>, args: &ViewArgs) -> Result<Exit, CliError> {
    let project = context.project()?;
    let workspace = project.workspace();
    let view = view_of(&project, args)?;
    let shape = shape(args, &view)?;
    let spec = match args.path.as_ref().or(view.path.as_ref()) {
        Some(text) if text != AUTO => Some(PathSpec::parse(text)?),
        _ => None,
    };
    let prefix = context.absolute(&args.prefix)?;
    refuse_mount(&prefix)?;
    let place = LinkDir::new(&prefix, workspace.dir(), project.root())?;
    let selection = Selection::new(context, &args.selection, &[], &[])?
        .narrowed(view.filter.unwrap_or_default());
    let run = Run {
        context,
        args,
        place,
        changes_nothing: args.check || args.dry_run,
    };
    let dirs = run.memory_dirs(&workspace);
    // What others do at the same time is done before the workspace is looked at.
    let mut memory = match run.changes_nothing {
        true => Memory::look(&dirs, &run.place),
        false => Memory::lock(&dirs, &run.place),
    };
    let (tree, snapshot, exit) = tree(context, &workspace, &selection, spec.as_ref(), shape)?;
    let plan = LinkPlan::new(&run.place, &memory, &tree, shape, snapshot.jobs())?;
    let done = if args.check {
        run.check(&plan)?
    } else if args.dry_run {
        run.pretend(&plan)?
    } else {
        run.apply(&plan, &mut memory)?
    };
    Ok(done.or(exit))
}

/// Returns the view that is named, or else that which stands in place of the default path.
fn view_of(project: &Project, args: &ViewArgs) -> Result<ViewConfig, CliError> {
    let config = ProjectConfig::read(&project.root().join("sweepfs.toml"))
        .map_err(|error| CliError::failed(error).with_hint("correct `sweepfs.toml`"))?;
    let Some(name) = &args.named else {
        let default = config.views.get("default").filter(|_| args.path.is_none());
        return Ok(default.cloned().unwrap_or_default());
    };
    config.views.get(name).cloned().ok_or_else(|| {
        let error = CliError::usage(format!("`sweepfs.toml` has no view `{name}`"));
        match nearest(name, config.views.keys().map(String::as_str)) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error.with_hint(format!("a section `[view.{name}]` makes one")),
        }
    })
}

fn shape(args: &ViewArgs, view: &ViewConfig) -> Result<Shape, CliError> {
    match (args.leaf, view.leaf) {
        (Some(ViewLeaf::Dir), _) => Err(CliError::usage(
            "`--leaf dir` is for mounts: on disk it would be a copy of every job",
        )
        .with_hint("`cp -rL` or `tar -h` copies what the links lead to")),
        (Some(ViewLeaf::Collapsed), _) | (None, Some(LeafStyle::Collapsed)) => Ok(Shape::Collapsed),
        _ => Ok(Shape::Full),
    }
}

/// Refuses a directory in a mount of ours before it is walked: all that could be found there is
/// what the mount shows.
fn refuse_mount(prefix: &Path) -> Result<(), CliError> {
    let there = prefix.ancestors().find(|path| path.exists());
    let in_mount =
        there.is_some_and(|path| fsx::is_read_only(path) && fsx::network_fs(path) == Some("fuse"));
    if !in_mount {
        return Ok(());
    }
    let message = format!("`{}` is in a mount, which is read-only", prefix.display());
    Err(CliError::refused(message).with_hint(ELSEWHERE))
}

const ELSEWHERE: &str = "`-p DIR` makes the links in another folder";

/// Builds the tree of the selected jobs, which the snapshot numbers.
fn tree(
    context: &Context<'_>,
    workspace: &Workspace,
    selection: &Selection,
    spec: Option<&PathSpec>,
    shape: Shape,
) -> Result<(Tree, Arc<Snapshot>, Exit), CliError> {
    let store = context.store(workspace);
    let (mut reader, snapshot) =
        Reader::in_memory(workspace, store, now(), &context.term.progress())?;
    let found = context.ask_of(&mut reader, selection, |facts, jobs| {
        Ok(match spec {
            Some(spec) => spec_paths(&snapshot, facts, jobs, spec),
            None => Ok(default_paths(&snapshot, jobs)),
        })
    })?;
    let tree = Tree::build(found.answer?, shape, 0, |job| {
        snapshot.jobs()[job as usize].modified
    });
    Ok((tree, snapshot, found.exit))
}

struct Run<'a> {
    context: &'a Context<'a>,
    args: &'a ViewArgs,
    place: LinkDir,
    changes_nothing: bool,
}

impl Run<'_> {
    /// Returns where locks and notes may be: in the project, or else the user's cache.
    fn memory_dirs(&self, workspace: &Workspace) -> Vec<PathBuf> {
        let own = workspace.project_root().join(".sweepfs/views");
        let cache = self.context.cache_dir().map(|dir| dir.join("views"));
        [own].into_iter().chain(cache).collect()
    }

    /// Tells whether the links are current, and what differs.
    fn check(&self, plan: &LinkPlan) -> Result<Exit, CliError> {
        let term = self.context.term;
        let n = plan.actions.len() + plan.obstacles.len();
        if n == 0 {
            self.note_current(plan);
            return Ok(Exit::Done);
        }
        for action in plan.actions.iter().take(self.shown_max()) {
            term.line(self.line(action))?;
        }
        self.report_obstacles(plan);
        let s = if n == 1 { "" } else { "s" };
        let prefix = self.args.prefix.display();
        term.note(format_args!("{prefix} is not current: {n} difference{s}"));
        if plan.actions.len() > self.shown_max() {
            term.hint("`-v` shows all of them");
        }
        Ok(Exit::Failed)
    }

    /// Prints what would be done.
    fn pretend(&self, plan: &LinkPlan) -> Result<Exit, CliError> {
        for action in &plan.actions {
            self.context.term.line(self.line(action))?;
        }
        self.note_kept(plan);
        if plan.actions.is_empty() && plan.obstacles.is_empty() {
            self.note_current(plan);
        }
        Ok(self.report_obstacles(plan))
    }

    fn apply(&self, plan: &LinkPlan, memory: &mut Memory) -> Result<Exit, CliError> {
        let observer = self.context.term.progress();
        let total = plan.actions.len();
        let failed = plan.apply(&self.place, memory, |done| {
            observer.event(Event::Progress {
                what: "making links",
                done,
                total,
            });
        });
        observer.event(Event::Finished);
        let failed = failed.map_err(fs_error)?;
        let exit = self.report_obstacles(plan).or(self.report_failed(&failed));
        self.note_kept(plan);
        if total == 0 && exit == Exit::Done {
            self.note_current(plan);
        } else if failed.is_empty() {
            self.note_done(plan);
        }
        // Nothing useful was done if nothing at all could be.
        if total > 0 && failed.len() == total && plan.n_right == 0 {
            return Ok(Exit::Failed);
        }
        Ok(exit)
    }

    fn note_current(&self, plan: &LinkPlan) {
        let prefix = self.args.prefix.display();
        let links = n_links(plan.n_right);
        let note = format_args!("{prefix} is up to date ({links})");
        self.context.term.note(note);
    }

    fn note_done(&self, plan: &LinkPlan) {
        let count = |is: fn(Change) -> bool| plan.actions.iter().filter(|a| is(a.change)).count();
        let n_made = count(|change| matches!(change, Change::MakeLink(_)));
        let n_changed = count(|change| matches!(change, Change::ReplaceLink(_)));
        let n_removed = count(|change| change == Change::RemoveLink);
        let prefix = self.args.prefix.display();
        let links = n_links(plan.n_right + n_made + n_changed);
        self.context.term.note(format_args!(
            "{prefix} has {links}: {n_made} made, {n_changed} changed, {n_removed} removed"
        ));
    }

    /// Names what is left in old folders because it is the user's.
    fn note_kept(&self, plan: &LinkPlan) {
        let n = plan.kept.len();
        for kept in plan.kept.iter().take(self.shown_max()) {
            let path = self.shown(kept);
            let note = format_args!("kept an old folder for what it holds: {}", path.display());
            self.context.term.note(note);
        }
        if n > self.shown_max() {
            let more = n - self.shown_max();
            self.context
                .term
                .note(format_args!("and {more} more (`-v`)"));
        }
    }

    fn report_obstacles(&self, plan: &LinkPlan) -> Exit {
        let term = self.context.term;
        for obstacle in plan.obstacles.iter().take(self.shown_max()) {
            let of = match obstacle.n_links {
                1 => "a link".to_owned(),
                n => n_links(n),
            };
            let path = self.shown(&obstacle.path);
            let (path, what) = (path.display(), &obstacle.what);
            term.warn(format_args!("`{path}` is in the way of {of}: {what}"));
        }
        self.report_more(plan.obstacles.len());
        if plan.obstacles.is_empty() {
            return Exit::Done;
        }
        term.hint("move it away or remove it, and run `sweepfs view` again");
        Exit::Partial
    }

    fn report_failed(&self, failed: &[FsError]) -> Exit {
        for error in failed.iter().take(self.shown_max()) {
            self.context.term.error(with_causes(error));
        }
        self.report_more(failed.len());
        if let Some(hint) = failed.iter().find_map(hint_of) {
            self.context.term.hint(hint);
        }
        match failed {
            [] => Exit::Done,
            _ => Exit::Partial,
        }
    }

    fn report_more(&self, n: usize) {
        if n > self.shown_max() {
            let more = n - self.shown_max();
            self.context
                .term
                .warn(format_args!("and {more} more (`-v`)"));
        }
    }

    fn shown_max(&self) -> usize {
        match self.context.verbose {
            0 => SHOWN_MAX,
            _ => usize::MAX,
        }
    }

    /// Shows an action as a line of output.
    fn line(&self, action: &Action) -> String {
        let path = self.shown(&action.path);
        let path = path.display();
        let to = |job| self.place.text(&action.path, job).display().to_string();
        harmless(match &action.change {
            Change::RemoveLink => format!("remove link {path}"),
            Change::RemoveDir => format!("remove folder {path}"),
            Change::MakeDir => format!("make folder {path}"),
            Change::ReplaceLink(job) => format!("change link {path} -> {}", to(job)),
            Change::MakeLink(job) => format!("make link {path} -> {}", to(job)),
        })
    }

    /// Returns a path as the user would write it.
    fn shown(&self, below: &Path) -> PathBuf {
        if below.as_os_str().is_empty() {
            return self.args.prefix.clone();
        }
        self.args.prefix.join(below)
    }
}

fn n_links(n: usize) -> String {
    format!("{n} link{}", if n == 1 { "" } else { "s" })
}

fn hint_of(error: &FsError) -> Option<&'static str> {
    let denied = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
    denied.contains(&error.kind()).then_some(ELSEWHERE)
}

fn fs_error(error: FsError) -> CliError {
    let hint = hint_of(&error);
    let error = CliError::failed(error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
