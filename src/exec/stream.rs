//! Programs whose output is used while they run.

use super::{ExecError, spawn};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Of what a program says on its error output, so much is kept.
const COMPLAINT_BYTES_MAX: usize = 1 << 20;

const CHUNK_BYTES: usize = 1 << 16;

/// How often it is asked whether a program may go on.
const CUT_PAUSE: Duration = Duration::from_millis(100);

/// How long the error output is waited for after the end.
const COMPLAINT_LIMIT: Duration = Duration::from_secs(2);

/// Ends a program when whoever holds the other end of our input is gone, however that ended.
const LIFELINE: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- & program=$!
{ read -r _ <&3; kill "$program"; } >/dev/null 2>&1 & watch=$!
exec 3<&-
trap 'kill "$program"' TERM INT HUP
wait "$program"; code=$?
kill "$watch" 2>/dev/null
exit "$code""#;

/// Runs a program without input to its end, and hands on what it prints piece by piece. Returns its
/// exit code, `None` if a signal ended it, and what it said on its error output. Should we end
/// before it, it is ended, too, and so it is once `is_cut` says so.
pub fn stream(
    program: &Path,
    args: &[&OsStr],
    mut take: impl FnMut(&[u8]),
    is_cut: impl Fn() -> bool,
) -> Result<(Option<i32>, String), ExecError> {
    let mut command = Command::new("sh");
    command.args(["-c", LIFELINE, "sh"]).arg(program).args(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command, program)?;
    let mut lifeline = child.stdin.take();
    let complaint = listen(child.stderr.take());
    let chunks = chunks_of(&mut child);
    loop {
        match chunks.recv_timeout(CUT_PAUSE) {
            Ok(Ok(chunk)) => take(&chunk),
            Ok(Err(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if lifeline.is_some() && is_cut() {
            lifeline = None;
        }
    }
    let status = child.wait().map_err(|cause| ExecError::Start {
        program: program.to_owned(),
        cause,
    })?;
    let complaint = complaint.recv_timeout(COMPLAINT_LIMIT).unwrap_or_default();
    match status.code() {
        Some(127) => Err(ExecError::Start {
            program: program.to_owned(),
            cause: io::ErrorKind::NotFound.into(),
        }),
        // As a shell tells a signal.
        Some(code) if code > 128 => Ok((None, complaint)),
        code => Ok((code, complaint)),
    }
}

/// Collects what a program says on its error output. A connection that stays open behind it may
/// keep that open, too, so nobody may wait for its end.
pub(super) fn listen(stderr: Option<ChildStderr>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stderr) = stderr {
            let mut chunk = [0; 4096];
            while let Ok(n) = stderr.read(&mut chunk) {
                if n == 0 {
                    break;
                }
                let room = COMPLAINT_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..n.min(room)]);
            }
        }
        let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
    });
    receiver
}

/// Reads the output of a program in another thread. Dropping the receiver ends that.
pub(super) fn chunks_of(child: &mut Child) -> Receiver<io::Result<Vec<u8>>> {
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = sync_channel(16);
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let sent = match stdout.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => sender.send(Ok(chunk[..n].to_vec())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_and_ends() {
        let mut output = Vec::new();
        let args = ["-c", "echo a; echo b >&2; exit 24"].map(OsStr::new);
        let take = |chunk: &[u8]| output.extend_from_slice(chunk);
        let ran = stream(Path::new("sh"), &args, take, || false);
        assert_eq!(ran.expect("it runs"), (Some(24), "b\n".to_owned()));
        assert_eq!(output, b"a\n");
        let missing = stream(Path::new("/no/such/program"), &[], |_| {}, || false);
        assert!(matches!(missing, Err(ExecError::Start { .. })));
        let args = ["-c", "exec sleep 600"].map(OsStr::new);
        let cut = stream(Path::new("sh"), &args, |_| {}, || true);
        // The shell may say that it has seen its end.
        assert_eq!(cut.expect("it runs").0, None);
    }
}
