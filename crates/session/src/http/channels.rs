//! Writing to channels and draining them (S §3).

use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use http::StatusCode;
use serde_json::json;
use turnkeep_protocol::run_api::{MAX_OUT_BATCH_BYTES, OutBatch, OutBatchResponse};
use turnkeep_protocol::session_api::{Appended, DrainedRecords};
use turnkeep_protocol::{ChannelName, MAX_RECORD_BYTES, SeqNum};

use super::params::Params;
use super::reply::{Answer, Fail, Route, ok};
use super::{App, body};
use crate::core::{Core, Looked};

/// `POST /realtime/v1/sessions/{session}/{io}/append`: one raw record. The order of checks is S-60's.
pub(super) async fn append(
    State(app): State<Arc<App>>,
    Params((session, io)): Params<(String, String)>,
    request: Request,
) -> Answer {
    let unforeseen = json!({ "ok": false, "error": "Something went wrong, please try again." });
    append_record(&app, session, &io, request).await.map_err(|fail| fail.unforeseen_as(&unforeseen))
}

async fn append_record(app: &App, session: String, io: &str, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let (head, body) = request.into_parts();
    let text = body::read_record(&head.headers, body, MAX_RECORD_BYTES).await?;
    let channel = body::channel(io)?;
    let part = body::part_id(&head.headers)?;
    // A token may never write `out`; but a scope that does not even fit is refused as such first.
    let located = app.authorize(&caller, "write", &session).await?;
    if channel == ChannelName::Out && caller.is_token() {
        // A missing, closed or expired session comes before this refusal, and it is all that can come before it.
        let checked = app.actor.call(move |core, now| core.check_open(now, &session)).await?;
        checked.map_err(|refused| Route::Append.refuse(refused))?;
        let error = "Appending to the out channel requires secret key authentication";
        return Err(Fail::json(StatusCode::FORBIDDEN, &json!({ "ok": false, "error": error })));
    }
    let url_id = located.id.map_or(session, |id| id.as_str().to_owned());
    let writer = body::writer(&head.headers)?;
    let (text, named) = (Arc::new(text), part.clone());
    let append = move |core: &mut Core, now, looked: Option<&Looked>| {
        core.append(now, &url_id, channel, &text, named.clone(), writer.clone(), looked)
    };
    let appended = app.write_once(part, append).await?;
    let seq = appended.map_err(|refused| Route::Append.refuse(refused))?;
    ok(&Appended { ok: true, seq: Some(seq) })
}

/// `POST /realtime/v1/sessions/{session}/out/batch` (D-5, D-39).
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Params((session, io)): Params<(String, String)>,
    request: Request,
) -> Answer {
    let caller = app.authenticate_key(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_OUT_BATCH_BYTES).await?;
    if body::channel(&io)? != ChannelName::Out {
        return Err(Fail::params(&["io"], "batches go to `out`"));
    }
    app.authorize(&caller, "write", &session).await?;
    let part = body::part_id(&head.headers)?;
    let writer = body::writer(&head.headers)?;
    let OutBatch { records } = body::parse(&bytes)?;
    let (records, named) = (Arc::new(records), part.clone());
    let write = move |core: &mut Core, now, looked: Option<&Looked>| {
        core.write_out(now, &session, writer.as_ref(), &records, named.clone(), looked)
    };
    let written = app.write_once(part, write).await?;
    let seqs = written.map_err(|refused| Route::Append.refuse(refused))?;
    ok(&OutBatchResponse { seqs })
}

/// `GET /realtime/v1/sessions/{session}/{io}/records?afterEventId=N` (S-97).
pub(super) async fn records(
    State(app): State<Arc<App>>,
    Params((session, io)): Params<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let channel = body::channel(&io)?;
    app.authorize(&caller, "read", &session).await?;
    let query = query.unwrap_or_default();
    let after =
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "afterEventId").map(|(_, value)| value);
    let cursor = match after {
        Some(text) => {
            let digits = || Fail::error(StatusCode::BAD_REQUEST, "afterEventId: digits only");
            Some(SeqNum::parse_cursor(&text).ok_or_else(digits)?)
        }
        None => None,
    };
    let drained = app.drain(&session, channel, cursor).await?;
    ok(&DrainedRecords { records: drained.map_err(|refused| Route::Other.refuse(refused))? })
}

/// `PUT /realtime/v1/sessions/{session}/{io}`: credentials for direct writes come with a later store (D-5, D-39, S-95).
pub(super) async fn refuse_direct_write(
    State(app): State<Arc<App>>,
    Params((session, io)): Params<(String, String)>,
    request: Request,
) -> Answer {
    let caller = app.authenticate(request.headers())?;
    body::channel(&io)?;
    if caller.is_token() {
        return Err(Fail::plain(StatusCode::FORBIDDEN, "Direct writes require secret key authentication"));
    }
    app.authorize(&caller, "write", &session).await?;
    Err(Fail::plain(StatusCode::NOT_IMPLEMENTED, "Direct writes are not available"))
}
