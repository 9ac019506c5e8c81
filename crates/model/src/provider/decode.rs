//! [`AnswerDecoder`]: the bytes of one answer in, stream parts out, however the bytes are cut.

use std::collections::VecDeque;

use serde_json::Value;
use turnkeep_protocol::sse::FrameDecoder;

use super::api::Reader;
use crate::error::ModelError;
use crate::part::StreamPart;

/// Bounds the bytes of one answer: far above what any model says in one step, and an end to one that never stops.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Decodes one answer; after its last part it gives nothing more.
pub(crate) struct AnswerDecoder {
    frames: FrameDecoder,
    reader: Box<dyn Reader>,
    sends_raw: bool,
    n_bytes: usize,
    parts: VecDeque<StreamPart>,
    is_over: bool,
}

impl AnswerDecoder {
    /// Makes a decoder for the start of a body; `sends_raw` adds a [`StreamPart::Raw`] per event.
    pub(crate) fn new(reader: Box<dyn Reader>, sends_raw: bool) -> Self {
        let parts = VecDeque::from([StreamPart::StreamStart]);
        Self { frames: FrameDecoder::new(), reader, sends_raw, n_bytes: 0, parts, is_over: false }
    }

    /// Takes the next bytes of the body.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.n_bytes = self.n_bytes.saturating_add(bytes.len());
        if self.n_bytes > MAX_ANSWER_BYTES {
            return self.fail(ModelError::malformed(format!("the answer exceeds {MAX_ANSWER_BYTES} bytes")));
        }
        match self.frames.push(bytes) {
            Ok(frames) => frames.iter().for_each(|frame| self.read(&frame.data)),
            Err(error) => self.fail(ModelError::malformed(error.to_string())),
        }
    }

    /// Takes the clean end of the body.
    pub(crate) fn end(&mut self) {
        if !self.is_over {
            let mut parts = Vec::new();
            let ended = self.reader.end(&mut parts);
            self.put(parts, ended);
        }
        debug_assert!(self.is_over, "a reader that is told the end ends");
    }

    /// Takes a failure of the body.
    pub(crate) fn fail(&mut self, error: ModelError) {
        self.put(Vec::new(), Err(error));
    }

    /// Gives the next part that is ready.
    pub(crate) fn next_part(&mut self) -> Option<StreamPart> {
        self.parts.pop_front()
    }

    /// Tells whether the answer's last part is ready or given.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Gives the first part that is ready and says something: what comes before it may still be taken back by a retry.
    pub(crate) fn first_content(&self) -> Option<&StreamPart> {
        self.parts.iter().find(|part| {
            !matches!(
                part,
                StreamPart::StreamStart | StreamPart::ResponseMetadata { .. } | StreamPart::Raw(_) | StreamPart::Ping
            )
        })
    }

    fn read(&mut self, data: &str) {
        if self.is_over {
            return;
        }
        if self.sends_raw {
            let raw = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
            self.parts.push_back(StreamPart::Raw(raw));
        }
        let mut parts = Vec::new();
        let read = self.reader.read(data, &mut parts);
        self.put(parts, read);
    }

    fn put(&mut self, parts: Vec<StreamPart>, outcome: Result<(), ModelError>) {
        if self.is_over {
            return;
        }
        let errors = outcome.err().map(StreamPart::Error);
        for part in parts.into_iter().chain(errors) {
            self.is_over = matches!(part, StreamPart::Finish { .. } | StreamPart::Error(_));
            self.parts.push_back(part);
            if self.is_over {
                return;
            }
        }
    }
}
