//! Names and numbers with a meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A record's place in its channel: from 0, never reused, never reset (S-54). Also the resume cursor everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(transparent)]
pub struct SeqNum(u64);

impl SeqNum {
    /// The first record's place.
    pub const ZERO: Self = Self(0);

    /// Makes a place from its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Gives the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Gives the following place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Gives the preceding place, or nothing before the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Reads a cursor as clients send it: plain decimal digits only (S-104).
    pub fn parse_cursor(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text of an id.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Gives the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id! {
    /// A session's public id, `session_…`.
    SessionId
}
text_id! {
    /// A run's public id, `run_…`.
    RunId
}
text_id! {
    /// A waitpoint's public id, `waitpoint_…`.
    WaitpointId
}
text_id! {
    /// A record's id chosen by its writer, for idempotency and de-duplication (S-74, C-18).
    PartId
}
text_id! {
    /// A worker process's name, chosen by the worker.
    WorkerId
}
text_id! {
    /// The author's id of an agent.
    TaskId
}

/// One of a session's two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum ChannelName {
    /// Clients to run.
    In,
    /// Run to clients.
    Out,
}

impl ChannelName {
    /// Gives the name as it stands in URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_plain_digits_and_nothing_else_s104() {
        for (text, want) in [
            ("0", Some(0)),
            ("41", Some(41)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("4,10,2048", None),
            ("1700000000-3", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(SeqNum::parse_cursor(text), want.map(SeqNum::new), "{text:?}");
        }
    }
}
