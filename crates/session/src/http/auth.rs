//! Who calls, and what they may do (S §7).

use http::{HeaderMap, StatusCode, header};

use super::App;
use super::reply::Fail;
use crate::token::{self, Need, Scopes};

/// An authenticated caller (S-177).
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// The environment's secret key: may do anything in it.
    Secret,
    /// A public access token.
    Token(Scopes),
}

impl Caller {
    /// Tells whether the caller presented the secret key.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret)
    }

    /// Tells whether the caller may do this.
    pub(super) fn may(&self, need: Need<'_>) -> bool {
        match self {
            Self::Secret => true,
            Self::Token(scopes) => scopes.allow(need),
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
    /// Finds out who calls; 401 for nobody we know (S-185).
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Fail> {
        let unauthorized = |text| Fail::error(StatusCode::UNAUTHORIZED, text);
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credential = presented.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let credential =
            credential.filter(|it| !it.is_empty()).ok_or_else(|| unauthorized("Invalid or Missing API key"))?;
        let environment = &self.environment;
        if token::same_secret(credential, &environment.secret_key) {
            return Ok(Caller::Secret);
        }
        let scopes = token::verify(&environment.secret_key, &environment.id, credential, self.now());
        scopes.map(Caller::Token).map_err(unauthorized)
    }

    /// Lets only the secret key pass; a token gets 401 here (S-185).
    pub(super) fn authenticate_secret(&self, headers: &HeaderMap) -> Result<(), Fail> {
        match self.authenticate(headers)? {
            Caller::Secret => Ok(()),
            Caller::Token(_) => Err(Fail::error(StatusCode::UNAUTHORIZED, "This route requires a secret key")),
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
