//! [`SessionInputs`]: the session that a task works for, on a real server in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use turnkeep_client::SessionsApi;
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Draws, Host, Task};
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::{CloseSession, CreateSession, CreatedSession, TriggerConfig};
use turnkeep_protocol::{ChannelName, ChatInputChunk, PartId, RecordKind, SeqNum, UiMessageChunk};
use turnkeep_session::{Change, Environment, MemoryDisk, MemoryStorage, Server, Storage, StorageError};

use super::{MockTask, TaskOutputs};

/// The environment's secret key.
pub(super) const SECRET_KEY: &str = "tr_dev_mockTask";
const SESSION_ADDR: &str = "session:80";

/// Under which id the outputs keep what agents write.
const OUT: &str = "out";

/// The length of a part id.
const PART_ID_CHARACTERS: usize = 21;

/// The session's `in`, played by the test.
///
/// Code under test that talks to sessions does so as in production: with the address and the key that are here.
#[derive(Debug)]
pub struct SessionInputs {
    chat_id: String,
    sessions: SessionsApi,
    part_ids: Draws,
}

impl SessionInputs {
    /// Makes the session. Its run waits for [`super::TaskDrivers::serve`].
    pub(super) async fn open(host: &Host, options: &MockTask) -> (Self, CreatedSession) {
        let sessions = SessionsApi::new(host.clone(), base(), SECRET_KEY);
        let mut base_payload = options.payload.clone();
        base_payload.insert("chatId".to_owned(), options.chat_id.clone().into());
        let create = CreateSession {
            kind: "chat.agent".to_owned(),
            task_identifier: options.task_id.clone(),
            trigger_config: TriggerConfig {
                base_payload: base_payload.into_iter().collect(),
                options: RunOptions { tags: Some(options.tags.clone()), ..RunOptions::default() },
                ..TriggerConfig::default()
            },
            external_id: Some(options.chat_id.clone()),
            tags: None,
            metadata: None,
            expires_at: None,
        };
        let created = sessions.create(&create).await.expect("a server in memory makes a session");
        let part_ids = host.entropy().child("mock-task").child("part-ids").draws();
        (Self { chat_id: options.chat_id.clone(), sessions, part_ids }, created)
    }

    /// Appends to `in`; gives the record's place.
    ///
    /// # Panics
    ///
    /// When the session is closed.
    pub async fn send(&self, input: ChatInputChunk) -> Option<SeqNum> {
        let part_id = PartId::new(self.part_ids.alphanumeric(PART_ID_CHARACTERS));
        let appended = self.sessions.append(&self.chat_id, &input, &part_id).await;
        appended.unwrap_or_else(|error| panic!("session input was refused: {error}"))
    }

    /// Closes the session: whoever waits for its `in` hears that nothing comes any more.
    ///
    /// # Panics
    ///
    /// When the server refuses, which it never does.
    pub async fn close(&self) {
        let closed = self.sessions.close(&self.chat_id, &CloseSession::default()).await;
        closed.unwrap_or_else(|error| panic!("the session could not be closed: {error}"));
    }

    /// Names the chat, by which the server knows the session too.
    pub fn chat_id(&self) -> &str {
        &self.chat_id
    }

    /// Gives the server's address on the context's machine.
    pub fn base_url(&self) -> BaseUrl {
        base()
    }

    /// Gives the environment's secret key.
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }
}

pub(super) fn base() -> BaseUrl {
    format!("http://{SESSION_ADDR}").parse().expect("a fixed address parses")
}

/// Starts the session server; what is stored on any `out` is told to `outputs`.
pub(super) async fn start_server(host: &Host, outputs: &TaskOutputs) -> Task {
    let storage = Telling { inner: MemoryStorage::open(Arc::new(MemoryDisk::new())), outputs: outputs.clone() };
    let server = Server::new(host.clone(), Arc::new(storage), Environment::new("env_mock_task", SECRET_KEY));
    let server = server.bind(SESSION_ADDR).await.expect("the machine is new, so its address is free");
    host.spawn(async move {
        let Err(error) = server.run().await;
        panic!("the session server failed: {error}");
    })
}

/// A storage that tells of the chunks it has made durable.
struct Telling {
    inner: MemoryStorage,
    outputs: TaskOutputs,
}

impl Storage for Telling {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Change>, StorageError>> {
        self.inner.load()
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let chunks: Vec<UiMessageChunk> = changes.iter().filter_map(chunk).collect();
            self.inner.commit(changes).await?;
            chunks.into_iter().for_each(|chunk| self.outputs.add(OUT, chunk));
            Ok(())
        })
    }
}

fn chunk(change: &Change) -> Option<UiMessageChunk> {
    match change {
        Change::Record { channel: ChannelName::Out, record, .. } if record.kind() == RecordKind::Data => {
            UiMessageChunk::from_value(record.envelope()?.unpacked())
        }
        _ => None,
    }
}
