//! [`Seeds`]: what a run before the first one has left, written by a worker that the test plays.
//!
//! Seeds are records: their places, cursors and headers are the server's own, and what reads them is the code of production.

use serde_json::json;
use turnkeep_host::http::segment;
use turnkeep_protocol::run_api::{
    EndRun, EndRunResponse, LeaseRequest, LeaseResponse, OutBatch, OutBatchResponse, RunOutcome,
};
use turnkeep_protocol::{
    ChatInputChunk, ChatSnapshot, ChatTaskWirePayload, Header, NewRecord, PartId, SESSION_IN_EVENT_ID, SeqNum,
    ToolState, UiMessage, UiMessageChunk, UiPart, WorkerId, control,
};

use super::wire::{Wire, Writer};
use super::{MockChat, MockChatAgent, MockMode, SetupError};

/// What an earlier run has left.
#[derive(Debug, Clone, Default)]
pub(super) struct Seeds {
    pub(super) snapshot: Option<Vec<UiMessage>>,
    pub(super) raw_snapshot: Option<ChatSnapshot>,
    pub(super) out_tail: Vec<UiMessageChunk>,
    pub(super) out_partial: Option<UiMessage>,
    pub(super) in_tail: Vec<UiMessage>,
}

impl Seeds {
    /// Says which seed no boot of this shape would read.
    pub(super) fn check(&self, mode: MockMode) -> Result<(), SetupError> {
        let reason = "only a continuation reads what an earlier run has left";
        match self.kinds().first() {
            Some(kind) if mode != MockMode::Continuation => {
                let seed = match *kind {
                    "snapshot" => "seeded snapshot",
                    "out" => "seeded tail of `out`",
                    _ => "seeded tail of `in`",
                };
                Err(SetupError::UnreadSeed { seed, reason })
            }
            _ => Ok(()),
        }
    }

    /// Names what a boot must read for the seeds to count.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("snapshot", self.snapshot.is_some() || self.raw_snapshot.is_some()),
            ("out", !self.out_tail.is_empty() || self.out_partial.is_some()),
            ("in", !self.in_tail.is_empty()),
        ];
        kinds.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| kind).collect()
    }
}

impl MockChatAgent {
    /// Plays the run before the first one: takes the session's first run, leaves the seeds, ends.
    pub(super) async fn seed(&mut self, options: &MockChat) -> Result<(), SetupError> {
        let created = self.stage.sessions.create(&self.create).await;
        created.map_err(|error| SetupError::refused("the session", error))?;
        self.learn_session().await?;
        let wire = self.stage.wire();
        let request = LeaseRequest {
            worker_id: WorkerId::new("seeds"),
            task_ids: vec![self.stage.task.clone()],
            version: options.version.clone(),
            timeout_in_seconds: 1,
        };
        let leased: LeaseResponse = wire.post("the seeds' lease", "/api/v1/workers/lease", &request, None).await?;
        let run = leased.run.ok_or_else(|| SetupError::refused("the seeds' lease", "the session has no fresh run"))?;
        let writer: Writer = (run.run_id, run.attempt);

        let settled = self.leave_snapshot(options, &wire, &writer).await?;
        self.leave_out(&options.seeds, &wire, &writer).await?;
        for message in &options.seeds.in_tail {
            self.leave_input(options, message).await;
        }
        let end = EndRun { outcome: RunOutcome::Completed, settled_cursor: settled, consumed_cursor: settled };
        let path = format!("/api/v1/runs/{}/end", writer.0);
        let _: EndRunResponse = wire.post("the seeds' end", &path, &end, Some(&writer)).await?;
        match &options.previous_run_id {
            Some(name) => self.stage.rename_run(&writer.0, name).await,
            None => Ok(()),
        }
    }

    /// Leaves a finished turn with these messages, and its snapshot; gives the settled cursor.
    async fn leave_snapshot(
        &self,
        options: &MockChat,
        wire: &Wire,
        writer: &Writer,
    ) -> Result<Option<SeqNum>, SetupError> {
        let seeds = &options.seeds;
        if let Some(snapshot) = &seeds.raw_snapshot {
            let body = serde_json::to_vec(snapshot).expect("a snapshot always serialises");
            wire.write_snapshot(&self.chat_id, body, writer).await?;
            self.history().extend(snapshot.messages.iter().cloned());
            return Ok(snapshot.last_in_event_id);
        }
        let Some(messages) = &seeds.snapshot else {
            return Ok(None);
        };
        let mut settled = None;
        for message in messages.iter().filter(|message| message.is_user()) {
            settled = self.leave_input(options, message).await;
        }
        let covers = settled.map(|settled| Header::new(SESSION_IN_EVENT_ID, settled.to_string()));
        let boundary = NewRecord::control(control::TURN_COMPLETE, covers);
        let boundary = self.leave_records(vec![boundary], wire, Some(writer)).await?.pop();
        let saved_at = self.stage.host.clock().now().as_millis();
        let snapshot = ChatSnapshot::new(saved_at, messages.clone(), boundary, settled);
        let body = serde_json::to_vec(&snapshot).expect("a snapshot always serialises");
        wire.write_snapshot(&self.chat_id, body, writer).await?;
        self.history().extend(messages.iter().cloned());
        Ok(settled)
    }

    async fn leave_out(&self, seeds: &Seeds, wire: &Wire, writer: &Writer) -> Result<(), SetupError> {
        let mut chunks = seeds.out_tail.clone();
        if let Some(partial) = &seeds.out_partial {
            chunks.extend(partial_chunks(partial));
        }
        let records = chunks.iter().map(|chunk| NewRecord::data(&json!(chunk), &PartId::new(self.stage.part_id())));
        self.leave_records(records.collect(), wire, Some(writer)).await.map(drop)
    }

    pub(super) async fn leave_records(
        &self,
        records: Vec<NewRecord>,
        wire: &Wire,
        writer: Option<&Writer>,
    ) -> Result<Vec<SeqNum>, SetupError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("/realtime/v1/sessions/{}/out/batch", segment(&self.chat_id));
        let answer: OutBatchResponse = wire.post("what is left on `out`", &path, &OutBatch { records }, writer).await?;
        Ok(answer.seqs)
    }

    async fn leave_input(&self, options: &MockChat, message: &UiMessage) -> Option<SeqNum> {
        let mut payload = ChatTaskWirePayload::submit(&self.chat_id, message.clone());
        payload.metadata = options.client_data.clone().map(serde_json::Value::Object);
        self.append(ChatInputChunk::message(payload)).await
    }
}

/// Writes a message as the chunks of an answer that was cut: whatever the message has, and no finish.
fn partial_chunks(message: &UiMessage) -> Vec<UiMessageChunk> {
    let mut chunks = vec![chunk(json!({ "type": "start", "messageId": message.id })), UiMessageChunk::start_step()];
    for (index, part) in message.parts.iter().enumerate() {
        chunks.extend(part_chunks(part, index));
    }
    chunks
}

fn part_chunks(part: &UiPart, index: usize) -> Vec<UiMessageChunk> {
    let id = format!("seed-{index}");
    match part {
        UiPart::Text(text) => vec![
            chunk(json!({ "type": "text-start", "id": id })),
            chunk(json!({ "type": "text-delta", "id": id, "delta": text.text })),
        ],
        UiPart::Reasoning(reasoning) => vec![
            chunk(json!({ "type": "reasoning-start", "id": id })),
            chunk(json!({ "type": "reasoning-delta", "id": id, "delta": reasoning.text })),
        ],
        UiPart::Tool(tool) => {
            let call = json!({
                "type": "tool-input-available", "toolCallId": tool.tool_call_id, "toolName": tool.tool_name,
                "input": tool.input, "dynamic": tool.dynamic,
            });
            let output = match tool.state {
                ToolState::OutputAvailable => Some(json!({
                    "type": "tool-output-available", "toolCallId": tool.tool_call_id, "output": tool.output,
                })),
                ToolState::OutputError => Some(json!({
                    "type": "tool-output-error", "toolCallId": tool.tool_call_id, "errorText": tool.error_text,
                })),
                _ => None,
            };
            std::iter::once(call).chain(output).map(chunk).collect()
        }
        UiPart::Data(data) => vec![chunk(json!({ "type": data.kind.as_str(), "id": data.id, "data": data.data }))],
        // A part that no chunk makes is not there when its answer is cut.
        _ => Vec::new(),
    }
}

fn chunk(value: serde_json::Value) -> UiMessageChunk {
    UiMessageChunk::from_value(value).expect("an object is a chunk")
}
