//! What every answer gets on its way out: CORS (S-121, RC-19) and the word that a refusal is final (D-61, RC-3).

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, Last-Event-ID, Timeout-Seconds, X-Peek-Settled, X-Part-Id, \
                               X-Trigger-Source, X-Trigger-Client, X-Trigger-Branch";
const RESPONSE_HEADERS: &str = "X-Stream-Version, X-Session-Settled, X-First-Available-Seq, X-Clamped-Cursor, \
                                X-Last-Chunk-Index, X-Should-Retry, X-Ratelimit-Limit, X-Ratelimit-Remaining, \
                                X-Ratelimit-Reset, X-S2-Access-Token, X-S2-Stream-Name, X-S2-Basin, X-S2-Endpoint, \
                                X-S2-Flush-Interval-Ms, X-S2-Max-Retries";

/// Answers preflights and finishes every other answer.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let is_open = is_open_to_browsers(request.uri().path());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response =
        if is_open && request.method() == Method::OPTIONS { preflight(wanted) } else { next.run(request).await };
    if is_open && let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    if is_final(response.status()) {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
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
