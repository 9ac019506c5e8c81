//! The command line of a server: what it may be told, and how it starts, says so and ends.
//!
//! Behind the feature `cli`, for the binary of this package and for programs that serve agents beside the server.

mod args;
mod log;
mod serving;
mod settings;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use turnkeep_host::Host;

pub use args::{Format, GivenKey, Keep, KeyArgs, LogLevel, SecretKey, ServeArgs};
pub use log::log_to_stderr;
pub use serving::{ServeError, Serving};
pub use settings::{Settings, SettingsError};
pub use signals::Signals;

const EXAMPLES: &str = "\
Examples:
  turnkeep-session serve --secret-key tr_dev_4f1c0a
  TURNKEEP_SECRET_KEY=tr_prod_4f1c0a turnkeep-session serve --host 0.0.0.0 --port 8080
  turnkeep-session serve --secret-key tr_dev_4f1c0a --data /var/lib/turnkeep
  turnkeep-session serve --secret-key tr_dev_4f1c0a --in-memory --port 0 --format json
  turnkeep-session serve --config /etc/turnkeep.toml

A file of settings has the names of the flags, and what no flag can say:
  port = 8080
  secret-key-file = \"secret.key\"           # beside this file
  rate-limit = \"750,250/10\"
  [[retired-key]]                           # a key that was replaced, and counts until then
  key = \"tr_prod_9a81c2\"
  until = \"2026-12-01T00:00:00Z\"
  [[restricted-key]]                        # a key that may do only what its scopes say
  key = \"tr_prod_77b0e1\"
  scopes = [\"read:sessions\"]

Sessions are kept in the folder turnkeep-data unless --data names another. A flag wins over its environment variable, that over the file, and
that over the default. The first line on stdout says that the server is ready, and where;
with --format json it is one object: {\"event\":\"ready\",\"url\":…,\"agents\":[]}. Ctrl-C ends the server in order, a second one at once.

Exit codes: 0 ended in order, 1 it could not start or its store failed, 2 the command line or the file of settings is wrong.";

/// The folder that keeps the sessions when nothing else is said, in the working folder.
pub const DATA: &str = "turnkeep-data";

/// The session server of durable chats.
#[derive(Parser)]
#[command(name = "turnkeep-session", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves sessions until Ctrl-C; agents come from workers that lease runs with the same key
    #[command(after_long_help = EXAMPLES)]
    Serve(ServeArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Cli { verb: Verb::Serve(args) } = Cli::parse();
    let settings = match args.settings(Keep::Folder(DATA.into())) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    log_to_stderr(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = runtime.expect("the system gives threads and sockets").block_on(serve(&settings));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let mut signals = Signals::listen()?;
    let serving = Serving::start(Host::os(), settings).await?;
    println!("{}", serving.ready_line(settings.format, &[]));
    let (stop, at_once) = signals.split();
    tokio::select! {
        biased;
        () = at_once => Ok(()),
        ended = serving.run_until(stop) => ended,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_examples_are_commands() {
        Cli::command().debug_assert();

        let examples = EXAMPLES.lines().filter_map(|line| Some(line.split_once("turnkeep-session ")?.1));
        let with_key =
            |line: &str| if line.contains("--secret-key") { "" } else { " --secret-key tr_dev_1" }.to_owned();
        for line in examples {
            let words = format!("turnkeep-session {line}{}", with_key(line));
            Cli::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string()).unwrap();
        }
    }
}
