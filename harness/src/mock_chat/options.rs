//! [`MockChat`]: the choices of an offline chat, each with its default.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use turnkeep_agent::{Agent, Locals, RunContext};
use turnkeep_host::Host;
use turnkeep_model::LanguageModel;
use turnkeep_protocol::{ChatSnapshot, JsonObject, TaskId, UiMessage, UiMessageChunk};

use super::barrier::At;
use super::faults::Faults;
use super::progress::ToldContext;
use super::seeds::Seeds;
use super::tokens::TokenAnswer;
use super::{MockChatAgent, SetupError};
use crate::model::MockLanguageModel;

/// The chat's id when the test chooses none, and the session's external id.
pub(super) const CHAT: &str = "test-chat";

/// The shape of a chat's first boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MockMode {
    /// The run boots before the first message and waits for it, after `on_preload`.
    #[default]
    Preload,
    /// The run boots for a first message; it has one when the test gives it ([`MockChat::first_message`]), and waits otherwise.
    SubmitMessage,
    /// The run boots for a head start and waits for its signal: the test is the warm server ([`MockChatAgent::send_head_start`],
    /// [`MockChatAgent::stream_first_step`], [`MockChatAgent::send_handover`]).
    HandoverPrepare,
    /// A run before this one served the session and has ended; what it left is what the test seeds.
    Continuation,
}

/// Where the session server is.
#[derive(Clone)]
pub(super) enum Where {
    /// In memory, on a machine of its own.
    Offline { seed: u64 },
    /// In memory, on a machine of the test's.
    On(Host),
    /// Somewhere else: the chat only brings its worker and its page.
    Remote { host: Host, base_url: String, secret_key: String },
}

/// Chooses what an offline chat is like; then [`MockChat::start`].
#[must_use = "nothing starts before `start`"]
pub struct MockChat {
    pub(super) agents: Vec<Agent>,
    pub(super) task: TaskId,
    pub(super) chat_id: String,
    pub(super) client_data: Option<JsonObject>,
    pub(super) mode: Option<MockMode>,
    pub(super) first_message: Option<UiMessage>,
    pub(super) head_start_messages: Option<Vec<UiMessage>>,
    pub(super) previous_run_id: Option<String>,
    pub(super) payload: JsonObject,
    pub(super) seeds: Seeds,
    pub(super) at: Where,
    pub(super) lease: Duration,
    pub(super) worker_id: String,
    pub(super) version: String,
    pub(super) model: Option<Arc<dyn LanguageModel>>,
    pub(super) faults: Option<Faults>,
    pub(super) tokens: Vec<TokenAnswer>,
    pub(super) holds: Vec<At>,
    pub(super) told: ToldContext,
}

impl MockChat {
    /// Begins a chat with `agent`.
    pub fn new(agent: impl Into<Agent>) -> Self {
        let agent = agent.into();
        let task = agent.id().clone();
        Self::cast([agent], task.as_str())
    }

    /// Begins a chat with the agent that has this id among several, all served by one worker.
    ///
    /// An id that none of them has fails [`MockChat::try_start`] (AA-1).
    pub fn cast(agents: impl IntoIterator<Item = Agent>, agent_id: &str) -> Self {
        Self {
            agents: agents.into_iter().collect(),
            task: TaskId::new(agent_id),
            chat_id: CHAT.to_owned(),
            client_data: None,
            mode: None,
            first_message: None,
            head_start_messages: None,
            previous_run_id: None,
            payload: JsonObject::new(),
            seeds: Seeds::default(),
            at: Where::Offline { seed: 1 },
            lease: Duration::from_secs(10),
            worker_id: "mock-worker".to_owned(),
            version: "1".to_owned(),
            model: None,
            faults: None,
            tokens: Vec::new(),
            holds: Vec::new(),
            told: ToldContext::default(),
        }
    }

    /// Names the chat; `test-chat` by default.
    pub fn chat_id(mut self, chat_id: impl Into<String>) -> Self {
        self.chat_id = chat_id.into();
        self
    }

    /// Sends this client data with the boot and with every message; a JSON object.
    ///
    /// # Panics
    ///
    /// When it is no object.
    pub fn client_data(mut self, client_data: Value) -> Self {
        let Value::Object(client_data) = client_data else {
            panic!("client data is an object, not {client_data}");
        };
        self.client_data = Some(client_data);
        self
    }

    /// Chooses the shape of the first boot; [`MockMode::Preload`] by default, [`MockMode::Continuation`] when something is seeded.
    pub fn mode(mut self, mode: MockMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Boots the run with a first message; [`MockChatAgent::first_turn`] gives its answer.
    pub fn first_message(mut self, message: UiMessage) -> Self {
        self.mode.get_or_insert(MockMode::SubmitMessage);
        self.first_message = Some(message);
        self
    }

    /// Boots the run for a head start with this history.
    pub fn head_start_messages(mut self, messages: impl IntoIterator<Item = UiMessage>) -> Self {
        self.mode.get_or_insert(MockMode::HandoverPrepare);
        self.head_start_messages = Some(messages.into_iter().collect());
        self
    }

    /// Boots the run as one that takes over from a run that has ended.
    pub fn continuation(self) -> Self {
        self.mode(MockMode::Continuation)
    }

    /// Names the run that has ended; the server's own name by default.
    pub fn previous_run_id(mut self, run_id: impl Into<String>) -> Self {
        self.mode.get_or_insert(MockMode::Continuation);
        self.previous_run_id = Some(run_id.into());
        self
    }

    /// Lets hooks and the author's code be told something else of their run than what is so: another id, another attempt.
    ///
    /// The run itself is what it is: to have a second attempt or a run that follows another, use [`MockChatAgent::restart`].
    pub fn task_context(mut self, change: impl Fn(&mut RunContext) + Send + Sync + 'static) -> Self {
        self.told = ToldContext(Some(Arc::new(change)));
        self
    }

    /// Adds a field to the run's payload, such as `idleTimeoutInSeconds`.
    pub fn payload(mut self, key: impl Into<String>, value: Value) -> Self {
        self.payload.insert(key.into(), value);
        self
    }

    /// Fills the run's locals before it boots, also those of later runs (AA-8).
    pub fn setup_locals(mut self, set_up: impl Fn(&Locals) + Send + Sync + 'static) -> Self {
        let set_up = Arc::new(set_up);
        let agents = self.agents.into_iter().map(|agent| {
            let set_up = set_up.clone();
            agent.setup_locals(move |locals| set_up(locals))
        });
        self.agents = agents.collect();
        self
    }

    /// Leaves a chat snapshot with these messages, as after a turn: their inputs are on `in`, the turn's boundary is on `out`.
    pub fn seed_snapshot(mut self, messages: impl IntoIterator<Item = UiMessage>) -> Self {
        self.seeds.snapshot = Some(messages.into_iter().collect());
        self.seeds.raw_snapshot = None;
        self.seeded()
    }

    /// Leaves just this chat snapshot, whatever it says, in the place of one seeded before.
    pub fn snapshot(mut self, snapshot: ChatSnapshot) -> Self {
        self.seeds.raw_snapshot = Some(snapshot);
        self.seeds.snapshot = None;
        self.seeded()
    }

    /// Leaves chunks on `out` behind the snapshot. Only a `finish` closes an answer, and nothing closes a turn.
    pub fn seed_session_out_tail(mut self, chunks: impl IntoIterator<Item = UiMessageChunk>) -> Self {
        self.seeds.out_tail.extend(chunks);
        self.seeded()
    }

    /// Leaves an answer on `out` that was cut: its chunks, without a finish.
    pub fn seed_session_out_partial(mut self, message: UiMessage) -> Self {
        self.seeds.out_partial = Some(message);
        self.seeded()
    }

    /// Leaves messages on `in` that nobody has answered.
    pub fn seed_session_in_tail(mut self, messages: impl IntoIterator<Item = UiMessage>) -> Self {
        self.seeds.in_tail.extend(messages);
        self.seeded()
    }

    fn seeded(mut self) -> Self {
        self.mode.get_or_insert(MockMode::Continuation);
        self
    }

    /// Draws ids, tokens and jitter from this seed; 1 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.at = Where::Offline { seed };
        self
    }

    /// Runs everything on this machine, beside whatever else the test serves there.
    pub fn on(mut self, host: Host) -> Self {
        self.at = Where::On(host);
        self
    }

    /// Talks to a session server that runs elsewhere; worker and page are still the test's own.
    ///
    /// What the test cannot see there is then missing: seeds need a session that is new, [`MockChatAgent::all_raw_chunks`] has what the
    /// page's own stream has shown, and a graceful end of a suspended run takes as long as the server takes.
    pub fn server(mut self, host: Host, base_url: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.at = Where::Remote { host, base_url: base_url.into(), secret_key: secret_key.into() };
        self
    }

    /// Sets how long the server waits for a sign of life from a worker, 10 s by default; runs give one four times as often.
    ///
    /// A server that runs elsewhere has its own: say here what it is.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Names the worker; each restart adds a number. `mock-worker` by default.
    pub fn worker_id(mut self, worker_id: impl Into<String>) -> Self {
        self.worker_id = worker_id.into();
        self
    }

    /// Sets the version of the agents' code; `1` by default.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Serves the agents with a model of another kind; the script then counts for nothing.
    pub fn model(mut self, model: Arc<dyn LanguageModel>) -> Self {
        self.model = Some(model);
        self
    }

    /// Puts `faults` between the worker and the server.
    pub fn faults(mut self, faults: &Faults) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// Answers the page's next request for a token like this; after the last of them tokens are real.
    pub fn client_token(mut self, answer: TokenAnswer) -> Self {
        self.tokens.push(answer);
        self
    }

    /// Holds the first run at a place from before its boot; [`MockChatAgent::barrier`] gives the barrier.
    pub fn hold(mut self, at: At) -> Self {
        self.holds.push(at);
        self
    }

    /// Starts everything and waits until the first run has booted, failed to boot, or stands at a barrier.
    ///
    /// # Panics
    ///
    /// When the chat cannot be set up: says why.
    pub async fn start(self, model: &MockLanguageModel) -> MockChatAgent {
        match self.try_start(model).await {
            Ok(chat) => chat,
            Err(error) => panic!("{error}"),
        }
    }

    /// Does what [`MockChat::start`] does and gives what went wrong.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when no agent has the id, when a seed would not be read, or when the server refuses.
    pub async fn try_start(self, model: &MockLanguageModel) -> Result<MockChatAgent, SetupError> {
        MockChatAgent::set_up(self, model.clone()).await
    }

    /// Gives what the session's runs are told first (A-261, S-36).
    pub(super) fn base_payload(&self) -> Map<String, Value> {
        let mut payload = self.payload.clone();
        payload.insert("messages".to_owned(), Value::Array(Vec::new()));
        payload.insert("chatId".to_owned(), self.chat_id.clone().into());
        let trigger = match self.chosen_mode() {
            MockMode::Preload | MockMode::Continuation => "preload",
            MockMode::SubmitMessage => "submit-message",
            MockMode::HandoverPrepare => "handover-prepare",
        };
        payload.insert("trigger".to_owned(), trigger.into());
        if let Some(client_data) = &self.client_data {
            payload.insert("metadata".to_owned(), Value::Object(client_data.clone()));
        }
        if let Some(message) = &self.first_message {
            payload.insert("message".to_owned(), json!(message));
        }
        if let Some(messages) = &self.head_start_messages {
            payload.insert("headStartMessages".to_owned(), json!(messages));
        }
        payload
    }

    pub(super) fn chosen_mode(&self) -> MockMode {
        self.mode.unwrap_or_default()
    }
}
