//! The shell around the open chats: creates sessions, sends, reads answers, under deadlines.
//!
//! A run is never triggered here: creating a session starts its one run, and every later one is the server's affair (CR-35, C-229,
//! C-230).

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, sleep_until, timeout};
use turnkeep_client::{
    AgentChat, ChatStream, Error as ClientError, Outcome, SessionsApi, StartChat, StartSessionAction, random_chat_id,
};
use turnkeep_host::{Draws, Host};
use turnkeep_protocol::{ChannelName, JsonObject, RunId, SeqNum, SessionId, TaskId};

use crate::answer::Answer;
use crate::chats::{Chats, Start, Ticket};
use crate::error::ToolError;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::tools::{SendAgentMessage, StartAgentChat};
use crate::words;

/// How long creating a session may take, its retries included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long the last word of a chat may take (C-231: best effort).
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How long is waited for the name of the run that answered, which is decoration (C-234).
const RUN_LIMIT: Duration = Duration::from_secs(5);

/// All chats of one process.
pub(crate) struct Talk {
    host: Host,
    settings: Settings,
    chats: Mutex<Chats<Arc<Opened>>>,
    chat_ids: Draws,
}

/// What talks in one open chat.
struct Opened {
    chat: AgentChat,
    first_run: RunId,
}

/// A session that is there now.
struct Created {
    opened: Opened,
    session: SessionId,
    was_there: bool,
}

/// How the wait for an answer ended.
enum Waited {
    Ended,
    Closed,
    Failed(ClientError),
    Late,
    Cancelled,
}

/// Gives a chat back when its call is over, however it ends.
struct Held<'t> {
    talk: &'t Talk,
    chat_id: String,
    ticket: Ticket,
    give_back: GiveBack,
}

#[derive(Clone, Copy)]
enum GiveBack {
    Forget,
    Answered,
    Nothing,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        match self.give_back {
            GiveBack::Forget => self.talk.chats().forget(&self.chat_id, self.ticket),
            GiveBack::Answered => self.talk.chats().answered(&self.chat_id, self.ticket),
            GiveBack::Nothing => {}
        }
    }
}

impl Talk {
    pub(crate) fn new(host: Host, settings: Settings) -> Self {
        let chat_ids = host.entropy().child("mcp").child("chat-ids").draws();
        let chats = Mutex::new(Chats::new(settings.max_open_chats));
        Self { host, settings, chats, chat_ids }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Opens a chat (C-224, C-225, C-232).
    pub(crate) async fn start(&self, start: StartAgentChat) -> Result<String, ToolError> {
        let agent = self.listed(&start.agent_id)?;
        let chat_id = start.chat_id.unwrap_or_else(|| random_chat_id(&self.chat_ids));
        let ticket = match self.chats().start(&chat_id, &agent)? {
            Start::IsOpen => return Ok(words::is_open(&chat_id)),
            Start::Create(ticket) => ticket,
        };
        let mut held = Held { talk: self, chat_id: chat_id.clone(), ticket, give_back: GiveBack::Forget };
        let created = timeout(START_LIMIT, self.create(&chat_id, &agent, start.client_data, ticket)).await;
        let Created { opened, session, was_there } = match created {
            Err(_) => return Err(self.late(&chat_id, "started", START_LIMIT)),
            Ok(Err(cause)) => return Err(self.refused(&chat_id, "started", cause)),
            Ok(Ok(created)) => created,
        };
        let run = opened.first_run.clone();
        self.chats().started(&chat_id, ticket, Arc::new(opened));
        held.give_back = GiveBack::Nothing;
        Ok(words::started(&chat_id, session.as_str(), agent.as_str(), &run, was_there, start.preload))
    }

    /// Sends a message and waits for its own answer (C-226…C-230).
    pub(crate) async fn send(
        &self,
        send: &SendAgentMessage,
        progress: &mut Progress,
        cancelled: impl Future<Output = ()>,
    ) -> Result<String, ToolError> {
        let (chat_id, limit) = (&send.chat_id, self.settings.reply_limit);
        let (ticket, opened) = self.chats().send(chat_id)?;
        let mut held = Held { talk: self, chat_id: chat_id.clone(), ticket, give_back: GiveBack::Answered };
        let (mut cancelled, deadline) = (pin!(cancelled), Instant::now() + limit);
        let sent = tokio::select! {
            biased;
            () = &mut cancelled => return Err(ToolError::Cancelled { chat_id: chat_id.clone() }),
            () = sleep_until(deadline) => return Err(self.late(chat_id, "given the message", limit)),
            sent = opened.chat.send_message(&send.message) => sent,
        };
        let mut stream = sent.map_err(|cause| {
            held.give_back = keep_after(&cause);
            self.refused(chat_id, "given the message", cause)
        })?;
        let mut answer = Answer::new(self.settings.max_reply_chars);
        let waited = tokio::select! {
            biased;
            () = &mut cancelled => Waited::Cancelled,
            () = sleep_until(deadline) => Waited::Late,
            waited = read(&mut stream, &mut answer, progress) => waited,
        };
        let said = answer.render();
        match waited {
            Waited::Cancelled => {
                // Nobody waits for the rest: one stop is posted, and what still comes is not taken for a later answer.
                stream.abort();
                Err(ToolError::Cancelled { chat_id: chat_id.clone() })
            }
            Waited::Late => Ok(words::unfinished(&said, limit.as_secs(), &self.run_of(chat_id, &opened).await)),
            Waited::Closed => {
                held.give_back = GiveBack::Forget;
                let reason = opened.chat.session().and_then(|session| session.closed_reason);
                Err(ToolError::Closed { chat_id: chat_id.clone(), reason })
            }
            Waited::Failed(cause) => {
                held.give_back = keep_after(&cause);
                Err(ToolError::BrokenOff { chat_id: chat_id.clone(), cause: Box::new(cause), said })
            }
            Waited::Ended => match answer.failure() {
                Some(problem) => {
                    Err(ToolError::AgentFailed { chat_id: chat_id.clone(), problem: problem.to_owned(), said })
                }
                None => Ok(words::answered(&said, &self.run_of(chat_id, &opened).await)),
            },
        }
    }

    /// Ends the agent's run, best effort, and forgets the chat (C-231).
    pub(crate) async fn close(&self, chat_id: &str) -> Result<String, ToolError> {
        let opened = self.chats().close(chat_id)?;
        let was_told = timeout(CLOSE_LIMIT, opened.chat.close()).await.unwrap_or(false);
        Ok(words::closed(chat_id, was_told))
    }

    /// Creates or finds the session, which is all that starts a run (CR-35), and decides where reading begins.
    async fn create(
        &self,
        chat_id: &str,
        agent: &TaskId,
        client_data: Option<JsonObject>,
        ticket: Ticket,
    ) -> Result<Created, ClientError> {
        let mut start = StartChat::new(chat_id);
        let mut builder = AgentChat::builder(
            self.host.clone(),
            self.settings.base_url.clone(),
            &*self.settings.secret_key,
            agent.clone(),
            chat_id,
        );
        if let Some(client_data) = client_data {
            start = start.client_data(client_data.clone());
            builder = builder.client_data(client_data);
        }
        if let Some(branch) = &self.settings.branch {
            builder = builder.branch(branch);
        }
        let started = StartSessionAction::new(self.sessions(), agent.clone()).start(&start).await?;
        // What was said before this process knew the chat answers nobody here (C-232, CR-36).
        let cursor = if started.is_cached { self.tail(chat_id).await? } else { None };
        // A later opening of the same chat at the same place draws other part ids, or its messages would pass for re-sends (C-18).
        let chat = builder.session(cursor).name(format!("mcp/{}", ticket.0)).build();
        let opened = Opened { chat, first_run: started.run_id };
        Ok(Created { opened, session: started.session_id, was_there: started.is_cached })
    }

    /// Gives the place of the newest record that is there.
    async fn tail(&self, chat_id: &str) -> Result<Option<SeqNum>, ClientError> {
        let records = self.sessions().drain(chat_id, ChannelName::Out, None).await?;
        Ok(records.last().map(|record| record.seq_num))
    }

    /// Names the run that has the chat now: the server may have put another in the first one's place (C-229).
    async fn run_of(&self, chat_id: &str, opened: &Opened) -> RunId {
        let session = timeout(RUN_LIMIT, async { self.sessions().retrieve(chat_id).await }).await;
        let current = session.ok().and_then(Result::ok).and_then(|session| session.listed.current_run_id);
        current.unwrap_or_else(|| opened.first_run.clone())
    }

    fn sessions(&self) -> SessionsApi {
        let branch = self.settings.branch.as_ref().and_then(|branch| HeaderValue::from_str(branch).ok());
        let headers = branch.map(|branch| (HeaderName::from_static("x-trigger-branch"), branch));
        let key = &*self.settings.secret_key;
        SessionsApi::new(self.host.clone(), self.settings.base_url.clone(), key).headers(HeaderMap::from_iter(headers))
    }

    fn listed(&self, agent: &str) -> Result<TaskId, ToolError> {
        let listed = &self.settings.agents;
        if !listed.is_empty() && !listed.iter().any(|one| one.id.as_str() == agent) {
            let known: Vec<&str> = listed.iter().map(|one| one.id.as_str()).collect();
            return Err(ToolError::UnknownAgent { agent: agent.to_owned(), known: known.join(", ") });
        }
        Ok(TaskId::new(agent))
    }

    fn late(&self, chat_id: &str, done: &'static str, limit: Duration) -> ToolError {
        let server = self.settings.base_url.authority().to_owned();
        ToolError::Late { chat_id: chat_id.to_owned(), done, limit_s: limit.as_secs(), server }
    }

    fn refused(&self, chat_id: &str, done: &'static str, cause: ClientError) -> ToolError {
        let chat_id = chat_id.to_owned();
        match cause {
            ClientError::SessionClosed { reason } => ToolError::Closed { chat_id, reason },
            ClientError::TranscriptReloadRequired => ToolError::Untellable { chat_id },
            cause => {
                let server = self.settings.base_url.authority().to_owned();
                ToolError::Refused { chat_id, done, server, cause: Box::new(cause) }
            }
        }
    }

    fn chats(&self) -> MutexGuard<'_, Chats<Arc<Opened>>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides whether a chat is of use after a failure; a forgotten one is opened again, at its tail (C-232).
fn keep_after(cause: &ClientError) -> GiveBack {
    match cause {
        ClientError::SessionClosed { .. } | ClientError::TranscriptReloadRequired => GiveBack::Forget,
        _ => GiveBack::Answered,
    }
}

/// Reads to the boundary of the own message (C-228).
async fn read(stream: &mut ChatStream, answer: &mut Answer, progress: &mut Progress) -> Waited {
    let mut n_earlier_turns = 0;
    while let Some(delivered) = stream.next().await {
        let delivered = match delivered {
            Ok(delivered) => delivered,
            Err(error) => return Waited::Failed(error),
        };
        if stream.n_earlier_turns() > n_earlier_turns {
            n_earlier_turns = stream.n_earlier_turns();
            answer.clear();
        }
        if let Some(news) = answer.add(&delivered.chunk) {
            progress.tell(&news).await;
        }
    }
    if stream.n_earlier_turns() > n_earlier_turns {
        answer.clear();
    }
    if stream.outcome() == Some(Outcome::Closed) { Waited::Closed } else { Waited::Ended }
}
