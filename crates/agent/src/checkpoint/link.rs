//! [`GatedLink`]: a link with a checkpoint at every write and every read of the history.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;
use turnkeep_protocol::run_api::{Mark, WaitOutcome};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, ChatSnapshot, Envelope, InputRecord, JsonObject, NewRecord, RecordKind, SeqNum};

use super::{Gate, Place};
use crate::error::Error;
use crate::link::{DurableWait, Link, SnapshotRead};

/// Writes `out` record by record while records are watched, so that each has its own before and after; the rest is passed on.
pub(crate) struct GatedLink {
    inner: Arc<dyn Link>,
    gate: Gate,
}

impl GatedLink {
    pub(crate) fn new(inner: Arc<dyn Link>, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

/// Names a record by what it says: a chunk's type, a control's kind, a command's name.
fn name(record: &NewRecord) -> String {
    match record.kind() {
        RecordKind::Control(kind) | RecordKind::Command(kind) => kind.to_owned(),
        RecordKind::Data => {
            let envelope: Option<Envelope> = serde_json::from_str(&record.body).ok();
            let chunk = envelope.map(Envelope::unpacked).unwrap_or_default();
            chunk.get("type").and_then(Value::as_str).unwrap_or("data").to_owned()
        }
    }
}

impl Link for GatedLink {
    fn append_out(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>> {
        if !self.gate.watches_records() {
            return self.inner.append_out(records);
        }
        Box::pin(async move {
            let mut seqs = Vec::with_capacity(records.len());
            for record in records {
                let name = name(&record);
                self.gate.reach(Place::BeforeRecord(name.clone())).await;
                seqs.extend(self.inner.append_out(vec![record]).await?);
                self.gate.reach(Place::AfterRecord(name)).await;
            }
            Ok(seqs)
        })
    }

    fn drain(&self, channel: ChannelName, after: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>> {
        Box::pin(async move {
            self.gate.reach(Place::BeforeRead(channel.as_str())).await;
            self.inner.drain(channel, after).await
        })
    }

    fn follow_in(&self, after: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>> {
        self.inner.follow_in(after)
    }

    fn read_snapshot(&self) -> BoxFuture<'_, SnapshotRead> {
        Box::pin(async move {
            self.gate.reach(Place::BeforeRead("snapshot")).await;
            self.inner.read_snapshot().await
        })
    }

    fn write_snapshot(&self, snapshot: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>> {
        let snapshot = snapshot.clone();
        Box::pin(async move {
            self.gate.reach(Place::BeforeSnapshot).await;
            let stored = self.inner.write_snapshot(&snapshot).await;
            self.gate.reach(Place::AfterSnapshot).await;
            stored
        })
    }

    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.mark(mark)
    }

    fn write_metadata(&self, metadata: JsonObject) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.write_metadata(metadata)
    }

    fn wait(&self, wait: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>> {
        Box::pin(async move {
            self.gate.reach(Place::BeforeSuspend).await;
            self.inner.wait(wait).await
        })
    }

    fn mint_token(&self) -> BoxFuture<'_, Option<String>> {
        self.inner.mint_token()
    }
}
