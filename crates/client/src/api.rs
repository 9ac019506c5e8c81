//! Requests as the session server wants them, and calls that survive a short absence of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use serde::de::DeserializeOwned;
use turnkeep_host::http::{BaseUrl, segment};
use turnkeep_host::{Draws, Host};
use turnkeep_protocol::ChannelName;

use crate::reader::backoff;
use crate::route::{FetchContext, Route};
use crate::{Error, Refused};

/// How many times one call is posted when the network or the server fails, always under one part id (C-18).
///
/// The waits double from 100 ms to 5 s, so a server may be away for about 25 s.
pub const MAX_CALL_ATTEMPTS: u32 = 10;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest wait that a rate limit's reset may ask for (C-20).
const LONGEST_RATE_LIMIT_WAIT: Duration = Duration::from_secs(30);

/// Gives the path of a session's channel.
pub(crate) fn channel_path(session: &str, channel: ChannelName) -> String {
    format!("/realtime/v1/sessions/{}/{channel}", segment(session))
}

/// A credential; never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// One request, rebuilt for each attempt. Later headers of a name replace earlier ones (C-59).
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What the request is about, for those who choose its server or change it.
    pub(crate) context: FetchContext,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(context: FetchContext, path: String) -> Self {
        Self { context, method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn post(context: FetchContext, path: String, json: Vec<u8>) -> Self {
        let call = Self { context, method: Method::POST, path, headers: HeaderMap::new(), body: json.into() };
        call.header(CONTENT_TYPE, "application/json")
    }

    /// Puts the caller's own headers under all fixed ones.
    pub(crate) fn under(mut self, extra: &HeaderMap) -> Self {
        let fixed = std::mem::replace(&mut self.headers, extra.clone());
        for (name, value) in &fixed {
            self.headers.insert(name, value.clone());
        }
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        // A value that cannot stand in a header is left out; the server then refuses the call with a reason.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn bearer(mut self, token: &Secret) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.0)) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    pub(crate) fn accept(self, kind: &str) -> Self {
        self.header(ACCEPT, kind)
    }

    /// Lays headers over all that are there.
    pub(crate) fn over(mut self, headers: &HeaderMap) -> Self {
        for (name, value) in headers {
            self.headers.insert(name, value.clone());
        }
        self
    }

    /// Builds the request with its absolute address below `base`.
    pub(crate) fn request(&self, base: &BaseUrl) -> Result<Request<Bytes>, Error> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        let uri = format!("{base}{}", self.path);
        *request.uri_mut() = uri.parse().map_err(|error| Error::Network(http::Error::from(error).into()))?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

/// Makes bounded calls to one server.
#[derive(Debug)]
pub(crate) struct Api {
    route: Route,
    host: Host,
    draws: Draws,
}

impl Api {
    pub(crate) fn new(host: Host, route: Route, draws: Draws) -> Self {
        Self { route, host, draws }
    }

    pub(crate) fn route_mut(&mut self) -> &mut Route {
        &mut self.route
    }

    /// Sends `call` until it is answered for good: at most [`MAX_CALL_ATTEMPTS`] requests.
    ///
    /// Network failures, 408, 429 and 5xx are tried again; everything else surfaces at once. Cancelling stops all attempts.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response<Bytes>, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (error, at_least) = match self.route.fetch(call).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => self.refusal(&response),
                Err(error) => (error, Duration::ZERO),
            };
            if !error.is_retryable() {
                return Err(error);
            }
            if attempts >= MAX_CALL_ATTEMPTS {
                return Err(Error::RetriesExhausted { attempts, last: Box::new(error) });
            }
            let wait = backoff(FIRST_WAIT, LONGEST_WAIT, 0.5, attempts, self.draws.unit());
            tokio::time::sleep(wait.max(at_least)).await;
        }
    }

    /// Sends `call` and reads the answer's JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call, what: &'static str) -> Result<T, Error> {
        let response = self.send(call).await?;
        serde_json::from_slice(response.body()).map_err(|error| Error::BadResponse { what, problem: error.to_string() })
    }

    fn refusal(&self, response: &Response<Bytes>) -> (Error, Duration) {
        let refused = Refused::read(response.status(), response.headers(), response.body());
        if refused.is_session_closed() {
            return (Error::SessionClosed { reason: refused.closed_reason }, Duration::ZERO);
        }
        let reset = response.headers().get("x-ratelimit-reset").and_then(|value| value.to_str().ok()?.parse().ok());
        let wait = match reset {
            Some(millis) if refused.status == 429 => turnkeep_host::Timestamp::from_millis(millis)
                .since(self.host.clock().now())
                .min(LONGEST_RATE_LIMIT_WAIT),
            _ => Duration::ZERO,
        };
        (Error::Refused { refused }, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Endpoint;

    #[test]
    fn chat_ids_are_percent_encoded_in_paths_c1() {
        assert_eq!(channel_path("a/b c:ü", ChannelName::Out), "/realtime/v1/sessions/a%2Fb%20c%3A%C3%BC/out");
        assert_eq!(channel_path("chat-1_x.~", ChannelName::In), "/realtime/v1/sessions/chat-1_x.~/in");
    }

    #[test]
    fn fixed_headers_win_over_the_callers_c59_ca37() {
        let mut extra = HeaderMap::new();
        extra.insert("x-part-id", HeaderValue::from_static("theirs"));
        extra.insert("authorization", HeaderValue::from_static("theirs"));
        extra.insert("x-tenant", HeaderValue::from_static("kept"));

        let context = FetchContext { endpoint: Endpoint::In, chat_id: "c".to_owned() };
        let call = Call::post(context, "/x".to_owned(), b"{}".to_vec())
            .bearer(&"ours".into())
            .header(HeaderName::from_static("x-part-id"), "ours")
            .under(&extra);

        let request = call.request(&"http://a/p/".parse().unwrap()).unwrap();
        assert_eq!(request.uri(), "http://a:80/p/x");
        assert_eq!(request.headers()["authorization"], "Bearer ours");
        assert_eq!(request.headers()["x-part-id"], "ours");
        assert_eq!(request.headers()["x-tenant"], "kept");
        assert_eq!(request.headers()["content-type"], "application/json");
    }
}
