//! The client half of the chat's store: one JSON value that the agent and its clients share (C §4.3, D-13).

use std::sync::Arc;

use serde_json::Value;
use turnkeep_protocol::{Patch, SeqNum, UiMessageChunk, check_store_value};

use crate::{Error, Part};

/// Hears of each change of a chat's store: the new value, and the patch if it was one (C-173).
pub type OnStoreChange = Arc<dyn Fn(&Value, Option<&Patch>) + Send + Sync>;

/// Hears of each change of every chat's store.
pub(crate) type HearStore = dyn Fn(&str, &Value, Option<&Patch>) + Send + Sync;

/// What `out` says about the store (C-172).
#[derive(Debug, PartialEq)]
pub(crate) enum StoreNews {
    Snapshot(Value),
    Delta(Patch),
    /// A change that cannot be read: from now on the value is not known.
    Unreadable,
}

impl StoreNews {
    /// Reads a record, if it is about the store.
    pub(crate) fn read(part: &Part) -> Option<Self> {
        if !is_of_store(part.chunk.as_ref()?) {
            return None;
        }
        Some(match UiMessageChunk::from_value(part.chunk.clone()?) {
            Some(UiMessageChunk::StoreSnapshot(told)) => Self::Snapshot(told.value),
            Some(UiMessageChunk::StoreDelta(told)) => {
                Patch::parse(told.operations).map_or(Self::Unreadable, Self::Delta)
            }
            _ => Self::Unreadable,
        })
    }
}

/// Tells whether a chunk is about the store, which consumers of a message never see (C-172).
pub(crate) fn is_of_store(chunk: &Value) -> bool {
    matches!(chunk.get("type").and_then(Value::as_str), Some("store-snapshot" | "store-delta"))
}

/// A change to tell.
#[derive(Debug, PartialEq)]
pub(crate) struct StoreChange {
    pub(crate) value: Value,
    pub(crate) patch: Option<Patch>,
}

/// What the next send carries, and which change it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Queued {
    pub(crate) value: Value,
    n_changes: u64,
}

/// One chat's store as this client knows it.
#[derive(Debug, Default)]
pub(crate) struct StoreState {
    /// The agent's value; none until a snapshot has told it.
    remote: Option<Value>,
    /// Our own change, until a send has carried it.
    local: Option<Value>,
    n_changes: u64,
    /// The last record about the store: a replayed one is no news.
    told: Option<SeqNum>,
}

impl StoreState {
    /// Gives the value: our own change first, since the last write wins (C-174).
    pub(crate) fn value(&self) -> Option<&Value> {
        self.local.as_ref().or(self.remote.as_ref())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.value().is_none()
    }

    /// Replaces the value and queues it.
    pub(crate) fn set(&mut self, value: Value) -> Result<StoreChange, Error> {
        check_store_value(&value)?;
        Ok(self.change(value, None))
    }

    /// Patches the value and queues it whole; a failing patch changes nothing (C-176).
    pub(crate) fn patch(&mut self, patch: Patch) -> Result<StoreChange, Error> {
        let value = self.value().ok_or(Error::StoreUnknown)?;
        let patched = patch.apply(value)?;
        Ok(self.change(patched, Some(patch)))
    }

    fn change(&mut self, value: Value, patch: Option<Patch>) -> StoreChange {
        self.n_changes += 1;
        self.local = Some(value.clone());
        StoreChange { value, patch }
    }

    /// Gives what the next send carries.
    pub(crate) fn queued(&self) -> Option<Queued> {
        self.local.clone().map(|value| Queued { value, n_changes: self.n_changes })
    }

    /// A send has carried the change; one that was made meanwhile stays queued.
    pub(crate) fn sent(&mut self, queued: &Queued) {
        self.remote = Some(queued.value.clone());
        if self.n_changes == queued.n_changes {
            self.local = None;
        }
    }

    /// Takes what `out` says; gives the change if the value is another now.
    ///
    /// A delta for an unknown value, or one that does not fit, leaves the value out of sight until the next snapshot (C-179).
    pub(crate) fn on_news(&mut self, at: SeqNum, news: StoreNews) -> Option<StoreChange> {
        if self.told >= Some(at) {
            return None;
        }
        self.told = Some(at);
        let (value, patch) = match news {
            StoreNews::Snapshot(value) => (Some(value), None),
            StoreNews::Delta(patch) => {
                let value = self.remote.as_ref().and_then(|value| patch.apply(value).ok());
                (value, Some(patch))
            }
            StoreNews::Unreadable => (None, None),
        };
        let is_news = self.local.is_none() && value.is_some() && value != self.remote;
        self.remote = value;
        let value = self.remote.clone().filter(|_| is_news)?;
        Some(StoreChange { value, patch })
    }

    /// The session was created anew: what its agent knows is unknown, our own change is still to be sent.
    pub(crate) fn forget_remote(&mut self) {
        self.remote = None;
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seq: u64) -> SeqNum {
        SeqNum::new(seq)
    }

    fn known(value: Value) -> StoreState {
        let mut store = StoreState::default();
        store.on_news(at(0), StoreNews::Snapshot(value));
        store
    }

    #[test]
    fn a_snapshot_then_deltas_build_the_value_c172_c173() {
        let mut store = StoreState::default();
        let patch = Patch::new().add("/items/-", json!("milk"));

        let first = store.on_news(at(3), StoreNews::Snapshot(json!({ "items": [] })));
        let second = store.on_news(at(4), StoreNews::Delta(patch.clone()));

        assert_eq!(first, Some(StoreChange { value: json!({ "items": [] }), patch: None }));
        assert_eq!(second, Some(StoreChange { value: json!({ "items": ["milk"] }), patch: Some(patch) }));
        assert_eq!(store.on_news(at(5), StoreNews::Snapshot(json!({ "items": ["milk"] }))), None, "no change, no news");
    }

    #[test]
    fn a_replayed_record_changes_nothing_c173() {
        let mut store = known(json!([]));
        let grow = || StoreNews::Delta(Patch::new().add("/-", json!(1)));

        store.on_news(at(1), grow());
        assert_eq!(store.on_news(at(1), grow()), None);
        assert_eq!(store.on_news(at(0), StoreNews::Snapshot(json!([]))), None);

        assert_eq!(store.value(), Some(&json!([1])));
    }

    #[test]
    fn a_delta_for_an_unknown_value_waits_for_the_snapshot_c179() {
        let mut store = StoreState::default();
        let delta = || StoreNews::Delta(Patch::new().replace("/a", json!(2)));

        assert_eq!(store.on_news(at(1), delta()), None);
        assert_eq!(store.value(), None);
        store.on_news(at(2), StoreNews::Snapshot(json!({ "a": 1 })));
        assert!(store.on_news(at(3), delta()).is_some());

        // One that does not fit means that something was missed.
        assert_eq!(store.on_news(at(4), StoreNews::Delta(Patch::new().remove("/b"))), None);
        assert_eq!(store.on_news(at(5), delta()), None);
        assert_eq!(store.value(), None, "a guess is not shown");
        assert!(store.on_news(at(6), StoreNews::Snapshot(json!({ "a": 2 }))).is_some());
    }

    #[test]
    fn a_local_change_is_queued_shown_and_wins_over_what_the_agent_says_meanwhile_c174() {
        let mut store = known(json!({ "a": 1 }));

        store.patch(Patch::new().replace("/a", json!(2))).unwrap();
        assert_eq!(store.on_news(at(1), StoreNews::Snapshot(json!({ "a": 9 }))), None);
        assert_eq!(store.value(), Some(&json!({ "a": 2 })));

        let queued = store.queued().unwrap();
        assert_eq!(queued.value, json!({ "a": 2 }));
        store.sent(&queued);
        assert_eq!(store.queued(), None);
        assert_eq!(store.value(), Some(&json!({ "a": 2 })));
        assert_eq!(store.on_news(at(2), StoreNews::Snapshot(json!({ "a": 2 }))), None, "the agent confirms");
    }

    #[test]
    fn a_change_made_while_a_send_is_on_its_way_stays_queued_c174() {
        let mut store = known(json!(0));
        store.set(json!(1)).unwrap();
        let queued = store.queued().unwrap();

        store.set(json!(2)).unwrap();
        store.sent(&queued);

        assert_eq!(store.queued().map(|queued| queued.value), Some(json!(2)));
        assert_eq!(store.value(), Some(&json!(2)));
    }

    #[test]
    fn a_patch_that_fails_or_reaches_into_prototypes_changes_nothing_c176_c177_cr27_ca94() {
        let mut store = known(json!({ "a": 1 }));
        for patch in [
            Patch::new().replace("/a", json!(2)).remove("/missing"),
            Patch::new().replace("/__proto__/x", json!(1)),
            Patch::new().move_value("/constructor", "/b"),
        ] {
            assert!(matches!(store.patch(patch), Err(Error::Patch(_))));
        }

        assert_eq!((store.value(), store.queued()), (Some(&json!({ "a": 1 })), None));
        assert!(matches!(StoreState::default().patch(Patch::new()), Err(Error::StoreUnknown)));
    }

    #[test]
    fn a_delta_that_reaches_into_prototypes_is_not_applied_c177_cr27() {
        let mut store = known(json!({ "a": 1 }));
        let operations = json!([{ "op": "add", "path": "/__proto__/polluted", "value": true }]);
        let chunk = Some(json!({ "type": "store-delta", "operations": operations }));
        let part = Part { seq_num: at(1), timestamp: 0, headers: Vec::new(), part_id: None, chunk };

        let news = StoreNews::read(&part).unwrap();

        assert_eq!(news, StoreNews::Unreadable);
        assert_eq!(store.on_news(at(1), news), None);
        assert_eq!(store.value(), None);
    }

    #[test]
    fn a_session_created_anew_is_told_what_we_had_queued_c142() {
        let mut store = known(json!(1));
        store.set(json!(2)).unwrap();

        store.forget_remote();

        assert_eq!(store.queued().map(|queued| queued.value), Some(json!(2)));
        assert!(store.on_news(at(0), StoreNews::Snapshot(json!(3))).is_none(), "ours is still to be sent");
    }
}
