//! Which jobs a command is about: `-f`, `-j`, and ids on standard input.

use super::context::{Context, now, read_stdin};
use super::error::{CliError, Exit};
use crate::catalog::{Facts, FactsError, JobIdx, KeyName, Reader, Store};
use crate::filter::{Field, Filter, Space, nearest};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::{Workspace, WorkspaceError};
use clap::Args as ClapArgs;
use roaring::RoaringBitmap;

const HEADING: &str = "Selecting jobs";

/// The options that select jobs.
#[derive(Debug, Default, ClapArgs)]
pub(super) struct SelectionArgs {
    /// Only jobs that satisfy a filter (`sweepfs help filters`); takes all up to the next option.
    #[arg(short = 'f', long = "filter", value_name = "FILTER", num_args = 1.., help_heading = HEADING)]
    pub(super) filter: Vec<String>,
    /// Only these jobs, by the beginning of their ids; `-` reads ids from standard input.
    #[arg(short = 'j', long = "job-id", value_name = "ID", num_args = 1.., help_heading = HEADING)]
    pub(super) job_ids: Vec<String>,
}

impl SelectionArgs {
    /// Tells whether nothing is left out.
    pub(super) fn is_empty(&self) -> bool {
        self.filter.is_empty() && self.job_ids.is_empty()
    }
}

/// Jobs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Selection {
    filter: Filter,
    /// `None` is all jobs.
    names: Option<Vec<String>>,
}

impl Selection {
    /// Reads the options, and the filter and names that a command takes without an option.
    pub(super) fn new(
        context: &Context<'_>,
        args: &SelectionArgs,
        filter: &[String],
        names: &[String],
    ) -> Result<Self, CliError> {
        let by_option = parse_filter(context, &args.filter)?;
        let names: Vec<_> = args.job_ids.iter().chain(names).cloned().collect();
        Ok(Self {
            filter: parse_filter(context, filter)?.and(by_option),
            names: if names.is_empty() {
                None
            } else {
                Some(with_stdin(&names)?)
            },
        })
    }
}

impl SelectionArgs {
    /// Returns what is asked for: the filter, and beginnings of ids, if there are any.
    pub(super) fn parts(
        &self,
        context: &Context<'_>,
    ) -> Result<(Filter, Option<Vec<String>>), CliError> {
        let names = match self.job_ids.is_empty() {
            true => None,
            false => Some(with_stdin(&self.job_ids)?),
        };
        Ok((parse_filter(context, &self.filter)?, names))
    }
}

impl Selection {
    /// Selects by a filter only.
    pub(super) fn of_filter(filter: Filter) -> Self {
        Self {
            filter,
            names: None,
        }
    }

    /// Leaves only jobs that satisfy a filter too.
    pub(super) fn narrowed(self, filter: Filter) -> Self {
        Self {
            filter: self.filter.and(filter),
            ..self
        }
    }
}

fn parse_filter(context: &Context<'_>, args: &[String]) -> Result<Filter, CliError> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let filter = Filter::parse_args(&args)?;
    for note in filter.notes() {
        context.term.note(note);
    }
    Ok(filter)
}

/// Puts the ids on standard input in place of `-`.
fn with_stdin(names: &[String]) -> Result<Vec<String>, CliError> {
    let stdin = if names.iter().any(|name| name == "-") {
        read_stdin()?
    } else {
        String::new()
    };
    let given = names.iter().flat_map(|name| match name.as_str() {
        "-" => stdin.split_whitespace().collect(),
        name => vec![name],
    });
    Ok(given.map(ToOwned::to_owned).collect())
}

/// What came of a question about selected jobs.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) answer: T,
    /// [`Exit::Partial`] if jobs had to be left out, which were named.
    pub(super) exit: Exit,
}

impl Context<'_> {
    /// Asks a question about the selected jobs. It may be asked twice.
    pub(super) fn ask<T>(
        &self,
        workspace: &Workspace,
        selection: &Selection,
        question: impl Fn(&Facts<'_>, &RoaringBitmap) -> Result<T, FactsError>,
    ) -> Result<Answer<T>, CliError> {
        self.ask_of(&mut self.reader(workspace)?, selection, question)
    }

    /// Asks a question about the selected jobs of a catalog that is open.
    pub(super) fn ask_of<T>(
        &self,
        reader: &mut Reader,
        selection: &Selection,
        question: impl Fn(&Facts<'_>, &RoaringBitmap) -> Result<T, FactsError>,
    ) -> Result<Answer<T>, CliError> {
        let observer = self.term.progress();
        let asked = reader.ask(&observer, |facts| {
            let named = Named::find(facts, selection.names.as_deref())?;
            let selected = facts.select(&selection.filter, &named.jobs)?;
            let unknown = unknown_keys(facts, statepoint_keys(&selection.filter), &facts.all())?;
            Ok((named.trouble, unknown, question(facts, &selected)?))
        })?;
        let (trouble, unknown, answer) = asked;
        let problems = reader.problems();
        report_trouble(trouble, &problems)?;
        unknown.iter().for_each(|unknown| unknown.warn(self));
        Ok(Answer {
            answer,
            exit: self.report_problems(&problems),
        })
    }

    /// Opens the catalog.
    pub(super) fn reader(&self, workspace: &Workspace) -> Result<Reader, CliError> {
        let observer = self.term.progress();
        Ok(Reader::open(
            workspace,
            self.store(workspace),
            now(),
            &observer,
        )?)
    }

    /// Returns where the catalog is kept.
    pub(super) fn store(&self, workspace: &Workspace) -> Store {
        Store::new(workspace, self.cache_dir().as_deref())
    }

    /// Returns the ids of the jobs that are named, in the order given, or else of those selected.
    /// The jobs that are named may be damaged, and without a filter need no catalog.
    pub(super) fn job_list(
        &self,
        workspace: &Workspace,
        args: &SelectionArgs,
        names: &[String],
    ) -> Result<(Vec<JobId>, Exit), CliError> {
        if args.filter.is_empty() && !(names.is_empty() && args.job_ids.is_empty()) {
            let names: Vec<_> = args.job_ids.iter().chain(names).cloned().collect();
            return Ok((
                self.resolve_jobs(workspace, &with_stdin(&names)?)?,
                Exit::Done,
            ));
        }
        let selection = Selection::new(self, args, &[], names)?;
        let found = self.ask(workspace, &selection, |facts, jobs| facts.ids(jobs))?;
        Ok((found.answer, found.exit))
    }

    /// Resolves ids and beginnings of ids to ids, in the order given.
    fn resolve_jobs(
        &self,
        workspace: &Workspace,
        names: &[String],
    ) -> Result<Vec<JobId>, CliError> {
        let exists = |id: &JobId| workspace.job_dir(id).is_dir();
        let full = names.iter().map(|name| name.parse().ok().filter(exists));
        if let Some(ids) = full.collect::<Option<Vec<_>>>() {
            return Ok(ids);
        }
        let mut reader = self.reader(workspace)?;
        let resolved = reader.ask(&self.term.progress(), |facts| {
            names
                .iter()
                .map(|name| Resolved::find(facts, name))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let problems = reader.problems();
        let id = |(name, resolved): (&String, Resolved)| match resolved {
            Resolved::Job(_, id) => Ok(id),
            Resolved::Other(others) => damaged_id(name, &others, &problems),
        };
        names.iter().zip(resolved).map(id).collect()
    }
}

/// At most so many ids are shown of those that a name may mean.
const EXAMPLES_MAX: usize = 4;

/// What a name of a job leads to.
enum Resolved {
    Job(JobIdx, JobId),
    Other(Others),
}

/// Several jobs that a name may mean, or none.
#[derive(Debug)]
struct Others {
    n: usize,
    examples: Vec<JobId>,
}

impl Others {
    const NONE: Self = Self {
        n: 0,
        examples: Vec::new(),
    };
}

impl Resolved {
    fn find(facts: &Facts<'_>, name: &str) -> Result<Self, FactsError> {
        let range = facts.find_prefix(name)?.unwrap_or_default();
        let examples = facts.ids(&range.clone().take(EXAMPLES_MAX).collect())?;
        Ok(match examples[..] {
            [id] => Self::Job(range.start, id),
            _ => Self::Other(Others {
                n: range.len(),
                examples,
            }),
        })
    }
}

/// Finds the one damaged job that a name means, which no sound job is.
fn damaged_id(name: &str, others: &Others, problems: &[Problem]) -> Result<JobId, CliError> {
    let damaged = problems
        .iter()
        .filter(|problem| problem.subject.starts_with(name));
    let mut ids: Vec<JobId> = damaged
        .filter_map(|problem| problem.subject.parse().ok())
        .collect();
    ids.dedup();
    let n_matches = ids.len() + others.n;
    match (n_matches, ids.first()) {
        (1, Some(id)) => Ok(*id),
        (0, _) => Err(WorkspaceError::NoSuchJob(name.to_owned()).into()),
        _ => {
            ids.extend(&others.examples);
            ids.truncate(EXAMPLES_MAX);
            Err(WorkspaceError::Ambiguous {
                prefix: name.to_owned(),
                n_matches,
                examples: ids,
            }
            .into())
        }
    }
}

/// The jobs that were named, and the names that are not those of sound jobs.
struct Named {
    jobs: RoaringBitmap,
    trouble: Vec<(String, Others)>,
}

impl Named {
    fn find(facts: &Facts<'_>, names: Option<&[String]>) -> Result<Self, FactsError> {
        let Some(names) = names else {
            return Ok(Self {
                jobs: facts.all(),
                trouble: Vec::new(),
            });
        };
        let (mut jobs, mut trouble) = (RoaringBitmap::new(), Vec::new());
        let mut names: Vec<_> = names.iter().collect();
        names.sort();
        names.dedup();
        let is_full = |name: &&String| name.parse::<JobId>().is_ok();
        let (full, short): (Vec<_>, Vec<_>) = names.into_iter().partition(is_full);
        let ids: Vec<JobId> = full.iter().filter_map(|name| name.parse().ok()).collect();
        for (name, position) in full.into_iter().zip(facts.positions(&ids)?) {
            match position {
                Some(job) => drop(jobs.insert(job)),
                None => trouble.push((name.clone(), Others::NONE)),
            }
        }
        for name in short {
            match Resolved::find(facts, name)? {
                Resolved::Job(job, _) => drop(jobs.insert(job)),
                Resolved::Other(others) => trouble.push((name.clone(), others)),
            }
        }
        Ok(Self { jobs, trouble })
    }
}

/// Fails for a name that is no job's. A damaged job that was named is a problem that is reported
/// anyway.
fn report_trouble(trouble: Vec<(String, Others)>, problems: &[Problem]) -> Result<(), CliError> {
    let check = |(name, others): (String, Others)| damaged_id(&name, &others, problems);
    trouble
        .into_iter()
        .try_for_each(|named| check(named).map(drop))
}

/// A key that was named and that no job has.
pub(super) struct UnknownKey {
    name: KeyName,
    nearest: Option<String>,
}

/// Finds the keys that none of some jobs has, but not for want of jobs.
pub(super) fn unknown_keys(
    facts: &Facts<'_>,
    names: impl IntoIterator<Item = KeyName>,
    jobs: &RoaringBitmap,
) -> Result<Vec<UnknownKey>, FactsError> {
    let mut unknown = Vec::new();
    if jobs.is_empty() {
        return Ok(unknown);
    }
    for name in names {
        let known = facts.keys(name.space, jobs)?;
        if known.binary_search(&name.key).is_err() {
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            let nearest = nearest(&name.key.to_string(), known.iter().map(String::as_str));
            let nearest = nearest.map(ToOwned::to_owned);
            unknown.push(UnknownKey { name, nearest });
        }
    }
    Ok(unknown)
}

/// Returns the keys of the state point that a filter tests. Those of documents may appear at any
/// time, and documents are read only as far as needed.
fn statepoint_keys(filter: &Filter) -> Vec<KeyName> {
    let fields = filter.fields().into_iter();
    let statepoint = fields.filter(|field| field.space == Space::StatePoint);
    let name = |field: Field| {
        Some(KeyName {
            space: field.space,
            key: field.key?,
        })
    };
    statepoint.filter_map(name).collect()
}

impl UnknownKey {
    pub(super) fn warn(&self, context: &Context<'_>) {
        context
            .term
            .warn(format_args!("no job has the key `{}`", self.name));
        if let Some(nearest) = &self.nearest {
            context.term.hint(format_args!("did you mean `{nearest}`?"));
        }
    }
}
