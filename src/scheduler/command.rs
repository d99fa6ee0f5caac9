//! Running the commands of a scheduler, none of which may hang us or speak another language.

use super::Trouble;
use crate::exec::{self, ExecError, Finished};
use crate::report::{harmless, with_causes};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// A question that takes longer has hung; a controller that is gone takes about that long to notice.
const ASKING_MAX: Duration = Duration::from_secs(30);

/// A change is given more time.
pub(super) const CHANGING_MAX: Duration = Duration::from_secs(120);

/// More of what a command says is not repeated.
const MESSAGE_LEN_MAX: usize = 300;

/// How the commands of a scheduler are run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commands {
    /// Variables that are set, or with `None` unset, since users change with them what the commands
    /// print or ask for.
    pub(super) env: &'static [(&'static str, Option<&'static str>)],
}

impl Commands {
    /// Asks, which takes 30 s at most.
    pub(super) fn ask<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
    ) -> Result<Finished, ExecError> {
        self.run(program, args, ASKING_MAX)
    }

    /// Changes something, which takes two minutes at most.
    pub(super) fn change<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
    ) -> Result<Finished, ExecError> {
        self.run(program, args, CHANGING_MAX)
    }

    fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
        limit: Duration,
    ) -> Result<Finished, ExecError> {
        let env = [&[("LC_ALL", Some("C"))], self.env].concat();
        run(program, args, &env, limit)
    }

    /// Runs the command that submits a script. It may hand our environment to the batch jobs, so
    /// the language stays that of the user.
    pub(super) fn submit(&self, command: &[OsString]) -> Result<Finished, Trouble> {
        self.submit_without(command, &[])
    }

    /// Runs it without some more variables.
    pub(super) fn submit_without(
        &self,
        command: &[OsString],
        variables: &[String],
    ) -> Result<Finished, Trouble> {
        let Some((program, args)) = command.split_first() else {
            return Err(Trouble("there is no command".to_owned()));
        };
        let program = program.to_string_lossy();
        let unset = variables.iter().map(|name| (name.as_str(), None));
        let env: Vec<_> = self.env.iter().copied().chain(unset).collect();
        succeeded(&program, run(&program, args, &env, CHANGING_MAX))
    }
}

fn run<S: AsRef<OsStr>>(
    program: &str,
    args: &[S],
    env: &[(&str, Option<&str>)],
    limit: Duration,
) -> Result<Finished, ExecError> {
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    exec::run_with(Path::new(program), &args, env, limit)
}

/// Returns what a program said, if it ended well.
pub(super) fn succeeded(
    program: &str,
    finished: Result<Finished, ExecError>,
) -> Result<Finished, Trouble> {
    let finished = finished.map_err(|error| Trouble(with_causes(&error)))?;
    if finished.success {
        return Ok(finished);
    }
    Err(refused(program, &finished))
}

/// Repeats what a program said that did not end well.
pub(super) fn refused(program: &str, finished: &Finished) -> Trouble {
    let said = match finished.stderr.trim() {
        "" => finished.stdout.trim(),
        said => said,
    };
    let lines: Vec<_> = said.lines().collect();
    let said = harmless(lines.join("; "));
    let said: String = said.chars().take(MESSAGE_LEN_MAX).collect();
    Trouble(format!("`{program}` failed: {said}"))
}

/// Says that a program named no batch job.
pub(super) fn names_nothing(program: &str, finished: &Finished) -> Trouble {
    let said = harmless(finished.stdout.trim());
    let said: String = said.chars().take(MESSAGE_LEN_MAX).collect();
    Trouble(format!("`{program}` names no batch job: {said}"))
}

/// Returns the ids of those elements of some arrays that have not ended, where elements are listed
/// by name, id, and whether they have ended. An array of which none is listed stands by its name.
pub(super) fn open_elements<'a>(
    arrays: &[String],
    listed: impl Iterator<Item = (&'a str, &'a str, bool)>,
) -> Vec<String> {
    let mut unlisted: BTreeSet<&str> = arrays.iter().map(String::as_str).collect();
    let named = unlisted.clone();
    let mut ids = Vec::new();
    for (name, id, has_ended) in listed {
        let array = name.rsplit_once('.').map(|(array, _)| array);
        let Some(array) = array.filter(|array| named.contains(array)) else {
            continue;
        };
        unlisted.remove(array);
        ids.extend((!has_ended).then(|| id.to_owned()));
    }
    ids.extend(unlisted.into_iter().map(ToOwned::to_owned));
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_have_ended_are_left_out() {
        let listed = [
            ("fly-1.0", "f1", true),
            ("fly-1.1", "f2", false),
            ("fly-2.0", "f3", true),
            ("fly-9.0", "f4", false),
            ("other", "f5", false),
        ];
        let arrays = ["fly-1", "fly-2", "fly-3"].map(str::to_owned);
        let open = open_elements(&arrays, listed.into_iter());
        assert_eq!(open, ["f2", "fly-3"]);
    }
}
