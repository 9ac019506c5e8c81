//! [`MockChatAgent`]: an author's agent in a test of a few lines, with no network.
//!
//! Behind it run the real session server, the real worker with the real turn loop, and the real client transport; they talk
//! HTTP over an in-memory network. With `#[tokio::test(start_paused = true)]` all waiting is virtual.

mod barrier;
mod failure;
mod faults;
mod journal;
mod leaks;
mod lifecycle;
mod machine;
mod members;
mod options;
mod progress;
mod readers;
mod restart;
mod seeds;
mod sending;
mod stage;
mod task;
mod tokens;
mod turn;
mod warm;
mod wire;

use std::fmt;
use std::sync::Arc;

use turnkeep_agent::Agent;
use turnkeep_client::Transport;
use turnkeep_host::Host;
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};
use turnkeep_protocol::{JsonObject, TaskId, UiMessage};

pub use barrier::{At, Barrier};
pub use failure::{SendError, SendFailure, SetupError};
pub use faults::{Fault, FaultPoint, Faults};
pub use leaks::Leaks;
pub use lifecycle::MockOutcome;
pub use options::{MockChat, MockMode};
pub use restart::Restart;
pub use sending::{Posted, Sending};
pub use stage::{MOCK_SECRET_KEY, MOCK_SESSION_URL};
pub use task::{MockTaskContext, MockTaskDrivers, run_in_mock_task_context};
pub use tokens::TokenAnswer;
pub use turn::MockTurn;
pub use warm::Handover;

use crate::model::MockLanguageModel;
use sending::History;
use stage::Stage;
use tokens::Tokens;

/// An agent under test, and one chat with it.
///
/// ```
/// use turnkeep_agent::{Agent, TurnInput};
/// use turnkeep_harness::model::{MockLanguageModel, say};
/// use turnkeep_harness::{At, MockChat, Restart, block_on};
///
/// block_on(async {
///     let agent = Agent::new("echo", |turn: TurnInput| async move { Ok(turn.stream_text()) });
///     let model = MockLanguageModel::new().step([say("Half of")]).step([say("All of it.")]);
///     let mut chat = MockChat::new(agent).chat_id("chat-1").start(&model).await;
///
///     // The worker dies between the answer's first delta and its end; the next attempt answers the message that is still owed.
///     let barrier = chat.barrier(At::before_record("text-end"));
///     let posted = chat.send("Tell me").begin().await;
///     barrier.reached().await;
///     chat.restart(Restart::Crash).await;
///     drop(barrier);
///
///     assert_eq!(posted.turn().await.text(), "Half of");
///     chat.send("And now?").await.assert_text("All of it.");
///     chat.finish().await;
/// });
/// ```
pub struct MockChatAgent {
    stage: Arc<Stage>,
    chat_id: String,
    /// How the chat's session is made, should it not be there.
    create: CreateSession,
    transport: Transport,
    model: MockLanguageModel,
    history: History,
    tokens: Tokens,
    /// Seeds that a boot must read: `snapshot`, `out`, `in`.
    seeded: Vec<&'static str>,
    first_turn: Option<Posted>,
    n_sent: usize,
    /// How many barriers [`MockChat::hold`] put up.
    n_first_holds: usize,
    is_closed: bool,
    /// Counts the chats of the stage, which has one of its own.
    ticket: Arc<()>,
}

impl MockChatAgent {
    /// Serves `agent` with `model` on a machine of its own, and opens a chat with it; [`MockChat`] has more to choose from.
    ///
    /// # Panics
    ///
    /// When the chat cannot be set up.
    pub async fn start(agent: impl Into<Agent>, model: &MockLanguageModel) -> Self {
        MockChat::new(agent).start(model).await
    }

    /// Serves `agent` on a given machine, beside whatever else the test runs there.
    ///
    /// # Panics
    ///
    /// When another agent is served on that machine already.
    pub async fn start_on(host: Host, agent: impl Into<Agent>, model: &MockLanguageModel) -> Self {
        MockChat::new(agent).on(host).start(model).await
    }

    /// Gives the chat's id.
    pub fn chat_id(&self) -> &str {
        &self.chat_id
    }

    /// Gives the conversation as the page knows it.
    pub fn messages(&self) -> Vec<UiMessage> {
        self.history().clone()
    }

    /// Gives the model's script and what was asked of it.
    pub fn model(&self) -> &MockLanguageModel {
        &self.model
    }

    /// Gives the page's transport, for what a page does beyond this type.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Gives what went wrong without ending a run.
    pub fn warnings(&self) -> Vec<String> {
        self.stage.warnings()
    }
}

impl fmt::Debug for MockChatAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockChatAgent").field("chat_id", &self.chat_id).finish_non_exhaustive()
    }
}

/// Asks for a chat's session as an author's server does (C-217).
pub(crate) fn creation(task_identifier: TaskId, chat_id: &str, base_payload: JsonObject) -> CreateSession {
    CreateSession {
        kind: "chat.agent".to_owned(),
        task_identifier,
        trigger_config: TriggerConfig {
            base_payload,
            options: RunOptions { tags: Some(vec![format!("chat:{chat_id}")]), ..RunOptions::default() },
            ..TriggerConfig::default()
        },
        external_id: Some(chat_id.to_owned()),
        tags: None,
        metadata: None,
        expires_at: None,
    }
}
