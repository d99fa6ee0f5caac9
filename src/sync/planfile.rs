//! Plans in files, from which a user may delete lines.
//!
//! A file only selects: what is done is compared anew, and what is the same as in the file is done.

use super::path::RelPath;
use super::plan::{Line, Plan};
use super::units::{Action, Part, Unit, add_dirs, units};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};

/// The version of the format.
const VERSION: u32 = 1;

/// What a line is called that only tells of what is left.
const CONFLICT: &str = "conflict";

/// The first line of a plan: between what it is, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanHeader {
    sweepfs_sync_plan: u32,
    /// When it was made, for people.
    pub at: String,
    /// The project.
    pub project: String,
    /// What the user calls the other side.
    pub remote: String,
    /// Where that is.
    pub address: String,
    /// The command line.
    pub command: Vec<String>,
    /// How the names of second versions end.
    pub suffix: Option<String>,
}

impl PlanHeader {
    /// Describes a plan that is made at a time, for a project and another side.
    pub fn new(at: String, project: String, (remote, address): (String, String)) -> Self {
        Self {
            sweepfs_sync_plan: VERSION,
            at,
            project,
            remote,
            address,
            command: Vec::new(),
            suffix: None,
        }
    }
}

/// A plan that was read.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// What it is for.
    pub header: PlanHeader,
    actions: Vec<Action>,
}

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// Its first line is not that of a plan.
    #[error("it is no plan of a sync")]
    NoPlan,
    /// Another version of sweepfs has written it.
    #[error("it is a plan of version {0}, and this sweepfs reads version {VERSION}")]
    Version(u64),
    /// A line cannot be read.
    #[error("its line {line} is damaged: {why}")]
    Damaged {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// What came of reducing a plan to what is listed.
#[derive(Clone, Debug, Default)]
pub struct Reduced {
    /// Listed, and not to be done any more as it was planned.
    pub changed: Vec<String>,
    /// So many actions are not listed, and are left alone.
    pub n_unlisted: usize,
}

impl PlanFile {
    /// Reads a plan, all lines of which must be whole.
    ///
    /// # Errors
    ///
    /// Fails with the first line that is not as it was written.
    pub fn parse(text: &str) -> Result<Self, BadPlan> {
        let mut lines = text.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let value: serde_json::Value = serde_json::from_str(first).map_err(|_| BadPlan::NoPlan)?;
        match value["sweepfs_sync_plan"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(BadPlan::Version(version)),
            None => return Err(BadPlan::NoPlan),
        }
        let damaged = |line: usize, why: String| BadPlan::Damaged { line, why };
        let header: PlanHeader =
            serde_json::from_value(value).map_err(|error| damaged(1, error.to_string()))?;
        // It becomes a part of names.
        let is_suffix = |suffix: &String| {
            suffix.starts_with(".conflict-")
                && RelPath::new(suffix.as_bytes()).is_ok()
                && !suffix.contains('/')
        };
        if !header.suffix.iter().all(is_suffix) {
            return Err(damaged(1, "its suffix is none".into()));
        }
        let mut actions = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let action: Action =
                serde_json::from_str(line).map_err(|error| damaged(at + 1, error.to_string()))?;
            actions.push(action);
        }
        Ok(Self { header, actions })
    }

    /// Leaves only that in a plan which is listed, and still the same.
    pub fn reduce(&self, plan: &mut Plan) -> Reduced {
        let units = units(plan);
        let listed: HashSet<_> = self.actions.iter().collect();
        let (chosen, others): (Vec<_>, Vec<_>) =
            units.iter().partition(|unit| listed.contains(&unit.action));
        let known: HashSet<_> = chosen.iter().map(|unit| &unit.action).collect();
        let is_lost = |action: &&Action| action.action != CONFLICT && !known.contains(action);
        let changed = self.actions.iter().filter(is_lost).map(ToString::to_string);
        let mut parts: BTreeSet<Part> = chosen.iter().flat_map(|unit| unit.parts.clone()).collect();
        add_dirs(plan, &mut parts);
        let is_left = |unit: &&&Unit| !unit.parts.iter().all(|part| parts.contains(part));
        let reduced = Reduced {
            changed: changed.collect(),
            n_unlisted: others.iter().filter(is_left).count(),
        };
        plan.keep(&parts);
        reduced
    }
}

/// Writes a plan.
pub fn write_plan(header: &PlanHeader, plan: &Plan) -> String {
    let mut lines = vec![serde_json::to_string(header)];
    let units = units(plan).into_iter().map(|unit| unit.action);
    let conflicts = plan.conflicts.iter().map(|conflict| {
        let line = Line {
            key: conflict.key.clone(),
            reason: Some(conflict.reason.clone()),
            ..Line::of(CONFLICT, None, &conflict.place)
        };
        Action::new(line, None, None, None)
    });
    let mut actions: Vec<_> = units.chain(conflicts).collect();
    actions.sort_by(|a, b| (&a.job, &a.path, &a.to, &a.key).cmp(&(&b.job, &b.path, &b.to, &b.key)));
    lines.extend(actions.iter().map(serde_json::to_string));
    let lines = lines.into_iter().map(Result::unwrap_or_default);
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_plan_is_refused() {
        let header = PlanHeader::new("now".into(), "/p".into(), ("hal".into(), "hal:p".into()));
        let whole = write_plan(&header, &Plan::default());
        assert_eq!(PlanFile::parse(&whole).map(|file| file.header), Ok(header));
        for at in 0..whole.len() - 1 {
            assert_eq!(PlanFile::parse(&whole[..at]).err(), Some(BadPlan::NoPlan));
        }
        let parse = |text: String| PlanFile::parse(&text).err();
        let newer = whole.replace("_plan\":1", "_plan\":2");
        assert_eq!(parse(newer), Some(BadPlan::Version(2)));
        let line = r#"{"action":"new","to":"local","path":"a","bytes":1}"#;
        assert_eq!(parse(format!("{whole}{line}\n\n{line}")), None);
        for bad in [&line[..9], "x", r#"{"action":"new","odd":1}"#] {
            let error = parse(format!("{whole}{line}\n{bad}\n"));
            assert!(
                matches!(error, Some(BadPlan::Damaged { line: 3, .. })),
                "{bad}"
            );
        }
        let suffix = whole.replace("\"suffix\":null", "\"suffix\":\".conflict-/../x\"");
        assert!(matches!(
            parse(suffix),
            Some(BadPlan::Damaged { line: 1, .. })
        ));
    }
}
