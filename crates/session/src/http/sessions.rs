//! The session's row: create, retrieve, update, close, end-and-continue, mark (S §1, S §2.2, D-45).

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_protocol::run_api::MarkSession;
use turnkeep_protocol::session_api::{
    CloseSession, CreateSession, CreatedSession, EndAndContinue, TriggerConfig, UpdateSession,
};

use super::params::Params;
use super::reply::{Answer, Fail, Route, json_response, ok};
use super::{App, body};
use crate::core::{NewSession, NewSwap, Refused, item};
use crate::token::{self, Need};
use crate::{RunReason, iso};

/// Bodies that carry a row, and bodies that carry a word or two (S-12, S-22, S-23, S-43).
const MAX_ROW_BODY: usize = 32 * 1024;
const MAX_CLOSE_BODY: usize = 1024;

/// How long a run may idle, in seconds (S-12).
const IDLE_SECONDS: (u64, u64) = (1, 3600);

/// `POST /api/v1/sessions` (S §1.2).
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_ROW_BODY).await?;
    let asked: CreateSession = body::parse(&bytes)?;
    let task = asked.task_identifier.as_str();
    let sessions = Need { action: "write", kind: "sessions", ids: &[] };
    let tasks = Need { action: "write", kind: "tasks", ids: &[task] };
    if !caller.may(sessions) && !caller.may(tasks) {
        return Err(Fail::forbidden());
    }
    let new = checked(asked).map_err(|text| Fail::error(StatusCode::BAD_REQUEST, &text))?;
    let created = app.actor.call(move |core, now| core.create(now, new)).await;
    let failed = |_| Fail::error(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong");
    let created = created.map_err(failed)?;
    let created = created.map_err(|refused| Route::Create.refuse(refused))?;
    let environment = &app.environment;
    let public_access_token =
        token::mint_for_session(&environment.secret_key, &environment.id, created.row.key(), app.now());
    let status = if created.is_cached { StatusCode::OK } else { StatusCode::CREATED };
    let answer = CreatedSession {
        session: item(&created.row),
        run_id: created.run,
        public_access_token,
        is_cached: created.is_cached,
    };
    Ok(json_response(status, &answer))
}

/// `GET /api/v1/sessions/{session}` (S-21).
pub(super) async fn retrieve(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    app.authorize(&caller, "read", &session).await?;
    let row = app.actor.call(move |core, _| core.find(&session).map(|it| it.row.clone())).await?;
    let row = row.ok_or_else(|| Route::Retrieve.refuse(Refused::NoSession))?;
    ok(&item(&row))
}

/// `PATCH /api/v1/sessions/{session}` (S-22).
pub(super) async fn update(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_ROW_BODY).await?;
    app.authorize(&caller, "admin", &session).await?;
    let asked: UpdateSession = body::parse(&bytes)?;
    check_tags("tags", asked.tags.as_deref().unwrap_or_default(), 10)
        .map_err(|text| Fail::error(StatusCode::BAD_REQUEST, &text))?;
    let updated = app.actor.call(move |core, now| core.update(now, &session, asked)).await?;
    ok(&item(&updated.map_err(|refused| Route::Other.refuse(refused))?))
}

/// `POST /api/v1/sessions/{session}/end-and-continue` (S-43).
pub(super) async fn end_and_continue(
    State(app): State<Arc<App>>,
    Params(session): Params<String>,
    request: Request,
) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_CLOSE_BODY).await?;
    app.authorize(&caller, "write", &session).await?;
    let asked: EndAndContinue = body::parse(&bytes)?;
    let bad = |text| Fail::error(StatusCode::BAD_REQUEST, text);
    if !asked.calling_run_id.as_str().starts_with("run_") {
        return Err(bad("callingRunId: not a run_… id"));
    }
    if asked.reason.chars().count() > 64 {
        return Err(bad("reason: at most 64 characters"));
    }
    // Whoever holds no key names no attempt: a token must not speak for a run's cursors.
    let writer = if caller.is_token() { None } else { body::writer(&head.headers)? };
    if writer.as_ref().is_some_and(|writer| writer.run != asked.calling_run_id) {
        return Err(bad("callingRunId: not the run of x-run-id"));
    }
    let swap = NewSwap {
        url_id: session,
        reason: reason(&asked.reason),
        calling_run: asked.calling_run_id,
        writer,
        settled: asked.settled_cursor,
        consumed: asked.consumed_cursor,
    };
    let swapped = app.with_run(move |core, now, look| core.end_and_continue(now, swap.clone(), look)).await;
    // Like any other failure of the swap (S-45).
    let swapped = swapped.unwrap_or(Err(Refused::SwapLoop));
    ok(&swapped.map_err(|refused| Route::Swap.refuse(refused))?)
}

/// Reads why a successor is started; what we do not know is the caller's own affair (S-44).
fn reason(text: &str) -> RunReason {
    match text {
        "initial" => RunReason::Initial,
        "continuation" => RunReason::Continuation,
        "upgrade" => RunReason::Upgrade,
        _ => RunReason::Manual,
    }
}

/// `POST /api/v1/sessions/{session}/close` (S-23, D-2); an empty body counts as `{}` (D-55).
pub(super) async fn close(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_CLOSE_BODY).await?;
    app.authorize(&caller, "admin", &session).await?;
    let asked = if bytes.is_empty() { CloseSession::default() } else { body::parse(&bytes)? };
    if asked.reason.as_ref().is_some_and(|reason| reason.chars().count() > 256) {
        return Err(Fail::error(StatusCode::BAD_REQUEST, "reason: at most 256 characters"));
    }
    let closed = app.actor.call(move |core, now| core.close(now, &session, asked.reason)).await?;
    ok(&item(&closed.map_err(|refused| Route::Other.refuse(refused))?))
}

/// `POST /api/v1/sessions/{session}/mark` (D-45): runs only.
pub(super) async fn mark(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    let caller = app.authenticate_key(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_CLOSE_BODY).await?;
    app.authorize(&caller, "write", &session).await?;
    let asked: MarkSession = body::parse(&bytes)?;
    let writer = body::writer(&head.headers)?;
    let writer = writer.ok_or_else(|| Fail::error(StatusCode::BAD_REQUEST, "x-run-id is missing"))?;
    let marked = app.actor.call(move |core, now| core.mark(now, &session, &writer, asked.mark)).await?;
    marked.map_err(|refused| Route::Other.refuse(refused))?;
    ok(&json!({ "ok": true }))
}

/// Checks a create request against the limits of S-12 and S §1.1; the text names the field.
fn checked(asked: CreateSession) -> Result<NewSession, String> {
    length("type", &asked.kind, 1, 64)?;
    length("taskIdentifier", asked.task_identifier.as_str(), 1, 128)?;
    check_config(&asked.trigger_config)?;
    let external_id = asked.external_id.map(|id| id.trim().to_owned());
    if let Some(id) = &external_id {
        length("externalId", id, 1, 256)?;
        if id.starts_with("session_") {
            return Err("externalId: must not begin with session_".to_owned());
        }
    }
    let tags = asked.tags.unwrap_or_default();
    check_tags("tags", &tags, 10)?;
    let expires_at = match &asked.expires_at {
        Some(text) => Some(iso::parse(text).ok_or_else(|| "expiresAt: not a date".to_owned())?),
        None => None,
    };
    Ok(NewSession {
        kind: asked.kind,
        task_id: asked.task_identifier,
        trigger_config: asked.trigger_config,
        external_id,
        tags,
        metadata: asked.metadata,
        expires_at,
    })
}

fn check_config(config: &TriggerConfig) -> Result<(), String> {
    if let Some(queue) = &config.options.queue {
        length("triggerConfig.queue", queue, 0, 128)?;
    }
    check_tags("triggerConfig.tags", config.options.tags.as_deref().unwrap_or_default(), 5)?;
    let within = |field: &str, value: Option<u64>, low: u64, high: u64| match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(format!("triggerConfig.{field}: {value} is not in {low} to {high}"))
        }
        _ => Ok(()),
    };
    within("maxAttempts", config.options.max_attempts.map(u64::from), 1, 10)?;
    within("maxDuration", config.options.max_duration, 1, u64::MAX)?;
    within("idleTimeoutInSeconds", config.idle_timeout_in_seconds, IDLE_SECONDS.0, IDLE_SECONDS.1)?;
    check_base_idle(config)
}

/// Checks the idle time inside the base payload like the one beside it: either becomes the run's (S-36).
fn check_base_idle(config: &TriggerConfig) -> Result<(), String> {
    let (low, high) = IDLE_SECONDS;
    match config.base_payload.get("idleTimeoutInSeconds") {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value.as_u64().is_some_and(|seconds| (low..=high).contains(&seconds)) => Ok(()),
        Some(value) => {
            Err(format!("triggerConfig.basePayload.idleTimeoutInSeconds: {value} is not in {low} to {high}"))
        }
    }
}

fn check_tags(field: &str, tags: &[String], most: usize) -> Result<(), String> {
    if tags.len() > most {
        return Err(format!("{field}: at most {most}"));
    }
    tags.iter().try_for_each(|tag| length(field, tag, 0, 128))
}

fn length(field: &str, text: &str, least: usize, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if (least..=most).contains(&length) {
        Ok(())
    } else {
        Err(format!("{field}: {least} to {most} characters, not {length}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_we_do_not_know_is_the_callers_own_s44() {
        for (text, want) in [
            ("initial", RunReason::Initial),
            ("continuation", RunReason::Continuation),
            ("upgrade", RunReason::Upgrade),
            ("manual", RunReason::Manual),
            ("Upgrade", RunReason::Manual),
            ("", RunReason::Manual),
            ("new model", RunReason::Manual),
        ] {
            assert_eq!(reason(text), want, "{text:?}");
        }
    }
}
