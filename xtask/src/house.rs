//! Where things are in the house.

use std::path::PathBuf;

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
