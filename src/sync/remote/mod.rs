//! A data space on another machine, reached by `ssh`. Nothing of ours needs to be there.

mod address;
mod compact;
mod list;
mod rsync;
mod scratch;
mod script;
mod serve;
mod transfer;

pub use address::{Address, BadAddress};
pub use serve::{PROTOCOL, ServeError, write_list};

use super::digests::Digests;
use super::local::{ARRIVING, TAKEN};
use super::path::{Place, RelPath};
use super::side::{
    Done, FileDigest, FoundText, Listing, NewText, Outcome, Removal, Restore, Run, Side, SyncError,
};
use super::state::Stamp;
use super::tree::{Content, Entry, INCOMING_SUFFIX, JobTree};
use crate::exec::{Answer, Connection, Kept, SshError, SshOptions, quoted_bytes};
use crate::fsx;
use crate::report::{Event, Observer, with_causes};
use crate::statepoint::JobId;
use crate::workflow::FLOW_FILE;
use compact::Blocks;
use list::{BadList, Lister, Records};
use md5::{Digest, Md5};
use scratch::Scratch;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// A command that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// So many files are written by one command.
const TEXTS_AT_ONCE: usize = 500;

/// And so many are given their places together.
const ITEMS_AT_ONCE: usize = 100;

/// So many texts are not worth an `rsync`.
const TEXTS_BY_SCRIPT_MAX: usize = 20;

/// And so many bytes of what they are about: xargs(1) takes 128 KiB at once, and would cut an item in two.
const WORDS_BYTES_MAX: usize = 1 << 16;

/// What is said of a file that is not as it was listed.
const CHANGED: &str = "it has changed meanwhile";

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

    /// Reads files there.
    fn read_digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = places.iter().map(name_of).collect();
        let answer = self.ask_of(script::DIGESTS, &[], names.iter().map(Vec::as_slice))?;
        let mut found = HashMap::new();
        found.extend(answer.output.split(|b| *b == b'\n').filter_map(digest_of));
        Ok(names.iter().map(|name| found.get(name).copied()).collect())
    }

    /// Returns the time there, and what files are; `None` for what is no file.
    fn stamps(
        &self,
        places: &[Place],
    ) -> Result<(fsx::TimeNs, Vec<Option<fsx::Stamp>>), SyncError> {
        let names: Vec<_> = places.iter().map(name_of).collect();
        let answer = self.ask_of(script::STAMPS, &[], names.iter().map(Vec::as_slice))?;
        let read = list::stamps(&answer.output);
        let (now, mut found) = read.map_err(|error| self.nonsense(&error))?;
        Ok((now, names.iter().map(|name| found.remove(name)).collect()))
    }

    fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// Has the `sweepfs` there list the files. What it says is checked as what `find` says.
    fn list_served(&self) -> Result<Listing, SyncError> {
        let state = RefCell::new((Lister::new(self.root()), Blocks::default()));
        let mut fault = None;
        let answer = self.connection.stream(
            script::LIST_SERVED,
            &[&self.root],
            |_| Ok(()),
            |chunk| {
                let (lister, blocks) = &mut *state.borrow_mut();
                let pushed = blocks.push(chunk, |record| lister.add(record));
                pushed.map_err(|error| {
                    fault = Some(error);
                    io::ErrorKind::InvalidData.into()
                })
            },
        );
        if let Some(fault) = fault {
            return Err(self.nonsense(&fault));
        }
        let answer = answer.map_err(|error| failed(&error))?;
        if answer.code != 0 {
            return Err(failed(&self.connection.failed(&answer)));
        }
        let (mut lister, blocks) = state.into_inner();
        if blocks.is_complete() {
            lister.end();
        }
        let listing = lister.finish("");
        listing.map_err(|error| self.nonsense(&error))
    }

    fn list_by_find(&self) -> Result<Listing, SyncError> {
        let lister = RefCell::new(Lister::new(self.root()));
        let mut fault = None;
        let answer = self.connection.stream(
            script::LIST,
            &[&self.root],
            |_| Ok(()),
            |chunk| {
                lister.borrow_mut().push(chunk).map_err(|error| {
                    fault = Some(error);
                    io::ErrorKind::InvalidData.into()
                })
            },
        );
        if let Some(fault) = fault {
            return Err(self.nonsense(&fault));
        }
        let answer = answer.map_err(|error| failed(&error))?;
        if answer.code != 0 {
            return Err(failed(&self.connection.failed(&answer)));
        }
        let listing = lister.into_inner().finish(&answer.complaint);
        listing.map_err(|error| self.nonsense(&error))
    }

    fn nonsense(&self, error: &BadList) -> SyncError {
        SyncError::Failed {
            message: format!("cannot believe `{}`: {error}", self.options.host),
            hint: None,
        }
    }

    /// Runs a script that answers for each of some items, `N` texts each, and hands on its answers.
    fn for_items(
        &self,
        run: &Run,
        script: &str,
        items: &[Vec<Vec<u8>>],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let Some(n_texts) = items.first().map(Vec::len) else {
            return Ok(());
        };
        let sizes = items
            .iter()
            .map(|item| item.iter().map(|text| text.len() + 1).sum());
        let at_once = WORDS_BYTES_MAX / sizes.max().unwrap_or(1).max(1);
        let at_once = (n_texts * at_once.clamp(1, ITEMS_AT_ONCE)).to_string();
        // What is before the items stands in the script as its first two arguments.
        let script = [script::PRELUDE, "shift 2\n", script].concat();
        let trash = self.trash_of(run);
        let args = [&trash, OsStr::new(&at_once), OsStr::new(&script)];
        let texts = items.iter().flatten().map(Vec::as_slice);
        let answer = self.ask_of(script::WITH_ITEMS, &args, texts)?;
        let why = last_line(&answer.complaint, "no answer");
        self.take(&answer.output, items.len(), &why, done)
    }

    /// Reads answers: of each item its number and what came of it.
    fn take(
        &self,
        output: &[u8],
        n_items: usize,
        why_missing: &str,
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let mut is_done = vec![false; n_items];
        let fields: Vec<_> = output.split(|b| *b == 0).collect();
        for pair in fields.chunks_exact(2) {
            let at = std::str::from_utf8(pair[0])
                .ok()
                .and_then(|at| at.parse::<usize>().ok());
            let place = at.and_then(|at| is_done.get_mut(at));
            match (at, place) {
                (Some(at), Some(is_done)) if !*is_done => {
                    *is_done = true;
                    done(at, outcome(&String::from_utf8_lossy(pair[1])));
                }
                _ => {
                    return Err(SyncError::Failed {
                        message: format!("`{}` answers what nobody asked", self.options.host),
                        hint: None,
                    });
                }
            }
        }
        for (at, _) in is_done.iter().enumerate().filter(|(_, is_done)| !**is_done) {
            done(at, Err(why_missing.to_owned()));
        }
        Ok(())
    }

    /// Writes files one by one, in few commands.
    fn write_by_script(
        &self,
        run: &Run,
        texts: &[(usize, &NewText)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        for chunk in texts.chunks(TEXTS_AT_ONCE) {
            let mut script = [script::PRELUDE, script::WRITE].concat().into_bytes();
            for (n, (_, text)) in chunk.iter().enumerate() {
                script.extend_from_slice(b"w");
                for word in words_to_write(n, text) {
                    script.push(b' ');
                    script.extend(quoted_bytes(OsStr::from_bytes(&word)));
                }
                script.push(b'\n');
            }
            script.extend_from_slice(b":\n");
            let trash = self.trash_of(run);
            let answer = self
                .connection
                .ask_with(&script, &[&self.root, &trash], |input| {
                    chunk
                        .iter()
                        .try_for_each(|(_, text)| input.write_all(&text.bytes))
                });
            let answer = answer.map_err(|error| failed(&error))?;
            let why = last_line(&answer.complaint, "not written");
            let done: &Done<'_> = &|n, outcome| done(chunk[n].0, outcome);
            self.take(&answer.output, chunk.len(), &why, done)?;
        }
        Ok(())
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

/// Reads what a script answers for an item.
fn outcome(text: &str) -> Outcome {
    let mut words = text.splitn(2, ' ');
    match (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    ) {
        ("ok", facts) => match file_entry(facts) {
            Some(entry) => Ok(Some(entry)),
            None => Err("it is gone again".to_owned()),
        },
        ("gone" | "left" | "done", _) => Ok(None),
        ("changed", _) => Err(CHANGED.to_owned()),
        ("taken", _) => Err(TAKEN.to_owned()),
        (_, why) if !why.is_empty() => Err(why.to_owned()),
        _ => Err("it failed".to_owned()),
    }
}

/// Reads size, time and permissions of a file.
fn file_entry(text: &str) -> Option<Entry> {
    let mut words = text.split(' ');
    let content = Content::File {
        size_bytes: words.next()?.parse().ok()?,
        modified: list::time_ns(words.next()?.as_bytes()).ok()?,
    };
    let mode = u16::from_str_radix(words.next()?, 8).ok()? & 0o777;
    Some(Entry { content, mode })
}

/// Writes what must be there, as the scripts' `state` does.
fn state(entry: Option<&Entry>) -> Vec<u8> {
    match entry.map(|entry| &entry.content) {
        None => b"-".to_vec(),
        Some(Content::Dir) => b"d".to_vec(),
        Some(Content::Link(text)) => [b"l ", &**text, b"x"].concat(),
        Some(Content::File {
            size_bytes,
            modified,
        }) => format!("f {size_bytes} {}", seconds(*modified)).into_bytes(),
    }
}

fn seconds(ns: fsx::TimeNs) -> String {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// Returns a name below the project's directory, which never begins with a dash or a dot.
fn name_of(place: &Place) -> Vec<u8> {
    place.below_project().as_bytes().to_vec()
}

impl Side for RemoteSide {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn list(&self, observer: &dyn Observer) -> Result<Listing, SyncError> {
        let what = "listing jobs there";
        observer.event(Event::Progress {
            what,
            done: 0,
            total: 0,
        });
        let served = self.is_served().then(|| self.list_served());
        let listing = match served {
            Some(Ok(listing)) => Ok(listing),
            Some(Err(error)) => {
                tracing::info!(
                    "the sweepfs of `{}` is of no use: {error}",
                    self.options.host
                );
                self.is_served.store(false, Ordering::Relaxed);
                self.list_by_find()
            }
            None => self.list_by_find(),
        };
        observer.event(Event::Finished);
        listing
    }

    fn read_many(&self, places: &[Place]) -> Result<Vec<FoundText>, SyncError> {
        self.fetch_texts(places)
    }

    fn digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let Some(path) = &self.digests else {
            return self.read_digests(places);
        };
        let known = Digests::load(path.clone());
        let (now, stamps) = self.stamps(places)?;
        let believed = places.iter().zip(&stamps);
        let mut found: Vec<_> = believed
            .map(|(place, stamp)| known.get(place, stamp.as_ref()?))
            .collect();
        let unknown: Vec<_> = (0..places.len())
            .filter(|at| found[*at].is_none())
            .collect();
        let asked: Vec<_> = unknown.iter().map(|at| places[*at].clone()).collect();
        let mut read = Vec::new();
        for (at, digest) in unknown.into_iter().zip(self.read_digests(&asked)?) {
            found[at] = digest;
            // What it was before it was read: if it has changed since, that is not believed next time.
            if let (Some(digest), Some(stamp)) = (digest, stamps[at]) {
                read.push((&places[at], stamp, digest));
            }
        }
        known.keep(places, read, now);
        Ok(found)
    }

    fn write_many(&self, run: &Run, texts: &[NewText], done: &Done<'_>) -> Result<(), SyncError> {
        let all = texts.iter().enumerate();
        let (of_jobs, others): (Vec<_>, Vec<_>) =
            all.partition(|(_, text)| text.place.job.is_some());
        match of_jobs.len() > TEXTS_BY_SCRIPT_MAX {
            true => {
                self.push_texts(run, &of_jobs, done)?;
                self.write_by_script(run, &others, done)
            }
            false => self.write_by_script(run, &[others, of_jobs].concat(), done),
        }
    }

    fn remove_many(
        &self,
        run: &Run,
        removals: &[Removal],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // What is in a directory goes before it.
        let mut order: Vec<_> = removals.iter().enumerate().collect();
        order.sort_by_key(|(at, removal)| (removal.before.is_dir(), std::cmp::Reverse(*at)));
        let items: Vec<_> = order
            .iter()
            .map(|(at, removal)| item(*at, removal))
            .collect();
        self.for_items(run, script::REMOVE, &items, done)
    }

    fn remove_jobs(&self, run: &Run, jobs: &[JobTree], done: &Done<'_>) -> Result<(), SyncError> {
        let item = |(at, job): (usize, &JobTree)| {
            let id = job.id.to_string();
            vec![
                at.to_string().into_bytes(),
                lock_of_job(&job.id),
                format!("workspace/{id}").into_bytes(),
                digest_of_job(job).into_bytes(),
            ]
        };
        let items: Vec<_> = jobs.iter().enumerate().map(item).collect();
        self.for_items(run, script::REMOVE_JOBS, &items, done)
    }

    fn restore_many(
        &self,
        run: &Run,
        from: &str,
        restores: &[Restore],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // A directory comes before what is in it.
        let mut order: Vec<_> = restores.iter().enumerate().collect();
        order.sort_by_key(|(at, restore)| (!restore.before.is_dir(), *at));
        let item = |(at, restore): &(usize, &Restore)| {
            vec![
                at.to_string().into_bytes(),
                name_of(&restore.place),
                state(restore.now.as_ref()),
                state(Some(&restore.before)),
                format!("{:o}", restore.before.mode).into_bytes(),
                from.as_bytes().to_vec(),
                lock_of(&restore.place),
            ]
        };
        let items: Vec<_> = order.iter().map(item).collect();
        self.for_items(run, script::RESTORE, &items, done)
    }

    fn restore_jobs(
        &self,
        run: &Run,
        from: &str,
        jobs: &[JobId],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let item = |(at, id): (usize, &JobId)| {
            vec![
                at.to_string().into_bytes(),
                lock_of_job(id),
                format!("workspace/{id}").into_bytes(),
                from.as_bytes().to_vec(),
            ]
        };
        let items: Vec<_> = jobs.iter().enumerate().map(item).collect();
        self.for_items(run, script::RESTORE_JOBS, &items, done)
    }

    fn rename_many(
        &self,
        run: &Run,
        renames: &[(Removal, RelPath)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let with_new = |(at, (from, to)): (usize, &(Removal, RelPath))| {
            let to = Place {
                job: from.place.job,
                path: to.clone(),
            };
            let mut item = item(at, from);
            item.push(name_of(&to));
            item
        };
        let items: Vec<_> = renames.iter().enumerate().map(with_new).collect();
        self.for_items(run, script::RENAME, &items, done)
    }

    fn clean(&self, leftovers: &[Place]) -> Result<(), SyncError> {
        let names: Vec<_> = leftovers.iter().map(name_of).collect();
        let names = names.iter().map(Vec::as_slice);
        match leftovers.is_empty() {
            // What had not arrived goes on from there.
            true => Ok(()),
            false => self.ask_of(script::CLEAN, &[], names).map(drop),
        }
    }

    fn stamp(&self, pair: Uuid) -> Result<Option<u64>, SyncError> {
        let pair = pair.simple().to_string();
        let answer = self.ask(script::STAMP, &[OsStr::new(&pair)])?;
        let text = String::from_utf8_lossy(&answer.output);
        Ok(text.trim().parse().ok())
    }

    fn set_stamp(&self, stamp: Stamp) -> Result<(), SyncError> {
        let (pair, number) = (stamp.pair.simple().to_string(), stamp.number.to_string());
        let args = [OsStr::new(&pair), OsStr::new(&number)];
        self.ask(script::SET_STAMP, &args).map(drop)
    }

    fn settle(&self, _: &Run) {
        let _ = self.ask(script::EXPIRE, &[OsStr::new(ARRIVING), &self.trash]);
    }
}

/// Reads a line of md5sum(1). One with a backslash before it has others in the name, for the characters
/// that would end a line.
fn digest_of(line: &[u8]) -> Option<(Vec<u8>, FileDigest)> {
    let (line, is_escaped) = match line.strip_prefix(b"\\") {
        Some(line) => (line, true),
        None => (line, false),
    };
    // Two spaces, or a space and a star, are between.
    let (digest, name) = (line.get(..32)?, line.get(34..)?);
    let digest = u128::from_str_radix(std::str::from_utf8(digest).ok()?, 16).ok()?;
    let mut bytes = name.iter().copied();
    let mut read = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'\\' if is_escaped => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                other => other,
            },
            byte => byte,
        });
    }
    Some((read, digest.to_be_bytes()))
}

/// The MD5 of all that a job's listing says, as the scripts' `all` tells it.
fn digest_of_job(job: &JobTree) -> String {
    let record = |(path, entry): &(RelPath, Entry)| {
        let (before, after): (String, &[u8]) = match &entry.content {
            // find(1) writes ten digits, of which the last is always zero.
            Content::File {
                size_bytes,
                modified,
            } => (
                format!("f {size_bytes} {}0 ", list::found_time(*modified)),
                b"",
            ),
            Content::Link(text) => ("l ".into(), text),
            Content::Dir => ("d ".into(), b""),
        };
        let gap: &[u8] = if entry.is_file() || entry.is_dir() {
            b""
        } else {
            b"//"
        };
        [before.as_bytes(), path.as_bytes(), gap, after, b"\0"].concat()
    };
    let mut records: Vec<_> = job.entries.iter().map(record).collect();
    records.sort_unstable();
    let digest: FileDigest = Md5::digest(records.concat()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn last_line(complaint: &str, usual: &str) -> String {
    complaint.lines().next_back().unwrap_or(usual).to_owned()
}

/// The texts of an item for the scripts: its number, its name, what must be there.
fn item(at: usize, removal: &Removal) -> Vec<Vec<u8>> {
    vec![
        at.to_string().into_bytes(),
        name_of(&removal.place),
        state(Some(&removal.before)),
    ]
}

/// The lock that guards a file, below the project's directory; empty for none.
fn lock_of(place: &Place) -> Vec<u8> {
    match place.job {
        Some(id) if place.path.as_bytes() == FLOW_FILE.as_bytes() => lock_of_job(&id),
        _ => Vec::new(),
    }
}

/// The lock that guards what is recorded of a job.
fn lock_of_job(id: &JobId) -> Vec<u8> {
    let id = id.to_string();
    format!(".sweepfs/locks/{}", &id[id.len() - 2..]).into_bytes()
}

fn words_to_write(at: usize, text: &NewText) -> [Vec<u8>; 7] {
    let name = name_of(&text.place);
    let parent = name.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let temporary = format!("._{}{INCOMING_SUFFIX}", Uuid::new_v4());
    [
        at.to_string().into_bytes(),
        name.clone(),
        text.bytes.len().to_string().into_bytes(),
        text.modified.map(seconds).unwrap_or_default().into_bytes(),
        state(text.before.as_ref()),
        lock_of(&text.place),
        [&name[..parent], temporary.as_bytes()].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_whatever_the_name() {
        let digest = "d41d8cd98f00b204e9800998ecf8427e";
        let read = |line: String| digest_of(line.as_bytes()).map(|(name, _)| name);
        let name = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(read(format!("{digest}  a b")), name("a b"));
        assert_eq!(read(format!("{digest} *a\\n")), name("a\\n"));
        assert_eq!(read(format!("\\{digest}  a\\nb\\\\n")), name("a\nb\\n"));
        for bad in ["", "x", &digest[1..], "\\"] {
            assert_eq!(read(bad.to_owned()), None);
        }
    }
}
