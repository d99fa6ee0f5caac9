//! `sweepfs remote`

use super::cluster::{key, quoted};
use crate::cli::args::{RemoteAddArgs, RemoteArgs, RemoteCommand};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::{COMMANDS, Remote, address, local_side};
use crate::config::{PROJECT_FILE, ProjectConfig, RemoteConfig};
use crate::fsx::{self, Durability};
use crate::report::harmless;
use crate::sync::{Address, LocalSide, RemoteFacts, RemoteSide, SyncError};
use crate::workspace::Project;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

pub(in crate::cli) fn run(context: &Context<'_>, args: &RemoteArgs) -> Result<Exit, CliError> {
    let project = context.project()?;
    let path = project.root().join(PROJECT_FILE);
    let config = ProjectConfig::read(&path)?;
    let file = Settings {
        context,
        local: LocalSide::new(&project, &project.root().to_string_lossy()),
        path,
        config,
    };
    match &args.command {
        RemoteCommand::Add(args) => file.add(args),
        RemoteCommand::List(args) => file.list(args.json),
        RemoteCommand::Remove(args) => file.remove(&args.name),
        RemoteCommand::Check(args) => file.check(&args.remotes),
    }
}

/// The project's settings, and where they are.
struct Settings<'a> {
    context: &'a Context<'a>,
    local: LocalSide,
    path: PathBuf,
    config: ProjectConfig,
}

impl Settings<'_> {
    fn add(&self, args: &RemoteAddArgs) -> Result<Exit, CliError> {
        let name = &args.name;
        if self.config.remotes.contains_key(name) {
            let message = format!("there is a remote `{name}` already");
            let hint = format!("edit it in `{}`", self.path.display());
            return Err(CliError::refused(message).with_hint(hint));
        }
        if COMMANDS.contains(&name.as_str()) {
            let error = CliError::usage(format!("`{name}` is a command: `sweepfs sync {name}`"));
            return Err(error.with_hint("give the remote another name"));
        }
        let here = match address(&args.address, &self.context.dir)? {
            Address::Here(path) => Some(normal(&path)),
            Address::There { .. } => None,
        };
        if here.as_deref() == Some(self.root()) {
            return Err(SyncError::Same(args.address.clone()).into());
        }
        let url = match &here {
            Some(path) => path.to_str().map(str::to_owned).ok_or_else(|| {
                let path = path.display();
                CliError::usage(format!("`{path}` is not UTF-8, which settings must be"))
            })?,
            None => args.address.clone(),
        };
        let remote = RemoteConfig {
            url,
            rsync: args.rsync.clone(),
            exclude: args.exclude.clone(),
            ..RemoteConfig::default()
        };
        let before = self.text()?;
        let mut added = table(name, &remote);
        if !before.is_empty() {
            let gap = if before.ends_with('\n') { "\n" } else { "\n\n" };
            added.insert_str(0, gap);
        }
        // The name may be none, and the file may end in a way that nothing can follow.
        ProjectConfig::parse(&format!("{before}{added}"), &self.path)?;
        if args.create {
            self.create(name, remote)?;
        }
        // What the user wrote stays as it is.
        let mut file = fsx::open_appending(&self.path)?;
        file.write_all(added.as_bytes())?;
        let note = format!("added `{name}` to `{}`", self.path.display());
        self.context.term.note(harmless(note));
        if let Some(path) = here.filter(|path| local_side(path, name).is_err()) {
            let path = path.display();
            let term = self.context.term;
            term.warn(format_args!("there is no signac project at `{path}`"));
            term.hint("`sweepfs init` makes one in it; or is its disk not mounted?");
        }
        Ok(Exit::Done)
    }

    fn create(&self, name: &str, config: RemoteConfig) -> Result<(), CliError> {
        let remotes = [(name.to_owned(), config)].into();
        let remote = Remote::find(self.context, self.root(), &remotes, Some(name))?;
        match &remote.address {
            Address::Here(path) => {
                Project::init(path)?;
                Ok(())
            }
            Address::There { .. } => Ok(RemoteSide::create(&remote.options(self.context)?)?),
        }
    }

    fn list(&self, is_json: bool) -> Result<Exit, CliError> {
        for name in self.config.remotes.keys() {
            let remote = self.remote(Some(name))?;
            let synced = remote.last_sync(&self.local);
            let synced = synced.map(|at| at.to_string());
            let url = &remote.config.url;
            let line = match is_json {
                true => {
                    let name = &remote.name;
                    serde_json::json!({"name": name, "url": url, "synced": synced}).to_string()
                }
                false => {
                    let synced = synced
                        .map_or_else(|| "never synced".to_owned(), |at| format!("synced {at}"));
                    harmless(format!("{:<12} {url}  {synced}", remote.name))
                }
            };
            self.context.term.line(line)?;
        }
        Ok(Exit::Done)
    }

    fn remove(&self, name: &str) -> Result<Exit, CliError> {
        if !self.config.remotes.contains_key(name) {
            let hint = "`sweepfs remote list` shows them";
            return Err(CliError::usage(format!("there is no remote `{name}`")).with_hint(hint));
        }
        let text = self.text()?;
        let memory = self.remote(Some(name))?.memory(&self.local);
        let mut expected = self.config.remotes.clone();
        expected.remove(name);
        let without = without_table(&text, name);
        let is_right = |text: &String| {
            let config = ProjectConfig::parse(text, &self.path);
            config.is_ok_and(|config| config.remotes == expected)
        };
        let Some(without) = without.filter(is_right) else {
            let path = self.path.display();
            let message = format!("cannot tell which lines of `{path}` describe `{name}`");
            return Err(CliError::refused(message).with_hint("remove them with an editor"));
        };
        fsx::write_atomic(
            &fsx::physical(&self.path)?,
            without.as_bytes(),
            Durability::Power,
        )?;
        match fsx::remove_dir_all(memory.dir()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let note = format!("removed `{name}` from `{}`", self.path.display());
        self.context.term.note(harmless(note));
        Ok(Exit::Done)
    }

    fn check(&self, texts: &[String]) -> Result<Exit, CliError> {
        let context = self.context;
        let texts: Vec<_> = match texts.is_empty() {
            true => self.config.remotes.keys().collect(),
            false => texts.iter().collect(),
        };
        let remotes = texts.into_iter().map(|text| self.remote(Some(text)));
        let remotes = remotes.collect::<Result<Vec<_>, _>>()?;
        if remotes.is_empty() {
            let hint = "`sweepfs remote add NAME host:path` adds one";
            return Err(CliError::usage("there are no remotes").with_hint(hint));
        }
        let mut exit = Exit::Done;
        for remote in &remotes {
            match self.found(remote) {
                Ok(lines) => {
                    for line in lines {
                        context.term.line(harmless(line))?;
                    }
                }
                Err(error) => {
                    context
                        .term
                        .line(harmless(format!("bad      {}", remote.name)))?;
                    error.report(context.term);
                    exit = Exit::Failed;
                }
            }
        }
        Ok(exit)
    }

    /// Says what is there, line by line.
    fn found(&self, remote: &Remote) -> Result<Vec<String>, CliError> {
        let name = &remote.name;
        if let Address::Here(path) = &remote.address {
            local_side(path, name)?;
            return Ok(vec![format!(
                "good     {name}: a project at `{}`",
                path.display()
            )]);
        }
        let side = remote.connect(self.context)?;
        Ok(described(name, side.root(), &side.facts()?))
    }

    fn root(&self) -> &Path {
        self.local.workspace().project_root()
    }

    fn remote(&self, word: Option<&str>) -> Result<Remote, CliError> {
        Remote::find(self.context, self.root(), &self.config.remotes, word)
    }

    fn text(&self) -> Result<String, CliError> {
        match fsx::read(&self.path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(CliError::failed),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns an absolute path without `..`, which leads to the same place from everywhere.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                // What is above a link is not where it stands.
                normal = fsx::physical(&normal).unwrap_or(normal);
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn described(name: &str, root: &Path, facts: &RemoteFacts) -> Vec<String> {
    let jobs = match facts.n_jobs {
        1 => "1 job".to_owned(),
        n => format!("{n} jobs"),
    };
    let mut lines = vec![format!("good     {name}: {jobs} in `{}`", root.display())];
    let mut add = |verdict: &str, what: String| lines.push(format!("{verdict:<8} {name}: {what}"));
    match facts.rsync.as_str() {
        "" => add("bad", "no rsync there, which moves files".to_owned()),
        version => add("good", format!("rsync {version}")),
    }
    if !facts.is_writable {
        add(
            "limited",
            "it may only be read; `sync --pull` works".to_owned(),
        );
    }
    match facts.sweepfs.as_str() {
        "" => add("good", "no sweepfs there, and none is needed".to_owned()),
        version if facts.is_served => {
            add("good", format!("sweepfs {version}, which lists the files"));
        }
        version => add(
            "good",
            format!("sweepfs {version}, which is of another kind; `find` lists the files"),
        ),
    }
    lines
}

/// Writes a remote as it stands in the settings.
fn table(name: &str, remote: &RemoteConfig) -> String {
    let mut lines = vec![
        format!("[remote.{}]", key(name)),
        format!("url = {}", quoted(&remote.url)),
    ];
    lines.extend(
        remote
            .rsync
            .iter()
            .map(|rsync| format!("rsync = {}", quoted(rsync))),
    );
    if !remote.exclude.is_empty() {
        let patterns: Vec<_> = remote.exclude.iter().map(|glob| quoted(glob)).collect();
        lines.push(format!("exclude = [{}]", patterns.join(", ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Returns a text without the lines of a table, from its header to the next one. Comments and empty
/// lines in front of that belong to what follows. `None` if there is no such header.
fn without_table(text: &str, name: &str) -> Option<String> {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let headers = [
        format!("[remote.{}]", key(name)),
        format!("[remote.{}]", quoted(name)),
        format!("[remote.'{name}']"),
    ];
    let is_own = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        headers
            .iter()
            .any(|header| *header.replace(' ', "") == line)
    };
    let from = lines.iter().position(|line| is_own(line))?;
    let next = lines[from + 1..].iter().position(|line| is_header(line));
    let mut to = next.map_or(lines.len(), |at| from + 1 + at);
    let is_between = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    while next.is_some() && is_between(lines[to - 1]) {
        to -= 1;
    }
    // One gap is enough.
    let is_gap = |at: usize| lines.get(at).is_some_and(|line| line.trim().is_empty());
    let from = if from > 0 && is_gap(from - 1) {
        from - 1
    } else {
        from
    };
    Some([&lines[..from], &lines[to..]].concat().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_same_place_from_everywhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = fsx::physical(dir.path()).expect("there");
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::os::unix::fs::symlink("a/b", root.join("link")).expect("made");
        for (path, expected) in [
            ("./x/../y", "y"),
            ("a/b/../../y", "y"),
            ("link/../y", "a/y"),
            ("link/y", "link/y"),
            ("none/../../y", "../y"),
        ] {
            let expected = match expected.strip_prefix("../") {
                Some(rest) => root.parent().expect("not the root").join(rest),
                None => root.join(expected),
            };
            assert_eq!(normal(&root.join(path)), expected, "{path}");
        }
    }

    #[test]
    fn only_the_lines_of_the_table_go() {
        let text = "# mine\n[label]\na = \"b\"\n\n[remote.gl] # note\nurl = \"x\"\n\n# next\n[remote.b]\nurl = \"y\"\n";
        let left = "# mine\n[label]\na = \"b\"\n\n# next\n[remote.b]\nurl = \"y\"\n";
        assert_eq!(without_table(text, "gl").as_deref(), Some(left));
        let last = without_table(text, "b").expect("there");
        assert!(last.ends_with("url = \"x\"\n\n# next\n"), "{last}");
        assert_eq!(without_table(text, "none"), None);
    }
}
