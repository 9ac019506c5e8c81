//! One connection that follows `in`: frames to decoded records (S-146, C-24).

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use turnkeep_host::http::BodyStream;
use turnkeep_protocol::sse::{DONE, FrameDecoder};
use turnkeep_protocol::{Batch, Envelope, InputRecord, Record, RecordKind};

/// How long the server keeps a quiet connection, in seconds (S-146).
pub(super) const BUDGET_S: u64 = 600;

/// How long the connection may be silent, pings included, before it counts as dead; pings come every 5 to 15 s (S-111).
const SILENCE: Duration = Duration::from_secs(45);

struct Reading {
    body: BodyStream,
    frames: FrameDecoder,
    ready: VecDeque<InputRecord>,
    ended: bool,
}

/// Reads records until the connection ends, breaks or falls silent.
pub(super) fn records(body: BodyStream) -> impl Stream<Item = InputRecord> + Send {
    let reading = Reading { body, frames: FrameDecoder::new(), ready: VecDeque::new(), ended: false };
    stream::unfold(reading, |mut reading| async move {
        loop {
            if let Some(record) = reading.ready.pop_front() {
                return Some((record, reading));
            }
            if reading.ended {
                return None;
            }
            reading.read_more().await;
        }
    })
}

impl Reading {
    async fn read_more(&mut self) {
        let Ok(Some(Ok(bytes))) = tokio::time::timeout(SILENCE, self.body.next_chunk()).await else {
            self.ended = true;
            return;
        };
        let Ok(frames) = self.frames.push(&bytes) else {
            self.ended = true;
            return;
        };
        for frame in frames {
            if frame.data == DONE || frame.event == "error" {
                self.ended = true;
                return;
            }
            if frame.event == "batch" {
                // Skipping one would lose its records: the next connection reads them again from the cursor (S-54).
                let Ok(batch) = serde_json::from_str::<Batch>(&frame.data) else {
                    self.ended = true;
                    return;
                };
                self.ready.extend(batch.records.into_iter().map(decode));
            }
        }
    }
}

/// Decodes one record; control, commands and unreadable bodies keep their place and say nothing.
fn decode(record: Record) -> InputRecord {
    let input = match record.kind() {
        RecordKind::Data => record.envelope().map(Envelope::unpacked).and_then(crate::record::decode),
        RecordKind::Control(_) | RecordKind::Command(_) => None,
    };
    InputRecord { seq_num: record.seq_num, timestamp: record.timestamp, input }
}
