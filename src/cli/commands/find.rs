//! `sweepfs find`

use crate::catalog::{Column, Facts, FactsError, KeyName};
use crate::cli::args::{FindArgs, OrderArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::{Selection, unknown_keys};
use crate::pyjson::{Object, Value, py_repr};
use crate::statepoint::{JobId, Key};
use crate::workspace::Workspace;
use roaring::RoaringBitmap;

pub(in crate::cli) fn run(context: &Context<'_>, args: &FindArgs) -> Result<Exit, CliError> {
    let selection = Selection::new(context, &args.selection, &args.terms, &[])?;
    let workspace = context.workspace()?;
    if args.count {
        let found = context.ask(&workspace, &selection, |_, jobs| Ok(jobs.len()))?;
        let limit = args.order.limit.map_or(u64::MAX, |limit| limit as u64);
        context.term.line(found.answer.min(limit))?;
        return Ok(found.exit);
    }
    let found = context.ask(&workspace, &selection, |facts, jobs| {
        let sort = args.order.sort.iter().map(|key| KeyName::parse(key));
        let unknown = unknown_keys(facts, sort, jobs)?;
        Ok((ordered_ids(facts, jobs, &args.order)?, unknown))
    })?;
    let (ids, unknown) = found.answer;
    unknown.iter().for_each(|unknown| unknown.warn(context));
    let printed = context.for_each_job(&ids, |id| Ok(Some(shown(&workspace, id, args)?)))?;
    Ok(if printed == Exit::Done {
        found.exit
    } else {
        printed
    })
}

fn ordered_ids(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    order: &OrderArgs,
) -> Result<Vec<JobId>, FactsError> {
    let wanted = order.limit.unwrap_or(usize::MAX);
    if order.sort.is_none() && !order.reverse {
        return facts.ids(&jobs.iter().take(wanted).collect());
    }
    let ids = facts.ids(jobs)?;
    let sorting = match &order.sort {
        None => None,
        Some(key) => {
            let name = KeyName::parse(key);
            Some(facts.column(name.space, &name.key, jobs)?)
        }
    };
    let rows = order.rows(ids.len(), sorting.as_ref());
    Ok(rows.into_iter().map(|row| ids[row]).collect())
}

impl OrderArgs {
    /// Returns the numbers of the rows in order; those without a value come last either way.
    pub(super) fn rows(&self, n: usize, sorting: Option<&Column>) -> Vec<usize> {
        let mut rows: Vec<_> = (0..n).collect();
        match sorting {
            None if self.reverse => rows.reverse(),
            None => {}
            Some(column) => {
                let n_values = column.values().len();
                rows.sort_by_key(|&row| match column.rank(row) {
                    rank if self.reverse && rank < n_values => n_values - rank,
                    rank => rank,
                });
            }
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        rows
    }
}

fn shown(workspace: &Workspace, id: &JobId, args: &FindArgs) -> Result<String, CliError> {
    let statepoint = match &args.sp {
        Some(keys) => Some(only(workspace.statepoint(id)?.into_object(), keys)),
        None if args.json => Some(workspace.statepoint(id)?.into_object()),
        None => None,
    };
    let document = match &args.doc {
        Some(keys) => Some(only(workspace.document(id)?, keys)),
        None => None,
    };
    if args.json {
        let member = |name, object: Option<Object>| {
            let text = object.map(|object| format!(", \"{name}\": {}", object.dumps()));
            text.unwrap_or_default()
        };
        let members = member("statepoint", statepoint) + &member("document", document);
        return Ok(format!("{{\"id\": \"{id}\"{members}}}"));
    }
    let objects = [statepoint, document].into_iter().flatten();
    Ok(objects.fold(id.to_string(), |text, object| {
        format!("{text}\n{}", py_repr(&Value::Object(object)))
    }))
}

/// Leaves of an object only some keys, which may be dotted; all if none are named.
fn only(object: Object, keys: &[String]) -> Object {
    if keys.is_empty() {
        return object;
    }
    let mut rest = Object::new();
    for key in keys {
        if let Some(value) = Key::parse(key).get(&object) {
            rest.insert(key.as_str().into(), value.clone());
        }
    }
    rest
}
