//! The queue on disk: a directory for each array.
//!
//! ```text
//! lock        of those who add an array, or decide whether a worker is needed
//! worker      is locked by the worker as long as it lives
//! bell        a pipe, through which the worker is told what has changed
//! next        the id of the next array
//! live/ID.NAME/array.json, script, env, journal
//! done/ID.NAME/…          arrays that have ended
//! ```

use super::bell;
use super::journal::{Event, Progress};
use super::request::{Amount, Request};
use crate::exec::{self, ExecError};
use crate::fsx::{self, Durability, FsError, Lock};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Of the arrays that have ended, those are remembered that ended less than this before the last
/// one did.
const REMEMBERED_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// No more elements of them are remembered.
const REMEMBERED_ELEMENTS: u64 = 100_000;

const LIVE: &str = "live";
const DONE: &str = "done";
const ARRAY: &str = "array.json";
const SCRIPT: &str = "script";
const ENV: &str = "env";
const JOURNAL: &str = "journal";

/// How the name of an array begins that is not complete yet.
const NEW_PREFIX: &str = ".new-";

/// Something about the queue that went wrong.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A process.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Something asked for that cannot be had.
    #[error("{0}")]
    Refused(String),
    /// A file with contents that are not ours.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a queue's batch jobs may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Cores; `None` is all.
    pub cores: Option<u32>,
    /// Memory; `None` is all.
    pub memory_bytes: Option<u64>,
    /// GPUs; `None` is as many as NVIDIA's driver knows, and any number where there is none.
    pub gpus: Option<u32>,
}

/// Where the batch jobs of a submission run, and with what.
#[derive(Debug)]
pub struct Submission {
    /// The script.
    pub script: PathBuf,
    /// Where it runs.
    pub dir: PathBuf,
    /// The file that an element prints to: `%a` is its number, `%A` that of the array, `%%` is `%`.
    pub output: PathBuf,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// What all that run may use together when one of its elements begins.
    pub limits: Limits,
}

/// An array, as it stands in its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) request: Request,
    pub(super) limits: Amount,
    pub(super) dir: PathBuf,
    pub(super) output: PathBuf,
    pub(super) umask: u32,
}

/// The queue of one user on one machine.
#[derive(Clone, Debug)]
pub struct Queue {
    dir: PathBuf,
}

/// An array's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) dir: PathBuf,
}

impl Place {
    fn of(parent: &Path, file_name: &OsStr) -> Option<Self> {
        let (id, name) = file_name.to_str()?.split_once('.')?;
        Some(Self {
            id: id.parse().ok()?,
            name: name.to_owned(),
            dir: parent.join(file_name),
        })
    }

    pub(super) fn script(&self) -> PathBuf {
        self.dir.join(SCRIPT)
    }

    /// Reads what was asked for.
    pub(super) fn spec(&self) -> Result<Spec, QueueError> {
        let path = self.dir.join(ARRAY);
        let bytes = fsx::read(&path)?;
        serde_json::from_slice(&bytes).map_err(|error| QueueError::Damaged {
            path,
            reason: error.to_string(),
        })
    }

    /// Reads the environment.
    pub(super) fn env(&self) -> Result<Vec<(OsString, OsString)>, QueueError> {
        let bytes = fsx::read(&self.dir.join(ENV))?;
        let pairs = bytes.split(|b| *b == 0).filter_map(|pair| {
            let at = pair.iter().skip(1).position(|b| *b == b'=')? + 1;
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Some((text(&pair[..at]), text(&pair[at + 1..])))
        });
        Ok(pairs.collect())
    }

    /// Notes something that has happened.
    pub(super) fn note(&self, event: &Event) -> Result<(), QueueError> {
        Ok(fsx::append(&self.dir.join(JOURNAL), &event.line())?)
    }

    /// Takes in what has happened since.
    pub(super) fn follow(&self, progress: &mut Progress) -> Result<(), QueueError> {
        let path = self.dir.join(JOURNAL);
        if fsx::stamp(&path)?.size_bytes > progress.size_bytes() {
            progress.read(&fsx::read_from(&path, progress.size_bytes())?);
        }
        Ok(())
    }

    /// Reads all.
    pub(super) fn load(&self) -> Result<(Spec, Progress), QueueError> {
        let spec = self.spec()?;
        let mut progress = Progress::new(spec.request.n_elements, spec.request.is_held);
        self.follow(&mut progress)?;
        Ok((spec, progress))
    }
}

impl Queue {
    /// The queue of this machine, whose name is part of its path since several machines may share a
    /// home directory. Nothing need be there.
    pub fn below(state_dir: &Path) -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().replace('/', "_");
        Self::at(state_dir.join("queue").join(host))
    }

    /// The queue in a directory.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The queue of another machine that has the same home directory.
    pub(super) fn of_host(&self, host: &str) -> Self {
        Self::at(self.dir.with_file_name(host))
    }

    /// Returns the name of its machine.
    pub(super) fn host(&self) -> &str {
        self.dir
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
    }

    /// Returns what an array is called: by its number, and the machine, since others may look at the
    /// same project.
    pub(super) fn name_of(&self, id: u64) -> String {
        format!("{id}.{}", self.host())
    }

    /// Returns its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes its directories, which only the user may enter.
    pub(super) fn create(&self) -> Result<(), QueueError> {
        for dir in [&self.dir, &self.dir.join(LIVE), &self.dir.join(DONE)] {
            fsx::create_private_dir_all(dir)?;
        }
        Ok(())
    }

    /// Tells whether it is there.
    pub(super) fn exists(&self) -> bool {
        self.dir.join(LIVE).exists()
    }

    /// Waits for the lock of those who add an array, or decide whether a worker is needed.
    pub(super) fn lock(&self) -> Result<Lock, QueueError> {
        Ok(Lock::acquire(&self.dir.join("lock"))?)
    }

    /// Becomes the worker, unless there is one. Who asks holds [`Self::lock`].
    pub(super) fn try_lock_worker(&self) -> Result<Option<Lock>, QueueError> {
        let path = self.dir.join("worker");
        match Lock::try_acquire(&path) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let path = path.display();
                Err(QueueError::Refused(format!(
                    "`{path}` is on a file system without locks, on which there can be no queue; \
                     XDG_STATE_HOME names another directory"
                )))
            }
            tried => Ok(tried?),
        }
    }

    pub(super) fn bell(&self) -> PathBuf {
        self.dir.join("bell")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("worker.log")
    }

    /// Returns the arrays that have not ended, in the order of submission.
    pub(super) fn live(&self) -> Result<Vec<Place>, QueueError> {
        let dir = self.dir.join(LIVE);
        let mut places = Vec::new();
        match fsx::for_each_entry(&dir, |entry| places.extend(Place::of(&dir, entry.name))) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            listed => listed?,
        }
        places.sort_by_key(|place| place.id);
        Ok(places)
    }

    /// Returns an array that has not ended.
    pub(super) fn live_array(&self, file_name: &OsStr) -> Option<Place> {
        Place::of(&self.dir.join(LIVE), file_name)
    }

    /// Returns where an array is when it has ended.
    pub(super) fn done_array(&self, file_name: &OsStr) -> Option<Place> {
        Place::of(&self.dir.join(DONE), file_name)
    }

    /// Returns the id of the array of that name.
    pub(super) fn find(&self, name: &str) -> Result<Option<u64>, QueueError> {
        let of_name = |place: &Place| place.name == name;
        // In this order, since arrays go from one to the other.
        if let Some(place) = self.live()?.into_iter().find(of_name) {
            return Ok(Some(place.id));
        }
        Ok(self.done()?.into_iter().find(of_name).map(|place| place.id))
    }

    fn done(&self) -> Result<Vec<Place>, QueueError> {
        let dir = self.dir.join(DONE);
        let mut places = Vec::new();
        match fsx::for_each_entry(&dir, |entry| places.extend(Place::of(&dir, entry.name))) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            listed => listed?,
        }
        Ok(places)
    }

    /// Puts an array away of which all elements have ended.
    pub(super) fn put_away(&self, place: &Place) -> Result<(), QueueError> {
        let name = place.dir.file_name().unwrap_or_default();
        Ok(fsx::rename(&place.dir, &self.dir.join(DONE).join(name))?)
    }

    /// Forgets arrays that ended long ago, and what was never submitted wholly. Who asks holds
    /// [`Self::lock`].
    pub(super) fn prune(&self) -> Result<(), QueueError> {
        let live = self.dir.join(LIVE);
        let mut abandoned = Vec::new();
        fsx::for_each_entry(&live, |entry| {
            let is_new = entry.name.as_bytes().starts_with(NEW_PREFIX.as_bytes());
            abandoned.extend(is_new.then(|| live.join(entry.name)));
        })?;
        for dir in abandoned {
            fsx::remove_dir_all(&dir)?;
        }
        let ended =
            |place: &Place| fsx::stamp(&place.dir.join(JOURNAL)).map_or(0, |stamp| stamp.modified);
        let mut done: Vec<_> = self.done()?.into_iter().map(|p| (ended(&p), p)).collect();
        done.sort_by_key(|(ended, place)| std::cmp::Reverse((*ended, place.id)));
        let last = done.first().map_or(0, |(ended, _)| *ended);
        let mut n_elements = 0;
        for (ended, place) in done {
            let n = place.spec().map_or(0, |spec| spec.request.n_elements);
            n_elements += u64::from(n);
            if last - ended > REMEMBERED_NS || n_elements > REMEMBERED_ELEMENTS {
                fsx::remove_dir_all(&place.dir)?;
            }
        }
        Ok(())
    }

    /// Adds an array, and sees to it that a worker knows. Returns what it is called.
    ///
    /// # Errors
    ///
    /// Fails if the script asks for something that cannot be had, or the queue cannot be written.
    pub fn submit(&self, submission: &Submission, program: &Path) -> Result<String, QueueError> {
        let script = fsx::read(&submission.script)?;
        let refused = |reason| {
            let script = submission.script.display();
            QueueError::Refused(format!("`{script}` is refused: {reason}"))
        };
        let request = Request::parse(&String::from_utf8_lossy(&script), self.host());
        let request = request.map_err(refused)?;
        let limits = submission.limits.of_machine();
        check(&request, limits).map_err(refused)?;
        self.create()?;
        let lock = self.lock()?;
        // A file system without locks cannot hold a queue.
        drop(self.try_lock_worker()?);
        let id = self.next_id()?;
        if let Some(after) = request.after.iter().find(|after| **after >= id) {
            return Err(refused(format!("there is no array {after} to wait for")));
        }
        let spec = Spec {
            request,
            limits,
            dir: submission.dir.clone(),
            output: submission.output.clone(),
            umask: umask(),
        };
        let spec_bytes = serde_json::to_vec(&spec)
            .map_err(|error| QueueError::Refused(format!("a path is not UTF-8 text: {error}")))?;
        let live = self.dir.join(LIVE);
        let new = live.join(format!("{NEW_PREFIX}{id}"));
        let _ = fsx::remove_dir_all(&new);
        fsx::create_private_dir_all(&new)?;
        fsx::write_private(&new.join(SCRIPT), &script)?;
        fsx::write_private(&new.join(ENV), &env_bytes(&submission.env))?;
        fsx::write_private(&new.join(JOURNAL), b"")?;
        fsx::write_private(&new.join(ARRAY), &spec_bytes)?;
        let next = (id + 1).to_string();
        fsx::write_atomic(&self.dir.join("next"), next.as_bytes(), Durability::Power)?;
        let name = format!("{id}.{}", spec.request.name);
        fsx::rename(&new, &live.join(name))?;
        drop(lock);
        self.wake(program, &[id])?;
        Ok(self.name_of(id))
    }

    fn next_id(&self) -> Result<u64, QueueError> {
        let path = self.dir.join("next");
        match fsx::read(&path) {
            Ok(bytes) => {
                let number = String::from_utf8_lossy(&bytes).trim().parse();
                number.map_err(|_| QueueError::Damaged {
                    path,
                    reason: "it is no number".to_owned(),
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(1),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the worker that something has happened to these arrays, and starts one if there is
    /// none.
    pub(super) fn wake(&self, program: &Path, ids: &[u64]) -> Result<(), QueueError> {
        bell::ring(&self.bell(), ids);
        let _lock = self.lock()?;
        if self.try_lock_worker()?.is_some() {
            let args = ["--io-threads", "1", "local-queue", "work"].map(OsStr::new);
            let args = [&args[..], &[self.dir.as_os_str()]].concat();
            let log = fsx::open_log(&self.log())?;
            drop(exec::start_daemon(program, &args, &[], log)?);
        }
        Ok(())
    }
}

impl Limits {
    /// Returns what there is where nothing is said.
    fn of_machine(self) -> Amount {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let gpus = self.gpus.or_else(n_gpus);
        Amount([
            self.cores.map_or_else(cores, u64::from),
            self.memory_bytes.unwrap_or_else(memory_bytes),
            gpus.map_or(u64::MAX, u64::from),
        ])
    }
}

/// Refuses what could never begin.
fn check(request: &Request, limits: Amount) -> Result<(), String> {
    let (needs, limits) = (request.needs.0, limits.0);
    let mib = |bytes: u64| format!("{} MiB of memory", bytes.div_ceil(1 << 20));
    let texts = |amount: [u64; 3]| {
        let [cores, memory, gpus] = amount;
        [
            format!("{cores} cores"),
            mib(memory),
            format!("{gpus} GPUs"),
        ]
    };
    let too_much = (0..needs.len()).find(|i| needs[*i] > limits[*i]);
    too_much.map_or(Ok(()), |i| {
        let (needs, limits) = (&texts(needs)[i], &texts(limits)[i]);
        Err(format!(
            "a batch job needs {needs}, and on this machine may use {limits}"
        ))
    })
}

fn env_bytes(env: &[(OsString, OsString)]) -> Vec<u8> {
    let pair = |(name, value): &(OsString, OsString)| {
        [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat()
    };
    env.iter().flat_map(pair).collect()
}

/// Returns the mask of permissions of new files.
fn umask() -> u32 {
    const USUAL: u32 = 0o022;
    let status = fsx::read(Path::new("/proc/self/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(USUAL)
}

/// Returns the memory of this machine.
fn memory_bytes() -> u64 {
    let info = fsx::read(Path::new("/proc/meminfo")).unwrap_or_default();
    let info = String::from_utf8_lossy(&info);
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// Returns how many GPUs NVIDIA's driver knows; `None` if it is not there.
fn n_gpus() -> Option<u32> {
    let mut n = 0;
    fsx::for_each_entry(Path::new("/proc/driver/nvidia/gpus"), |_| n += 1).ok()?;
    Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    /// An array that ended so long ago.
    fn add_ended(queue: &Queue, id: u64, n_elements: u32, ago: Duration) {
        let place = queue
            .done_array(OsStr::new(&format!("{id}.x")))
            .expect("a name");
        fs::create_dir(&place.dir).expect("made");
        let request = Request::parse(&format!("#SWEEPFS --elements={n_elements}\n"), "host");
        let spec = Spec {
            request: request.expect("understood"),
            limits: Amount::default(),
            dir: PathBuf::new(),
            output: PathBuf::new(),
            umask: 0,
        };
        let spec = serde_json::to_vec(&spec).expect("written");
        fs::write(place.dir.join(ARRAY), spec).expect("written");
        let journal = File::create(place.dir.join(JOURNAL)).expect("made");
        let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) - ago;
        journal.set_modified(ended).expect("set");
    }

    #[test]
    fn what_ended_long_ago_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let queue = Queue::at(dir.path().join("queue"));
        queue.create().expect("made");
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (id, n_elements, ago) in [
            (1, 1, hours(8 * 24)),
            (2, 10, hours(5)),
            (3, 10_000, hours(4)),
            (4, 1, hours(0)),
        ] {
            add_ended(&queue, id, n_elements, ago);
        }
        for id in 10..19 {
            add_ended(&queue, id, 10_000, hours(3));
        }
        fs::create_dir(dir.path().join("queue/live/.new-9")).expect("made");
        queue.prune().expect("pruned");
        let mut left: Vec<_> = queue.done().expect("listed").iter().map(|p| p.id).collect();
        left.sort_unstable();
        // With the fourth, nine times ten thousand; the third would be too many.
        assert_eq!(left, [4, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
        assert_eq!(
            fs::read_dir(dir.path().join("queue/live"))
                .expect("read")
                .count(),
            0
        );
        assert_eq!(
            queue.find("x").map(|found| found.is_some()).ok(),
            Some(true)
        );
    }

    #[test]
    fn the_environment_is_kept_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let pair = |name: &[u8], value: &[u8]| {
            (
                OsString::from_vec(name.to_vec()),
                OsString::from_vec(value.to_vec()),
            )
        };
        let env = [
            pair(b"A", b""),
            pair(b"B", b"x=y\n\xff"),
            pair(b"=C", b"odd"),
            pair(b"BASH_FUNC_f%%", b"() { :; }"),
        ];
        let place = Place {
            id: 1,
            name: "x".to_owned(),
            dir: dir.path().to_owned(),
        };
        fs::write(dir.path().join(ENV), env_bytes(&env)).expect("written");
        assert_eq!(place.env().expect("read"), env);
    }
}
