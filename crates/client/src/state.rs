//! [`ChatSessionState`]: what a page keeps of a chat, as a plain value (C-62, C-63).

use serde::{Deserialize, Serialize};
use turnkeep_protocol::SeqNum;

/// A chat's persistable state. Unset fields are left out, and a state without the newer fields behaves as an old one (C-63).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSessionState {
    /// The session-scoped token for both channels.
    pub public_access_token: String,
    /// The delivered cursor of `out`, a decimal text on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cursor_text")]
    pub last_event_id: Option<SeqNum>,
    /// Whether a turn streams; none means "ask the server" (C-62).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_streaming: Option<bool>,
    /// The place on `in` of the input whose turn this client owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_input_seq: Option<SeqNum>,
    /// The gate: discard output until the stopped turn's boundary (C-107).
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_to_turn_complete: bool,
    /// The stopped input; a boundary below it does not clear the gate (C-110).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_input_seq: Option<SeqNum>,
    /// Nothing may be sent before a fresh transcript is loaded (C-113).
    #[serde(default, skip_serializing_if = "is_false")]
    pub requires_transcript_reload: bool,
    /// The session is closed for good (C-85).
    #[serde(default, skip_serializing_if = "is_false")]
    pub closed: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_reason: Option<String>,
}

impl ChatSessionState {
    /// Makes the state of a session that has just been started or found.
    pub fn new(public_access_token: impl Into<String>) -> Self {
        Self { public_access_token: public_access_token.into(), ..Self::default() }
    }

    /// Arms the gate for the turn that is stopped, and forgets that turn (C-105, C-110).
    ///
    /// A repeated stop of the same turn keeps the first boundary; only a later input of our own moves it on.
    pub(crate) fn arm_gate(&mut self, stopped: Option<SeqNum>) {
        self.superseded_input_seq =
            if self.skip_to_turn_complete { self.superseded_input_seq.max(stopped) } else { stopped };
        self.skip_to_turn_complete = true;
        self.settle();
    }

    /// Takes the gate away; tells whether there was one.
    pub(crate) fn clear_gate(&mut self) -> bool {
        self.superseded_input_seq = None;
        std::mem::take(&mut self.skip_to_turn_complete)
    }

    /// Marks that no turn of ours is outstanding.
    pub(crate) fn settle(&mut self) {
        self.is_streaming = Some(false);
        self.active_input_seq = None;
    }

    /// Marks the session closed for good (C-85); tells whether this is news.
    pub(crate) fn close(&mut self, reason: Option<String>) -> bool {
        let news = !self.closed;
        self.settle();
        self.clear_gate();
        self.closed = true;
        if news {
            self.closed_reason = reason;
        }
        news
    }

    /// Replaces a session that the server does not know: a new token, no cursor, no gate (C-142).
    pub(crate) fn recreate(&mut self, token: String) {
        *self = Self { is_streaming: Some(false), ..Self::new(token) };
    }

    /// Tells whether a turn is outstanding that a stop would cut (C-109), as far as the state alone knows.
    pub(crate) fn has_outstanding_turn(&self) -> bool {
        self.is_streaming == Some(true) || self.active_input_seq.is_some()
    }

    /// Adopts the cursors of a freshly loaded transcript (C-68, C-113); tells whether the state changed.
    ///
    /// `out` never moves a known cursor, unless the chat waits for just this: then a later `out` and an `input` at or beyond the
    /// stopped one unlock it.
    pub(crate) fn adopt_transcript(&mut self, out: SeqNum, input: Option<SeqNum>) -> bool {
        if self.requires_transcript_reload {
            let later = self.last_event_id.is_none_or(|known| out > known);
            let reached = input.is_some_and(|input| self.superseded_input_seq.is_none_or(|stopped| input >= stopped));
            if !later || !reached {
                return false;
            }
            self.requires_transcript_reload = false;
            self.clear_gate();
            self.settle();
            self.last_event_id = Some(out);
            return true;
        }
        if self.last_event_id.is_some() {
            return false;
        }
        self.last_event_id = Some(out);
        true
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Cursors are decimal texts in saved states; a text that is no cursor reads as none.
mod cursor_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;
    use turnkeep_protocol::SeqNum;

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(cursor: &Option<SeqNum>, serializer: S) -> Result<S::Ok, S::Error> {
        match cursor {
            Some(cursor) => serializer.collect_str(cursor),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SeqNum>, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => SeqNum::parse_cursor(&text),
            Value::Number(number) => number.as_u64().map(SeqNum::new),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seq(number: u64) -> Option<SeqNum> {
        Some(SeqNum::new(number))
    }

    #[test]
    fn unset_fields_are_left_out_and_old_states_are_understood_c62_c63() {
        let old = json!({ "publicAccessToken": "t", "lastEventId": "41", "isStreaming": true });

        let state: ChatSessionState = serde_json::from_value(old.clone()).unwrap();

        assert_eq!((state.last_event_id, state.is_streaming), (seq(41), Some(true)));
        assert_eq!(serde_json::to_value(&state).unwrap(), old);
        assert_eq!(serde_json::to_value(ChatSessionState::new("t")).unwrap(), json!({ "publicAccessToken": "t" }));
    }

    #[test]
    fn every_field_survives_a_round_trip_c63_c112_cr19() {
        let full = json!({
            "publicAccessToken": "t", "lastEventId": "0", "isStreaming": false, "activeInputSeq": 7,
            "skipToTurnComplete": true, "supersededInputSeq": 5, "requiresTranscriptReload": true,
            "closed": true, "closedReason": "done",
        });

        let state: ChatSessionState = serde_json::from_value(full.clone()).unwrap();

        assert_eq!(serde_json::to_value(state).unwrap(), full);
    }

    #[test]
    fn a_repeated_stop_keeps_the_first_boundary_c110_ca58() {
        let mut state = ChatSessionState { active_input_seq: seq(5), ..ChatSessionState::new("t") };

        state.arm_gate(state.active_input_seq);
        state.arm_gate(state.active_input_seq);

        assert_eq!((state.skip_to_turn_complete, state.superseded_input_seq), (true, seq(5)));
        assert_eq!((state.is_streaming, state.active_input_seq), (Some(false), None));
    }

    #[test]
    fn stopping_a_later_turn_of_ours_moves_the_gate_on() {
        let mut state = ChatSessionState::new("t");

        state.arm_gate(seq(5));
        state.arm_gate(seq(8));

        assert_eq!(state.superseded_input_seq, seq(8));
    }

    #[test]
    fn a_recreated_session_keeps_neither_cursor_nor_gate_c142_ca61_cr24() {
        let mut state = ChatSessionState { last_event_id: seq(99), ..ChatSessionState::new("old") };
        state.arm_gate(seq(5));

        state.recreate("new".to_owned());

        assert_eq!(state, ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("new") });
    }

    #[test]
    fn a_session_closes_once_and_keeps_the_first_reason_c85() {
        let mut state = ChatSessionState::new("t");

        assert!(state.close(Some("done".to_owned())));
        assert!(!state.close(None));

        assert_eq!((state.closed, state.closed_reason.as_deref()), (true, Some("done")));
        assert_eq!(state.is_streaming, Some(false));
    }

    #[test]
    fn a_transcript_seeds_a_cursor_and_never_moves_one_c68() {
        let mut fresh = ChatSessionState::new("t");
        let mut ahead = ChatSessionState { last_event_id: seq(3), ..ChatSessionState::new("t") };

        assert!(fresh.adopt_transcript(SeqNum::new(9), None));
        assert!(!ahead.adopt_transcript(SeqNum::new(9), seq(9)));

        assert_eq!((fresh.last_event_id, ahead.last_event_id), (seq(9), seq(3)));
    }

    #[test]
    fn only_a_transcript_past_the_stopped_turn_unlocks_c113_ca63() {
        let locked = ChatSessionState {
            last_event_id: seq(10),
            skip_to_turn_complete: true,
            superseded_input_seq: seq(4),
            requires_transcript_reload: true,
            ..ChatSessionState::new("t")
        };
        for (out, input, want) in
            [(10, seq(4), false), (11, None, false), (11, seq(3), false), (11, seq(4), true), (12, seq(9), true)]
        {
            let mut state = locked.clone();
            assert_eq!(state.adopt_transcript(SeqNum::new(out), input), want, "out {out} input {input:?}");
            assert_eq!(state.requires_transcript_reload, !want);
            assert_eq!(state.skip_to_turn_complete, !want);
        }
    }
}
