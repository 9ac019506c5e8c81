mod bad_schemas;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::testing::*;
use crate::{Agent, TurnInput, step_count_is};

/// Answers one message with these tools and up to five steps.
async fn ask(tools: Vec<Tool>, model: Arc<FakeModel>) -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let agent = Agent::new("test", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(5))) })
        .tools(tools)
        .idle_timeout(Duration::ZERO);
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent, model, lease).await.expect("the run ends well");
    session
}

/// Gives the chunks that were told of calls and approvals, without their ids.
fn told(session: &FakeSession) -> Vec<Value> {
    let told = session.state().told.iter().map(|record| record.data.clone()).collect::<Vec<_>>();
    let mut told: Vec<Value> =
        told.into_iter().filter(|chunk| chunk["type"].as_str().is_some_and(|kind| kind.starts_with("tool-"))).collect();
    for chunk in &mut told {
        chunk
            .as_object_mut()
            .unwrap()
            .retain(|key, _| ["type", "output", "errorText", "preliminary"].contains(&key.as_str()));
    }
    told
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Order {
    n_cups: u8,
}

#[derive(Debug, Serialize)]
struct Bill {
    total: u32,
}

fn cafe() -> Tool {
    Tool::typed("order", "Orders coffee", |order: Order, _| async move {
        if order.n_cups == 0 {
            return Err("nothing to order".into());
        }
        Ok(Bill { total: u32::from(order.n_cups) * 3 })
    })
}

#[tokio::test(start_paused = true)]
async fn a_typed_tool_gets_its_type_and_a_wrong_input_goes_back_to_the_model_a119() {
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => calls("c1", "order", json!({ "n_cups": 300 })),
        1 => calls("c2", "order", json!({ "n_cups": 0 })),
        2 => calls("c3", "order", json!({ "n_cups": 2 })),
        _ => {
            let told = serde_json::to_string(&prompt.messages).unwrap();
            assert!(told.contains("invalid input for tool `order`: input.n_cups is more than 255"), "{told}");
            assert!(told.contains("nothing to order"), "{told}");
            says("done")
        }
    });

    let session = ask(vec![cafe()], model).await;

    let wrong = "invalid input for tool `order`: input.n_cups is more than 255";
    assert_eq!(
        told(&session),
        [
            json!({ "type": "tool-input-error", "errorText": wrong }),
            json!({ "type": "tool-input-available" }),
            json!({ "type": "tool-output-error", "errorText": "nothing to order" }),
            json!({ "type": "tool-input-available" }),
            json!({ "type": "tool-output-available", "output": { "total": 6 } }),
        ]
    );
    assert!(session.story().ends_with("done text-end finish-step finish done(0)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn a_streaming_tool_tells_how_far_it_is_and_the_model_reads_the_last_word_a116_a219() {
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => calls("c1", "dig", json!({ "n_cups": 1 })),
        _ => {
            let told = serde_json::to_string(&prompt.messages).unwrap();
            assert!(told.contains("gold") && !told.contains("half"), "{told}");
            says("found")
        }
    });
    let dig = Tool::streaming("dig", "", |order: Order, _| {
        futures::stream::iter(["half", "gold"]).map(move |word| Ok(json!({ word: order.n_cups })))
    });

    let session = ask(vec![dig], model).await;

    let output = |word: &str| json!({ word: 1 });
    assert_eq!(
        told(&session),
        [
            json!({ "type": "tool-input-available" }),
            json!({ "type": "tool-output-available", "output": output("half"), "preliminary": true }),
            json!({ "type": "tool-output-available", "output": output("gold"), "preliminary": true }),
            json!({ "type": "tool-output-available", "output": output("gold") }),
        ]
    );
    let saved = session.state().snapshot.clone().unwrap();
    let part = saved.messages[1].tool_parts().next().unwrap().clone();
    assert_eq!((part.output, part.preliminary), (Some(output("gold")), None));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_consent_is_asked_for_and_ends_the_loop_a117_a203() {
    let n_ran = Arc::new(AtomicUsize::new(0));
    let counter = n_ran.clone();
    let pay = Tool::new("pay", "", json!({}), move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(json!("paid")) }
    })
    .needs_approval();
    let look = Tool::new("look", "", json!({}), |_, _| async { Ok(json!("seen")) });
    let model = FakeModel::new(|prompt| {
        assert_eq!(prompt.step, 0, "no step follows while a person is asked");
        let mut said = calls("c1", "pay", json!({}));
        said.splice(1..1, calls("c2", "look", json!({})).into_iter().take(1));
        said
    });

    let session = ask(vec![pay, look], model).await;

    assert_eq!(
        told(&session),
        [
            json!({ "type": "tool-input-available" }),
            json!({ "type": "tool-input-available" }),
            json!({ "type": "tool-approval-request" }),
            json!({ "type": "tool-output-available", "output": "seen" }),
        ]
    );
    assert_eq!(n_ran.load(Ordering::SeqCst), 0);
    let saved = session.state().snapshot.clone().unwrap();
    let states: Vec<_> = saved.messages[1].tool_parts().map(|part| part.state.as_str()).collect();
    assert_eq!(states, ["approval-requested", "output-available"]);
    let approval = saved.messages[1].tool_parts().next().unwrap().approval.clone().unwrap();
    assert_eq!(approval.id, format!("{}:c1", saved.messages[1].id));
}

#[tokio::test(start_paused = true)]
async fn a_judge_decides_by_the_input_and_one_that_fails_lets_nothing_run_a117() {
    let pay =
        Tool::new("pay", "", json!({}), |input, _| async { Ok(input) }).needs_approval_when(|input, ctx| async move {
            assert_eq!(ctx.messages.len(), 1);
            input["euros"].as_i64().map(|euros| euros > 10).ok_or_else(|| "how much?".into())
        });
    let model = FakeModel::new(|prompt| {
        if prompt.step > 0 {
            return says("done");
        }
        let euros = [json!({ "euros": 5 }), json!({ "euros": 50 }), json!({})];
        let mut said: Vec<Said> = Vec::new();
        for (at, input) in euros.into_iter().enumerate() {
            said.extend(calls(&format!("c{at}"), "pay", input).into_iter().take(1));
        }
        said.push(ends(turnkeep_model::FinishReason::ToolCalls));
        said
    });

    let session = ask(vec![pay], model).await;

    assert_eq!(
        told(&session)[3..],
        [
            json!({ "type": "tool-approval-request" }),
            json!({ "type": "tool-output-error", "errorText": "how much?" }),
            json!({ "type": "tool-output-available", "output": { "euros": 5 } }),
        ]
    );
}

#[test]
fn a_tool_that_the_client_answers_may_have_a_type_too_a117() {
    let tool = Tool::typed_answered_by_client::<Order>("order", "Orders coffee");

    assert!(tool.execute().is_none());
    assert_eq!(tool.check(&json!({})), Err("invalid input for tool `order`: input.n_cups is missing".to_owned()));
    assert_eq!(tool.check(&json!({ "n_cups": 1 })), Ok(()));
}

/// A tool whose output the model reads as `NAME: OUTPUT`.
fn mapped(name: &'static str) -> Tool {
    Tool::new(name, "", json!({}), |_, _| async { Ok(json!("raw")) })
        .to_model_output(move |call| Ok(ToolResultOutput::Text(format!("{name}: {}", call.output))))
}

fn asks_tool_then_reads() -> Arc<FakeModel> {
    FakeModel::new(|prompt| {
        let asked = prompt.messages.iter().rev().find(|message| message.role.as_str() == "user").unwrap().text();
        let told = serde_json::to_string(&prompt.messages).unwrap();
        match (asked.as_str(), prompt.step) {
            ("call", 0) => calls("c1", "look", json!({})),
            _ => says(if told.contains("look: \\\"raw\\\"") { "mapped" } else { "raw" }),
        }
    })
}

async fn ask_twice(agent: Agent) -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    session.say("call");
    session.say("and now?");
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent.idle_timeout(Duration::ZERO), asks_tool_then_reads(), lease).await.unwrap();
    session
}

fn stepper() -> Agent {
    Agent::new("test", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(5))) })
}

#[tokio::test(start_paused = true)]
async fn a_tools_mapping_is_applied_again_to_old_turns_a131_aa50() {
    let session = ask_twice(stepper().tools([mapped("look")])).await;

    assert_eq!(session.saved_texts(), ["call", "mapped", "and now?", "mapped"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_mapping_the_output_passes_through_aa52() {
    let plain = Tool::new("look", "", json!({}), |_, _| async { Ok(json!("raw")) });

    let session = ask_twice(stepper().tools([plain])).await;

    assert_eq!(session.saved_texts(), ["call", "raw", "and now?", "raw"]);
}

#[tokio::test(start_paused = true)]
async fn resolved_tools_are_asked_for_every_turn_and_map_old_turns_too_a193_aa51() {
    let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = turns.clone();
    let agent = stepper().resolve_tools(move |event: crate::ResolveTools| {
        seen.lock().unwrap().push((event.turn, event.continuation, event.client_data));
        async { Ok(vec![mapped("look")]) }
    });

    let session = ask_twice(agent).await;

    assert_eq!(session.saved_texts(), ["call", "mapped", "and now?", "mapped"]);
    assert_eq!(*turns.lock().unwrap(), [(0, false, Value::Null), (1, false, Value::Null)]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_resolver_fails_its_turn_and_no_other_set_is_used_a84() {
    let agent = stepper().resolve_tools(|event: crate::ResolveTools| async move {
        if event.turn == 1 { Err("no tools today".into()) } else { Ok(vec![mapped("look")]) }
    });

    let session = ask_twice(agent).await;

    assert!(session.story().ends_with("error(no tools today) done(1)"), "{}", session.story());
    assert_eq!(session.saved_texts(), ["call", "mapped", "and now?"]);
}

#[tokio::test(start_paused = true)]
async fn at_boot_a_failing_resolver_costs_only_the_mappings_a9_a73() {
    let agent = || {
        stepper().resolve_tools(|event: crate::ResolveTools| async move {
            if event.continuation && event.turn == 0 && event.client_data.is_null() {
                return Err("not yet".into());
            }
            Ok(vec![mapped("look")])
        })
    };
    let session = ask_twice(agent()).await;
    let seen = Arc::new(std::sync::Mutex::new(None));
    let kept = seen.clone();
    let agent = agent().on_boot(move |boot: crate::Boot| {
        *kept.lock().unwrap() = Some(boot.chat.history().all().len());
        async { Ok(()) }
    });

    let lease = lease(&session, 1, json!({ "continuation": true }));
    serve(&session, agent.idle_timeout(Duration::ZERO), asks_tool_then_reads(), lease)
        .await
        .expect("the run ends well");

    assert_eq!(*seen.lock().unwrap(), Some(4));
}
