//! Runs that an author's own code drives.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_protocol::{SeqNum, UiMessage, UiMessageChunk};

use super::*;
use crate::error::OutOfMemory;
use crate::pipe::PipeOptions;
use crate::signal::Signal;
use crate::testing::*;

const CONTINUATION: &str = r#"{ "continuation": true, "previousRunId": "run_0" }"#;

fn seq(number: u64) -> SeqNum {
    SeqNum::new(number)
}

fn brief() -> WaitOptions {
    WaitOptions::new().idle_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(1))
}

fn text(payload: &ChatTaskWirePayload) -> String {
    payload.message.as_ref().map(UiMessage::text).unwrap_or_default()
}

/// An agent that answers every message with the model's echo.
fn parrot() -> CustomAgent {
    Agent::custom("test", |mut run| async move {
        let mut stop = run.create_stop_signal();
        while let Some(payload) = run.next_message(brief()).await? {
            stop.reset();
            let answer = run.stream_text(vec![ModelMessage::user(text(&payload))]);
            run.chat.pipe(answer, PipeOptions::new().signal(stop.signal())).await?;
            run.write_turn_complete(None).await?;
        }
        Ok(())
    })
}

async fn serve_payload(session: &Arc<FakeSession>, agent: impl Into<Agent>, payload: Value) -> Result<(), Error> {
    let attempt = if payload.get("attempt").is_some() { 2 } else { 1 };
    crate::testing::serve(session, agent.into(), FakeModel::echo(), lease(session, attempt, payload)).await
}

async fn run(session: &Arc<FakeSession>, agent: impl Into<Agent>) {
    serve_payload(session, agent, json!({ "trigger": "preload" })).await.expect("the run ends well");
}

#[tokio::test(start_paused = true)]
async fn the_authors_code_drives_the_run_without_history_or_snapshot_a218_a209() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");

    run(&session, parrot()).await;

    let answer = |text: &str, cursor: u64| {
        format!("start start-step text-start re {text} text-end finish-step finish done({cursor})")
    };
    assert_eq!(session.story(), format!("{} {}", answer("a", 0), answer("b", 1)));
    let state = session.state();
    assert_eq!((state.n_reads, state.snapshot.as_ref(), state.settled), (0, None, Some(seq(1))));
}

#[tokio::test(start_paused = true)]
async fn a_boundary_tells_its_place_and_what_is_settled_a209_a30() {
    // S-172.
    let session = Arc::new(FakeSession::default());
    for said in ["a", "b", "c"] {
        session.say(said);
    }
    let agent = Agent::custom("test", |mut run| async move {
        for _ in 0..2 {
            run.next_message(brief()).await?;
        }
        run.chat.writer().stream(&UiMessageChunk::error("x")).await?;
        let token = run.mint_access_token().await;
        let boundary = run.write_turn_complete(token).await?;
        assert_eq!(boundary, TurnBoundary { last_event_id: seq(1), session_in_event_id: Some(seq(1)) });
        Ok(())
    });

    run(&session, agent).await;

    // Both messages are answered by the one boundary; the third one holds the cursor back.
    assert_eq!(session.state().boundaries(), [Some(seq(1))]);
    assert_eq!(session.state().settled, Some(seq(1)));
    let headers = session.state().told[1].headers.clone();
    assert!(headers.iter().any(|header| (header.0.as_str(), header.1.as_str()) == ("public-access-token", "token")));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_and_not_closed_is_still_owed_a30_a218() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::custom("test", |mut run| async move {
        run.next_message(brief()).await?;
        Ok(())
    });

    run(&session, agent).await;

    assert_eq!(session.state().settled, None);
}

#[tokio::test(start_paused = true)]
async fn a_continuation_reads_on_where_the_run_before_has_settled_ar8_a57_a218() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    run(&session, parrot()).await;
    session.say("b");
    session.state().tails.clear();

    serve_payload(&session, parrot(), serde_json::from_str(CONTINUATION).unwrap()).await.unwrap();

    assert_eq!(session.state().boundaries(), [Some(seq(0)), Some(seq(1))], "nothing old is served again");
    // The drain has found `b`; the tail begins behind it.
    assert_eq!(session.state().tails, [Some(seq(1))]);
}

#[tokio::test(start_paused = true)]
async fn out_is_trimmed_without_any_snapshot_and_from_what_a_continuation_finds_ar39_a106_d44() {
    // C-10.
    let session = Arc::new(FakeSession::default());
    for said in ["a", "b"] {
        session.say(said);
    }
    run(&session, parrot()).await;
    let answer = |text: &str| format!("start start-step text-start re {text} text-end finish-step finish");
    assert_eq!(session.readable(), format!("done(0) {} done(1)", answer("b")));
    session.say("c");

    serve_payload(&session, parrot(), serde_json::from_str(CONTINUATION).unwrap()).await.unwrap();

    assert_eq!(session.readable(), format!("done(1) {} done(2)", answer("c")));
}

#[tokio::test(start_paused = true)]
async fn a_retry_closes_the_cut_answer_and_gets_the_message_again_a57_d31() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.state().writes_left = Some(3);
    let died = tokio::time::timeout(Duration::from_secs(60), run(&session, parrot())).await;
    assert!(died.is_err());
    session.revive();

    serve_payload(&session, parrot(), json!({ "trigger": "preload", "attempt": 2 })).await.unwrap();

    let want = "start start-step text-start abort(interrupted) \
                start start-step text-start re a text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_stop_stops_the_turn_that_runs_and_no_later_one_a210_a27() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::custom("test", |mut run| async move {
        let mut stop = run.create_stop_signal();
        let first = stop.signal();
        run.chat.writer().stream(&UiMessageChunk::start_step()).await?;
        first.wait().await;
        stop.reset();
        assert!(first.is_set() && !stop.signal().is_set());
        run.next_message(brief()).await?;
        run.write_turn_complete(None).await?;
        let second = stop.signal();
        stop.cleanup();
        run.next_message(brief()).await?;
        assert!(!second.is_set(), "a signal that is cleaned up hears nothing");
        Ok(())
    });
    let talk = async {
        session.until(|state| !state.told.is_empty()).await;
        session.send(stop());
        session.until_turns(1).await;
        session.send(stop());
        session.say("b");
    };

    tokio::join!(run(&session, agent), talk);

    assert_eq!(session.state().boundaries(), [Some(seq(1))], "stops need no turn to be settled");
}

#[tokio::test(start_paused = true)]
async fn an_old_stop_signal_does_not_deafen_a_new_one_a210() {
    let session = Arc::new(FakeSession::default());
    let agent = Agent::custom("test", |run| async move {
        let old = run.create_stop_signal();
        let new = run.create_stop_signal();
        drop(old);
        run.chat.writer().stream(&UiMessageChunk::start_step()).await?;
        assert_eq!(new.signal().wait().await, "stopped");
        Ok(())
    });
    let talk = async {
        session.until(|state| !state.told.is_empty()).await;
        session.send(stop());
    };

    tokio::join!(run(&session, agent), talk);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_the_dead_attempt_stops_nothing_ar46_a55_a57() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(stop());

    serve_payload(&session, parrot(), json!({ "trigger": "preload", "attempt": 2 })).await.unwrap();

    assert_eq!(session.story(), "start start-step text-start re a text-end finish-step finish done(1)");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_pipe_says_so_and_the_code_goes_on_a210_a207() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let model = FakeModel::new(|prompt| {
        if prompt.messages[0].text() == "a" { [begins("half"), vec![Said::Silence]].concat() } else { says("whole") }
    });
    let talk = async {
        session.until(|state| state.told.len() >= 4).await;
        session.send(stop());
    };

    let serving =
        crate::testing::serve(&session, parrot().into(), model, lease(&session, 1, json!({ "trigger": "preload" })));
    let (served, ()) = tokio::join!(serving, talk);

    assert_eq!(served, Ok(()));
    let want = "start start-step text-start half abort(stopped) done(0) \
                start start-step text-start whole text-end finish-step finish done(2)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn messages_are_heard_beside_a_pipe_and_closed_with_it_a209() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let diary = Diary::default();
    let heard = diary.clone();
    let agent = Agent::custom("test", move |mut run| {
        let heard = heard.clone();
        async move {
            run.next_message(brief()).await?;
            let stop = Signal::new();
            let chat = run.chat.clone();
            let answer = run.stream_text(vec![ModelMessage::user("a")]);
            let piping = chat.pipe(answer, PipeOptions::new().signal(stop.clone()));
            let hearing = async {
                let payload = run.next_message(WaitOptions::new()).await?;
                heard.lock().unwrap().push(payload.as_ref().map(text).unwrap_or_default());
                stop.set("heard");
                Ok::<_, Error>(())
            };
            let (piped, heard) = tokio::join!(piping, hearing);
            piped?;
            heard?;
            run.write_turn_complete(None).await?;
            Ok(())
        }
    });
    let talk = async {
        session.until(|state| state.told.len() >= 4).await;
        session.say("b");
    };

    let model = FakeModel::new(|_| [begins("half"), vec![Said::Silence]].concat());
    let serving =
        crate::testing::serve(&session, agent.into(), model, lease(&session, 1, json!({ "trigger": "preload" })));
    let (served, ()) = tokio::join!(serving, talk);

    assert_eq!(served, Ok(()));
    assert_eq!(entries(&diary), ["b"]);
    assert_eq!(session.story(), "start start-step text-start half abort(heard) done(1)");
}

/// Notes what the code is given until nothing comes.
fn listener(diary: &Diary) -> CustomAgent {
    let diary = diary.clone();
    Agent::custom("test", move |mut run| {
        let diary = diary.clone();
        async move {
            while let Some(payload) = run.next_message(brief()).await? {
                let trigger = payload.trigger.map_or("-".to_owned(), |trigger| format!("{trigger:?}"));
                diary.lock().unwrap().push(format!("{trigger} {}", text(&payload)));
                if text(&payload) == "end" {
                    run.chat.end_run();
                }
                run.write_turn_complete(None).await?;
            }
            assert_eq!(run.next_message(brief()).await?, None, "nothing comes after the end");
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn messages_regenerates_and_actions_are_given_out_and_nothing_else_a218_a150() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.send(trigger(Trigger::Preload));
    session.say("a");
    session.send(regenerate());
    session.send(action(json!(1)));

    run(&session, listener(&diary)).await;

    assert_eq!(entries(&diary), ["SubmitMessage a", "RegenerateMessage ", "Action "]);
    assert_eq!(session.state().settled, Some(seq(3)));
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_run_wherever_it_is_taken_up_a39() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.send(trigger(Trigger::Close));
    session.say("b");

    run(&session, listener(&diary)).await;

    assert_eq!(entries(&diary), ["SubmitMessage a"]);
    // What came after the close is owed, and starts another run.
    assert_eq!(session.state().settled, Some(seq(1)));
}

#[tokio::test(start_paused = true)]
async fn a_close_boots_nothing_a79() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");

    serve_payload(&session, listener(&diary), json!({ "trigger": "close" })).await.unwrap();

    assert_eq!(entries(&diary), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn ending_the_run_serves_what_waits_first_a198() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("end");
    session.say("b");

    run(&session, listener(&diary)).await;

    assert_eq!(entries(&diary), ["SubmitMessage end", "SubmitMessage b"]);
    assert_eq!(session.state().waits.len(), 0, "nobody waits for more");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_ends_the_next_wait_d2() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        session.say("a");
        session.close();
    };

    tokio::join!(run(&session, listener(&diary)), talk);

    assert_eq!(entries(&diary), ["SubmitMessage a"], "what came before the close is still served");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_warm_then_asleep_then_over_a31_a197() {
    let session = Arc::new(FakeSession::default());
    let agent = Agent::custom("test", |mut run| async move {
        let options = WaitOptions::new().idle_timeout(Duration::ZERO).timeout(Duration::from_secs(7));
        assert!(run.next_message(options).await?.is_some(), "a record wakes the run");
        run.write_turn_complete(None).await?;
        assert_eq!(run.next_message(options).await?, None);
        Ok(())
    });
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.say("a");
    };

    tokio::join!(run(&session, agent), talk);

    let state = session.state();
    assert_eq!(state.waits.iter().map(|wait| wait.limit.as_secs()).collect::<Vec<_>>(), [7, 7]);
    assert_eq!(state.waits[1].settled, Some(seq(0)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_code_is_the_runs_a218_a151() {
    #[track_caller]
    fn check(result: &Result<(), Error>, want: &Error) {
        assert_eq!(result.as_ref(), Err(want));
    }
    let failing = |fail: fn() -> HookError| async move {
        let session = Arc::new(FakeSession::default());
        let agent = Agent::custom("test", move |_| async move { Err(fail()) });
        serve_payload(&session, agent, json!({ "trigger": "preload" })).await
    };

    check(&failing(|| "no".into()).await, &Error::Hook { hook: "run", detail: "no".to_owned() });
    check(&failing(|| OutOfMemory.into()).await, &Error::OutOfMemory);
    check(&failing(|| Error::LeaseLost.into()).await, &Error::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn work_deferred_last_is_awaited_before_the_run_ends_a177() {
    let session = Arc::new(FakeSession::default());
    let diary = Diary::default();
    let done = diary.clone();
    let agent = Agent::custom("test", move |run| {
        let done = done.clone();
        async move {
            run.chat.defer(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                done.lock().unwrap().push("done".to_owned());
                Ok(())
            });
            Ok(())
        }
    });

    run(&session, agent).await;

    assert_eq!(entries(&diary), ["done"]);
}
