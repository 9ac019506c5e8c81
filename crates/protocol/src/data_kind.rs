//! The dynamic `type` of data chunks and data parts: `data-` and a name of the author's choice.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::wire::JsonValue;

const PREFIX: &str = "data-";

/// Names a kind of data: the whole `type` on the wire, which starts with `data-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataKind(String);

impl DataKind {
    /// Makes the kind for a name: `progress` becomes `data-progress`. A name that already has the prefix is taken as it
    /// is.
    pub fn new(name: &str) -> Self {
        Self::parse(name).unwrap_or_else(|| Self(format!("{PREFIX}{name}")))
    }

    /// Takes a whole `type`, if it is one of data.
    pub fn parse(kind: &str) -> Option<Self> {
        kind.starts_with(PREFIX).then(|| Self(kind.to_owned()))
    }

    /// Gives the whole `type`, prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the name without the prefix.
    pub fn name(&self) -> &str {
        &self.0[PREFIX.len()..]
    }
}

impl Default for DataKind {
    fn default() -> Self {
        Self(PREFIX.to_owned())
    }
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DataKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonValue for DataKind {
    fn fits(value: &Value) -> bool {
        value.as_str().is_some_and(|kind| kind.starts_with(PREFIX))
    }

    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(kind) if kind.starts_with(PREFIX) => Some(Self(kind)),
            _ => None,
        }
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        Ok(Self::new(u.arbitrary()?))
    }
}
