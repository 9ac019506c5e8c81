//! A page: the transport, and what its person does with it. What she sees is the [`Screen`]'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderValue, Request};
use serde_json::Value;
use turnkeep_client::{ChatSessionState, Listening, PageEvent, SendMessages, SessionsApi, StartRequest, Transport};
use turnkeep_host::http::{Deadlines, HttpClient};
use turnkeep_host::{Host, Tasks};
use turnkeep_protocol::{JsonObject, SeqNum, TaskId, UiMessage};

use super::person::{Busy, Person};
use super::screen::Screen;
use super::stage::{APP_URL, SECRET_KEY, SESSION_URL};
use super::tabs::Seat;
use crate::app::AppChat;
use crate::mock_chat::creation;
use crate::scenario::HistorySource;
use crate::trace::{Event, Gesture};

/// How long a page waits before it asks the author's application again.
const APP_RETRY: Duration = Duration::from_millis(200);

/// An open page; dropping it closes everything it has open, without a word to anybody.
pub(super) struct Page {
    person: Arc<Person>,
    screen: Arc<Screen>,
    transport: Transport,
    tasks: Tasks,
    host: Host,
    /// Its place among the person's tabs, when she has several.
    seat: Option<Arc<Seat>>,
    /// What it hears of them.
    _listening: Vec<Listening>,
}

impl Page {
    /// Loads the page: its history first, then whatever still streams.
    pub(super) async fn open(person: &Arc<Person>, host: &Host) -> Self {
        let page = person.next_page();
        let busy = person.occupy();
        let (messages, session) = load(person, host).await;
        // A viewer of a chat that others began knows its name; the transport then asks for a token of its own (C-68, C-139).
        let viewed = person.is_watching().then(|| ChatSessionState::new(String::new()));
        let session = session.or(viewed);
        let cursor = session.as_ref().and_then(|session| session.last_event_id);
        let opened =
            Event::PageOpened { page: page.clone(), chat: person.told_chat(), messages: messages.clone(), cursor };
        person.trace.log(&person.name, opened);
        let seat = person.room.as_ref().map(|room| room.enter(&page));
        let screen = Arc::new(Screen::new(page, person.clone(), messages, session.clone()));
        person.put_on_screen(screen.clone());
        let transport = connect(person, host, &screen, session, seat.clone());
        let listening = if seat.is_some() { listen(&transport, &screen) } else { Vec::new() };
        let (person, tasks, host) = (person.clone(), Tasks::new(), host.clone());
        let page = Self { person: person.clone(), screen, transport, tasks, host, seat, _listening: listening };
        page.share();
        page.take_over();
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
            // A viewer's stream does not end with an answer: nobody waits for it.
            let busy = (!screen.person.is_watching()).then_some(busy);
            screen.follow(stream, false).await;
            drop(busy);
        }));
    }

    /// Shows the person's other tabs what this one shows, whenever it changes (C-128).
    fn share(&self) {
        if self.seat.is_none() {
            return;
        }
        let (screen, transport) = (self.screen.clone(), self.transport.clone());
        self.tasks.add(self.host.spawn(async move {
            loop {
                transport.share_messages(&screen.person.chat, screen.messages());
                screen.changed().await;
            }
        }));
    }

    /// Reads on what the tab that held the chat has left unfinished, if it has died (C-126): from what is kept of the chat, as after a
    /// reload, for this page may never have seen the other's question.
    fn take_over(&self) {
        if self.seat.is_none() {
            return;
        }
        let (screen, transport, host) = (self.screen.clone(), self.transport.clone(), self.host.clone());
        self.tasks.add(self.host.spawn(async move {
            let chat = screen.person.chat.clone();
            loop {
                let busy = screen.freed().await;
                if transport.session(&chat).is_none_or(|state| state.is_streaming == Some(false)) {
                    continue;
                }
                let (messages, session) = load(&screen.person, &host).await;
                screen.load(messages);
                if let Some(session) = session {
                    transport.set_session(&chat, session);
                }
                let stream = transport.reconnect_to_stream(&chat);
                screen.log(|page, chat| Event::Resumed { page, chat, streaming: stream.is_some() });
                if let Some(stream) = stream {
                    screen.resume_last();
                    screen.follow(stream, false).await;
                }
                drop(busy);
            }
        }));
    }

    /// Presses send: the message is on screen at once, the rest happens in the background.
    pub(super) fn send(&self, text: String) {
        let message = UiMessage::user(self.person.next_message_id(), text);
        let history = self.screen.ask(message.clone());
        self.post(Asked::Message(message), SendMessages::submit(history));
    }

    /// Asks for the last answer again, which leaves the screen at once.
    pub(super) fn regenerate(&self) {
        self.screen.drop_answer();
        self.post(Asked::Gesture(Gesture::Regenerate), SendMessages::regenerate());
    }

    /// Decides about the calls that wait for her consent.
    pub(super) fn decide(&self, approved: bool, reason: Option<&str>) {
        let history = self.screen.change_last(|last| {
            let pending = last.pending_approvals();
            pending.iter().filter(|id| last.add_tool_approval_response(id, approved, reason)).count() > 0
        });
        self.post_answers(history, "no call waits for a decision");
    }

    /// Gives the calls that her page runs their result.
    pub(super) fn answer(&self, output: &Value) {
        let history = self.screen.change_last(|last| {
            let pending = last.pending_outputs();
            pending.iter().filter(|id| last.add_tool_output(id, output.clone())).count() > 0
        });
        self.post_answers(history, "no call waits for an answer");
    }

    /// Sends the message whose calls were answered again; what follows belongs to it. Without one the person cannot do what the story
    /// wants of her, for `want`.
    fn post_answers(&self, history: Option<Vec<UiMessage>>, want: &str) {
        let Some(history) = history else {
            return self.person.refuse(format!("on {} {want}", self.screen.page));
        };
        let Some(message) = history.last().cloned() else { return };
        self.screen.resume_last();
        self.post(Asked::Message(message), SendMessages::submit(history));
    }

    /// Sends an action; the page takes messages away when the server has it.
    pub(super) fn act(&self, action: Value, takes_away: usize) {
        let send = SendMessages::submit([]).body(JsonObject::from_iter([("action".to_owned(), action)]));
        let screen = self.screen.clone();
        self.post_then(Asked::Gesture(Gesture::Action), send, move || screen.take_away(takes_away));
    }

    fn post(&self, asked: Asked, send: SendMessages) {
        self.post_then(asked, send, || ());
    }

    /// Sends in the background, does `then` when the server has it, and shows what follows.
    fn post_then(&self, asked: Asked, send: SendMessages, then: impl FnOnce() + Send + 'static) {
        let (screen, transport) = (self.screen.clone(), self.transport.clone());
        let busy = self.person.occupy();
        self.tasks.add(self.host.spawn(async move {
            match transport.send_messages(&screen.person.chat, send).await {
                Ok(stream) => {
                    screen.log(|page, chat| asked.acknowledged(page, chat, stream.input_seq()));
                    then();
                    screen.person.accepted_sends.fetch_add(1, Ordering::Relaxed);
                    screen.follow(stream, true).await;
                }
                Err(error) => {
                    screen.log(|page, chat| asked.failed(page, chat, error.to_string()));
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

    /// Lets the page's transport hear what the browser tells.
    pub(super) fn hear(&self, event: PageEvent) {
        self.transport.page_event(event);
        self.person.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Aborts the newest stream by its signal, which ends a view, and stops what the person asked for.
    pub(super) fn abort(&self) {
        let Some((signal, asked)) = self.screen.newest_stream() else {
            return self.person.refuse(format!("{} has followed no stream", self.screen.page));
        };
        signal.abort();
        if asked {
            self.screen.log(|page, chat| Event::Stopped { page, chat, delivered: true });
        }
        self.person.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the page's token be accepted no more, on this page or on a later one, or no token at all.
    pub(super) fn expire_token(&self, for_good: bool) {
        let session = self.transport.session(&self.person.chat);
        let Some(session) = session.filter(|session| !session.public_access_token.is_empty()) else {
            return self.person.refuse(format!("{} has no token that could expire", self.screen.page));
        };
        self.person.expire(session.public_access_token);
        if for_good {
            self.person.lock_out();
        }
        self.person.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the transport go; the page stays, and keeps nothing of what it shows from now on.
    pub(super) fn dispose(&self) {
        self.screen.die();
        self.transport.dispose();
        self.person.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the author's server refuse the next renewal of the page's token, after so long.
    pub(super) fn late_token(&self, after_ms: u64) {
        self.person.device().late_token_ms = Some(after_ms);
        self.person.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the page as a browser does when it has the time: the other tabs hear that it goes (C-125).
    pub(super) fn unload(&self) {
        if self.seat.is_some() {
            self.transport.dispose();
        }
    }

    /// Ends the page without a word: whatever still runs of it saves nothing.
    pub(super) fn crash(self) {
        if let Some(seat) = &self.seat {
            seat.leave();
        }
        self.screen.die();
    }

    /// Notes that the person has no page here any more.
    pub(super) fn log_closed(&self, died: bool) {
        self.screen.log(|page, chat| Event::PageClosed { page, chat, died });
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

impl Drop for Page {
    fn drop(&mut self) {
        self.screen.look_no_further();
    }
}

/// What a page asked the server for.
enum Asked {
    Message(UiMessage),
    Gesture(Gesture),
}

impl Asked {
    fn acknowledged(self, page: String, chat: String, seq_num: Option<SeqNum>) -> Event {
        match self {
            Self::Message(message) => Event::Sent { page, chat, message, seq_num },
            Self::Gesture(gesture) => Event::Asked { page, chat, gesture, seq_num },
        }
    }

    fn failed(self, page: String, chat: String, error: String) -> Event {
        let message_id = match self {
            Self::Message(message) => message.id,
            Self::Gesture(gesture) => gesture.name().to_owned(),
        };
        Event::SendFailed { page, chat, message_id, error }
    }
}

/// Loads what is kept of the chat, on the device or by the author's application.
async fn load(person: &Arc<Person>, host: &Host) -> (Vec<UiMessage>, Option<ChatSessionState>) {
    match person.history {
        HistorySource::Page => {
            let device = person.device();
            (device.messages.clone(), device.state.as_ref().map(from_storage))
        }
        HistorySource::App => load_from_app(person, host).await,
    }
}

/// Gives a state as it comes back from a browser's storage, which keeps texts.
fn from_storage(kept: &ChatSessionState) -> ChatSessionState {
    let text = serde_json::to_string(kept).expect("a state always serialises");
    serde_json::from_str(&text).expect("a state comes back as it was kept")
}

/// Hears whether the page may send, and what the tab that does shows.
fn listen(transport: &Transport, screen: &Arc<Screen>) -> Vec<Listening> {
    let told = screen.clone();
    let read_only = transport.on_read_only_change(Arc::new(move |_, read_only| told.read_only(read_only)));
    let shown = screen.clone();
    let messages = transport.on_tab_messages(Arc::new(move |_, messages| shown.adopt(messages)));
    [read_only, messages].map(|listening| listening.expect("a page hears with two ears")).into()
}

fn connect(
    person: &Arc<Person>,
    host: &Host,
    screen: &Arc<Screen>,
    session: Option<ChatSessionState>,
    seat: Option<Arc<Seat>>,
) -> Transport {
    let base = SESSION_URL.parse().expect("a fixed address parses");
    let sessions = Arc::new(SessionsApi::new(host.clone(), base, SECRET_KEY));
    let is_watching = person.is_watching();
    let (starter, renewer, renewing) = (sessions.clone(), sessions, person.clone());
    let task = TaskId::new(&person.agent);
    let saved = screen.clone();
    let noticed = screen.clone();
    let base = SESSION_URL.parse().expect("a fixed address parses");
    let builder = Transport::builder(
        host.clone(),
        base,
        task,
        Arc::new(move |request| {
            let sessions = renewer.clone();
            let late_ms = renewing.device().late_token_ms.take();
            Box::pin(async move {
                if let Some(ms) = late_ms {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    return Err("the author's server is overloaded".into());
                }
                Ok(sessions.public_token(&request.chat_id).await?)
            })
        }),
    )
    .name(screen.page.clone())
    .stream_timeout_seconds(person.window_s)
    .headers(HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://chat.example"))]))
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
    }));
    let builder = if is_watching { builder.watch() } else { builder };
    let transport = match seat {
        Some(seat) => builder.multi_tab(seat).build(),
        None => builder.build(),
    };
    refuse_expired(person, &transport);
    transport
}

/// Lets the server refuse the person's expired tokens: a request that carries one carries something else instead.
fn refuse_expired(person: &Arc<Person>, transport: &Transport) {
    let person = person.clone();
    transport.set_fetch(Some(Arc::new(move |mut request, _| {
        if let Some(bearer) = request.headers_mut().get_mut(AUTHORIZATION)
            && let Some(token) = bearer.to_str().ok().and_then(|text| text.strip_prefix("Bearer "))
            && person.is_expired(token)
        {
            *bearer = HeaderValue::from_static("Bearer expired");
        }
        request
    })));
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
