//! Public access tokens and their scopes (S-178…S-182), and the comparison of secrets.

use std::time::Duration;

use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, Claims, Header, UntrustedToken};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use turnkeep_host::Timestamp;

const ISSUER: &str = "https://id.trigger.dev";
const AUDIENCE: &str = "https://api.trigger.dev";

/// How long a session token lives (S-182).
pub(crate) const SESSION_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What a token says when it is made.
#[derive(Serialize)]
struct Minted<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(rename = "pub")]
    public: bool,
    scopes: &'a [String],
    iat: u64,
    exp: u64,
}

/// What a token says when it is read; `exp` is the library's own claim.
#[derive(Clone, Deserialize)]
struct Presented {
    iss: String,
    aud: String,
    sub: String,
    #[serde(rename = "pub")]
    public: bool,
    #[serde(default)]
    scopes: Vec<String>,
}

/// Signs a token for an environment (S-178).
pub(crate) fn mint(key: &str, environment: &str, scopes: &[String], now: Timestamp, lifetime: Duration) -> String {
    let claims = Minted {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: environment,
        public: true,
        scopes,
        iat: now.as_secs(),
        exp: now.plus(lifetime).as_secs(),
    };
    let key = Hs256Key::new(key.as_bytes());
    Hs256.token(&Header::empty(), &Claims::new(claims), &key).expect("texts and numbers always serialise")
}

/// Signs the token that create gives out: both channels of one session (S-182).
pub(crate) fn mint_for_session(key: &str, environment: &str, session_key: &str, now: Timestamp) -> String {
    let scopes = [format!("read:sessions:{session_key}"), format!("write:sessions:{session_key}")];
    mint(key, environment, &scopes, now, SESSION_TOKEN_LIFETIME)
}

/// Reads the scopes of a token that one of `keys` has signed, or says why it does not count (S-178, S-185).
pub(crate) fn verify<'a>(
    keys: impl IntoIterator<Item = &'a str>,
    environment: &str,
    token: &str,
    now: Timestamp,
) -> Result<Scopes, &'static str> {
    let token = UntrustedToken::new(token).map_err(|_| "Invalid access token")?;
    let signed = keys.into_iter().find_map(|key| {
        let key = Hs256Key::new(key.as_bytes());
        Hs256.validator::<Presented>(&key).validate(&token).ok()
    });
    let token = signed.ok_or("Invalid access token")?;
    let claims = token.claims();
    let expires_at = claims.expiration.map(|at| at.timestamp()).ok_or("Access token never expires")?;
    if i64::try_from(now.as_secs()).is_ok_and(|now| now >= expires_at) {
        return Err("Access token has expired");
    }
    let Presented { iss, aud, sub, public, scopes } = claims.custom.clone();
    if iss != ISSUER || aud != AUDIENCE || !public {
        return Err("Invalid access token");
    }
    if sub != environment {
        return Err("Access token is for another environment");
    }
    Ok(Scopes(scopes))
}

/// Compares two secrets in a time that tells nothing about either, not even the length.
pub(crate) fn same_secret(one: &str, other: &str) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

/// What a request needs: an action on a kind of thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    /// `read`, `write` or `admin`.
    pub action: &'a str,
    /// `sessions` or `tasks`.
    pub kind: &'a str,
    /// The names of the thing, any of which will do (S-180); none for the whole collection.
    pub ids: &'a [&'a str],
}

impl Scopes {
    /// Takes scopes as they are written.
    pub(crate) fn new(scopes: Vec<String>) -> Self {
        Self(scopes)
    }

    /// Tells whether some scope covers the need (S-179).
    pub(crate) fn allow(&self, need: Need<'_>) -> bool {
        self.0.iter().any(|scope| covers(scope, need))
    }
}

fn covers(scope: &str, need: Need<'_>) -> bool {
    if scope == "admin" {
        return true;
    }
    // Only the first two colons separate: an id may contain colons.
    let mut parts = scope.splitn(3, ':');
    let (Some(action), Some(kind)) = (parts.next(), parts.next()) else { return false };
    let id_fits = parts.next().is_none_or(|id| need.ids.contains(&id));
    (action == need.action || action == "*") && (kind == need.kind || kind == "all") && id_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[track_caller]
    fn check(scope: &str, action: &str, kind: &str, ids: &[&str], want: bool) {
        let scopes = Scopes(vec![scope.to_owned()]);
        assert_eq!(scopes.allow(Need { action, kind, ids }), want, "{scope} on {action}:{kind}:{ids:?}");
    }

    #[test]
    fn a_scope_matches_by_action_type_and_id_s179_s180() {
        let both = &["session_1", "chat:1"][..];
        check("read:sessions", "read", "sessions", both, true);
        check("read:sessions:session_1", "read", "sessions", both, true);
        check("read:sessions:chat:1", "read", "sessions", both, true);
        check("read:sessions:chat", "read", "sessions", both, false);
        check("read:sessions:", "read", "sessions", both, false);
        check("write:sessions", "read", "sessions", both, false);
        check("read:tasks", "read", "sessions", both, false);
        check("*:sessions", "admin", "sessions", both, true);
        check("read:all", "read", "sessions", both, true);
        check("*:all:chat:1", "write", "sessions", both, true);
        check("read", "read", "sessions", both, false);
        check("", "read", "sessions", both, false);
    }

    #[test]
    fn a_collection_is_matched_only_without_id_s179() {
        check("write:sessions", "write", "sessions", &[], true);
        check("write:sessions:x", "write", "sessions", &[], false);
    }

    #[test]
    fn bare_admin_matches_everything_and_admin_of_a_type_only_its_type_s179() {
        check("admin", "write", "tasks", &["t"], true);
        check("admin:sessions", "read", "sessions", &["x"], false);
        check("admin:sessions", "admin", "sessions", &["x"], true);
        check("admin:sessions", "admin", "tasks", &["x"], false);
    }

    #[test]
    fn the_token_of_create_reads_and_writes_its_session_for_an_hour_s182() {
        let token = mint_for_session("key", "env_1", "chat:1", NOW);

        let scopes =
            verify(["key"], "env_1", &token, NOW.plus(SESSION_TOKEN_LIFETIME - Duration::from_secs(1))).unwrap();

        assert_eq!(scopes, Scopes(vec!["read:sessions:chat:1".to_owned(), "write:sessions:chat:1".to_owned()]));
        assert_eq!(verify(["key"], "env_1", &token, NOW.plus(SESSION_TOKEN_LIFETIME)), Err("Access token has expired"));
    }

    #[test]
    fn a_foreign_broken_or_unsigned_token_does_not_count_s185_s181() {
        let token = mint_for_session("key", "env_1", "c", NOW);
        let (signed, _) = token.rsplit_once('.').unwrap();

        assert_eq!(verify(["other key"], "env_1", &token, NOW), Err("Invalid access token"));
        assert_eq!(verify(["key"], "env_2", &token, NOW), Err("Access token is for another environment"));
        assert_eq!(verify(["key"], "env_1", "nonsense", NOW), Err("Invalid access token"));
        assert_eq!(verify(["key"], "env_1", &format!("{signed}."), NOW), Err("Invalid access token"));
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());
        assert_eq!(verify(["key"], "env_1", &unsigned, NOW), Err("Invalid access token"));
    }

    #[test]
    fn a_token_counts_as_long_as_the_key_that_signed_it_s178() {
        let token = mint_for_session("old", "env_1", "c", NOW);

        assert!(verify(["new", "old"], "env_1", &token, NOW).is_ok());
        assert_eq!(verify(["new"], "env_1", &token, NOW), Err("Invalid access token"));
        assert_eq!(verify([], "env_1", &token, NOW), Err("Invalid access token"));
        assert_eq!(verify(["new", "old"], "env_2", &token, NOW), Err("Access token is for another environment"));
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("tr_dev_1", "tr_dev_1"));
        assert!(!same_secret("tr_dev_1", "tr_dev_12") && !same_secret("", "x"));
    }
}
