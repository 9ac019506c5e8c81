//! The command line: verbs, flags, help, exit codes.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use turnkeep_session::cli::ServeArgs;

use crate::address::{self, Address};
use crate::bad_input::BadInput;
use crate::rule_id::Area;
use crate::{bench, bless, chat, fuzz, interop, red, serve, sim, spec, steps, tidy};

const EXIT_CODES: &str = "\
Exit codes:
  0  everything held
  1  anything unforeseen, such as a panic
  2  bad input: the command line or a scenario file
  3  safety: something happened that must never happen
  4  the world did not settle, or a wait ran out
  5  a golden differs
  6  twin runs differ
  Of several, the first of 6, 3, 4, 5 and 1 counts.";

const SIM_EXAMPLES: &str = "\
Examples:
  cargo xtask sim                                  every scenario on its own seed
  cargo xtask sim several-turns --seeds 1..50      one scenario on 49 seeds
  cargo xtask sim several-turns@7+1234             one run, the trace around that moment marked
  cargo xtask sim --store redb                     every scenario on the embedded store
  cargo xtask sim --twin --seeds 1..20             each run three times, traces compared
  cargo xtask sim several-turns --trace target/trace --format json";

const BLESS_EXAMPLES: &str = "\
Examples:
  cargo xtask bless                   every golden and the scenario schema
  cargo xtask bless several-turns     one golden; read the diff before you commit it";

const SPEC_EXAMPLES: &str = "\
Examples:
  cargo xtask spec                                           every id of docs/spec with who cites it
  cargo xtask spec --area runtime --uncited                  the runtime's ids that no test cites
  cargo xtask spec --area runtime --except 14,15,C.7 --check   exit code 1 while there are any elsewhere
  cargo xtask spec --section C.2 --format json

What cites an id: a comment or text in a test, a test's name (`…_a97_ar31`), a story under scenarios/. A range such as A-87…A-89 cites each
id in it. What the headings of test code and what code outside tests name is listed too, and proves nothing. docs/spec/not-applicable.md has the ids that need no test.

JSON: one object.
  ids[]      id, area, page, line, section, title, status (cited | uncited | not-applicable), reason (only if not-applicable),
             cited_by[] and implemented_in[]: kind (test | scenario | module | code), path, name (of a test or story), line
  counts{}   by prefix, of all that were asked for: ids, cited, uncited, not_applicable";

const RED_EXAMPLES: &str = "\
Examples:
  cargo xtask red                    every defence of every story; half a minute each
  cargo xtask red several-turns      the defences of one story
  cargo xtask red --list             what is in the bank";

const SERVE_EXAMPLES: &str = "\
Examples:
  cargo xtask serve --secret-key tr_dev_4f1c0a
  cargo xtask serve --secret-key tr_dev_4f1c0a --port 0 --format json

Server and conformance agents (docs/spec/conformance-agents.md) in one process. Sessions are kept in the folder turnkeep-data unless --data
names another, or --in-memory keeps nothing. The first line on stdout says
that both are ready, with --format json as one object: {\"event\":\"ready\",\"url\":…,\"agents\":[…]}. Ctrl-C lets turns under way end, a second one
ends at once. A flag wins over its environment variable, and that over the default.";

const CHAT_EXAMPLES: &str = "\
Examples:
  cargo xtask chat --secret-key tr_dev_4f1c0a                                  with the agent `echo` of `cargo xtask serve`
  cargo xtask chat --agent slow --chat holiday                                 begins the chat `holiday`, or goes on with it
  cargo xtask chat --agent tool 'How warm is it in Oslo?'                      one turn
  printf 'Hello\\nAnd now?\\n' | cargo xtask chat --agent history               a turn for each line

Ctrl-C stops an answer; once more, or at the prompt, it leaves, as Ctrl-D does. A chat that was killed, in an answer or between, goes on when
it is named again: what was said is shown, and an answer that was cut is written from its beginning. TURNKEEP_SECRET_KEY and TURNKEEP_BASE_URL
stand for the flags; NO_COLOR keeps colours away.";

const INTEROP_EXAMPLES: &str = "\
Examples:
  cargo xtask interop              every case, after npm ci where it is due
  cargo xtask interop RC-10        only the cases that cite one fact of docs/spec/real-clients.md";

const FUZZ_EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                          both decoders, a minute each
  cargo xtask fuzz records --seconds 3600   one of: frames, records

cargo-fuzz builds and drives the targets of crates/client/fuzz on the compiler that builds everything else; where it is missing it is
installed below target/. What a run found out about the code is kept in target/fuzz/corpus, and the next run goes on from there. An input
that breaks something is written to crates/client/fuzz/artifacts, with the command that shows it again; make a test of it.";

const BENCH_EXAMPLES: &str = "\
Examples:
  cargo xtask bench mock                 every measurement, from a release build
  cargo xtask bench mock long-chat       one of: chats, long-chat, tools
  cargo xtask bench mock --smoke         a hundredth of each from this build, to see that it still runs

chats      200 chats at once, 5 turns each, 20 text deltas an answer
long-chat  one chat, 500 turns of 20 text deltas
tools      200 chats at once, 2 turns each, every turn a tool call and then 20 text deltas

JSON, a line each: name, turns_per_s, chunks_per_s, p50_ms and p99_ms of a turn, peak_rss_mb (null where the system does not tell),
first_ms and last_ms (the mean work of a turn in the first and in the last tenth), growth (the last by the first).";

const SERVE_BENCH_EXAMPLES: &str = "\
Examples:
  cargo xtask bench serve                               10,000 idle readers, 2,000 records a second over 1,000 sessions
  cargo xtask bench serve --store memory                the same without a disk
  cargo xtask bench serve --rate 4000 --seconds 30      a higher rate, for longer
  cargo xtask bench serve --smoke                       a hundredth of each, to see that it still runs

JSON, a line each:
  idle     sessions with two turns behind them and a run that waits: kb_per_session, kb_per_reader, rss_mb of the server's process with all of them
  live     records_per_s; p50_ms and p99_ms from the beginning of an append to the reader that has the record; rss_mb
  appends  appends_per_s; p50_ms and p99_ms from the beginning of an append to its acknowledgement
The clients run on the same machine as the server and take their part of it. Linux only: nowhere else is a process's memory told.";

const DECODE_BENCH_EXAMPLES: &str = "\
Examples:
  cargo xtask bench decode                      two million records, from a release build
  cargo xtask bench decode --records 20000000   for longer
  cargo xtask bench decode --smoke              a hundredth, to see that it still runs

JSON, one line: records_per_s of the processor's time, on one core; mb_per_s, of the stream's bytes; first_rss_mb and last_rss_mb, the memory
after the first tenth and at the end (null where the system does not tell). The stream is one that a watching page reads: batches of up to 100
text deltas, cut every 16 KiB as a network may.";

/// The house's tool: it runs the stories and keeps the rules.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Replays scenarios in the simulated world, judges each run and compares its golden
    #[command(after_long_help = format!("{SIM_EXAMPLES}\n\n{EXIT_CODES}"))]
    Sim(SimArgs),
    /// Writes goldens and the scenario schema, after showing what changes; never in CI
    #[command(after_long_help = BLESS_EXAMPLES)]
    Bless(BlessArgs),
    /// Proves that stories can fail: takes their defences out of a copy of the tree, one by one
    #[command(after_long_help = RED_EXAMPLES)]
    Red(RedArgs),
    /// Checks the house rules that a machine can check
    Tidy,
    /// Lists each id of docs/spec with the tests and scenarios that cite it, and the ids nobody cites
    #[command(after_long_help = SPEC_EXAMPLES)]
    Spec(SpecArgs),
    /// Serves sessions and the conformance agents over TCP, for clients of all kinds
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Talks to a served agent in the terminal, and goes on with a chat that was cut
    #[command(after_long_help = CHAT_EXAMPLES)]
    Chat(chat::ChatArgs),
    /// Drives the served system with the real npm clients; needs Node 20 or newer and npm
    #[command(after_long_help = INTEROP_EXAMPLES)]
    Interop(InteropArgs),
    /// Measures how fast turns are on this machine
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Feeds the decoders of the client what a fuzzer thinks up
    #[command(after_long_help = FUZZ_EXAMPLES)]
    Fuzz(FuzzArgs),
    /// Runs every test of the workspace
    #[command(after_long_help = "Examples:\n  cargo xtask test\n  cargo xtask test -- -p turnkeep-client")]
    Test(TestArgs),
    /// Runs all that must hold before a commit: format, lints, tests, tidy, stories, twins, crates without the flag, an author's crate outside
    Ci,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The runtime behind the harness's mock chat and mock model, in virtual time
    #[command(after_long_help = BENCH_EXAMPLES)]
    Mock(BenchArgs),
    /// The session server over real TCP: idle sessions and readers, records at a steady rate, appends as fast as they go
    #[command(after_long_help = SERVE_BENCH_EXAMPLES)]
    Serve(ServeBenchArgs),
    /// The client's decoder: bytes of a stream to records
    #[command(after_long_help = DECODE_BENCH_EXAMPLES)]
    Decode(DecodeBenchArgs),
}

/// How much is decoded.
#[derive(Debug, Args)]
pub(crate) struct DecodeBenchArgs {
    /// Records in all
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    pub(crate) records: u64,
    /// A hundredth, from this build: only to see that it runs
    #[arg(long)]
    pub(crate) smoke: bool,
}

/// What to measure, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Measurements; all when none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// A hundredth of each, from this build: only to see that it runs
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Measures in this process; for the process of its own that each measurement gets
    #[arg(long, hide = true)]
    pub(crate) here: bool,
}

/// How much is asked of the server.
#[derive(Debug, Args)]
pub(crate) struct ServeBenchArgs {
    /// Idle sessions, each with a reader that waits
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) readers: usize,
    /// Live sessions, each with a reader
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) sessions: usize,
    /// Records per second over all live sessions
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(crate) rate: usize,
    /// How long each load lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// A hundredth of each for a second, from this build: only to see that it runs
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Where the server keeps its sessions
    #[arg(long, value_enum, default_value_t)]
    pub(crate) store: BenchStore,
    /// Serves in this process, keeping everything in FOLDER; for the process of its own that the server gets
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) here: Option<PathBuf>,
}

/// Where a measured server keeps its sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchStore {
    /// Nowhere but in memory
    Memory,
    /// In the embedded store, in a folder for temporary files
    #[default]
    Redb,
}

impl BenchStore {
    /// Gives the name as the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb => "redb",
        }
    }
}

/// What to replay, and how to tell; the default replays everything once.
#[derive(Debug, Default, Args)]
pub(crate) struct SimArgs {
    /// Scenario names or addresses NAME@SEED or NAME@SEED+MS; all scenarios when none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<Address>,
    /// The seed to run on, in place of each scenario's own
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Seeds A to B, B excluded
    #[arg(long, value_name = "A..B", value_parser = address::seeds)]
    pub(crate) seeds: Option<Range<u64>>,
    /// Runs each seed twice in this process and once in another, and compares the whole traces
    #[arg(long)]
    pub(crate) twin: bool,
    /// How many runs at a time; all cores when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// What goes to stdout: a line per scenario, or a JSON object per run
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// What the session server keeps its sessions in
    #[arg(long, value_enum, default_value_t = StoreName::Journal)]
    pub(crate) store: StoreName,
    /// Writes every run's trace to DIR/NAME@SEED.jsonl
    #[arg(long, value_name = "DIR")]
    pub(crate) trace: Option<PathBuf>,
    /// Prints name, seed and the trace's hash per run, nothing else; for the other process of `--twin`
    #[arg(long, hide = true, conflicts_with = "twin")]
    pub(crate) hashes: bool,
}

/// What the session server of a story keeps its sessions in; whichever it is, the story is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreName {
    /// A state in memory with a journal on the world's disk
    #[default]
    Journal,
    /// The embedded store on the world's disk
    Redb,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

/// Which goldens to write.
#[derive(Debug, Args)]
pub(crate) struct BlessArgs {
    /// Scenario names; all when none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Which ids to list, and how; the default lists all.
#[derive(Debug, Default, Args)]
pub(crate) struct SpecArgs {
    /// Only the ids of this part of the specification
    #[arg(long, value_enum)]
    pub(crate) area: Option<Area>,
    /// Only the ids of these sections: 14 has 14.1 and 14.2 in it, C has C.7
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    pub(crate) section: Vec<String>,
    /// Not the ids of these sections
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    pub(crate) except: Vec<String>,
    /// Only the ids that no test and no scenario cites, a line each
    #[arg(long)]
    pub(crate) uncited: bool,
    /// Exits with 1 when a listed id that needs a test has none
    #[arg(long)]
    pub(crate) check: bool,
    /// What goes to stdout: lines, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Which defences to take out.
#[derive(Debug, Args)]
pub(crate) struct RedArgs {
    /// Scenario names; all that the bank has when none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Prints the bank and runs nothing
    #[arg(long)]
    pub(crate) list: bool,
}

/// Which cases to run.
#[derive(Debug, Args)]
pub(crate) struct InteropArgs {
    /// Words that a case's name has in it; all cases when none is given
    #[arg(value_name = "WORDS")]
    pub(crate) names: Vec<String>,
}

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Targets; all when none is given
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// How long each target is fuzzed
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Goes to `cargo test` in place of `--workspace`
    #[arg(last = true, value_name = "CARGO TEST ARGS")]
    rest: Vec<String>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.verb {
        Verb::Sim(args) => sim::sim(&args),
        Verb::Bless(args) => bless::bless(&args),
        Verb::Red(args) => red::red(&args),
        Verb::Tidy => tidy::tidy(),
        Verb::Spec(args) => spec::spec(&args),
        Verb::Bench { what: Bench::Mock(args) } => bench::bench(&args),
        Verb::Bench { what: Bench::Serve(args) } => bench::serve::bench(&args),
        Verb::Bench { what: Bench::Decode(args) } => bench::decode::bench(&args),
        Verb::Serve(args) => serve::serve(&args),
        Verb::Chat(args) => chat::chat(args),
        Verb::Interop(args) => interop::interop(&args),
        Verb::Fuzz(args) => fuzz::fuzz(&args),
        Verb::Test(args) => steps::test(&args.rest),
        Verb::Ci => steps::ci(),
    };
    match result {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(err) if err.is::<BadInput>() => {
            eprintln!("error: {err}");
            ExitCode::from(2)
        }
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_seed_and_a_range_of_seeds_exclude_each_other() {
        let wrong = Cli::try_parse_from(["cargo xtask", "sim", "--seed", "1", "--seeds", "1..5"]);

        assert!(wrong.unwrap_err().to_string().contains("cannot be used with"));
    }

    #[test]
    fn every_example_of_the_help_is_a_command_that_exists() {
        let examples = [
            SIM_EXAMPLES,
            BLESS_EXAMPLES,
            RED_EXAMPLES,
            FUZZ_EXAMPLES,
            SPEC_EXAMPLES,
            SERVE_EXAMPLES,
            INTEROP_EXAMPLES,
            BENCH_EXAMPLES,
            SERVE_BENCH_EXAMPLES,
            DECODE_BENCH_EXAMPLES,
        ]
        .join("\n");
        for line in examples.lines().filter(|line| line.contains("cargo xtask")) {
            let command = line.trim().split("  ").next().unwrap();
            let words = command.split_whitespace().skip(2);
            Cli::try_parse_from(std::iter::once("cargo xtask").chain(words)).unwrap();
        }
    }
}
