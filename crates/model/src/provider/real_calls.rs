//! [`RealCalls`]: the switch with which a test suite forbids calls to real models.

use std::ffi::OsStr;

use crate::error::ModelError;

/// Names the environment variable that forbids calls to real models in every process that sees it.
///
/// Any value but `0`, `false` and the empty one forbids. A test suite that must never spend money sets it once, in
/// `.cargo/config.toml`, and every test of the workspace has it:
///
/// ```toml
/// [env]
/// TURNKEEP_FORBID_MODEL_CALLS = "1"
/// ```
pub const FORBID_MODEL_CALLS: &str = "TURNKEEP_FORBID_MODEL_CALLS";

/// Says whether a provider may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealCalls {
    /// Calls go out.
    Allowed,
    /// Every call is refused before anything is dialled.
    Forbidden,
}

impl RealCalls {
    /// Reads [`FORBID_MODEL_CALLS`].
    pub fn from_env() -> Self {
        Self::from_value(std::env::var_os(FORBID_MODEL_CALLS).as_deref())
    }

    fn from_value(value: Option<&OsStr>) -> Self {
        match value.map(OsStr::as_encoded_bytes) {
            None | Some(b"" | b"0" | b"false") => Self::Allowed,
            Some(_) => Self::Forbidden,
        }
    }

    /// Refuses a call to `model_id` where calls are forbidden.
    pub(crate) fn check(self, model_id: &str) -> Result<(), ModelError> {
        match self {
            Self::Allowed => Ok(()),
            Self::Forbidden => Err(ModelError::refused(format!(
                "a call to the real model `{model_id}` is forbidden here: {FORBID_MODEL_CALLS} is set, or the provider \
                 was told so; script a model instead"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_forbids_unless_it_says_no() {
        let read = |value: Option<&str>| RealCalls::from_value(value.map(OsStr::new));

        for allowed in [None, Some(""), Some("0"), Some("false")] {
            assert_eq!(read(allowed), RealCalls::Allowed);
        }
        for forbidden in [Some("1"), Some("true"), Some("yes")] {
            assert_eq!(read(forbidden), RealCalls::Forbidden);
        }
    }
}
