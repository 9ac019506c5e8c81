//! The life of a chat's runs: set-up, suspend, time, end.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use turnkeep_client::{StartRequest, Transport};
use turnkeep_protocol::run_api::RunOutcome;
use turnkeep_protocol::session_api::{CloseSession, CreateSession};
use turnkeep_protocol::{RunId, SeqNum, SessionId, TaskId, UiMessage};

use super::barrier::{Barrier, Hold};
use super::progress::{Attempt, Runs};
use super::restart::CANCELLED;
use super::sending::{From, Posted};
use super::stage::Stage;
use super::tokens::{TokenAnswer, Tokens};
use super::{At, MockChat, MockChatAgent, MockMode, SetupError, creation};
use crate::model::MockLanguageModel;

/// How long, in virtual time, a run may take to boot, to suspend or to end.
const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long, in virtual time, a run may take to end when its session is closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(3600);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MockOutcome {
    /// By its own will.
    Ok,
    /// By a failure or a crash, with its text.
    Error(String),
    /// From outside.
    Cancelled,
}

impl MockChatAgent {
    pub(super) async fn set_up(options: MockChat, model: MockLanguageModel) -> Result<Self, SetupError> {
        let mode = options.chosen_mode();
        options.seeds.check(mode)?;
        let language_model = options.model.clone().unwrap_or_else(|| Arc::new(model.clone()));
        let stage = Arc::new(Stage::set(&options, language_model).await?);
        stage.progress.change(|runs| runs.told.clone_from(&options.told));
        let tokens = Tokens::new(options.tokens.clone());
        let create = creation(options.task.clone(), &options.chat_id, options.base_payload());
        let transport = connect(&stage, &create, &tokens);
        let mut chat = Self {
            ticket: stage.tickets.clone(),
            stage,
            chat_id: options.chat_id.clone(),
            create,
            transport,
            model,
            history: Arc::default(),
            tokens,
            seeded: options.seeds.kinds(),
            first_turn: None,
            n_sent: 0,
            n_first_holds: options.holds.len(),
            is_closed: false,
        };
        for at in &options.holds {
            chat.hold(at.clone(), None);
        }
        if mode == MockMode::Continuation {
            chat.seed(&options).await?;
        }
        chat.stage.start_worker();
        // A head start begins with its handler.
        if mode != MockMode::HandoverPrepare || options.head_start_messages.is_some() {
            chat.open(options.first_message.as_ref()).await?;
        }
        Ok(chat)
    }

    /// Makes a chat beside this one, not opened yet.
    pub(super) fn neighbour(&self, chat_id: &str) -> Self {
        let mut create = self.create.clone();
        create.external_id = Some(chat_id.to_owned());
        let config = &mut create.trigger_config;
        config.options.tags = Some(vec![format!("chat:{chat_id}")]);
        for of_the_first in ["message", "headStartMessages"] {
            config.base_payload.shift_remove(of_the_first);
        }
        config.base_payload.insert("chatId".to_owned(), chat_id.into());
        config.base_payload.insert("trigger".to_owned(), "preload".into());
        let tokens = Tokens::default();
        Self {
            ticket: self.ticket.clone(),
            stage: self.stage.clone(),
            chat_id: chat_id.to_owned(),
            transport: connect(&self.stage, &create, &tokens),
            create,
            model: self.model.clone(),
            history: Arc::default(),
            tokens,
            seeded: Vec::new(),
            first_turn: None,
            n_sent: 0,
            n_first_holds: 0,
            is_closed: false,
        }
    }

    /// Creates or finds the session and waits for its run.
    pub(super) async fn open(&mut self, first_message: Option<&UiMessage>) -> Result<(), SetupError> {
        let from = From::now(&self.stage, &self.chat_id, format!("the first message of chat {}", self.chat_id));
        let started = self.transport.start(&self.chat_id).await;
        started.map_err(|error| SetupError::refused("the session", error))?;
        self.learn_session().await?;
        if let Some(message) = first_message {
            self.history().push(message.clone());
            let stream = self.transport.reconnect_as_owner(&self.chat_id);
            let posted = Posted::new(self.stage.clone(), from, stream, Some(SeqNum::ZERO), self.history.clone());
            self.first_turn = Some(posted);
        }
        self.until_booted(0).await;
        Ok(())
    }

    pub(super) fn history(&self) -> MutexGuard<'_, Vec<UiMessage>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the session's id, which a server elsewhere must be asked for.
    pub(super) async fn learn_session(&self) -> Result<SessionId, SetupError> {
        if let Some(session) = self.stage.session(&self.chat_id) {
            return Ok(session);
        }
        let item = self.stage.sessions.retrieve(&self.chat_id).await;
        let session = item.map_err(|error| SetupError::refused("the session", error))?.id.clone();
        self.stage.journal.change(|sessions| sessions.learn(&self.chat_id, session.clone()));
        self.stage.follow(&self.chat_id, session.clone());
        Ok(session)
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.stage.session(&self.chat_id)
    }

    /// Waits until a run has booted after `since`, has failed to, or stands at a barrier.
    pub(super) async fn until_booted(&self, since: u64) {
        let Some(session) = self.session() else { return };
        let booted = |runs: &Runs| {
            let is_new = runs.place_time(&session).is_some_and(|number| number > since);
            let settled = runs.attempt(&session).is_some_and(|attempt| attempt.is_booted || attempt.is_over);
            ((is_new && settled) || !runs.holding(&session).is_empty()).then_some(())
        };
        let booted = self.stage.progress.until(booted);
        if tokio::time::timeout(RUN_LIMIT, booted).await.is_err() {
            let last = self.stage.progress.look(Runs::last_places);
            panic!("no run of chat {} booted within {RUN_LIMIT:?}; the last places were {last}", self.chat_id);
        }
    }

    /// Gives the answer to the first message that the chat was booted with.
    ///
    /// # Panics
    ///
    /// When there was none, or it was asked for already.
    pub fn first_turn(&mut self) -> Posted {
        self.first_turn.take().expect("the chat was started with `first_message`, and its turn is asked for once")
    }

    /// Tells how the chat's newest run that has ended did so; none while its first run lives.
    pub fn outcome(&self) -> Option<MockOutcome> {
        let session = self.session()?;
        let exit = self.stage.progress.look(|runs| runs.last_exit(&session).cloned())?;
        Some(match &exit.outcome {
            RunOutcome::Completed => MockOutcome::Ok,
            RunOutcome::Failed { error } if exit.is_wished && error == CANCELLED => MockOutcome::Cancelled,
            other => MockOutcome::Error(super::failure::in_words(other)),
        })
    }

    /// Holds the next run that comes to a place, until the barrier is released or dropped.
    pub fn barrier(&self, at: At) -> Barrier {
        let index = self.hold(at.clone(), None);
        Barrier::new(index, at, self.stage.progress.clone())
    }

    /// Gives the barrier that [`MockChat::hold`] put up, counted from 0.
    ///
    /// # Panics
    ///
    /// When the chat was started with fewer.
    pub fn first_barrier(&self, nth: usize) -> Barrier {
        assert!(nth < self.n_first_holds, "the chat was started with fewer than {} barriers", nth + 1);
        let at = self.stage.progress.look(|runs| runs.holds[nth].at.clone());
        Barrier::new(nth, at, self.stage.progress.clone())
    }

    /// Lets the next run that comes to a place wait there for a while: a slow hook, a slow write.
    pub fn delay(&self, at: At, delay: Duration) {
        self.hold(at, Some(delay));
    }

    fn hold(&self, at: At, delay: Option<Duration>) -> usize {
        self.stage.progress.change(|runs| {
            runs.holds.push(Hold::new(at, delay));
            runs.holds.len() - 1
        })
    }

    /// Lets time pass: idle times, timeouts, whatever is due. Virtual under a paused clock.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until the run sleeps: its idle time passes, its suspend hook runs, its durable wait is registered.
    ///
    /// # Panics
    ///
    /// When the run does not come to sleep within a virtual day.
    pub async fn suspend(&self) {
        let session = self.session().expect("a chat that is open has a session");
        let asleep = async {
            let sleeps = |runs: &Runs| {
                let sleeps = matches!(runs.place(&session), Some(turnkeep_agent::Place::BeforeSuspend));
                sleeps.then(|| runs.attempt(&session).map(|attempt| attempt.run.clone())).flatten()
            };
            let run = self.stage.progress.until(sleeps).await;
            if !self.stage.is_remote {
                self.stage.journal.until(|sessions| sessions.is_asleep(&run).then_some(())).await;
            }
        };
        if tokio::time::timeout(RUN_LIMIT, asleep).await.is_err() {
            let last = self.stage.progress.look(Runs::last_places);
            panic!(
                "the run of chat {} did not suspend within {RUN_LIMIT:?}; the last places were {last}",
                self.chat_id
            );
        }
    }

    /// Tells whether the run sleeps.
    pub fn is_suspended(&self) -> bool {
        let run = self.run();
        run.is_some_and(|run| self.stage.journal.look(|sessions| sessions.is_asleep(&run.run)))
    }

    pub(super) fn run(&self) -> Option<Attempt> {
        let session = self.session()?;
        self.stage.progress.look(|runs| runs.attempt(&session).cloned())
    }

    /// Names the chat's newest run and its attempt, from 1.
    pub fn run_attempt(&self) -> Option<(RunId, u32)> {
        self.run().map(|attempt| (attempt.run, attempt.attempt))
    }

    /// Closes the session, lets the run end, and stays: what was stored can still be looked at.
    ///
    /// # Panics
    ///
    /// When the server refuses, or the run does not end within a virtual hour.
    pub async fn close(&mut self) {
        if let Err(why) = self.try_close().await {
            panic!("{why}");
        }
    }

    pub(super) async fn try_close(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        let Some(session) = self.session() else {
            return Ok(());
        };
        let closed = self.stage.sessions.close(&self.chat_id, &CloseSession::default()).await;
        closed.map_err(|error| format!("chat {} cannot be closed: {error}", self.chat_id))?;
        let over = self.stage.progress.until(|runs| {
            let is_over = runs.attempt(&session).is_none_or(|attempt| attempt.is_over);
            (is_over || !runs.holding(&session).is_empty()).then_some(())
        });
        let in_time = tokio::time::timeout(CLOSE_LIMIT, over).await;
        in_time.map_err(|_| {
            let last = self.stage.progress.look(Runs::last_places);
            format!("the run of chat {} did not end within {CLOSE_LIMIT:?}; the last places were {last}", self.chat_id)
        })
    }

    /// Ends server and worker at once, as a power failure would; nothing is checked.
    pub fn kill(self) {
        self.stage.kill();
    }
}

/// Makes the page's transport.
pub(super) fn connect(stage: &Arc<Stage>, create: &CreateSession, tokens: &Tokens) -> Transport {
    let (starter, renewer) = (Arc::downgrade(stage), Arc::downgrade(stage));
    let (first, later, made) = (tokens.clone(), tokens.clone(), create.clone());
    let page = create.external_id.clone().unwrap_or_default();
    let builder = Transport::builder(
        stage.host.clone(),
        stage.base.clone(),
        TaskId::new(stage.task.as_str()),
        Arc::new(move |request| {
            let (stage, answer) = (renewer.upgrade(), later.next());
            Box::pin(async move {
                let stage = stage.ok_or("the chat is over")?;
                match answer {
                    TokenAnswer::Real => Ok(stage.sessions.public_token(&request.chat_id).await?),
                    TokenAnswer::Text(token) => Ok(token),
                    TokenAnswer::Fail(why) => Err(why.into()),
                }
            })
        }),
    )
    .name(format!("page of {page}"))
    .start_session(Arc::new(move |_: StartRequest| {
        let (stage, answer, create) = (starter.upgrade(), first.next(), made.clone());
        Box::pin(async move {
            let stage = stage.ok_or("the chat is over")?;
            if let TokenAnswer::Fail(why) = answer {
                return Err(why.into());
            }
            let created = stage.sessions.create(&create).await?;
            Ok(match answer {
                TokenAnswer::Text(token) => token,
                _ => created.public_access_token,
            })
        })
    }));
    match create.trigger_config.base_payload.get("metadata").and_then(serde_json::Value::as_object) {
        Some(client_data) => builder.client_data(client_data.clone()).build(),
        None => builder.build(),
    }
}
