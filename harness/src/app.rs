//! The author's web application and its database, as pages and agents use it over HTTP.
//!
//! `GET /chats/{chat}` reads messages and cursor together, `PUT /chats/{chat}` writes what it is given of the two in one
//! transaction (C-236). The database outlives its server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use turnkeep_host::Host;
use turnkeep_protocol::{SeqNum, UiMessage};

/// What the author's database holds of one chat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppChat {
    /// The conversation.
    pub messages: Vec<UiMessage>,
    /// The cursor that belongs to it.
    #[serde(default)]
    pub last_event_id: Option<SeqNum>,
}

/// Told of every write, with what is stored after it.
pub type WriteObserver = Arc<dyn Fn(&str, &AppChat) + Send + Sync>;

/// The database; clones share it, and it survives its host.
#[derive(Clone, Default)]
pub struct AppDatabase {
    chats: Arc<Mutex<BTreeMap<String, AppChat>>>,
    observer: Option<WriteObserver>,
}

/// One write; fields left out stay as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Write {
    messages: Option<Vec<UiMessage>>,
    last_event_id: Option<SeqNum>,
}

impl AppDatabase {
    /// Makes an empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells `observer` of every write.
    #[must_use]
    pub fn observe(mut self, observer: WriteObserver) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Gives what is stored of a chat; an empty row when there is nothing.
    pub fn read(&self, chat: &str) -> AppChat {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner).get(chat).cloned().unwrap_or_default()
    }

    fn write(&self, chat: &str, write: Write) -> AppChat {
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        let row = chats.entry(chat.to_owned()).or_default();
        if let Some(messages) = write.messages {
            row.messages = messages;
        }
        if let Some(cursor) = write.last_event_id {
            row.last_event_id = Some(cursor);
        }
        if let Some(observer) = &self.observer {
            observer(chat, row);
        }
        row.clone()
    }

    /// Serves the application on `addr` until the future is dropped: `GET` and `PUT /chats/{chat}`.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn serve(self, host: Host, addr: &str) -> std::io::Result<Infallible> {
        let listener = host.net().listen(addr).await?;
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let database = self.clone();
            async move { Ok::<_, Infallible>(answer(request, &database).await) }
        });
        Ok(turnkeep_host::http::serve(&host, listener, service).await)
    }
}

impl std::fmt::Debug for AppDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppDatabase")
    }
}

async fn answer(request: Request<Incoming>, database: &AppDatabase) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(chat) = path.strip_prefix("/chats/").filter(|chat| !chat.is_empty()) else {
        return reply(StatusCode::NOT_FOUND, &"no such page");
    };
    match *request.method() {
        Method::GET => reply(StatusCode::OK, &database.read(chat)),
        Method::PUT => {
            let Ok(body) = request.into_body().collect().await else {
                return reply(StatusCode::BAD_REQUEST, &"the body broke off");
            };
            match serde_json::from_slice::<Write>(&body.to_bytes()) {
                Ok(write) => reply(StatusCode::OK, &database.write(chat, write)),
                Err(error) => reply(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => reply(StatusCode::METHOD_NOT_ALLOWED, &"GET or PUT"),
    }
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("rows and texts always serialise");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
