//! `cargo xtask fuzz`: the fuzz targets of the client's decoders, each for so long.
//!
//! cargo-fuzz builds and drives them; where it is missing it is installed below `target/`. No sanitizer: our crates have no unsafe code, and
//! so the compiler that builds everything else will do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bad_input::no_such;
use crate::cli::FuzzArgs;
use crate::house;
use crate::verdict::Verdict;

/// The targets, by the names of their files in `crates/client/fuzz/fuzz_targets`.
const TARGETS: [&str; 2] = ["frames", "records"];

/// The version of cargo-fuzz that is installed where none is.
const CARGO_FUZZ: &str = "0.13.2";

/// How long one input may take before it counts as a hang, in seconds.
const INPUT_SECONDS: u64 = 10;

/// The most memory that a target may take, in MiB; an input of a few kilobytes needs next to none.
const MEMORY_MB: u64 = 512;

/// Fuzzes what `args` name; the first finding ends it.
pub(crate) fn fuzz(args: &FuzzArgs) -> Result<Verdict> {
    let targets = choose(&args.targets)?;
    let fuzzer = Fuzzer::find()?;
    for target in &targets {
        eprintln!("\n== fuzz {target} for {} s", args.seconds);
        fuzzer.run(target, args.seconds)?;
    }
    println!("fuzz: nothing found in {} s each of {}", args.seconds, targets.join(", "));
    Ok(Verdict::Held)
}

fn choose(names: &[String]) -> Result<Vec<&'static str>> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let known = |name: &String| {
        let target = TARGETS.into_iter().find(|target| target == name);
        target.ok_or_else(|| no_such("fuzz target", name, &TARGETS).into())
    };
    names.iter().map(known).collect()
}

/// cargo-fuzz, and where it keeps things.
struct Fuzzer {
    program: PathBuf,
    folder: PathBuf,
    target: PathBuf,
}

impl Fuzzer {
    fn find() -> Result<Self> {
        let target = house::root().join("target").join("fuzz");
        let own = target.join("tools").join("bin").join("cargo-fuzz");
        let folder = house::root().join("crates").join("client").join("fuzz");
        let program = if answers(Path::new("cargo-fuzz")) { "cargo-fuzz".into() } else { own };
        if !answers(&program) {
            install(&target.join("tools"))?;
        }
        Ok(Self { program, folder, target })
    }

    /// What a run has found out is kept below `target/`, and the next one goes on from there; the recorded streams of the tests are seeds.
    fn run(&self, target: &str, seconds: u32) -> Result<()> {
        let corpus = self.target.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("{} cannot be made", corpus.display()))?;
        let mut command = self.fuzz("run", target);
        command.arg(&corpus).arg(self.folder.join("../tests/client/recorded"));
        command.args(["--", &format!("-max_total_time={seconds}"), &format!("-timeout={INPUT_SECONDS}")]);
        command.args([&format!("-rss_limit_mb={MEMORY_MB}"), "-print_final_stats=1"]);
        let status = command.status().context("cargo-fuzz could not be started")?;
        if !status.success() {
            bail!(
                "fuzz {target} ended with {status}. The input is in {}; to see it again: cargo fuzz run -s none {target} INPUT, in {}",
                self.folder.join("artifacts").join(target).display(),
                self.folder.display()
            );
        }
        Ok(())
    }

    fn fuzz(&self, verb: &str, target: &str) -> Command {
        let mut command = house::fresh(&self.program);
        command.args(["fuzz", verb, "--sanitizer", "none", "--fuzz-dir"]).arg(&self.folder);
        command.arg("--target-dir").arg(&self.target).arg(target).current_dir(&self.folder);
        command
    }
}

fn answers(program: &Path) -> bool {
    Command::new(program).args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success())
}

fn install(root: &Path) -> Result<()> {
    eprintln!("fuzz: cargo install cargo-fuzz {CARGO_FUZZ}, once");
    let mut command = house::cargo();
    command.args(["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root"]).arg(root);
    let status = command.status().context("cargo could not be started")?;
    if !status.success() {
        bail!("cargo install cargo-fuzz ended with {status}: it needs a registry that cargo can reach");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bad_input::BadInput;

    #[test]
    fn targets_are_those_that_have_a_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/client/fuzz/fuzz_targets");
        let entries = fs::read_dir(folder).unwrap();
        let mut files: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();

        assert_eq!(files, TARGETS.map(|target| format!("{target}.rs")));
    }

    #[test]
    fn an_unknown_target_is_answered_with_the_known_ones() {
        let error = choose(&["frame".to_owned()]).unwrap_err();

        assert!(error.is::<BadInput>());
        assert!(error.to_string().ends_with("did you mean `frames`?"), "{error}");
        assert_eq!(choose(&["records".to_owned()]).unwrap(), ["records"]);
        assert_eq!(choose(&[]).unwrap(), TARGETS);
    }
}
