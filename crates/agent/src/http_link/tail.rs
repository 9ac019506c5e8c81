//! One connection that follows `in`: frames to decoded records (S-146, C-24).

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use turnkeep_host::http::BodyStream;
use turnkeep_protocol::sse::{DONE, Frame, FrameDecoder};
use turnkeep_protocol::{Batch, InputRecord, Record, RecordKind};

/// How long the server keeps a quiet connection, in seconds (S-146).
pub(super) const BUDGET_S: u64 = 600;

/// How long the connection may be silent, pings included, before it counts as dead; pings come every 5 to 15 s (S-111).
const SILENCE: Duration = Duration::from_secs(45);

struct Reading {
    body: BodyStream,
    frames: FrameDecoder,
    read: Read,
}

/// What the frames so far have given.
#[derive(Debug, Default)]
struct Read {
    ready: VecDeque<InputRecord>,
    ended: bool,
}

/// Reads records until the connection ends, breaks or falls silent.
pub(super) fn records(body: BodyStream) -> impl Stream<Item = InputRecord> + Send {
    let reading = Reading { body, frames: FrameDecoder::new(), read: Read::default() };
    stream::unfold(reading, |mut reading| async move {
        loop {
            if let Some(record) = reading.read.ready.pop_front() {
                return Some((record, reading));
            }
            if reading.read.ended {
                return None;
            }
            reading.read_more().await;
        }
    })
}

impl Reading {
    async fn read_more(&mut self) {
        let Ok(Some(Ok(bytes))) = tokio::time::timeout(SILENCE, self.body.next_chunk()).await else {
            self.read.ended = true;
            return;
        };
        match self.frames.push(&bytes) {
            Ok(frames) => frames.iter().for_each(|frame| self.read.take(frame)),
            Err(_) => self.read.ended = true,
        }
    }
}

impl Read {
    /// Takes one frame in; nothing counts after the end.
    fn take(&mut self, frame: &Frame) {
        if self.ended {
            return;
        }
        if frame.data == DONE || frame.event == "error" {
            self.ended = true;
        } else if frame.event == "batch" {
            match serde_json::from_str::<Batch>(&frame.data) {
                Ok(batch) => self.ready.extend(batch.records.into_iter().map(decode)),
                // Skipping it would lose its records: the next connection reads them again from the cursor (S-54).
                Err(_) => self.ended = true,
            }
        }
    }
}

/// Decodes one record; control, commands and unreadable bodies keep their place and say nothing.
fn decode(record: Record) -> InputRecord {
    let input = match record.kind() {
        RecordKind::Data => record.envelope().and_then(|envelope| crate::record::decode(envelope.data)),
        RecordKind::Control(_) | RecordKind::Command(_) => None,
    };
    InputRecord { seq_num: record.seq_num, timestamp: record.timestamp, input }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_cannot_be_read_ends_the_connection_s54() {
        let batch = |at| {
            format!("event: batch\ndata: {{\"records\":[{{\"seq_num\":{at},\"timestamp\":1,\"body\":\"\"}}]}}\n\n")
        };
        let bytes = [batch(0), "event: batch\ndata: {\"records\":7}\n\n".to_owned(), batch(2)].concat();
        let mut read = Read::default();

        FrameDecoder::new().push(bytes.as_bytes()).unwrap().iter().for_each(|frame| read.take(frame));

        // What comes behind it must not be taken for its successor.
        assert_eq!((read.ready.len(), read.ended), (1, true));
    }
}
