//! Where things are in the house.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Names another top folder, for tests of the command line.
const ROOT: &str = "TURNKEEP_ROOT";

/// Gives the workspace's top folder.
pub(crate) fn root() -> PathBuf {
    if let Some(root) = std::env::var_os(ROOT) {
        return root.into();
    }
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// Gives the folder of the stories.
pub(crate) fn scenarios() -> PathBuf {
    root().join("scenarios")
}

/// Gives the folder of what each story must look like.
pub(crate) fn golden() -> PathBuf {
    root().join("golden")
}

/// Gives the schema of scenario files, which editors read.
pub(crate) fn schema() -> PathBuf {
    root().join("docs").join("scenario.schema.json")
}

/// Gives the cargo that started us, or the one that is found, to be started as if nothing had started us.
///
/// A cargo that runs a program tells it of the program's package. Build scripts that watch those variables, such as ring's, would run
/// again whenever cargo is started the other way, and all that is built on them with them.
pub(crate) fn cargo() -> Command {
    fresh(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Gives a program that starts cargo in its turn, to be started in the same way.
pub(crate) fn fresh(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_a_package)) {
        command.env_remove(name);
    }
    command
}

fn is_of_a_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Gives this program, to start it again.
pub(crate) fn this_binary() -> Result<PathBuf> {
    Ok(in_place_of(std::env::current_exe().context("this binary's path is unknown")?))
}

/// Gives the file that stands where `running` was started from.
///
/// `ci` has cargo build this very package, which puts a new file in the running one's place; Linux then marks the old path.
fn in_place_of(running: PathBuf) -> PathBuf {
    let replaced = running.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    replaced.unwrap_or(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_started_without_what_a_cargo_before_it_told_us() {
        let told = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_a_package)).count();

        let command = cargo();
        let removed: Vec<&str> =
            command.get_envs().filter_map(|(name, value)| value.is_none().then_some(name.to_str()?)).collect();

        assert!(removed.contains(&"CARGO_MANIFEST_DIR") && removed.contains(&"CARGO_PKG_NAME"), "{removed:?}");
        assert_eq!(removed.len(), told);
    }

    #[test]
    fn a_binary_that_was_built_again_is_found_in_its_place() {
        let running = |path: &str| in_place_of(PathBuf::from(path));

        assert_eq!(running("/target/debug/xtask (deleted)"), PathBuf::from("/target/debug/xtask"));
        assert_eq!(running("/target/debug/xtask"), PathBuf::from("/target/debug/xtask"));
    }
}
