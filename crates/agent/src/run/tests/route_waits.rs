//! Waiting for a message while other kinds of input come (C §10).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use turnkeep_protocol::{ChatInputChunk, SeqNum};

use crate::testing::*;

/// How long the run sleeps at most; the fake link has no longer waits than 20 s.
const ASLEEP: Duration = Duration::from_secs(10);

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_messages_sleeps_on_with_the_remainder_whatever_else_comes_ca97_c248_c249_c250_cr40() {
    // A stop and a head start's signal have their own handlers, which leave nothing that could wake the wait again.
    let session = Arc::new(FakeSession::default());
    let agent = talker().idle_timeout(Duration::ZERO).turn_timeout(ASLEEP);
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        after(2).await;
        session.send(stop());
        session.until(|state| state.waits.len() == 2).await;
        after(3).await;
        session.send(ChatInputChunk::HandoverSkip);
        session.until(|state| state.waits.len() == 3).await;
        after(4).await;
        session.say("a");
        session.until_turns(1).await;
    };

    let lease = lease(&session, 1, json!({ "trigger": "preload" }));
    let (ended, ()) = tokio::join!(serve(&session, agent, FakeModel::echo(), lease), talk);

    assert_eq!(ended, Ok(()));
    let waits: Vec<_> = session.state().waits.iter().map(|wait| (wait.consumed, wait.limit.as_secs())).collect();
    let at = |seq_num| Some(SeqNum::new(seq_num));
    assert_eq!(waits, [(None, 10), (at(0), 8), (at(1), 5), (at(2), 10)]);
    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

#[tokio::test(start_paused = true)]
async fn one_deadline_ends_the_wait_however_often_it_was_woken_ca97_c249() {
    let session = Arc::new(FakeSession::default());
    let agent = talker().idle_timeout(Duration::ZERO).turn_timeout(ASLEEP);
    let talk = async {
        for n_waits in 1..=3 {
            session.until(|state| state.waits.len() == n_waits).await;
            after(3).await;
            session.send(stop());
        }
    };
    let began = Instant::now();

    let lease = lease(&session, 1, json!({ "trigger": "preload" }));
    let (ended, ()) = tokio::join!(serve(&session, agent, FakeModel::echo(), lease), talk);

    assert_eq!((ended, began.elapsed()), (Ok(()), ASLEEP), "as a wait that runs out (A-294)");
    let limits: Vec<_> = session.state().waits.iter().map(|wait| wait.limit.as_secs()).collect();
    assert_eq!(limits, [10, 7, 4, 1]);
}
