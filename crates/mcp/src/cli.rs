//! The command line: what the server is told, and that it logs to stderr, since stdout is the protocol.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rmcp::ServiceExt as _;
use rmcp::transport::io::stdio;
use tracing_subscriber::filter::LevelFilter;
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::TaskId;

use crate::server::AgentTools;
use crate::settings::{ListedAgent, Settings};

const EXAMPLES: &str = "\
Examples:
  turnkeep-mcp --base-url http://127.0.0.1:3030 --secret-key tr_dev_4f1c0a --agent echo
  TURNKEEP_SECRET_KEY=tr_prod_4f1c0a turnkeep-mcp --base-url https://chat.example.com --agent \"refunds=Pays money back\"
  turnkeep-mcp --secret-key tr_dev_4f1c0a --read-only --agent echo --agent weather

An MCP client starts it and talks to it over stdin and stdout; it ends with its stdin. The log goes to stderr.
A flag wins over its environment variable. The key is better given as TURNKEEP_SECRET_KEY: other users of a machine see flags.

Exit codes: 0 the client is gone, 1 the client did not speak MCP, 2 the command line is wrong.";

/// An MCP server: assistants chat with the agents of a session server.
#[derive(Parser)]
#[command(name = "turnkeep-mcp", version, after_help = EXAMPLES)]
struct Cli {
    /// The session server
    #[arg(long, value_name = "URL", env = "TURNKEEP_BASE_URL", default_value = "http://127.0.0.1:3030")]
    base_url: BaseUrl,
    /// The environment's secret key, tr_dev_… or tr_prod_…
    #[arg(long, value_name = "K", env = "TURNKEEP_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// An agent that assistants may chat with, and what it is for; repeat it for more [default: any, none listed]
    #[arg(long = "agent", value_name = "ID[=DESCRIPTION]", value_parser = listed)]
    agents: Vec<ListedAgent>,
    /// The preview branch that every request is for
    #[arg(long, value_name = "NAME", env = "TURNKEEP_BRANCH")]
    branch: Option<String>,
    /// Offers list_agents alone
    #[arg(long)]
    read_only: bool,
    /// How long one answer may take before the call returns what there is
    #[arg(long, value_name = "S", env = "TURNKEEP_REPLY_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    reply_seconds: u64,
    /// What is logged on stderr
    #[arg(long, value_enum, env = "TURNKEEP_LOG", default_value = "warn")]
    log: LogLevel,
}

/// The least important thing that is logged.
#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

fn listed(text: &str) -> Result<ListedAgent, String> {
    let (id, description) = text.split_once('=').map_or((text, None), |(id, text)| (id, Some(text.to_owned())));
    if id.is_empty() {
        return Err("an agent has an id, as in echo or \"refunds=Pays money back\"".to_owned());
    }
    Ok(ListedAgent { id: TaskId::new(id), description })
}

impl Cli {
    fn settings(self) -> Settings {
        let settings = Settings::new(self.base_url, self.secret_key)
            .branch(self.branch)
            .read_only(self.read_only)
            .reply_limit(Duration::from_secs(self.reply_seconds));
        self.agents.into_iter().fold(settings, Settings::agent)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = runtime.expect("the system gives threads and sockets").block_on(serve(cli.settings()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the client did not speak MCP: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until stdin ends.
async fn serve(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let serving = AgentTools::new(Host::os(), settings).serve(stdio()).await?;
    serving.waiting().await?;
    Ok(())
}

fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_names_what_it_needs() {
        Cli::command().debug_assert();

        let error = Cli::try_parse_from(["turnkeep-mcp", "--agent", "=x"]).map(drop).unwrap_err().to_string();
        assert!(error.contains("an agent has an id"), "{error}");
    }

    #[test]
    fn agents_are_listed_with_what_they_are_for_c223() {
        let words = ["turnkeep-mcp", "--secret-key", "tr_dev_hidden", "--agent", "a", "--agent", "b=Does b = c"];
        let settings = Cli::try_parse_from(words).map_err(|error| error.to_string()).unwrap().settings();

        let said = crate::words::agents(&settings.agents);

        assert_eq!(said, "Agents:\n- a\n- b: Does b = c\n\nOpen a chat with one by start_agent_chat.");
        assert!(crate::words::agents(&[]).contains("--agent ID"));
        assert!(!format!("{settings:?}").contains("hidden"), "the key is not printed");
    }
}
