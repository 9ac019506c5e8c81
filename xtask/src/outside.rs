//! An author's crate outside this workspace: the two files of docs/guide/start.md and the tool of docs/guide/tools.md that needs no other
//! dependency, in a folder of their own, with what cargo does by itself.
//!
//! The harness must work there without any flag, feature or configuration (D-28). What the page tells authors to type is what is tested.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::house;

const PAGE: &str = "docs/guide/start.md";

const TOOLS_PAGE: &str = "docs/guide/tools.md";

/// Under which heading that page derives schemas with nothing but the agent's crate.
const TOOLS_HEADING: &str = "\n## With no other dependency\n";

/// What each block of a test begins with.
const TEST_BLOCK: &str = "rust,test_harness";

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
    "TURNKEEP_FORBID_MODEL_CALLS",
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
    let page = fs::read_to_string(root.join(TOOLS_PAGE)).with_context(|| format!("{TOOLS_PAGE} cannot be read"))?;
    let tool = tool(&page).with_context(|| format!("{TOOLS_PAGE} has no example under its heading"))?;
    fs::create_dir(folder.path().join("tests"))?;
    fs::write(folder.path().join("tests/tool.rs"), tool)?;
    let told = cargo(folder.path(), target, &["test", "--quiet"]);
    // The folder's name is new each time; what it alone left behind would pile up.
    cargo(folder.path(), target, &["clean", "--quiet", "--package", CRATE])?;
    let told = told?;
    if told.matches("1 passed").count() != 2 {
        bail!("the author's crate did not run both tests:\n{told}");
    }
    Ok(())
}

/// Finds the page's first block of each kind.
fn files(page: &str) -> Option<(&str, &str)> {
    Some((block(page, "toml")?, block(page, TEST_BLOCK)?))
}

/// Finds the tool whose types derive through the agent's crate.
fn tool(page: &str) -> Option<&str> {
    let (_, section) = page.split_once(TOOLS_HEADING)?;
    block(section, TEST_BLOCK)
}

fn block<'a>(page: &'a str, kind: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n```{kind}\n"))?;
    rest.split_once("\n```\n").map(|(block, _)| block)
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
    let mut command = house::cargo();
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
    fn the_tools_page_derives_through_the_agents_crate_d28() {
        let page = fs::read_to_string(house::root().join(TOOLS_PAGE)).unwrap();

        let tool = tool(&page).unwrap();

        let used = tool.lines().filter(|line| line.starts_with("use "));
        assert!(used.clone().count() > 0 && used.clone().all(|line| line.starts_with("use turnkeep_")), "{tool}");
        assert!(tool.contains("JsonSchema)]") && tool.contains("json!(") && tool.contains("#[test]"));
    }

    #[test]
    fn only_the_profiles_of_a_test_build_are_copied() {
        let manifest = "[workspace]\nmembers = []\n[profile.dev]\nopt-level = 1\n\n[profile.dev.package.\"*\"]\ndebug = false\n[profile.sim]\nlto = true\n";

        assert_eq!(profiles(manifest), "[profile.dev]\nopt-level = 1\n\n[profile.dev.package.\"*\"]\ndebug = false\n");
    }
}
