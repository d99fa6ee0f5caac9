//! Sending executions to a scheduler.

use super::bundle::{Bundle, BundleExecution, logs_path, script_path};
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
    /// The executions.
    pub planned: Vec<Planned>,
    /// The name of the submission.
    pub name: String,
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
        let n = self.planned.len();
        let Some(walltime_s) = self.needs.walltime_s else {
            return BatchCost {
                n_unlimited: n,
                ..BatchCost::default()
            };
        };
        let hours = walltime_s as f64 / 3600.0 * n as f64;
        BatchCost {
            cpu_hours: hours * f64::from(self.place.paid_cores),
            gpu_hours: hours * f64::from(self.place.paid_gpus),
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

/// Sorts executions into arrays of at most so many elements. Those whose command or needs cannot be
/// told come with the reason.
pub fn batches(
    flow: &Flow,
    prepared: &[Prepared],
    planned: Vec<Planned>,
    elements_max: u32,
) -> (Vec<Batch>, Vec<(Planned, String)>) {
    let mut groups: BTreeMap<(usize, Needs), Vec<Planned>> = BTreeMap::new();
    let mut unusable = Vec::new();
    for planned in planned {
        let prepared = &prepared[planned.operation];
        let command = prepared.command(flow.workspace(), &planned);
        match command.and_then(|_| prepared.resources(flow.workspace(), &planned)) {
            Ok(resources) => {
                let key = (planned.operation, Needs::from(resources));
                groups.entry(key).or_default().push(planned);
            }
            Err(reason) => unusable.push((planned, reason)),
        }
    }
    let mut found = Vec::new();
    for ((operation, needs), all) in groups {
        for some in all.chunks(elements_max.max(1) as usize) {
            found.push(Batch {
                operation,
                needs,
                place: Place::default(),
                planned: some.to_vec(),
                name: new_name(&flow.config().operations[operation].name),
            });
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
    /// Returns the script of a batch, and the command that submits it.
    ///
    /// # Errors
    ///
    /// Fails if something cannot stand in a script.
    pub fn script(&self, batch: &Batch) -> Result<(String, Vec<OsString>), SendError> {
        let (config, scheduler) = (&self.cluster.config, self.cluster.scheduler.as_ref());
        let order = Order {
            name: &batch.name,
            n_elements: batch.planned.len() as u32,
            at_once: self.at_once,
            needs: batch.needs,
            account: self.account.or(config.account.as_deref()),
            partition: batch.place.partition.as_deref(),
            nodes: batch.place.nodes,
            options: &config.options,
            after: &[],
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
            &script_path(workspace, &batch.name),
            Path::new(self.project),
            &logs_path(workspace, &batch.name),
        );
        Ok((script, command))
    }

    /// Sends a batch: notes what is to be sent, claims each execution, submits the script, and
    /// records the id. If it is interrupted anywhere, the note tells the next command what to do.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not take it.
    pub fn send(&self, batch: &Batch) -> Result<Sent, SendError> {
        let workspace = self.flow.workspace();
        let mut bundle = self.bundle(batch);
        self.script(batch)?;
        // Who cannot ask could not find out later either what has become of it.
        self.cluster
            .scheduler
            .find(&batch.name)
            .map_err(SendError::Refused)?;
        bundle.create(workspace)?;
        let (claimed, warnings) = self.claim(batch);
        let n_taken = batch.planned.len() - claimed.len() - warnings.len();
        let mut sent = Sent {
            id: None,
            n_sent: claimed.len(),
            n_taken,
            warnings,
        };
        let is_claimed = |element: &u32| claimed.contains(element);
        let executions = (0..).zip(std::mem::take(&mut bundle.executions));
        let claimed_only = executions.filter(|(element, _)| is_claimed(element));
        bundle.executions = claimed_only.map(|(_, execution)| execution).collect();
        let executions = bundle.executions.clone();
        let noted = Bundle::update(workspace, &batch.name, |note| note.executions = executions);
        if claimed.is_empty() {
            return noted.map(|()| sent).map_err(SendError::Note);
        }
        let planned = (0..)
            .zip(&batch.planned)
            .filter(|(element, _)| is_claimed(element));
        let batch = Batch {
            planned: planned.map(|(_, planned)| planned.clone()).collect(),
            ..batch.clone()
        };
        let submitted = noted
            .map_err(SendError::Note)
            .and_then(|()| self.submit(&batch));
        let id = match submitted {
            Err(error @ SendError::Unclear(_)) => return Err(error),
            Err(error) => {
                // Should that fail, too, the next command does it.
                let _ = withdraw(workspace, &bundle, "not submitted");
                return Err(error);
            }
            Ok(id) => id,
        };
        forget_answer(workspace, self.cluster.name());
        let id = self.cluster.scheduler.array_id(&id);
        sent.warnings
            .extend(record_id(workspace, &bundle, &id).err());
        sent.id = Some(id.id);
        Ok(sent)
    }

    fn bundle(&self, batch: &Batch) -> Bundle {
        let machine = Machine::this();
        let process = machine.process(std::process::id() as i32);
        let executions = batch.planned.iter().map(|planned| BundleExecution {
            id: planned.id.clone(),
            jobs: planned.jobs.iter().map(ToString::to_string).collect(),
        });
        Bundle {
            name: batch.name.clone(),
            cluster: self.cluster.name().to_owned(),
            operation: self.flow.config().operations[batch.operation].name.clone(),
            id: None,
            is_recorded: false,
            submitted: now(),
            submitter: (process.host, process.pid, process.start),
            executions: executions.collect(),
            per_element: 1,
            closed: BTreeSet::new(),
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
    fn submit(&self, batch: &Batch) -> Result<String, SendError> {
        let workspace = self.flow.workspace();
        let (script, command) = self.script(batch)?;
        fsx::create_dir_all(&logs_path(workspace, &batch.name))?;
        let path = script_path(workspace, &batch.name);
        fsx::write_atomic(&path, script.as_bytes(), Durability::Process)?;
        let scheduler = &self.cluster.scheduler;
        scheduler.submit(&command).or_else(|trouble| {
            // It may have been taken all the same.
            match scheduler.find(&batch.name) {
                Ok(Some(id)) => Ok(id),
                Ok(None) => Err(SendError::Refused(trouble)),
                Err(_) => Err(SendError::Unclear(trouble)),
            }
        })
    }
}
