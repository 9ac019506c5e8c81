//! `cargo xtask chat`: talks to a served agent in the terminal, and goes on where it was when it is started again.
//!
//! It is a page like any other: the transport of the client crate, in the browser's role, with a file in place of the browser's storage.

mod page;
mod saved;
mod screen;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::sync::mpsc;
use turnkeep_client::{
    ChatStream, Error, SendMessages, SessionsApi, StartChat, StartRequest, StartSessionAction, Transport,
    random_chat_id,
};
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Draws, Host, Task};
use turnkeep_protocol::{TaskId, UiMessage};

use self::page::Page;
use self::saved::{Saved, file_of};
use self::screen::Screen;
use crate::bad_input::BadInput;
use crate::verdict::Verdict;

/// After so long without a word the person is told what may be the matter.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// Ctrl-C presses that wait to be seen.
const MAX_PRESSES: usize = 8;

/// What to talk to, and what to say.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// What to say; the program ends when it is answered. Without it, a turn for each line of stdin
    message: Option<String>,
    /// The agent's id; `cargo xtask serve` has those of docs/spec/conformance-agents.md
    #[arg(long, value_name = "ID", default_value = "echo")]
    agent: String,
    /// The chat to begin or to go on with; a new one when none is named
    #[arg(long, value_name = "ID")]
    chat: Option<String>,
    /// Where the session server is
    #[arg(long, value_name = "URL", env = "TURNKEEP_BASE_URL", default_value = "http://127.0.0.1:3030")]
    base_url: String,
    /// The environment's secret key, as the server has it
    #[arg(long, value_name = "K", env = "TURNKEEP_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// The folder that keeps the chats [default: $XDG_STATE_HOME/turnkeep/chats, or ~/.local/state/turnkeep/chats]
    #[arg(long, value_name = "DIR", env = "TURNKEEP_CHATS")]
    state: Option<PathBuf>,
}

/// Talks until there is nothing more to say.
pub(crate) fn chat(args: ChatArgs) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let talked = runtime.block_on(talk(args));
    // A read of stdin may still wait for its line.
    runtime.shutdown_background();
    talked
}

async fn talk(args: ChatArgs) -> Result<Verdict> {
    let host = Host::os();
    let base: BaseUrl =
        args.base_url.parse().map_err(|error| BadInput(format!("--base-url {}: {error}", args.base_url)))?;
    let ids = host.entropy().child("chat").draws();
    let id = args.chat.clone().unwrap_or_else(|| random_chat_id(&ids));
    let folder =
        args.state.clone().or_else(default_folder).context("there is no home folder: name one with --state")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let file = file_of(&folder, &id);
    let saved = Saved::read(&file)?.unwrap_or_else(|| Saved::new(&args.agent));
    if saved.agent != args.agent && args.chat.is_some() && !saved.messages.is_empty() {
        return Err(BadInput(format!("the chat `{id}` is with the agent `{}`: say --agent {0}", saved.agent)).into());
    }
    let mut terminal = Terminal::new(&host);
    for message in &saved.messages {
        let text = terminal.screen.message(message);
        terminal.write(&text);
    }
    let session = saved.session.clone();
    let page = Arc::new(Page::new(file, saved));
    let sessions = SessionsApi::new(host.clone(), base.clone(), args.secret_key.clone());
    let starter = StartSessionAction::new(
        SessionsApi::new(host.clone(), base.clone(), args.secret_key.clone()),
        TaskId::new(&args.agent),
    );
    let (sessions, starter, keeper) = (Arc::new(sessions), Arc::new(starter), page.clone());
    let start_hint = Arc::new(Mutex::new(None));
    let (hint, base_url) = (start_hint.clone(), args.base_url.clone());
    let transport = Transport::builder(
        host.clone(),
        base,
        TaskId::new(&args.agent),
        Arc::new(move |request| {
            let sessions = sessions.clone();
            Box::pin(async move { Ok(sessions.public_token(&request.chat_id).await?) })
        }),
    )
    .start_session(Arc::new(move |request: StartRequest| {
        let (starter, hint, base_url) = (starter.clone(), hint.clone(), base_url.clone());
        Box::pin(async move {
            let started = starter.start(&StartChat::new(request.chat_id)).await;
            // The transport tells of it in words alone.
            let told = started.as_ref().err().and_then(|error| hint_of(error, &base_url));
            *hint.lock().unwrap_or_else(PoisonError::into_inner) = told;
            Ok(started?.public_access_token)
        })
    }))
    .sessions(session.map(|session| (id.clone(), session)))
    .on_session_change(Arc::new(move |_, session| keeper.keep(session)))
    .build();
    let mut talk =
        Talk { host, ids, agent: args.agent, base_url: args.base_url, id, page, transport, start_hint, terminal };
    let ended = talk.run(args.message).await;
    if let Some(trouble) = talk.page.trouble() {
        bail!("{trouble}: what was said since is not kept");
    }
    ended
}

fn default_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("turnkeep").join("chats"))
}

/// The person's side: what is written, what is typed, Ctrl-C.
struct Terminal {
    screen: Screen,
    is_watched: bool,
    is_typed: bool,
    presses: mpsc::Receiver<()>,
    _listening: Task,
}

impl Terminal {
    fn new(host: &Host) -> Self {
        let is_watched = io::stdout().is_terminal();
        let has_colours = is_watched && std::env::var_os("NO_COLOR").is_none();
        let (press, presses) = mpsc::channel(MAX_PRESSES);
        let listening = host.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                // Past so many nobody listens.
                let _ = press.try_send(());
            }
        });
        let is_typed = io::stdin().is_terminal();
        Self { screen: Screen::new(has_colours), is_watched, is_typed, presses, _listening: listening }
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout().lock();
        // Whoever reads has gone: there is nothing left to say to them.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn note(&mut self, text: &str) {
        let text = self.screen.note(text);
        self.write(&text);
    }

    /// Reads a line; none at the end of the input or on Ctrl-C.
    async fn line(&mut self, host: &Host) -> Result<Option<String>> {
        if self.is_watched && self.is_typed {
            self.write("> ");
        }
        let reading = host.blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|n_bytes| (n_bytes > 0).then_some(line))
        });
        tokio::select! {
            biased;
            _ = self.presses.recv() => Ok(None),
            line = reading => line.context("stdin cannot be read"),
        }
    }
}

struct Talk {
    host: Host,
    /// Where ids of messages come from.
    ids: Draws,
    agent: String,
    base_url: String,
    id: String,
    page: Arc<Page>,
    transport: Transport,
    /// What may be the matter with the last start of the session.
    start_hint: Arc<Mutex<Option<String>>>,
    terminal: Terminal,
}

impl Talk {
    async fn run(&mut self, message: Option<String>) -> Result<Verdict> {
        if message.is_none() && self.terminal.is_watched && self.terminal.is_typed {
            self.terminal.note(&format!(
                "{} at {}; to go on later: --chat {}; Ctrl-C stops an answer, or leaves",
                self.agent, self.base_url, self.id
            ));
        }
        if let Some(stream) = self.transport.reconnect_to_stream(&self.id) {
            self.page.resume_last();
            self.follow(stream).await?;
        }
        if let Some(message) = message {
            self.say(message).await?;
            return Ok(Verdict::Held);
        }
        while let Some(line) = self.terminal.line(&self.host).await? {
            if !line.trim().is_empty() {
                self.say(line.trim_end().to_owned()).await?;
            }
        }
        Ok(Verdict::Held)
    }

    async fn say(&mut self, text: String) -> Result<()> {
        let question = UiMessage::user(format!("u-{}", random_chat_id(&self.ids)), text);
        let history = self.page.ask(question);
        let sent = tokio::select! {
            biased;
            _ = self.terminal.presses.recv() => {
                self.page.take_back();
                bail!("left while the message was on its way: whether it arrived is not known");
            }
            sent = self.transport.send_messages(&self.id, SendMessages::submit(history)) => sent,
        };
        match sent {
            Ok(stream) => self.follow(stream).await,
            Err(error) => {
                self.page.take_back();
                Err(self.explained(&error))
            }
        }
    }

    /// Writes an answer as it comes; Ctrl-C stops it, a second one leaves.
    async fn follow(&mut self, mut stream: ChatStream) -> Result<()> {
        let (mut is_silent, mut was_stopped) = (true, false);
        loop {
            tokio::select! {
                biased;
                _ = self.terminal.presses.recv() => {
                    if was_stopped {
                        bail!("left before the answer was stopped; go on with --chat {}", self.id);
                    }
                    was_stopped = true;
                    let has_arrived = tokio::select! {
                        biased;
                        _ = self.terminal.presses.recv() => {
                            self.page.ended();
                            bail!("left before the stop arrived; go on with --chat {}", self.id);
                        }
                        has_arrived = self.transport.stop_generation(&self.id) => has_arrived,
                    };
                    if !has_arrived {
                        self.terminal.note("the stop did not arrive; Ctrl-C once more leaves");
                    }
                }
                next = stream.next() => match next {
                    Some(Ok(delivered)) => {
                        is_silent = false;
                        self.page.take(&delivered.chunk);
                        let text = self.terminal.screen.chunk(&delivered.chunk);
                        self.terminal.write(&text);
                    }
                    Some(Err(error)) => {
                        self.page.ended();
                        return Err(self.explained(&error));
                    }
                    None => break,
                },
                () = tokio::time::sleep(LONG_SILENCE), if is_silent => {
                    is_silent = false;
                    let text = format!("nothing yet: does a worker with the agent `{}` run?", self.agent);
                    self.terminal.note(&text);
                }
            }
        }
        self.page.ended();
        let end = self.terminal.screen.end_line();
        self.terminal.write(&end);
        if was_stopped {
            self.terminal.note("[stopped]");
        }
        Ok(())
    }

    /// Says what a person can do about it.
    fn explained(&mut self, error: &Error) -> anyhow::Error {
        let end = self.terminal.screen.end_line();
        self.terminal.write(&end);
        let hint = self.start_hint.lock().unwrap_or_else(PoisonError::into_inner).take();
        match hint.or_else(|| hint_of(error, &self.base_url)) {
            Some(hint) => anyhow::anyhow!("{error}\n  {hint}"),
            None => anyhow::anyhow!("{error}"),
        }
    }
}

/// Says what may be the matter, for the failures that a person can do something about.
fn hint_of(error: &Error, base_url: &str) -> Option<String> {
    match error {
        Error::RetriesExhausted { last, .. } => hint_of(last, base_url),
        Error::Network(_) | Error::TimedOut { .. } => Some(format!("does a server run at {base_url}?")),
        Error::SessionClosed { .. } => Some("begin another chat with another --chat".to_owned()),
        Error::Refused { refused } if refused.status == 401 => Some("is --secret-key the server's?".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_client::Refused;

    use super::*;

    #[test]
    fn failures_that_a_person_can_mend_come_with_what_to_do() {
        let refused = |status| Error::Refused { refused: Refused { status, ..Refused::default() } };
        let timed_out = Error::TimedOut { awaited: "headers", limit_ms: 1 };
        let exhausted = Error::RetriesExhausted { attempts: 3, last: Box::new(timed_out) };

        assert_eq!(hint_of(&exhausted, "http://h").as_deref(), Some("does a server run at http://h?"));
        assert_eq!(hint_of(&refused(401), "").as_deref(), Some("is --secret-key the server's?"));
        assert!(hint_of(&Error::SessionClosed { reason: None }, "").unwrap().contains("--chat"));
        assert_eq!(hint_of(&refused(500), ""), None);
    }
}
