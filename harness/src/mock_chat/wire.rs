//! [`Wire`]: a worker's requests to the session server, for the runs that the test itself plays. The runtime's own are made for a
//! lease, and not for others to call.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use turnkeep_host::Host;
use turnkeep_host::http::{BaseUrl, Deadlines, HttpClient, segment};
use turnkeep_protocol::RunId;
use turnkeep_protocol::run_api::{RUN_ATTEMPT_HEADER, RUN_ID_HEADER};
use turnkeep_protocol::session_api::PresignedUrl;

use super::SetupError;

/// One attempt at a run, as a writer names itself (D-36).
pub(super) type Writer = (RunId, u32);

/// A connection with the environment's secret key.
pub(super) struct Wire {
    client: HttpClient,
    base: BaseUrl,
    secret_key: String,
}

impl Wire {
    pub(super) fn new(host: Host, base: BaseUrl, secret_key: String) -> Self {
        Self { client: HttpClient::new(host, base.clone(), Deadlines::default()), base, secret_key }
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        body: &impl Serialize,
        writer: Option<&Writer>,
    ) -> Result<T, SetupError> {
        let body = serde_json::to_vec(body).expect("wire types always serialise");
        let answer = self.fetch(what, Method::POST, path, Bytes::from(body), writer).await?;
        serde_json::from_slice(answer.body()).map_err(|error| SetupError::refused(what, error))
    }

    /// Reads the chat snapshot; none when there is none.
    pub(super) async fn read_snapshot(&self, session: &str) -> Result<Option<Bytes>, SetupError> {
        let path = self.snapshot_path(Method::GET, session, None).await?;
        let request = self.request(Method::GET, &path, None).body(Bytes::new());
        let request = request.map_err(|error| SetupError::refused("the snapshot", error))?;
        let answer = self.client.fetch(request).await.map_err(|error| SetupError::refused("the snapshot", error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer.into_body())),
            status => Err(SetupError::refused("the snapshot", status)),
        }
    }

    pub(super) async fn write_snapshot(&self, session: &str, body: Vec<u8>, writer: &Writer) -> Result<(), SetupError> {
        let path = self.snapshot_path(Method::PUT, session, Some(writer)).await?;
        self.fetch("the snapshot", Method::PUT, &path, body.into(), Some(writer)).await.map(drop)
    }

    async fn snapshot_path(
        &self,
        method: Method,
        session: &str,
        writer: Option<&Writer>,
    ) -> Result<String, SetupError> {
        let what = "the snapshot's address";
        let path = format!("/api/v1/sessions/{}/snapshot-url", segment(session));
        let answer = self.fetch(what, method, &path, Bytes::new(), writer).await?;
        let url: PresignedUrl =
            serde_json::from_slice(answer.body()).map_err(|error| SetupError::refused(what, error))?;
        Ok(url.presigned_url.strip_prefix(&self.base.to_string()).unwrap_or(&url.presigned_url).to_owned())
    }

    async fn fetch(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
        writer: Option<&Writer>,
    ) -> Result<Response<Bytes>, SetupError> {
        let request = self.request(method, path, writer).body(body);
        let request = request.map_err(|error| SetupError::refused(what, error))?;
        let answer = self.client.fetch(request).await.map_err(|error| SetupError::refused(what, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        Err(SetupError::refused(what, format!("{}: {text}", answer.status())))
    }

    fn request(&self, method: Method, path: &str, writer: Option<&Writer>) -> http::request::Builder {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret_key))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some((run, attempt)) = writer {
            builder = builder.header(RUN_ID_HEADER, run.as_str()).header(RUN_ATTEMPT_HEADER, *attempt);
        }
        builder
    }
}
