//! [`Environment`]: the tenant a server serves, the keys it knows and what they may do (S-177, S-178).

use turnkeep_host::Timestamp;

use crate::RateLimit;
use crate::token::{Scopes, same_secret};

/// The tenant a server serves: every session, key and token belongs to it.
#[derive(Clone)]
pub struct Environment {
    /// The environment's id; the `sub` of its tokens (S-178).
    pub id: String,
    /// The key that workers and back ends present; it also signs tokens and snapshot addresses.
    pub secret_key: String,
    /// The project's name in snapshot keys (S-195).
    pub project_ref: String,
    /// The environment's name in snapshot keys (S-195).
    pub slug: String,
    retired: Vec<RetiredKey>,
    restricted: Vec<RestrictedKey>,
    rate_limit: Option<RateLimit>,
}

/// A key that was replaced and still counts for a while.
#[derive(Clone)]
struct RetiredKey {
    key: String,
    until: Timestamp,
}

/// A key that may do only what its scopes say.
#[derive(Clone)]
struct RestrictedKey {
    key: String,
    scopes: Scopes,
}

/// What a presented key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// The secret key, or one that it has replaced and whose grace period lasts.
    Secret,
    /// A restricted key.
    Restricted(&'a Scopes),
}

impl Environment {
    /// Names an environment and its secret key; project and slug are `proj_local` and `dev`.
    pub fn new(id: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret_key: secret_key.into(),
            project_ref: "proj_local".to_owned(),
            slug: "dev".to_owned(),
            retired: Vec::new(),
            restricted: Vec::new(),
            rate_limit: None,
        }
    }

    /// Adds a key that was replaced: until the end of its grace period it opens what the secret key opens, and the tokens and
    /// addresses that it signed still count; nothing new is signed with it (S-178).
    #[must_use]
    pub fn retired_key(mut self, key: impl Into<String>, until: Timestamp) -> Self {
        self.retired.push(RetiredKey { key: key.into(), until });
        self
    }

    /// Adds a key that may do what its scopes say, `action:type[:id]` each (S-177, S-179).
    ///
    /// It signs nothing, and what concerns no session (leases, reports of runs, minting of tokens) is refused to it.
    #[must_use]
    pub fn restricted_key(
        mut self,
        key: impl Into<String>,
        scopes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let scopes = Scopes::new(scopes.into_iter().map(Into::into).collect());
        self.restricted.push(RestrictedKey { key: key.into(), scopes });
        self
    }

    /// Bounds how many requests clients and back ends may make together (S-189); unbounded by default.
    ///
    /// Runs and workers are never held back: whoever presents the secret key and names a run, or calls a route for runs only.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Gives the bound on requests, if there is one.
    pub(crate) fn limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// Says which key was presented, if it is one of ours; every comparison takes the same time.
    pub(crate) fn key(&self, presented: &str, now: Timestamp) -> Option<Key<'_>> {
        if self.verifying_keys(now).any(|key| same_secret(presented, key)) {
            return Some(Key::Secret);
        }
        let restricted = self.restricted.iter().find(|it| same_secret(presented, &it.key));
        restricted.map(|it| Key::Restricted(&it.scopes))
    }

    /// Gives the keys whose signatures count, the newest first.
    pub(crate) fn verifying_keys(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let retired = self.retired.iter().filter(move |it| now < it.until).map(|it| it.key.as_str());
        std::iter::once(self.secret_key.as_str()).chain(retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const LATER: Timestamp = Timestamp::from_millis(2_000);

    fn rotated() -> Environment {
        Environment::new("env_1", "new").retired_key("old", LATER).retired_key("older", NOW)
    }

    #[test]
    fn a_replaced_key_counts_until_its_grace_period_ends_s178() {
        let environment = rotated();
        for (key, at, counts) in [
            ("new", NOW, true),
            ("new", LATER, true),
            ("old", NOW, true),
            ("old", Timestamp::from_millis(1_999), true),
            ("old", LATER, false),
            ("older", NOW, false),
            ("", NOW, false),
            ("never", NOW, false),
        ] {
            assert_eq!(environment.key(key, at) == Some(Key::Secret), counts, "{key} at {at}");
            assert_eq!(environment.verifying_keys(at).any(|it| it == key), counts, "{key} at {at}");
        }
    }

    #[test]
    fn a_restricted_key_has_its_scopes_and_verifies_nothing_s177() {
        let environment = rotated().restricted_key("narrow", ["read:sessions"]);

        let scopes = Scopes::new(vec!["read:sessions".to_owned()]);
        assert_eq!(environment.key("narrow", NOW), Some(Key::Restricted(&scopes)));
        assert!(environment.verifying_keys(NOW).all(|key| key != "narrow"));
    }
}
