//! How executions are put into arrays and batch jobs.

use super::bundle::Pilot;
use super::place::Place;
use crate::scheduler::Needs;
use crate::workflow::flow::Flow;
use crate::workflow::resources::Resources;
use crate::workflow::run::{Planned, Prepared};
use std::collections::BTreeMap;
use uuid::Uuid;

/// More of an operation's name is not part of that of a submission.
const NAME_LEN_MAX: usize = 40;

/// Executions of one operation that need the same, and go as one array.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The operation, by its place.
    pub operation: usize,
    /// What each needs.
    pub needs: Needs,
    /// Where they go.
    pub place: Place,
    /// The executions, those of an element next to each other.
    pub planned: Vec<Planned>,
    /// So many executions each element has.
    pub per_element: u32,
    /// Whether an element begins all of them at once.
    pub is_parallel: bool,
    /// Whether they can only be done after others.
    pub is_chained: bool,
    /// The names of batches that are sent before, and must have ended.
    pub after: Vec<String>,
    /// The ids of arrays that must have ended.
    pub after_ids: Vec<String>,
    /// The name of the submission.
    pub name: String,
}

/// How many executions a batch job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// At most so many.
    pub per_element: u32,
    /// Whether they are begun at once, not one after the other.
    pub is_parallel: bool,
    /// Whether they can only be done after others, and so may have no command yet.
    pub is_chained: bool,
}

impl Packing {
    /// Returns what executions need together in a batch job. All but memory and walltime is the
    /// same for each of them.
    fn together(self, all: &[Needs]) -> Needs {
        let first = all
            .first()
            .copied()
            .unwrap_or(Needs::from(Resources::default()));
        if all.len() <= 1 {
            return first;
        }
        let memory = all.iter().map(|needs| needs.memory_bytes);
        let walltimes = all.iter().map(|needs| needs.walltime_s);
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        if !self.is_parallel {
            return Needs {
                memory_bytes: memory.max().flatten(),
                walltime_s: walltimes.reduce(sum).flatten(),
                ..first
            };
        }
        let n = all.len() as u32;
        let is_endless = all.iter().any(|needs| needs.walltime_s.is_none());
        let (processes, threads) = match first.processes {
            // One process is on one node.
            1 => (1, first.threads.saturating_mul(n)),
            processes => (processes.saturating_mul(n), first.threads),
        };
        Needs {
            processes,
            threads,
            gpus: first.gpus.saturating_mul(n),
            memory_bytes: memory.reduce(sum).flatten(),
            walltime_s: walltimes.max().flatten().filter(|_| !is_endless),
        }
    }
}

/// What batch jobs may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchCost {
    /// Hours of cores.
    pub cpu_hours: f64,
    /// Hours of GPUs.
    pub gpu_hours: f64,
    /// How many have no walltime, so that nobody knows.
    pub n_unlimited: usize,
}

impl From<Resources> for Needs {
    fn from(resources: Resources) -> Self {
        Self {
            processes: resources.processes,
            threads: resources.threads,
            gpus: resources.gpus,
            memory_bytes: resources.memory_bytes,
            walltime_s: resources.walltime_s,
        }
    }
}

impl Batch {
    /// Returns what it may use at most.
    pub fn cost(&self) -> BatchCost {
        match self.needs.walltime_s {
            None => BatchCost {
                n_unlimited: self.planned.len(),
                ..BatchCost::default()
            },
            Some(walltime_s) => BatchCost::of(walltime_s, self.n_elements(), &self.place),
        }
    }

    /// Returns how many batch jobs it has.
    pub fn n_elements(&self) -> u32 {
        (self.planned.len() as u32).div_ceil(self.per_element.max(1))
    }
}

impl BatchCost {
    /// Returns what some batch jobs cost if they use all of their time.
    pub fn of(walltime_s: u64, n_elements: u32, place: &Place) -> Self {
        let hours = walltime_s as f64 / 3600.0 * f64::from(n_elements);
        Self {
            cpu_hours: hours * f64::from(place.paid_cores),
            gpu_hours: hours * f64::from(place.paid_gpus),
            n_unlimited: 0,
        }
    }
}

impl std::ops::Add for BatchCost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_hours: self.cpu_hours + other.cpu_hours,
            gpu_hours: self.gpu_hours + other.gpu_hours,
            n_unlimited: self.n_unlimited + other.n_unlimited,
        }
    }
}

/// Sorts executions into arrays of at most so many elements, and packs them. Those whose command or
/// needs cannot be told come with the reason.
pub fn batches(
    flow: &Flow,
    prepared: &[Prepared],
    planned: Vec<Planned>,
    elements_max: u32,
    packing: Packing,
) -> (Vec<Batch>, Vec<(Planned, String)>) {
    // Those of a batch job may differ in memory and walltime only.
    let mut groups: BTreeMap<(usize, Needs), Vec<(Needs, Planned)>> = BTreeMap::new();
    let mut unusable = Vec::new();
    for planned in planned {
        let prepared = &prepared[planned.operation];
        let command = match packing.is_chained {
            true => Ok(()),
            false => prepared.command(flow.workspace(), &planned).map(drop),
        };
        match command.and_then(|()| prepared.resources(flow.workspace(), &planned)) {
            Ok(resources) => {
                let needs = Needs::from(resources);
                let mut alike = needs;
                if packing.per_element > 1 {
                    (alike.memory_bytes, alike.walltime_s) = (None, None);
                }
                let key = (planned.operation, alike);
                groups.entry(key).or_default().push((needs, planned));
            }
            Err(reason) => unusable.push((planned, reason)),
        }
    }
    let mut found = Vec::new();
    for ((operation, _), mut all) in groups {
        all.sort_by_key(|(needs, _)| {
            (
                needs.walltime_s.is_none(),
                needs.walltime_s,
                needs.memory_bytes,
            )
        });
        // Elements of an array need the same, and have as many executions.
        let mut arrays: BTreeMap<(Needs, usize), Vec<Planned>> = BTreeMap::new();
        for element in all.chunks(packing.per_element.max(1) as usize) {
            let (needs, planned): (Vec<_>, Vec<_>) = element.iter().cloned().unzip();
            let key = (packing.together(&needs), planned.len());
            arrays.entry(key).or_default().extend(planned);
        }
        for ((needs, per_element), planned) in arrays {
            for some in planned.chunks(elements_max.max(1) as usize * per_element) {
                found.push(Batch {
                    operation,
                    needs,
                    place: Place::default(),
                    planned: some.to_vec(),
                    per_element: per_element as u32,
                    is_parallel: packing.is_parallel && per_element > 1,
                    is_chained: packing.is_chained,
                    after: Vec::new(),
                    after_ids: Vec::new(),
                    name: new_name(&flow.config().operations[operation].name),
                });
            }
        }
    }
    (found, unusable)
}

/// Returns a name that no other submission has.
fn new_name(operation: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain = operation.chars().map(|c| if is_plain(c) { c } else { '_' });
    let plain: String = plain.take(NAME_LEN_MAX).collect();
    format!("{plain}-{}", &Uuid::new_v4().simple().to_string()[..16])
}

/// Pilots that are to be sent.
#[derive(Clone, Debug)]
pub struct Pilots {
    /// What they do.
    pub pilot: Pilot,
    /// Where they go.
    pub place: Place,
    /// The name of the submission.
    pub name: String,
}

impl Pilots {
    /// They have a name of their own.
    pub fn new(pilot: Pilot) -> Self {
        Self {
            pilot,
            place: Place::default(),
            name: new_name("pilot"),
        }
    }

    /// Returns what each needs: all cores on one node.
    pub fn needs(&self) -> Needs {
        Needs {
            processes: 1,
            threads: self.pilot.cores,
            gpus: self.pilot.gpus,
            memory_bytes: self.pilot.memory_bytes,
            walltime_s: self.pilot.walltime_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(processes: u32, memory_bytes: Option<u64>, walltime_s: Option<u64>) -> Needs {
        Needs {
            processes,
            threads: 2,
            gpus: 1,
            memory_bytes,
            walltime_s,
        }
    }

    #[test]
    fn what_executions_need_together_is_added_up() {
        let in_turn = Packing {
            per_element: 3,
            is_parallel: false,
            is_chained: false,
        };
        let all = [needs(4, Some(10), Some(60)), needs(4, Some(30), Some(90))];
        assert_eq!(in_turn.together(&all), needs(4, Some(30), Some(150)));
        let at_once = Packing {
            is_parallel: true,
            ..in_turn
        };
        let together = at_once.together(&all);
        assert_eq!(
            (together.processes, together.threads, together.gpus),
            (8, 2, 2)
        );
        assert_eq!(
            (together.memory_bytes, together.walltime_s),
            (Some(40), Some(90))
        );
        // Single processes are one with as many cores, which is on one node.
        let single = at_once.together(&[needs(1, None, None), needs(1, None, Some(5))]);
        assert_eq!(
            (single.processes, single.threads, single.cores()),
            (1, 4, 4)
        );
        assert_eq!((single.memory_bytes, single.walltime_s), (None, None));
        assert_eq!(in_turn.together(&all[..1]), all[0]);
    }
}
