//! The session chapter's rules of waiting, writing and booting, where no other test shows them (S §6.3, §6.4, §8).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use turnkeep_protocol::{InputRecord, SeqNum, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, Error, WaitOptions};

fn seq(number: u64) -> SeqNum {
    SeqNum::new(number)
}

async fn run(session: &Arc<FakeSession>, agent: Agent) -> Result<(), Error> {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, FakeModel::echo(), lease).await
}

async fn continue_run(session: &Arc<FakeSession>) {
    let next = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_1" }));
    serve(session, talker(), FakeModel::echo(), next).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_turn_after_a_wake_is_heard_s168_sr46() {
    let session = Arc::new(FakeSession::default());
    // Step 1: the stop listener is attached once, at boot. Step 2: the loop only sleeps, with the tail down.
    let model = FakeModel::new(|_| [begins("half"), vec![Said::Silence]].concat());
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        // Step 3: the wake, and the turn of what woke the run.
        session.say("a");
        session.until(|state| state.told.iter().any(|record| record.data["delta"] == "half")).await;
        // Step 4: a stop while that turn streams.
        session.send(stop());
    };

    let (result, ()) = tokio::join!(serve(&session, talker().idle_timeout(Duration::ZERO), model, first), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.story(), "start start-step text-start half abort(stopped) done(1)");
}

#[tokio::test(start_paused = true)]
async fn custom_code_hears_a_stop_after_a_wake_too_s168() {
    let session = Arc::new(FakeSession::default());
    let agent = Agent::custom("test", |mut run| async move {
        let stop = run.create_stop_signal();
        let no_idle = WaitOptions::new().idle_timeout(Duration::ZERO);
        assert!(run.next_message(no_idle).await?.is_some());
        run.chat.writer().stream(&UiMessageChunk::start_step()).await?;
        assert_eq!(stop.signal().wait().await, "stopped");
        run.write_turn_complete(None).await?;
        Ok(())
    });
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        session.say("a");
        session.until(|state| !state.told.is_empty()).await;
        session.send(stop());
    };

    let (result, ()) = tokio::join!(run(&session, agent.into()), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.story(), "start-step done(1)");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_times_out_leaves_the_cursors_alone_s165() {
    let session = Arc::new(FakeSession::default());
    session.say("a");

    run(&session, talker()).await.unwrap();

    let wait = session.state().waits[0];
    assert_eq!((wait.consumed, wait.settled), (Some(seq(0)), Some(seq(0))));
    assert_eq!(session.state().settled, Some(seq(0)), "the end reports what the wait began with");
}

#[tokio::test(start_paused = true)]
async fn suspend_and_resume_hooks_tell_of_a_sleep_that_a_record_ended_and_of_nothing_else_s169() {
    let session = Arc::new(FakeSession::default());
    let diary = Diary::default();
    let agent = talker()
        .on_chat_suspend(notes(&diary, "suspend"))
        .on_chat_resume(notes(&diary, "resume"))
        .on_turn_start(notes(&diary, "turn"));
    let talk = async {
        // Within the idle phase.
        heard().await;
        session.say("a");
        // In the sleep.
        session.until(|state| !state.waits.is_empty()).await;
        session.say("b");
    };

    let (result, ()) = tokio::join!(run(&session, agent), talk);

    assert_eq!(result, Ok(()));
    // The last sleep runs out.
    assert_eq!(entries(&diary), ["turn", "suspend", "resume", "turn", "suspend"]);
}

#[tokio::test(start_paused = true)]
async fn who_reads_on_behind_the_last_boundary_gets_the_next_writers_first_record_s172_sr47() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    run(&session, talker()).await.unwrap();
    // The place that the writer reports of its last record is where the handover's reader goes on.
    let reported = session.state().snapshot.as_ref().unwrap().last_out_event_id;
    assert_eq!(reported, session.state().told.last().map(|record| record.seq_num), "inclusive");

    session.say("b");
    continue_run(&session).await;

    let state = session.state();
    let next = state.told.iter().find(|record| Some(record.seq_num) > reported).unwrap();
    assert_eq!(next.data["type"], "start", "the first record of the second answer");
}

#[tokio::test(start_paused = true)]
async fn places_decide_what_is_new_and_no_clock_sr44() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    run(&session, talker()).await.unwrap();
    // Stored behind the turn-complete by a clock that is behind ours, before the next run looks at its own.
    let late = |number: u64, text: &str| InputRecord {
        seq_num: seq(number),
        timestamp: 0,
        input: Some(submit(UiMessage::user(text, text))),
    };
    session.state().input.push(late(1, "b"));
    let talk = async {
        session.until_turns(2).await;
        // And another one while that run reads live.
        session.state().input.push(late(2, "c"));
        session.say("d");
        session.until_turns(4).await;
    };

    tokio::join!(continue_run(&session), talk);

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b", "c", "re c", "d", "re d"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_turn_threw_is_in_the_next_boots_history_s199_sr50() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    // The turn throws, and its boundary moves the cursor past the message.
    run(&session, talker().on_turn_start(|_| async { Err("no".into()) }).idle_timeout(Duration::ZERO)).await.unwrap();
    assert_eq!((session.story().as_str(), session.state().settled), ("error(no) done(0)", Some(seq(0))));
    // Even when nothing of the channels can be read again, the message is somewhere.
    session.state().out.clear();
    session.say("b");

    continue_run(&session).await;

    assert_eq!(session.saved_texts(), ["a", "b", "re b"]);
}
