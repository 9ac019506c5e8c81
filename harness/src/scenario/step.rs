//! The verbs of a story.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_session::conformance::DiskFault;

/// Virtual milliseconds that a wait may take when the file does not say.
fn default_within_ms() -> u64 {
    20_000
}

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A person sends a message.
    Send(Send),
    /// A person takes the chat in one of her tabs, by sending; the story goes on when every other tab of hers knows.
    Claim(Claim),
    /// A person writes into the answer that streams, beside her page's stream.
    Steer(Steer),
    /// A person asks for the last answer again.
    Regenerate(Client),
    /// A person says yes or no to every call on her page that waits for her approval.
    Decide(Decide),
    /// A person's page answers every call that waits for a result of hers.
    Answer(AnswerCall),
    /// A person's page asks the agent for something that is no message, such as an undo.
    Act(Act),
    /// A person presses stop.
    Stop(Stop),
    /// A person's page aborts the newest stream it follows, by its signal: of a send's stream that is a stop, of a view it is nothing.
    Abort(Client),
    /// A person's page lets its transport go, as a component does that leaves the screen: what it reads ends, and the page stays.
    Dispose(Client),
    /// The author's server cancels the run that has a person's chat, at her wish.
    CancelRun(Client),
    /// A person reloads her page: the old one is gone at once, the new one loads its history and resumes.
    Reload(Client),
    /// A person closes her page.
    ClosePage(Client),
    /// A person opens her page again.
    OpenPage(Client),
    /// A person's page dies: nothing is said any more, and nothing saved.
    CrashPage(Client),
    /// A person's page is reloaded as a viewer's: from now on it follows the chat from turn to turn, whoever asks.
    Watch(Client),
    /// A person's device loses its network: what it has open is silent for good, and nothing new can be opened.
    GoOffline(Client),
    /// A person's device has its network again, and her page is told.
    GoOnline(Client),
    /// A person's page goes out of sight.
    Hide(Client),
    /// A person's page is in sight again.
    Show(Client),
    /// A person leaves her page and comes back to it out of the browser's cache; its connections have died in between.
    Bfcache(Bfcache),
    /// The token of a person's page is accepted no more.
    ExpireToken(ExpireToken),
    /// The author's server refuses the next renewal of the token of a person's page, and takes its time over it.
    LateToken(LateToken),
    /// Waits until a person has been shown so many chunks since her last send or load.
    WaitChunks(WaitChunks),
    /// Waits until a person's page has no stream open and no send under way.
    WaitAnswer(WaitFor),
    /// Waits until a person's page may send, or may not because another tab of hers has the chat.
    WaitReadOnly(WaitReadOnly),
    /// Waits until so many answers stream from the session server to a person's device.
    WaitStreams(WaitStreams),
    /// Waits until a channel holds so many records, trimmed ones included.
    WaitStored(WaitStored),
    /// Waits until the author's database has so many messages of the chat.
    WaitApp(WaitApp),
    /// Lets so many virtual milliseconds pass.
    AdvanceMs(u64),
    /// Delays every byte between two hosts until `release`.
    Hold(LinkEnds),
    /// Lets delayed bytes through.
    Release(LinkEnds),
    /// Cuts two hosts apart: what is sent is lost, open connections are silent for good.
    Partition(LinkEnds),
    /// Lets two hosts connect again.
    Repair(LinkEnds),
    /// Makes every later message between two hosts take so long.
    Slow(Slow),
    /// Resets what a host has open to another after so many more bytes arrived.
    Cut(Cut),
    /// Hands bytes from one host to another over in small pieces.
    Dribble(Dribble),
    /// Lets the disk of host `session` fail from now on; the server that uses it gives up.
    DiskFails(DiskFails),
    /// Lets the disk work again; a server that gave up is started anew with `crash` or `power_loss`, and `restart`.
    DiskMends(String),
    /// Kills a host's process; of its unsynced writes any part is lost, its sockets close.
    Crash(String),
    /// Cuts a host's power: as a crash, but its peers hear nothing.
    PowerLoss(String),
    /// Puts an empty backend in the place of host `session`, which is down: it knows no session, and no object is left.
    Wipe(String),
    /// Starts a host again that crashed or lost power.
    Restart(String),
}

impl Step {
    /// Gives the person whom the step concerns, if there is one.
    pub(crate) fn client(&self) -> Option<&str> {
        match self {
            Self::Send(send) => Some(&send.client),
            Self::Claim(claim) => Some(&claim.client),
            Self::Steer(steer) => Some(&steer.client),
            Self::Decide(decide) => Some(&decide.client),
            Self::Answer(answer) => Some(&answer.client),
            Self::Act(act) => Some(&act.client),
            Self::Stop(stop) => Some(&stop.client),
            Self::Regenerate(client)
            | Self::Abort(client)
            | Self::Dispose(client)
            | Self::CancelRun(client)
            | Self::Reload(client)
            | Self::ClosePage(client)
            | Self::OpenPage(client)
            | Self::CrashPage(client)
            | Self::Watch(client)
            | Self::GoOffline(client)
            | Self::GoOnline(client)
            | Self::Hide(client)
            | Self::Show(client) => Some(&client.client),
            Self::ExpireToken(expire) => Some(&expire.client),
            Self::LateToken(late) => Some(&late.client),
            Self::Bfcache(away) => Some(&away.client),
            Self::WaitChunks(wait) => Some(&wait.client),
            Self::WaitAnswer(wait) => Some(&wait.client),
            Self::WaitReadOnly(wait) => Some(&wait.client),
            Self::WaitStreams(wait) => Some(&wait.client),
            _ => None,
        }
    }
}

/// Whom a step concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The person; `alice/b` is alice in a further tab that the story calls `b`.
    pub client: String,
}

/// A token's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireToken {
    /// The person.
    pub client: String,
    /// Whether no token of hers is accepted any more, a new one neither: she may not come here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub for_good: bool,
}

/// A page in the browser's cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bfcache {
    /// The person.
    pub client: String,
    /// How long she is away, in virtual milliseconds.
    pub away_ms: u64,
}

/// A renewal that comes late, and to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LateToken {
    /// The person.
    pub client: String,
    /// How long it takes until the refusal, in virtual milliseconds.
    pub after_ms: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The person.
    pub client: String,
    /// What she writes.
    pub text: String,
    /// How often she writes it, one behind the other.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: usize,
    /// What the story waits for before it goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: SendUntil,
}

fn once() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_once(times: &usize) -> bool {
    *times == 1
}

/// A message that takes the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The person, in one of her tabs.
    pub client: String,
    /// What she writes.
    pub text: String,
}

/// A message to an answer that streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steer {
    /// The person.
    pub client: String,
    /// What she writes.
    pub text: String,
}

/// A person's answer to the calls that wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The person.
    pub client: String,
    /// Whether the calls may run.
    pub approved: bool,
    /// What she says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the story waits for before it goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: SendUntil,
}

/// A result that a person's page gives for a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerCall {
    /// The person.
    pub client: String,
    /// The result.
    pub output: Value,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The person.
    pub client: String,
    /// What the agent is asked for, as its action hook reads it.
    pub action: Value,
    /// How many of the newest messages the page takes off its screen itself, when the server has the action.
    #[serde(default, skip_serializing_if = "is_default")]
    pub takes_away: usize,
}

/// A press of the stop button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The person.
    pub client: String,
    /// What the story waits for before it goes on; `accepted` takes a stop that could not be delivered as well.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: SendUntil,
}

/// How far a send gets before the story goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendUntil {
    /// The server has acknowledged it.
    #[default]
    Accepted,
    /// The person has pressed the button.
    Pressed,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A wait for chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitChunks {
    /// The person.
    pub client: String,
    /// How many chunks at least.
    pub count: usize,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// A wait for a person's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// The person.
    pub client: String,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// A wait for a page's right to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitReadOnly {
    /// The person, in one of her tabs.
    pub client: String,
    /// Whether another tab is to have the chat.
    pub read_only: bool,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// A wait for streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitStreams {
    /// The person.
    pub client: String,
    /// How many streams, no more and no less.
    pub count: usize,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// A wait for durable records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitStored {
    /// `in` or `out`.
    pub channel: IoName,
    /// How many records at least.
    pub count: u64,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// One of a session's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IoName {
    /// Clients to run.
    In,
    /// Run to clients.
    Out,
}

/// A wait for the author's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitApp {
    /// How many messages at least.
    pub messages: usize,
    /// The longest wait, in virtual milliseconds.
    #[serde(default = "default_within_ms")]
    pub within_ms: u64,
}

/// Two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkEnds(pub String, pub String);

/// A slow link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// The link.
    pub between: LinkEnds,
    /// One way, in milliseconds.
    pub ms: u64,
}

/// A reset at an exact byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The host that reads.
    pub client: String,
    /// The host it reads from.
    pub from: String,
    /// How many more bytes arrive first; 0 cuts at the next one.
    pub after_bytes: usize,
}

/// A disk that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskFails {
    /// The host: `session`, or `objects`, which keeps the chat snapshots.
    pub host: String,
    /// What cannot be done with it.
    pub how: DiskFailure,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskFailure {
    /// It is full: nothing more can be written.
    Full,
    /// What is written cannot be made durable.
    Sync,
    /// Nothing can be read.
    Read,
}

impl DiskFailure {
    /// Gives the fault of the simulated disk.
    pub(crate) fn fault(self) -> DiskFault {
        match self {
            Self::Full => DiskFault::Full,
            Self::Sync => DiskFault::SyncFails,
            Self::Read => DiskFault::ReadFails,
        }
    }

    /// Says it in the trace.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Full => "it is full",
            Self::Sync => "syncs fail",
            Self::Read => "reads fail",
        }
    }
}

/// Small pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dribble {
    /// The host that reads.
    pub client: String,
    /// The host it reads from.
    pub from: String,
    /// The most bytes of one read, from 1.
    pub bytes: usize,
}
