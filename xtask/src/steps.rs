//! `cargo xtask test` and `cargo xtask ci`: cargo's own work, then ours, in the order in which things fail.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
// What tests of the workspace bring along. With it this program is built with the features that theirs has, and a cold run of
// `.ci/run` compiles each crate once; `cargo xtask tidy` compares the two.
use {proptest as _, turnkeep_model as _, wiremock as _};

use crate::cli::{SimArgs, StoreName};
use crate::house;
use crate::outside;
use crate::sim::sim;
use crate::tidy::tidy;
use crate::verdict::Verdict;

/// The seeds that `ci` adds to every scenario's own.
const MORE_SEEDS: std::ops::Range<u64> = 101..111;

/// The features that authors turn on in a workspace of their own.
const FOR_AUTHORS: &str = "turnkeep-model/anthropic,turnkeep-model/openai";

type Step = fn() -> Result<Verdict>;

/// Runs every test of the workspace with every feature, or what `rest` asks cargo for.
pub(crate) fn test(rest: &[String]) -> Result<Verdict> {
    let all = ["--workspace".to_owned(), "--all-features".to_owned()];
    let rest = if rest.is_empty() { &all } else { rest };
    cargo(&["test"], rest, &[])?;
    Ok(Verdict::Held)
}

/// Runs all that must hold before a commit; stops at the first step that does not hold.
pub(crate) fn ci() -> Result<Verdict> {
    say("format");
    cargo(&["fmt", "--all", "--check"], &[] as &[&str], &[])?;
    say("lints");
    let lints = ["--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    cargo(&["clippy"], &lints, &[])?;
    say("tests");
    test(&[])?;
    let ours: [(&str, Step); 5] = [
        ("tidy", tidy),
        ("every scenario on its seed", || sim(&SimArgs::default())),
        ("every scenario on ten more", || sim(&SimArgs { seeds: Some(MORE_SEEDS), ..SimArgs::default() })),
        ("every scenario on the embedded store", || sim(&SimArgs { store: StoreName::Redb, ..SimArgs::default() })),
        ("twins", || sim(&SimArgs { twin: true, ..SimArgs::default() })),
    ];
    for (name, step) in ours {
        say(name);
        let verdict = step()?;
        if verdict != Verdict::Held {
            eprintln!("ci: {name} did not hold");
            return Ok(verdict);
        }
    }
    say("crates and default harness without the flag (D-49)");
    let plain = house::root().join("target").join("plain");
    without_the_flag(&plain)?;
    say("an author's crate outside the workspace (D-28)");
    outside::author(&plain)?;
    eprintln!("ci: everything held");
    Ok(Verdict::Held)
}

/// Tests what authors build in a workspace of their own: no `tokio_unstable`, no feature `world`.
fn without_the_flag(plain: &Path) -> Result<()> {
    let mut packages = vec!["turnkeep-harness".to_owned()];
    for entry in fs::read_dir(house::root().join("crates")).context("crates/ cannot be read")? {
        packages.push(format!("turnkeep-{}", entry?.file_name().to_string_lossy()));
    }
    packages.sort();
    let args = packages.iter().flat_map(|package| ["-p", package]).chain(["--features", FOR_AUTHORS]);
    // An empty RUSTFLAGS replaces the flags of .cargo/config.toml; a folder of its own keeps both builds warm.
    cargo(
        &["test"],
        &args.collect::<Vec<_>>(),
        &[("RUSTFLAGS", OsStr::new("")), ("CARGO_TARGET_DIR", plain.as_os_str())],
    )
}

fn cargo(verb: &[&str], args: &[impl AsRef<OsStr>], env: &[(&str, &OsStr)]) -> Result<()> {
    let mut command = house::cargo();
    command.args(verb).args(args).envs(env.iter().copied()).current_dir(house::root());
    let status = command.status().context("cargo could not be started")?;
    if !status.success() {
        bail!("cargo {} ended with {status}", verb.join(" "));
    }
    Ok(())
}

fn say(step: &str) {
    eprintln!("\n== {step}");
}
