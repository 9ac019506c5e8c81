//! What an operator's tools ask: is it alive, may it get traffic, and what does it do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use turnkeep_protocol::RunId;

use super::App;
use super::reply::{Answer, Fail};

/// How long the core may take to answer before the server counts as not ready: a disk that hangs holds everything up.
const READY_LIMIT: Duration = Duration::from_secs(2);

/// A run that there never is: asking for it reads the store.
const NO_RUN: &str = "run_none";

/// The text format of metrics.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`: 200 as long as the process serves at all; for a supervisor that restarts what is dead.
pub(super) async fn health() -> Response {
    plain(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: 200 when requests can be answered, else 503 with the reason; for a load balancer.
pub(super) async fn readiness(State(app): State<Arc<App>>) -> Response {
    if app.stop.is_cancelled() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let asked = async {
        app.actor.call(|_, _| ()).await.map_err(drop)?;
        // A store that has failed once may still commit nothing wrong and read nothing at all.
        app.storage.run(RunId::new(NO_RUN)).await.map_err(drop)
    };
    match tokio::time::timeout(READY_LIMIT, asked).await {
        Ok(Ok(_)) => plain(StatusCode::OK, "ready\n"),
        Ok(Err(_)) => plain(StatusCode::SERVICE_UNAVAILABLE, "the store has failed\n"),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}

/// `GET /metrics`: everything that is counted, in the Prometheus text format; needs the secret key.
pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Answer {
    app.authenticate_secret(request.headers())?;
    let counts = app.actor.call(|core, now| core.counts(now)).await.map_err(Fail::from)?;
    let mut response = plain(StatusCode::OK, app.actor.metrics().text(counts));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
    Ok(response)
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}
