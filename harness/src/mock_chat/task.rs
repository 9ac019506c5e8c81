//! [`run_in_mock_task_context`]: any task as a run of its own, in memory, driven by what the test does beside it (A-263).

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use turnkeep_agent::{Agent, CustomRun, HookError, Locals, RunContext};
use turnkeep_protocol::session_api::CloseSession;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, PartId, Record, SeqNum, UiMessage, UiMessageChunk};

use super::failure::in_words;
use super::journal::{Listener, chunk};
use super::stage::Stage;
use super::{At, MockChat};
use crate::model::MockLanguageModel;

/// How long, in virtual time, a task may take.
const TASK_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The task's id, unless its context is told otherwise.
const TASK: &str = "mock-task";

/// Chooses what a task is told and given; the defaults suit most.
#[must_use = "a context does nothing before a task runs in it"]
pub struct MockTaskContext {
    change: Box<dyn FnOnce(MockChat) -> MockChat + Send>,
    model: MockLanguageModel,
}

impl MockTaskContext {
    /// Begins with the defaults: chat `test-chat`, ids that are the same in every test, attempt 1, a model without a script.
    pub fn new() -> Self {
        Self { change: Box::new(|chat| chat), model: MockLanguageModel::new() }
    }

    /// Lets the task be told something else of its run than what is so.
    pub fn ctx(self, change: impl Fn(&mut RunContext) + Send + Sync + 'static) -> Self {
        self.with(|chat| chat.task_context(change))
    }

    /// Names the chat.
    pub fn chat_id(self, chat_id: impl Into<String> + Send + 'static) -> Self {
        self.with(|chat| chat.chat_id(chat_id))
    }

    /// Adds a field to the run's payload.
    pub fn payload(self, key: impl Into<String> + Send + 'static, value: Value) -> Self {
        self.with(|chat| chat.payload(key, value))
    }

    /// Fills the run's locals before the task begins.
    pub fn setup_locals(self, set_up: impl Fn(&Locals) + Send + Sync + 'static) -> Self {
        self.with(|chat| chat.setup_locals(set_up))
    }

    /// Gives the task a model.
    pub fn model(mut self, model: &MockLanguageModel) -> Self {
        self.model = model.clone();
        self
    }

    fn with(mut self, change: impl FnOnce(MockChat) -> MockChat + Send + 'static) -> Self {
        let before = self.change;
        self.change = Box::new(move |chat| change(before(chat)));
        self
    }
}

impl Default for MockTaskContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MockTaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockTaskContext").finish_non_exhaustive()
    }
}

/// The task, until it runs; and what came of it.
struct Once<F, T> {
    task: Mutex<Option<F>>,
    result: Mutex<Option<Result<T, HookError>>>,
    stage: OnceLock<Weak<Stage>>,
}

/// Runs a task in a run of its own and gives what it gives: the session server, the worker and the channels are the real ones, in memory.
///
/// The task gets the run as a custom agent's code does, and drivers: what a person, a page or the platform would do to it meanwhile.
///
/// ```
/// use turnkeep_agent::{CustomRun, WaitOptions};
/// use turnkeep_harness::{MockTaskContext, MockTaskDrivers, block_on, run_in_mock_task_context};
///
/// async fn first_words(run: &mut CustomRun) -> Result<String, turnkeep_agent::HookError> {
///     let payload = run.next_message(WaitOptions::new()).await?;
///     run.write_turn_complete(None).await?;
///     Ok(payload.and_then(|payload| payload.message).map(|message| message.text()).unwrap_or_default())
/// }
///
/// block_on(async {
///     let said = run_in_mock_task_context(MockTaskContext::new(), |mut run: CustomRun, drivers: MockTaskDrivers| async move {
///         drivers.send_message("Hello").await;
///         first_words(&mut run).await
///     });
///     assert_eq!(said.await.unwrap(), "Hello");
/// });
/// ```
///
/// # Errors
///
/// What the task fails with; or how its run ended, when the task did not come to its end.
///
/// # Panics
///
/// When the run cannot be set up.
pub async fn run_in_mock_task_context<T, F, Fut>(context: MockTaskContext, task: F) -> Result<T, HookError>
where
    T: Send + 'static,
    F: FnOnce(CustomRun, MockTaskDrivers) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, HookError>> + Send + 'static,
{
    let once = Arc::new(Once { task: Mutex::new(Some(task)), result: Mutex::new(None), stage: OnceLock::new() });
    let (change, agent) = (context.change, agent(once.clone()));
    // Held before the code begins: its drivers need the stage, which is there by then.
    let chat = change(MockChat::new(agent)).hold(At::booted()).start(&context.model).await;
    once.stage.set(Arc::downgrade(&chat.stage)).expect("it is set once");
    drop(chat.first_barrier(0));
    let session = chat.session().expect("a chat that is open has a session");
    // The first attempt is the task; a run that crashes is tried again, which is not looked at.
    let over = chat.stage.progress.until(|runs| runs.first_exit(&session).map(|exit| exit.outcome.clone()));
    let ended = tokio::time::timeout(TASK_LIMIT, over).await;
    chat.kill();
    let result = once.result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match result {
        Some(result) => result,
        None => match ended {
            Ok(outcome) => Err(format!("the task did not come to its end: its run {}", in_words(&outcome)).into()),
            Err(_) => Err(format!("the task did not end within {TASK_LIMIT:?}").into()),
        },
    }
}

/// Makes the agent whose code is the task.
fn agent<T, F, Fut>(once: Arc<Once<F, T>>) -> Agent
where
    T: Send + 'static,
    F: FnOnce(CustomRun, MockTaskDrivers) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, HookError>> + Send + 'static,
{
    let custom = Agent::custom(TASK, move |run: CustomRun| {
        let once = once.clone();
        async move {
            let task = once.task.lock().unwrap_or_else(PoisonError::into_inner).take();
            let task = task.ok_or("a task runs once")?;
            let drivers = MockTaskDrivers {
                ctx: run.ctx.clone(),
                locals: run.chat.locals().clone(),
                chat_id: run.chat.id().to_owned(),
                stage: once.stage.get().cloned().unwrap_or_default(),
                cleared: Arc::default(),
            };
            let result = task(run, drivers).await;
            *once.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            Ok(())
        }
    });
    custom.into()
}

/// What the world around a task does to it, and what it sees of it; clones are the same drivers.
#[derive(Clone)]
pub struct MockTaskDrivers {
    ctx: RunContext,
    locals: Locals,
    chat_id: String,
    stage: Weak<Stage>,
    /// How many records of `out` were cleared away.
    cleared: Arc<Mutex<usize>>,
}

impl MockTaskDrivers {
    /// Gives what the task is told of its run.
    pub fn ctx(&self) -> &RunContext {
        &self.ctx
    }

    /// Gives the run's locals.
    pub fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Sends an input to the session; gives its place on `in`.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn send(&self, input: ChatInputChunk) -> Option<SeqNum> {
        let stage = self.stage();
        let part_id = PartId::new(stage.part_id());
        let sent = stage.sessions.append(&self.chat_id, &input, &part_id).await;
        sent.unwrap_or_else(|error| panic!("the session refused {input:?}: {error}"))
    }

    /// Sends a person's message.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn send_message(&self, text: impl Into<String>) -> Option<SeqNum> {
        let message = UiMessage::user(format!("user-{}", self.stage().part_id()), text);
        self.send(ChatInputChunk::message(ChatTaskWirePayload::submit(&self.chat_id, message))).await
    }

    /// Closes the session: nothing comes any more.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn close(&self) {
        let closed = self.stage().sessions.close(&self.chat_id, &CloseSession::default()).await;
        closed.unwrap_or_else(|error| panic!("the session cannot be closed: {error}"));
    }

    /// Gives the chunks that the task has written since the last [`MockTaskDrivers::clear`], as far as they are durable.
    pub fn chunks(&self) -> Vec<UiMessageChunk> {
        self.all().iter().filter_map(chunk).collect()
    }

    /// Gives the records that the task has written since the last [`MockTaskDrivers::clear`], control records and commands included.
    pub fn all(&self) -> Vec<Record> {
        let cleared = *self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        self.stage().journal.look(|sessions| {
            let kept = sessions.chat(&self.chat_id);
            kept.and_then(|kept| kept.out.get(cleared..)).unwrap_or_default().to_vec()
        })
    }

    /// Forgets what was written so far.
    pub fn clear(&self) {
        let n_out = self.stage().journal.look(|sessions| sessions.chat(&self.chat_id).map_or(0, |kept| kept.out.len()));
        *self.cleared.lock().unwrap_or_else(PoisonError::into_inner) = n_out;
    }

    /// Calls `hears` with every record from now on, as soon as it is durable.
    pub fn on_write(&self, hears: impl Fn(&Record) + Send + Sync + 'static) {
        let listener = Listener(Arc::new(hears));
        self.stage().journal.change(|sessions| sessions.listen(&self.chat_id, listener));
    }

    /// Waits until the task sleeps in a durable wait.
    pub async fn until_suspended(&self) {
        let stage = self.stage();
        let session = stage.session(&self.chat_id).expect("a task that runs has a session");
        let run = stage.progress.look(|runs| runs.attempt(&session).map(|attempt| attempt.run.clone()));
        let run = run.expect("a task that runs has a run");
        stage.journal.until(|sessions| sessions.is_asleep(&run).then_some(())).await;
    }

    fn stage(&self) -> Arc<Stage> {
        self.stage.upgrade().expect("drivers are used while the task runs")
    }
}

impl fmt::Debug for MockTaskDrivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockTaskDrivers").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}
