//! What `serve` may be told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use serde::Deserialize;

use crate::RateLimit;

/// How a server is to be served; a flag wins over its environment variable, that over the file of settings, that over the default.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// A file of settings in TOML, by the names of the flags
    #[arg(long, value_name = "FILE", env = "TURNKEEP_CONFIG")]
    pub config: Option<PathBuf>,
    /// The port to listen on; 0 takes a free one [default: 3030]
    #[arg(long, value_name = "P", env = "TURNKEEP_PORT")]
    pub port: Option<u16>,
    /// The address to listen on; 0.0.0.0 lets other machines in [default: 127.0.0.1]
    #[arg(long, value_name = "H", env = "TURNKEEP_HOST", value_parser = address)]
    pub host: Option<IpAddr>,
    /// The secret key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// The folder that keeps the sessions; it is made when it is not there
    #[arg(long, value_name = "DIR", env = "TURNKEEP_DATA")]
    pub data: Option<PathBuf>,
    /// Keeps nothing when the server ends, whatever else is said
    #[arg(long)]
    pub in_memory: bool,
    /// Takes the chat snapshots beside the sessions though they are another store's, or though some are missing and nothing says whose
    /// they are: for one start, when they are known to be all that is left
    #[arg(long)]
    pub adopt_snapshots: bool,
    /// How many requests clients may make together: so many at once, and so many more each interval [default: unbounded]
    #[arg(long, value_name = "BURST,REFILL/SECONDS", env = "TURNKEEP_RATE_LIMIT", value_parser = rate_limit)]
    pub rate_limit: Option<RateLimit>,
    /// How long a worker may be silent before its run goes to another one [default: 10]
    #[arg(long, value_name = "S", env = "TURNKEEP_LEASE_SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub lease_seconds: Option<u64>,
    /// How long requests under way may take once the server is told to end [default: 20]
    #[arg(long, value_name = "S", env = "TURNKEEP_DRAIN_SECONDS")]
    pub drain_seconds: Option<u64>,
    /// How the ready line and the log are written [default: text]
    #[arg(long, value_enum, env = "TURNKEEP_FORMAT")]
    pub format: Option<Format>,
    /// What is logged on stderr [default: warn]
    #[arg(long, value_enum, env = "TURNKEEP_LOG")]
    pub log: Option<LogLevel>,
}

/// Where the secret key is, by flag or environment; a flag of either kind wins over the environment's key and its file.
#[derive(Clone, Debug, Default)]
pub struct KeyArgs(pub(super) KeyFlags);

/// The flags of [`KeyArgs`].
#[derive(Clone, Debug, Default, Args)]
pub(super) struct KeyFlags {
    /// The environment's secret key, tr_dev_… or tr_prod_…; who has it may do everything
    #[arg(long, value_name = "K", env = "TURNKEEP_SECRET_KEY", hide_env_values = true)]
    pub(super) secret_key: Option<GivenKey>,
    /// A file that holds the secret key and nothing else
    #[arg(long, value_name = "FILE", env = "TURNKEEP_SECRET_KEY_FILE")]
    pub(super) secret_key_file: Option<PathBuf>,
}

impl Args for KeyArgs {
    fn augment_args(command: Command) -> Command {
        KeyFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        KeyFlags::augment_args_for_update(command)
    }
}

impl FromArgMatches for KeyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_flag = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let flags = (is_flag("secret_key"), is_flag("secret_key_file"));
        let mut keys = KeyFlags::from_arg_matches(matches)?;
        match flags {
            (true, false) => keys.secret_key_file = None,
            (false, true) => keys.secret_key = None,
            _ if keys.secret_key.is_some() && keys.secret_key_file.is_some() => {
                let text = "a secret key is given, and a file that holds one: leave one out\n";
                return Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
            }
            _ => {}
        }
        Ok(Self(keys))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let named = Self::from_arg_matches(matches)?;
        // A key of either kind takes the place of both.
        if named.0.secret_key.is_some() || named.0.secret_key_file.is_some() {
            *self = named;
        }
        Ok(())
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs, an object a line.
    Json,
}

/// The least important thing that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may have to be looked at.
    #[default]
    Warn,
    /// What happened.
    Info,
    /// Everything.
    Debug,
}

/// A key as it was given, right or wrong. Nothing prints it: what refuses it would show it to everybody who reads the log.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenKey(String);

impl GivenKey {
    /// Tells whether the key is one, or what is wrong with it.
    pub(super) fn check(&self) -> Result<SecretKey, &'static str> {
        self.0.parse()
    }
}

impl From<&str> for KeyArgs {
    fn from(key: &str) -> Self {
        Self(KeyFlags { secret_key: Some(key.into()), secret_key_file: None })
    }
}

impl From<&str> for GivenKey {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for GivenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenKey(…)")
    }
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

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0".to_owned()),
    }
}

/// Reads `BURST,REFILL/SECONDS`.
pub(super) fn rate_limit(text: &str) -> Result<RateLimit, String> {
    let read = || {
        let (burst, rest) = text.split_once(',')?;
        let (refill, seconds) = rest.split_once('/')?;
        let every = Duration::from_secs(seconds.trim().parse().ok()?);
        let limit = RateLimit { burst: burst.trim().parse().ok()?, refill: refill.trim().parse().ok()?, every };
        (limit.burst > 0 && limit.refill > 0 && !every.is_zero()).then_some(limit)
    };
    read().ok_or_else(|| {
        "three numbers above 0 as in 750,250/10: 750 requests at once, and 250 more every 10 s".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

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
    fn what_cannot_be_meant_is_refused_with_what_could() {
        assert!(refusal(&["--secret-key", "tr_dev_1", "--host", "here"]).contains("such as 127.0.0.1"));
        for limit in ["750", "750,250", "0,1/1", "1,1/0", "a,b/c"] {
            assert!(refusal(&["--rate-limit", limit]).contains("750,250/10"), "{limit}");
        }
    }

    /// Reads a line as if the environment held a key: tests must not change their process's own.
    fn beside_a_key_of_the_environment(words: &[&'static str]) -> Result<KeyFlags, ErrorKind> {
        let command = Line::command().mut_arg("secret_key", |arg| arg.env(KEY_OF_TEST));
        let matches = command.try_get_matches_from([&["serve"], words].concat()).map_err(|error| error.kind())?;
        Line::from_arg_matches(&matches).map(|line| line.serve.key.0).map_err(|error| error.kind())
    }

    /// A variable that every process has.
    const KEY_OF_TEST: &str = "PATH";

    #[test]
    fn a_flag_of_either_kind_wins_over_the_environments_key() {
        let by_environment = beside_a_key_of_the_environment(&[]).unwrap();
        let by_file = beside_a_key_of_the_environment(&["--secret-key-file", "k"]).unwrap();
        let by_flag = beside_a_key_of_the_environment(&["--secret-key", "tr_dev_1"]).unwrap();
        let by_both = beside_a_key_of_the_environment(&["--secret-key", "tr_dev_1", "--secret-key-file", "k"]);

        assert!(by_environment.secret_key.is_some());
        assert_eq!((by_file.secret_key, by_file.secret_key_file), (None, Some("k".into())));
        assert_eq!((by_flag.secret_key, by_flag.secret_key_file), (Some("tr_dev_1".into()), None));
        assert_eq!(by_both.unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_key_that_is_named_later_takes_the_place_of_the_one_before() {
        let mut line = Line::try_parse_from(["serve", "--secret-key", "tr_dev_1"]).unwrap();

        line.try_update_from(["serve", "--port", "1"]).unwrap();
        let kept = line.serve.key.0.clone();
        line.try_update_from(["serve", "--secret-key-file", "k"]).unwrap();

        assert_eq!((kept.secret_key, kept.secret_key_file), (Some("tr_dev_1".into()), None));
        assert_eq!((line.serve.key.0.secret_key, line.serve.key.0.secret_key_file), (None, Some("k".into())));
    }

    #[test]
    fn nothing_prints_the_key() {
        // A wrong one is taken here and refused by the settings, which show it to nobody.
        for key in ["tr_dev_4f1c0a", "tr_dev_sk_4f1c0a", "4f1c0a"] {
            let line = Line::try_parse_from(["serve", "--secret-key", key]).unwrap();

            assert!(!format!("{line:?}").contains("4f1c0a"));
        }
    }
}
