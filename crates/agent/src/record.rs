//! What a record of `in` asks of the run, the unreadable ones included (A-15, D-33).

use serde_json::Value;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger, is_owed};

/// What the sender of an owed record is told that nobody can use (D-33).
pub(crate) const UNUSABLE: &str = "the message cannot be read";

/// What the sender of a head start is told on a run that serves a chat already.
const LATE_HEAD_START: &str = "a head start needs a run of its own";

/// The key under which a payload carries that its record could not be read. A sender who sets it gets the same answer as one whose
/// message is broken.
const UNREADABLE: &str = "unreadable";

/// Decodes a record's content. One that is owed an answer and cannot be read becomes a submit without a message, so that its sender
/// gets a boundary and no silence (D-33, D-59); whatever else cannot be read is none.
pub(crate) fn decode(content: Value) -> Option<ChatInputChunk> {
    let is_owed = is_owed(&content);
    ChatInputChunk::decode(content).or_else(|| {
        let mut payload = ChatTaskWirePayload::new("", Trigger::SubmitMessage);
        payload.extra.insert(UNREADABLE.to_owned(), true.into());
        is_owed.then(|| ChatInputChunk::message(payload))
    })
}

/// Tells whether a payload stands for a record that could not be read.
pub(crate) fn is_unreadable(payload: &ChatTaskWirePayload) -> bool {
    payload.message.is_none() && payload.extra.contains_key(UNREADABLE)
}

/// What a payload asks for that a live run takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A turn, for a message or an answer given anew.
    Turn,
    /// An action.
    Action,
    /// Nothing but the boundary that its sender waits for, behind an error if there is something to say.
    Boundary(Option<&'static str>),
    /// Nothing at all.
    Nothing,
}

impl Asks {
    /// Judges a payload; `is_sent_again` says that its words have had turns of their own (D-42).
    pub(crate) fn of(payload: &ChatTaskWirePayload, is_sent_again: bool) -> Self {
        match payload.trigger {
            Some(Trigger::SubmitMessage) if is_sent_again => Self::Boundary(None),
            Some(Trigger::SubmitMessage) if payload.message.is_some() => Self::Turn,
            Some(Trigger::RegenerateMessage) => Self::Turn,
            Some(Trigger::SubmitMessage) if is_unreadable(payload) => Self::Boundary(Some(UNUSABLE)),
            // Nothing to say.
            Some(Trigger::SubmitMessage) => Self::Boundary(None),
            Some(Trigger::Action) => Self::Action,
            Some(Trigger::HandoverPrepare) => Self::Boundary(Some(LATE_HEAD_START)),
            // A preload on a live run has nothing to do.
            Some(Trigger::Preload | Trigger::Close) | None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::UiMessage;

    use super::*;

    #[test]
    fn an_owed_record_that_cannot_be_read_is_kept_for_its_answer_d33_d59() {
        let no_chat = |trigger: &str| json!({ "kind": "message", "payload": { "trigger": trigger } });
        let bad_role = json!({ "kind": "message", "payload": {
            "chatId": "c", "trigger": "submit-message", "message": { "id": "u", "role": "wizard", "parts": [] },
        } });
        let as_text = Value::String(no_chat("action").to_string());
        for owed in [no_chat("submit-message"), no_chat("regenerate-message"), no_chat("action"), bad_role, as_text] {
            match decode(owed.clone()) {
                Some(ChatInputChunk::Message { payload }) => assert!(is_unreadable(&payload), "{owed}"),
                other => panic!("{owed} became {other:?}"),
            }
        }
        for other in
            [no_chat("close"), no_chat("wink"), json!({ "kind": "message" }), json!({ "kind": "wink" }), json!(7)]
        {
            assert_eq!(decode(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn each_payload_gets_what_it_asks_for_a81_a150_a217_d33_d42() {
        #[track_caller]
        fn check(trigger: Option<Trigger>, change: fn(&mut ChatTaskWirePayload), is_sent_again: bool, want: Asks) {
            let mut payload = ChatTaskWirePayload { trigger, ..ChatTaskWirePayload::new("chat", Trigger::Preload) };
            change(&mut payload);

            assert_eq!(Asks::of(&payload, is_sent_again), want);
        }
        let said = |payload: &mut ChatTaskWirePayload| payload.message = Some(UiMessage::user("u1", "hi"));
        let broken = |payload: &mut ChatTaskWirePayload| {
            payload.extra.insert(UNREADABLE.to_owned(), true.into());
        };
        let submit = Some(Trigger::SubmitMessage);

        check(submit, said, false, Asks::Turn);
        check(submit, said, true, Asks::Boundary(None));
        check(submit, |_| {}, false, Asks::Boundary(None));
        check(submit, broken, false, Asks::Boundary(Some(UNUSABLE)));
        check(Some(Trigger::RegenerateMessage), |_| {}, false, Asks::Turn);
        check(Some(Trigger::Action), |_| {}, false, Asks::Action);
        check(Some(Trigger::Action), said, true, Asks::Action);
        check(Some(Trigger::HandoverPrepare), |_| {}, false, Asks::Boundary(Some(LATE_HEAD_START)));
        check(Some(Trigger::Preload), |_| {}, false, Asks::Nothing);
        check(Some(Trigger::Close), |_| {}, false, Asks::Nothing);
        check(None, |_| {}, false, Asks::Nothing);
    }

    #[test]
    fn a_readable_record_stays_what_it_is_a15() {
        let stop = json!({ "kind": "stop" });

        assert_eq!(decode(stop), Some(ChatInputChunk::Stop { message: None }));
    }
}
