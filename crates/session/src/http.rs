//! The wire: routes, who may use them, and how decisions look as HTTP. No decision is made here.

mod auth;
mod body;
mod channels;
mod cold;
mod edge;
#[cfg(test)]
mod failing;
mod leftover;
mod list;
mod operations;
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
use axum::routing::{get, post, put};
use tokio_util::sync::CancellationToken;
use turnkeep_host::{Draws, Host, Timestamp};

use crate::actor::Actor;
use crate::objects::Objects;
use crate::rate_limit::TokenBucket;
use crate::{Environment, Storage};

/// What every handler needs.
pub(crate) struct App {
    host: Host,
    actor: Actor,
    storage: Arc<dyn Storage>,
    objects: Objects,
    environment: Environment,
    polls: polls::Polls,
    puts: snapshots::Puts,
    bucket: Option<Mutex<TokenBucket>>,
    request_ids: Draws,
    /// Cancelled when the server is to stop: whoever only waits is sent away.
    stop: CancellationToken,
}

impl App {
    /// Bundles what handlers need.
    pub(crate) fn new(
        host: Host,
        actor: Actor,
        storage: Arc<dyn Storage>,
        objects: Objects,
        environment: Environment,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let bucket = environment.limit().map(|limit| Mutex::new(TokenBucket::new(limit, host.clock().now())));
        let request_ids = host.entropy().child("request-ids").draws();
        let (polls, puts) = (polls::Polls::default(), snapshots::Puts::default());
        Arc::new(Self { host, actor, storage, objects, environment, polls, puts, bucket, request_ids, stop })
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
        .route("/api/v2/runs/{run}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{run}/metadata", put(runs::metadata))
        .route("/api/v1/runs/{run}/session-streams/wait", post(runs::wait))
        .route("/api/v1/waitpoints/{waitpoint}", get(runs::waitpoint))
        .route("/healthz", get(operations::health))
        .route("/readyz", get(operations::readiness))
        .route("/metrics", get(operations::metrics))
        .fallback(reply::no_route)
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::finish))
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use futures::FutureExt as _;
    use http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    use turnkeep_protocol::ChannelName;

    use super::*;
    use crate::actor::Driver;
    use crate::core::Core;
    use crate::wakes::Wake;
    use crate::{InMemoryObjects, Loaded, MemoryStorage, StoreId};

    fn app() -> (Arc<App>, Driver) {
        let host = Host::os();
        let core = Core::load(Loaded::default(), host.entropy().draws(), Duration::from_secs(10));
        let storage = Arc::new(MemoryStorage::without_journal());
        let (driver, actor) = Driver::new(core, storage.clone(), host.clone());
        let environment = Environment::new("env_1", "secret");
        let objects = Objects::new(Arc::new(InMemoryObjects::new()), &environment, host.entropy().draws(), StoreId(1));
        (App::new(host, actor, storage, objects, environment, CancellationToken::new()), driver)
    }

    fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
        let request = Request::builder().method(method).uri(path).header("authorization", "Bearer secret");
        request.header("content-length", body.len()).body(Body::from(body)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_refused_after_thirty_seconds_and_not_waited_for_again() {
        let (app, driver) = app();
        let _running = app.host.spawn(async move { driver.run().await.unwrap() });
        let pending = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>());
        let late = request("POST", "/api/v1/sessions", "nine byte").map(|_| pending);
        let began = tokio::time::Instant::now();

        let response = router(app).oneshot(late).await.unwrap();

        assert_eq!((response.status(), began.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 30));
        assert_eq!(response.headers()["connection"], "close");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_takes_its_read_along_s112() {
        let (app, driver) = app();
        let _running = app.host.spawn(async move { driver.run().await.unwrap() });
        let reader = Wake::Channel("chat".to_owned(), ChannelName::Out);
        let holders = || Arc::strong_count(&app.actor.wakes().bell(reader.clone()));

        let response = router(app.clone()).oneshot(request("GET", "/realtime/v1/sessions/chat/out", "")).await.unwrap();
        let mut body = response.into_body();
        body.frame().await.expect("a ping at the live edge").unwrap();
        assert!(body.frame().now_or_never().is_none(), "now it waits");
        let while_reading = holders();
        drop(body);

        assert!(while_reading > 2, "{while_reading}: the reader holds its bell");
        assert_eq!(holders(), 2, "the server's own and ours");
    }

    #[tokio::test]
    async fn a_server_that_stops_hands_out_no_run_and_is_not_ready() {
        let (app, driver) = app();
        let _running = app.host.spawn(async move { driver.run().await.unwrap() });
        let create = r#"{"type":"t","taskIdentifier":"t","triggerConfig":{"basePayload":{}}}"#;
        let ask = async |method, path, body| {
            let response = router(app.clone()).oneshot(request(method, path, body)).await.unwrap();
            let status = response.status();
            (status, response.into_body().collect().await.unwrap().to_bytes())
        };
        let lease = r#"{"workerId":"w","taskIds":["t"],"version":"1","timeoutInSeconds":60}"#;
        assert!(ask("POST", "/api/v1/sessions", create).await.0.is_success());

        app.stop.cancel();

        let (_, leased) = ask("POST", "/api/v1/workers/lease", lease).await;
        assert_eq!(leased, r#"{"run":null}"#, "the run that is queued is the next server's");
        let (status, text) = ask("GET", "/readyz", "").await;
        assert_eq!((status, text.as_ref()), (StatusCode::SERVICE_UNAVAILABLE, &b"stopping\n"[..]));
        assert_eq!(ask("GET", "/healthz", "").await.0, StatusCode::OK, "it is not dead");
    }

    #[tokio::test]
    async fn a_server_that_has_stopped_answers_500_and_tells_nothing_s19_s64_s187() {
        let (app, driver) = app();
        drop(driver);
        let create = r#"{"type":"t","taskIdentifier":"t","triggerConfig":{"basePayload":{}}}"#;
        for (method, path, body, want) in [
            ("POST", "/api/v1/sessions", create, r#"{"error":"Something went wrong"}"#),
            ("GET", "/api/v1/sessions/chat", "", r#"{"error":"Internal Server Error"}"#),
            ("GET", "/api/v1/sessions", "", r#"{"error":"Internal Server Error"}"#),
            (
                "POST",
                "/realtime/v1/sessions/chat/in/append",
                "{}",
                r#"{"ok":false,"error":"Something went wrong, please try again."}"#,
            ),
        ] {
            let response = router(app.clone()).oneshot(request(method, path, body)).await.unwrap();
            let status = response.status();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(
                (status, text.as_ref()),
                (StatusCode::INTERNAL_SERVER_ERROR, want.as_bytes()),
                "{method} {path}"
            );
        }
    }
}
