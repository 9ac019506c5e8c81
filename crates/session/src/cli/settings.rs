//! [`Settings`]: what a server is told by its flags, its environment and its file, put together.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use turnkeep_host::Timestamp;

use super::args::{self, Format, Keep, LogLevel, SecretKey, ServeArgs};
use crate::{Environment, RateLimit, Server, iso};

/// The id of the one environment that is served.
const ENVIRONMENT: &str = "env_local";

/// How every key begins.
const KEYS: &str = "tr_";

/// How a server is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The environment's secret key.
    pub secret_key: SecretKey,
    /// Where the sessions are kept.
    pub keep: Keep,
    /// How the ready line and the log are written.
    pub format: Format,
    /// What is logged.
    pub log: LogLevel,
    rate_limit: Option<RateLimit>,
    lease: Duration,
    drain_limit: Duration,
    retired: Vec<RetiredKey>,
    restricted: Vec<RestrictedKey>,
    pub(super) adopts: bool,
}

/// Why there are no settings; the text names the place and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A key stands where a file's name is asked for. It is not shown.
    #[error("the name of a file is asked for, and a key is given: write the key into a file and name that one")]
    KeyForFile,
    /// The file of settings is wrong. Its text is not shown, for it may hold a key.
    #[error("{path}:{line}:{column}: {reason}")]
    Wrong {
        /// Which one.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// The key of a flag or of the environment is none. It is not shown.
    #[error("the secret key is none: {0}")]
    NotAKey(&'static str),
    /// The file that holds the secret key holds something else.
    #[error("{path} holds no secret key: {reason}")]
    BadKey {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file of settings names two keys.
    #[error("the file of settings has both `secret-key` and `secret-key-file`: leave one out")]
    TwoKeys,
    /// Nobody said which key.
    #[error(
        "there is no secret key: give one with --secret-key K, TURNKEEP_SECRET_KEY, --secret-key-file FILE or `secret-key` in the file of settings"
    )]
    NoKey,
}

/// The file of settings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    port: Option<u16>,
    #[serde(deserialize_with = "read_address")]
    host: Option<IpAddr>,
    secret_key: Option<SecretKey>,
    secret_key_file: Option<PathBuf>,
    data: Option<PathBuf>,
    #[serde(deserialize_with = "read_rate_limit")]
    rate_limit: Option<RateLimit>,
    lease_seconds: Option<std::num::NonZeroU64>,
    drain_seconds: Option<u64>,
    format: Option<Format>,
    log: Option<LogLevel>,
    retired_key: Vec<RetiredKey>,
    restricted_key: Vec<RestrictedKey>,
}

/// A key that was replaced and counts until then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetiredKey {
    key: SecretKey,
    #[serde(deserialize_with = "read_moment")]
    until: Timestamp,
}

/// A key that may do what its scopes say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestrictedKey {
    key: SecretKey,
    scopes: Vec<String>,
}

impl ServeArgs {
    /// Puts flags, environment and file together; `default` is where sessions are kept when none of them says.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] when a file cannot be read or is wrong, and when there is no secret key.
    pub fn settings(&self, default: Keep) -> Result<Settings, SettingsError> {
        let file = self.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let beside = self.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        // Whoever names a key more closely wins: a flag's file over the settings' key, too.
        let secret_key =
            match (&self.key.0.secret_key, &self.key.0.secret_key_file, &file.secret_key, &file.secret_key_file) {
                (Some(key), ..) => key.check().map_err(SettingsError::NotAKey)?,
                (None, None, Some(key), None) => key.clone(),
                (None, Some(path), ..) => read_key(path)?,
                (None, None, Some(_), Some(_)) => return Err(SettingsError::TwoKeys),
                (None, None, None, Some(path)) => read_key(&beside.join(path))?,
                (None, None, None, None) => return Err(SettingsError::NoKey),
            };
        let keep = match (&self.data, file.data) {
            _ if self.in_memory => Keep::InMemory,
            (Some(folder), _) => Keep::Folder(folder.clone()),
            (None, Some(folder)) => Keep::Folder(beside.join(folder)),
            (None, None) => default,
        };
        let lease = self.lease_seconds.or(file.lease_seconds.map(std::num::NonZeroU64::get));
        Ok(Settings {
            host: self.host.or(file.host).unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port: self.port.or(file.port).unwrap_or(3030),
            secret_key,
            keep,
            format: self.format.or(file.format).unwrap_or_default(),
            log: self.log.or(file.log).unwrap_or_default(),
            rate_limit: self.rate_limit.or(file.rate_limit),
            lease: Duration::from_secs(lease.unwrap_or(10)),
            drain_limit: Duration::from_secs(self.drain_seconds.or(file.drain_seconds).unwrap_or(20)),
            retired: file.retired_key,
            restricted: file.restricted_key,
            adopts: self.adopt_snapshots,
        })
    }
}

impl Settings {
    /// Gives the environment that is served.
    pub(super) fn environment(&self) -> Environment {
        let mut environment = Environment::new(ENVIRONMENT, self.secret_key.expose());
        for retired in &self.retired {
            environment = environment.retired_key(retired.key.expose(), retired.until);
        }
        for restricted in &self.restricted {
            environment = environment.restricted_key(restricted.key.expose(), &restricted.scopes);
        }
        match self.rate_limit {
            Some(limit) => environment.rate_limit(limit),
            None => environment,
        }
    }

    /// Gives `server` its times, and says whether it adopts what it finds.
    pub(super) fn apply(&self, server: Server) -> Server {
        server.lease(self.lease).drain_limit(self.drain_limit).adopt_objects(self.adopts)
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = read(path)?;
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            // Not the error's whole text: that quotes the line, which may hold a key.
            let reason = unquoted(error.message());
            SettingsError::Wrong { path: path.to_owned(), line, column, reason }
        })
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|error| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // No key has a dot, and most files do.
        if name.starts_with(KEYS) && !name.contains('.') {
            return SettingsError::KeyForFile;
        }
        SettingsError::Unreadable { path: path.to_owned(), reason: error.to_string() }
    })
}

/// Takes out of a parser's message what it quotes of the file: a string of the wrong place, and a name that has a key in it.
fn unquoted(message: &str) -> String {
    let mut text = message.to_owned();
    if let Some((from, to)) = text.find("string \"").zip(text.rfind('"')) {
        text.replace_range(from + "string".len()..to + 1, "");
    }
    // The name comes first, and may hold any character; what was expected instead is our own.
    let name = text.find('`').zip(text.rfind("`, expected").or(text.rfind('`')));
    if let Some((from, to)) = name.filter(|(from, to)| text[*from..*to].contains(KEYS)) {
        text.replace_range(from + 1..to, "…");
    }
    text
}

fn read_key(path: &Path) -> Result<SecretKey, SettingsError> {
    read(path)?.trim().parse().map_err(|reason| SettingsError::BadKey { path: path.to_owned(), reason })
}

fn read_address<'de, D: Deserializer<'de>>(source: D) -> Result<Option<IpAddr>, D::Error> {
    args::address(&String::deserialize(source)?).map(Some).map_err(serde::de::Error::custom)
}

fn read_rate_limit<'de, D: Deserializer<'de>>(source: D) -> Result<Option<RateLimit>, D::Error> {
    args::rate_limit(&String::deserialize(source)?).map(Some).map_err(serde::de::Error::custom)
}

fn read_moment<'de, D: Deserializer<'de>>(source: D) -> Result<Timestamp, D::Error> {
    let what = "a moment as in \"2026-12-01T00:00:00Z\"";
    iso::parse(&String::deserialize(source)?).ok_or_else(|| serde::de::Error::custom(what))
}

impl<'de> Deserialize<'de> for SecretKey {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}
