//! The decision table of A §3.8 as a run lives it. Every row stands for four boots: with the runtime's history and with the author's own, with
//! and without steering. What must come of each is written down here as the table has it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_protocol::{ChannelName, UiMessage};

use crate::testing::*;
use crate::{Agent, PendingMessages, Recovery};

/// What the runs before this one have left.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    /// There was none, or it died before it had written anything.
    Nothing,
    /// One turn, settled; snapshot and markers are stored.
    Settled,
    /// And a message that nobody has taken.
    Unread,
    /// And a message whose answer was cut.
    Cut,
    /// And one behind that, which nobody has taken.
    CutAndUnread,
    /// An answer that was cut, and no message left to answer.
    CutAlone,
}

/// The hooks, then the messages that get turns; and what the first turn starts from. `live` is sent when the run waits, `unread` and `cut` lay
/// there before.
type Want = (&'static str, &'static str);

/// One row: the boot, what it finds, and what must come of it.
struct Row {
    payload: Value,
    attempt: u32,
    left: Left,
    /// Whether history is read.
    reads: bool,
    want: Want,
    /// The same where the author keeps the history.
    hydrated: Want,
}

fn fresh(trigger: &str, left: Left, want: Want) -> Row {
    Row { payload: json!({ "trigger": trigger }), attempt: 1, left, reads: false, want, hydrated: want }
}

fn continues((left, want, hydrated): (Left, Want, Want)) -> Row {
    let payload = json!({ "continuation": true, "previousRunId": "run_0" });
    Row { payload, attempt: 1, left, reads: true, want, hydrated }
}

fn retries(trigger: &str, (left, want, hydrated): (Left, Want, Want)) -> Row {
    Row { payload: json!({ "trigger": trigger }), attempt: 2, left, reads: true, want, hydrated }
}

/// What comes of a boot that follows a first turn, by what else was left.
fn later() -> [(Left, Want, Want); 5] {
    let (plain, cut) = ("settled,re settled,live", "settled,re settled,cut");
    let unread = ("boot unread", "settled,re settled,unread");
    [
        (Left::Settled, ("boot live", plain), ("boot live", plain)),
        (Left::Unread, unread, unread),
        (
            Left::CutAndUnread,
            ("recovery boot unread", "settled,re settled,cut,re cut,unread"),
            ("boot cut unread", cut),
        ),
        (Left::Cut, ("recovery boot live", "settled,re settled,cut,re cut,live"), ("boot cut live", cut)),
        (
            Left::CutAlone,
            ("recovery boot live", "settled,re settled,cut,live"),
            ("boot live", "settled,re settled,cut,live"),
        ),
    ]
}

/// The table of A §3.8. A first message lies on `in` and in no payload (D-38); markers say which hooks have had their turn (D-45).
fn rows() -> Vec<Row> {
    let (preload, submit) = (("boot preload chat-start live", "live"), ("boot chat-start live", "live"));
    let mut rows = vec![
        fresh("preload", Left::Nothing, preload),
        fresh("submit-message", Left::Nothing, submit),
        // Nothing happens before the signal; what it brings is the handover's own affair (A §14).
        fresh("handover-prepare", Left::Nothing, ("boot", "")),
    ];
    rows.extend(later().map(continues));
    rows.extend(later().map(|left| retries("preload", left)));
    rows.extend(later().map(|left| retries("submit-message", left)));
    // The attempt before has not come as far as any hook.
    rows.push(retries("preload", (Left::Nothing, preload, preload)));
    rows.push(retries("submit-message", (Left::Nothing, submit, submit)));
    rows
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    is_hydrated: bool,
    is_steered: bool,
}

/// One boot under test.
struct Boot {
    session: Arc<FakeSession>,
    kind: Kind,
    /// The author's own history.
    store: Arc<Mutex<Vec<UiMessage>>>,
    hooks: Diary,
    chains: Diary,
}

fn texts(messages: &[UiMessage]) -> String {
    messages.iter().map(UiMessage::text).collect::<Vec<_>>().join(",")
}

impl Boot {
    /// An agent that notes its hooks.
    fn agent(&self) -> Agent {
        let (recovery, hooks, chains) = (self.hooks.clone(), self.hooks.clone(), self.chains.clone());
        let mut agent = talker()
            .on_boot(notes(&self.hooks, "boot"))
            .on_preload(notes(&self.hooks, "preload"))
            .on_chat_start(notes(&self.hooks, "chat-start"))
            .on_recovery_boot(move |_| {
                note(&recovery, "recovery");
                async { Ok(Recovery::default()) }
            })
            .on_turn_start(move |event| {
                note(&hooks, event.ui_messages.last().map(UiMessage::text).unwrap_or_default());
                note(&chains, texts(&event.ui_messages.to_vec()));
                async { Ok(()) }
            });
        if self.kind.is_steered {
            agent = agent.pending_messages(PendingMessages::new().should_inject(|_| async { Ok(true) }));
        }
        if self.kind.is_hydrated {
            let (reads, writes) = (self.store.clone(), self.store.clone());
            agent = agent
                .hydrate_messages(move |event| {
                    let mut rows = reads.lock().unwrap();
                    event.upsert_into(&mut rows);
                    let messages = rows.clone();
                    async move { Ok(messages) }
                })
                .on_turn_complete(move |event| {
                    *writes.lock().unwrap() = event.ui_messages.to_vec();
                    async { Ok(()) }
                });
        }
        agent
    }

    /// Lets earlier runs leave what the row wants to find.
    async fn leave(&self, left: Left) {
        let session = &self.session;
        if left == Left::Nothing {
            return;
        }
        session.say("settled");
        let first = lease(session, 1, json!({ "trigger": "preload" }));
        serve(session, self.agent(), FakeModel::echo(), first).await.expect("the first run ends well");
        if matches!(left, Left::Cut | Left::CutAndUnread | Left::CutAlone) {
            let cut = session.say("cut");
            let second = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
            die_after(4, session, self.agent(), FakeModel::echo(), second).await;
            if left == Left::CutAlone {
                session.state().settled = Some(cut);
            }
        }
        if matches!(left, Left::Unread | Left::CutAndUnread) {
            session.say("unread");
        }
        self.hooks.lock().unwrap().clear();
        self.chains.lock().unwrap().clear();
        let mut state = session.state();
        state.n_reads = 0;
        state.drains.clear();
        state.waits.clear();
    }
}

async fn check(row: &Row, kind: Kind) {
    let (want, chain) = if kind.is_hydrated { row.hydrated } else { row.want };
    let told = format!("{} attempt {} {want} {kind:?}", row.payload, row.attempt);
    let (session, store) = (Arc::new(FakeSession::default()), Arc::default());
    let boot = Boot { session: session.clone(), kind, store, hooks: Diary::default(), chains: Diary::default() };
    boot.leave(row.left).await;
    let lease = lease(&session, row.attempt, row.payload.clone());

    let talk = async {
        if want.ends_with("live") {
            session.until(|state| !state.waits.is_empty()).await;
            session.say("live");
        }
    };
    let (result, ()) = tokio::join!(serve(&session, boot.agent(), FakeModel::echo(), lease), talk);
    assert_eq!(result, Ok(()), "{told}");

    assert_eq!(boot.hooks.lock().unwrap().join(" "), want, "{told}");
    assert_eq!(boot.chains.lock().unwrap().first().map_or("", String::as_str), chain, "{told}");
    let state = session.state();
    let n_snapshot_reads = state.n_reads - state.drains.len();
    assert_eq!(n_snapshot_reads, usize::from(row.reads && !kind.is_hydrated), "{told}");
    assert_eq!(state.drains.iter().any(|(channel, _)| *channel == ChannelName::Out), row.reads, "{told}");
}

// AA-167; AA-78 is the row of a continuation that finds everything settled: no recovery.
#[tokio::test(start_paused = true)]
async fn every_boot_does_what_its_row_says_with_any_history_and_any_steering_aa167_a42_a60_a75_a77_a80_a81() {
    for row in rows() {
        for (is_hydrated, is_steered) in [(false, false), (false, true), (true, false), (true, true)] {
            check(&row, Kind { is_hydrated, is_steered }).await;
        }
    }
}
