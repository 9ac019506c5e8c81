//! The wire: routes, who may use them, and how decisions look as HTTP. No decision is made here.

mod auth;
mod body;
mod channels;
mod edge;
mod list;
mod params;
mod polls;
mod reply;
mod runs;
mod sessions;
mod snapshots;
mod sse;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::{get, post};
use turnkeep_host::{Draws, Host, Timestamp};

use crate::Environment;
use crate::actor::Actor;
use crate::rate_limit::TokenBucket;

/// What every handler needs.
pub(crate) struct App {
    host: Host,
    actor: Actor,
    environment: Environment,
    polls: polls::Polls,
    bucket: Option<Mutex<TokenBucket>>,
    request_ids: Draws,
}

impl App {
    /// Bundles what handlers need.
    pub(crate) fn new(host: Host, actor: Actor, environment: Environment) -> Arc<Self> {
        let bucket = environment.limit().map(|limit| Mutex::new(TokenBucket::new(limit, host.clock().now())));
        let request_ids = host.entropy().child("request-ids").draws();
        Arc::new(Self { host, actor, environment, polls: polls::Polls::default(), bucket, request_ids })
    }

    fn now(&self) -> Timestamp {
        self.host.clock().now()
    }
}

/// Makes the service of all routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/sessions", get(list::list).post(sessions::create))
        .route("/api/v1/sessions/{session}", get(sessions::retrieve).patch(sessions::update))
        .route("/api/v1/sessions/{session}/close", post(sessions::close))
        .route("/api/v1/sessions/{session}/end-and-continue", post(sessions::end_and_continue))
        .route("/api/v1/sessions/{session}/mark", post(sessions::mark))
        .route("/api/v1/sessions/{session}/snapshot-url", get(snapshots::read_url).put(snapshots::write_url))
        .route("/snapshots/{*key}", get(snapshots::read).put(snapshots::write))
        .route("/realtime/v1/sessions/{session}/{io}", get(sse::subscribe).put(channels::refuse_direct_write))
        .route("/realtime/v1/sessions/{session}/{io}/append", post(channels::append))
        .route("/realtime/v1/sessions/{session}/{io}/batch", post(channels::batch))
        .route("/realtime/v1/sessions/{session}/{io}/records", get(channels::records))
        .route("/api/v1/auth/jwt/claims", post(tokens::claims))
        .route("/api/v1/auth/public-tokens", post(tokens::mint))
        .route("/api/v1/workers/lease", post(runs::lease))
        .route("/api/v1/runs/{run}/heartbeat", post(runs::heartbeat))
        .route("/api/v1/runs/{run}/end", post(runs::end))
        .route("/api/v1/runs/{run}/session-streams/wait", post(runs::wait))
        .route("/api/v1/waitpoints/{waitpoint}", get(runs::waitpoint))
        .fallback(reply::no_route)
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::finish))
        .with_state(app)
}
