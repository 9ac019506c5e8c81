//! What `serve` may be told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

/// How a server is to be served; flags win over the environment, and that over the defaults.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "P", env = "TURNKEEP_PORT", default_value_t = 3030)]
    pub port: u16,
    /// The address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, value_name = "H", env = "TURNKEEP_HOST", default_value = "127.0.0.1", value_parser = address)]
    pub host: IpAddr,
    /// The environment's secret key, tr_dev_… or tr_prod_…; who has it may do everything
    #[arg(long, value_name = "K", env = "TURNKEEP_SECRET_KEY", hide_env_values = true)]
    pub secret_key: SecretKey,
    /// The folder that keeps the sessions; it is made when it is not there
    #[arg(long, value_name = "DIR", env = "TURNKEEP_DATA")]
    pub data: Option<PathBuf>,
    /// Keeps nothing when the server ends, whatever else is said
    #[arg(long)]
    pub in_memory: bool,
    /// How the ready line and the log are written
    #[arg(long, value_enum, env = "TURNKEEP_FORMAT", default_value_t = Format::Text)]
    pub format: Format,
    /// What is logged on stderr
    #[arg(long, value_enum, env = "TURNKEEP_LOG", default_value_t = LogLevel::Warn)]
    pub log: LogLevel,
}

impl ServeArgs {
    /// Gives where sessions are kept, or what the program does when nobody says.
    pub fn keep_or(&self, default: Keep) -> Keep {
        match &self.data {
            _ if self.in_memory => Keep::InMemory,
            Some(folder) => Keep::Folder(folder.clone()),
            None => default,
        }
    }
}

/// Where a server keeps its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In the process: nothing is left when it ends.
    InMemory,
    /// In a folder of this machine, durably (D-12).
    Folder(PathBuf),
}

/// How a program's output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs, an object a line.
    Json,
}

/// The least important thing that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may have to be looked at.
    Warn,
    /// What happened.
    Info,
    /// Everything.
    Debug,
}

/// An environment's secret key. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Gives the key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl FromStr for SecretKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = ["tr_dev_", "tr_stg_", "tr_prod_", "tr_preview_"].iter().find_map(|kind| text.strip_prefix(kind));
        match named {
            None => Err("a key begins with tr_dev_, tr_stg_, tr_prod_ or tr_preview_"),
            Some(rest) if rest.starts_with("sk_") => Err(
                "a key like tr_dev_sk_… is an additional key to the SDK, which would ask this server to sign for it: \
                     leave the sk_ out, as in tr_dev_4f1c0a",
            ),
            Some(rest) if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                Err("letters and digits follow, as in tr_dev_4f1c0a")
            }
            Some(_) => Ok(Self(text.to_owned())),
        }
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn refusal(words: &[&str]) -> String {
        let line = [&["serve"], words].concat();
        Line::try_parse_from(line).map(|line| format!("{:?}", line.serve)).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_the_sdk_would_not_sign_with_is_refused_with_what_to_take() {
        for (key, want) in [
            ("tr_dev_sk_abc", "leave the sk_ out"),
            ("tr_prod_sk_abc", "leave the sk_ out"),
            ("secret", "begins with tr_dev_"),
            ("tr_dev_", "letters and digits follow"),
            ("tr_dev_a b", "letters and digits follow"),
        ] {
            let text = refusal(&["--secret-key", key]);
            assert!(text.contains(want), "{key}: {text}");
        }
        assert_eq!("tr_dev_4f1c0a".parse::<SecretKey>().unwrap().expose(), "tr_dev_4f1c0a");
    }

    #[test]
    fn no_key_and_no_address_are_refused_by_name() {
        assert!(refusal(&[]).contains("--secret-key"));
        assert!(refusal(&["--secret-key", "tr_dev_1", "--host", "here"]).contains("such as 127.0.0.1"));
    }

    #[test]
    fn where_sessions_are_kept_is_said_or_left_to_the_program() {
        let keep = |words: &[&str]| {
            let line = ["serve", "--secret-key", "tr_dev_1"].into_iter().chain(words.iter().copied());
            Line::try_parse_from(line).map(|line| line.serve.keep_or(Keep::Folder("default".into())))
        };

        assert_eq!(keep(&[]).unwrap(), Keep::Folder("default".into()));
        assert_eq!(keep(&["--data", "here"]).unwrap(), Keep::Folder("here".into()));
        assert_eq!(keep(&["--in-memory"]).unwrap(), Keep::InMemory);
        assert_eq!(keep(&["--in-memory", "--data", "here"]).unwrap(), Keep::InMemory);
    }

    #[test]
    fn nothing_prints_the_key() {
        let line = Line::try_parse_from(["serve", "--secret-key", "tr_dev_4f1c0a"]).unwrap();

        assert!(!format!("{line:?}").contains("4f1c0a"));
    }
}
