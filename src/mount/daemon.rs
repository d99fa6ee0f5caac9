//! Mounting, in the foreground or in a process of its own.

use super::activity::Activity;
use super::adapter::Adapter;
use super::answers::Answers;
use super::fs::ViewFs;
use super::mountpoint::{self, Made};
use super::redirect::{self, Redirect};
use super::refresh::{Refresher, expire};
use super::registry::{MountRecord, Registry, process_start};
use super::watchdog::{Guard, WatchdogOptions};
use super::{FS_NAME, MountError, Served, Shown, host, preflight, table};
use crate::catalog::{Catalog, Store};
use crate::config::{PROJECT_FILE, ProjectConfig};
use crate::exec;
use crate::fsx;
use crate::report::{Event, Observer, with_causes};
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

/// What to mount, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountOptions {
    /// The project's directory, absolute.
    #[serde(with = "super::path_text")]
    pub project: PathBuf,
    /// The directory the links lead into, absolute.
    #[serde(with = "super::path_text")]
    pub workspace: PathBuf,
    /// Where to mount, from [`super::resolve_mountpoint`].
    #[serde(with = "super::path_text")]
    pub mountpoint: PathBuf,
    /// Directory of the registry.
    #[serde(with = "super::path_text")]
    pub state_dir: PathBuf,
    /// Where the daemon and the watchdog log.
    #[serde(with = "super::path_text")]
    pub log: PathBuf,
    /// This program, to be run as daemon and watchdog.
    #[serde(with = "super::path_text")]
    pub program: PathBuf,
    /// Directory for mounts in place of those that root may not enter.
    #[serde(with = "super::path_text")]
    pub runtime_dir: PathBuf,
    /// How often to check a workspace that no watch covers, in milliseconds.
    pub refresh_ms: u64,
    /// Unmount when nobody has used it for that long, in milliseconds.
    pub idle_ms: Option<u64>,
    /// Let other users in.
    pub allow_other: bool,
    /// What is shown, and how.
    pub shown: Shown,
    /// Threads that read state points.
    pub io_threads: Option<usize>,
    /// Stay when the terminal goes.
    pub ignore_hangup: bool,
}

/// The jobs of a project, and where they are kept.
pub type Loaded = (Catalog, Store);

/// What came of a wish to mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The tree can be listed.
    Mounted {
        /// Jobs in it.
        n_jobs: usize,
        /// Entries of the workspace that are left out.
        n_problems: usize,
        /// The named views that cannot be shown, each with the reason.
        broken_views: Vec<(String, String)>,
        /// Where it is in truth, if the mountpoint is but a link to it.
        elsewhere: Option<String>,
    },
    /// It could be before.
    AlreadyMounted {
        /// The daemon that serves it, if it is known.
        pid: Option<u32>,
    },
}

/// What the daemon tells the command that started it, one JSON text per line.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Progress {
        done: usize,
        total: usize,
    },
    Done(Outcome),
    Failed {
        message: String,
        hint: Option<String>,
        refused: bool,
    },
}

/// The command gives up after this long without a message; listing a large workspace on a slow
/// network file system gives none.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// How often the daemon looks whether it was unmounted from outside.
const TICK: Duration = Duration::from_secs(1);

/// Starts a daemon and waits until its tree can be listed.
pub fn start(options: &MountOptions, observer: &dyn Observer) -> Result<Outcome, MountError> {
    let registry = Registry::new(&options.state_dir);
    registry.ensure()?;
    let log = options.log.clone();
    let argument = program_argument(options);
    let args = [OsStr::new("serve"), OsStr::new(&argument)];
    // `fuser` would look in PATH first, where one that is not setuid may stand.
    let helper = preflight::find_fusermount().map(|path| (preflight::HELPER_VARIABLE, path));
    let env = Vec::from_iter(helper);
    let output = exec::start_daemon(&options.program, &args, &env, fsx::open_log(&log)?)?;
    let (sender, messages) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = serde_json::from_str::<Message>(&line).map(|message| sender.send(message));
        }
    });
    loop {
        match messages.recv_timeout(SILENCE_MAX) {
            Ok(Message::Progress { done, total }) => {
                observer.event(Event::Progress {
                    what: "reading state points",
                    done,
                    total,
                });
            }
            Ok(Message::Done(outcome)) => {
                observer.event(Event::Finished);
                return Ok(outcome);
            }
            Ok(Message::Failed {
                message,
                hint,
                refused,
            }) => {
                return Err(MountError::DaemonFailed {
                    message,
                    hint,
                    refused,
                });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(MountError::DaemonDied(log)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(MountError::NotReady {
                    limit_s: SILENCE_MAX.as_secs(),
                    log,
                });
            }
        }
    }
}

/// Runs as the daemon that [`start`] started; its messages go to `output`.
pub fn serve_as_daemon(
    options: &MountOptions,
    load: impl FnOnce(&dyn Observer) -> Result<Loaded, fsx::FsError>,
    output: impl Write + Send,
) -> Result<(), MountError> {
    // Not the leader of its group, so this cannot fail; it parts us from the terminal.
    let _ = rustix::process::setsid();
    let messenger = Messenger(Mutex::new(output));
    let result = serve(
        options,
        || load(&messenger),
        |outcome| messenger.send(&Message::Done(outcome)),
    );
    if let Err(error) = &result {
        messenger.send(&Message::Failed {
            message: with_causes(error),
            hint: error.hint(),
            refused: error.is_refusal(),
        });
    }
    result
}

/// Mounts and serves until the end: a signal, or an unmount from outside. `ready` is called when
/// the tree can be listed.
pub fn serve(
    options: &MountOptions,
    load: impl FnOnce() -> Result<Loaded, fsx::FsError>,
    ready: impl FnOnce(Outcome),
) -> Result<(), MountError> {
    let registry = Registry::new(&options.state_dir);
    let lock = registry.lock(&options.mountpoint)?;
    let record = registry.record(&options.mountpoint);
    let redirect = record.as_ref().and_then(|record| record.redirect.as_ref());
    if let Some(live) = redirect::clear(&options.mountpoint, redirect)? {
        return match record {
            Some(record) if live.is_ours() && record.project == options.project => {
                // Somebody may have removed the link.
                record
                    .redirect
                    .map_or(Ok(()), |redirect| redirect.put_link())?;
                ready(Outcome::AlreadyMounted {
                    pid: Some(record.pid),
                });
                Ok(())
            }
            record => Err(MountError::Occupied {
                mountpoint: options.mountpoint.clone(),
                by: describe(&live, record.as_ref()),
            }),
        };
    }
    preflight::require()?;
    let made = mountpoint::prepare(&options.mountpoint, &options.workspace)? == Made::Yes;
    if made {
        mountpoint::leave_note(&options.mountpoint, &options.project);
    }
    let made_before = record.is_some_and(|record| record.made_mountpoint);
    let mounted = || {
        let loaded = load()?;
        let snapshot = loaded.0.snapshot();
        let (n_jobs, n_problems) = (snapshot.jobs().len(), snapshot.problems().len());
        let mount = Mount::new(options, loaded, made || made_before)?;
        let redirect = mount.record.redirect.as_ref();
        let outcome = Outcome::Mounted {
            n_jobs,
            n_problems,
            broken_views: mount.fs.broken_views(),
            elsewhere: redirect.map(|redirect| redirect.real.display().to_string()),
        };
        Ok((mount, outcome))
    };
    let (mount, outcome) = match mounted() {
        Ok(mounted) => mounted,
        Err(error) => {
            if made {
                mountpoint::remove(&options.mountpoint);
            }
            return Err(error);
        }
    };
    drop(lock);
    ready(outcome);
    mount.run()
}

fn describe(live: &table::MountEntry, record: Option<&MountRecord>) -> String {
    match record {
        Some(record) if live.is_ours() => format!("the project `{}`", record.project.display()),
        _ if live.is_ours() => "another sweepfs project, or that of another user,".to_owned(),
        _ => format!("a file system of type {}", live.fs_type),
    }
}

/// A mount that is being served.
struct Mount {
    fs: Arc<ViewFs>,
    session: BackgroundSession,
    refresher: Refresher,
    guard: Guard,
    registry: Registry,
    record: MountRecord,
    mount_id: u64,
    signals: Receiver<()>,
    idle: Idle,
}

impl MountOptions {
    /// Tells whether what is shown may have to come from a server.
    fn on_network(&self) -> bool {
        let dirs = [&self.workspace, &self.project];
        dirs.into_iter().any(|dir| fsx::network_fs(dir).is_some())
    }

    fn served(&self, catalog: &Catalog, store: Store) -> Result<Served, MountError> {
        let served = Served {
            shown: self.shown.clone(),
            config: ProjectConfig::read(&self.project.join(PROJECT_FILE))?,
            store: Some(store),
            ..Served::new(catalog.workspace())
        };
        match &self.shown.tree {
            Some(name) if !served.trees().contains(name) => Err(MountError::NoSuchTree {
                name: name.clone(),
                known: served.trees(),
            }),
            _ => Ok(served),
        }
    }
}

impl Mount {
    fn new(
        options: &MountOptions,
        (catalog, store): Loaded,
        made_mountpoint: bool,
    ) -> Result<Self, MountError> {
        let refused = |cause| MountError::Refused {
            mountpoint: options.mountpoint.clone(),
            cause,
        };
        let started = fsx::time_ns(SystemTime::now());
        let served = options.served(&catalog, store)?;
        let fs = Arc::new(ViewFs::new(catalog.snapshot(), served, started));
        let registry = Registry::new(&options.state_dir);
        let signals = catch_signals(options.ignore_hangup).map_err(refused)?;
        abort_on_panic();
        let idle = Idle::new(options.idle_ms);
        let Seat {
            guard,
            session,
            redirect,
        } = Seat::take(options, &|| {
            idle.watching(Answers::new(Arc::clone(&fs)), options)
        })?;
        let session = session.spawn().map_err(refused)?;
        let place = redirect.as_ref().map(|redirect| &redirect.real);
        let entry = table::mounted_at(place.unwrap_or(&options.mountpoint))?;
        let mount_id = entry
            .map(|entry| entry.id)
            .ok_or_else(|| MountError::NotMounted(options.mountpoint.clone()))?;
        guard.protect(mount_id);
        let pid = std::process::id();
        let record = MountRecord {
            mountpoint: options.mountpoint.clone(),
            project: options.project.clone(),
            pid,
            pid_start: process_start(pid).unwrap_or_default(),
            host: host(),
            mounted_s: started.unsigned_abs() / 1_000_000_000,
            background: options.ignore_hangup,
            log: options.log.clone(),
            made_mountpoint,
            redirect,
        };
        registry.write(&record)?;
        let refresher = Refresher::new(
            catalog,
            Arc::clone(&fs),
            session.notifier(),
            Duration::from_millis(options.refresh_ms),
        );
        Ok(Self {
            fs,
            session,
            refresher,
            guard,
            registry,
            record,
            mount_id,
            signals,
            idle,
        })
    }

    fn run(self) -> Result<(), MountError> {
        let refresher = self.refresher;
        let (fs, notifier) = (Arc::clone(&self.fs), self.session.notifier());
        std::thread::spawn(move || expire(&fs, &notifier));
        std::thread::spawn(move || refresher.run());
        let ended = self.signals;
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if self.session.guard.is_finished() || self.idle.has_unmounted(self.mount_id) {
                break;
            }
        }
        let detached = if self.session.guard.is_finished() {
            // Somebody else unmounted it; what is mounted there now is not ours to touch.
            Ok(())
        } else {
            detach_by_id(self.mount_id)
        };
        self.guard.stand_down();
        self.registry.forget(&self.record)?;
        // Dropping the session would unmount by path whatever is mounted there by now.
        std::mem::forget(self.session);
        detached
    }
}

/// What is mounted, and where.
struct Seat {
    guard: Guard,
    session: Session<Adapter>,
    redirect: Option<Redirect>,
}

impl Seat {
    /// Mounts where it was asked for or, where root may not enter, elsewhere, with a link to it.
    fn take(options: &MountOptions, adapter: &dyn Fn() -> Adapter) -> Result<Self, MountError> {
        let asked = &options.mountpoint;
        let refusal = match Self::take_at(options, adapter(), None) {
            Err(MountError::Refused { cause, .. }) if redirect::is_needed(asked, &cause) => cause,
            taken => return taken,
        };
        tracing::info!("root may not enter the mountpoint: {refusal}");
        let redirect = Redirect::prepare(&options.runtime_dir, asked)?;
        let linked =
            Self::take_at(options, adapter(), Some(redirect.clone())).and_then(
                |seat| match redirect.put_link() {
                    Ok(()) => Ok(seat),
                    Err(error) => {
                        seat.guard.stand_down();
                        table::detach(&redirect.real)?;
                        Err(error)
                    }
                },
            );
        if linked.is_err() {
            redirect.undo();
        }
        linked
    }

    fn take_at(
        options: &MountOptions,
        adapter: Adapter,
        redirect: Option<Redirect>,
    ) -> Result<Self, MountError> {
        let asked = &options.mountpoint;
        let watched = WatchdogOptions {
            mountpoint: asked.clone(),
            redirect: redirect.clone(),
        };
        // Before the mount, so that there is no moment in which a kill would leave it behind.
        let guard = Guard::start(options.program.clone(), options.log.clone(), watched)?;
        let place = redirect.as_ref().map_or(asked, |redirect| &redirect.real);
        match Session::new(adapter, place, &config(options)) {
            Ok(session) => Ok(Self {
                guard,
                session,
                redirect,
            }),
            Err(cause) => {
                guard.stand_down();
                Err(MountError::Refused {
                    mountpoint: asked.clone(),
                    cause,
                })
            }
        }
    }
}

/// Takes our mount away, wherever it is by now: the project may have been moved.
fn detach_by_id(mount_id: u64) -> Result<(), MountError> {
    match find_by_id(mount_id)? {
        Some(entry) => table::detach(&entry.mountpoint),
        None => Ok(()),
    }
}

fn find_by_id(mount_id: u64) -> Result<Option<table::MountEntry>, MountError> {
    let is_it = |entry: &table::MountEntry| entry.id == mount_id && entry.is_ours();
    Ok(table::mounts()?.into_iter().find(is_it))
}

/// Unmounts what nobody uses.
#[derive(Debug)]
struct Idle {
    activity: Arc<Activity>,
    limit: Option<Duration>,
}

/// The kernel asks at least that often, within the time limit, about what is in use.
const QUESTIONS: u32 = 4;

impl Idle {
    fn new(limit_ms: Option<u64>) -> Self {
        Self {
            activity: Arc::new(Activity::new()),
            limit: limit_ms.map(Duration::from_millis),
        }
    }

    /// Makes the file system note its use. A walk over what the kernel knows asks nothing, so it
    /// must not know it for too long.
    fn watching(&self, answers: Answers, options: &MountOptions) -> Adapter {
        let adapter = |answers| Adapter::new(answers, options.shown.xattr, options.on_network());
        match self.limit {
            Some(limit) => adapter(answers.asked_again_after(limit / QUESTIONS))
                .noting(Arc::clone(&self.activity)),
            None => adapter(answers),
        }
    }

    /// Unmounts after the time limit, unless somebody is inside. That counts as use, too.
    fn has_unmounted(&self, mount_id: u64) -> bool {
        let Some(limit) = self.limit.filter(|&limit| self.activity.idle() >= limit) else {
            return false;
        };
        match find_by_id(mount_id) {
            Ok(Some(entry)) => match table::unmount_unused(&entry.mountpoint) {
                Ok(()) => {
                    tracing::warn!(
                        "unmounted {}: nobody used it for {} s",
                        entry.mountpoint.display(),
                        limit.as_secs()
                    );
                    true
                }
                Err(error) => {
                    tracing::info!("still in use: {error}");
                    self.activity.touch();
                    false
                }
            },
            _ => false,
        }
    }
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::FSName(FS_NAME.to_owned()),
        MountOption::Subtype(FS_NAME.to_owned()),
        MountOption::DefaultPermissions,
    ];
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    // More than one, so that no request waits behind another.
    config.n_threads =
        Some(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)));
    config
}

/// Returns a channel that hears of SIGTERM and SIGINT, and of SIGHUP if a terminal is served.
fn catch_signals(ignore_hangup: bool) -> std::io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for signal in signals.forever().filter(|&s| s != SIGHUP || !ignore_hangup) {
            tracing::info!("received signal {signal}");
            let _ = sender.send(());
        }
    });
    Ok(receiver)
}

/// A handler that panics would leave the kernel waiting for its answer; a process that ends does
/// not, and the watchdog cleans up behind it.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

/// Writes messages, and progress as messages.
struct Messenger<W>(Mutex<W>);

impl<W: Write> Messenger<W> {
    fn send(&self, message: &Message) {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_string(message).expect("messages have plain fields");
        // The command may have been interrupted; the mount is made all the same.
        let _ = writeln!(output, "{text}").and_then(|()| output.flush());
    }
}

impl<W: Write + Send> Observer for Messenger<W> {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { done, total, .. } = event {
            self.send(&Message::Progress { done, total });
        }
    }
}

/// Returns options as one argument of a command line.
pub(super) fn program_argument(options: &impl Serialize) -> String {
    serde_json::to_string(options).expect("options are plain fields")
}

/// Reads options back from an argument.
pub fn parse_argument<T: for<'de> Deserialize<'de>>(argument: &str) -> Option<T> {
    serde_json::from_str(argument).ok()
}
