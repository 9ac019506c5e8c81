//! The frames of a head start's response, and what they do to the chat's state: decisions without async or clock (C §5.3).

use serde_json::Value;
use turnkeep_protocol::{FrameDecoder, FrameTooLarge, SeqNum, UiMessageChunk};

use crate::ChatSessionState;

/// How many chunks are remembered for a response that breaks off; a longer one is not resumed.
const MAX_TOLD: usize = 10_000;

/// Types that start with this are never shown (C-8).
const CONTROL_PREFIX: &str = "trigger:";

/// One frame, read.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, for the length of a match")]
pub(crate) enum HeadFrame {
    /// A chunk of the answer.
    Chunk(UiMessageChunk),
    /// The turn is over (C-206).
    TurnComplete,
    /// The cursor from which the next turn reads (C-206).
    SessionState(SeqNum),
}

/// Bytes in, frames out (C-207).
#[derive(Debug, Default)]
pub(crate) struct Frames(FrameDecoder);

impl Frames {
    /// Gives the frames that `bytes` complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<HeadFrame>, FrameTooLarge> {
        let frames = self.0.push(bytes)?;
        Ok(frames.iter().filter_map(|frame| read(&frame.data)).collect())
    }

    /// Gives the last frame, which need not be terminated.
    pub(crate) fn finish(&mut self) -> Vec<HeadFrame> {
        self.push(b"\n\n").unwrap_or_default()
    }
}

/// Reads one frame; malformed JSON and unknown controls are none.
fn read(data: &str) -> Option<HeadFrame> {
    let value: Value = serde_json::from_str(data).ok()?;
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind.strip_prefix(CONTROL_PREFIX) {
        None => UiMessageChunk::from_value(value).map(HeadFrame::Chunk),
        Some("turn-complete") => Some(HeadFrame::TurnComplete),
        Some("session-state") => {
            value["lastEventId"].as_str().and_then(SeqNum::parse_cursor).map(HeadFrame::SessionState)
        }
        Some(_) => None,
    }
}

/// What follows from one frame.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, for the length of a match")]
pub(crate) enum HeadVerdict {
    /// Hand it on.
    Deliver { chunk: UiMessageChunk, is_first: bool },
    /// The turn is over: tell the application and the observer, and read on for the cursor.
    Completed,
    /// The cursor is stored: tell the application.
    Stored,
}

/// One response's bookkeeping.
#[derive(Debug, Default)]
pub(crate) struct HeadTurn {
    /// What was shown since the cursor: `out` has it too, from there on.
    told: Vec<UiMessageChunk>,
    n_told: usize,
    is_complete: bool,
}

impl HeadTurn {
    /// Decides what becomes of a frame, and moves the chat's state.
    pub(crate) fn on_frame(&mut self, state: &mut ChatSessionState, frame: HeadFrame) -> HeadVerdict {
        match frame {
            HeadFrame::Chunk(chunk) => {
                self.n_told += 1;
                if self.told.len() < MAX_TOLD {
                    self.told.push(chunk.clone());
                }
                HeadVerdict::Deliver { is_first: self.n_told == 1, chunk }
            }
            HeadFrame::TurnComplete => {
                self.is_complete = true;
                state.settle();
                HeadVerdict::Completed
            }
            HeadFrame::SessionState(cursor) => {
                // What was told before lies before it.
                self.told.clear();
                self.n_told = 0;
                state.last_event_id = Some(cursor);
                HeadVerdict::Stored
            }
        }
    }

    /// Takes the end of the response; tells whether the turn still counted as streaming (C-206).
    pub(crate) fn on_end(&self, state: &mut ChatSessionState) -> bool {
        let was_streaming = state.is_streaming == Some(true);
        state.settle();
        was_streaming
    }

    /// Tells whether the turn's end was told.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Gives what reading on from `out` must leave out; none when that is not known any more (D-24).
    pub(crate) fn into_told(self) -> Option<Told> {
        let is_whole = self.n_told == self.told.len();
        is_whole.then(|| Told { chunks: self.told.into(), n_told: self.n_told })
    }
}

/// What was shown already when a response broke off: `out` begins with the same chunks, in the same order (D-24).
#[derive(Debug, Default)]
pub(crate) struct Told {
    chunks: std::collections::VecDeque<UiMessageChunk>,
    n_told: usize,
}

impl Told {
    /// Tells whether this chunk of `out` was shown already. From the first one that was not, none was.
    pub(crate) fn takes(&mut self, chunk: &UiMessageChunk) -> bool {
        if self.chunks.front() == Some(chunk) {
            self.chunks.pop_front();
            return true;
        }
        self.chunks.clear();
        false
    }

    /// Tells whether the turn's first chunk was shown.
    pub(crate) fn has_any(&self) -> bool {
        self.n_told > 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chunk(text: &str) -> UiMessageChunk {
        UiMessageChunk::text_delta("1", text)
    }

    fn all(text: &str) -> Vec<HeadFrame> {
        let mut frames = Frames::default();
        let mut read = frames.push(text.as_bytes()).unwrap();
        read.extend(frames.finish());
        read
    }

    #[test]
    fn frames_end_at_a_blank_line_and_the_last_one_need_not_c207() {
        let delta = |text: &str| json!(chunk(text)).to_string();
        let bytes = format!(
            "data: {}\n\n: quiet\n\ndata: no json\n\ndata: {}\r\n\r\ndata: {{\"type\":\"trigger:turn-complete\"}}\n\n\
             data: {{\"type\":\"trigger:later\"}}\n\ndata: [DONE]\n\n\
             data: {{\"type\":\"trigger:session-state\",\"lastEventId\":\"7\"}}",
            delta("a"),
            delta("b")
        );
        let want = || {
            vec![
                HeadFrame::Chunk(chunk("a")),
                HeadFrame::Chunk(chunk("b")),
                HeadFrame::TurnComplete,
                HeadFrame::SessionState(SeqNum::new(7)),
            ]
        };

        assert_eq!(all(&bytes), want());
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut read = frames.push(&bytes.as_bytes()[..cut]).unwrap();
            read.extend(frames.push(&bytes.as_bytes()[cut..]).unwrap());
            read.extend(frames.finish());
            assert_eq!(read, want(), "cut at {cut}");
        }
    }

    #[test]
    fn the_turns_end_clears_the_flag_and_the_cursor_is_stored_c206() {
        let mut state = ChatSessionState { is_streaming: Some(true), ..ChatSessionState::new("t") };
        let mut turn = HeadTurn::default();

        let verdicts = [
            turn.on_frame(&mut state, HeadFrame::Chunk(chunk("a"))),
            turn.on_frame(&mut state, HeadFrame::Chunk(chunk("b"))),
            turn.on_frame(&mut state, HeadFrame::TurnComplete),
        ];

        let deliver = |text, is_first| HeadVerdict::Deliver { chunk: chunk(text), is_first };
        assert_eq!(verdicts, [deliver("a", true), deliver("b", false), HeadVerdict::Completed]);
        assert_eq!((state.is_streaming, state.last_event_id), (Some(false), None));
        assert_eq!(turn.on_frame(&mut state, HeadFrame::SessionState(SeqNum::new(7))), HeadVerdict::Stored);
        assert_eq!(state.last_event_id, Some(SeqNum::new(7)));
        assert!(turn.is_complete() && !turn.on_end(&mut state), "nothing is left to clear");
    }

    #[test]
    fn the_end_of_the_response_clears_a_flag_that_nothing_has_c206() {
        let mut state = ChatSessionState { is_streaming: Some(true), ..ChatSessionState::new("t") };

        assert!(HeadTurn::default().on_end(&mut state));
        assert_eq!(state.is_streaming, Some(false));
    }

    #[test]
    fn what_was_told_is_left_out_of_what_out_says_again_d24() {
        let mut state = ChatSessionState::new("t");
        let mut turn = HeadTurn::default();
        turn.on_frame(&mut state, HeadFrame::Chunk(chunk("of an earlier turn")));
        turn.on_frame(&mut state, HeadFrame::SessionState(SeqNum::new(7)));
        for text in ["a", "b"] {
            turn.on_frame(&mut state, HeadFrame::Chunk(chunk(text)));
        }

        let mut told = turn.into_told().unwrap();

        assert!(told.has_any());
        let taken = ["a", "b", "a", "b"].map(|text| told.takes(&chunk(text)));
        assert_eq!(taken, [true, true, false, false]);
    }

    #[test]
    fn a_hole_in_out_ends_what_is_left_out_and_a_response_too_long_to_remember_is_not_resumed_d24() {
        let mut state = ChatSessionState::new("t");
        let mut turn = HeadTurn::default();
        for text in ["a", "b", "c"] {
            turn.on_frame(&mut state, HeadFrame::Chunk(chunk(text)));
        }
        let mut told = turn.into_told().unwrap();
        assert_eq!(["a", "x", "b"].map(|text| told.takes(&chunk(text))), [true, false, false]);

        let mut long = HeadTurn::default();
        for n in 0..=MAX_TOLD {
            long.on_frame(&mut state, HeadFrame::Chunk(chunk(&n.to_string())));
        }
        assert!(long.into_told().is_none());
    }
}
