//! What fuzzers do with the decoders: any bytes become a stream, cut anywhere, and whatever comes out is looked at.
//!
//! Each function takes a fuzzer's bytes and panics when something is wrong; bytes that make no stream are no finding. The fuzz targets
//! beside this crate call them, and so do plain tests, on bytes drawn by proptest.

use std::collections::BTreeSet;
use std::iter;

use arbitrary::{Arbitrary, Unstructured};
use serde_json::{Value, json};
use turnkeep_protocol::sse::{Frame, FrameDecoder};
use turnkeep_protocol::{Batch, Header, PartId, Record, RecordKind, SeqNum, Tail, UiMessageChunk};

use super::{BodyDecoder, Part};
use crate::Error;

/// How many sizes of pieces the first bytes name; they are used in turn.
const SIZES: usize = 4;

/// Part ids are few, so that many records share one.
const PART_IDS: u8 = 12;

/// Any bytes through the decoder of frames: in pieces they give what they give whole, and every frame survives its own encoding (C-26, C-27).
///
/// # Panics
///
/// When one of these does not hold.
pub fn attack_frames(input: &[u8]) {
    let (sizes, bytes) = sizes_of(input);
    let whole = FrameDecoder::new().push(bytes).expect("a fuzzer's input is far below the limit of a frame");
    let mut decoder = FrameDecoder::new();
    let pieces = pieces(bytes, sizes).flat_map(|piece| decoder.push(piece).expect("the limit counts the same bytes"));
    assert_eq!(pieces.collect::<Vec<_>>(), whole, "in pieces of {sizes:?} bytes");
    for frame in whole {
        let again = FrameDecoder::new().push(frame.encode().as_bytes());
        assert_eq!(again.as_deref(), Ok(std::slice::from_ref(&frame)), "a frame is what its encoding says");
    }
}

/// Any bytes as the body of a session stream, and streams made of records: in pieces they give what they give whole, and records come out
/// as a plain reading of the rules has them: no command, no part id twice, the envelope's content, and the cursor behind the last (C-26…C-34).
///
/// # Panics
///
/// When one of these does not hold.
pub fn attack_records(input: &[u8]) {
    let (sizes, bytes) = sizes_of(input);
    decode(bytes, sizes);
    let mut source = Unstructured::new(bytes);
    let Ok(batches) = Vec::<Drawn>::arbitrary(&mut source) else { return };
    let (mut body, mut want, mut known) = (String::new(), Vec::new(), BTreeSet::new());
    let mut next = SeqNum::ZERO;
    for drawn in batches {
        let (batch, meant) = drawn.batch(&mut next);
        for (record, meant) in batch.records.iter().zip(meant) {
            let is_command = matches!(record.kind(), RecordKind::Command(_));
            let id = meant.as_ref().and_then(|(_, id)| id.clone());
            if !is_command && id.is_none_or(|id| known.insert(id)) {
                want.push((record.seq_num, meant));
            }
        }
        body += &Frame::named("batch", serde_json::to_string(&batch).expect("a batch serialises")).encode();
    }
    let (parts, cursor) = decode(body.as_bytes(), sizes).expect("no frame of these is an error");
    let got = parts.into_iter().map(|part| (part.seq_num, part.chunk.map(|chunk| (chunk, part.part_id))));
    assert_eq!(got.collect::<Vec<_>>(), want, "{body}");
    assert_eq!(cursor, next.previous(), "{body}");
}

/// Decodes whole and in pieces, and gives what both gave: nothing for a stream that the server broke (RC-18).
fn decode(bytes: &[u8], sizes: [u8; SIZES]) -> Option<(Vec<Part>, Option<SeqNum>)> {
    let mut decoder = BodyDecoder::new(None);
    let whole = decoder.push(bytes).map(|parts| (parts, decoder.cursor()));
    let mut decoder = BodyDecoder::new(None);
    let in_pieces: Result<Vec<_>, _> = pieces(bytes, sizes).map(|piece| decoder.push(piece)).collect();
    match (whole, in_pieces) {
        (Ok(whole), Ok(parts)) => {
            assert_eq!((parts.concat(), decoder.cursor()), whole, "in pieces of {sizes:?} bytes");
            Some(whole)
        }
        (Err(Error::StreamBroken { message: one }), Err(Error::StreamBroken { message: other })) => {
            assert_eq!(one, other, "in pieces of {sizes:?} bytes");
            None
        }
        (whole, in_pieces) => panic!("whole {whole:?}, in pieces of {sizes:?} bytes {in_pieces:?}"),
    }
}

fn sizes_of(input: &[u8]) -> ([u8; SIZES], &[u8]) {
    input.split_first_chunk().map_or(([1; SIZES], input), |(sizes, bytes)| (*sizes, bytes))
}

/// Cuts into pieces of these sizes in turn, none of them empty.
fn pieces(bytes: &[u8], sizes: [u8; SIZES]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut sizes) = (bytes, sizes.into_iter().cycle());
    iter::from_fn(move || {
        let size = usize::from(sizes.next()?.max(1)).min(rest.len());
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A batch as a fuzzer draws it.
#[derive(Debug, Arbitrary)]
struct Drawn {
    records: Vec<DrawnRecord>,
    tail: Option<Tail>,
}

#[derive(Debug, Arbitrary)]
struct DrawnRecord {
    /// How many places nobody sees stand before it.
    gap: u8,
    timestamp: u64,
    headers: Vec<Header>,
    body: DrawnBody,
}

#[derive(Debug, Arbitrary)]
enum DrawnBody {
    Chunk(Box<UiMessageChunk>, Option<u8>),
    Text(String, Option<u8>),
    /// No envelope: a string as JSON has it.
    Bare(String),
    /// No envelope either, although it holds the same.
    List(String, u8),
}

/// What a record's envelope holds: content and part id.
type Meant = Option<(Value, Option<PartId>)>;

impl Drawn {
    /// Gives the batch and what its records mean; `next` is the place of the next record.
    fn batch(self, next: &mut SeqNum) -> (Batch, Vec<Meant>) {
        let record = |drawn: DrawnRecord| {
            let seq_num = SeqNum::new(next.get() + u64::from(drawn.gap));
            *next = seq_num.next();
            let (body, meant) = drawn.body.written();
            (Record { seq_num, timestamp: drawn.timestamp, body, headers: drawn.headers }, meant)
        };
        let (records, meant) = self.records.into_iter().map(record).unzip();
        (Batch { records, tail: self.tail }, meant)
    }
}

impl DrawnBody {
    fn written(self) -> (String, Meant) {
        let (data, id) = match self {
            Self::Chunk(chunk, id) => (serde_json::to_value(chunk).expect("a chunk serialises"), id),
            Self::Text(text, id) => (Value::String(text), id),
            Self::Bare(text) => return (Value::String(text).to_string(), None),
            Self::List(text, id) => return (json!([text, format!("p{}", id % PART_IDS)]).to_string(), None),
        };
        let id = id.map(|id| PartId::new(format!("p{}", id % PART_IDS)));
        let body = match &id {
            Some(id) => json!({ "data": data, "id": id }),
            None => json!({ "data": data }),
        };
        (body.to_string(), Some((data, id)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORDED: &[u8] = include_bytes!("../../tests/client/recorded/two-turns.sse");

    /// Any bytes, or a recorded stream with some of its bytes changed.
    fn any_input() -> impl Strategy<Value = Vec<u8>> {
        let changed = proptest::collection::vec((0..RECORDED.len(), any::<u8>()), 0..6).prop_map(|changes| {
            let mut bytes = RECORDED.to_vec();
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            bytes
        });
        let any_bytes = proptest::collection::vec(any::<u8>(), 0..2_000);
        let field =
            proptest::sample::select(&["data:", "data: ", "event: ", "id: ", ":", "", "", "data", "retry:"][..]);
        let value =
            proptest::sample::select(&["", "", "x", "batch", "error", "a:b", "{}", "\0", "\u{feff}", "\u{1f6a0}"][..]);
        let end = proptest::sample::select(&["\n", "\r", "\r\n"][..]);
        let line = (field, value, end).prop_map(|(field, value, end)| [field, value, end].concat());
        let lines = proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat().into_bytes());
        // Most pieces are small, as a line end that is cut in two wants it.
        let sizes = proptest::collection::vec(prop_oneof![0..6_u8, any::<u8>()], SIZES);
        (sizes, prop_oneof![any_bytes, lines, changed]).prop_map(|(sizes, bytes)| [sizes, bytes].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_the_decoder_of_frames_c26_c27(input in any_input()) {
            attack_frames(&input);
        }

        #[test]
        fn no_bytes_break_the_decoder_of_records_c26_c30_c33_c34(input in any_input()) {
            attack_records(&input);
        }
    }

    #[test]
    fn pieces_are_all_of_the_bytes_in_their_order() {
        let bytes: Vec<u8> = (0..100).collect();

        let cut: Vec<&[u8]> = pieces(&bytes, [3, 0, 50, 200]).collect();

        assert_eq!(cut.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [3, 1, 50, 46]);
        assert_eq!(cut.concat(), bytes);
    }
}
