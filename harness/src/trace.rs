//! The trace: everything that happened, in order; one line is an entry.
//!
//! Entries are typed and written as JSON lines, the first of which names the format's version. They carry a counter, virtual
//! time and the host; never a task id, an address of this machine, or real time. Checks and goldens read nothing else.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use turnkeep_protocol::{ChannelName, ChatSnapshot, Record, RunId, SeqNum, Trigger, UiMessage, UiMessageChunk};

/// The version of the JSON lines.
pub const TRACE_VERSION: u32 = 1;

/// The most entries one run may log; reaching it is a failure with a name, not a full disk.
pub const MAX_ENTRIES: usize = 1_000_000;

/// What stands between a chat's name and the number of the backend that has it, where that is not the first one: a session server
/// that was replaced by an empty one gives the places of its records anew.
pub(crate) const OF_BACKEND: &str = " of backend ";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the trace, from 0.
    pub n: usize,
    /// Virtual milliseconds since the world began.
    pub ms: u64,
    /// Where; `world` for what the scenario itself does.
    pub host: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// One attempt of one run, as a write names it (D-36).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
}

/// What a page asks for without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gesture {
    /// The last answer again.
    Regenerate,
    /// An action of the agent's.
    Action,
}

impl Gesture {
    /// Gives its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regenerate => "regenerate",
            Self::Action => "action",
        }
    }

    /// Gives what its record on `in` says it is.
    pub fn trigger(self) -> Trigger {
        match self {
            Self::Regenerate => Trigger::RegenerateMessage,
            Self::Action => Trigger::Action,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The scenario begins a step.
    Step {
        /// The step's place in the file, from 0.
        index: usize,
        /// The step as the file has it.
        step: Value,
    },
    /// The world does something to hosts or links.
    Fault {
        /// In words.
        what: String,
    },
    /// The scenario is over: faults end, crashed hosts come back.
    Heal,
    /// A host starts.
    Boot {
        /// How many times it has started before.
        boot: u64,
    },
    /// A record became durable.
    Stored {
        /// The session's addressing key.
        session: String,
        /// Its channel.
        channel: ChannelName,
        /// The record.
        record: Record,
        /// The run that wrote it; none for clients, the server itself and writes with the secret key alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<Writer>,
    },
    /// Records below this place became unreadable, durably.
    Trimmed {
        /// The session's addressing key.
        session: String,
        /// Its channel.
        channel: ChannelName,
        /// The first record that is left.
        first_kept: SeqNum,
    },
    /// A run's row changed, durably.
    Run {
        /// The session's addressing key.
        session: String,
        /// The run.
        run: RunId,
        /// The attempt.
        attempt: u32,
        /// `queued`, `leased` or a terminal status.
        status: String,
        /// Whether the run has ended.
        terminal: bool,
        /// Who works on it.
        worker: Option<String>,
    },
    /// A chat snapshot became durable.
    SnapshotStored {
        /// The session's addressing key.
        session: String,
        /// The snapshot; none when the stored bytes are not one.
        snapshot: Option<ChatSnapshot>,
    },
    /// The session server cannot go on.
    ServerFailed {
        /// Why.
        error: String,
    },
    /// A page was loaded.
    PageOpened {
        /// The page: its person and how many pages she had before.
        page: String,
        /// The chat it shows.
        chat: String,
        /// What it shows at first.
        messages: Vec<UiMessage>,
        /// The cursor it starts from.
        cursor: Option<SeqNum>,
    },
    /// A page was closed, or died.
    PageClosed {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// Whether it died, without a word to anybody.
        died: bool,
    },
    /// Another tab of the same person took a page's chat, or let it go (C-124).
    ReadOnly {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// Whether the other tab has it.
        read_only: bool,
    },
    /// A page shows what the tab that holds the chat shows (C-128).
    Adopted {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// The other tab's messages.
        messages: Vec<UiMessage>,
    },
    /// A page's message was acknowledged.
    Sent {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// The message.
        message: UiMessage,
        /// Its place on `in`; none when the server did not say.
        seq_num: Option<SeqNum>,
    },
    /// What a page asked for without a message was acknowledged.
    Asked {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// What it asked for.
        gesture: Gesture,
        /// Its place on `in`; none when the server did not say.
        seq_num: Option<SeqNum>,
    },
    /// A page's message was refused for good.
    SendFailed {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// The message's id; of a gesture without a message its name.
        message_id: String,
        /// Why.
        error: String,
    },
    /// A page opened its stream after a load.
    Resumed {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// Whether there was anything to resume.
        streaming: bool,
    },
    /// A page was handed a chunk.
    Shown {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// The record it came in.
        seq_num: SeqNum,
        /// The chunk.
        chunk: UiMessageChunk,
        /// The id of the assistant message on screen.
        message_id: String,
        /// The text of that message on screen, after the chunk.
        text: String,
    },
    /// A page's stream ended.
    StreamEnded {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// How: `completed`, `settled`, `aborted`, `superseded`, or `failed: …`.
        how: String,
    },
    /// A page wrote into the answer that streams.
    Steered {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// What she wrote.
        message: UiMessage,
        /// Whether the server took it.
        delivered: bool,
    },
    /// A page pressed stop.
    Stopped {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// Whether the server took it.
        delivered: bool,
    },
    /// What a page shows when the world has settled.
    PageShows {
        /// The page.
        page: String,
        /// The chat.
        chat: String,
        /// Its messages.
        messages: Vec<UiMessage>,
    },
    /// The transport of a page says something.
    Notice {
        /// The page.
        page: String,
        /// The transport's event.
        notice: Value,
    },
    /// A model was called.
    ModelCalled {
        /// Which call of the script it is, from 0.
        call: usize,
        /// The newest user message.
        asked: String,
        /// How many messages the prompt held.
        n_messages: usize,
    },
    /// The script and the agent disagree.
    ScriptComplaint {
        /// How.
        text: String,
    },
    /// The author's database changed.
    AppWrote {
        /// The chat.
        chat: String,
        /// The messages now stored.
        messages: Vec<UiMessage>,
        /// The cursor now stored.
        cursor: Option<SeqNum>,
    },
    /// A connection opened, moved bytes or ended.
    Net {
        /// The other end.
        peer: String,
        /// The connection's number on its host.
        conn: u64,
        /// `dial`, `accept`, `read`, `write`, `end` or `cut`.
        op: String,
        /// How many bytes.
        bytes: usize,
        /// The first 8 bytes of their SHA-256, in hex.
        hash: String,
    },
    /// The world had nothing left to do.
    Settled,
}

/// The trace of one run; clones share it.
#[derive(Clone, Default)]
pub struct Trace {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    now_ms: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

impl Trace {
    /// Makes an empty trace at time 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets virtual time; the driver does so before each tick, so logging is safe even in a destructor.
    pub fn set_now(&self, ms: u64) {
        self.inner.now_ms.store(ms, Ordering::Relaxed);
    }

    /// Gives virtual time.
    pub fn now(&self) -> u64 {
        self.inner.now_ms.load(Ordering::Relaxed)
    }

    /// Appends an entry.
    ///
    /// # Panics
    ///
    /// When the run has logged [`MAX_ENTRIES`] already: something in it never ends.
    pub fn log(&self, host: &str, event: Event) {
        let mut entries = self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(entries.len() < MAX_ENTRIES, "the trace has {MAX_ENTRIES} entries: something in this run never ends");
        let n = entries.len();
        entries.push(Entry { n, ms: self.now(), host: host.to_owned(), event });
    }

    /// Gives all entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the entries from `from` on, without a copy; for the driver's conditions.
    pub fn scan<T>(&self, from: usize, read: impl FnOnce(&[Entry]) -> T) -> T {
        let entries = self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner);
        read(&entries[from.min(entries.len())..])
    }
}

/// Writes entries as JSON lines, the version first.
pub fn to_jsonl(entries: &[Entry]) -> String {
    let mut out = format!("{{\"turnkeep_trace\":{TRACE_VERSION}}}\n");
    for entry in entries {
        let line = serde_json::to_string(entry).expect("an entry always serialises");
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Gives the SHA-256 of the JSON lines, in hex: equal traces, equal hashes.
pub fn hash(entries: &[Entry]) -> String {
    hex(&Sha256::digest(to_jsonl(entries)))
}

/// Gives a short fingerprint of bytes, for [`Event::Net`].
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_numbered_stamped_and_one_a_line() {
        let trace = Trace::new();
        trace.set_now(5);
        trace.log("world", Event::Heal);
        trace.log("session", Event::Boot { boot: 0 });

        let lines = to_jsonl(&trace.entries());

        assert_eq!(
            lines,
            "{\"turnkeep_trace\":1}\n{\"n\":0,\"ms\":5,\"host\":\"world\",\"event\":\"heal\"}\n\
             {\"n\":1,\"ms\":5,\"host\":\"session\",\"event\":\"boot\",\"boot\":0}\n"
        );
    }

    #[test]
    fn one_different_byte_makes_another_hash() {
        let entry = |boot| vec![Entry { n: 0, ms: 0, host: "a".to_owned(), event: Event::Boot { boot } }];

        assert_ne!(hash(&entry(0)), hash(&entry(1)));
        assert_eq!(hash(&entry(1)), hash(&entry(1)));
    }
}
