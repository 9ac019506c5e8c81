//! A long chat costs a turn no more than a short one: what was said once is handed on, and copied for nobody.

use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_protocol::{Messages, ModelMessage, UiMessage};

use crate::testing::*;
use crate::{Agent, TurnInput};

const N_TURNS: usize = 6;

/// What hooks, `run` and the model were handed, in order.
#[derive(Clone, Default)]
struct Seen {
    ui: Arc<Mutex<Lists<Messages>>>,
    model: Arc<Mutex<Lists<Vec<ModelMessage>>>>,
}

/// Lists, each with who got it.
type Lists<L> = Vec<(&'static str, L)>;

impl Seen {
    fn ui(&self, who: &'static str, messages: Messages) {
        self.ui.lock().unwrap().push((who, messages));
    }

    fn model(&self, who: &'static str, messages: Vec<ModelMessage>) {
        self.model.lock().unwrap().push((who, messages));
    }
}

fn agent(seen: &Seen) -> Agent {
    let [start, run, before, complete] = [seen.clone(), seen.clone(), seen.clone(), seen.clone()];
    Agent::new("test", move |turn: TurnInput| {
        run.ui("run", turn.ui_messages.clone());
        run.ui("history", turn.chat.history().all());
        run.model("run", turn.messages.clone());
        async move { Ok(turn.stream_text()) }
    })
    .on_turn_start(move |event| {
        start.ui("on_turn_start", event.ui_messages);
        start.model("on_turn_start", event.messages);
        async { Ok(()) }
    })
    .on_before_turn_complete(move |event| {
        before.ui("on_before_turn_complete", event.complete.ui_messages);
        before.model("on_before_turn_complete", event.complete.messages);
        async { Ok(()) }
    })
    .on_turn_complete(move |event| {
        complete.ui("on_turn_complete", event.ui_messages);
        complete.model("on_turn_complete", event.messages);
        async { Ok(()) }
    })
}

/// Serves six turns; gives what everyone was handed, the stored snapshot's messages last.
async fn six_turns() -> (Lists<Messages>, Lists<Vec<ModelMessage>>) {
    let session = Arc::new(FakeSession::default());
    for turn in 0..N_TURNS {
        session.say(&format!("question {turn}"));
    }
    let seen = Seen::default();
    let own = seen.clone();
    let model = FakeModel::new(move |prompt| {
        own.model("the model", prompt.messages.clone());
        says("answer")
    });
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent(&seen), model, lease).await.expect("the run ends well");

    seen.ui("snapshot", session.state().snapshot.as_ref().expect("a snapshot is stored").messages.clone());
    (std::mem::take(&mut *seen.ui.lock().unwrap()), std::mem::take(&mut *seen.model.lock().unwrap()))
}

/// What was said in so many turns.
fn said(n_turns: usize) -> Vec<String> {
    (0..n_turns).flat_map(|turn| [format!("question {turn}"), "answer".to_owned()]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_never_copied_once_it_stands_in_the_chain() {
    let (lists, _) = six_turns().await;

    assert_eq!(lists.len(), N_TURNS * 5 + 1);
    let stored = lists.last().unwrap().1.iter().map(UiMessage::text);
    assert_eq!(stored.collect::<Vec<_>>(), said(N_TURNS));
    for pair in lists.windows(2) {
        let [(before, old), (after, new)] = pair else { unreachable!("windows of two") };
        assert!(old.len() <= new.len(), "{after} was handed less than {before}");
        for (at, (old, new)) in old.as_shared().iter().zip(new.as_shared()).enumerate() {
            assert!(Arc::ptr_eq(old, new), "message {at} was copied between {before} and {after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_model_reads_of_a_message_is_never_copied_once_it_was_converted() {
    let (_, lists) = six_turns().await;

    assert_eq!(lists.len(), N_TURNS * 5);
    let read = lists.last().unwrap().1.iter().map(ModelMessage::text);
    assert_eq!(read.collect::<Vec<_>>(), said(N_TURNS));
    for pair in lists.windows(2) {
        let [(before, old), (after, new)] = pair else { unreachable!("windows of two") };
        assert!(old.len() <= new.len(), "{after} was handed less than {before}");
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            assert!(old.content.is_shared_with(&new.content), "message {at} was copied between {before} and {after}");
        }
    }
}
