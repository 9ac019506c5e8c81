//! A page: the transport, and what is on the screen.
//!
//! The screen follows the field's UI library: a resumed stream goes on with the last message if that is the assistant's (so a
//! turn replayed onto a saved reply doubles it, CR-38), and a `start` with another id begins the next message.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use turnkeep_client::{ChatSessionState, ChatStream, Delivered, SendMessages, SessionsApi, StartRequest, Transport};
use turnkeep_host::http::{Deadlines, HttpClient};
use turnkeep_host::{Host, Tasks};
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{TaskId, UiMessage, UiMessageChunk};

use super::person::{Busy, Person};
use super::stage::{APP_URL, SECRET_KEY, SESSION_URL};
use crate::app::AppChat;
use crate::mock_chat::creation;
use crate::scenario::HistorySource;
use crate::trace::Event;

/// How long a page waits before it asks the author's application again.
const APP_RETRY: Duration = Duration::from_millis(200);

/// An open page; dropping it closes everything it has open.
pub(super) struct Page {
    person: Arc<Person>,
    screen: Arc<Screen>,
    transport: Transport,
    tasks: Tasks,
    host: Host,
}

/// What a page shows.
pub(super) struct Screen {
    page: String,
    person: Arc<Person>,
    state: Mutex<ScreenState>,
}

#[derive(Default)]
struct ScreenState {
    messages: Vec<UiMessage>,
    /// The assistant message that a stream is writing, if any; not yet among `messages`.
    writing: Option<MessageReducer>,
    session: Option<ChatSessionState>,
}

impl Page {
    /// Loads the page: its history first, then whatever still streams.
    pub(super) async fn open(person: &Arc<Person>, host: &Host) -> Self {
        let page = person.next_page();
        let busy = person.occupy();
        let (messages, session) = match person.history {
            HistorySource::Page => {
                let device = person.device();
                (device.messages.clone(), device.state.clone())
            }
            HistorySource::App => load_from_app(person, host).await,
        };
        let cursor = session.as_ref().and_then(|session| session.last_event_id);
        let opened =
            Event::PageOpened { page: page.clone(), chat: person.chat.clone(), messages: messages.clone(), cursor };
        person.trace.log(&person.name, opened);
        let state = Mutex::new(ScreenState { messages, writing: None, session: session.clone() });
        let screen = Arc::new(Screen { page, person: person.clone(), state });
        person.put_on_screen(screen.clone());
        let transport = connect(person, host, &screen, session);
        let page = Self { person: person.clone(), screen, transport, tasks: Tasks::new(), host: host.clone() };
        person.shown.store(0, Ordering::Relaxed);
        page.resume(busy);
        person.loads.fetch_add(1, Ordering::Relaxed);
        page
    }

    fn resume(&self, busy: Busy) {
        let stream = self.transport.reconnect_to_stream(&self.person.chat);
        self.screen.log(|page, chat| Event::Resumed { page, chat, streaming: stream.is_some() });
        let Some(stream) = stream else { return };
        self.screen.resume_last();
        let screen = self.screen.clone();
        self.tasks.add(self.host.spawn(async move {
            screen.follow(stream).await;
            drop(busy);
        }));
    }

    /// Presses send: the message is on screen at once, the rest happens in the background.
    pub(super) fn send(&self, text: String) {
        let message = UiMessage::user(self.person.next_message_id(), text);
        let history = self.screen.ask(message.clone());
        let (screen, transport) = (self.screen.clone(), self.transport.clone());
        let busy = self.person.occupy();
        self.tasks.add(self.host.spawn(async move {
            let sent = transport.send_messages(&screen.person.chat, SendMessages::submit(history)).await;
            match sent {
                Ok(stream) => {
                    let seq_num = stream.input_seq();
                    screen.log(|page, chat| Event::Sent { page, chat, message, seq_num });
                    screen.person.accepted_sends.fetch_add(1, Ordering::Relaxed);
                    screen.follow(stream).await;
                }
                Err(error) => {
                    let (message_id, error) = (message.id, error.to_string());
                    screen.log(|page, chat| Event::SendFailed { page, chat, message_id, error });
                }
            }
            drop(busy);
        }));
    }

    /// Writes into the answer that streams: the screen keeps streaming, and shows where the message came in once the answer tells.
    pub(super) fn steer(&self, text: String) {
        let message = UiMessage::user(self.person.next_message_id(), text);
        let (screen, transport) = (self.screen.clone(), self.transport.clone());
        self.tasks.add(self.host.spawn(async move {
            let delivered = transport.send_pending_message(&screen.person.chat, &message, None).await;
            screen.log(|page, chat| Event::Steered { page, chat, message, delivered });
            screen.person.answered_steers.fetch_add(1, Ordering::Relaxed);
        }));
    }

    /// Presses stop.
    pub(super) fn stop(&self) {
        let (screen, transport) = (self.screen.clone(), self.transport.clone());
        self.tasks.add(self.host.spawn(async move {
            let delivered = transport.stop_generation(&screen.person.chat).await;
            screen.log(|page, chat| Event::Stopped { page, chat, delivered });
            screen.person.answered_stops.fetch_add(1, Ordering::Relaxed);
        }));
    }
}

fn connect(person: &Arc<Person>, host: &Host, screen: &Arc<Screen>, session: Option<ChatSessionState>) -> Transport {
    let base = SESSION_URL.parse().expect("a fixed address parses");
    let sessions = Arc::new(SessionsApi::new(host.clone(), base, SECRET_KEY));
    let (starter, renewer) = (sessions.clone(), sessions);
    let task = TaskId::new(&person.agent);
    let saved = screen.clone();
    let noticed = screen.clone();
    let base = SESSION_URL.parse().expect("a fixed address parses");
    Transport::builder(
        host.clone(),
        base,
        task,
        Arc::new(move |request| {
            let sessions = renewer.clone();
            Box::pin(async move { Ok(sessions.public_token(&request.chat_id).await?) })
        }),
    )
    .name(screen.page.clone())
    .start_session(Arc::new(move |request: StartRequest| {
        let sessions = starter.clone();
        let base_payload = [
            ("trigger".to_owned(), "preload".into()),
            ("messages".to_owned(), Value::Array(Vec::new())),
            ("chatId".to_owned(), request.chat_id.clone().into()),
        ];
        let create = creation(request.task_id, &request.chat_id, base_payload.into_iter().collect());
        Box::pin(async move { Ok(sessions.create(&create).await?.public_access_token) })
    }))
    .sessions(session.map(|session| (person.chat.clone(), session)))
    .on_session_change(Arc::new(move |_, session| saved.keep(session)))
    .on_event(Arc::new(move |event| {
        let notice = Value::String(format!("{:?}", event.kind));
        noticed.log(|page, _| Event::Notice { page, notice });
    }))
    .build()
}

/// Reads messages and cursor in one request, as long as it takes; the token comes from the device.
async fn load_from_app(person: &Arc<Person>, host: &Host) -> (Vec<UiMessage>, Option<ChatSessionState>) {
    let base = APP_URL.parse().expect("a fixed address parses");
    let http = HttpClient::new(host.clone(), base, Deadlines::default());
    let row = loop {
        let request = Request::get(format!("/chats/{}", person.chat)).body(Bytes::new());
        let response = http.fetch(request.expect("a fixed request is well formed")).await;
        let row = response.ok().and_then(|response| serde_json::from_slice::<AppChat>(response.body()).ok());
        match row {
            Some(row) => break row,
            None => tokio::time::sleep(APP_RETRY).await,
        }
    };
    let token = person.device().state.as_ref().map(|session| session.public_access_token.clone());
    // A chat that others began is known by its cursor alone; the transport then asks for a token of its own (C-68, C-139).
    let known = token.is_some() || row.last_event_id.is_some();
    let session = known.then(|| {
        let session = ChatSessionState::new(token.unwrap_or_default());
        ChatSessionState { last_event_id: row.last_event_id, ..session }
    });
    (row.messages, session)
}

impl Screen {
    pub(super) fn show(&self) {
        let messages = self.state().shown();
        self.log(|page, chat| Event::PageShows { page, chat, messages });
    }

    fn state(&self) -> MutexGuard<'_, ScreenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, event: impl FnOnce(String, String) -> Event) {
        self.person.trace.log(&self.person.name, event(self.page.clone(), self.person.chat.clone()));
    }

    /// Puts a question on screen; gives the whole conversation, as the UI library hands it to its transport.
    fn ask(&self, question: UiMessage) -> Vec<UiMessage> {
        let mut state = self.state();
        state.close();
        state.messages.push(question);
        state.messages.clone()
    }

    /// Goes on with the last message if it is the assistant's.
    fn resume_last(&self) {
        let mut state = self.state();
        if state.messages.last().is_some_and(UiMessage::is_assistant) {
            let last = state.messages.pop().expect("there is a last message");
            state.writing = Some(MessageReducer::resume(last));
        }
    }

    /// Shows a stream to its end.
    async fn follow(&self, mut stream: ChatStream) {
        let how = loop {
            match stream.next().await {
                Some(Ok(delivered)) => self.take(delivered),
                Some(Err(error)) => break format!("failed: {error}"),
                None => break outcome(&stream),
            }
        };
        self.ended(how);
    }

    fn take(&self, Delivered { seq_num, chunk }: Delivered) {
        let (message_id, text) = self.state().apply(&chunk);
        self.person.shown.fetch_add(1, Ordering::Relaxed);
        self.log(|page, chat| Event::Shown { page, chat, seq_num, chunk, message_id, text });
    }

    fn ended(&self, how: String) {
        self.log(|page, chat| Event::StreamEnded { page, chat, how });
        let mut state = self.state();
        state.close();
        state.save(&self.person);
    }

    /// Keeps what the transport wants persisted. While a stream writes, the finished messages belong to it; when it has ended,
    /// they are saved with the reply (C-236).
    fn keep(&self, session: &ChatSessionState) {
        let mut state = self.state();
        let boundary = state.writing.is_some() && session.is_streaming == Some(false);
        state.session = Some(session.clone());
        if !boundary {
            state.save(&self.person);
        }
    }
}

fn outcome(stream: &ChatStream) -> String {
    stream.outcome().map_or_else(|| "unknown".to_owned(), |outcome| format!("{outcome:?}").to_lowercase())
}

impl ScreenState {
    /// Applies a chunk to the message being written; gives its id and text on screen.
    fn apply(&mut self, chunk: &UiMessageChunk) -> (String, String) {
        if let UiMessageChunk::Start(start) = chunk
            && let Some(writing) = &self.writing
            && start.message_id.as_ref().is_some_and(|id| *id != writing.message().id)
            && !writing.message().id.is_empty()
        {
            self.close();
        }
        let writing = self.writing.get_or_insert_default();
        // A chunk that does not fit is the checks' business: they compare what is shown with what is stored.
        let _ = writing.apply(chunk);
        (writing.message().id.clone(), writing.message().text())
    }

    /// Ends the message being written; one without content is not shown.
    fn close(&mut self) {
        if let Some(writing) = self.writing.take() {
            let message = writing.into_message();
            if !message.parts.is_empty() {
                self.messages.push(message);
            }
        }
    }

    fn shown(&self) -> Vec<UiMessage> {
        let writing = self.writing.as_ref().map(|writing| writing.message().clone());
        self.messages.iter().cloned().chain(writing.filter(|message| !message.parts.is_empty())).collect()
    }

    fn save(&self, person: &Person) {
        let mut device = person.device();
        device.state.clone_from(&self.session);
        device.messages.clone_from(&self.messages);
    }
}
