//! What workers and runs call: lease, heartbeat, end, wait (D-9, D-39, S §5). Secret key only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, Request, State};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::{
    CancelledRun, CreateWait, EndRun, EndRunResponse, Heartbeat, HeartbeatResponse, LeaseRequest, LeaseResponse,
    RunMetadata, WaitpointStatus,
};
use turnkeep_protocol::{ChannelName, RunId, WaitpointId};

use super::params::Params;
use super::reply::{Answer, Fail, Route, ok};
use super::{App, body};
use crate::core::{Core, NewWait, Writer};
use crate::iso;
use crate::steady::SteadyClock;
use crate::wakes::Wake;

const MAX_BODY: usize = 10 * 1024;

/// The longest that a poll is held, in seconds.
const MAX_POLL_S: u64 = 60;

/// How long a request that lost its worker's place is held on. Its worker is gone, most likely; should two workers go by one id,
/// they take turns at this pace rather than as fast as they can ask.
const LOST_PLACE_PAUSE: Duration = Duration::from_secs(1);

/// The longest idempotency key, and the most tags of a wait and their length, in characters (S-133).
const MAX_IDEMPOTENCY_KEY: usize = 2048;
const MAX_TAGS: usize = 10;
const MAX_TAG: usize = 128;

/// `POST /api/v1/workers/lease`: holds the request until there is a run, a newer request of the worker comes (D-35) or the time is
/// up.
pub(super) async fn lease(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (asked, _) = read::<LeaseRequest>(&app, request).await?;
    let deadline = poll_deadline(asked.timeout_in_seconds);
    let bell = app.actor.wakes().bell(Wake::Queue);
    let poll = app.polls.hold(&asked.worker_id);
    loop {
        let mut rung = std::pin::pin!(bell.notified());
        rung.as_mut().enable();
        let (request, place) = (asked.clone(), poll.place());
        if app.stop.is_cancelled() {
            // Whoever serves next hands the run out: its worker could not report to us any more.
            return ok(&LeaseResponse { run: None });
        }
        // A worker that has hung up gets no run: it would lie there until the lease lapses.
        let command = move |core: &mut Core, now| if place.is_lost() { None } else { core.lease(now, &request) };
        let run = app.actor.call_while_waiting(command).await?;
        if run.is_some() {
            return ok(&LeaseResponse { run });
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => return ok(&LeaseResponse { run: None }),
            () = poll.lost() => {
                tokio::time::sleep_until(deadline.min(Instant::now() + LOST_PLACE_PAUSE)).await;
                return ok(&LeaseResponse { run: None });
            }
            () = app.stop.cancelled() => {}
            () = rung => {}
        }
    }
}

/// `POST /api/v1/runs/{run}/heartbeat`.
pub(super) async fn heartbeat(State(app): State<Arc<App>>, Params(run): Params<String>, request: Request) -> Answer {
    let (beat, head) = read::<Heartbeat>(&app, request).await?;
    let writer = writer(run, &head)?;
    let (settled, consumed) = (beat.settled_cursor, beat.consumed_cursor);
    let beat = move |core: &mut Core, now, look| core.heartbeat(now, &writer, settled, consumed, look);
    let beaten = app.with_run(beat).await?;
    ok(&HeartbeatResponse { session_closed: beaten.map_err(|refused| Route::Other.refuse(refused))? })
}

/// `PUT /api/v1/runs/{run}/metadata`, at most 10 KiB: durable when it is answered, and given to every later attempt.
pub(super) async fn metadata(State(app): State<Arc<App>>, Params(run): Params<String>, request: Request) -> Answer {
    let (asked, head) = read::<RunMetadata>(&app, request).await?;
    let writer = writer(run, &head)?;
    let metadata = asked.metadata.clone();
    let set = app.actor.call(move |core, now| core.set_run_metadata(now, &writer, metadata)).await?;
    set.map_err(|refused| Route::Other.refuse(refused))?;
    ok(&asked)
}

/// `POST /api/v1/runs/{run}/end` (D-3).
pub(super) async fn end(State(app): State<Arc<App>>, Params(run): Params<String>, request: Request) -> Answer {
    let (end, head) = read::<EndRun>(&app, request).await?;
    let writer = writer(run, &head)?;
    let ended = app.actor.call(move |core, now| core.end(now, &writer, end)).await?;
    ok(&EndRunResponse { next_run_id: ended.map_err(|refused| Route::Other.refuse(refused))? })
}

/// `POST /api/v2/runs/{run}/cancel`: ends a run from outside; durable when it is answered (A-199, D-70).
pub(super) async fn cancel(State(app): State<Arc<App>>, Params(run): Params<String>, request: Request) -> Answer {
    app.authenticate_secret(request.headers())?;
    let id = RunId::new(run);
    let asked = id.clone();
    let cancelled = app.with_run(move |core, now, look| core.cancel(now, &asked, look)).await?;
    cancelled.map_err(|refused| Route::Other.refuse(refused))?;
    ok(&CancelledRun { id })
}

/// `POST /api/v1/runs/{run}/session-streams/wait` (S-133).
pub(super) async fn wait(State(app): State<Arc<App>>, Params(run): Params<String>, request: Request) -> Answer {
    let (asked, head) = read::<CreateWait>(&app, request).await?;
    let writer = writer(run, &head)?;
    let new = checked(asked, app.actor.clock())?;
    let created = app.with_run(move |core, now, look| core.create_wait(now, &writer, new.clone(), look)).await?;
    ok(&created.map_err(|refused| Route::Other.refuse(refused))?)
}

/// Checks a wait request: what breaks the schema is 400, too many tags and unusable times are 422 (S-133, S-140, S-191).
fn checked(asked: CreateWait, clock: &SteadyClock) -> Result<NewWait, Fail> {
    let unprocessable = |text: &str| Fail::error(StatusCode::UNPROCESSABLE_ENTITY, text);
    let channel = match asked.io.as_str() {
        "in" => ChannelName::In,
        "out" => ChannelName::Out,
        _ => return Err(Fail::error(StatusCode::BAD_REQUEST, "io: `in` or `out`")),
    };
    if asked.idempotency_key.as_ref().is_some_and(|key| key.chars().count() > MAX_IDEMPOTENCY_KEY) {
        return Err(Fail::error(StatusCode::BAD_REQUEST, "idempotencyKey: at most 2048 characters"));
    }
    if asked.tags.len() > MAX_TAGS || asked.tags.iter().any(|tag| tag.chars().count() > MAX_TAG) {
        return Err(unprocessable("tags: at most 10 of 128 characters"));
    }
    let bad_time = || unprocessable("timeout: neither a duration nor a future date");
    let expires_in = asked.timeout.map(|text| timeout(&text, clock.wall()).ok_or_else(bad_time)).transpose()?;
    let bad_life = || unprocessable("idempotencyKeyTTL: not a duration");
    let life = asked.idempotency_key_ttl.map(|text| iso::parse_duration(&text).ok_or_else(bad_life)).transpose()?;
    let now = clock.now();
    Ok(NewWait {
        channel,
        url_id: asked.session,
        expires_at: expires_in.map(|wait| now.plus(wait)),
        idempotency_key_expires_at: life.map(|life| now.plus(life)),
        idempotency_key: asked.idempotency_key,
        tags: asked.tags,
        after: asked.last_seq_num,
        settled: asked.settled_cursor,
    })
}

/// `GET /api/v1/waitpoints/{waitpoint}?timeoutInSeconds=N`: holds the request until it completes or the time is up.
pub(super) async fn waitpoint(
    State(app): State<Arc<App>>,
    Params(waitpoint): Params<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    app.authenticate_secret(request.headers())?;
    let query = query.unwrap_or_default();
    let seconds = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "timeoutInSeconds");
    let bad = || Fail::error(StatusCode::BAD_REQUEST, "timeoutInSeconds: a whole number");
    let seconds = seconds.map_or(Ok(0), |(_, value)| value.parse::<u64>().map_err(|_| bad()))?;
    let deadline = poll_deadline(seconds);
    let id = WaitpointId::new(waitpoint);
    let bell = app.actor.wakes().bell(Wake::Waitpoint(id.clone()));
    loop {
        let mut rung = std::pin::pin!(bell.notified());
        rung.as_mut().enable();
        let asked = id.clone();
        let outcome = app.actor.call(move |core, _| core.outcome(&asked)).await?;
        let outcome = outcome.map_err(|refused| Route::Other.refuse(refused))?;
        if outcome.is_some() {
            return ok(&WaitpointStatus { outcome });
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => return ok(&WaitpointStatus { outcome: None }),
            () = app.stop.cancelled() => return ok(&WaitpointStatus { outcome: None }),
            () = rung => {}
        }
    }
}

async fn read<T: DeserializeOwned>(app: &App, request: Request) -> Result<(T, Parts), Fail> {
    app.authenticate_secret(request.headers())?;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, MAX_BODY).await?;
    Ok((body::parse(&bytes)?, head))
}

fn writer(run: String, head: &Parts) -> Result<Writer, Fail> {
    Ok(Writer { run: RunId::new(run), attempt: body::attempt(&head.headers)? })
}

fn poll_deadline(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(MAX_POLL_S))
}

/// Reads a wait's timeout, a duration or a date that lies ahead by the wall clock (S-140): how long it is until then.
fn timeout(text: &str, wall: Timestamp) -> Option<Duration> {
    let until = |at: Timestamp| (at > wall).then(|| at.since(wall));
    iso::parse_duration(text).or_else(|| iso::parse(text).and_then(until))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use serde_json::json;
    use turnkeep_host::{Clock, Host};

    use super::*;
    use crate::core::Refused;

    /// Says one time first and another from then on.
    struct SetOnce(std::sync::Mutex<Vec<&'static str>>);

    impl Clock for SetOnce {
        fn now(&self) -> Timestamp {
            let mut times = self.0.lock().unwrap();
            let now = if times.len() > 1 { times.remove(0) } else { times[0] };
            iso::parse(now).unwrap()
        }
    }

    #[tokio::test]
    async fn one_wait_too_many_is_422_and_says_how_many_there_may_be_d85() {
        let refused = Route::Other.refuse(Refused::TooManyWaits).into_response();

        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let body = axum::body::to_bytes(refused.into_body(), MAX_BODY).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "The run has 1024 pending waitpoints, and no more are kept for one run");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_lasts_as_long_as_was_asked_for_though_the_wall_clock_was_set_s140_d84() {
        for (wall, asked, want) in [
            ("2026-01-01T00:00:00Z", "90s", Some("2026-01-01T00:01:30Z")),
            ("2025-12-31T23:00:00Z", "90s", Some("2026-01-01T00:01:30Z")),
            ("2026-02-01T00:00:00Z", "90s", Some("2026-01-01T00:01:30Z")),
            // Half an hour ahead by the wall clock is half an hour.
            ("2025-12-31T23:00:00Z", "2025-12-31T23:30:00Z", Some("2026-01-01T00:30:00Z")),
            ("2026-02-01T00:00:00Z", "2026-02-01T00:30:00Z", Some("2026-01-01T00:30:00Z")),
            ("2026-02-01T00:00:00Z", "2026-01-01T00:30:00Z", None),
        ] {
            let times = vec!["2026-01-01T00:00:00Z", wall];
            let clock = SteadyClock::start(Host::os().with_clock(SetOnce(times.into())));
            let ask = json!({ "session": "chat", "io": "in", "timeout": asked, "idempotencyKeyTTL": "1m" });

            let checked = checked(serde_json::from_value(ask).unwrap(), &clock);

            let Some(want) = want else {
                assert!(checked.is_err(), "{asked} is over by the wall clock");
                continue;
            };
            let wait = checked.map_err(|_| asked).unwrap();
            assert_eq!(wait.expires_at, iso::parse(want), "{asked} at {wall}");
            assert_eq!(wait.idempotency_key_expires_at, iso::parse("2026-01-01T00:01:00Z"));
        }
    }
}
