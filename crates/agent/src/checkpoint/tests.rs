use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::testing::*;
use crate::{TurnComplete, TurnStart};

/// Notes every place, and holds the run at one of them.
#[derive(Debug)]
struct Notes {
    reached: Mutex<Vec<String>>,
    held: &'static str,
    released: Arc<Semaphore>,
}

impl Notes {
    fn holding(held: &'static str) -> Arc<Self> {
        Arc::new(Self { reached: Mutex::default(), held, released: Arc::new(Semaphore::new(0)) })
    }

    fn reached(&self) -> Vec<String> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Checkpoints for Notes {
    fn reach(&self, checkpoint: &Checkpoint) -> BoxFuture<'static, ()> {
        let place = checkpoint.place.to_string();
        let holds = place == self.held;
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        let released = self.released.clone();
        Box::pin(async move {
            if holds {
                released.acquire().await.expect("the test keeps the semaphore").forget();
            }
        })
    }
}

fn agent() -> crate::Agent {
    talker()
        .on_turn_start(|_: TurnStart| async move { Ok(()) })
        .on_turn_complete(|_: TurnComplete| async move { Ok(()) })
        .turn_timeout(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn a_turn_passes_its_places_in_the_order_of_its_steps_a283() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let notes = Notes::holding("nowhere");

    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve_at(&session, agent(), FakeModel::echo(), lease, Some(notes.clone())).await.unwrap();

    let reached = notes.reached();
    let no_chunks = |place: &&String| !place.contains("record") || place.contains("turn-complete");
    let steps: Vec<&str> = reached.iter().filter(no_chunks).map(String::as_str).collect();
    assert_eq!(
        steps,
        [
            "booted",
            "before on_turn_start",
            "after on_turn_start",
            "before run",
            "after run",
            "before record turn-complete",
            "after record turn-complete",
            "before on_turn_complete",
            "after on_turn_complete",
            "before snapshot",
            "after snapshot",
            "turn end",
            "idle end",
            "before suspend",
        ]
    );
    assert!(reached.contains(&"after record text-delta".to_owned()), "{reached:?}");
}

#[tokio::test(start_paused = true)]
async fn a_held_run_has_done_what_lies_before_its_place_and_nothing_behind_it_a283() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let notes = Notes::holding("before on_turn_complete");
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    let serving = serve_at(&session, agent(), FakeModel::echo(), lease, Some(notes.clone()));
    tokio::pin!(serving);

    // As long as nobody lets it go, the run goes nowhere, whatever time passes.
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut serving).await.is_err());

    assert_eq!(session.state().boundaries().len(), 1);
    assert_eq!(session.state().snapshot, None);
    notes.released.add_permits(1);
    serving.await.unwrap();
    assert_eq!(session.saved_texts(), ["hi", "re hi"]);
}
