//! The session routes that need a secret key: what a `startSession` callback on a server, and a test, call.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use turnkeep_host::Host;
use turnkeep_host::http::{BaseUrl, segment};
use turnkeep_protocol::run_api::{CancelledRun, OutBatch, OutBatchResponse};
use turnkeep_protocol::session_api::{
    CloseSession, CreateSession, CreatedSession, DrainedRecord, DrainedRecords, EndAndContinue, SessionItem, Swapped,
};
use turnkeep_protocol::{ChannelName, ChatInputChunk, NewRecord, PartId, RunId, SeqNum, TaskId};

use crate::Error;
use crate::api::{Api, Call, Secret, channel_path};
use crate::append::Append;
use crate::route::{BaseUrlFor, Endpoint, Fetch, FetchContext, HeadersFor, Route};

/// How long a token that may start runs lives.
const TASK_TOKEN_TTL: &str = "24h";

/// The answer to a request for a token.
#[derive(serde::Deserialize)]
struct PublicToken {
    token: String,
}

/// A client of the session routes with an environment's secret key.
///
/// Every call survives a short absence of the server: network failures and 5xx are tried [`crate::MAX_CALL_ATTEMPTS`] times.
#[derive(Debug)]
pub struct SessionsApi {
    api: Api,
    secret_key: Secret,
    headers: HeaderMap,
}

impl SessionsApi {
    /// Makes a client; nothing is requested yet.
    pub fn new(host: Host, base: BaseUrl, secret_key: impl Into<String>) -> Self {
        let draws = host.entropy().child("sessions-api").child("backoff").draws();
        let route = Route::to(host.clone(), base);
        Self { api: Api::new(host, route, draws), secret_key: secret_key.into().into(), headers: HeaderMap::new() }
    }

    /// Asks for the server of each request; scopes this client to another environment (C-221).
    #[must_use]
    pub fn base_url_for(mut self, base: BaseUrlFor) -> Self {
        self.api.route_mut().set_base(base);
        self
    }

    /// Adds headers to every request; the fixed ones win (C-59).
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Shows every request to `fetch`, which may change it (C-221).
    #[must_use]
    pub fn fetch(mut self, fetch: Fetch) -> Self {
        self.api.route_mut().set_fetch(Some(fetch));
        self
    }

    /// Creates a session or finds the one with the same external id, and makes sure that a run is alive (C-4).
    ///
    /// # Errors
    ///
    /// [`Error::SessionClosed`] when the id belongs to a closed session; other refusals and failures as [`Error`].
    pub async fn create(&self, session: &CreateSession) -> Result<CreatedSession, Error> {
        let key = session.external_id.as_deref().unwrap_or_default();
        self.post(Endpoint::Sessions, key, "/api/v1/sessions".to_owned(), session, "create response").await
    }

    /// Gives a session's public form; `key` is its external id or its `session_…` id.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 404 when there is none.
    pub async fn retrieve(&self, key: &str) -> Result<SessionItem, Error> {
        let call = Call::get(about(Endpoint::Sessions, key), format!("/api/v1/sessions/{}", segment(key)));
        let call = self.signed(call);
        self.api.json(&call, "session").await
    }

    /// Closes a session for good; closing twice is no error (D-2).
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses or cannot be reached.
    pub async fn close(&self, key: &str, close: &CloseSession) -> Result<SessionItem, Error> {
        self.post(Endpoint::Sessions, key, format!("/api/v1/sessions/{}/close", segment(key)), close, "session").await
    }

    /// Gives a session to a successor of the run that has it: the caller's run ends there and then, and may write no more (S-43, D-36).
    ///
    /// When another run has the session already, the answer names that one and says that nothing was swapped.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses or cannot be reached.
    pub async fn end_and_continue(&self, key: &str, run: &RunId, reason: &str) -> Result<Swapped, Error> {
        let ask = EndAndContinue {
            calling_run_id: run.clone(),
            reason: reason.to_owned(),
            settled_cursor: None,
            consumed_cursor: None,
        };
        let path = format!("/api/v1/sessions/{}/end-and-continue", segment(key));
        self.post(Endpoint::Sessions, key, path, &ask, "swap answer").await
    }

    /// Ends a run from outside, wherever it is: it writes nothing more and an open answer is aborted. If messages are owed, a
    /// continuation closes the turn and answers what was not begun (D-70). A run that is over stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 404 when there never was such a run; [`Error`] when the server cannot be reached.
    pub async fn cancel_run(&self, run: &RunId) -> Result<(), Error> {
        let path = format!("/api/v2/runs/{}/cancel", segment(run.as_str()));
        let _: CancelledRun = self.post(Endpoint::Sessions, "", path, &serde_json::json!({}), "cancelled run").await?;
        Ok(())
    }

    /// Reads everything after a cursor without waiting, commands left out (S-97, S-98).
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses or cannot be reached.
    pub async fn drain(
        &self,
        key: &str,
        channel: ChannelName,
        after: Option<SeqNum>,
    ) -> Result<Vec<DrainedRecord>, Error> {
        let query = after.map(|cursor| format!("?afterEventId={cursor}")).unwrap_or_default();
        let path = format!("{}/records{query}", channel_path(key, channel));
        let call = self.signed(Call::get(about(channel.into(), key), path));
        let drained: DrainedRecords = self.api.json(&call, "records").await?;
        Ok(drained.records)
    }

    /// Mints a session-scoped token for reading and writing one session; starts nothing (C-3, C-220).
    ///
    /// This is what an `accessToken` callback on a server calls.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses or cannot be reached.
    pub async fn public_token(&self, key: &str) -> Result<String, Error> {
        self.mint(key, None).await
    }

    /// Mints such a token for a time like `90m` (C-220).
    pub(crate) async fn public_token_for(&self, key: &str, ttl: &str) -> Result<String, Error> {
        self.mint(key, Some(ttl)).await
    }

    /// Mints a token that may do one thing, start chats with one agent, for 24 hours.
    ///
    /// Whoever holds it reads and writes nothing with it: what it creates comes with a token of its own.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses or cannot be reached.
    pub async fn task_token(&self, task: &TaskId) -> Result<String, Error> {
        self.mint_for("", &[format!("write:tasks:{task}")], Some(TASK_TOKEN_TTL)).await
    }

    async fn mint(&self, key: &str, ttl: Option<&str>) -> Result<String, Error> {
        self.mint_for(key, &[format!("read:sessions:{key}"), format!("write:sessions:{key}")], ttl).await
    }

    async fn mint_for(&self, key: &str, scopes: &[String], ttl: Option<&str>) -> Result<String, Error> {
        let mut body = serde_json::json!({ "scopes": scopes });
        if let Some(ttl) = ttl {
            body["expirationTime"] = ttl.into();
        }
        let minted: PublicToken =
            self.post(Endpoint::Auth, key, "/api/v1/auth/public-tokens".to_owned(), &body, "token").await?;
        Ok(minted.token)
    }

    /// Appends a record to `in` under a part id of the caller's; the same id twice is one record (D-6).
    ///
    /// # Errors
    ///
    /// [`Error::SessionClosed`] on a closed session; other refusals and failures as [`Error`].
    pub async fn append(&self, key: &str, input: &ChatInputChunk, part_id: &PartId) -> Result<Option<SeqNum>, Error> {
        let append = Append {
            session: key.to_owned(),
            part_id: part_id.clone(),
            body: serde_json::to_vec(input).expect("an input record always serialises"),
            headers: self.headers_for(),
        };
        append.post(&self.api, &self.secret_key).await
    }

    /// Writes records to `out` that belong to no run, all or nothing; gives their places (C-188, D-39).
    ///
    /// The same part id twice is one batch, so the attempts of one call are one batch too.
    ///
    /// # Errors
    ///
    /// [`Error::SessionClosed`] on a closed session; other refusals and failures as [`Error`].
    pub async fn write_out(&self, key: &str, records: Vec<NewRecord>, part_id: &PartId) -> Result<Vec<SeqNum>, Error> {
        let path = format!("{}/batch", channel_path(key, ChannelName::Out));
        let json = serde_json::to_vec(&OutBatch { records }).expect("a wire type always serialises");
        let call = Call::post(about(Endpoint::Out, key), path, json)
            .header(HeaderName::from_static("x-part-id"), part_id.as_str());
        let written: OutBatchResponse = self.api.json(&self.signed(call), "batch response").await?;
        Ok(written.seqs)
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        key: &str,
        path: String,
        body: &impl serde::Serialize,
        what: &'static str,
    ) -> Result<T, Error> {
        let json = serde_json::to_vec(body).expect("a wire type always serialises");
        self.api.json(&self.signed(Call::post(about(endpoint, key), path, json)), what).await
    }

    fn headers_for(&self) -> HeadersFor {
        let headers = self.headers.clone();
        Arc::new(move |_| headers.clone())
    }

    fn signed(&self, call: Call) -> Call {
        call.bearer(&self.secret_key).under(&self.headers)
    }
}

fn about(endpoint: Endpoint, key: &str) -> FetchContext {
    FetchContext { endpoint, chat_id: key.to_owned() }
}
