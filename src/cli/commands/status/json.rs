//! The status for programs.

use super::details::Details;
use super::look::SHOWN;
use super::{Plan, Seen};
use crate::catalog::JobIdx;
use crate::pyjson::{Object, Value};
use crate::workflow::{FlowState, OperationStatus, Status, UnitIdx, Units};
use roaring::RoaringBitmap;

/// Returns the whole as one line of JSON.
pub(super) fn of(plan: &Plan<'_>, seen: &Seen) -> String {
    let (status, details) = (&seen.status, seen.details.as_ref());
    let labels = status.labels.iter().map(|(name, jobs)| {
        let mut label = vec![("name", text(name)), ("jobs", number(jobs.len()))];
        if let Some(details) = details {
            label.push(("ids", details.ids(jobs.iter())));
        }
        object(label)
    });
    let numbered = status.operations.iter().enumerate();
    let operations = numbered.map(|(i, operation)| {
        let mut members = members(plan, operation);
        if let Some(details) = details {
            members.push(("aggregates", details.aggregates(plan, status, i)));
        }
        object(members)
    });
    let mut whole = vec![
        ("jobs", number(status.jobs.len())),
        ("labels", Value::List(labels.collect())),
        ("operations", Value::List(operations.collect())),
    ];
    whole.extend(super::elsewhere::json(plan, seen));
    let whole = object(whole);
    crate::pyjson::dumps(&whole)
}

fn members(plan: &Plan<'_>, operation: &OperationStatus) -> Vec<(&'static str, Value)> {
    let name = plan.name(operation);
    let groups = plan.config.workflow.groups.iter();
    let groups = groups.filter(|(_, members)| members.iter().any(|member| member == name));
    let n = |state: FlowState| (state.name(), number(operation.states.of(state).len()));
    let of = match operation.units {
        Units::Jobs(_) => "jobs",
        Units::Aggregates(_) => "aggregates",
    };
    vec![
        ("name", text(name)),
        (
            "groups",
            Value::List(groups.map(|(group, _)| text(group)).collect()),
        ),
        ("of", text(of)),
        ("total", number(operation.len())),
        ("states", object(SHOWN.map(n))),
    ]
}

impl Details {
    fn ids(&self, jobs: impl Iterator<Item = JobIdx>) -> Value {
        Value::List(jobs.map(|job| text(&self.id(job))).collect())
    }

    /// Lists the aggregates of an operation that were asked for.
    fn aggregates(&self, plan: &Plan<'_>, status: &Status, i: usize) -> Value {
        let operation = &status.operations[i];
        let limit = plan.args.limit.unwrap_or(usize::MAX);
        let aggregate = |unit: UnitIdx| {
            let state = operation.states.state(unit).filter(|s| plan.is_asked(*s))?;
            let (id, jobs, place) = match &operation.units {
                Units::Jobs(_) => (self.id(unit), vec![unit], self.place(unit)),
                Units::Aggregates(aggregates) => {
                    let aggregate = &aggregates[unit as usize];
                    let place = self.common_of(i)[unit as usize].as_str();
                    (aggregate.id.clone(), aggregate.jobs.clone(), place)
                }
            };
            let mut members = vec![
                ("id", text(&id)),
                ("state", text(state.name())),
                ("place", text(place)),
                ("jobs", self.ids(jobs.into_iter())),
            ];
            if let Some(cluster) = self.cluster(operation, unit) {
                members.push(("cluster", text(cluster)));
            }
            if matches!(operation.units, Units::Jobs(_)) && plan.args.parameters.is_some() {
                members.push(("parameters", self.parameters_of(&status.jobs, unit)));
            }
            Some(object(members))
        };
        let units: Vec<UnitIdx> = match &operation.units {
            Units::Jobs(_) => self.jobs.clone(),
            Units::Aggregates(aggregates) => (0..aggregates.len() as UnitIdx).collect(),
        };
        Value::List(
            units
                .into_iter()
                .filter_map(aggregate)
                .take(limit)
                .collect(),
        )
    }

    fn parameters_of(&self, jobs: &RoaringBitmap, job: JobIdx) -> Value {
        let row = jobs.rank(job) as usize - 1;
        let mut values = Object::new();
        for named in &self.parameters {
            if let Some(value) = named.column.get(row) {
                values.insert(named.name.as_str().into(), value.clone());
            }
        }
        Value::Object(values)
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn number(n: u64) -> Value {
    Value::from(n as i64)
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.insert(name.into(), value);
    }
    Value::Object(object)
}
