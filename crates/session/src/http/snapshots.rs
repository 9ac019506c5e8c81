//! Addresses of chat snapshots, and the objects behind them (S §8).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use turnkeep_protocol::SessionId;
use turnkeep_protocol::session_api::PresignedUrl;

use super::params::Params;
use super::reply::{Answer, Fail, Route, ok};
use super::{App, body};
use crate::core::{Refused, end_of};
use crate::presign::{self, Op};

/// The largest snapshot: what our HTTP client takes.
const MAX_SNAPSHOT: usize = 64 * 1024 * 1024;

/// How often a read goes after an object that was replaced meanwhile.
const MAX_GETS: usize = 4;

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

/// `GET` on a signed address: the object, or 404 when there is none (S-197); 500 when there is one that cannot be read.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Params(key): Params<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let checked = presign::check(&app.environment, &key, &query.unwrap_or_default(), Op::Get, app.now());
    let (session, _) = checked.ok_or_else(Fail::forbidden)?;
    let body = body_of(&app, &session).await?.ok_or_else(|| Fail::error(StatusCode::NOT_FOUND, "Not found"))?;
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Gets the body of a session's snapshot, if it has one.
async fn body_of(app: &App, session: &SessionId) -> Result<Option<Bytes>, Fail> {
    let named = async |session: SessionId| app.actor.call(move |core, _| core.snapshot(&session)).await;
    let mut object = named(session.clone()).await?;
    for _ in 0..MAX_GETS {
        let Some(name) = object else { return Ok(None) };
        if let Some(body) = app.objects.get(session, name).await? {
            return Ok(Some(body));
        }
        // It may have been replaced, and deleted, since its name was asked for.
        let now = named(session.clone()).await?;
        if now == object {
            tracing::error!(%session, object = %name, "the object of a snapshot is gone");
            break;
        }
        object = now;
    }
    Err(Fail::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
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
    let end = end_of(std::str::from_utf8(&bytes).map_err(not_text)?);
    let (id, by) = (session.clone(), writer.clone());
    let may = app.actor.call(move |core, now| core.may_put_snapshot(now, &id, by.as_ref(), end)).await?;
    may.map_err(|refused| Route::Other.refuse(refused))?;
    let object = app.objects.put(&session, bytes).await?;
    let id = session.clone();
    // When the core does not answer any more, nobody knows whether the row names the object: it stays for the next life's sweep.
    let put = app.actor.call(move |core, now| core.put_snapshot(now, &id, writer.as_ref(), end, object)).await?;
    match put {
        Ok(None) => {}
        Ok(Some(replaced)) => app.objects.delete(&session, replaced).await,
        Err(refused) => {
            app.objects.delete(&session, object).await;
            return Err(Route::Other.refuse(refused));
        }
    }
    Ok(Response::new(Body::empty()))
}
