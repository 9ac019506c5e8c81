//! Server-sent events: bytes to [`Frame`]s and back (C-26, C-27).
//!
//! The decoder follows the WHATWG grammar and gives the same frames however the bytes are cut. What a frame means is
//! decided by its reader; a frame's `id:` line is never a cursor for session streams (C-31).

use std::borrow::Cow;
use std::fmt::Write;

/// Bounds the size of one frame on its way in: its data and the line being read.
///
/// The largest frame we write is a batch of records, each at most 1 MiB, written as JSON text within JSON text.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Names the event of a frame that has no `event:` line.
pub const DEFAULT_EVENT: &str = "message";

/// Holds the data of the frame that ends a response at its deadline (C-24).
pub const DONE: &str = "[DONE]";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Holds one event on the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Names the event: `message` unless the sender said otherwise.
    pub event: String,
    /// Holds the data, lines joined by LF.
    pub data: String,
    /// Holds this frame's own `id:` line; the ids of earlier frames do not carry over.
    pub id: Option<String>,
}

/// Reports a frame larger than [`MAX_FRAME_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frame is larger than {MAX_FRAME_BYTES} bytes")]
pub struct FrameTooLarge;

/// Turns bytes into frames.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    line: Vec<u8>,
    /// Tells that a CR ended the last line, so that an LF right after it belongs to that line end.
    after_cr: bool,
    past_first_line: bool,
    event: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    too_large: bool,
}

impl FrameDecoder {
    /// Makes a decoder for the start of a response.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the frames they complete.
    ///
    /// A frame that never ends is discarded with the decoder (C-26).
    ///
    /// # Errors
    ///
    /// Fails for good when a frame is too large, after the frames before it have been given.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, FrameTooLarge> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && !self.too_large {
            rest = self.read_line(rest, &mut frames);
        }
        if self.too_large && frames.is_empty() { Err(FrameTooLarge) } else { Ok(frames) }
    }

    /// Reads up to the next line end, or all there is.
    fn read_line<'b>(&mut self, bytes: &'b [u8], frames: &mut Vec<Frame>) -> &'b [u8] {
        if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
            return &bytes[1..];
        }
        let end = memchr::memchr2(b'\n', b'\r', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + self.data.len() + piece.len() > MAX_FRAME_BYTES {
            self.too_large = true;
            return &[];
        }
        self.line.extend_from_slice(piece);
        let Some(end) = end else {
            return &[];
        };
        self.after_cr = bytes[end] == b'\r';
        let line = std::mem::take(&mut self.line);
        frames.extend(self.take_line(&line));
        self.line = line;
        self.line.clear();
        &bytes[end + 1..]
    }

    fn take_line(&mut self, mut line: &[u8]) -> Option<Frame> {
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        // Line ends never fall inside a UTF-8 sequence, so decoding line by line equals decoding the whole.
        // Text as it should be is much the quicker to check.
        let line = str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments have an empty field name; `retry` and unknown fields mean nothing to us.
            _ => {}
        }
        None
    }

    /// Ends the frame at its blank line; one without data is none.
    fn dispatch(&mut self) -> Option<Frame> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        let id = self.id.take();
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let event = if event.is_empty() { DEFAULT_EVENT.to_owned() } else { event };
        Some(Frame { event, data, id })
    }
}

impl Frame {
    /// Makes a frame of the default event.
    pub fn message(data: impl Into<String>) -> Self {
        Self::named(DEFAULT_EVENT, data)
    }

    /// Makes a frame of a named event.
    pub fn named(event: impl Into<String>, data: impl Into<String>) -> Self {
        Self { event: event.into(), data: data.into(), id: None }
    }

    /// Makes the frame that ends a response at its deadline.
    pub fn done() -> Self {
        Self::message(DONE)
    }

    /// Gives the frame an `id:` line.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Writes the frame as it goes over the socket.
    ///
    /// The grammar has no word for CR: in `data`, CR and CRLF arrive as LF. JSON text holds none of them.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(self.data.len() + 64);
        if self.event != DEFAULT_EVENT {
            push_line(&mut out, "event", &self.event);
        }
        if let Some(id) = &self.id {
            push_line(&mut out, "id", id);
        }
        let data = if self.data.contains('\r') {
            self.data.replace("\r\n", "\n").replace('\r', "\n")
        } else {
            self.data.clone()
        };
        for line in data.split('\n') {
            push_line(&mut out, "data", line);
        }
        out.push('\n');
        out
    }
}

/// Writes a comment, which readers skip.
pub fn encode_comment(text: &str) -> String {
    let mut out = String::new();
    push_line(&mut out, "", text);
    out.push('\n');
    out
}

fn push_line(out: &mut String, field: &str, value: &str) {
    // A line end here would start a field of the value's choosing.
    let value = value.split(['\n', '\r']).next().unwrap_or_default();
    writeln!(out, "{field}: {value}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_text;

    fn decode<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<Frame> {
        let mut decoder = FrameDecoder::new();
        pieces.into_iter().flat_map(|piece| decoder.push(piece).expect("small frames")).collect()
    }

    #[track_caller]
    fn check(bytes: &[u8], want: &[Frame]) {
        assert_eq!(decode([bytes]), want, "{}", String::from_utf8_lossy(bytes));
        assert_eq!(decode(bytes.chunks(1)), want, "byte by byte: {}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn every_line_end_closes_a_line_c26() {
        let want = [Frame::message("a\nb"), Frame::message("c")];
        check(b"data: a\ndata: b\n\ndata: c\n\n", &want);
        check(b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", &want);
        check(b"data: a\rdata: b\r\rdata: c\r\r", &want);
        check(b"data: a\r\ndata: b\n\rdata: c\n\n", &want);
    }

    #[test]
    fn fields_are_read_as_the_grammar_says_c26() {
        check(b"event: ping\nid: 7\ndata: {}\n\n", &[Frame::named("ping", "{}").with_id("7")]);
        check(b": hello\ndata:x\n\n:\n\n", &[Frame::message("x")]);
        check(b"data:  two spaces\n\n", &[Frame::message(" two spaces")]);
        check(b"data\n\ndata:\ndata:\n\n", &[Frame::message(""), Frame::message("\n")]);
        check(b"data: a:b\nretry: 10\nfoo: bar\n data: no\n\n", &[Frame::message("a:b")]);
        check(b"id: a\0b\ndata: x\n\n", &[Frame::message("x")]);
        check(b"event: ping\n\ndata: x\n\n", &[Frame::message("x")]);
        check(b"id: 1\ndata: x\n\ndata: y\n\n", &[Frame::message("x").with_id("1"), Frame::message("y")]);
        check(b"data: \xFFx\n\n", &[Frame::message("\u{FFFD}x")]);
    }

    #[test]
    fn a_leading_byte_order_mark_is_ignored_once_c26() {
        check(b"\xEF\xBB\xBFdata: x\n\n", &[Frame::message("x")]);
        check(b"\xEF\xBB\xBF\n\xEF\xBB\xBFdata: x\n\n", &[]);
    }

    #[test]
    fn an_unterminated_last_event_is_discarded_c26() {
        check(b"data: x\n\ndata: y\n", &[Frame::message("x")]);
        check(b"data: x\n\ndata: y", &[Frame::message("x")]);
        check(b"", &[]);
    }

    #[test]
    fn every_two_cuts_give_the_same_frames_c27() {
        let streams: [&[u8]; 4] = [
            "\u{FEFF}event: batch\r\nid: 1,2,3\r\ndata: {\"é\":\"😀\"}\r\ndata: b\r\n\r\n: c\r\ndata: z\r\n\r\n"
                .as_bytes(),
            "data: é\r\rdata: 😀\r\r".as_bytes(),
            "\u{FEFF}data: a\n\ndata: b\r\n\ndata: c\n\r\ndata: d".as_bytes(),
            b"event: ping\ndata: \xF0\x9F\n\n\r\n\rdata\n\n",
        ];
        for bytes in streams {
            let want = decode([bytes]);
            assert!(!want.is_empty());
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let got = decode([&bytes[..first], &bytes[first..second], &bytes[second..]]);
                    assert_eq!(got, want, "cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_frame_past_the_bound_is_an_error_after_the_frames_before_it() {
        let mut decoder = FrameDecoder::new();
        let line = [b"data: ".as_slice(), &vec![b'x'; MAX_FRAME_BYTES / 2], b"\n"].concat();

        assert_eq!(decoder.push(b"data: x\n\n"), Ok(vec![Frame::message("x")]));
        assert_eq!(decoder.push(&line), Ok(vec![]));

        assert_eq!(decoder.push(&line), Err(FrameTooLarge));
        assert_eq!(decoder.push(b"\n\ndata: y\n\n"), Err(FrameTooLarge));
    }

    #[test]
    fn frames_are_written_as_the_server_sends_them() {
        assert_eq!(Frame::named("batch", "{}").with_id("0").encode(), "event: batch\nid: 0\ndata: {}\n\n");
        assert_eq!(Frame::done().encode(), "data: [DONE]\n\n");
        assert_eq!(Frame::named("a\nb", "x\r\ny\rz").encode(), "event: a\ndata: x\ndata: y\ndata: z\n\n");
        assert_eq!(encode_comment("hi"), ": hi\n\n");
    }

    proptest! {
        #[test]
        fn frames_survive_the_socket_whatever_the_cuts_c27(
            frames in prop::collection::vec(("[a-z]{1,5}", any_text(), prop::option::of("[0-9,]{1,5}")), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let frames: Vec<Frame> = frames
                .into_iter()
                .map(|(event, data, id)| Frame { event, data: data.replace("\r\n", "\n").replace('\r', "\n"), id })
                .collect();
            let bytes = frames.iter().map(Frame::encode).collect::<String>().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();

            let got = decode(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]));

            prop_assert_eq!(got, frames);
        }

        #[test]
        fn any_bytes_decode_the_same_however_cut_c27(
            bytes in prop::collection::vec(prop::sample::select(b"\r\n\n:da\xEF\xBB\xBF\xC3\xA9 ".to_vec()), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let at = cut.index(bytes.len() + 1);

            prop_assert_eq!(decode([&bytes[..at], &bytes[at..]]), decode([bytes.as_slice()]));
        }
    }
}
