//! Sessions without a live run take no room for their channels (issue 4: memory per idle session).

use std::sync::Arc;

use redb::backends::InMemoryBackend;
use turnkeep_host::Host;

use super::*;
use crate::core::{Looked, Session};
use crate::{RedbStorage, Storage};

/// Sessions that have ended.
const MANY: usize = 2000;

/// Gives how many records and part ids a session's channels hold in memory.
fn held(session: &Session) -> [(usize, usize); 2] {
    [session.input.held(), session.output.held()]
}

/// A core as a server has it, and the store beside it.
struct Node {
    core: Core,
    store: Tables,
    now: Timestamp,
}

impl Node {
    fn new() -> Self {
        let core = Core::load(Loaded::default(), Entropy::from_seed(1).draws(), LEASE);
        Self { core, store: Tables::default(), now: Timestamp::from_millis(1_000_000) }
    }

    fn commit(&mut self) {
        self.store.apply(self.core.take_changes());
        self.core.committed();
    }

    /// Appends a message, which a run will have to answer; its part id is new.
    fn send(&mut self, chat: &str, part: &str) {
        let looked = Looked { up_to: SeqNum::new(u64::MAX), found: None };
        let part = Some(PartId::new(part));
        self.core.append(self.now, chat, IN, &message("submit-message"), part, None, Some(&looked)).unwrap();
    }

    fn lease(&mut self) -> Writer {
        let request = LeaseRequest {
            worker_id: WorkerId::new("w"),
            task_ids: vec![TaskId::new("agent")],
            version: "1".to_owned(),
            timeout_in_seconds: 0,
        };
        writer(&self.core.lease(self.now, &request).expect("a run is queued"))
    }

    /// Answers everything and ends the run.
    fn answer(&mut self, chat: &str, run: &Writer) {
        let last = self.core.find(chat).unwrap().input.last().unwrap();
        let records = [data("text-delta"), turn_complete(last.get())];
        let part = Some(PartId::new(format!("answer-{}", run.run)));
        let looked = Looked { up_to: SeqNum::new(u64::MAX), found: None };
        self.core.write_out(self.now, chat, Some(run), &records, part, Some(&looked)).unwrap();
    }

    /// Ends the run; gives the one that follows.
    fn end(&mut self, run: &Writer) -> Option<RunId> {
        let end = EndRun { outcome: RunOutcome::Completed, settled_cursor: None, consumed_cursor: None };
        self.core.end(self.now, run, end).unwrap()
    }

    fn held(&self, chat: &str) -> [(usize, usize); 2] {
        held(self.core.find(chat).unwrap())
    }
}

#[test]
fn a_session_gives_up_its_windows_when_its_run_ends_and_has_new_ones_with_the_next_run() {
    let mut node = Node::new();
    node.core.create(node.now, new_session(Some("chat"), json!({}))).unwrap();
    node.send("chat", "a");
    let run = node.lease();
    node.answer("chat", &run);
    node.commit();
    let while_live = node.held("chat");

    assert_eq!(node.end(&run), None, "nothing is owed");
    let before_the_commit = node.held("chat");
    node.commit();
    let ended = node.held("chat");
    node.send("chat", "b");
    node.commit();
    let queued_again = node.held("chat");

    assert_eq!(while_live, [(1, 1), (2, 1)]);
    assert_eq!(before_the_commit, while_live, "the store does not have the end yet");
    assert_eq!(ended, [(0, 0), (0, 0)]);
    assert_eq!(queued_again, [(1, 1), (0, 0)], "what is older stays where it is");
}

#[test]
fn a_run_that_is_followed_by_the_next_one_in_the_same_step_keeps_the_windows_d3() {
    let mut node = Node::new();
    node.core.create(node.now, new_session(Some("chat"), json!({}))).unwrap();
    node.send("chat", "a");
    let run = node.lease();
    node.answer("chat", &run);
    node.send("chat", "b");

    assert!(node.end(&run).is_some(), "it is owed an answer");
    node.commit();

    assert_eq!(node.held("chat"), [(2, 2), (2, 1)]);
}

#[tokio::test]
async fn a_store_of_sessions_that_have_ended_loads_without_a_record_or_a_part_id_of_theirs() {
    let mut node = Node::new();
    for n in 0..MANY {
        let chat = format!("chat-{n}");
        node.core.create(node.now, new_session(Some(&chat), json!({}))).unwrap();
        node.send(&chat, "a");
        let run = node.lease();
        node.answer(&chat, &run);
        assert_eq!(node.end(&run), None);
    }
    node.core.create(node.now, new_session(Some("live"), json!({}))).unwrap();
    node.send("live", "a");
    let changes = node.core.take_changes();
    node.store.apply(changes.clone());
    node.core.committed();
    let store: Arc<dyn Storage> =
        Arc::new(RedbStorage::open(&Host::os(), "memory", InMemoryBackend::new()).await.unwrap());
    store.commit(changes).await.unwrap();

    let loaded = State::load(store.load(WINDOWS).await.unwrap());

    let of_all = |state: &State| -> Vec<_> { state.sessions().map(held).filter(|it| *it != [(0, 0); 2]).collect() };
    assert_eq!(loaded.sessions().count(), MANY + 1);
    assert_eq!(of_all(&loaded).len(), 1, "ended sessions hold something");
    assert_eq!(of_all(&loaded), [[(1, 1), (0, 0)]], "only the live one holds anything");
    assert_eq!(of_all(node.core.state()), of_all(&loaded), "as in the server that has served them");
    assert_eq!(State::load(node.store.load(WINDOWS)), loaded, "in every store");
}
