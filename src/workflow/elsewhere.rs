//! What other machines and clusters are doing, as far as it is known here.

use super::batch::Bundle;
use super::flow::Flow;
use super::ledger;
use super::record::{Record, Stage};
use super::state::FlowState;
use super::status::Status;
use super::units::{UnitIdx, Units};
use crate::catalog::{Facts, FactsError};
use crate::exec::Machine;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Executions of an operation that are queued or running somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    /// The place of the operation among all.
    pub operation: usize,
    /// The cluster, or else the machine.
    pub cluster: String,
    /// How far they are.
    pub state: FlowState,
    /// The places of the jobs or aggregates among those of the operation.
    pub units: Vec<UnitIdx>,
}

impl Flow {
    /// Returns what of a status is going on elsewhere: neither on this machine nor submitted from
    /// this copy of the project.
    pub fn elsewhere(
        &self,
        facts: &Facts<'_>,
        status: &Status,
    ) -> Result<Vec<Elsewhere>, FactsError> {
        let mut found = Vec::new();
        // Both cost something, and are rarely needed.
        let is_active = |state: &FlowState| matches!(state, FlowState::Queued | FlowState::Running);
        let mut states = status
            .operations
            .iter()
            .flat_map(|o| o.states.states.keys());
        if !states.any(is_active) {
            return Ok(found);
        }
        let machine = Machine::this();
        let (bundles, _) = Bundle::all(self.workspace());
        let own: BTreeSet<_> = bundles.into_iter().map(|bundle| bundle.name).collect();
        for operation in &status.operations {
            let name = &self.config().operations[operation.place].name;
            for state in [FlowState::Running, FlowState::Queued] {
                let units = operation.states.of(state);
                let ids: Vec<_> = match &operation.units {
                    Units::Jobs(_) => facts.ids(&units)?.iter().map(ToString::to_string).collect(),
                    Units::Aggregates(all) => units
                        .iter()
                        .map(|unit| all[unit as usize].id.clone())
                        .collect(),
                };
                let place = |id: &String| {
                    let sidecar = ledger::read(self.workspace(), id).ok()??;
                    cluster_elsewhere(sidecar.records.get(name)?, &machine, &own)
                };
                let places: Vec<_> = ids.par_iter().map(place).collect();
                let mut clusters: BTreeMap<String, Vec<UnitIdx>> = BTreeMap::new();
                for (unit, place) in units.iter().zip(places) {
                    if let Some(cluster) = place {
                        clusters.entry(cluster).or_default().push(unit);
                    }
                }
                found.extend(clusters.into_iter().map(|(cluster, units)| Elsewhere {
                    operation: operation.place,
                    cluster,
                    state,
                    units,
                }));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Returns where an execution is, if that is elsewhere.
fn cluster_elsewhere(record: &Record, machine: &Machine, own: &BTreeSet<String>) -> Option<String> {
    let is_active = matches!(record.state, Stage::Queued | Stage::Running);
    let is_own = record
        .submission
        .as_ref()
        .is_some_and(|name| own.contains(name));
    let is_here = record.host.as_deref() == Some(machine.host());
    if !is_active || is_own || is_here {
        return None;
    }
    // A queue that is part of each machine does not tell one from another.
    let named = record.cluster.as_deref().filter(|name| *name != "local");
    let place = named
        .or(record.host.as_deref())
        .or(record.cluster.as_deref());
    place.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_as_well_as_they_are_known() {
        let machine = Machine::this();
        let own = BTreeSet::from(["s-1".to_owned()]);
        let record =
            |state, cluster: Option<&str>, host: Option<&str>, submission: Option<&str>| {
                let mut record = Record::next(None, state);
                record.cluster = cluster.map(str::to_owned);
                record.host = host.map(str::to_owned);
                record.submission = submission.map(str::to_owned);
                cluster_elsewhere(&record, &machine, &own)
            };
        let here = machine.host();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            record(Stage::Queued, Some("gl"), None, Some("s-2")),
            some("gl")
        );
        assert_eq!(record(Stage::Queued, Some("gl"), None, Some("s-1")), None);
        assert_eq!(
            record(Stage::Running, Some("gl"), Some("gl3021"), None),
            some("gl")
        );
        assert_eq!(
            record(Stage::Running, None, Some("desk"), None),
            some("desk")
        );
        assert_eq!(
            record(Stage::Running, Some("local"), Some("desk"), None),
            some("desk")
        );
        assert_eq!(record(Stage::Running, None, Some(here), None), None);
        assert_eq!(record(Stage::Completed, Some("gl"), None, None), None);
    }
}
