//! [`Attempt`]: what every attempt at a run has, whoever drives it: its session's channels, its lease, its chat.
//!
//! [`crate::run`] drives one with the turn loop; a custom agent's own code drives one by hand.

mod boundary;
mod handover;
mod take_over;
mod wait;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_host::{Draws, Host};
use turnkeep_model::{ModelOutputs, Origin};
use turnkeep_protocol::run_api::LeasedRun;
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, ChatInputChunk, ChatTaskWirePayload, InputRecord, SeqNum, Trigger};

pub(crate) use self::take_over::{INTERRUPTED, seeded_inbox};
use crate::boot::replay::Owed;
use crate::boundary::Boundaries;
use crate::chat::{Chat, ChunkWriter, QueuedParts};
use crate::checkpoint::{Gate, Place};
use crate::error::Error;
use crate::event::RunContext;
use crate::generation::Preparation;
use crate::input::InputChannel;
use crate::link::Link;
use crate::locals::Locals;
use crate::out::OutWriter;
use crate::pipe::Outlet;
use crate::record::decode as decode_content;
use crate::signal::Signal;
use crate::task::Task;
use crate::worker::Warn;

/// The length of a message id, as the AI SDK makes them.
const MESSAGE_ID_CHARACTERS: usize = 16;

/// Where a run's message ids come from; clones draw from one stream.
#[derive(Clone)]
pub(crate) struct MessageIds(Arc<Draws>);

impl MessageIds {
    /// Draws an id that `is_taken` does not know.
    pub(crate) fn fresh(&self, is_taken: impl Fn(&str) -> bool) -> String {
        loop {
            let id = self.0.alphanumeric(MESSAGE_ID_CHARACTERS);
            if !is_taken(&id) {
                return id;
            }
        }
    }
}

/// What an attempt is made from.
pub(crate) struct AttemptParts {
    pub(crate) host: Host,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) input: InputChannel,
    pub(crate) lease: LeasedRun,
    pub(crate) warn: Warn,
    pub(crate) gate: Gate,
    pub(crate) locals: Locals,
    pub(crate) boundaries: Boundaries,
    pub(crate) task: Arc<Task>,
}

/// One attempt at a run.
pub(crate) struct Attempt {
    pub(crate) host: Host,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) input: InputChannel,
    pub(crate) out: OutWriter,
    pub(crate) queued: QueuedParts,
    pub(crate) lease: LeasedRun,
    pub(crate) payload: ChatTaskWirePayload,
    pub(crate) ctx: RunContext,
    pub(crate) chat: Chat,
    pub(crate) boundaries: Boundaries,
    /// Turns that recovery wants first.
    pub(crate) recovered: VecDeque<Owed>,
    /// Whether the run was started for a head start whose signal nobody has taken yet.
    pub(crate) awaits_handover: bool,
    /// A close was found at boot: the run ends when the recovered turns are through (D-32).
    pub(crate) ends_after_recovered: bool,
    pub(crate) part_ids: Arc<Draws>,
    pub(crate) gate: Gate,
    pub(crate) message_ids: MessageIds,
    pub(crate) task: Arc<Task>,
    warn: Warn,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.chat.store().forget_listeners();
    }
}

impl Attempt {
    /// Makes the attempt; nothing is read or written yet.
    pub(crate) fn new(parts: AttemptParts) -> Result<Self, Error> {
        let AttemptParts { host, link, input, lease, warn, gate, locals, boundaries, task } = parts;
        let payload = Value::Object(lease.payload.clone());
        let payload: ChatTaskWirePayload =
            serde_json::from_value(payload).map_err(|error| Error::BadPayload(error.to_string()))?;
        let entropy = attempt_entropy(&host, &lease);
        let out = OutWriter::start(&host, link.clone(), &entropy);
        let queued = QueuedParts::default();
        let metadata = task.metadata.clone();
        let writer = ChunkWriter::new(out.clone(), queued.clone());
        let attempt = Self {
            ctx: gate.told(RunContext::of(&lease)),
            chat: Chat::new(
                payload.chat_id.clone(),
                host.clone(),
                writer,
                locals,
                metadata,
                Arc::downgrade(&task.deferred),
            ),
            out,
            queued,
            boundaries,
            recovered: VecDeque::new(),
            awaits_handover: payload.trigger == Some(Trigger::HandoverPrepare) && payload.continuation != Some(true),
            ends_after_recovered: false,
            part_ids: Arc::new(entropy.child("data-ids").draws()),
            message_ids: MessageIds(Arc::new(entropy.child("message-ids").draws())),
            host,
            link,
            input,
            lease,
            payload,
            warn,
            gate,
            task,
        };
        // Boot hooks may pipe too.
        let metadata = attempt.payload.metadata.clone().unwrap_or_default();
        attempt.open_pipes(0, metadata, Signal::new(), ModelOutputs::new());
        Ok(attempt)
    }

    /// Gives pipes a new turn.
    pub(crate) fn open_pipes(&self, turn: usize, client_data: Value, stop: Signal, model_outputs: ModelOutputs) {
        let (part_ids, message_ids) = (self.part_ids.clone(), self.message_ids.clone());
        let origin = self.origin(turn);
        let (continued, preparation) = (None, Preparation::default());
        let outlet = Outlet { stop, model_outputs, origin, client_data, part_ids, message_ids, continued, preparation };
        self.chat.pipes().open(outlet);
    }

    /// Says who asks the model.
    pub(crate) fn origin(&self, turn: usize) -> Origin {
        let (chat_id, run_id) = (self.chat.id().to_owned(), self.lease.run_id.clone());
        Origin { chat_id, run_id, attempt: self.lease.attempt, turn }
    }

    pub(crate) fn is_continuation(&self) -> bool {
        self.payload.continuation == Some(true)
    }

    /// Tells whether there may be something to restore.
    pub(crate) fn could_have_prior_state(&self) -> bool {
        self.is_continuation() || self.lease.attempt > 1
    }

    /// Tells whether the run was started before its first message.
    pub(crate) fn is_preloaded(&self) -> bool {
        !self.is_continuation() && matches!(self.payload.trigger, None | Some(Trigger::Preload))
    }

    pub(crate) fn writer(&self) -> ChunkWriter {
        ChunkWriter::new(self.out.clone(), self.queued.clone())
    }

    pub(crate) fn warn(&self, text: impl Into<String>) {
        (self.warn)(&self.ctx, text.into());
    }

    /// Gives what takes warnings to the author.
    pub(crate) fn warner(&self) -> Warn {
        self.warn.clone()
    }

    /// Takes the oldest message from the buffer.
    pub(crate) fn take_queued(&self) -> Option<Owed> {
        match self.input.take_message()? {
            (seq_num, ChatInputChunk::Message { payload }) => Some(Owed { seq_num: Some(seq_num), payload: *payload }),
            _ => None,
        }
    }

    /// Says that a payload needs no more work.
    pub(crate) fn finish(&self, owed: &Owed) {
        if let Some(seq_num) = owed.seq_num {
            self.input.with(|inbox| inbox.finish(seq_num));
        }
    }

    /// Ends the run at a close, wherever it is taken up.
    pub(crate) fn unless_close(&self, owed: Owed) -> Option<Owed> {
        if owed.payload.trigger != Some(Trigger::Close) {
            return Some(owed);
        }
        self.finish(&owed);
        None
    }

    /// Reads what `in` holds after a cursor.
    pub(crate) async fn drain_in(&self, after: Option<SeqNum>) -> Result<Vec<InputRecord>, Error> {
        let records = self.link.drain(ChannelName::In, after).await?;
        Ok(records.into_iter().map(decode).collect())
    }

    pub(crate) async fn reach_turn_end(&self) {
        let settled = self.input.with(|inbox| inbox.settled());
        self.gate.reach(Place::TurnEnd { settled }).await;
    }

    /// Gives what is left to do when the run ends by its own will.
    pub(crate) fn leaving(&self) -> Leaving {
        Leaving { chat: self.chat.clone(), out: self.out.clone(), input: self.input.clone() }
    }

    /// Finds the next payload that needs no waiting: recovered, then queued.
    pub(crate) fn at_hand(&mut self) -> AtHand {
        if self.input.is_draining() {
            return AtHand::End;
        }
        if let Some(owed) = self.recovered.pop_front() {
            return AtHand::Payload(Box::new(owed));
        }
        if self.ends_after_recovered {
            return AtHand::End;
        }
        match self.take_queued() {
            Some(owed) => self.unless_close(owed).map_or(AtHand::End, |owed| AtHand::Payload(Box::new(owed))),
            None if self.chat.ends_after_turn() => AtHand::End,
            None => AtHand::Nothing,
        }
    }
}

/// What an attempt finds without waiting.
#[derive(Debug)]
pub(crate) enum AtHand {
    /// This comes next.
    Payload(Box<Owed>),
    /// Nothing comes any more.
    End,
    /// Something may come.
    Nothing,
}

/// The end of a run that nobody cut short.
pub(crate) struct Leaving {
    chat: Chat,
    out: OutWriter,
    input: InputChannel,
}

impl Leaving {
    /// Leaves the session: everything written is durable, and what is settled is known.
    pub(crate) async fn leave(self) -> Result<(), Error> {
        // What was deferred last must not die with the run.
        self.chat.settle_deferred().await;
        self.out.flush().await?;
        self.input.disconnect();
        let settled = self.input.with(|inbox| inbox.settled());
        self.input.publish(settled);
        Ok(())
    }
}

fn decode(record: DrainedRecord) -> InputRecord {
    let is_control = !record.headers.is_empty();
    let input = if is_control { None } else { decode_content(record.data) };
    InputRecord { seq_num: record.seq_num, timestamp: 0, input }
}

/// Gives the random streams of one attempt: no two attempts ever draw the same ids.
pub(crate) fn attempt_entropy(host: &Host, lease: &LeasedRun) -> turnkeep_host::Entropy {
    host.entropy().child("agent").child(lease.run_id.as_str()).child(&lease.attempt.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::{Header, TRIGGER_CONTROL};

    use super::*;

    #[test]
    fn a_record_with_headers_is_no_input_and_keeps_its_place_a25_a19() {
        for headers in [vec![], vec![Header::new("", "trim")], vec![Header::new(TRIGGER_CONTROL, "turn-complete")]] {
            let is_data = headers.is_empty();
            let record =
                DrainedRecord { data: json!({ "kind": "stop" }), id: String::new(), seq_num: SeqNum::new(7), headers };

            let decoded = decode(record);

            assert_eq!((decoded.seq_num, decoded.input.is_some()), (SeqNum::new(7), is_data));
        }
    }
}
