//! A child process that may run wild: code without its defence may spin or eat all memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The longest that a story without its defence may take on this machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The most memory that it may have, in KiB; known on Linux only.
const MEMORY_KIB: u64 = 4 * 1024 * 1024;

/// The rest between two looks at it.
const LOOK: Duration = Duration::from_millis(100);

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Why it had to be ended from here: `time` or `memory`.
    pub(super) why_killed: Option<&'static str>,
}

/// Runs a process to its end, or to its bounds.
pub(super) fn run(binary: &Path, args: &[OsString], folder: &Path) -> Result<Ended> {
    let files = tempfile::tempdir().context("there is no place for the output")?;
    let (out, err) = (files.path().join("out"), files.path().join("err"));
    let mut command = Command::new(binary);
    // A run in CI leaves no proposals behind.
    command.args(args).current_dir(folder).env("CI", "true").env_remove("TURNKEEP_ROOT").stdin(Stdio::null());
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = command.spawn().with_context(|| format!("{} could not be started", binary.display()))?;
    let why_killed = watch(&mut child, LIMIT, MEMORY_KIB)?;
    let code = child.wait()?.code();
    let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (mut stdout, stderr) = (read(&out)?, read(&err)?);
    if why_killed.is_some() {
        // The last line may be torn.
        stdout.truncate(stdout.rfind('\n').map_or(0, |end| end + 1));
    }
    Ok(Ended { code, stdout, stderr, why_killed })
}

#[expect(clippy::disallowed_methods, reason = "a process that runs wild is bounded by this machine's clock")]
fn watch(child: &mut Child, limit: Duration, memory_kib: u64) -> Result<Option<&'static str>> {
    let start = std::time::Instant::now();
    loop {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        let why = if start.elapsed() > limit {
            "time"
        } else if resident_kib(child.id()).is_some_and(|kib| kib > memory_kib) {
            "memory"
        } else {
            std::thread::sleep(LOOK);
            continue;
        };
        child.kill()?;
        return Ok(Some(why));
    }
}

/// Gives a process's resident memory, where the machine tells it.
fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_by_itself_is_left_alone() {
        let args = ["-c", "echo told; exit 3"].map(OsString::from);

        let ended = run(Path::new("/bin/sh"), &args, Path::new("/")).unwrap();

        assert_eq!((ended.code, ended.stdout.as_str(), ended.why_killed), (Some(3), "told\n", None));
    }

    #[test]
    fn a_process_past_its_bounds_is_killed() {
        let sleeper = || Command::new("/bin/sleep").arg("600").spawn().unwrap();

        let mut slow = sleeper();
        assert_eq!(watch(&mut slow, Duration::ZERO, u64::MAX).unwrap(), Some("time"));
        assert!(!slow.wait().unwrap().success());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_eats_memory_is_killed() {
        let mut greedy = Command::new("/bin/sleep").arg("600").spawn().unwrap();

        assert_eq!(watch(&mut greedy, LIMIT, 1).unwrap(), Some("memory"));
        assert!(!greedy.wait().unwrap().success());
    }
}
