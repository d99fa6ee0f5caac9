//! Sending executions to a scheduler.

use super::bundle::{Bundle, BundleExecution, Pilot, logs_path, script_path};
use super::cluster::Cluster;
use super::follow::{forget_answer, record_id, withdraw};
use super::place::Place;
use crate::exec::Machine;
use crate::fsx::{self, Durability, FsError};
use crate::report::with_causes;
use crate::scheduler::{Needs, Order, Trouble, script};
use crate::template::TemplateError;
use crate::workflow::flow::Flow;
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::resources::Resources;
use crate::workflow::run::{Planned, Prepared};
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
}

impl Packing {
    /// Each execution has its own batch job.
    pub const NONE: Self = Self {
        per_element: 1,
        is_parallel: false,
    };

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
        let command = prepared.command(flow.workspace(), &planned);
        match command.and_then(|_| prepared.resources(flow.workspace(), &planned)) {
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
                    is_chained: false,
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

/// What came of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What the scheduler calls the array; `None` if there was nothing left to send.
    pub id: Option<String>,
    /// How many executions were sent.
    pub n_sent: usize,
    /// How many another process had begun or sent meanwhile.
    pub n_taken: usize,
    /// What went wrong besides.
    pub warnings: Vec<String>,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The script cannot be written.
    #[error("the script cannot be made: {0}")]
    Script(TemplateError),
    /// The project's own template has a mistake.
    #[error("`{}` is no template for scripts: {cause}", path.display())]
    OwnScript {
        /// The template.
        path: PathBuf,
        /// What is wrong.
        cause: TemplateError,
    },
    /// Something in the project cannot be written.
    #[error("the submission cannot be noted: {0}")]
    Note(String),
    /// The scheduler refused it, and the executions were given back.
    #[error("nothing was submitted: {0}")]
    Refused(Trouble),
    /// It may have been sent or not.
    #[error("it is not known whether the submission was taken: {0}")]
    Unclear(Trouble),
}

impl From<FsError> for SendError {
    fn from(error: FsError) -> Self {
        Self::Note(with_causes(&error))
    }
}

/// Sends executions to a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Submitter<'a> {
    /// The workflow.
    pub flow: &'a Flow,
    /// Where to.
    pub cluster: &'a Cluster,
    /// Who pays, if it is not who the cluster's description says.
    pub account: Option<&'a str>,
    /// So many of an array run at a time.
    pub at_once: Option<u32>,
    /// Whether they wait until they are released.
    pub is_held: bool,
    /// This program, as batch jobs will find it.
    pub program: &'a str,
    /// The project's directory, as text.
    pub project: &'a str,
}

impl Submitter<'_> {
    /// Returns the script of a batch, and the command that submits it. It begins when the arrays of
    /// these ids have ended.
    ///
    /// # Errors
    ///
    /// Fails if something cannot stand in a script.
    pub fn script(
        &self,
        batch: &Batch,
        after: &[String],
    ) -> Result<(String, Vec<OsString>), SendError> {
        // Processes of several executions would else be on any nodes.
        let is_on_one = batch.is_parallel && batch.needs.processes > 1;
        self.script_of(&Sending {
            name: &batch.name,
            n_elements: batch.n_elements(),
            needs: batch.needs,
            partition: batch.place.partition.as_deref(),
            nodes: if is_on_one {
                Some(1)
            } else {
                batch.place.nodes
            },
            after,
        })
    }

    /// Returns the script of pilots, and the command that submits it.
    ///
    /// # Errors
    ///
    /// Fails if something cannot stand in a script.
    pub fn pilot_script(&self, pilots: &Pilots) -> Result<(String, Vec<OsString>), SendError> {
        self.script_of(&Sending {
            name: &pilots.name,
            n_elements: pilots.pilot.n,
            needs: pilots.needs(),
            partition: pilots.place.partition.as_deref(),
            nodes: pilots.place.nodes,
            after: &[],
        })
    }

    fn script_of(&self, sending: &Sending<'_>) -> Result<(String, Vec<OsString>), SendError> {
        let (config, scheduler) = (&self.cluster.config, self.cluster.scheduler.as_ref());
        let order = Order {
            name: sending.name,
            n_elements: sending.n_elements,
            at_once: self.at_once,
            needs: sending.needs,
            account: self.account.or(config.account.as_deref()),
            partition: sending.partition,
            nodes: sending.nodes,
            options: &config.options,
            after: sending.after,
            is_held: self.is_held,
            setup: config.setup.as_deref().unwrap_or_default(),
            program: self.program,
            project: self.project,
        };
        let own = self.cluster.template.as_ref();
        let script = script(scheduler, &order, own.map(|(_, text)| text.as_str()));
        let script = script.map_err(|error| match own {
            Some((path, _)) => SendError::OwnScript {
                path: path.clone(),
                cause: error,
            },
            None => SendError::Script(error),
        })?;
        let workspace = self.flow.workspace();
        let command = scheduler.command(
            &script_path(workspace, sending.name),
            Path::new(self.project),
            &logs_path(workspace, sending.name),
        );
        Ok((script, command))
    }

    /// Sends a batch after arrays of these ids: notes what is to be sent, claims each execution,
    /// submits the script, and records the id. If it is interrupted anywhere, the note tells the next
    /// command what to do.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not take it.
    pub fn send(&self, batch: &Batch, after: &[String]) -> Result<Sent, SendError> {
        let workspace = self.flow.workspace();
        let mut bundle = self.bundle(batch);
        self.script(batch, after)?;
        self.check_answers(&batch.name)?;
        bundle.create(workspace)?;
        let (claimed, warnings) = self.claim(batch);
        let n_taken = batch.planned.len() - claimed.len() - warnings.len();
        let mut sent = Sent {
            id: None,
            n_sent: claimed.len(),
            n_taken,
            warnings,
        };
        // Elements that have nothing left to do are not sent.
        let per_element = batch.per_element.max(1) as usize;
        let (mut kept, mut closed) = (Vec::new(), BTreeSet::new());
        for (element, some) in (0..).zip(batch.planned.chunks(per_element)) {
            let numbers = element * per_element as u32..;
            let ours: Vec<_> = numbers
                .zip(some)
                .map(|(number, _)| claimed.contains(&number))
                .collect();
            if ours.contains(&true) {
                for (planned, is_ours) in some.iter().zip(ours) {
                    if !is_ours {
                        closed.insert(kept.len() as u32);
                    }
                    kept.push(planned.clone());
                }
            }
        }
        let batch = Batch {
            planned: kept,
            ..batch.clone()
        };
        bundle.executions = executions(&batch);
        bundle.closed = closed;
        let left = bundle.clone();
        let noted = Bundle::update(workspace, &batch.name, |note| *note = left);
        if claimed.is_empty() {
            return noted.map(|()| sent).map_err(SendError::Note);
        }
        let submitted = noted
            .map_err(SendError::Note)
            .and_then(|()| self.submit(&batch.name, self.script(&batch, after)?));
        let (id, warning) = self.sent(&bundle, submitted)?;
        sent.warnings.extend(warning);
        sent.id = Some(id);
        Ok(sent)
    }

    /// Sends pilots, in the same order of steps.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not take them.
    pub fn send_pilots(&self, pilots: &Pilots) -> Result<Sent, SendError> {
        let script = self.pilot_script(pilots)?;
        self.check_answers(&pilots.name)?;
        let bundle = Bundle {
            pilot: Some(pilots.pilot.clone()),
            ..self.note(&pilots.name, "pilot")
        };
        bundle.create(self.flow.workspace())?;
        let submitted = self.submit(&pilots.name, script);
        let (id, warning) = self.sent(&bundle, submitted)?;
        Ok(Sent {
            id: Some(id),
            n_sent: pilots.pilot.n as usize,
            n_taken: 0,
            warnings: warning.into_iter().collect(),
        })
    }

    /// Who cannot ask now could not find out later either what has become of a submission.
    fn check_answers(&self, name: &str) -> Result<(), SendError> {
        let found = self.cluster.scheduler.find(name);
        found.map(drop).map_err(SendError::Refused)
    }

    /// Records what came of a submission: returns the id of the array, and what went wrong besides.
    fn sent(
        &self,
        bundle: &Bundle,
        submitted: Result<String, SendError>,
    ) -> Result<(String, Option<String>), SendError> {
        let workspace = self.flow.workspace();
        let id = match submitted {
            Err(error @ SendError::Unclear(_)) => return Err(error),
            Err(error) => {
                // Should that fail, too, the next command does it.
                let _ = withdraw(workspace, bundle, "not submitted");
                return Err(error);
            }
            Ok(id) => id,
        };
        forget_answer(workspace, self.cluster.name());
        let id = self.cluster.scheduler.array_id(&id);
        let warning = record_id(workspace, bundle, &id).err();
        Ok((id.id, warning))
    }

    /// A note of a submission that has nothing yet.
    fn note(&self, name: &str, operation: &str) -> Bundle {
        let machine = Machine::this();
        let process = machine.process(std::process::id() as i32);
        Bundle {
            name: name.to_owned(),
            cluster: self.cluster.name().to_owned(),
            operation: operation.to_owned(),
            id: None,
            is_recorded: false,
            submitted: now(),
            submitter: (process.host, process.pid, process.start),
            executions: Vec::new(),
            per_element: 1,
            is_parallel: false,
            is_chained: false,
            pilot: None,
            closed: BTreeSet::new(),
        }
    }

    fn bundle(&self, batch: &Batch) -> Bundle {
        let operation = &self.flow.config().operations[batch.operation].name;
        Bundle {
            executions: executions(batch),
            per_element: batch.per_element,
            is_parallel: batch.is_parallel,
            is_chained: batch.is_chained,
            ..self.note(&batch.name, operation)
        }
    }

    /// Records that executions are queued, unless another process was first. Returns the places of
    /// those that are ours, and what went wrong.
    fn claim(&self, batch: &Batch) -> (BTreeSet<u32>, Vec<String>) {
        let operation = &self.flow.config().operations[batch.operation].name;
        let (mut claimed, mut warnings) = (BTreeSet::new(), Vec::new());
        for (element, planned) in (0..).zip(&batch.planned) {
            let ledger = Ledger::open(self.flow.workspace(), &planned.id);
            let ours = ledger.and_then(|ledger| {
                ledger.update(|sidecar| {
                    let previous = sidecar.records.get(operation);
                    if previous.map(Summary::of) != planned.before {
                        return Ok::<_, SidecarError>(false);
                    }
                    let record = Record {
                        cluster: Some(self.cluster.name().to_owned()),
                        submission: Some(batch.name.clone()),
                        submitted: Some(now()),
                        ..Record::next(previous, Stage::Queued)
                    };
                    sidecar.records.insert(operation.clone(), record);
                    Ok(true)
                })
            });
            match ours {
                Ok(true) => drop(claimed.insert(element)),
                Ok(false) => {}
                Err(error) => warnings.push(format!("{}: {}", planned.id, with_causes(&error))),
            }
        }
        (claimed, warnings)
    }

    /// Writes the script and submits it; returns the id of the array.
    fn submit(
        &self,
        name: &str,
        (script, command): (String, Vec<OsString>),
    ) -> Result<String, SendError> {
        let workspace = self.flow.workspace();
        fsx::create_dir_all(&logs_path(workspace, name))?;
        let path = script_path(workspace, name);
        fsx::write_atomic(&path, script.as_bytes(), Durability::Process)?;
        let scheduler = &self.cluster.scheduler;
        scheduler.submit(&command).or_else(|trouble| {
            // It may have been taken all the same.
            match scheduler.find(name) {
                Ok(Some(id)) => Ok(id),
                Ok(None) => Err(SendError::Refused(trouble)),
                Err(_) => Err(SendError::Unclear(trouble)),
            }
        })
    }
}

/// What a script is made of.
struct Sending<'a> {
    name: &'a str,
    n_elements: u32,
    needs: Needs,
    partition: Option<&'a str>,
    nodes: Option<u32>,
    after: &'a [String],
}

fn executions(batch: &Batch) -> Vec<BundleExecution> {
    let execution = |planned: &Planned| BundleExecution {
        id: planned.id.clone(),
        jobs: planned.jobs.iter().map(ToString::to_string).collect(),
    };
    batch.planned.iter().map(execution).collect()
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
