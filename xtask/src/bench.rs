//! `cargo xtask bench`: how fast turns are on this machine, a JSON line per measurement.
//!
//! Numbers are for comparing two builds on one machine; nothing fails because of them. Each measurement has a process of its own, so
//! that its peak memory is its own. The mock chat runs server, worker and client in virtual time: what is measured is their work, never a wait.

mod chats;
pub(crate) mod decode;
mod sample;
pub(crate) mod serve;

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::bad_input::no_such;
use crate::cli::BenchArgs;
use crate::house;
use crate::verdict::Verdict;
use chats::Plan;

/// Measures what `args` ask for.
pub(crate) fn bench(args: &BenchArgs) -> Result<Verdict> {
    let plans = chosen(args)?;
    if args.here {
        for plan in &plans {
            println!("{}", chats::run(plan).json(plan.name));
        }
        return Ok(Verdict::Held);
    }
    for plan in &plans {
        progress(plan, args.smoke);
        let line = elsewhere(plan.name, args.smoke)?;
        print!("{line}");
        std::io::stdout().flush().context("stdout is closed")?;
    }
    Ok(Verdict::Held)
}

fn chosen(args: &BenchArgs) -> Result<Vec<Plan>> {
    let all = chats::plans(args.smoke);
    let names: Vec<&str> = all.iter().map(|plan| plan.name).collect();
    if let Some(name) = args.names.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(no_such("measurement", name, &names).into());
    }
    let is_chosen = |plan: &Plan| args.names.is_empty() || args.names.iter().any(|name| name == plan.name);
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// Has another process take one measurement and gives what it printed; what it says goes to stderr as it comes.
fn elsewhere(name: &str, smoke: bool) -> Result<String> {
    let mut command = command(smoke)?;
    command.args(["bench", "mock", "--here", name]);
    if smoke {
        command.arg("--smoke");
    }
    let output = command.stderr(Stdio::inherit()).output().context("the measuring process could not be started")?;
    if !output.status.success() {
        bail!("the measurement {name} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).context("the measuring process wrote no text")
}

/// Gives the program that measures: this one when that is good enough, else cargo's release build of it.
fn command(smoke: bool) -> Result<Command> {
    if smoke || !cfg!(debug_assertions) {
        return Ok(Command::new(house::this_binary()?));
    }
    let mut command = house::cargo();
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--"]).current_dir(house::root());
    Ok(command)
}

fn progress(plan: &Plan, smoke: bool) {
    if std::io::stderr().is_terminal() {
        let build = if cfg!(debug_assertions) && !smoke { ", after cargo's release build" } else { "" };
        eprintln!("{}: {} turns{build}", plan.name, plan.n_turns());
    }
}
