//! Host `app`: the author's web application and its database, as pages and agents use it over HTTP.
//!
//! Three calls: read a chat, write its messages, write its cursor; `PUT …/turn` writes both in one transaction (C-236). The
//! database outlives the host's process.

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

use crate::trace::{Event, Trace};

/// What the author's database holds of one chat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppChat {
    /// The conversation.
    pub(super) messages: Vec<UiMessage>,
    /// The cursor that belongs to it.
    #[serde(default)]
    pub(super) last_event_id: Option<SeqNum>,
}

/// The database; clones share it, and it survives its host.
#[derive(Clone, Default)]
pub(super) struct AppDatabase {
    chats: Arc<Mutex<BTreeMap<String, AppChat>>>,
}

/// One write; fields left out stay as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Write {
    messages: Option<Vec<UiMessage>>,
    last_event_id: Option<SeqNum>,
}

impl AppDatabase {
    fn read(&self, chat: &str) -> AppChat {
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
        row.clone()
    }
}

/// Serves the application until the host dies.
pub(super) async fn serve(host: Host, database: AppDatabase, trace: Trace) -> Result<Infallible, std::io::Error> {
    let listener = host.net().listen("0.0.0.0:80").await?;
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (database, trace) = (database.clone(), trace.clone());
        async move { Ok::<_, Infallible>(answer(request, &database, &trace).await) }
    });
    Ok(turnkeep_host::http::serve(&host, listener, service).await)
}

async fn answer(request: Request<Incoming>, database: &AppDatabase, trace: &Trace) -> Response<Full<Bytes>> {
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
                Ok(write) => {
                    let row = database.write(chat, write);
                    let event = Event::AppWrote {
                        chat: chat.to_owned(),
                        messages: row.messages.clone(),
                        cursor: row.last_event_id,
                    };
                    trace.log("app", event);
                    reply(StatusCode::OK, &row)
                }
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
