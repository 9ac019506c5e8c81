use std::sync::Arc;

use serde_json::{Value, json};
use turnkeep_model::{FinishReason, StreamPart};
use turnkeep_protocol::{ChatInputChunk, SeqNum, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, StopCondition, Tool, TurnInput, step_count_is};

/// An agent whose tool is answered by the person.
fn asker() -> Agent {
    Agent::new("test", |turn: TurnInput| async move {
        let ask = Tool::answered_by_client("ask", "", json!({}));
        let runs_here = Tool::new("here", "", json!({}), |_, _| async { Ok(json!(1)) });
        Ok(turn.stream_text().tools([ask, runs_here]).stop_when(step_count_is(9)))
    })
}

/// A model that asks once, with so many calls, and thanks for the answers.
fn curious(n_calls: usize) -> Arc<FakeModel> {
    FakeModel::new(move |prompt| match prompt.messages.last().unwrap().role.as_str() {
        "user" => {
            let call = |at: usize| part(StreamPart::tool_call(format!("c{at}"), "ask", json!({})));
            let mut asked: Vec<_> = (1..=n_calls).map(call).collect();
            asked.push(ends(FinishReason::ToolCalls));
            asked
        }
        _ => says("thanks"),
    })
}

fn answer(message: &str, call: &str) -> ChatInputChunk {
    let part = json!({ "type": "tool-ask", "toolCallId": call, "state": "output-available", "output": 2 });
    submit(serde_json::from_value(json!({ "id": message, "role": "assistant", "parts": [part] })).unwrap())
}

/// Lets a person say hi and answer calls, each once the turn before is over; gives the run's end.
async fn talk(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>, answers: &[&str]) {
    session.say("hi");
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    let talk = async {
        session.until(|state| state.snapshot.is_some()).await;
        let asked = session.saved_ids()[1].clone();
        for (at, call) in answers.iter().enumerate() {
            session.until_turns(at + 1).await;
            session.send(answer(&asked, call));
        }
        session.until_turns(answers.len() + 1).await;
    };
    let (result, ()) = tokio::join!(serve(session, agent, model, lease), talk);
    result.expect("the run ends well");
}

fn last_message(session: &FakeSession) -> UiMessage {
    session.state().snapshot.as_ref().unwrap().messages.last().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_answer_sent_twice_asks_the_model_once_d42_a202() {
    let session = Arc::new(FakeSession::default());

    talk(&session, asker(), curious(1), &["c1", "c1"]).await;

    let story = session.story();
    assert_eq!(story.matches("thanks").count(), 1, "{story}");
    assert!(story.ends_with("finish done(1) done(2)"), "{story}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_answer_asks_no_model_d42_a203() {
    let session = Arc::new(FakeSession::default());
    let stored: Value = json!([{ "id": "a0", "role": "assistant", "parts": [
        { "type": "tool-ask", "toolCallId": "c1", "state": "approval-requested", "input": 1, "approval": { "id": "x" } },
    ] }]);
    let messages: Vec<UiMessage> = serde_json::from_value(stored).unwrap();
    session.state().snapshot = Some(turnkeep_protocol::ChatSnapshot::new(0, messages, None, None));
    session.send(answer("a0", "c1"));
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    let model = FakeModel::new(|_| panic!("the model must not be asked"));

    serve(&session, asker(), model, lease).await.unwrap();

    assert_eq!((session.story().as_str(), session.state().settled), ("done(0)", Some(SeqNum::ZERO)));
}

#[tokio::test(start_paused = true)]
async fn parts_written_while_other_calls_wait_join_the_message_that_asked_d16_a205() {
    let session = Arc::new(FakeSession::default());
    let agent = asker().on_turn_start(|event| async move {
        if event.turn == 1 {
            event.writer.write(UiMessageChunk::data("note", None, json!(1))).await?;
        }
        Ok(())
    });

    talk(&session, agent, curious(2), &["c1", "c2"]).await;

    assert_eq!(session.saved_ids().len(), 2, "the parts are no message of their own");
    let last = last_message(&session);
    assert!(last.parts.iter().any(|part| part.as_data().is_some()));
    assert_eq!(last.text(), "thanks");
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_steps_never_stop_is_ended_with_a_warning_a115() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|prompt| {
        let id = format!("c{}", prompt.messages.len());
        vec![part(StreamPart::tool_call(id, "again", json!({}))), ends(FinishReason::ToolCalls)]
    });
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let again = Tool::new("again", "", json!({}), |_, _| async { Ok(json!(1)) });
        Ok(turn.stream_text().tools([again]).stop_when(StopCondition::new(|_| false)))
    });

    serve(&session, agent, model, lease(&session, 1, json!({ "trigger": "preload" }))).await.unwrap();

    let parts = last_message(&session).parts;
    assert_eq!(parts.iter().filter(|part| part.as_tool().is_some()).count(), 1000);
    let warning = "the answer was ended after 1000 steps, although its stop conditions let it go on";
    assert_eq!(session.state().warnings, [warning]);
}
