//! A data space on another machine, reached by `ssh`. Nothing of ours needs to be there.

mod address;
mod compact;
mod list;
mod pull;
mod push;
mod rsync;
mod scratch;
mod script;
mod serve;
mod side;
mod transfer;
mod words;

pub use address::{Address, BadAddress};
pub use serve::{PROTOCOL, ServeError, write_list};

use super::side::{Run, SyncError};
use super::tree::Entry;
use crate::exec::{Answer, Connection, Kept, SshError, SshOptions};
use crate::report::with_causes;
use list::{BadList, Records};
use scratch::Scratch;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A command that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How a remote is reached.
#[derive(Clone, Debug, Default)]
pub struct RemoteOptions {
    /// What `ssh` calls the machine.
    pub host: String,
    /// The project's directory there; relative to the home directory.
    pub path: String,
    /// Its name in messages.
    pub name: String,
    /// The local program `ssh` and its first arguments; empty is `ssh`.
    pub ssh: Vec<OsString>,
    /// The program `rsync` there; `None` is `rsync`.
    pub rsync: Option<String>,
    /// What `rsync` may send at most, in its words: `10m` is 10 MiB a second.
    pub bandwidth: Option<String>,
    /// Whether `rsync` compresses what it sends.
    pub compress: bool,
    /// A directory that only we may enter, for the socket of the connection.
    pub runtime_dir: PathBuf,
    /// Whether there is a user who can be asked for a password.
    pub can_ask: bool,
}

/// What is known of the machine of a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteFacts {
    /// The version of `rsync`; empty if it is missing.
    pub rsync: String,
    /// The version of `sweepfs`; empty if it is missing.
    pub sweepfs: String,
    /// Whether jobs may be added.
    pub is_writable: bool,
    /// How many jobs there are.
    pub n_jobs: u64,
    /// Whether `sweepfs` lists the files; if not, `find` does.
    pub is_served: bool,
}

/// A data space on another machine.
#[derive(Debug)]
pub struct RemoteSide {
    // Given up before the connection is.
    _lock: Option<Kept>,
    connection: Connection,
    /// Removed after the connection has ended.
    scratch: Scratch,
    options: RemoteOptions,
    /// The project's directory.
    root: OsString,
    trash: OsString,
    /// A `sweepfs` there understands us.
    is_served: AtomicBool,
    /// Where digests are kept.
    digests: Option<PathBuf>,
}

impl RemoteSide {
    /// Connects, and finds the project.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection, no project, or not what is needed to list files.
    pub fn open(options: RemoteOptions) -> Result<Self, SyncError> {
        let scratch = Scratch::new(&options.runtime_dir)?;
        let connection = connect(&options, &scratch)?;
        let root = directory(&options.path);
        let answer = connection
            .ask(script::PROBE, &[&root])
            .map_err(|error| failed(&error))?;
        let mut fields = answer.output.split(|b| *b == 0);
        let mut field = || fields.next().unwrap_or_default();
        let missing = |message: String, hint: String| SyncError::Failed {
            message,
            hint: Some(hint),
        };
        let (host, path) = (&options.host, &options.path);
        match field() {
            b"ok" => {}
            b"directory" => {
                let hint = format!("`sweepfs remote add --create NAME {host}:{path}` makes it");
                return Err(missing(
                    format!("there is no directory `{path}` on `{host}`"),
                    hint,
                ));
            }
            b"project" => {
                let hint = format!("`sweepfs remote add --create NAME {host}:{path}` makes it one");
                return Err(missing(
                    format!("`{host}:{path}` is no signac project"),
                    hint,
                ));
            }
            b"find" => {
                let hint =
                    "install GNU findutils and coreutils there, in front of others in `PATH`";
                let message = format!("`{host}` lists no files: its `find` or `stat` is not GNU's");
                return Err(missing(message, hint.to_owned()));
            }
            _ => return Err(failed(&connection.failed(&answer))),
        }
        let (root, trash) = (OsStr::from_bytes(field()), OsStr::from_bytes(field()));
        let is_served = field() == PROTOCOL.as_bytes();
        if root.is_empty() || trash.is_empty() {
            return Err(failed(&connection.failed(&answer)));
        }
        Ok(Self {
            root: root.to_owned(),
            trash: trash.to_owned(),
            connection,
            scratch,
            options,
            is_served: is_served.into(),
            digests: None,
            _lock: None,
        })
    }

    /// Makes the project there, unless it is one.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection, or the directory cannot be made.
    pub fn create(options: &RemoteOptions) -> Result<(), SyncError> {
        let scratch = Scratch::new(&options.runtime_dir)?;
        let connection = connect(options, &scratch)?;
        let answer = connection.ask(script::CREATE, &[&directory(&options.path)]);
        match answer.map_err(|error| failed(&error))? {
            answer if answer.code == 0 => Ok(()),
            answer => Err(failed(&connection.failed(&answer))),
        }
    }

    /// Takes the lock that only one sync of a project has, until this is dropped.
    ///
    /// # Errors
    ///
    /// Fails if another sync has it.
    pub fn lock(&mut self) -> Result<(), SyncError> {
        let kept = self.connection.keep(script::LOCK, &[&self.root]);
        let (kept, line) = kept.map_err(|error| failed(&error))?;
        match line.strip_prefix("taken") {
            Some(pid) => Err(SyncError::Locked {
                root: self.root().to_owned(),
                pid: Some(format!("{} on {}", pid.trim(), self.options.host)),
            }),
            None => {
                self._lock = Some(kept);
                Ok(())
            }
        }
    }

    /// Returns the project's directory there.
    pub fn root(&self) -> &Path {
        Path::new(&self.root)
    }

    /// Asks what is there.
    ///
    /// # Errors
    ///
    /// Fails if the connection does, or the answer makes no sense.
    pub fn facts(&self) -> Result<RemoteFacts, SyncError> {
        let rsync = OsStr::new(self.options.rsync.as_deref().unwrap_or("rsync"));
        let answer = self.ask(script::FACTS, &[rsync])?;
        let fields = answer.output.split(|b| *b == 0);
        let fields: Vec<_> = fields.map(String::from_utf8_lossy).collect();
        let [rsync, sweepfs, is_writable, n_jobs, ..] = fields.as_slice() else {
            return Err(failed(&self.connection.failed(&answer)));
        };
        let version = |line: &str, before: &str| {
            let after = line.trim_start().strip_prefix(before).map(str::trim_start);
            let words = after.unwrap_or_default().split_whitespace();
            words.take(1).collect::<String>()
        };
        Ok(RemoteFacts {
            rsync: version(rsync, "rsync  version"),
            sweepfs: version(sweepfs, "sweepfs"),
            is_writable: is_writable == "yes",
            n_jobs: n_jobs.trim().parse().unwrap_or_default(),
            is_served: self.is_served(),
        })
    }

    /// Runs a program in the project's directory, without input; returns its exit code, what it
    /// printed, and what it said on its error output.
    ///
    /// # Errors
    ///
    /// Fails if the connection does.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<Answer, SyncError> {
        let words = args.iter().map(OsStr::new);
        let words: Vec<_> = [self.root.as_os_str(), OsStr::new(program)]
            .into_iter()
            .chain(words)
            .collect();
        let script = "cd -- \"$1\" || exit\nshift\nexec \"$@\" </dev/null";
        self.connection
            .ask(script, &words)
            .map_err(|error| failed(&error))
    }

    /// Runs a script in the project's directory.
    fn ask(&self, script: &str, args: &[&OsStr]) -> Result<Answer, SyncError> {
        self.ask_with(script, args, |_| Ok(()))
    }

    fn ask_with(
        &self,
        script: &str,
        args: &[&OsStr],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
    ) -> Result<Answer, SyncError> {
        let args = [&[self.root.as_os_str()], args].concat();
        let answer = self.connection.ask_with(script, &args, write);
        match answer.map_err(|error| failed(&error))? {
            answer if answer.code == 0 => Ok(answer),
            answer => Err(failed(&self.connection.failed(&answer))),
        }
    }

    /// Runs a script with names as its standard input, each with a NUL behind it.
    fn ask_of<'n>(
        &self,
        script: &str,
        args: &[&OsStr],
        names: impl IntoIterator<Item = &'n [u8]> + Send,
    ) -> Result<Answer, SyncError> {
        self.ask_with(script, args, |input| {
            for name in names {
                input.write_all(name)?;
                input.write_all(b"\0")?;
            }
            Ok(())
        })
    }

    /// Says what is at some names below the project's directory, and below them up to a depth.
    fn examine(
        &self,
        names: &[Vec<u8>],
        depth: usize,
    ) -> Result<HashMap<Vec<u8>, Entry>, SyncError> {
        let mut found = HashMap::new();
        if names.is_empty() {
            return Ok(found);
        }
        let depth = depth.to_string();
        let names = names.iter().map(Vec::as_slice);
        let answer = self.ask_of(script::EXAMINE, &[OsStr::new(&depth)], names)?;
        let mut records = Records::default();
        let pushed = records.push(&answer.output, |record| {
            if let Some(entry) = record.entry {
                found.insert(record.path, entry);
            }
            Ok(())
        });
        pushed.map_err(|error| self.nonsense(&error))?;
        Ok(found)
    }

    /// Keeps digests of files there in a file here.
    pub fn keep_digests(&mut self, path: PathBuf) {
        self.digests = Some(path);
    }

    fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    fn nonsense(&self, error: &BadList) -> SyncError {
        SyncError::Failed {
            message: format!("cannot believe `{}`: {error}", self.options.host),
            hint: None,
        }
    }

    fn trash_of(&self, run: &Run) -> OsString {
        Path::new(&self.trash).join(&run.id).into_os_string()
    }
}

fn connect(options: &RemoteOptions, scratch: &Scratch) -> Result<Connection, SyncError> {
    Connection::open(SshOptions {
        program: options.ssh.clone(),
        host: options.host.clone(),
        dir: scratch.path().to_owned(),
        can_ask: options.can_ask,
        silence_max: SILENCE_MAX,
    })
    .map_err(|error| failed(&error))
}

/// Returns a directory as `cd` takes it, whatever its name.
fn directory(path: &str) -> OsString {
    match path {
        path if path.starts_with('/') => path.into(),
        path => format!("./{path}").into(),
    }
}

fn failed(error: &SshError) -> SyncError {
    SyncError::Failed {
        message: with_causes(error),
        hint: error.hint(),
    }
}
