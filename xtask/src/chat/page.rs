//! What a chat's terminal has: messages, the answer that is being written, and where the transport stands.
//!
//! The file never says that the cursor is past a message which it does not have: while an answer is written, the file has what was
//! before it, cursor included, so that whoever starts again reads the answer from its beginning (C-236, CR-38).

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use turnkeep_client::ChatSessionState;
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{UiMessage, UiMessageChunk};

use super::saved::Saved;

pub(super) struct Page {
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    saved: Saved,
    writing: Option<MessageReducer>,
    /// The message that an answer goes on with, as it was before.
    resumed: Option<UiMessage>,
    /// Why the file could not be written the last time.
    trouble: Option<String>,
}

impl Page {
    pub(super) fn new(file: PathBuf, saved: Saved) -> Self {
        Self { file, state: Mutex::new(State { saved, writing: None, resumed: None, trouble: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the person says; gives the whole conversation.
    pub(super) fn ask(&self, question: UiMessage) -> Vec<UiMessage> {
        let mut state = self.state();
        state.close();
        state.saved.messages.push(question);
        state.saved.messages.clone()
    }

    /// Takes back a question that the server never got.
    pub(super) fn take_back(&self) {
        let mut state = self.state();
        state.close();
        state.saved.messages.pop_if(|last| last.is_user());
        self.write(&mut state);
    }

    /// Goes on with the last message if it is the agent's.
    pub(super) fn resume_last(&self) {
        let mut state = self.state();
        if let Some(last) = state.saved.messages.pop_if(|last| last.is_assistant()) {
            state.resumed = Some(last.clone());
            state.writing = Some(MessageReducer::resume(last));
        }
    }

    /// Takes a chunk of an answer.
    pub(super) fn take(&self, chunk: &UiMessageChunk) {
        let mut state = self.state();
        if let UiMessageChunk::Start(start) = chunk
            && let Some(writing) = &state.writing
            && start.message_id.as_ref().is_some_and(|id| *id != writing.message().id)
            && !writing.message().id.is_empty()
        {
            state.close();
        }
        // A chunk that fits no part is shown and not kept.
        let _ = state.writing.get_or_insert_default().apply(chunk);
    }

    /// Keeps where the transport stands; a boundary is kept with the answer that it ends, by [`Page::ended`].
    ///
    /// While an answer streams, the cursor stays where the answer began: a token that is renewed in its midst is told with a cursor
    /// behind chunks that the file does not have (C-64, C-65).
    pub(super) fn keep(&self, session: &ChatSessionState) {
        let mut state = self.state();
        let is_boundary = state.writing.is_some() && session.is_streaming == Some(false);
        let mut kept = session.clone();
        if let Some(before) = state.saved.session.as_ref().filter(|before| before.is_streaming == Some(true))
            && kept.is_streaming == Some(true)
        {
            kept.last_event_id = before.last_event_id;
        }
        state.saved.session = Some(kept);
        if !is_boundary {
            self.write(&mut state);
        }
    }

    /// Keeps the answer, which has ended, with where the transport stands.
    pub(super) fn ended(&self) {
        let mut state = self.state();
        state.close();
        self.write(&mut state);
    }

    /// Gives why the file could not be written, if it could not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    fn write(&self, state: &mut State) {
        let mut saved = state.saved.clone();
        saved.messages.extend(state.resumed.clone());
        let written = saved.write(&self.file);
        state.trouble = written.err().map(|error| format!("{} cannot be written: {error}", self.file.display()));
    }
}

impl State {
    /// Ends the answer that is being written; one without content is no message.
    fn close(&mut self) {
        self.resumed = None;
        if let Some(writing) = self.writing.take() {
            let message = writing.into_message();
            if !message.parts.is_empty() {
                self.saved.messages.push(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::SeqNum;

    use super::*;
    use crate::chat::saved::file_of;

    fn session(streams: bool) -> ChatSessionState {
        ChatSessionState { is_streaming: Some(streams), ..ChatSessionState::new("token") }
    }

    #[test]
    fn the_cursor_behind_an_answer_is_kept_with_it_and_not_before_c236_cr38() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");
        let page = Page::new(file.clone(), Saved::new("echo"));
        let texts = || {
            let saved = Saved::read(&file).unwrap().unwrap();
            let texts: Vec<String> = saved.messages.iter().map(UiMessage::text).collect();
            (texts.join(","), saved.session.and_then(|session| session.is_streaming))
        };
        page.ask(UiMessage::user("u1", "hi"));
        page.keep(&session(true));
        for chunk in [UiMessageChunk::text_start("t"), UiMessageChunk::text_delta("t", "Hel")] {
            page.take(&chunk);
        }
        let while_written = texts();
        page.keep(&session(false));
        let at_the_boundary = texts();
        page.ended();

        assert_eq!(while_written, ("hi".to_owned(), Some(true)));
        assert_eq!(at_the_boundary, while_written, "a kill here reads the answer again");
        assert_eq!(texts(), ("hi,Hel".to_owned(), Some(false)));
    }

    #[test]
    fn a_token_renewed_in_an_answer_is_kept_with_the_cursor_from_before_it_c65_c236() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");
        let page = Page::new(file.clone(), Saved::new("slow"));
        let at = |token: &str, streams, cursor| ChatSessionState {
            last_event_id: Some(SeqNum::new(cursor)),
            public_access_token: token.to_owned(),
            ..session(streams)
        };
        let kept = || {
            let session = Saved::read(&file).unwrap().unwrap().session.unwrap();
            (session.public_access_token, session.last_event_id)
        };
        page.ask(UiMessage::user("u1", "hi"));
        page.keep(&at("old", true, 4));
        page.take(&UiMessageChunk::text_start("t"));
        page.keep(&at("new", true, 9));
        let renewed = kept();
        page.keep(&at("new", false, 12));
        page.ended();

        assert_eq!(renewed, ("new".to_owned(), Some(SeqNum::new(4))));
        assert_eq!(kept(), ("new".to_owned(), Some(SeqNum::new(12))));
    }

    #[test]
    fn a_question_that_was_never_sent_is_not_kept_and_a_file_that_cannot_be_written_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let page = Page::new(folder.path().join("gone").join("one.json"), Saved::new("echo"));

        assert_eq!(page.ask(UiMessage::user("u1", "hi")).len(), 1);
        page.take_back();

        assert!(page.trouble().unwrap().contains("one.json cannot be written: "));
        assert_eq!(page.ask(UiMessage::user("u2", "again")).len(), 1);
    }
}
