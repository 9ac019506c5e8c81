//! [`ScriptedProcesses`]: the programs of a host that runs none.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use turnkeep_host::{Command, Finished, Kept, Processes};

type Script = dyn Fn(&Command) -> io::Result<Finished> + Send + Sync;

/// Answers every command by a function, at once.
///
/// ```
/// use turnkeep_harness::{ScriptedProcesses, offline_host};
/// use turnkeep_host::Command;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let command = Command { program: "date".into(), args: Vec::new(), folder: "/".into(), max_kept_bytes: 3 };
/// let none = offline_host(7).process().run(command.clone()).await.unwrap_err();
/// assert_eq!(none.to_string(), "there are no processes here");
///
/// let host = offline_host(7).with_processes(ScriptedProcesses::saying("Monday"));
/// assert_eq!(host.process().run(command).await.unwrap().stdout.bytes, b"Mon");
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptedProcesses(Arc<Script>);

impl ScriptedProcesses {
    /// Makes programs that end as `script` says.
    pub fn new(script: impl Fn(&Command) -> io::Result<Finished> + Send + Sync + 'static) -> Self {
        Self(Arc::new(script))
    }

    /// Makes programs that all say `stdout` and end well.
    pub fn saying(stdout: impl Into<String>) -> Self {
        let text = stdout.into();
        Self::new(move |command| {
            let mut stdout = Kept::default();
            stdout.take(text.as_bytes(), command.max_kept_bytes);
            Ok(Finished { stdout, ..Finished::default() })
        })
    }
}

impl Processes for ScriptedProcesses {
    fn run(&self, command: Command) -> BoxFuture<'static, io::Result<Finished>> {
        let finished = (self.0)(&command);
        Box::pin(async { finished })
    }
}

impl fmt::Debug for ScriptedProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedProcesses")
    }
}
