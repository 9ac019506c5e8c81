//! The shell: one call, from the prompt to the last part of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use serde_json::Value;
use turnkeep_host::http::{BodyStream, Deadlines, HttpClient};
use turnkeep_host::{Draws, Host};

use super::Provider;
use super::api::{Api, broke_off};
use super::decode::AnswerDecoder;
use super::failure::{Failure, describe};
use super::real_calls::RealCalls;
use super::retry::next_wait;
use crate::error::ModelError;
use crate::language_model::{LanguageModel, StreamParts};
use crate::part::StreamPart;
use crate::prompt::Prompt;

/// How much of the body of a refusal is read, in bytes; providers explain themselves in far less.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

const USER_AGENT: &str = concat!("turnkeep/", env!("CARGO_PKG_VERSION"));

/// Calls one model of one provider.
pub(super) struct Caller {
    model_id: String,
    shared: Arc<Shared>,
}

/// What every call of a model needs.
struct Shared {
    model_id: String,
    host: Host,
    api: Arc<dyn Api>,
    client: HttpClient,
    /// The headers of every call, or why they cannot be sent.
    headers: Result<HeaderMap, ModelError>,
    idle: Duration,
    max_retries: u32,
    includes_raw_chunks: bool,
    real_calls: RealCalls,
    jitter: Draws,
}

impl Caller {
    pub(super) fn new(provider: Provider, model_id: String) -> Self {
        let Provider { host, api, api_key, base, headers, deadlines, .. } = provider;
        let waits = Deadlines { connect: deadlines.connect, headers: deadlines.headers, ..Deadlines::default() };
        let shared = Shared {
            model_id: model_id.clone(),
            client: HttpClient::new(host.clone(), base, waits),
            headers: all_headers(&*api, &api_key, headers),
            idle: deadlines.idle,
            max_retries: provider.max_retries,
            includes_raw_chunks: provider.includes_raw_chunks,
            real_calls: provider.real_calls,
            jitter: host.entropy().child("model-retries").child(api.name()).child(&model_id).draws(),
            host,
            api,
        };
        Self { model_id, shared: Arc::new(shared) }
    }
}

impl LanguageModel for Caller {
    fn model_id(&self) -> &str {
        &self.model_id
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let shared = self.shared.clone();
        async move { shared.begin(&prompt).await }.boxed()
    }
}

impl Shared {
    async fn begin(&self, prompt: &Prompt) -> Result<StreamParts, ModelError> {
        self.real_calls.check(&self.model_id)?;
        let body = Bytes::from(self.api.body(&self.model_id, prompt)?.to_string());
        let headers = self.headers_with(prompt.settings.get("headers"))?;
        let asked = prompt.settings.get("maxRetries").and_then(Value::as_u64);
        let max_retries = asked.map_or(self.max_retries, |asked| u32::try_from(asked).unwrap_or(u32::MAX));
        let mut n_retries = 0;
        loop {
            let failure = match self.attempt(body.clone(), headers.clone()).await {
                Ok(answer) => return Ok(answer.into_parts()),
                Err(failure) => failure,
            };
            match next_wait(&failure, n_retries, max_retries, self.jitter.unit()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.error),
            }
            n_retries += 1;
        }
    }

    /// Makes one try, up to the first part that says something.
    async fn attempt(&self, body: Bytes, headers: HeaderMap) -> Result<Answer, Failure> {
        let mut request = Request::post(self.api.path()).body(body).expect("a constant path is a good one");
        *request.headers_mut() = headers;
        let response = self.client.open(request).await.map_err(|error| Failure::of_transport(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        if let Some(kind) = foreign(response.headers()) {
            let (head, body) = response.into_parts();
            let text = describe(head.status, &read_some(body, self.idle).await);
            return Err(ModelError::malformed(format!("expected an event stream and got {kind}: {text}")).into());
        }
        let decoder = AnswerDecoder::new(self.api.reader(), self.includes_raw_chunks);
        let mut answer = Answer { body: Some(response.into_body()), decoder, idle: self.idle };
        loop {
            match answer.decoder.first_content() {
                Some(StreamPart::Error(error)) => return Err(error.clone().into()),
                Some(_) => return Ok(answer),
                None => answer.read().await,
            }
        }
    }

    async fn refusal(&self, response: Response<BodyStream>) -> Failure {
        let (head, body) = response.into_parts();
        let body = read_some(body, self.idle).await;
        Failure::of_status(head.status, &head.headers, &body, self.host.clock().now())
    }

    /// Lays a prompt's own headers over those of every call, as the AI SDK's setting `headers` does.
    fn headers_with(&self, own: Option<&Value>) -> Result<HeaderMap, ModelError> {
        let mut headers = self.headers.clone()?;
        for (name, value) in own.and_then(Value::as_object).into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            let name = name.parse::<HeaderName>().map_err(|_| bad_header(name))?;
            headers.insert(name.clone(), header_value(&name, value)?);
        }
        Ok(headers)
    }
}

fn all_headers(api: &dyn Api, api_key: &str, chosen: HeaderMap) -> Result<HeaderMap, ModelError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in api.headers(api_key) {
        let value = header_value(&name, &value)?;
        headers.insert(name, value);
    }
    headers.extend(chosen);
    Ok(headers)
}

fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, ModelError> {
    // The value may be a key, so the complaint leaves it out.
    value.parse().map_err(|_| bad_header(name.as_str()))
}

fn bad_header(name: &str) -> ModelError {
    ModelError::refused(format!("the header `{name}` holds characters that no header may"))
}

/// Gives the content type of an answer that is surely no event stream, such as a proxy's page.
fn foreign(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    ["text/html", "application/json"].iter().any(|foreign| kind.starts_with(foreign)).then(|| kind.to_owned())
}

/// Reads what explains an answer that is of no use: as much as comes in time, fits and is whole.
async fn read_some(mut body: BodyStream, idle: Duration) -> Vec<u8> {
    let mut read = Vec::new();
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(idle, body.next_chunk()).await {
        read.extend_from_slice(&bytes);
        if read.len() >= MAX_REFUSAL_BYTES {
            read.truncate(MAX_REFUSAL_BYTES);
            break;
        }
    }
    read
}

/// An answer under way; dropping it closes the connection.
struct Answer {
    /// None after the last part: the connection has nothing more to say.
    body: Option<BodyStream>,
    decoder: AnswerDecoder,
    idle: Duration,
}

impl Answer {
    fn into_parts(self) -> StreamParts {
        stream::unfold(self, |mut answer| async move { Some((answer.next().await?, answer)) }).boxed()
    }

    async fn next(&mut self) -> Option<StreamPart> {
        loop {
            if let Some(part) = self.decoder.next_part() {
                return Some(part);
            }
            if self.decoder.is_over() {
                return None;
            }
            self.read().await;
        }
    }

    /// Waits for more of the body and decodes it.
    async fn read(&mut self) {
        let Some(body) = &mut self.body else { return };
        match tokio::time::timeout(self.idle, body.next_chunk()).await {
            Ok(Some(Ok(bytes))) => self.decoder.push(&bytes),
            Ok(Some(Err(error))) => self.decoder.fail(broke_off(&error.to_string())),
            Ok(None) => self.decoder.end(),
            Err(_) => {
                let limit_ms = self.idle.as_millis();
                self.decoder.fail(ModelError::unavailable(format!(
                    "the provider's answer stalled: nothing within {limit_ms} ms (idle deadline)"
                )));
            }
        }
        if self.decoder.is_over() {
            self.body = None;
        }
    }
}
