//! [`ServerTools`]: the tools that run here, for which no client answers.

use std::collections::BTreeSet;

/// The names of tools that run here.
///
/// While an agent's resolver has not said which they are, every tool is one: an answer that cannot be judged is not taken over.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerTools {
    names: BTreeSet<String>,
    is_unresolved: bool,
}

impl ServerTools {
    /// Starts for an agent whose resolver has yet to say.
    pub(crate) fn unresolved() -> Self {
        Self { is_unresolved: true, ..Self::default() }
    }

    /// Notes that the resolver has said.
    pub(crate) fn resolved(&mut self) {
        self.is_unresolved = false;
    }

    /// Tells whether a tool runs here, or may.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.is_unresolved || self.names.contains(name)
    }
}

impl Extend<String> for ServerTools {
    fn extend<T: IntoIterator<Item = String>>(&mut self, names: T) {
        self.names.extend(names);
    }
}

impl FromIterator<String> for ServerTools {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Self {
        Self { names: names.into_iter().collect(), is_unresolved: false }
    }
}
