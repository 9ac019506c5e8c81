//! Signed addresses of snapshot objects, which the server stores itself (S-194…S-198).
//!
//! The signature covers what may be done, to which object, until when, and for which lease: a worker that lost its run cannot
//! write with an address it got before (D-36).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use turnkeep_host::Timestamp;
use turnkeep_protocol::{RunId, SessionId};

use crate::Environment;
use crate::core::Writer;

/// How long an address works (S-194).
const VALID: Duration = Duration::from_secs(300);

/// Where the objects live below the server's base.
pub(crate) const ROOT: &str = "/snapshots/";

/// What an address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Reading.
    Get,
    /// Writing.
    Put,
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
        }
    }
}

/// Gives the object's key, always by the public id (S-195).
pub(crate) fn object_key(environment: &Environment, session: &SessionId) -> String {
    let Environment { project_ref, slug, .. } = environment;
    format!("packets/{project_ref}/{slug}/sessions/{session}/snapshot.json")
}

/// Gives the session whose object has this key, when it is one of ours.
pub(crate) fn session_of(environment: &Environment, key: &str) -> Option<SessionId> {
    let session = SessionId::new(key.rsplit('/').nth(1)?);
    (object_key(environment, &session) == key).then_some(session)
}

/// Makes the address, a path with a query below the server's base.
pub(crate) fn sign(
    environment: &Environment,
    session: &SessionId,
    op: Op,
    writer: Option<&Writer>,
    now: Timestamp,
) -> String {
    let key = object_key(environment, session);
    let expires_at = now.plus(VALID).as_secs();
    let mac = mac(&environment.secret_key, &key, op, expires_at, writer);
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    let holder = writer.map(|it| format!("&run={}&attempt={}", it.run, it.attempt)).unwrap_or_default();
    format!("{ROOT}{key}?op={}&exp={expires_at}&sig={signature}{holder}", op.as_str())
}

/// Checks an address; gives the session and the lease it was made for.
pub(crate) fn check(
    environment: &Environment,
    key: &str,
    query: &str,
    op: Op,
    now: Timestamp,
) -> Option<(SessionId, Option<Writer>)> {
    let value =
        |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value);
    let expires_at: u64 = value("exp")?.parse().ok()?;
    let writer = match (value("run"), value("attempt")) {
        (Some(run), Some(attempt)) => Some(Writer { run: RunId::new(run), attempt: attempt.parse().ok()? }),
        (None, None) => None,
        _ => return None,
    };
    let signature = URL_SAFE_NO_PAD.decode(value("sig")?.as_bytes()).ok()?;
    let mut secrets = environment.verifying_keys(now);
    secrets.find(|secret| mac(secret, key, op, expires_at, writer.as_ref()).verify_slice(&signature).is_ok())?;
    let session = session_of(environment, key)?;
    (value("op")? == op.as_str() && now.as_secs() < expires_at).then_some((session, writer))
}

fn mac(secret: &str, key: &str, op: Op, expires_at: u64, writer: Option<&Writer>) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    let holder = writer.map(|it| format!("{}/{}", it.run, it.attempt)).unwrap_or_default();
    mac.update(format!("snapshot\n{}\n{key}\n{expires_at}\n{holder}", op.as_str()).as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn split(url: &str) -> (String, String) {
        let (path, query) = url.split_once('?').unwrap();
        (path.strip_prefix(ROOT).unwrap().to_owned(), query.to_owned())
    }

    #[test]
    fn an_address_works_for_its_purpose_until_it_expires_s194_s195() {
        let environment = Environment::new("env_1", "key");
        let (key, query) = split(&sign(&environment, &SessionId::new("session_1"), Op::Put, None, NOW));

        let at = |op, now| check(&environment, &key, &query, op, now);

        assert!(key.ends_with("/sessions/session_1/snapshot.json"), "{key}");
        assert_eq!(at(Op::Put, NOW.plus(VALID - Duration::from_secs(1))), Some((SessionId::new("session_1"), None)));
        assert_eq!(at(Op::Put, NOW.plus(VALID)), None);
        assert_eq!(at(Op::Get, NOW), None);
    }

    #[test]
    fn nothing_signed_can_be_changed_s198_d36() {
        let environment = Environment::new("env_1", "key");
        let writer = Writer { run: RunId::new("run_1"), attempt: 2 };
        let (key, query) = split(&sign(&environment, &SessionId::new("session_1"), Op::Put, Some(&writer), NOW));

        let found = check(&environment, &key, &query, Op::Put, NOW);
        assert_eq!(found, Some((SessionId::new("session_1"), Some(writer))));
        for (from, to) in [
            ("attempt=2", "attempt=3"),
            ("run_1", "run_2"),
            ("&run=run_1&attempt=2", ""),
            ("exp=17", "exp=27"),
            ("sig=", "sig=A"),
        ] {
            let forged = query.replace(from, to);
            assert_ne!(forged, query);
            assert_eq!(check(&environment, &key, &forged, Op::Put, NOW), None, "{forged}");
        }
        assert_eq!(check(&environment, &key.replace("session_1", "session_2"), &query, Op::Put, NOW), None);
        assert_eq!(check(&Environment::new("env_1", "other"), &key, &query, Op::Put, NOW), None);
    }

    #[test]
    fn an_address_outlives_the_change_of_the_key_that_signed_it_s178() {
        let before = Environment::new("env_1", "old");
        let (key, query) = split(&sign(&before, &SessionId::new("session_1"), Op::Get, None, NOW));
        let after = |until| Environment::new("env_1", "new").retired_key("old", until);

        assert!(check(&after(NOW.plus(VALID)), &key, &query, Op::Get, NOW).is_some());
        assert_eq!(check(&after(NOW), &key, &query, Op::Get, NOW), None);
    }
}
