//! Where things are in the house.

use std::ffi::OsString;
use std::path::PathBuf;

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

/// Gives the cargo that started us, or the one that is found.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
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
    fn a_binary_that_was_built_again_is_found_in_its_place() {
        let running = |path: &str| in_place_of(PathBuf::from(path));

        assert_eq!(running("/target/debug/xtask (deleted)"), PathBuf::from("/target/debug/xtask"));
        assert_eq!(running("/target/debug/xtask"), PathBuf::from("/target/debug/xtask"));
    }
}
