//! Custom agents that are served turn by turn.

mod answers;
mod ends;
mod steering;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, UiMessage, UiPart};

use super::*;
use crate::agent::Agent;
use crate::custom::CustomAgent;
use crate::error::HookError;
use crate::testing::*;
use crate::tool::Tool;

fn brief() -> SessionOptions {
    SessionOptions::new().idle_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(1))
}

/// An agent that does the same with every turn.
fn turns(
    options: SessionOptions,
    act: impl for<'a> Fn(CustomTurn<'a>) -> BoxFuture<'a, Result<(), HookError>> + Send + Sync + 'static,
) -> CustomAgent {
    let act = Arc::new(act);
    Agent::custom("test", move |run| {
        let (options, act) = (options.clone(), act.clone());
        async move {
            let mut session = run.create_session(options);
            while let Some(turn) = session.next().await? {
                act(turn).await?;
            }
            Ok(())
        }
    })
}

async fn answer(mut turn: CustomTurn<'_>) -> Result<(), HookError> {
    let answer = turn.stream_text()?;
    turn.complete(answer).await?;
    Ok(())
}

fn talker(options: SessionOptions) -> CustomAgent {
    turns(options, |turn| answer(turn).boxed())
}

fn ids(messages: &Messages) -> String {
    messages.iter().map(|message| message.id.as_str()).collect::<Vec<_>>().join(" ")
}

fn texts(messages: &Messages) -> String {
    messages.iter().map(UiMessage::text).collect::<Vec<_>>().join(" ")
}

/// A model that notes what it is sent and answers `r` and the number of the call.
fn noting(diary: &Diary) -> Arc<FakeModel> {
    let diary = diary.clone();
    FakeModel::new(move |prompt| {
        let said: Vec<_> = prompt
            .messages
            .iter()
            .map(|message| format!("{}:{}", &message.role.as_str()[..1], message.text()))
            .collect();
        let mut diary = diary.lock().unwrap();
        diary.push(said.join(" "));
        says(&format!("r{}", diary.len() - 1))
    })
}

async fn try_run(
    session: &Arc<FakeSession>,
    agent: impl Into<Agent>,
    model: Arc<FakeModel>,
    payload: Value,
) -> Result<(), Error> {
    serve(session, agent.into(), model, lease(session, 1, payload)).await
}

async fn run(session: &Arc<FakeSession>, agent: impl Into<Agent>, model: Arc<FakeModel>) {
    try_run(session, agent, model, json!({ "trigger": "preload" })).await.expect("the run ends well");
}

fn continuation() -> Value {
    json!({ "continuation": true, "previousRunId": "run_0" })
}

fn boundaries(session: &FakeSession) -> Vec<u64> {
    session.state().boundaries().into_iter().map(|cursor| cursor.expect("a cursor").get()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_message_is_a_turn_with_the_conversation_before_it_a213_a215() {
    let (session, told, prompts) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    let mut payload = ChatTaskWirePayload::submit("chat", UiMessage::user("b", "b"));
    payload.metadata = Some(json!({ "plan": "free" }));
    session.send(ChatInputChunk::message(payload));
    let diary = told.clone();
    let agent = turns(brief(), move |mut turn| {
        let diary = diary.clone();
        async move {
            let usage = turn.previous_turn_usage.and_then(|usage| usage.total_tokens);
            let before = (turn.number, turn.trigger, turn.client_data.clone(), turn.continuation, turn.wants_answer);
            note(&diary, format!("{} {before:?} {usage:?} {:?}", turn.chat_id(), turn.total_usage.total_tokens));
            note(&diary, format!("{} {}", ids(turn.ui_messages()), turn.messages()?.len()));
            let answer = turn.stream_text()?;
            let done = turn.complete(answer).await?;
            assert_eq!(done.response.as_ref(), turn.ui_messages().last());
            let cursor = done.boundary.session_in_event_id.expect("a cursor");
            note(&diary, format!("{} {:?} {cursor}", texts(turn.ui_messages()), done.finish_reason));
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a", "u:a a:r0 u:b"]);
    let told = entries(&told);
    assert_eq!(told[0], "chat (0, SubmitMessage, Null, false, true) None None");
    assert_eq!(told[1], "a 1");
    assert_eq!(told[2], "a r0 Some(Stop) 0");
    assert_eq!(told[3], r#"chat (1, SubmitMessage, Object {"plan": String("free")}, false, true) Some(3) Some(3)"#);
    assert_eq!(told[5], "a r0 b r1 Some(Stop) 1");
    let headers = session.state().told.iter().filter(|record| !record.headers.is_empty()).count();
    assert_eq!((boundaries(&session), headers), (vec![0, 1], 2));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_first_message_keeps_that_the_run_continues_another_a214() {
    let (session, told, prompts) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    run(&session, talker(brief()), FakeModel::echo()).await;
    let diary = told.clone();
    let agent = Agent::custom("test", move |run| {
        let diary = diary.clone();
        async move {
            let mut session = run.create_session(brief());
            session
                .set_messages(vec![UiMessage::user("a", "a"), UiMessage::assistant("a1", vec![UiPart::text("re a")])]);
            while let Some(turn) = session.next().await? {
                note(&diary, format!("{} {}", turn.continuation, ids(turn.ui_messages())));
                answer(turn).await?;
            }
            Ok(())
        }
    });
    let talk = async {
        session.until(|state| state.waits.len() > 1).await;
        session.say("b");
    };

    let (ran, ()) = tokio::join!(try_run(&session, agent, noting(&prompts), continuation()), talk);

    assert_eq!(ran, Ok(()));
    assert_eq!(entries(&told), ["true a a1 b"]);
    assert_eq!(entries(&prompts), ["u:a a:re a u:b"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_turn_has_turns_of_its_own_in_order_aa134_a216() {
    // AA-134: every message runs, not only the first.
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let said = session.clone();
    let agent = turns(brief(), move |turn| {
        if turn.number == 0 {
            said.say("b");
            said.send(action(json!(1)));
            said.say("c");
        }
        if turn.number == 2 && turn.action.is_none() {
            assert_eq!(turn.ui_messages().len(), 6, "an action's answer is a message of its own");
        }
        answer(turn).boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    let want = ["u:a", "u:a a:r0 u:b", "u:a a:r0 u:b a:r1", "u:a a:r0 u:b a:r1 a:r2 u:c"];
    assert_eq!(entries(&prompts), want);
    assert_eq!(boundaries(&session), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_message_right_after_a_stopped_turn_runs_aa135_a145_a215() {
    // AA-135
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let diary = told.clone();
    let agent = turns(brief(), move |mut turn| {
        let diary = diary.clone();
        async move {
            let signal = turn.signal();
            let answer = turn.stream_text()?;
            let done = turn.complete(answer).await?;
            let ended = (turn.stopped(), signal.reason(), done.finish_reason.is_some());
            note(&diary, format!("{} {ended:?}", texts(turn.ui_messages())));
            Ok(())
        }
        .boxed()
    });
    let model = FakeModel::new(|prompt| {
        if prompt.messages.len() == 1 { [begins("half"), vec![Said::Silence]].concat() } else { says("whole") }
    });
    let talk = async {
        session.until(|state| state.told.len() >= 4).await;
        session.send(stop());
        session.say("b");
    };

    let (ran, ()) = tokio::join!(try_run(&session, agent, model, json!({ "trigger": "preload" })), talk);

    assert_eq!(ran, Ok(()));
    let want = r#"a half (true, Some("stopped"), false)|a half b whole (false, None, true)"#;
    assert_eq!(entries(&told).join("|"), want);
    let want = "start start-step text-start half abort(stopped) done(1) \
                start start-step text-start whole text-end finish-step finish done(2)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_turns_stops_nothing_a27_a214() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let talk = async {
        session.until_turns(1).await;
        session.send(stop());
        session.say("b");
    };

    tokio::join!(run(&session, talker(brief()), FakeModel::echo()), talk);

    assert!(session.story().ends_with("text-start re b text-end finish-step finish done(2)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn an_action_is_a_turn_that_the_conversation_does_not_know_a217() {
    let (session, told, prompts) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    session.send(action(json!({ "undo": true })));
    session.say("b");
    let diary = told.clone();
    // Two turns there may be: an action does not count.
    let agent = turns(brief().max_turns(2), move |mut turn| {
        let diary = diary.clone();
        async move {
            note(&diary, format!("{} {:?} {}", turn.number, turn.trigger, texts(turn.ui_messages())));
            if let Some(action) = &turn.action {
                note(&diary, action.to_string());
                turn.done().await?;
                return Ok(());
            }
            answer(turn).await
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    let want = ["0 SubmitMessage a", "1 Action a r0", r#"{"undo":true}"#, "1 SubmitMessage a r0 b"];
    assert_eq!(entries(&told), want);
    assert_eq!(entries(&prompts), ["u:a", "u:a a:r0 u:b"]);
    assert_eq!(boundaries(&session), [0, 1, 2]);
    let state = session.state();
    let tokens = state.told.iter().filter(|record| !record.headers.is_empty());
    let tokens = tokens.map(|record| record.headers.iter().any(|header| header.0.as_str() == "public-access-token"));
    assert_eq!(tokens.collect::<Vec<_>>(), [true, false, true], "no token for an action");
}

#[tokio::test(start_paused = true)]
async fn a_regenerate_drops_the_newest_answer_and_one_without_any_is_told_so_a92_a148_a213() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.send(regenerate());
    session.say("a");
    session.send(regenerate());

    run(&session, talker(brief()), noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a", "u:a"]);
    let answer = |text: &str, cursor: u64| {
        format!("start start-step text-start {text} text-end finish-step finish done({cursor})")
    };
    let refusal = "error(there is no message to regenerate an answer for) done(0)";
    assert_eq!(session.story(), format!("{refusal} {} {}", answer("r0", 1), answer("r1", 2)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_answered_gets_its_boundary_and_no_turn_a71_d42() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("a");
    session.send(ChatInputChunk::message(ChatTaskWirePayload::new("chat", Trigger::SubmitMessage)));

    let diary = told.clone();
    let agent = turns(brief(), move |turn| {
        note(&diary, ids(turn.ui_messages()));
        answer(turn).boxed()
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&told), ["a"]);
    assert_eq!(boundaries(&session), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_chats_store_is_told_and_taken_from_clients_at_each_turn_a185_d56() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let mut payload = ChatTaskWirePayload::submit("chat", UiMessage::user("b", "b"));
    payload.incoming_store = Some(json!({ "theirs": 2 }));
    session.send(ChatInputChunk::message(payload));
    let diary = told.clone();
    let agent = move || {
        let diary = diary.clone();
        turns(brief(), move |mut turn| {
            let diary = diary.clone();
            async move {
                note(&diary, format!("{:?}", turn.chat.store().get().map(|value| value.to_string())));
                if turn.number == 0 && !turn.continuation {
                    turn.chat.store().set(json!({ "ours": 1 })).await?;
                }
                turn.done().await?;
                Ok(())
            }
            .boxed()
        })
    };

    run(&session, agent(), FakeModel::echo()).await;

    assert_eq!(session.story(), "store-snapshot done(0) store-snapshot done(1)");
    session.say("c");
    try_run(&session, agent(), FakeModel::echo(), continuation()).await.unwrap();
    // The next run begins with none: who keeps the history keeps the store too (D-56).
    assert_eq!(entries(&told), ["None", r#"Some("{\"theirs\":2}")"#, "None"]);
}

/// An answer of a client to one of its calls.
fn answered(id: &str, call: &str) -> ChatInputChunk {
    let part = json!({ "type": "tool-ask", "toolCallId": call, "state": "output-available", "output": 1 });
    submit(serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": [part] })).unwrap())
}

#[tokio::test(start_paused = true)]
async fn while_calls_wait_for_a_person_the_model_is_not_asked_d16_a204() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let tools = [Tool::answered_by_client("ask", "", json!({}))];
    let model = FakeModel::new(|prompt| match prompt.messages.len() {
        1 => [&calls("c1", "ask", json!({}))[..1], &calls("c2", "ask", json!({}))].concat(),
        _ => says("done"),
    });
    let (diary, said) = (told.clone(), session.clone());
    let agent = turns(brief().tools(tools), move |mut turn| {
        let (diary, said) = (diary.clone(), said.clone());
        async move {
            let answer = turn.stream_text()?;
            let done = turn.complete(answer).await?;
            let id = turn.ui_messages()[1].id.clone();
            note(&diary, format!("{} {}", turn.wants_answer, done.response.is_some_and(|response| response.id == id)));
            if turn.number < 2 {
                said.send(answered(&id, ["c1", "c2"][turn.number]));
            }
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, model).await;

    assert_eq!(entries(&told), ["true true", "false false", "true true"], "the last answer goes on with the first");
}
