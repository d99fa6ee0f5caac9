//! `sweepfs next`

use crate::catalog::FactsError;
use crate::cli::args::NextArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::operations::operation_named;
use crate::cli::selection::Selection;
use crate::workflow::{FlowState, UnitIdx, Units};

pub(in crate::cli) fn run(context: &Context<'_>, args: &NextArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let Loaded {
        workspace, flow, ..
    } = project;
    let operation = operation_named(flow.config(), &args.operation)?;
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    context.follow(&workspace, &clusters);
    let found = context.ask(&workspace, &selection, |facts, jobs| {
        let evaluation = flow.evaluation(facts)?;
        let units = evaluation.units(operation)?;
        let states = evaluation.states(operation, &units.with_all(jobs))?;
        let eligible = states.of(FlowState::Eligible);
        let chosen = eligible.iter().take(args.limit.unwrap_or(usize::MAX));
        let lines: Vec<String> = match units {
            Units::Jobs(_) => {
                let ids = facts.ids(&chosen.collect())?;
                ids.iter().map(ToString::to_string).collect()
            }
            Units::Aggregates(aggregates) => {
                let line = |unit: UnitIdx| {
                    if !args.jobs {
                        return Ok(aggregates[unit as usize].id.clone());
                    }
                    let ids = units.ids(unit, facts)?;
                    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
                    Ok(ids.join(" "))
                };
                chosen.map(line).collect::<Result<_, FactsError>>()?
            }
        };
        Ok((lines, evaluation.problems()))
    })?;
    let (lines, problems) = found.answer;
    lines.iter().try_for_each(|line| context.term.line(line))?;
    Ok(found.exit.or(context.report_problems(&problems)))
}
