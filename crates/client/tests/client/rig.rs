//! A transport, its scripted server, and all that the application heard.

use std::sync::{Arc, Mutex};

use turnkeep_client::{
    ChatEvent, ChatSessionState, ChatStream, Error, Outcome, SendMessages, Transport, TransportBuilder,
};
use turnkeep_host::{Host, Task};
use turnkeep_protocol::{SeqNum, TaskId, UiMessage, UiMessageChunk};

use crate::fake::Fake;
use crate::net;

pub const CHAT: &str = "chat-1";

/// What the callbacks heard.
#[derive(Default)]
pub struct Heard {
    pub changes: Mutex<Vec<ChatSessionState>>,
    pub events: Mutex<Vec<ChatEvent>>,
    pub starts: Mutex<u32>,
    pub renewals: Mutex<u32>,
}

impl Heard {
    pub fn event_names(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().map(|event| event.kind.name()).collect()
    }

    pub fn last_change(&self) -> ChatSessionState {
        self.changes.lock().unwrap().last().cloned().expect("something was told")
    }

    pub fn n_starts(&self) -> u32 {
        *self.starts.lock().unwrap()
    }

    pub fn n_renewals(&self) -> u32 {
        *self.renewals.lock().unwrap()
    }
}

/// One page on one in-memory network.
pub struct Rig {
    pub host: Host,
    pub fake: Arc<Fake>,
    pub heard: Arc<Heard>,
    pub transport: Transport,
    pub server: Option<Task>,
}

impl Rig {
    /// Starts the server and a transport with a `startSession` callback.
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// Starts with a saved state of [`CHAT`].
    pub async fn resumed(state: ChatSessionState) -> Self {
        Self::with(|builder| builder.sessions([(CHAT.to_owned(), state)])).await
    }

    pub async fn with(adjust: impl FnOnce(TransportBuilder) -> TransportBuilder) -> Self {
        let host = net::host();
        let fake = Arc::new(Fake::default());
        let (_, server) = fake.serve(&host, "session:80").await;
        let heard = Arc::new(Heard::default());
        let transport = adjust(builder(&host, &heard)).build();
        Self { host, fake, heard, transport, server: Some(server) }
    }

    /// Opens a second page of the same application, which tells its news to nobody.
    pub fn second(&self, adjust: impl FnOnce(TransportBuilder) -> TransportBuilder) -> Transport {
        adjust(builder(&self.host, &Arc::default())).build()
    }

    /// Loads the page again: a new transport that knows what was last persisted, which is a text.
    pub fn reload(&mut self) {
        let kept = serde_json::to_string(&self.heard.last_change()).expect("a state is JSON");
        let saved: ChatSessionState = serde_json::from_str(&kept).expect("its own text");
        self.heard = Arc::new(Heard::default());
        self.transport = builder(&self.host, &self.heard).name("reloaded").sessions([(CHAT.to_owned(), saved)]).build();
    }

    pub async fn send(&self, text: &str) -> Result<ChatStream, Error> {
        self.transport.send_messages(CHAT, SendMessages::submit([UiMessage::user(format!("id-{text}"), text)])).await
    }

    pub fn state(&self) -> ChatSessionState {
        self.transport.session(CHAT).expect("the chat is known")
    }
}

fn builder(host: &Host, heard: &Arc<Heard>) -> TransportBuilder {
    let base = "http://session".parse().unwrap();
    let (renewed, started, changed, seen) = (heard.clone(), heard.clone(), heard.clone(), heard.clone());
    let access_token = Arc::new(move |_| {
        let n = count(&renewed.renewals);
        Box::pin(async move { Ok(format!("renewed-{n}")) }) as _
    });
    let start_session = Arc::new(move |_| {
        let n = count(&started.starts);
        Box::pin(async move { Ok(format!("started-{n}")) }) as _
    });
    Transport::builder(host.clone(), base, TaskId::new("agent"), access_token)
        .start_session(start_session)
        .on_session_change(Arc::new(move |_, state| changed.changes.lock().unwrap().push(state.clone())))
        .on_event(Arc::new(move |event| seen.events.lock().unwrap().push(event.clone())))
}

fn count(counter: &Mutex<u32>) -> u32 {
    let mut counter = counter.lock().unwrap();
    *counter += 1;
    *counter
}

/// A streaming state with a token.
pub fn streaming(last_event_id: Option<u64>, active_input_seq: Option<u64>) -> ChatSessionState {
    ChatSessionState {
        last_event_id: last_event_id.map(SeqNum::new),
        active_input_seq: active_input_seq.map(SeqNum::new),
        is_streaming: Some(true),
        ..ChatSessionState::new("saved")
    }
}

/// Reads a stream to its end: the text it showed, the error if one came, and how it ended.
pub async fn drain(stream: &mut ChatStream) -> (String, Option<Error>, Outcome) {
    let (mut text, mut failure) = (String::new(), None);
    while let Some(item) = stream.next().await {
        match item {
            Ok(delivered) => text.push_str(&shown(&delivered.chunk)),
            Err(error) => failure = Some(error),
        }
    }
    (text, failure, stream.outcome().expect("the stream has ended"))
}

/// Reads a stream that must end well.
pub async fn text_of(mut stream: ChatStream) -> String {
    let (text, failure, outcome) = drain(&mut stream).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(outcome, Outcome::Completed);
    text
}

/// Waits for the next chunk, which must come, and gives its text.
pub async fn next_text(stream: &mut ChatStream) -> String {
    shown(&stream.next().await.expect("a chunk").expect("no error").chunk)
}

fn shown(chunk: &UiMessageChunk) -> String {
    match chunk {
        UiMessageChunk::TextDelta(delta) => delta.delta.clone(),
        other => format!("<{}>", other.kind()),
    }
}
