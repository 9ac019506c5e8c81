//! The real machine's programs, each with its own process group so that it ends with everything it has started.

use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::time::timeout;

use crate::{Command, Finished, Kept, Processes};

/// How long a program's children may hold its outputs open after its own end.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes of an output are read at once.
const READ_BYTES: usize = 8 * 1024;

pub(super) struct Programs;

impl Processes for Programs {
    fn run(&self, command: Command) -> BoxFuture<'static, io::Result<Finished>> {
        Box::pin(run(command))
    }
}

async fn run(command: Command) -> io::Result<Finished> {
    let mut child = start(&command)?;
    // Dropped before the child is, while its number is certainly its own.
    let mut group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut finished = Finished::default();
    let cap = command.max_kept_bytes;
    let status = {
        let Finished { stdout: out, stderr: err, .. } = &mut finished;
        let mut outputs = pin!(async { tokio::join!(keep(stdout, out, cap), keep(stderr, err, cap)) });
        let ended = tokio::select! {
            biased;
            _ = &mut outputs => None,
            status = child.wait() => Some(status?),
        };
        match ended {
            None => child.wait().await?,
            Some(status) => {
                if timeout(LINGER, &mut outputs).await.is_err() {
                    group.kill();
                    // One that has left the group keeps its pipe; what it says is not waited for.
                    let _ = timeout(LINGER, &mut outputs).await;
                }
                status
            }
        }
    };
    group.disarm();
    finished.exit_code = exit_code(status);
    Ok(finished)
}

fn start(command: &Command) -> io::Result<Child> {
    let mut program = tokio::process::Command::new(&command.program);
    program.args(&command.args).current_dir(&command.folder).kill_on_drop(true);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    program.process_group(0);
    program.spawn()
}

/// Reads an output to its end; a broken one has ended.
async fn keep(output: Option<impl AsyncRead + Unpin>, kept: &mut Kept, max_kept_bytes: usize) {
    let Some(mut output) = output else {
        return;
    };
    let mut buffer = [0; READ_BYTES];
    while let Ok(n_read @ 1..) = output.read(&mut buffer).await {
        kept.take(&buffer[..n_read], max_kept_bytes);
    }
}

#[cfg(unix)]
fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;

    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

#[cfg(not(unix))]
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// The process group of a program; killed when it is dropped before the program is through.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(rustix::process::Pid::from_raw) }
    }

    fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // A group that is gone already is as good as killed.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    fn disarm(&mut self) {
        self.leader = None;
    }
}

/// Elsewhere a program is killed alone, by `kill_on_drop`.
#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn kill(&mut self) {}

    fn disarm(&mut self) {}
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
