use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_model::Prompt;
use turnkeep_protocol::{ChatSnapshot, ModelMessage, UiMessage};

use crate::testing::*;
use crate::{Agent, Tool, ToolContext, TurnInput, step_count_is};

/// Says what a model was sent: a letter for each role, and the text or the kinds of the parts.
pub(super) fn sent(prompt: &Prompt) -> String {
    prompt.messages.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn word(message: &ModelMessage) -> String {
    let text = message.text();
    let kinds = || message.content.iter().map(|part| part.kind()).collect::<Vec<_>>().join("+");
    format!("{}:{}", &message.role.as_str()[..1], if text.is_empty() { kinds() } else { text })
}

/// A model that notes what it is sent and answers by number of the call.
pub(super) fn noting(
    diary: &Arc<Mutex<Vec<String>>>,
    says: impl Fn(usize) -> Vec<Said> + Send + Sync + 'static,
) -> Arc<FakeModel> {
    let diary = diary.clone();
    FakeModel::new(move |prompt| {
        let mut diary = diary.lock().unwrap();
        diary.push(sent(prompt));
        says(diary.len() - 1)
    })
}

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "submit-message" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

fn note(text: &str) -> [ModelMessage; 1] {
    [ModelMessage::user(text)]
}

#[tokio::test(start_paused = true)]
async fn what_work_after_a_turn_injects_reaches_the_next_turn_and_stays_a176_a177_a138() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let (diary, injected) = (Arc::default(), Arc::new(tokio::sync::Notify::new()));
    let done = injected.clone();
    let agent = talker().on_turn_complete(move |event| {
        let done = done.clone();
        async move {
            let chat = event.chat.clone();
            event.chat.defer(async move {
                if event.turn == 0 {
                    chat.inject(note("be brief"))?;
                    done.notify_one();
                }
                Ok(())
            });
            Ok(())
        }
    });
    let talk = async {
        injected.notified().await;
        session.say("b");
        session.say("c");
    };

    let ((), ()) = tokio::join!(run(&session, agent, noting(&diary, |call| says(&format!("r{call}")))), talk);

    let told = diary.lock().unwrap().clone();
    assert_eq!(told, ["u:a", "u:a a:r0 u:b u:be brief", "u:a a:r0 u:b u:be brief a:r1 u:c"]);
    assert_eq!(session.saved_texts(), ["a", "r0", "b", "r1", "c", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_injects_is_told_from_the_next_step_on_and_keeps_its_place_a176_a138() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let tool = Tool::new("t", "", json!({}), |_, ctx: ToolContext| async move {
            ctx.chat.inject(note("note"))?;
            Ok(json!(1))
        });
        Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(3)))
    });
    let diary = Arc::default();
    let model = noting(&diary, |call| match call {
        0 => calls("c1", "t", json!({})),
        1 => calls("c2", "t", json!({})),
        _ => says("done"),
    });

    run(&session, agent, model).await;

    let told = diary.lock().unwrap().clone();
    let first = "u:a a:tool-call t:tool-result u:note";
    assert_eq!(told[1], first);
    assert_eq!(told[2], format!("{first} a:tool-call t:tool-result u:note"));
    // The next turn reads the same, and what was said after it.
    assert_eq!(told[3], format!("{first} a:tool-call t:tool-result u:note a:done u:b"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_behind_an_approval_before_run_ar26_a96() {
    let session = Arc::new(FakeSession::default());
    let part = |state: &str, approval: serde_json::Value| {
        let part = json!({ "type": "tool-t", "toolCallId": "c1", "state": state, "input": 1, "approval": approval });
        json!({ "id": "a0", "role": "assistant", "parts": [part] })
    };
    let asked = serde_json::from_value(part("approval-requested", json!({ "id": "x" }))).unwrap();
    session.state().snapshot = Some(ChatSnapshot::new(0, vec![UiMessage::user("u0", "a"), asked], None, None));
    let answer = part("approval-responded", json!({ "id": "x", "approved": true }));
    session.send(submit(serde_json::from_value(answer).unwrap()));
    session.say("b");
    let diary: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = diary.clone();
    let agent = Agent::new("test", move |turn: TurnInput| {
        seen.lock().unwrap().push(turn.messages.iter().map(word).collect::<Vec<_>>().join(" "));
        async { Ok(()) }
    })
    .on_turn_start(|event| async move {
        if event.turn == 0 {
            event.chat.inject(note("note"))?;
        }
        Ok(())
    });
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, agent, FakeModel::echo(), lease).await.unwrap();

    let told = diary.lock().unwrap().clone();
    assert!(told[0].ends_with("t:tool-approval-response"), "{told:?}");
    // The note is not lost: it comes before the next turn's run.
    assert!(told[1].ends_with("u:b u:note"), "{told:?}");
}

/// What the provider runs stays open for it to hear of, behind whatever was answered beside it.
#[tokio::test(start_paused = true)]
async fn nothing_is_put_behind_an_approval_that_the_provider_waits_for_ar26_a167() {
    let session = Arc::new(FakeSession::default());
    let part = |state: &str, approval: serde_json::Value| {
        let part = json!({ "type": "tool-t", "toolCallId": "c1", "state": state, "input": 1, "approval": approval,
            "providerExecuted": true });
        json!({ "id": "a0", "role": "assistant", "parts": [part] })
    };
    let asked = serde_json::from_value(part("approval-requested", json!({ "id": "x" }))).unwrap();
    session.state().snapshot = Some(ChatSnapshot::new(0, vec![UiMessage::user("u0", "a"), asked], None, None));
    let answer = part("approval-responded", json!({ "id": "x", "approved": true }));
    session.send(submit(serde_json::from_value(answer).unwrap()));
    let (diary, late) = (Arc::default(), session.clone());
    let agent = talker().pending_messages(always()).on_turn_start(move |event| {
        let session = late.clone();
        async move {
            if event.turn == 0 {
                event.chat.inject(note("note"))?;
                session.say("steer");
                heard().await;
            }
            Ok(())
        }
    });
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, agent, noting(&diary, |call| says(&format!("r{call}"))), lease).await.unwrap();

    let told = diary.lock().unwrap().clone();
    assert!(told[0].ends_with("t:tool-approval-response"), "{told:?}");
    // Neither is lost.
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("u:note") && told[1].contains("u:steer"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_the_turns_failure_and_not_the_runs_a176() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().on_turn_start(|event| async move {
        Ok(event.chat.inject(vec![ModelMessage::user("x"); crate::MAX_INJECTED + 1])?)
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "error(0 injected messages wait, and 1025 more pass the limit of 1024) done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_converted_is_tried_again_at_the_next_turn_a73() {
    let session = Arc::new(FakeSession::default());
    let call = json!({ "type": "tool-t", "toolCallId": "c1", "state": "output-available", "input": 1, "output": 2 });
    let stored = serde_json::from_value(json!({ "id": "a0", "role": "assistant", "parts": [call] })).unwrap();
    session.state().snapshot = Some(ChatSnapshot::new(0, vec![UiMessage::user("u0", "a"), stored], None, None));
    session.say("b");
    session.say("c");
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let broken = is_broken.clone();
    let outputs = turnkeep_model::ModelOutputs::new().with("t", move |call| {
        match broken.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err("not yet".to_owned()),
            false => Ok(turnkeep_protocol::ToolResultOutput::Json(call.output.clone())),
        }
    });
    let agent = talker().model_outputs(outputs).on_turn_complete(move |_| {
        is_broken.store(false, std::sync::atomic::Ordering::Relaxed);
        async { Ok(()) }
    });
    let diary = Arc::default();
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, agent, noting(&diary, |_| says("well")), lease).await.unwrap();

    let story = session.story();
    assert!(story.starts_with("error(tool `t` cannot map"), "{story}");
    let told = diary.lock().unwrap().clone();
    assert_eq!(told, ["u:a a:tool-call t:tool-result u:b u:c"]);
}
