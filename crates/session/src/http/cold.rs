//! What has left the core's memory: handlers ask the store for it and come back.
//!
//! The store is asked between two commands, so the world may have moved on; a command that can still not tell asks again.

use turnkeep_host::Timestamp;
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum};

use super::App;
use super::reply::Fail;
use crate::StorageError;
use crate::channel::HELPING;
use crate::core::{Cold, ColdPart, Core, DRAIN, Drained, Helping, Looked, Refused, RunLook, cancelled_in, shown};

/// How often a request looks into the store before it gives up: each time so much must have been written that the window, or what the
/// reader wanted, has moved on.
const MAX_LOOKS: usize = 8;

impl App {
    /// Runs a write that may be a duplicate: looks its part id up in the store for as long as the core cannot tell (D-6).
    pub(super) async fn write_once<T, F>(&self, part: Option<PartId>, command: F) -> Result<Result<T, Refused>, Fail>
    where
        T: Send + 'static,
        F: Fn(&mut Core, Timestamp, Option<&Looked>) -> Result<T, Refused> + Clone + Send + 'static,
    {
        let mut looked = None;
        for n_looks in 0..=MAX_LOOKS {
            let command = command.clone();
            let written = self.actor.call(move |core, now| command(core, now, looked.as_ref())).await?;
            match (written, &part) {
                (Err(Refused::ColdPart(_)), Some(_)) if n_looks == MAX_LOOKS => break,
                (Err(Refused::ColdPart(ColdPart { session, channel, up_to })), Some(part)) => {
                    let found = self.storage.part(session, channel, part.clone()).await?;
                    looked = Some(Looked { up_to, found });
                }
                (written, _) => return Ok(written),
            }
        }
        Ok(Err(Refused::Busy))
    }

    /// Runs a command that names a run: looks into the store when memory does not know it.
    pub(super) async fn with_run<T, F>(&self, command: F) -> Result<Result<T, Refused>, Fail>
    where
        T: Send + 'static,
        F: Fn(&mut Core, Timestamp, RunLook) -> Result<T, Refused> + Clone + Send + 'static,
    {
        let first = command.clone();
        match self.actor.call(move |core, now| first(core, now, RunLook::NotYet)).await? {
            Err(Refused::ColdRun(run)) => {
                let look = self.look_for(run).await?;
                Ok(self.actor.call(move |core, now| command(core, now, look)).await?)
            }
            answered => Ok(answered),
        }
    }

    /// A run that memory does not know has ended and is never removed from the store, so one look tells for good.
    async fn look_for(&self, run: RunId) -> Result<RunLook, StorageError> {
        let found = self.storage.run(run).await?;
        Ok(found.map_or(RunLook::Nothing, |run| RunLook::Found { cancelled_in: cancelled_in(&run) }))
    }

    /// Gives one helping of records from `next` on, from memory or from the store.
    pub(super) async fn helping(
        &self,
        url_id: &str,
        channel: ChannelName,
        next: SeqNum,
    ) -> Result<Result<Helping, Refused>, Fail> {
        for _ in 0..MAX_LOOKS {
            let url_id = url_id.to_owned();
            let read = self.actor.call(move |core, _| core.read(&url_id, channel, next)).await?;
            let Ok(Helping { cold: Some(cold), tail, ended, .. }) = read else { return Ok(read) };
            let mut records = self.storage.read(cold.session, channel, cold.from, HELPING).await?;
            // What came after the core was asked waits for its own bell, like the tail that is told with these.
            records.retain(|record| record.seq_num < cold.tail);
            // All of them may have been trimmed in between: then the reader goes on at what is left (D-7).
            if !records.is_empty() {
                return Ok(Ok(Helping { records, cold: None, tail, ended }));
            }
        }
        Ok(Err(Refused::Busy))
    }

    /// Gives everything after the cursor, commands left out, from memory or from the store (S-97, S-98).
    pub(super) async fn drain(
        &self,
        url_id: &str,
        channel: ChannelName,
        mut cursor: Option<SeqNum>,
    ) -> Result<Result<Vec<DrainedRecord>, Refused>, Fail> {
        for _ in 0..MAX_LOOKS {
            let url_id = url_id.to_owned();
            let cold = match self.actor.call(move |core, _| core.drain(&url_id, channel, cursor)).await? {
                Ok(Drained::Cold(cold)) => cold,
                Ok(Drained::Here(records)) => return Ok(Ok(records)),
                Err(refused) => return Ok(Err(refused)),
            };
            let records = self.cold_records(channel, cold).await?;
            let visible = shown(&records);
            if !visible.is_empty() {
                return Ok(Ok(visible));
            }
            // Nothing but commands, or trimmed in between: an empty answer would say that there is nothing.
            cursor = records.last().map(|record| record.seq_num).or(cursor);
        }
        Ok(Err(Refused::Busy))
    }

    async fn cold_records(&self, channel: ChannelName, cold: Cold) -> Result<Vec<Record>, StorageError> {
        let mut records = self.storage.read(cold.session, channel, cold.from, DRAIN).await?;
        records.retain(|record| record.seq_num < cold.tail);
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
