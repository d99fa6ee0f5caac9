//! Programs on other machines, by the user's `ssh`.
//!
//! All programs share one connection (OpenSSH's `ControlMaster`), so that the user is asked once. If
//! a connection of the user's own is open, that one is used.

use super::stream::{chunks_of, listen};
use super::{ExecError, quoted_bytes};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use uuid::Uuid;

/// How long a connection without users stays open, should we be killed.
const PERSIST_S: u32 = 60;

/// What a remote shell says before our commands is skipped, but not more than that.
const GREETING_BYTES_MAX: usize = 1 << 20;

/// No answer that is taken whole is longer.
const OUTPUT_BYTES_MAX: usize = 1 << 28;

/// Messages are at most that long.
const SHOWN_BYTES_MAX: usize = 600;

const CHUNK_BYTES: usize = 1 << 16;

/// Linux's limit for the path of a socket is 108 bytes, and `ssh` adds 17 to ours at first.
const SOCKET_BYTES_MAX: usize = 108 - 17 - 1;

/// How long what a command said is waited for after its end.
const COMPLAINT_LIMIT: Duration = Duration::from_secs(2);

/// How often, and how far apart, it is asked whether a command has ended that should.
const ENDING_STEPS: u32 = 200;
const ENDING_STEP: Duration = Duration::from_millis(10);

/// How a machine is reached.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The program and its first arguments.
    pub program: Vec<OsString>,
    /// What `ssh` calls the machine, perhaps with a user.
    pub host: String,
    /// A directory of our own, for the socket of the connection.
    pub dir: PathBuf,
    /// Whether there is a user who can be asked for a password.
    pub can_ask: bool,
    /// A command that says nothing for so long is given up.
    pub silence_max: Duration,
}

/// Why a command on another machine has no result.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The name of the machine would be taken for an option.
    #[error("`{0}` is no name of a machine")]
    BadHost(String),
    /// `ssh` itself did not run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// There is no connection, or it broke.
    #[error("no connection to `{host}`{}", said(message))]
    Connection {
        /// The machine.
        host: String,
        /// What `ssh` says.
        message: String,
    },
    /// The command was not run.
    #[error("the shell of `{host}` does not run commands{}", said(message))]
    Shell {
        /// The machine.
        host: String,
        /// What was said instead.
        message: String,
    },
    /// The command ended badly.
    #[error("a command on `{host}` failed with exit code {code}{}", said(message))]
    Failed {
        /// The machine.
        host: String,
        /// Its exit code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// It was given up.
    #[error("`{host}` did not answer within {} s", limit.as_secs())]
    Silent {
        /// The machine.
        host: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Its output could not be taken.
    #[error("cannot use what `{host}` sends")]
    Output {
        /// The machine.
        host: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl SshError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connection { host, message } if message.contains("Permission denied") => {
                Some(format!(
                    "`ssh {host}` must work without a question where nobody can be asked: add a key to ssh-agent, \
                 or stay connected in another terminal with ControlMaster"
                ))
            }
            Self::Connection { host, message } if message.contains("Host key verification") => {
                Some(format!("`ssh {host}` shows what is wrong"))
            }
            Self::Connection { host, .. } | Self::Silent { host, .. } => {
                Some(format!("`ssh {host} true` must work"))
            }
            Self::Shell { host, .. } => Some(format!("`ssh {host} sh -c true` must work")),
            _ => None,
        }
    }
}

/// Puts what a program said behind a message, if it said anything.
fn said(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let text = lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match &text[..end] {
        "" => String::new(),
        shown if end < text.len() => format!(": {shown}…"),
        shown => format!(": {shown}"),
    }
}

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its error output.
    pub complaint: String,
}

/// A connection to a machine, which ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    options: SshOptions,
    /// The socket of our own connection; without one, the user's is used.
    socket: Option<PathBuf>,
}

impl Connection {
    /// Connects, and runs a command that does nothing.
    pub fn open(options: SshOptions) -> Result<Self, SshError> {
        let is_name = !options.host.is_empty() && !options.host.starts_with('-');
        if !is_name || options.host.contains(char::is_control) {
            return Err(SshError::BadHost(options.host));
        }
        let mut connection = Self {
            socket: None,
            options,
        };
        if !connection.is_open_already()? {
            let socket = connection.options.dir.join("c");
            if socket.as_os_str().len() > SOCKET_BYTES_MAX {
                return Err(SshError::Connection {
                    host: connection.options.host.clone(),
                    message: format!("the path `{}` is too long for a socket", socket.display()),
                });
            }
            connection.socket = Some(socket);
        }
        connection.ask("true", &[])?;
        Ok(connection)
    }

    /// Returns the name of the machine.
    pub fn host(&self) -> &str {
        &self.options.host
    }

    /// Tells whether the user has a connection that can be shared.
    fn is_open_already(&self) -> Result<bool, SshError> {
        let mut command = self.command();
        command.args(["-O", "check"]).arg(&self.options.host);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        let status = command.status().map_err(|cause| self.not_started(cause))?;
        Ok(status.success())
    }

    fn command(&self) -> Command {
        let mut words = self.options.program.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new("ssh"), OsString::as_os_str));
        command.args(words);
        command
    }

    fn not_started(&self, cause: io::Error) -> SshError {
        let program = self.options.program.first();
        SshError::Exec(ExecError::Start {
            program: program.map_or_else(|| "ssh".into(), PathBuf::from),
            cause,
        })
    }

    /// The options of `ssh` by which the connection is shared.
    fn sharing(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        let mut set = |option: &str| options.extend(["-o".into(), option.into()]);
        if !self.options.can_ask {
            set("BatchMode=yes");
        }
        let Some(socket) = &self.socket else {
            return options;
        };
        set("ConnectTimeout=30");
        set("ServerAliveInterval=15");
        set("ServerAliveCountMax=4");
        set("ControlMaster=auto");
        set(&format!("ControlPersist={PERSIST_S}"));
        // A percent sign would be expanded.
        let mut path = OsString::from("ControlPath=");
        path.push(OsStr::from_bytes(&doubled(socket.as_os_str().as_bytes())));
        options.extend(["-o".into(), path]);
        options
    }

    /// Returns what `rsync` takes for its remote shell. It is given any host and the words of a
    /// command, and skips what the shell of the machine says before that.
    pub fn remote_shell(&self) -> OsString {
        let marker = format!("sweepfs-{}", Uuid::new_v4().simple());
        let mut ssh = self.options.program.clone();
        if ssh.is_empty() {
            ssh.push("ssh".into());
        }
        ssh.extend(self.sharing());
        ssh.extend(["-T", "--", &self.options.host].map(OsString::from));
        let ssh = ssh.iter().map(|word| quoted_bytes(word));
        let mut script = ssh.collect::<Vec<_>>().join(&b' ');
        // The host is left out. What `rsync` runs has no special characters in it.
        let rest = format!(
            r#" "exec sh -c 'echo {marker}; exec \"\$@\"' sh $*" | {{ while read -r line; do case $line in *{marker}) exec cat ;; esac; done; exit 255; }}"#
        );
        script.extend_from_slice(rest.as_bytes());
        let script = [b"shift; ", script.as_slice()].concat();
        rsync_words(&["sh", "-c"].map(OsStr::new), &script)
    }

    /// Runs a script of `sh` with arguments, without input, and returns all its output.
    pub fn ask(&self, script: impl AsRef<[u8]>, args: &[&OsStr]) -> Result<Answer, SshError> {
        self.ask_with(script, args, |_| Ok(()))
    }

    /// As [`Self::ask`] does, with a standard input that `write` writes. The script need not read
    /// all of it.
    pub fn ask_with(
        &self,
        script: impl AsRef<[u8]>,
        args: &[&OsStr],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
    ) -> Result<Answer, SshError> {
        let mut output = Vec::new();
        let mut answer = self.stream(script, args, write, |bytes| {
            output.extend_from_slice(bytes);
            match output.len() > OUTPUT_BYTES_MAX {
                true => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its answer does not end",
                )),
                false => Ok(()),
            }
        })?;
        answer.output = output;
        Ok(answer)
    }

    /// Runs a script of `sh` with arguments and a standard input, and hands on its output piece by
    /// piece. Returns its exit code and its error output.
    pub fn stream(
        &self,
        script: impl AsRef<[u8]>,
        args: &[&OsStr],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Answer, SshError> {
        let marker = format!("sweepfs-{}", Uuid::new_v4().simple());
        let text = whole_script(&marker, script.as_ref(), args);
        let mut child = self.start(text.len())?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let complaints = listen(child.stderr.take());
        let chunks = chunks_of(&mut child);
        let mut greeting = Greeting::new(&marker);
        let result = std::thread::scope(|scope| {
            scope.spawn(move || feed(stdin, &text, write));
            let read = self.read(&chunks, &mut greeting, &mut take);
            if read.is_err() {
                let _ = child.kill();
            }
            // Whoever still sends must not be waited for.
            drop(chunks);
            let status = child.wait().map_err(|cause| self.not_started(cause));
            read.and(status)
        });
        let complaint = complaints.recv_timeout(COMPLAINT_LIMIT);
        let complaint = complaint.unwrap_or_default();
        self.answer(result?.code(), &greeting, complaint)
    }

    /// Starts a script of `sh` that goes on until its standard input ends, and waits for the first
    /// line that it prints.
    pub fn keep(&self, script: &str, args: &[&OsStr]) -> Result<(Kept, String), SshError> {
        let marker = format!("sweepfs-{}", Uuid::new_v4().simple());
        let text = whole_script(&marker, script.as_bytes(), args);
        let mut child = self.start(text.len())?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let complaints = listen(child.stderr.take());
        let chunks = chunks_of(&mut child);
        // Who does not read it says why by other means.
        let _ = stdin.write_all(&text).and_then(|()| stdin.flush());
        let mut kept = Kept {
            child,
            stdin: Some(stdin),
        };
        let (mut greeting, mut line) = (Greeting::new(&marker), Vec::new());
        let read = self.read(&chunks, &mut greeting, &mut |bytes| {
            line.extend_from_slice(bytes);
            match line.contains(&b'\n') {
                // Enough is known.
                true => Err(io::ErrorKind::Other.into()),
                false => Ok(()),
            }
        });
        if line.contains(&b'\n') {
            let text = String::from_utf8_lossy(&line);
            return Ok((kept, text.lines().next().unwrap_or_default().to_owned()));
        }
        let status = kept.end();
        let complaint = complaints.recv_timeout(COMPLAINT_LIMIT).unwrap_or_default();
        read?;
        let answer = self.answer(
            status.and_then(|status| status.code()),
            &greeting,
            complaint,
        )?;
        Err(self.failed(&answer))
    }

    fn answer(
        &self,
        code: Option<i32>,
        greeting: &Greeting,
        complaint: String,
    ) -> Result<Answer, SshError> {
        let host = self.options.host.clone();
        match code {
            // What `ssh` itself ends with; commands of ours do not.
            None | Some(255) => Err(SshError::Connection {
                host,
                message: complaint,
            }),
            Some(_) if !greeting.is_over => Err(SshError::Shell {
                host,
                message: format!("{complaint}\n{}", greeting.text()),
            }),
            Some(code) => Ok(Answer {
                code,
                output: Vec::new(),
                complaint,
            }),
        }
    }

    fn start(&self, script_bytes: usize) -> Result<Child, SshError> {
        let mut command = self.command();
        command.args(self.sharing()).arg("-T").arg("--");
        command.arg(&self.options.host);
        // The script comes by the standard input: login shells differ in how they quote. `dd` reads
        // byte by byte, so that what follows is left for the script.
        command.arg(format!(
            "exec sh -c 'eval \"$(dd bs=1 count={script_bytes} 2>/dev/null)\"'"
        ));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().map_err(|cause| self.not_started(cause))
    }

    fn read(
        &self,
        chunks: &Receiver<io::Result<Vec<u8>>>,
        greeting: &mut Greeting,
        take: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), SshError> {
        let host = || self.options.host.clone();
        loop {
            let chunk = match chunks.recv_timeout(self.options.silence_max) {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    let limit = self.options.silence_max;
                    return Err(SshError::Silent {
                        host: host(),
                        limit,
                    });
                }
            };
            let taken = chunk.and_then(|chunk| match greeting.rest(&chunk) {
                Some([]) => Ok(()),
                Some(bytes) => take(bytes),
                None if greeting.seen.len() > GREETING_BYTES_MAX => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it says too much before the command begins",
                )),
                None => Ok(()),
            });
            taken.map_err(|cause| SshError::Output {
                host: host(),
                cause,
            })?;
        }
    }

    /// Makes an error of the answer to a command that failed.
    pub fn failed(&self, answer: &Answer) -> SshError {
        SshError::Failed {
            host: self.options.host.clone(),
            code: answer.code,
            message: answer.complaint.clone(),
        }
    }
}

/// A command on another machine that ends when this is dropped.
#[derive(Debug)]
pub struct Kept {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Kept {
    /// Ends its input, and waits for its end, but not for long.
    fn end(&mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        for _ in 0..ENDING_STEPS {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(ENDING_STEP),
                ended => return ended.ok().flatten(),
            }
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        let mut command = self.command();
        let mut path = OsString::from("ControlPath=");
        path.push(OsStr::from_bytes(&doubled(socket.as_os_str().as_bytes())));
        command.arg("-o").arg(path).args(["-O", "exit"]);
        command.arg(&self.options.host);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let _ = command.stderr(Stdio::null()).status();
    }
}

/// Doubles percent signs.
fn doubled(bytes: &[u8]) -> Vec<u8> {
    let double = |byte: &u8| std::iter::repeat_n(*byte, if *byte == b'%' { 2 } else { 1 });
    bytes.iter().flat_map(double).collect()
}

/// The script, with its arguments as `$1`, `$2`, …, after a line that marks its beginning.
fn whole_script(marker: &str, script: &[u8], args: &[&OsStr]) -> Vec<u8> {
    let mut text = format!("LC_ALL=C; export LC_ALL\nprintf '%s\\n' {marker}\nset --").into_bytes();
    for arg in args {
        text.push(b' ');
        text.extend(quoted_bytes(arg));
    }
    text.push(b'\n');
    text.extend_from_slice(script);
    text
}

/// Joins words so that `rsync` splits them again: at spaces, but for those in quotes, where a quote
/// is doubled. The name of the shell is added, so that its arguments begin at `$1`.
fn rsync_words(words: &[&OsStr], script: &[u8]) -> OsString {
    let mut text = words.join(OsStr::new(" ")).as_bytes().to_vec();
    text.extend_from_slice(b" '");
    for byte in script {
        text.extend(std::iter::repeat_n(
            *byte,
            if *byte == b'\'' { 2 } else { 1 },
        ));
    }
    text.extend_from_slice(b"' sh");
    OsStr::from_bytes(&text).to_owned()
}

fn feed(stdin: ChildStdin, script: &[u8], write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    // Who does not read it says why by other means.
    let mut stdin = io::BufWriter::with_capacity(CHUNK_BYTES, stdin);
    let written = stdin.write_all(script).and_then(|()| write(&mut stdin));
    let _ = written.and_then(|()| stdin.flush());
}

/// What a remote shell prints before our command begins, which a line of ours tells.
struct Greeting {
    marker: Vec<u8>,
    seen: Vec<u8>,
    is_over: bool,
}

impl Greeting {
    fn new(marker: &str) -> Self {
        Self {
            marker: format!("{marker}\n").into_bytes(),
            seen: Vec::new(),
            is_over: false,
        }
    }

    /// Returns what of a piece of output is the command's; `None` if it has not begun.
    fn rest<'c>(&mut self, chunk: &'c [u8]) -> Option<&'c [u8]> {
        if self.is_over {
            return Some(chunk);
        }
        let n_before = self.seen.len();
        self.seen.extend_from_slice(chunk);
        let from = n_before.saturating_sub(self.marker.len());
        let mut windows = self.seen[from..].windows(self.marker.len());
        let at = windows.position(|window| window == self.marker)?;
        self.is_over = true;
        Some(&chunk[from + at + self.marker.len() - n_before..])
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_skipped_wherever_they_are_cut() {
        let text = b"Welcome!\r\nsweepfs\nsweepfs-12\nout\nsweepfs-12\n";
        for cut in 0..text.len() {
            let mut greeting = Greeting::new("sweepfs-12");
            let mut found = Vec::new();
            for chunk in [&text[..cut], &text[cut..]] {
                found.extend_from_slice(greeting.rest(chunk).unwrap_or_default());
            }
            assert_eq!(found, b"out\nsweepfs-12\n", "cut at {cut}");
        }
    }
}
