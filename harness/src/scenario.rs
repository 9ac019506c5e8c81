//! Scenario files: a story in JSON, one verb a line, read top to bottom.
//!
//! The file's stem is its name. Comments and trailing commas are read, plain JSON is written (D-60). What must always hold is
//! never listed ([`crate::checks`]); `expect` holds only what is particular to the story.

mod expect;
mod read;
mod step;

pub use expect::{Careless, Expectation};
pub use read::{ScenarioError, Vocabulary, load_all, load_file, parse, schema};
pub use step::{
    Act, AnswerCall, Bfcache, Claim, Client, Cut, Decide, DiskFails, DiskFailure, Dribble, ExpireToken, IoName,
    LateToken, LinkEnds, Send, SendUntil, Slow, Steer, Step, WaitApp, WaitChunks, WaitFor, WaitStored, WaitStreams,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ScriptStep;

/// One story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where the schema is, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The file's stem; not written in the file.
    #[serde(skip)]
    pub name: String,
    /// What the session server keeps its sessions in; not written in the file, since no story may depend on it.
    #[serde(skip)]
    pub store: Store,
    /// What the story shows, in one sentence.
    pub why: String,
    /// The id of the agent that answers.
    pub agent: String,
    /// Who has a page open from the start; each person is one host, her pages run on it.
    #[serde(default = "one_person")]
    pub people: Vec<String>,
    /// Those of the people who are programs of the author's: they talk to the agent from a server, without a page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Where pages get the chat's history from when they load.
    #[serde(default)]
    pub history: HistorySource,
    /// How many worker hosts there are: `worker-1`, `worker-2`, …
    #[serde(default = "one")]
    pub workers: u32,
    /// What the model answers, one step per call.
    pub model: Vec<ScriptStep>,
    /// Milliseconds of silence before each part the model streams.
    #[serde(default = "default_pace_ms")]
    pub pace_ms: u64,
    /// Least and most milliseconds that a message takes one way; each run draws its own latency in between.
    #[serde(default = "default_latency_ms")]
    pub latency_ms: [u64; 2],
    /// Milliseconds without a heartbeat after which a run's lease lapses; heartbeats come four times as often.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// Milliseconds a run waits warm for the next message before it suspends.
    #[serde(default = "default_idle_ms")]
    pub idle_ms: u64,
    /// Milliseconds a suspended run waits before it ends.
    #[serde(default = "default_turn_timeout_ms")]
    pub turn_timeout_ms: u64,
    /// Seconds after which a page's read ends and begins anew.
    #[serde(default = "default_window_s")]
    pub window_s: u32,
    /// The seed when none is asked for.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The story.
    pub steps: Vec<Step>,
    /// Virtual milliseconds within which the healed world must settle.
    #[serde(default = "default_settle_ms")]
    pub settle_within_ms: u64,
    /// What must be true at the end, beyond what must always hold.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// Why the outcome rightly depends on timing; the golden then holds for the scenario's own seed only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// The same story with an agent that breaks a duty: a check must report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub careless: Option<Careless>,
}

/// Where a page's history comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistorySource {
    /// From what the last page saved on the person's device, with the transport's state.
    #[default]
    Page,
    /// From the author's database on host `app`, messages and cursor in one read.
    App,
}

/// What a session server keeps its sessions in, on its machine's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// A state in memory with a journal.
    #[default]
    Journal,
    /// The embedded store, as in production.
    Redb,
}

fn one_person() -> Vec<String> {
    vec!["alice".to_owned()]
}

fn one() -> u32 {
    1
}

fn default_pace_ms() -> u64 {
    20
}

fn default_latency_ms() -> [u64; 2] {
    [1, 8]
}

fn default_lease_ms() -> u64 {
    2_000
}

fn default_idle_ms() -> u64 {
    1_000
}

fn default_turn_timeout_ms() -> u64 {
    60_000
}

fn default_window_s() -> u32 {
    120
}

fn default_seed() -> u64 {
    1
}

fn default_settle_ms() -> u64 {
    20_000
}
