//! Sending executions to a scheduler.

use super::bundle::{Bundle, BundleExecution, logs_path, script_path};
use super::cluster::Cluster;
use super::follow::{forget_answer, record_id, withdraw};
use super::packing::{Batch, Pilots};
use crate::exec::Machine;
use crate::fsx::{self, Durability, FsError};
use crate::report::with_causes;
use crate::scheduler::{Needs, Order, Seen, Trouble, script};
use crate::template::TemplateError;
use crate::workflow::flow::Flow;
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::run::Planned;
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

    /// Returns those of some arrays of ours that have not ended, by their ids; some schedulers refuse
    /// what waits for one that they have forgotten.
    fn unended(&self, ids: &[String]) -> Vec<String> {
        if ids.is_empty() {
            return Vec::new();
        }
        let (notes, _) = Bundle::all(self.flow.workspace());
        let of_cluster = notes
            .iter()
            .filter(|note| note.cluster == self.cluster.name());
        let arrays = of_cluster.filter_map(Bundle::array);
        let arrays: Vec<_> = arrays.filter(|array| ids.contains(&array.id.id)).collect();
        if arrays.is_empty() {
            return Vec::new();
        }
        let (states, _) = self.cluster.scheduler.poll(&arrays);
        let goes_on = |id: &String| !matches!(states.get(id), Some(Seen::Ended(..) | Seen::Gone));
        let open = arrays.into_iter();
        let open = open.filter(|array| array.element_ids().any(|id| goes_on(&id)));
        open.map(|array| array.id.id).collect()
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
            .and_then(|()| self.script(&batch, &self.unended(after)))
            .and_then(|script| self.submit(&batch.name, script));
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
