//! An author's crate outside this workspace: the two files of docs/guide/start.md in a folder of their own, with what cargo does by itself.
//!
//! The harness must work there without any flag, feature or configuration (D-28). What the page tells authors to type is what is tested.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::house;

const PAGE: &str = "docs/guide/start.md";

/// Where the page says that this checkout lies.
const CHECKOUT: &str = "\"../turnkeep/";

/// The crate's name on the page.
const CRATE: &str = "greeter";

/// What a shell may have set and an author has not.
const OURS: &[&str] = &[
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
];

/// Makes the crate in a temporary folder and runs its tests; builds into `target`, so that the next time little is left to build.
pub(crate) fn author(target: &Path) -> Result<()> {
    let root = house::root();
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("{PAGE} cannot be read"))?;
    let (manifest, source) = files(&page).with_context(|| format!("{PAGE} has no `Cargo.toml` or no `src/lib.rs`"))?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let profiles = profiles(&fs::read_to_string(root.join("Cargo.toml"))?);
    let checkout = format!("\"{}/", root.display());
    fs::write(folder.path().join("Cargo.toml"), format!("{}\n{profiles}", manifest.replace(CHECKOUT, &checkout)))?;
    // The same versions as ours: what is built for them is built.
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).context("Cargo.lock cannot be copied")?;
    fs::create_dir(folder.path().join("src"))?;
    fs::write(folder.path().join("src/lib.rs"), source)?;
    let told = cargo(folder.path(), target, &["test", "--quiet"]);
    // The folder's name is new each time; what it alone left behind would pile up.
    cargo(folder.path(), target, &["clean", "--quiet", "--package", CRATE])?;
    let told = told?;
    if !told.contains("1 passed") {
        bail!("the author's crate ran no test:\n{told}");
    }
    Ok(())
}

/// Finds the page's first block of each kind.
fn files(page: &str) -> Option<(&str, &str)> {
    let block = |kind: &str| {
        let (_, rest) = page.split_once(&format!("\n```{kind}\n"))?;
        rest.split_once("\n```\n").map(|(block, _)| block)
    };
    Some((block("toml")?, block("rust,test_harness")?))
}

/// Copies our profiles: they decide how fast code is, not whether it compiles, and with other ones everything would be built anew.
fn profiles(manifest: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[profile.dev");
        }
        if inside {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn cargo(folder: &Path, target: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(house::cargo());
    command.args(args).current_dir(folder).env("CARGO_TARGET_DIR", OsStr::new(target));
    for name in OURS {
        command.env_remove(name);
    }
    let output = command.output().context("cargo could not be started")?;
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if !output.status.success() {
        bail!("cargo {} in an author's crate ended with {}\n{told}", args.join(" "), output.status);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_both_files_and_names_nothing_but_agent_and_harness_d28() {
        let page = fs::read_to_string(house::root().join(PAGE)).unwrap();

        let (manifest, source) = files(&page).unwrap();

        let names =
            manifest.lines().filter(|line| line.contains("path = ")).map(|line| line.split(' ').next().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["turnkeep-agent", "turnkeep-harness"]);
        assert_eq!(
            manifest.lines().skip_while(|line| *line != "[dependencies]").filter(|l| l.contains('=')).count(),
            2
        );
        assert_eq!(manifest.matches(CHECKOUT).count(), 2);
        assert!(source.contains("#[test]") && manifest.contains(&format!("name = \"{CRATE}\"")));
    }

    #[test]
    fn only_the_profiles_of_a_test_build_are_copied() {
        let manifest = "[workspace]\nmembers = []\n[profile.dev]\nopt-level = 1\n\n[profile.dev.package.\"*\"]\ndebug = false\n[profile.sim]\nlto = true\n";

        assert_eq!(profiles(manifest), "[profile.dev]\nopt-level = 1\n\n[profile.dev.package.\"*\"]\ndebug = false\n");
    }
}
