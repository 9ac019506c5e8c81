//! Hand-made traces for the tests of checks, one word per thing that happens.

use std::collections::BTreeMap;

use serde_json::json;
use turnkeep_protocol::{
    ChannelName, ChatInputChunk, ChatSnapshot, ChatTaskWirePayload, Header, MessageReducer, NewRecord, PartId, Record,
    Role, RunId, SESSION_IN_EVENT_ID, SeqNum, UiMessage, UiMessageChunk, UiPart, control,
};

use super::story::{Story, decode};
use crate::outcome::Violation;
use crate::scenario::Scenario;
use crate::trace::{Entry, Event, OF_BACKEND, Writer};

/// The chat of every tale, which is also its session's key.
pub(crate) const CHAT: &str = "chat-1";

/// A trace that grows by one happening a call.
#[derive(Clone, Default)]
pub(crate) struct Tale {
    pub(crate) entries: Vec<Entry>,
    tails: BTreeMap<ChannelName, u64>,
    screens: BTreeMap<String, (u64, MessageReducer)>,
    parts: u64,
    /// Who writes on `out`, and whether that was said for the next record only.
    writer: Option<Writer>,
    next_writer: Option<Option<Writer>>,
    passed_ms: u64,
}

/// A scenario that expects nothing in particular.
pub(crate) fn scenario() -> Scenario {
    let mut scenario: Scenario =
        serde_json::from_value(json!({ "why": "", "agent": "echo", "model": [], "steps": [] })).unwrap();
    scenario.name = "tale".to_owned();
    scenario
}

/// Runs one check over a tale.
pub(super) fn judge(check: fn(&Story<'_>) -> Vec<Violation>, tale: &Tale) -> Vec<String> {
    let scenario = scenario();
    check(&Story::new(&scenario, &tale.entries)).into_iter().map(|violation| violation.what).collect()
}

/// Makes an assistant message as the fold of [`Tale::say`] has it.
pub(crate) fn reply(id: &str, text: &str) -> UiMessage {
    UiMessage::new(id, Role::Assistant, vec![UiPart::step_start(), UiPart::text(text)])
}

impl Tale {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends an entry, 10 ms after the one before.
    pub(crate) fn log(mut self, host: &str, event: Event) -> Self {
        let n = self.entries.len();
        self.entries.push(Entry { n, ms: 10 * (n as u64 + 1) + self.passed_ms, host: host.to_owned(), event });
        self
    }

    /// Lets so much time pass between the newest entry and the next one.
    pub(crate) fn pass(mut self, ms: u64) -> Self {
        self.passed_ms += ms.saturating_sub(10);
        self
    }

    /// Lets the next entry happen at the same moment as the newest.
    pub(crate) fn at_once(mut self) -> Self {
        if let [.., before, last] = &mut self.entries[..] {
            last.ms = before.ms;
        }
        self
    }

    /// Makes the channel's next record take this place.
    pub(crate) fn at_seq(mut self, channel: ChannelName, seq: u64) -> Self {
        self.tails.insert(channel, seq);
        self
    }

    /// The place of the newest record of `out`.
    pub(crate) fn newest(&self) -> u64 {
        self.tails[&ChannelName::Out] - 1
    }

    pub(crate) fn record(mut self, channel: ChannelName, new: NewRecord) -> Self {
        let tail = self.tails.entry(channel).or_default();
        let record = Record { seq_num: SeqNum::new(*tail), timestamp: 1, body: new.body, headers: new.headers };
        *tail += 1;
        let writer = match channel {
            ChannelName::Out => self.next_writer.take().unwrap_or_else(|| self.writer.clone()),
            ChannelName::In => None,
        };
        self.log("session", Event::Stored { session: CHAT.to_owned(), channel, record, writer })
    }

    fn next_part(&mut self) -> PartId {
        self.parts += 1;
        PartId::new(format!("part{}", self.parts))
    }

    pub(crate) fn input(mut self, input: &ChatInputChunk) -> Self {
        let text = serde_json::to_string(input).unwrap();
        let part = self.next_part();
        self.record(ChannelName::In, NewRecord::data(&json!(text), &part))
    }

    pub(crate) fn ask(self, id: &str, text: &str) -> Self {
        self.input(&ChatInputChunk::message(ChatTaskWirePayload::submit(CHAT, UiMessage::user(id, text))))
    }

    pub(crate) fn stop(self) -> Self {
        self.input(&ChatInputChunk::Stop { message: None })
    }

    pub(crate) fn raw_out(self, body: &str) -> Self {
        self.record(ChannelName::Out, NewRecord { body: body.to_owned(), headers: Vec::new() })
    }

    pub(crate) fn chunk(mut self, chunk: UiMessageChunk) -> Self {
        let part = self.next_part();
        self.record(ChannelName::Out, NewRecord::data(&serde_json::to_value(chunk).unwrap(), &part))
    }

    pub(crate) fn chunks(self, chunks: impl IntoIterator<Item = UiMessageChunk>) -> Self {
        chunks.into_iter().fold(self, Self::chunk)
    }

    /// Opens a message and says something, without an end.
    pub(crate) fn begin(self, id: &str, texts: &[&str]) -> Self {
        let opened =
            self.chunks([UiMessageChunk::start(id), UiMessageChunk::start_step(), UiMessageChunk::text_start("t")]);
        texts.iter().fold(opened, |tale, text| tale.chunk(UiMessageChunk::text_delta("t", *text)))
    }

    /// Streams a whole message.
    pub(crate) fn say(self, id: &str, texts: &[&str]) -> Self {
        self.begin(id, texts).chunks([
            UiMessageChunk::text_end("t"),
            UiMessageChunk::finish_step(),
            UiMessageChunk::finish("stop"),
        ])
    }

    pub(crate) fn boundary(self, settled: u64) -> Self {
        let cursor = Header::new(SESSION_IN_EVENT_ID, settled.to_string());
        self.record(ChannelName::Out, NewRecord::control(control::TURN_COMPLETE, [cursor]))
    }

    pub(crate) fn control(self, subtype: &str) -> Self {
        self.record(ChannelName::Out, NewRecord::control(subtype, []))
    }

    pub(crate) fn trim(self, first: u64) -> Self {
        self.record(ChannelName::Out, NewRecord::trim(SeqNum::new(first))).trimmed(ChannelName::Out, first)
    }

    pub(crate) fn trimmed(self, channel: ChannelName, first: u64) -> Self {
        self.log("session", Event::Trimmed { session: CHAT.to_owned(), channel, first_kept: SeqNum::new(first) })
    }

    /// Lets the next record of `out` be written by this attempt, and not by the one that was leased last.
    pub(crate) fn by(mut self, run: &str, attempt: u32) -> Self {
        self.next_writer = Some(Some(Writer { run: RunId::new(run), attempt }));
        self
    }

    /// Lets the next record of `out` be written by no run.
    pub(crate) fn by_nobody(mut self) -> Self {
        self.next_writer = Some(None);
        self
    }

    /// Writes a run's row; every status but `queued` and `leased` is terminal.
    pub(crate) fn run(mut self, run: &str, attempt: u32, status: &str) -> Self {
        if status == "leased" {
            self.writer = Some(Writer { run: RunId::new(run), attempt });
        } else if self.writer.as_ref().is_some_and(|writer| writer.run.as_str() == run) {
            self.writer = None;
        }
        let terminal = !matches!(status, "queued" | "leased");
        let (session, status) = (CHAT.to_owned(), status.to_owned());
        self.log("session", Event::Run { session, run: RunId::new(run), attempt, status, terminal, worker: None })
    }

    pub(crate) fn snapshot(self, messages: &[UiMessage], out: u64, settled: u64) -> Self {
        let snapshot = ChatSnapshot::new(1, messages.to_vec(), Some(SeqNum::new(out)), Some(SeqNum::new(settled)));
        self.log("session", Event::SnapshotStored { session: CHAT.to_owned(), snapshot: Some(snapshot) })
    }

    pub(crate) fn open(self, page: &str, messages: &[UiMessage], cursor: Option<u64>) -> Self {
        let (chat, messages) = (CHAT.to_owned(), messages.to_vec());
        self.log("alice", Event::PageOpened { page: page.to_owned(), chat, messages, cursor: cursor.map(SeqNum::new) })
    }

    pub(crate) fn resumed(self, page: &str, streaming: bool) -> Self {
        self.log("alice", Event::Resumed { page: page.to_owned(), chat: CHAT.to_owned(), streaming })
    }

    pub(crate) fn sent(self, page: &str, id: &str, text: &str, seq: u64) -> Self {
        let (chat, message) = (CHAT.to_owned(), UiMessage::user(id, text));
        self.log("alice", Event::Sent { page: page.to_owned(), chat, message, seq_num: Some(SeqNum::new(seq)) })
    }

    /// Shows the page the record at `seq`, with this text on screen.
    pub(crate) fn shown(self, page: &str, seq: u64, message_id: &str, text: &str) -> Self {
        let at = |stored: &super::Stored<'_>| stored.channel == ChannelName::Out && stored.seq() == seq;
        let chunk = self.entries.iter().filter_map(decode).find(at).and_then(|stored| stored.chunk().cloned()).unwrap();
        self.shown_as(page, seq, chunk, message_id, text)
    }

    pub(crate) fn shown_as(self, page: &str, seq: u64, chunk: UiMessageChunk, message_id: &str, text: &str) -> Self {
        self.log(
            "alice",
            Event::Shown {
                page: page.to_owned(),
                chat: CHAT.to_owned(),
                seq_num: SeqNum::new(seq),
                chunk,
                message_id: message_id.to_owned(),
                text: text.to_owned(),
            },
        )
    }

    /// Shows the page every data record that it has not been shown, from a fresh message on at each `start`.
    pub(crate) fn watch(mut self, page: &str) -> Self {
        let (from, mut screen) = self.screens.remove(page).unwrap_or((0, MessageReducer::new()));
        let entries = self.entries.clone();
        let out = entries.iter().filter_map(decode).filter(|stored| stored.channel == ChannelName::Out);
        let mut next = from;
        for stored in out.filter(|stored| stored.seq() >= from) {
            next = stored.seq() + 1;
            let Some(chunk) = stored.chunk() else { continue };
            if matches!(chunk, UiMessageChunk::Start(_)) {
                screen = MessageReducer::new();
            }
            screen.apply(chunk).unwrap();
            let (id, text) = (screen.message().id.clone(), screen.message().text());
            self = self.shown_as(page, stored.seq(), chunk.clone(), &id, &text);
        }
        self.screens.insert(page.to_owned(), (next, screen));
        self
    }

    /// Lets a page begin its next reading here.
    pub(crate) fn caught_up(mut self, page: &str) -> Self {
        let tail = self.tails.get(&ChannelName::Out).copied().unwrap_or_default();
        self.screens.insert(page.to_owned(), (tail, MessageReducer::new()));
        self
    }

    pub(crate) fn ended(self, page: &str, how: &str) -> Self {
        self.log("alice", Event::StreamEnded { page: page.to_owned(), chat: CHAT.to_owned(), how: how.to_owned() })
    }

    pub(crate) fn stopped(self, page: &str) -> Self {
        self.log("alice", Event::Stopped { page: page.to_owned(), chat: CHAT.to_owned(), delivered: true })
    }

    /// Goes on with what `later` tells, of a backend that has come in this one's place.
    pub(crate) fn replaced_by(self, later: &Tale) -> Self {
        let tale = self.log("world", Event::Step { index: 0, step: json!({ "wipe": "session" }) });
        later.entries.iter().fold(tale, |tale, entry| {
            let told = serde_json::to_string(&entry.event).expect("an event always serialises");
            let told = told.replace(&format!("{CHAT:?}"), &format!("{:?}", format!("{CHAT}{OF_BACKEND}2")));
            tale.log(&entry.host, serde_json::from_str(&told).expect("a name is as good as another"))
        })
    }

    pub(crate) fn settled(self) -> Self {
        self.log("world", Event::Settled)
    }

    pub(crate) fn shows(self, page: &str, messages: &[UiMessage]) -> Self {
        let messages = messages.to_vec();
        self.log("alice", Event::PageShows { page: page.to_owned(), chat: CHAT.to_owned(), messages })
    }

    /// A conversation that goes well: two turns, a tool, a stop, a reload, a worker that dies and one that takes over.
    pub(crate) fn good() -> Self {
        let first = [UiMessage::user("alice-1", "Hi"), reply("a1", "Hello you.")];
        let mut tale = Self::new()
            .open("alice#1", &[], None)
            .ask("alice-1", "Hi")
            .run("run_1", 1, "queued")
            .run("run_1", 1, "leased")
            .sent("alice#1", "alice-1", "Hi", 0)
            .say("a1", &["Hello ", "you."])
            .watch("alice#1")
            .boundary(0)
            .ended("alice#1", "completed")
            .snapshot(&first, 8, 0)
            .open("alice#2", &first, Some(8))
            .caught_up("alice#2")
            .resumed("alice#2", false)
            .ask("alice-2", "Weather?")
            .sent("alice#2", "alice-2", "Weather?", 1)
            .chunks([UiMessageChunk::start("a2"), UiMessageChunk::start_step()])
            .chunk(UiMessageChunk::tool_input_available("call", "forecast", json!({ "city": "Oslo" })))
            .chunk(UiMessageChunk::tool_output_available("call", json!(4)))
            .chunks([UiMessageChunk::finish_step(), UiMessageChunk::finish("tool-calls")])
            .watch("alice#2")
            .boundary(1)
            .ended("alice#2", "completed");
        let mut call = turnkeep_protocol::ToolPart::call("call", "forecast", json!({ "city": "Oslo" }));
        call.state = turnkeep_protocol::ToolState::OutputAvailable;
        call.output = Some(json!(4));
        let second = UiMessage::new("a2", Role::Assistant, vec![UiPart::step_start(), UiPart::Tool(call)]);
        let mut chain = [&first[..], &[UiMessage::user("alice-2", "Weather?"), second]].concat();
        tale = tale.trim(8).snapshot(&chain, 15, 1).ask("alice-3", "And?").sent("alice#2", "alice-3", "And?", 2);
        tale = tale.begin("a3", &["Well"]).watch("alice#2").run("run_1", 2, "queued").run("run_1", 2, "leased");
        tale =
            tale.chunk(UiMessageChunk::abort("interrupted")).watch("alice#2").boundary(2).ended("alice#2", "completed");
        chain.extend([UiMessage::user("alice-3", "And?"), reply("a3", "Well")]);
        let boundary = tale.newest();
        tale = tale.trim(15).snapshot(&chain, boundary, 2).run("run_1", 2, "completed");
        tale.settled().shows("alice#2", &chain)
    }
}
