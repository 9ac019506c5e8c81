//! Tokens for those who hold the secret key: what to sign oneself, or one signed here (S-178, S-183, RC-21, C-220).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use turnkeep_host::Timestamp;

use super::reply::{Answer, Fail, ok};
use super::{App, body};
use crate::{iso, token};

const MAX_BODY: usize = 10 * 1024;

/// How long a token lives when the request does not say (S-183).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A token to be signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicTokenRequest {
    scopes: Vec<String>,
    /// Duration text such as `1h`, or a moment in Unix seconds.
    #[serde(default)]
    expiration_time: Option<Value>,
}

/// `POST /api/v1/auth/jwt/claims`: what a holder of the secret key puts into the tokens it signs itself (RC-21).
pub(super) async fn claims(State(app): State<Arc<App>>, request: Request) -> Answer {
    app.authenticate_secret(request.headers())?;
    ok(&json!({ "sub": app.environment.id, "pub": true }))
}

/// `POST /api/v1/auth/public-tokens`: signs a token with the asked scopes (C-220); gives `{"token": …}`.
pub(super) async fn mint(State(app): State<Arc<App>>, request: Request) -> Answer {
    app.authenticate_secret(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_BODY).await?;
    let asked: PublicTokenRequest = body::parse(&bytes)?;
    let now = app.now();
    let lifetime = lifetime(asked.expiration_time.as_ref(), now);
    let bad = || {
        Fail::error(StatusCode::BAD_REQUEST, "expirationTime: a duration such as 1h, or Unix seconds that lie ahead")
    };
    let lifetime = lifetime.ok_or_else(bad)?;
    let environment = &app.environment;
    let token = token::mint(&environment.secret_key, &environment.id, &asked.scopes, now, lifetime);
    ok(&json!({ "token": token }))
}

fn lifetime(asked: Option<&Value>, now: Timestamp) -> Option<Duration> {
    match asked {
        None | Some(Value::Null) => Some(DEFAULT_LIFETIME),
        Some(Value::String(text)) => iso::parse_duration(text).filter(|lifetime| !lifetime.is_zero()),
        Some(moment) => moment.as_u64()?.checked_sub(now.as_secs()).filter(|left| *left > 0).map(Duration::from_secs),
    }
}
