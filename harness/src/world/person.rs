//! A person in front of one tab of hers: the page it has open, and the device's storage, which all her tabs share.
//!
//! The device survives page loads and crashes; the page does not. The driver hands commands over and reads counters; everything
//! else happens on the person's host.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;
use turnkeep_client::{ChatSessionState, PageEvent, SessionsApi};
use turnkeep_host::Host;
use turnkeep_protocol::UiMessage;

use super::backend::Backend;
use super::page::Page;
use super::program;
use super::screen::Screen;
use super::stage::{SECRET_KEY, SESSION_URL};
use super::tabs::{Room, person_of_tab};
use crate::scenario::{HistorySource, Scenario};
use crate::trace::Trace;

/// What the driver asks of a person.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Send { text: String },
    Steer { text: String },
    Regenerate,
    Decide { approved: bool, reason: Option<String> },
    Answer { output: Value },
    Act { action: Value, takes_away: usize },
    Stop,
    CancelRun,
    Reload,
    Close,
    Open,
    Crash,
    Abort,
    Dispose,
    Watch,
    Hear(PageEvent),
    ExpireToken { for_good: bool },
    LateToken { after_ms: u64 },
}

/// What a person's device keeps between pages.
#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    /// The transport's state and the messages that belong to it, written together (C-236).
    pub(super) state: Option<ChatSessionState>,
    pub(super) messages: Vec<UiMessage>,
    pages: usize,
    messages_written: usize,
    /// Tokens that are accepted no more.
    expired: BTreeSet<String>,
    /// Whether none is.
    is_locked_out: bool,
    /// After how many milliseconds the author's server refuses the next renewal.
    pub(super) late_token_ms: Option<u64>,
}

/// A person in front of one tab, as driver and host share her.
pub(super) struct Person {
    /// Her name, with the tab's when it is not her first: `alice`, `alice/b`.
    pub(super) name: String,
    /// Her host.
    pub(super) host: String,
    pub(super) chat: String,
    pub(super) agent: String,
    pub(super) history: HistorySource,
    /// Seconds after which a page's read ends and begins anew.
    pub(super) window_s: u32,
    /// Whether she is a program, and has no page.
    is_program: bool,
    /// Which backend the session server is.
    pub(super) backend: Backend,
    pub(super) trace: Trace,
    commands: Mutex<VecDeque<Command>>,
    arrived: Notify,
    device: Arc<Mutex<Device>>,
    /// Where her tabs hear each other, when she has several.
    pub(super) room: Option<Arc<Room>>,
    screen: Mutex<Option<Arc<Screen>>>,
    /// Sends and streams under way on the open page.
    busy: AtomicUsize,
    /// Why the person could not do what was asked of her last.
    refusal: Mutex<Option<String>>,
    /// Chunks shown since the last send or load.
    pub(super) shown: AtomicUsize,
    /// Sends, regenerations, decisions and actions that were acknowledged.
    pub(super) accepted_sends: AtomicUsize,
    /// Steering messages that were delivered or given up.
    pub(super) answered_steers: AtomicUsize,
    /// Stops that were delivered or given up.
    pub(super) answered_stops: AtomicUsize,
    /// Runs that were cancelled for her.
    pub(super) cancelled_runs: AtomicUsize,
    /// Pages that have loaded.
    pub(super) loads: AtomicUsize,
    /// Whether a page is open.
    pub(super) open: AtomicBool,
    /// Whether her pages are a viewer's.
    watching: AtomicBool,
    /// Events that her page was told, and tokens of hers that expired.
    pub(super) heard: AtomicUsize,
}

impl Person {
    pub(super) fn new(name: &str, chat: &str, agent: &str, scenario: &Scenario, trace: Trace) -> Self {
        Self {
            name: name.to_owned(),
            host: person_of_tab(name).to_owned(),
            chat: chat.to_owned(),
            agent: agent.to_owned(),
            history: scenario.history,
            window_s: scenario.window_s,
            is_program: scenario.programs.iter().any(|program| program == name),
            backend: Backend::default(),
            trace,
            commands: Mutex::default(),
            arrived: Notify::new(),
            device: Arc::default(),
            room: None,
            screen: Mutex::default(),
            busy: AtomicUsize::new(0),
            refusal: Mutex::default(),
            shown: AtomicUsize::new(0),
            accepted_sends: AtomicUsize::new(0),
            answered_steers: AtomicUsize::new(0),
            answered_stops: AtomicUsize::new(0),
            cancelled_runs: AtomicUsize::new(0),
            loads: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            watching: AtomicBool::new(false),
            heard: AtomicUsize::new(0),
        }
    }

    /// Makes the same person in front of another tab.
    pub(super) fn in_tab(&self, name: &str, scenario: &Scenario) -> Self {
        let other = Self::new(name, &self.chat, &self.agent, scenario, self.trace.clone());
        Self { device: self.device.clone(), room: self.room.clone(), backend: self.backend.clone(), ..other }
    }

    /// Tells whether a page is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Names her chat as the trace does.
    pub(super) fn told_chat(&self) -> String {
        self.backend.name(&self.chat)
    }

    /// Tells whether another tab holds the chat, as the page on screen knows it.
    pub(super) fn is_read_only(&self) -> bool {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        screen.is_some_and(|screen| screen.is_read_only())
    }

    /// Tells whether this is the tab that is open from the start.
    fn is_first(&self) -> bool {
        self.name == self.host
    }

    /// Asks something of the person; her host takes it up in its next turn.
    pub(super) fn ask(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        self.arrived.notify_one();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
            || !self.commands.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the person's pages follow the chat from turn to turn.
    pub(super) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    pub(super) fn expire(&self, token: String) {
        self.device().expired.insert(token);
    }

    pub(super) fn lock_out(&self) {
        self.device().is_locked_out = true;
    }

    /// Tells whether a token is accepted no more.
    pub(super) fn is_expired(&self, token: &str) -> bool {
        let device = self.device();
        device.is_locked_out || device.expired.contains(token)
    }

    pub(super) fn next_page(&self) -> String {
        let mut device = self.device();
        device.pages += 1;
        format!("{}#{}", self.name, device.pages)
    }

    /// Names the person's next message; the name survives reloads, so no two messages share one.
    pub(super) fn next_message_id(&self) -> String {
        let mut device = self.device();
        device.messages_written += 1;
        format!("{}-{}", self.host, device.messages_written)
    }

    /// Makes `screen` the one that the person looks at.
    pub(super) fn put_on_screen(&self, screen: Arc<Screen>) {
        self.open.store(true, Ordering::Relaxed);
        *self.screen.lock().unwrap_or_else(PoisonError::into_inner) = Some(screen);
    }

    /// Notes in the trace what the person sees, if her page is open, and lets go of the screen.
    pub(super) fn show(&self) {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(screen) = screen.filter(|_| self.open.load(Ordering::Relaxed)) {
            screen.show();
        }
    }

    /// Says why the person cannot do what was asked of her.
    pub(super) fn refuse(&self, why: String) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Gives why the person could not do what was asked of her last, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn occupy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    pub(super) async fn next_command(&self) -> Command {
        loop {
            let arrived = self.arrived.notified();
            if let Some(command) = self.commands.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return command;
            }
            arrived.await;
        }
    }
}

/// Marks that a page has something under way, until it is dropped.
pub(super) struct Busy(Arc<Person>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lives a person's life on her host, in all her tabs, from the boot of her device on.
pub(super) async fn live(tabs: Vec<Arc<Person>>, host: Host) {
    let lives = tabs.into_iter().map(|tab| live_in_tab(tab, host.clone()));
    futures::future::join_all(lives).await;
}

async fn live_in_tab(person: Arc<Person>, host: Host) {
    if person.is_program {
        return program::run(person, host).await;
    }
    let mut page = match person.is_first() {
        true => Some(Page::open(&person, &host).await),
        false => None,
    };
    loop {
        match person.next_command().await {
            Command::CancelRun => cancel_run(&person, &host).await,
            Command::Reload => {
                // The old page is gone at once, with its sockets and whatever it had not saved.
                page.take().inspect(Page::unload);
                page = Some(Page::open(&person, &host).await);
            }
            Command::Watch => {
                page.take().inspect(Page::unload);
                person.watching.store(true, Ordering::Relaxed);
                page = Some(Page::open(&person, &host).await);
            }
            Command::Crash => {
                if let Some(page) = page.take() {
                    page.log_closed(true);
                    page.crash();
                }
                person.open.store(false, Ordering::Relaxed);
            }
            Command::Close => {
                if let Some(page) = page.take() {
                    page.unload();
                    page.log_closed(false);
                }
                person.open.store(false, Ordering::Relaxed);
            }
            Command::Open => page = Some(Page::open(&person, &host).await),
            gesture => match &page {
                Some(page) => do_on(page, gesture),
                None => person.refuse(format!("{} has no page open", person.name)),
            },
        }
    }
}

/// Does what is asked of an open page.
fn do_on(page: &Page, gesture: Command) {
    match gesture {
        Command::Send { text } => page.send(text),
        Command::Steer { text } => page.steer(text),
        Command::Regenerate => page.regenerate(),
        Command::Decide { approved, reason } => page.decide(approved, reason.as_deref()),
        Command::Answer { output } => page.answer(&output),
        Command::Act { action, takes_away } => page.act(action, takes_away),
        Command::Stop => page.stop(),
        Command::Hear(event) => page.hear(event),
        Command::ExpireToken { for_good } => page.expire_token(for_good),
        Command::LateToken { after_ms } => page.late_token(after_ms),
        Command::Abort => page.abort(),
        Command::Dispose => page.dispose(),
        Command::CancelRun | Command::Reload | Command::Close | Command::Open | Command::Crash | Command::Watch => {
            unreachable!("these are no gestures on a page")
        }
    }
}

/// Lets the author's server cancel the run that has the person's chat.
async fn cancel_run(person: &Person, host: &Host) {
    let sessions = SessionsApi::new(host.clone(), SESSION_URL.parse().expect("a fixed address parses"), SECRET_KEY);
    let cancelled = async {
        let session = sessions.retrieve(&person.chat).await?;
        match session.current_run_id.clone() {
            Some(run) => sessions.cancel_run(&run).await.map(|()| true),
            None => Ok(false),
        }
    };
    match cancelled.await {
        Ok(true) => _ = person.cancelled_runs.fetch_add(1, Ordering::Relaxed),
        Ok(false) => person.refuse(format!("the chat of {} has no run to cancel", person.name)),
        Err(error) => person.refuse(format!("the run of {} cannot be cancelled: {error}", person.name)),
    }
}
