//! Every scenario file as a test of its own: its own seed, its golden, its careless twin.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> anyhow::Result<ExitCode> {
    let args = Arguments::from_args();
    let trials = xtask::stories()?
        .into_iter()
        .map(|story| Trial::test(story.name().to_owned(), move || story.hold().map_err(Failed::from)))
        .collect();
    Ok(libtest_mimic::run(&args, trials).exit_code())
}
