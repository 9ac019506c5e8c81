//! Sessions as they are once people have used them: some turns lie behind them, and a run waits for the next message.

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::Request;
use serde_json::{Value, json};
use turnkeep_host::http::HttpClient;
use turnkeep_protocol::run_api::{
    LeaseRequest, LeaseResponse, LeasedRun, OutBatch, OutBatchResponse, RUN_ATTEMPT_HEADER, RUN_ID_HEADER,
};
use turnkeep_protocol::{Header, NewRecord, PartId, SESSION_IN_EVENT_ID, SeqNum, TaskId, WorkerId, control};

use super::clients::{Clients, PREPARING, post, sent};

/// The agent of all sessions.
const AGENT: &str = "bench";

/// Turns behind each session.
const TURNS: usize = 2;

/// Chunks of text in each answer, 40 characters each.
const DELTAS: usize = 20;

/// How long a lease request may wait, in seconds: each session brings the run that somebody leases.
const PATIENCE: u64 = 10;

impl Clients {
    /// Makes sessions with these external ids, each with some turns behind it and its run in the hands of a worker.
    pub(super) async fn create(&self, ids: &[String]) -> Result<()> {
        let share = ids.len().div_ceil(PREPARING).max(1);
        let made = futures::stream::iter(ids.chunks(share).enumerate()).map(|(n, ids)| async move {
            let client = self.client();
            for id in ids {
                create(&client, id).await?;
                // Whichever is the oldest: some other share may have it.
                let run = lease(&client, n).await?;
                converse(&client, &run).await?;
            }
            anyhow::Ok(())
        });
        made.buffer_unordered(PREPARING).collect::<Vec<_>>().await.into_iter().collect()
    }
}

/// Makes a session with its first message.
async fn create(client: &HttpClient, id: &str) -> Result<()> {
    let mut payload = message(0)["payload"].take();
    payload["chatId"] = json!(id);
    let body = json!({
        "type": "chat.agent", "taskIdentifier": AGENT, "externalId": id,
        "triggerConfig": { "basePayload": payload },
    });
    post(client, "/api/v1/sessions", body.to_string()).await.map(drop)
}

async fn lease(client: &HttpClient, share: usize) -> Result<LeasedRun> {
    let request = LeaseRequest {
        worker_id: WorkerId::new(format!("worker-{share}")),
        task_ids: vec![TaskId::new(AGENT)],
        version: "1".to_owned(),
        timeout_in_seconds: PATIENCE,
    };
    let answer = post(client, "/api/v1/workers/lease", serde_json::to_string(&request)?).await?;
    serde_json::from_value::<LeaseResponse>(answer)?.run.context("no run to lease, though each session brings one")
}

/// Answers the first message, and asks and answers the others.
async fn converse(client: &HttpClient, run: &LeasedRun) -> Result<()> {
    let channel = |name: &str| format!("/realtime/v1/sessions/{}/{name}", run.session_key);
    let mut boundary = None;
    for turn in 0..TURNS {
        if turn > 0 {
            post(client, &channel("in/append"), message(turn).to_string()).await?;
        }
        let batch = OutBatch { records: answer(turn, boundary) };
        let request = Request::post(channel("out/batch"))
            .header(RUN_ID_HEADER, run.run_id.as_str())
            .header(RUN_ATTEMPT_HEADER, run.attempt)
            .header("x-part-id", format!("{}-{turn}", run.run_id));
        let written: OutBatchResponse =
            serde_json::from_value(sent(client, request, serde_json::to_string(&batch)?).await?)?;
        let n_commands = usize::from(boundary.is_some());
        boundary = written.seqs.iter().rev().nth(n_commands).copied();
    }
    Ok(())
}

fn message(turn: usize) -> Value {
    let message =
        json!({ "id": format!("m{turn}"), "role": "user", "parts": [{ "type": "text", "text": "How is it going?" }] });
    json!({ "kind": "message", "payload": { "trigger": "submit-message", "message": message } })
}

/// Gives the records of a turn's answer, its boundary last; then the trim to the boundary before (S-90).
fn answer(turn: usize, boundary: Option<SeqNum>) -> Vec<NewRecord> {
    let mut chunks = vec![
        json!({ "type": "start", "messageId": format!("a{turn}") }),
        json!({ "type": "start-step" }),
        json!({ "type": "text-start", "id": "t" }),
    ];
    chunks.extend((0..DELTAS).map(|n| json!({ "type": "text-delta", "id": "t", "delta": format!("{n:>40}") })));
    chunks.extend(["finish-step", "finish"].map(|kind| json!({ "type": kind })));
    chunks.insert(chunks.len() - 2, json!({ "type": "text-end", "id": "t" }));
    let data = chunks.iter().enumerate().map(|(n, chunk)| NewRecord::data(chunk, &PartId::new(format!("p{turn}-{n}"))));
    let cursor = Header::new(SESSION_IN_EVENT_ID, turn.to_string());
    let end = NewRecord::control(control::TURN_COMPLETE, [cursor]);
    data.chain([end]).chain(boundary.map(NewRecord::trim)).collect()
}
