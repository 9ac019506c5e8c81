//! Who calls, and what they may do (S §7).

use std::sync::PoisonError;

use http::{HeaderMap, StatusCode, header};
use turnkeep_protocol::run_api::RUN_ID_HEADER;

use super::App;
use super::reply::Fail;
use crate::environment::Key;
use crate::token::{self, Need, Scopes};

/// An authenticated caller (S-177).
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// The environment's secret key: may do anything in it.
    Secret,
    /// A restricted key: a key like the secret one, within its scopes.
    Restricted(Scopes),
    /// A public access token.
    Token(Scopes),
}

impl Caller {
    /// Tells whether the caller presented a token and no key.
    pub(super) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// Tells whether the caller may do this.
    pub(super) fn may(&self, need: Need<'_>) -> bool {
        match self {
            Self::Secret => true,
            Self::Restricted(scopes) | Self::Token(scopes) => scopes.allow(need),
        }
    }
}

/// A session as its routes address it.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// The addressing key; the URL's own id while there is no row (S-4, S-57).
    pub key: String,
    /// The public id, when there is a row.
    pub id: Option<turnkeep_protocol::SessionId>,
}

impl App {
    /// Finds out who calls and counts the call; 401 for nobody we know, 429 for one too many (S-185, S-189).
    ///
    /// Only known callers are counted: a stranger shall not empty the bucket. A run is not counted, it must not fall silent because
    /// of its clients.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Fail> {
        let caller = self.identify(headers)?;
        let is_run = matches!(caller, Caller::Secret) && headers.contains_key(RUN_ID_HEADER);
        if is_run { Ok(caller) } else { self.counted(caller) }
    }

    /// Takes a call out of the bucket.
    fn counted(&self, caller: Caller) -> Result<Caller, Fail> {
        if let Some(bucket) = &self.bucket {
            let now = self.now();
            let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now);
            if !taken.is_allowed {
                return Err(Fail::too_many(taken, now));
            }
        }
        Ok(caller)
    }

    fn identify(&self, headers: &HeaderMap) -> Result<Caller, Fail> {
        let unauthorized = |text| Fail::error(StatusCode::UNAUTHORIZED, text);
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credential = presented.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let credential =
            credential.filter(|it| !it.is_empty()).ok_or_else(|| unauthorized("Invalid or Missing API key"))?;
        let (environment, now) = (&self.environment, self.now());
        match environment.key(credential, now) {
            Some(Key::Secret) => Ok(Caller::Secret),
            Some(Key::Restricted(scopes)) => Ok(Caller::Restricted(scopes.clone())),
            None => token::verify(environment.verifying_keys(now), &environment.id, credential, now)
                .map(Caller::Token)
                .map_err(unauthorized),
        }
    }

    /// Lets only keys pass; a token gets 401 here (S-185). What a restricted key may do is still to be checked.
    ///
    /// Runs come here, and whatever else has the secret key is not held back either; a restricted key is nobody's worker and is counted.
    pub(super) fn authenticate_key(&self, headers: &HeaderMap) -> Result<Caller, Fail> {
        match self.identify(headers)? {
            Caller::Token(_) => Err(Fail::error(StatusCode::UNAUTHORIZED, "This route requires a secret key")),
            Caller::Restricted(scopes) => self.counted(Caller::Restricted(scopes)),
            Caller::Secret => Ok(Caller::Secret),
        }
    }

    /// Lets only the secret key pass: no scope speaks of what this route is about (S-177, S-185).
    pub(super) fn authenticate_secret(&self, headers: &HeaderMap) -> Result<(), Fail> {
        match self.authenticate_key(headers)? {
            Caller::Secret => Ok(()),
            _ => Err(Fail::forbidden()),
        }
    }

    /// Checks the scope on a session, before anything is said about its existence (S-180, S-186).
    pub(super) async fn authorize(&self, caller: &Caller, action: &'static str, url_id: &str) -> Result<Located, Fail> {
        let wanted = url_id.to_owned();
        let row = self
            .actor
            .call(move |core, _| core.find(&wanted).map(|it| (it.row.id.clone(), it.row.key().to_owned())))
            .await?;
        let located = match row {
            Some((id, key)) => Located { key, id: Some(id) },
            None => Located { key: url_id.to_owned(), id: None },
        };
        let friendly = located.id.as_ref().map_or(url_id, |id| id.as_str());
        // `update` and `close` compare the URL form only in released code; the set is what S-180 asks for.
        let ids = [url_id, friendly, located.key.as_str()];
        if caller.may(Need { action, kind: "sessions", ids: &ids }) { Ok(located) } else { Err(Fail::forbidden()) }
    }
}
