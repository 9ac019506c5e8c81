//! Addresses of chat snapshots, and the objects behind them (S §8).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use turnkeep_protocol::session_api::PresignedUrl;

use super::params::Params;
use super::reply::{Answer, Fail, Route, ok};
use super::{App, body};
use crate::core::Refused;
use crate::presign::{self, Op};

/// The largest snapshot: what our HTTP client takes.
const MAX_SNAPSHOT: usize = 64 * 1024 * 1024;

/// `GET /api/v1/sessions/{session}/snapshot-url`.
pub(super) async fn read_url(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    url(&app, &session, request.headers(), Op::Get).await
}

/// `PUT /api/v1/sessions/{session}/snapshot-url`; a run's headers bind the address to its lease (D-36).
pub(super) async fn write_url(
    State(app): State<Arc<App>>,
    Params(session): Params<String>,
    request: Request,
) -> Answer {
    url(&app, &session, request.headers(), Op::Put).await
}

async fn url(app: &App, session: &str, headers: &HeaderMap, op: Op) -> Answer {
    let caller = app.authenticate(headers)?;
    let action = if op == Op::Get { "read" } else { "write" };
    let located = app.authorize(&caller, action, session).await?;
    let id = located.id.ok_or_else(|| Route::Other.refuse(Refused::NoSession))?;
    let writer = if op == Op::Put { body::writer(headers)? } else { None };
    ok(&PresignedUrl { presigned_url: presign::sign(&app.environment, &id, op, writer.as_ref(), app.now()) })
}

/// `GET` on a signed address: the object, or 404 when there is none (S-197).
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Params(key): Params<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let checked = presign::check(&app.environment, &key, &query.unwrap_or_default(), Op::Get, app.now());
    let (session, _) = checked.ok_or_else(Fail::forbidden)?;
    let stored = app.storage.snapshot(session).await?;
    let stored = stored.ok_or_else(|| Fail::error(StatusCode::NOT_FOUND, "Not found"))?;
    let mut response = Response::new(Body::from(stored));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// `PUT` on a signed address: replaces the object (S-196).
pub(super) async fn write(
    State(app): State<Arc<App>>,
    Params(key): Params<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let checked = presign::check(&app.environment, &key, &query.unwrap_or_default(), Op::Put, app.now());
    let (session, writer) = checked.ok_or_else(Fail::forbidden)?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_SNAPSHOT).await?;
    let not_text = |_| Fail::error(StatusCode::BAD_REQUEST, "A snapshot is JSON text");
    let text = String::from_utf8(bytes.into()).map_err(not_text)?;
    let stored = app.actor.call(move |core, now| core.put_snapshot(now, &session, writer.as_ref(), text)).await?;
    stored.map_err(|refused| Route::Other.refuse(refused))?;
    Ok(Response::new(Body::empty()))
}
