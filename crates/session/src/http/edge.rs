//! What every answer gets on its way out: a request id, CORS (S-121, RC-19), the word that a refusal is final (D-61, RC-3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use super::{App, leftover};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, Last-Event-ID, Timeout-Seconds, X-Peek-Settled, X-Part-Id, \
                               X-Request-Id, X-Trigger-Source, X-Trigger-Client, X-Trigger-Branch";
const RESPONSE_HEADERS: &str = "X-Stream-Version, X-Session-Settled, X-First-Available-Seq, X-Clamped-Cursor, \
                                X-Last-Chunk-Index, X-Should-Retry, X-Request-Id, X-Ratelimit-Limit, X-Ratelimit-Remaining, \
                                X-Ratelimit-Reset, X-S2-Access-Token, X-S2-Stream-Name, X-S2-Basin, X-S2-Endpoint, \
                                X-S2-Flush-Interval-Ms, X-S2-Max-Retries";

/// Names the request: the caller's word for it, or ours.
const REQUEST_ID: &str = "x-request-id";

/// The longest request id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;

/// What metrics call a path that is no route's: whatever people try gets one name.
const NO_ROUTE: &str = "none";

/// Answers preflights and finishes every other answer.
pub(super) async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers(), || app.request_ids.alphanumeric(16));
    let is_open = is_open_to_browsers(request.uri().path());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let asked = Asked::new(&request);
    let mut response =
        if is_open && request.method() == Method::OPTIONS { preflight(wanted) } else { run(request, next).await };
    if is_open && let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    asked.answered(&app, &request_id, response.status());
    response.headers_mut().insert(REQUEST_ID, request_id);
    if is_final(response.status()) {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Lets a handler answer. Of a request that is refused, the whole body is read before the refusal goes out; not of one whose body was
/// too late.
async fn run(request: Request, next: Next) -> Response {
    if !leftover::is_read(request.headers()) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let (body, left) = leftover::lend(body);
    let mut response = next.run(Request::from_parts(head, body)).await;
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        // It was waited for already; the connection ends, since nobody knows when the next request on it would begin.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if response.status().is_client_error() {
        left.drop_all().await;
    }
    response
}

/// A request as logs and metrics name it: never with its query or its headers, which hold signatures and keys.
struct Asked {
    method: Method,
    path: String,
    route: String,
    at: Instant,
}

impl Asked {
    fn new(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Self { method, path, route: route.to_owned(), at: Instant::now() }
    }

    /// Counts the answer and logs it: what went well quietly, what the server is to blame for loudly.
    fn answered(&self, app: &App, request_id: &HeaderValue, status: StatusCode) {
        app.actor.metrics().answered(&self.method, &self.route, status);
        let request_id = request_id.to_str().unwrap_or_default();
        let (method, path, status) = (self.method.as_str(), self.path.as_str(), status.as_u16());
        let ms = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        match status {
            500.. => tracing::error!(request_id, method, path, status, ms, "request failed"),
            400.. => tracing::info!(request_id, method, path, status, ms, "request refused"),
            _ => tracing::debug!(request_id, method, path, status, ms, "request"),
        }
    }
}

/// Takes the caller's id if it is short and plain, so that one id follows a request through many servers.
fn request_id(headers: &HeaderMap, draw: impl FnOnce() -> String) -> HeaderValue {
    let is_plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(REQUEST_ID).filter(is_plain).cloned();
    given.unwrap_or_else(|| HeaderValue::try_from(format!("req_{}", draw())).expect("letters and digits"))
}

/// Tells whether browsers on other sites may call; runs and workers are servers and need no CORS (S-121).
fn is_open_to_browsers(path: &str) -> bool {
    ["/api/v1/sessions", "/realtime/", "/snapshots/"].iter().any(|prefix| path.starts_with(prefix))
}

fn preflight(wanted: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    // Whatever a newer client wants to send is allowed: the credential decides, not the header's name.
    let allowed = wanted.unwrap_or(HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Tells whether the same request would be refused again: every 4xx but "later" and "slower", and what is not built (501).
fn is_final(status: StatusCode) -> bool {
    let asks_for_patience = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    status == StatusCode::NOT_IMPLEMENTED || (status.is_client_error() && !asks_for_patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_that_would_come_again_is_final_and_no_other_answer_d61_rc3() {
        for status in 100..=599 {
            let want = matches!(status, 400..=407 | 409..=428 | 430..=499 | 501);
            assert_eq!(is_final(StatusCode::from_u16(status).unwrap()), want, "{status}");
        }
    }

    #[test]
    fn a_callers_short_plain_request_id_is_kept_and_any_other_replaced() {
        let long = "x".repeat(MAX_REQUEST_ID + 1);
        for (given, want) in [
            (None, "req_drawn"),
            (Some(""), "req_drawn"),
            (Some("two words"), "req_drawn"),
            (Some(long.as_str()), "req_drawn"),
            (Some("4bf92f35/a-b:c"), "4bf92f35/a-b:c"),
            (Some(&long[1..]), &long[1..]),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(REQUEST_ID, HeaderValue::try_from(given).unwrap());
            }
            assert_eq!(request_id(&headers, || "drawn".to_owned()), want, "{given:?}");
        }
    }

    #[test]
    fn only_what_clients_call_is_open_to_browsers_s121() {
        for (path, want) in [
            ("/api/v1/sessions", true),
            ("/api/v1/sessions/chat/end-and-continue", true),
            ("/realtime/v1/sessions/chat/out", true),
            ("/snapshots/packets/x", true),
            ("/api/v1/runs/run_1/session-streams/wait", false),
            ("/api/v1/workers/lease", false),
            ("/api/v1/waitpoints/waitpoint_1", false),
            ("/", false),
        ] {
            assert_eq!(is_open_to_browsers(path), want, "{path}");
        }
    }
}
