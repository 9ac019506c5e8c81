//! Times that are set while the run works.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::testing::*;
use crate::{Agent, Error};

#[tokio::test(start_paused = true)]
async fn times_that_were_set_outlive_the_attempt_and_win_over_the_agents_until_changed_a195() {
    let session = Arc::new(FakeSession::default());
    // Gives the idle time and the limit of the last sleep.
    let attempt = async |number: u32, agent: Agent| {
        session.state().waits.clear();
        let began = Instant::now();
        let lease = lease(&session, number, json!({ "trigger": "submit-message" }));
        serve(&session, agent, FakeModel::echo(), lease).await.unwrap();
        // The session lets nobody sleep longer than 20 s.
        ((began.elapsed() - Duration::from_secs(20)).as_secs(), session.state().waits[0].limit.as_secs())
    };
    let sets_turn = talker()
        .on_turn_start(|event| async move { Ok(event.chat.set_turn_timeout(Duration::from_millis(600_900)).await?) });
    let sets_both = talker().on_turn_start(|event| async move {
        event.chat.set_turn_timeout_in_seconds(90).await?;
        Ok(event.chat.set_idle_timeout_in_seconds(2).await?)
    });

    session.say("a");
    assert_eq!(attempt(1, sets_turn).await, (5, 600), "it counts at once");
    // The agent itself says 5 s and an hour.
    assert_eq!(attempt(2, talker()).await, (5, 600), "the next attempt has it");
    session.say("b");
    assert_eq!(attempt(3, sets_both).await, (2, 90), "until it is changed");
    assert_eq!(attempt(4, talker()).await, (2, 90));

    let noted = serde_json::Value::Object(session.state().metadata.clone());
    assert_eq!(noted, json!({ "chat.turnTimeout": "90s", "chat.idleTimeout": 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_time_that_cannot_be_noted_does_not_hold_a195() {
    let session = Arc::new(FakeSession::default());
    session.state().fails_metadata = true;
    let told = Arc::new(std::sync::Mutex::new(None));
    let tell = told.clone();
    let agent = talker().on_turn_start(move |event| {
        let tell = tell.clone();
        async move {
            *tell.lock().unwrap() = event.chat.set_turn_timeout_in_seconds(90).await.err();
            Ok(())
        }
    });
    session.say("a");

    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent, FakeModel::echo(), lease).await.unwrap();

    assert!(matches!(*told.lock().unwrap(), Some(Error::Refused { status: 413, .. })));
    assert_eq!(session.state().waits[0].limit, Duration::from_secs(3600));
}
