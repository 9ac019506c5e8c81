//! What is on a page's screen.
//!
//! It follows the field's UI library: a resumed stream goes on with the last message if that is the assistant's (so a turn
//! replayed onto a saved reply doubles it, CR-38), and a `start` with another id begins the next message.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use turnkeep_client::{AbortHandle, ChatSessionState, ChatStream, Delivered};
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{UiMessage, UiMessageChunk};

use super::person::{Busy, Person};
use crate::trace::Event;

/// What a page shows.
pub(super) struct Screen {
    pub(super) page: String,
    pub(super) person: Arc<Person>,
    state: Mutex<ScreenState>,
    changed: Notify,
    /// Told when the chat becomes writable here.
    freed: Notify,
}

#[derive(Default)]
struct ScreenState {
    messages: Vec<UiMessage>,
    /// The assistant message that a stream is writing, if any; not yet among `messages`.
    writing: Option<MessageReducer>,
    /// The message that the stream goes on with, as it was before.
    resumed: Option<UiMessage>,
    session: Option<ChatSessionState>,
    /// Whether the device lacks chunks that the page was shown: what it has of the chat belongs to an earlier cursor.
    is_behind: bool,
    /// Whether the page has died; then nothing of it is saved.
    is_dead: bool,
    /// The signal of the newest stream, and whether that is a send's.
    newest: Option<(AbortHandle, bool)>,
    /// Whether another tab holds the chat.
    is_read_only: bool,
    /// Whether the messages are another tab's.
    has_adopted: bool,
    /// Holds the world back from settling while the page looks for something to read on.
    taking_over: Option<Busy>,
}

impl Screen {
    /// Makes the screen of a page that has just loaded.
    pub(super) fn new(
        page: String,
        person: Arc<Person>,
        messages: Vec<UiMessage>,
        session: Option<ChatSessionState>,
    ) -> Self {
        let state = Mutex::new(ScreenState { messages, session, ..ScreenState::default() });
        Self { page, person, state, changed: Notify::new(), freed: Notify::new() }
    }

    pub(super) fn show(&self) {
        let messages = self.state().shown();
        self.log(|page, chat| Event::PageShows { page, chat, messages });
    }

    fn state(&self) -> MutexGuard<'_, ScreenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is on screen.
    pub(super) fn messages(&self) -> Vec<UiMessage> {
        self.state().shown()
    }

    /// Gives the signal of the newest stream that was followed, and whether that was a send's.
    pub(super) fn newest_stream(&self) -> Option<(AbortHandle, bool)> {
        self.state().newest.clone()
    }

    /// Waits until what is on screen may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes note that another tab holds the chat, or does no more.
    pub(super) fn read_only(&self, read_only: bool) {
        let mut state = self.state();
        state.is_read_only = read_only;
        // Whoever may have something to read on is busy from this moment on.
        state.taking_over = (!read_only).then(|| self.person.occupy());
        drop(state);
        self.log(|page, chat| Event::ReadOnly { page, chat, read_only });
        if !read_only {
            self.freed.notify_one();
        }
    }

    /// Waits until the chat becomes writable here.
    pub(super) async fn freed(&self) -> Option<Busy> {
        self.freed.notified().await;
        self.state().taking_over.take()
    }

    /// Tells whether another tab holds the chat.
    pub(super) fn is_read_only(&self) -> bool {
        self.state().is_read_only
    }

    /// Shows what the tab that holds the chat shows (C-128). A message that a stream writes here stays the stream's.
    pub(super) fn adopt(&self, messages: &[UiMessage]) {
        self.state().adopt(messages);
        self.log(|page, chat| Event::Adopted { page, chat, messages: messages.to_vec() });
    }

    pub(super) fn log(&self, event: impl FnOnce(String, String) -> Event) {
        self.person.trace.log(&self.person.host, event(self.page.clone(), self.person.told_chat()));
    }

    /// Puts a question on screen; gives the whole conversation, as the UI library hands it to its transport.
    pub(super) fn ask(&self, question: UiMessage) -> Vec<UiMessage> {
        let mut state = self.state();
        state.close();
        state.messages.push(question);
        self.changed.notify_one();
        state.messages.clone()
    }

    /// Takes the answers behind the newest question off the screen.
    pub(super) fn drop_answer(&self) {
        let mut state = self.state();
        state.close();
        while state.messages.pop_if(|last| last.is_assistant()).is_some() {}
        self.changed.notify_one();
    }

    /// Takes the newest `count` messages off the screen.
    pub(super) fn take_away(&self, count: usize) {
        let mut state = self.state();
        state.close();
        let left = state.messages.len().saturating_sub(count);
        state.messages.truncate(left);
        self.changed.notify_one();
    }

    /// Changes the last message; gives the whole conversation, or nothing when there was nothing to change.
    pub(super) fn change_last(&self, change: impl FnOnce(&mut UiMessage) -> bool) -> Option<Vec<UiMessage>> {
        let mut state = self.state();
        state.close();
        let is_changed = state.messages.last_mut().is_some_and(change);
        self.changed.notify_one();
        is_changed.then(|| state.messages.clone())
    }

    /// Goes on with the last message if it is the assistant's.
    pub(super) fn resume_last(&self) {
        let mut state = self.state();
        if state.messages.last().is_some_and(UiMessage::is_assistant) {
            let last = state.messages.pop().expect("there is a last message");
            state.resumed = Some(last.clone());
            state.writing = Some(MessageReducer::resume(last));
        }
    }

    /// Shows what is kept of the chat, and behind it what the person has asked for here and nobody has taken.
    pub(super) fn load(&self, mut kept: Vec<UiMessage>) {
        let mut state = self.state();
        state.close();
        let is_new = |message: &UiMessage| message.is_user() && kept.iter().all(|other| other.id != message.id);
        let own: Vec<_> = state.messages.iter().filter(|message| is_new(message)).cloned().collect();
        kept.extend(own);
        state.messages = kept;
        self.changed.notify_one();
    }

    /// Shows a stream to its end, a send's or a view.
    pub(super) async fn follow(&self, mut stream: ChatStream, asked: bool) {
        self.state().newest = Some((stream.abort_handle(), asked));
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
        self.changed.notify_one();
        self.person.shown.fetch_add(1, Ordering::Relaxed);
        // The chunks of a head start have no places: what is judged by place cannot judge them.
        if let Some(seq_num) = seq_num {
            self.log(|page, chat| Event::Shown { page, chat, seq_num, chunk, message_id, text });
        }
    }

    fn ended(&self, how: String) {
        self.log(|page, chat| Event::StreamEnded { page, chat, how });
        let mut state = self.state();
        state.close();
        self.changed.notify_one();
        state.save(&self.person);
    }

    /// The page is gone: it looks for nothing to read on.
    pub(super) fn look_no_further(&self) {
        self.state().taking_over = None;
    }

    /// Lets the page die: nothing that still happens on it is saved.
    pub(super) fn die(&self) {
        self.state().is_dead = true;
    }

    /// Keeps what the transport wants persisted. While a stream writes, the finished messages belong to it; when it has ended,
    /// they are saved with the reply (C-236).
    ///
    /// A token that is renewed in the midst of an answer is told with a cursor behind chunks that the device does not have: it is
    /// saved alone, so that the answer is read from its beginning again (C-65).
    pub(super) fn keep(&self, session: &ChatSessionState) {
        let mut state = self.state();
        let mut boundary = state.writing.is_some() && session.is_streaming == Some(false);
        if boundary && self.person.is_watching() {
            // A viewer's stream has no end at which the answer could be saved.
            state.close();
            boundary = false;
        }
        state.session = Some(session.clone());
        if state.is_behind && session.is_streaming == Some(true) {
            state.save_but_cursor(&self.person);
        } else if !boundary {
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
        if self.has_adopted {
            // As the field's UI library does: the message that another tab has shown here is the one that is written.
            let id = &writing.message().id;
            self.messages.retain(|message| message.id != *id || !message.is_assistant());
        }
        self.is_behind = true;
        (writing.message().id.clone(), writing.message().text())
    }

    /// Ends the message being written; one without content is not shown.
    fn close(&mut self) {
        self.resumed = None;
        (self.is_behind, self.has_adopted) = (false, false);
        if let Some(writing) = self.writing.take() {
            let message = writing.into_message();
            if !message.parts.is_empty() {
                self.messages.push(message);
            }
        }
    }

    /// Takes another tab's list for the page's own. What a stream writes here, or goes on with, is not among it.
    fn adopt(&mut self, messages: &[UiMessage]) {
        let writes = |message: &UiMessage| {
            let streams = self.writing.as_ref().map(MessageReducer::message);
            streams.is_some_and(|own| own.id == message.id && !own.id.is_empty())
        };
        self.messages = messages.iter().filter(|message| !writes(message)).cloned().collect();
        self.has_adopted = true;
    }

    fn shown(&self) -> Vec<UiMessage> {
        let writing = self.writing.as_ref().map(|writing| writing.message().clone());
        self.messages.iter().cloned().chain(writing.filter(|message| !message.parts.is_empty())).collect()
    }

    /// Keeps what the transport knows, the messages and their cursor as they were.
    fn save_but_cursor(&self, person: &Person) {
        if self.is_dead {
            return;
        }
        let mut device = person.device();
        let last_event_id = device.state.as_ref().and_then(|kept| kept.last_event_id);
        device.state = self.session.clone().map(|session| ChatSessionState { last_event_id, ..session });
    }

    /// Keeps the finished messages, one that a stream goes on with as it was before.
    fn save(&self, person: &Person) {
        if self.is_dead {
            return;
        }
        let mut device = person.device();
        device.state.clone_from(&self.session);
        device.messages = self.messages.iter().chain(&self.resumed).cloned().collect();
    }
}
