//! `cargo xtask sim`: stories on seeds, in parallel, judged and told.

mod moment;
mod plan;
mod print;
mod twin;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use turnkeep_harness::trace;
use turnkeep_harness::world::Cast;

use crate::cast::cast;
use crate::cli::{Format, SimArgs};
use crate::judge::{Golden, Judged, judge};
use crate::verdict::Verdict;
use crate::watchdog::run_watched;
use crate::{pool, stories};
use plan::{Job, Telling};
use print::Tally;
use twin::Run;

/// Runs what `args` ask for and gives the worst verdict.
pub(crate) fn sim(args: &SimArgs) -> Result<Verdict> {
    let tellings = plan::choose(stories::load()?, args)?;
    let n_threads = args.jobs.map_or_else(pool::all_cores, usize::from);
    if args.hashes {
        print_hashes(&tellings, n_threads);
        return Ok(Verdict::Held);
    }
    if let Some(dir) = &args.trace {
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    let elsewhere = args.twin.then(|| twin::hashes_elsewhere(args, n_threads)).transpose()?;
    let worker = Worker { args, cast: cast(), elsewhere };
    Ok(run_all(&tellings, &worker, n_threads))
}

fn print_hashes(tellings: &[Telling], n_threads: usize) {
    let cast = cast();
    let hash = |job: &Job<'_>| trace::hash(&run_watched(job.scenario, &job.scenario.agent, job.seed, &cast).entries);
    pool::each(&plan::jobs(tellings), n_threads, hash, |job, hash| {
        println!("{} {} {hash}", job.scenario.name, job.seed)
    });
}

fn run_all(tellings: &[Telling], worker: &Worker<'_>, n_threads: usize) -> Verdict {
    let jobs = plan::jobs(tellings);
    let name_width = tellings.iter().map(|telling| telling.scenario.name.len()).max().unwrap_or(0);
    let bar = print::progress(jobs.len());
    let (mut tally, mut worst, mut n_failed) = (Tally::new(), Verdict::Held, 0);
    pool::each(
        &jobs,
        n_threads,
        |job| worker.work(job, &tellings[job.telling]),
        |job, done| {
            bar.set_message(job.scenario.name.clone());
            bar.inc(1);
            let telling = &tellings[job.telling];
            worst = worst.max(done.judged.verdict);
            n_failed += usize::from(done.judged.verdict != Verdict::Held);
            tally.add(&done.judged);
            let complete = tally.is_complete(telling);
            bar.suspend(|| match worker.args.format {
                Format::Json => println!("{}", print::json_line(&done.judged)),
                Format::Text if complete => print!("{}{}", tally.text(telling, name_width), done.moment),
                Format::Text => {}
            });
            if complete {
                tally = Tally::new();
            }
        },
    );
    bar.finish_and_clear();
    let held = jobs.len() - n_failed;
    eprintln!("{held} of {} runs held", jobs.len());
    worst
}

/// What every worker thread knows.
struct Worker<'a> {
    args: &'a SimArgs,
    cast: Cast,
    elsewhere: Option<BTreeMap<Run, String>>,
}

/// A run, judged, its trace put away.
struct Done {
    judged: Judged,
    /// The trace around the moment that was asked for.
    moment: String,
}

impl Worker<'_> {
    fn work(&self, job: &Job<'_>, telling: &Telling) -> Done {
        let mut judged = judge(job.scenario, job.seed, &self.cast, Golden::Compare);
        if let Err(err) = self.put_away(&mut judged, job) {
            judged.verdict = judged.verdict.max(Verdict::Unforeseen);
            judged.report = format!("{}{}@{}: {err:#}\n", judged.report, job.scenario.name, job.seed);
        }
        let moment = telling.moment_ms.map_or_else(String::new, |ms| moment::around(&judged.outcome.entries, ms));
        judged.outcome.entries = Vec::new();
        Done { judged, moment }
    }

    /// Writes and compares the trace.
    fn put_away(&self, judged: &mut Judged, job: &Job<'_>) -> Result<()> {
        if let Some(dir) = &self.args.trace {
            write_trace(dir, judged)?;
        }
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let again = twin::again(job.scenario, job.seed, &self.cast);
        let here = twin::first_difference(&trace::to_jsonl(&judged.outcome.entries), &trace::to_jsonl(&again));
        let run = (job.scenario.name.clone(), job.seed);
        let differs = match here {
            Some(difference) => Some(("in one process", difference.to_string())),
            None if elsewhere.get(&run) == Some(&trace::hash(&judged.outcome.entries)) => None,
            None => {
                Some(("in two processes", twin::compare_elsewhere(&judged.outcome.entries, &run, self.args.store)?))
            }
        };
        if let Some((place, difference)) = differs {
            let address = format!("{}@{}", run.0, run.1);
            judged.verdict = Verdict::TwinsDiffer;
            judged.report = format!(
                "twins differ: {address}\n  the same seed gave two traces {place}\n{difference}\n  again: cargo xtask sim {address} --twin\n"
            );
        }
        Ok(())
    }
}

fn write_trace(dir: &Path, judged: &Judged) -> Result<()> {
    let path = dir.join(format!("{}@{}.jsonl", judged.outcome.scenario, judged.outcome.seed));
    fs::write(&path, trace::to_jsonl(&judged.outcome.entries))
        .with_context(|| format!("{} cannot be written", path.display()))
}
